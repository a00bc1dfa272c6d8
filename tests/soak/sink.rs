//! C-14: a decision log that takes nothing: a pipe that nobody reads, a full disk, a folder that is
//! gone. What cannot be recorded is not passed (or is counted, where that was chosen), refusals stay
//! refusals, nothing piles up, and it is over when the log takes records again.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Answer, Client, run};
use crate::gateway::{Gateway, Start};
use crate::load::{Load, Outcome, Plan, Script};
use crate::origin::Origin;
use crate::process::until;
use crate::report::Limit::{AtLeast, AtMost, Exactly, Shown};
use crate::report::{Report, Scale};

/// Asks for what is allowed and what is not, in turn.
struct Both;

impl Script for Both {
    fn path(&self, number: usize) -> String {
        format!("/{}/{number}", if number.is_multiple_of(2) { "tag" } else { "closed" })
    }

    fn check(&self, path: &str, answer: &Answer) -> Result<(), String> {
        let right = match (answer.status, answer.rule()) {
            (200, "rbac/open") => path.starts_with("/tag/") && answer.body == path.as_bytes(),
            (503, "fault/log") => path.starts_with("/tag/"),
            (403, "rbac/default-deny") => path.starts_with("/closed/"),
            _ => false,
        };
        if right { Ok(()) } else { Err(format!("{path}: {} {}", answer.status, answer.rule())) }
    }
}

fn config(origin: &Origin, log: &str) -> String {
    format!(
        "[upstream.origin]\n{}\n[[route]]\nid = \"all\"\npath = \"/{{*rest}}\"\nupstream = \"origin\"\n\
         [[rbac.grant]]\nid = \"open\"\nroles = [\"anyone\"]\npath = \"/tag/{{*rest}}\"\n[log]\n{log}\n",
        origin.servers()
    )
}

fn load(gateway: &Gateway) -> Load {
    Load::start(gateway.address(), Plan { connections: 8, rest: Duration::from_millis(1) }, Both)
}

pub fn troubled(scale: Scale, report: &mut Report) {
    pipe(scale, report, "block");
    pipe(scale, report, "drop");
    disk(scale, report);
    folder(scale, report);
}

fn count(outcome: &Outcome, status: u16) -> usize {
    outcome.statuses.get(&status).copied().unwrap_or(0)
}

/// What holds of every trouble.
fn judge(report: &mut Report, what: &str, gateway: &Gateway, origin: &Origin, all: &[Outcome]) {
    let sent: usize = all.iter().map(|outcome| outcome.sent).sum();
    let passed: usize = all.iter().map(|outcome| count(outcome, 200)).sum();
    let wrong: Vec<String> = all.iter().flat_map(|outcome| outcome.wrong.clone()).collect();
    report.none("C-14", format!("{what}: answers other than must be"), &wrong, sent);
    let what = format!("{what}: requests at the upstream, of {passed} answered");
    report.line("C-14", what, origin.requests() as f64, "", Exactly(passed as f64));
    assert_eq!(gateway.metric("portcullis_panics_total"), Some(0.0));
}

/// How long it takes until requests pass again.
fn recovery(gateway: &Gateway) -> f64 {
    let begin = Instant::now();
    let passes =
        || run(Client::get(gateway.address(), "/tag/again")).is_ok_and(|answer| answer.status == 200);
    let passed = until(Duration::from_secs(20), || passes().then_some(()));
    if passed.is_some() { begin.elapsed().as_secs_f64() } else { f64::INFINITY }
}

fn pipe(scale: Scale, report: &mut Report, on_error: &str) {
    let what = format!("a pipe nobody reads, {on_error}");
    let origin = Origin::start();
    let reads = Arc::new(AtomicBool::new(true));
    let reading = Arc::clone(&reads);
    let text = config(&origin, &format!("sink = \"stdout\"\non_error = \"{on_error}\""));
    let gateway = Start::new(&text)
        .on_record(move |_| {
            while !reading.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(5));
            }
        })
        .start();
    let calm = load(&gateway);
    thread::sleep(Duration::from_secs(1));
    let calm = calm.stop();
    let before = gateway.usage();
    reads.store(false, Ordering::SeqCst);
    let troubled = load(&gateway);
    thread::sleep(Duration::from_secs(scale.pick(4, 30)));
    let during = gateway.usage();
    reads.store(true, Ordering::SeqCst);
    let after = recovery(&gateway);
    let troubled = troubled.stop();
    let refused = count(&troubled, 503) as f64;
    let limit = if on_error == "block" { AtLeast(1.0) } else { Exactly(0.0) };
    report.line("C-14", format!("{what}: requests not passed"), refused, "", limit);
    report.line("C-14", format!("{what}: until they pass again"), after, "s", AtMost(3.0));
    let more = (during.kib - before.kib) / 1024.0;
    report.line("C-14", format!("{what}: resident memory more"), more, "MiB", AtMost(16.0));
    let sent = calm.sent + troubled.sent;
    thread::sleep(Duration::from_millis(700));
    let lost = gateway.metric("portcullis_log_lost_total").unwrap_or(f64::NAN);
    let missing = sent.saturating_sub(gateway.records(sent)) as f64;
    report.line("C-14", format!("{what}: records missing and not counted"), missing - lost, "", AtMost(0.0));
    report.line("C-14", format!("{what}: torn records"), gateway.torn() as f64, "", Exactly(0.0));
    // One request more, of the recovery, has passed.
    let mut again = Outcome::default();
    again.statuses.insert(200, origin.requests() - count(&calm, 200) - count(&troubled, 200));
    judge(report, &what, &gateway, &origin, &[calm, troubled, again]);
}

