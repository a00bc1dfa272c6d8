//! An open path beside a protected one, which a server behind us may take for the same.
//!
//! We tell `/admin` from `/Admin`; many servers do not. A slash at the end we do not tell apart, so
//! two patterns that differ by it only are one.

use std::collections::HashSet;
use std::ops::ControlFlow;

use super::Rbac;
use crate::decision::Written;
use crate::policy::code::Code;
use crate::policy::diagnostic::{At, Diagnostics, Place};
use crate::policy::lint::Look;
use crate::policy::rbac::rule::Kind;
use crate::policy::scope::{PathPattern, PathTree, RawScope, Scope, Steps};

/// A path of a rule, with where and how it is written.
struct Path<'l> {
    rule: Written,
    scope: &'l Scope,
    path: &'l PathPattern,
    folded: PathPattern,
    place: Place,
    slash: bool,
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
        list.push((rule.rule.written, rule.scope, raw));
    }
    let all = |(rule, scope, raw)| paths(rule, scope, raw, look);
    let open: Vec<Path<'_>> = open.into_iter().flat_map(all).collect();
    if open.is_empty() {
        return;
    }
    let protected = protected.into_iter().chain(look.policy.ip.protected(look));
    let protected: Vec<Path<'_>> = protected.flat_map(all).collect();
    let mut opened = PathTree::default();
    open.iter().for_each(|open| opened.insert(Some(open.path), open.scope));
    let mut tree = PathTree::default();
    for (at, protected) in protected.iter().enumerate() {
        tree.insert(Some(&protected.folded), at);
    }
    let mut said = HashSet::new();
    for open in &open {
        let mut found = None;
        let _ = tree.meeting(Some(&open.folded), &mut Steps(STEPS), |at| {
            let Some(other) = protected.get(*at).filter(|other| alike(open, other, &opened)) else {
                return ControlFlow::Continue(());
            };
            found = Some(other);
            ControlFlow::Break(())
        });
        let Some(other) = found else { continue };
        if !said.insert((open.rule, other.rule)) {
            continue;
        }
        let how = if open.path == other.path { "a slash at the end" } else { "upper and lower case" };
        let message = format!(
            "`{}` is open to everybody, and differs only by {how} from `{}`, which `{}` protects",
            open.path,
            other.path,
            look.name(other.rule)
        );
        diagnostics
            .push(Code::LookalikePath, open.place, message)
            .about(look.name(open.rule))
            .label("open to everybody")
            .also(other.place, "protected")
            .help("write both alike, or protect both: what is behind may not tell them apart");
    }
}

/// Whether the two are the same but for case or a slash, on hosts and methods that both may be about.
fn alike(open: &Path<'_>, other: &Path<'_>, opened: &PathTree<&Scope>) -> bool {
    let apart = Scope { paths: Vec::new(), routes: Vec::new(), ..open.scope.clone() };
    let of = Scope { paths: Vec::new(), routes: Vec::new(), ..other.scope.clone() };
    let by_case = open.folded.covers(&other.folded) && !open.path.covers(other.path)
        || other.folded.covers(&open.folded) && !other.path.covers(open.path);
    let by_slash = open.path == other.path && open.slash != other.slash;
    if !(by_case && !open.path.meets(other.path) || by_slash) || !apart.meets(&of) {
        return false;
    }
    // What is open as it is written anyway is not protected.
    let exactly = opened.covering(Some(&open.path.spelled_like(other.path)), &mut Steps(STEPS), |scope| {
        let covers = by_case && Scope { paths: Vec::new(), ..(*scope).clone() }.covers(&of);
        if covers { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    exactly.is_continue()
}

/// The paths of a rule.
fn paths<'l>(rule: Written, scope: &'l Scope, raw: &'l RawScope, look: &Look<'_>) -> Vec<Path<'l>> {
    let raw = raw.path.iter().chain(raw.paths.iter().flatten());
    let pairs = scope.paths.iter().zip(raw).take(MAX_PATHS);
    let one = |(path, raw): (&'l PathPattern, &At<PathPattern>)| {
        let text = look.sources.get(raw.place.file).map_or("", |source| &*source.text);
        let text = text.get(raw.place.start as usize..raw.place.end as usize).unwrap_or("");
        let slash = text.trim_end_matches(['"', '\'']).ends_with('/') && !path.segments().is_empty();
        Path { rule, scope, path, folded: path.folded(), place: raw.place, slash }
    };
    pairs.map(one).collect()
}

/// Of a rule with more paths only the first are looked at.
const MAX_PATHS: usize = 100;
