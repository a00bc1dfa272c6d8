//! Files of a log that whoever rotates it has compressed.
//!
//! What logrotate and its like are told to use is read: gzip, xz and zstd, also several such pieces one
//! behind the other. What else a file may be is known by name, so that it can be said.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Read};
use std::iter;
use std::path::Path;

use flate2::read::MultiGzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// What a file is compressed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Gzip.
    Gzip,
    /// Zstandard.
    Zstd,
    /// XZ.
    Xz,
    /// Bzip2, which is not read.
    Bzip2,
    /// LZ4, which is not read.
    Lz4,
}

impl Packing {
    /// All that are known, in the order of the table of their names.
    const ALL: [Packing; 5] = [Packing::Gzip, Packing::Zstd, Packing::Xz, Packing::Bzip2, Packing::Lz4];

    /// Its name, what its files end with and what they begin with.
    const fn known_by(self) -> (&'static str, &'static str, &'static [u8]) {
        match self {
            Packing::Gzip => ("gzip", ".gz", &[0x1f, 0x8b]),
            Packing::Zstd => ("zstd", ".zst", &[0x28, 0xb5, 0x2f, 0xfd]),
            Packing::Xz => ("xz", ".xz", &[0xfd, b'7', b'z', b'X', b'Z', 0]),
            Packing::Bzip2 => ("bzip2", ".bz2", b"BZh"),
            Packing::Lz4 => ("lz4", ".lz4", &[4, 0x22, 0x4d, 0x18]),
        }
    }

    /// What a file of this name that begins so is compressed with. What it begins with says more.
    pub(super) fn of(path: &Path, first: &[u8]) -> Option<Packing> {
        let name = path.as_os_str().as_encoded_bytes();
        let begins = |packing: &Packing| first.starts_with(packing.known_by().2);
        let ends = |packing: &Packing| name.ends_with(packing.known_by().1.as_bytes());
        let all = || Packing::ALL.into_iter();
        all().find(begins).or_else(|| all().find(ends))
    }

    /// A name without the ending of a compressed file.
    pub(super) fn without_ending(name: &str) -> &str {
        let mut endings = Packing::ALL.iter().map(|packing| packing.known_by().1);
        endings.find_map(|ending| name.strip_suffix(ending)).unwrap_or(name)
    }

    /// Reads what was compressed; why not, where it cannot.
    pub(super) fn reader<'f>(self, file: impl Read + 'f) -> io::Result<Box<dyn Read + 'f>> {
        let file = BufReader::with_capacity(CHUNK, file);
        match self {
            Packing::Gzip => Ok(Box::new(MultiGzDecoder::new(file))),
            Packing::Zstd => Ok(Box::new(Frames::of(file))),
            Packing::Xz => Ok(Box::new(XzReader::new_mem_limit(file, true, (WIDEST_WINDOW >> 10) as u32))),
            Packing::Bzip2 | Packing::Lz4 => Err(self.foreign().unwrap_or(io::ErrorKind::Unsupported.into())),
        }
    }

    /// Why it is not read, where it is not.
    pub(super) fn foreign(self) -> Option<io::Error> {
        match self {
            Packing::Gzip | Packing::Zstd | Packing::Xz => None,
            Packing::Bzip2 | Packing::Lz4 => {
                let (name, ..) = self.known_by();
                let why = format!(
                    "it is compressed with {name}; plain files are read, and those that gzip, xz or zstd made"
                );
                Some(io::Error::new(io::ErrorKind::Unsupported, why))
            }
        }
    }
}

/// The frames of a Zstandard file (RFC 8878 section 3), one behind the other.
struct Frames<R> {
    source: R,
    decoder: FrameDecoder,
    /// Where in the file it is.
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first frame.
    Begin,
    /// Between two.
    Between,
    /// Within one.
    Within,
    /// Within one that the file ends in.
    Torn,
}

impl<R: BufRead> Frames<R> {
    fn of(source: R) -> Frames<R> {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(WIDEST_WINDOW);
        Frames { source, decoder, state: State::Begin }
    }

    /// Enters the next frame that has something in it; whether there is one.
    fn enter(&mut self) -> io::Result<bool> {
        loop {
            if self.source.fill_buf()?.is_empty() {
                return match self.state {
                    // A file of nothing at all was never compressed to its end.
                    State::Begin => Err(io::ErrorKind::UnexpectedEof.into()),
                    _ => Ok(false),
                };
            }
            match self.decoder.reset(&mut self.source) {
                Ok(()) => {
                    self.state = State::Within;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let length = u64::from(length);
                    if io::copy(&mut (&mut self.source).take(length), &mut io::sink())? < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    self.state = State::Between;
                }
                Err(error) => return Err(broken(error)),
            }
        }
    }

    /// Decodes until something can be read, or the frame is at its end.
    fn decode(&mut self) -> io::Result<()> {
        while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
            let one = || BlockDecodingStrategy::UptoBlocks(1);
            let Err(error) = self.decoder.decode_blocks(&mut self.source, one()) else { continue };
            // The decoder keeps back what later blocks may refer to. Of a file that ends here there are none,
            // so what was decoded is whole, and a last block without content sets it free.
            let error = broken(error);
            if error.kind() != io::ErrorKind::UnexpectedEof || !self.source.fill_buf()?.is_empty() {
                return Err(error);
            }
            self.decoder.decode_blocks(LAST_BLOCK, one()).map_err(|_| error)?;
            self.state = State::Torn;
        }
        Ok(())
    }

    /// The frame is at its end.
    fn leave(&mut self) -> io::Result<()> {
        if self.state == State::Torn {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.state = State::Between;
        let (said, is) = (self.decoder.get_checksum_from_data(), self.decoder.get_calculated_checksum());
        match said.is_some() && said != is {
            true => Err(io::Error::new(io::ErrorKind::InvalidData, "the checksum of a frame is wrong")),
            false => Ok(()),
        }
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if matches!(self.state, State::Begin | State::Between) && !self.enter()? {
                return Ok(0);
            }
            self.decode()?;
            match self.decoder.read(buffer)? {
                0 if !buffer.is_empty() => self.leave()?,
                read => return Ok(read),
            }
        }
    }
}

/// What a disk says stays what it said; that a file ends too early is known by its kind.
fn broken(error: FrameDecoderError) -> io::Error {
    let first: &(dyn Error + 'static) = &error;
    let mut chain = iter::successors(Some(first), |&error| error.source());
    match chain.find_map(|error| error.downcast_ref::<io::Error>()) {
        Some(cause) => match cause.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(cause.kind(), error.to_string()),
        },
        None => io::Error::new(io::ErrorKind::InvalidData, error),
    }
}

/// The header of a last block of no bytes, and room for the checksum that a frame may end with.
const LAST_BLOCK: &[u8] = &[1, 0, 0, 0, 0, 0, 0];

/// What `zstd -d` takes without being asked to take more, and twice what `xz -9` needs.
const WIDEST_WINDOW: u64 = 128 << 20;

/// Large enough that a system call is not felt, small enough for a cache.
pub(super) const CHUNK: usize = 1 << 20;
