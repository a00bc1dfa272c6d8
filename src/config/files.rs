//! The files of a configuration: read within bounds, and remembered as they were.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::policy::diagnostic::Place;
use crate::policy::source::Sources;

/// The files that a configuration was made of, as they were when they were read. Whoever watches
/// them compares this with what is there now, so that a change between the two is never missed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    files: BTreeMap<PathBuf, Option<Look>>,
    /// Where included files were looked for.
    pub(super) globs: Vec<String>,
}

/// What can be seen of a file without reading it, through links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Inputs {
    /// Whether a file is another now than when it was read, or a glob finds other files.
    pub fn changed(&self) -> bool {
        let found =
            self.globs.iter().filter_map(|pattern| glob::glob(pattern).ok()).flatten().filter_map(Result::ok);
        found.into_iter().any(|path| !self.files.contains_key(&path))
            || self.files.iter().any(|(path, look)| Look::at(path) != *look)
    }

    /// The folders of the files.
    pub fn folders(&self) -> BTreeSet<PathBuf> {
        let folder = |path: &PathBuf| match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        self.files.keys().map(folder).collect()
    }
}

impl Reader<'_> {
    /// Reads a file, and notes how it looked before.
    pub(super) fn read(&mut self, path: &Path, limit: u64) -> Result<String, Failure> {
        self.inputs.files.insert(path.to_owned(), Look::at(path));
        let read = read(path, limit, &mut |done, length| {
            if done == length {
                self.large += length;
            }
            (self.tell)(Step::Reading { path, done, length });
        });
        if read.as_ref().is_err_and(|failure| failure.transient) {
            // Nothing will change on the file when there are descriptors again, so it counts as unseen.
            self.inputs.files.insert(path.to_owned(), None);
        }
        read
    }
}

impl Look {
    fn at(path: &Path) -> Option<Look> {
        let meta = fs::metadata(path).ok()?;
        Some(Look {
            device: meta.dev(),
            inode: meta.ino(),
            length: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }
}

/// What takes long about a large configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// A large file is being read.
    Reading {
        /// Which.
        path: &'a Path,
        /// Bytes so far.
        done: u64,
        /// Of so many.
        length: u64,
    },
    /// All is read, and the large files hold so many bytes.
    Compiling {
        /// So many.
        bytes: u64,
    },
}

/// Reads files, notes which, and tells how far it is.
pub(super) struct Reader<'t> {
    pub(super) inputs: Inputs,
    /// Bytes of the files that are large.
    pub(super) large: u64,
    pub(super) tell: &'t mut dyn FnMut(Step<'_>),
}

/// Why a file was not read.
pub(super) struct Failure {
    pub(super) why: String,
    pub(super) absent: bool,
    /// Whether it is for want of descriptors, and has nothing to do with the file.
    transient: bool,
    /// For text that is not UTF-8: what could be read, to show the place.
    partial: Option<(String, u32)>,
}

impl Failure {
    fn new(why: impl Into<String>) -> Failure {
        Failure { why: why.into(), absent: false, transient: false, partial: None }
    }

    /// Where the failure is, if it is inside the text.
    pub(super) fn place(&self, sources: &mut Sources, path: &Path) -> Option<Place> {
        let (text, at) = self.partial.as_ref()?;
        let file = sources.add_policy(path.to_string_lossy(), text.as_str());
        Some(Place { file, start: *at, end: *at + 3 })
    }
}

/// A file larger than this is large: what is done with it takes long enough to be seen.
const LARGE: u64 = 4 << 20;

/// Reads a file; of a large one, tells after each piece how much of it there is.
pub(super) fn read(path: &Path, limit: u64, tell: &mut dyn FnMut(u64, u64)) -> Result<String, Failure> {
    // Without O_NONBLOCK, opening a FIFO waits for somebody to write to it.
    let open = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let mut file = open.map_err(|error| Failure {
        absent: error.kind() == ErrorKind::NotFound,
        transient: matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)),
        ..Failure::new(describe(error.kind(), &error))
    })?;
    let length = check_kind(&file, limit)?;
    let mut bytes = Vec::new();
    loop {
        let room = (limit + 1).saturating_sub(bytes.len() as u64).min(LARGE);
        let read = (&mut file).take(room).read_to_end(&mut bytes);
        let read = read.map_err(|error| Failure::new(describe(error.kind(), &error)))?;
        if bytes.len() as u64 > limit {
            return Err(too_large(limit));
        }
        if (read as u64) < room {
            break;
        }
        // It may grow while it is read.
        tell((bytes.len() as u64).min(length.saturating_sub(1)), length);
    }
    if length > LARGE {
        tell(length, length);
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
        Failure { partial: Some((text, valid as u32)), ..Failure::new("it is not UTF-8") }
    })
}

/// How long a regular file is.
fn check_kind(file: &File, limit: u64) -> Result<u64, Failure> {
    let meta = file.metadata().map_err(|error| Failure::new(error.to_string()))?;
    if meta.is_dir() {
        return Err(Failure::new("it is a directory"));
    }
    if !meta.is_file() {
        return Err(Failure::new("it is not a regular file"));
    }
    if meta.len() > limit { Err(too_large(limit)) } else { Ok(meta.len()) }
}

fn too_large(limit: u64) -> Failure {
    Failure::new(format!("it is larger than {}", bytesize::ByteSize(limit)))
}

fn describe(kind: ErrorKind, error: &std::io::Error) -> String {
    match kind {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}
