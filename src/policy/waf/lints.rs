//! What is suspicious among WAF rules: expressions that match everything, conditions that nothing can
//! meet, rules that other rules leave nothing, exclusions that exclude nothing.

mod doubled;
mod impossible;

use std::collections::HashSet;

use regex_automata::Anchored;
use regex_automata::dfa::{Automaton, dense};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::util::primitives::StateID;
use regex_automata::util::start;

use super::operators::regex::parse;
use super::raw::{RawArgument, RawCondition, RawMatch, RawWaf, RawWafExclude, RawWafRule, TargetWord};
use super::targets::{Part, Selector, Target};
use crate::policy::code::Code;
use crate::policy::diagnostic::Diagnostics;
use crate::policy::lint::Look;
use crate::policy::mode::{Mode, ModeWord};
use crate::policy::scope::Scope;

/// Looks for what is suspicious among WAF rules.
pub(in crate::policy) fn lint(look: &Look<'_>, diagnostics: &mut Diagnostics) {
    let Some(raw) = &look.raw.waf else { return };
    for rule in &raw.rule {
        let chain = rule.chain.iter().map(|link| (&link.transforms, &link.r#match));
        for (transforms, wanted) in std::iter::once((&rule.transforms, &rule.r#match)).chain(chain) {
            for condition in conditions(wanted) {
                matches_everything(rule, condition, diagnostics);
                impossible::condition(rule, transforms, condition, diagnostics);
            }
        }
        never_matches(rule, look, diagnostics);
        sees_no_body(rule, look, diagnostics);
    }
    doubled::rules(raw, look, diagnostics);
    for exclude in &raw.exclude {
        useless(exclude, raw, look, diagnostics);
    }
}

fn conditions(wanted: &RawMatch) -> &[RawCondition] {
    match wanted {
        RawMatch::One(one) => std::slice::from_ref(one),
        RawMatch::All(all) => all,
        RawMatch::Any(any) => any,
    }
}

// === expressions ===

fn matches_everything(rule: &RawWafRule, condition: &RawCondition, diagnostics: &mut Diagnostics) {
    let RawArgument::Text(pattern) = &condition.argument else { return };
    if condition.operator.info().name != "regex" || !is_universal(pattern) {
        return;
    }
    let message = match condition.not {
        false => "this expression matches every text that is not empty",
        true => "with `not`, this matches no text that is not empty",
    };
    diagnostics
        .push(Code::MatchesEverything, condition.place, message)
        .about(format!("waf/{}", rule.id.value))
        .label("matches everything")
        .help("say what the text must hold; for \"there is any value\" use `present = true`");
}

/// Whether an expression matches every text of printable characters that is not empty. Proved by its
/// automaton: no way through it ends without a match. Where that is too large, it is not said.
fn is_universal(pattern: &str) -> bool {
    let Ok(hir) = parse(pattern) else { return false };
    // Nearly every expression fails to match one of these; only the rest is worth a proof.
    let Ok(quick) = regex_automata::meta::Builder::new().build_from_hir(&hir) else { return false };
    if [" ", "a", "0", "~", "Az 09/._-", "%'\"<>(){}"].iter().any(|text| !quick.is_match(text.as_bytes())) {
        return false;
    }
    let nfa = thompson::Compiler::new()
        .configure(thompson::Config::new().which_captures(WhichCaptures::None).nfa_size_limit(Some(MAX_SIZE)))
        .build_from_hir(&hir);
    let config = dense::Config::new().dfa_size_limit(Some(MAX_SIZE)).determinize_size_limit(Some(MAX_SIZE));
    let dfa = nfa.ok().and_then(|nfa| dense::Builder::new().configure(config).build_from_nfa(&nfa).ok());
    dfa.is_some_and(|dfa| no_way_ends_without_match(&dfa) == Some(true))
}

/// The automaton's states are visited from the beginning of a text on, by printable characters, up to
/// those in which it has matched.
fn no_way_ends_without_match(dfa: &dense::DFA<Vec<u32>>) -> Option<bool> {
    let start = dfa.start_state(&start::Config::new().anchored(Anchored::No)).ok()?;
    // The first state is left without a look: the empty text does not count. It may be come back to.
    let mut seen: HashSet<StateID> = HashSet::new();
    let mut pending: Vec<StateID> = vec![start];
    while let Some(state) = pending.pop() {
        for byte in b' '..=b'~' {
            let next = dfa.next_state(state, byte);
            // A match is seen one byte late, so a state that the end of the text makes match counts too.
            if !dfa.is_match_state(next)
                && (dfa.is_quit_state(next) || !dfa.is_match_state(dfa.next_eoi_state(next)))
            {
                return Some(false);
            }
            if !dfa.is_match_state(next) && seen.insert(next) {
                pending.push(next);
            }
        }
    }
    Some(true)
}

const MAX_SIZE: usize = 1 << 20;

// === scopes ===

fn never_matches(rule: &RawWafRule, look: &Look<'_>, diagnostics: &mut Diagnostics) {
    let off = matches!(&rule.mode.mode, Some(mode) if mode.value == ModeWord::Off);
    let Some(scope) = look.scope(&rule.scope).filter(|scope| !off && !look.served.meets(scope)) else {
        return;
    };
    let what = if scope.routes.is_empty() { "no route serves" } else { "the routes it names do not serve" };
    diagnostics
        .push(
            Code::NeverMatches,
            rule.place,
            format!("`waf/{}` is about requests that {what}", rule.id.value),
        )
        .about(format!("waf/{}", rule.id.value))
        .label("never judged")
        .help("compare its `path`, `host`, `methods` and `routes` with the [[route]]s");
}

/// Reports a rule about bodies alone, where no route of its requests has its bodies read.
fn sees_no_body(rule: &RawWafRule, look: &Look<'_>, diagnostics: &mut Diagnostics) {
    let off = matches!(&rule.mode.mode, Some(mode) if mode.value == ModeWord::Off);
    let links = std::iter::once((&rule.targets, &rule.r#match));
    let mut links = links.chain(rule.chain.iter().map(|link| (&link.targets, &link.r#match)));
    // One link that finds no text is enough, unless it is met by that.
    let blind = links.any(|(targets, wanted)| {
        let mut looked_at =
            targets.value.iter().flat_map(|word| &word.value.0).filter(|target| !target.excluded);
        looked_at.all(|target| target.collection.in_body()) && conditions(wanted).iter().all(|one| !one.not)
    });
    let Some(scope) = look.scope(&rule.scope).filter(|_| blind && !off) else { return };
    let Some(routes) = look.served.of(&scope).filter(|routes| !routes.is_empty()) else { return };
    if routes.iter().any(|route| route.waf_body) {
        return;
    }
    let names: Vec<String> = routes.iter().take(3).map(|route| format!("`{}`", route.name)).collect();
    let more = if routes.len() > names.len() { " and others" } else { "" };
    diagnostics
        .push(
            Code::NeverMatches,
            rule.place,
            format!(
                "`waf/{}` looks at bodies, and those of {}{more} are not read (`waf_body = \"off\"`)",
                rule.id.value,
                names.join(", ")
            ),
        )
        .about(format!("waf/{}", rule.id.value))
        .label("never judged")
        .help("let the route's bodies be read, or remove the rule");
}

// === exclusions ===

/// Reports each rule from which an exclusion keeps nothing.
fn useless(exclude: &RawWafExclude, raw: &RawWaf, look: &Look<'_>, diagnostics: &mut Diagnostics) {
    let Some(scope) = look.scope(&exclude.scope) else { return };
    let level = raw.paranoia.map_or(1, |level| level.value);
    let kept: Option<Vec<Target>> = exclude.targets.as_ref().map(|targets| all(&targets.value));
    for name in &exclude.rules.value {
        let written = raw.rule.iter().find(|rule| name.value == format!("waf/{}", rule.id.value));
        let why = match written {
            _ if !look.served.meets(&scope) => {
                Some("no route serves the requests that it is about".to_owned())
            }
            Some(rule) => why_useless(rule, &scope, kept.as_deref(), level, look),
            // Rules of packs are looked at as they are compiled.
            None => super::pack::rule(&name.value).and_then(|rule| {
                let runs = rule.mode != Mode::Off && rule.paranoia <= level;
                let targets = rule.links.iter().flat_map(|link| link.targets());
                not_at_all(runs, targets, kept.as_deref())
            }),
        };
        let Some(why) = why else { continue };
        diagnostics
            .push(
                Code::UselessExclusion,
                name.place,
                format!("`{}` keeps nothing from `{}`: {why}", exclude.id.value, name.value),
            )
            .about(format!("exclude/{}", exclude.id.value))
            .label("excludes nothing")
            .help("remove the name, or the whole exclusion; or say what it is to exclude");
    }
}

fn why_useless(
    rule: &RawWafRule,
    scope: &Scope,
    kept: Option<&[Target]>,
    level: u8,
    look: &Look<'_>,
) -> Option<String> {
    let of = look.scope(&rule.scope)?;
    if !of.meets(scope) {
        return Some("the rule is about other requests".to_owned());
    }
    let off = matches!(&rule.mode.mode, Some(mode) if mode.value == ModeWord::Off);
    let runs = !off && rule.paranoia.map_or(1, |level| level.value) <= level;
    let targets = std::iter::once(&rule.targets).chain(rule.chain.iter().map(|link| &link.targets));
    let targets: Vec<Target> = targets.flat_map(|targets| all(&targets.value)).collect();
    not_at_all(runs, targets.iter(), kept)
}

fn not_at_all<'t>(
    runs: bool,
    mut targets: impl Iterator<Item = &'t Target>,
    kept: Option<&[Target]>,
) -> Option<String> {
    if !runs {
        return Some("the rule does not run".to_owned());
    }
    let kept = kept?;
    let looks = targets.any(|target| !target.excluded && kept.iter().any(|kept| may_meet(target, kept)));
    (!looks).then(|| "the rule looks at none of these texts".to_owned())
}

fn all(words: &[crate::policy::diagnostic::At<TargetWord>]) -> Vec<Target> {
    words.iter().flat_map(|word| word.value.0.iter().cloned()).collect()
}

/// Whether some text may be in both. Of two expressions that is taken for granted.
fn may_meet(one: &Target, other: &Target) -> bool {
    let parts = one.part == Part::Both || other.part == Part::Both || one.part == other.part;
    let members = match (&one.selector, &other.selector) {
        (Selector::Name(one), Selector::Name(other)) => one == other,
        _ => true,
    };
    one.collection == other.collection && parts && members
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, universal: bool) {
        assert_eq!(is_universal(pattern), universal, "{pattern}");
    }

    #[test]
    fn what_matches_every_text_is_found() {
        for pattern in
            [".+", "(?s).+", "^.+$", "[^\\n]+", "\\S|\\s", "[ -~]", "a|.", "(?:foo)?.", "[^a]|a+", ".|"]
        {
            check(pattern, true);
        }
    }

    #[test]
    fn what_some_text_does_not_match_is_not_reported() {
        for pattern in [
            "\\S+",
            "\\w",
            "a.*",
            "..",
            "^.$",
            "[^ ]",
            "[^z]",
            "\\d+|\\D\\D",
            "[^/]+",
            "\\b.",
            ".\\b",
            "(?i)select",
        ] {
            check(pattern, false);
        }
    }

    #[test]
    fn texts_that_differ_in_any_way_do_not_meet() {
        let target = |text: &str| super::super::targets::parse(text).unwrap().remove(0);
        let meets = |one, other| may_meet(&target(one), &target(other));
        assert!(meets("query", "query:q") && meets("query:/^q/", "query:q") && meets("query.names", "query"));
        assert!(
            !meets("query:q", "query:r") && !meets("query", "form") && !meets("query.names", "query.values")
        );
    }
}
