//! C-19: two thousand clients where there is memory for a few: those for whom there is none are told so, and
//! the system ends nothing. Only where groups of processes can be made.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::client::{Client, run};
use crate::gateway::{Start, open};
use crate::origin::Origin;
use crate::process::until;
use crate::report::Limit::{AtLeast, Exactly};
use crate::report::{Report, Scale};

/// A group with a limit, gone when dropped.
struct Group(PathBuf);

/// What its processes may have.
const GRANTED: u64 = 64 << 20;

impl Group {
    /// None where none can be made.
    fn new() -> Option<Group> {
        let name = format!("portcullis-soak-{}", std::process::id());
        let made = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")]
            .into_iter()
            .find_map(|(root, file)| {
                let group = Path::new(root).join(&name);
                fs::create_dir(&group).ok()?;
                let group = Group(group);
                fs::write(group.0.join(file), GRANTED.to_string()).ok().map(|()| group)
            })?;
        Some(made)
    }

    /// A shell command that enters it.
    fn entered(&self) -> String {
        format!("echo $$ > {}", self.0.join("cgroup.procs").display())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // It is busy until its process has ended.
        let _ = until(Duration::from_secs(10), || fs::remove_dir(&self.0).ok());
    }
}

/// What is inspected, and so held: 16 KiB.
const LENGTH: usize = 16 << 10;

const RULE: &str = "[[waf.rule]]\nid = \"form\"\nmatch = { contains = \"forbidden\" }\ntargets = [\"body\"]\naction = \"deny\"\n";

pub fn scarce(_: Scale, report: &mut Report) {
    let Some(group) = Group::new() else {
        println!("C-19   no group of processes can be made here, so nothing is limited");
        return;
    };
    let origin = Origin::start();
    let config =
        open(&origin.servers(), &format!("[server]\nlisten = [\"127.0.0.1:0\"]\nthreads = 2\n{RULE}"));
    let gateway = Start::new(&config).after(&group.entered()).start();
    let address = gateway.address();
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    let mut most = 0.0_f64;
    run(async {
        let mut clients = Vec::new();
        for _ in 0..2_000 {
            if let Ok(client) = Client::connect(address).await {
                clients.push(client);
            }
        }
        let head = format!(
            "POST /tag/held HTTP/1.1\r\nHost: app.test\r\nContent-Type: text/plain\r\nContent-Length: {LENGTH}\r\n\r\n"
        );
        let begin = [head.as_bytes(), &vec![b'x'; LENGTH - 1]].concat();
        // All but the last byte, so that all that is taken is held at once.
        for client in &mut clients {
            let _ = client.send(&begin).await;
        }
        most = most.max(gateway.usage().kib);
        for client in &mut clients {
            let _ = client.send(b"x").await;
        }
        for client in &mut clients {
            let what = match client.answer().await {
                Ok(answer) if answer.status == 200 => "200".to_owned(),
                Ok(answer) => format!("{} {}", answer.status, answer.rule()),
                Err(_) => "closed without an answer".to_owned(),
            };
            *answers.entry(what).or_default() += 1;
        }
    });
    most = most.max(gateway.usage().kib);
    let mut of = |what: &str| answers.remove(what).unwrap_or_default() as f64;
    let (served, shed) = (of("200"), of("503 fault/overload"));
    report.line("C-19", "of 2,000 clients in 64 MiB, served", served, "", AtLeast(200.0));
    report.line("C-19", "told that there is no room (503)", shed, "", AtLeast(1.0));
    let others: usize = answers.values().sum();
    println!("C-19   other answers: {answers:?}");
    report.line("C-19", "answered otherwise, or not", others as f64, "", Exactly(0.0));
    println!("C-19   resident at the most, with what is mapped from files: {:.1} MiB", most / 1024.0);
    let after = run(Client::get(address, "/tag/after")).map(|answer| f64::from(answer.status)).unwrap_or(0.0);
    report.line("C-19", "status for a client that comes afterwards", after, "", Exactly(200.0));
}
