//! The files of a log, and the lines in them.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;
use memchr::memmem;

use super::packed::{CHUNK, Packing};

/// A file of the log.
#[derive(Clone, Debug)]
pub struct LogFile {
    /// Where it is.
    pub path: PathBuf,
    /// How long it is, as it stands on the disk.
    pub length: u64,
    /// When it was last written.
    pub modified: Timestamp,
    /// What it is compressed with, if it is.
    pub packing: Option<Packing>,
}

/// How far a file has been read.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Which.
    pub path: &'a Path,
    /// Bytes so far, as they stand on the disk.
    pub done: u64,
    /// Of so many.
    pub length: u64,
}

/// How the reading of a file ended.
#[derive(Debug)]
#[must_use]
pub enum End {
    /// At its end, or where nobody wanted more.
    Read,
    /// Before it. What stands behind is not known.
    Torn(Torn),
}

/// Where a file cannot be read any further.
#[derive(Debug)]
pub struct Torn {
    /// Which.
    pub path: PathBuf,
    /// How many whole lines were read before.
    pub lines: u64,
    /// What is the matter.
    pub flaw: Flaw,
    /// Why.
    pub error: io::Error,
}

/// What is the matter with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Whoever compressed it did not come to its end, or something else wrote into it.
    Compressed,
    /// Its last line has no end, and is no record as it stands.
    LastLine,
    /// A line is longer than any record.
    LongLine,
    /// It is compressed in a way that is not read.
    Foreign,
}

/// More than the longest record: a file that is no log must not fill the memory, least of all a small one that
/// was compressed.
pub(super) const MAX_LINE: usize = 16 << 20;

/// The file of a log with those that were put aside, the newest first: `x`, `x.1`, `x.1.gz`,
/// `x-20261124.gz`, whoever rotates.
pub fn files(path: &Path) -> io::Result<Vec<LogFile>> {
    if path.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder; name a file in it"));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let own = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let rest = name.strip_prefix(&own);
        let fits = rest.is_some_and(|rest| {
            let rest = Packing::without_ending(rest);
            rest.is_empty()
                || rest.starts_with(['.', '-'])
                    && rest[1..].bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
        });
        if fits && let Some(file) = LogFile::at(&entry.path())? {
            found.push(file);
        }
    }
    if found.is_empty() {
        // Says why there is none.
        found.extend(LogFile::at(path)?);
    }
    found.sort_by(|a, b| b.modified.cmp(&a.modified).then_with(|| a.path.cmp(&b.path)));
    Ok(found)
}

impl LogFile {
    /// A file, if it is a regular one.
    pub fn at(path: &Path) -> io::Result<Option<LogFile>> {
        let meta = fs::metadata(path)?;
        let modified = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        if !meta.is_file() {
            return Ok(None);
        }
        // Of one that may not be opened, it is said when it is to be read.
        let first = beginning(path).unwrap_or_default();
        Ok(Some(LogFile {
            path: path.to_owned(),
            length: meta.len(),
            modified: Timestamp::try_from(modified).unwrap_or_default(),
            packing: Packing::of(path, &first),
        }))
    }

    /// Why nothing of it can be read, where it is compressed in a way that is not.
    pub fn unreadable(&self) -> Option<io::Error> {
        self.packing?.foreign()
    }

    /// Whether its lines stand in it as they are.
    pub(super) fn is_plain(&self) -> bool {
        self.packing.is_none()
    }

    fn torn(&self, lines: u64, flaw: Flaw, error: io::Error) -> End {
        End::Torn(Torn { path: self.path.clone(), lines, flaw, error })
    }

    fn too_long(&self, lines: u64) -> End {
        let why = format!("line {} is longer than {}", lines + 1, bytesize::ByteSize(MAX_LINE as u64));
        self.torn(lines, Flaw::LongLine, io::Error::new(io::ErrorKind::InvalidData, why))
    }

    /// What stands behind the last line break: a record whose line break alone is missing, or the
    /// beginning of one.
    fn last(&self, line: &[u8], lines: u64, each: &mut dyn FnMut(&[u8]) -> bool) -> End {
        if line.is_empty() {
            return End::Read;
        }
        if serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok() {
            each(line);
            return End::Read;
        }
        let why = format!("{} of it are there, and no line break", bytesize::ByteSize(line.len() as u64));
        self.torn(lines, Flaw::LastLine, io::Error::new(io::ErrorKind::UnexpectedEof, why))
    }

