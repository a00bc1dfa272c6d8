//! Named text: what the loader has read, and all that the core ever sees of files.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::diagnostic::{FileId, Place};

/// Everything a configuration is made of, as text.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    texts: Vec<Source>,
    /// Files that the configuration refers to, by their resolved path.
    attached: BTreeMap<String, Attached>,
    /// Where included files are looked for.
    globs: Vec<String>,
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

    /// Notes that a file that a key refers to could not be read.
    pub fn attach_failure(&mut self, path: impl Into<String>, failure: Attached) {
        self.attached.insert(path.into(), failure);
    }

    /// Notes where included files were looked for.
    pub fn add_glob(&mut self, pattern: String) {
        self.globs.push(pattern);
    }

    /// Where included files were looked for.
    pub fn globs(&self) -> &[String] {
        &self.globs
    }

    /// Whether a file of this resolved path was looked for.
    pub fn has_attached(&self, path: &str) -> bool {
        self.attached.contains_key(path)
    }

    fn add(&mut self, name: String, text: Arc<str>, policy: bool) -> FileId {
        let id = FileId(u32::try_from(self.texts.len()).unwrap_or(u32::MAX));
        self.texts.push(Source { name, text, policy });
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

    /// The resolved paths of all files that keys refer to, absent ones included.
    pub fn attached_paths(&self) -> impl Iterator<Item = &str> {
        self.attached.keys().map(String::as_str)
    }

    /// The lists that are part of the policy's meaning, by path.
    pub fn lists(&self) -> impl Iterator<Item = (&str, &str)> {
        self.attached.iter().filter_map(|(path, attached)| match attached {
            Attached::Text(id) => Some((path.as_str(), &*self.get(*id)?.text)),
            Attached::Absent | Attached::Unreadable(_) => None,
        })
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
        let text = self.get(place.file).map_or("", |source| &*source.text);
        let start = (0..=place.start as usize).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let before = &text[..start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        LineColumn {
            line: memchr::memchr_iter(b'\n', before.as_bytes()).count() as u32 + 1,
            column: before[line_start..].chars().count() as u32 + 1,
        }
    }

    /// A place as `file:line`, for `rule_at` and the trace.
    pub fn show(&self, place: Place) -> String {
        let name = self.get(place.file).map_or("?", |source| &source.name);
        format!("{name}:{}", self.line_column(place).line)
    }
}

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
}
