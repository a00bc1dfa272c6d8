//! How much else the same rule refused around the same time: whether it is this caller or everybody.

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::group::{About, Group, MOST, Resources, subject};
use crate::audit::{self, End, Line};
use crate::cli::layout::count;
use crate::cli::records::Source;
use crate::policy::Policy;
use crate::state::cause::Change;

/// What a rule refused within an hour.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::cli::explain) struct Hour {
    /// The time that was looked at: no more than records are kept of.
    pub(in crate::cli::explain) from: Timestamp,
    pub(super) to: Timestamp,
    /// Why it is less than an hour, or why something may be missing.
    #[serde(default)]
    pub(super) gap: Option<String>,
    /// What was counted: the requests of this resource, address or caller; all, if it is none.
    #[serde(default)]
    pub(super) resource: Option<String>,
    /// Requests that it refused.
    pub(super) refused: u64,
    /// Whether it refuses before anybody looks at who asks, so that nobody is known.
    #[serde(default)]
    pub(super) unlooked: bool,
    /// By how many subjects, as far as there were any.
    pub(super) subjects: usize,
    /// Requests of nobody in particular.
    #[serde(default)]
    pub(super) anonymous: u64,
    /// From how many addresses.
    pub(super) addresses: usize,
    /// By how many callers: subjects, and addresses where there is none.
    #[serde(default)]
    pub(super) callers: usize,
    /// For how many paths.
    pub(super) paths: usize,
    /// Of the same subject, or of the same address where there is none.
    pub(super) of_this_caller: u64,
    /// What it refused of other resources, addresses or callers, and of how many.
    #[serde(default)]
    pub(super) elsewhere: u64,
    #[serde(default)]
    pub(super) other_resources: usize,
    /// The change that accounts for it, where that lies within the time: all of the above is since then.
    #[serde(default)]
    pub(super) since_change: Option<Timestamp>,
    /// Requests that it refused before that change.
    #[serde(default)]
    pub(super) before: u64,
    /// How many of those since then are of callers that it refused before too, for the same method and path.
    #[serde(default)]
    pub(super) as_before: u64,
    /// What it is about.
    #[serde(skip)]
    about: About,
    /// Whether the request has a subject.
    #[serde(skip)]
    named: bool,
    /// Whether only the networks of addresses are kept.
    #[serde(default)]
    cut: bool,
}

/// The hour that is looked at: the one that ends now if the request was made within it, else the one
/// around it.
pub(in crate::cli::explain) fn around(at: Timestamp, now: Timestamp) -> (Timestamp, Timestamp) {
    let hour = SignedDuration::from_hours(1);
    match now.duration_since(at) < hour && now >= at {
        true => (now - hour, now),
        false => (at - hour / 2, at + hour / 2),
    }
}

/// Whether a request was refused before anybody looked at who asks. The gate of the WAF that stands behind
/// looks at nobody anew, and its records are told from the other's only by who is named in them.
pub(super) fn unlooked(line: &Line<'_>) -> bool {
    let early = ["intake", "ip", "limit", "route", "waf"].contains(&&*line.stage);
    early && &*line.decision == "deny" && subject(line).is_none()
}

/// Looks at what files hold, or takes what a gateway found. `change`: the one that accounts for the refusal,
/// if there is one.
pub(super) fn look(
    source: &Source,
    record: &[u8],
    line: &Line<'_>,
    policy: &Policy,
    change: Option<&Change>,
    (at, now): (Timestamp, Timestamp),
) -> Result<Hour, String> {
    match source {
        Source::Files(log) => {
            let within = around(at, now);
            let mut counter = Count::new(line, policy, change, within);
            counter.read(log)?;
            Ok(counter.done())
        }
        Source::Gateway(_) => {
            let told: Value = serde_json::from_slice(record).map_err(|error| error.to_string())?;
            let hour = Hour::deserialize(&told["about"]["others"]).map_err(|error| error.to_string())?;
            Ok(Hour { about: About::of(&line.rule), named: subject(line).is_some(), ..hour })
        }
    }
}

/// The refusals of a rule as they are counted.
pub(in crate::cli::explain) struct Count<'a> {
    rule: &'a str,
    own: Option<String>,
    ip: &'a str,
    resources: Resources<'a>,
    about: About,
    /// What the request belongs to.
    group: Group,
    found: Hour,
    subjects: HashSet<String>,
    addresses: HashSet<String>,
    callers: HashSet<(Option<String>, Option<String>)>,
    paths: HashSet<String>,
    elsewhere: HashSet<Group>,
    /// Who was refused what before the change, and since.
    earlier: HashSet<Asked>,
    later: HashMap<Asked, u64>,
    /// Why nothing is known of the beginning of the time, and what could not be read.
    begins: Option<String>,
    torn: Option<String>,
}

/// Who asked (a subject, or an address where there is none), the method and the path; of what is judged by
/// address alone neither.
type Asked = (String, String, String);

