//! The body of an answer on its way to the client; that of an allow writes its record when it ends.
//!
//! Where a record comes before its answer (`flush = "group"`), the end of the body is held back until
//! the kernel has the record: whoever has the whole answer has a record. What is at hand as a whole
//! when the answer begins is held back as a whole, so that head and body still leave in one write.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, ready};

use bytes::{Buf, Bytes};
use http::Response;
use http_body::{Body as _, Frame, SizeHint};

use super::context::Context;
use super::held::Held;
use super::record::{End, Ending};
use crate::upstream::{BodyFailure, Fault, ResponseBody};

/// The body.
#[derive(Debug)]
pub(crate) struct Outgoing {
    body: ResponseBody,
    held: Option<Held>,
    out: u64,
    status: u16,
    /// How the upstream's answer broke off, while what came before is still being sent.
    cut: Option<BodyFailure>,
    ahead: Option<Box<Ahead>>,
}

/// What was read and not sent yet.
#[derive(Debug)]
struct Ahead {
    /// None: the end.
    piece: Option<Result<Frame<Bytes>, BodyFailure>>,
    /// Of the last piece, the number of the record that comes before it.
    record: Option<(u64, Rc<Context>)>,
    /// How long the body is, as it was said before.
    hint: SizeHint,
}

/// What a body says when it is asked for the next piece.
type Piece = Poll<Option<Result<Frame<Bytes>, BodyFailure>>>;

impl Outgoing {
    /// The answer to an allowed request.
    pub(super) fn of(body: ResponseBody, held: Held, status: u16) -> Outgoing {
        Outgoing { body, held: Some(held), out: 0, status, cut: None, ahead: None }
    }

    /// What follows a change of protocol, which is recorded already.
    pub(super) fn switched(body: ResponseBody) -> Outgoing {
        Outgoing { body, held: None, out: 0, status: 101, cut: None, ahead: None }
    }

    /// An answer of our own, which is recorded already.
    pub(super) fn whole(response: Response<Bytes>) -> Response<Outgoing> {
        let status = response.status().as_u16();
        response.map(|body| Outgoing {
            body: ResponseBody::Whole(Some(body).filter(|body| !body.is_empty())),
            held: None,
            out: 0,
            status,
            cut: None,
            ahead: None,
        })
    }

    /// Reads what is at hand. Whether that is all of it, and its record is to be waited for.
    pub(super) fn read_ahead(&mut self, cx: &mut TaskContext<'_>) -> bool {
        let hint = self.body.size_hint();
        let piece = match self.body.is_end_stream() {
            true => Poll::Ready(None),
            false => self.poll_piece(cx),
        };
        let Poll::Ready(piece) = piece else { return false };
        let ends = match &piece {
            None => true,
            Some(Ok(_)) => self.body.is_end_stream(),
            Some(Err(_)) => false,
        };
        let record = if ends { self.finish(Ending::Allowed) } else { None };
        let waits = record.is_some();
        self.ahead = Some(Box::new(Ahead { piece, record, hint }));
        waits
    }

    /// Waits until the record has arrived that comes before what was read ahead.
    pub(super) async fn recorded(&self, context: &Context) {
        if let Some((number, _)) = self.ahead.as_ref().and_then(|ahead| ahead.record.as_ref()) {
            context.log.arrived(*number).await;
        }
    }

    /// The next piece of the upstream's answer, as the client may see it.
    fn poll_piece(&mut self, cx: &mut TaskContext<'_>) -> Piece {
        let mut piece = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let (Some(Ok(frame)), Some(held)) = (&mut piece, &self.held)
            && let Some(trailers) = frame.trailers_mut()
        {
            held.installed.snapshot.hygiene.clean_response(trailers);
        }
        if let Some(Ok(frame)) = &piece
            && let Some(data) = frame.data_ref()
        {
            self.out += data.remaining() as u64;
        }
        Poll::Ready(piece)
    }

    /// The last piece, or none, as soon as its record has arrived.
    fn end(&mut self, piece: Option<Frame<Bytes>>, cx: &mut TaskContext<'_>) -> Piece {
        match self.finish(Ending::Allowed) {
            None => Poll::Ready(piece.map(Ok)),
            record @ Some(_) => {
                let piece = piece.map(Ok);
                self.ahead = Some(Box::new(Ahead { piece, record, hint: SizeHint::default() }));
                self.poll_ahead(cx)
            }
        }
    }

    /// What was read ahead, as soon as its record has arrived.
    fn poll_ahead(&mut self, cx: &mut TaskContext<'_>) -> Piece {
        if let Some((number, context)) = self.ahead.as_ref().and_then(|ahead| ahead.record.as_ref()) {
            ready!(context.log.poll_arrived(*number, cx));
        }
        Poll::Ready(self.ahead.take().and_then(|ahead| ahead.piece))
    }

    /// Ends with the failure of the upstream's answer.
    fn fail(&mut self, failure: BodyFailure) -> Option<Result<Frame<Bytes>, BodyFailure>> {
        self.finish(Ending::Cut(match failure {
            BodyFailure::Cut => Fault::Reset,
            BodyFailure::Late => Fault::Timeout,
        }));
        Some(Err(failure))
    }

    /// Records the request, once; the number of its record if that comes before the end of the answer.
    fn finish(&mut self, ending: Ending) -> Option<(u64, Rc<Context>)> {
        let mut held = self.held.take()?;
        let number = held.record(&End::new(self.status, self.out, ending))?;
        Some((number, held.shared_context()))
    }
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = BodyFailure;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Piece {
        if let Some(failure) = self.cut.take() {
            return Poll::Ready(self.fail(failure));
        }
        let piece = match self.ahead {
            Some(_) => ready!(self.poll_ahead(cx)),
            None => ready!(self.poll_piece(cx)),
        };
        match piece {
            Some(Ok(frame)) if self.body.is_end_stream() => self.end(Some(frame), cx),
            Some(Ok(frame)) => Poll::Ready(Some(Ok(frame))),
            Some(Err(failure)) => {
                // hyper throws away what it has not sent yet when it hears of this. One turn later the
                // client has the head, whose status the record names, and what came of the body.
                self.cut = Some(failure);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            None => self.end(None, cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        let ahead = self.ahead.as_ref().is_some_and(|ahead| ahead.piece.is_some());
        !ahead && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.ahead.as_ref().map_or_else(|| self.body.size_hint(), |ahead| ahead.hint)
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        let unsent = match self.ahead.as_ref().and_then(|ahead| ahead.piece.as_ref()) {
            Some(Err(failure)) => Some(*failure),
            Some(Ok(_)) | None => None,
        };
        if let Some(failure) = self.cut.take().or(unsent) {
            let _ = self.fail(failure);
        }
        // hyper does not poll a body that says it has ended.
        let ending = if self.body.is_end_stream() { Ending::Allowed } else { Ending::ClientGone };
        self.finish(ending);
    }
}
