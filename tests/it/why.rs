//! `why`: from a bare request id to the cause, what would help, and a case that keeps it found.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use serde_json::Value;

use crate::support::command::{Bench, Ran};
use crate::support::{Gateway, get, request, wait_until};

fn config(roles: &str) -> String {
    format!(
        r#"
[server]
listen = ["127.0.0.1:0"]
state_dir = "state"

[contact]
url = "https://intranet.example/access"

[upstream.demo]
servers = ["builtin:echo"]

[[route]]
id = "all"
path = "/{{*rest}}"
upstream = "demo"

[[authn.api_key]]
id = "batch"
header = "x-api-key"
hash = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
roles = ["reader"]

[rbac.role.reader]
[rbac.role.writer]

[[rbac.grant]]
id = "orders"
roles = [{roles}]
path = "/orders/{{id}}"

[[rbac.grant]]
id = "open"
roles = ["anyone"]
path = "/open"
"#
    )
}

fn ask(gateway: &Gateway, method: &str, path: &str) -> (u16, String) {
    let answer = request(gateway.address, method, path, &[("X-Api-Key", "abc")], b"");
    (answer.status, answer.header("x-request-id").expect("an id").to_owned())
}

fn wait_for_generation(gateway: &Gateway, wanted: u64) {
    wait_until(|| {
        let answer = get(gateway.address, "/open");
        answer.header("x-portcullis-policy")?.starts_with(&format!("{wanted}-")).then_some(())
    });
}

fn command(folder: &Path, arguments: &[&str]) -> Ran {
    let bench = Bench::new();
    let mut command = bench.command(arguments);
    Ran::of(command.arg("--config").arg(folder.join("portcullis.toml")), b"")
}

#[test]
fn a_request_id_is_enough() {
    let gateway = Gateway::start(&config("\"reader\", \"writer\""));
    assert_eq!(ask(&gateway, "PUT", "/orders/7").0, 200);
    gateway.write_config(&config("\"writer\""));
    wait_for_generation(&gateway, 2);
    let (status, id) = ask(&gateway, "PUT", "/orders/7");
    assert_eq!(status, 403);
    ask(&gateway, "GET", "/orders/8");
    let ran = command(gateway.folder(), &["why", &id]);
    assert_eq!(ran.code, 0, "{}", ran.show());
    for text in [
        "Refused:",
        "PUT /orders/7",
        "rbac/default-deny",
        "(role_missing)",
        "The policy changed",
        "rbac/orders",
        "reader lost",
        "2 requests of 1 subject from 1 address",
        "All by the same caller",
        "needs the role writer",
        "Ask https://intranet.example/access.",
        "as it is kept in the history",
        "curl -i -X PUT",
        "[[case]]",
    ] {
        assert!(ran.out.contains(text), "{text}: {}", ran.show());
    }
    // No credential is shown, and none is in the command.
    assert!(!ran.out.contains("abc") && ran.out.contains("$KEY"), "{}", ran.show());
    let found = command(gateway.folder(), &["why", &id, "--format", "json"]).json();
    assert_eq!(found["record"]["rule"], "rbac/default-deny");
    assert_eq!((&found["agrees"], &found["judged_by"]), (&true.into(), &"kept".into()));
    assert_eq!(found["change"]["lost"][0]["role"], "reader");
    assert_eq!(found["hour"]["refused"], 2);
    // The case is one, and it holds.
    let case = found["case"].as_str().expect("a case");
    let bench = Bench::new();
    bench.write("cases.toml", case);
    bench.write(
        "portcullis.toml",
        fs::read_to_string(gateway.folder().join("portcullis.toml")).expect("there"),
    );
    let tested = bench.run(&["test", "cases.toml"]);
    assert_eq!(tested.code, 0, "{}\n{case}", tested.show());
    // The id of the decision, as the refusal's `instance` has it, is as good.
    let decision = found["record"]["decision_id"].as_str().expect("an id");
    let ran = command(gateway.folder(), &["why", &format!("urn:uuid:{decision}"), "-q"]);
    assert!(ran.code == 0 && ran.out.contains("PUT /orders/7"), "{}", ran.show());
}

#[test]
fn an_older_decision_is_told_by_the_policy_of_then() {
    let gateway = Gateway::start(&config("\"writer\""));
    let (status, id) = ask(&gateway, "PUT", "/orders/7");
    assert_eq!(status, 403);
    gateway.write_config(&config("\"reader\""));
    wait_for_generation(&gateway, 2);
    assert_eq!(ask(&gateway, "PUT", "/orders/7").0, 200);
    let found = command(gateway.folder(), &["why", &id, "--format", "json"]).json();
    assert_eq!((&found["agrees"], &found["judged_by"]), (&true.into(), &"kept".into()));
    assert_eq!(found["change"], Value::Null);
    // Without the history, the files of now are asked, and that they disagree is said.
    fs::remove_dir_all(gateway.folder().join("state")).expect("removed");
    let ran = command(gateway.folder(), &["why", &id]);
    assert!(
        ran.out.contains("is not kept") && ran.out.contains("another decision than the record"),
        "{}",
        ran.show()
    );
}

#[test]
fn records_that_were_put_aside_are_found_and_compressed_ones_with_a_line_about_it() {
    let gateway = Gateway::start(&config("\"writer\""));
    let (_, id) = ask(&gateway, "GET", "/orders/7");
    let log = gateway.folder().join("decisions.jsonl");
    let text = wait_until(|| fs::read(&log).ok().filter(|text| !text.is_empty()));
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&text).expect("in memory");
    fs::write(gateway.folder().join("decisions.jsonl.1.gz"), encoder.finish().expect("in memory"))
        .expect("written");
    fs::write(&log, "").expect("emptied");
    let ran = command(gateway.folder(), &["why", &id]);
    assert_eq!(ran.code, 0, "{}", ran.show());
    assert!(ran.err.contains("reading decisions.jsonl.1.gz"), "{}", ran.show());
    let ran = command(gateway.folder(), &["why", "0197f2c4-7e1b-7c3a-9a51-0d0f5f2b6e11"]);
    assert_eq!(ran.code, 1, "{}", ran.show());
    assert!(ran.err.contains("there is no record of"), "{}", ran.show());
}
