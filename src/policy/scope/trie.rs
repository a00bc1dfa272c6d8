//! The tree of patterns: from a request to everything whose routes, hosts and paths cover it.
//!
//! Exact by construction: the walk visits every pattern that matches, not the most specific one,
//! so that overlapping patterns (`/a/{x}/c`, `/a/b/{*rest}`) need no precedence.
//!
//! How it is laid out, from the root: the route (any, or a certain one), then the host (any, a
//! certain one, everything below a name), then the segments of the path. A wildcard host is a text
//! like every other: `.example.com`, which no host is called.
//!
//! What a walk costs: it looks at the nodes whose path so far matches, each at most once. A
//! request's segment leads from a node to at most two children, and a pattern has at most eight
//! `{name}`s, so the nodes of one depth are as many as the policy has overlapping patterns there;
//! nothing in a request can make them more. Rules that do not match are not looked at.

use smallvec::SmallVec;

use super::nodes::{Draft, NONE, Needle, Node, Nodes};
use super::{HostPattern, PathPattern, Scope, Segment};
use crate::facts::{RouteId, Target};

/// A compiled tree of patterns. Methods are not its business.
#[derive(Clone, Debug, Default)]
pub struct Trie {
    nodes: Nodes,
    /// What is about any route.
    any_route: Option<u32>,
    /// What is about a certain route, by its number; [`NONE`] for most.
    by_route: Vec<u32>,
    /// The most dots that a wildcard host has. A request's host is cut at no more.
    wildcard_dots: usize,
}

/// A tree being built.
#[derive(Debug, Default)]
pub struct TrieBuilder {
    draft: Draft,
    any_route: Option<u32>,
    by_route: Vec<u32>,
    wildcard_dots: usize,
    ends: Vec<End>,
}

/// That a pattern of an item ends at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct End {
    node: u32,
    /// Whether everything below is meant too.
    rest: bool,
    item: u32,
}

impl TrieBuilder {
    /// Adds the patterns of a scope. `item` is asked once for each path pattern (once for none)
    /// what stands where it ends.
    pub fn add(&mut self, scope: &Scope, mut item: impl FnMut(Option<&PathPattern>) -> u32) {
        let roots = self.roots(scope);
        if scope.paths.is_empty() {
            let item = item(None);
            self.ends.extend(roots.iter().map(|&node| End { node, rest: true, item }));
        }
        for path in &scope.paths {
            let item = item(Some(path));
            for &root in &roots {
                let node = path.segments().iter().fold(root, |node, segment| match segment {
                    Segment::Literal(text) => self.draft.text(node, text),
                    Segment::Any(_) => self.draft.any(node),
                });
                self.ends.push(End { node, rest: path.rest().is_some(), item });
            }
        }
    }

    /// The nodes at which the paths of a scope begin.
    fn roots(&mut self, scope: &Scope) -> Vec<u32> {
        let mut routes = Vec::new();
        for route in &scope.routes {
            let at = route.0 as usize;
            if self.by_route.len() <= at {
                self.by_route.resize(at + 1, NONE);
            }
            if self.by_route[at] == NONE {
                self.by_route[at] = self.draft.root();
            }
            routes.push(self.by_route[at]);
        }
        if scope.routes.is_empty() {
            routes.push(*self.any_route.get_or_insert_with(|| self.draft.root()));
        }
        let mut roots = Vec::new();
        for route in routes {
            if scope.hosts.is_empty() {
                roots.push(self.draft.any(route));
            }
            for host in &scope.hosts {
                let text = match host {
                    HostPattern::Exact(name) => name,
                    HostPattern::Below(suffix) => {
                        let dots = suffix.bytes().filter(|byte| *byte == b'.').count();
                        self.wildcard_dots = self.wildcard_dots.max(dots);
                        suffix
                    }
                };
                roots.push(self.draft.text(route, text));
            }
        }
        roots
    }

