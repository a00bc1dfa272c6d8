//! What `[upstream.NAME]` may say, and what is said about what it may not.

use std::time::Duration;

use jiff::Timestamp;

use super::raw::{HashOn, Transport};
use super::*;
use crate::config::compile;

fn compiled(table: &str) -> crate::config::Outcome {
    let text = format!(
        "version = 1\n[server]\nlisten = [\"127.0.0.1:80\"]\n[[route]]\nid = \"all\"\npath = \"/{{*rest}}\"\n\
         upstream = \"app\"\n[[rbac.grant]]\nid = \"all\"\nroles = [\"anyone\"]\n[upstream.app]\n{table}\n"
    );
    compile(Sources::single("p.toml", text), Timestamp::UNIX_EPOCH)
}

fn good(table: &str) -> Upstream {
    let outcome = compiled(table);
    let setup = outcome.setup.unwrap_or_else(|| panic!("{table}: {:#?}", outcome.diagnostics));
    setup.settings.upstreams.into_iter().next().expect("an upstream")
}

#[test]
fn a_password_in_a_server_is_not_repeated() {
    let outcome = compiled("servers = [\"http://bob:s3cret@127.0.0.1:9001\"]");
    let said: Vec<_> = outcome.diagnostics.iter().map(|found| found.message.as_str()).collect();
    assert!(said.iter().any(|says| says.contains("http://…@127.0.0.1:9001")), "{said:?}");
    assert!(!said.iter().any(|says| says.contains("s3cret")), "{said:?}");
}

#[track_caller]
fn bad(table: &str, code: Code, message: &str) {
    let outcome = compiled(table);
    let found: Vec<_> =
        outcome.diagnostics.iter().map(|found| (found.code, found.message.as_str())).collect();
    assert!(found.iter().any(|(is, says)| *is == code && says.contains(message)), "{table}: {found:#?}");
    assert!(outcome.setup.is_none(), "{table}");
}

const ONE: &str = "servers = [\"http://a:1\"]\n";

#[test]
fn every_kind_of_server_is_read() {
    let upstream = good(
        "servers = [\"http://a:1\", { url = \"https://b\", weight = 3 }, \"h2c://[::1]:5\", \"unix:/run/x\"]",
    );
    let urls: Vec<String> = upstream.servers.iter().map(|server| server.url.to_string()).collect();
    assert_eq!(urls, ["http://a:1", "https://b", "h2c://[::1]:5", "unix:/run/x"]);
    assert_eq!(upstream.servers.iter().map(|server| server.weight).collect::<Vec<_>>(), [1, 3, 1, 1]);
    let ServerText::Tcp { transport, host, port, .. } = &upstream.servers[1].url else { panic!("TCP") };
    assert_eq!((*transport, host.as_str(), *port), (Transport::Https, "b", 443));
    assert!(upstream.tls.is_some());
    assert!(good(ONE).tls.is_none());
}

#[test]
fn a_server_that_cannot_be_one_is_refused() {
    for (server, why) in [
        ("ftp://a", "a server begins with"),
        ("unix:run/x", "begins with `/`"),
        ("http://a/path", "no path"),
        ("https://", "not a host and port"),
    ] {
        bad(&format!("servers = [\"{server}\"]"), Code::BadValue, why);
    }
    bad("servers = []", Code::BadValue, "at least one");
    bad("servers = [\"http://a\", \"http://a\"]", Code::Conflict, "named twice");
    bad("servers = [{ url = \"http://a\", weight = 0 }]", Code::BadValue, "from 1 to 1000");
    bad("servers = [{ url = \"http://a\", wieght = 1 }]", Code::UnknownKey, "wieght");
    bad("servers = [{ weight = 1 }]", Code::MissingKey, "url");
}

#[test]
fn hashes_are_taken_of_what_is_named() {
    let on = |text: &str| good(&format!("{ONE}balance = \"hash\"\n{text}")).balance;
    assert_eq!(on(""), Balance::Hash(HashOn::Client));
    assert_eq!(on("hash_on = \"path\""), Balance::Hash(HashOn::Path));
    assert_eq!(on("hash_on = \"cookie:sid\""), Balance::Hash(HashOn::Cookie("sid".to_owned())));
    assert!(matches!(on("hash_on = \"header:X-Session\""), Balance::Hash(HashOn::Header(_))));
    assert_eq!(good(&format!("{ONE}balance = \"least-request\"")).balance, Balance::LeastRequest);
    for text in ["header:", "cookie:", "cookie:a=b", "query:x", "address"] {
        bad(
            &format!("{ONE}balance = \"hash\"\nhash_on = \"{text}\""),
            Code::BadValue,
            "no hash can be taken",
        );
    }
    bad(&format!("{ONE}hash_on = \"path\""), Code::Conflict, "means nothing");
    bad(&format!("{ONE}balance = \"random\""), Code::BadValue, "not one of");
}

#[test]
fn tls_is_for_servers_that_are_spoken_to_in_it() {
    let https = "servers = [\"https://a\"]\n";
    let tls = good(&format!("{https}tls = {{ ca = \"ca.pem\", sni = \"b.test\" }}")).tls.expect("TLS");
    assert_eq!((tls.sni.as_deref(), tls.ca.is_some()), (Some("b.test"), true));
    bad(&format!("{ONE}tls = {{ ca = \"ca.pem\" }}"), Code::Conflict, "no server of this upstream");
    bad(&format!("{https}tls = {{ cert = \"c.pem\" }}"), Code::MissingKey, "both `cert` and `key`");
    bad(&format!("{https}tls = {{ sni = \"not a name\" }}"), Code::BadValue, "not a server name");
}

#[test]
fn times_shares_counts_and_statuses_have_bounds() {
    for (text, why) in [
        ("idle = \"0s\"", "more than zero"),
        ("resolve = \"25h\"", "at most a day"),
        ("timeouts = { total = \"0s\" }", "more than zero"),
        ("health = { path = \"healthz\" }", "not a path"),
        ("health = { path = \"/\", healthy = 0 }", "from 1 on"),
        ("health = { path = \"/\", status = [99] }", "not the status"),
        ("health = { path = \"/\", interval = \"0s\" }", "more than zero"),
        ("outlier = { share = 1.5 }", "from 0 to 1"),
        ("outlier = { eject = \"0s\" }", "more than zero"),
        ("retry = { attempts = 0 }", "from 1 to 10"),
        ("retry = { budget = -0.1 }", "from 0 to 1"),
        ("retry = { status = [101] }", "not the status"),
        ("max_requests = 0", "would refuse every request"),
        ("max_connections = 0", "would refuse every request"),
        ("proxy_protocol = \"v3\"", "not one of"),
    ] {
        bad(&format!("{ONE}{text}"), Code::BadValue, why);
    }
    bad(&format!("{ONE}max_pending = 5"), Code::Conflict, "nothing waits");
    bad("servers = [\"builtin:echo\"]\nproxy_protocol = \"v1\"", Code::Conflict, "PROXY protocol");
}

#[test]
fn what_is_left_out_is_as_the_process_says() {
    let times = good(&format!("{ONE}timeouts = {{ connect = \"1s\" }}")).timeouts.over(Timeouts::default());
    assert_eq!(times, Timeouts { connect: Duration::from_secs(1), ..Timeouts::default() });
    let upstream = good(ONE);
    assert_eq!((upstream.outlier.failures, upstream.retry.attempts, upstream.retry.repeat), (5, 2, false));
    assert!(upstream.health.is_none() && upstream.limits.requests.is_none());
}
