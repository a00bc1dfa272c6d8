//! Which refusals belong together.
//!
//! A rule that is built in refuses whatever nothing else speaks of, all over the gateway. So of such a
//! rule only that belongs together which is refused for the same cause: by a ban what comes from the same
//! address, for its credential what the same caller shows, and else what asks for the same resource. That
//! is the same route, and the paths that the most exact pattern of the policy covers together with this.

use std::collections::{HashMap, HashSet};

use http::{HeaderMap, HeaderValue, Method, Uri, header};

use crate::audit::Line;
use crate::cli::layout::printable;
use crate::decision::{Builtin, Stage};
use crate::facts::{Scheme, Target};
use crate::policy::Policy;
use crate::policy::scope::{Index, PathPattern, Scope, Segment};

/// What a refusal is about, and with that which others belong to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum About {
    /// The rule itself, which somebody wrote.
    #[default]
    Rule,
    /// What is asked for.
    Resource,
    /// The address: a ban.
    Address,
    /// What is shown to say who asks.
    Credential,
    /// What credentials are verified with.
    Source,
}

impl About {
    pub(super) fn of(rule: &str) -> About {
        match Builtin::by_name(rule) {
            None => About::Rule,
            Some(Builtin::Banned) => About::Address,
            // Nothing was shown: that something has to be is a matter of the route.
            Some(Builtin::AuthnRequired) => About::Resource,
            Some(Builtin::KeysUnavailable) => About::Source,
            Some(rule) if rule.info().stage == Stage::Authn => About::Credential,
            Some(_) => About::Resource,
        }
    }
}

/// Refusals that belong together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Group {
    All,
    Resource(Resource),
    Address(String),
    /// By the subject that the credential claims, or the address where there is none.
    Credential {
        source: Option<String>,
        subject: Option<String>,
        address: Option<String>,
    },
    Source(Option<String>),
}

impl Group {
    pub(super) fn words(&self) -> Option<String> {
        let from = |source: &Option<String>| {
            source.as_ref().map(|source| format!(" of the source {}", printable(source))).unwrap_or_default()
        };
        Some(match self {
            Group::All => return None,
            Group::Resource(resource) => resource.words(),
            Group::Address(ip) => format!("the address {}", printable(ip)),
            Group::Credential { source, subject: Some(subject), .. } => {
                format!("credentials{} for {}", from(source), printable(subject))
            }
            Group::Credential { source, address, .. } => {
                let address = address.as_deref().unwrap_or("-");
                format!("credentials{} from the address {}", from(source), printable(address))
            }
            Group::Source(source) => format!("credentials{}", from(source)),
        })
    }
}

/// What requests are for: the route, and the paths that no rule tells apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Resource {
    route: Option<String>,
    pattern: Option<String>,
    /// Where no grant allows it: the method, since who may read may not write.
    method: Option<String>,
}

impl Resource {
    fn words(&self) -> String {
        let resource = match (&self.route, &self.pattern) {
            (Some(route), Some(pattern)) => {
                format!("{} of the route {}", printable(pattern), printable(route))
            }
            (Some(route), None) => format!("the route {}", printable(route)),
            (None, Some(pattern)) => printable(pattern).into_owned(),
            (None, None) => "paths that no route serves".to_owned(),
        };
        match &self.method {
            Some(method) => format!("{} {resource}", printable(method)),
            None => resource,
        }
    }
}

/// The patterns of a policy, and what was found out of paths.
pub(super) struct Resources<'a> {
    patterns: Index<&'a PathPattern>,
    known: HashMap<(String, String), Option<String>>,
}

impl<'a> Resources<'a> {
    pub(super) fn new(policy: &'a Policy) -> Resources<'a> {
        let rules = policy.rbac.each_scope().flat_map(|(_, scope)| &scope.paths);
        let patterns: HashSet<&PathPattern> =
            policy.routes.iter().map(|(_, route)| &route.path).chain(rules).collect();
        let scopes: Vec<(Scope, &PathPattern)> = patterns
            .into_iter()
            .map(|path| (Scope { paths: vec![path.clone()], ..Scope::default() }, path))
            .collect();
        Resources {
            patterns: Index::new(scopes.iter().map(|(scope, path)| (scope, *path))),
            known: HashMap::new(),
        }
    }

    /// What a refusal belongs to.
    pub(super) fn group(&mut self, about: About, line: &Line<'_>) -> Group {
        let source = || line.identity().and_then(|who| who.source.map(|text| text.to_string()));
        match about {
            About::Rule => Group::All,
            About::Resource => Group::Resource(self.of(line)),
            About::Address => Group::Address(line.client.ip.to_string()),
            About::Source => Group::Source(source()),
            About::Credential => {
                let subject = subject(line);
                let address = subject.is_none().then(|| line.client.ip.to_string());
                Group::Credential { source: source(), subject, address }
            }
        }
    }

    fn of(&mut self, line: &Line<'_>) -> Resource {
        let key = (line.host.to_string(), line.path.to_string());
        let pattern = match self.known.get(&key) {
            Some(known) => known.clone(),
            None => {
                let found = self.pattern(line);
                if self.known.len() < MOST {
                    self.known.insert(key, found.clone());
                }
                found
            }
        };
        let ungranted = *line.rule == *Builtin::DefaultDeny.info().name;
        let method = if &*line.method == "HEAD" { "GET" } else { &*line.method };
        let method = ungranted.then(|| method.to_owned());
        Resource { route: line.route.as_ref().map(|route| route.to_string()), pattern, method }
    }

    /// The most exact pattern that covers a path. The one that covers all tells nothing apart, so of it
    /// what begins alike belongs together.
    fn pattern(&self, line: &Line<'_>) -> Option<String> {
        let uri: Uri = line.path.parse().ok()?;
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(&line.host).ok()?);
        let target = Target::parse(&Method::GET, Scheme::Http, &uri, &headers);
        let exactness = |pattern: &PathPattern| {
            let literal = |segment: &Segment| matches!(segment, Segment::Literal(_));
            let segments: Vec<bool> = pattern.segments().iter().map(literal).collect();
            (segments, pattern.rest().is_none())
        };
        let mut best: Option<&PathPattern> = None;
        self.patterns.visit(&target, None, |pattern| {
            if best.is_none_or(|best| exactness(pattern) > exactness(best)) {
                best = Some(pattern);
            }
        });
        let best = best?;
        if !best.segments().is_empty() || best.rest().is_none() {
            return Some(best.to_string());
        }
        Some(target.segments().next().map_or("/".to_owned(), |first| format!("/{first}/{{*rest}}")))
    }
}

/// Who asked, or said to.
pub(super) fn subject(line: &Line<'_>) -> Option<String> {
    line.identity().and_then(|who| who.subject.map(|text| text.to_string()))
}

/// No more callers and paths are told apart.
pub(super) const MOST: usize = 100_000;
