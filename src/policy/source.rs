//! Named text: what the loader has read, and all that the core ever sees of files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use super::diagnostic::{FileId, Place};

/// Everything a configuration is made of, as text.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    texts: Vec<Source>,
    /// Files that the configuration refers to, by their resolved path.
    attached: BTreeMap<String, Attached>,
    /// Those of them that hold keys or other secrets.
    secrets: BTreeSet<String>,
    /// What globs of attached files stand for, by the resolved glob.
    expanded: BTreeMap<String, Vec<FileId>>,
}

/// One file.
#[derive(Clone, Debug)]
pub struct Source {
    /// The path as people should read it.
    pub name: String,
    /// Its text.
    pub text: Arc<str>,
    /// Whether it is the main file or an included one (and not a list or a key).
    pub policy: bool,
    /// Whether it is a program of rules, in which no secrets are.
    pub program: bool,
    /// Found when the first place in this file is shown; most lists and keys are never asked.
    lines: OnceLock<Lines>,
}

/// Where lines begin and how many characters precede a byte, so that showing a place costs the same
/// in a file of any size, and with any length of lines.
#[derive(Clone, Debug)]
struct Lines {
    /// The first byte of each line.
    starts: Vec<u32>,
    /// The characters before every [`STRIDE`]th byte.
    chars: Vec<u32>,
}

/// A file that a key refers to.
#[derive(Clone, Debug)]
pub enum Attached {
    /// Read; its text is among the sources.
    Text(FileId),
    /// It does not exist.
    Absent,
    /// It cannot be read, and why.
    Unreadable(String),
}

/// Line and column of a place, counted from 1; columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineColumn {
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
}

impl Sources {
    /// A configuration that consists of one text.
    pub fn single(name: impl Into<String>, text: impl Into<Arc<str>>) -> Sources {
        let mut sources = Sources::default();
        sources.add_policy(name, text);
        sources
    }

    /// Adds a policy file; the first one added is the main file.
    pub fn add_policy(&mut self, name: impl Into<String>, text: impl Into<Arc<str>>) -> FileId {
        self.add(name.into(), text.into(), true)
    }

    /// Adds a file that a key refers to, under its resolved path.
    pub fn attach(&mut self, path: impl Into<String>, text: impl Into<Arc<str>>) -> FileId {
        let path = path.into();
        let id = self.add(path.clone(), text.into(), false);
        self.attached.insert(path, Attached::Text(id));
        id
    }

    /// Adds a program of rules, under its resolved path.
    pub fn attach_program(&mut self, path: impl Into<String>, text: impl Into<Arc<str>>) -> FileId {
        let id = self.attach(path, text);
        if let Some(source) = self.texts.get_mut(id.0 as usize) {
            source.program = true;
        }
        id
    }

    /// Notes that a file that a key refers to could not be read.
    pub fn attach_failure(&mut self, path: impl Into<String>, failure: Attached) {
        self.attached.insert(path.into(), failure);
    }

    /// Notes which attached files a resolved glob stands for, in their order.
    pub fn expand(&mut self, pattern: impl Into<String>, files: Vec<FileId>) {
        self.expanded.insert(pattern.into(), files);
    }

    /// The files that a glob, written in the file `from`, stands for.
    pub fn expanded(&self, from: FileId, pattern: &str) -> Option<&[FileId]> {
        self.expanded.get(&self.resolve(from, pattern)).map(Vec::as_slice)
    }

    /// Whether a file of this resolved path was looked for.
    pub fn has_attached(&self, path: &str) -> bool {
        self.attached.contains_key(path)
    }

    fn add(&mut self, name: String, text: Arc<str>, policy: bool) -> FileId {
        let id = FileId(u32::try_from(self.texts.len()).unwrap_or(u32::MAX));
        self.texts.push(Source { name, text, policy, program: false, lines: OnceLock::new() });
        id
    }

    /// The file with this number.
    pub fn get(&self, id: FileId) -> Option<&Source> {
        self.texts.get(id.0 as usize)
    }

    /// The policy files, main file first, then includes in their order.
    pub fn policy_files(&self) -> impl Iterator<Item = (FileId, &Source)> {
        (0..).map(FileId).zip(&self.texts).filter(|(_, source)| source.policy)
    }

    /// The lists that are part of the policy's meaning, by path.
    pub fn lists(&self) -> impl Iterator<Item = (&str, &str)> {
        self.attached.iter().filter_map(|(path, attached)| match attached {
            Attached::Text(id) => Some((path.as_str(), &*self.get(*id)?.text)),
            Attached::Absent | Attached::Unreadable(_) => None,
        })
    }

    /// Says which attached files hold keys or other secrets, which nobody may keep.
    pub fn set_secrets(&mut self, secrets: BTreeSet<String>) {
        self.secrets = secrets;
    }

    /// Whether an attached file holds keys or other secrets.
    pub fn is_secret(&self, path: &str) -> bool {
        self.secrets.contains(path)
    }

