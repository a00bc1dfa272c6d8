//! For each role, the requests that it gains or loses: role by method, host and path.
//!
//! Paths are compared by classes, not one by one. The patterns of both policies, with all their
//! intersections, cut all paths into classes: to a class belongs what its pattern covers and no more
//! exact one does. No rule tells two paths of a class apart, so one made-up path stands for all of
//! them, and the comparison is exact. Hosts are treated alike. Only classes that a changed rule or
//! route touches are looked at.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use jiff::Timestamp;
use smallvec::SmallVec;

use super::groups::Groups;
use super::request::{NOWHERE, Request, Said};
use super::side::Side;
use crate::decision::Written;
use crate::policy::Policy;
use crate::policy::rbac::Access;
use crate::policy::scope::{HostPattern, PathPattern, Segment};

/// What holders of a role may do otherwise than before.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CellChange {
    /// Whoever has this role and no other.
    pub role: Box<str>,
    /// Of those, only who is one of these; none listed: whoever.
    pub subjects: Vec<Box<str>>,
    /// Where it is whoever: but for these, of whom something else is to be told, or nothing.
    pub except: Vec<Box<str>>,
    /// The hosts; `*` stands for all that neither policy names. None listed: any.
    pub hosts: Vec<Box<str>>,
    /// The paths: what this pattern covers, and no other of [`Cells::patterns`] that is more exact.
    pub path: PathPattern,
    /// The methods.
    pub methods: Vec<Box<str>>,
    /// Before.
    pub from: Access,
    /// After.
    pub to: Access,
    /// The rules by which it is so now, or was so: what was gained or lost came by them.
    pub rules: Vec<Box<str>>,
}

/// The comparison of what roles may do.
#[derive(Clone, Debug, Default)]
pub struct Cells {
    /// What changed, by role, host and path.
    pub changes: Vec<CellChange>,
    /// The patterns that cut the paths into classes.
    pub patterns: Vec<PathPattern>,
    /// Whether everything was looked at. Where policies are very large, only a part is.
    pub complete: bool,
}

/// How much is compared at most: a reload must not wait for it for long.
const MAX_PATTERNS: usize = 1_000;
const MAX_MEETINGS: usize = 400_000;
const MAX_QUESTIONS: usize = 200_000;

