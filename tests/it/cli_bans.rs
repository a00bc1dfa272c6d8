//! `ban`, `unban`, `verbose` and `top` against a running gateway.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use crate::support::{Gateway, get};

const CONFIG: &str = r#"
[upstream.demo]
servers = ["builtin:echo"]

[[route]]
id = "all"
path = "/{*rest}"
upstream = "demo"

[[rbac.grant]]
id = "home"
roles = ["anyone"]
path = "/"
"#;

fn command(gateway: &Gateway, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    let admin = gateway.admin.expect("an admin listener").to_string();
    let config = gateway.folder().join("portcullis.toml");
    command.args(arguments).arg("--config").arg(config).env("PORTCULLIS_ADMIN_LISTEN", admin);
    command.env("USER", "alice").env_remove("SUDO_USER").env("NO_COLOR", "1");
    command
}

fn run(gateway: &Gateway, arguments: &[&str]) -> (i32, String) {
    let Output { status, stdout, stderr } = command(gateway, arguments).output().expect("it runs");
    let text = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    (status.code().expect("an end"), text)
}

#[test]
fn a_ban_is_made_listed_and_ended() {
    let gateway = Gateway::start(CONFIG);
    assert_eq!(run(&gateway, &["ban", "--list"]), (0, "nobody is banned\n".to_owned()));
    let (code, said) = run(&gateway, &["ban", "127.0.0.1", "--for", "1h", "--reason", "scans"]);
    assert!(code == 0 && said.starts_with("127.0.0.1 is banned until 20"), "{said}");
    assert_eq!(get(gateway.address, "/").rule(), "ip/banned");
    let (_, said) = run(&gateway, &["ban", "--list"]);
    assert!(
        said.starts_with("1 ban\n127.0.0.1  until ") && said.ends_with("by alice, from 127.0.0.1: scans\n"),
        "{said}"
    );
    let (_, said) = run(&gateway, &["ban", "--list", "--format", "json"]);
    assert!(said.contains("\"reason\":\"scans\""), "{said}");
    assert_eq!(run(&gateway, &["unban", "127.0.0.1"]), (0, "127.0.0.1 is not banned any more\n".to_owned()));
    assert_eq!(get(gateway.address, "/").status, 200);
    let (code, said) = run(&gateway, &["unban", "127.0.0.1"]);
    assert_eq!((code, said.as_str()), (1, "error: `127.0.0.1` is not banned\n"));
}

#[test]
fn explain_knows_who_is_banned_as_the_gateway_does() {
    let gateway =
        Gateway::start(&format!("[server]\nlisten = [\"127.0.0.1:0\"]\nstate_dir = \"state\"\n{CONFIG}"));
    let explained = || run(&gateway, &["explain", "/", "--ip", "127.0.0.1"]).1;
    assert!(explained().starts_with("Allowed:"), "{}", explained());
    assert_eq!(run(&gateway, &["ban", "127.0.0.1", "--for", "1h", "--reason", "scans"]).0, 0);
    assert_eq!(get(gateway.address, "/").rule(), "ip/banned");
    assert!(explained().starts_with("Refused:") && explained().contains("ip/banned"), "{}", explained());
}

#[test]
fn a_ban_without_an_end_is_not_possible() {
    let gateway = Gateway::start(CONFIG);
    for (arguments, code) in [
        (&["ban", "192.0.2.1"][..], 2),
        (&["ban"], 2),
        (&["ban", "--list", "--reason", "x"], 2),
        (&["ban", "192.0.2.1", "--for", "for ever"], 1),
        (&["ban", "here", "--for", "1h"], 1),
    ] {
        let (got, said) = run(&gateway, arguments);
        assert_eq!(got, code, "{arguments:?}: {said}");
    }
    assert_eq!(run(&gateway, &["ban", "--list"]).1, "nobody is banned\n");
}

#[test]
fn days_and_weeks_are_spans_and_a_second_ban_says_what_it_replaces() {
    let gateway = Gateway::start(CONFIG);
    for (span, hours) in [("2d", 48), ("1w", 168), ("1d 6h", 30), ("12h", 12)] {
        let (code, said) = run(&gateway, &["ban", "192.0.2.1", "--for", span, "--reason", "worm"]);
        assert_eq!(code, 0, "{span}: {said}");
        let (_, list) = run(&gateway, &["ban", "--list", "--format", "json"]);
        let list: serde_json::Value = serde_json::from_str(&list).expect("JSON");
        let left = list["bans"][0]["seconds_left"].as_i64().expect("a number");
        assert!((hours * 3600 - 300..=hours * 3600).contains(&left), "{span}: {left}");
    }
    let (code, said) = run(&gateway, &["ban", "192.0.2.1", "--for", "1m"]);
    assert!(code == 0 && said.contains("\nit replaces a longer one, until 20"), "{said}");
    assert!(said.contains(" by alice, from 127.0.0.1: worm\n"), "{said}");
    let (_, said) = run(&gateway, &["ban", "192.0.2.1", "--for", "1h"]);
    assert!(said.contains("\nit replaces one until 20"), "{said}");
    let (_, said) = run(&gateway, &["ban", "192.0.2.2", "--for", "1h"]);
    assert!(!said.contains("replaces"), "{said}");
}

