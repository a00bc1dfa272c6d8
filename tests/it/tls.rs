//! TLS: certificates by name, their replacement while connections are open, versions, resumption.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use rustls::ProtocolVersion;
use rustls::version::{TLS12, TLS13};

use crate::support::tls::{Authority, TlsClient};
use crate::support::{Gateway, get_local, wait_until};

const OPEN: &str = r#"
[upstream.demo]
servers = ["builtin:echo"]
[[route]]
id = "all"
path = "/{*rest}"
upstream = "demo"
[[rbac.grant]]
id = "all"
roles = ["anyone"]
[[listener]]
address = "127.0.0.1:0"
"#;

/// A gateway with these certificates, by the names they cover.
fn gateway(authority: &Authority, certificates: &[&[&str]]) -> Gateway {
    let folder = tempfile::tempdir().expect("a folder");
    let mut listed = Vec::new();
    for (at, names) in certificates.iter().enumerate() {
        authority.server(names).write(folder.path(), &format!("c{at}"));
        listed.push(format!("{{ cert = \"c{at}.pem\", key = \"c{at}.key\" }}"));
    }
    let config = format!("{OPEN}tls = {{ certificates = [{}] }}\n", listed.join(", "));
    Gateway::start_in(folder, &config, &[])
}

#[test]
fn the_certificate_is_chosen_by_the_name_that_is_asked_for() {
    let authority = Authority::new("servers");
    let gateway = gateway(&authority, &[&["app.test"], &["a.other.test"], &["*.other.test"]]);
    let client = TlsClient::new(&authority, None);
    for (name, want) in [
        ("app.test", "DNSName(app.test)"),
        ("a.other.test", "DNSName(a.other.test)"),
        ("A.OTHER.test", "DNSName(a.other.test)"),
        ("b.other.test", "DNSName(*.other.test)"),
    ] {
        let mut stream = client.connect(gateway.address, name).expect("a handshake");
        assert_eq!(stream.shown(), [want], "{name}");
        assert_eq!(stream.get(name, "/").expect("an answer").status, 200);
    }
    // What none covers gets the first, which the client does not take for the name.
    assert!(client.connect(gateway.address, "nobody.test").is_err());
}

#[test]
fn a_new_certificate_is_shown_to_the_next_connection_and_the_old_one_goes_on() {
    let authority = Authority::new("servers");
    let mut gateway = gateway(&authority, &[&["app.test"]]);
    let client = TlsClient::new(&authority, None);
    let mut old = client.connect(gateway.address, "app.test").expect("a handshake");
    let before = old.get("app.test", "/").expect("an answer");
    let fresh = authority.server(&["app.test", "new.test"]);
    // The key comes first: for a while the two do not fit, and the last good pair stays.
    gateway.write("c0.key", &fresh.key);
    gateway.wait_for("the last good one stays in force");
    assert_eq!(
        client.connect(gateway.address, "app.test").expect("a handshake").shown(),
        ["DNSName(app.test)"]
    );
    gateway.write("c0.pem", &fresh.cert);
    wait_until(|| {
        let client = TlsClient::new(&authority, None);
        let stream = client.connect(gateway.address, "app.test").expect("a handshake");
        (stream.shown().len() == 2).then_some(())
    });
    let after = old.get("app.test", "/").expect("the connection goes on");
    // Certificates are no policy: the generation is the same.
    assert_eq!(before.header("x-portcullis-policy"), after.header("x-portcullis-policy"));
}

#[test]
fn a_certificate_that_vanishes_or_is_cut_off_leaves_the_last_good_one_and_is_visible() {
    let authority = Authority::new("servers");
    let mut gateway = gateway(&authority, &[&["app.test"]]);
    let client = TlsClient::new(&authority, None);
    let admin = gateway.admin.expect("an admin listener");
    let status = || get_local(admin, "/api/status").json()["reload"].clone();
    let cert = gateway.folder().join("c0.pem");
    let whole = fs::read_to_string(&cert).expect("a certificate");
    fs::remove_file(&cert).expect("removed");
    gateway.wait_for("the last good one stays in force");
    let said = status();
    assert_eq!(said["ok"], false);
    assert!(
        said["errors"][0].as_str().is_some_and(|error| error.contains("c0.pem` cannot be used")),
        "{said}"
    );
    let metrics = get_local(admin, "/metrics").text();
    assert!(metrics.contains("portcullis_policy_reload_success 0"), "{metrics}");
    assert_eq!(client.get(gateway.address, "app.test", "/").expect("an answer").status, 200);
    fs::write(&cert, &whole[..whole.len() / 2]).expect("written");
    wait_until(|| {
        let error = status()["errors"][0].as_str().unwrap_or("").to_owned();
        (error.contains("c0.pem") && !error.contains("no such file")).then_some(())
    });
    assert_eq!(client.get(gateway.address, "app.test", "/").expect("an answer").status, 200);
    fs::write(&cert, &whole).expect("written");
    wait_until(|| (status()["ok"] == true).then_some(()));
}

