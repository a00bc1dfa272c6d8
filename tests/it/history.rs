//! The history of the policy: generations, differences, refusals, over restarts and kills.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::command::{Bench, Ran};
use crate::support::{Gateway, get, get_local, request, wait_until};

fn config(methods: &str, more: &str) -> String {
    format!(
        r#"
[server]
listen = ["127.0.0.1:0"]
state_dir = "state"

[upstream.demo]
servers = ["builtin:echo"]

[[route]]
id = "all"
path = "/{{*rest}}"
upstream = "demo"

[[disclosure]]
level = "full"

[rbac.role.reader]

[[rbac.grant]]
id = "all"
roles = ["anyone"]
methods = ["GET"]
path = "/open"

[[rbac.deny]]
id = "freeze"
methods = [{methods}]
path = "/open"
{more}
"#
    )
}

fn generation(gateway: &Gateway) -> String {
    let response = get(gateway.address, "/open");
    response.header("x-portcullis-policy").expect("set").to_owned()
}

fn wait_for_generation(gateway: &Gateway, wanted: u64) -> String {
    wait_until(|| Some(generation(gateway)).filter(|found| found.starts_with(&format!("{wanted}-"))))
}

fn history(gateway: &Gateway) -> Vec<Value> {
    let body = get_local(gateway.admin.expect("an admin listener"), "/api/history").json();
    body["history"].as_array().expect("a list").clone()
}

/// The command with the configuration of a folder.
fn command(folder: &Path, arguments: &[&str]) -> Ran {
    let bench = Bench::new();
    let mut command = bench.command(arguments);
    Ran::of(command.arg("--config").arg(folder.join("portcullis.toml")), b"")
}

#[test]
fn a_refusal_says_when_its_rule_last_changed() {
    let gateway = Gateway::start(&config("\"PUT\"", ""));
    // Nothing is known of the first policy's rules: they may be years old.
    assert_eq!(get(gateway.address, "/nothing").status, 403);
    gateway.write_config(&config("\"PUT\", \"GET\"", ""));
    let policy = wait_for_generation(&gateway, 2);
    let refusal = get(gateway.address, "/open");
    assert_eq!(refusal.rule(), "rbac/freeze");
    let body = refusal.json();
    let accepted = history(&gateway)[0].clone();
    assert_eq!(accepted["generation"], 2);
    assert_eq!(accepted["trigger"], "file");
    let second = |value: &Value| value.as_str().expect("a time")[..19].to_owned();
    assert_eq!(second(&body["rule_changed"]), second(&accepted["at"]));
    let changed_in = body["changed_in"].as_str().expect("two versions");
    assert!(changed_in.starts_with("1-") && changed_in.ends_with(&policy), "{changed_in}");
    let record = gateway.records(1).into_iter().find(|record| record["rule"] == "rbac/freeze");
    let record = record.expect("recorded");
    assert_eq!(second(&record["rule_changed"]), second(&accepted["at"]));
    let difference = &accepted["difference"];
    assert_eq!(difference["rules"][0]["rule"], "rbac/freeze");
    let cell = &difference["cells"][0];
    assert_eq!(
        (&cell["change"], &cell["methods"][0], &cell["path"]),
        (&"lost".into(), &"GET".into(), &"/open".into())
    );
}

#[test]
fn generations_are_counted_over_restarts_and_what_changed_meanwhile_is_known() {
    let folder = tempfile::tempdir().expect("a folder");
    let keep = folder.path().join("kept");
    let start = |config: &str| {
        let fresh = tempfile::tempdir().expect("a folder");
        let text = config.replace("\"state\"", &format!("{:?}", keep.to_str().expect("UTF-8")));
        Gateway::start_in(fresh, &text, &[])
    };
    let first = generation(&start(&config("\"PUT\"", "")));
    assert!(first.starts_with("1-"));
    assert_eq!(generation(&start(&config("\"PUT\"", ""))), first);
    let gateway = start(&config("\"PUT\", \"POST\"", ""));
    assert!(generation(&gateway).starts_with("2-"));
    let newest = history(&gateway)[0].clone();
    assert_eq!((&newest["trigger"], &newest["generation"]), (&"start".into(), &2.into()));
    assert_eq!(newest["difference"]["rules"][0]["rule"], "rbac/freeze");
}

