//! JSON bodies: every key and every value, named by its path.
//!
//! A visitor and not a tree, so that a key that stands twice is seen twice: which of both an origin
//! takes is its own affair.

use std::fmt;
use std::io::Write;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{Bounds, Unreadable};
use crate::policy::waf::targets::Collection;
use crate::policy::waf::values::{Label, StepId, Stretch, Values};

/// Adds the keys and values of a JSON text.
pub(super) fn read(body: &[u8], bounds: &Bounds, values: &mut Values) -> Result<(), Unreadable> {
    // Some producers put a byte order mark first, and readers pass over it (RFC 8259 section 8.1).
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let mut reader = Reader { values, fields: bounds.fields, refusal: None };
    let mut text = serde_json::Deserializer::from_slice(body);
    let seed = Node { reader: &mut reader, at: StepId::ROOT, depth: bounds.depth };
    let read = seed.deserialize(&mut text).and_then(|()| text.end());
    match (read, reader.refusal) {
        (_, Some(refusal)) => Err(refusal),
        (Err(_), None) => Err(Unreadable::malformed("it is not JSON")),
        (Ok(()), None) => Ok(()),
    }
}

struct Reader<'v> {
    values: &'v mut Values,
    /// How many more values there may be.
    fields: u32,
    refusal: Option<Unreadable>,
}

/// A value that is to be read at a place.
struct Node<'r, 'v> {
    reader: &'r mut Reader<'v>,
    at: StepId,
    /// How many more levels there may be below.
    depth: u32,
}

impl<'v> Node<'_, 'v> {
    fn text(self, write: impl FnOnce(&mut Vec<u8>)) {
        let text = self.reader.values.put_with(write);
        self.reader.values.at_path(Collection::Json, self.at, text);
    }

    fn number(self, number: impl fmt::Display) {
        // Writing into a vector cannot fail.
        self.text(|buffer| drop(write!(buffer, "{number}")));
    }

    /// The node of something inside of this one.
    fn below<E: Error>(&mut self, label: Label) -> Result<Node<'_, 'v>, E> {
        let Some(depth) = self.depth.checked_sub(1) else {
            self.reader.refusal = Some(Unreadable::too_large("it is nested deeper than `waf.body.depth`"));
            return Err(E::custom("too deep"));
        };
        let at = self.reader.values.step(Collection::Json, self.at, label);
        Ok(Node { reader: &mut *self.reader, at, depth })
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, text: D) -> Result<(), D::Error> {
        match self.reader.fields.checked_sub(1) {
            Some(fields) => self.reader.fields = fields,
            None => {
                self.reader.refusal =
                    Some(Unreadable::too_large("it has more values than `waf.body.fields`"));
                return Err(D::Error::custom("too many"));
            }
        }
        text.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.text(|_| {});
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.number(value);
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.number(value);
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.number(value);
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.number(value);
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.text(|buffer| buffer.extend_from_slice(value.as_bytes()));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        for index in 0.. {
            if items.next_element_seed(self.below(Label::Index(index))?)?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<(), A::Error> {
        while let Some(key) = entries.next_key_seed(Key(self.reader.values))? {
            entries.next_value_seed(self.below(Label::Key(key))?)?;
        }
        Ok(())
    }
}

/// A key, put into the buffer.
struct Key<'v>(&'v mut Values);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Stretch;

    fn deserialize<D: Deserializer<'de>>(self, text: D) -> Result<Stretch, D::Error> {
        text.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key<'_> {
    type Value = Stretch;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Stretch, E> {
        Ok(self.0.put(key.as_bytes()))
    }
}
