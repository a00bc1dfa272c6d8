//! Finding records: among many, out of order, in files that were put aside, compressed or torn.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use flate2::write::GzEncoder;
use flate2::{Compression, Crc};
use jiff::{SignedDuration, Timestamp};
use lzma_rust2::{XzOptions, XzWriter};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use uuid::Uuid;

use super::files::MAX_LINE;
use super::*;

fn id(at: Timestamp, number: u64) -> Uuid {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    uuid::Builder::from_unix_timestamp_millis(at.as_millisecond() as u64, &random).into_uuid()
}

fn begin() -> Timestamp {
    "2026-11-24T10:00:00Z".parse().unwrap()
}

/// Record `number`, made a tenth of a second after the one before.
fn at(number: u64) -> Timestamp {
    begin() + SignedDuration::from_millis(100 * number as i64)
}

fn record(number: u64) -> String {
    let (at, id) = (at(number), id(at(number), number));
    let rule = if number.is_multiple_of(10) { "rbac/no" } else { "rbac/yes" };
    let decision = if number.is_multiple_of(10) { "deny" } else { "allow" };
    format!(
        "{{\"ts\":\"{at:.6}\",\"request_id\":\"req-\\u0031-{number}\",\"decision_id\":\"{id}\",\"decision\":\"{decision}\",\"stage\":\"rbac\",\
         \"rule\":\"{rule}\",\"status\":403,\"decided_by\":\"proxy\",\"policy\":{{\"generation\":1,\"hash\":\"0f9a2c1d\"}},\
         \"client\":{{\"ip\":\"192.0.2.{}\",\"peer\":\"192.0.2.7\",\"via\":\"peer\"}},\"scheme\":\"http\",\"version\":\"HTTP/1.1\",\
         \"method\":\"GET\",\"host\":\"app.test\",\"path\":\"/a\\\"b\",\"identity\":{{\"state\":\"valid\",\"source\":\"s\",\"subject\":\"u{}\",\
         \"roles\":[\"a\",\"b\"]}},\"bytes\":{{\"in\":0,\"out\":0}}}}\n",
        number % 250,
        number % 7
    )
}

fn write(path: &Path, lines: impl Iterator<Item = u64>) {
    let text: String = lines.map(record).collect();
    let packed = match path.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap()
        }
        Some("xz") => {
            let mut encoder = XzWriter::new(Vec::new(), XzOptions::with_preset(1)).unwrap();
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap()
        }
        Some("zst") => compress_to_vec(text.as_bytes(), CompressionLevel::Fastest),
        _ => text.into_bytes(),
    };
    fs::write(path, packed).unwrap();
}

/// Everything in a file, and how its reading ended.
fn read(path: &Path) -> (String, End) {
    let mut text = String::new();
    let file = LogFile::at(path).unwrap().unwrap();
    let end = file.lines(0, &mut |_| {}, &mut |line| {
        text.push_str(std::str::from_utf8(line).unwrap());
        text.push('\n');
        true
    });
    (text, end.unwrap())
}

fn touch(path: &Path, number: u64) {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_millis(at(number).as_millisecond() as u64);
    fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
}

fn look(path: &Path, id: &str) -> (Option<String>, usize) {
    let mut told = 0;
    let found = find(&files(path).unwrap(), id, &mut |_| told += 1).unwrap();
    (found.record.map(|(line, _)| Line::read(&line).unwrap().path.to_string()), told)
}

#[test]
fn every_record_is_found_by_either_id() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.jsonl");
    // Long requests are recorded late: some stand a thousand lines behind their time.
    let mut order: Vec<(u64, u64)> =
        (0..3000).map(|number| (number + if number % 97 == 0 { 1000 } else { 0 }, number)).collect();
    order.sort_unstable();
    write(&path, order.iter().map(|(_, number)| *number));
    for number in (0..3000).step_by(31).chain((0..3000).step_by(97)) {
        let found = find(&files(&path).unwrap(), &id(at(number), number).to_string(), &mut |_| {}).unwrap();
        let (line, place) = found.record.unwrap_or_else(|| panic!("{number}"));
        let stands = order.iter().position(|(_, own)| *own == number).unwrap() + 1;
        assert_eq!(place.to_string(), format!("{}:{stands}", path.display()));
        let line = Line::read(&line).unwrap();
        assert_eq!((&*line.request_id, line.at()), (&*format!("req-1-{number}"), Some(at(number))));
        assert_eq!(line.identity().unwrap().roles.len(), 2);
    }
    assert_eq!(look(&path, &id(at(5), 6).to_string()).0, None);
    assert_eq!(look(&path, "nothing").0, None);
    // An id is not found in other members.
    assert_eq!(look(&path, "192.0.2.7").0, None);
}

