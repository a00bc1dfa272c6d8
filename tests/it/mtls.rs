//! Client certificates: who must show one, whose count, what they are worth, and until when.

use rcgen::{CertificateParams, DnType, SanType, SerialNumber, date_time_ymd};
use rustls::version::{TLS12, TLS13};

use crate::support::tls::{Authority, Pair, TlsClient};
use crate::support::{Gateway, wait_until};

const POLICY: &str = r#"
[upstream.demo]
servers = ["builtin:echo"]
[[route]]
id = "off"
path = "/off"
upstream = "demo"
authn = "off"
[[route]]
id = "all"
path = "/{*rest}"
upstream = "demo"
[rbac.role.service]
[rbac.role.orders]
[rbac.role.admin]
[[rbac.grant]]
id = "open"
roles = ["anyone"]
paths = ["/open", "/off"]
[[rbac.grant]]
id = "services"
roles = ["service"]
path = "/service"
[[rbac.grant]]
id = "orders"
roles = ["orders"]
path = "/orders"
[[rbac.grant]]
id = "people"
roles = ["admin"]
path = "/people"
[[rbac.grant]]
id = "own"
roles = ["service"]
path = "/own/{name}"
when = 'path.name in claims.ou'
[[authn.mtls]]
id = "services"
subject = "uri"
match = ["spiffe://corp.test/*"]
issuer = "clients"
roles = ["service"]
roles_from = "ou"
roles_allowed = ["orders"]
[[authn.mtls]]
id = "people"
subject = "email"
match = "*@corp.test"
roles = ["admin"]
[[authn.api_key]]
id = "batch"
header = "x-api-key"
hash = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
roles = ["orders"]
[authn]
revoked = { file = "revoked.toml" }
[[listener]]
address = "127.0.0.1:0"
"#;

/// A gateway, its authorities, and what their clients are called.
struct Lab {
    gateway: Gateway,
    servers: Authority,
    clients: Authority,
}

/// A lab where certificates are `required` or `optional`, with more keys of `tls`.
fn lab(word: &str, more: &str) -> Lab {
    let folder = tempfile::tempdir().expect("a folder");
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    servers.server(&["app.test", "other.test"]).write(folder.path(), "server");
    for (name, text) in [
        ("ca.pem", clients.pem()),
        ("crl.pem", clients.revocations(&[7])),
        ("revoked.toml", "certificates = []\n".to_owned()),
    ] {
        std::fs::write(folder.path().join(name), text).expect("written");
    }
    let gateway = Gateway::start_in(folder, &config(word, more), &[]);
    Lab { gateway, servers, clients }
}

fn config(word: &str, more: &str) -> String {
    format!(
        "{POLICY}tls = {{ certificates = [{{ cert = \"server.pem\", key = \"server.key\" }}], \
         client_ca = \"ca.pem\", client_cert = \"{word}\"{more} }}\n"
    )
}

fn uri(params: &mut CertificateParams, uri: &str) {
    params.subject_alt_names.push(SanType::URI(uri.try_into().expect("ASCII")));
}

fn service(params: &mut CertificateParams) {
    uri(params, "spiffe://corp.test/ns/orders");
    params.distinguished_name.push(DnType::OrganizationalUnitName, "orders");
    params.serial_number = Some(SerialNumber::from(42));
}

impl Lab {
    fn client(&self, shown: Option<&Pair>) -> TlsClient {
        TlsClient::new(&self.servers, shown)
    }

    /// Status and rule of a request on a connection of its own; nothing if TLS refuses.
    fn ask(&self, shown: Option<&Pair>, path: &str) -> Option<(u16, String)> {
        let response = self.client(shown).get(self.gateway.address, "app.test", path)?;
        Some((response.status, response.rule().to_owned()))
    }
}

fn is(status: u16, rule: &str) -> Option<(u16, String)> {
    Some((status, rule.to_owned()))
}

