//! Where commands find records: in the files of the decision log, or with a running gateway, which
//! remembers the last ones.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::admin::{Gateway, Whom};
use super::layout::printable;
use super::progress::Teller;
use super::reply::{Exit, Reply};
use super::{Common, files};
use crate::audit::{self, LogFile};
use crate::config::load;

/// Where records are.
pub(super) enum Source {
    /// In this file, and in what was put aside of it.
    Files(PathBuf),
    /// With a running gateway.
    Gateway(Box<Gateway>),
}

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

/// A record by its id, and where it was: in the log, else, unless one was named, with a running gateway
/// (the log may be no file, or a file on another machine).
pub(super) fn find(
    id: &str,
    log: Option<&Path>,
    whom: &Whom,
    common: &Common,
) -> Result<(Vec<u8>, Source), Reply> {
    let Some(path) = log_path(log, common)? else {
        let hint = "the decision log is no file, so a running gateway was asked; `--log FILE` reads a copy";
        return ask(id, whom, common).map_err(|why| Reply::failure(Exit::Findings, format!("{why}\n{hint}")));
    };
    let mut teller = Teller::new(common);
    let found = log_files(&path).and_then(|files| {
        let found = audit::find(&files, id, &mut |progress| teller.reads(progress));
        found.map_err(|error| cannot_read(&path, &error))
    });
    teller.done();
    let missed = match found {
        Ok(Some(line)) => return Ok((line, Source::Files(path))),
        Ok(None) => {
            let (id, name) = (printable(id).into_owned(), printable(&path.to_string_lossy()).into_owned());
            let why = format!(
                "there is no record of `{id}` in `{name}` and what was put aside of it; allowed requests are recorded when their answer ends, and only a share of them with `log.sample`"
            );
            Reply::failure(Exit::Findings, why)
        }
        Err(reply) => reply,
    };
    match log {
        Some(_) => Err(missed),
        None => {
            ask(id, whom, common).map_err(|why| missed.with_hint(&format!("nor with the gateway: {why}")))
        }
    }
}

/// A record that a running gateway still remembers, or finds in its own log.
fn ask(id: &str, whom: &Whom, common: &Common) -> Result<(Vec<u8>, Source), String> {
    if !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
        return Err(format!("`{}` is no request id", printable(id)));
    }
    let gateway = whom.find(false, common).map_err(|reply| reply.why())?;
    let answer = gateway.read(&format!("/api/decisions/{id}"))?;
    match answer.status.is_success() {
        true => Ok((answer.body.to_vec(), Source::Gateway(Box::new(gateway)))),
        false => Err(answer.why()),
    }
}

impl Source {
    /// Shows what a gateway remembers since a time, the oldest first, of one rule or of all; none of the
    /// files. Since when it does.
    pub(super) fn remembered(
        gateway: &Gateway,
        rule: Option<&str>,
        since: Timestamp,
        each: &mut dyn FnMut(&[u8]),
    ) -> Result<Option<Timestamp>, String> {
        let rule = rule.map(|rule| format!("&rule={rule}")).unwrap_or_default();
        let answer = gateway.read(&format!("/api/decisions?limit={MOST}&since={since}{rule}"))?;
        if !answer.status.is_success() {
            return Err(answer.why());
        }
        let told: Told<'_> = serde_json::from_slice(&answer.body)
            .map_err(|error| format!("the answer is no JSON: {error}"))?;
        for record in told.decisions.iter().rev() {
            each(record.get().as_bytes());
        }
        Ok(told.oldest)
    }
}

/// What a gateway says of its last decisions.
#[derive(Deserialize)]
struct Told<'a> {
    oldest: Option<Timestamp>,
    #[serde(borrow)]
    decisions: Vec<&'a RawValue>,
}

/// The most records that are asked for, which is the most that a gateway gives.
const MOST: usize = 10_000;
