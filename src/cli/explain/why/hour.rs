//! How much else the same rule refused around the same time: whether it is this caller or everybody.
//!
//! A rule that is built in refuses whatever nothing else speaks of, all over the gateway. So of such a
//! rule only what was refused of the same resource is counted: of the same route, and of the paths that
//! the most exact pattern of the policy covers together with this one.

use std::collections::{HashMap, HashSet};

use http::{HeaderMap, HeaderValue, Method, Uri, header};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::audit::{self, End, Line};
use crate::cli::layout::{count, printable};
use crate::cli::records::Source;
use crate::decision::Builtin;
use crate::facts::{Scheme, Target};
use crate::policy::Policy;
use crate::policy::scope::{Index, PathPattern, Scope, Segment};

/// What a rule refused within an hour.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::cli::explain) struct Hour {
    /// The time that was looked at: no more than records are kept of.
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    /// Why it is less than an hour, or why something may be missing.
    #[serde(default)]
    pub(super) gap: Option<String>,
    /// What was counted: the requests of this resource, or all.
    #[serde(default)]
    pub(super) resource: Option<String>,
    /// Requests that it refused.
    pub(super) refused: u64,
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
    /// For how many methods and paths.
    pub(super) paths: usize,
    /// Of the same subject, or of the same address where there is none.
    pub(super) of_this_caller: u64,
    /// What it refused of other resources, and of how many.
    #[serde(default)]
    pub(super) elsewhere: u64,
    #[serde(default)]
    pub(super) other_resources: usize,
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

/// Looks at what files hold, or takes what a gateway found.
pub(super) fn look(
    source: &Source,
    record: &[u8],
    line: &Line<'_>,
    policy: &Policy,
    at: Timestamp,
    now: Timestamp,
) -> Result<Hour, String> {
    match source {
        Source::Files(log) => {
            let within = around(at, now);
            let mut counter = Count::new(line, policy, within);
            counter.read(log)?;
            Ok(counter.done())
        }
        Source::Gateway(_) => {
            let told: Value = serde_json::from_slice(record).map_err(|error| error.to_string())?;
            Hour::deserialize(&told["about"]["others"]).map_err(|error| error.to_string())
        }
    }
}

/// The refusals of a rule as they are counted.
pub(in crate::cli::explain) struct Count<'a> {
    rule: &'a str,
    own: Option<String>,
    ip: &'a str,
    resources: Resources<'a>,
    /// That of the request; none where the rule is about one by itself.
    resource: Option<Resource>,
    found: Hour,
    subjects: HashSet<String>,
    addresses: HashSet<String>,
    callers: HashSet<(Option<String>, Option<String>)>,
    paths: HashSet<String>,
    elsewhere: HashSet<Resource>,
}

impl<'a> Count<'a> {
    /// For the refusals like this one, between two times.
    pub(in crate::cli::explain) fn new(
        line: &'a Line<'_>,
        policy: &'a Policy,
        (from, to): (Timestamp, Timestamp),
    ) -> Count<'a> {
        let mut resources = Resources::new(policy);
        let resource = Builtin::by_name(&line.rule).map(|_| resources.of(line));
        let found = Hour {
            from,
            to,
            gap: None,
            resource: resource.as_ref().map(Resource::words),
            refused: 0,
            subjects: 0,
            anonymous: 0,
            addresses: 0,
            callers: 0,
            paths: 0,
            of_this_caller: 0,
            elsewhere: 0,
            other_resources: 0,
        };
        Count {
            rule: &line.rule,
            own: subject(line),
            ip: &line.client.ip,
            resources,
            resource,
            found,
            subjects: HashSet::new(),
            addresses: HashSet::new(),
            callers: HashSet::new(),
            paths: HashSet::new(),
            elsewhere: HashSet::new(),
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
                self.found.gap = Some(crate::cli::records::ends_early(&torn));
            }
        }
        Ok(())
    }

    /// Says that nothing is known of the time before.
    pub(in crate::cli::explain) fn since(&mut self, from: Timestamp, why: &str) {
        if from > self.found.from {
            self.found.from = from.min(self.found.to);
            self.found.gap = Some(why.to_owned());
        }
    }

    /// Takes a record.
    pub(in crate::cli::explain) fn take(&mut self, text: &[u8]) {
        let Some(line) = Line::read(text) else { return };
        let within = line.at().is_some_and(|at| at >= self.found.from && at <= self.found.to);
        if !within || &*line.decision == "allow" || *line.rule != *self.rule {
            return;
        }
        if let Some(own) = &self.resource {
            let resource = self.resources.of(&line);
            if resource != *own {
                self.found.elsewhere += 1;
                if self.elsewhere.len() < MOST {
                    self.elsewhere.insert(resource);
                }
                return;
            }
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
            self.paths.insert(format!("{} {}", &*line.method, &*line.path));
            let ip = who.is_none().then(|| line.client.ip.to_string());
            self.callers.insert((who.clone(), ip));
            self.subjects.extend(who);
        }
    }

    /// What it comes to.
    pub(in crate::cli::explain) fn done(self) -> Hour {
        let (subjects, addresses, paths) = (self.subjects.len(), self.addresses.len(), self.paths.len());
        let callers = self.callers.len();
        Hour { subjects, addresses, callers, paths, other_resources: self.elsewhere.len(), ..self.found }
    }
}