#[test]
fn what_was_put_aside_is_read_too_and_compressed_files_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.jsonl");
    for (name, range) in [
        ("d.jsonl", 500..600),
        ("d.jsonl.1", 400..500),
        ("d.jsonl.2.gz", 300..400),
        ("d.jsonl.3.zst", 200..300),
        ("d.jsonl.4.xz", 100..200),
        ("d.jsonl-20261124.gz", 0..100),
        ("d.jsonl.bak", 900..901),
    ] {
        let last = range.end;
        write(&folder.path().join(name), range);
        touch(&folder.path().join(name), last);
    }
    let names: Vec<String> = files(&path)
        .unwrap()
        .iter()
        .map(|file| file.path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    let all =
        ["d.jsonl", "d.jsonl.1", "d.jsonl.2.gz", "d.jsonl.3.zst", "d.jsonl.4.xz", "d.jsonl-20261124.gz"];
    assert_eq!(names, all);
    let found = |number| look(&path, &id(at(number), number).to_string());
    assert_eq!(found(550), (Some("/a\"b".into()), 0));
    assert_eq!(found(450), (Some("/a\"b".into()), 0));
    for number in [350, 250, 150, 50] {
        let (record, told) = found(number);
        assert!(record.as_deref() == Some("/a\"b") && told > 0, "{number}");
    }
    assert_eq!(found(900).0, None);
}

#[test]
fn a_torn_line_hides_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.jsonl");
    let torn = &record(1)[..100];
    fs::write(&path, format!("{}{torn}\n{}{torn}", record(0), record(2))).unwrap();
    assert_eq!(look(&path, &id(at(2), 2).to_string()).0, Some("/a\"b".into()));
    assert_eq!(look(&path, &id(at(1), 1).to_string()).0, None);
}

#[test]
fn the_records_of_an_hour_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["d.jsonl", "e.jsonl.1.gz", "f.jsonl.1.xz", "g.jsonl.1.zst"] {
        counted(&folder.path().join(name));
    }
}

fn counted(path: &Path) {
    write(path, 0..5000);
    let file = LogFile::at(path).unwrap().unwrap();
    for (from, to) in [(0, 5000), (1000, 2000), (4990, 5000), (1000, 1001)] {
        let mut count = 0;
        file.between(b"\"rule\":\"rbac/no\"", at(from), at(to), &mut |line| {
            let line = Line::read(line).unwrap();
            count += usize::from(line.at().is_some_and(|time| time >= at(from) && time < at(to)));
        })
        .map(|end| assert!(matches!(end, End::Read)))
        .unwrap();
        assert_eq!(count as u64, (from..to).filter(|number| number % 10 == 0).count() as u64, "{from} {to}");
    }
}

#[test]
fn all_lines_are_shown_whatever_the_chunks() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["d.jsonl", "d.jsonl.1.gz", "d.jsonl.1.xz", "d.jsonl.1.zst"] {
        let path = folder.path().join(name);
        write(&path, 0..5000);
        let (text, end) = read(&path);
        assert!(matches!(end, End::Read), "{name}: {end:?}");
        assert!(text == (0..5000).map(record).collect::<String>(), "{name}");
    }
}

/// `printf 'one\ntwo\n' | zstd`, the same with xz, and `printf 'three\n' | zstd --no-check`.
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd\x04\x58\x41\0\0one\ntwo\n\xe6\xa6\x0e\x40";
const XZ: &[u8] = b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4\x46\x02\0\x21\x01\x16\0\0\0\x74\x2f\xe5\xa3\x01\0\x07one\ntwo\n\0\x51\xab\x9e\xaf\x57\x75\x70\x49\0\x01\x20\x08\xbb\x19\xd9\xbb\x1f\xb6\xf3\x7d\x01\0\0\0\0\x04YZ";
const UNCHECKED: &[u8] = b"\x28\xb5\x2f\xfd\0\x58\x31\0\0three\n";

#[test]
fn what_the_tools_wrote_is_read_piece_by_piece() {
    let folder = tempfile::tempdir().unwrap();
    // What `pzstd` puts between its frames (RFC 8878 section 3.1.2).
    let skipped: &[u8] = b"\x50\x2a\x4d\x18\x04\0\0\0\x0c\0\0\0";
    for (name, pieces, wanted) in [
        ("a.zst", &[ZSTD][..], "one\ntwo\n"),
        ("b.xz", &[XZ], "one\ntwo\n"),
        ("c.zst", &[skipped, ZSTD, skipped, UNCHECKED, ZSTD, skipped], "one\ntwo\nthree\none\ntwo\n"),
        ("d.xz", &[XZ, XZ], "one\ntwo\none\ntwo\n"),
        // Known by what they begin with, whatever they are called.
        ("e", &[ZSTD], "one\ntwo\n"),
        ("f.gz", &[XZ], "one\ntwo\n"),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, pieces.concat()).unwrap();
        let (text, end) = read(&path);
        assert!(matches!(end, End::Read) && text == wanted, "{name}: {end:?} {text}");
    }
    // One that begins otherwise is what it is called, and damaged.
    for name in ["g.zst", "h.xz", "i.gz"] {
        let path = folder.path().join(name);
        fs::write(&path, "one\ntwo\n").unwrap();
        let (text, end) = read(&path);
        assert!(matches!(end, End::Torn(_)) && text.is_empty(), "{name}: {end:?} {text}");
    }
}