/// Compares what roles may do. `rules` and `routes`: those that changed.
pub(super) fn compare(
    old: Side<'_>,
    new: Side<'_>,
    rules: &BTreeSet<Box<str>>,
    routes: &BTreeSet<Box<str>>,
    now: Timestamp,
) -> Cells {
    let mut space = Space { complete: true, ..Space::default() };
    let everything = PathPattern::parse("/{*rest}").ok();
    let mut paths = Vec::new();
    for side in [old, new] {
        for (rule, scope) in side.policy.rbac.each_scope() {
            let name = &side.policy.rules.get(rule).name;
            let touched = rules.contains(name);
            if !touched && std::ptr::eq(side.meaning, new.meaning) {
                // It is about what it was about.
                continue;
            }
            space.hosts.insert(None);
            space.hosts.extend(scope.hosts.iter().cloned().map(Some));
            let before = paths.len();
            paths.extend(scope.paths.iter().map(|path| (path, touched)));
            if paths.len() == before {
                let routes = scope.routes.iter().map(|id| &side.policy.routes.get(*id).path);
                paths.extend(routes.map(|path| (path, touched)));
            }
            if paths.len() == before {
                paths.extend(everything.iter().map(|path| (path, touched)));
            }
        }
        for (_, route) in side.policy.routes.iter() {
            paths.push((&route.path, routes.contains(&route.name)));
            space.hosts.extend(route.host.clone().map(Some));
        }
    }
    let patterns = space.close(&paths);
    let mut roles: Vec<&str> =
        [old, new].iter().flat_map(|side| side.policy.roles.iter().map(|(_, name)| name)).collect();
    // What a subject may do with any role need not be told of each.
    roles.sort_unstable_by_key(|role| (*role != "authenticated", *role));
    roles.dedup();
    let groups = Groups::of(old, new);
    let methods = methods(old.policy, new.policy);
    let mut asked = 0;
    let mut changes = Vec::new();
    'all: for path in &patterns {
        let Some(made_up) = example(path, &patterns) else { continue };
        for host in &space.hosts {
            let request = Request::new(host.as_ref(), &made_up);
            // Whether a route serves it counts where that changed: of what nothing serves, what grants would say
            // is told all the same.
            let unserved = |side, other, method: &Method| {
                request.is_served(side, method) == Some(false)
                    && request.is_served(other, method) == Some(true)
            };
            let unserved: Vec<(bool, bool)> = methods
                .iter()
                .map(|method| (unserved(old, new, method), unserved(new, old, method)))
                .collect();
            // By method and group, what changes with no further role.
            let mut plain: BTreeMap<(usize, usize), Option<Found>> = BTreeMap::new();
            for role in &roles {
                let mut found: BTreeMap<(Whose, Found), Vec<Box<str>>> = BTreeMap::new();
                for (at, method) in methods.iter().enumerate() {
                    let (never, no_more) = unserved.get(at).copied().unwrap_or_default();
                    let mut ask = |subject: &str| {
                        asked += 1;
                        let say = |side, nothing| match nothing {
                            true => Said::NOTHING,
                            false => request.ask(side, method, role, Some(subject), now),
                        };
                        let (before, after) = (say(old, never), say(new, no_more));
                        Found::between(&before, &after, old, new)
                    };
                    let whoever = ask("");
                    let mut apart = Vec::new();
                    for number in request.groups(&groups, old, new, method, role, now) {
                        let Some(group) = groups.list.get(number) else { continue };
                        let own = group.first().and_then(|subject| ask(subject));
                        if own != whoever {
                            apart.push(number);
                        }
                        let told = match *role {
                            "authenticated" => {
                                plain.insert((at, number), own.clone());
                                own == whoever
                            }
                            _ => own == whoever || plain.get(&(at, number)) == Some(&own),
                        };
                        if let Some(own) = own.filter(|_| !told) {
                            found
                                .entry((Whose::Group(number), own))
                                .or_default()
                                .push(method.as_str().into());
                        }
                    }
                    if let Some(change) = whoever {
                        found.entry((Whose::AllBut(apart), change)).or_default().push(method.as_str().into());
                    }
                    if asked > MAX_QUESTIONS {
                        space.complete = false;
                        break 'all;
                    }
                }
                changes.extend(found.into_iter().map(|((whose, found), methods)| CellChange {
                    role: (*role).into(),
                    subjects: whose.subjects(&groups),
                    except: whose.except(&groups),
                    hosts: vec![host.as_ref().map_or_else(|| "*".into(), |host| host.to_string().into())],
                    path: path.clone(),
                    methods,
                    from: found.from,
                    to: found.to,
                    rules: found.rules,
                }));
            }
        }
    }
    let mut changes = merge_hosts(changes, space.hosts.len());
    let written = |shape: PathPattern| space.written.get(&shape).cloned().unwrap_or(shape);
    for change in &mut changes {
        change.path = written(change.path.clone());
    }
    changes.sort();
    Cells { changes, patterns: patterns.into_iter().map(written).collect(), complete: space.complete }
}

/// Whom of a role's holders a change is about, by the numbers of groups.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Whose {
    AllBut(Vec<usize>),
    Group(usize),
}

impl Whose {
    fn subjects(&self, groups: &Groups) -> Vec<Box<str>> {
        match self {
            Whose::Group(number) => groups.list.get(*number).cloned().unwrap_or_default(),
            Whose::AllBut(_) => Vec::new(),
        }
    }

    fn except(&self, groups: &Groups) -> Vec<Box<str>> {
        let Whose::AllBut(apart) = self else { return Vec::new() };
        let mut except: Vec<Box<str>> =
            apart.iter().filter_map(|number| groups.list.get(*number)).flatten().cloned().collect();
        except.sort_unstable();
        except
    }
}

