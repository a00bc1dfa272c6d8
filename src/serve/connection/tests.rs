//! Connections of HTTP/1.1 that rest between requests, against the real stack and parser, with a clock
//! that jumps from one deadline to the next.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::{Instant, sleep};

use super::*;
use crate::config::Timeouts;
use crate::decision::Stage;
use crate::facts::Scheme;
use crate::layers::trap::{self, At};
use crate::serve::drain::Connections;
use crate::serve::stack::stack;

/// A connection whose other end the test holds.
struct Place {
    client: DuplexStream,
    wire: Rc<Wire>,
    connections: Rc<Connections>,
    task: JoinHandle<()>,
}

impl Place {
    fn new() -> Place {
        Place::on(&Context::for_test("version = 1\nserver.listen = [\"127.0.0.1:0\"]\n"))
    }

    /// One of several connections of a gateway.
    fn on(context: &Rc<Context>) -> Place {
        let context = Rc::clone(context);
        let connections = Rc::new(Connections::default());
        let wire = Wire::new(Timeouts::default());
        let session = Session {
            stack: stack(&context),
            context,
            peer: Peer::new(SocketAddr::from(([127, 0, 0, 1], 1)), Scheme::Http, None),
            wire: Rc::clone(&wire),
            control: connections.add(),
            alpn: None,
        };
        let (client, server) = duplex(64 * 1024);
        Place { client, wire, connections, task: spawn_local(session.run(server)) }
    }

    async fn send(&mut self, bytes: &str) {
        self.client.write_all(bytes.as_bytes()).await.expect("sent");
    }

    /// The status of the next answer, which is read to its end.
    async fn status(&mut self) -> u16 {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            bytes.push(self.client.read_u8().await.expect("an answer"));
        }
        let head = String::from_utf8(bytes).expect("text").to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        self.client.read_exact(&mut vec![0; length]).await.expect("a body");
        head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    async fn rests_after(&self, seconds: u64) -> bool {
        sleep(Duration::from_secs(seconds)).await;
        self.wire.is_resting()
    }
}

/// No route serves the host.
const REFUSED: u16 = 421;
const GET: &str = "GET /x HTTP/1.1\r\nHost: app.test\r\n\r\n";

fn run(test: impl AsyncFnOnce()) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    LocalSet::new().block_on(&runtime.expect("a runtime"), test());
}

#[test]
fn a_connection_rests_and_serves_its_next_request_however_it_comes() {
    run(async || {
        let mut place = Place::new();
        for _ in 0..3 {
            place.send(GET).await;
            assert_eq!(place.status().await, REFUSED);
            assert!(place.rests_after(2).await);
            let (first, rest) = GET.split_at(3);
            place.send(first).await;
            sleep(Duration::from_millis(10)).await;
            place.send(&format!("{rest}{GET}")).await;
            assert_eq!((place.status().await, place.status().await), (REFUSED, REFUSED));
            assert!(!place.rests_after(0).await);
        }
    });
}

#[test]
fn a_connection_rests_only_where_all_that_came_was_of_answered_requests() {
    run(async || {
        for more in ["GET /half", "\r\n", "POST /x HTTP/1.1\r\nHost: app.test\r\nContent-Length: 3\r\n\r\na"]
        {
            let mut place = Place::new();
            place.send(GET).await;
            assert_eq!(place.status().await, REFUSED);
            place.send(more).await;
            assert!(!place.rests_after(3).await, "{more:?}");
        }
        // Only the parser knows where a chunked body ends.
        let mut place = Place::new();
        let chunked = "POST /x HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        place.send(chunked).await;
        assert_eq!(place.status().await, REFUSED);
        assert!(!place.rests_after(3).await);
        place.send(GET).await;
        assert_eq!(place.status().await, REFUSED);
        assert!(place.rests_after(3).await);
    });
}

#[test]
fn rest_counts_as_idleness_and_ends_with_the_process() {
    run(async || {
        let mut place = Place::new();
        place.send(GET).await;
        assert_eq!(place.status().await, REFUSED);
        let begin = Instant::now();
        assert!(place.rests_after(2).await);
        assert!(place.client.read_u8().await.is_err());
        let idle = Timeouts::default().idle;
        assert!(begin.elapsed() >= idle && begin.elapsed() < idle + Duration::from_secs(1));
        place.task.await.expect("no panic");

        let mut place = Place::new();
        place.send(GET).await;
        assert_eq!(place.status().await, REFUSED);
        assert!(place.rests_after(2).await);
        place.connections.ask(Ask::Leave);
        assert!(place.rests_after(1).await);
        // What has come by then is served.
        place.send(GET).await;
        place.connections.ask(Ask::Finish);
        assert_eq!(place.status().await, REFUSED);
        place.task.await.expect("no panic");

        for ask in [Ask::Finish, Ask::Cut] {
            let mut place = Place::new();
            place.send(GET).await;
            assert_eq!(place.status().await, REFUSED);
            assert!(place.rests_after(2).await);
            place.connections.ask(ask);
            assert!(place.client.read_u8().await.is_err());
            place.task.await.expect("no panic");
        }
    });
}

/// A panic in whichever layer refuses that request, closes that connection, is counted, and harms nobody else.
#[test]
fn a_panic_in_any_layer_is_a_refusal_of_that_request_alone() {
    const POST: &str = "POST /x HTTP/1.1\r\nHost: app.test\r\nContent-Length: 1\r\n\r\na";
    run(async || {
        let context = Context::for_test(
            "version = 1\nserver.listen = [\"127.0.0.1:0\"]\n[upstream.demo]\nservers = [\"builtin:echo\"]\n\
             [[route]]\nid = \"all\"\npath = \"/{*rest}\"\nupstream = \"demo\"\n\
             [[rbac.grant]]\nid = \"all\"\nroles = [\"anyone\"]\npath = \"/{*rest}\"\n",
        );
        let gates = Stage::ALL.into_iter().filter(|stage| *stage != Stage::Fault).map(At::Gate);
        let mut panics = 0;
        for at in gates.chain([At::Admit, At::Identify, At::ReadBody, At::Proxy]) {
            let (mut place, mut neighbour) = (Place::on(&context), Place::on(&context));
            neighbour.send(POST).await;
            assert_eq!(neighbour.status().await, 200, "{at:?}");
            trap::set(Some(at));
            place.send(POST).await;
            assert_eq!(place.status().await, 503, "{at:?}");
            assert!(place.client.read_u8().await.is_err(), "{at:?}");
            trap::set(None);
            panics += 1;
            assert_eq!(context.metrics.panics.get(), panics, "{at:?}");
            neighbour.send(POST).await;
            assert_eq!(neighbour.status().await, 200, "{at:?}");
            place.task.await.expect("no panic");
        }
    });
}