fn subject(line: &Line<'_>) -> Option<String> {
    line.identity().and_then(|who| who.subject.map(|text| text.to_string()))
}

/// What requests are for: the route, and the paths that no rule tells apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Resource {
    route: Option<String>,
    pattern: Option<String>,
}

impl Resource {
    fn words(&self) -> String {
        match (&self.route, &self.pattern) {
            (Some(route), Some(pattern)) => {
                format!("{} of the route {}", printable(pattern), printable(route))
            }
            (Some(route), None) => format!("the route {}", printable(route)),
            (None, Some(pattern)) => printable(pattern).into_owned(),
            (None, None) => "paths that no route serves".to_owned(),
        }
    }
}

/// The patterns of a policy, and what was found out of paths.
struct Resources<'a> {
    patterns: Index<&'a PathPattern>,
    known: HashMap<(String, String), Option<String>>,
}

impl<'a> Resources<'a> {
    fn new(policy: &'a Policy) -> Resources<'a> {
        let rules = policy.rbac.each_scope().flat_map(|(_, scope)| &scope.paths);
        let patterns: HashSet<&PathPattern> =
            policy.routes.iter().map(|(_, route)| &route.path).chain(rules).collect();
        let scopes: Vec<(Scope, &PathPattern)> = patterns
            .into_iter()
            .map(|path| (Scope { paths: vec![path.clone()], ..Scope::default() }, path))
            .collect();
        Resources {
            patterns: Index::new(scopes.iter().map(|(scope, path)| (scope, *path))),
            known: HashMap::new(),
        }
    }

    fn of(&mut self, line: &Line<'_>) -> Resource {
        let key = (line.host.to_string(), line.path.to_string());
        let pattern = match self.known.get(&key) {
            Some(known) => known.clone(),
            None => {
                let found = self.pattern(line);
                if self.known.len() < MOST {
                    self.known.insert(key, found.clone());
                }
                found
            }
        };
        Resource { route: line.route.as_ref().map(|route| route.to_string()), pattern }
    }

    /// The most exact pattern that covers a path.
    fn pattern(&self, line: &Line<'_>) -> Option<String> {
        let uri: Uri = line.path.parse().ok()?;
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(&line.host).ok()?);
        let target = Target::parse(&Method::GET, Scheme::Http, &uri, &headers);
        let exactness = |pattern: &PathPattern| {
            let literal = |segment: &Segment| matches!(segment, Segment::Literal(_));
            let segments: Vec<bool> = pattern.segments().iter().map(literal).collect();
            (segments, pattern.rest().is_none())
        };
        let mut best: Option<&PathPattern> = None;
        self.patterns.visit(&target, None, |pattern| {
            if best.is_none_or(|best| exactness(pattern) > exactness(best)) {
                best = Some(pattern);
            }
        });
        best.map(ToString::to_string)
    }
}

impl Hour {
    /// What follows from it.
    pub(in crate::cli::explain) fn conclusion(&self) -> &'static str {
        match (self.refused, self.callers, self.addresses, self.paths) {
            (0 | 1, ..) if self.resource.is_some() => {
                "Nothing else of this was refused by it, so look at this one request."
            }
            (0 | 1, ..) => "Nothing else was refused by it, so look at this one request.",
            (_, 0 | 1, 0 | 1, _) => "All by the same caller, so it is about who asks.",
            (_, 0 | 1, ..) => "All by the same subject, so it is about who asks.",
            _ if (self.refused - self.of_this_caller.min(self.refused)) * 10 <= self.refused => {
                "Nearly all by the same caller, so it is rather about who asks."
            }
            (..) if self.resource.is_some() => "By several callers, so it is about what they ask for.",
            (.., 0 | 1) => "By several callers and for one path, so it is about what they ask for.",
            _ => "By several callers and for several paths, so it is the rule that concerns many.",
        }
    }

    /// How much it was, in words.
    pub(super) fn words(&self) -> String {
        let anonymous = size(self.anonymous);
        let subjects = match (self.subjects, anonymous) {
            (0, _) => "nobody in particular".to_owned(),
            (number, 0) => count(number, "subject"),
            (number, _) => format!("{} and {anonymous} of nobody in particular", count(number, "subject")),
        };
        let addresses = match self.addresses {
            1 => "1 address".to_owned(),
            number => format!("{number} addresses"),
        };
        format!(
            "{} of {subjects} from {addresses}, for {}",
            count(size(self.refused), "request"),
            count(self.paths, "path")
        )
    }

    /// What was refused of other resources, in words.
    pub(super) fn elsewhere(&self) -> Option<String> {
        (self.elsewhere > 0).then(|| {
            format!(
                "It refused {} of {} as well, which says nothing about this one.",
                count(size(self.elsewhere), "request"),
                count(self.other_resources, "other resource")
            )
        })
    }
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// No more callers are told apart.
const MOST: usize = 100_000;
