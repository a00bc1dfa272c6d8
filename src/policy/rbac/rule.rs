//! One grant or deny: checked, and what it asks of a request.
//!
//! `roles`, `subjects` and `scopes` are read like scope keys: those that are there must all be
//! satisfied, within `roles` and within `subjects` one is enough. Of `scopes` a grant needs all, a
//! deny any.

use std::collections::HashSet;

use jiff::Timestamp;

use super::{RawDeny, RawGrant};
use crate::decision::{Stage, Written};
use crate::facts::{Facts, Holder, RoleId};
use crate::policy::code::Code;
use crate::policy::compile::Compile;
use crate::policy::condition::{Condition, Positions, Truth};
use crate::policy::decode::{Moment, Name};
use crate::policy::diagnostic::{At, Place};
use crate::policy::mode::{Mode, RawMode};
use crate::policy::scope::{MethodSet, Scope};

/// A compiled grant or deny.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) written: Written,
    pub(super) kind: Kind,
    pub(super) methods: MethodSet,
    /// Any of these; none listed means whoever.
    pub(super) roles: Box<[RoleId]>,
    /// Any of these; none listed means whoever.
    pub(super) subjects: HashSet<Box<str>>,
    /// A grant: all of these. A deny: any of these; none listed means whatever.
    pub(super) scopes: Box<[Box<str>]>,
    /// Whoever has one of these is exempt.
    pub(super) except: Box<[RoleId]>,
    pub(super) condition: Option<Condition>,
    /// Whether that looks at the address of the client or at cookies.
    pub(super) is_personal: bool,
    pub(super) from: Option<Timestamp>,
    pub(super) until: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Grant,
    Deny(Mode),
}

/// Who asks, as rules see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller<'a> {
    /// The roles as bits; see [`crate::facts::RoleSet::words`].
    pub(super) roles: &'a [u64],
    pub(super) holder: Option<&'a Holder>,
}

impl<'a> Caller<'a> {
    /// Whoever shows nothing, or nothing that is believed, is `anyone`.
    #[inline]
    pub(super) fn new(facts: &Facts<'a>) -> Caller<'a> {
        const ANYONE: &[u64] = &[1 << RoleId::ANYONE.0];
        match facts.identity.who() {
            Some(who) => Caller { roles: who.roles.words(), holder: Some(&who.holder) },
            None => Caller { roles: ANYONE, holder: None },
        }
    }

    pub(super) fn has_role(&self, role: RoleId) -> bool {
        self.roles.get(usize::from(role.0 / 64)).is_some_and(|word| word >> (role.0 % 64) & 1 == 1)
    }

    fn has_scope(&self, scope: &str) -> bool {
        self.holder.is_some_and(|holder| holder.scopes.iter().any(|held| **held == *scope))
    }
}

/// What a grant finds wanting, one bit for each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lacks(u8);

impl Lacks {
    pub(super) const ROLES: Lacks = Lacks(1);
    pub(super) const SCOPES: Lacks = Lacks(2);
    pub(super) const SUBJECT: Lacks = Lacks(4);
    pub(super) const CONDITION: Lacks = Lacks(8);
    pub(super) const NOT_YET: Lacks = Lacks(16);
    pub(super) const EXPIRED: Lacks = Lacks(32);

    fn add(&mut self, kind: Lacks, lacks: bool) {
        self.0 |= if lacks { kind.0 } else { 0 };
    }

    pub(super) fn contains(self, kind: Lacks) -> bool {
        self.0 & kind.0 != 0
    }

