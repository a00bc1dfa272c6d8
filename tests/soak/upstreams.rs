//! C-11: upstreams that die at every stage of an answer. A client gets its own answer whole, or a
//! refusal, or one that is visibly cut; never a short one that looks whole, never another's.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;

use crate::client::{Answer, Client, run};
use crate::gateway::{Gateway, open};
use crate::load::{Load, Plan, Script};
use crate::origin::{Fault, Origin};
use crate::process::until;
use crate::report::Limit::{AtLeast, AtMost, Exactly};
use crate::report::{Report, Scale};

/// Every second request meets a fault; the others must not notice.
struct Faults;

impl Script for Faults {
    fn path(&self, number: usize) -> String {
        match number % 2 {
            0 => format!("/tag/{number}/{}", "x".repeat(number % 300)),
            _ => format!("/fault/{:?}/{number}", Fault::ALL[number / 2 % Fault::ALL.len()]),
        }
    }

    fn check(&self, path: &str, answer: &Answer) -> Result<(), String> {
        let own = answer.status == 200 && answer.whole && answer.body == path.as_bytes();
        let fault = Fault::ALL.into_iter().find(|fault| path.contains(&format!("/{fault:?}/")));
        let right = match fault {
            None => own,
            Some(fault) if fault.is_harmless() => own,
            Some(_) => is_failure(path, answer),
        };
        if right { Ok(()) } else { Err(format!("{path}: {}", show(answer))) }
    }
}

/// A refusal that names its fault, or the beginning of the answer, cut.
fn is_failure(path: &str, answer: &Answer) -> bool {
    let refused = answer.status == 502 && answer.whole && answer.rule().starts_with("fault/upstream-");
    refused || (answer.status == 200 && !answer.whole && path.as_bytes().starts_with(&answer.body))
}

fn show(answer: &Answer) -> String {
    let whole = if answer.whole { "whole" } else { "cut" };
    let body = String::from_utf8_lossy(&answer.body[..answer.body.len().min(120)]);
    format!("{} {} {whole} {body}", answer.status, answer.rule())
}

pub fn faults(scale: Scale, report: &mut Report) {
    let kills = scale.pick(1_000, 10_000);
    let origin = Origin::start();
    let gateway = Gateway::start(&open(&origin.servers(), ""));
    let before = gateway.usage();
    let plan = Plan { connections: 8, rest: Duration::from_millis(1) };
    let load = Load::start(gateway.address(), plan, Faults);
    let done = until(Duration::from_secs(120), || (load.sent() >= 2 * kills).then_some(()));
    let outcome = load.stop();
    report.holds("C-11", format!("{kills} deaths of connections in time"), done.is_some());
    report.none("C-11", "answers that were not what they must be", &outcome.wrong, outcome.sent);
    let (wrong, uploads) = uploads(gateway.address(), scale.pick(50, 1_000));
    report.none("C-11", "uploads to dying upstreams without an end", &wrong, uploads);
    let sent = outcome.sent + uploads;
    report.line("C-11", format!("records of {sent}"), gateway.records(sent) as f64, "", Exactly(sent as f64));
    let back = until(Duration::from_secs(10), || {
        (gateway.usage().descriptors <= before.descriptors && origin.open() == 0).then_some(())
    });
    report.holds("C-11", "descriptors and connections to the upstream as before", back.is_some());
}

