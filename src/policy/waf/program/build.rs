//! Script → program: names become numbers, operators are built, jumps are resolved.

use std::collections::HashMap;
use std::sync::Arc;

use regex_automata::meta;

use super::parts::{
    Asked, Assigned, Changed, Done, Hidden, Link, LinkTest, Number, ProgramRule, Text, TextPiece,
};
use super::state::Slots;
use super::{Exclusion, PhaseProgram, Program};
use crate::policy::code::Code;
use crate::policy::diagnostic::{Diagnostics, Place};
use crate::policy::waf::bits::Bits;
use crate::policy::waf::ir::{
    Change, Control, Effect, Input, Operand, Piece, RuleSet, Template, Test, Variable, VariableKind,
};
use crate::policy::waf::matcher::{CompiledCondition, CompiledTest};
use crate::policy::waf::operators::{OperatorKind, OperatorProblem, SYNTAX_OF_TOML, TableBudget, parse};
use crate::policy::waf::seclang::SYNTAX;
use crate::policy::waf::seclang::{Script, ScriptItem, ScriptRule, meets, plain};
use crate::policy::waf::sight::View;
use crate::policy::waf::targets::{Selector, Target};
use crate::policy::waf::{ir, seclang};

struct Builder<'a, 'd> {
    slots: Slots,
    tables: &'a mut TableBudget,
    diagnostics: &'d mut Diagnostics,
    /// The rules of the script, for what names them.
    rules: Vec<&'a ScriptRule>,
    /// The number and the message of the rule that is being built, for what names them.
    current: (u32, String),
}

/// Builds a program. `exclusions` are those of TOML, about rules by their place among the script's.
pub(in crate::policy::waf) fn build(
    script: &Script,
    exclusions: Vec<ir::Exclusion>,
    tables: &mut TableBudget,
    diagnostics: &mut Diagnostics,
) -> Program {
    let rules: Vec<&ScriptRule> = script.items.iter().filter_map(ScriptItem::rule).collect();
    let current = (0, String::new());
    let mut builder = Builder { slots: Slots::new(), tables, diagnostics, rules, current };
    let mut built: Vec<ProgramRule> = Vec::new();
    let mut positions: [usize; 5] = [0; 5];
    let mut phases: [PhaseProgram; 5] = Default::default();
    // Jumps that wait for their marker: marker, phase, rule.
    let mut waiting: HashMap<Box<str>, Vec<(usize, usize)>> = HashMap::new();
    let mut jumps: Vec<(usize, usize, Place, Box<str>)> = Vec::new();
    for item in &script.items {
        match item {
            ScriptItem::Marker(name) => {
                for (phase, rule) in waiting.remove(name).unwrap_or_default() {
                    if let Some(rule) = built.get_mut(rule) {
                        rule.skip = Some(positions[phase]);
                    }
                }
            }
            ScriptItem::Rule(rule) => {
                let phase = rule.rule.phase as usize - 1;
                let number = built.len();
                // A rule that cannot be built keeps its number, so that all others keep theirs.
                let made = builder.rule(rule);
                for effect in &rule.rule.effects {
                    if let Effect::SkipAfter(marker) = effect {
                        waiting.entry(marker.clone()).or_default().push((phase, number));
                        jumps.push((number, phase, rule.rule.place, marker.clone()));
                    }
                }
                phases[phase].rules.push(number);
                positions[phase] += 1;
                built.push(made);
            }
        }
    }
    for (marker, left) in waiting {
        for (phase, rule) in left {
            if let Some(rule) = built.get_mut(rule) {
                rule.skip = Some(phases[phase].rules.len());
                builder.diagnostics.push(
                    Code::Seclang,
                    rule.place,
                    format!("no `SecMarker {marker}` stands behind this rule"),
                );
            }
        }
    }
    let size = built.len();
    let exclusions = exclusions
        .into_iter()
        .filter_map(|exclusion| {
            let mut rules = Bits::none(size);
            exclusion.rules.iter().for_each(|rule| rules.insert(*rule));
            let texts = match exclusion.targets.as_slice() {
                [] => None,
                targets => Some(Arc::new(builder.view_of_members(targets)?)),
            };
            (!rules.is_empty()).then_some(Exclusion { scope: exclusion.scope, rules, texts })
        })
        .collect();
    let minds_errors = built
        .iter()
        .flat_map(|rule| &rule.links)
        .flat_map(|link| &link.asked)
        .any(|asked| matches!(asked, Asked::Scalar("REQBODY_ERROR" | "REQBODY_PROCESSOR_ERROR")));
    let mut program = Program {
        settings: script.settings.clone(),
        rules: built,
        phases,
        slots: builder.slots,
        initial: Arc::default(),
        exclusions,
        minds_errors,
    };
    program.look_ahead();
    program
}

