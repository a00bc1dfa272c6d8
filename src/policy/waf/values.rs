//! The texts of one request, laid out for the matcher: one buffer, and a list of stretches of it.
//!
//! `collect.rs` and the body parsers fill it; both gates of a request share it, so that nothing is
//! parsed or copied twice.

use super::bytes::legible;
use super::targets::Collection;

/// Texts of a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Values {
    buffer: Vec<u8>,
    list: Vec<Value>,
    /// Steps of the paths that name values of JSON and XML.
    steps: Vec<PathStep>,
    /// The kinds of the texts, as bits.
    kinds: u64,
}

/// One text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value {
    /// Where it comes from.
    pub(super) kind: Kind,
    name: ValueName,
    text: Stretch,
}

/// A collection, and whether the text is the name of a member or its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind(u8);

#[derive(Clone, Copy, Debug)]
enum ValueName {
    /// The collection is a single text.
    None,
    Flat(Stretch),
    Path(StepId),
}

/// A stretch of the buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    start: u32,
    end: u32,
}

/// A step of a path, by its number; the root has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StepId(u32);

#[derive(Clone, Copy, Debug)]
struct PathStep {
    parent: StepId,
    label: Label,
}

/// What a step of a path is called.
#[derive(Clone, Copy, Debug)]
pub(super) enum Label {
    /// A key or element name.
    Key(Stretch),
    /// An attribute: `@` and its name.
    Attribute(Stretch),
    /// A place in an array.
    Index(u32),
}

impl StepId {
    /// The document itself.
    pub(super) const ROOT: StepId = StepId(u32::MAX);
}

impl Kind {
    /// How many there are.
    pub(super) const COUNT: usize = Collection::EVERY.len() * 2;

    pub(super) const fn new(collection: Collection, is_name: bool) -> Kind {
        Kind(collection as u8 * 2 + is_name as u8)
    }

    pub(super) fn collection(self) -> Collection {
        Collection::EVERY[usize::from(self.0 / 2)]
    }

    pub(super) fn is_name(self) -> bool {
        self.0 % 2 == 1
    }

    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl Values {
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// The kinds of the texts, as bits.
    #[inline]
    pub(super) fn kinds(&self) -> u64 {
        self.kinds
    }

    pub(super) fn get(&self, at: usize) -> Option<&Value> {
        self.list.get(at)
    }

    pub(super) fn text(&self, value: &Value) -> &[u8] {
        self.bytes(value.text)
    }

    fn bytes(&self, stretch: Stretch) -> &[u8] {
        self.buffer.get(stretch.start as usize..stretch.end as usize).unwrap_or_default()
    }

    /// The name of a value whose name is one stretch of text.
    pub(super) fn flat_name(&self, value: &Value) -> Option<&[u8]> {
        match value.name {
            ValueName::Flat(name) => Some(self.bytes(name)),
            ValueName::None | ValueName::Path(_) => None,
        }
    }

    /// The whole name: `q`, `items.0.sku`; empty where there is none.
    pub(super) fn name(&self, value: &Value) -> Vec<u8> {
        let mut name = Vec::new();
        match value.name {
            ValueName::None => {}
            ValueName::Flat(stretch) => name.extend_from_slice(self.bytes(stretch)),
            ValueName::Path(step) => self.push_path(step, &mut name),
        }
        name
    }

    fn push_path(&self, step: StepId, name: &mut Vec<u8>) {
        let mut labels = Vec::new();
        let mut at = step;
        while let Some(step) = self.steps.get(at.0 as usize) {
            labels.push(step.label);
            at = step.parent;
        }
        for (index, label) in labels.iter().rev().enumerate() {
            if index > 0 {
                name.push(b'.');
            }
            match label {
                Label::Key(key) => name.extend_from_slice(self.bytes(*key)),
                Label::Attribute(key) => {
                    name.push(b'@');
                    name.extend_from_slice(self.bytes(*key));
                }
                Label::Index(index) => name.extend_from_slice(index.to_string().as_bytes()),
            }
        }
    }

    /// Whether the name is this one. Compares from the end, so that a long path costs only as much
    /// as it agrees with.
    pub(super) fn is_named(&self, value: &Value, wanted: &[u8]) -> bool {
        let mut at = match value.name {
            ValueName::None => return false,
            ValueName::Flat(name) => return self.bytes(name) == wanted,
            ValueName::Path(step) => step,
        };
        let mut rest = wanted;
        let mut last = true;
        while let Some(step) = self.steps.get(at.0 as usize) {
            if !last {
                let Some(before) = rest.strip_suffix(b".") else { return false };
                rest = before;
            }
            last = false;
            let before = match step.label {
                Label::Key(key) => rest.strip_suffix(self.bytes(key)),
                Label::Attribute(key) => {
                    rest.strip_suffix(self.bytes(key)).and_then(|rest| rest.strip_suffix(b"@"))
                }
                Label::Index(index) => rest.strip_suffix(index.to_string().as_bytes()),
            };
            let Some(before) = before else { return false };
            rest = before;
            at = step.parent;
        }
        rest.is_empty()
    }

    // === filling ===

    /// Makes room for the texts of an ordinary request, so that filling does not grow step by step.
    pub(super) fn reserve(&mut self) {
        self.buffer.reserve(4096);
        self.list.reserve(128);
    }

    fn push(&mut self, value: Value) {
        self.kinds |= 1 << value.kind.index();
        self.list.push(value);
    }

    /// Appends bytes to the buffer.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Stretch {
        self.put_with(|buffer| buffer.extend_from_slice(bytes))
    }

