//! A client of HTTP/1.1 for one connection, driven by the task of the request that uses it.
//!
//! hyper's client keeps a connection and those who ask of it apart, with channels and wakers between
//! them. Here both are one: a request is written, and its answer read, by whoever polls. What comes is
//! read into one buffer, and the values of fields and the pieces of bodies are slices of it.
//!
//! Heads are read by httparse. What an answer says of its end must be said once and plainly
//! (RFC 9112 section 6.3): whatever two readers might take differently is an error, and so is
//! anything that comes when nothing was asked for.

mod chunks;
mod encode;
mod head;
#[cfg(test)]
mod tests;

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Body as _, Frame};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use self::chunks::Chunks;
use self::encode::Framing;
use self::head::{End, Head};
use super::added::Beside;
use super::body::RequestBody;

/// One connection to a server.
#[derive(Debug)]
pub(super) struct Connection<T> {
    io: T,
    /// What has come and is not taken.
    read: BytesMut,
    /// What is to be sent, and how much of it was. It is kept until an answer comes, since a request
    /// that nobody has answered may have to be sent once more.
    write: BytesMut,
    written: usize,
    /// A piece of the request's body that is sent from where it lies, behind `write`.
    piece: Bytes,
    sending: Sending,
    receiving: Receiving,
    /// Whether the connection may carry another exchange, as far as heads tell.
    lasting: bool,
}

/// What of the request is still to be taken.
#[derive(Debug)]
enum Sending {
    /// Nothing.
    Nothing,
    /// The rest of its body.
    Body(RequestBody, Framing),
    /// The server takes no more of it.
    Refused,
}

/// What of the answer is still to come.
#[derive(Debug)]
enum Receiving {
    /// Nothing: the connection rests, or the answer has ended.
    Nothing,
    /// Its head.
    Head,
    /// So many bytes.
    Sized(u64),
    /// Chunks.
    Chunked(Chunks),
    /// All that comes until the server closes.
    UntilClose,
}

/// Why an exchange failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// The connection ended, or could not be used, before anything of an answer came.
    Unanswered,
    /// The connection ended before the answer did.
    Closed,
    /// What came is no answer.
    Malformed,
    /// The client's body broke off, so the request could not be sent to its end.
    Body,
}

/// A piece is copied behind the head if it is no longer than this, so that one write takes both.
const COPIED: usize = 16 * 1024;
/// The longest head of an answer.
const LONGEST_HEAD: usize = 128 * 1024;
/// Room for what comes at once.
const ROOM: usize = 8 * 1024;

impl<T: AsyncRead + AsyncWrite + Unpin> Connection<T> {
    /// On a stream that is connected.
    pub(super) fn new(io: T) -> Connection<T> {
        Connection {
            io,
            read: BytesMut::new(),
            write: BytesMut::new(),
            written: 0,
            piece: Bytes::new(),
            sending: Sending::Nothing,
            receiving: Receiving::Nothing,
            lasting: true,
        }
    }

    /// The stream, of a connection that was not used.
    pub(super) fn into_io(self) -> T {
        self.io
    }

    /// Whether the connection, which rests, may carry another exchange. One look at the stream: what
    /// has come was not asked for.
    pub(super) fn is_usable(&mut self, cx: &mut Context<'_>) -> bool {
        self.is_done() && self.poll_fill(cx).is_pending()
    }

    /// Whether the exchange has ended in such a way that another one may follow.
    pub(super) fn is_done(&self) -> bool {
        let idle = matches!(self.receiving, Receiving::Nothing) && matches!(self.sending, Sending::Nothing);
        self.lasting && idle && self.read.is_empty() && self.write.is_empty() && self.piece.is_empty()
    }

    /// Sends a request, of which fields and body are taken, and waits for the head of its answer. The body
    /// of the request goes on being sent while that of the answer is read.
    pub(super) async fn exchange(
        &mut self,
        request: &mut Request<RequestBody>,
        beside: Beside<'_>,
    ) -> Result<Response<()>, Broken> {
        self.sending = match encode::head(&mut self.write, request, beside) {
            None => Sending::Nothing,
            Some(framing) => Sending::Body(std::mem::take(request.body_mut()), framing),
        };
        // The answer's fields take the place of the request's.
        let mut fields = std::mem::take(request.headers_mut());
        fields.clear();
        self.answer(request.method(), fields).await
    }

