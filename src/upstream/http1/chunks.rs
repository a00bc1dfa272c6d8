//! A body in chunks (RFC 9112 section 7.1).

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;

use super::Broken;

/// Where in the body the next byte stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Chunks {
    /// Before the size of a chunk.
    #[default]
    Size,
    /// In a chunk; so much of it is to come.
    Data(u64),
    /// Before the line break behind a chunk.
    Behind,
    /// Before the trailers, or the line that says that there are none.
    Trailers,
    /// Behind it all.
    Done,
}

/// The longest line with a size; what stands behind the size means nothing to us.
const LONGEST_LINE: usize = 4 * 1024;
/// The longest trailers, and how many.
const LONGEST_TRAILERS: usize = 16 * 1024;
const MOST_TRAILERS: usize = 32;

impl Chunks {
    /// Whether the body has ended.
    pub(super) fn is_done(self) -> bool {
        self == Chunks::Done
    }

    /// Takes the next piece out of what has come. None: more must come, or the body has ended.
    pub(super) fn take(&mut self, read: &mut BytesMut) -> Result<Option<Frame<Bytes>>, Broken> {
        loop {
            match *self {
                Chunks::Size => match httparse::parse_chunk_size(read) {
                    Ok(httparse::Status::Complete((line, size))) => {
                        read.advance(line);
                        *self = if size == 0 { Chunks::Trailers } else { Chunks::Data(size) };
                    }
                    Ok(httparse::Status::Partial) if read.len() <= LONGEST_LINE => return Ok(None),
                    Ok(httparse::Status::Partial) | Err(_) => return Err(Broken::Malformed),
                },
                Chunks::Data(left) => {
                    if read.is_empty() {
                        return Ok(None);
                    }
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(read.len());
                    let left = left - here as u64;
                    *self = if left == 0 { Chunks::Behind } else { Chunks::Data(left) };
                    let data = read.split_to(here).freeze();
                    // The end often came along; then nobody has to ask for it.
                    self.pass_over(read)?;
                    return Ok(Some(Frame::data(data)));
                }
                Chunks::Behind => {
                    self.pass_over(read)?;
                    if *self == Chunks::Behind {
                        return Ok(None);
                    }
                }
                Chunks::Trailers => return self.take_trailers(read),
                Chunks::Done => return Ok(None),
            }
        }
    }

    /// Passes over the line break behind a chunk, and over an end without trailers.
    fn pass_over(&mut self, read: &mut BytesMut) -> Result<(), Broken> {
        const END: &[u8] = b"0\r\n\r\n";
        if *self == Chunks::Behind {
            match read.as_ref() {
                [b'\r', b'\n', ..] => {
                    read.advance(2);
                    *self = Chunks::Size;
                }
                [] | [b'\r'] => {}
                _ => return Err(Broken::Malformed),
            }
        }
        if *self == Chunks::Size && read.starts_with(END) {
            read.advance(END.len());
            *self = Chunks::Done;
        }
        Ok(())
    }

    fn take_trailers(&mut self, read: &mut BytesMut) -> Result<Option<Frame<Bytes>>, Broken> {
        let mut slots = [httparse::EMPTY_HEADER; MOST_TRAILERS];
        let (length, trailers) = match httparse::parse_headers(read, &mut slots) {
            Ok(httparse::Status::Complete((length, fields))) => {
                let mut trailers = HeaderMap::with_capacity(fields.len());
                for field in fields {
                    let name = HeaderName::from_bytes(field.name.as_bytes());
                    let value = HeaderValue::from_bytes(field.value);
                    trailers
                        .append(name.map_err(|_| Broken::Malformed)?, value.map_err(|_| Broken::Malformed)?);
                }
                (length, trailers)
            }
            Ok(httparse::Status::Partial) if read.len() <= LONGEST_TRAILERS => return Ok(None),
            Ok(httparse::Status::Partial) | Err(_) => return Err(Broken::Malformed),
        };
        read.advance(length);
        *self = Chunks::Done;
        Ok((!trailers.is_empty()).then(|| Frame::trailers(trailers)))
    }
}