impl Builder<'_, '_> {
    fn rule(&mut self, script: &ScriptRule) -> ProgramRule {
        let rule = &script.rule;
        self.current = (script.id, plain(&rule.msg));
        let links = rule.links.iter().map(|link| self.link(link, rule.place)).collect();
        let allow = rule.effects.iter().find_map(|effect| match effect {
            Effect::Allow(allowed) => Some(*allowed),
            _ => None,
        });
        ProgramRule {
            written: script.written,
            place: rule.place,
            paranoia: rule.paranoia,
            links,
            action: rule.action,
            logged: rule.logged,
            msg: self.text(&rule.msg, rule.place),
            data: rule.data.as_ref().map(|data| self.text(data, rule.place)),
            skip: None,
            allow,
        }
    }

    fn link(&mut self, link: &ir::Link, place: Place) -> Link {
        let targets: Vec<&Target> = link
            .inputs
            .iter()
            .filter_map(|input| match input {
                Input::Texts(target) => Some(target),
                _ => None,
            })
            .collect();
        let view =
            if targets.iter().any(|target| !target.excluded) { self.view(&targets, place) } else { None };
        let mut asked = Vec::new();
        for input in &link.inputs {
            match input {
                Input::Variable(variable) => asked.extend(self.asked(variable, place)),
                Input::Count(variables) => {
                    let (texts, others): (Vec<&Variable>, Vec<&Variable>) = variables
                        .iter()
                        .partition(|variable| matches!(variable.kind, VariableKind::Texts(_)));
                    let targets: Vec<&Target> = texts
                        .iter()
                        .filter_map(|variable| match &variable.kind {
                            VariableKind::Texts(target) => Some(target),
                            _ => None,
                        })
                        .collect();
                    if !targets.is_empty() {
                        asked.extend(self.view(&targets, place).map(Asked::CountTexts));
                    }
                    if !others.is_empty() {
                        let counted =
                            others.iter().filter_map(|variable| self.asked(variable, place)).collect();
                        asked.push(Asked::Count(counted));
                    }
                }
                Input::Texts(_) => {}
                Input::Without(variable) => {
                    let gone = self.asked(variable, place);
                    asked.retain(|asked| !same(asked, gone.as_ref()));
                }
            }
        }
        let test = self.test(&link.test);
        let found_by_matcher = asked.is_empty() && view.is_some() && matches!(test, LinkTest::Fixed(_));
        Link {
            view,
            asked,
            transforms: link.transforms.as_slice().into(),
            multi_match: link.multi_match,
            test,
            capture: link.capture,
            effects: link.effects.iter().filter_map(|effect| self.effect(effect, place)).collect(),
            found_by_matcher,
        }
    }

    fn view(&mut self, targets: &[&Target], place: Place) -> Option<Arc<View>> {
        match View::new(targets.iter().copied()) {
            Ok(view) => Some(Arc::new(view)),
            Err(problem) => {
                self.problem(problem, place);
                None
            }
        }
    }

    fn view_of_members(&mut self, targets: &[Target]) -> Option<View> {
        let targets: Vec<Target> = targets.iter().map(in_seclang).collect();
        View::of_members(&targets).ok()
    }

    fn problem(&mut self, problem: OperatorProblem, place: Place) {
        let diagnostic = self.diagnostics.push(Code::Seclang, place, problem.message);
        match problem.help {
            "" => {}
            SYNTAX_OF_TOML => drop(diagnostic.help(SYNTAX)),
            help => drop(diagnostic.help(help)),
        }
    }