#[test]
fn refused_reloads_are_in_it_with_their_problems() {
    let mut gateway = Gateway::start(&config("\"PUT\"", ""));
    gateway.write_config(&config("\"P UT\"", ""));
    gateway.wait_for("the last good one stays in force");
    let newest = wait_until(|| Some(history(&gateway)[0].clone()).filter(|entry| entry["kind"] == "refused"));
    assert!(newest["errors"][0].as_str().expect("a line").contains("portcullis.toml:"), "{newest}");
    gateway.write_config(&config("\"PUT\"", ""));
    wait_until(|| {
        let ran = command(gateway.folder(), &["history"]);
        assert_eq!(ran.code, 0, "{}", ran.show());
        ran.out.contains("refused").then_some(())
    });
}

#[test]
fn the_command_reads_the_folder_beside_the_gateway() {
    let gateway = Gateway::start(&config("\"PUT\"", ""));
    gateway.write_config(&config("\"PUT\", \"GET\"", ""));
    let second = wait_for_generation(&gateway, 2);
    let list = command(gateway.folder(), &["history"]);
    assert_eq!(list.code, 0, "{}", list.show());
    assert!(list.out.contains(&second) && list.out.contains("1 rule, 1 loss"), "{}", list.show());
    let one = command(gateway.folder(), &["history", "2"]);
    assert!(one.out.contains("rbac/freeze") && one.out.contains("GET /open"), "{}", one.show());
    let text = command(gateway.folder(), &["history", "1", "--text"]);
    assert!(text.out.contains("methods = [\"PUT\"]"), "{}", text.show());
    let diff = command(gateway.folder(), &["diff", "1", "2", "--exit-code"]);
    assert_eq!(diff.code, 1, "{}", diff.show());
    assert!(diff.out.contains("lost") && diff.out.contains("rbac/freeze"), "{}", diff.show());
    let same = command(gateway.folder(), &["diff", &second, "current", "--exit-code", "--format", "json"]);
    assert_eq!((same.code, &same.json()["difference"]["rules"]), (0, &Value::Array(Vec::new())));
    let unknown = command(gateway.folder(), &["diff", "1", "77"]);
    assert_eq!(unknown.code, 2);
    assert!(unknown.err.contains("1 to 2 are kept"), "{}", unknown.show());
    // The folder is nobody else's.
    use std::os::unix::fs::PermissionsExt;
    let mode = |name: &str| fs::metadata(gateway.folder().join(name)).expect("there").permissions().mode();
    assert_eq!((mode("state") & 0o777, mode("state/history.log") & 0o777), (0o700, 0o600));
}

#[test]
fn what_of_the_file_cannot_be_read_is_said() {
    let mut gateway = Gateway::start(&config("\"PUT\"", ""));
    let [_, third] = [(2, "\"PUT\", \"GET\""), (3, "\"POST\"")].map(|(number, methods)| {
        gateway.write_config(&config(methods, ""));
        wait_for_generation(&gateway, number)
    });
    let whole = command(gateway.folder(), &["history", "--format", "json"]).json();
    assert_eq!(whole["lost"], serde_json::json!({"damaged_lines": [], "torn_bytes": 0, "generations": []}));
    assert!(!command(gateway.folder(), &["history"]).words().contains("Mind:"));
    gateway.signal("TERM");
    gateway.wait();
    // A bit of the second line, and the last one without its end.
    let file = gateway.folder().join("state/history.log");
    let mut bytes = fs::read(&file).expect("there");
    let inside = bytes.iter().position(|byte| *byte == b'\n').expect("a line") + 20;
    bytes[inside] ^= 1;
    bytes.extend_from_slice(b"0a1b2c3d {\"kind\":\"acce");
    fs::write(&file, bytes).expect("written");
    let ran = command(gateway.folder(), &["history"]);
    let text = ran.words();
    for wanted in [
        "Mind: line 2 of `",
        "history.log` cannot be read, so what happened there is not known.",
        "Mind: generation 2 is lost.",
        "is torn: 22 B of it are there, and no end.",
    ] {
        assert!(ran.code == 0 && text.contains(wanted), "{wanted}: {}", ran.show());
    }
    // The others are shown all the same.
    assert!(text.contains(&third), "{}", ran.show());
    let ran = command(gateway.folder(), &["history", "--format", "json"]);
    let lost = serde_json::json!({"damaged_lines": [2], "torn_bytes": 22, "generations": ["2"]});
    assert_eq!((ran.code, &ran.json()["lost"]), (0, &lost));
    // A generation that is shown alone is as whole as it was.
    assert_eq!(command(gateway.folder(), &["history", "3"]).code, 0);
}

