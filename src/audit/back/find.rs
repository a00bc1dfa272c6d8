//! One record by its id, and the records in which a rule refused.
//!
//! Our own ids are UUIDs of version 7, which say when they were made, so where a record must stand is
//! known; it is looked for there first, and then everywhere, since ids of others say nothing and clocks
//! have been wrong.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use memchr::memmem;
use uuid::Uuid;

use super::files::{End, LogFile, Progress, Torn, time};
use super::line::Line;

/// When an id of ours was made.
pub fn time_of(id: &str) -> Option<Timestamp> {
    let id = Uuid::try_parse(id).ok().filter(|id| id.get_version_num() == 7)?;
    let (seconds, nanoseconds) = id.get_timestamp()?.to_unix();
    Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanoseconds).ok()?).ok()
}

/// What a search found.
#[derive(Debug, Default)]
pub struct Found {
    /// The record, and where it stands.
    pub record: Option<(Vec<u8>, Place)>,
    /// Of a request id that a client or a proxy chose, the decisions before this one that bear it too, the
    /// newest first, as far as they stand in the same file.
    pub alike: Vec<String>,
    /// The first lines that have the id in them and are no records, with what is wrong.
    pub strange: Vec<(Place, String)>,
    /// Compressed files that cannot be read to their end.
    pub torn: Vec<Torn>,
}

/// Where a line stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    path: PathBuf,
    at: At,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Line(u64),
    /// Counted in lines only for whoever asks, since that reads all that stands before.
    Byte(u64),
}

/// The record with this id, as request or decision, in the order in which it is likely to be there.
/// Several decisions may bear one request id of a client: of the file that is likeliest to have it the last is
/// taken.
pub fn find(files: &[LogFile], id: &str, progress: &mut dyn FnMut(Progress<'_>)) -> io::Result<Found> {
    let time = time_of(id);
    let mut found = Found::default();
    // A file that was not written since then cannot have it, as far as clocks can be trusted.
    let likely = |file: &&LogFile| time.is_none_or(|time| file.modified + SECOND >= time);
    let (likely, unlikely): (Vec<&LogFile>, Vec<&LogFile>) = files.iter().partition(likely);
    // The one that was begun before it and ended after it; younger ones may have it if it took long.
    // An id that says no time may stand anywhere, and more than once.
    let in_order: Vec<&LogFile> = match time {
        Some(_) => likely.into_iter().rev().chain(unlikely).collect(),
        None => files.iter().collect(),
    };
    for file in in_order {
        let place = |at| Place { path: file.path.clone(), at };
        if !file.is_plain() {
            progress(Progress { path: &file.path, done: 0, length: file.length });
            let mut number = 0;
            let end = file.lines(0, progress, &mut |line| {
                number += 1;
                memmem::find(line, id.as_bytes()).is_none()
                    || found.take(line, id, || place(At::Line(number)))
            })?;
            if let End::Torn(torn) = end {
                found.torn.push(torn);
            }
        } else {
            let from = match time {
                Some(time) => file.offset(time - MARGIN)?,
                None => 0,
            };
            let mut take = |line: &[u8], at: u64| found.take(line, id, || place(At::Byte(at)));
            file.lines_with(id.as_bytes(), from, u64::MAX, &mut take)?;
            if from > 0 && found.record.is_none() {
                let mut take = |line: &[u8], at: u64| found.take(line, id, || place(At::Byte(at)));
                file.lines_with(id.as_bytes(), 0, from, &mut take)?;
            }
        }
        if found.record.is_some() {
            break;
        }
    }
    Ok(found)
}

impl Found {
    /// Looks at a line that has the id in it; whether to go on.
    fn take(&mut self, line: &[u8], id: &str, place: impl FnOnce() -> Place) -> bool {
        match Line::parse(line) {
            Ok(read) if read.is(id) => {
                let before = self.record.replace((line.to_vec(), place()));
                let before = before.and_then(|(line, _)| Some(Line::read(&line)?.decision_id.to_string()));
                if let Some(before) = before.filter(|before| *before != *read.decision_id) {
                    self.alike.insert(0, before);
                    self.alike.truncate(MOST_ALIKE);
                }
                // The id of a decision is its own.
                return *read.decision_id != *id;
            }
            Ok(_) => {}
            Err(why) if self.strange.len() < MOST_STRANGE => self.strange.push((place(), why.to_string())),
            Err(_) => {}
        }
        true
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.at {
            At::Line(line) => write!(f, "{path}:{line}"),
            At::Byte(at) => match line_at(&self.path, at) {
                Ok(line) => write!(f, "{path}:{line}"),
                Err(_) => write!(f, "{path}, byte {at}"),
            },
        }
    }
}

/// The number of the line that begins at an offset.
fn line_at(path: &Path, at: u64) -> io::Result<u64> {
    let mut before = File::open(path)?.take(at);
    let (mut buffer, mut line) = (vec![0; 1 << 16], 1);
    loop {
        match before.read(&mut buffer)? {
            0 => return Ok(line),
            read => line += memchr::memchr_iter(b'\n', buffer.get(..read).unwrap_or_default()).count() as u64,
        }
    }
}

impl LogFile {
    /// Shows the lines that may contain a text and were written between two times. A compressed file is
    /// read until it comes to a later time.
    pub fn between(
        &self,
        needle: &[u8],
        from: Timestamp,
        to: Timestamp,
        each: &mut dyn FnMut(&[u8]),
    ) -> io::Result<End> {
        if self.modified + SECOND < from {
            return Ok(End::Read);
        }
        if !self.is_plain() {
            let (finder, last) = (memmem::Finder::new(needle), format!("{:.6}", to + MARGIN));
            return self.lines(0, &mut |_| {}, &mut |line| {
                if finder.find(line).is_some() {
                    each(line);
                }
                time(line).is_none_or(|time| *time <= *last.as_bytes())
            });
        }
        let (begin, end) = (self.offset(from - MARGIN)?, self.offset(to + MARGIN)?);
        self.lines_with(needle, begin, end + SLACK, &mut |line, _| {
            each(line);
            true
        })?;
        Ok(End::Read)
    }
}

const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// How far clocks of threads and the order of lines may be apart.
const MARGIN: SignedDuration = SignedDuration::from_secs(2);

/// A block more, since an end is found only to a block.
const SLACK: u64 = 256 << 10;

/// So many are told of.
const MOST_STRANGE: usize = 5;

/// A client that numbers its requests from one may have many.
const MOST_ALIKE: usize = 20;
