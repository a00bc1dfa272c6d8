//! The tower layers a request passes, each one thin: the judgement is `Policy::check`.
//!
//! A request moves inwards as [`Inbound`], by value; an answer moves outwards as [`Reply`]. What is
//! known of the request travels in one box ([`Judged`]) and comes back with the reply, because the
//! record is written by the outermost layer. Everything here belongs to one thread.

mod admit;
mod answer;
mod audit;
mod body;
mod buffers;
mod context;
mod fork;
mod gate;
mod held;
mod identify;
mod ids;
mod inspect;
mod judged;
mod outgoing;
mod record;
mod refused;
mod secured;
#[cfg(feature = "otlp")]
mod spans;
mod taken;
mod traceparent;
#[cfg(test)]
pub(crate) mod trap;
mod verbose;

pub(crate) use admit::{Admit, Arrival, X_REQUEST_ID};
pub(crate) use audit::Audit;
pub(crate) use body::ReadBody;
pub(crate) use buffers::Buffers;
pub(crate) use context::{Context, KeysWanted, Peer, Shared, Snapshot, Switch};
pub(crate) use fork::Fork;
pub(crate) use gate::Gate;
pub(crate) use held::Held;
pub(crate) use identify::Identify;
pub(crate) use inspect::inspect;
pub(crate) use judged::{Inbound, Judged, Payload, Reply, TraceId, Verdicts};
pub(crate) use outgoing::Outgoing;
pub(crate) use refused::{record_head, turn_away};
pub(crate) use secured::{Secured, Shown, certificate_rule};
pub(crate) use taken::Taken;
pub(crate) use traceparent::{TRACEPARENT, TRACESTATE, Traceparent, id as trace_id};
pub(crate) use verbose::{Trails, Verbose};
