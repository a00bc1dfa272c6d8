//! Whole lines into something that may take only a part of them.

use std::io::{self, ErrorKind, Write};

/// A writer of whole lines. What it writes is at every time a number of whole lines and at most one
/// beginning, and the next write continues that one: no reader ever takes a torn line for a whole.
#[derive(Debug)]
pub(super) struct Lines<W> {
    out: W,
    /// The end of a line whose beginning was written.
    owed: Vec<u8>,
    /// Calls of the writer: system calls, for a file.
    calls: u64,
}

/// What became of a batch of lines.
#[derive(Debug)]
pub(super) struct Written {
    /// How many lines of the batch were written as a whole.
    pub lines: u64,
    /// How many bytes of it must not be given again: the whole lines, and the one that was begun.
    pub taken: usize,
    /// Whether all was written, the line that was owed from before included.
    pub result: io::Result<()>,
}

impl<W: Write> Lines<W> {
    pub(super) fn new(out: W) -> Lines<W> {
        Lines { out, owed: Vec::new(), calls: 0 }
    }

    /// A writer behind a line that somebody else left torn: what follows begins on a fresh line.
    pub(super) fn after_torn_line(out: W) -> Lines<W> {
        Lines { out, owed: b"\n".to_vec(), calls: 0 }
    }

    /// What is written to.
    pub(super) fn get_ref(&self) -> &W {
        &self.out
    }

    /// Calls of the writer since this was last asked.
    pub(super) fn take_calls(&mut self) -> u64 {
        std::mem::take(&mut self.calls)
    }

    /// Writes lines. Every line ends in a line break.
    pub(super) fn write(&mut self, batch: &[u8]) -> Written {
        if let Err(error) = self.settle() {
            return Written { lines: 0, taken: 0, result: Err(error) };
        }
        let (written, result) = write_as_far_as_possible(&mut self.out, batch, &mut self.calls);
        let whole = memchr::memrchr(b'\n', batch.get(..written).unwrap_or_default()).map_or(0, |at| at + 1);
        let mut taken = whole;
        if written > whole {
            let rest = batch.get(written..).unwrap_or_default();
            let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
            self.owed.extend_from_slice(&rest[..end]);
            taken = written + end;
        }
        let lines = memchr::memchr_iter(b'\n', batch.get(..whole).unwrap_or_default()).count() as u64;
        Written { lines, taken, result }
    }

    /// Finishes the line that was begun. Whether nothing is owed any more.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        if self.owed.is_empty() {
            return Ok(());
        }
        let (written, result) = write_as_far_as_possible(&mut self.out, &self.owed, &mut self.calls);
        self.owed.drain(..written);
        result
    }
}

fn write_as_far_as_possible(out: &mut impl Write, bytes: &[u8], calls: &mut u64) -> (usize, io::Result<()>) {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        *calls += 1;
        match out.write(rest) {
            Ok(0) => return (written, Err(ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A disk that takes so many bytes at each call; 0: it is full.
    struct Disk {
        content: Vec<u8>,
        room: Vec<usize>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.room.pop() {
                Some(0) => Err(ErrorKind::StorageFull.into()),
                Some(room) => {
                    let count = room.min(bytes.len());
                    self.content.extend_from_slice(&bytes[..count]);
                    Ok(count)
                }
                None => {
                    self.content.extend_from_slice(bytes);
                    Ok(bytes.len())
                }
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(room: &[usize]) -> Lines<Disk> {
        Lines::new(Disk { content: Vec::new(), room: room.iter().rev().copied().collect() })
    }

    #[test]
    fn a_batch_is_one_call() {
        let mut lines = lines(&[]);
        let written = lines.write(b"a\nb\nc\n");
        assert!(written.result.is_ok());
        assert_eq!((written.lines, written.taken, lines.take_calls()), (3, 6, 1));
    }

    #[test]
    fn a_short_write_goes_on() {
        let mut lines = lines(&[1, 2]);
        assert!(lines.write(b"aaa\nbbb\n").result.is_ok());
        assert_eq!(lines.out.content, b"aaa\nbbb\n");
    }

    #[test]
    fn a_line_that_a_full_disk_cut_is_finished_first() {
        let mut lines = lines(&[6, 0]);
        let written = lines.write(b"aaa\nbbb\nccc\n");
        assert_eq!((written.lines, written.taken), (1, 8));
        assert!(written.result.is_err() && lines.owed == b"b\n");
        let written = lines.write(b"ccc\n");
        assert!(written.result.is_ok() && lines.owed.is_empty());
        assert_eq!(lines.out.content, b"aaa\nbbb\nccc\n");
    }

    #[test]
    fn nothing_is_written_while_a_line_is_owed() {
        let mut lines = lines(&[2, 0, 1, 0]);
        assert!(lines.write(b"aaa\n").result.is_err());
        let written = lines.write(b"bbb\n");
        assert_eq!((written.lines, written.taken, written.result.is_err()), (0, 0, true));
        assert!(lines.write(b"bbb\n").result.is_ok());
        assert_eq!(lines.out.content, b"aaa\nbbb\n");
    }

    #[test]
    fn behind_a_torn_line_a_fresh_one_begins() {
        let mut lines = Lines::after_torn_line(Disk { content: b"{\"to".to_vec(), room: Vec::new() });
        assert!(lines.write(b"a\n").result.is_ok());
        assert_eq!(lines.out.content, b"{\"to\na\n");
    }

    proptest! {
        #[test]
        fn every_line_stands_once_and_in_order_whatever_the_disk_does(
            room in prop::collection::vec(0usize..9, 0..30),
            sizes in prop::collection::vec(prop::collection::vec(0usize..12, 0..4), 0..8),
        ) {
            let mut lines = lines(&room);
            let (mut pending, mut all, mut count) = (Vec::new(), Vec::new(), 0u64);
            for batch in &sizes {
                for size in batch {
                    let line = format!("{count}{}\n", "x".repeat(*size));
                    pending.extend_from_slice(line.as_bytes());
                    all.extend_from_slice(line.as_bytes());
                    count += 1;
                }
                let written = lines.write(&pending);
                pending.drain(..written.taken);
            }
            while !lines.owed.is_empty() || !pending.is_empty() {
                let written = lines.write(&pending);
                pending.drain(..written.taken);
            }
            prop_assert_eq!(&lines.out.content, &all);
        }
    }
}
