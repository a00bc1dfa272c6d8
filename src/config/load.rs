//! The only file that opens policy files.
//!
//! Reads the main file, the files it includes and the files it refers to, and hands them on as
//! named text. Never blocks on something that is no regular file, never reads more than a bound,
//! and reports every file that cannot be read.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, OnceLock};
use std::thread;

use jiff::Timestamp;
use toml::de::DeTable;

use super::files::{Failure, Inputs, Reader, Step, read};
use super::{Admin, Documents, Outcome, Settings};
use crate::policy::Policy;
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
pub fn load(path: &Path, now: Timestamp) -> (Outcome, Inputs) {
    load_telling(path, now, &mut |_| {})
}

/// The same, and tells meanwhile how far it is with what is large.
pub fn load_telling(path: &Path, now: Timestamp, tell: &mut dyn FnMut(Step<'_>)) -> (Outcome, Inputs) {
    let (outcome, inputs, _) = load_with(path, now, Lints::All, tell, |_| None::<()>);
    (outcome, inputs)
}

/// The same for whoever only wants to use it: what is merely suspicious is not looked for, which takes as long
/// as to compile it.
pub fn load_to_use(path: &Path, now: Timestamp, tell: &mut dyn FnMut(Step<'_>)) -> Outcome {
    load_with(path, now, Lints::Dangerous, tell, |_| None::<()>).0
}

/// What a load has come to, for somebody who follows it.
pub(crate) enum News<'l> {
    /// A policy file was read; what stands in it.
    File(FileId, DeTable<'l>),
    /// All files were read.
    All(Sources),
    /// They are compiled without an error; with the texts of which it is known what is secret. Lints are
    /// still looked for.
    Compiled(&'l Policy, &'l Sources),
}

/// Loads and compiles, and gives what somebody makes of it on a thread of its own meanwhile. What is merely
/// suspicious is not looked for: in a large policy that takes as long as to compile it, and a reload tells
/// nobody.
pub(crate) fn load_beside<T: Send>(
    path: &Path,
    now: Timestamp,
    follow: impl FnOnce(Receiver<News<'_>>) -> Option<T> + Send,
) -> (Outcome, Inputs, Option<T>) {
    load_with(path, now, Lints::Dangerous, &mut |_| {}, follow)
}

/// What is looked for in a policy that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lints {
    /// What `check` tells.
    All,
    /// What keeps a policy from being used.
    Dangerous,
}

fn load_with<T: Send>(
    path: &Path,
    now: Timestamp,
    lints: Lints,
    tell: &mut dyn FnMut(Step<'_>),
    follow: impl FnOnce(Receiver<News<'_>>) -> Option<T> + Send,
) -> (Outcome, Inputs, Option<T>) {
    let (texts, compiled) = (Texts::default(), OnceLock::new());
    let mut reader = Reader { inputs: Inputs::default(), large: 0, tell };
    let (allow, diagnostics, made) = thread::scope(|scope| {
        let (news, arriving) = mpsc::channel();
        let following = thread::Builder::new().spawn_scoped(scope, move || follow(arriving));
        // Whoever does not follow to the end misses the rest.
        let spread = move |what| drop(news.send(what));
        let (documents, sources, mut diagnostics) = read_all(path, &texts, &mut reader, &spread);
        spread(News::All(sources.clone()));
        if reader.large > 0 {
            (reader.tell)(Step::Compiling { bytes: reader.large });
        }
        let compiled = compiled.get_or_init(|| documents.settle(sources, now, &mut diagnostics));
        if let Some(policy) = compiled.policy(&diagnostics) {
            spread(News::Compiled(policy, &compiled.marked));
        }
        drop(spread);
        let allow = compiled.lint((lints == Lints::All).then_some(now), &mut diagnostics);
        (allow, diagnostics, following.ok().and_then(|following| following.join().ok().flatten()))
    });
    let mut outcome = match compiled.into_inner() {
        Some(compiled) => compiled.finish(allow, diagnostics),
        None => Outcome::nothing(format!("`{}` was not compiled", path.display())),
    };
    let mut diagnostics = Diagnostics::default();
    if let Some(setup) = &mut outcome.setup {
        read_tls(&mut setup.settings, &mut reader, now, &mut diagnostics);
        read_client_tls(&mut setup.settings, &mut reader, &mut diagnostics);
    }
    if diagnostics.has_errors() {
        outcome.setup = None;
    }
    outcome.diagnostics.extend(diagnostics.into_sorted());
    (outcome.settled(), reader.inputs, made)
}

/// The texts of the policy files, which outlive what is parsed of them.
#[derive(Default)]
struct Texts {
    main: OnceLock<Arc<str>>,
    included: OnceLock<Vec<(FileId, Arc<str>)>>,
}

/// Reads the main file, the files that it includes, and the files that these refer to.
fn read_all<'l>(
    path: &Path,
    texts: &'l Texts,
    reader: &mut Reader<'_>,
    spread: &impl Fn(News<'l>),
) -> (Documents, Sources, Diagnostics) {
    let mut sources = Sources::default();
    let mut diagnostics = Diagnostics::default();
    let mut documents = Documents::default();
    match reader.read(path, MAX_POLICY) {
        Ok(text) => {
            let text = texts.main.get_or_init(|| text.into());
            let main = sources.add_policy(path.to_string_lossy(), Arc::clone(text));
            let read = |file, text: &'l str, documents: &mut Documents, diagnostics: &mut Diagnostics| {
                if let Some(table) = documents.read(file, text, diagnostics) {
                    spread(News::File(file, table));
                }
            };
            read(main, text, &mut documents, &mut diagnostics);
            let included = include(documents.includes(), &mut sources, reader, &mut diagnostics);
            for (file, text) in texts.included.get_or_init(|| included) {
                read(*file, text, &mut documents, &mut diagnostics);
            }
            attach(&mut sources, reader, &mut diagnostics);
            let globs: Vec<At<String>> = documents.programs().cloned().collect();
            for glob in globs {
                programs(&glob, &mut sources, reader, &mut diagnostics, MAX_PROGRAM_DEPTH);
            }
        }
        Err(failure) => {
            let place = failure.place(&mut sources, path);
            diagnostics
                .push(Code::File, place, format!("`{}` cannot be read: {}", path.display(), failure.why))
                .help("name another file with `--config`; `portcullis init` writes one to begin with");
        }
    }
    (documents, sources, diagnostics)
}

/// Reads what the listeners' TLS is made of. A listener that could not start is found now, and not at
/// the next restart; a file that changes is a reason to load again.
fn read_tls(settings: &mut Settings, reader: &mut Reader<'_>, now: Timestamp, diagnostics: &mut Diagnostics) {
    for tls in settings.listeners.iter_mut().filter_map(|listener| listener.tls.as_mut()) {
        match tls.read(&mut |path, limit| reader.read(path, limit).map_err(|failure| failure.why)) {
            Ok(material) => {
                for (file, served) in tls.certificates.iter().zip(&material.certificates) {
                    if served.ends <= now {
                        let message = format!("`{}` ended at {}", file.cert.display(), served.ends);
                        diagnostics
                            .push(Code::ExpiredCertificate, file.place, message)
                            .help("replace both files; the running gateway takes them over by itself");
                    }
                }
                tls.material = Some(Arc::new(material));
            }
            Err(problems) => {
                for (place, error, help) in problems {
                    diagnostics.push(Code::File, place, error.to_string()).help(help);
                }
            }
        }
    }
}

/// Reads what upstreams are verified with and shown.
fn read_client_tls(settings: &mut Settings, reader: &mut Reader<'_>, diagnostics: &mut Diagnostics) {
    for tls in settings.upstreams.iter_mut().filter_map(|upstream| upstream.tls.as_mut()) {
        let mut read = |path: &Path, limit| reader.read(path, limit).map_err(|failure| failure.why);
        if let Err(why) = tls.build(&mut read) {
            diagnostics
                .push(Code::File, tls.place, why)
                .help("`ca`, `cert` and `key` are PEM files: authorities, a chain, and the chain's key");
        }
    }
}

/// Compiles texts that were read and kept before. What was not kept, such as keys, is read now.
pub fn recall(sources: Sources, now: Timestamp) -> Outcome {
    recalled(sources, now, true)
}

/// The same without the WAF, whose rules take most of the time: for requests of which no text is kept that they
/// could look at.
pub fn recall_without_waf(sources: Sources, now: Timestamp) -> Outcome {
    recalled(sources, now, false)
}

fn recalled(mut sources: Sources, now: Timestamp, waf: bool) -> Outcome {
    let mut diagnostics = Diagnostics::default();
    let mut documents = Documents::default();
    for (file, source) in sources.policy_files() {
        documents.read(file, &source.text, &mut diagnostics);
    }
    let mut reader = Reader { inputs: Inputs::default(), large: 0, tell: &mut |_| {} };
    attach(&mut sources, &mut reader, &mut diagnostics);
    if !waf {
        documents.leave_out_waf();
    }
    documents.recall(sources, now, diagnostics).settled()
}

/// The operators' listener as the main file names it. Only that table is looked at, so that a
/// running gateway can be asked while its files are broken, and quickly while they are large.
pub fn admin(path: &Path) -> Result<Option<Admin>, String> {
    let text = read(path, MAX_POLICY, &mut |_, _| {})
        .map_err(|failure| format!("`{}` cannot be read: {}", path.display(), failure.why))?;
    Ok(super::admin(&Sources::single(path.to_string_lossy(), text)))
}

/// The state folder as the main file names it. Only that table is looked at.
pub fn state_dir(path: &Path) -> Result<Option<PathBuf>, String> {
    let text = read(path, MAX_POLICY, &mut |_, _| {})
        .map_err(|failure| format!("`{}` cannot be read: {}", path.display(), failure.why))?;
    Ok(super::state_dir(&Sources::single(path.to_string_lossy(), text)))
}

/// The file of the decision log as the main file names it, if it is one. Only that table is looked at.
pub fn log_file(path: &Path) -> Result<Option<PathBuf>, String> {
    let text = read(path, MAX_POLICY, &mut |_, _| {})
        .map_err(|failure| format!("`{}` cannot be read: {}", path.display(), failure.why))?;
    Ok(super::log_file(&Sources::single(path.to_string_lossy(), text)))
}

/// Reads the files that globs stand for.
fn include(
    globs: &[At<String>],
    sources: &mut Sources,
    reader: &mut Reader<'_>,
    diagnostics: &mut Diagnostics,
) -> Vec<(FileId, Arc<str>)> {
    let (mut seen, mut texts): (Vec<PathBuf>, Vec<(FileId, Arc<str>)>) = Default::default();
    for pattern in globs {
        let resolved = sources.resolve(pattern.place.file, &pattern.value);
        reader.inputs.globs.push(resolved.clone());
        let paths = match glob::glob(&resolved) {
            Ok(paths) => paths,
            Err(error) => {
                diagnostics.push(
                    Code::Include,
                    pattern.place,
                    format!("`{}` is not a glob: {}", pattern.value, error.msg),
                );
                diagnostics.lose_file();
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
                    diagnostics.lose_file();
                    continue;
                }
            };
            if seen.len() >= MAX_INCLUDES {
                diagnostics.push(
                    Code::Limit,
                    pattern.place,
                    format!("more than {MAX_INCLUDES} included files"),
                );
                return texts;
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
            match reader.read(&path, MAX_POLICY) {
                Ok(text) => {
                    let text: Arc<str> = text.into();
                    texts.push((sources.add_policy(path.to_string_lossy(), Arc::clone(&text)), text));
                }
                Err(failure) => {
                    let place = failure.place(sources, &path).unwrap_or(pattern.place);
                    let message = format!("`{}` cannot be read: {}", path.display(), failure.why);
                    diagnostics.push(Code::Include, place, message);
                    diagnostics.lose_file();
                }
            }
        }
        if found == 0 {
            diagnostics.lose_file();
            diagnostics
                .push(Code::Include, pattern.place, format!("`{}` matches no file", pattern.value))
                .help("an include that matches nothing is probably a mistake; remove it if it is not");
        }
    }
    texts
}

fn attach(sources: &mut Sources, reader: &mut Reader<'_>, diagnostics: &mut Diagnostics) {
    for file in diagnostics.files().to_vec() {
        let path = sources.resolve(file.place.file, &file.value);
        if sources.has_attached(&path) {
            continue;
        }
        match reader.read(Path::new(&path), MAX_ATTACHED) {
            Ok(text) => drop(sources.attach(path, text)),
            Err(Failure { absent: true, .. }) => sources.attach_failure(path, Attached::Absent),
            Err(Failure { why, .. }) => sources.attach_failure(path, Attached::Unreadable(why)),
        }
    }
}

/// How deep programs may include each other.
const MAX_PROGRAM_DEPTH: usize = 16;

/// Reads the SecLang programs that a glob stands for, and all that they refer to.
fn programs(
    pattern: &At<String>,
    sources: &mut Sources,
    reader: &mut Reader<'_>,
    diagnostics: &mut Diagnostics,
    depth: usize,
) {
    let resolved = sources.resolve(pattern.place.file, &pattern.value);
    if sources.expanded(pattern.place.file, &pattern.value).is_some() || depth == 0 {
        return;
    }
    reader.inputs.globs.push(resolved.clone());
    let mut files = Vec::new();
    let paths = match glob::glob(&resolved) {
        Ok(paths) => paths.filter_map(Result::ok).take(MAX_INCLUDES).collect::<Vec<_>>(),
        Err(error) => {
            let message = format!("`{}` is not a glob: {}", pattern.value, error.msg);
            diagnostics.push(Code::Include, pattern.place, message);
            return;
        }
    };
    if paths.is_empty() {
        diagnostics
            .push(Code::Include, pattern.place, format!("`{}` matches no file", pattern.value))
            .help("a program that is not there protects nothing; correct the path, or remove it");
    }
    for path in paths {
        let name = path.to_string_lossy().into_owned();
        if sources.has_attached(&name) {
            let message = format!("`{name}` is read twice");
            diagnostics.push(Code::Include, pattern.place, message);
            continue;
        }
        match reader.read(&path, MAX_POLICY) {
            Ok(text) => {
                let references = crate::policy::waf::references(&text);
                let file = sources.attach_program(name, text);
                files.push(file);
                attach_lists(file, &references.files, sources, reader);
                for program in references.programs {
                    let at = At { value: program, place: Place { file, ..Place::default() } };
                    programs(&at, sources, reader, diagnostics, depth - 1);
                }
            }
            Err(failure) => {
                let message = format!("`{name}` cannot be read: {}", failure.why);
                diagnostics.push(Code::Include, pattern.place, message);
            }
        }
    }
    sources.expand(resolved, files);
}

/// Reads the lists that a program refers to.
fn attach_lists(file: FileId, paths: &[String], sources: &mut Sources, reader: &mut Reader<'_>) {
    for path in paths {
        let path = sources.resolve(file, path);
        if sources.has_attached(&path) {
            continue;
        }
        match reader.read(Path::new(&path), MAX_ATTACHED) {
            Ok(text) => drop(sources.attach(path, text)),
            Err(Failure { absent: true, .. }) => sources.attach_failure(path, Attached::Absent),
            Err(Failure { why, .. }) => sources.attach_failure(path, Attached::Unreadable(why)),
        }
    }
}
