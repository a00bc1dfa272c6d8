//! How much else the same rule refused around the same time: whether it is this caller or everybody.

use std::collections::HashSet;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::audit::{self, Line};
use crate::cli::layout::count;

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

/// Looks at the hour that ends now if the request was made within it, else at the one around it.
pub(super) fn look(log: &Path, line: &Line<'_>, at: Timestamp, now: Timestamp) -> std::io::Result<Hour> {
    let hour = SignedDuration::from_hours(1);
    let (from, to) = match now.duration_since(at) < hour && now >= at {
        true => (now - hour, now),
        false => (at - hour / 2, at + hour / 2),
    };
    let mut found = Hour { from, to, refused: 0, subjects: 0, addresses: 0, paths: 0, of_this_caller: 0 };
    let (mut subjects, mut addresses, mut paths) = (HashSet::new(), HashSet::new(), HashSet::new());
    let subject = |line: &Line<'_>| line.identity().and_then(|who| who.subject.map(|text| text.to_string()));
    let (own, ip) = (subject(line), line.client.ip.to_string());
    let needle = format!("\"rule\":\"{}\"", &*line.rule);
    for file in audit::files(log)? {
        file.between(needle.as_bytes(), from, to, &mut |text| {
            let Some(line) = Line::read(text) else { return true };
            let within = line.at().is_some_and(|at| at >= from && at <= to);
            if !within
                || &*line.decision == "allow"
                || *line.rule != *needle.get(8..needle.len() - 1).unwrap_or("")
            {
                return true;
            }
            found.refused += 1;
            let who = subject(&line);
            let same = match (&own, &who) {
                (Some(own), Some(who)) => own == who,
                (None, None) => *line.client.ip == *ip,
                _ => false,
            };
            found.of_this_caller += u64::from(same);
            if addresses.len() < MOST {
                addresses.insert(line.client.ip.to_string());
                paths.insert(format!("{} {}", &*line.method, &*line.path));
                subjects.extend(who);
            }
            true
        })?;
    }
    (found.subjects, found.addresses, found.paths) = (subjects.len(), addresses.len(), paths.len());
    Ok(found)
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
