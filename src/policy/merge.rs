//! Putting the policy tables of several files together, in policy order.

use super::code::Code;
use super::diagnostic::{At, Diagnostics, Place};
use super::ip::RawIp;
use super::lint::RawLint;
use super::mode::RawMode;
use super::raw::RawPolicy;
use super::rbac::RawRbac;

/// Takes a setting that may be made once; a second one is reported.
pub(super) fn once<T>(
    mine: &mut Option<At<T>>,
    other: Option<At<T>>,
    key: &str,
    diagnostics: &mut Diagnostics,
) {
    let Some(other) = other else { return };
    match mine {
        None => *mine = Some(other),
        Some(first) => twice(key, first.place, other.place, diagnostics),
    }
}

/// Reports a setting that is made in two files.
pub(super) fn twice(key: &str, first: Place, second: Place, diagnostics: &mut Diagnostics) {
    diagnostics
        .push(Code::Conflict, second, format!("`{key}` is set in two files"))
        .also(first, "the first setting")
        .help("remove one of them");
}

fn absorb_with<T>(mine: &mut Option<T>, other: Option<T>, absorb: impl FnOnce(&mut T, T)) {
    match (mine.as_mut(), other) {
        (Some(mine), Some(other)) => absorb(mine, other),
        (None, other) => *mine = other,
        (Some(_), None) => {}
    }
}

impl RawMode {
    /// Takes the mode keys of another file.
    pub fn absorb(&mut self, other: RawMode, key: &str, diagnostics: &mut Diagnostics) {
        once(&mut self.mode, other.mode, &format!("{key}.mode"), diagnostics);
        once(&mut self.shadow_until, other.shadow_until, &format!("{key}.shadow_until"), diagnostics);
    }
}

impl RawIp {
    fn absorb(&mut self, other: RawIp, diagnostics: &mut Diagnostics) {
        self.mode.absorb(other.mode, "ip", diagnostics);
        self.rule.extend(other.rule);
    }
}

impl RawRbac {
    fn absorb(&mut self, other: RawRbac) {
        self.role.extend(other.role);
        self.grant.extend(other.grant);
        self.deny.extend(other.deny);
    }
}

impl RawLint {
    fn absorb(&mut self, other: RawLint, diagnostics: &mut Diagnostics) {
        once(&mut self.expires_within, other.expires_within, "lint.expires_within", diagnostics);
        self.allow.extend(other.allow);
    }
}

impl RawPolicy {
    /// Takes the tables of the next file.
    pub fn absorb(&mut self, other: RawPolicy, diagnostics: &mut Diagnostics) {
        self.network.extend(other.network);
        absorb_with(&mut self.ip, other.ip, |mine, other| mine.absorb(other, diagnostics));
        self.route.extend(other.route);
        absorb_with(&mut self.authn, other.authn, |mine, other| mine.absorb(other, diagnostics));
        absorb_with(&mut self.rbac, other.rbac, |mine, other| mine.absorb(other));
        absorb_with(&mut self.waf, other.waf, |mine, other| mine.absorb(other, diagnostics));
        absorb_with(&mut self.lint, other.lint, |mine, other| mine.absorb(other, diagnostics));
        self.disclosure.extend(other.disclosure);
        if let Some(contact) = other.contact {
            match &self.contact {
                None => self.contact = Some(contact),
                Some(first) => twice("contact", first.place, contact.place, diagnostics),
            }
        }
    }
}
