//! What a replay found, by rule.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::Serialize;
use serde_json::{Value, json};

use super::judge::{Finding, Gap};
use crate::audit::{End, Line, Torn};
use crate::cli::layout::{fill, list, printable};
use crate::cli::records::ends_early;
use crate::cli::reply::{BAD, FAINT, GOOD, STRONG, WARN, styled};
use crate::policy::Policy;

/// What was found.
#[derive(Debug, Default)]
pub(in crate::cli) struct Report {
    pub(in crate::cli) records: u64,
    pub(in crate::cli) same: u64,
    /// Of those, decided by another rule than before.
    pub(in crate::cli) other_rule: u64,
    /// Of the lines, those that are records.
    pub(in crate::cli) read: u64,
    /// Records of a policy that is not kept, or cannot be loaded.
    pub(in crate::cli) without_old: u64,
    /// Why one of those cannot be loaded.
    pub(in crate::cli) broken: Option<String>,
    pub(in crate::cli) flips: BTreeMap<FlipKey, Group>,
    pub(in crate::cli) unknown: BTreeMap<Gap, Group>,
    /// Files that could not be read to their end.
    pub(in crate::cli) torn: Vec<Torn>,
}

/// Flips that belong together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(in crate::cli) struct FlipKey {
    /// `allow` or `deny`: what it would be now.
    pub(in crate::cli) to: &'static str,
    /// The rule that would decide.
    pub(in crate::cli) rule: String,
    /// The rule that decided.
    pub(in crate::cli) before: String,
}

/// Requests that belong together.
#[derive(Debug, Default)]
pub(in crate::cli) struct Group {
    pub(in crate::cli) count: u64,
    pub(in crate::cli) subjects: HashSet<String>,
    /// Requests of nobody in particular.
    pub(in crate::cli) nobody: u64,
    pub(in crate::cli) requests: BTreeSet<String>,
    /// The ids of the first few.
    pub(in crate::cli) examples: Vec<String>,
}

/// How many of each kind are kept apart.
const MOST: usize = 10_000;
const EXAMPLES: usize = 3;

impl Report {
    /// Takes a finding down.
    pub(in crate::cli) fn add(&mut self, line: &Line<'_>, finding: Finding, policy: &Policy) {
        self.records += 1;
        self.read += 1;
        let rule = |rule| policy.rules.name(rule).to_owned();
        let group = match finding {
            Finding::Same { rule, .. } => {
                self.same += 1;
                self.other_rule += u64::from(!rule);
                return;
            }
            Finding::Allowed(by) => {
                let key = FlipKey { to: "allow", rule: rule(by), before: line.rule.to_string() };
                self.flips.entry(key).or_default()
            }
            Finding::Refused(by) => {
                let key = FlipKey { to: "deny", rule: rule(by), before: line.rule.to_string() };
                self.flips.entry(key).or_default()
            }
            Finding::Unknown(gap) => self.unknown.entry(gap).or_default(),
        };
        group.add(line);
    }

    /// Takes down that a request would be decided otherwise.
    pub(in crate::cli) fn flip(&mut self, line: &Line<'_>, key: FlipKey) {
        self.records += 1;
        self.read += 1;
        self.flips.entry(key).or_default().add(line);
    }

    /// A line that is no record.
    pub(in crate::cli) fn unreadable(&mut self) {
        self.records += 1;
        self.unknown.entry(Gap::Unreadable).or_default().count += 1;
    }

    /// How a file ended.
    pub(in crate::cli) fn end(&mut self, end: End) {
        match end {
            End::Read => {}
            End::Torn(torn) => self.torn.push(torn),
        }
    }

    /// How many decisions would be others.
    pub(in crate::cli) fn flipped(&self) -> u64 {
        self.flips.values().map(|group| group.count).sum()
    }

    /// How many cannot be told.
    pub(in crate::cli) fn untold(&self) -> u64 {
        self.unknown.values().map(|group| group.count).sum()
    }

    /// For programs.
    pub(in crate::cli) fn json(&self, policy: &Policy) -> Value {
        let flips = self.flips.iter().map(|(key, group)| {
            json!({ "to": key.to, "rule": key.rule, "before": key.before, "count": group.count,
                "subjects": group.subjects.len(), "requests": group.requests, "examples": group.examples })
        });
        let unknown = self.unknown.iter().map(|(gap, group)| {
            json!({ "why": gap.words(|rule| policy.rules.name(rule)), "count": group.count, "examples": group.examples })
        });
        json!({
            "records": self.records,
            "same": self.same,
            "same_by_another_rule": self.other_rule,
            "flips": self.flipped(),
            "cannot_tell": self.untold(),
            "without_old_policy": self.without_old,
            "old_policy_broken": self.broken,
            "torn": self.torn.iter().map(|torn| json!({
                "file": torn.path.to_string_lossy(), "records": torn.lines, "error": torn.error.to_string(),
            })).collect::<Vec<_>>(),
            "flips_by_rule": flips.collect::<Vec<_>>(),
            "cannot_tell_by_cause": unknown.collect::<Vec<_>>(),
        })
    }

