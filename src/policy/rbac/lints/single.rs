//! What one rule says of itself.

use super::Numbered;
use super::who::held_with;
use crate::facts::RoleId;
use crate::policy::code::Code;
use crate::policy::condition::Never;
use crate::policy::diagnostic::Diagnostics;
use crate::policy::lint::Look;
use crate::policy::mode::Mode;
use crate::policy::rbac::rule::Kind;

/// A rule about requests that no route serves: the route gate stands before it.
pub(super) fn never_matches(rule: Numbered<'_>, look: &Look<'_>, diagnostics: &mut Diagnostics) {
    if rule.rule.kind == Kind::Deny(Mode::Off) || look.served.meets(rule.scope) {
        return;
    }
    let name = look.name(rule.rule.written);
    let what =
        if rule.scope.routes.is_empty() { "no route serves" } else { "the routes it names do not serve" };
    diagnostics
        .push(
            Code::NeverMatches,
            look.place(rule.rule.written),
            format!("`{name}` is about requests that {what}"),
        )
        .about(name)
        .label("never judged")
        .help("compare its `path`, `host`, `methods` and `routes` with the [[route]]s");
}

/// A condition that contradicts itself. Of a deny it has to be false whatever is sent: a value that is
/// withheld counts as met.
pub(super) fn never_holds(rule: Numbered<'_>, look: &Look<'_>, diagnostics: &mut Diagnostics) {
    let Some(condition) = &rule.rule.condition else { return };
    let never = match rule.rule.kind {
        Kind::Deny(Mode::Off) => None,
        Kind::Deny(_) => condition.always_false(look.now),
        Kind::Grant => condition.never_true(look.now),
    };
    let Some(never) = never else { return };
    let name = look.name(rule.rule.written);
    let (code, message, help) = match never {
        Never::Contradiction(thing) => (
            Code::NeverMatches,
            format!("`{name}` never applies: what its `when` says of `{thing}` is never all true"),
            "join what may be so or so by `or`, or list it: `method in [\"GET\", \"HEAD\"]`",
        ),
        Never::Over(end) => (
            Code::NeverValid,
            format!("`{name}` applies no more: its `when` asks for a time up to {end}, which is over"),
            "remove the rule, or correct the time; `from` and `until` say it better",
        ),
    };
    diagnostics
        .push(code, look.place(rule.rule.written), message)
        .about(name)
        .label("never applies")
        .help(help);
}

/// A deny from which everybody whom it is about is exempt, perhaps by what a role inherits.
pub(super) fn exempts_all(rule: Numbered<'_>, look: &Look<'_>, diagnostics: &mut Diagnostics) {
    let of = rule.rule;
    if matches!(of.kind, Kind::Grant | Kind::Deny(Mode::Off)) || of.except.is_empty() {
        return;
    }
    let exempt = |held: &[RoleId]| held.iter().any(|role| of.except.contains(role));
    let identified = !(of.subjects.is_empty() && of.scopes.is_empty());
    let all = match &of.roles[..] {
        [] if identified => exempt(&[RoleId::ANYONE, RoleId::AUTHENTICATED]),
        [] => exempt(&[RoleId::ANYONE]),
        roles => roles.iter().all(|role| exempt(&held_with(*role, &look.policy.roles))),
    };
    if !all {
        return;
    }
    let name = look.name(of.written);
    diagnostics
        .push(
            Code::NeverMatches,
            look.place(of.written),
            format!("`{name}` never applies: whoever it is about is exempt by `except_roles`"),
        )
        .about(name)
        .label("never applies")
        .help("whoever has a role has all that it inherits; take that out of `except_roles`, or remove the rule");
}

/// Everything for everybody.
pub(super) fn allow_all(rule: Numbered<'_>, look: &Look<'_>, diagnostics: &mut Diagnostics) {
    let (of, scope) = (rule.rule, rule.scope);
    let everywhere = scope.paths.is_empty()
        || scope.paths.iter().any(|path| path.segments().is_empty() && path.rest().is_some());
    let everything =
        everywhere && scope.hosts.is_empty() && scope.methods.is_any() && scope.routes.is_empty();
    let everybody = of.kind == Kind::Grant && rule.is_open() && of.condition.is_none();
    if !everything || !everybody || of.expired(look.now) {
        return;
    }
    let name = look.name(of.written);
    diagnostics
        .push(Code::AllowAll, look.place(of.written), format!("`{name}` allows everything to everybody"))
        .about(name)
        .label("allows all")
        .help("say what and to whom: `path`, `methods`, `roles`; or allow this lint with a reason");
}

/// A grant whose end is near.
pub(super) fn expires_soon(rule: Numbered<'_>, look: &Look<'_>, diagnostics: &mut Diagnostics) {
    let of = rule.rule;
    let Some(until) = of.until.filter(|until| look.now < *until && *until <= look.soon) else { return };
    if of.kind != Kind::Grant || of.from.is_some_and(|from| from >= until) {
        return;
    }
    let written = look.raw.rbac.iter().flat_map(|rbac| &rbac.grant).nth(rule.number);
    let place =
        written.and_then(|raw| raw.until.as_ref()).map_or(look.place(of.written), |until| until.place);
    let name = look.name(of.written);
    diagnostics
        .push(Code::GrantExpiresSoon, place, format!("`{name}` ends at {until}"))
        .about(name)
        .label("ends soon")
        .help("give it a later `until`, or let it end and remove it then");
}
