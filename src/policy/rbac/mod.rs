//! Who may do what.
//!
//! Nothing is allowed that no grant allows; any matching deny beats every grant. A grant names to
//! whom: `roles`, `subjects`, `scopes`; where it has several of these keys, all must be satisfied.
//! A deny without them concerns everybody. The rules that cover a request are found by their
//! patterns, and where there are many at one place, by what the caller has, so that neither the
//! number of rules nor that of roles or subjects is felt.

mod explain;
mod judge;
mod lints;
mod nearest;
mod outlook;
mod raw;
mod roles;
mod rule;
mod table;
#[cfg(test)]
mod tests;

pub use nearest::{Nearest, Unmet};
pub use outlook::{Access, Blind, Outlook};
pub use raw::{RawDeny, RawGrant, RawRbac};
pub use roles::{RawRole, Roles};

use jiff::Timestamp;

use self::judge::Judge;
use self::rule::{Caller, Kind, Lacks, Rule};
use self::table::{Entry, EntryKind, Reached, Table};
use super::compile::Compile;
use super::condition::{Condition, Fact, Positions, Unheld};
use super::scope::{MethodMask, Scope};
use crate::decision::{Builtin, Denial, Notes, Reason, Stage, Trace, Verdict, Written};
use crate::facts::{Facts, Identity};

/// The compiled grants and denies.
#[derive(Clone, Debug, Default)]
pub struct Rbac {
    /// In policy order: grants, then denies.
    rules: Box<[Rule]>,
    /// What each of them is about; the table has it in the form that requests are looked up by.
    scopes: Box<[Scope]>,
    /// The names of the same rules: most verdicts need to know no more of them.
    written: Box<[Written]>,
    table: Table,
    /// By number, for traces.
    role_names: Box<[Box<str>]>,
    extension_methods: Vec<http::Method>,
    condition_facts: Box<[Fact]>,
}

impl Rbac {
    /// Compiles `[rbac]`; the roles are in `cx.roles`.
    pub fn compile(raw: &RawRbac, cx: &mut Compile<'_>) -> Rbac {
        let count = raw.grant.len() + raw.deny.len();
        let (mut rules, mut scopes) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut add = |(rule, scope)| {
            rules.push(rule);
            scopes.push(scope);
        };
        raw.grant.iter().for_each(|raw| add(Rule::grant(raw, cx)));
        raw.deny.iter().for_each(|raw| add(Rule::deny(raw, cx)));
        let (rules, scopes): (Box<[Rule]>, Box<[Scope]>) = (rules.into(), scopes.into());
        let table = Table::new(&rules, &scopes);
        let mut condition_facts = Vec::new();
        for condition in rules.iter().filter_map(|rule| rule.condition.as_ref()) {
            condition_facts.extend(condition.facts().iter().filter(|fact| fact.is_recorded()).cloned());
        }
        condition_facts.sort_unstable_by_key(Fact::to_string);
        condition_facts.dedup();
        let grants = rules.iter().filter(|rule| rule.kind == Kind::Grant);
        let mut extension_methods: Vec<_> =
            grants.flat_map(|rule| rule.methods.extensions()).cloned().collect();
        extension_methods.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        extension_methods.dedup();
        let written = rules.iter().map(|rule| rule.written).collect();
        let role_names = cx.roles.iter().map(|(_, name)| name.into()).collect();
        Rbac {
            rules,
            scopes,
            written,
            table,
            role_names,
            extension_methods,
            condition_facts: condition_facts.into(),
        }
    }

    /// Judges whether this someone may do this. `can_identify`: the route has a credential source,
    /// so that a refused nobody is told to log in.
    pub fn check(
        &self,
        facts: &Facts<'_>,
        can_identify: bool,
        notes: &mut Notes,
        trace: Option<&mut Trace>,
    ) -> Verdict {
        let mut judge = Judge::new(&self.rules, &self.table, facts, notes);
        let reached = judge.ask();
        let Judge { grant, deny, caller, .. } = judge;
        let grant = grant.and_then(|grant| self.written.get(grant as usize));
        let verdict = match (deny, grant) {
            (Some((deny, reason)), _) => self.forbidden(self.rules.get(deny as usize), reason, facts),
            (None, Some(grant)) => Verdict::Pass((*grant).into()),
            (None, None) => Verdict::Deny(self.default_deny(facts, &caller, reached, can_identify)),
        };
        if let Some(trace) = trace {
            self.explain(facts, &verdict, trace);
        }
        verdict
    }