    pub(super) fn count(self) -> u32 {
        self.0.count_ones()
    }
}

impl Rule {
    /// Checks a grant.
    pub(super) fn grant(raw: &RawGrant, cx: &mut Compile<'_>) -> (Rule, Scope) {
        let always = RawMode { place: raw.place, mode: None, shadow_until: None };
        let written = cx.rule(Stage::Rbac, &raw.id, raw.place, &always, &raw.words);
        if raw.roles.is_none() && raw.subjects.is_none() && raw.scopes.is_none() {
            cx.diagnostics
                .push_unless_lost(raw.place, &["roles", "subjects", "scopes"], Code::MissingKey, raw.place, "[[rbac.grant]] does not say to whom: it lacks `roles`, `subjects` or `scopes`")
                .help("to allow everybody, write `roles = [\"anyone\"]`; everybody who is identified: `roles = [\"authenticated\"]`");
        }
        let scope = cx.scope(&raw.scope);
        let condition = condition(&raw.when, raw.place, &scope, cx);
        let rule = Rule {
            written,
            kind: Kind::Grant,
            methods: scope.methods.clone(),
            roles: roles(&raw.roles, "roles", raw.place, cx),
            subjects: texts(&raw.subjects, "subjects", raw.place, |_| true, cx).into_iter().collect(),
            scopes: texts(&raw.scopes, "scopes", raw.place, is_scope, cx).into(),
            except: Box::default(),
            is_personal: condition.as_ref().is_some_and(Condition::is_personal),
            condition,
            from: raw.from.as_ref().map(|from| from.value.0),
            until: raw.until.as_ref().map(|until| until.value.0),
        };
        check_window(&raw.from, &raw.until, &raw.id, cx);
        (rule, scope)
    }

    /// Checks a deny.
    pub(super) fn deny(raw: &RawDeny, cx: &mut Compile<'_>) -> (Rule, Scope) {
        let written = cx.rule(Stage::Rbac, &raw.id, raw.place, &raw.mode, &raw.words);
        let scope = cx.scope(&raw.scope);
        let except = roles(&raw.except_roles, "except_roles", raw.place, cx);
        if let Some(at) = raw.except_roles.iter().flatten().find(|name| name.as_str() == "anyone") {
            cx.diagnostics
                .push(Code::BadValue, at.place, "everybody is `anyone`, so this deny would concern nobody")
                .help("name the roles that are exempt, or set `mode = \"off\"`");
        }
        let condition = condition(&raw.when, raw.place, &scope, cx);
        let rule = Rule {
            written,
            kind: Kind::Deny(Mode::from(&raw.mode)),
            methods: scope.methods.clone(),
            roles: roles(&raw.roles, "roles", raw.place, cx),
            subjects: texts(&raw.subjects, "subjects", raw.place, |_| true, cx).into_iter().collect(),
            scopes: texts(&raw.scopes, "scopes", raw.place, is_scope, cx).into(),
            except,
            is_personal: condition.as_ref().is_some_and(Condition::is_personal),
            condition,
            from: raw.from.as_ref().map(|from| from.value.0),
            until: raw.until.as_ref().map(|until| until.value.0),
        };
        check_window(&raw.from, &raw.until, &raw.id, cx);
        (rule, scope)
    }

    /// Whether it asks for roles alone and is never in shadow, so that its entry in the table says
    /// all there is to say.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self.kind, Kind::Grant | Kind::Deny(Mode::Enforce))
            && self.subjects.is_empty()
            && self.scopes.is_empty()
            && self.except.is_empty()
            && self.condition.is_none()
            && self.from.is_none()
            && self.until.is_none()
    }

    /// Whether it is about this caller.
    pub(super) fn concerns(&self, caller: &Caller<'_>) -> bool {
        !self.lacks_roles(caller)
            && !self.lacks_subject(caller)
            && !self.lacks_scopes(caller)
            && !self.except.iter().any(|role| caller.has_role(*role))
    }

    pub(super) fn lacks_roles(&self, caller: &Caller<'_>) -> bool {
        !self.roles.is_empty() && !self.roles.iter().any(|role| caller.has_role(*role))
    }

    pub(super) fn lacks_subject(&self, caller: &Caller<'_>) -> bool {
        !self.subjects.is_empty()
            && !caller.holder.is_some_and(|holder| self.subjects.contains(&holder.subject))
    }

