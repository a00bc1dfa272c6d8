//! Where lines go, and what is known of whether they arrive.
//!
//! [`Log`] is shared by all threads; each runtime thread has a [`LogHandle`], which collects the
//! lines of all requests that are ready in one turn of the runtime and hands them over in one write.
//! Promises:
//!
//! - With `flush = "group"`, [`LogHandle::write_before_answer`] returns when the kernel has the line.
//! - A sink that has taken nothing for a second is called failing. Then [`LogHandle::ready`] says no
//!   (with `on_error = "block"`) until it takes something again, which is tried all the time.
//! - Nobody waits longer than that second, and a sink that makes its writer wait (a pipe that nobody
//!   reads) makes only a thread of its own wait.
//! - Lines wait in bounded memory while the sink fails. What is given up is counted.

mod file;
mod handle;
mod lines;
mod pipe;
mod recent;
#[cfg(test)]
mod tests;

pub use handle::LogHandle;
pub use recent::{News, Recent, Watcher};

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use self::file::FileSink;
use self::pipe::{PipeSink, Target};
use super::raw::OnErrorWord;
use super::settings::{Flush, Settings, SinkSettings};

/// The decision log of a process.
#[derive(Debug)]
pub struct Log {
    sink: Sink,
    flush: Flush,
    on_error: OnErrorWord,
    lost: AtomicU64,
    /// Handles for which the sink is failing. What one thread knows of it, all act upon.
    failing: AtomicUsize,
    recent: Arc<Recent>,
}

#[derive(Debug)]
enum Sink {
    None,
    File(FileSink),
    Pipe(PipeSink),
}

/// The decision log does not take records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the decision log does not take records")]
pub struct LogUnavailable;

impl Log {
    /// Opens the sink.
    pub fn open(settings: &Settings) -> io::Result<Arc<Log>> {
        let sink = match &settings.sink {
            SinkSettings::None => Sink::None,
            SinkSettings::Stdout => {
                let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
                if file.metadata()?.is_file() {
                    Sink::File(FileSink::unnamed(file)?)
                } else {
                    Sink::Pipe(PipeSink::start(Target::Open(file))?)
                }
            }
            SinkSettings::File { path, rotate, keep } => match fs::metadata(path) {
                Ok(meta) if meta.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
                Ok(meta) if !meta.is_file() => Sink::Pipe(PipeSink::start(Target::Path(path.into()))?),
                _ => Sink::File(FileSink::open(Path::new(path), *rotate, *keep)?),
            },
        };
        let Settings { flush, on_error, .. } = *settings;
        Ok(Arc::new(Log {
            sink,
            flush,
            on_error,
            lost: AtomicU64::new(0),
            failing: AtomicUsize::new(0),
            recent: Arc::default(),
        }))
    }

    /// The last records.
    pub fn recent(&self) -> Arc<Recent> {
        Arc::clone(&self.recent)
    }

    /// Whether records go anywhere.
    pub fn is_on(&self) -> bool {
        !matches!(self.sink, Sink::None)
    }

    /// Looks after the file before the next write: it may have been moved. For SIGHUP.
    pub fn reopen(&self) {
        match &self.sink {
            Sink::File(file) => file.reopen(),
            Sink::Pipe(_) | Sink::None => {}
        }
    }

    /// Records that were given up, and those that the sink had not taken when the answers to their
    /// requests were sent.
    pub fn lost(&self) -> u64 {
        let torn = match &self.sink {
            Sink::File(file) => file.lost(),
            Sink::Pipe(_) | Sink::None => 0,
        };
        self.lost.load(Ordering::Relaxed) + torn
    }

    /// System calls that wrote records.
    pub fn writes(&self) -> u64 {
        match &self.sink {
            Sink::File(file) => file.writes(),
            Sink::Pipe(pipe) => pipe.writes(),
            Sink::None => 0,
        }
    }

    fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed) > 0
    }

    fn lose(&self, records: u64) {
        self.lost.fetch_add(records, Ordering::Relaxed);
    }
}
