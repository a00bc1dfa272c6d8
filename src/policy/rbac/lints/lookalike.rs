//! An open path beside a protected one, which a server behind us may take for the same.
//!
//! We tell `/admin` from `/Admin`; many servers do not. A slash at the end we do not tell apart, so
//! two patterns that differ by it only are one: what a deny or a list of addresses says of the one holds
//! for the other, and what is granted to everybody under the one is open under the other, whatever a
//! grant to few seems to say.
//!
//! Nothing is said without a request that shows it: one that anybody may make, beside one in the other
//! spelling that is refused, or that was meant for few and is not.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::ControlFlow;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Version, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::Rbac;
use crate::decision::{Outcome, RuleRef, Written};
use crate::facts::Scheme;
use crate::policy::code::Code;
use crate::policy::diagnostic::{At, Diagnostics, Place};
use crate::policy::lint::Look;
use crate::policy::rbac::rule::Kind;
use crate::policy::scope::{HostPattern, PathPattern, PathTree, RawScope, Scope, Segment, Steps};
use crate::policy::{Caller, Sample, World};

/// A path of a rule, with where and how it is written.
struct Path<'l> {
    rule: Written,
    scope: &'l Scope,
    path: &'l PathPattern,
    folded: PathPattern,
    place: Place,
    slash: bool,
    /// Whether it is granted to some; else it is forbidden.
    grants: bool,
}

/// So much of the tree is looked at for one path.
const STEPS: usize = 200;

pub(super) fn look(rbac: &Rbac, look: &Look<'_>, diagnostics: &mut Diagnostics) {
    let (mut open, mut protected) = (Vec::new(), Vec::new());
    let raw = look.raw.rbac.as_ref();
    let grants = raw.into_iter().flat_map(|raw| raw.grant.iter().map(|grant| &grant.scope));
    let denies = raw.into_iter().flat_map(|raw| raw.deny.iter().map(|deny| &deny.scope));
    for (rule, raw) in rbac.numbered().zip(grants.chain(denies)) {
        if rule.rule.expired(look.now) {
            continue;
        }
        let list = match (rule.rule.kind, rule.is_open()) {
            (Kind::Grant, true) if rule.rule.condition.is_none() => &mut open,
            (Kind::Grant, false) => &mut protected,
            (Kind::Deny(_), _) if rule.enforces(look) && rule.rule.condition.is_none() => &mut protected,
            _ => continue,
        };
        list.push((rule.rule.written, rule.scope, raw, rule.rule.kind == Kind::Grant));
    }
    let all = |(rule, scope, raw, grants)| paths(rule, scope, raw, grants, look);
    let open: Vec<Path<'_>> = open.into_iter().flat_map(all).collect();
    if open.is_empty() {
        return;
    }
    let protected = protected
        .into_iter()
        .chain(look.policy.ip.protected(look).map(|(rule, scope, raw)| (rule, scope, raw, false)));
    let protected: Vec<Path<'_>> = protected.flat_map(all).collect();
    let mut opened = PathTree::default();
    open.iter().for_each(|open| opened.insert(Some(open.path), (open.scope, open.slash)));
    let mut tree = PathTree::default();
    for (at, protected) in protected.iter().enumerate() {
        tree.insert(Some(&protected.folded), at);
    }
    let mut said = HashSet::new();
    let mut trials = TRIALS;
    for open in &open {
        let mut found = None;
        let _ = tree.meeting(Some(&open.folded), &mut Steps(STEPS), |at| {
            let shown = protected.get(*at).and_then(|other| {
                let how = alike(open, other, &opened)?;
                show(open, other, how, look, &mut trials).then_some((other, how))
            });
            match shown {
                None => ControlFlow::Continue(()),
                shown => {
                    found = shown;
                    ControlFlow::Break(())
                }
            }
        });
        let Some((other, how)) = found else { continue };
        if !said.insert((open.rule, other.rule)) {
            continue;
        }
        let (mine, theirs, name) = (open.path, other.path, look.name(other.rule));
        let (message, label, help) = match how {
            By::Case => (
                format!(
                    "`{mine}` is open to everybody, and differs only by upper and lower case from `{theirs}`, which `{name}` protects"
                ),
                "protected",
                "write both alike, or protect both: what is behind may not tell them apart",
            ),
            By::Slash => (
                format!(
                    "`{mine}` is open to everybody, with a slash at the end and without, so that `{name}` protects nothing of it"
                ),
                "open as well",
                "a slash at the end makes no difference here: name another path, or do not open this one",
            ),
        };
        diagnostics
            .push(Code::LookalikePath, open.place, message)
            .about(look.name(open.rule))
            .label("open to everybody")
            .also(other.place, label)
            .help(help);
    }
}

/// What two paths differ by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Case,
    Slash,
}

