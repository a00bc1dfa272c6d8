//! Reads the request body, bounded, and only if a rule wants it; else bounds it and lets it stream.

use std::convert::Infallible;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tower::Service;

use super::buffers::{Buffers, Room};
use super::fork::Fork;
use super::judged::{Inbound, Judged, Payload, Reply};
use crate::decision::{Builtin, Denial, Stage};
use crate::facts::{Body, Length, upgrade_wanted};
use crate::policy::BodyPlan;
use crate::upstream::{BodyEnd, ClientBody, RequestBody};

/// Fills the body slot, in front of the gate that judges it.
#[derive(Clone, Debug)]
pub(crate) struct ReadBody<S> {
    inner: S,
    buffers: Arc<Buffers>,
}

impl<S> ReadBody<S> {
    /// In front of the body gate.
    pub(crate) fn new(buffers: Arc<Buffers>, inner: S) -> ReadBody<S> {
        ReadBody { inner, buffers }
    }
}

impl<S, F> Service<Inbound> for ReadBody<S>
where
    S: Service<Inbound, Response = Reply, Error = Infallible, Future = Fork<F>> + Clone + 'static,
    F: Future<Output = Result<Reply, Infallible>> + 'static,
{
    type Response = Reply;
    type Error = Infallible;
    type Future = Fork<F>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut inbound: Inbound) -> Fork<F> {
        #[cfg(test)]
        super::trap::spring(super::trap::At::ReadBody);
        if !inbound.has_body() {
            inbound.body = Payload::Ready(RequestBody::Empty);
            return self.inner.call(inbound);
        }
        let policy = &inbound.judged.installed.snapshot.policy;
        let route = policy.route(inbound.judged.admitted.route);
        let limit = route.and_then(|route| route.body_limit);
        let websocket = route.is_some_and(|route| route.websocket);
        let trailers = route.is_some_and(|route| route.accept.trailers);
        let trailers = trailers.then(|| Arc::clone(&inbound.judged.installed.snapshot.hygiene));
        let Judged { method, version, headers, .. } = &*inbound.judged;
        let upgrade = websocket && upgrade_wanted(method, *version, headers);
        let plan = policy.body_plan(&inbound.facts(), upgrade);
        let declared = match inbound.judged.admitted.fields.length {
            Length::Bytes(bytes) => bytes,
            Length::None | Length::Chunked => 0,
        };
        let largest = match plan {
            BodyPlan::Read(inspected) => Some(limit.map_or(inspected, |limit| limit.min(inspected))),
            BodyPlan::Pass(_) => limit,
        };
        if largest.is_some_and(|largest| declared > largest) {
            // Known from its head: nothing of it needs to be read.
            inbound.judged.body = Body::TooLarge;
            return self.inner.call(inbound);
        }
        let timeouts = inbound.judged.installed.snapshot.settings.timeouts;
        let patience = route.map_or(timeouts, |route| timeouts.on(&route.patience)).body_idle;
        let Payload::Incoming(incoming) =
            std::mem::replace(&mut inbound.body, Payload::Ready(RequestBody::Empty))
        else {
            return Fork::done(inbound.fail(Builtin::FaultInternal));
        };
        let fate = Rc::clone(inbound.judged.fate.insert(Rc::default()));
        let body = ClientBody::new(incoming, trailers, largest, patience, Rc::clone(&fate));
        match plan {
            BodyPlan::Pass(why) => {
                inbound.judged.progress.notes.waf.body = why;
                inbound.judged.body = Body::Unread;
                inbound.body = Payload::Ready(RequestBody::Stream(Box::new(body)));
                self.inner.call(inbound)
            }
            BodyPlan::Read(_) => {
                let mut inner = self.inner.clone();
                let room = self.buffers.room();
                Fork::slow(async move {
                    inbound.judged.pause();
                    let read = read(body, room).await;
                    inbound.judged.resume();
                    inbound.judged.body = match (read, fate.end()) {
                        (Ok(bytes), _) => {
                            inbound.body = Payload::Ready(RequestBody::Whole(Some(bytes.clone())));
                            Body::Whole(bytes)
                        }
                        (Err(Unread::NoRoom), _) => return Ok(inbound.fail(Builtin::FaultOverload)),
                        (Err(Unread::Ended), BodyEnd::TooLarge) => Body::TooLarge,
                        // What broke off cannot be judged, and nobody waits for the answer.
                        (Err(Unread::Ended), BodyEnd::Broken | BodyEnd::Well) => {
                            return Ok(inbound.deny(Denial::builtin(Stage::Intake, Builtin::Malformed)));
                        }
                    };
                    inner.call(inbound).await
                })
            }
        }
    }
}

/// Why a body was not read.
enum Unread {
    /// It is too long or broke off.
    Ended,
    /// As many bytes are held as there is memory for.
    NoRoom,
}

/// The whole body.
async fn read(mut body: ClientBody, mut room: Option<Room>) -> Result<Bytes, Unread> {
    let mut first: Option<Bytes> = None;
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Unread::Ended)?.into_data() else { continue };
        if room.as_mut().is_some_and(|room| !room.take(data.len())) {
            return Err(Unread::NoRoom);
        }
        match first.take() {
            // A body that comes in one piece is not copied, unless memory is scarce: it is a part of a larger
            // buffer.
            None if whole.is_empty() && room.is_none() => first = Some(data),
            piece => {
                whole.extend_from_slice(piece.as_deref().unwrap_or_default());
                whole.extend_from_slice(&data);
            }
        }
    }
    let whole = first.unwrap_or_else(|| whole.freeze());
    Ok(match room {
        Some(room) => room.keep(whole),
        None => whole,
    })
}