    fn forbidden(&self, rule: Option<&Rule>, reason: Reason, facts: &Facts<'_>) -> Verdict {
        Verdict::Deny(match rule {
            Some(rule) => {
                let until = rule.until.and_then(|end| self.allowed_from(end, facts));
                Denial { stage: Stage::Rbac, rule: rule.written.into(), reason, until }
            }
            // Every number comes from the list it points into, so this is never reached.
            None => Denial::builtin(Stage::Rbac, Builtin::DefaultDeny),
        })
    }

    /// When a refused request may pass without anybody's doing: when the deny ends, or one that goes on
    /// longer. None where some deny then has no end, or no grant allows it. Nobody looks at whether the
    /// credential will still be valid: whoever comes back shows another.
    #[cold]
    fn allowed_from(&self, end: Timestamp, facts: &Facts<'_>) -> Option<Timestamp> {
        let mut now = end;
        for _ in 0..MOST_ENDS {
            let (facts, mut notes) = (Facts { now, ..*facts }, Notes::default());
            let mut judge = Judge::new(&self.rules, &self.table, &facts, &mut notes);
            judge.ask();
            let Some((deny, _)) = judge.deny else { return judge.grant.map(|_| now) };
            now = self.rules.get(deny as usize)?.until.filter(|later| *later > now)?;
        }
        None
    }

    /// When a rule ends by itself, whatever becomes of requests then.
    pub fn ends(&self, written: Written) -> Option<Timestamp> {
        self.rules.iter().find(|rule| rule.written == written)?.until
    }

    /// The refusal where no rule spoke, with the reason that helps most.
    #[inline(never)]
    fn default_deny(
        &self,
        facts: &Facts<'_>,
        caller: &Caller<'_>,
        mut reached: Reached<'_>,
        can_identify: bool,
    ) -> Denial {
        let denial = Denial::builtin(Stage::Rbac, Builtin::DefaultDeny);
        let nobody = !matches!(facts.identity, Identity::Valid(_));
        if nobody && can_identify {
            return denial.because(Reason::CredentialsMissing);
        }
        let names_method = |entry: &Entry| self.names_method(entry, facts);
        if let Some(found) = nearest::only_roles(&reached, names_method) {
            return if found && !nobody { denial.because(Reason::RoleMissing) } else { denial };
        }
        let looked = nearest::look(
            &self.table,
            &mut reached,
            names_method,
            // A grant that asks for roles alone and did not allow this lacks just that.
            |entry| match entry.kind {
                EntryKind::Grant => Lacks::ROLES,
                _ => self.lacks(entry, caller, facts),
            },
        );
        let Some(near) = nearest::only_lack(&looked, |rule| self.names_subject(rule, caller)) else {
            return denial;
        };
        if nobody && near.lacks.about_caller() {
            // Nobody can be identified here, so no role, scope or subject is to be had.
            return denial;
        }
        let reason = near.lacks.reason();
        let begins = || self.rules.get(near.rule as usize)?.from;
        let until = if reason == Reason::GrantNotYetValid { begins() } else { None };
        Denial { reason, until, ..denial }
    }

    /// Whether a rule lists who asks by name.
    fn names_subject(&self, rule: u32, caller: &Caller<'_>) -> bool {
        let rule = self.rules.get(rule as usize);
        rule.is_some_and(|rule| !rule.subjects.is_empty() && !rule.lacks_subject(caller))
    }

    fn names_method(&self, entry: &Entry, facts: &Facts<'_>) -> bool {
        let method = MethodMask::of(&facts.target.method);
        let rule = || self.rules.get(entry.rule as usize);
        entry.methods.meets(method)
            && (!entry.methods.undecided(method)
                || rule().is_some_and(|rule| rule.methods.contains(&facts.target.method)))
    }

    fn lacks(&self, entry: &Entry, caller: &Caller<'_>, facts: &Facts<'_>) -> Lacks {
        let rule = self.rules.get(entry.rule as usize);
        rule.map_or(Lacks::default(), |rule| rule.lacks(caller, facts, self.table.positions(entry)))
    }

    /// Whether there is no grant, so that everything is refused.
    pub fn grants_nothing(&self) -> bool {
        !self.rules.iter().any(|rule| rule.kind == Kind::Grant)
    }

    /// Methods beyond the standard ones that grants name; only these pass the intake gate.
    pub fn extension_methods(&self) -> Vec<http::Method> {
        self.extension_methods.clone()
    }