    pub(super) fn lacks_scopes(&self, caller: &Caller<'_>) -> bool {
        let mut scopes = self.scopes.iter();
        match self.kind {
            Kind::Grant => !scopes.all(|scope| caller.has_scope(scope)),
            Kind::Deny(_) => !self.scopes.is_empty() && !scopes.any(|scope| caller.has_scope(scope)),
        }
    }

    pub(super) fn not_yet(&self, now: Timestamp) -> bool {
        self.from.is_some_and(|from| now < from)
    }

    pub(super) fn expired(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// What the condition comes to; without one it holds.
    pub(super) fn condition(&self, facts: &Facts<'_>, positions: &Positions) -> Truth {
        self.condition.as_ref().map_or(Truth::True, |condition| condition.evaluate(facts, positions))
    }

    /// Everything that a grant finds wanting.
    pub(super) fn lacks(&self, caller: &Caller<'_>, facts: &Facts<'_>, positions: &Positions) -> Lacks {
        let mut lacks = Lacks::default();
        lacks.add(Lacks::ROLES, self.lacks_roles(caller));
        lacks.add(Lacks::SCOPES, self.lacks_scopes(caller));
        lacks.add(Lacks::SUBJECT, self.lacks_subject(caller));
        lacks.add(Lacks::CONDITION, self.condition(facts, positions) != Truth::True);
        lacks.add(Lacks::NOT_YET, self.not_yet(facts.now));
        lacks.add(Lacks::EXPIRED, self.expired(facts.now));
        lacks
    }
}

/// The condition of a rule. What it may say of the path is not known where the paths were lost.
fn condition(
    when: &Option<At<String>>,
    table: Place,
    scope: &Scope,
    cx: &mut Compile<'_>,
) -> Option<Condition> {
    let when = when.as_ref().filter(|_| !cx.diagnostics.lacks(table, &["path", "paths"]))?;
    Condition::compile(when, &scope.paths, cx)
}

fn empty(key: &str, place: Place, cx: &mut Compile<'_>) {
    cx.diagnostics
        .push(Code::BadValue, place, format!("`{key}` is empty, so this rule would concern nobody"))
        .help(format!("list whom it concerns, or remove `{key}`"));
}

fn roles(raw: &Option<Vec<At<Name>>>, key: &str, place: Place, cx: &mut Compile<'_>) -> Box<[RoleId]> {
    if raw.as_ref().is_some_and(Vec::is_empty) {
        empty(key, place, cx);
    }
    let mut roles: Vec<RoleId> =
        raw.iter().flatten().filter_map(|name| cx.roles.resolve(name, cx.diagnostics)).collect();
    roles.sort_unstable();
    roles.dedup();
    roles.into()
}

fn texts(
    raw: &Option<Vec<At<String>>>,
    key: &str,
    place: Place,
    fits: impl Fn(&str) -> bool,
    cx: &mut Compile<'_>,
) -> Vec<Box<str>> {
    if raw.as_ref().is_some_and(Vec::is_empty) {
        empty(key, place, cx);
    }
    for text in raw.iter().flatten().filter(|text| text.is_empty() || !fits(&text.value)) {
        cx.diagnostics.push(
            Code::BadValue,
            text.place,
            format!("`{}` cannot be one of `{key}`", text.value.escape_debug()),
        );
    }
    raw.iter().flatten().map(|text| text.value.as_str().into()).collect()
}

/// A scope of RFC 6749 section 3.3.
fn is_scope(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

/// A window that is over, or ends before it begins.
fn check_window(from: &Option<At<Moment>>, until: &Option<At<Moment>>, id: &At<Name>, cx: &mut Compile<'_>) {
    let Some(until) = until else { return };
    let problem = if from.as_ref().is_some_and(|from| from.value >= until.value) {
        "`until` is not after `from`, so this rule does nothing"
    } else if until.value.0 <= cx.now {
        "this rule has ended, so it does nothing"
    } else {
        return;
    };
    cx.diagnostics.push(Code::NeverValid, until.place, problem).about(format!(
        "{}/{}",
        Stage::Rbac.name(),
        id.value
    ));
}
