//! `[[lint.allow]]`: findings that somebody has looked at and found to be as they should be.

use super::raw::RawLint;
use crate::policy::code::{Code, Severity};
use crate::policy::diagnostic::{Diagnostic, Diagnostics, Place, suggest};

/// The findings that are allowed.
#[derive(Clone, Debug, Default)]
pub struct AllowList {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    place: Place,
    code: Code,
    /// What the finding is about; none: whatever.
    name: Option<String>,
    reason: String,
}

/// A finding that is allowed, and why.
#[derive(Clone, Debug)]
pub struct Allowed {
    /// The finding.
    pub finding: Diagnostic,
    /// The reason that stands in the file.
    pub reason: String,
}

impl AllowList {
    /// Checks the entries.
    pub fn compile(raw: Option<&RawLint>, diagnostics: &mut Diagnostics) -> AllowList {
        let mut list = AllowList::default();
        for raw in raw.iter().flat_map(|raw| &raw.allow) {
            if raw.reason.trim().is_empty() && !diagnostics.lacks(raw.place, &["reason"]) {
                diagnostics
                    .push(Code::BadValue, raw.reason.place, "`reason` is empty")
                    .help("say to whoever reads this next why the finding is as it should be");
            }
            if diagnostics.lacks(raw.place, &["code"]) {
                continue;
            }
            match raw.code.parse::<Code>() {
                Ok(code) if code.info().severity == Severity::Error => {
                    diagnostics
                        .push(Code::BadValue, raw.code.place, format!("`{}` is an error", raw.code.value))
                        .help("a configuration with errors is not used, whatever is allowed; mend it");
                }
                Ok(code) => list.entries.push(Entry {
                    place: raw.place,
                    code,
                    name: raw.name.as_ref().map(|name| name.value.clone()),
                    reason: raw.reason.value.clone(),
                }),
                Err(()) => {
                    let known = Code::ALL.iter().map(|code| code.info());
                    let known = known.filter(|info| info.severity < Severity::Error).map(|info| info.name);
                    let problem = diagnostics.push(
                        Code::UnknownName,
                        raw.code.place,
                        format!("there is no lint `{}`", raw.code.value),
                    );
                    if let Some(near) = suggest(&raw.code.value, known) {
                        problem.help(format!("did you mean `{near}`?"));
                    }
                }
            }
        }
        list
    }

    /// Takes the findings away that are allowed. Where everything was looked at, entries that allow
    /// nothing are findings themselves: what they once allowed is mended, or named otherwise.
    pub fn apply(&self, findings: &mut Vec<Diagnostic>) -> Vec<Allowed> {
        let mut used = vec![false; self.entries.len()];
        let mut allowed = Vec::new();
        findings.retain(|finding| {
            let mut entries = self.entries.iter().zip(&mut used);
            let fits = entries.find(|(entry, _)| entry.allows(finding));
            let Some((entry, used)) = fits.filter(|_| finding.severity < Severity::Error) else {
                return true;
            };
            *used = true;
            allowed.push(Allowed { finding: finding.clone(), reason: entry.reason.clone() });
            false
        });
        let whole = findings.iter().all(|finding| finding.severity < Severity::Error);
        for (entry, _) in self.entries.iter().zip(used).filter(|(_, used)| whole && !used) {
            let what = entry.code.info().name;
            let message = match &entry.name {
                Some(name) => format!("there is no finding `{what}` about `{name}`"),
                None => format!("there is no finding `{what}`"),
            };
            let mut unused = Diagnostic::new(Code::UnusedAllow, Some(entry.place), message);
            unused.help("remove this entry; `check --format json` names what each finding is about");
            findings.push(unused);
        }
        findings.sort_by_key(|finding| finding.place);
        allowed
    }
}

impl Entry {
    fn allows(&self, finding: &Diagnostic) -> bool {
        self.code == finding.code && (self.name.is_none() || self.name == finding.about)
    }
}
