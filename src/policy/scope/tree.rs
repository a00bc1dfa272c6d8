//! Path patterns by path patterns: which of many cover one, and which of them meet it.
//!
//! For lints. The ways through the tree are bounded by a number of steps, so that no policy makes
//! `check` slow; who asks says what it means that the steps have run out.

use std::collections::HashMap;
use std::ops::ControlFlow;

use super::{PathPattern, Segment};

/// Things by the path patterns they are about.
#[derive(Clone, Debug)]
pub struct PathTree<T> {
    nodes: Vec<Node<T>>,
}

#[derive(Clone, Debug)]
struct Node<T> {
    literal: HashMap<Box<str>, usize>,
    any: Option<usize>,
    /// Those whose pattern ends here.
    whole: Vec<T>,
    /// Those whose pattern goes on with anything.
    rest: Vec<T>,
}

/// How much of the tree a question may look at.
#[derive(Clone, Copy, Debug)]
pub struct Steps(pub usize);

impl Steps {
    /// One step less, if there is one.
    fn take(&mut self) -> ControlFlow<()> {
        match self.0.checked_sub(1) {
            Some(left) => {
                self.0 = left;
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(()),
        }
    }
}

impl<T> Default for PathTree<T> {
    fn default() -> PathTree<T> {
        PathTree { nodes: vec![Node::default()] }
    }
}

impl<T> Default for Node<T> {
    fn default() -> Node<T> {
        Node { literal: HashMap::new(), any: None, whole: Vec::new(), rest: Vec::new() }
    }
}

impl<T> PathTree<T> {
    /// Adds a thing; without a pattern it is about every path.
    pub fn insert(&mut self, path: Option<&PathPattern>, thing: T) {
        let mut at = 0;
        for segment in path.map_or(&[][..], PathPattern::segments) {
            let next = self.nodes.len();
            let node = &mut self.nodes[at];
            at = match segment {
                Segment::Literal(text) => *node.literal.entry(text.clone()).or_insert(next),
                Segment::Any(_) => *node.any.get_or_insert(next),
            };
            if at == next {
                self.nodes.push(Node::default());
            }
        }
        let node = &mut self.nodes[at];
        match path {
            Some(path) if path.rest().is_none() => node.whole.push(thing),
            _ => node.rest.push(thing),
        }
    }

    /// Visits the things whose pattern covers this one. Broken off by the visitor, or when the steps
    /// have run out.
    pub fn covering(
        &self,
        path: Option<&PathPattern>,
        steps: &mut Steps,
        mut visit: impl FnMut(&T) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let segments = path.map_or(&[][..], PathPattern::segments);
        let whole = path.is_some_and(|path| path.rest().is_none());
        let mut ways = vec![(0, segments)];
        while let Some((at, segments)) = ways.pop() {
            steps.take()?;
            let Some(node) = self.nodes.get(at) else { continue };
            let ends = if segments.is_empty() && whole { &node.whole[..] } else { &[] };
            for thing in node.rest.iter().chain(ends) {
                steps.take()?;
                visit(thing)?;
            }
            let Some((first, others)) = segments.split_first() else { continue };
            if let Segment::Literal(text) = first {
                ways.extend(node.literal.get(text).map(|next| (*next, others)));
            }
            ways.extend(node.any.map(|next| (next, others)));
        }
        ControlFlow::Continue(())
    }

    /// Visits the things whose pattern meets this one. Broken off by the visitor, or when the steps
    /// have run out.
    pub fn meeting(
        &self,
        path: Option<&PathPattern>,
        steps: &mut Steps,
        mut visit: impl FnMut(&T) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let segments = path.map_or(&[][..], PathPattern::segments);
        let rest = path.is_none_or(|path| path.rest().is_some());
        let mut ways = vec![(0, segments)];
        while let Some((at, segments)) = ways.pop() {
            steps.take()?;
            let Some(node) = self.nodes.get(at) else { continue };
            let ends = if segments.is_empty() { &node.whole[..] } else { &[] };
            for thing in node.rest.iter().chain(ends) {
                steps.take()?;
                visit(thing)?;
            }
            match segments.split_first() {
                Some((Segment::Literal(text), others)) => {
                    ways.extend(node.literal.get(text).map(|next| (*next, others)));
                    ways.extend(node.any.map(|next| (next, others)));
                }
                Some((Segment::Any(_), others)) => {
                    ways.extend(node.literal.values().chain(&node.any).map(|next| (*next, others)));
                }
                // Whatever follows, the rest takes it.
                None if rest => {
                    ways.extend(node.literal.values().chain(&node.any).map(|next| (*next, segments)))
                }
                None => {}
            }
        }
        ControlFlow::Continue(())
    }
}
