//! Routes that serve nothing, because more specific ones take all of it.
//!
//! A route loses a request only to a route that is more specific and serves it too, so the requests
//! that it loses least easily decide: with names that no route knows wherever it takes any, at every
//! depth that makes a difference, with each of its methods, and with and without every header field
//! that the others look at. If each of those is taken by another, so is every request there is.

use std::cmp::Reverse;
use std::iter::repeat_n;
use std::ops::ControlFlow;

use http::{HeaderName, Method};

use super::Look;
use crate::facts::RouteId;
use crate::policy::code::Code;
use crate::policy::diagnostic::Diagnostics;
use crate::policy::route::{FieldWord, Route};
use crate::policy::scope::{HostPattern, PathTree, Segment, Steps};

/// So much of the tree is looked at for one route.
const STEPS: usize = 2_000;

/// More rivals than these are not compared.
const MAX_RIVALS: usize = 64;

/// More header fields than these are not combined.
const MAX_FIELDS: usize = 8;

/// So many requests are tried for one route.
const MAX_TRIED: usize = 4_096;

/// A text that no configuration has.
const FRESH: &str = "\u{1}";

/// Reports routes that more specific ones leave nothing.
pub(super) fn routes(look: &Look<'_>, diagnostics: &mut Diagnostics) {
    let mut tree = PathTree::default();
    for (id, route) in look.policy.routes.iter() {
        tree.insert(Some(&route.path), id);
    }
    let ranks = ranks(look);
    for ((id, route), raw) in look.policy.routes.iter().zip(&look.raw.route) {
        let Some(takers) = rivals(look, &tree, &ranks, id, route).and_then(|rivals| takers(route, &rivals))
        else {
            continue;
        };
        let names: Vec<String> =
            takers.iter().map(|taker| format!("`{}`", look.policy.routes.get(*taker).name)).collect();
        let message = format!("`{}` serves nothing: {} take all of it", route.name, names.join(", "));
        let places =
            look.policy.routes.iter().zip(&look.raw.route).filter(|((id, _), _)| takers.contains(id));
        let places: Vec<_> = places.map(|(_, raw)| raw.id.place).collect();
        let problem = diagnostics.push(Code::ShadowedRoute, raw.id.place, message);
        problem.about(format!("route/{}", route.name)).label("never taken");
        problem.help("remove it, or take from the others what it is to serve");
        for place in places {
            problem.also(place, "more specific");
        }
    }
}

/// How specific each route is: of two that serve a request, the lesser takes it.
fn ranks(look: &Look<'_>) -> Vec<usize> {
    let order = |route: &Route| (route.precedence(), Reverse(route.conditions.count()));
    let mut sorted: Vec<_> = look.policy.routes.iter().map(|(id, route)| (order(route), id)).collect();
    sorted.sort();
    let mut ranks = vec![0; sorted.len()];
    let mut rank = 0;
    for (at, (order, id)) in sorted.iter().enumerate() {
        let same =
            at.checked_sub(1).and_then(|before| sorted.get(before)).is_some_and(|(other, _)| other == order);
        rank = if same { rank } else { at };
        if let Some(slot) = ranks.get_mut(id.0 as usize) {
            *slot = rank;
        }
    }
    ranks
}