#[test]
fn which_addresses_of_a_network_changed_is_told_wherever_a_difference_is() {
    let networks = |office: &str| {
        format!(
            "\n[network]\noffice = [{office}]\n[[ip.rule]]\nid = \"office\"\npath = \"/inside\"\nallow = [\"office\"]\n"
        )
    };
    let gateway = Gateway::start(&config("\"PUT\"", &networks("\"127.0.0.0/8\", \"192.0.2.0/24\"")));
    gateway.write_config(&config("\"PUT\"", &networks("\"192.0.2.0/24\", \"203.0.113.7\"")));
    wait_for_generation(&gateway, 2);
    let words = "203.0.113.7 added; 127.0.0.0/8 removed";
    for arguments in [&["diff", "1", "2"][..], &["history", "2"]] {
        let ran = command(gateway.folder(), arguments);
        assert!(ran.words().contains(&format!("changed network office {words}")), "{}", ran.show());
    }
    let wanted = serde_json::json!([{"added": ["203.0.113.7"], "more_added": 0, "removed": ["127.0.0.0/8"], "more_removed": 0}]);
    let found = command(gateway.folder(), &["diff", "1", "2", "--format", "json"]).json();
    assert_eq!(found["difference"]["definitions"][0]["addresses"], wanted);
    assert_eq!(history(&gateway)[0]["difference"]["definitions"][0]["addresses"], wanted);
    let admin = gateway.admin.expect("an admin listener");
    let escaped = words.replace('/', "&#x2f;");
    let page = get_local(admin, "/history").text();
    assert!(page.contains(&escaped) && page.contains("through network office"), "{page}");
    // Whoever was refused by it reads the same.
    let refused = get(gateway.address, "/inside");
    assert_eq!(refused.rule(), "ip/office");
    let id = refused.header("x-request-id").expect("an id");
    gateway.records(1);
    let ran = command(gateway.folder(), &["why", id]);
    let text = ran.words();
    assert!(text.contains("- ip/office was changed (network office)"), "{}", ran.show());
    assert!(text.contains(&format!("- network office was changed: {words}")), "{}", ran.show());
    let page = get_local(admin, &format!("/decisions/{id}")).text();
    assert!(page.contains("network office was changed.") && page.contains(&escaped), "{page}");
}

#[test]
fn which_keys_of_a_rule_changed_is_told_wherever_a_difference_is() {
    let closed = |paths: &str| format!("\n[[rbac.deny]]\nid = \"closed\"\npaths = [{paths}]\n");
    let gateway = Gateway::start(&config("\"PUT\"", &closed("\"/a\"")));
    gateway.write_config(&config("\"PUT\"", &closed("\"/a\", \"/inside\"")));
    wait_for_generation(&gateway, 2);
    let words = "paths: \"/inside\" added";
    for arguments in [&["diff", "1", "2"][..], &["history", "2"]] {
        let ran = command(gateway.folder(), arguments);
        assert!(ran.words().contains(&format!("changed rbac/closed {words}")), "{}", ran.show());
    }
    let wanted = serde_json::json!([{"key": "paths", "was": [], "is": ["\"/inside\""], "entries": true}]);
    assert_eq!(history(&gateway)[0]["difference"]["rules"][0]["keys"], wanted);
    let refused = get(gateway.address, "/inside");
    assert_eq!(refused.rule(), "rbac/closed");
    let id = refused.header("x-request-id").expect("an id");
    gateway.records(1);
    let ran = command(gateway.folder(), &["why", id]);
    assert!(ran.words().contains(&format!("- rbac/closed was changed: {words}")), "{}", ran.show());
    let admin = gateway.admin.expect("an admin listener");
    let escaped = words.replace('/', "&#x2f;").replace('"', "&quot;");
    for path in ["/history".to_owned(), format!("/decisions/{id}")] {
        let page = get_local(admin, &path).text();
        assert!(page.contains(&escaped), "{path}: {page}");
    }
}

#[test]
fn without_a_folder_the_gateway_is_asked() {
    let config = config("\"PUT\"", "").replace("state_dir = \"state\"", "");
    let gateway = Gateway::start(&config);
    let admin = gateway.admin.expect("an admin listener").to_string();
    let ran = command(gateway.folder(), &["history", "--admin", &admin]);
    assert!(ran.out.contains("the first policy that is known"), "{}", ran.show());
}

