//! Where commands find records: in the files of the decision log, or with a running gateway, which
//! remembers the last ones.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::admin::{Gateway, Whom};
use super::layout::{count, printable};
use super::progress::Teller;
use super::reply::{Exit, Reply};
use super::{Common, files};
use crate::audit::{self, Flaw, Found, Line, LogFile, Place, Torn};
use crate::config::load;
use crate::decision::Stage;

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

/// A record that was found.
pub(super) struct Record {
    pub(super) text: Vec<u8>,
    pub(super) source: Source,
    /// The line that it stands in, where it stands in a file.
    place: Option<Place>,
    /// The decisions before it that bear the same request id, the newest first.
    pub(super) alike: Vec<String>,
    /// Its trail, where it came from a gateway that had been asked to keep it.
    pub(super) trail: Option<Vec<KeptStep>>,
}

/// A step of a trail that a gateway kept.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct KeptStep {
    pub(super) stage: String,
    pub(super) outcome: String,
    pub(super) rule: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) score: Option<u32>,
    pub(super) note: String,
}

/// A record by its id, and where it was: in the log, else, unless one was named, with a running gateway
/// (the log may be no file, or a file on another machine).
pub(super) fn find(id: &str, log: Option<&Path>, whom: &Whom, common: &Common) -> Result<Record, Reply> {
    if !may_be_id(id) {
        let why = format!("`{}` is no request id", printable(id));
        return Err(Reply::failure(Exit::Usage, why).with_hint(&hint(id)));
    }
    if let Some(address) = whom.named().filter(|_| log.is_none() && files::config_path(common).is_err()) {
        let why = "the request is judged again by the policy, and there is no configuration here";
        let hint =
            format!("name a copy of it with `--config`, or see http://{address}/decisions/{id} in a browser");
        return Err(Reply::failure(Exit::Config, why).with_hint(&hint));
    }
    let Some(path) = log_path(log, common)? else {
        let hint = "the decision log is no file, so a running gateway was asked; `--log FILE` reads a copy";
        let asked = ask(id, whom, common);
        return asked.map_err(|why| Reply::failure(Exit::Findings, format!("{why}\n{hint}")));
    };
    let mut teller = Teller::new(common);
    let found = log_files(&path).and_then(|files| {
        // Of what was put aside, the others may have it all the same.
        if let Some(error) =
            files.iter().find(|file| file.path.file_name() == path.file_name()).and_then(LogFile::unreadable)
        {
            return Err(cannot_read(&path, &error));
        }
        let found = audit::find(&files, id, &mut |progress| teller.reads(progress));
        found.map_err(|error| cannot_read(&path, &error))
    });
    teller.done();
    let mut notes = Vec::new();
    let missed = match found {
        Ok(Found { record: Some((text, place)), alike, .. }) => {
            return Ok(Record { text, source: Source::Files(path), place: Some(place), alike, trail: None });
        }
        Ok(Found { strange, torn, .. }) => {
            // Of a file that was named and is no log nothing was looked at.
            if log.is_some() && !files_have_records(&path) {
                let torn = torn.into_iter().next().map(|torn| torn.error);
                let why = torn.unwrap_or_else(|| std::io::Error::other("it has no record"));
                return Err(cannot_read(&path, &why));
            }
            notes.extend(strange.iter().map(|(place, why)| {
                format!("{} has this id, and is no record: {}", printable(&place.to_string()), printable(why))
            }));
            notes.extend(torn.iter().map(ends_early));
            let name = printable(&path.to_string_lossy()).into_owned();
            let why = format!(
                "there is no record of `{id}` in `{name}` and what was put aside of it; allowed requests are recorded when their answer ends, and only a share of them with `log.sample`"
            );
            let missed = Reply::failure(Exit::Findings, why);
            match audit::time_of(id) {
                Some(_) => missed,
                None => missed.with_hint(&hint(id)),
            }
        }
        Err(reply) => reply,
    };
    let missed = notes.iter().fold(missed, |missed, note| missed.with_hint(note));
    match log {
        Some(_) => Err(missed),
        None => {
            ask(id, whom, common).map_err(|why| missed.with_hint(&format!("nor with the gateway: {why}")))
        }
    }
}

/// Whether there is any record in the files of a log. The first is enough.
fn files_have_records(path: &Path) -> bool {
    log_files(path).unwrap_or_default().iter().any(|file| {
        let mut found = false;
        let _ = file.lines(0, &mut |_| {}, &mut |line| {
            found = Line::read(line).is_some();
            !found
        });
        found
    })
}

