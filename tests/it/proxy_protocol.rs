//! The PROXY protocol: believed from the proxies that are listed, which must speak it, and from nobody
//! else.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use crate::support::tls::{Authority, TlsClient};
use crate::support::{Gateway, Response, read_response, wait_until};

const POLICY: &str = r#"
[upstream.demo]
servers = ["builtin:echo"]
[[route]]
id = "all"
path = "/{*rest}"
upstream = "demo"
[network]
office = ["192.0.2.0/24", "2001:db8::/32"]
[[ip.rule]]
id = "office"
path = "/office"
allow = ["office"]
[[rbac.grant]]
id = "all"
roles = ["anyone"]
[[listener]]
address = "127.0.0.1:0"
"#;

const FROM_US: &str = "proxy_protocol = { from = [\"127.0.0.1\"] }\n";
const FROM_OTHERS: &str = "proxy_protocol = { from = [\"10.0.0.0/8\"] }\n";
const ASK: &[u8] = b"GET /office HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u16).to_be_bytes();
    [SIGNATURE, &[command, family], &length, payload].concat()
}

/// The answer to bytes that come in two pieces, the first of this length.
fn send(gateway: &Gateway, bytes: &[u8], first: usize) -> Option<Response> {
    let mut stream = TcpStream::connect(gateway.address).expect("listens");
    stream.set_nodelay(true).expect("a socket");
    let _ = stream.write_all(&bytes[..first]);
    let _ = stream.write_all(&bytes[first..]);
    read_response(&mut stream, false)
}

