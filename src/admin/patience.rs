//! Writing to somebody who may not read.
//!
//! hyper waits for ever until what it has to write is taken. Here a write that cannot go on has a time in
//! which the other side takes all of it, or at least something worth the wait; then the connection
//! breaks. That holds for streams of events as well: who reads too slowly to follow is cut.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::seats::Seat;

/// A connection whose other side must read.
#[derive(Debug)]
pub(super) struct Patient<T> {
    stream: T,
    seat: Arc<Seat>,
    /// Since when something waits to be taken, and how much of it was.
    waiting: Option<Waiting>,
    /// Whether anything was written since all was sent.
    unsent: bool,
}

#[derive(Debug)]
struct Waiting {
    until: Pin<Box<Sleep>>,
    taken: usize,
}

/// In this time ...
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// ... the other side takes at least so many bytes, which the slowest line does.
const LEAST: usize = 16 * 1024;

impl<T> Patient<T> {
    /// A connection that has this seat.
    pub(super) fn new(stream: T, seat: Arc<Seat>) -> Patient<T> {
        Patient { stream, seat, waiting: None, unsent: false }
    }

    /// What became of a write.
    fn wrote(&mut self, cx: &mut Context<'_>, wrote: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match wrote {
            Poll::Ready(wrote) => {
                self.unsent = true;
                if let (Some(waiting), Ok(count)) = (&mut self.waiting, &wrote) {
                    waiting.taken += count;
                }
                Poll::Ready(wrote)
            }
            Poll::Pending => {
                self.wait(cx)?;
                Poll::Pending
            }
        }
    }

    /// Waits for the other side, and not for ever.
    fn wait(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.waiting.is_none() {
            self.seat.stalls();
        }
        let fresh = || Waiting { until: Box::pin(sleep(PATIENCE)), taken: 0 };
        let waiting = self.waiting.get_or_insert_with(fresh);
        while waiting.until.as_mut().poll(cx).is_ready() {
            if waiting.taken < LEAST {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "what was sent is not read"));
            }
            waiting.taken = 0;
            waiting.until.as_mut().reset(Instant::now() + PATIENCE);
        }
        Ok(())
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Patient<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Patient<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let wrote = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.wrote(cx, wrote)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let wrote = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.wrote(cx, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes once there is nothing left to write.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Poll::Ready(flushed) = Pin::new(&mut this.stream).poll_flush(cx) else {
            this.wait(cx)?;
            return Poll::Pending;
        };
        this.waiting = None;
        if std::mem::take(&mut this.unsent) {
            this.seat.has_sent();
        }
        Poll::Ready(flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        Poll::Ready(ready!(Pin::new(&mut this.stream).poll_shutdown(cx)))
    }
}
