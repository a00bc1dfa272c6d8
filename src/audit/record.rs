//! One request as one line of JSON.
//!
//! The members and their order are promised in the README; a member without a value is absent.
//! Lines are made for every request, so they are written by hand into a buffer that is used again.

#[cfg(test)]
mod tests;
mod values;

use std::borrow::Cow;
use std::fmt;

use http::{HeaderName, Version as HttpVersion};
use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::privacy::Privacy;
use super::settings::Settings;
use crate::decision::{BodyInspection, Notes, Outcome, RuleRef, Stage};
use crate::deny::{NearestShape, ShadowShape, WafShape};
use crate::facts::{Facts, Holder, Identity, Length};
use crate::policy::Policy;
use crate::policy::rbac::Nearest;

/// How the facts of a request are taken down.
#[derive(Clone, Debug)]
pub struct Recorder {
    privacy: Privacy,
    /// The headers that are recorded, with the names of their members.
    headers: Vec<(HeaderName, String)>,
    /// The headers in which sources of identity read credentials.
    credentials: Vec<HeaderName>,
}

/// The facts of a request as its record tells them.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The members from `client` to `facts`.
    text: Vec<u8>,
}

/// A value that a condition of the policy names.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// As the condition spells it: `claims.sub`, `header.x-tenant`, `query.year`.
    pub name: &'a str,
    /// What the request had there.
    pub value: NamedValue<'a>,
}

/// What a condition saw.
#[derive(Clone, Copy, Debug)]
pub enum NamedValue<'a> {
    /// Text, of a header or the query.
    Text(&'a str),
    /// A claim.
    Json(&'a Value),
    /// Something that is no one value: given twice, or no text. Recorded as `null`.
    Unclear,
}

/// Everything else that a record tells.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The policy that judged.
    pub policy: &'a Policy,
    /// When.
    pub now: Timestamp,
    /// The value of `x-request-id`.
    pub request_id: &'a str,
    /// The name of this decision.
    pub decision_id: Uuid,
    /// Allowed, refused, or broken (a denial of stage `fault`).
    pub outcome: Outcome,
    /// Shadow hits and WAF matches.
    pub notes: &'a Notes,
    /// The facts.
    pub seen: &'a Seen,
    /// Who asked; for `nearest`.
    pub identity: &'a Identity,
    /// The nearest grants, where they are wanted.
    pub nearest: &'a [Nearest],
    /// When the rule last changed, as far as this installation knows.
    pub rule_changed: Option<Timestamp>,
    /// The status of the answer.
    pub status: u16,
    /// The gRPC status, where the answer has one.
    pub grpc_status: Option<u8>,
    /// Whose answer it is.
    pub decided_by: DecidedBy,
    /// How long it took.
    pub timing: Timing,
    /// How much went through.
    pub bytes: Traffic,
    /// The trace that the request belongs to (W3C Trace Context), as 32 hexadecimal digits.
    pub trace_id: Option<&'a str>,
}

/// Whose answer the client got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecidedBy {
    /// Ours.
    Proxy,
    /// The upstream's, passed on.
    Upstream,
}

/// How long it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Nanoseconds of judging.
    pub policy_ns: u64,
    /// Microseconds of waiting for the head of the upstream's answer; none if it was not asked.
    pub upstream_us: Option<u64>,
}

/// Bytes of bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// From the client.
    pub r#in: u64,
    /// To the client.
    pub out: u64,
}

// === impl Recorder ===

impl Recorder {
    /// A recorder for these settings. `credentials`: headers in which sources of identity read
    /// credentials, besides the usual ones. `key`: for hashes of subjects and addresses.
    pub fn new(settings: &Settings, credentials: &[HeaderName], key: &[u8]) -> Recorder {
        let headers = settings.headers.iter().map(|name| (name.clone(), format!("header.{name}")));
        Recorder {
            privacy: Privacy::new(settings, key),
            headers: headers.collect(),
            credentials: credentials.to_vec(),
        }
    }