    /// Lets a decoder append to the buffer.
    pub(super) fn put_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Stretch {
        let start = self.buffer.len() as u32;
        write(&mut self.buffer);
        Stretch { start, end: self.buffer.len() as u32 }
    }

    /// Adds the text of a collection that has only one.
    pub(super) fn single(&mut self, collection: Collection, text: &[u8]) {
        let text = self.put(text);
        self.push(Value { kind: Kind::new(collection, false), name: ValueName::None, text });
    }

    /// Adds a member of a collection: its name, and its value under that name.
    pub(super) fn member(&mut self, collection: Collection, name: Stretch, value: Stretch) {
        let flat = ValueName::Flat(name);
        self.push(Value { kind: Kind::new(collection, true), name: flat, text: name });
        self.push(Value { kind: Kind::new(collection, false), name: flat, text: value });
    }

    /// Adds a value without its name.
    pub(super) fn value(&mut self, collection: Collection, name: Stretch, value: Stretch) {
        self.push(Value { kind: Kind::new(collection, false), name: ValueName::Flat(name), text: value });
    }

    /// Adds a step to a path; the key of an object or the name of an element is a text of its own.
    pub(super) fn step(&mut self, collection: Collection, parent: StepId, label: Label) -> StepId {
        let step = StepId(self.steps.len() as u32);
        self.steps.push(PathStep { parent, label });
        if let Label::Key(text) | Label::Attribute(text) = label {
            self.push(Value { kind: Kind::new(collection, true), name: ValueName::Path(step), text });
        }
        step
    }

    /// Adds the value at the end of a path.
    pub(super) fn at_path(&mut self, collection: Collection, step: StepId, text: Stretch) {
        self.push(Value { kind: Kind::new(collection, false), name: ValueName::Path(step), text });
    }

    /// The text of a value as it is known to be, for the record: `query:q`, `header.names:x-a`.
    pub(super) fn show(&self, value: &Value) -> String {
        let collection = value.kind.collection();
        if !collection.named() {
            return collection.name().to_owned();
        }
        let part = if value.kind.is_name() { ".names" } else { "" };
        let name = self.name(value);
        let cut = &name[..name.len().min(MAX_SHOWN)];
        format!("{}{part}:{}", collection.name(), legible(cut))
    }
}

/// The longest name that a record shows.
const MAX_SHOWN: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_under_their_names() {
        let mut values = Values::default();
        let (name, text) = (values.put(b"q"), values.put(b"1 or 1"));
        values.member(Collection::Query, name, text);
        let key = values.put(b"items");
        let items = values.step(Collection::Json, StepId::ROOT, Label::Key(key));
        let first = values.step(Collection::Json, items, Label::Index(0));
        let key = values.put(b"s.ku");
        let sku = values.step(Collection::Json, first, Label::Key(key));
        let text = values.put(b"x");
        values.at_path(Collection::Json, sku, text);
        values.single(Collection::Path, b"/a");

        let shown: Vec<String> = values.list.iter().map(|value| values.show(value)).collect();
        assert_eq!(
            shown,
            [
                "query.names:q",
                "query:q",
                "json.names:items",
                "json.names:items.0.s.ku",
                "json:items.0.s.ku",
                "path"
            ]
        );
        let last = values.list[4];
        assert!(values.is_named(&last, b"items.0.s.ku"));
        for other in [
            &b"items.0.s.k"[..],
            b"xitems.0.s.ku",
            b"0.s.ku",
            b".items.0.s.ku",
            b"s.ku",
            b"",
            b"items.1.s.ku",
        ] {
            assert!(!values.is_named(&last, other), "{}", other.escape_ascii());
        }
    }

    #[test]
    fn a_shown_name_is_escaped_and_cut() {
        let mut values = Values::default();
        let name = values.put(&b"\r\n\xff".repeat(100));
        values.member(Collection::Header, name, name);
        let shown = values.show(&values.list[1]);
        assert!(shown.starts_with("header:\\r\\n\\xff") && shown.len() < 96 * 4 + 10);
    }
}
