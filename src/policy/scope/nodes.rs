//! The nodes of the scope index, in the one table that finds them.
//!
//! A node stands at the place that its parent's place and its own text hash to. So where a child
//! would be is known before its parent was read, and the memory accesses of a walk need not wait
//! for each other. A node is 32 bytes: half of them say which one it is, the others what ends here.

use std::collections::HashMap;

/// Nothing: no node, nothing that ends here.
pub(super) const NONE: u32 = u32::MAX;

/// A place in the tree of patterns.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
pub(super) struct Node {
    /// What leads here from the parent.
    key: Key,
    /// The parent's place; [`NONE`] where the table is free.
    parent: u32,
    children: u32,
    /// What is about exactly this path, or [`NONE`].
    pub(super) here: u32,
    /// What is about this path and all below, or [`NONE`].
    pub(super) rest: u32,
}

const _: () = assert!(size_of::<Node>() == 32);

/// Whether a node has a child for `{name}`, and children with a text.
const HAS_ANY: u32 = 1;
const HAS_TEXTS: u32 = 2;

/// What leads from a node to a child: a text of up to 15 bytes and its length; a longer text by its
/// number; or any one segment. Equal keys mean equal texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key(u128);

/// A key with its hash.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needle {
    key: Key,
    hash: u64,
}

/// Texts of up to so many bytes stand in their key.
const SHORT: usize = 15;

/// The last byte of a key is the length of its text, or one of these.
const LONG: u128 = 0xff << 120;
const ANY: Key = Key(0xfe << 120);

/// A compiled tree.
#[derive(Clone, Debug, Default)]
pub(super) struct Nodes {
    /// A power of two of them, or none.
    table: Vec<Node>,
    long: LongTexts,
}

/// The numbers of texts that do not fit into a key.
#[derive(Clone, Debug, Default)]
struct LongTexts {
    numbers: HashMap<Box<str>, u32>,
    longest: usize,
}

/// A tree being built. Nodes are numbered as they come; parents before their children.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) nodes: Vec<DraftNode>,
    children: HashMap<(u32, Key), u32>,
    long: LongTexts,
}

#[derive(Debug)]
pub(super) struct DraftNode {
    key: Key,
    parent: u32,
    children: u32,
    pub(super) here: u32,
    pub(super) rest: u32,
}

impl Key {
    /// The key of a short text.
    #[inline]
    fn short(text: &[u8]) -> Option<Key> {
        let length = text.len();
        if length > SHORT {
            return None;
        }
        // Both halves are read from the ends of the text, where they overlap with equal bytes.
        let (low, high) = if let (Some(head), Some(tail)) = (text.first_chunk(), text.last_chunk()) {
            (u64::from_le_bytes(*head), u64::from_le_bytes(*tail).unbounded_shr(8 * (16 - length as u32)))
        } else if let (Some(head), Some(tail)) = (text.first_chunk(), text.last_chunk()) {
            let (head, tail) = (u32::from_le_bytes(*head), u32::from_le_bytes(*tail));
            (u64::from(head) | u64::from(tail) << (8 * (length - 4)), 0)
        } else {
            (text.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)), 0)
        };
        Some(Key(u128::from(low) | u128::from(high) << 64 | (length as u128) << 120))
    }

    #[inline]
    fn needle(self) -> Needle {
        Needle { key: self, hash: mix(self.0 as u64 ^ ODD, (self.0 >> 64) as u64 ^ OTHER) }
    }
}

impl Needle {
    /// What leads to the child for `{name}`.
    #[inline]
    pub(super) fn any() -> Needle {
        ANY.needle()
    }

    /// Where the child of a node belongs.
    #[inline]
    fn place(self, parent: u32) -> usize {
        mix(self.hash ^ u64::from(parent), ODD) as usize
    }
}

impl Nodes {
    #[inline]
    pub(super) fn get(&self, place: u32) -> Option<&Node> {
        self.table.get(place as usize)
    }

    /// What leads to children with this text; none if no node at all has it.
    #[inline]
    pub(super) fn needle(&self, text: &[u8]) -> Option<Needle> {
        match Key::short(text) {
            Some(key) => Some(key.needle()),
            None => self.long.key(text).map(Key::needle),
        }
    }

    /// The place of a child.
    #[inline]
    pub(super) fn child(&self, parent: u32, needle: Needle) -> Option<u32> {
        let mask = self.table.len().wrapping_sub(1);
        let mut at = needle.place(parent);
        loop {
            at &= mask;
            let node = self.table.get(at)?;
            if node.parent == parent && node.key == needle.key {
                return Some(at as u32);
            }
            // A table is at most half full, so there is an end to every run; how long one is
            // depends on the policy and never on a request.
            if node.parent == NONE {
                return None;
            }
            at += 1;
        }
    }
}

impl Node {
    #[inline]
    pub(super) fn has_any(&self) -> bool {
        self.children & HAS_ANY != 0
    }

    #[inline]
    pub(super) fn has_texts(&self) -> bool {
        self.children & HAS_TEXTS != 0
    }
}

impl LongTexts {
    #[cold]
    fn key(&self, text: &[u8]) -> Option<Key> {
        if text.len() > self.longest {
            return None;
        }
        let number = self.numbers.get(std::str::from_utf8(text).ok()?)?;
        Some(Key(LONG | u128::from(*number)))
    }