    /// Takes down the facts. `named`: the values that the policy's conditions name.
    pub fn see(&self, policy: &Policy, facts: &Facts<'_>, version: HttpVersion, named: &[Named<'_>]) -> Seen {
        let mut line = Line(Vec::with_capacity(512));
        line.push(",\"client\":{\"ip\":\"");
        self.privacy.address(facts.client.ip, &mut line);
        line.push("\",\"peer\":\"");
        self.privacy.address(facts.client.peer, &mut line);
        line.push("\",\"via\":\"");
        line.push(facts.client.via());
        line.push("\"},\"scheme\":\"");
        line.push(facts.target.scheme.as_str());
        line.push("\",\"version\":\"");
        line.push(version_name(version));
        line.push("\",\"method\":");
        line.string(facts.target.method.as_str());
        line.push(",\"host\":");
        line.string(facts.target.host());
        line.push(",\"path\":");
        line.string(&self.privacy.path(facts.target));
        if let Some(route) = policy.route(facts.route) {
            line.push(",\"route\":");
            line.string(&route.name);
        }
        match facts.fields.length {
            Length::None => {}
            Length::Bytes(length) => {
                line.push(",\"announced\":");
                line.number(length);
            }
            Length::Chunked => line.push(",\"announced\":\"chunked\""),
        }
        self.identity(facts.identity, &mut line);
        self.values(facts, named, &mut line);
        Seen { text: line.0 }
    }

    fn identity(&self, identity: &Identity, line: &mut Line) {
        line.push(",\"identity\":{\"state\":\"");
        line.push(identity.state().name());
        line.push("\"");
        let (holder, undeclared): (&Holder, &[Box<str>]) = match identity {
            Identity::Valid(who) => (&who.holder, &who.undeclared),
            Identity::Invalid(problem) => match &problem.claimed {
                Some(claimed) => (claimed, &[]),
                None => return line.push("}"),
            },
            Identity::Nobody => return line.push("}"),
        };
        line.push(",\"source\":");
        line.string(&holder.source);
        if let Some(subject) = self.privacy.subject(&holder.subject) {
            line.push(",\"subject\":");
            line.excerpt(&subject);
        }
        let counted = holder.roles.iter().filter(|role| !undeclared.contains(role));
        line.strings(",\"roles\":[", counted);
        line.strings(",\"scopes\":[", holder.scopes.iter());
        line.moment(",\"issued_at\":\"", holder.issued_at);
        line.moment(",\"expires_at\":\"", holder.expires_at);
        line.strings(",\"ignored_roles\":[", holder.ignored_roles.iter().chain(undeclared));
        line.push("}");
    }
}

// === impl Record ===

impl Record<'_> {
    /// Appends the line, with its line break.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut line = Line(std::mem::take(out));
        self.decision(&mut line);
        line.0.extend_from_slice(&self.seen.text);
        self.notes(&mut line);
        line.push(",\"timing\":{\"policy_ns\":");
        line.number(self.timing.policy_ns);
        if let Some(upstream) = self.timing.upstream_us {
            line.push(",\"upstream_us\":");
            line.number(upstream);
        }
        line.push("},\"bytes\":{\"in\":");
        line.number(self.bytes.r#in);
        line.push(",\"out\":");
        line.number(self.bytes.out);
        line.push("}");
        if let Some(trace) = self.trace_id {
            line.push(",\"trace_id\":");
            line.string(trace);
        }
        line.push("}\n");
        *out = line.0;
    }

    fn decision(&self, line: &mut Line) {
        let (decision, stage, rule, reason) = match &self.outcome {
            Outcome::Allow(rule) => ("allow", self.stage_of(*rule), *rule, None),
            Outcome::Deny(denial) if denial.stage == Stage::Fault => {
                ("error", denial.stage, denial.rule, Some(denial.reason))
            }
            Outcome::Deny(denial) => ("deny", denial.stage, denial.rule, Some(denial.reason)),
        };
        line.push("{\"ts\":\"");
        // Written into a vector, which does not fail.
        let _ = MICROSECONDS.print_timestamp(&self.now, &mut line.0);
        line.push("\",\"request_id\":");
        line.string(self.request_id);
        line.push(",\"decision_id\":\"");
        line.push(self.decision_id.hyphenated().encode_lower(&mut [0; uuid::fmt::Hyphenated::LENGTH]));
        line.push("\",\"decision\":\"");
        line.push(decision);
        line.push("\",\"stage\":\"");
        line.push(stage.name());
        line.push("\",\"rule\":\"");
        line.push(self.policy.rules.name(rule));
        line.push("\"");
        if let RuleRef::Written(written) = rule {
            line.push(",\"rule_at\":");
            line.string(&self.policy.rules.get(written).at);
        }
        line.moment(",\"rule_changed\":\"", self.rule_changed);
        if let Some(reason) = reason {
            line.push(",\"reason\":\"");
            line.push(reason.info().code);
            line.push("\"");
        }
        if let Outcome::Deny(denial) = &self.outcome {
            line.moment(",\"until\":\"", denial.until);
        }
        line.push(",\"status\":");
        line.number(self.status.into());
        if let Some(status) = self.grpc_status {
            line.push(",\"grpc_status\":");
            line.number(status.into());
        }
        line.push(match self.decided_by {
            DecidedBy::Proxy => ",\"decided_by\":\"proxy\",\"policy\":{\"generation\":",
            DecidedBy::Upstream => ",\"decided_by\":\"upstream\",\"policy\":{\"generation\":",
        });
        line.number(self.policy.version.generation);
        line.push(",\"hash\":\"");
        line.hash(self.policy.version.hash);
        line.push("\"}");
    }

    fn stage_of(&self, rule: RuleRef) -> Stage {
        match rule {
            RuleRef::Builtin(builtin) => builtin.info().stage,
            RuleRef::Written(written) => self.policy.rules.get(written).stage,
        }
    }

    fn notes(&self, line: &mut Line) {
        let Record { policy, identity, nearest, notes, .. } = *self;
        let waf = WafShape { policy, notes: &notes.waf, body: true };
        if !waf.is_empty() || notes.waf.body != BodyInspection::None {
            line.push(",\"waf\":");
            line.value(&waf);
        }
        let shadow = ShadowShape { policy, hits: &notes.shadow };
        if !shadow.is_empty() {
            line.push(",\"shadow\":");
            line.value(&shadow);
        }
        if !nearest.is_empty() {
            line.push(",\"nearest\":");
            line.value(&NearestShape { policy, identity, nearest });
        }
    }
}

