//! One connection of the admin listener, from its first byte until somebody has had enough.
//!
//! It ends when no head comes in time, when what is sent is not read in time, and when its seat is needed
//! by another.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::answer::Answer;
use super::patience::Patient;
use super::seats::Seat;

/// A head comes whole within this time, the first one and each that follows.
const HEAD: Duration = Duration::from_secs(10);

/// Serves a connection that has a seat. Returns once it has ended.
pub(super) async fn serve<T, F>(
    stream: T,
    seat: Arc<Seat>,
    respond: impl Fn(Request<Incoming>, Arc<Seat>) -> F,
) -> hyper::Result<()>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = Answer>,
{
    let asked = Arc::clone(&seat);
    let service = service_fn(move |request| {
        asked.asks();
        // From now on, whatever becomes of the answer.
        let sent = Sent(Arc::clone(&asked));
        let answer = respond(request, Arc::clone(&asked));
        async move {
            let answer = answer.await;
            Ok::<_, Infallible>(answer.map(|body| Following { body, _sent: sent }.boxed_unsync()))
        }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(16 * 1024);
    let stream = TokioIo::new(Patient::new(stream, Arc::clone(&seat)));
    tokio::select! {
        biased;
        served = server.serve_connection(stream, service) => served,
        () = seat.is_given_up() => Ok(()),
    }
}

/// Tells the seat that an answer has been made.
struct Sent(Arc<Seat>);

impl Drop for Sent {
    fn drop(&mut self) {
        self.0.answered();
    }
}

/// The body of an answer, until there is no more of it.
struct Following<B> {
    body: B,
    _sent: Sent,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Following<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
