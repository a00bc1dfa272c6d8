//! IR → gates: operators are built, units and what they look at are put together for each gate.

use std::ops::Range;
use std::sync::Arc;

use super::bits::Bits;
use super::body::Bounds;
use super::budget::Budget;
use super::collect::Wanted;
use super::ir::{Action, Exclusion, Input, Link, Operand, Phase, Rule, Test, unsupported};
use super::matcher::{CompiledCondition, CompiledTest, Matcher, Unit};
use super::operators::{Operator, OperatorProblem, TableBudget};
use super::sight::{Sight, View};
use super::targets::Collection;
use super::values::{Value, Values};
use crate::decision::Written;
use crate::facts::Facts;
use crate::policy::code::Code;
use crate::policy::diagnostic::{Diagnostics, Place};
use crate::policy::mode::Mode;
use crate::policy::scope::Scope;

/// What `[waf]` says besides its rules.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) paranoia: u8,
    pub(super) threshold: u32,
    pub(super) budget: u64,
    pub(super) bounds: Bounds,
}

/// A rule with its operators built.
#[derive(Clone, Debug)]
pub(super) struct Built {
    pub(super) rule: Arc<Rule>,
    links: Arc<[BuiltLink]>,
}

#[derive(Clone, Debug)]
struct BuiltLink {
    view: Arc<View>,
    /// One of these has to match.
    units: Vec<Unit>,
}

/// All rules of a policy, ready to judge.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) settings: Settings,
    pub(super) head: Gate,
    pub(super) body: Gate,
}

/// The rules that run at one gate.
#[derive(Debug)]
pub(super) struct Gate {
    /// In policy order.
    pub(super) rules: Vec<GateRule>,
    pub(super) sight: Sight,
    pub(super) matcher: Matcher,
    pub(super) wanted: Wanted,
    /// The units of rules about all requests.
    unscoped: Bits,
    /// The units of the others, by scope.
    scoped: Vec<(Scope, Bits)>,
    exclusions: Vec<GateExclusion>,
    /// The units that need the body.
    in_body: Bits,
    /// The units of the first links of all rules.
    heads: Bits,
    /// The units of each link, in the order of the rules.
    links: Vec<Range<usize>>,
    /// By unit: its link.
    link_of: Vec<usize>,
}

/// A rule at a gate.
#[derive(Debug)]
pub(super) struct GateRule {
    pub(super) written: Written,
    pub(super) mode: Mode,
    pub(super) action: Action,
    pub(super) msg: Box<str>,
    /// Its first link among all links of the gate; those of its chain follow.
    pub(super) first: usize,
    pub(super) links: usize,
}

#[derive(Debug)]
struct GateExclusion {
    scope: Scope,
    units: Bits,
    /// The texts that are not looked at; none: the units do not run.
    texts: Option<View>,
}

/// The units that run for one request, and the exclusions that count for it.
#[derive(Debug)]
pub(super) struct Active<'a> {
    pub(super) units: Bits,
    exclusions: Vec<&'a GateExclusion>,
}

impl Built {
    /// What it was built of.
    pub(super) fn meaning(&self) -> Arc<Rule> {
        Arc::clone(&self.rule)
    }
}

// === building ===

/// Builds the operators of a rule. `None`: a problem was reported.
pub(super) fn build(rule: Rule, tables: &mut TableBudget, diagnostics: &mut Diagnostics) -> Option<Built> {
    if let Some(what) = unsupported(&rule) {
        diagnostics.push(
            Code::BadValue,
            rule.place,
            format!("this rule needs {what}, which this version does not run"),
        );
        return None;
    }
    let links: Vec<Option<BuiltLink>> =
        rule.links.iter().map(|link| build_link(link, rule.place, tables, diagnostics)).collect();
    let links: Option<Vec<BuiltLink>> = links.into_iter().collect();
    links.map(|links| Built { rule: Arc::new(rule), links: links.into() })
}