    /// The claims, headers and query parameters that the rules' conditions look at, each once: what
    /// the record keeps the values of. Credentials are not among them.
    pub fn condition_facts(&self) -> &[Fact] {
        &self.condition_facts
    }

    /// The conditions of all rules.
    pub fn conditions(&self) -> impl Iterator<Item = &Condition> {
        self.rules.iter().filter_map(|rule| rule.condition.as_ref())
    }

    /// Whether a condition looks at the client's address.
    pub fn asks_for_client(&self) -> bool {
        self.conditions().any(Condition::uses_client)
    }

    /// What would take a request out of a deny's reach, a sentence each, as far as the deny says it
    /// itself. Its end is not among them: the refusal has it. Empty for other rules.
    pub fn ways_out(&self, written: Written) -> Vec<String> {
        let deny = |rule: &&Rule| rule.written == written && matches!(rule.kind, Kind::Deny(_));
        self.rules.iter().find(deny).map_or_else(Vec::new, |rule| self.exits(rule))
    }

    /// The roles whose holders a deny exempts. Empty for other rules.
    pub fn exempt(&self, written: Written) -> impl Iterator<Item = &str> {
        let deny = move |rule: &&Rule| rule.written == written && matches!(rule.kind, Kind::Deny(_));
        let roles = self.rules.iter().filter(deny).flat_map(|rule| &rule.except);
        roles.filter_map(|role| self.role_names.get(usize::from(role.0)).map(|name| &**name))
    }

    /// The grants nearest to allowing what was refused. None where another rule than the default
    /// deny refused, since no grant would help then.
    pub fn nearest_to(&self, denial: &Denial, facts: &Facts<'_>) -> Vec<Nearest> {
        if denial.stage == Stage::Rbac && denial.rule != Builtin::DefaultDeny.into() {
            return Vec::new();
        }
        self.nearest(facts)
    }

    /// The grants nearest to allowing the request, the nearest first. Looks at no more than 16 that
    /// the patterns lead to. Called after the verdict, only where the log or the level wants it.
    pub fn nearest(&self, facts: &Facts<'_>) -> Vec<Nearest> {
        let caller = Caller::new(facts);
        let mut looked = nearest::look(
            &self.table,
            &mut self.table.reach(facts),
            |entry| self.names_method(entry, facts),
            |entry| self.lacks(entry, &caller, facts),
        );
        looked.sort_by_key(|near| (near.lacks.count(), !self.names_subject(near.rule, &caller), near.rule));
        looked
            .iter()
            .filter(|near| near.lacks.count() > 0)
            .filter_map(|near| self.rules.get(near.rule as usize).map(|rule| (rule, near.lacks)))
            .map(|(rule, lacks)| Nearest { rule: rule.written, unmet: rule.unmet(lacks) })
            .collect()
    }

    /// Whether some grant allows the request, whatever denies say. For explanations.
    pub fn is_granted(&self, facts: &Facts<'_>) -> bool {
        let caller = Caller::new(facts);
        let mut reached = self.table.reach(facts);
        let mut members = reached.nearest_first().flat_map(|place| self.table.members(place));
        members.any(|entry| {
            matches!(entry.kind, EntryKind::Grant | EntryKind::DetailedGrant)
                && self.names_method(entry, facts)
                && self.lacks(entry, &caller, facts).count() == 0
        })
    }

    /// What of a grant's condition does not hold for a request; none if it has none, or it holds. By the
    /// pattern of it that lacks least, as [`Rbac::nearest`] looks at it.
    pub fn unheld(&self, grant: Written, facts: &Facts<'_>) -> Option<Unheld> {
        let caller = Caller::new(facts);
        let mut reached = self.table.reach(facts);
        let entries = reached.nearest_first().flat_map(|place| self.table.members(place));
        let own = entries.filter_map(|entry| {
            let rule = self.rules.get(entry.rule as usize).filter(|rule| rule.written == grant)?;
            Some((rule, self.table.positions(entry)))
        });
        let lacks = |(rule, positions): &(&Rule, &Positions)| rule.lacks(&caller, facts, positions).count();
        let (rule, positions) = own.min_by_key(lacks)?;
        rule.condition.as_ref()?.unheld(facts, positions)
    }
}

/// Denies that end one after the other; whoever waits for more of them is told of no end.
const MOST_ENDS: usize = 8;
