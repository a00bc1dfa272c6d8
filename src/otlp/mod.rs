//! Traces and metrics for OpenTelemetry: OTLP over HTTP, to a collector. Built with `--features otlp`.
//!
//! A worker thread makes a [`Span`] of each request that ends and puts it into a bounded queue; it never
//! waits. One task of the control thread ([`start`]) sends what has gathered, and the metrics at their
//! interval. What the collector does not take is dropped, and said in the process's own log: a gateway
//! does not stop for its telemetry.
//!
//! The encoding is OTLP's JSON, which collectors take beside protobuf: a few structures of our own
//! instead of a second runtime with threads and clients of its own.
//!
//! No path, query, subject or client address is sent: a span has the route's pattern, and the request id
//! leads from it to the record in the decision log, which keeps such data as `[log]` says.

mod export;
mod json;
mod metrics;
mod post;
mod span;

pub(crate) use export::{Exporting, Exposition, Spans, start};
pub(crate) use span::{Begun, Span, Value};