/// What changed alike on several hosts, said once.
fn merge_hosts(mut changes: Vec<CellChange>, hosts: usize) -> Vec<CellChange> {
    let key = |change: &CellChange| CellChange { hosts: Vec::new(), ..change.clone() };
    changes.sort_by_cached_key(key);
    let mut merged: Vec<CellChange> = Vec::new();
    for change in changes {
        match merged.last_mut() {
            Some(last) if key(last) == key(&change) => last.hosts.extend(change.hosts),
            _ => merged.push(change),
        }
    }
    for change in merged.iter_mut().filter(|change| change.hosts.len() == hosts) {
        change.hosts.clear();
    }
    merged
}

/// The patterns that matter.
#[derive(Default)]
struct Space {
    /// Shapes as somebody wrote them.
    written: BTreeMap<PathPattern, PathPattern>,
    /// None: any host that has no name here.
    hosts: BTreeSet<Option<HostPattern>>,
    complete: bool,
}

impl Space {
    /// The classes that something changed about: the touched patterns, what they have in common with
    /// all others, and what these have in common. `paths`: those of both policies, with whether a
    /// changed rule or route bears them.
    fn close(&mut self, paths: &[(&PathPattern, bool)]) -> Vec<PathPattern> {
        let most = MAX_MEETINGS / paths.len().max(1);
        let mut touched: BTreeSet<PathPattern> = BTreeSet::new();
        for (path, _) in paths.iter().filter(|(_, touched)| *touched) {
            touched.insert(shape(path));
            if touched.len() > most {
                self.complete = false;
                break;
            }
        }
        let touched: Vec<PathPattern> = touched.into_iter().collect();
        let mut closed: BTreeSet<PathPattern> = BTreeSet::new();
        for (path, _) in paths {
            // Most pairs have nothing in common, which is seen before anything is written.
            for other in touched.iter().filter(|other| other.meets(path)) {
                let Some(common) = intersection(path, other) else { continue };
                if common.covers(path) {
                    self.written.entry(common.clone()).or_insert_with(|| (*path).clone());
                }
                closed.insert(common);
            }
            if closed.len() > MAX_PATTERNS {
                self.complete = false;
                break;
            }
        }
        let mut fresh: Vec<PathPattern> = closed.iter().cloned().collect();
        while let Some(path) = fresh.pop() {
            if closed.len() > MAX_PATTERNS {
                self.complete = false;
                break;
            }
            let meeting = closed.iter().filter(|other| other.meets(&path));
            let more: Vec<_> = meeting.filter_map(|other| intersection(&path, other)).collect();
            for pattern in more {
                if closed.insert(pattern.clone()) {
                    fresh.push(pattern);
                }
            }
        }
        closed.into_iter().take(MAX_PATTERNS).collect()
    }
}

/// A change, without the methods that it is about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    from: Access,
    to: Access,
    rules: Vec<Box<str>>,
}

impl Found {
    fn between(before: &Said, after: &Said, old: Side<'_>, new: Side<'_>) -> Option<Found> {
        let (from, to) = (before.access, after.access);
        let names = |side: Side<'_>, rules: &[Written]| -> Vec<Box<str>> {
            rules.iter().map(|rule| side.policy.rules.get(*rule).name.clone()).collect()
        };
        let rules = match from.cmp(&to) {
            // Gained by grants that are there now, or by a deny that no longer is.
            std::cmp::Ordering::Less => {
                let mut rules = fresh(names(new, &after.allows), &names(old, &before.allows), old, new);
                rules.extend(fresh(names(old, &before.forbids), &names(new, &after.forbids), old, new));
                rules
            }
            std::cmp::Ordering::Greater => {
                let mut rules = fresh(names(old, &before.allows), &names(new, &after.allows), old, new);
                rules.extend(fresh(names(new, &after.forbids), &names(old, &before.forbids), old, new));
                rules
            }
            std::cmp::Ordering::Equal if from == Access::Sometimes => {
                let all = |side: Side<'_>, said: &Said| -> BTreeSet<Box<str>> {
                    names(side, &said.allows).into_iter().chain(names(side, &said.forbids)).collect()
                };
                let (was, is) = (all(old, before), all(new, after));
                let differs = |name: &str| {
                    let (then, now) = (old.meaning.rules.get(name), new.meaning.rules.get(name));
                    !(was.contains(name) && is.contains(name))
                        || then.zip(now).is_none_or(|(then, now)| now.depends_otherwise(then))
                };
                let rules: Vec<_> = was.union(&is).filter(|name| differs(name)).cloned().collect();
                if rules.is_empty() {
                    return None;
                }
                rules
            }
            std::cmp::Ordering::Equal => return None,
        };
        Some(Found { from, to, rules })
    }
}