    /// Puts another text in the place of a policy file's.
    pub fn replace(&mut self, id: FileId, text: impl Into<Arc<str>>) {
        if let Some(source) = self.texts.get_mut(id.0 as usize) {
            source.text = text.into();
            source.lines = OnceLock::new();
        }
    }

    /// The file that `path`, written in the file `from`, refers to.
    pub fn attached(&self, from: FileId, path: &str) -> Option<&Attached> {
        self.attached.get(&self.resolve(from, path))
    }

    /// `path` as written in the file `from`: relative paths start at that file's folder.
    pub fn resolve(&self, from: FileId, path: &str) -> String {
        if path.starts_with('/') {
            return path.to_owned();
        }
        let folder = self.get(from).and_then(|source| source.name.rsplit_once('/')).map(|(folder, _)| folder);
        match folder {
            Some(folder) => format!("{folder}/{path}"),
            None => path.to_owned(),
        }
    }

    /// Line and column where a place begins.
    pub fn line_column(&self, place: Place) -> LineColumn {
        self.line_column_at(place.file, place.start)
    }

    /// Line and column behind the end of a place.
    pub fn end_line_column(&self, place: Place) -> LineColumn {
        self.line_column_at(place.file, place.end.max(place.start))
    }

    fn line_column_at(&self, file: FileId, at: u32) -> LineColumn {
        let Some(source) = self.get(file) else { return LineColumn { line: 1, column: 1 } };
        let at = source.text.floor_char_boundary(at as usize);
        source.lines.get_or_init(|| Lines::new(&source.text)).line_column(&source.text, at)
    }

    /// A place as `file:line`, for `rule_at` and the trace.
    pub fn show(&self, place: Place) -> String {
        match self.get(place.file) {
            Some(source) => {
                let lines = source.lines.get_or_init(|| Lines::new(&source.text));
                format!("{}:{}", source.name, lines.line(place.start as usize))
            }
            None => "?:1".to_owned(),
        }
    }
}

impl Lines {
    fn new(text: &str) -> Lines {
        let breaks = memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at as u32 + 1);
        let mut total = 0;
        let chars = text.as_bytes().chunks(STRIDE).map(|chunk| {
            let before = total;
            total += count_chars(chunk);
            before
        });
        Lines { starts: std::iter::once(0).chain(breaks).collect(), chars: chars.collect() }
    }

    /// The number of the line, from 1 on.
    fn line(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start as usize <= at)
    }

    fn line_column(&self, text: &str, at: usize) -> LineColumn {
        let line = self.line(at);
        let start = self.starts.get(line.saturating_sub(1)).map_or(0, |start| *start as usize);
        let column = self.chars_before(text, at) - self.chars_before(text, start) + 1;
        LineColumn { line: line as u32, column }
    }

    fn chars_before(&self, text: &str, at: usize) -> u32 {
        let chunk = at / STRIDE;
        let whole = self.chars.get(chunk).or(self.chars.last()).copied().unwrap_or(0);
        let from = chunk.min(self.chars.len().saturating_sub(1)) * STRIDE;
        whole + text.as_bytes().get(from..at).map_or(0, count_chars)
    }
}

/// Every byte of UTF-8 that does not continue a character begins one.
fn count_chars(bytes: &[u8]) -> u32 {
    bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count() as u32
}

/// How many bytes are counted through at most to find a column.
const STRIDE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_start_at_the_folder_of_the_file_that_names_them() {
        let mut sources = Sources::single("conf/main.toml", "");
        let included = sources.add_policy("/etc/p/policy/a.toml", "");
        assert_eq!(sources.resolve(FileId(0), "lists/x.txt"), "conf/lists/x.txt");
        assert_eq!(sources.resolve(included, "x.txt"), "/etc/p/policy/x.txt");
        assert_eq!(sources.resolve(included, "/x.txt"), "/x.txt");
    }

    #[test]
    fn lines_and_columns_count_from_one_in_characters() {
        let sources = Sources::single("a", "x\né = 1\n");
        let at = |start| sources.line_column(Place { file: FileId(0), start, end: start });
        assert_eq!(at(0), LineColumn { line: 1, column: 1 });
        assert_eq!(at(5), LineColumn { line: 2, column: 3 });
        assert_eq!(at(99), LineColumn { line: 3, column: 1 });
    }

    #[test]
    fn places_in_long_lines_and_long_files_are_counted_exactly() {
        let text = format!("{}\n{}", "é".repeat(3 * STRIDE), "line\n".repeat(2 * STRIDE));
        let sources = Sources::single("a", text.as_str());
        for start in (0..=text.len() as u32).step_by(997) {
            let before = &text[..(0..=start as usize).rev().find(|at| text.is_char_boundary(*at)).unwrap()];
            let line = before.rsplit('\n').next().unwrap_or("");
            let want = LineColumn {
                line: before.matches('\n').count() as u32 + 1,
                column: line.chars().count() as u32 + 1,
            };
            assert_eq!(sources.line_column(Place { file: FileId(0), start, end: start }), want, "{start}");
        }
    }
}