#[test]
fn a_certificate_is_an_identity() {
    let lab = lab("optional", "");
    let pair = lab.clients.client("the orders service", service);
    assert_eq!(lab.ask(Some(&pair), "/service"), is(200, "rbac/services"));
    assert_eq!(lab.ask(Some(&pair), "/orders"), is(200, "rbac/orders"));
    assert_eq!(lab.ask(Some(&pair), "/people"), is(403, "rbac/default-deny"));
    assert_eq!(lab.ask(Some(&pair), "/own/orders"), is(200, "rbac/own"));
    assert_eq!(lab.ask(Some(&pair), "/own/others"), is(403, "rbac/default-deny"));
    let record = lab.gateway.records(1).remove(0);
    let identity = &record["identity"];
    assert_eq!(identity["state"], "valid", "{record}");
    assert_eq!(identity["source"], "services");
    assert_eq!(identity["subject"], "spiffe://corp.test/ns/orders");
    let mut stream = lab.client(Some(&pair)).connect(lab.gateway.address, "app.test").expect("a handshake");
    let answer = stream.get("app.test", "/service").expect("an answer");
    assert_eq!(answer.header("cache-control"), Some("private"));
    assert!(answer.text().contains("spiffe://corp.test/ns/orders"), "{}", answer.text());
    let person = lab.clients.client("a person", |params| {
        params.subject_alt_names.push(SanType::Rfc822Name("ann@corp.test".try_into().expect("ASCII")));
    });
    assert_eq!(lab.ask(Some(&person), "/people"), is(200, "rbac/people"));
}

#[test]
fn an_optional_certificate_may_be_left_out_and_one_that_no_source_knows_is_nobody_s() {
    let lab = lab("optional", "");
    assert_eq!(lab.ask(None, "/open"), is(200, "rbac/open"));
    assert_eq!(lab.ask(None, "/service"), is(401, "rbac/default-deny"));
    let stranger = lab.clients.client("x", |params| uri(params, "spiffe://elsewhere.test/ns/orders"));
    assert_eq!(lab.ask(Some(&stranger), "/open"), is(200, "rbac/open"));
    assert_eq!(lab.ask(Some(&stranger), "/service"), is(401, "rbac/default-deny"));
    // The answer to it may differ from the answer to others, so it is not shared.
    let answer = lab.client(Some(&stranger)).get(lab.gateway.address, "app.test", "/open");
    assert_eq!(answer.expect("an answer").header("cache-control"), Some("private"));
    let answer = lab.client(None).get(lab.gateway.address, "app.test", "/open");
    assert_eq!(answer.expect("an answer").header("cache-control"), None);
    // Who reads no credentials reads no certificate.
    let pair = lab.clients.client("x", service);
    assert_eq!(lab.ask(Some(&pair), "/off"), is(200, "rbac/open"));
    let records = lab.gateway.records(7);
    let unread = records.iter().find(|record| record["path"] == "/off").expect("a record");
    assert_eq!(unread["identity"]["state"], "none");
}

#[test]
fn a_certificate_of_a_stranger_ends_in_the_handshake_and_is_recorded() {
    let lab = lab("optional", "");
    // One that is called otherwise, and one that is called the same.
    for name in ["others", "clients"] {
        let stranger = Authority::new(name).client("x", service);
        assert_eq!(lab.ask(Some(&stranger), "/open"), None);
    }
    let old = lab.clients.client("x", |params| {
        service(params);
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2020, 1, 1);
    });
    assert_eq!(lab.ask(Some(&old), "/open"), None);
    let records = lab.gateway.records(3);
    let mut rules: Vec<_> = records.iter().map(|record| record["rule"].as_str().unwrap_or("")).collect();
    // Two threads write them.
    rules.sort_unstable();
    assert_eq!(rules, ["authn/expired", "authn/issuer", "authn/signature"]);
}

#[test]
fn where_a_certificate_is_required_nobody_comes_without() {
    let lab = lab("required", "");
    assert_eq!(lab.ask(None, "/open"), None);
    let record = lab.gateway.records(1).remove(0);
    assert_eq!(
        (record["rule"].as_str(), record["decision"].as_str()),
        (Some("authn/required"), Some("deny"))
    );
    let pair = lab.clients.client("x", service);
    assert_eq!(lab.ask(Some(&pair), "/open"), is(200, "rbac/open"));
}

#[test]
fn no_session_is_resumed_where_certificates_are_asked_for() {
    for word in ["required", "optional"] {
        let lab = lab(word, "");
        let pair = lab.clients.client("x", service);
        for version in [&TLS12, &TLS13] {
            let client = TlsClient::with(&lab.servers, Some(&pair), &[version]);
            for _ in 0..3 {
                let mut stream = client.connect(lab.gateway.address, "app.test").expect("a handshake");
                assert_eq!(stream.get("app.test", "/service").expect("an answer").status, 200);
                assert!(!stream.resumed(), "{word} {version:?}");
            }
        }
    }
}

