//! W3C Trace Context, version 00 of <https://www.w3.org/TR/trace-context/#traceparent-header>:
//! `00-<trace id, 32>-<span id, 16>-<flags, 2>`, in lower-case hexadecimal digits.

use http::{HeaderMap, HeaderName};

/// A field that is well-formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Traceparent {
    /// The trace.
    pub(crate) trace: [u8; 32],
    /// The span of who sends it.
    pub(crate) span: [u8; 16],
    /// Whether who sends it records its spans.
    pub(crate) sampled: bool,
}

impl Traceparent {
    /// The one field of a request, if it is proper.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Traceparent> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Traceparent::parse(value.as_bytes()),
            _ => None,
        }
    }

    fn parse(text: &[u8]) -> Option<Traceparent> {
        let text: &[u8; 55] = text.try_into().ok()?;
        let digits = |part: &[u8]| part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let id = |part: &[u8]| digits(part) && part.iter().any(|byte| *byte != b'0');
        let marks = text.starts_with(b"00-") && [text[35], text[52]] == *b"--";
        let well_formed = marks && id(&text[TRACE]) && id(&text[SPAN]) && digits(&text[53..]);
        // The lowest bit of the flags; the digits `a` to `f` begin with an even one.
        let sampled = matches!(text[54], b'1' | b'3' | b'5' | b'7' | b'9' | b'b' | b'd' | b'f');
        let (trace, span) = (text[TRACE].try_into().ok()?, text[SPAN].try_into().ok()?);
        well_formed.then_some(Traceparent { trace, span, sampled })
    }

    /// The field's text.
    pub(crate) fn text(&self) -> [u8; 55] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        text[TRACE].copy_from_slice(&self.trace);
        text[SPAN].copy_from_slice(&self.span);
        text[54] = if self.sampled { b'1' } else { b'0' };
        text
    }
}

/// The lowest `N` hexadecimal digits of a number; all zeros are no id, so they never are.
pub(crate) fn id<const N: usize>(number: u128) -> [u8; N] {
    let number = number | 1;
    std::array::from_fn(|at| {
        let digit = (number >> (4 * (N - 1 - at))) as u8 & 15;
        digit + if digit < 10 { b'0' } else { b'a' - 10 }
    })
}

const TRACE: std::ops::Range<usize> = 3..35;
const SPAN: std::ops::Range<usize> = 36..52;
/// The field.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// What vendors add to it; nothing without it.
pub(crate) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_proper_traceparent_is_continued() {
        let text = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let proper = Traceparent::parse(text).unwrap();
        assert_eq!((&proper.trace, proper.sampled), (b"0af7651916cd43dd8448eb211c80319c", true));
        assert_eq!(&proper.text(), text);
        for (flags, sampled) in [("00", false), ("03", true), ("0a", false), ("ff", true)] {
            let text = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
            assert_eq!(Traceparent::parse(text.as_bytes()).map(|it| it.sampled), Some(sampled), "{flags}");
        }
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
            assert!(Traceparent::parse(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn ids_are_hexadecimal_and_filled_up() {
        assert_eq!(&id::<16>(0xb7ad_6b71_6920_3331), b"b7ad6b7169203331");
        assert_eq!(&id::<4>(0xf_000a), b"000b");
    }
}
