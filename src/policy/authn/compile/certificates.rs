//! `[[authn.mtls]]`: whose certificates are whose.

use super::Work;
use crate::policy::authn::mtls::{CertificateSource, NamePattern};
use crate::policy::authn::raw::{RawMtls, SubjectWord};

impl Work<'_, '_> {
    pub(super) fn certificates(&mut self, raw: &RawMtls) -> CertificateSource {
        let id = self.id(&raw.id);
        let mut matching = Vec::new();
        for pattern in raw.r#match.iter().flat_map(|patterns| &patterns.0) {
            let text = match raw.subject {
                // DNS names are compared without regard to case.
                SubjectWord::Dns => pattern.value.to_ascii_lowercase(),
                SubjectWord::Uri | SubjectWord::Email | SubjectWord::CommonName => pattern.value.clone(),
            };
            match NamePattern::parse(&text) {
                Some(parsed) => matching.push(parsed),
                None => self.bad(
                    pattern.place,
                    format!("`{}` is not a pattern of a name", pattern.value.escape_debug()),
                    "write a whole name, or one with a single `*`: \"spiffe://corp.example/*\"",
                ),
            }
        }
        if raw.r#match.as_ref().is_some_and(|patterns| patterns.0.is_empty()) {
            self.bad(raw.place, "`match` is empty", "leave it out to take any name");
        }
        if raw.issuer.as_ref().is_some_and(|names| names.0.is_empty()) {
            self.bad(raw.place, "`issuer` is empty", "leave it out to take any authority of the listener");
        }
        let roles = self.roles(&raw.roles);
        let unit_roles = match (&raw.roles_from, &raw.roles_allowed) {
            (None, None) => None,
            (Some(_), Some(allowed)) => Some(self.roles(allowed).into_iter().collect()),
            (Some(from), None) => {
                if !self.cx.diagnostics.lacks(raw.place, &["roles_allowed"]) {
                    self.conflict(
                        from.place,
                        "`roles_from` needs `roles_allowed`",
                        "list the roles that certificates may bring",
                    );
                }
                None
            }
            (None, Some(allowed)) => {
                if !self.cx.diagnostics.lacks(raw.place, &["roles_from"]) {
                    let place = allowed.first().map_or(raw.place, |name| name.place);
                    self.conflict(
                        place,
                        "`roles_allowed` needs `roles_from`",
                        "say what names the roles: `roles_from = \"ou\"`; `roles` gives every holder the same",
                    );
                }
                None
            }
        };
        CertificateSource {
            id,
            subject: raw.subject,
            matching: matching.into(),
            issuers: raw.issuer.iter().flat_map(|names| &names.0).map(|name| name.as_str().into()).collect(),
            roles,
            unit_roles,
        }
    }
}