/// The routes that take what they share with this one; none where that is too much work to find out.
fn rivals<'p>(
    look: &Look<'p>,
    tree: &PathTree<RouteId>,
    ranks: &[usize],
    id: RouteId,
    route: &Route,
) -> Option<Vec<(RouteId, &'p Route)>> {
    let rank = |id: RouteId| ranks.get(id.0 as usize).copied().unwrap_or(usize::MAX);
    let mut found: Vec<(RouteId, &Route)> = Vec::new();
    let mut steps = Steps(STEPS);
    let looked = tree.meeting(Some(&route.path), &mut steps, |other| {
        let rival = look.policy.routes.get(*other);
        if rank(*other) < rank(id) && shares_host(route, rival) && shares_path(route, rival) {
            found.push((*other, rival));
        }
        if found.len() > MAX_RIVALS { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    if looked.is_break() || steps.0 == 0 || found.is_empty() {
        return None;
    }
    found.sort_by_key(|(id, _)| rank(*id));
    Some(found)
}

/// Whether another route serves the host that a route loses least easily.
fn shares_host(route: &Route, rival: &Route) -> bool {
    match (&route.host, &rival.host) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(HostPattern::Exact(host)), Some(rival)) => rival.matches(host),
        (Some(HostPattern::Below(suffix)), Some(rival)) => rival.matches(&format!("{FRESH}{suffix}")),
    }
}

/// Whether another route serves some path that a route loses least easily.
fn shares_path(route: &Route, rival: &Route) -> bool {
    let own = route.path.segments().iter().map(literal).chain(std::iter::repeat(FRESH));
    rival.path.segments().iter().zip(own).all(|(segment, own)| match segment {
        Segment::Literal(text) => &**text == own,
        Segment::Any(_) => true,
    })
}

/// The routes that take every request of this one; none if it keeps one, or that is too much to try.
fn takers(route: &Route, rivals: &[(RouteId, &Route)]) -> Option<Vec<RouteId>> {
    let fixed: Vec<&str> = route.path.segments().iter().map(literal).collect();
    let deepest = rivals.iter().map(|(_, rival)| rival.path.segments().len()).max().unwrap_or(0);
    let depths = match route.path.rest() {
        Some(_) => fixed.len()..=deepest.max(fixed.len()) + 1,
        None => fixed.len()..=fixed.len(),
    };
    let fresh_method = Method::from_bytes(b"X-FRESH").ok()?;
    let named: Vec<&Method> = route.conditions.methods.named().collect();
    let methods = if named.is_empty() { vec![&fresh_method] } else { named };
    let mut free: Vec<&HeaderName> = Vec::new();
    for (name, _) in rivals.iter().flat_map(|(_, rival)| &rival.conditions.fields) {
        if !free.contains(&name) && !route.conditions.fields.iter().any(|(own, _)| own == name) {
            free.push(name);
        }
    }
    let combinations = 1usize << free.len().min(MAX_FIELDS + 1);
    let tried = combinations.saturating_mul(methods.len()).saturating_mul(depths.clone().count());
    if free.len() > MAX_FIELDS || tried > MAX_TRIED {
        return None;
    }
    let mut takers = Vec::new();
    for depth in depths {
        let more = depth - fixed.len();
        let path: Vec<&str> = fixed.iter().copied().chain(repeat_n(FRESH, more)).collect();
        let there: Vec<_> =
            rivals.iter().filter(|(_, rival)| rival.path.matches(path.iter().copied())).collect();
        for method in &methods {
            for present in 0..combinations {
                let state =
                    |name: &HeaderName| match route.conditions.fields.iter().find(|(own, _)| own == name) {
                        Some((_, word)) => word.clone(),
                        None => match free.iter().position(|free| *free == name) {
                            Some(at) if present >> at & 1 == 1 => FieldWord::Present,
                            _ => FieldWord::Absent,
                        },
                    };
                let takes = |rival: &Route| {
                    rival.conditions.methods.contains(method)
                        && rival.conditions.fields.iter().all(|(name, word)| meets(&state(name), word))
                };
                let (taker, _) = there.iter().find(|(_, rival)| takes(rival))?;
                if !takers.contains(taker) {
                    takers.push(*taker);
                }
            }
        }
    }
    Some(takers)
}

/// The text of a segment, or one that nobody knows.
fn literal(segment: &Segment) -> &str {
    match segment {
        Segment::Literal(text) => text,
        Segment::Any(_) => FRESH,
    }
}

/// Whether a field in this state is what a route wants; one that is present has a value of its own.
fn meets(state: &FieldWord, wanted: &FieldWord) -> bool {
    match (state, wanted) {
        (FieldWord::Exact(text), FieldWord::Exact(wanted)) => text == wanted,
        (FieldWord::Present | FieldWord::Absent, FieldWord::Exact(_)) => false,
        (state, FieldWord::Present) => *state != FieldWord::Absent,
        (state, FieldWord::Absent) => *state == FieldWord::Absent,
    }
}
