//! SIGKILL while the log is written, put aside by size, moved away by others, and while the policy is
//! replaced: the log keeps whole lines, whoever had an answer has its record, and the history opens.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{Read, Write as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::client::Answer;
use crate::gateway::{Gateway, Start};
use crate::load::{Load, Plan, Script};
use crate::origin::Origin;
use crate::process::until;
use crate::report::Limit::{AtLeast, AtMost, Exactly};
use crate::report::{Report, Scale};

pub fn killed(scale: Scale, report: &mut Report) {
    again_and_again(scale, report, "one file", "rotate = \"none\"", Turns::Never);
    // The smallest file there is, so that one is put aside every few hundred requests.
    let by_size = "rotate = \"64KiB\", keep = 1000";
    again_and_again(scale, report, "files put aside by size", by_size, Turns::BySize);
    again_and_again(scale, report, "files moved away by others", "rotate = \"none\"", Turns::ByOthers);
}

/// Who turns the log.
#[derive(Clone, Copy, PartialEq)]
enum Turns {
    Never,
    BySize,
    /// Others move the file away and say so, and compress it when nobody writes to it any more.
    ByOthers,
}

/// What was answered, as the clients know it.
#[derive(Default)]
struct Answered {
    allowed: HashSet<String>,
    refused: HashSet<String>,
    /// The versions of the policy that judged.
    policies: HashSet<String>,
}

/// Asks for what is allowed and for what is not, in turn, and remembers what was answered.
struct Remember(Arc<Mutex<Answered>>);

impl Script for Remember {
    fn path(&self, number: usize) -> String {
        format!("/{}/{number}", if number.is_multiple_of(2) { "tag" } else { "closed" })
    }

    fn check(&self, path: &str, answer: &Answer) -> Result<(), String> {
        if !answer.whole {
            // Killed while it answered.
            return Ok(());
        }
        let field = |name: &str| answer.field(name).map(str::to_owned).ok_or(format!("{path}: no {name}"));
        let mut answered = self.0.lock().expect("not poisoned");
        answered.policies.insert(field("x-portcullis-policy")?);
        let fresh = match answer.rule() {
            "rbac/open" => answered.allowed.insert(field("x-request-id")?),
            "rbac/default-deny" => answered.refused.insert(field("x-request-id")?),
            other => return Err(format!("{path}: {} {other}", answer.status)),
        };
        if fresh { Ok(()) } else { Err(format!("{path}: an id twice")) }
    }
}

/// One of many policies that allow the same.
fn policy(origin: &Origin, sink: &str, number: u64) -> String {
    format!(
        "[upstream.origin]\n{}\n[[route]]\nid = \"all\"\npath = \"/{{*rest}}\"\nupstream = \"origin\"\n\
         [[rbac.grant]]\nid = \"open\"\nroles = [\"anyone\"]\npath = \"/tag/{{*rest}}\"\n\
         [[rbac.deny]]\nid = \"n{number}\"\npath = \"/never/{{*rest}}\"\n\
         [log]\nsink = {{ file = \"log.jsonl\", {sink} }}\n[history]\nkeep = 1000\n\
         [server]\nlisten = [\"127.0.0.1:0\"]\nstate_dir = \"state\"\n",
        origin.servers()
    )
}

