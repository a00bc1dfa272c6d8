//! A TOML value with its place, and what reads it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::macros::plain;
use crate::policy::code::Code;
use crate::policy::diagnostic::{At, Diagnostics, FileId, Place, Unread, suggest};

/// A value somewhere in a file.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    /// The file it stands in.
    pub file: FileId,
    value: &'a Spanned<DeValue<'a>>,
}

/// What can be made of a TOML value. `None` means that a problem was reported.
pub trait Decode: Sized {
    /// Reads a value; reports everything that is wrong with it.
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self>;

    /// What stands for a value that must be there and could not be read, so that its table can be
    /// looked at all the same. Nobody may conclude anything from it.
    fn stand_in() -> Option<Self> {
        None
    }
}

/// Keys that stand in several tables: declared once, read wherever they may stand.
pub trait Part: Sized {
    /// Reads the keys from the table they stand in.
    fn read(reader: &mut TableReader<'_>, diagnostics: &mut Diagnostics) -> Option<Self>;

    /// Adds the keys to the table's schema.
    fn describe(object: &mut super::ObjectSchema, generator: &mut schemars::SchemaGenerator);
}

impl<'a> Node<'a> {
    /// A value of a file.
    pub fn new(file: FileId, value: &'a Spanned<DeValue<'a>>) -> Node<'a> {
        Node { file, value }
    }

    /// The value.
    pub fn value(&self) -> &'a DeValue<'a> {
        self.value.get_ref()
    }

    /// Where it stands.
    pub fn place(&self) -> Place {
        place(self.file, &self.value.span())
    }

    /// Reports that the value has another type than wanted.
    pub fn wrong_type(&self, wanted: &str, diagnostics: &mut Diagnostics) {
        let found = match self.value() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date-time",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        diagnostics
            .push(Code::WrongType, self.place(), format!("expected {wanted}, found {found}"))
            .label(format!("expected {wanted}"));
    }

    /// The string, or a report.
    pub fn string(&self, wanted: &str, diagnostics: &mut Diagnostics) -> Option<&'a str> {
        match self.value() {
            DeValue::String(text) => Some(text),
            _ => {
                self.wrong_type(wanted, diagnostics);
                None
            }
        }
    }

    /// The items of an array, or a report.
    pub fn items(
        &self,
        wanted: &str,
        diagnostics: &mut Diagnostics,
    ) -> Option<impl Iterator<Item = Node<'a>> + use<'a>> {
        let file = self.file;
        match self.value() {
            DeValue::Array(items) => Some(items.iter().map(move |value| Node { file, value })),
            _ => {
                self.wrong_type(wanted, diagnostics);
                None
            }
        }
    }

    /// Notes that what stands here could not be read, so that nobody complains that its name is unknown.
    fn lose(&self, diagnostics: &mut Diagnostics) {
        if let DeValue::Table(table) = self.value()
            && let Some(DeValue::String(id)) = table.get("id").map(Spanned::get_ref)
        {
            diagnostics.lose(id);
        }
    }

    /// The same for a table with these kinds of keys, which the report shows.
    pub fn table_of(
        &self,
        what: &'static str,
        keys: &[(&str, &'static str)],
        diagnostics: &mut Diagnostics,
    ) -> Option<TableReader<'a>> {
        if let DeValue::Table(_) = self.value() {
            return self.table(what, diagnostics);
        }
        let own = || keys.iter().filter(|(kind, _)| *kind != "part");
        let must: Vec<_> = own().filter(|(kind, _)| *kind == "req").collect();
        let shown = if must.is_empty() { own().take(1).collect() } else { must };
        let pairs: Vec<String> = shown.iter().map(|(_, key)| format!("{} = …", plain(key))).collect();
        let shape = format!("a table such as {{ {} }}", pairs.join(", "));
        self.wrong_type(if pairs.is_empty() { "a table" } else { &shape }, diagnostics);
        None
    }

    /// A reader of the table, or a report.
    pub fn table(&self, what: &'static str, diagnostics: &mut Diagnostics) -> Option<TableReader<'a>> {
        match self.value() {
            DeValue::Table(table) => Some(TableReader::new(self.file, what, table, self.place())),
            _ => {
                self.wrong_type("a table", diagnostics);
                None
            }
        }
    }
}

/// Reads the keys of one table, and knows at the end which ones nobody asked for.
#[derive(Debug)]
pub struct TableReader<'a> {
    file: FileId,
    what: &'static str,
    table: &'a DeTable<'a>,
    place: Place,
    asked: Vec<&'static str>,
}

