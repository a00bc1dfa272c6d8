//! W3C Trace Context: a valid `traceparent` is continued, else one is begun.
//!
//! Version 00 of <https://www.w3.org/TR/trace-context/#traceparent-header>:
//! `00-<trace id, 32>-<span id, 16>-<flags, 2>`, in lower-case hexadecimal digits.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::layers::{Context, Judged, TraceId};

/// Sets the field, and notes the trace for the record.
pub(super) fn set_trace(context: &Context, headers: &mut HeaderMap, judged: &mut Judged) {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let given = match (values.next(), values.next()) {
        (Some(value), None) => continued(value.as_bytes()),
        _ => None,
    };
    if given.is_some() {
        judged.trace_id = given;
        return;
    }
    let (trace, span) = {
        let mut ids = context.ids.borrow_mut();
        (ids.random(), ids.random())
    };
    // All zeros are no id.
    let trace = hex::<32>(trace | 1);
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    text[TRACE].copy_from_slice(&trace);
    text[SPAN].copy_from_slice(&hex::<16>(span | 1));
    judged.trace_id = Some(TraceId(trace));
    if let Ok(value) = HeaderValue::from_bytes(&text) {
        headers.insert(TRACEPARENT, value);
    }
}

/// The trace of a field that is well-formed.
fn continued(text: &[u8]) -> Option<TraceId> {
    let text: &[u8; 55] = text.try_into().ok()?;
    let digits = |part: &[u8]| part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let id = |part: &[u8]| digits(part) && part.iter().any(|byte| *byte != b'0');
    let marks = text.starts_with(b"00-") && [text[35], text[52]] == *b"--";
    let well_formed = marks && id(&text[TRACE]) && id(&text[SPAN]) && digits(&text[53..]);
    well_formed.then(|| text[TRACE].try_into().map(TraceId).ok()).flatten()
}

/// The lowest `N` hexadecimal digits of a number.
fn hex<const N: usize>(number: u128) -> [u8; N] {
    std::array::from_fn(|at| {
        let digit = (number >> (4 * (N - 1 - at))) as u8 & 15;
        digit + if digit < 10 { b'0' } else { b'a' - 10 }
    })
}

const TRACE: std::ops::Range<usize> = 3..35;
const SPAN: std::ops::Range<usize> = 36..52;
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_proper_traceparent_is_continued() {
        let proper = continued(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        assert_eq!(proper.as_ref().map(TraceId::as_str), Some("0af7651916cd43dd8448eb211c80319c"));
        for text in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x",
        ] {
            assert!(continued(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn digits_are_hexadecimal_and_filled_up() {
        assert_eq!(&hex::<16>(0xb7ad_6b71_6920_3331), b"b7ad6b7169203331");
        assert_eq!(&hex::<4>(0xf_000a), b"000a");
    }
}