fn build_link(
    link: &Link,
    place: Place,
    tables: &mut TableBudget,
    diagnostics: &mut Diagnostics,
) -> Option<BuiltLink> {
    let targets = link.inputs.iter().filter_map(|input| match input {
        Input::Texts(target) => Some(target),
        Input::Count(_) | Input::Variable(_) | Input::Without(_) => None,
    });
    let view = View::new(targets).map_err(|problem| report(problem, place, diagnostics)).ok();
    let mut conditions = Vec::new();
    for condition in link.test.conditions() {
        let Operand::Fixed(argument) = &condition.argument else { continue };
        match condition.operator.build(argument, tables) {
            Ok(operator) => {
                if !condition.negated {
                    refuse_empty_match(&operator, condition.place, diagnostics)?;
                }
                conditions.push(CompiledCondition { operator, negated: condition.negated });
            }
            Err(problem) => report(problem, condition.place, diagnostics),
        }
    }
    let complete = conditions.len() == link.test.conditions().len();
    let test = CompiledTest { conditions: conditions.into(), any: matches!(link.test, Test::Any(_)) };
    view.filter(|_| complete).map(|view| BuiltLink {
        view: Arc::new(view),
        units: Unit { transforms: link.transforms.as_slice().into(), test, echo: false }.alternatives(),
    })
}

fn report(problem: OperatorProblem, place: Place, diagnostics: &mut Diagnostics) {
    let diagnostic = diagnostics.push(problem.code, place, problem.message);
    if !problem.help.is_empty() {
        diagnostic.help(problem.help);
    }
}

/// An expression that matches the empty text matches everywhere in every text.
fn refuse_empty_match(operator: &Operator, place: Place, diagnostics: &mut Diagnostics) -> Option<()> {
    if !matches!(operator, Operator::Regex(_)) || operator.judge(b"", &mut Budget(u64::MAX)) == Ok(false) {
        return Some(());
    }
    diagnostics
        .push(Code::BadValue, place, "this expression matches the empty text, and so every value")
        .help("make a part of it obligatory: `x+` instead of `x*`; for empty values use `equals = \"\"`");
    None
}

impl Engine {
    /// Puts rules together, in policy order. A rule that is off, or above the paranoia level, does not
    /// run; an `entry` is `None` where its rule could not be built.
    pub(super) fn new(
        entries: &[(Written, Option<Built>)],
        exclusions: &[Exclusion],
        settings: Settings,
        diagnostics: &mut Diagnostics,
    ) -> Engine {
        let runs = |built: &&Built| built.rule.mode != Mode::Off && built.rule.paranoia <= settings.paranoia;
        let running: Vec<(usize, Written, &Built)> = entries
            .iter()
            .enumerate()
            .filter_map(|(at, (written, built))| Some((at, *written, built.as_ref().filter(runs)?)))
            .collect();
        let views = running.iter().flat_map(|(_, _, built)| built.links.iter()).map(|link| &*link.view);
        let headers = Wanted::header_names(views);
        let mut gate = |phase: Phase| {
            let rules = running.iter().filter(|(_, _, built)| built.rule.phase == phase);
            Gate::new(rules, exclusions, headers.clone(), diagnostics)
        };
        Engine { settings, head: gate(Phase::RequestHead), body: gate(Phase::RequestBody) }
    }

    /// Whether there is no rule at all.
    pub(super) fn is_empty(&self) -> bool {
        self.head.rules.is_empty() && self.body.rules.is_empty()
    }
}