/// Those of the first that are not among the second, or mean something else there.
fn fresh(names: Vec<Box<str>>, known: &[Box<str>], old: Side<'_>, new: Side<'_>) -> Vec<Box<str>> {
    let changed = |name: &str| old.meaning.rules.get(name) != new.meaning.rules.get(name);
    names.into_iter().filter(|name| !known.contains(name) || changed(name)).collect()
}

/// A path that a pattern covers and none that is more exact; none if there is no such path.
fn example<'p>(pattern: &'p PathPattern, all: &[PathPattern]) -> Option<Vec<&'p str>> {
    let text = |segment: &'p Segment| match segment {
        Segment::Any(_) => NOWHERE,
        Segment::Literal(text) => text,
    };
    let mut path: Vec<&str> = pattern.segments().iter().map(text).collect();
    let exact =
        |other: &&PathPattern| *other != pattern && intersection(pattern, other).as_ref() == Some(other);
    let within: Vec<&PathPattern> = all.iter().filter(exact).collect();
    let longest = within.iter().map(|other| other.segments().len()).max().unwrap_or(0);
    loop {
        if !within.iter().any(|other| other.matches(path.iter().copied())) {
            return Some(path);
        }
        if pattern.rest().is_none() || path.len() > longest {
            return None;
        }
        path.push(NOWHERE);
    }
}

/// The methods that differ to rules.
fn methods(old: &Policy, new: &Policy) -> Vec<Method> {
    let mut methods = vec![
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
    ];
    for method in old.rbac.extension_methods().into_iter().chain(new.rbac.extension_methods()) {
        if !methods.contains(&method) {
            methods.push(method);
        }
    }
    methods
}

/// A pattern whose names say only where they stand, so that equal ones are equal.
fn shape(pattern: &PathPattern) -> PathPattern {
    intersection(pattern, pattern).unwrap_or_else(|| pattern.clone())
}

/// What two patterns both cover.
pub(super) fn intersection(a: &PathPattern, b: &PathPattern) -> Option<PathPattern> {
    let (mine, theirs) = (a.segments(), b.segments());
    let longest = mine.len().max(theirs.len());
    if (mine.len() < longest && a.rest().is_none()) || (theirs.len() < longest && b.rest().is_none()) {
        return None;
    }
    let mut literals: SmallVec<[Option<&str>; 16]> = SmallVec::new();
    for at in 0..longest {
        literals.push(match (mine.get(at), theirs.get(at)) {
            (Some(Segment::Literal(one)), Some(Segment::Literal(other))) if one != other => return None,
            (Some(Segment::Literal(literal)), _) | (_, Some(Segment::Literal(literal))) => Some(&**literal),
            _ => None,
        });
    }
    let mut text = String::new();
    for (at, literal) in literals.into_iter().enumerate() {
        text.push('/');
        match literal {
            Some(literal) => text.push_str(literal),
            None => text.push_str(&format!("{{{}}}", at + 1)),
        }
    }
    if a.rest().is_some() && b.rest().is_some() {
        text.push_str("/{*rest}");
    }
    PathPattern::parse(if text.is_empty() { "/" } else { &text }).ok()
}
