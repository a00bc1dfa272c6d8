//! How much else the same rule refused around the same time: whether it is this caller or everybody.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::audit::{self, Line};
use crate::cli::layout::count;
use crate::cli::records::Source;

/// What a rule refused within an hour.
#[derive(Debug, Serialize)]
pub(super) struct Hour {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    /// Requests that it refused.
    pub(super) refused: u64,
    /// By how many subjects, as far as there were any.
    pub(super) subjects: usize,
    /// From how many addresses.
    pub(super) addresses: usize,
    /// For how many methods and paths.
    pub(super) paths: usize,
    /// Of the same subject, or of the same address where there is none.
    pub(super) of_this_caller: u64,
}

/// Looks at the hour that ends now if the request was made within it, else at the one around it. A
/// gateway that remembers less than that is believed as far back as it does.
pub(super) fn look(source: &Source, line: &Line<'_>, at: Timestamp, now: Timestamp) -> Result<Hour, String> {
    let hour = SignedDuration::from_hours(1);
    let (from, to) = match now.duration_since(at) < hour && now >= at {
        true => (now - hour, now),
        false => (at - hour / 2, at + hour / 2),
    };
    let mut count = Count {
        rule: &line.rule,
        own: subject(line),
        ip: &line.client.ip,
        found: Hour { from, to, refused: 0, subjects: 0, addresses: 0, paths: 0, of_this_caller: 0 },
        subjects: HashSet::new(),
        addresses: HashSet::new(),
        paths: HashSet::new(),
    };
    match source {
        Source::Files(log) => {
            let failed = |error: std::io::Error| error.to_string();
            let needle = format!("\"rule\":\"{}\"", &*line.rule);
            for file in audit::files(log).map_err(failed)? {
                let mut each = |text: &[u8]| count.take(text);
                // Where one is torn, the count says less than there was.
                let _ = file.between(needle.as_bytes(), from, to, &mut each).map_err(failed)?;
            }
        }
        Source::Gateway(gateway) => {
            let oldest = Source::remembered(gateway, Some(&line.rule), from, &mut |text| count.take(text))?;
            count.found.from = oldest.map_or(from, |oldest| oldest.clamp(from, to));
        }
    }
    Ok(count.done())
}

/// The refusals of a rule as they are counted.
struct Count<'a> {
    rule: &'a str,
    own: Option<String>,
    ip: &'a str,
    found: Hour,
    subjects: HashSet<String>,
    addresses: HashSet<String>,
    paths: HashSet<String>,
}

impl Count<'_> {
    fn take(&mut self, text: &[u8]) {
        let Some(line) = Line::read(text) else { return };
        let within = line.at().is_some_and(|at| at >= self.found.from && at <= self.found.to);
        if !within || &*line.decision == "allow" || *line.rule != *self.rule {
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
        if self.addresses.len() < MOST {
            self.addresses.insert(line.client.ip.to_string());
            self.paths.insert(format!("{} {}", &*line.method, &*line.path));
            self.subjects.extend(who);
        }
    }

    fn done(self) -> Hour {
        let (subjects, addresses, paths) = (self.subjects.len(), self.addresses.len(), self.paths.len());
        Hour { subjects, addresses, paths, ..self.found }
    }
}

fn subject(line: &Line<'_>) -> Option<String> {
    line.identity().and_then(|who| who.subject.map(|text| text.to_string()))
}

impl Hour {
    /// What follows from it.
    pub(super) fn conclusion(&self) -> &'static str {
        match (self.refused, self.subjects, self.addresses, self.paths) {
            (0 | 1, ..) => "Nothing else was refused by it, so look at this one request.",
            (_, 0 | 1, 1, _) => "All by the same caller, so it is about who asks.",
            (_, subjects, _, 1) if subjects > 1 => {
                "By several callers and for one path, so it is about what they ask for."
            }
            (_, 0 | 1, _, 1) => "All for one path, so it is about that.",
            (_, 1, ..) => "All by the same subject, so it is about who asks.",
            _ => "By several callers and for several paths, so it is the rule that concerns many.",
        }
    }

    /// How much it was, in words.
    pub(super) fn words(&self) -> String {
        let subjects = match self.subjects {
            0 => "nobody in particular".to_owned(),
            number => count(number, "subject"),
        };
        let number = usize::try_from(self.refused).unwrap_or(usize::MAX);
        let addresses = match self.addresses {
            1 => "1 address".to_owned(),
            number => format!("{number} addresses"),
        };
        format!(
            "{} of {subjects} from {addresses}, for {}",
            count(number, "request"),
            count(self.paths, "path")
        )
    }
}

/// No more callers are told apart.
const MOST: usize = 100_000;
