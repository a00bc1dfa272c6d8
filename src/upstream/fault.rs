//! What can break on the way to an upstream and back.

use crate::decision::Builtin;

/// Why a request that was allowed could not be answered by its upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No connection could be made.
    Connect,
    /// A connection took too long to make, or the answer to come.
    Timeout,
    /// The connection ended before the answer did.
    Reset,
    /// The answer is not HTTP.
    Protocol,
    /// The client's body could not be read to its end.
    ClientBody,
    /// The client's body was longer than the route takes.
    ClientBodyTooLarge,
}

impl Fault {
    /// The rule that names it.
    pub(crate) fn rule(self) -> Builtin {
        match self {
            Fault::Connect => Builtin::FaultConnect,
            Fault::Timeout => Builtin::FaultTimeout,
            Fault::Reset => Builtin::FaultReset,
            Fault::Protocol => Builtin::FaultProtocol,
            Fault::ClientBody => Builtin::Malformed,
            Fault::ClientBodyTooLarge => Builtin::BodyTooLarge,
        }
    }

    /// Reads hyper's mind. What the client's own body did is asked first, by the caller.
    pub(crate) fn from_hyper(error: &hyper::Error) -> Fault {
        if error.is_parse() { Fault::Protocol } else { Fault::Reset }
    }
}
