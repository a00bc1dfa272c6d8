//! Policies and requests for the tests of this room: from TOML text to a verdict in two calls.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};
use jiff::Timestamp;
use toml::de::DeTable;

use super::code::Code;
use super::decode::{Part, TableReader};
use super::diagnostic::{Diagnostic, Diagnostics, FileId, Place};
use super::raw::RawPolicy;
use super::source::{Attached, Sources};
use super::{Admitted, Frame, Policy, Progress};
use crate::decision::{Notes, Stage, StepOutcome, Trace, Verdict};
use crate::facts::{Body, Facts, Holder, Identity, Scheme};

/// When the policies of the tests are compiled and, unless they say otherwise, judge.
pub(crate) const NOW: &str = "2026-11-24T12:00:00Z";

pub(crate) fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Compiles a policy of one file, with list files beside it.
pub(crate) fn compile_with(text: &str, files: &[(&str, Option<&str>)]) -> (Option<Policy>, Vec<Diagnostic>) {
    let mut sources = Sources::single("t.toml", text);
    for (path, text) in files {
        match text {
            Some(text) => drop(sources.attach(*path, *text)),
            None => sources.attach_failure(*path, Attached::Absent),
        }
    }
    let mut diagnostics = Diagnostics::default();
    let table = DeTable::parse(text).unwrap();
    let mut reader = TableReader::new(FileId(0), "a policy file", table.get_ref(), Place::default());
    let raw = RawPolicy::read(&mut reader, &mut diagnostics);
    reader.finish(&mut diagnostics);
    let frame = Frame { upstreams: vec!["up".into(), "other".into()], ..Frame::default() };
    let policy = raw.and_then(|raw| Policy::compile(&raw, &frame, &sources, time(NOW), &mut diagnostics));
    (policy, diagnostics.into_sorted())
}

/// Compiles a policy that must be without errors.
pub(crate) fn policy(text: &str) -> Policy {
    let (policy, problems) = compile_with(text, &[]);
    policy.unwrap_or_else(|| panic!("{problems:#?}"))
}

/// The problems of a policy: code, the text they point at, message. Lints about what a small test
/// policy leaves out are not listed.
pub(crate) fn problems(text: &str) -> Vec<(Code, String, String)> {
    let (_, problems) = compile_with(text, &[]);
    problems
        .into_iter()
        .filter(|problem| problem.code != Code::NothingGranted)
        .map(|problem| {
            let at = problem.place.map_or("", |place| &text[place.start as usize..place.end as usize]);
            (problem.code, at.to_owned(), problem.message)
        })
        .collect()
}

/// One request, built up from `GET http://api.test/` by nobody from 192.0.2.1.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) uri: String,
    pub(crate) headers: HeaderMap,
    pub(crate) ip: IpAddr,
    pub(crate) holder: Option<Holder>,
    pub(crate) now: Timestamp,
}

pub(crate) fn ask(method: &str, uri: &str) -> Ask {
    let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("api.test"))]);
    Ask {
        method: method.parse().unwrap(),
        uri: uri.into(),
        headers,
        ip: "192.0.2.1".parse().unwrap(),
        holder: None,
        now: time(NOW),
    }
}

impl Ask {
    pub(crate) fn host(mut self, host: &str) -> Ask {
        self.headers.insert(header::HOST, host.parse().unwrap());
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Ask {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        self.headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        self
    }

    pub(crate) fn ip(mut self, ip: &str) -> Ask {
        self.ip = ip.parse().unwrap();
        self
    }

    pub(crate) fn at(mut self, now: &str) -> Ask {
        self.now = time(now);
        self
    }

    /// By a holder with this subject and these roles.
    pub(crate) fn by(mut self, subject: &str, roles: &[&str]) -> Ask {
        let roles = roles.iter().map(|role| (*role).into()).collect();
        self.holder = Some(Holder { subject: subject.into(), roles, bearer: true, ..Holder::default() });
        self
    }

    pub(crate) fn scopes(mut self, scopes: &[&str]) -> Ask {
        self.holder.as_mut().unwrap().scopes = scopes.iter().map(|scope| (*scope).into()).collect();
        self
    }

    pub(crate) fn claims(mut self, claims: serde_json::Value) -> Ask {
        let serde_json::Value::Object(claims) = claims else { panic!("claims are an object") };
        self.holder.get_or_insert_default().claims = claims;
        self
    }

    /// The facts of the request, handed to whoever judges.
    pub(crate) fn with<T>(&self, policy: &Policy, judge: impl FnOnce(&Facts<'_>) -> T) -> T {
        let uri = self.uri.parse().unwrap();
        let admitted: Admitted =
            policy.admit(&self.method, Scheme::Http, &uri, Version::HTTP_11, &self.headers, self.ip);
        let identity = match &self.holder {
            Some(holder) => Identity::Valid(Arc::new(policy.roles.who(Arc::new(holder.clone())))),
            None => Identity::Nobody,
        };
        judge(&policy.facts(&admitted, &self.headers, &identity, &Body::Absent, self.now))
    }

    /// What a gate says: `pass RULE` or `deny RULE REASON`, and `; shadow RULE REASON` for each rule
    /// in shadow that would have refused. Judged with and without a trace, which must agree.
    pub(crate) fn verdict(&self, policy: &Policy, stage: Stage) -> String {
        let said = self.with(policy, |facts| {
            let mut progress = Progress::default();
            let verdict = policy.check(stage, facts, &mut progress, None);
            show(policy, &verdict, &progress.notes)
        });
        let (traced, _) = self.traced(policy, stage);
        assert_eq!(said, traced, "a trace changed the verdict");
        said
    }

    /// The verdict, and the steps of the trace as `RULE OUTCOME: NOTE`.
    pub(crate) fn traced(&self, policy: &Policy, stage: Stage) -> (String, Vec<String>) {
        let mut trace = Trace::default();
        let said = self.with(policy, |facts| {
            let mut progress = Progress::default();
            let verdict = policy.check(stage, facts, &mut progress, Some(&mut trace));
            show(policy, &verdict, &progress.notes)
        });
        let steps = trace.steps.iter().map(|step| {
            let outcome = match step.outcome {
                StepOutcome::Deny(reason) => format!("deny {reason}"),
                StepOutcome::ShadowDeny(reason) => format!("shadow {reason}"),
                other => format!("{other:?}").to_lowercase(),
            };
            format!("{} {outcome}: {}", step.rule.map_or("-", |rule| policy.rules.name(rule)), step.note)
        });
        (said, steps.collect())
    }
}

fn show(policy: &Policy, verdict: &Verdict, notes: &Notes) -> String {
    let mut text = match verdict {
        Verdict::Pass(rule) => format!("pass {}", policy.rules.name(*rule)),
        Verdict::Answer(rule) => format!("answer {}", rule.info().name),
        Verdict::Deny(denial) => {
            let until = denial.until.map(|until| format!(" until {until}")).unwrap_or_default();
            format!("deny {} {}{until}", policy.rules.name(denial.rule), denial.reason)
        }
    };
    for hit in &notes.shadow {
        text.push_str(&format!("; shadow {} {}", policy.rules.name(hit.rule), hit.reason));
    }
    text
}