impl<'a> Count<'a> {
    /// For the refusals like this one, between two times.
    pub(in crate::cli::explain) fn new(
        line: &'a Line<'_>,
        policy: &'a Policy,
        change: Option<&Change>,
        (from, to): (Timestamp, Timestamp),
    ) -> Count<'a> {
        let change = change.filter(|change| change.explains(from)).map(|change| change.at);
        let mut resources = Resources::new(policy);
        let about = About::of(&line.rule);
        let group = resources.group(about, line);
        let found = Hour {
            from,
            to,
            gap: None,
            resource: group.words(),
            refused: 0,
            unlooked: unlooked(line),
            subjects: 0,
            anonymous: 0,
            addresses: 0,
            callers: 0,
            paths: 0,
            of_this_caller: 0,
            elsewhere: 0,
            other_resources: 0,
            since_change: change.filter(|change| *change > from && *change <= to),
            before: 0,
            as_before: 0,
            about,
            named: subject(line).is_some(),
            cut: line.client.ip.contains('/'),
        };
        Count {
            rule: &line.rule,
            own: subject(line),
            ip: &line.client.ip,
            resources,
            about,
            group,
            found,
            subjects: HashSet::new(),
            addresses: HashSet::new(),
            callers: HashSet::new(),
            paths: HashSet::new(),
            elsewhere: HashSet::new(),
            earlier: HashSet::new(),
            later: HashMap::new(),
            begins: None,
            torn: None,
        }
    }

    /// Counts what the files of a log hold.
    pub(in crate::cli::explain) fn read(&mut self, log: &std::path::Path) -> Result<(), String> {
        let (from, to) = (self.found.from, self.found.to);
        let failed = |error: std::io::Error| error.to_string();
        let needle = format!("\"rule\":\"{}\"", self.rule);
        let files = audit::files(log).map_err(failed)?;
        let mut begins = None;
        if let Some(oldest) = files.last() {
            let end = oldest.lines(0, &mut |_| {}, &mut |text| {
                begins = Line::read(text).and_then(|line| line.at());
                false
            });
            let _ = end.map_err(failed)?;
        }
        if let Some(begins) = begins {
            self.since(begins, "The log goes back no further, so this is less than an hour");
        }
        for file in &files {
            let end =
                file.between(needle.as_bytes(), from, to, &mut |text| self.take(text)).map_err(failed)?;
            if let End::Torn(torn) = end {
                self.torn = Some(crate::cli::records::ends_early(&torn));
            }
        }
        Ok(())
    }

    /// Says that nothing is known of the time before.
    pub(in crate::cli::explain) fn since(&mut self, from: Timestamp, why: &str) {
        if from > self.found.from {
            self.found.from = from.min(self.found.to);
            self.begins = Some(why.to_owned());
        }
    }

    /// Takes a record.
    pub(in crate::cli::explain) fn take(&mut self, text: &[u8]) {
        let Some(line) = Line::read(text) else { return };
        let Some(at) = line.at().filter(|at| *at >= self.found.from && *at <= self.found.to) else { return };
        if &*line.decision == "allow" || *line.rule != *self.rule {
            return;
        }
        let group = self.resources.group(self.about, &line);
        if let Some(change) = self.found.since_change {
            let who = subject(&line).unwrap_or_else(|| line.client.ip.to_string());
            // An address is judged whatever it asks for.
            let asked = match &*line.stage {
                "ip" => (who, String::new(), String::new()),
                _ => (who, line.method.to_string(), line.path.to_string()),
            };
            if at < change {
                self.found.before += u64::from(group == self.group);
                if self.earlier.len() < MOST {
                    self.earlier.insert(asked);
                }
                return;
            }
            if group == self.group && self.later.len() < MOST {
                *self.later.entry(asked).or_default() += 1;
            }
        }
        if group != self.group {
            self.found.elsewhere += 1;
            if self.elsewhere.len() < MOST {
                self.elsewhere.insert(group);
            }
            return;
        }
        self.found.refused += 1;
        let who = subject(&line);
        let same = match (&self.own, &who) {
            (Some(own), Some(who)) => own == who,
            (None, None) => *line.client.ip == *self.ip,
            _ => false,
        };
        self.found.of_this_caller += u64::from(same);
        self.found.anonymous += u64::from(who.is_none());
        if self.addresses.len() < MOST {
            self.addresses.insert(line.client.ip.to_string());
            self.paths.insert(line.path.to_string());
            let ip = who.is_none().then(|| line.client.ip.to_string());
            self.callers.insert((who.clone(), ip));
            self.subjects.extend(who);
        }
    }

    /// What it comes to.
    pub(in crate::cli::explain) fn done(self) -> Hour {
        let (subjects, addresses, paths) = (self.subjects.len(), self.addresses.len(), self.paths.len());
        let callers = self.callers.len();
        let again = self.later.iter().filter(|(asked, _)| self.earlier.contains(*asked));
        let as_before = again.map(|(_, requests)| requests).sum();
        let other_resources = self.elsewhere.len();
        // It is about the time from the change on, which the log has.
        let began = self.begins.is_some() && self.found.since_change.is_some();
        let gap = if began { self.torn } else { self.torn.or(self.begins) };
        Hour { gap, subjects, addresses, callers, paths, other_resources, as_before, ..self.found }
    }
}

