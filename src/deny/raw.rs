//! `[response_headers]` as written.

use super::ResponseHeaders;
use crate::policy::decode::table;

table! {
    /// `[response_headers]`: which of our headers answers carry, as far as the caller's disclosure level allows them.
    pub struct RawResponseHeaders as "[response_headers]" {
        /// `x-portcullis-decision`; default true.
        opt decision: bool,
        /// `x-portcullis-rule`; default true.
        opt rule: bool,
        /// `x-portcullis-reason`; default true.
        opt reason: bool,
        /// `x-portcullis-policy`; default true.
        opt policy: bool,
        /// `x-portcullis-shadow`; default true.
        opt shadow: bool,
        /// `proxy-status` (RFC 9209); default true.
        opt proxy_status: bool,
    }
}

impl From<&RawResponseHeaders> for ResponseHeaders {
    fn from(raw: &RawResponseHeaders) -> ResponseHeaders {
        let default = ResponseHeaders::default();
        ResponseHeaders {
            decision: raw.decision.unwrap_or(default.decision),
            rule: raw.rule.unwrap_or(default.rule),
            reason: raw.reason.unwrap_or(default.reason),
            policy: raw.policy.unwrap_or(default.policy),
            shadow: raw.shadow.unwrap_or(default.shadow),
            proxy_status: raw.proxy_status.unwrap_or(default.proxy_status),
        }
    }
}
