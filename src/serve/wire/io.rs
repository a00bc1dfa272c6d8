//! The stream that hyper reads from and writes to, with its deadlines.

use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{Phase, Wire};
use crate::upstream::write_flattened;

/// The stream of a client connection: what hyper reads from and writes to.
#[derive(Debug)]
pub(crate) struct ClientIo<S> {
    stream: S,
    /// Bytes that were read to tell the protocol; they come first.
    rewind: Vec<u8>,
    wire: Rc<Wire>,
    read_timer: Option<Pin<Box<Sleep>>>,
    write_timer: Option<Pin<Box<Sleep>>>,
}

impl<S> ClientIo<S> {
    /// Wraps a stream.
    pub(crate) fn new(stream: S, wire: Rc<Wire>) -> ClientIo<S> {
        ClientIo { stream, rewind: Vec::new(), wire, read_timer: None, write_timer: None }
    }

    /// Puts bytes back in front of the stream.
    pub(crate) fn unread(&mut self, bytes: Vec<u8>) {
        self.rewind = bytes;
        self.wire.head.borrow_mut().clear();
        // They are kept again when they are read again.
        self.wire.phase.set(Phase::FirstByte);
    }

    /// Nothing came. One timer serves all deadlines of the connection: it is only ever set earlier, and
    /// where it goes off too early it is set again. So a request costs no timer, and a connection that
    /// becomes idle without being read again has one that runs already.
    fn check_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(look) = self.wire.next_look() else { return Poll::Pending };
        let timer = self.read_timer.get_or_insert_with(|| Box::pin(sleep_until(look)));
        if timer.deadline() > look {
            timer.as_mut().reset(look);
        }
        while timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if self.wire.read_deadline().is_some_and(|deadline| deadline <= now) {
                self.wire.expired.set(Some(self.wire.phase.get()));
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.wire.look(now);
            let Some(look) = self.wire.next_look() else { return Poll::Pending };
            timer.as_mut().reset(if look > now { look } else { self.wire.later_look(now) });
        }
        Poll::Pending
    }

    fn check_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The timer runs from the first write that found no room until one finds some.
        let patience = self.wire.body_idle();
        self.wire.blocked.set(true);
        let timer = self.write_timer.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + patience)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// What was written has gone.
    fn unblock(&mut self) {
        if self.write_timer.is_some() {
            self.write_timer = None;
            self.wire.blocked.set(false);
        }
    }
}

impl<S: AsyncRead + Unpin> ClientIo<S> {
    /// Waits for the first bytes of the next request, which whoever reads next finds as if they had only
    /// now come; nothing is kept for them while there are none. `false`: the client has gone.
    pub(crate) fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if !self.rewind.is_empty() {
            return Poll::Ready(Ok(true));
        }
        let mut bytes = [MaybeUninit::uninit(); FIRST];
        let mut buffer = ReadBuf::uninit(&mut bytes);
        match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) => {
                self.rewind.extend_from_slice(buffer.filled());
                Poll::Ready(Ok(!buffer.filled().is_empty()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.check_read(cx).map_ok(|()| false),
        }
    }
}

/// So much of a request is read before there is a parser for it.
const FIRST: usize = 1024;

impl<S: AsyncRead + Unpin> AsyncRead for ClientIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.rewind.is_empty() {
            let count = this.rewind.len().min(buf.remaining());
            buf.put_slice(&this.rewind[..count]);
            this.wire.on_read(&this.rewind[..count]);
            this.rewind.drain(..count);
            if this.rewind.is_empty() {
                this.rewind = Vec::new();
            }
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                let read = &buf.filled()[before..];
                if !read.is_empty() {
                    this.wire.on_read(read);
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => this.check_read(cx),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ClientIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(cx, buf) {
            Poll::Pending => self.check_write(cx).map_ok(|()| 0),
            done => {
                self.unblock();
                done
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = write_flattened(Pin::new(&mut self.stream), cx, bufs);
        match done {
            Poll::Pending => self.check_write(cx).map_ok(|()| 0),
            done => {
                self.unblock();
                done
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Pending => self.check_write(cx),
            done => {
                self.unblock();
                done
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_shutdown(cx) {
            Poll::Pending => self.check_write(cx),
            done => done,
        }
    }
}
