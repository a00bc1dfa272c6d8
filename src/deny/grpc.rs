//! A refusal for gRPC: a status in the header section of an answer without content ("trailers-only"
//! in the gRPC protocol description), because gRPC clients do not read bodies of failures.

use std::fmt::Write;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::view::View;
use super::words::Sentence;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The gRPC status of an HTTP status; the decision log records it.
pub fn grpc_status(http: u16) -> u8 {
    match http {
        400 | 415 | 417 => 3,       // INVALID_ARGUMENT
        401 => 16,                  // UNAUTHENTICATED
        403 => 7,                   // PERMISSION_DENIED
        404 | 405 => 12,            // UNIMPLEMENTED
        413 | 414 | 429 | 431 => 8, // RESOURCE_EXHAUSTED
        421 | 502 | 503 => 14,      // UNAVAILABLE
        504 => 4,                   // DEADLINE_EXCEEDED
        _ => 2,                     // UNKNOWN
    }
}

/// Adds status and message.
pub(super) fn add_status(view: &View<'_>, headers: &mut HeaderMap) {
    headers.insert(GRPC_STATUS, u16::from(grpc_status(view.status.as_u16())).into());
    let mut message = view.detail().text();
    if let Some(rule) = &view.rule {
        for part in [" (", rule.rule, ")"] {
            message.push_str(part);
        }
    }
    if let Ok(message) = HeaderValue::try_from(percent_encode(&message)) {
        headers.insert(GRPC_MESSAGE, message);
    }
}

/// The encoding of `grpc-message`: printable ASCII but `%` stands for itself.
fn percent_encode(message: &str) -> String {
    let mut encoded = String::with_capacity(message.len() + 8);
    for byte in message.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_those_of_the_contract() {
        let statuses = [400, 401, 403, 404, 413, 415, 421, 429, 431, 502, 503, 504];
        assert_eq!(statuses.map(grpc_status), [3, 16, 7, 12, 8, 3, 14, 8, 8, 14, 14, 4]);
    }

    #[test]
    fn messages_are_printable_ascii() {
        assert_eq!(percent_encode("100 % für\n~"), "100 %25 f%C3%BCr%0A~");
    }
}
