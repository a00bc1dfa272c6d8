//! How many bytes of request bodies are held to be inspected, by all threads, where the system limits the
//! memory of the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

/// What is held, and the most that may be.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    most: Option<u64>,
    held: AtomicU64,
}

/// The room of one body, given back when nobody holds the body any more.
#[derive(Debug)]
pub(super) struct Room {
    buffers: Arc<Buffers>,
    bytes: u64,
}

/// A body in its room.
struct Kept {
    bytes: Bytes,
    _room: Room,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Bytes that a connection needs while a body comes over it, beside the body: buffers of its parser.
const BESIDE: u64 = 32 << 10;

impl Buffers {
    /// Nothing is held. `most`: bytes, if there is a limit.
    pub(crate) fn new(most: Option<u64>) -> Arc<Buffers> {
        Arc::new(Buffers { most, held: AtomicU64::new(0) })
    }

    /// Room for a body that begins to come; none where nothing limits it.
    pub(super) fn room(self: &Arc<Self>) -> Option<Room> {
        self.most.map(|_| Room { buffers: Arc::clone(self), bytes: 0 })
    }
}

impl Room {
    /// Takes room for a piece. Whether there is any.
    #[must_use]
    pub(super) fn take(&mut self, piece: usize) -> bool {
        let first = if self.bytes == 0 { BESIDE } else { 0 };
        let piece = piece as u64 + first;
        let before = self.buffers.held.fetch_add(piece, Ordering::Relaxed);
        self.bytes += piece;
        self.buffers.most.is_none_or(|most| before + piece <= most)
    }

    /// The body, which holds its room.
    pub(super) fn keep(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Kept { bytes, _room: self })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.buffers.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_there_again_when_the_last_reader_of_a_body_is_gone() {
        let buffers = Buffers::new(Some(2 * BESIDE + 10));
        let mut first = buffers.room().expect("a limit");
        assert!(first.take(4) && first.take(2));
        let body = first.keep(Bytes::from_static(b"abcdef"));
        let reader = body.clone();
        drop(body);
        let take = |bytes| buffers.room().is_some_and(|mut room| room.take(bytes));
        assert!(take(4) && !take(5) && take(4));
        assert_eq!(&reader[..], b"abcdef");
        drop(reader);
        let all = 10 + BESIDE as usize;
        assert!(take(all) && !take(all + 1));
        assert!(Buffers::new(None).room().is_none());
    }
}
