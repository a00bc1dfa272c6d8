//! What can break on the way to an upstream and back.

use std::error::Error;

use crate::decision::{Builtin, Denial, Reason, Stage};

/// Why a request that was allowed could not be answered by its upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The server's name has no address.
    Dns,
    /// The server refuses connections.
    Refused,
    /// No connection could be made.
    Connect,
    /// A connection took too long to make.
    ConnectTimeout,
    /// TLS could not be agreed on.
    Tls,
    /// The server's certificate is not one that is believed.
    Certificate,
    /// Every server is unwell.
    Unavailable,
    /// The answer took too long to come, or to end.
    Timeout,
    /// The connection ended before the answer did.
    Reset,
    /// The server says that it has not looked at the request (RFC 9113 section 8.7).
    Unprocessed,
    /// The answer is not HTTP.
    Protocol,
    /// The upstream has no room for more.
    Overload,
    /// The client's body could not be read to its end.
    ClientBody,
    /// The client's body was longer than the route takes.
    ClientBodyTooLarge,
}

impl Fault {
    /// The refusal that the client gets for it.
    pub(crate) fn denial(self) -> Denial {
        let fault = |rule| Denial::builtin(Stage::Fault, rule);
        match self {
            Fault::Dns => fault(Builtin::FaultConnect).because(Reason::UpstreamDns),
            Fault::Refused => fault(Builtin::FaultConnect).because(Reason::UpstreamRefused),
            Fault::Connect => fault(Builtin::FaultConnect),
            Fault::ConnectTimeout => fault(Builtin::FaultTimeout).because(Reason::UpstreamConnectTimeout),
            Fault::Tls => fault(Builtin::FaultConnect).because(Reason::UpstreamTls),
            Fault::Certificate => fault(Builtin::FaultConnect).because(Reason::UpstreamCertificate),
            Fault::Unavailable => fault(Builtin::FaultConnect).because(Reason::UpstreamUnavailable),
            Fault::Timeout => fault(Builtin::FaultTimeout),
            Fault::Reset | Fault::Unprocessed => fault(Builtin::FaultReset),
            Fault::Protocol => fault(Builtin::FaultProtocol),
            Fault::Overload => fault(Builtin::FaultOverload).because(Reason::UpstreamOverloaded),
            Fault::ClientBody => Denial::builtin(Stage::Intake, Builtin::Malformed),
            Fault::ClientBodyTooLarge => Denial::builtin(Stage::WafBody, Builtin::BodyTooLarge),
        }
    }

    /// Whether it speaks against the server, rather than against the client or us.
    pub(super) fn is_of_server(self) -> bool {
        match self {
            Fault::Dns
            | Fault::Refused
            | Fault::Connect
            | Fault::ConnectTimeout
            | Fault::Tls
            | Fault::Certificate
            | Fault::Timeout
            | Fault::Reset
            | Fault::Protocol => true,
            Fault::Unavailable
            | Fault::Unprocessed
            | Fault::Overload
            | Fault::ClientBody
            | Fault::ClientBodyTooLarge => false,
        }
    }

    /// Reads hyper's mind. What the client's own body did is asked first, by the caller.
    pub(crate) fn from_hyper(error: &hyper::Error) -> Fault {
        if error.is_parse() {
            return Fault::Protocol;
        }
        let Some(h2) = error.source().and_then(|source| source.downcast_ref::<h2::Error>()) else {
            return Fault::Reset;
        };
        match h2.reason() {
            Some(h2::Reason::REFUSED_STREAM) => Fault::Unprocessed,
            Some(
                h2::Reason::PROTOCOL_ERROR | h2::Reason::FRAME_SIZE_ERROR | h2::Reason::COMPRESSION_ERROR,
            ) if h2.is_library() => Fault::Protocol,
            _ => Fault::Reset,
        }
    }

    /// Why a socket did not connect.
    pub(super) fn from_connect(error: &std::io::Error) -> Fault {
        match error.kind() {
            std::io::ErrorKind::ConnectionRefused | std::io::ErrorKind::NotFound => Fault::Refused,
            _ => Fault::Connect,
        }
    }

    /// Why TLS failed.
    pub(super) fn from_tls(error: &std::io::Error) -> Fault {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
                Fault::Certificate
            }
            _ => Fault::Tls,
        }
    }
}