    /// Shows every whole line to `each`, without its line break, from an offset on; the offset counts
    /// only where the file is not compressed. `each` says whether to go on. A file that is torn is read as
    /// far as it goes.
    pub fn lines(
        &self,
        from: u64,
        progress: &mut dyn FnMut(Progress<'_>),
        each: &mut dyn FnMut(&[u8]) -> bool,
    ) -> io::Result<End> {
        let mut told = 0;
        let mut tell = |done: u64| {
            if done >= told + TELL_EVERY {
                told = done;
                progress(Progress { path: &self.path, done, length: self.length });
            }
        };
        if let Some(error) = self.unreadable() {
            return Ok(self.torn(0, Flaw::Foreign, error));
        }
        let mut file = File::open(&self.path)?;
        if let Some(packing) = self.packing {
            let done = Cell::new(0);
            let counted = Counted { file, read: &done };
            let mut decoder = BufReader::with_capacity(CHUNK, packing.reader(counted)?);
            let (mut line, mut lines) = (Vec::new(), 0);
            loop {
                match decoder.by_ref().take(MAX_LINE as u64).read_until(b'\n', &mut line) {
                    Ok(0) => return Ok(End::Read),
                    Ok(_) => {}
                    // What ends before its end, or is not compressed as it should be. Whatever a disk says
                    // has a number of the system.
                    Err(error) if error.raw_os_error().is_none() => {
                        return Ok(self.torn(lines, Flaw::Compressed, error));
                    }
                    Err(error) => return Err(error),
                }
                let Some(whole) = line.strip_suffix(b"\n") else {
                    return Ok(match line.len() {
                        MAX_LINE => self.too_long(lines),
                        _ => self.last(&line, lines, each),
                    });
                };
                lines += 1;
                if !each(whole) {
                    return Ok(End::Read);
                }
                line.clear();
                tell(done.get());
            }
        }
        io::Seek::seek(&mut file, io::SeekFrom::Start(from))?;
        let (mut buffer, mut filled, mut done, mut lines) = (vec![0; CHUNK], 0, from, 0);
        loop {
            if filled == buffer.len() {
                if filled >= MAX_LINE {
                    return Ok(self.too_long(lines));
                }
                // A line longer than all that was read so far.
                buffer.resize(filled * 2, 0);
            }
            let read = file.read(buffer.get_mut(filled..).unwrap_or_default())?;
            if read == 0 {
                return Ok(self.last(buffer.get(..filled).unwrap_or_default(), lines, each));
            }
            filled += read;
            done += read as u64;
            let bytes = buffer.get(..filled).unwrap_or_default();
            let whole = memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1);
            let mut start = 0;
            for end in memchr::memchr_iter(b'\n', bytes.get(..whole).unwrap_or_default()) {
                if !each(bytes.get(start..end).unwrap_or_default()) {
                    return Ok(End::Read);
                }
                lines += 1;
                start = end + 1;
            }
            buffer.copy_within(whole..filled, 0);
            filled -= whole;
            tell(done);
        }
    }

