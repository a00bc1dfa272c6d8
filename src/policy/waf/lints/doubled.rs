//! Rules that refuse nothing, because one before them refuses it already: it looks at the same texts in
//! the same way, for at least the same requests.

use std::collections::{HashMap, HashSet};

use super::super::ir::{Action, Link, Rule, Test};
use super::super::raw::RawWaf;
use crate::decision::Written;
use crate::policy::code::Code;
use crate::policy::diagnostic::Diagnostics;
use crate::policy::lint::Look;
use crate::policy::mode::Mode;

/// Of many rules that are the same, a new one is compared with so many.
const MOST: usize = 8;

/// Reports rules that would refuse, and never do.
pub(super) fn rules(raw: &RawWaf, look: &Look<'_>, diagnostics: &mut Diagnostics) {
    let level = raw.paranoia.map_or(1, |level| level.value);
    // An exclusion may leave something of the one and not of the other.
    let excluded = raw.exclude.iter().flat_map(|exclude| &exclude.rules.value);
    let excluded: HashSet<&str> = excluded.map(|rule| rule.value.as_str()).collect();
    let own: HashSet<_> = raw.rule.iter().map(|rule| format!("waf/{}", rule.id.value)).collect();
    let mut before: HashMap<String, Vec<(Written, &Rule)>> = HashMap::new();
    for (written, rule) in look.policy.waf.meant.iter().map(|(written, rule)| (*written, &**rule)) {
        let name = look.name(written);
        let runs = rule.mode == Mode::Enforce && rule.paranoia <= level && !excluded.contains(name);
        let Some(key) = key(rule).filter(|_| runs && rule.action == Action::Deny) else { continue };
        let same = before.entry(key).or_default();
        let first = same.iter().find(|(_, other)| other.scope.is_any() || other.scope == rule.scope);
        if let Some((first, _)) = first {
            if !own.contains(name) {
                continue;
            }
            let message = format!(
                "`{name}` never refuses anything: `{}` looks at the same texts in the same way before it",
                look.name(*first)
            );
            let problem = diagnostics.push(Code::ShadowedRule, look.place(written), message);
            problem.about(name.to_owned()).label("never decides");
            problem.also(look.place(*first), "decides before");
        } else if same.len() < MOST {
            same.push((written, rule));
        }
    }
}

/// What two rules have in common that look at the same texts in the same way; none for rules of a
/// program, whose order and variables count too.
fn key(rule: &Rule) -> Option<String> {
    let plain = |link: &Link| !link.multi_match && link.effects.is_empty();
    if !rule.effects.is_empty() || !rule.links.iter().all(plain) {
        return None;
    }
    let links = rule.links.iter().map(|link| {
        let conditions = link.test.conditions().iter();
        let conditions: Vec<_> = conditions
            .map(|condition| (condition.operator.info().name, &condition.argument, condition.negated))
            .collect();
        let all = matches!(link.test, Test::All(_));
        format!("{:?} {:?} {all} {conditions:?}", link.inputs, link.transforms)
    });
    Some(format!("{:?} {}", rule.phase, links.collect::<Vec<_>>().join("; ")))
}
