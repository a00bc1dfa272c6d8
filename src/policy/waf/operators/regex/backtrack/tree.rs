//! An expression as a tree, and what it says of itself: at the leaves what `regex-syntax` knows, and around
//! it what it does not (look-around, back-references, atomic groups, possessive repetition).

use regex_syntax::hir::{Hir, HirKind, Look};

/// A part of an expression.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// A literal, a class, an assertion about a place, or nothing.
    Leaf(Hir),
    Sequence(Vec<Node>),
    Either(Vec<Node>),
    /// A group that is kept, by its number.
    Group(usize, Box<Node>),
    Repeat {
        node: Box<Node>,
        min: u32,
        max: Option<u32>,
        greedy: bool,
    },
    Around {
        behind: bool,
        negated: bool,
        node: Box<Node>,
    },
    /// What is tried once, and not again in another way.
    Atomic(Box<Node>),
    /// What a group has matched.
    Back {
        group: usize,
        nocase: bool,
    },
}

/// A whole expression.
#[derive(Clone, Debug)]
pub(in super::super) struct Tree {
    pub(super) root: Node,
    /// How many groups it has, the whole match being one of them.
    pub(super) groups: usize,
    /// Whether it has anything that the linear engines do not run.
    pub(in super::super) hard: bool,
}

/// Why an expression cannot be read.
#[derive(Clone, Debug)]
pub(in super::super) struct Unread {
    pub(in super::super) what: String,
    pub(in super::super) at: usize,
    /// Whether what was read before is for this engine, and so its word counts.
    pub(in super::super) hard: bool,
}

impl Node {
    /// An expression of the linear engine that matches wherever this one does: what is asked of the text
    /// around is left out, and what a group has matched may be anything.
    pub(super) fn relaxed(&self) -> Hir {
        match self {
            Node::Leaf(hir) => hir.clone(),
            Node::Sequence(nodes) => Hir::concat(nodes.iter().map(Node::relaxed).collect()),
            Node::Either(nodes) => Hir::alternation(nodes.iter().map(Node::relaxed).collect()),
            Node::Group(_, node) | Node::Atomic(node) => node.relaxed(),
            Node::Repeat { node, min, max, greedy } => Hir::repetition(regex_syntax::hir::Repetition {
                min: *min,
                max: *max,
                greedy: *greedy,
                sub: Box::new(node.relaxed()),
            }),
            Node::Around { .. } => Hir::empty(),
            Node::Back { .. } => Hir::repetition(regex_syntax::hir::Repetition {
                min: 0,
                max: None,
                greedy: true,
                sub: Box::new(Hir::dot(regex_syntax::hir::Dot::AnyByte)),
            }),
        }
    }

    /// The least and the greatest length of what it matches, if both are known.
    pub(super) fn width(&self) -> Option<(usize, usize)> {
        match self {
            Node::Leaf(hir) => Some((hir.properties().minimum_len()?, hir.properties().maximum_len()?)),
            Node::Sequence(nodes) => nodes.iter().try_fold((0, 0), |(min, max): (usize, usize), node| {
                let (least, most) = node.width()?;
                Some((min.checked_add(least)?, max.checked_add(most)?))
            }),
            Node::Either(nodes) => {
                let widths: Option<Vec<_>> = nodes.iter().map(Node::width).collect();
                widths?.into_iter().reduce(|(min, max), (least, most)| (min.min(least), max.max(most)))
            }
            Node::Group(_, node) | Node::Atomic(node) => node.width(),
            Node::Repeat { node, min, max, .. } => {
                let (least, most) = node.width()?;
                let times = |width: usize, times: u32| width.checked_mul(times as usize);
                Some((times(least, *min)?, times(most, (*max)?)?))
            }
            Node::Around { .. } => Some((0, 0)),
            Node::Back { .. } => None,
        }
    }

    /// Whether it asks for the begin or the end of the text, in what it looks at around too.
    pub(super) fn is_anchored(&self) -> bool {
        match self {
            Node::Leaf(hir) => matches!(hir.kind(), HirKind::Look(Look::Start | Look::End)),
            Node::Sequence(nodes) | Node::Either(nodes) => nodes.iter().any(Node::is_anchored),
            Node::Group(_, node)
            | Node::Atomic(node)
            | Node::Repeat { node, .. }
            | Node::Around { node, .. } => node.is_anchored(),
            Node::Back { .. } => false,
        }
    }
}