fn version_name(version: HttpVersion) -> &'static str {
    match version {
        HttpVersion::HTTP_09 => "HTTP/0.9",
        HttpVersion::HTTP_10 => "HTTP/1.0",
        HttpVersion::HTTP_11 => "HTTP/1.1",
        HttpVersion::HTTP_2 => "HTTP/2",
        HttpVersion::HTTP_3 => "HTTP/3",
        _ => "HTTP/?",
    }
}

const MICROSECONDS: DateTimePrinter = DateTimePrinter::new().precision(Some(6));
const SECONDS: DateTimePrinter = DateTimePrinter::new().precision(Some(0));

// === impl Line ===

/// A line in the making. What is pushed must be JSON; strings are escaped and cut.
struct Line(Vec<u8>);

impl Line {
    fn push(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    fn string(&mut self, text: &str) {
        crate::deny::push_json_string(&mut self.0, text);
    }

    /// A text that others chose, and that may be long.
    fn excerpt(&mut self, text: &str) {
        self.string(&cut(text));
    }

    /// A list that is absent when it is empty. `start` is the key with the bracket.
    fn strings<'a>(&mut self, start: &'static str, items: impl Iterator<Item = &'a Box<str>>) {
        let mut separator = start;
        for item in items {
            self.push(std::mem::replace(&mut separator, ","));
            self.excerpt(item);
        }
        if separator == "," {
            self.push("]");
        }
    }

    fn moment(&mut self, start: &'static str, moment: Option<Timestamp>) {
        if let Some(moment) = moment {
            self.push(start);
            let _ = SECONDS.print_timestamp(&moment, &mut self.0);
            self.push("\"");
        }
    }

    fn number(&mut self, mut number: u64) {
        let mut digits = [0; 20];
        let mut start = digits.len();
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
            start -= 1;
            if number == 0 {
                break;
            }
        }
        self.0.extend_from_slice(digits.get(start..).unwrap_or_default());
    }

    fn hash(&mut self, hash: u32) {
        for shift in (0..8).rev() {
            let digit = char::from_digit(hash >> (4 * shift) & 0xf, 16);
            self.0.extend(digit.map(|digit| digit as u8));
        }
    }

    fn value(&mut self, value: &impl Serialize) {
        // Written into a vector, and all keys of our objects are strings.
        let _ = serde_json::to_writer(&mut self.0, value);
    }

    /// A value as it came, or the beginning of its text if it is long.
    fn json(&mut self, value: &Value) {
        let start = self.0.len();
        if let Value::String(text) = value {
            return self.excerpt(text);
        }
        self.value(value);
        if self.0.len() - start > LONGEST {
            let text = String::from_utf8_lossy(self.0.get(start..).unwrap_or_default()).into_owned();
            self.0.truncate(start);
            self.excerpt(&text);
        }
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text);
        Ok(())
    }
}

/// The beginning of a text, marked if it goes on.
fn cut(text: &str) -> Cow<'_, str> {
    if text.len() <= LONGEST {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(LONGEST - MARK.len());
    Cow::Owned(format!("{}{MARK}", &text[..end]))
}

/// Nobody needs more of a value to understand a decision, and a line stays of readable length.
const LONGEST: usize = 256;
const MARK: &str = "…";