/// A disk of a few megabytes; gone when dropped.
struct Disk<'a>(&'a Path);

impl Disk<'_> {
    fn mount(at: &Path) -> Option<Disk<'_>> {
        fs::create_dir_all(at).expect("a folder");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", "size=6m", "tmpfs"]).arg(at);
        command.status().is_ok_and(|status| status.success()).then_some(Disk(at))
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        // The log is still open.
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

fn disk(scale: Scale, report: &mut Report) {
    let origin = Origin::start();
    let start = Start::new(&config(&origin, "sink = { file = \"disk/log.jsonl\" }"));
    let at = start.folder.path().join("disk");
    let Some(_disk) = Disk::mount(&at) else {
        return report.line(
            "C-14",
            "a full disk: not measured, since none can be mounted here",
            0.0,
            "",
            Shown,
        );
    };
    let gateway = start.start();
    // Somebody else takes most of it, and the log the rest.
    fs::write(at.join("other"), vec![b'.'; 5 << 20]).expect("room");
    let troubled = load(&gateway);
    let full = until(Duration::from_secs(30), || gateway.said("takes no records")).is_some();
    report.holds("C-14", "a full disk: is noticed", full);
    thread::sleep(Duration::from_secs(scale.pick(1, 10)));
    let before = gateway.usage();
    thread::sleep(Duration::from_secs(scale.pick(2, 20)));
    let more = (gateway.usage().kib - before.kib) / 1024.0;
    let troubled = troubled.stop();
    fs::remove_file(at.join("other")).expect("removed");
    let after = recovery(&gateway);
    report.line("C-14", "a full disk: requests not passed", count(&troubled, 503) as f64, "", AtLeast(1.0));
    report.line("C-14", "a full disk: resident memory more", more, "MiB", AtMost(8.0));
    report.line("C-14", "a full disk: until they pass again", after, "s", AtMost(5.0));
    let text = fs::read(at.join("log.jsonl")).unwrap_or_default();
    let torn = text
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| line.ends_with(b"\n") && serde_json::from_slice::<serde_json::Value>(line).is_err());
    report.line("C-14", "a full disk: torn records in the new file", torn.count() as f64, "", Exactly(0.0));
    let mut again = Outcome::default();
    again.statuses.insert(200, origin.requests() - count(&troubled, 200));
    judge(report, "a full disk", &gateway, &origin, &[troubled, again]);
}

fn folder(scale: Scale, report: &mut Report) {
    let origin = Origin::start();
    let start = Start::new(&config(&origin, "sink = { file = \"logs/log.jsonl\" }"));
    let at = start.folder.path().join("logs");
    fs::create_dir(&at).expect("a folder");
    let gateway = start.start();
    let troubled = load(&gateway);
    thread::sleep(Duration::from_millis(500));
    fs::remove_dir_all(&at).expect("removed");
    let begin = Instant::now();
    let refused = until(Duration::from_secs(10), || {
        let answer = run(Client::get(gateway.address(), "/tag/x")).ok()?;
        (answer.rule() == "fault/log").then_some(())
    });
    let noticed = if refused.is_some() { begin.elapsed().as_secs_f64() } else { f64::INFINITY };
    report.line("C-14", "a folder that is gone: until it is noticed", noticed, "s", AtMost(4.0));
    thread::sleep(Duration::from_secs(scale.pick(1, 10)));
    fs::create_dir(&at).expect("a folder");
    let after = recovery(&gateway);
    report.line("C-14", "a folder that is gone: until requests pass again", after, "s", AtMost(3.0));
    let troubled = troubled.stop();
    report.line(
        "C-14",
        "a folder that is gone: requests not passed",
        count(&troubled, 503) as f64,
        "",
        AtLeast(1.0),
    );
    let mut again = Outcome::default();
    again.statuses.insert(200, origin.requests() - count(&troubled, 200));
    judge(report, "a folder that is gone", &gateway, &origin, &[troubled, again]);
}