/// Whether a text may be an id: what is taken from clients is no longer, and has no other characters.
fn may_be_id(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

/// What an id looks like and where it stands, for whoever has something else.
fn hint(text: &str) -> String {
    let own = "an id is like 0197f2c4-7e1b-7c3a-9a51-0d0f5f2b6e11, unless a client or proxy chose it (`request_id`): it stands in the header `x-request-id` of each answer, in the `instance` of a refusal, and in each line of `portcullis top`";
    let text = printable(text);
    match text.split_once('/') {
        Some(("", _)) => format!("{own}; `portcullis explain {text}` asks about a path"),
        Some((stage, _)) if Stage::ALL.iter().any(|known| known.name() == stage) => {
            format!("{own}; `portcullis explain --rule {text}` tells of a rule")
        }
        _ => own.to_owned(),
    }
}

/// Where a file that was put aside cannot be read any further, in words.
pub(super) fn ends_early(torn: &Torn) -> String {
    let path = torn.path.to_string_lossy();
    let (name, error) = (printable(&path), torn.error.to_string());
    let lines = count(usize::try_from(torn.lines).unwrap_or(usize::MAX), "record");
    match torn.flaw {
        Flaw::Compressed => format!(
            "`{name}` is torn after its first {lines}, so what stood behind is not known: {}",
            printable(&error)
        ),
        Flaw::LastLine => format!("the last line of `{name}` is torn, so it is not read: {error}"),
        Flaw::LongLine => {
            format!("`{name}` is read no further than its first {lines}, since it is no log: {error}")
        }
        Flaw::Foreign => format!("`{name}` is not read: {error}"),
    }
}

impl Record {
    /// The record; its line may be damaged, or of another program.
    pub(super) fn read(&self) -> Result<Line<'_>, Reply> {
        let line = Line::parse(&self.text).map_err(|error| self.strange(&error.to_string()))?;
        match line.flaw() {
            Some(flaw) => Err(self.strange(flaw)),
            None => Ok(line),
        }
    }

    /// What is wrong with it, and where it stands.
    pub(super) fn strange(&self, what: &str) -> Reply {
        let place = match &self.place {
            Some(place) => place.to_string(),
            None => "the record that the gateway gave".to_owned(),
        };
        let why = format!("{}: this record cannot be judged again: {}", printable(&place), printable(what));
        let hint = "it was damaged, or written by another program; the line itself says what was decided";
        Reply::failure(Exit::Findings, why).with_hint(hint)
    }
}

/// A record that a running gateway still remembers, or finds in its own log.
fn ask(id: &str, whom: &Whom, common: &Common) -> Result<Record, String> {
    let gateway = whom.find(false, common).map_err(|reply| reply.why())?;
    let answer = gateway.read(&format!("/api/decisions/{id}"))?;
    match answer.status.is_success() {
        true => {
            let (text, source) = (answer.body.to_vec(), Source::Gateway(Box::new(gateway)));
            let told: About = serde_json::from_slice(&text).unwrap_or_default();
            let Besides { same_request_id: alike, trail } = told.about;
            Ok(Record { text, source, place: None, alike, trail })
        }
        false => Err(answer.why()),
    }
}

/// What a gateway tells besides the record, as far as it is read here.
#[derive(Default, Deserialize)]
#[serde(default)]
struct About {
    about: Besides,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Besides {
    same_request_id: Vec<String>,
    trail: Option<Vec<KeptStep>>,
}

/// The trail of a decision that stands in a file, if the gateway that wrote it runs and was asked to keep it.
/// Whether it keeps any is asked first: what it says of a decision may take it long.
pub(super) fn kept_trail(decision: &str, whom: &Whom, common: &Common) -> Option<Vec<KeptStep>> {
    #[derive(Deserialize)]
    struct Kept {
        trails: usize,
    }
    let gateway = whom.find(false, common).ok()?;
    let kept: Kept = serde_json::from_slice(&gateway.read("/api/log-level").ok()?.body).ok()?;
    if kept.trails == 0 || !may_be_id(decision) {
        return None;
    }
    let answer = gateway.read(&format!("/api/decisions/{decision}")).ok()?;
    let told: About = serde_json::from_slice(&answer.body).ok()?;
    told.about.trail
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