#[test]
fn a_flipped_bit_of_a_compressed_file_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes, at) in [("a.zst", ZSTD, 10), ("a.xz", XZ, 27)] {
        let path = folder.path().join(name);
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
        let (_, end) = read(&path);
        assert!(matches!(&end, End::Torn(torn) if torn.flaw == Flaw::Compressed), "{name}: {end:?}");
    }
}

#[test]
fn a_file_that_wants_more_memory_than_any_log_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    // A dictionary of 4 GiB in the header of the block (the XZ format, section 5.3.1), and its checksum.
    let mut wide = XZ.to_vec();
    wide[16] = 40;
    let mut checksum = Crc::new();
    checksum.update(&wide[12..20]);
    wide[20..24].copy_from_slice(&checksum.sum().to_le_bytes());
    // A window of 1 GiB (RFC 8878 section 3.1.1.1.2).
    let mut window = UNCHECKED.to_vec();
    window[5] = 20 << 3;
    for (name, bytes) in [("a.xz", wide), ("a.zst", window)] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let (text, end) = read(&path);
        let torn = matches!(&end, End::Torn(torn) if torn.flaw == Flaw::Compressed);
        assert!(torn && text.is_empty(), "{name}: {end:?} {text}");
    }
    // A few kilobytes that are one line without end.
    let long = vec![b'x'; MAX_LINE + 1];
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&[b"one\n", &*long].concat()).unwrap();
    for (name, bytes) in
        [("long.gz", encoder.finish().unwrap()), ("long", [b"one\n", &*long, b"\n"].concat())]
    {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let (text, end) = read(&path);
        let stopped = matches!(&end, End::Torn(torn) if torn.flaw == Flaw::LongLine && torn.lines == 1);
        assert!(stopped && text == "one\n", "{name}: {end:?}");
    }
}

#[test]
fn of_a_torn_zstd_file_every_whole_block_is_read() {
    // The decoder keeps back a window of what it decoded, which is more than all of this.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.jsonl.1.zst");
    write(&path, 0..5000);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() * 3 / 4]).unwrap();
    let (text, end) = read(&path);
    let lines = text.lines().count() as u64;
    assert!(matches!(&end, End::Torn(torn) if torn.lines == lines), "{end:?}");
    assert!(lines > 2500 && text == (0..lines).map(record).collect::<String>(), "{lines}");
}

#[test]
fn a_torn_file_is_read_as_far_as_it_goes_and_says_where_that_is() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["d.jsonl.1.gz", "d.jsonl.1.xz", "d.jsonl.1.zst"] {
        let path = folder.path().join(name);
        write(&path, 0..5000);
        let whole = fs::read(&path).unwrap();
        for length in [0, 5, 200, whole.len() / 2, whole.len() - 4] {
            fs::write(&path, &whole[..length]).unwrap();
            let (text, end) = read(&path);
            let lines = text.lines().count() as u64;
            assert!(text == (0..lines).map(record).collect::<String>(), "{name} {length}");
            match end {
                End::Torn(torn) => assert_eq!((torn.lines, &torn.path), (lines, &path), "{length}"),
                End::Read => panic!("{name} {length}"),
            }
            // The others are looked at all the same.
            let other = folder.path().join("d.jsonl");
            write(&other, 5000..5010);
            let found = find(&files(&other).unwrap(), &id(at(5001), 5001).to_string(), &mut |_| {}).unwrap();
            assert!(found.record.is_some());
            let found = find(&files(&other).unwrap(), "nothing", &mut |_| {}).unwrap();
            assert_eq!(found.torn.len(), 1, "{name} {length}");
        }
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_line_that_is_no_record_is_named_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.jsonl");
    let strange = record(1).replace("\"status\":403", "\"status\":\"403\"");
    fs::write(&path, format!("{}{strange}{}", record(0), record(2))).unwrap();
    let found = find(&files(&path).unwrap(), &id(at(1), 1).to_string(), &mut |_| {}).unwrap();
    assert!(found.record.is_none());
    let (place, why) = &found.strange[0];
    assert_eq!(place.to_string(), format!("{}:2", path.display()));
    assert!(why.contains("invalid type"), "{why}");
}
