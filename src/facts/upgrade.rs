//! Requests for another protocol.

use http::{HeaderMap, HeaderName, Method, Version, header};

/// Whether the request asks for a change to WebSocket in the way RFC 6455 section 4.1 demands.
pub fn upgrade_wanted(method: &Method, version: Version, headers: &HeaderMap) -> bool {
    let named = |name: HeaderName, token: &[u8]| {
        let mut tokens =
            headers.get_all(name).into_iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        tokens.any(|found| found.trim_ascii().eq_ignore_ascii_case(token))
    };
    version == Version::HTTP_11
        && method == Method::GET
        && headers
            .get(header::UPGRADE)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && headers.get_all(header::UPGRADE).iter().count() == 1
        && named(header::CONNECTION, b"upgrade")
        // What is judged as an upgrade has no body that somebody else would read.
        && !headers.contains_key(header::TRANSFER_ENCODING)
        && headers.get(header::CONTENT_LENGTH).is_none_or(|length| length == "0")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_a_proper_websocket_request_is_an_upgrade() {
        let wanted = |fields: &[(&'static str, &'static str)], version| {
            let fields = fields
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            upgrade_wanted(&Method::GET, version, &fields.collect())
        };
        let good = [("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")];
        assert!(wanted(&good, Version::HTTP_11));
        assert!(!wanted(&good, Version::HTTP_10));
        assert!(!wanted(&[("connection", "Upgrade"), ("upgrade", "h2c")], Version::HTTP_11));
        assert!(!wanted(&[("upgrade", "websocket")], Version::HTTP_11));
        for (name, value, is) in [
            ("content-length", "0", true),
            ("content-length", "5", false),
            ("transfer-encoding", "chunked", false),
        ] {
            assert_eq!(wanted(&[good[0], good[1], (name, value)], Version::HTTP_11), is, "{name}");
        }
        assert!(!wanted(&[("connection", "upgrade"), ("upgrade", "websocket, h2c")], Version::HTTP_11));
    }
}
