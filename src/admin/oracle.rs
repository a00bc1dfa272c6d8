//! What the command line's verbs tell, for whoever asks over HTTP.
//!
//! `cli` implements it and hands it in when the gateway starts, so that a page, an API and a verb
//! give one answer to one question.

use std::fmt::{self, Debug};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::members::{Document, Kind, Member};
use crate::config::Setup;
use crate::policy::World;
use crate::state::Accepted;
use crate::state::cause::{Cause, Change};

/// Who can tell.
pub(crate) trait Oracle: Debug + Send + Sync {
    /// What would happen to a request, and why: the document of `portcullis explain --format json`.
    /// `policies`: those of `what_if_policy`, with their names.
    fn explain(
        &self,
        setup: &Setup,
        world: &World,
        question: &Question,
        policies: Vec<(String, Setup)>,
    ) -> Result<Value, String>;

    /// What becomes of a recorded request by a policy, told as `portcullis why` tells it.
    fn again(&self, setup: &Setup, world: &World, record: &[u8]) -> Result<Again, String>;

    /// What changed before a recorded request was refused, or since when it is. `setup`: the policy that
    /// judged it again.
    fn cause(&self, setup: &Setup, world: &World, record: &[u8], earlier: &Earlier<'_>) -> Cause;

    /// Whom else the rule of a record refused: what the log's files say, or without files these lines,
    /// which are all since a time. Nothing follows from it where the change accounts for it.
    fn others(
        &self,
        setup: &Setup,
        record: &[u8],
        change: Option<&Change>,
        log: Option<&Path>,
        lines: &[u8],
        since: Timestamp,
    ) -> Result<Value, String>;

    /// The written rules, as `portcullis explain --rules --format json` has them, each with the `text`
    /// of its lines.
    fn rules(&self, setup: &Setup) -> Vec<Value>;
}

/// The policies that were in force, for a search of the change that refused a request.
#[derive(Clone, Copy)]
pub(crate) struct Earlier<'a> {
    /// The oldest first.
    pub(crate) accepted: &'a [&'a Accepted],
    /// Whether there were none before these.
    pub(crate) whole: bool,
    /// How long they may be asked.
    pub(crate) patience: Duration,
    /// One of them, compiled as it was then; none if it cannot be.
    pub(crate) compile: &'a dyn Fn(&Accepted) -> Option<Setup>,
}

/// A recorded request, judged again.
#[derive(Clone, Debug)]
pub(crate) struct Again {
    /// The document of `portcullis explain --format json`.
    pub(crate) document: Value,
    /// Whether it comes to what was recorded.
    pub(crate) agrees: bool,
    /// Why the recorded decision was taken over, where the record does not hold what it came from.
    pub(crate) as_recorded: Option<String>,
}

/// A request that somebody asks about.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Question {
    /// GET by default, or POST with a body.
    pub(crate) method: Option<String>,
    /// A path with its query, or a whole URL.
    pub(crate) target: String,
    /// The host, where the target names none; `localhost` by default.
    pub(crate) host: Option<String>,
    /// Whether the connection is encrypted.
    pub(crate) https: bool,
    /// The client's address; 127.0.0.1 by default.
    pub(crate) ip: Option<IpAddr>,
    /// The other end of the connection, where it is a proxy that names the client.
    pub(crate) peer: Option<IpAddr>,
    /// Who asks, as if a credential of this subject had been verified.
    pub(crate) subject: Option<String>,
    /// Its roles.
    pub(crate) roles: Vec<String>,
    /// Its scopes.
    pub(crate) scopes: Vec<String>,
    /// Its claims by dotted name.
    pub(crate) claims: Map<String, Value>,
    /// Header fields: names and values.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: Option<String>,
    /// When; now by default.
    pub(crate) at: Option<Timestamp>,
    /// The same request from these addresses, side by side.
    pub(crate) what_if_ip: Vec<IpAddr>,
    /// The same request by somebody who also has these roles, side by side.
    pub(crate) what_if_role: Vec<String>,
    /// The same request with each of these bearer tokens, side by side.
    pub(crate) what_if_token: Vec<Secret>,
    /// The same request at these times, side by side.
    pub(crate) what_if_at: Vec<Timestamp>,
    /// The same request by these policies of the history, side by side: `7`, `7-3f9a2c1d`, `-1`.
    pub(crate) what_if_policy: Vec<String>,
}

impl Document for Question {
    const MEMBERS: &'static [Member] = &[
        Member::new("method", Kind::Text, "a method such as DELETE"),
        Member::needed(
            "target",
            Kind::Text,
            "a path with its query such as /orders/42?all=1, or a whole URL",
        ),
        Member::new("host", Kind::Text, "a host such as api.example.com"),
        Member::new("https", Kind::Flag, "true or false"),
        Member::new("ip", Kind::Address, ADDRESS),
        Member::new("peer", Kind::Address, ADDRESS),
        Member::new("subject", Kind::Text, "the name of a subject such as alice"),
        Member::new("roles", Kind::Texts, "a list of roles such as [\"orders-reader\"]"),
        Member::new("scopes", Kind::Texts, "a list of scopes such as [\"orders:read\"]"),
        Member::new("claims", Kind::Object, "an object of claims by dotted name such as {\"team.id\": 7}"),
        Member::new(
            "headers",
            Kind::Pairs,
            "a list of pairs of name and value such as [[\"accept\", \"text/html\"]]",
        ),
        Member::new("body", Kind::Text, "a text; a JSON document is written as a text too"),
        Member::new("at", Kind::Time, TIME),
        Member::new("what_if_ip", Kind::Addresses, "a list of addresses such as [\"203.0.113.9\"]"),
        Member::new("what_if_role", Kind::Texts, "a list of roles such as [\"orders-admin\"]"),
        Member::new("what_if_token", Kind::Texts, "a list of bearer tokens"),
        Member::new("what_if_at", Kind::Times, "a list of times such as [\"2026-12-24T08:00:00Z\"]"),
        Member::new("what_if_policy", Kind::Texts, "a list of generations such as [\"7\", \"-1\"]"),
    ];
}

const ADDRESS: &str = "an address such as 203.0.113.9";
const TIME: &str = "a time such as 2026-12-24T08:00:00Z";

/// A credential. It is written nowhere.
#[derive(Clone, Deserialize)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.trim().as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Question {
    /// How many other requests it asks about.
    pub(crate) fn besides(&self) -> usize {
        self.what_if_ip.len()
            + self.what_if_role.len()
            + self.what_if_token.len()
            + self.what_if_at.len()
            + self.what_if_policy.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_members_are_those_that_are_read() {
        crate::admin::members::agree::<Question>();
    }
}
