//! One record by its id, and the records in which a rule refused.
//!
//! Our own ids are UUIDs of version 7, which say when they were made, so where a record must stand is
//! known; it is looked for there first, and then everywhere, since ids of others say nothing and clocks
//! have been wrong.

use std::cell::RefCell;
use std::io;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::files::{LogFile, Progress};
use super::line::Line;

/// When an id of ours was made.
pub fn time_of(id: &str) -> Option<Timestamp> {
    let id = Uuid::try_parse(id).ok().filter(|id| id.get_version_num() == 7)?;
    let (seconds, nanoseconds) = id.get_timestamp()?.to_unix();
    Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanoseconds).ok()?).ok()
}

/// The record with this id, as request or decision, in the order in which it is likely to be there.
/// Several decisions may bear one request id of a client; the newest that is found first is taken.
pub fn find(
    files: &[LogFile],
    id: &str,
    progress: &mut dyn FnMut(Progress<'_>),
) -> io::Result<Option<Vec<u8>>> {
    let time = time_of(id);
    let found = RefCell::new(None);
    let mut take = |line: &[u8]| {
        if Line::read(line).is_some_and(|read| read.is(id)) {
            found.replace(Some(line.to_vec()));
        }
        found.borrow().is_none()
    };
    // A file that was not written since then cannot have it, as far as clocks can be trusted.
    let likely = |file: &&LogFile| time.is_none_or(|time| file.modified + SECOND >= time);
    let (likely, unlikely): (Vec<&LogFile>, Vec<&LogFile>) = files.iter().partition(likely);
    // The one that was begun before it and ended after it; younger ones may have it if it took long.
    let oldest_first = likely.into_iter().rev();
    for file in oldest_first.chain(unlikely) {
        if file.compressed {
            progress(Progress { path: &file.path, done: 0, length: file.length });
            file.lines(0, progress, &mut |line| {
                memchr::memmem::find(line, id.as_bytes()).is_none() || take(line)
            })?;
        } else {
            let from = match time {
                Some(time) => file.offset(time - MARGIN)?,
                None => 0,
            };
            file.lines_with(id.as_bytes(), from, u64::MAX, &mut take)?;
            if from > 0 && found.borrow().is_none() {
                file.lines_with(id.as_bytes(), 0, from, &mut take)?;
            }
        }
        if found.borrow().is_some() {
            break;
        }
    }
    Ok(found.into_inner())
}

impl LogFile {
    /// Shows the lines that contain a text and were written between two times. Files that are
    /// compressed are passed over: how many, and not all, is wanted at once.
    pub fn between(
        &self,
        needle: &[u8],
        from: Timestamp,
        to: Timestamp,
        each: &mut dyn FnMut(&[u8]) -> bool,
    ) -> io::Result<()> {
        if self.compressed || self.modified + SECOND < from {
            return Ok(());
        }
        let (begin, end) = (self.offset(from - MARGIN)?, self.offset(to + MARGIN)?);
        self.lines_with(needle, begin, end + SLACK, each)
    }
}

const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// How far clocks of threads and the order of lines may be apart.
const MARGIN: SignedDuration = SignedDuration::from_secs(2);

/// A block more, since an end is found only to a block.
const SLACK: u64 = 256 << 10;