/// What the two differ by, if by nothing but case or a slash, on hosts and methods that both may be about.
fn alike(open: &Path<'_>, other: &Path<'_>, opened: &PathTree<(&Scope, bool)>) -> Option<By> {
    let apart = Scope { paths: Vec::new(), routes: Vec::new(), ..open.scope.clone() };
    let of = Scope { paths: Vec::new(), routes: Vec::new(), ..other.scope.clone() };
    let by_case = open.folded.covers(&other.folded) && !open.path.covers(other.path)
        || other.folded.covers(&open.folded) && !other.path.covers(open.path);
    let by = match () {
        () if by_case && !open.path.meets(other.path) => By::Case,
        // What forbids, forbids both.
        () if open.path == other.path && open.slash != other.slash && other.grants => By::Slash,
        () => return None,
    };
    if !apart.meets(&of) {
        return None;
    }
    // What is open as it is written anyway is not protected, and nobody thinks so.
    let exactly =
        opened.covering(Some(&open.path.spelled_like(other.path)), &mut Steps(STEPS), |(scope, slash)| {
            let covers = (by == By::Case || *slash == other.slash)
                && Scope { paths: Vec::new(), ..(*scope).clone() }.covers(&of);
            if covers { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
    exactly.is_continue().then_some(by)
}

/// Whether there is a request that shows it: anybody may make it as the open path is written, and as the
/// protected one is written it is refused; or, where both are one, it is what was meant for few.
fn show(open: &Path<'_>, other: &Path<'_>, by: By, look: &Look<'_>, trials: &mut usize) -> bool {
    let spell = |mine: &PathPattern, theirs: &PathPattern| -> Vec<String> {
        let text = |pattern: &PathPattern, at: usize| match pattern.segments().get(at) {
            Some(Segment::Literal(text)) => Some(text.to_string()),
            Some(Segment::Any(_)) | None => None,
        };
        let longest = mine.segments().len().max(theirs.segments().len());
        let one = |at| text(mine, at).or_else(|| text(theirs, at)).unwrap_or_else(|| ANYTHING.to_owned());
        (0..longest).map(one).collect()
    };
    let (mine, theirs) = (spell(open.path, other.path), spell(other.path, open.path));
    let hosts = open.scope.hosts.iter().chain(&other.scope.hosts).map(Some);
    let routes = look.policy.routes.iter().filter_map(|(_, route)| route.host.as_ref()).map(Some);
    let methods: Vec<&Method> = open.scope.methods.named().chain(other.scope.methods.named()).collect();
    let usual = [Method::GET, Method::POST];
    let methods: Vec<&Method> = methods.into_iter().chain(&usual).take(MAX_TRIED).collect();
    for host in [None].into_iter().chain(hosts).chain(routes).take(MAX_TRIED) {
        for method in &methods {
            for from in ADDRESSES {
                let Some(left) = trials.checked_sub(1) else { return false };
                *trials = left;
                let allows = |path: &[String]| allows(look, method, host, path, from);
                if allows(&mine) && (by == By::Slash || !allows(&theirs)) {
                    return true;
                }
            }
        }
    }
    false
}

/// Whether anybody from an address may make a request.
fn allows(
    look: &Look<'_>,
    method: &Method,
    host: Option<&HostPattern>,
    path: &[String],
    from: IpAddr,
) -> bool {
    let mut text = String::from(if path.is_empty() { "/" } else { "" });
    for segment in path {
        let segment = utf8_percent_encode(segment, NON_ALPHANUMERIC);
        text.push_str(&format!("/{segment}"));
    }
    let host = match host {
        None => "unnamed.invalid".to_owned(),
        Some(HostPattern::Exact(name)) => name.to_string(),
        Some(HostPattern::Below(suffix)) => format!("{ANYTHING}{suffix}"),
    };
    let (Ok(uri), Ok(host)) = (text.parse(), HeaderValue::try_from(host)) else { return false };
    let sample = Sample {
        now: look.now,
        scheme: Scheme::Https,
        method: method.clone(),
        uri,
        fragment: false,
        version: Version::HTTP_11,
        headers: HeaderMap::from_iter([(header::HOST, host)]),
        body: Bytes::new(),
        peer: from,
        certificate: None,
        caller: Caller::FromHeaders,
    };
    matches!(
        look.policy.decide(&sample, &World::default(), None).outcome,
        Outcome::Allow(RuleRef::Written(_))
    )
}

/// The paths of a rule.
fn paths<'l>(
    rule: Written,
    scope: &'l Scope,
    raw: &'l RawScope,
    grants: bool,
    look: &Look<'_>,
) -> Vec<Path<'l>> {
    let raw = raw.path.iter().chain(raw.paths.iter().flatten());
    let pairs = scope.paths.iter().zip(raw).take(MAX_PATHS);
    let one = |(path, raw): (&'l PathPattern, &At<PathPattern>)| {
        let text = look.sources.get(raw.place.file).map_or("", |source| &*source.text);
        let text = text.get(raw.place.start as usize..raw.place.end as usize).unwrap_or("");
        let slash = text.trim_end_matches(['"', '\'']).ends_with('/') && !path.segments().is_empty();
        Path { rule, scope, path, folded: path.folded(), place: raw.place, slash, grants }
    };
    pairs.map(one).collect()
}

/// Of a rule with more paths only the first are looked at.
const MAX_PATHS: usize = 100;

/// So many requests are tried in all, and so many hosts and methods of one pair of paths.
const TRIALS: usize = 10_000;
const MAX_TRIED: usize = 8;

/// Where anybody may be; lists of addresses rarely have all of them.
const ADDRESSES: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, 254)),
    IpAddr::V4(Ipv4Addr::new(11, 22, 33, 44)),
    IpAddr::V6(Ipv6Addr::new(0x2a00, 0x1234, 0, 0, 0, 0, 0, 0x5678)),
];

/// A segment that no policy names.
const ANYTHING: &str = "zz-portcullis-anything";