    /// Shows the lines that were written since a time; where that is not known, more than those.
    pub fn lines_since(
        &self,
        time: Timestamp,
        progress: &mut dyn FnMut(Progress<'_>),
        each: &mut dyn FnMut(&[u8]) -> bool,
    ) -> io::Result<End> {
        if self.modified < time {
            return Ok(End::Read);
        }
        let from = if self.is_plain() { self.offset(time)? } else { 0 };
        self.lines(from, progress, each)
    }

    /// Shows the lines that contain a text, from one offset of an uncompressed file to another, each with
    /// where it begins.
    pub(super) fn lines_with(
        &self,
        needle: &[u8],
        from: u64,
        to: u64,
        each: &mut dyn FnMut(&[u8], u64) -> bool,
    ) -> io::Result<()> {
        let file = File::open(&self.path)?;
        let finder = memmem::Finder::new(needle);
        let mut buffer = vec![0; CHUNK];
        let mut at = from;
        let mut behind = from;
        while at < to {
            let read = file.read_at(&mut buffer, at)?;
            if read == 0 {
                break;
            }
            for found in finder.find_iter(buffer.get(..read).unwrap_or_default()) {
                let found = at + found as u64;
                // A line may have the text twice.
                if found < behind || found >= to {
                    continue;
                }
                let (line, begin, end) = line_around(&file, found)?;
                behind = end;
                if !each(&line, begin) {
                    return Ok(());
                }
            }
            // A text that stands across two chunks is found in the next.
            at += (read.saturating_sub(needle.len() - 1)).max(1) as u64;
            if read < buffer.len() {
                break;
            }
        }
        Ok(())
    }

    /// Where the records of a time begin in an uncompressed file: none before it was written then or
    /// later. Records are written in the order of their ends, and say when they began, so a record that
    /// took long stands behind younger ones; looking at many at once passes over those.
    pub(super) fn offset(&self, time: Timestamp) -> io::Result<u64> {
        let file = File::open(&self.path)?;
        let wanted = format!("{time:.6}");
        let (mut low, mut high) = (0, self.length);
        let mut block = vec![0; BLOCK];
        while high - low > BLOCK as u64 {
            let middle = low + (high - low) / 2;
            let read = file.read_at(&mut block, middle)?;
            match newest(block.get(..read).unwrap_or_default()) {
                Some(newest) if *newest < *wanted.as_bytes() => low = middle,
                Some(_) => high = middle,
                None => return Ok(0),
            }
        }
        // At the beginning of a line.
        let read = file.read_at(&mut block, low)?;
        let first =
            memchr::memchr(b'\n', block.get(..read).unwrap_or_default()).map_or(0, |at| at as u64 + 1);
        Ok(if low == 0 { 0 } else { low + first })
    }
}

/// The first bytes of a file.
fn beginning(path: &Path) -> io::Result<Vec<u8>> {
    let mut first = Vec::new();
    File::open(path)?.take(6).read_to_end(&mut first)?;
    Ok(first)
}

/// The newest time that lines which begin in a block say.
fn newest(block: &[u8]) -> Option<&[u8]> {
    let starts = memchr::memchr_iter(b'\n', block).map(|at| at + 1);
    starts.filter_map(|at| time(block.get(at..)?)).max()
}

/// The time of a line, as it is written at its beginning.
pub(super) fn time(line: &[u8]) -> Option<&[u8]> {
    line.strip_prefix(b"{\"ts\":\"")?.get(..TIME)
}

/// The whole line that an offset is in, where it begins, and where the next does.
fn line_around(file: &File, at: u64) -> io::Result<(Vec<u8>, u64, u64)> {
    let mut start = at;
    let mut piece = vec![0; 4096];
    let begin = loop {
        let from = start.saturating_sub(piece.len() as u64);
        let length = (start - from) as usize;
        let part = piece.get_mut(..length).unwrap_or_default();
        file.read_exact_at(part, from)?;
        if let Some(found) = memchr::memrchr(b'\n', part) {
            break from + found as u64 + 1;
        }
        if from == 0 {
            break 0;
        }
        start = from;
    };
    let mut line = Vec::new();
    let mut next = begin;
    loop {
        let read = file.read_at(&mut piece, next)?;
        let part = piece.get(..read).unwrap_or_default();
        if let Some(end) = memchr::memchr(b'\n', part) {
            line.extend_from_slice(part.get(..end).unwrap_or_default());
            return Ok((line, begin, next + end as u64 + 1));
        }
        if read == 0 {
            return Ok((line, begin, next));
        }
        line.extend_from_slice(part);
        next += read as u64;
    }
}

/// A file of which it is known how much was read.
struct Counted<'c> {
    file: File,
    read: &'c Cell<u64>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.read.set(self.read.get() + read as u64);
        Ok(read)
    }
}

/// Some dozens of records.
const BLOCK: usize = 64 << 10;

/// `2026-11-24T10:00:00.123456Z`
const TIME: usize = 27;

/// Bytes between two reports.
const TELL_EVERY: u64 = 8 << 20;
