//! Finding records: among many, out of order, in files that were put aside, compressed or torn.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

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
    if path.extension().is_some_and(|extension| extension == "gz") {
        let mut encoder = GzEncoder::new(File::create(path).unwrap(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap();
    } else {
        fs::write(path, text).unwrap();
    }
}

fn touch(path: &Path, number: u64) {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_millis(at(number).as_millisecond() as u64);
    File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
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
        ("d.jsonl", 300..400),
        ("d.jsonl.1", 200..300),
        ("d.jsonl.2.gz", 100..200),
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
    assert_eq!(names, ["d.jsonl", "d.jsonl.1", "d.jsonl.2.gz", "d.jsonl-20261124.gz"]);
    let found = |number| look(&path, &id(at(number), number).to_string());
    assert_eq!(found(350), (Some("/a\"b".into()), 0));
    assert_eq!(found(250), (Some("/a\"b".into()), 0));
    assert_eq!(found(150).0, Some("/a\"b".into()));
    assert!(found(50).1 > 0);
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
    for name in ["d.jsonl", "e.jsonl.1.gz"] {
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
    for name in ["d.jsonl", "d.jsonl.1.gz"] {
        let path = folder.path().join(name);
        write(&path, 0..5000);
        let mut next = 0;
        LogFile::at(&path)
            .unwrap()
            .unwrap()
            .lines(0, &mut |_| {}, &mut |line| {
                assert_eq!(format!("{}\n", std::str::from_utf8(line).unwrap()), record(next));
                next += 1;
                true
            })
            .map(|end| assert!(matches!(end, End::Read)))
            .unwrap();
        assert_eq!(next, 5000);
    }
}

#[test]
fn a_torn_file_is_read_as_far_as_it_goes_and_says_where_that_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.jsonl.1.gz");
    write(&path, 0..5000);
    let whole = fs::read(&path).unwrap();
    for length in [0, 5, 200, whole.len() / 2, whole.len() - 4] {
        fs::write(&path, &whole[..length]).unwrap();
        let mut seen = 0;
        let end = LogFile::at(&path).unwrap().unwrap().lines(0, &mut |_| {}, &mut |line| {
            assert_eq!(Line::read(line).unwrap().at(), Some(at(seen)));
            seen += 1;
            true
        });
        match end.unwrap() {
            End::Torn(torn) => assert_eq!((torn.lines, &torn.path), (seen, &path), "{length}"),
            End::Read => panic!("{length}"),
        }
        // The others are looked at all the same.
        let other = folder.path().join("d.jsonl");
        write(&other, 5000..5010);
        let found = find(&files(&other).unwrap(), &id(at(5001), 5001).to_string(), &mut |_| {}).unwrap();
        assert!(found.record.is_some());
        let found = find(&files(&other).unwrap(), "nothing", &mut |_| {}).unwrap();
        assert_eq!(found.torn.len(), 1, "{length}");
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