impl Gate {
    fn new<'a>(
        running: impl Iterator<Item = &'a (usize, Written, &'a Built)>,
        exclusions: &[Exclusion],
        headers: Option<Arc<[http::HeaderName]>>,
        diagnostics: &mut Diagnostics,
    ) -> Gate {
        let (mut rules, mut views, mut units, mut scopes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut links, mut link_of) = (Vec::<Range<usize>>::new(), Vec::new());
        // By place among all entries: the units of that rule.
        let mut places = std::collections::HashMap::new();
        for (at, written, built) in running {
            let before = units.len();
            rules.push(GateRule {
                written: *written,
                mode: built.rule.mode,
                action: built.rule.action,
                msg: built.rule.msg.as_text().unwrap_or_default().into(),
                first: links.len(),
                links: built.links.len(),
            });
            for link in built.links.iter() {
                let first = units.len();
                for unit in &link.units {
                    units.push(unit.clone());
                    views.push(Arc::clone(&link.view));
                    scopes.push(&built.rule.scope);
                    link_of.push(links.len());
                }
                links.push(first..units.len());
            }
            places.insert(*at, before..units.len());
        }
        let size = units.len();
        let (mut unscoped, mut in_body, mut heads) = (Bits::none(size), Bits::none(size), Bits::none(size));
        let first = |rule: &GateRule| links.get(rule.first).cloned().unwrap_or_default();
        rules.iter().flat_map(first).for_each(|unit| heads.insert(unit));
        let mut scoped: Vec<(Scope, Bits)> = Vec::new();
        for (unit, scope) in scopes.into_iter().enumerate() {
            let bits = match scoped.iter_mut().find(|(known, _)| known == scope) {
                _ if scope.is_any() => &mut unscoped,
                Some((_, bits)) => bits,
                None => {
                    scoped.push((scope.clone(), Bits::none(size)));
                    let last = scoped.len() - 1;
                    &mut scoped[last].1
                }
            };
            bits.insert(unit);
        }
        let body = Collection::ALL.iter().copied().filter(|collection| collection.in_body());
        for (unit, _) in views
            .iter()
            .enumerate()
            .filter(|(_, view)| body.clone().any(|collection| view.touches(collection)))
        {
            in_body.insert(unit);
        }
        let exclusions = exclusions.iter().filter_map(|exclusion| {
            let mut units = Bits::none(size);
            exclusion
                .rules
                .iter()
                .filter_map(|rule| places.get(rule))
                .flat_map(Clone::clone)
                .for_each(|unit| units.insert(unit));
            let texts = match exclusion.targets.as_slice() {
                [] => None,
                targets => match View::of_members(targets) {
                    Ok(view) => Some(view),
                    Err(problem) => {
                        diagnostics.push(problem.code, None, problem.message);
                        return None;
                    }
                },
            };
            (!units.is_empty()).then(|| GateExclusion { scope: exclusion.scope.clone(), units, texts })
        });
        let (everywhere, exclusions): (Vec<_>, Vec<_>) =
            exclusions.partition(|exclusion| exclusion.scope.is_any() && exclusion.texts.is_none());
        for exclusion in everywhere {
            unscoped.remove(&exclusion.units);
            scoped.iter_mut().for_each(|(_, bits)| bits.remove(&exclusion.units));
        }
        let sight = Sight::new(views);
        let wanted = Wanted::new(&sight, headers);
        Gate {
            rules,
            wanted,
            sight,
            matcher: Matcher::new(units),
            unscoped,
            scoped,
            exclusions,
            in_body,
            heads,
            links,
            link_of,
        }
    }

    /// What runs for a request.
    pub(super) fn active(&self, facts: &Facts<'_>) -> Active<'_> {
        let mut units = self.unscoped.clone();
        for (_, more) in self.scoped.iter().filter(|(scope, _)| scope.matches(facts.target, facts.route)) {
            units.add(more);
        }
        let mut exclusions = Vec::new();
        for exclusion in
            self.exclusions.iter().filter(|exclusion| exclusion.scope.matches(facts.target, facts.route))
        {
            match exclusion.texts {
                Some(_) => exclusions.push(exclusion),
                None => units.remove(&exclusion.units),
            }
        }
        Active { units, exclusions }
    }

    /// The units of the first links of the rules that run.
    pub(super) fn heads(&self, active: &Active<'_>) -> Bits {
        let mut heads = self.heads.clone();
        heads.keep(&active.units);
        heads
    }

    /// The units of the further links of the rules whose first link is among these.
    pub(super) fn followers(&self, heads: impl Iterator<Item = usize>) -> Bits {
        let mut followers = Bits::none(self.link_of.len());
        for head in heads {
            let rule = self
                .rules
                .binary_search_by_key(&head, |rule| rule.first)
                .ok()
                .and_then(|at| self.rules.get(at));
            let links = rule.into_iter().flat_map(|rule| rule.first + 1..rule.first + rule.links);
            links.flat_map(|link| self.units_of(link)).for_each(|unit| followers.insert(unit));
        }
        followers
    }

    /// The link that a unit is of.
    pub(super) fn link_of(&self, unit: usize) -> usize {
        self.link_of.get(unit).copied().unwrap_or_default()
    }

    /// The rule that a link is of.
    pub(super) fn rule_of(&self, link: usize) -> Option<&GateRule> {
        let at = self.rules.partition_point(|rule| rule.first <= link).checked_sub(1)?;
        self.rules.get(at)
    }

    /// The units of a link.
    pub(super) fn units_of(&self, link: usize) -> Range<usize> {
        self.links.get(link).cloned().unwrap_or_default()
    }

    /// Whether any of the units that run needs the body.
    pub(super) fn needs_body(&self, active: &Active<'_>) -> bool {
        self.in_body.meets(&active.units)
    }
}

impl Active<'_> {
    /// Whether an exclusion keeps a text from a unit.
    pub(super) fn excludes(&self, unit: usize, value: &Value, values: &Values) -> bool {
        let mut about = self.exclusions.iter().filter(|exclusion| exclusion.units.contains(unit));
        about.any(|exclusion| exclusion.texts.as_ref().is_some_and(|texts| texts.sees(value, values)))
    }
}