#[test]
fn a_kill_at_any_point_of_a_reload_leaves_a_history_that_opens() {
    let folder = tempfile::tempdir().expect("a folder");
    let keep = folder.path().join("kept");
    let state = format!("{:?}", keep.to_str().expect("UTF-8"));
    let text = |number: u32| {
        config("\"PUT\"", &format!("\n[network]\nn{number} = [\"192.0.2.1\"]\n")).replace("\"state\"", &state)
    };
    let mut highest = 0;
    for round in 0..12u32 {
        let fresh = tempfile::tempdir().expect("a folder");
        let mut gateway = Gateway::start_in(fresh, &text(round * 10), &[]);
        let current: u64 =
            generation(&gateway).split('-').next().expect("a number").parse().expect("a number");
        assert!(current > highest, "{current} after {highest}");
        highest = current;
        // Killed while it takes over one file after the other, at another point each time.
        let pid = gateway.id().to_string();
        let killer = std::thread::spawn(move || {
            for _ in 0..round * 40 {
                std::thread::yield_now();
            }
            Command::new("kill").args(["-KILL", &pid]).status().expect("kill runs");
        });
        for step in 1..4 {
            gateway.write_config(&text(round * 10 + step));
            let _ = Command::new("kill").args(["-HUP", &gateway.id().to_string()]).status();
        }
        killer.join().expect("killed");
        gateway.wait();
    }
    let gateway = Gateway::start_in(tempfile::tempdir().expect("a folder"), &text(1000), &[]);
    let generations: Vec<u64> =
        history(&gateway).iter().filter_map(|entry| entry["generation"].as_u64()).collect();
    let mut sorted = generations.clone();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    sorted.dedup();
    assert_eq!(generations, sorted);
    assert!(generations.len() as u32 > 12);
}

#[test]
fn a_rule_that_refuses_much_more_after_a_reload_is_noticed() {
    let mut gateway = Gateway::start(&config("\"PUT\"", ""));
    for _ in 0..80 {
        assert_eq!(get(gateway.address, "/open").status, 200);
    }
    // What was counted by now is looked at once a second.
    gateway.write_config(&config("\"PUT\", \"GET\"", ""));
    wait_for_generation(&gateway, 2);
    let jump = wait_until(|| {
        get(gateway.address, "/open");
        history(&gateway).into_iter().find(|entry| entry["kind"] == "jump")
    });
    assert_eq!((&jump["rule"], jump["before"].as_f64()), (&"rbac/freeze".into(), Some(0.0)));
    assert!(jump["policy"].as_str().expect("a version").starts_with("2-"), "{jump}");
    gateway.wait_for("a rule refuses much more since this policy is in force");
    let list = command(gateway.folder(), &["history"]);
    assert!(list.out.contains("rbac/freeze refuses"), "{}", list.show());
}

#[test]
fn who_or_what_asked_for_a_policy_is_known() {
    let gateway = Gateway::start(&config("\"PUT\"", ""));
    let admin = gateway.admin.expect("an admin listener");
    let token = fs::read_to_string(gateway.folder().join("admin.token")).expect("made at the start");
    let bearer = format!("Bearer {}", token.trim());
    // Whoever asks first takes the file over: the watcher, the signal, or the API.
    let by = |wanted: &str, ask: &dyn Fn()| {
        wait_until(|| {
            let number = history(&gateway).len();
            gateway.write_config(&config("\"PUT\"", &format!("\n[network]\nn{number} = [\"192.0.2.1\"]\n")));
            ask();
            let entries = wait_until(|| Some(history(&gateway)).filter(|entries| entries.len() > number));
            entries.into_iter().find(|entry| entry["trigger"] == wanted)
        })
    };
    let file = by("file", &|| {});
    assert_eq!(file["by"], Value::Null);
    let signal = by("signal", &|| gateway.signal("HUP"));
    assert_eq!(signal["by"], Value::Null);
    let fields = [("Host", "localhost"), ("Authorization", &*bearer), ("X-Portcullis-Actor", "alice")];
    let api = by("api", &|| assert_eq!(request(admin, "POST", "/api/reload", &fields, b"").status, 200));
    assert_eq!(api["by"], "alice, from 127.0.0.1");
}