/// The process is killed while it turns its log and takes over another policy, again and again.
fn again_and_again(scale: Scale, report: &mut Report, what: &str, sink: &str, turns: Turns) {
    let kills: u32 = scale.pick(12, 100);
    let origin = Origin::start();
    let answered = Arc::<Mutex<Answered>>::default();
    let mut wrong = Vec::new();
    let mut number = 0;
    let mut start = Start::new(&policy(&origin, sink, number));
    let mut gateway;
    let mut left: u32 = 0;
    loop {
        gateway = start.start();
        let plan = Plan { connections: 16, rest: Duration::ZERO };
        let load = Load::start(gateway.address(), plan, Remember(Arc::clone(&answered)));
        // Every kind of moment: at once when a file has gone, some time around it, any time.
        let begin = until(Duration::from_secs(20), || (load.sent() > 300).then(Instant::now));
        let begin = begin.expect("requests flow");
        for _ in 0..=left % 3 {
            number += 1;
            gateway.write_config(&policy(&origin, sink, number));
            if turns == Turns::ByOthers {
                move_away(gateway.path(), number);
            }
            signal(&gateway, Signal::HUP);
            let now = inode(gateway.path());
            let patience = Duration::from_millis(150) * (1 + left % 3);
            while turns != Turns::Never && inode(gateway.path()) == now && begin.elapsed() < patience {
                std::hint::spin_loop();
            }
        }
        thread::sleep(Duration::from_micros([0, 0, 50, 400, 3_000, 20_000][left as usize % 6]));
        kill(&mut gateway);
        let outcome = load.stop();
        // Of those that were killed nothing is known.
        let gone = |said: &String| {
            ["no connection", "os error", "end of file"].iter().any(|what| said.contains(what))
        };
        wrong.extend(outcome.wrong.into_iter().filter(|said| !gone(said)));
        if turns == Turns::ByOthers {
            compress(gateway.path());
        }
        left += 1;
        if left == kills {
            break;
        }
        start = gateway.again();
    }
    let answered = std::mem::take(&mut *answered.lock().expect("not poisoned"));
    let log = Log::read(gateway.path());
    let missing = |ids: &HashSet<String>| -> Vec<String> { ids.difference(&log.ids).cloned().collect() };
    let (allowed, refused) = (&answered.allowed, &answered.refused);
    let of = allowed.len() + refused.len();
    report.none("C-17", format!("{what}: answers that were wrong"), &wrong, of);
    report.none("C-17", format!("{what}: refusals without a record"), &missing(refused), refused.len());
    report.none("C-17", format!("{what}: allows without a record"), &missing(allowed), allowed.len());
    // A kill may cut the one write that is going on, for which nobody has had an answer.
    let torn = format!("{what}: torn records, of which nobody had an answer");
    report.line("C-17", torn, log.torn as f64, "", AtMost(f64::from(kills)));
    let limit = if turns == Turns::Never { Exactly(1.0) } else { AtLeast(f64::from(kills)) };
    let files = format!("{what}: files, of {} records, after {kills} kills", log.whole);
    report.line("C-17", files, log.files as f64, "", limit);
    let known = history(&gateway);
    let unknown: Vec<String> = answered.policies.difference(&known).cloned().collect();
    let policies = answered.policies.len();
    report.none("C-17", format!("{what}: policies that judged and are in no history"), &unknown, policies);
}

fn signal(gateway: &Gateway, signal: Signal) {
    let id = Pid::from_raw(gateway.id() as i32).expect("a process");
    kill_process(id, signal).expect("it runs");
}

fn kill(gateway: &mut Gateway) {
    signal(gateway, Signal::KILL);
    gateway.wait();
}

/// The file that is at the log's place.
fn inode(folder: &Path) -> Option<u64> {
    Some(fs::metadata(folder.join("log.jsonl")).ok()?.ino())
}

/// What a program that rotates logs does: it moves the file, and tells the process to open it anew.
fn move_away(folder: &Path, number: u64) {
    // One that was moved before, to which a killed process left no successor, is no longer there.
    let _ = fs::rename(folder.join("log.jsonl"), folder.join(format!("log.jsonl.{number}")));
}

/// What such a program does with files that nobody writes to any more.
fn compress(folder: &Path) {
    for path in files(folder) {
        if path.extension().is_some_and(|extension| extension == "gz") || path.ends_with("log.jsonl") {
            continue;
        }
        let packed = File::create(path.with_added_extension("gz")).expect("a file");
        let mut encoder = GzEncoder::new(packed, Compression::fast());
        encoder.write_all(&fs::read(&path).expect("read")).expect("written");
        encoder.finish().expect("written");
        fs::remove_file(&path).expect("removed");
    }
}

/// The files of the log.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map_while(Result::ok);
    let own = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("log.jsonl"));
    own.map(|entry| entry.path()).collect()
}

/// All that the files of a log hold.
#[derive(Default)]
pub struct Log {
    ids: HashSet<String>,
    pub whole: usize,
    pub torn: usize,
    files: usize,
}

impl Log {
    pub fn read(folder: &Path) -> Log {
        let mut log = Log::default();
        for path in files(folder) {
            let mut text = Vec::new();
            let mut file = File::open(&path).expect("a file");
            match path.extension().is_some_and(|extension| extension == "gz") {
                true => MultiGzDecoder::new(file).read_to_end(&mut text),
                false => file.read_to_end(&mut text),
            }
            .expect("read");
            log.files += 1;
            for line in text.split_inclusive(|byte| *byte == b'\n') {
                match serde_json::from_slice::<Value>(line) {
                    Ok(record) if line.ends_with(b"\n") => {
                        log.whole += 1;
                        log.ids.insert(record["request_id"].as_str().expect("an id").to_owned());
                    }
                    _ => log.torn += 1,
                }
            }
        }
        log
    }
}

/// The versions of the policy that the command finds in the history.
fn history(gateway: &Gateway) -> HashSet<String> {
    let text = gateway.command(&["history", "-n", "100000", "--format", "json"]);
    let document: Value = serde_json::from_str(&text).expect("JSON");
    let entries = document["history"].as_array().expect("a list").iter();
    let accepted = entries.filter(|entry| entry["kind"] == "accepted");
    accepted
        .map(|entry| format!("{}-{}", entry["generation"], entry["hash"].as_str().expect("a hash")))
        .collect()
}
