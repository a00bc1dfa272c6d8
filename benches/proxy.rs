//! What one request costs the whole gateway, end to end over loopback, with the policy off and on.
//!
//! The unit is processor time of the gateway's process, in user and kernel mode: the client, the
//! upstream and whatever else this machine does are not in it. `plain`: one route, one grant for
//! anyone, no log. `policy`: the core pack, 20 networks, 1,000 rules, an API key and the decision log.
//! `refused-*`: what the same policy answers itself. Linux only, since it reads `/proc`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench that cannot be set up must stop")]

mod support;

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Connections that have a request under way at the same time.
const CONNECTIONS: usize = 8;

const HEAD: &str = "host: app.test\r\nuser-agent: Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101\r\n\
    accept: application/json, text/plain, */*\r\naccept-language: en-GB,en;q=0.8\r\n\
    accept-encoding: gzip, deflate, br\r\ncookie: theme=dark; session=5f2c1e0a9b7d\r\nreferer: http://app.test/\r\n";

/// A gateway as a process of its own; ended when dropped.
struct Gateway {
    address: SocketAddr,
    process: Child,
    folder: tempfile::TempDir,
}

impl Gateway {
    fn start(upstream: SocketAddr, config: &str) -> Gateway {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("portcullis.toml");
        let common = format!(
            "version = 1\n[server]\nlisten = [\"127.0.0.1:0\"]\nthreads = 1\n\
             [upstream.origin]\nservers = [\"http://{upstream}\"]\n\
             [[route]]\nid = \"all\"\npath = \"/{{*rest}}\"\nupstream = \"origin\"\n"
        );
        fs::write(&path, common + config).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .args(["run", "--config"])
            .arg(&path)
            .current_dir(folder.path())
            .env("PORTCULLIS_LOG", "info")
            .env("NO_COLOR", "1")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = lines
            .find_map(|line| {
                let line = line.ok()?;
                assert!(!line.contains("error"), "{line}");
                let (_, rest) = line.split_once(" listening")?;
                rest.split(['=', ' ', '"']).find_map(|word| word.parse().ok())
            })
            .expect("a gateway that listens");
        thread::spawn(move || lines.for_each(drop));
        Gateway { address, process, folder }
    }

    /// Processor time of all threads, to the nanosecond.
    fn processor_time(&self) -> Duration {
        let tasks =
            fs::read_dir(Path::new("/proc").join(self.process.id().to_string()).join("task")).unwrap();
        let of = |task: &Path| {
            let text = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
            text.split(' ').next().and_then(|time| time.parse().ok()).unwrap_or(0)
        };
        Duration::from_nanos(tasks.flatten().map(|task| of(&task.path())).sum())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An upstream that answers every request at once.
fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let (mut stream, mut pending, mut piece) = (stream, Vec::new(), [0; 8192]);
                let body = "x".repeat(1024);
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                );
                while let Ok(length @ 1..) = stream.read(&mut piece) {
                    pending.extend_from_slice(&piece[..length]);
                    while let Some(end) = pending.windows(4).position(|end| end == b"\r\n\r\n") {
                        pending.drain(..end + 4);
                        if stream.write_all(answer.as_bytes()).is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    address
}

/// A client with a few connections that are kept.
struct Client {
    streams: Vec<(TcpStream, BufReader<TcpStream>)>,
    numbers: support::Numbers,
    extra: &'static str,
    status: &'static str,
}

impl Client {
    fn new(gateway: &Gateway, extra: &'static str, status: &'static str) -> Client {
        let connect = |_| {
            let stream = TcpStream::connect(gateway.address).unwrap();
            stream.set_nodelay(true).unwrap();
            (stream.try_clone().unwrap(), BufReader::new(stream))
        };
        let streams = (0..CONNECTIONS).map(connect).collect();
        Client { streams, numbers: support::Numbers::new(7), extra, status }
    }

    /// One request on each connection, then the answers.
    fn round(&mut self) {
        for (stream, _) in &mut self.streams {
            let number = self.numbers.below(1000);
            let Client { extra, .. } = self;
            let request = format!("GET /area{number}/items/{number} HTTP/1.1\r\n{HEAD}{extra}\r\n");
            stream.write_all(request.as_bytes()).unwrap();
        }
        for (_, reader) in &mut self.streams {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            assert!(line.contains(self.status), "{line}");
            let mut length = 0;
            while line != "\r\n" {
                line.clear();
                reader.read_line(&mut line).unwrap();
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
            }
            std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink()).unwrap();
        }
    }
}

const PLAIN: &str = "[log]\nsink = \"none\"\n[[rbac.grant]]\nid = \"all\"\nroles = [\"anyone\"]\n";

/// A key is verified, 20 networks and 1,000 grants are looked up, and every decision is recorded.
fn policy() -> String {
    let key = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .arg("hash-key")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .and_then(|mut child| {
            child.stdin.take().unwrap().write_all(b"a-key-of-the-bench")?;
            child.wait_with_output()
        })
        .unwrap();
    let hash = String::from_utf8(key.stdout).unwrap();
    let mut text = format!(
        "[log]\nsink = {{ file = \"decisions.jsonl\" }}\nflush = \"100ms\"\n\
         [waf]\npacks = [\"core\"]\n\
         [[authn.api_key]]\nid = \"bench\"\nheader = \"x-api-key\"\nhash = \"{}\"\nroles = [\"reader\"]\n\
         [rbac.role.reader]\n",
        hash.trim()
    );
    text.push_str("[[ip.rule]]\nid = \"networks\"\nallow = [\"127.0.0.0/8\"");
    for number in 0..20 {
        let _ = write!(text, ", \"10.{number}.0.0/16\"");
    }
    text.push_str("]\n");
    for number in 0..1000 {
        let _ = write!(
            text,
            "[[rbac.grant]]\nid = \"area-{number}\"\npath = \"/area{number}/{{*rest}}\"\nmethods = [\"GET\"]\nroles = [\"reader\"]\n"
        );
    }
    text
}

fn proxy(criterion: &mut Criterion) {
    let upstream = upstream();
    let mut group = criterion.benchmark_group("proxy");
    group.throughput(Throughput::Elements(1));
    let policy = policy();
    let off = policy.replace("[waf]\npacks = [\"core\"]\n", "");
    let elsewhere = off.replace("\"127.0.0.0/8\", ", "");
    for (name, config, extra, status) in [
        ("plain", PLAIN, "", " 200 "),
        ("policy", &*policy, "x-api-key: a-key-of-the-bench\r\n", " 200 "),
        ("policy-without-waf", &off, "x-api-key: a-key-of-the-bench\r\n", " 200 "),
        ("refused-by-ip", &elsewhere, "", " 403 "),
        ("refused-by-rbac", &off, "", " 401 "),
    ] {
        let gateway = Gateway::start(upstream, config);
        let mut client = Client::new(&gateway, extra, status);
        client.round();
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| {
                let rounds = times.div_ceil(CONNECTIONS as u64);
                let before = gateway.processor_time();
                (0..rounds).for_each(|_| client.round());
                let spent = gateway.processor_time() - before;
                spent.mul_f64(times as f64 / (rounds * CONNECTIONS as u64) as f64)
            });
        });
        drop(client);
        assert!(gateway.folder.path().exists());
    }
    group.finish();
}

criterion_group!(benches, proxy);
criterion_main!(benches);
