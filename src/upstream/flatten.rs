//! Small vectored writes as one plain write, which costs the kernel less than `writev`.
//!
//! Used on both sides of the gateway. Large writes are not copied.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

/// Up to this many bytes are copied together.
const SMALL: usize = 8 * 1024;

thread_local! {
    static FLAT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Writes several pieces: small ones by one plain write, large ones vectored.
pub(crate) fn write_flattened<S: AsyncWrite>(
    stream: Pin<&mut S>,
    cx: &mut Context<'_>,
    pieces: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    match pieces {
        [only] => stream.poll_write(cx, only),
        _ if length <= SMALL => FLAT.with_borrow_mut(|flat| {
            flat.clear();
            pieces.iter().for_each(|piece| flat.extend_from_slice(piece));
            stream.poll_write(cx, flat)
        }),
        _ => stream.poll_write_vectored(cx, pieces),
    }
}