impl<'a> TableReader<'a> {
    /// A reader of a table; `what` names it in messages (`[[ip.rule]]`).
    pub fn new(file: FileId, what: &'static str, table: &'a DeTable<'a>, place: Place) -> TableReader<'a> {
        TableReader { file, what, table, place, asked: Vec::new() }
    }

    /// Where the table stands.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The value of a key, if it is there.
    pub fn get(&mut self, key: &'static str) -> Option<Node<'a>> {
        self.asked.push(key);
        self.table.get(key).map(|value| Node { file: self.file, value })
    }

    /// A key that must be there.
    pub fn required<T: Decode>(&mut self, key: &'static str, diagnostics: &mut Diagnostics) -> Option<T> {
        if self.table.contains_key(key) {
            return self.optional(key, diagnostics).or_else(T::stand_in);
        }
        self.asked.push(key);
        let what = self.what;
        diagnostics
            .push(Code::MissingKey, self.place, format!("{what} lacks the key `{key}`"))
            .label(format!("`{key}` is missing here"));
        diagnostics.lose_key(self.place, key, Unread::Whole);
        T::stand_in()
    }

    /// A key that may be there. One whose value is wrong counts as absent, and is noted as lost.
    pub fn optional<T: Decode>(&mut self, key: &'static str, diagnostics: &mut Diagnostics) -> Option<T> {
        let node = self.get(key)?;
        let before = diagnostics.len();
        let value = T::decode(node, diagnostics);
        match &value {
            None => diagnostics.lose_key(self.place, key, Unread::Whole),
            Some(_) if diagnostics.len() > before => {
                diagnostics.lose_key(self.place, key, Unread::Part);
            }
            Some(_) => {}
        }
        value
    }

    /// Reports the keys that were not asked for. Whether there were none.
    pub fn finish(self, diagnostics: &mut Diagnostics) -> bool {
        let before = diagnostics.len();
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if self.asked.contains(&name) {
                continue;
            }
            unknown_key(place(self.file, &key.span()), name, self.what, &self.asked, diagnostics);
            diagnostics.lose_key(self.place, "", Unread::Whole);
        }
        diagnostics.len() == before
    }
}

/// Reports a key that nobody knows, with the nearest one that somebody does.
pub fn unknown_key(at: Place, name: &str, what: &str, known: &[&'static str], diagnostics: &mut Diagnostics) {
    let problem = diagnostics.push(Code::UnknownKey, at, format!("unknown key `{name}` in {what}"));
    match suggest(name, known.iter().copied()) {
        Some(near) => problem.label("unknown key").help(format!("did you mean `{near}`?")),
        None => {
            let mut known = known.to_vec();
            known.sort_unstable();
            problem.label("unknown key").help(format!("{what} knows: {}", known.join(", ")))
        }
    };
}

/// The place of a span in a file.
pub fn place(file: FileId, span: &std::ops::Range<usize>) -> Place {
    Place { file, start: span.start as u32, end: span.end as u32 }
}

impl<T: Decode> Decode for At<T> {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        Some(At { value: T::decode(node, diagnostics)?, place: node.place() })
    }

    fn stand_in() -> Option<Self> {
        Some(At { value: T::stand_in()?, place: Place::default() })
    }
}

impl<T: Decode> Decode for Box<T> {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        T::decode(node, diagnostics).map(Box::new)
    }
}

/// An array. Every item is read, so that every problem is seen. Items that are wrong were reported
/// and are left out. A list of nothing but wrong values is wrong as a whole, since an empty list
/// would mean something else; one of tables is not, since each of those has a name.
impl<T: Decode> Decode for Vec<T> {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let items = node.items("an array", diagnostics)?;
        let mut decoded = Vec::with_capacity(items.size_hint().0);
        let mut wrong = false;
        for item in items {
            match (T::decode(item, diagnostics), item.value()) {
                (Some(value), _) => decoded.push(value),
                (None, DeValue::Table(_)) => item.lose(diagnostics),
                (None, _) => wrong = true,
            }
        }
        (!wrong || !decoded.is_empty()).then_some(decoded)
    }

    fn stand_in() -> Option<Self> {
        Some(Vec::new())
    }
}

/// A table whose keys are names that the user chose, in the order in which they were written.
impl<T: Decode> Decode for Vec<(At<String>, T)> {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let DeValue::Table(table) = node.value() else {
            node.wrong_type("a table", diagnostics);
            return None;
        };
        let mut entries = Vec::new();
        for (key, value) in table {
            let at =
                At { value: Cow::clone(key.get_ref()).into_owned(), place: place(node.file, &key.span()) };
            match T::decode(Node { file: node.file, value }, diagnostics) {
                Some(value) => entries.push((at, value)),
                None => diagnostics.lose(&at.value),
            }
        }
        Some(entries)
    }
}

impl<T: Decode> Decode for BTreeMap<String, T> {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let entries = Vec::<(At<String>, T)>::decode(node, diagnostics)?;
        Some(entries.into_iter().map(|(key, value)| (key.value, value)).collect())
    }
}
