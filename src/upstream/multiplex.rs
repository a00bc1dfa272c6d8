//! HTTP/2 connections to one server: one for each thread, shared by its requests, and a further one
//! where that has as many streams as a connection may.
//!
//! Unlike an HTTP/1.1 connection, which its request drives, a shared one has a task of its own.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::body::RequestBody;
use super::breaker::Room;
use super::fault::Fault;
use super::io::UpstreamIo;
use super::link::Failure;

/// The open connections to one server.
#[derive(Debug, Default)]
pub(super) struct Multiplex {
    open: RefCell<Vec<Shared>>,
    /// Held while a connection is made, so that a burst of requests makes one and not many.
    pub(super) connecting: Mutex<()>,
}

/// A connection that several requests use.
#[derive(Clone, Debug)]
struct Shared {
    sender: SendRequest<RequestBody>,
    streams: Rc<Cell<u32>>,
    /// When its last stream ended.
    idle_since: Rc<Cell<Instant>>,
}

/// One stream of a connection; its place is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Stream {
    shared: Shared,
}

/// The most streams that a connection carries at once: what servers commonly allow (RFC 9113 section
/// 6.5.2 says not to allow less).
const MAX_STREAMS: u32 = 100;

/// What a server may send ahead of a client that does not read, for one stream and for all.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// A server that does not even answer to a ping within [`PING_PATIENCE`] is gone.
const PING: Duration = Duration::from_secs(20);
const PING_PATIENCE: Duration = Duration::from_secs(10);

impl Multiplex {
    /// A stream on an open connection, if there is room.
    pub(super) fn stream(&self) -> Option<Stream> {
        let mut open = self.open.borrow_mut();
        open.retain(|shared| !shared.sender.is_closed());
        open.iter().find(|shared| shared.streams.get() < MAX_STREAMS).cloned().map(Stream::new)
    }

    /// Keeps a new connection for all.
    pub(super) fn keep(&self, stream: &Stream) {
        self.open.borrow_mut().push(stream.shared.clone());
    }

    /// Gives no more requests to a connection that did not take one.
    pub(super) fn forget(&self, stream: &Stream) {
        self.open.borrow_mut().retain(|shared| !Rc::ptr_eq(&shared.streams, &stream.shared.streams));
    }

    /// Closes connections that nobody has used for too long, and those that ended.
    pub(super) fn expire(&self, rest: Duration) {
        let mut open = self.open.borrow_mut();
        open.retain(|shared| {
            let idle = shared.streams.get() == 0 && shared.idle_since.get().elapsed() > rest;
            !idle && !shared.sender.is_closed()
        });
    }
}

impl Stream {
    /// Speaks HTTP/2 on a stream; the first stream of the connection.
    pub(super) async fn connect(io: UpstreamIo, room: Option<Room>) -> Result<Stream, Fault> {
        let mut builder = http2::Builder::new(LocalExecutor);
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING_PATIENCE);
        let handshake = builder.handshake(TokioIo::new(io)).await;
        let (sender, connection) = handshake.map_err(|error| Fault::from_hyper(&error))?;
        tokio::task::spawn_local(async move {
            // Its error is seen by the streams.
            let _ = connection.await;
            drop(room);
        });
        let idle_since = Rc::new(Cell::new(Instant::now()));
        Ok(Stream::new(Shared { sender, streams: Rc::default(), idle_since }))
    }

    fn new(shared: Shared) -> Stream {
        shared.streams.set(shared.streams.get() + 1);
        Stream { shared }
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) async fn exchange(
        &mut self,
        request: &mut Request<RequestBody>,
    ) -> Result<Response<Incoming>, Failure> {
        match self.shared.sender.try_send_request(std::mem::take(request)).await {
            Ok(response) => Ok(response),
            Err(mut error) => match error.take_message() {
                Some(unsent) => {
                    *request = unsent;
                    Err(Failure::Unsent(Fault::Reset))
                }
                None => Err(Failure::Broken(Fault::from_hyper(error.error()))),
            },
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.streams.set(self.shared.streams.get().saturating_sub(1));
        self.shared.idle_since.set(Instant::now());
    }
}

/// Runs what hyper spawns on this thread.
#[derive(Clone, Copy, Debug)]
struct LocalExecutor;

impl<F: Future + 'static> Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}