impl Hour {
    /// What follows from it. Requests of nobody in particular from one address may be one client's, or
    /// those of many behind a proxy, so nothing follows from them alone.
    pub(in crate::cli::explain) fn conclusion(&self) -> String {
        let text = self.follows();
        match self.cut {
            true => text.replace(" addresses", " networks").replace(" address", " network"),
            false => text.to_owned(),
        }
    }

    fn follows(&self) -> &'static str {
        let alone = self.refused <= 1;
        match self.about {
            About::Address if alone => "The ban refused nothing else of this address.",
            About::Address => "All from the address that is banned, so it is the ban, whatever they ask for.",
            About::Credential if alone => {
                "Nothing else of this caller was refused by it, so look at this one credential."
            }
            About::Credential if self.named => {
                "All with credentials for the same subject, so it is what is shown, whatever they ask for."
            }
            About::Credential => {
                "All shown from the same address, so it is what is shown there, whatever they ask for."
            }
            About::Source => "It concerns whatever this source has to verify, so look at its keys.",
            About::Resource if alone => {
                "Nothing else of this was refused by it, so look at this one request."
            }
            About::Rule if alone => "Nothing else was refused by it, so look at this one request.",
            About::Resource | About::Rule => self.concerns(),
        }
    }

    /// What is said instead where a change accounts for it.
    pub(in crate::cli::explain) fn explained(&self) -> String {
        let cause = "The change above accounts for it";
        let requests = |number: u64| count(size(number), "request");
        match (self.since_change, self.before, self.as_before) {
            (None, ..) => format!("{cause}, so nothing follows from these numbers"),
            (Some(_), 0, _) => format!("{cause}: before it, none of this was refused in this hour"),
            (Some(_), before, 0) => format!(
                "{cause}: none of these callers was refused the same before it, and {} of others in this hour",
                requests(before)
            ),
            (Some(_), before, again) => format!(
                "{cause}, but perhaps not for {again} of them: their callers were refused the same path before it too (in this hour it refused {} before the change)",
                requests(before)
            ),
        }
    }

    /// Whom it concerns, by who asks and for what.
    fn concerns(&self) -> &'static str {
        match (self.subjects, self.anonymous, self.addresses) {
            (1, 0, _) => return "All by the same subject, so it is about who asks.",
            (0, _, 1) if self.unlooked => {
                return "All from one address, which may be one client or many behind a proxy, so this does not tell whom it concerns.";
            }
            (0, _, 1) => {
                return "All of nobody in particular and from one address, which may be one client or many behind a proxy, so this does not tell whom it concerns.";
            }
            (1, _, 1) => {
                return "All from one address, of one subject and of nobody in particular, so this does not tell whom it concerns.";
            }
            _ => {}
        }
        let others = self.refused - self.of_this_caller.min(self.refused);
        match (self.about, self.paths) {
            _ if self.named && others * 10 <= self.refused => {
                "Nearly all by the same subject, so it is rather about who asks."
            }
            (About::Rule, 2..) => {
                "By several callers and for several paths, so it is the rule that concerns many."
            }
            _ if self.subjects == 0 => "From several addresses, so it is rather about what they ask for.",
            (About::Rule, _) => "By several callers and for one path, so it is about what they ask for.",
            _ => "By several callers, so it is about what they ask for.",
        }
    }

    /// How much it was, in words.
    pub(super) fn words(&self) -> String {
        let requests = count(size(self.refused), "request");
        let requests = match (self.subjects, self.anonymous) {
            (0, _) if self.unlooked => requests,
            (0, _) => format!("{requests} of nobody in particular"),
            (number, 0) => format!("{requests} of {}", count(number, "subject")),
            (number, anonymous) => format!(
                "{requests} ({} of {}, {anonymous} of nobody in particular)",
                self.refused.saturating_sub(anonymous),
                count(number, "subject")
            ),
        };
        let from = match self.cut {
            true => count(self.addresses, "network"),
            false => addresses(self.addresses, ""),
        };
        format!("{requests} from {from}, for {}", count(self.paths, "path"))
    }

    /// What was refused of others, in words.
    pub(super) fn elsewhere(&self) -> Option<String> {
        let others = match self.about {
            About::Address => addresses(self.other_resources, "other "),
            About::Credential => count(self.other_resources, "other caller"),
            About::Source => count(self.other_resources, "other source"),
            About::Resource | About::Rule => count(self.other_resources, "other resource"),
        };
        let so = match self.about {
            About::Address => "perhaps by the same ban, if that is of a network",
            About::Credential => "so look at the source of the credentials too, if they are many",
            About::Source | About::Resource | About::Rule => "which says nothing about this one",
        };
        let requests = count(size(self.elsewhere), "request");
        (self.elsewhere > 0).then(|| format!("It refused {requests} of {others} as well, {so}."))
    }
}

fn addresses(number: usize, which: &str) -> String {
    format!("{number} {which}address{}", if number == 1 { "" } else { "es" })
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
