//! The first front end: `[[waf.rule]]` and `[[waf.exclude]]` lowered to the intermediate representation.

use super::compile::{Built, build};
use super::ir::{Action, Condition, Exclusion, Input, Link, Operand, Rule, Template, Test};
use super::operators::{Argument, ArgumentKind, TableBudget};
use super::raw::{
    ActionWord, RawArgument, RawCondition, RawMatch, RawWafExclude, RawWafLink, RawWafRule, TargetWord,
    TransformWord,
};
use super::targets::Target;
use super::transforms::Transform;
use crate::decision::{RuleRef, Stage, Written};
use crate::policy::code::Code;
use crate::policy::compile::{Compile, unknown_name};
use crate::policy::decode::FilePath;
use crate::policy::diagnostic::{At, Place};
use crate::policy::mode::Mode;
use crate::policy::source::Attached;

/// A rule as far as it could be lowered.
struct Lowered {
    rule: Rule,
    /// Whether all of it could. Otherwise something was reported, and the rule is only fit to look
    /// for what else is wrong with it.
    whole: bool,
}

fn rule(raw: &RawWafRule, cx: &mut Compile<'_>) -> Lowered {
    let action = action(raw, cx);
    let scope = cx.scope(&raw.scope);
    let paranoia = raw.paranoia.map_or(Some(1), |level| level_of(level, cx));
    let mut whole = action.is_some() && paranoia.is_some();
    let mut links = vec![link(raw.place, &raw.targets, &raw.transforms, &raw.r#match, &mut whole, cx)];
    for RawWafLink { place, targets, transforms, r#match } in &raw.chain {
        links.push(link(*place, targets, transforms, r#match, &mut whole, cx));
    }
    let rule = Rule {
        place: raw.place,
        phase: Rule::earliest_phase(&links),
        scope,
        mode: Mode::from(&raw.mode),
        paranoia: paranoia.unwrap_or(1),
        links,
        action: action.unwrap_or(Action::Log),
        effects: Vec::new(),
        tags: raw.tags.iter().map(|tag| tag.as_str().into()).collect(),
        msg: Template::text(raw.msg.as_ref().map_or("", |msg| &msg.value)),
        data: None,
        severity: None,
        logged: true,
    };
    Lowered { rule, whole }
}

/// A paranoia level, from 1 to 4.
pub(super) fn level_of(level: At<u8>, cx: &mut Compile<'_>) -> Option<u8> {
    if (1..=4).contains(&level.value) {
        return Some(level.value);
    }
    cx.diagnostics
        .push(Code::BadValue, level.place, format!("`{}` is not a paranoia level", level.value))
        .help("levels go from 1 (few false alarms) to 4 (much suspicion)");
    None
}

fn action(raw: &RawWafRule, cx: &mut Compile<'_>) -> Option<Action> {
    match (&raw.score, &raw.action) {
        (Some(score), None) if score.value > 0 => Some(Action::Score(score.value)),
        (Some(score), None) => {
            cx.diagnostics
                .push(Code::BadValue, score.place, "a score of 0 adds nothing")
                .help("write `action = \"log\"` for a rule that only records");
            None
        }
        (None, Some(At { value: ActionWord::Deny, .. })) => Some(Action::Deny),
        (None, Some(At { value: ActionWord::Log, .. })) => Some(Action::Log),
        (Some(score), Some(action)) => {
            cx.diagnostics
                .push(Code::Conflict, action.place, "a rule has either `score` or `action`")
                .also(score.place, "the score")
                .help("with `action = \"deny\"` one match refuses; with `score` the sum over all rules does");
            None
        }
        (None, None) => {
            cx.diagnostics
                .push_unless_lost(
                    raw.place,
                    &["score", "action"],
                    Code::MissingKey,
                    raw.id.place,
                    format!("the rule `{}` has neither `score` nor `action`", raw.id.value),
                )
                .help("add `score = 5`, `action = \"deny\"` or `action = \"log\"`");
            None
        }
    }
}

/// Lowers what of a link can be; clears `whole` where that is not all.
fn link(
    table: Place,
    targets: &At<Vec<At<TargetWord>>>,
    transforms: &[TransformWord],
    wanted: &RawMatch,
    whole: &mut bool,
    cx: &mut Compile<'_>,
) -> Link {
    let inputs = inputs(table, targets, cx);
    let transforms: Vec<Transform> = transforms.iter().map(|word| word.0).collect();
    let (conditions, any) = match wanted {
        RawMatch::One(one) => (std::slice::from_ref(one), false),
        RawMatch::All(all) => (all.as_slice(), false),
        RawMatch::Any(any) => (any.as_slice(), true),
    };
    let conditions: Vec<Option<Condition>> =
        conditions.iter().map(|raw| condition(raw, &transforms, cx)).collect();
    *whole &= inputs.is_some() && !conditions.is_empty() && conditions.iter().all(Option::is_some);
    let inputs = inputs.unwrap_or_default();
    let conditions: Vec<Condition> = conditions.into_iter().flatten().collect();
    let test = if any { Test::Any(conditions) } else { Test::All(conditions) };
    Link { inputs, transforms, multi_match: false, test, capture: false, effects: Vec::new() }
}

fn inputs(table: Place, raw: &At<Vec<At<TargetWord>>>, cx: &mut Compile<'_>) -> Option<Vec<Input>> {
    if cx.diagnostics.lacks(table, &["targets"]) {
        return None;
    }
    let targets = targets(&raw.value);
    if targets.iter().all(|target| target.excluded) {
        cx.diagnostics.push(Code::BadValue, raw.place, "`targets` names nothing to look at").help(
            "a leading `!` only takes away from what another entry names: [\"args\", \"!args:comment\"]",
        );
        return None;
    }
    let useless = targets.iter().filter(|target| target.excluded).find(|excluded| {
        !targets.iter().any(|target| !target.excluded && target.collection == excluded.collection)
    });
    // `!args:x` beside `query` alone names three collections that nothing named; that is harmless.
    if let Some(target) = useless
        && raw.value.iter().any(|word| matches!(word.value.0.as_slice(), [one] if one == target))
    {
        cx.diagnostics.push(
            Code::BadValue,
            raw.place,
            format!("`{target}` takes away from `{}`, which no entry names", target.collection.name()),
        );
        return None;
    }
    Some(targets.into_iter().map(Input::Texts).collect())
}

fn targets(words: &[At<TargetWord>]) -> Vec<Target> {
    words.iter().flat_map(|word| word.value.0.iter().cloned()).collect()
}

fn condition(raw: &RawCondition, transforms: &[Transform], cx: &mut Compile<'_>) -> Option<Condition> {
    let argument = match &raw.argument {
        RawArgument::Nothing => Argument::Nothing,
        RawArgument::Text(text) => Argument::Text(text.as_str().into()),
        RawArgument::Words(words) => Argument::Words(words.iter().map(|word| word.as_str().into()).collect()),
        RawArgument::File(file) => Argument::Words(word_file(file, cx)?),
        RawArgument::Number(number) => Argument::Number(*number),
        RawArgument::Bytes(set) => Argument::Bytes(*set),
        RawArgument::Networks(nets) => Argument::Networks(cx.networks.resolve(nets, cx.diagnostics).into()),
    };
    let kind = raw.operator.info();
    if always_lowercase(transforms) && kind.name != "regex" && has_capitals(&argument) && !raw.not {
        cx.diagnostics
            .push(
                Code::BadValue,
                raw.place,
                format!("`{}` compares with capitals what `lowercase` made small", kind.name),
            )
            .help("write the text in small letters");
        return None;
    }
    debug_assert!(kind.argument != ArgumentKind::Nothing || argument == Argument::Nothing);
    Some(Condition {
        place: raw.place,
        operator: raw.operator,
        argument: Operand::Fixed(argument),
        negated: raw.not,
    })
}

/// Whether no capital can be left behind these transformations.
fn always_lowercase(transforms: &[Transform]) -> bool {
    let decodes = |transform: &Transform| {
        !matches!(
            transform,
            Transform::CompressWhitespace
                | Transform::RemoveWhitespace
                | Transform::RemoveNulls
                | Transform::ReplaceComments
                | Transform::SqlComments
                | Transform::Trim
                | Transform::NormalisePath
                | Transform::NormalisePathWin
        )
    };
    match transforms
        .iter()
        .rposition(|transform| matches!(transform, Transform::Lowercase | Transform::CmdLine))
    {
        Some(at) => !transforms.iter().skip(at + 1).any(decodes),
        None => false,
    }
}

fn has_capitals(argument: &Argument) -> bool {
    let capital = |text: &str| text.bytes().any(|byte| byte.is_ascii_uppercase());
    match argument {
        Argument::Text(text) => capital(text),
        // One word with capitals among others is a dead word, not a dead rule; it is refused all the same.
        Argument::Words(words) => words.iter().any(|word| capital(word)),
        Argument::Nothing | Argument::Number(_) | Argument::Bytes(_) | Argument::Networks(_) => false,
    }
}

/// The lines of a word file.
fn word_file(file: &At<FilePath>, cx: &mut Compile<'_>) -> Option<Box<[Box<str>]>> {
    let path = &file.value.0;
    let id = match cx.sources.attached(file.place.file, path) {
        Some(Attached::Text(id)) => *id,
        Some(Attached::Absent) | None => {
            cx.diagnostics.push(Code::File, file.place, format!("the file `{path}` does not exist"));
            return None;
        }
        Some(Attached::Unreadable(why)) => {
            cx.diagnostics.push(Code::File, file.place, format!("the file `{path}` cannot be read: {why}"));
            return None;
        }
    };
    let text = cx.sources.get(id).map_or("", |source| &*source.text);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    Some(lines.map(Into::into).collect())
}

/// Lowers an exclusion. `rules` are all rules that there are, in order.
pub(super) fn exclusion(raw: &RawWafExclude, rules: &[Written], cx: &mut Compile<'_>) -> Exclusion {
    let scope = cx.scope(&raw.scope);
    let mut excluded = Vec::new();
    for name in &raw.rules.value {
        match cx.rules.by_name(&name.value) {
            Some(RuleRef::Written(written))
                if let Some(at) = rules.iter().position(|rule| *rule == written) =>
            {
                excluded.push(at);
            }
            Some(_) => {
                cx.diagnostics
                    .push(
                        Code::BadValue,
                        name.place,
                        format!("`{}` is not a rule of `[waf]` that can be excluded", name.value),
                    )
                    .help("exclusions are about written WAF rules; bounds of bodies stand in `[waf.body]`");
            }
            // Its pack may be the one that was misspelt.
            None if cx.diagnostics.has_lost_key("packs") => {}
            None => {
                let known: Vec<String> =
                    rules.iter().map(|rule| cx.rules.get(*rule).name.to_string()).collect();
                unknown_name(
                    "rule",
                    &name.value,
                    name.place,
                    known.iter().map(String::as_str),
                    cx.diagnostics,
                );
            }
        }
    }
    let words = raw.targets.as_ref();
    let empty = [
        (raw.rules.value.is_empty(), "rules", raw.rules.place),
        (
            words.is_some_and(|words| words.value.is_empty()),
            "targets",
            words.map_or(raw.place, |words| words.place),
        ),
    ];
    for (_, key, place) in empty.into_iter().filter(|(empty, ..)| *empty) {
        cx.diagnostics.push_unless_lost(
            raw.place,
            &[key],
            Code::BadValue,
            place,
            format!("`{key}` is empty, so nothing would be excluded"),
        );
    }
    let targets = targets(words.map_or(&[], |words| &words.value));
    if targets.iter().any(|target| target.excluded) {
        cx.diagnostics.push(
            Code::BadValue,
            words.map_or(raw.place, |words| words.place),
            "an exclusion names what is not looked at, without `!`",
        );
    }
    Exclusion { scope, rules: excluded, targets }
}

/// Checks that exclusions can be told apart.
pub(super) fn distinct(excludes: &[RawWafExclude], cx: &mut Compile<'_>) {
    for (at, exclude) in excludes.iter().enumerate() {
        let id = &exclude.id.value;
        if let Some(first) = excludes[..at].iter().find(|first| first.id.value == *id && !id.is_stand_in()) {
            cx.diagnostics
                .push(
                    Code::DuplicateId,
                    exclude.id.place,
                    format!("the exclusion `{}` is defined twice", exclude.id.value),
                )
                .also(first.id.place, "the first definition");
        }
    }
}

/// Adds the rules as they were written to the policy's table, lowers them and builds them. A rule
/// that cannot be used, which is reported, is built as far as it goes for the sake of its reports.
pub(super) fn rules(
    raw: &[RawWafRule],
    tables: &mut TableBudget,
    cx: &mut Compile<'_>,
) -> Vec<(Written, Option<Built>)> {
    raw.iter()
        .map(|raw| {
            let written = cx.rule(Stage::Waf, &raw.id, raw.place, &raw.mode, &raw.words);
            let Lowered { rule, whole } = rule(raw, cx);
            (written, build(rule, tables, cx.diagnostics).filter(|_| whole))
        })
        .collect()
}
