//! Ten thousand connections that say little: in part of a head, in part of a handshake, or nothing at
//! all, and such as are kept alive between requests. What they cost, when they are cut, and whether a
//! client that behaves notices (C-5).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use crate::client::{Client, get, run};
use crate::gateway::{Gateway, Start, open};
use crate::load::{fill, quantile};
use crate::origin::Origin;
use crate::process::until;
use crate::report::Limit::{AtMost, Exactly, Shown};
use crate::report::{Report, Scale};
use crate::support::tls::Authority;

/// What a client sends before it falls silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slow {
    /// Part of a request head.
    Head,
    /// Part of a head, and then a byte a second.
    Drip,
    /// Nothing.
    Nothing,
    /// Part of a ClientHello.
    Handshake,
    /// A whole TLS handshake, and then part of a head.
    HeadInTls,
    /// Part of the preface of HTTP/2.
    Preface,
    /// The preface of HTTP/2 and part of a HEADERS frame.
    Frame,
}

/// A gateway with a listener in clear text and one with TLS.
struct Place {
    gateway: Gateway,
    connector: TlsConnector,
}

fn place(more: &str) -> Place {
    let origin = Origin::start();
    let authority = Authority::new("soak");
    let listeners = "[[listener]]\naddress = \"127.0.0.1:0\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
                     tls = { certificates = [{ cert = \"app.pem\", key = \"app.key\" }] }\n";
    let start = Start::new(&open(&origin.servers(), &format!("{listeners}{more}")));
    authority.server(&["app.test"]).write(start.folder.path(), "app");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.certificate()).expect("a certificate");
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    // Every client is another one.
    config.resumption = rustls::client::Resumption::disabled();
    Place { gateway: start.start(), connector: TlsConnector::from(Arc::new(config)) }
}

/// How long each connection lasted, or why it could not be made.
type Lasted = Vec<io::Result<Duration>>;

/// Opens so many slow connections, and waits for each to be cut.
fn besiege(place: &Place, slow: Slow, count: usize) -> thread::JoinHandle<Lasted> {
    let addresses = place.gateway.addresses.clone();
    let connector = place.connector.clone();
    thread::spawn(move || {
        run(async move {
            let mut clients = JoinSet::new();
            // So many at once as the queue of the listener takes.
            let turns = Arc::new(Semaphore::new(64));
            for _ in 0..count {
                let (addresses, connector, turns) =
                    (addresses.clone(), connector.clone(), Arc::clone(&turns));
                clients.spawn(async move {
                    let turn = turns.acquire_owned().await.expect("not closed");
                    let begin = slow_client(&addresses, &connector, slow, turn);
                    match timeout(Duration::from_secs(40), begin).await {
                        Ok(lasted) => lasted,
                        Err(_) => Ok(Duration::from_secs(40)),
                    }
                });
            }
            clients.join_all().await
        })
    })
}

async fn slow_client(
    addresses: &[SocketAddr],
    connector: &TlsConnector,
    slow: Slow,
    turn: tokio::sync::OwnedSemaphorePermit,
) -> io::Result<Duration> {
    let address = match slow {
        Slow::Handshake | Slow::HeadInTls => addresses[1],
        Slow::Head | Slow::Drip | Slow::Nothing | Slow::Preface | Slow::Frame => addresses[0],
    };
    let mut stream = TcpStream::connect(address).await?;
    let begin = Instant::now();
    let part: &[u8] = match slow {
        Slow::Head | Slow::Drip | Slow::HeadInTls => b"GET /slow HTTP/1.1\r\nHost: app.test\r\nX-A: b\r\nX-C",
        Slow::Nothing => b"",
        Slow::Handshake => &hello()[..100],
        Slow::Preface => b"PRI * HTTP/2.0\r\n\r\nSM",
        Slow::Frame => {
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\x01\0\x01\x05\0\0\0\x01\x82\x86"
        }
    };
    if slow == Slow::HeadInTls {
        let name = ServerName::try_from("app.test").expect("a name");
        let mut stream = connector.connect(name, stream).await?;
        stream.write_all(part).await?;
        drop(turn);
        cut(&mut stream).await;
        return Ok(begin.elapsed());
    }
    stream.write_all(part).await?;
    drop(turn);
    if slow == Slow::Drip {
        let (mut reading, mut writing) = stream.into_split();
        let drip = async {
            while writing.write_all(b"x").await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            () = cut(&mut reading) => {}
            () = drip => {}
        }
    } else {
        cut(&mut stream).await;
    }
    Ok(begin.elapsed())
}

/// Waits for the end of a connection.
async fn cut(stream: &mut (impl AsyncReadExt + Unpin)) {
    let mut bytes = [0; 512];
    while stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
}

/// What a client says first in TLS.
fn hello() -> Vec<u8> {
    let config = ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty());
    let name = ServerName::try_from("app.test").expect("a name");
    let mut connection = ClientConnection::new(Arc::new(config.with_no_client_auth()), name).expect("usable");
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).expect("in memory");
    bytes
}

/// Times of requests that one client makes one after the other on a connection of its own.
fn ask_in_peace(address: SocketAddr, count: usize) -> Vec<Duration> {
    run(async move {
        let mut client = Client::connect(address).await.expect("it listens");
        let mut times = Vec::with_capacity(count);
        for number in 0..count {
            let path = format!("/tag/{number}");
            let begin = Instant::now();
            let answer = client.ask(&get(&path)).await.expect("an answer");
            times.push(begin.elapsed());
            assert!(answer.status == 200 && answer.body == path.as_bytes(), "{}", answer.head);
        }
        times
    })
}

fn connections(gateway: &Gateway) -> usize {
    gateway.metric("portcullis_connections").unwrap_or(0.0) as usize
}

