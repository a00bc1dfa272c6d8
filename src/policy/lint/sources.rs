//! What rules ask for and no source of identity can bring: roles and claims.

use std::collections::HashSet;

use super::Look;
use crate::facts::{RoleId, RoleSet};
use crate::policy::authn::RawAuthn;
use crate::policy::code::Code;
use crate::policy::condition::Fact;
use crate::policy::diagnostic::Diagnostics;
use crate::policy::rbac::Roles;

/// Reports roles that rules name and that nobody can have. Where there is no source at all, the policy
/// is not finished, and nothing is said.
pub(super) fn roles(look: &Look<'_>, diagnostics: &mut Diagnostics) {
    let roles = &look.policy.roles;
    let Some(brought) = brought(look.raw.authn.as_ref(), roles) else { return };
    let mut told = HashSet::new();
    for (rule, role) in look.policy.rbac.each_role() {
        if role <= RoleId::AUTHENTICATED || brought.contains(role) || !told.insert(role) {
            continue;
        }
        let name = roles.name(role);
        let message = format!("no source of [authn] brings the role `{name}`, nor one that inherits it");
        diagnostics
            .push(Code::RoleWithoutSource, roles.place(role), message)
            .about(format!("role/{name}"))
            .label("nobody has it")
            .also(look.place(rule), "named here")
            .help("list it under `roles` or `roles_allowed` of a source, or remove it");
    }
}

/// The roles that somebody can have. None: any.
fn brought(raw: Option<&RawAuthn>, roles: &Roles) -> Option<RoleSet> {
    let raw = raw.filter(|raw| !raw.is_empty())?;
    let mut brought = RoleSet::anyone();
    let mut names = Vec::new();
    for source in raw.jwt.iter().filter(|source| source.roles.is_some()) {
        match &source.roles_allowed {
            Some(allowed) => names.extend(allowed),
            // The only issuer may bring all roles, one of several none.
            None if raw.jwt.len() == 1 => return None,
            None => {}
        }
    }
    for source in &raw.mtls {
        names.extend(source.roles.iter().chain(source.roles_allowed.iter().flatten()));
    }
    names.extend(raw.api_key.iter().flat_map(|source| &source.roles));
    names.extend(raw.basic.iter().flat_map(|source| &source.roles));
    names.extend(raw.basic.iter().flat_map(|source| &source.user).flat_map(|user| &user.roles));
    for role in names.iter().filter_map(|name| roles.get(name.as_str())) {
        brought.union_with(roles.closure(role));
    }
    Some(brought)
}

/// Reports claims that conditions look at and that nobody can bring.
pub(super) fn claims(look: &Look<'_>, diagnostics: &mut Diagnostics) {
    let authn = look.raw.authn.as_ref();
    // What is in a token is the issuer's to say.
    if authn.is_some_and(|authn| !authn.jwt.is_empty()) {
        return;
    }
    let known: &[&str] = if authn.is_some_and(|authn| !authn.mtls.is_empty()) { &CERTIFICATE } else { &[] };
    for (rule, condition) in look.policy.rbac.each_condition() {
        let unknown = condition.facts().iter().find(
            |fact| matches!(fact, Fact::Claim(path) if path.first().is_none_or(|name| !known.contains(&&**name))),
        );
        let Some(fact) = unknown else { continue };
        let name = look.name(rule);
        let message = format!("`{name}` looks at `{fact}`, which no source of [authn] brings");
        let help = match known {
            [] => {
                "tokens ([[authn.jwt]]) and certificates ([[authn.mtls]]) bring claims; keys and passwords do not"
            }
            _ => "certificates bring the claims uri, dns, email, cn, ou, issuer and fingerprint",
        };
        diagnostics
            .push(Code::UnknownClaim, look.place(rule), message)
            .about(name)
            .label("never there")
            .help(help);
    }
}

/// The claims that are made of a certificate.
const CERTIFICATE: [&str; 7] = ["uri", "dns", "email", "cn", "ou", "issuer", "fingerprint"];