#[test]
fn certificates_are_replaced_under_requests() {
    let authority = Authority::new("servers");
    let gateway = gateway(&authority, &[&["app.test"]]);
    // Each client is a new one: a session that is resumed shows no certificate.
    let client = || TlsClient::new(&authority, None);
    let mut kept = client().connect(gateway.address, "app.test").expect("a handshake");
    for round in 0..4 {
        let name = format!("r{round}.test");
        let fresh = authority.server(&["app.test", &name]);
        gateway.write("c0.pem", &fresh.cert);
        gateway.write("c0.key", &fresh.key);
        // Every handshake on the way shows one pair or the other, whole.
        wait_until(|| {
            let mut stream = client().connect(gateway.address, "app.test").expect("a handshake");
            assert_eq!(stream.get("app.test", "/").expect("an answer").status, 200);
            assert_eq!(kept.get("app.test", "/").expect("an answer").status, 200);
            stream.shown().contains(&format!("DNSName({name})")).then_some(())
        });
    }
}

#[test]
fn versions_before_1_2_are_not_spoken() {
    let authority = Authority::new("servers");
    let gateway = gateway(&authority, &[&["app.test"]]);
    for (version, want) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        let client = TlsClient::with(&authority, None, &[version]);
        let stream = client.connect(gateway.address, "app.test").expect("a handshake");
        assert_eq!(stream.version(), Some(want));
    }
    // A ClientHello of TLS 1.1: version, random, no session, one cipher suite, no compression.
    let mut hello = vec![0x03, 0x02];
    hello.extend_from_slice(&[7; 32]);
    hello.extend_from_slice(&[0, 0, 2, 0xc0, 0x13, 1, 0]);
    let mut bytes = vec![0x16, 0x03, 0x01, 0, hello.len() as u8 + 4, 1, 0, 0, hello.len() as u8];
    bytes.extend_from_slice(&hello);
    let mut stream = TcpStream::connect(gateway.address).expect("listens");
    stream.write_all(&bytes).expect("sent");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    // A fatal alert and nothing else.
    assert_eq!((answer.first(), answer.get(5), answer.len()), (Some(&0x15), Some(&2), 7), "{answer:?}");
}

#[test]
fn a_handshake_that_stops_is_not_waited_for() {
    let authority = Authority::new("servers");
    let folder = tempfile::tempdir().expect("a folder");
    authority.server(&["app.test"]).write(folder.path(), "c0");
    let config = format!(
        "{OPEN}tls = {{ certificates = [{{ cert = \"c0.pem\", key = \"c0.key\" }}] }}\n\
         [timeouts]\ndrain_delay = \"0s\"\nfirst_byte = \"100ms\"\n"
    );
    let gateway = Gateway::start_in(folder, &config, &[]);
    for sent in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"] {
        let mut stream = TcpStream::connect(gateway.address).expect("listens");
        stream.write_all(sent).expect("sent");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty(), "{answer:?}");
    }
    // Nor is a client that says nothing behind its handshake.
    let client = TlsClient::new(&authority, None);
    let mut stream = client.connect(gateway.address, "app.test").expect("a handshake");
    assert!(stream.wait().is_none());
}

#[test]
fn sessions_are_resumed_and_early_data_is_not_taken() {
    let authority = Authority::new("servers");
    let gateway = gateway(&authority, &[&["app.test"]]);
    for version in [&TLS12, &TLS13] {
        let client = TlsClient::with(&authority, None, &[version]);
        let mut first = client.connect(gateway.address, "app.test").expect("a handshake");
        assert_eq!(first.get("app.test", "/").expect("an answer").status, 200);
        assert!(!first.resumed());
        let mut second = client.connect(gateway.address, "app.test").expect("a handshake");
        assert!(second.resumed() && !second.early_data(), "{version:?}");
        assert_eq!(second.get("app.test", "/").expect("an answer").status, 200);
    }
}
