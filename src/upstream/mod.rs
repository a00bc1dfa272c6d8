//! The way to the services behind the gateway.
//!
//! A request is forwarded on its own task: the connection to the upstream is driven by whoever
//! waits for its answer, and idle connections rest in a list of the thread. Nothing is spawned for
//! a request, nothing is locked. Called by the stack's last service, after every gate has passed.

mod added;
mod alarm;
mod announce;
mod body;
mod breaker;
mod choose;
mod cluster;
mod dial;
mod echo;
mod fault;
mod flatten;
mod forward;
pub(crate) mod health;
mod http1;
mod hygiene;
mod io;
mod link;
mod multiplex;
mod resolve;
mod server;
mod standing;
mod terms;
pub(crate) mod turn;
mod upgrade;

pub(crate) use added::Added;
pub(crate) use body::{BodyEnd, BodyFailure, ClientBody, Fate, RequestBody, ResponseBody};
pub(crate) use cluster::Upstreams;
pub(crate) use fault::Fault;
pub(crate) use flatten::write_flattened;
pub(crate) use forward::{Forwarded, Outbound, forward};
pub(crate) use hygiene::{Hygiene, join_cookies};
pub(crate) use standing::{Board, Condition};
pub(crate) use upgrade::Tunnel;
