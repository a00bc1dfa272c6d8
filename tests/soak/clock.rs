//! C-15: a clock that is set forwards and back, stands still, and passes 2038, by libfaketime. Tokens
//! are judged by the clock as it is now, also such as were verified before; timers do not notice.

use std::fs;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{Client, run};
use crate::gateway::{Gateway, Start, open};
use crate::origin::Origin;
use crate::report::Limit::{AtLeast, AtMost, Exactly};
use crate::report::{Report, Scale};
use crate::token;

const HOUR: i64 = 3_600;
const YEAR: i64 = 365 * 24 * HOUR;

/// Where Debian has the library.
fn library() -> Option<PathBuf> {
    let places = ["x86_64-linux-gnu", "aarch64-linux-gnu", "."];
    let path = |place| Path::new("/usr/lib").join(place).join("faketime/libfaketimeMT.so.1");
    places.into_iter().map(path).find(|path| path.exists())
}

/// A key server that has nothing usable, and counts who asks.
fn key_server() -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    thread::spawn(move || {
        for _ in listener.incoming() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    (address, count)
}

fn status(gateway: &Gateway, token: &str) -> (u16, String) {
    let request = token::get("/tag/x", token);
    let answer = run(async { Client::connect(gateway.address()).await?.ask(&request).await });
    answer.map_or((0, String::new()), |answer| (answer.status, answer.rule().to_owned()))
}

pub fn jumps(scale: Scale, report: &mut Report) {
    let Some(library) = library() else {
        return report.holds("C-15", "libfaketime is installed (apt-get install libfaketime)", false);
    };
    let origin = Origin::start();
    let (keys, fetches) = key_server();
    let more = format!(
        "{}[[authn.jwt]]\nid = \"remote\"\nissuer = \"https://other.test\"\naudience = [\"app\"]\nalgorithms = [\"ES256\"]\n\
         jwks = {{ url = \"http://{keys}/keys\", refresh = \"1m\" }}\n[timeouts]\nfirst_byte = \"1s\"\n",
        token::SOURCE
    );
    let start = Start::new(&open(&origin.servers(), &more));
    fs::write(start.folder.path().join("secret.txt"), token::SECRET).expect("written");
    let file = start.folder.path().join("clock");
    let set = |text: &str| {
        let fresh = file.with_extension("new");
        fs::write(&fresh, text).expect("written");
        fs::rename(&fresh, &file).expect("renamed");
    };
    set("+0");
    let gateway = start
        .with_env("LD_PRELOAD", &library.to_string_lossy())
        .with_env("FAKETIME_TIMESTAMP_FILE", &file.to_string_lossy())
        .with_env("FAKETIME_NO_CACHE", "1")
        .with_env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .with_env("DONT_FAKE_MONOTONIC", "1")
        .with_env("TZ", "UTC")
        .start();
    let begin = Instant::now();
    let year_2038 = 2_147_483_648 - 2 - token::now();
    let steps = [
        ("as it is", "+0".to_owned(), 0),
        ("an hour on", format!("+{HOUR}"), HOUR),
        ("an hour back", format!("-{HOUR}"), -HOUR),
        ("ten years on", format!("+{}", 10 * YEAR), 10 * YEAR),
        ("ten years back", format!("-{}", 10 * YEAR), -10 * YEAR),
        ("past 2038", format!("+{year_2038}"), year_2038),
        ("into the 22nd century", format!("+{}", 80 * YEAR), 80 * YEAR),
        ("as it is again", "+0".to_owned(), 0),
    ];
    let mut wrong = Vec::new();
    let mut cuts = Vec::new();
    for round in 0..scale.pick(1, 5) {
        for (name, text, offset) in &steps {
            // Verified, and remembered, before the step.
            let old = token::token(token::now() + 300, &json!({ "jti": format!("{name}{round}") }));
            set("+0");
            let before = status(&gateway, &old);
            set(text);
            let now = token::now() + offset;
            let good = token::token(now + 300, &json!({}));
            let bad = token::token(now - 300, &json!({}));
            let of_old = if *offset > 300 { (401, "authn/expired") } else { (200, "rbac/all") };
            for (what, token, wanted) in [
                ("a token that was verified before", &old, of_old),
                ("a token of now", &good, (200, "rbac/all")),
                ("an expired token", &bad, (401, "authn/expired")),
            ] {
                let (status, rule) = status(&gateway, token);
                if (status, &*rule) != wanted {
                    wrong.push(format!("{name}: {what}: {status} {rule}"));
                }
            }
            if before.0 != 200 || gateway.reload().0 != 200 {
                wrong.push(format!("{name}: {before:?}, or a reload failed"));
            }
            cuts.push(silence(&gateway));
        }
    }
    frozen(&gateway, &set, &mut wrong, &mut cuts);
    set("+0");
    report.none("C-15", "answers or reloads that do not go by the clock", &wrong, cuts.len() * 5);
    cuts.sort_unstable();
    let (first, last) = (cuts[0].as_secs_f64(), cuts[cuts.len() - 1].as_secs_f64());
    report.line("C-15", "a deadline of 1 s, at the earliest", first, "s", AtLeast(0.9));
    report.line("C-15", "and at the latest", last, "s", AtMost(2.0));
    let wanted = begin.elapsed().as_secs() / 10;
    let fetched = fetches.load(Ordering::SeqCst);
    report.line("C-15", "fetches of a key set, one in 10 s", fetched as f64, "", AtLeast(wanted as f64));
    report.line("C-15", "and no more", fetched as f64, "", AtMost(wanted as f64 + 2.0));
    let busy = gateway.usage().busy.as_secs_f64() / begin.elapsed().as_secs_f64() * 100.0;
    report.line("C-15", "processor time meanwhile", busy, "% of a core", AtMost(50.0));
    let panics = gateway.metric("portcullis_panics_total").unwrap_or(f64::NAN);
    report.line("C-15", "panics", panics, "", Exactly(0.0));
}

/// A clock that stands still: what is measured by it stands still, deadlines do not.
fn frozen(gateway: &Gateway, set: &impl Fn(&str), wrong: &mut Vec<String>, cuts: &mut Vec<Duration>) {
    let now = token::now();
    let instant = jiff::Timestamp::from_second(now).expect("a time");
    set(&instant.strftime("%Y-%m-%d %H:%M:%S").to_string());
    let token = token::token(now + 2, &json!({}));
    for _ in 0..3 {
        cuts.push(silence(gateway));
    }
    // Three seconds have passed, and none by the clock.
    let (status, rule) = status(gateway, &token);
    if status != 200 {
        wrong.push(format!("frozen: {status} {rule}"));
    }
}

/// How long a connection that says nothing is kept.
fn silence(gateway: &Gateway) -> Duration {
    let begin = Instant::now();
    let mut stream = TcpStream::connect(gateway.address()).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let _ = stream.read(&mut [0; 16]);
    begin.elapsed()
}