/// Bodies that the upstream does not take: with and without asking first.
fn uploads(address: SocketAddr, count: usize) -> (Vec<String>, usize) {
    let upload = async |number: usize| -> Result<(), String> {
        let mut client = Client::connect(address).await.map_err(|error| error.to_string())?;
        let expect = if number.is_multiple_of(2) { "Expect: 100-continue\r\n" } else { "" };
        let silent = number.is_multiple_of(4);
        let kind = if silent { "Upload" } else { "UploadSome" };
        let head = format!(
            "POST /fault/{kind}/{number} HTTP/1.1\r\nHost: app.test\r\nContent-Type: text/plain\r\n{expect}\
             Content-Length: 1000000\r\n\r\n"
        );
        let piece = [b'.'; 10_000];
        client.stream.write_all(head.as_bytes()).await.map_err(|error| error.to_string())?;
        if !silent {
            for _ in 0..100 {
                // A gateway that has answered need not read on.
                if client.stream.write_all(&piece).await.is_err() {
                    break;
                }
            }
        }
        loop {
            match client.answer().await {
                Ok(answer) if answer.status == 100 => {}
                Ok(answer) if answer.status == 502 && answer.whole => return Ok(()),
                Ok(answer) => return Err(format!("upload {number}: {}", show(&answer))),
                // Closed while bytes were on their way, which takes the answer back.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(()),
                Err(error) => return Err(format!("upload {number}: {error}")),
            }
        }
    };
    let wrong = run(async {
        let mut wrong = Vec::new();
        for number in 0..count {
            wrong.extend(upload(number).await.err());
        }
        wrong
    });
    (wrong, count)
}

/// An upstream in a process of its own.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start(address: SocketAddr) -> Process {
        let program = std::env::current_exe().expect("this program");
        let mut command = Command::new(program);
        command.args([Origin::ALONE, &address.to_string()]).stdout(Stdio::piped());
        let mut child = command.spawn().expect("this program runs");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        stdout.read_line(&mut line).expect("its address");
        Process { child, address: line.trim().parse().expect("an address") }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Tagged bodies of an upstream that is gone now and then.
struct Gone;

impl Script for Gone {
    fn path(&self, number: usize) -> String {
        match number % 10 {
            0 => format!("/drip/20/5/{number}"),
            _ => format!("/tag/{number}/{}", "x".repeat(number % 5_000)),
        }
    }

    fn check(&self, path: &str, answer: &Answer) -> Result<(), String> {
        let drip = path.starts_with("/drip/");
        let all = if drip { vec![b'.'; 20] } else { path.as_bytes().to_vec() };
        let own = answer.status == 200 && answer.whole && answer.body == all;
        let cut = answer.status == 200 && !answer.whole && all.starts_with(&answer.body);
        let refused = matches!(answer.status, 502 | 503) && answer.rule().starts_with("fault/upstream-");
        if own || cut || refused { Ok(()) } else { Err(format!("{path}: {}", show(answer))) }
    }
}

pub fn restarts(scale: Scale, report: &mut Report) {
    let kills = scale.pick(5, 60);
    let mut process = Process::start(SocketAddr::from(([127, 0, 0, 1], 0)));
    let address = process.address;
    let gateway = Gateway::start(&open(&format!("servers = [\"http://{address}\"]"), ""));
    let before = gateway.usage();
    let plan = Plan { connections: 16, rest: Duration::from_millis(6) };
    let load = Load::start(gateway.address(), plan, Gone);
    for _ in 0..kills {
        thread::sleep(Duration::from_millis(700));
        drop(process);
        thread::sleep(Duration::from_millis(300));
        process = Process::start(address);
    }
    thread::sleep(Duration::from_millis(300));
    let recovered = Instant::now();
    let answers = run(Client::get(gateway.address(), "/tag/again")).expect("an answer");
    report.holds(
        "C-11",
        format!("served {} ms after the last restart", recovered.elapsed().as_millis()),
        answers.status == 200,
    );
    let outcome = load.stop();
    let what = format!("answers that were not what they must be, in {kills} kills");
    report.none("C-11", what, &outcome.wrong, outcome.sent);
    let sent = outcome.sent + 1;
    report.line("C-11", format!("records of {sent}"), gateway.records(sent) as f64, "", Exactly(sent as f64));
    let share = outcome.allowed as f64 / outcome.sent as f64 * 100.0;
    report.line("C-11", "requests that the upstream answered", share, "%", AtLeast(30.0));
    let grown = (gateway.usage().kib - before.kib) / 1024.0;
    report.line("C-11", "resident memory more than before", grown, "MiB", AtMost(20.0));
}
