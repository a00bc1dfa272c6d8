//! A change that is proposed: what it says, where it stands, and what it can make a difference to.

use std::net::IpAddr;

use serde::Serialize;

use crate::audit::Line;
use crate::cli::explain::account::Account;
use crate::cli::explain::exactly::Exactly;
use crate::cli::written_toml::quoted;
use crate::policy::source::Sources;

/// A change that is proposed.
pub(super) struct Proposal {
    /// What it is, in words.
    pub(super) what: String,
    /// What is to be written.
    pub(super) toml: String,
    /// Where: nothing for a table that may stand anywhere, else the place of the rule.
    pub(super) at: Option<String>,
    /// What is to be written besides, where one change is not enough.
    pub(super) also: Vec<Part>,
    /// What it can make a difference to.
    pub(super) reach: Reach,
    /// The texts with the change.
    pub(super) sources: Sources,
    /// Why it cannot be tried here that the request passes then, where it cannot.
    pub(super) untried: Vec<String>,
    /// What must be known of it before it is used.
    pub(super) mind: Vec<String>,
}

/// One of several changes, as in [`Proposal`].
#[derive(Clone, Debug, Serialize)]
pub(super) struct Part {
    pub(super) what: String,
    pub(super) toml: String,
    pub(super) at: Option<String>,
}

/// What a change can make a difference to, of requests that its rule is about.
#[derive(Clone, Debug)]
pub(super) enum Reach {
    /// Whatever the grant of this name is about, and no other allows.
    Grant(String),
    /// Of what the deny refuses, what has this role.
    Role(String),
    /// Of what the rule refuses, what comes from this address.
    Address(IpAddr),
    /// What the WAF refuses of this request for these rules on these targets.
    Waf(Excluded),
    /// Several changes, each to something else.
    Several,
}

/// The rules that an exclusion keeps from targets, each with its target, and of which requests.
#[derive(Clone, Debug)]
pub(super) struct Excluded {
    pub(super) method: String,
    pub(super) host: String,
    pub(super) path: String,
    pub(super) matched: Vec<(String, String)>,
}

impl Proposal {
    /// Together with one that is needed besides, made of the texts with this one.
    pub(super) fn and(mut self, more: Proposal) -> Proposal {
        self.also.push(Part { what: more.what, toml: more.toml, at: more.at });
        self.untried.extend(more.untried);
        self.mind.extend(more.mind);
        Proposal { reach: Reach::Several, sources: more.sources, ..self }
    }

    /// What must be known of it, in one text.
    pub(super) fn minds(&self) -> Option<String> {
        (!self.mind.is_empty()).then(|| self.mind.join(" "))
    }
}

/// An id that says where it comes from.
pub(super) fn id(line: &Line<'_>) -> String {
    let tail: String = line.decision_id.chars().rev().filter(char::is_ascii_hexdigit).take(8).collect();
    format!("for-{}", tail.chars().rev().collect::<String>().to_ascii_lowercase())
}

/// The scope of just this request.
pub(super) fn scope(account: &Account<'_>) -> String {
    let target = &account.admitted.target;
    format!(
        "methods = [{}]\nhost = {}\npath = {}\n",
        quoted(target.method.as_str()),
        quoted(target.host()),
        quoted(&Exactly::of(target).pattern)
    )
}

/// The texts with one more file.
pub(super) fn with_table(account: &Account<'_>, table: &str) -> Sources {
    let mut sources = account.setup.sources.clone();
    sources.add_policy("suggestion.toml", table);
    sources
}