    fn asked(&mut self, variable: &Variable, place: Place) -> Option<Asked> {
        Some(match &variable.kind {
            VariableKind::Transaction => return self.slots_asked("tx", &variable.selector, place),
            VariableKind::Stored(collection) => {
                return self.slots_asked(&collection.to_ascii_lowercase(), &variable.selector, place);
            }
            VariableKind::Matched => Asked::Matched,
            VariableKind::MatchedName => Asked::MatchedNames,
            VariableKind::Named(name) => match &**name {
                "MATCHED_VAR" => Asked::LastMatched,
                "MATCHED_VAR_NAME" => Asked::LastMatchedName,
                name => Asked::Scalar(scalar(name)?),
            },
            VariableKind::Texts(_) => return None,
        })
    }

    fn slots_asked(&mut self, collection: &str, selector: &Selector, place: Place) -> Option<Asked> {
        let expression = match selector {
            Selector::Name(name) => return Some(Asked::Slot(self.slots.number(collection, name))),
            Selector::All => None,
            Selector::Pattern(pattern) => {
                let made = parse(&format!("(?i){pattern}")).and_then(|hir| {
                    meta::Builder::new().build_from_hir(&hir).map_err(OperatorProblem::too_large)
                });
                match made {
                    Ok(expression) => Some(Box::new(expression)),
                    Err(problem) => {
                        self.problem(problem, place);
                        return None;
                    }
                }
            }
        };
        Some(Asked::Slots(collection.into(), expression))
    }

    fn test(&mut self, test: &Test) -> LinkTest {
        let condition = match test {
            Test::Always => return LinkTest::Always,
            Test::All(conditions) | Test::Any(conditions) => conditions.first(),
        };
        let Some(condition) = condition else { return LinkTest::Always };
        let (kind, negated) = (condition.operator, condition.negated);
        let numeric = matches!(
            kind,
            OperatorKind::Eq | OperatorKind::Ge | OperatorKind::Gt | OperatorKind::Le | OperatorKind::Lt
        );
        match &condition.argument {
            Operand::Macro(template) => {
                let with = self.text(template, condition.place);
                match numeric {
                    true => LinkTest::Number { kind, with: Number::Text(with), negated },
                    false => LinkTest::Text { kind, with, negated },
                }
            }
            Operand::Fixed(super::super::operators::Argument::Number(number)) if numeric => {
                LinkTest::Number { kind, with: Number::Fixed(*number), negated }
            }
            Operand::Fixed(argument) => match kind.build(argument, self.tables) {
                Ok(operator) => {
                    let conditions: Box<[CompiledCondition]> =
                        Box::new([CompiledCondition { operator, negated }]);
                    LinkTest::Fixed(CompiledTest { conditions, any: false })
                }
                Err(problem) => {
                    self.problem(problem, condition.place);
                    LinkTest::Always
                }
            },
        }
    }

    fn effect(&mut self, effect: &Effect, place: Place) -> Option<Done> {
        Some(match effect {
            Effect::SkipAfter(_) | Effect::Allow(_) => return None,
            Effect::Set { collection, name, change } => {
                let slot = match name.as_text() {
                    Some(name) => Assigned::Slot(self.slots.number(collection, name)),
                    None => Assigned::Named(collection.clone(), self.text(name, place)),
                };
                let scores =
                    name.as_text().is_some_and(|name| name.to_ascii_lowercase().contains("anomaly_score"));
                let change = match change {
                    Change::Value(text) => Changed::Value(self.text(text, place)),
                    Change::Add(text) => Changed::Add(self.text(text, place)),
                    Change::Subtract(text) => Changed::Subtract(self.text(text, place)),
                    Change::Unset => Changed::Unset,
                };
                Done::Set { slot, change, scores }
            }
            Effect::Recall { kept, key } => Done::Recall { kept: *kept, key: self.text(key, place) },
            Effect::Expire { kept, name, seconds } => {
                Done::Expire { kept: *kept, name: self.text(name, place), seconds: self.text(seconds, place) }
            }
            Effect::Control(control) => match control {
                Control::RemoveRules(set) => Done::RemoveRules(Arc::new(self.rules_of(set))),
                Control::RemoveTarget(set, inputs) => {
                    let rules = self.rules_of(set);
                    let targets: Vec<Target> = inputs
                        .iter()
                        .filter_map(|input| match input {
                            Input::Texts(target) => Some(target.clone()),
                            _ => None,
                        })
                        .collect();
                    let texts = match View::new(&targets) {
                        Ok(view) => view,
                        Err(problem) => {
                            self.problem(problem, place);
                            return None;
                        }
                    };
                    let slots = inputs
                        .iter()
                        .filter_map(|input| match input {
                            Input::Variable(variable) => match self.asked(variable, place) {
                                Some(Asked::Slot(slot)) => Some(slot),
                                _ => None,
                            },
                            _ => None,
                        })
                        .collect();
                    Done::Hide(Arc::new(Hidden { rules, texts, slots }))
                }
                Control::BodyProcessor(name) => Done::Processor(super::body::Processor::by_name(name)?),
                Control::Setting(name, value) => match (&**name, &**value) {
                    ("ruleEngine", "on") => Done::Engine(seclang::EngineMode::On),
                    ("ruleEngine", "off") => Done::Engine(seclang::EngineMode::Off),
                    ("ruleEngine", _) => Done::Engine(seclang::EngineMode::DetectionOnly),
                    ("forcerequestbodyvariable", value) => Done::ForceBody(value == "on"),
                    ("requestbodyaccess", value) => Done::RequestBody(value == "on"),
                    _ => return None,
                },
            },
        })
    }

