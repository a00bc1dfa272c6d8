//! A made-up request that stands for a class of them, and what a policy says of it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, Uri, Version, header};
use jiff::Timestamp;

use super::groups::{Age, Groups};
use super::side::Side;
use crate::decision::Written;
use crate::facts::{Body, Holder, Identity, Scheme};
use crate::policy::Admitted;
use crate::policy::rbac::{Access, Blind};
use crate::policy::route::AuthnWord;
use crate::policy::scope::HostPattern;

/// A segment that no policy names.
pub(super) const NOWHERE: &str = "zz-portcullis-anything";

/// What a policy says of a request.
pub(super) struct Said {
    pub(super) access: Access,
    /// What allows, and what forbids, or may.
    pub(super) allows: Vec<Written>,
    pub(super) forbids: Vec<Written>,
}

impl Said {
    /// It is refused before any grant is asked.
    pub(super) const NOTHING: Said = Said { access: Access::Never, allows: Vec::new(), forbids: Vec::new() };
}

/// A request that stands for a class.
pub(super) struct Request {
    uri: Uri,
    headers: HeaderMap,
}

impl Request {
    pub(super) fn new(host: Option<&HostPattern>, path: &[&str]) -> Request {
        let mut text = String::new();
        for segment in path {
            text.push('/');
            for byte in segment.bytes() {
                // Writing into a string cannot fail.
                let _ = match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                    true => write!(text, "{}", char::from(byte)),
                    false => write!(text, "%{byte:02X}"),
                };
            }
        }
        if text.is_empty() {
            text.push('/');
        }
        let host = match host {
            None => "unnamed.invalid".to_owned(),
            Some(HostPattern::Exact(name)) => name.to_string(),
            Some(HostPattern::Below(suffix)) => format!("{NOWHERE}{suffix}"),
        };
        let mut headers = HeaderMap::new();
        headers.extend(HeaderValue::try_from(host).ok().map(|host| (header::HOST, host)));
        Request { uri: text.parse().unwrap_or_default(), headers }
    }

    /// The groups of which a rule that may say something of it names the subjects.
    pub(super) fn groups(
        &self,
        groups: &Groups,
        old: Side<'_>,
        new: Side<'_>,
        method: &Method,
        role: &str,
        now: Timestamp,
    ) -> BTreeSet<usize> {
        // Nobody in particular has no name, and mostly no rule asks for one.
        if role == "anyone" || groups.list.is_empty() {
            return BTreeSet::new();
        }
        let mut found = BTreeSet::new();
        for (age, side) in [(Age::Old, old), (Age::New, new)] {
            let said = self.ask(side, method, role, None, now);
            let rules = said.allows.iter().chain(&said.forbids);
            found.extend(rules.filter_map(|rule| groups.by_rule.get(&(age, *rule))).flatten());
        }
        found
    }

    /// Whether a route serves it; none where routes look at fields, which it has none of.
    pub(super) fn is_served(&self, side: Side<'_>, method: &Method) -> Option<bool> {
        if side.policy.routes.read_headers().next().is_some() {
            return None;
        }
        Some(self.admitted(side, method).route.is_some())
    }

    fn admitted(&self, side: Side<'_>, method: &Method) -> Admitted {
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        side.policy.admit(method, Scheme::Https, &self.uri, Version::HTTP_11, &self.headers, peer)
    }

    /// What a policy says of it, asked by who has the role and a name, which may be any.
    pub(super) fn ask(
        &self,
        side: Side<'_>,
        method: &Method,
        role: &str,
        subject: Option<&str>,
        now: Timestamp,
    ) -> Said {
        let policy = side.policy;
        let admitted = self.admitted(side, method);
        if role == "anyone" && policy.route_authn(admitted.route) == AuthnWord::Required {
            return Said::NOTHING;
        }
        let known = role != "anyone" && policy.route_authn(admitted.route) != AuthnWord::Off;
        let identity = match known {
            true => {
                let holder = Holder {
                    subject: subject.unwrap_or_default().into(),
                    roles: vec![role.into()],
                    ..Holder::default()
                };
                Identity::Valid(Arc::new(policy.roles.who(Arc::new(holder))))
            }
            false => Identity::Nobody,
        };
        let facts = policy.facts(&admitted, &self.headers, &identity, &Body::Absent, now);
        let blind = Blind {
            client: true,
            holder: known,
            named: subject.is_some(),
            time: true,
            conditions: true,
            ..Blind::NOT
        };
        let outlook = policy.rbac.outlook(&facts, blind);
        let access = outlook.access();
        let join = |mut certain: Vec<Written>, possible: Vec<Written>| {
            certain.extend(possible);
            certain
        };
        Said {
            access,
            allows: join(outlook.grants, outlook.possible_grants),
            forbids: join(outlook.denies, outlook.possible_denies),
        }
    }
}