#[test]
fn a_generation_can_be_asked_and_replayed() {
    let gateway = Gateway::start(&config("\"PUT\"", ""));
    for _ in 0..3 {
        assert_eq!(get(gateway.address, "/open").status, 200);
    }
    gateway.write_config(&config("\"PUT\", \"GET\"", ""));
    wait_for_generation(&gateway, 2);
    assert_eq!(get(gateway.address, "/open").status, 403);
    gateway.records(4);
    let ran = command(gateway.folder(), &["replay", "--with", "1", "--format", "json"]);
    let body = ran.json();
    assert_eq!(ran.code, 1, "{}", ran.show());
    // What generation 2 refused, generation 1 would let pass; what it decided itself is the same.
    let flip = &body["flips_by_rule"][0];
    assert_eq!((&flip["to"], &flip["before"]), (&"allow".into(), &"rbac/freeze".into()), "{body}");
    assert_eq!(body["cannot_tell"], 0, "{body}");
    // And the other way round; the generation was waited for with requests, so there are more than three.
    let back = command(gateway.folder(), &["replay", "--with", "current", "--format", "json"]).json();
    let flip = &back["flips_by_rule"][0];
    assert_eq!(flip["to"], "deny", "{back}");
    assert!(flip["count"].as_u64().is_some_and(|count| count >= 3), "{back}");
    let ran = command(gateway.folder(), &["explain", "/open", "--what-if-policy", "1", "--format", "json"]);
    let document = ran.json();
    let other = &document["what_if"][0];
    assert_eq!((&document["decision"], &other["decision"]), (&"deny".into(), &"allow".into()), "{document}");
}

#[test]
fn generations_are_loaded_from_any_folder_whatever_the_gateway_was_given() {
    let jwt = r#"
[[authn.jwt]]
id = "test"
issuer = "https://id.test"
audience = ["app"]
algorithms = ["HS256"]
secret_file = "keys/jwt.secret"
"#;
    let networks = "[network]\noffice = { file = \"lists/office.txt\" }\n";
    let address = "[[ip.rule]]\nid = \"office\"\npath = \"/office\"\nallow = [\"office\"]\n";
    let more = format!("{jwt}{networks}{address}");
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir_all(folder.path().join("keys")).expect("a folder");
    fs::create_dir_all(folder.path().join("lists")).expect("a folder");
    fs::write(folder.path().join("keys/jwt.secret"), "0123456789abcdef0123456789abcdef").expect("written");
    fs::write(folder.path().join("lists/office.txt"), "192.0.2.0/24\n").expect("written");
    let gateway = Gateway::start_standing_in(folder, &config("\"GET\"", &more));
    let id = get(gateway.address, "/open").header("x-request-id").expect("an id").to_owned();
    gateway.write_config(&config("\"PUT\"", &more));
    wait_for_generation(&gateway, 2);
    assert_eq!(get(gateway.address, "/open").status, 200);
    // The command stands in another folder.
    let ran = command(gateway.folder(), &["diff", "1", "2"]);
    assert!(ran.code == 0 && ran.words().contains("changed rbac/freeze"), "{}", ran.show());
    assert!(!ran.words().contains("Definitions"), "{}", ran.show());
    let ran = command(gateway.folder(), &["explain", "/open", "--what-if-policy", "1"]);
    assert_eq!(ran.code, 0, "{}", ran.show());
    let body = command(gateway.folder(), &["replay", "--with", "1", "--format", "json"]).json();
    assert_eq!((&body["cannot_tell"], &body["without_old_policy"]), (&0.into(), &0.into()), "{body}");
    assert_eq!(command(gateway.folder(), &["why", &id, "--format", "json"]).json()["judged_by"], "kept");
    // From its parent, with another spelling of the same folder; and the same files in another one.
    let name = gateway.folder().file_name().expect("a name").to_string_lossy().into_owned();
    let bench = Bench::new();
    for file in ["portcullis.toml", "keys/jwt.secret", "lists/office.txt"] {
        bench.write(file, fs::read_to_string(gateway.folder().join(file)).expect("there"));
    }
    let other = bench.path().join("portcullis.toml").to_string_lossy().into_owned();
    let mut command_there = bench.command(&["replay", "--with", &other, "--format", "json"]);
    command_there.arg("--config").arg(format!("{name}/portcullis.toml"));
    let ran = Ran::of(command_there.current_dir(gateway.folder().parent().expect("a folder")), b"");
    assert_eq!((&ran.json()["cannot_tell"], &ran.json()["without_old_policy"]), (&0.into(), &0.into()));
    // What is kept and cannot be loaded is not said to be gone.
    gateway.write_config(&config("\"PUT\"", ""));
    wait_for_generation(&gateway, 3);
    fs::remove_file(gateway.folder().join("keys/jwt.secret")).expect("removed");
    let ran = command(gateway.folder(), &["why", &id]);
    let text = ran.words();
    assert!(
        text.contains("is kept, but cannot be loaded: ") && text.contains("keys/jwt.secret"),
        "{}",
        ran.show()
    );
    assert!(!text.contains("is not kept"), "{}", ran.show());
    let ran = command(gateway.folder(), &["replay"]);
    assert!(ran.words().contains("is kept, but cannot be loaded: "), "{}", ran.show());
}
