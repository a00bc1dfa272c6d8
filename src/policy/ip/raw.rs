//! `[ip]` as written.

use crate::policy::compile::RawWords;
use crate::policy::decode::{Name, table};
use crate::policy::diagnostic::At;
use crate::policy::mode::RawMode;
use crate::policy::network::NetItem;
use crate::policy::scope::RawScope;

table! {
    /// `[ip]`: which addresses are welcome at all.
    pub struct RawIp as "[ip]" {
        /// The mode of the whole stage.
        part mode: RawMode,
        /// Addresses that no ban concerns: addresses, networks or names of networks.
        list never_ban: At<NetItem>,
        /// The rules.
        list rule: RawIpRule,
    }
}

table! {
    /// `[[ip.rule]]`: every matching rule must let the address through.
    pub struct RawIpRule as "[[ip.rule]]" {
        /// The id of the rule.
        req id: At<Name>,
        /// Which requests the rule is about.
        part scope: RawScope,
        /// Whether the rule counts.
        part mode: RawMode,
        /// Words for people.
        part words: RawWords,
        /// The addresses that may pass; all others are refused.
        opt allow: Vec<At<NetItem>>,
        /// The addresses that are refused.
        opt deny: Vec<At<NetItem>>,
        /// Addresses this rule says nothing about.
        list except: At<NetItem>,
    }
}
