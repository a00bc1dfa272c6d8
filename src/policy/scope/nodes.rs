//! The nodes of the scope index, and the one table that finds a node's child by its text.
//!
//! A node is one cache line: its own text, where it hangs, and what ends there. Children are not
//! stored with their parent but in one open-addressed table keyed by (parent, text), so that a
//! parent with 10,000 children costs the same as one with ten. A parent's only child, the usual
//! case, is found without the table.

use super::hash::{hash, mix};

/// No node.
pub(super) const NONE: u32 = u32::MAX;

/// A stretch of whatever list the owner of the index keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First.
    pub start: u32,
    /// How many; 0 for nothing.
    pub len: u32,
}

/// A place in the tree of patterns.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Node {
    parent: u32,
    /// The child for `{name}`: any one segment.
    pub(super) any: u32,
    /// The only child with a text, [`NONE`], or [`MANY`].
    only: u32,
    /// What is about exactly this path.
    pub(super) here: Span,
    /// What is about this path and all below.
    pub(super) rest: Span,
    /// How long `text` is, or [`LONG`].
    len: u16,
    /// The text that leads here; for a long one its number among the long ones.
    text: [u8; INLINE],
}

const _: () = assert!(size_of::<Node>() == 64);

/// The text of most segments stands in the node.
const INLINE: usize = 34;

/// The length of texts that stand elsewhere.
const LONG: u16 = u16::MAX;

/// More than one child with a text: look into the table.
const MANY: u32 = NONE - 1;

/// Nodes with the table of their children.
#[derive(Clone, Debug, Default)]
pub(super) struct Nodes {
    nodes: Vec<Node>,
    long: Vec<Box<str>>,
    table: Table,
}

/// A text looked up under several nodes; hashed once, and only when a table is asked.
#[derive(Debug)]
pub(super) struct Needle<'a> {
    text: &'a str,
    hash: Option<u64>,
}

impl<'a> Needle<'a> {
    #[inline]
    pub(super) fn new(text: &'a str) -> Needle<'a> {
        Needle { text, hash: None }
    }

    #[inline]
    fn hash(&mut self) -> u64 {
        *self.hash.get_or_insert_with(|| hash(self.text.as_bytes()))
    }
}

impl Nodes {
    #[inline]
    pub(super) fn get(&self, node: u32) -> Option<&Node> {
        self.nodes.get(node as usize)
    }

    pub(super) fn get_mut(&mut self, node: u32) -> Option<&mut Node> {
        self.nodes.get_mut(node as usize)
    }

    /// Adds a node without text.
    pub(super) fn add(&mut self) -> u32 {
        self.push(NONE, "")
    }

    fn push(&mut self, parent: u32, text: &str) -> u32 {
        let mut node = Node {
            parent,
            any: NONE,
            only: NONE,
            here: Span::default(),
            rest: Span::default(),
            len: LONG,
            text: [0; INLINE],
        };
        match node.text.get_mut(..text.len()) {
            Some(place) => {
                place.copy_from_slice(text.as_bytes());
                node.len = text.len() as u16;
            }
            None => {
                node.text[..4].copy_from_slice(&(self.long.len() as u32).to_le_bytes());
                self.long.push(text.into());
            }
        }
        self.nodes.push(node);
        self.nodes.len() as u32 - 1
    }

    /// The child of `parent` with this text, given the parent itself.
    #[inline]
    pub(super) fn child(&self, id: u32, parent: &Node, needle: &mut Needle<'_>) -> Option<u32> {
        match parent.only {
            NONE => None,
            MANY => {
                let mut candidates = self.table.candidates(place(id, needle.hash()));
                candidates.find(|child| self.is_child(*child, id, needle.text))
            }
            only => self.is_child(only, id, needle.text).then_some(only),
        }
    }

    #[inline]
    fn is_child(&self, child: u32, parent: u32, text: &str) -> bool {
        let Some(node) = self.get(child) else { return false };
        if node.parent != parent {
            return false;
        }
        if node.len == LONG {
            let number = node.text.first_chunk::<4>().map_or(0, |number| u32::from_le_bytes(*number));
            return self.long.get(number as usize).is_some_and(|long| **long == *text);
        }
        node.text.get(..usize::from(node.len)) == Some(text.as_bytes())
    }

    /// The child with this text, made if need be.
    pub(super) fn child_or_new(&mut self, parent: u32, text: &str) -> u32 {
        let mut needle = Needle::new(text);
        if let Some(child) = self.get(parent).and_then(|node| self.child(parent, node, &mut needle)) {
            return child;
        }
        let child = self.push(parent, text);
        self.table.insert(place(parent, needle.hash()), child);
        if let Some(node) = self.get_mut(parent) {
            node.only = if node.only == NONE { child } else { MANY };
        }
        child
    }

    /// The child for any one segment, made if need be.
    pub(super) fn any_or_new(&mut self, parent: u32) -> u32 {
        match self.get(parent).map_or(NONE, |node| node.any) {
            NONE => {
                let child = self.push(parent, "");
                if let Some(node) = self.get_mut(parent) {
                    node.any = child;
                }
                child
            }
            any => any,
        }
    }
}

impl Node {
    /// Whether any child has a text.
    #[inline]
    pub(super) fn has_texts(&self) -> bool {
        self.only != NONE
    }
}

/// Where the child of a node with this text belongs.
#[inline]
fn place(parent: u32, text: u64) -> u32 {
    (mix(text ^ u64::from(parent), 0x9b05_688c_2b3e_6c1f) >> 32) as u32
}

/// Open addressing with linear probing; at most half full.
#[derive(Clone, Debug, Default)]
struct Table {
    /// A power of two of them, or none.
    slots: Vec<Slot>,
    used: usize,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// The place that the node belongs at: a text that is not here costs no look at a node.
    place: u32,
    node: u32,
}

const FREE: Slot = Slot { place: 0, node: NONE };

impl Table {
    /// The nodes that belong at this place.
    #[inline]
    fn candidates(&self, place: u32) -> impl Iterator<Item = u32> + '_ {
        self.run(place).filter(move |slot| slot.place == place).map(|slot| slot.node)
    }

    /// The occupied slots from a place on.
    #[inline]
    fn run(&self, place: u32) -> impl Iterator<Item = Slot> + '_ {
        let mask = self.slots.len().wrapping_sub(1);
        (0..self.slots.len())
            .map_while(move |step| self.slots.get((place as usize).wrapping_add(step) & mask).copied())
            .take_while(|slot| slot.node != NONE)
    }

    fn insert(&mut self, place: u32, node: u32) {
        // How long a cluster is depends on the policy, never on a request. It is kept short all the
        // same, except for texts that belong at the very same place, which no growing parts.
        let mut doublings = 0;
        while self.used * 2 >= self.slots.len() || (doublings < 4 && self.run(place).count() > LONGEST_RUN) {
            doublings += 1;
            self.grow();
        }
        self.put(Slot { place, node });
    }

    fn put(&mut self, slot: Slot) {
        let mask = self.slots.len() - 1;
        let at = (slot.place as usize).wrapping_add(self.run(slot.place).count()) & mask;
        self.slots[at] = slot;
        self.used += 1;
    }

    fn grow(&mut self) {
        let doubled = vec![FREE; (self.slots.len() * 2).max(64)];
        let old = std::mem::replace(&mut self.slots, doubled);
        self.used = 0;
        old.into_iter().filter(|slot| slot.node != NONE).for_each(|slot| self.put(slot));
    }
}

/// The longest stretch of occupied slots that is tolerated before the table grows.
const LONGEST_RUN: usize = 24;
