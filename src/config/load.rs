//! The only file that opens policy files.
//!
//! Reads the main file, the files it includes and the files it refers to, and hands them on as
//! named text. Never blocks on something that is no regular file, never reads more than a bound,
//! and reports every file that cannot be read.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::{Admin, Documents, Outcome};
use crate::policy::code::Code;
use crate::policy::diagnostic::{At, Diagnostics, FileId, Place};
use crate::policy::source::{Attached, Sources};

/// The largest policy file that is read.
const MAX_POLICY: u64 = 64 << 20;

/// The largest list or key file that is read.
const MAX_ATTACHED: u64 = 256 << 20;

/// The most files that one configuration may include.
const MAX_INCLUDES: usize = 10_000;

/// Loads and compiles the configuration in this file.
pub fn load(path: &Path, now: Timestamp) -> Outcome {
    let mut sources = Sources::default();
    let mut diagnostics = Diagnostics::default();
    let mut documents = Documents::default();
    match read(path, MAX_POLICY) {
        Ok(text) => {
            let main = sources.add_policy(path.to_string_lossy(), text);
            documents.read(main, &sources, &mut diagnostics);
            include(&mut documents, &mut sources, &mut diagnostics);
            attach(&mut sources, &mut diagnostics);
        }
        Err(failure) => {
            let place = failure.place(&mut sources, path);
            diagnostics
                .push(Code::File, place, format!("`{}` cannot be read: {}", path.display(), failure.why))
                .help("name another file with `--config`; `portcullis init` writes one to begin with");
        }
    }
    documents.compile(sources, now, diagnostics)
}

/// The operators' listener as the main file names it. Only that table is looked at, so that a
/// running gateway can be asked while its files are broken, and quickly while they are large.
pub fn admin(path: &Path) -> Result<Option<Admin>, String> {
    let text = read(path, MAX_POLICY)
        .map_err(|failure| format!("`{}` cannot be read: {}", path.display(), failure.why))?;
    Ok(super::admin(&Sources::single(path.to_string_lossy(), text)))
}

/// The files that a configuration is made of, as they are found now: a new file that a glob matches
/// is among them, and so is one that is referred to and absent.
pub fn inputs(sources: &Sources, main: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = vec![main.to_owned()];
    paths.extend(sources.policy_files().map(|(_, source)| PathBuf::from(&source.name)));
    paths.extend(sources.attached_paths().map(PathBuf::from));
    let globs = sources.globs().iter().filter_map(|pattern| glob::glob(pattern).ok());
    paths.extend(globs.flatten().filter_map(Result::ok));
    paths.sort();
    paths.dedup();
    paths
}

fn include(documents: &mut Documents, sources: &mut Sources, diagnostics: &mut Diagnostics) {
    let mut seen: Vec<PathBuf> = Vec::new();
    let globs: Vec<At<String>> = documents.includes().to_vec();
    for pattern in globs {
        let resolved = sources.resolve(pattern.place.file, &pattern.value);
        sources.add_glob(resolved.clone());
        let paths = match glob::glob(&resolved) {
            Ok(paths) => paths,
            Err(error) => {
                diagnostics.push(
                    Code::Include,
                    pattern.place,
                    format!("`{}` is not a glob: {}", pattern.value, error.msg),
                );
                continue;
            }
        };
        let mut found = 0;
        for entry in paths {
            found += 1;
            let path = match entry {
                Ok(path) => path,
                Err(error) => {
                    let message =
                        format!("`{}` cannot be searched: {}", error.path().display(), error.error());
                    diagnostics.push(Code::Include, pattern.place, message);
                    continue;
                }
            };
            if seen.len() >= MAX_INCLUDES {
                diagnostics.push(
                    Code::Limit,
                    pattern.place,
                    format!("more than {MAX_INCLUDES} included files"),
                );
                return;
            }
            // A file reached twice, by two globs or a link, would define every rule twice.
            let identity = path.canonicalize().unwrap_or_else(|_| path.clone());
            let main =
                sources.get(FileId::default()).and_then(|main| Path::new(&main.name).canonicalize().ok());
            if seen.contains(&identity) || main.as_ref() == Some(&identity) {
                let message = format!("`{}` is included twice", path.display());
                diagnostics.push(Code::Include, pattern.place, message);
                continue;
            }
            seen.push(identity);
            match read(&path, MAX_POLICY) {
                Ok(text) => {
                    let file = sources.add_policy(path.to_string_lossy(), text);
                    documents.read(file, sources, diagnostics);
                }
                Err(failure) => {
                    let place = failure.place(sources, &path).unwrap_or(pattern.place);
                    let message = format!("`{}` cannot be read: {}", path.display(), failure.why);
                    diagnostics.push(Code::Include, place, message);
                }
            }
        }
        if found == 0 {
            diagnostics
                .push(Code::Include, pattern.place, format!("`{}` matches no file", pattern.value))
                .help("an include that matches nothing is probably a mistake; remove it if it is not");
        }
    }
}

fn attach(sources: &mut Sources, diagnostics: &mut Diagnostics) {
    for file in diagnostics.files().to_vec() {
        let path = sources.resolve(file.place.file, &file.value);
        if sources.has_attached(&path) {
            continue;
        }
        match read(Path::new(&path), MAX_ATTACHED) {
            Ok(text) => drop(sources.attach(path, text)),
            Err(Failure { absent: true, .. }) => sources.attach_failure(path, Attached::Absent),
            Err(Failure { why, .. }) => sources.attach_failure(path, Attached::Unreadable(why)),
        }
    }
}

struct Failure {
    why: String,
    absent: bool,
    /// For text that is not UTF-8: what could be read, to show the place.
    partial: Option<(String, u32)>,
}

impl Failure {
    fn new(why: impl Into<String>) -> Failure {
        Failure { why: why.into(), absent: false, partial: None }
    }

    /// Where the failure is, if it is inside the text.
    fn place(&self, sources: &mut Sources, path: &Path) -> Option<Place> {
        let (text, at) = self.partial.as_ref()?;
        let file = sources.add_policy(path.to_string_lossy(), text.as_str());
        Some(Place { file, start: *at, end: *at + 3 })
    }
}

fn read(path: &Path, limit: u64) -> Result<String, Failure> {
    // Without O_NONBLOCK, opening a FIFO waits for somebody to write to it.
    let open = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let mut file = open.map_err(|error| Failure {
        absent: error.kind() == ErrorKind::NotFound,
        ..Failure::new(describe(error.kind(), &error))
    })?;
    check_kind(&file, limit)?;
    let mut bytes = Vec::new();
    let read = (&mut file).take(limit + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::new(describe(error.kind(), &error)))?;
    if bytes.len() as u64 > limit {
        return Err(too_large(limit));
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

fn check_kind(file: &File, limit: u64) -> Result<(), Failure> {
    let meta = file.metadata().map_err(|error| Failure::new(error.to_string()))?;
    if meta.is_dir() {
        return Err(Failure::new("it is a directory"));
    }
    if !meta.is_file() {
        return Err(Failure::new("it is not a regular file"));
    }
    if meta.len() > limit { Err(too_large(limit)) } else { Ok(()) }
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
