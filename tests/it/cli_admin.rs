//! `status`, `reload` and `healthcheck` against a stand-in for a running gateway.

use crate::support::command::{Bench, PLAIN, Ran};
use crate::support::stand_in::{StandIn, nobody};

fn bench(admin: &str) -> Bench {
    let bench = Bench::with(&format!("{PLAIN}\n[admin]\n{admin}\n"));
    bench.write("admin.token", "s3cret\n");
    bench
}

#[test]
fn status_is_shown_aligned_or_as_json() {
    let body = r#"{"policy":"7-3f9a2c1d","restart_required":[],"upstreams":[{"name":"app","up":true}]}"#;
    let gateway = StandIn::answering("200 OK", body);
    let bench = bench(&format!("listen = \"{}\"", gateway.address));
    insta::assert_snapshot!(bench.run(&["status"]).show(), @r"
    exit 0
    --- stdout
    policy            7-3f9a2c1d
    restart required  none
    upstreams
      - name  app
        up    true
    ");
    assert!(gateway.request().starts_with("GET /api/status HTTP/1.1\r\nhost: 127.0.0.1:"));
    let gateway = StandIn::answering("200 OK", body);
    let address = gateway.address.to_string();
    let ran = Bench::new().run(&["status", "--admin", &address, "--format", "json"]);
    assert_eq!(ran.json()["policy"], "7-3f9a2c1d");
}

#[test]
fn reload_shows_the_token_of_the_file() {
    let gateway = StandIn::answering("200 OK", r#"{"policy":"8-00000001"}"#);
    let bench = bench(&format!("listen = \"{}\"\ntoken_file = \"admin.token\"", gateway.address));
    let ran = bench.run(&["reload"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "policy  8-00000001\n"), "{}", ran.show());
    let request = gateway.request();
    assert!(request.starts_with("POST /api/reload HTTP/1.1\r\n"));
    assert!(request.contains("authorization: Bearer s3cret\r\n"));
}

#[test]
fn the_token_is_shown_to_nobody_who_is_no_admin_listener() {
    // It answers once: whoever came back with the token would find nobody.
    let stranger = StandIn::answering("401 Unauthorized", "{}");
    let bench = bench(&format!("listen = \"{}\"\ntoken_file = \"admin.token\"", stranger.address));
    let ran = bench.run(&["status"]);
    assert!(ran.code != 0 && ran.show().contains("401"), "{}", ran.show());
    assert!(!stranger.request().contains("authorization"), "{}", ran.show());
}

#[test]
fn a_refused_reload_fails_with_what_the_gateway_said() {
    let gateway = StandIn::answering("422 Unprocessable Content", r#"{"errors":2}"#);
    let bench = bench("listen = \"127.0.0.1:1\"");
    let ran = bench.run(&["reload", "--admin", &gateway.address.to_string(), "--token-file", "admin.token"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("not reloaded (422 ") && ran.err.contains("errors  2"));
}

#[test]
fn the_errors_of_a_refused_reload_are_listed_plainly() {
    let body = r#"{"reloaded":false,"errors":["p.toml:3: error: one","p.toml:9: error: two\u001b"]}"#;
    let gateway = StandIn::answering("422 Unprocessable Content", body);
    let bench = bench("listen = \"127.0.0.1:1\"");
    let ran = bench.run(&["reload", "--admin", &gateway.address.to_string(), "--token-file", "admin.token"]);
    insta::assert_snapshot!(ran.show(), @r"
    exit 1
    --- stdout
    --- stderr
    error: not reloaded, the policy before stays in force: 2 errors
      p.toml:3: error: one
      p.toml:9: error: two\u{1b}
      help: `portcullis check` shows the lines
    ");
}

#[test]
fn a_reload_without_a_token_is_not_tried() {
    let ran = bench(&format!("listen = \"{}\"", nobody())).run(&["reload"]);
    assert_eq!(ran.code, 78, "{}", ran.show());
    assert!(ran.err.contains("token_file"));
}

#[test]
fn healthcheck_answers_by_its_exit_code() {
    for (arguments, status, path, code) in [
        (&["healthcheck"][..], "200 OK", "/readyz", 0),
        (&["healthcheck", "-q"], "503 Service Unavailable", "/readyz", 1),
        (&["healthcheck", "--live"], "200 OK", "/livez", 0),
    ] {
        let gateway = StandIn::answering(status, "ok\n");
        let bench = bench(&format!("listen = \"{}\"", gateway.address));
        let ran = bench.run(arguments);
        assert_eq!(ran.code, code, "{}", ran.show());
        assert!(gateway.request().starts_with(&format!("GET {path} ")));
    }
}

#[test]
fn nobody_there_is_said_clearly() {
    let address = nobody();
    let bench = bench(&format!("listen = \"{address}\"\ntoken_file = \"admin.token\""));
    for verb in ["status", "reload", "healthcheck"] {
        let ran = bench.run(&[verb]);
        assert_eq!(ran.code, 1, "{}", ran.show());
        assert!(ran.err.contains(&format!("nothing listens on {address}")), "{}", ran.show());
    }
}

#[test]
fn operators_can_ask_while_the_configuration_is_broken() {
    let gateway = StandIn::answering("200 OK", "{}");
    let text = format!("nonsense = 1\n[admin]\nlisten = \"{}\"\n[rbac]\ngrant = 7\n", gateway.address);
    let ran = Bench::with(&text).run(&["healthcheck"]);
    assert_eq!(ran.code, 0, "{}", ran.show());
}

#[test]
fn without_an_admin_listener_the_address_must_be_given() {
    let ran = Bench::with(PLAIN).run(&["status"]);
    assert_eq!(ran.code, 78);
    assert!(ran.err.contains("--admin ADDR"));
    let gateway = StandIn::answering("200 OK", "{}");
    let bench = Bench::with(PLAIN);
    let address = gateway.address.to_string();
    let ran = Ran::of(bench.command(&["healthcheck"]).env("PORTCULLIS_ADMIN_LISTEN", address), b"");
    assert_eq!(ran.code, 0, "{}", ran.show());
}