#[test]
fn what_never_ban_keeps_out_of_a_ban_is_said_when_it_is_made_and_listed() {
    let gateway =
        Gateway::start(&format!("{CONFIG}\n[ip]\nnever_ban = [\"192.0.2.7\", \"198.51.100.0/24\"]\n"));
    let (code, said) = run(&gateway, &["ban", "192.0.2.0/24", "--for", "1h"]);
    assert!(
        code == 0
            && said.ends_with("; `[ip] never_ban` lists 192.0.2.7/32 of it, which passes all the same\n"),
        "{said}"
    );
    let (_, said) = run(&gateway, &["ban", "--list"]);
    assert!(said.contains("in part: `[ip] never_ban` lists 192.0.2.7/32\n"), "{said}");
    let (code, said) = run(&gateway, &["ban", "198.51.100.0/25", "--for", "1h"]);
    assert!(code == 1 && said.contains("`[ip] never_ban` lists 198.51.100.0/24"), "{said}");
    let (code, said) = run(&gateway, &["ban", "128.0.0.0/1", "--for", "1h"]);
    assert!(code == 1 && said.contains("`deny = [\"128.0.0.0/1\"]`"), "{said}");
    let (code, said) = run(&gateway, &["ban", "192.0.2.1", "--for", "1h", "--reason", "a\u{202e}b"]);
    assert!(code == 1 && said.contains("U+202E"), "{said}");
}

#[test]
fn over_the_socket_no_token_is_needed() {
    let admin = "[admin]\nlisten = \"127.0.0.1:0\"\nsocket = \"admin.sock\"\n";
    let gateway = Gateway::start(&format!("{CONFIG}{admin}"));
    let mut command = command(&gateway, &["ban", "192.0.2.1", "--for", "1h"]);
    let Output { status, stdout, stderr } =
        command.env_remove("PORTCULLIS_ADMIN_LISTEN").output().expect("it runs");
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    assert!(String::from_utf8_lossy(&stdout).starts_with("192.0.2.1 is banned until "));
    let (_, said) = run(&gateway, &["ban", "--list"]);
    assert!(said.contains("by alice, user ") && said.contains(" on this machine"), "{said}");
}

#[test]
fn trails_are_asked_for_and_ended() {
    let gateway = Gateway::start(CONFIG);
    assert_eq!(run(&gateway, &["verbose"]).1, "no trails are being kept; 0 trails in memory\n");
    let (code, said) =
        run(&gateway, &["verbose", "--for", "10m", "--route", "all", "--ip", "127.0.0.1", "--subject", "al"]);
    assert!(
        code == 0 && said.starts_with("trails of all from 127.0.0.1/32 for al are kept until 20"),
        "{said}"
    );
    assert_eq!(run(&gateway, &["verbose", "--off"]).1, "no trails are being kept; 0 trails in memory\n");
    let (code, said) = run(&gateway, &["verbose", "--for", "10m", "--route", "al"]);
    assert!(code == 1 && said.contains("did you mean `all`?"), "{said}");
    assert_eq!(run(&gateway, &["verbose", "--route", "all"]).0, 2);
}

#[test]
fn top_writes_a_line_for_each_decision_into_a_pipe() {
    let gateway = Gateway::start(CONFIG);
    let mut top = command(&gateway, &["top", "--decision", "deny", "--lines", "2"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut lines = BufReader::new(top.stdout.take().expect("piped")).lines();
    // It says nothing before the first decision, so the gateway is asked until a line has come.
    let (done, ask) = (std::sync::atomic::AtomicBool::new(false), gateway.address);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                get(ask, "/");
                get(ask, "/secret");
            }
        });
        let line = lines.next().expect("a line").expect("text");
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(
            line.contains("  deny     403    rbac/default-deny (")
                && line.contains(" GET /secret  127.0.0.1 -  "),
            "{line}"
        );
    });
    get(gateway.address, "/secret");
    assert!(top.wait().expect("an end").success());
    // Nobody waits for what there is not.
    let (code, said) = run(&gateway, &["top", "--rule", "rbac/default-dney"]);
    assert!(code == 2 && said.contains("did you mean `rbac/default-deny`?"), "{said}");
    let (code, said) = run(&gateway, &["top", "--route", "nosuch"]);
    assert!(code == 2 && said.contains("has no route `nosuch`"), "{said}");
    let (code, said) = run(&gateway, &["top", "--stage", "bogus"]);
    assert!(code == 2 && said.contains("intake, ip, route"), "{said}");
    let (code, said) = run(&gateway, &["top", "--ip", "here"]);
    assert!(code == 1 && said.contains("is not an address or network"), "{said}");
}
