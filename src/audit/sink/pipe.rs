//! A pipe or device as sink: written to by a thread of its own, because it may make a writer wait.
//!
//! The queue is bounded by its users: each has at most one batch in it at a time.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;

use tokio::sync::oneshot;

use super::lines::{Lines, Written};

/// Where the thread writes to.
#[derive(Debug)]
pub(super) enum Target {
    /// Opened by the thread, again after its reader has left.
    Path(PathBuf),
    /// Open already.
    Open(File),
}

/// The handle of the thread.
#[derive(Debug)]
pub(super) struct PipeSink {
    jobs: mpsc::Sender<Job>,
    writes: Arc<AtomicU64>,
}

struct Job {
    batch: Vec<u8>,
    done: oneshot::Sender<(Vec<u8>, Written)>,
}

impl PipeSink {
    /// Starts the thread.
    pub(super) fn start(target: Target) -> io::Result<PipeSink> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let writes = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&writes);
        // Never joined: it may wait for a reader that never comes, and the process must still end.
        thread::Builder::new().name("decision-log".to_owned()).spawn(move || {
            let mut writer = Writer::new(target);
            for Job { batch, done } in queue {
                let written = writer.write(&batch);
                counter.fetch_add(writer.take_calls(), Ordering::Relaxed);
                // Whoever gave the batch may have gone; the lines are written all the same.
                let _ = done.send((batch, written));
            }
        })?;
        Ok(PipeSink { jobs, writes })
    }

    /// Hands a batch over. The batch comes back with what became of it; if the thread has died, only
    /// the channel's error does.
    pub(super) fn submit(&self, batch: Vec<u8>) -> oneshot::Receiver<(Vec<u8>, Written)> {
        let (done, receiver) = oneshot::channel();
        // Without a thread the job is dropped, and the receiver learns of it.
        let _ = self.jobs.send(Job { batch, done });
        receiver
    }

    /// System calls that wrote.
    pub(super) fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }
}

/// What the thread owns.
struct Writer {
    path: Option<PathBuf>,
    lines: Option<Lines<File>>,
    /// The pipe that its reader has left, open until there is another: a reader that comes in between
    /// would find a pipe without a writer, which is its end, and leave.
    left: Option<Lines<File>>,
}

impl Writer {
    fn new(target: Target) -> Writer {
        match target {
            Target::Path(path) => Writer { path: Some(path), lines: None, left: None },
            Target::Open(file) => Writer { path: None, lines: Some(Lines::new(file)), left: None },
        }
    }

    fn write(&mut self, batch: &[u8]) -> Written {
        let lines = match self.open() {
            Ok(lines) => lines,
            Err(error) => return Written { lines: 0, taken: 0, result: Err(error) },
        };
        let mut written = lines.write(batch);
        let left = matches!(&written.result, Err(error) if error.kind() == ErrorKind::BrokenPipe);
        if left && self.path.is_some() {
            // The next reader is another one: it gets the line that was cut as a whole.
            self.left = self.lines.take();
            let ends = memchr::memchr_iter(b'\n', batch).take(written.lines as usize);
            written.taken = ends.last().map_or(0, |end| end + 1);
        }
        written
    }

    /// The open pipe. Opening one waits for its reader.
    fn open(&mut self) -> io::Result<&mut Lines<File>> {
        match (&mut self.lines, &self.path) {
            (lines @ None, Some(path)) => {
                let file = OpenOptions::new().write(true).open(path)?;
                self.left = None;
                Ok(lines.insert(Lines::new(file)))
            }
            (Some(lines), _) => Ok(lines),
            (None, None) => Err(ErrorKind::BrokenPipe.into()),
        }
    }

    fn take_calls(&mut self) -> u64 {
        self.lines.as_mut().map_or(0, Lines::take_calls)
    }
}
