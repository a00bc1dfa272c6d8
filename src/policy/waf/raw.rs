//! `[waf]` as written.

use crate::policy::decode::table;

table! {
    /// `[waf]`: rules on the text of requests.
    pub struct RawWaf as "[waf]" {
    }
}

impl RawWaf {
    /// Takes the table of the next file.
    pub fn absorb(&mut self, _other: RawWaf, _diagnostics: &mut crate::policy::diagnostic::Diagnostics) {}
}