    fn key_or_new(&mut self, text: &str) -> Key {
        let next = self.numbers.len() as u32;
        self.longest = self.longest.max(text.len());
        Key(LONG | u128::from(*self.numbers.entry(text.into()).or_insert(next)))
    }
}

impl Draft {
    /// Adds a node that nothing leads to.
    pub(super) fn root(&mut self) -> u32 {
        // The number of the root tells it from others; nothing looks for it by key.
        self.push(ROOT, Key(self.nodes.len() as u128))
    }

    fn push(&mut self, parent: u32, key: Key) -> u32 {
        self.nodes.push(DraftNode { key, parent, children: 0, here: NONE, rest: NONE });
        self.nodes.len() as u32 - 1
    }

    /// The child with this text, made if need be.
    pub(super) fn text(&mut self, parent: u32, text: &str) -> u32 {
        let key = Key::short(text.as_bytes()).unwrap_or_else(|| self.long.key_or_new(text));
        self.child(parent, key, HAS_TEXTS)
    }

    /// The child for any one segment, made if need be.
    pub(super) fn any(&mut self, parent: u32) -> u32 {
        self.child(parent, ANY, HAS_ANY)
    }

    fn child(&mut self, parent: u32, key: Key, kind: u32) -> u32 {
        if let Some(child) = self.children.get(&(parent, key)) {
            return *child;
        }
        let child = self.push(parent, key);
        self.children.insert((parent, key), child);
        self.nodes[parent as usize].children |= kind;
        child
    }

    /// The table, and where each node stands in it.
    pub(super) fn finish(self) -> (Nodes, Vec<u32>) {
        let mut capacity = (self.nodes.len() * 2).next_power_of_two();
        for attempt in 0.. {
            // Long runs come of bad luck or of a policy made for it; more room ends the one, and
            // the other is the policy's own loss.
            if let Some((table, places)) = self.lay_out(capacity, attempt == 4) {
                return (Nodes { table, long: self.long }, places);
            }
            capacity *= 2;
        }
        (Nodes::default(), Vec::new())
    }

    fn lay_out(&self, capacity: usize, whatever: bool) -> Option<(Vec<Node>, Vec<u32>)> {
        let free = Node { key: Key(0), parent: NONE, children: 0, here: NONE, rest: NONE };
        let mut table = vec![free; capacity];
        let mut places: Vec<u32> = Vec::with_capacity(self.nodes.len());
        for draft in &self.nodes {
            let parent = places.get(draft.parent as usize).copied().unwrap_or(ROOT);
            let at = draft.key.needle().place(parent);
            let run = (0..capacity)
                .take_while(|step| table[(at.wrapping_add(*step)) & (capacity - 1)].parent != NONE);
            let run = run.count();
            if run > LONGEST_RUN && !whatever {
                return None;
            }
            let at = at.wrapping_add(run) & (capacity - 1);
            let DraftNode { key, children, here, rest, .. } = *draft;
            table[at] = Node { key, parent, children, here, rest };
            places.push(at as u32);
        }
        Some((table, places))
    }
}

/// Multiplies to 128 bits and folds the halves together: every bit of the result depends on every
/// bit of both factors. Not keyed by a secret, and it need not be: a request only looks up, so it
/// can at worst choose which of the policy's runs is read.
#[inline]
const fn mix(a: u64, b: u64) -> u64 {
    let wide = a as u128 * b as u128;
    wide as u64 ^ (wide >> 64) as u64
}

/// The parent of nodes without one.
const ROOT: u32 = NONE - 1;

/// The longest run of occupied places before a node's own that is tolerated.
const LONGEST_RUN: usize = 24;

/// Odd numbers with about half of their bits set: fractional parts of square roots.
const ODD: u64 = 0xa54f_f53a_5f1d_36f1;
const OTHER: u64 = 0x9b05_688c_2b3e_6c1f;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn short_texts_of_every_length_and_with_one_changed_byte_have_keys_of_their_own() {
        let mut seen = HashSet::from([ANY]);
        for length in 0..=SHORT {
            let text = vec![b'a'; length];
            assert!(seen.insert(Key::short(&text).unwrap()), "{text:?}");
            for at in 0..length {
                let mut other = text.clone();
                other[at] = b'b';
                assert!(seen.insert(Key::short(&other).unwrap()), "{other:?}");
            }
        }
        assert_eq!(Key::short(&[b'a'; SHORT + 1]), None);
    }

    #[test]
    fn children_are_found_under_their_own_parent_alone() {
        let mut draft = Draft::default();
        let roots = [draft.root(), draft.root()];
        let texts: Vec<String> =
            (0..5000).map(|number| format!("{number}{}", "x".repeat(number % 40))).collect();
        let children: Vec<u32> = texts.iter().map(|text| draft.text(roots[0], text)).collect();
        let any = draft.any(children[7]);
        let (nodes, places) = draft.finish();
        let child =
            |parent: u32, text: &str| nodes.child(places[parent as usize], nodes.needle(text.as_bytes())?);
        for (text, number) in texts.iter().zip(&children) {
            assert_eq!(child(roots[0], text), Some(places[*number as usize]), "{text}");
            assert_eq!(child(roots[1], text), None, "{text}");
        }
        assert_eq!(nodes.child(places[children[7] as usize], Needle::any()), Some(places[any as usize]));
        assert_eq!(nodes.child(places[children[8] as usize], Needle::any()), None);
    }
}