#[test]
fn a_ticket_from_before_certificates_were_asked_for_lets_nobody_pass() {
    for version in [&TLS12, &TLS13] {
        let lab = lab("required", "");
        let asked_for = config("required", "");
        let (open, _) = asked_for.split_once(", client_ca").expect("a key");
        lab.gateway.write_config(&format!("{open} }}\n"));
        let client = TlsClient::with(&lab.servers, None, &[version]);
        wait_until(|| client.get(lab.gateway.address, "app.test", "/open"));
        let mut stream = client.connect(lab.gateway.address, "app.test").expect("a handshake");
        assert!(stream.resumed() && stream.get("app.test", "/open").is_some());
        lab.gateway.write_config(&asked_for);
        wait_until(|| client.get(lab.gateway.address, "app.test", "/open").is_none().then_some(()));
        // Nor does the connection that began before.
        assert_eq!(stream.get("app.test", "/off").expect("an answer").rule(), "authn/required");
    }
}

#[test]
fn a_credential_that_is_shown_goes_before_the_certificate_and_does_not_conflict_with_it() {
    let lab = lab("optional", "");
    let pair = lab.clients.client("x", |params| uri(params, "spiffe://corp.test/a"));
    let ask = |path: &str, key: &str| {
        let mut stream =
            lab.client(Some(&pair)).connect(lab.gateway.address, "app.test").expect("a handshake");
        let head = format!("GET {path} HTTP/1.1\r\nHost: app.test\r\nX-Api-Key: {key}\r\n\r\n");
        let response = stream.send(&head).expect("an answer");
        (response.status, response.rule().to_owned())
    };
    assert_eq!(ask("/orders", "abc"), (200, "rbac/orders".to_owned()));
    assert_eq!(ask("/service", "abc"), (403, "rbac/default-deny".to_owned()));
    // A wrong credential is not made good by a right certificate.
    assert_eq!(ask("/service", "wrong"), (401, "authn/key-unknown".to_owned()));
}

#[test]
fn two_names_that_could_be_the_subject_are_refused() {
    let lab = lab("optional", "");
    let two = lab.clients.client("x", |params| {
        uri(params, "spiffe://corp.test/a");
        uri(params, "spiffe://corp.test/b");
    });
    assert_eq!(lab.ask(Some(&two), "/open"), is(401, "authn/subject-invalid"));
    let one = lab.clients.client("x", |params| {
        uri(params, "spiffe://corp.test/a");
        uri(params, "https://elsewhere.test/b");
    });
    assert_eq!(lab.ask(Some(&one), "/service"), is(200, "rbac/services"));
}

#[test]
fn a_list_of_revoked_certificates_counts_for_the_next_and_for_open_connections() {
    let lab = lab("optional", ", client_crl = [\"crl.pem\"]");
    let revoked = lab.clients.client("x", |params| {
        service(params);
        params.serial_number = Some(SerialNumber::from(7));
    });
    assert_eq!(lab.ask(Some(&revoked), "/open"), None);
    assert_eq!(lab.gateway.records(1)[0]["rule"], "authn/revoked");
    let pair = lab.clients.client("x", service);
    let client = lab.client(Some(&pair));
    let mut open = client.connect(lab.gateway.address, "app.test").expect("a handshake");
    let mut other = lab.client(None).connect(lab.gateway.address, "app.test").expect("a handshake");
    assert_eq!(open.get("app.test", "/service").expect("an answer").status, 200);
    lab.gateway.write("crl.pem", &lab.clients.revocations(&[7, 42]));
    wait_until(|| {
        let answer = open.get("app.test", "/service").expect("the connection goes on");
        (answer.status != 200).then(|| assert_eq!((answer.status, answer.rule()), (401, "authn/revoked")))
    });
    assert_eq!(lab.ask(Some(&pair), "/open"), None);
    // What has nothing to do with it goes on.
    assert_eq!(other.get("app.test", "/open").expect("an answer").status, 200);
    // And back.
    lab.gateway.write("crl.pem", &lab.clients.revocations(&[7]));
    wait_until(|| {
        let answer = open.get("app.test", "/service").expect("the connection goes on");
        (answer.status == 200).then_some(())
    });
}

