//! `SecRuleUpdateTargetById`, `SecRuleRemoveByTag` and their like: rules changed from outside, once
//! they are there.

use super::lex::Directive;
use super::template::plain;
use super::{Reader, ScriptItem, ScriptRule, variables};
use crate::policy::waf::ir::RuleSet;

impl Reader<'_, '_> {
    pub(super) fn update(&mut self, name: &str, directive: &Directive) {
        let place = directive.place;
        let targets = name.starts_with("secruleupdatetarget");
        if !targets && !name.starts_with("secruleremove") {
            self.report().error(place, format!("`{}` is not run by this version", directive.name.text));
            return;
        }
        let (chosen, list) = match directive.words.as_slice() {
            [list @ .., targets_word] if targets && !list.is_empty() => (list, Some(targets_word)),
            list if !targets && !list.is_empty() => (list, None),
            _ => {
                self.report().error(place, format!("`{}` lacks words", directive.name.text));
                return;
            }
        };
        let mut sets = Vec::new();
        for word in chosen {
            for part in word.text.split([' ', ',']).filter(|part| !part.is_empty() || name.ends_with("msg")) {
                let part = if name.ends_with("id") { part } else { word.text.as_str() };
                match rule_set(name, part) {
                    Some(set) => sets.push(set),
                    None => drop(self.report().error(word.whole(), format!("`{part}` names no rules"))),
                }
                if !name.ends_with("id") {
                    break;
                }
            }
        }
        let inputs = match list {
            None => None,
            Some(word) => match variables::inputs(word, &mut self.report()) {
                Some(inputs) => Some(inputs),
                None => return,
            },
        };
        let meant = |rule: &ScriptRule| sets.iter().any(|set| meets(set, rule));
        let mut found = false;
        match inputs {
            Some(inputs) => {
                for item in &mut self.script.items {
                    if let ScriptItem::Rule(rule) = item
                        && meant(rule)
                        && let Some(head) = rule.rule.links.first_mut()
                    {
                        head.inputs.extend(inputs.iter().cloned());
                        found = true;
                    }
                }
            }
            None => self.script.items.retain(|item| match item {
                ScriptItem::Rule(rule) if meant(rule) => {
                    found = true;
                    false
                }
                _ => true,
            }),
        }
        if !found {
            let message = format!("`{}` is about no rule that stands before it", directive.name.text);
            self.report().ignored(&format!("update at {place:?}"), place, message);
        }
    }
}

/// The rules that `942100`, `942100-942999`, a tag or a message names. `name`: of the directive.
pub(super) fn rule_set(name: &str, text: &str) -> Option<RuleSet> {
    let text = text.trim().trim_matches('\'');
    if name.ends_with("id") {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        return Some(RuleSet::Ids(first.trim().parse().ok()?, last.trim().parse().ok()?));
    }
    (!text.is_empty()).then(|| match name.ends_with("tag") {
        true => RuleSet::Tag(text.into()),
        false => RuleSet::Message(text.into()),
    })
}

/// Whether a rule is one of a set. Tags and messages are found where they hold the text.
pub(in crate::policy::waf) fn meets(set: &RuleSet, rule: &ScriptRule) -> bool {
    match set {
        RuleSet::Ids(first, last) => (*first..=*last).contains(&rule.id),
        RuleSet::Tag(tag) => rule.rule.tags.iter().any(|known| known.contains(&**tag)),
        RuleSet::Message(text) => plain(&rule.rule.msg).contains(&**text),
    }
}
