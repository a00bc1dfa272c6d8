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

use super::nodes::{NONE, Needle, Node, Nodes};
use super::{HostPattern, PathPattern, Scope, Segment};
use crate::facts::{RouteId, Target};

pub use super::nodes::Span;

/// A compiled tree of patterns. Methods are not its business.
#[derive(Clone, Debug, Default)]
pub struct Trie {
    nodes: Nodes,
    /// What is about any route; [`NONE`] in an empty tree.
    any_route: Option<u32>,
    /// What is about a certain route, by its number; [`NONE`] for most.
    by_route: Vec<u32>,
    /// The most dots that a wildcard host has. A request's host is cut at no more.
    wildcard_dots: usize,
}

/// A tree being built.
#[derive(Debug, Default)]
pub struct TrieBuilder {
    trie: Trie,
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
                    Segment::Literal(text) => self.trie.nodes.child_or_new(node, text),
                    Segment::Any(_) => self.trie.nodes.any_or_new(node),
                });
                self.ends.push(End { node, rest: path.rest().is_some(), item });
            }
        }
    }

    /// The nodes at which the paths of a scope begin.
    fn roots(&mut self, scope: &Scope) -> Vec<u32> {
        let trie = &mut self.trie;
        let mut routes = Vec::new();
        for route in &scope.routes {
            let at = route.0 as usize;
            if trie.by_route.len() <= at {
                trie.by_route.resize(at + 1, NONE);
            }
            if trie.by_route[at] == NONE {
                trie.by_route[at] = trie.nodes.add();
            }
            routes.push(trie.by_route[at]);
        }
        if scope.routes.is_empty() {
            routes.push(*trie.any_route.get_or_insert_with(|| trie.nodes.add()));
        }
        let mut roots = Vec::new();
        for route in routes {
            if scope.hosts.is_empty() {
                roots.push(trie.nodes.any_or_new(route));
            }
            for host in &scope.hosts {
                let text = match host {
                    HostPattern::Exact(name) => name,
                    HostPattern::Below(suffix) => {
                        let dots = suffix.bytes().filter(|byte| *byte == b'.').count();
                        trie.wildcard_dots = trie.wildcard_dots.max(dots);
                        suffix
                    }
                };
                roots.push(trie.nodes.child_or_new(route, text));
            }
        }
        roots
    }

    /// The tree. `lay_out` gets the items that end at one place, ascending and each once, and says
    /// where its owner keeps them.
    pub fn finish(self, mut lay_out: impl FnMut(&[u32]) -> Span) -> Trie {
        let TrieBuilder { mut trie, mut ends } = self;
        ends.sort_unstable();
        ends.dedup();
        let mut items = Vec::new();
        for place in ends.chunk_by(|a, b| (a.node, a.rest) == (b.node, b.rest)) {
            items.clear();
            items.extend(place.iter().map(|end| end.item));
            let span = lay_out(&items);
            let first = place.first().and_then(|end| Some((end.rest, trie.nodes.get_mut(end.node)?)));
            match first {
                Some((true, node)) => node.rest = span,
                Some((false, node)) => node.here = span,
                None => {}
            }
        }
        trie
    }
}

impl Trie {
    /// Visits what stands at the end of every pattern that covers the request: what is about less
    /// of the path first. A scope with several patterns that match is visited several times.
    #[inline]
    pub fn visit(&self, target: &Target, route: Option<RouteId>, mut visit: impl FnMut(Span)) {
        // The nodes still to be looked at; those of one depth stand together.
        let mut queue: SmallVec<[u32; 32]> = SmallVec::new();
        self.enter(target.host(), route, &mut queue);
        let mut depth = 0;
        for segment in target.segments() {
            let next = queue.len();
            if depth == next {
                return;
            }
            let mut needle = Needle::new(segment);
            for at in depth..next {
                let Some((id, node)) = self.nth(&queue, at) else { continue };
                if node.rest.len != 0 {
                    visit(node.rest);
                }
                if let Some(child) = self.nodes.child(id, node, &mut needle) {
                    queue.push(child);
                }
                if node.any != NONE {
                    queue.push(node.any);
                }
            }
            depth = next;
        }
        for at in depth..queue.len() {
            let Some((_, node)) = self.nth(&queue, at) else { continue };
            for span in [node.rest, node.here] {
                if span.len != 0 {
                    visit(span);
                }
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
    fn enter(&self, host: &str, route: Option<RouteId>, queue: &mut SmallVec<[u32; 32]>) {
        let certain = route.and_then(|route| self.by_route.get(route.0 as usize)).copied();
        for id in [self.any_route, certain.filter(|id| *id != NONE)].into_iter().flatten() {
            let Some(node) = self.nodes.get(id) else { continue };
            if node.any != NONE {
                queue.push(node.any);
            }
            if node.has_texts() {
                self.enter_host(id, node, host, &mut |root| queue.push(root));
            }
        }
    }

    #[inline]
    fn enter_host(&self, id: u32, node: &Node, host: &str, found: &mut impl FnMut(u32)) {
        let mut dots = memchr::memrchr_iter(b'.', host.as_bytes());
        // A host never begins with a dot, so the suffix at a dot is shorter than the host.
        for at in dots.by_ref().take(self.wildcard_dots) {
            let suffix = host.get(at..).unwrap_or("");
            if let Some(root) = self.nodes.child(id, node, &mut Needle::new(suffix)) {
                found(root);
            }
        }
        if let Some(root) = self.nodes.child(id, node, &mut Needle::new(host)) {
            found(root);
        }
    }

    /// Whether anything that is not about certain routes is about this host.
    pub fn has_host(&self, host: &str) -> bool {
        let Some((id, node)) = self.any_route.and_then(|id| Some((id, self.nodes.get(id)?))) else {
            return false;
        };
        let mut found = node.any != NONE;
        self.enter_host(id, node, host, &mut |_| found = true);
        found
    }
}