    /// Sends what another connection was asked for and did not answer.
    pub(super) async fn repeat(&mut self, head: BytesMut, method: &Method) -> Result<Response<()>, Broken> {
        self.write = head;
        self.answer(method, HeaderMap::new()).await
    }

    async fn answer(&mut self, method: &Method, mut fields: HeaderMap) -> Result<Response<()>, Broken> {
        self.receiving = Receiving::Head;
        poll_fn(|cx| self.poll_answer(cx, method, &mut fields)).await
    }

    /// The request, on a connection that ended without an answer to it, as it was sent. Only where it
    /// had no body: the pieces of one are gone.
    pub(super) fn into_unanswered(self) -> BytesMut {
        self.write
    }

    fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        method: &Method,
        fields: &mut HeaderMap,
    ) -> Poll<Result<Response<()>, Broken>> {
        // A server may answer, and close, before it has taken all of the request, so a failed write
        // is no answer to whether one comes.
        match self.poll_send(cx) {
            Poll::Ready(Err(Broken::Body)) => return Poll::Ready(Err(self.give_up(Broken::Body))),
            Poll::Ready(Err(_)) => self.stop_sending(),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        loop {
            if let Some(head) = self.take_head(fields)? {
                match head.status {
                    // Nobody asked here for another protocol.
                    StatusCode::SWITCHING_PROTOCOLS => return Poll::Ready(Err(Broken::Malformed)),
                    status if status.is_informational() => {
                        fields.clear();
                        continue;
                    }
                    _ => {}
                }
                return Poll::Ready(self.begin_answer(method, head, fields));
            }
            match ready!(self.poll_fill(cx)) {
                Ok(0) | Err(_) if self.read.is_empty() => return Poll::Ready(Err(Broken::Unanswered)),
                Ok(0) | Err(_) => return Poll::Ready(Err(Broken::Malformed)),
                Ok(_) => {}
            }
        }
    }

    fn take_head(&mut self, fields: &mut HeaderMap) -> Result<Option<Head>, Broken> {
        if self.read.is_empty() {
            return Ok(None);
        }
        match head::take(&mut self.read, fields)? {
            None if self.read.len() > LONGEST_HEAD => Err(Broken::Malformed),
            head => Ok(head),
        }
    }

    fn begin_answer(
        &mut self,
        method: &Method,
        head: Head,
        fields: &mut HeaderMap,
    ) -> Result<Response<()>, Broken> {
        let end = head::end(method, &head, fields)?;
        self.lasting &= head::lasts(&head, fields) && end != End::Close;
        self.receiving = match end {
            End::Head | End::Bytes(0) => Receiving::Nothing,
            End::Bytes(length) => Receiving::Sized(length),
            End::Chunks => Receiving::Chunked(Chunks::default()),
            End::Close => Receiving::UntilClose,
        };
        self.forget_sent();
        let mut response = Response::new(());
        *response.status_mut() = head.status;
        *response.version_mut() = head.version;
        *response.headers_mut() = std::mem::take(fields);
        Ok(response)
    }

    /// The body of the answer if all of it has come already: then nothing more is to be waited for.
    pub(super) fn whole_body(&mut self) -> Option<Bytes> {
        match self.receiving {
            Receiving::Nothing => Some(Bytes::new()),
            Receiving::Sized(length) if length <= self.read.len() as u64 => {
                self.receiving = Receiving::Nothing;
                Some(self.read.split_to(length as usize).freeze())
            }
            _ => None,
        }
    }

    /// How many bytes of the answer are still to come, if that is known.
    pub(super) fn remaining(&self) -> Option<u64> {
        match self.receiving {
            Receiving::Nothing => Some(0),
            Receiving::Sized(length) => Some(length),
            Receiving::Head | Receiving::Chunked(_) | Receiving::UntilClose => None,
        }
    }

    /// The next piece of the answer's body.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Poll::Ready(Err(_)) = self.poll_send(cx) {
            self.stop_sending();
        }
        loop {
            if let Some(frame) = self.take_frame() {
                return Poll::Ready(Some(frame));
            }
            if let Receiving::Nothing = self.receiving {
                return Poll::Ready(None);
            }
            let closes = matches!(self.receiving, Receiving::UntilClose);
            match ready!(self.poll_fill(cx)) {
                Ok(0) if closes => self.receiving = Receiving::Nothing,
                Ok(0) | Err(_) => return Poll::Ready(Some(Err(self.give_up(Broken::Closed)))),
                Ok(_) => {}
            }
        }
    }

    /// What there is of the body in what has come.
    fn take_frame(&mut self) -> Option<Result<Frame<Bytes>, Broken>> {
        if self.read.is_empty() {
            return None;
        }
        match &mut self.receiving {
            Receiving::Nothing | Receiving::Head => None,
            Receiving::Sized(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(self.read.len());
                *left -= here as u64;
                if *left == 0 {
                    self.receiving = Receiving::Nothing;
                }
                Some(Ok(Frame::data(self.read.split_to(here).freeze())))
            }
            Receiving::Chunked(chunks) => match chunks.take(&mut self.read) {
                Ok(Some(frame)) => {
                    if chunks.is_done() {
                        self.receiving = Receiving::Nothing;
                    }
                    Some(Ok(frame))
                }
                Ok(None) => {
                    if chunks.is_done() {
                        self.receiving = Receiving::Nothing;
                    }
                    None
                }
                Err(broken) => Some(Err(self.give_up(broken))),
            },
            Receiving::UntilClose => Some(Ok(Frame::data(self.read.split().freeze()))),
        }
    }

    fn give_up(&mut self, broken: Broken) -> Broken {
        self.lasting = false;
        self.receiving = Receiving::Nothing;
        broken
    }

    fn stop_sending(&mut self) {
        self.lasting = false;
        self.written = self.write.len();
        self.piece = Bytes::new();
        self.sending = Sending::Refused;
    }

    /// What has been sent is not needed any more.
    fn forget_sent(&mut self) {
        if self.written == self.write.len() {
            self.write.clear();
            self.written = 0;
        }
    }

    /// Reads what there is. How much it was; 0: the server has closed.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.read.reserve(ROOM);
        pin!(self.io.read_buf(&mut self.read)).poll(cx)
    }

    /// Sends what there is to send. Ready: all of the request has gone.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        loop {
            while let left @ [_, ..] = &self.write[self.written..] {
                let sent = ready!(Pin::new(&mut self.io).poll_write(cx, left));
                self.written += sent.ok().filter(|sent| *sent > 0).ok_or(Broken::Closed)?;
            }
            while self.piece.has_remaining() {
                let sent = ready!(Pin::new(&mut self.io).poll_write(cx, &self.piece));
                self.piece.advance(sent.ok().filter(|sent| *sent > 0).ok_or(Broken::Closed)?);
            }
            if matches!(self.sending, Sending::Body(..)) || !matches!(self.receiving, Receiving::Head) {
                self.forget_sent();
            }
            let Sending::Body(body, framing) = &mut self.sending else { break };
            let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) else {
                // What was written must not wait in a buffer of the stream for what is to come.
                let _ = Pin::new(&mut self.io).poll_flush(cx);
                return Poll::Pending;
            };
            let more = match frame {
                Some(Ok(frame)) => framing.frame(frame, &mut self.write, &mut self.piece),
                Some(Err(_)) => return Poll::Ready(Err(Broken::Body)),
                None => framing.end(&mut self.write).map(|()| false),
            };
            match more {
                Ok(true) => {}
                Ok(false) => self.sending = Sending::Nothing,
                Err(broken) => return Poll::Ready(Err(broken)),
            }
        }
        Pin::new(&mut self.io).poll_flush(cx).map_err(|_| Broken::Closed)
    }
}
