//! C-7: what a request or connection costs. None takes more than a hundred times the processor time of a
//! plain one, nor memory of more than a hundred times its bytes.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{Client, get, run};
use crate::gateway::{Gateway, Start, open};
use crate::origin::Origin;
use crate::report::Limit::AtMost;
use crate::report::{Report, Scale};
use crate::token;

/// Requests that are made to be expensive.
fn cases() -> Vec<(&'static str, Vec<u8>)> {
    let head =
        |line: &str, fields: &str| format!("{line} HTTP/1.1\r\nHost: app.test\r\n{fields}\r\n").into_bytes();
    let post = |kind: &str, body: &str| {
        let mut bytes =
            head("POST /tag/x", &format!("Content-Type: {kind}\r\nContent-Length: {}\r\n", body.len()));
        bytes.extend_from_slice(body.as_bytes());
        bytes
    };
    let fields: String = (0..120).map(|number| format!("X-F{number}: {}\r\n", "a".repeat(400))).collect();
    let cookies: String = (0..1_500).map(|number| format!("c{number}=v; ")).collect();
    let json = format!("{}{}", "[".repeat(31), "]".repeat(31));
    let long = "(".repeat(60_000);
    let parts: String = (0..900)
        .map(|number| format!("--b\r\nContent-Disposition: form-data; name=\"f{number}\"\r\n\r\nx\r\n"))
        .collect();
    vec![
        ("a head of 50 KiB", head("GET /tag/x", &fields)),
        ("a path of 4,000 segments", head(&format!("GET /tag{}", "/a".repeat(3_900)), "")),
        ("a path of escapes", head(&format!("GET /tag/{}", "%61".repeat(2_600)), "")),
        ("a query of 4,000 fields", head(&format!("GET /tag/x?{}", "a&".repeat(3_900)), "")),
        ("a query of escapes", head(&format!("GET /tag/x?a={}", "%2561".repeat(1_500)), "")),
        ("1,500 cookies", head("GET /tag/x", &format!("Cookie: {}\r\n", cookies.trim_end_matches("; ")))),
        (
            "a token of 15 KiB",
            token::get(
                "/tag/x",
                &format!("{}.{}.{}", "a".repeat(5_000), "b".repeat(5_000), "c".repeat(5_000)),
            ),
        ),
        ("forged tokens", token::get("/tag/x", &token::forged("https://id.test", "none"))),
        ("a form of 1,000 fields", post("application/x-www-form-urlencoded", &"a=b&".repeat(999))),
        (
            "a form of 60 KB",
            post("application/x-www-form-urlencoded", &format!("a={}", "%41".repeat(20_000))),
        ),
        ("deep JSON", post("application/json", &json)),
        ("JSON of 60 KB", post("application/json", &format!("[\"{long}\"]"))),
        ("900 parts", post("multipart/form-data; boundary=b", &format!("{parts}--b--\r\n"))),
        (
            "text like SQL",
            post("application/x-www-form-urlencoded", &format!("a={}", "' or 1=1 /*".repeat(5_000))),
        ),
    ]
}

/// Processor time of one, in microseconds, with memory at its peak, in KiB.
fn cost(gateway: &Gateway, request: &[u8], at_least: Duration) -> (f64, f64) {
    let before = gateway.usage();
    let (mut count, mut peak) = (0, before.kib);
    run(async {
        let mut client = Client::connect(gateway.address()).await.expect("it listens");
        // Ticks of 10 ms must not matter.
        while gateway.usage().busy - before.busy < at_least {
            for _ in 0..20 {
                count += 1;
                match client.ask(request).await {
                    Ok(answer) if !answer.closes() => {}
                    _ => client = Client::connect(gateway.address()).await.expect("it listens"),
                }
            }
            peak = peak.max(gateway.usage().kib);
        }
    });
    let busy = gateway.usage().busy - before.busy;
    (busy.as_secs_f64() * 1e6 / f64::from(count), peak - before.kib)
}

pub fn ratios(scale: Scale, report: &mut Report) {
    let origin = Origin::start();
    let more = format!("{}[waf]\npacks = [\"core\"]\n", token::SOURCE);
    let start = Start::new(&open(&origin.servers(), &more));
    std::fs::write(start.folder.path().join("secret.txt"), token::SECRET).expect("written");
    let gateway = start.start();
    let time = Duration::from_millis(scale.pick(200, 2_000));
    let plain = get("/tag/x");
    cost(&gateway, &plain, time);
    let (base, _) = cost(&gateway, &plain, time);
    for (what, request) in cases() {
        let (each, grown) = cost(&gateway, &request, time);
        let ratio = each / base;
        let label = format!("{what}: processor time, a plain request has {base:.0} µs");
        report.line("C-7", label, ratio, "times", AtMost(100.0));
        let bytes = request.len() as f64 / 1024.0;
        // What the allocator and the buffer of the log keep is no single request's.
        let label = format!("{what}: memory more, of {bytes:.0} KiB");
        report.line("C-7", label, grown, "KiB", AtMost(bytes * 100.0 + 4_096.0));
    }
    frames(&gateway, report, base, scale);
}

/// Frames of HTTP/2 that cost their sender nothing: each connection is closed, or they stay cheap.
fn frames(gateway: &Gateway, report: &mut Report, base: f64, scale: Scale) {
    let settings: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    let block: &[u8] = b"\x82\x86\x84\x01\x08app.test";
    let headers = |stream: u32, flags: u8| {
        let mut frame = vec![0, 0, block.len() as u8, 1, flags];
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(block);
        frame
    };
    let reset = |stream: u32| {
        let mut frame = vec![0, 0, 4, 3, 0];
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(&[0, 0, 0, 8]);
        frame
    };
    let count = scale.pick(2_000, 20_000);
    let kinds: [(&str, Vec<u8>); 5] = [
        ("settings", settings.repeat(count)),
        ("pings", [&[0, 0, 8, 6, 0, 0, 0, 0, 0][..], &[0; 8]].concat().repeat(count)),
        (
            "streams reset at once",
            (0..count as u32)
                .flat_map(|number| [headers(2 * number + 1, 5), reset(2 * number + 1)].concat())
                .collect(),
        ),
        ("empty data", [headers(1, 4), [0, 0, 0, 0, 0, 0, 0, 0, 1].repeat(count)].concat()),
        ("continuations without end", [headers(1, 1), [0, 0, 0, 9, 0, 0, 0, 0, 1].repeat(count)].concat()),
    ];
    for (what, frames) in kinds {
        let before = gateway.usage();
        run(async {
            let Ok(mut stream) = TcpStream::connect(gateway.address()).await else { return };
            let (mut reading, mut writing) = stream.split();
            let write = async {
                let _ = writing.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
                let _ = writing.write_all(settings).await;
                let _ = writing.write_all(&frames).await;
            };
            let read = async {
                let mut bytes = [0; 16 * 1024];
                while reading.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
            };
            let _ = tokio::time::timeout(Duration::from_secs(3), async { tokio::join!(write, read) }).await;
        });
        let after = gateway.usage();
        let busy = (after.busy - before.busy).as_secs_f64() * 1e6 / count as f64;
        let label = format!("HTTP/2 {what}: processor time of each");
        report.line("C-7", label, busy / base, "times", AtMost(100.0));
        let bytes = frames.len() as f64 / 1024.0;
        let label = format!("HTTP/2 {what}: memory more, of {bytes:.0} KiB");
        report.line("C-7", label, after.kib - before.kib, "KiB", AtMost(bytes + 2_048.0));
    }
}