#[test]
fn the_address_of_a_listed_proxy_s_header_is_the_client_s() {
    let gateway = Gateway::start(&format!("{POLICY}{FROM_US}"));
    let four = [192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x67, 1, 187];
    let mut six = [0; 36];
    six[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    let mut count = 0;
    for (head, client) in [
        (b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 443\r\n".to_vec(), "192.0.2.1"),
        (b"PROXY TCP6 2001:db8::7 ::1 4711 443\r\n".to_vec(), "2001:db8::7"),
        (v2(0x21, 0x11, &four), "192.0.2.1"),
        (v2(0x21, 0x21, &six), "2001:db8::"),
    ] {
        for first in [1, 14, 17, head.len()] {
            let answer = send(&gateway, &[&head, ASK].concat(), first).expect("an answer");
            assert_eq!(answer.status, 200, "{client} {}", answer.text());
            count += 1;
            let record = gateway.records(count).pop().expect("a record");
            assert_eq!(
                (&record["client"]["ip"], &record["client"]["peer"]),
                (&client.into(), &client.into())
            );
        }
    }
    let answer = send(&gateway, &[b"PROXY TCP4 8.8.8.8 10.0.0.1 4711 443\r\n", ASK].concat(), 1);
    let answer = answer.expect("an answer");
    assert_eq!((answer.status, answer.rule()), (403, "ip/office"));
}

#[test]
fn it_is_the_peer_from_which_the_client_is_derived() {
    let proxies = "[server]\ntrusted_proxies = [\"198.51.100.7\"]\n";
    let gateway = Gateway::start(&format!("{POLICY}{FROM_US}{proxies}"));
    let ask = |peer: &str| {
        let head = format!(
            "PROXY TCP4 {peer} 10.0.0.1 1 2\r\nGET /office HTTP/1.1\r\nHost: app.test\r\n\
             X-Forwarded-For: 192.0.2.9\r\nConnection: close\r\n\r\n"
        );
        send(&gateway, head.as_bytes(), 1).expect("an answer").status
    };
    assert_eq!((ask("198.51.100.7"), ask("198.51.100.8")), (200, 403));
}

#[test]
fn a_proxy_that_speaks_for_itself_has_its_own_address() {
    let gateway = Gateway::start(&format!("{POLICY}{FROM_US}"));
    let answer = send(&gateway, &[&v2(0x20, 0, &[]), ASK].concat(), 1).expect("an answer");
    assert_eq!((answer.status, answer.rule()), (403, "ip/office"));
    assert_eq!(gateway.records(1)[0]["client"]["ip"], "127.0.0.1");
}

#[test]
fn a_listed_proxy_must_say_whose_connection_it_is() {
    let gateway = Gateway::start(&format!("{POLICY}{FROM_US}"));
    let refused = [
        ASK.to_vec(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1 10.0.0.1 1 99999\r\n".to_vec(),
        [b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat(),
        v2(0x21, 0, &[]),
        v2(0x21, 0x31, &[b'/'; 216]),
        v2(0x21, 0x12, &[1; 12]),
        v2(0x21, 0x11, &[1; 3]),
        v2(0x25, 0x11, &[1; 12]),
        [SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat(),
    ];
    for bytes in &refused {
        let answer = send(&gateway, &[bytes, ASK].concat(), 1).expect("an answer");
        assert_eq!((answer.status, answer.rule()), (400, "intake/forwarded-malformed"), "{bytes:?}");
        assert_eq!(answer.json()["reason"], "bad_forwarded");
    }
    let records = gateway.records(refused.len());
    assert!(records.iter().all(|record| record["rule"] == "intake/forwarded-malformed"), "{records:?}");
}

#[test]
fn a_header_that_breaks_off_is_recorded_and_silence_is_not() {
    let timeouts = "[timeouts]\ndrain_delay = \"0s\"\nfirst_byte = \"100ms\"\n";
    let gateway = Gateway::start(&format!("{POLICY}{FROM_US}{timeouts}"));
    let close = |bytes: &[u8], shut: bool| {
        let mut stream = TcpStream::connect(gateway.address).expect("listens");
        stream.write_all(bytes).expect("sent");
        if shut {
            stream.shutdown(Shutdown::Write).expect("shut");
        }
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    assert_eq!(close(b"", true), "");
    assert_eq!(close(b"PROXY TCP4 192.0.2.1", true), "");
    // Long enough to tell, and then nothing: the deadline is that of the first byte.
    assert!(close(b"PROXY TCP4 192.0.2.1", false).starts_with("HTTP/1.1 400 "));
    assert!(close(&v2(0x21, 0x11, &[1; 12])[..20], false).starts_with("HTTP/1.1 400 "));
    assert_eq!(gateway.records(3).len(), 3);
}

#[test]
fn a_header_from_anybody_else_is_not_believed() {
    let head = b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 443\r\n".to_vec();
    let four = v2(0x21, 0x11, &[192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x67, 1, 187]);
    for listener in [FROM_OTHERS, ""] {
        let gateway = Gateway::start(&format!("{POLICY}{listener}"));
        for head in [&head, &four] {
            let answer = send(&gateway, &[head, ASK].concat(), 1).expect("an answer");
            assert_eq!(answer.status, 400, "{head:?}");
        }
        let records = gateway.records(2);
        assert!(records.iter().all(|record| record["rule"] == "intake/malformed"), "{records:?}");
        assert!(records.iter().all(|record| record["client"]["ip"] == "127.0.0.1"), "{records:?}");
        // Without one it is a client like others.
        let answer = send(&gateway, ASK, 1).expect("an answer");
        assert_eq!((answer.status, answer.rule()), (403, "ip/office"));
    }
}

#[test]
fn it_stands_in_front_of_tls() {
    let authority = Authority::new("servers");
    let tls = "tls = { certificates = [{ cert = \"server.pem\", key = \"server.key\" }] }\n";
    let client = TlsClient::new(&authority, None);
    let head = b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 443\r\n";
    for (listener, ours) in [(FROM_US, true), (FROM_OTHERS, false)] {
        let folder = tempfile::tempdir().expect("a folder");
        authority.server(&["app.test"]).write(folder.path(), "server");
        let gateway = Gateway::start_in(folder, &format!("{POLICY}{tls}{listener}"), &[]);
        let with = client.connect_after(gateway.address, "app.test", head);
        let without = client.connect(gateway.address, "app.test");
        assert_eq!((with.is_ok(), without.is_ok()), (ours, !ours), "{listener}");
        let (right, status) = if ours { (with, 200) } else { (without, 403) };
        let mut right = right.expect("a handshake");
        assert_eq!(right.get("app.test", "/office").expect("an answer").status, status);
        let rule = if ours { "intake/forwarded-malformed" } else { "intake/malformed" };
        assert_eq!(gateway.records(2).iter().filter(|record| record["rule"] == rule).count(), 1);
    }
}

#[test]
fn connections_are_counted_for_the_clients_of_a_proxy() {
    let limits = "[limits]\nconnections_per_address = 1\n";
    let gateway = Gateway::start(&format!("{POLICY}{FROM_US}{limits}"));
    let open = |client: &str| {
        let mut stream = TcpStream::connect(gateway.address).expect("listens");
        let ask = format!("PROXY TCP4 {client} 10.0.0.1 1 2\r\nGET /x HTTP/1.1\r\nHost: app.test\r\n\r\n");
        stream.write_all(ask.as_bytes()).expect("sent");
        let status = read_response(&mut stream, false).expect("an answer").status;
        (stream, status)
    };
    let (first, status) = open("192.0.2.1");
    assert_eq!(status, 200);
    assert_eq!((open("192.0.2.1").1, open("192.0.2.2").1), (503, 200));
    drop(first);
    wait_until(|| (open("192.0.2.1").1 == 200).then_some(()));
}
