//! Problems in policy text: many at once, each with its place, its cause and what to write instead.
//!
//! Messages are lower case without a final period, user text in backticks, no Rust type names.
//! Rendering (carets, JSON) is the command line's business.

use std::collections::{BTreeMap, BTreeSet};

use super::code::{Code, Severity};

/// A file among the sources of one configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u32);

/// A stretch of text in one of the sources, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The file.
    pub file: FileId,
    /// First byte.
    pub start: u32,
    /// Behind the last byte.
    pub end: u32,
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// What kind of problem; `explain --lint CODE` tells more.
    pub code: Code,
    /// How bad; usually the code's own severity.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// Where; none for problems that have no text, such as a missing file on the command line.
    pub place: Option<Place>,
    /// The full name of what it is about, if that has one: `rbac/orders-read`, `route/shop`.
    pub about: Option<String>,
    /// Words at the caret.
    pub label: String,
    /// Other places that matter, with words at each.
    pub also: Vec<(Place, String)>,
    /// What to write instead, or what to do next.
    pub help: Option<String>,
}

/// A value together with where it was written.
#[derive(Clone, Copy, Debug, Default)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub place: Place,
}

/// The problems found so far, and the files that the text refers to.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    /// Paths as written, for the loader to read before the policy is compiled.
    files: Vec<At<String>>,
    /// Names of what could not be read. They are not unknown, only unusable.
    lost: BTreeSet<String>,
    /// Keys of tables that could not be read, and how much of them is missing. The key `""` stands
    /// for one that nobody knows, which may be a misspelt one.
    unread: BTreeMap<(Place, &'static str), Unread>,
    /// Whether a whole file could not be read, with whatever it defines.
    lost_file: bool,
    /// What was pushed last although it may only follow from another problem. Not told.
    untold: Option<Diagnostic>,
}

/// How much of a value could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unread {
    /// Something in it; the rest counts.
    Part,
    /// All of it: the key counts as absent.
    Whole,
}

impl<T> At<T> {
    /// The same place with another value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> At<U> {
        At { value: f(self.value), place: self.place }
    }
}

impl<T> std::ops::Deref for At<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: schemars::JsonSchema> schemars::JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        T::json_schema(generator)
    }
}

impl Diagnostics {
    /// Notes a problem; the result takes labels and help.
    pub fn push(
        &mut self,
        code: Code,
        place: impl Into<Option<Place>>,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        self.list.push(Diagnostic::new(code, place.into(), message.into()));
        let last = self.list.len() - 1;
        &mut self.list[last]
    }

    /// Takes back what was noted from the so-manieth problem on, to be told later or not at all.
    pub fn take_from(&mut self, first: usize) -> Vec<Diagnostic> {
        self.list.split_off(first.min(self.list.len()))
    }

    /// Notes problems that were taken back.
    pub fn give_back(&mut self, problems: Vec<Diagnostic>) {
        self.list.extend(problems);
    }

    /// Says what the problem is about that was noted last.
    pub fn last_is_about(&mut self, name: &str) {
        if let Some(last) = self.list.last_mut() {
            last.about(name);
        }
    }

