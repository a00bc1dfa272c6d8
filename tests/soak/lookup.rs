//! From a bare request id to its record in a large log, and a large log through a policy: how long it
//! takes whoever has the call.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use uuid::{NoContext, Uuid};

use crate::client::{Client, run};
use crate::gateway::{Gateway, Start};
use crate::load::quantile;
use crate::origin::Origin;
use crate::process::until;
use crate::report::Limit::{AtLeast, AtMost, Exactly, Shown};
use crate::report::{Report, Scale};

/// The records of a day, in a file of its own.
const LOG: &str = "day.jsonl";

pub fn whys(scale: Scale, report: &mut Report) {
    let origin = Origin::start();
    let policy = format!(
        "[upstream.origin]\n{}\n[[route]]\nid = \"all\"\npath = \"/{{*rest}}\"\nupstream = \"origin\"\n\
         [rbac.role.reader]\n[[rbac.grant]]\nid = \"open\"\nroles = [\"anyone\"]\npath = \"/tag/{{*rest}}\"\n\
         [log]\nsink = {{ file = \"log.jsonl\" }}\n[server]\nlisten = [\"127.0.0.1:0\"]\nstate_dir = \"state\"\n",
        origin.servers()
    );
    let gateway = Start::new(&policy).start();
    let size = scale.pick(128 << 20, 1 << 30);
    let (ids, records) = day(&gateway, size);
    let mib = size >> 20;
    // The first look brings the file into the page cache.
    gateway.command(&["why", &ids[0], "--log", LOG, "--quiet"]);
    let mut times = Vec::new();
    let mut wrong = Vec::new();
    for id in &ids {
        let begin = Instant::now();
        let text = gateway.command(&["why", id, "--log", LOG, "--format", "json"]);
        times.push(begin.elapsed());
        let document: Value = serde_json::from_str(&text).expect("JSON");
        if document["record"]["request_id"] != **id || document["agrees"] != true {
            wrong.push(format!("{id}: {}", document["record"]));
        }
    }
    report.none("why", "ids that were not found", &wrong, ids.len());
    let slowest = quantile(&mut times, 1.0);
    let limit = scale.if_optimised(AtMost(1_000.0));
    report.line(
        "why",
        format!("a record by its id in {mib} MiB, the slowest of {}", ids.len()),
        slowest,
        "ms",
        limit,
    );

    let text = gateway.command(&["replay", LOG, "--verbose", "--from", "portcullis.toml"]);
    let speed = text.lines().find_map(|line| {
        let (before, _) = line.split_once(" records a second")?;
        before.rsplit(' ').next()?.parse::<f64>().ok()
    });
    let speed = speed.unwrap_or_else(|| panic!("no speed in {text}"));
    let limit = scale.if_optimised(AtLeast(200_000.0));
    report.line("why", format!("replayed of {records} records"), speed, "records a second", limit);

    let begin = Instant::now();
    compress(&gateway);
    report.line("why", "compressing it", begin.elapsed().as_secs_f64(), "s", Shown);
    let last = ids.last().expect("some");
    let begin = Instant::now();
    let text = gateway.command(&["why", last, "--log", LOG, "--format", "json"]);
    let document: Value = serde_json::from_str(&text).expect("JSON");
    let found = f64::from(u8::from(document["record"]["request_id"] == **last));
    report.line("why", "found in the compressed file", found, "", Exactly(1.0));
    report.line("why", "a record by its id there", begin.elapsed().as_secs_f64(), "s", Shown);
}

/// Writes the records of a day, as many as have this size; the ids of some of them, and how many there
/// are. All are copies of one that the gateway wrote, each with its own time and ids.
fn day(gateway: &Gateway, size: usize) -> (Vec<String>, usize) {
    for path in ["/tag/1", "/closed/1"] {
        run(Client::get(gateway.address(), path)).expect("an answer");
    }
    let written = until(Duration::from_secs(10), || {
        let text = std::fs::read_to_string(gateway.path().join("log.jsonl")).ok()?;
        (text.lines().count() == 2).then_some(text)
    });
    let written = written.expect("two records");
    let kinds: Vec<(&str, [String; 2])> = written
        .lines()
        .map(|line| {
            let record: Value = serde_json::from_str(line).expect("JSON");
            let text = |name: &str| record[name].as_str().expect("a text").to_owned();
            (line, [text("ts"), text("request_id")])
        })
        .collect();
    let length = written.len() / 2;
    let count = size / length;
    let begin = Timestamp::now() - SignedDuration::from_hours(24);
    let mut file = BufWriter::new(File::create(gateway.path().join(LOG)).expect("a file"));
    let mut ids = Vec::new();
    for number in 0..count {
        let at = begin + SignedDuration::from_micros((86_400_000_000 / count * number) as i64);
        let nanoseconds = at.subsec_nanosecond() as u32;
        let time = uuid::Timestamp::from_unix(NoContext, at.as_second() as u64, nanoseconds);
        let id = Uuid::new_v7(time).to_string();
        let (line, [old_time, old_id]) = &kinds[number % 2];
        let line = line.replace(old_time.as_str(), &format!("{at:.6}")).replace(old_id.as_str(), &id);
        writeln!(file, "{line}").expect("written");
        if number % (count / 9) == 1 {
            ids.push(id);
        }
    }
    file.flush().expect("written");
    (ids, count)
}

/// Puts the log aside as a program that rotates logs does, and leaves an empty one.
fn compress(gateway: &Gateway) {
    let path = gateway.path().join(LOG);
    let packed = File::create(gateway.path().join(format!("{LOG}.1.gz"))).expect("a file");
    let mut encoder = GzEncoder::new(packed, Compression::fast());
    std::io::copy(&mut File::open(&path).expect("there"), &mut encoder).expect("written");
    encoder.finish().expect("written");
    File::create(&path).expect("emptied");
}
