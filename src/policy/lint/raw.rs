//! `[lint]` as written.

use crate::policy::decode::{Span, table};
use crate::policy::diagnostic::At;

table! {
    /// `[lint]`: what `check` looks for, and what it finds and is to leave alone.
    pub struct RawLint as "[lint]" {
        /// How long before its end a grant is reported; `"336h"` (two weeks) by default.
        opt expires_within: At<Span>,
        /// Findings that are as they should be.
        list allow: RawAllow,
    }
}

table! {
    /// `[[lint.allow]]`: findings that are as they should be, and why. Errors cannot be allowed.
    pub struct RawAllow as "[[lint.allow]]" {
        /// The code of the lint, as `check` prints it: `allow-all`.
        req code: At<String>,
        /// What it is about, by its full name: `rbac/orders-read`, `route/shop`, `role/reader`. Absent: whatever.
        opt name: At<String>,
        /// Why it is as it should be.
        req reason: At<String>,
    }
}
