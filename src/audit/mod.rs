//! A decision into one line of the decision log, and the sinks that lines go to.
//!
//! - [`Recorder::see`] takes down the facts of a request while they are at hand; it is called when
//!   the decision is made, since the header fields move on to the upstream.
//! - [`Record::write`] makes the line when the outcome is known: at once for a refusal, when the
//!   response ends for an allow.
//! - [`Log`] and [`LogHandle`] bring lines to a file, a pipe or standard output, and tell when they
//!   cannot, so that nothing is passed on unrecorded.
//!
//! Never in a line: a token, cookie, password or body. Personal data only in its own members, as
//! `[log]` wants it kept. Making lines is pure; only `sink` knows files, threads and the runtime.

mod back;
mod privacy;
mod raw;
mod record;
mod settings;
mod sink;

pub use back::{
    ClientLine, End, Flaw, Found, IdentityLine, Line, LogFile, Match, Place, PolicyLine, Progress, Recalled,
    Text, Torn, Values, WafRefusal, excluding, files, find, is_cut, is_hash, is_never_recorded, time_of,
};
pub use privacy::Privacy;
pub use raw::{
    ClientPrivacy, OnErrorWord, RawFileSink, RawFlush, RawLog, RawRedact, RawSink, RotateAt, SubjectWord,
};
pub use record::{DecidedBy, Named, NamedValue, Record, Recorder, Seen, Timing, Traffic};
pub use settings::{Flush, HashKey, Settings, SinkSettings};
pub use sink::{Log, LogHandle, LogUnavailable, News, Recent, Watcher};
