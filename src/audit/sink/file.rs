//! A regular file as sink: appended to directly, since the page cache takes a line in a microsecond
//! and another thread would cost more. (A disk that lags behind by gigabytes does make writers wait.)
//!
//! All threads share one [`FileSink`]. A lock makes each write, with the checks around it, one step.
//! It costs nothing that the kernel would not take anyway (it locks the inode for every append), and
//! it is what keeps a line that a full disk cut from being followed by another thread's.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::lines::{Lines, Written};

/// A file that is appended to, put aside when it has grown, and looked after when others move it.
#[derive(Debug)]
pub(super) struct FileSink {
    path: PathBuf,
    rotate: Option<u64>,
    keep: u32,
    state: Mutex<State>,
    /// Somebody said that the file may have been moved.
    suspect: AtomicBool,
    writes: AtomicU64,
    /// Lines that were begun in a file that could not be finished before it was left.
    lost: AtomicU64,
}

#[derive(Debug)]
struct State {
    /// The open file; none after it could not be opened again.
    open: Option<Current>,
    checked: Instant,
}

#[derive(Debug)]
struct Current {
    lines: Lines<File>,
    /// Device and inode; none for a file that has no name, which can neither be put aside nor missed.
    identity: Option<(u64, u64)>,
    size: u64,
    /// The size at which the file is put aside.
    rotate_at: Option<u64>,
}

impl FileSink {
    /// Opens or makes the file.
    pub(super) fn open(path: &Path, rotate: Option<u64>, keep: u32) -> io::Result<FileSink> {
        Ok(FileSink {
            path: path.to_owned(),
            rotate,
            keep,
            state: Mutex::new(State { open: Some(Current::open(path, rotate)?), checked: Instant::now() }),
            suspect: AtomicBool::new(false),
            writes: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        })
    }

    /// A sink on a file that is already open and has no name, such as a redirected standard output.
    pub(super) fn unnamed(file: File) -> io::Result<FileSink> {
        let open = Current { identity: None, ..Current::of(Lines::new(file), None)? };
        Ok(FileSink {
            path: PathBuf::new(),
            rotate: None,
            keep: 0,
            state: Mutex::new(State { open: Some(open), checked: Instant::now() }),
            suspect: AtomicBool::new(false),
            writes: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        })
    }

    /// Appends lines.
    pub(super) fn write(&self, batch: &[u8]) -> Written {
        let mut state = self.lock();
        if let Err(error) = self.prepare(&mut state, batch.len() as u64) {
            return Written { lines: 0, taken: 0, result: Err(error) };
        }
        let Some(open) = &mut state.open else {
            return Written { lines: 0, taken: 0, result: Err(ErrorKind::NotFound.into()) };
        };
        let written = open.lines.write(batch);
        open.size += written.taken as u64;
        self.writes.fetch_add(open.lines.take_calls(), Ordering::Relaxed);
        written
    }

    /// The next write looks whether the file is still there and opens it anew if not.
    pub(super) fn reopen(&self) {
        self.suspect.store(true, Ordering::Relaxed);
    }

    /// System calls that wrote.
    pub(super) fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// Lines that stand torn in a file that others took away.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic between two writes leaves nothing half done that the next one would not see.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees to it that the right file is open and has room for so many bytes.
    fn prepare(&self, state: &mut State, more: u64) -> io::Result<()> {
        let suspect = self.suspect.swap(false, Ordering::Relaxed);
        if suspect || state.open.is_none() || state.checked.elapsed() >= CHECK {
            state.checked = Instant::now();
            self.check(state)?;
        }
        let Some(open) = &mut state.open else { return Ok(()) };
        if open.rotate_at.is_some_and(|at| open.size > 0 && open.size + more > at) {
            self.rotate(state)?;
        }
        Ok(())
    }

    /// Whether the path still leads to the open file; opens it anew if not.
    fn check(&self, state: &mut State) -> io::Result<()> {
        if let Some(open) = &mut state.open {
            let Some(identity) = open.identity else { return Ok(()) };
            match fs::metadata(&self.path) {
                Ok(meta) if (meta.dev(), meta.ino()) == identity => {
                    // It may have been cut short by a program that copies and truncates.
                    open.size = meta.len();
                    return Ok(());
                }
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                // Nothing is known of the path, so the open file is as good as any.
                Err(_) => return Ok(()),
            }
        }
        self.leave(state);
        state.open = Some(Current::open(&self.path, self.rotate)?);
        Ok(())
    }

    /// Puts the file aside and begins a new one: `x` becomes `x.1`, `x.1` becomes `x.2`.
    fn rotate(&self, state: &mut State) -> io::Result<()> {
        if let Some(open) = &mut state.open {
            // A line that was begun belongs into the file it was begun in.
            open.lines.settle()?;
        }
        if let Err(error) = self.shift() {
            // A file that grows too large is better than a record that is not written.
            tracing::warn!(path = %self.path.display(), %error, "the decision log cannot be put aside");
            if let (Some(open), Some(size)) = (&mut state.open, self.rotate) {
                open.rotate_at = Some(open.size + size);
            }
            return Ok(());
        }
        self.leave(state);
        state.open = Some(Current::open(&self.path, self.rotate)?);
        Ok(())
    }

    fn shift(&self) -> io::Result<()> {
        for number in (1..self.keep).rev() {
            match fs::rename(self.numbered(number), self.numbered(number + 1)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, self.numbered(1))
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        name.into()
    }

    /// Closes the file. What cannot be finished in it now never will be.
    fn leave(&self, state: &mut State) {
        if let Some(mut open) = state.open.take()
            && open.lines.settle().is_err()
        {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Current {
    fn open(path: &Path, rotate: Option<u64>) -> io::Result<Current> {
        let file = OpenOptions::new().append(true).create(true).mode(MODE).open(path)?;
        let lines = if ends_in_torn_line(path)? { Lines::after_torn_line(file) } else { Lines::new(file) };
        Current::of(lines, rotate)
    }

    fn of(lines: Lines<File>, rotate: Option<u64>) -> io::Result<Current> {
        let meta = lines.get_ref().metadata()?;
        let identity = Some((meta.dev(), meta.ino()));
        Ok(Current { lines, identity, size: meta.len(), rotate_at: rotate })
    }
}

/// Whether the last line of a file has no end: a process was killed while it wrote.
fn ends_in_torn_line(path: &Path) -> io::Result<bool> {
    let mut file = match File::open(path) {
        // A file that may be written and not read is somebody's wish; nothing is known of its end.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(false),
        other => other?,
    };
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

/// Records hold personal data: the owner writes, the group may read.
const MODE: u32 = 0o640;

/// How often the path is looked at. Records that are written to a file that somebody removed are
/// gone, so not rarely; a look costs as much as a small write, so not always.
const CHECK: Duration = Duration::from_secs(1);
