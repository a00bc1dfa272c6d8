//! Request ids: UUID version 7 (RFC 9562), so that they sort by time.

use std::hash::{BuildHasher, RandomState};

use bytes::BytesMut;
use fastrand::Rng;
use http::HeaderValue;
use jiff::Timestamp;
use uuid::{Builder, Uuid};

/// Makes ids. Each worker thread has its own, seeded by the system.
///
/// The random part comes from a generator that is fast and not secret: an id must not repeat, and
/// nothing is granted to who knows one.
#[derive(Debug)]
pub(crate) struct IdSource {
    rng: Rng,
    /// Room for the texts of the next ids, which share a piece of memory: each is needed by what goes to
    /// the upstream and by what goes to the client, and all but the longest requests are short.
    room: BytesMut,
}

/// Room for the texts of some twenty ids.
const ROOM: usize = 1024;

impl Default for IdSource {
    fn default() -> Self {
        // The standard library's hash keys come from the system's randomness.
        IdSource { rng: Rng::with_seed(RandomState::new().hash_one(0)), room: BytesMut::new() }
    }
}

impl IdSource {
    /// The next id.
    pub(crate) fn next(&mut self, now: Timestamp) -> Uuid {
        let bits = self.rng.u128(..).to_le_bytes();
        let random = bits.first_chunk().unwrap_or(&[0; 10]);
        let millis = u64::try_from(now.as_millisecond()).unwrap_or(0);
        Builder::from_unix_timestamp_millis(millis, random).into_uuid()
    }

    /// The text of an id as a header value.
    pub(crate) fn header(&mut self, id: Uuid) -> HeaderValue {
        let mut buffer = Uuid::encode_buffer();
        let text = id.hyphenated().encode_lower(&mut buffer).as_bytes();
        if self.room.capacity() < text.len() {
            self.room = BytesMut::with_capacity(ROOM);
        }
        self.room.extend_from_slice(text);
        HeaderValue::from_maybe_shared(self.room.split().freeze())
            .unwrap_or_else(|_| HeaderValue::from_static("-"))
    }

    /// Random bits, for a trace.
    pub(crate) fn random(&mut self) -> u128 {
        self.rng.u128(..)
    }
}

/// Whether a foreign id may be taken over: `[A-Za-z0-9._-]{8,128}`.
pub(crate) fn is_acceptable(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    (8..=128).contains(&bytes.len())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_version_7_carry_the_time_and_differ() {
        let mut source = IdSource::default();
        let now = Timestamp::from_millisecond(1_700_000_000_123).expect("a time");
        let (a, b) = (source.next(now), source.next(now));
        assert_ne!(a, b);
        assert_eq!(a.get_version_num(), 7);
        assert_eq!(a.get_timestamp().map(|time| time.to_unix()), Some((1_700_000_000, 123_000_000)));
    }

    #[test]
    fn the_texts_of_ids_are_theirs() {
        let mut source = IdSource::default();
        let ids: Vec<Uuid> = (0..100).map(|_| source.next(Timestamp::UNIX_EPOCH)).collect();
        let texts: Vec<HeaderValue> = ids.iter().map(|id| source.header(*id)).collect();
        assert!(ids.iter().zip(texts).all(|(id, text)| text == id.to_string()));
    }

    #[test]
    fn foreign_ids_are_short_and_plain() {
        let accept = |text| is_acceptable(&HeaderValue::from_static(text));
        assert!(
            accept("abc-123_X.y")
                && !accept("short")
                && !accept("has space in it")
                && !accept("a\"b\"c\"d\"e")
        );
    }
}