    /// Notes a problem that may consist in the absence of one of these keys from a table. It is told
    /// only if none of them was lost there, so that one mistake is not reported as two.
    pub fn push_unless_lost(
        &mut self,
        table: Place,
        keys: &[&'static str],
        code: Code,
        place: impl Into<Option<Place>>,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        if self.lacks(table, keys) {
            return self.untold.insert(Diagnostic::new(code, place.into(), message.into()));
        }
        self.push(code, place, message)
    }

    /// Notes that a key of a table could not be read, or only in part.
    pub fn lose_key(&mut self, table: Place, key: &'static str, much: Unread) {
        let known = self.unread.entry((table, key)).or_insert(much);
        *known = much.max(*known);
    }

    /// Whether one of these keys of a table could not be read, or some key was not known.
    pub fn lacks(&self, table: Place, keys: &[&'static str]) -> bool {
        keys.iter().chain(&[""]).any(|key| self.unread.contains_key(&(table, *key)))
    }

    /// Whether any key of a table could not be read, or not whole.
    pub fn is_partial(&self, table: Place) -> bool {
        self.unread.range((table, "")..).next().is_some_and(|((place, _), _)| *place == table)
    }

    /// Whether a key could not be read at all, in whatever table.
    pub fn has_lost_key(&self, key: &str) -> bool {
        self.unread.iter().any(|((_, lost), much)| *lost == key && *much == Unread::Whole)
    }

    /// Notes that a whole file could not be read.
    pub fn lose_file(&mut self) {
        self.lost_file = true;
    }

    /// Whether all that was written could be read, so that what is not there was not written.
    pub fn read_everything(&self) -> bool {
        !self.lost_file && self.unread.is_empty() && self.lost.is_empty()
    }

    /// Notes the name of something that could not be read.
    pub fn lose(&mut self, name: &str) {
        self.lost.insert(name.to_owned());
    }

    /// Whether something of this name could not be read. `kind`: the key under which it would stand.
    pub fn has_lost(&self, kind: &str, name: &str) -> bool {
        // Rules are named with their stage in front.
        let id = name.rsplit('/').next().unwrap_or(name);
        // A route's `upstream` is no definition; those stand at the top of a document.
        let top = |place: Place| kind != "upstream" || place.end == 0;
        let whole = self.unread.iter().any(|((place, key), much)| {
            *much == Unread::Whole && (*key == kind && top(*place) || *key == "rbac" && kind == "role")
        });
        self.lost_file || self.lost.contains(name) || self.lost.contains(id) || whole
    }

    /// Notes that the text refers to a file.
    pub fn refer_to(&mut self, file: At<String>) {
        self.files.push(file);
    }

    /// The files that the text refers to.
    pub fn files(&self) -> &[At<String>] {
        &self.files
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether any of them stops the configuration from being used.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// The problems, as found.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    /// The problems in the order of their places.
    pub fn into_sorted(mut self) -> Vec<Diagnostic> {
        self.list.sort_by_key(|diagnostic| diagnostic.place);
        self.list
    }
}

impl Diagnostic {
    /// A problem without further words.
    pub fn new(code: Code, place: Option<Place>, message: String) -> Diagnostic {
        let severity = code.info().severity;
        Diagnostic {
            code,
            severity,
            message,
            place,
            about: None,
            label: String::new(),
            also: Vec::new(),
            help: None,
        }
    }

    /// The full name of what it is about.
    pub fn about(&mut self, name: impl Into<String>) -> &mut Diagnostic {
        self.about = Some(name.into());
        self
    }

    /// Words at the caret.
    pub fn label(&mut self, label: impl Into<String>) -> &mut Diagnostic {
        self.label = label.into();
        self
    }

    /// What to write instead.
    pub fn help(&mut self, help: impl Into<String>) -> &mut Diagnostic {
        self.help = Some(help.into());
        self
    }

    /// Another place that matters.
    pub fn also(&mut self, place: Place, label: impl Into<String>) -> &mut Diagnostic {
        self.also.push((place, label.into()));
        self
    }
}

/// The name in `known` that was probably meant, if one is near enough.
pub fn suggest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = word.chars().count().max(3) / 3;
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Edit distance with neighbours swapped counted once (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > 8 || a.len() > 64 || b.len() > 64 {
        return usize::MAX;
    }
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let substitution = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = substitution.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_is_not() {
        assert_eq!(suggest("shaddow_until", ["mode", "shadow_until"]), Some("shadow_until"));
        assert_eq!(suggest("rouet", ["route", "rate"]), Some("route"));
        assert_eq!(suggest("xyz", ["route"]), None);
    }
}
