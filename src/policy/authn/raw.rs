//! `[authn]` as written.

use crate::policy::decode::table;

table! {
    /// `[authn]`: who is believed.
    pub struct RawAuthn as "[authn]" {
    }
}

impl RawAuthn {
    /// What `authn = "inherit"` means on a route.
    pub fn default_for_routes(&self) -> crate::policy::route::AuthnWord {
        crate::policy::route::AuthnWord::Optional
    }

    /// Takes the table of the next file.
    pub fn absorb(&mut self, _other: RawAuthn, _diagnostics: &mut crate::policy::diagnostic::Diagnostics) {}
}
