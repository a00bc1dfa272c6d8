//! The verdicts of `detect_sqli` and `detect_xss` on texts, for the comparison with the C library
//! libinjection: `tests/libinjection/run` is the command.
//!
//! Reads texts from standard input, each behind its length in four bytes (the lowest first), and writes a
//! byte for each: `0`, or `1` for SQL, `2` for scripts, `3` for both. Each is judged as the body of a
//! request whose type no parser knows, so that the operators see these very bytes, behind everything that
//! a program does to spare the operators a text. With `--words` it writes the words that the tables know
//! and the fingerprints of attacks (behind an `F`), one a line.

#![allow(clippy::expect_used, clippy::panic, reason = "a command of the tests: what cannot go on has failed")]

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Uri, Version};
use jiff::Timestamp;
use libinjectionrs::sqli::sqli_data::SQL_KEYWORDS;
use portcullis::config;
use portcullis::facts::Scheme;
use portcullis::policy::source::Sources;
use portcullis::policy::{Caller, Policy, Sample, World};

const CONFIG: &str = r#"
version = 1
server.listen = ["127.0.0.1:0"]
[upstream.origin]
servers = ["builtin:echo"]
[[route]]
id = "all"
path = "/{*rest}"
upstream = "origin"
[[rbac.grant]]
id = "all"
roles = ["anyone"]
[waf]
budget = 1_000_000_000
[[waf.rule]]
id = "sqli"
action = "log"
targets = ["body"]
match = { detect_sqli = true }
[[waf.rule]]
id = "xss"
action = "log"
targets = ["body"]
match = { detect_xss = true }
"#;

fn main() -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    if std::env::args().any(|argument| argument == "--words") {
        for entry in SQL_KEYWORDS {
            // The tables have fingerprints in capitals behind a 0.
            match entry.token_type {
                b'F' => writeln!(out, "F{}", entry.word.get(1..).unwrap_or_default())?,
                kind => writeln!(out, "{}{}", char::from(kind), entry.word)?,
            }
        }
        return out.flush();
    }
    let policy = policy();
    let mut texts = BufReader::new(io::stdin().lock());
    let mut length = [0; 4];
    while texts.read_exact(&mut length).is_ok() {
        let mut text = vec![0; u32::from_le_bytes(length) as usize];
        texts.read_exact(&mut text)?;
        out.write_all(&[verdict(&policy, text)])?;
    }
    out.flush()
}

fn policy() -> Policy {
    let outcome = config::compile(Sources::single("libinjection.toml", CONFIG), Timestamp::UNIX_EPOCH);
    outcome.setup.unwrap_or_else(|| panic!("{:?}", outcome.diagnostics)).policy
}

fn verdict(policy: &Policy, text: Vec<u8>) -> u8 {
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("libinjection.example"));
    headers.insert("content-type", HeaderValue::from_static("application/octet-stream"));
    headers.insert("content-length", HeaderValue::from(text.len()));
    let sample = Sample {
        now: Timestamp::UNIX_EPOCH,
        scheme: Scheme::Http,
        method: Method::POST,
        uri: Uri::from_static("/"),
        fragment: false,
        version: Version::HTTP_11,
        headers,
        body: Bytes::from(text),
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        certificate: None,
        caller: Caller::FromHeaders,
    };
    let decision = policy.decide(&sample, &World::default(), None);
    assert!(decision.outcome.own_status().is_none(), "a text was refused: {:?}", decision.outcome);
    let matched = decision.notes.waf.matched.iter().map(|found| match policy.rules.name(found.rule) {
        "waf/sqli" => 1,
        "waf/xss" => 2,
        other => panic!("{other} matched"),
    });
    matched.fold(b'0', |all, bit| all | bit)
}
