//! `/api/log-level`: full trails for a while.

use std::sync::Arc;

use http::StatusCode;
use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::access::Caller;
use super::answer::{Answer, json, problem};
use super::bans::{LONGEST_ADDRESS, Longest};
use super::input::plain;
use super::members::{Document, Kind, Member};
use super::{AdminState, bans};
use crate::layers::Verbose;
use crate::policy::authn::is_subject;
use crate::policy::diagnostic::suggest;
use crate::policy::network::parse_net;

/// What is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Wanted {
    /// For how long: `10m`.
    r#for: String,
    /// Only requests of these routes.
    routes: Vec<String>,
    /// Only requests of this subject.
    subject: Option<String>,
    /// Only requests from these addresses and networks.
    ips: Vec<String>,
}

impl Document for Wanted {
    const MEMBERS: &'static [Member] = &[
        Member::needed("for", Kind::Text, "a time span such as 10m"),
        Member::new("routes", Kind::Texts, "a list of routes such as [\"orders\"]"),
        Member::new("subject", Kind::Text, "the name of a subject such as alice"),
        Member::new("ips", Kind::Texts, "a list of addresses and networks such as [\"203.0.113.0/24\"]"),
    ];
}

/// How it stands.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    pub(super) verbose: bool,
    pub(super) until: Option<Timestamp>,
    pub(super) by: Option<String>,
    pub(super) routes: Vec<String>,
    pub(super) subject: Option<String>,
    pub(super) ips: Vec<String>,
    /// How many trails are kept.
    pub(super) trails: usize,
}

/// How it stands.
pub(super) fn shown(state: &AdminState) -> Shown {
    let snapshot = state.installer.current().load_full();
    let verbose = snapshot.verbose.as_ref().filter(|verbose| verbose.until > Timestamp::now());
    Shown {
        verbose: verbose.is_some(),
        until: verbose.map(|verbose| verbose.until),
        by: verbose.map(|verbose| verbose.by.clone()),
        routes: verbose.map(|verbose| verbose.routes.clone()).unwrap_or_default(),
        subject: verbose.and_then(|verbose| verbose.subject.clone()),
        ips: verbose.map(|verbose| verbose.ips.iter().map(IpNet::to_string).collect()).unwrap_or_default(),
        trails: state.trails.len(),
    }
}

/// `PUT`.
pub(super) fn begin(state: &Arc<AdminState>, caller: &Caller, wanted: Wanted) -> Answer {
    let verbose = match make(state, caller, wanted) {
        Ok(verbose) => Arc::new(verbose),
        Err(why) => return problem(StatusCode::UNPROCESSABLE_ENTITY, why),
    };
    let until = verbose.until;
    state.changes.note(caller, format!("keeps trails until {until:.0}{}", words(&verbose)));
    state.installer.set_verbose(Some(Arc::clone(&verbose)));
    let left = until.duration_since(Timestamp::now());
    // The state must not be kept alive by what waits in it.
    let ending = Arc::downgrade(state);
    state.trails_end.set(left.try_into().unwrap_or_default(), move || {
        if let Some(state) = ending.upgrade() {
            state.installer.end_verbose(&verbose);
        }
    });
    json(StatusCode::OK, &shown(state))
}

/// `DELETE`.
pub(super) fn end(state: &AdminState, caller: &Caller) -> Answer {
    state.trails_end.stop();
    if state.installer.set_verbose(None).is_some() {
        state.changes.note(caller, "keeps no more trails");
    }
    json(StatusCode::OK, &json!(shown(state)))
}

/// Trails are for who looks on.
const LONGEST: Longest = Longest {
    span: SignedDuration::from_hours(24),
    why: "24h at most; ask again when it has ended, or find what was decided in the decision log",
};

/// Each request is compared with all of these.
const MOST_ROUTES: usize = 32;
const MOST_IPS: usize = 64;

/// The id of a route is no longer.
const LONGEST_NAME: usize = 64;

fn make(state: &AdminState, caller: &Caller, wanted: Wanted) -> Result<Verbose, String> {
    let Wanted { r#for, routes, subject, ips } = wanted;
    let until = bans::end(&r#for, LONGEST)?;
    for (name, count, most) in [("routes", routes.len(), MOST_ROUTES), ("ips", ips.len(), MOST_IPS)] {
        if count > most {
            return Err(format!(
                "{name}: {count} are too many, {most} at most; without any, requests of all {name} match"
            ));
        }
    }
    let policy = Arc::clone(&state.installer.current().load().policy);
    for route in &routes {
        plain("routes", route, LONGEST_NAME)?;
        if !policy.routes.iter().any(|(_, known)| *known.name == **route) {
            let near = suggest(route, policy.routes.iter().map(|(_, known)| &*known.name));
            let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            return Err(format!("routes: there is no route `{route}`{near}"));
        }
    }
    let net = |text: &String| {
        let text = plain("ips", text.trim(), LONGEST_ADDRESS)?;
        parse_net(&text).map_err(|why| format!("ips: `{text}` {why}"))
    };
    let ips = ips.iter().map(net).collect::<Result<Vec<_>, _>>()?;
    let subject = subject.filter(|subject| !subject.is_empty());
    // Whatever a credential may say: who has a strange name must be found by it. Views escape it.
    if subject.as_ref().is_some_and(|subject| !is_subject(subject)) {
        return Err("subject: no verified subject is empty, longer than 256 bytes, begins or ends with \
                    a blank or has control characters"
            .to_owned());
    }
    Ok(Verbose { until, by: caller.to_string(), routes, subject, ips, trails: Arc::clone(&state.trails) })
}

/// What is wanted, in words.
fn words(verbose: &Verbose) -> String {
    let mut words = String::new();
    if !verbose.routes.is_empty() {
        words.push_str(&format!(", of {}", verbose.routes.join(" and ")));
    }
    if let Some(subject) = &verbose.subject {
        words.push_str(&format!(", for {subject}"));
    }
    if !verbose.ips.is_empty() {
        let ips: Vec<String> = verbose.ips.iter().map(IpNet::to_string).collect();
        words.push_str(&format!(", from {}", ips.join(" and ")));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_members_are_those_that_are_read() {
        crate::admin::members::agree::<Wanted>();
    }
}