    /// For people.
    pub(in crate::cli) fn text(&self, policy: &Policy) -> String {
        let mut out = String::new();
        let (flips, untold) = (self.flipped(), self.untold());
        let flips = match flips {
            0 => styled(GOOD, "none flips"),
            1 => styled(BAD, "1 flips"),
            flips => styled(BAD, format!("{} flip", number(flips))),
        };
        let text = format!(
            "{}: {} decided the same, {flips}, {} cannot be told.",
            records(self.records),
            number(self.same),
            number(untold)
        );
        out.push_str(&fill("", &text));
        out.push_str(&self.flips("now", "before"));
        out.push_str(&self.doubts("Cannot tell", policy));
        for torn in &self.torn {
            let text = format!("{}.", ends_early(torn));
            out.push_str(&format!("\n{}", fill(&format!("{} ", styled(WARN, "Mind:")), &text)));
        }
        if self.without_old > 0 {
            let (were, them) = if self.without_old == 1 { ("was", "it") } else { ("were", "them") };
            let kept = match &self.broken {
                Some(why) => format!("a policy that is not to be had ({})", printable(why)),
                None => "a policy that is not kept".to_owned(),
            };
            let text = format!(
                "{} {were} decided by {kept}, so nothing is taken over from {them}; `--from` names it.",
                records(self.without_old)
            );
            out.push_str(&format!("\n{}", fill("", &text)));
        }
        out
    }
}

impl Report {
    /// What flips, with the words for the two policies: `now` and `before`.
    pub(in crate::cli) fn flips(&self, after: &str, before: &str) -> String {
        let mut out = String::new();
        for (key, group) in &self.flips {
            let (word, style) = if key.to == "allow" { ("Allowed", GOOD) } else { ("Refused", BAD) };
            let text = format!(
                "{} by {} {after}, by {} {before}{}",
                number(group.count),
                styled(STRONG, printable(&key.rule)),
                printable(&key.before),
                group.whom()
            );
            out.push_str(&fill(&format!("\n{} ", styled(style, word)), &text));
            out.push_str(&group.lines());
        }
        out
    }
}

impl Report {
    /// What cannot be told, and why, each kind after this word.
    pub(in crate::cli) fn doubts(&self, word: &str, policy: &Policy) -> String {
        let mut out = String::new();
        for (gap, group) in &self.unknown {
            let text = format!("{}: {}.", number(group.count), gap.words(|rule| policy.rules.name(rule)));
            out.push_str(&fill(&format!("\n{} ", styled(WARN, word)), &printable(&text)));
            out.push_str(&group.lines());
        }
        out
    }
}

impl Group {
    fn add(&mut self, line: &Line<'_>) {
        self.count += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(line.request_id.to_string());
        }
        if self.requests.len() < MOST && self.subjects.len() < MOST {
            self.requests.insert(format!("{} {}", &*line.method, &*line.path));
            let subject = line.identity().and_then(|identity| identity.subject);
            self.nobody += u64::from(subject.is_none());
            self.subjects.extend(subject.map(|subject| subject.to_string()));
        }
    }

    /// Whose requests they are.
    pub(in crate::cli) fn whom(&self) -> String {
        let first = || self.subjects.iter().next().map(|name| printable(name)).unwrap_or_default();
        match (self.subjects.len(), self.nobody) {
            (0, _) => String::new(),
            (1, 0) => format!(", all of {}", first()),
            (subjects, 0) => format!(", of {subjects} subjects"),
            (1, nobody) => format!(", of {} and {nobody} of nobody in particular", first()),
            (subjects, nobody) => format!(", of {subjects} subjects and {nobody} of nobody in particular"),
        }
    }

    /// What they ask for, and where to look further.
    fn lines(&self) -> String {
        const SHOWN: usize = 5;
        let mut out = String::new();
        for request in self.requests.iter().take(SHOWN) {
            out.push_str(&fill("  ", &printable(request)));
        }
        if self.requests.len() > SHOWN {
            out.push_str(&format!("  … and {} more\n", self.requests.len() - SHOWN));
        }
        if !self.examples.is_empty() {
            let text = format!("for example {}", list(&self.examples, " and "));
            out.push_str(&fill("  ", &styled(FAINT, printable(&text))));
        }
        out
    }
}

/// `1 record`, `1 234 567 records`.
fn records(count: u64) -> String {
    format!("{} record{}", number(count), if count == 1 { "" } else { "s" })
}

/// A number that can be read: `1 234 567`.
pub(in crate::cli) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}
