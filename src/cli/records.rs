//! Where commands find the decision log, and how they tell that reading takes long.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use http::Method;

use super::admin::Whom;
use super::layout::printable;
use super::reply::{Exit, Reply};
use super::{Common, files};
use crate::audit::{self, LogFile, Progress};
use crate::config::load;

/// The file of the decision log: the one that was named, else the one that the configuration names.
pub(super) fn log_path(named: Option<&Path>, common: &Common) -> Result<Option<PathBuf>, Reply> {
    match named {
        Some(path) => Ok(Some(path.to_owned())),
        None => {
            let config = files::config_path(common)?;
            load::log_file(&config).map_err(|why| Reply::failure(Exit::Config, why))
        }
    }
}

/// The files of a log, the newest first.
pub(super) fn log_files(path: &Path) -> Result<Vec<LogFile>, Reply> {
    audit::files(path).map_err(|error| cannot_read(path, &error))
}

/// Why a log cannot be read.
pub(super) fn cannot_read(path: &Path, error: &std::io::Error) -> Reply {
    let name = printable(&path.to_string_lossy()).into_owned();
    Reply::failure(Exit::Config, format!("the decision log `{name}` cannot be read: {error}"))
}

/// A record by its id: from the log, or where there is no file, from a running gateway.
pub(super) fn find(id: &str, log: Option<&Path>, whom: &Whom, common: &Common) -> Result<Vec<u8>, Reply> {
    let Some(path) = log_path(log, common)? else { return ask(id, whom, common) };
    let mut teller = Teller::default();
    let found = audit::find(&log_files(&path)?, id, &mut |progress| teller.tell(progress));
    teller.done();
    match found {
        Ok(Some(line)) => Ok(line),
        Ok(None) => {
            let (id, name) = (printable(id).into_owned(), printable(&path.to_string_lossy()).into_owned());
            let why = format!(
                "there is no record of `{id}` in `{name}` and what was put aside of it; allowed requests are recorded when their answer ends, and only a share of them with `log.sample`"
            );
            Err(Reply::failure(Exit::Findings, why))
        }
        Err(error) => Err(cannot_read(&path, &error)),
    }
}

/// A record that a running gateway still remembers.
fn ask(id: &str, whom: &Whom, common: &Common) -> Result<Vec<u8>, Reply> {
    let failed = |why: String| {
        let hint = "the decision log is no file, so a running gateway was asked; `--log FILE` reads a copy";
        Reply::failure(Exit::Findings, format!("{why}\n{hint}"))
    };
    if !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
        return Err(failed(format!("`{}` is no request id", printable(id))));
    }
    let answer = whom.find(false, common)?.ask(Method::GET, &format!("/api/decisions/{id}"), None);
    let answer = answer.map_err(failed)?;
    match answer.status.is_success() {
        true => Ok(answer.body.to_vec()),
        false => Err(failed(format!("{}: {}", answer.status, answer.text().trim_end()))),
    }
}

/// Tells on stderr how far a long read is: one line that is written over in a terminal, one line for
/// each file elsewhere.
#[derive(Debug, Default)]
pub(super) struct Teller {
    path: PathBuf,
    /// Whether there is a line to be ended.
    open: bool,
}

impl Teller {
    /// Tells.
    pub(super) fn tell(&mut self, progress: Progress<'_>) {
        let Progress { path, done, length } = progress;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let percent = done.saturating_mul(100).checked_div(length).unwrap_or(100).min(100);
        let mut stderr = std::io::stderr().lock();
        // Nobody is helped by a failure to tell how far something is.
        let _ = match stderr.is_terminal() {
            true => {
                self.open = true;
                write!(stderr, "\r\x1b[Kreading {} … {percent} %", printable(&name))
            }
            false if self.path != path => writeln!(stderr, "reading {} …", printable(&name)),
            false => Ok(()),
        };
        self.path = path.to_owned();
    }

    /// Takes the line away.
    pub(super) fn done(&mut self) {
        if std::mem::take(&mut self.open) {
            let _ = write!(std::io::stderr().lock(), "\r\x1b[K");
        }
    }
}