#[test]
fn a_list_that_has_run_out_or_is_of_another_authority_lets_no_certificate_pass() {
    let lab = lab("optional", ", client_crl = [\"crl.pem\"]");
    let pair = lab.clients.client("x", service);
    assert_eq!(lab.ask(Some(&pair), "/service"), is(200, "rbac/services"));
    let refused = || {
        let rules = lab.gateway.records(1);
        rules.iter().filter(|record| record["rule"] == "authn/keys-unavailable").count()
    };
    for list in [lab.clients.revocations_until(&[], 2021), Authority::new("others").revocations(&[])] {
        let before = refused();
        lab.gateway.write("crl.pem", &list);
        wait_until(|| lab.ask(Some(&pair), "/service").is_none().then_some(()));
        wait_until(|| (refused() > before).then_some(()));
        lab.gateway.write("crl.pem", &lab.clients.revocations(&[]));
        wait_until(|| lab.ask(Some(&pair), "/service").is_some().then_some(()));
    }
    assert_eq!(lab.ask(None, "/open"), is(200, "rbac/open"));
}

#[test]
fn an_authority_that_is_gone_and_a_demand_that_came_count_for_open_connections() {
    let lab = lab("optional", "");
    let pair = lab.clients.client("x", service);
    let mut with = lab.client(Some(&pair)).connect(lab.gateway.address, "app.test").expect("a handshake");
    let mut without = lab.client(None).connect(lab.gateway.address, "app.test").expect("a handshake");
    assert_eq!(with.get("app.test", "/service").expect("an answer").status, 200);
    assert_eq!(without.get("app.test", "/open").expect("an answer").status, 200);
    lab.gateway.write_config(&config("required", ""));
    wait_until(|| {
        let answer = without.get("app.test", "/off").expect("the connection goes on");
        (answer.status != 200).then(|| assert_eq!((answer.status, answer.rule()), (401, "authn/required")))
    });
    assert_eq!(with.get("app.test", "/service").expect("an answer").status, 200);
    lab.gateway.write("ca.pem", &Authority::new("others").pem());
    wait_until(|| {
        let answer = with.get("app.test", "/off").expect("the connection goes on");
        (answer.status != 200).then(|| assert_eq!((answer.status, answer.rule()), (401, "authn/issuer")))
    });
}

#[test]
fn the_list_of_revoked_credentials_knows_certificates() {
    let lab = lab("optional", "");
    let pair = lab.clients.client("x", service);
    let mut open = lab.client(Some(&pair)).connect(lab.gateway.address, "app.test").expect("a handshake");
    assert_eq!(open.get("app.test", "/service").expect("an answer").status, 200);
    lab.gateway.write("revoked.toml", &format!("certificates = [\"{}\"]\n", pair.fingerprint()));
    wait_until(|| {
        let answer = open.get("app.test", "/service").expect("the connection goes on");
        (answer.status != 200).then(|| assert_eq!((answer.status, answer.rule()), (401, "authn/revoked")))
    });
}

#[test]
fn files_of_authorities_that_cannot_be_used_leave_the_last_good_ones() {
    let mut lab = lab("optional", ", client_crl = [\"crl.pem\"]");
    let pair = lab.clients.client("x", service);
    for (name, good) in [("ca.pem", lab.clients.pem()), ("crl.pem", lab.clients.revocations(&[]))] {
        for bad in ["", &good[..good.len() / 2], "nothing of the kind"] {
            lab.gateway.write(name, bad);
            lab.gateway.wait_for(&format!("{name}` cannot be used"));
            assert_eq!(lab.ask(Some(&pair), "/service"), is(200, "rbac/services"), "{name} {bad}");
        }
        lab.gateway.write(name, &good);
    }
}

#[test]
fn a_host_other_than_the_name_of_the_connection_is_refused_where_certificates_are_asked_for() {
    let lab = lab("optional", "");
    let pair = lab.clients.client("x", service);
    let mut stream = lab.client(Some(&pair)).connect(lab.gateway.address, "app.test").expect("a handshake");
    assert_eq!(stream.get("APP.test:443", "/service").expect("an answer").status, 200);
    let answer = stream.get("other.test", "/service").expect("an answer");
    assert_eq!((answer.status, answer.rule()), (421, "route/authority"));
    // The connection is good for its own name.
    assert_eq!(stream.get("app.test", "/service").expect("an answer").status, 200);
    // A client that names nobody, because it knows an address alone, is not mistaken.
    let mut stream = lab.client(Some(&pair)).connect_unnamed(lab.gateway.address).expect("a handshake");
    assert_eq!(stream.get("127.0.0.1", "/service").expect("an answer").status, 200);
}