/// Slow connections of each kind.
pub fn slowloris(scale: Scale, report: &mut Report) {
    let many = scale.pick(1_000, 10_000);
    let few = scale.pick(300, 2_000);
    let kinds = [
        (Slow::Head, many, 20.0),
        (Slow::Drip, few, 20.0),
        (Slow::Nothing, few, 20.0),
        (Slow::Preface, few, 20.0),
        (Slow::Frame, few, 60.0),
        (Slow::Handshake, few, 60.0),
        (Slow::HeadInTls, few, 60.0),
    ];
    if !scale.long {
        // All at once, since each takes the ten seconds of its deadline.
        let place = place("");
        let sieges = kinds.map(|(slow, count, _)| (slow, count, besiege(&place, slow, count)));
        let all: usize = kinds.iter().map(|(_, count, _)| count).sum();
        assert!(
            until(Duration::from_secs(9), || (connections(&place.gateway) >= all).then_some(())).is_some()
        );
        let mut times = ask_in_peace(place.gateway.address(), 1_000);
        let what = format!("99th percentile of a client that behaves, beside {all} slow ones");
        report.line("C-5", what, quantile(&mut times, 0.99), "ms", AtMost(50.0));
        for (slow, count, siege) in sieges {
            cut_in_time(report, slow, count, siege.join().expect("no panic"));
        }
        return gone(report, &place.gateway);
    }
    for (slow, count, most) in kinds {
        let place = place("");
        let mut calm = ask_in_peace(place.gateway.address(), 5_000);
        let before = place.gateway.usage();
        let siege = besiege(&place, slow, count);
        let there = || (connections(&place.gateway) >= count).then_some(());
        if until(Duration::from_secs(9), there).is_none() {
            // A machine on which they do not come within their deadline shows only that they are cut.
            report.line(
                "C-5",
                format!("{slow:?}: of {count} at once"),
                connections(&place.gateway) as f64,
                "",
                Shown,
            );
        } else {
            let each = (place.gateway.usage().kib - before.kib) / count as f64;
            let what = format!("{slow:?}: resident memory of each of {count}");
            report.line("C-5", what, each, "KiB", scale.if_optimised(AtMost(most)));
        }
        let mut besieged = ask_in_peace(place.gateway.address(), 5_000);
        let still = connections(&place.gateway);
        let slower = (quantile(&mut besieged, 0.5) / quantile(&mut calm, 0.5) - 1.0) * 100.0;
        let what = format!("{slow:?}: a client that behaves is slower at the median, with {still} beside it");
        report.line("C-5", what, slower, "%", scale.if_long(AtMost(10.0)));
        let what = format!("{slow:?}: its 99th percentile");
        report.line("C-5", what, quantile(&mut besieged, 0.99), "ms", AtMost(50.0));
        cut_in_time(report, slow, count, siege.join().expect("no panic"));
        gone(report, &place.gateway);
    }
}

fn cut_in_time(report: &mut Report, slow: Slow, count: usize, lasted: Lasted) {
    let refused: Vec<String> =
        lasted.iter().filter_map(|lasted| lasted.as_ref().err().map(ToString::to_string)).collect();
    let longest = lasted.into_iter().filter_map(Result::ok).max().unwrap_or_default();
    report.line(
        "C-5",
        format!("{slow:?}: the last of {count} cut"),
        longest.as_secs_f64(),
        "s",
        AtMost(11.0),
    );
    report.none("C-5", format!("{slow:?}: connections that could not be made"), &refused, count);
}

/// Nothing of them is left.
fn gone(report: &mut Report, gateway: &Gateway) {
    let _ = until(Duration::from_secs(5), || (connections(gateway) == 0).then_some(()));
    report.line("C-5", "connections left behind", connections(gateway) as f64, "", Exactly(0.0));
}

/// Connections that are kept alive between requests.
pub fn idle(scale: Scale, report: &mut Report) {
    let count = scale.pick(1_000, 10_000);
    for (tls, most) in [(false, 20.0), (true, 60.0)] {
        let place = place("[timeouts]\nidle = \"10m\"\n");
        let gateway = &place.gateway;
        fill(gateway.address());
        let before = gateway.usage();
        let address = gateway.addresses[usize::from(tls)];
        let each = run(async {
            let mut plain = Vec::new();
            let mut secured = Vec::new();
            for number in 0..count {
                if number == count / 2 {
                    // Nobody has a crowd that comes within a second and then says nothing.
                    sleep(Duration::from_secs(2)).await;
                }
                let path = get(&format!("/tag/{number}"));
                let mut client = Client::connect(address).await.expect("it listens");
                if tls {
                    let name = ServerName::try_from("app.test").expect("a name");
                    let stream = place.connector.connect(name, client.stream).await.expect("a handshake");
                    let mut client = Client::over(stream);
                    assert_eq!(client.ask(&path).await.expect("an answer").status, 200);
                    secured.push(client);
                } else {
                    assert_eq!(client.ask(&path).await.expect("an answer").status, 200);
                    plain.push(client);
                }
            }
            // With the connections to the upstream that have gone by then.
            sleep(Duration::from_secs(5)).await;
            assert_eq!(connections(gateway), count);
            let each = (gateway.usage().kib - before.kib) / count as f64;
            let client = if tls { plain.len() } else { secured.len() };
            assert_eq!(client, 0);
            each
        });
        let what = format!(
            "resident memory of each of {count} idle connections{}",
            if tls { " of TLS" } else { "" }
        );
        report.line("idle", what, each, "KiB", scale.if_optimised(AtMost(most)));
        let gone = until(Duration::from_secs(5), || (connections(gateway) == 0).then_some(()));
        report.holds("idle", "none is left when they have gone", gone.is_some());
    }
}