    /// The tree. `lay_out` gets the items that end at one place, ascending and each once, and says
    /// under which number (not the greatest there is) its owner keeps them.
    pub fn finish(mut self, mut lay_out: impl FnMut(&[u32]) -> u32) -> Trie {
        self.ends.sort_unstable();
        self.ends.dedup();
        let mut items = Vec::new();
        for place in self.ends.chunk_by(|a, b| (a.node, a.rest) == (b.node, b.rest)) {
            items.clear();
            items.extend(place.iter().map(|end| end.item));
            let number = lay_out(&items);
            if let Some(end) = place.first() {
                let node = &mut self.draft.nodes[end.node as usize];
                *(if end.rest { &mut node.rest } else { &mut node.here }) = number;
            }
        }
        let (nodes, places) = self.draft.finish();
        let place = |node: u32| places.get(node as usize).copied().unwrap_or(NONE);
        Trie {
            nodes,
            any_route: self.any_route.map(place),
            by_route: self.by_route.into_iter().map(place).collect(),
            wildcard_dots: self.wildcard_dots,
        }
    }
}

impl Trie {
    /// Visits what stands at the end of every pattern that covers the request, by its number: what
    /// is about less of the path first. A scope with several patterns that match is visited
    /// several times.
    #[inline]
    pub fn visit(&self, target: &Target, route: Option<RouteId>, mut visit: impl FnMut(u32)) {
        // The nodes still to be looked at; those of one depth stand together.
        let mut queue: SmallVec<[u32; 32]> = SmallVec::new();
        self.enter(target.host_bytes(), route, &mut queue);
        let any = Needle::any();
        let mut depth = 0;
        for segment in target.segments() {
            let next = queue.len();
            if depth == next {
                return;
            }
            let text = self.nodes.needle(segment.as_bytes());
            for at in depth..next {
                let Some((id, node)) = self.nth(&queue, at) else { continue };
                if node.rest != NONE {
                    visit(node.rest);
                }
                if node.has_texts()
                    && let Some(child) = text.and_then(|text| self.nodes.child(id, text))
                {
                    queue.push(child);
                }
                if node.has_any()
                    && let Some(child) = self.nodes.child(id, any)
                {
                    queue.push(child);
                }
            }
            depth = next;
        }
        for at in depth..queue.len() {
            let Some((_, node)) = self.nth(&queue, at) else { continue };
            if node.rest != NONE {
                visit(node.rest);
            }
            if node.here != NONE {
                visit(node.here);
            }
        }
    }

    #[inline]
    fn nth(&self, queue: &[u32], at: usize) -> Option<(u32, &Node)> {
        let id = *queue.get(at)?;
        Some((id, self.nodes.get(id)?))
    }

    /// Finds the nodes at which the paths begin that are about this host and route.
    #[inline]
    fn enter(&self, host: &[u8], route: Option<RouteId>, queue: &mut SmallVec<[u32; 32]>) {
        let certain = route.and_then(|route| self.by_route.get(route.0 as usize)).copied();
        for id in [self.any_route, certain.filter(|id| *id != NONE)].into_iter().flatten() {
            self.enter_host(id, host, &mut |root| queue.push(root));
        }
    }

    #[inline]
    fn enter_host(&self, id: u32, host: &[u8], found: &mut impl FnMut(u32)) {
        let Some(node) = self.nodes.get(id) else { return };
        if node.has_any()
            && let Some(root) = self.nodes.child(id, Needle::any())
        {
            found(root);
        }
        if !node.has_texts() {
            return;
        }
        if self.wildcard_dots > 0 {
            // A host never begins with a dot, so the suffix at a dot is shorter than the host.
            for at in memchr::memrchr_iter(b'.', host).take(self.wildcard_dots) {
                self.enter_named(id, host.get(at..).unwrap_or_default(), found);
            }
        }
        self.enter_named(id, host, found);
    }

    #[inline]
    fn enter_named(&self, id: u32, name: &[u8], found: &mut impl FnMut(u32)) {
        if let Some(root) = self.nodes.needle(name).and_then(|needle| self.nodes.child(id, needle)) {
            found(root);
        }
    }

    /// Whether anything that is not about certain routes is about this host.
    pub fn has_host(&self, host: &str) -> bool {
        let mut has = false;
        if let Some(id) = self.any_route {
            self.enter_host(id, host.as_bytes(), &mut |_| has = true);
        }
        has
    }
}
