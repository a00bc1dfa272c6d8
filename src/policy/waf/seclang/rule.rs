//! `SecRule`, `SecAction` and `SecDefaultAction`, lowered.

use super::actions::actions;
use super::lex::Directive;
use super::said::{Disruption, Said};
use super::{Reader, operators, variables};
use crate::policy::diagnostic::{Diagnostic, Place};
use crate::policy::mode::Mode;
use crate::policy::scope::Scope;
use crate::policy::waf::ir::{Action, Effect, Input, Link, Phase, Rule, Test};
use crate::policy::waf::transforms::Transform;

/// A rule that is being read, with the links of its chain so far.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) id: Option<u32>,
    pub(super) rule: Rule,
    /// Whether its chain goes on.
    pub(super) chained: bool,
    /// Whether all of it could be lowered, and what is wrong with it.
    pub(super) whole: bool,
    pub(super) problems: Vec<Diagnostic>,
}

/// What `SecDefaultAction` says for each phase.
#[derive(Debug, Default)]
pub(super) struct Defaults([Option<PhaseDefault>; 5]);

#[derive(Clone, Debug)]
struct PhaseDefault {
    refuses: bool,
    logged: bool,
    transforms: Vec<Transform>,
}

impl Reader<'_, '_> {
    pub(super) fn rule(&mut self, directive: &Directive, tested: bool) {
        let place = directive.place;
        let (most, least) = if tested { (3, 2) } else { (1, 1) };
        if !(least..=most).contains(&directive.words.len()) {
            let takes = if tested { "variables, an operator and actions" } else { "a list of actions" };
            self.report().error(place, format!("`{}` takes {takes}", directive.name.text));
            self.open = None;
            return;
        }
        let list = if tested { directive.words.get(2) } else { directive.words.first() };
        let (sources, mut report) = self.parts();
        let before = report.diagnostics.len();
        let mut said = Said::default();
        for action in list.map(|list| actions(list, &mut report)).unwrap_or_default() {
            said.take(&action, &mut report);
        }
        let (inputs, test) = match directive.words.as_slice() {
            [list, operator, ..] if tested => {
                (variables::inputs(list, &mut report), operators::test(operator, sources, &mut report))
            }
            _ => (Some(Vec::new()), Some(Test::Always)),
        };
        let looks = |input: &Input| match input {
            Input::Texts(target) => !target.excluded,
            Input::Without(_) => false,
            Input::Variable(_) | Input::Count(_) => true,
        };
        if tested && inputs.as_ref().is_some_and(|inputs| !inputs.iter().any(looks)) {
            report
                .error(place, "this rule looks at nothing: its variables are all left out by `!`")
                .help("name what they are left out of, as in `ARGS|!ARGS:x`");
        }
        let whole = inputs.is_some() && test.is_some() && said.is_whole(before, &report);
        let link = Link {
            inputs: inputs.unwrap_or_default(),
            transforms: Vec::new(),
            multi_match: said.multi_match,
            test: test.unwrap_or(Test::Always),
            capture: said.capture,
            effects: std::mem::take(&mut said.effects),
        };
        let chained = said.chain;
        let mut open = match self.open.take() {
            Some(open) => self.follow(open, link, said, whole, place),
            None => self.head(link, said, whole, place),
        };
        open.problems.extend(self.cx.diagnostics.take_from(before));
        self.open = Some(open);
        if !chained {
            self.close();
        }
    }

    fn head(&mut self, mut link: Link, said: Said, whole: bool, place: Place) -> Open {
        let phase = said.phase.unwrap_or(Phase::RequestBody);
        let default = self.defaults.of(phase);
        link.transforms = said.transforms_over(&default.transforms);
        let logged = said.logged.unwrap_or(default.logged);
        let refuses = match said.disruption {
            Some(Disruption::Deny) => true,
            Some(Disruption::Block) | None => default.refuses,
            Some(Disruption::Pass | Disruption::Allow(_)) => false,
        };
        let mut effects = said.flow;
        if let Some(Disruption::Allow(allowed)) = said.disruption {
            effects.push(Effect::Allow(allowed));
        }
        let rule = Rule {
            place,
            phase,
            scope: Scope::default(),
            mode: Mode::Enforce,
            paranoia: paranoia(&said.tags),
            links: vec![link],
            action: match (refuses, logged) {
                (true, _) => Action::Deny,
                (false, true) => Action::Log,
                (false, false) => Action::Pass,
            },
            effects,
            tags: said.tags,
            msg: said.msg,
            data: said.data,
            severity: said.severity,
            logged,
        };
        let mut whole = whole;
        if said.id.is_none() && whole {
            self.report().error(place, "this rule has no `id`");
            whole = false;
        }
        Open { id: said.id, rule, chained: said.chain, whole, problems: Vec::new() }
    }

    fn follow(&mut self, mut open: Open, mut link: Link, said: Said, whole: bool, place: Place) -> Open {
        let default = self.defaults.of(open.rule.phase);
        link.transforms = said.transforms_over(&default.transforms);
        for (odd, what) in [
            (said.id.is_some(), "an `id`"),
            (said.disruption.is_some(), "an action on the request"),
            (said.phase.is_some_and(|phase| phase != open.rule.phase), "another phase"),
            (said.flow.iter().any(|effect| matches!(effect, Effect::SkipAfter(_))), "`skipAfter`"),
        ] {
            if odd {
                let message = format!("{what} stands on the first rule of a chain, and not on a further one");
                self.report().error(place, message);
                open.whole = false;
            }
        }
        open.rule.links.push(link);
        open.rule.place.end =
            if open.rule.place.file == place.file { place.end } else { open.rule.place.end };
        open.rule.tags.extend(said.tags);
        open.rule.data = open.rule.data.or(said.data);
        open.chained = said.chain;
        open.whole &= whole;
        open
    }

    pub(super) fn default_action(&mut self, directive: &Directive) {
        let [list] = directive.words.as_slice() else {
            self.report().error(directive.place, "`SecDefaultAction` takes a list of actions");
            return;
        };
        let mut report = self.report();
        let mut said = Said::default();
        for action in actions(list, &mut report) {
            said.take(&action, &mut report);
        }
        for what in said.beyond_defaults() {
            report.error(directive.place, format!("{what} is not for `SecDefaultAction`, but for a rule"));
        }
        if said.is_described() {
            let message = "tags, texts and severities stand on rules, and not in `SecDefaultAction`";
            report.ignored("described defaults", directive.place, message);
        }
        let refuses = matches!(said.disruption, Some(Disruption::Deny));
        let default =
            PhaseDefault { refuses, logged: said.logged.unwrap_or(true), transforms: said.transforms };
        self.defaults.set(said.phase.unwrap_or(Phase::RequestBody), default);
    }
}

impl Defaults {
    fn of(&self, phase: Phase) -> PhaseDefault {
        let said = self.0.get(phase as usize - 1).cloned().flatten();
        said.unwrap_or(PhaseDefault { refuses: false, logged: true, transforms: Vec::new() })
    }

    fn set(&mut self, phase: Phase, default: PhaseDefault) {
        if let Some(slot) = self.0.get_mut(phase as usize - 1) {
            *slot = Some(default);
        }
    }
}

/// The paranoia level that a rule's tags name.
fn paranoia(tags: &[Box<str>]) -> u8 {
    let level = tags.iter().find_map(|tag| tag.strip_prefix("paranoia-level/")?.parse().ok());
    level.filter(|level| (1..=4).contains(level)).unwrap_or(1)
}