    fn rules_of(&self, set: &RuleSet) -> Bits {
        let mut bits = Bits::none(self.rules.len());
        let found = self.rules.iter().enumerate().filter(|(_, rule)| meets(set, rule));
        found.for_each(|(at, _)| bits.insert(at));
        bits
    }

    fn text(&mut self, template: &Template, place: Place) -> Text {
        let pieces = template.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(text) => Some(TextPiece::Fixed(text.as_bytes().into())),
            Piece::Macro(variables) => self.piece(variables, place),
        });
        Text(pieces.collect::<Vec<_>>())
    }

    fn piece(&mut self, variables: &[Variable], place: Place) -> Option<TextPiece> {
        let first = variables.first()?;
        if let (VariableKind::Named(name), Selector::Name(member)) = (&first.kind, &first.selector)
            && &**name == "RULE"
        {
            let text = match &**member {
                "id" => self.current.0.to_string(),
                "msg" => self.current.1.clone(),
                other => {
                    let message = format!("`%{{rule.{other}}}` is not known; there are `id` and `msg`");
                    self.diagnostics.push(Code::Seclang, place, message);
                    return None;
                }
            };
            return Some(TextPiece::Fixed(text.as_bytes().into()));
        }
        if matches!(first.kind, VariableKind::Texts(_)) {
            let views = variables.iter().filter_map(|variable| match &variable.kind {
                VariableKind::Texts(target) => self.view(&[target], place),
                _ => None,
            });
            return Some(TextPiece::Texts(views.collect()));
        }
        Some(match self.asked(first, place)? {
            Asked::Slot(slot) => TextPiece::Slot(slot),
            Asked::LastMatched | Asked::Matched => TextPiece::LastMatched,
            Asked::LastMatchedName | Asked::MatchedNames => TextPiece::LastMatchedName,
            Asked::Scalar(name) => TextPiece::Scalar(name),
            Asked::Slots(..) | Asked::Count(_) | Asked::CountTexts(_) => {
                self.diagnostics.push(
                    Code::Seclang,
                    place,
                    "a macro stands for one value, as in `%{tx.name}`",
                );
                return None;
            }
        })
    }
}

fn same(asked: &Asked, gone: Option<&Asked>) -> bool {
    match (asked, gone) {
        (Asked::Slot(mine), Some(Asked::Slot(theirs))) => mine == theirs,
        (Asked::Scalar(mine), Some(Asked::Scalar(theirs))) => mine == theirs,
        _ => false,
    }
}

fn scalar(name: &str) -> Option<&'static str> {
    seclang::variables::SCALARS.iter().copied().find(|known| *known == name)
}

/// A target of TOML as SecLang's values are named: `json:items.0` is `json.items.array_0`.
fn in_seclang(target: &Target) -> Target {
    use crate::policy::waf::targets::Collection;
    let selector = match (&target.selector, target.collection) {
        (Selector::Name(path), Collection::Json) => {
            let steps = path.split('.').map(|step| match step.bytes().all(|byte| byte.is_ascii_digit()) {
                true => format!("array_{step}"),
                false => step.to_owned(),
            });
            Selector::Name(format!("json.{}", steps.collect::<Vec<_>>().join(".")).into())
        }
        (selector, _) => selector.clone(),
    };
    Target { selector, ..target.clone() }
}
