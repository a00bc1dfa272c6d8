//! Reload: atomic, on file change and signal, last good kept, failure visible.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::{Gateway, get, get_local, request, wait_until};

fn config(allow: &str) -> String {
    format!(
        r#"
[upstream.demo]
servers = ["builtin:echo"]

[[route]]
id = "all"
path = "/{{*rest}}"
upstream = "demo"

[[rbac.grant]]
id = "all"
roles = ["anyone"]
path = "{allow}"
"#
    )
}

fn generation(gateway: &Gateway) -> u64 {
    let response = get(gateway.address, "/");
    let policy = response.header("x-portcullis-policy").expect("set").to_owned();
    policy.split('-').next().and_then(|text| text.parse().ok()).expect("a generation")
}

fn wait_for_generation(gateway: &Gateway, wanted: u64) {
    wait_until(|| (generation(gateway) == wanted).then_some(()));
}

fn status(gateway: &Gateway) -> serde_json::Value {
    get_local(gateway.admin.expect("an admin listener"), "/api/status").json()
}

#[test]
fn a_changed_file_is_a_new_generation_and_an_unchanged_one_is_not() {
    let gateway = Gateway::start(&config("/a"));
    assert_eq!((get(gateway.address, "/a").status, get(gateway.address, "/b").status), (200, 403));
    gateway.write_config(&config("/b"));
    wait_for_generation(&gateway, 2);
    assert_eq!((get(gateway.address, "/a").status, get(gateway.address, "/b").status), (403, 200));
    // A comment changes the file and not its meaning.
    let before = status(&gateway)["reload"]["at"].clone();
    gateway.write_config(&format!("{}\n# a comment\n", config("/b")));
    wait_until(|| (status(&gateway)["reload"]["at"] != before).then_some(()));
    assert_eq!(generation(&gateway), 2);
}

#[test]
fn a_bad_policy_leaves_the_last_good_one_in_force_and_is_visible() {
    let mut gateway = Gateway::start(&config("/a"));
    gateway.write_config(&config("no pattern"));
    gateway.wait_for("the last good one stays in force");
    assert_eq!((generation(&gateway), get(gateway.address, "/a").status), (1, 200));
    let reload = status(&gateway)["reload"].clone();
    assert_eq!(reload["ok"], false);
    let error = reload["errors"][0].as_str().unwrap_or("");
    assert!(error.contains("portcullis.toml:") && error.contains("`no pattern`"), "{error}");
    let metrics = get_local(gateway.admin.expect("an admin listener"), "/metrics").text();
    assert!(metrics.contains("portcullis_policy_reload_success 0"), "{metrics}");
    gateway.write_config(&config("/b"));
    wait_for_generation(&gateway, 2);
    assert_eq!(status(&gateway)["reload"]["ok"], true);
}

#[test]
fn sighup_reloads_at_once() {
    let mut gateway = Gateway::start(&config("/a"));
    gateway.signal("HUP");
    gateway.wait_for("trigger=\"signal\"");
    assert_eq!(get(gateway.address, "/a").status, 200);
}

#[test]
fn the_admin_listener_reloads_for_who_has_the_token() {
    let gateway = Gateway::start(&config("/a"));
    let admin = gateway.admin.expect("an admin listener");
    assert_eq!(request(admin, "POST", "/api/reload", &[("Host", "localhost")], b"").status, 401);
    let token = fs::read_to_string(gateway.folder().join("admin.token")).expect("made");
    let bearer = format!("Bearer {}", token.trim());
    let response = request(admin, "POST", "/api/reload", &[("Authorization", &bearer)], b"");
    assert_eq!((response.status, response.json()["reloaded"].as_bool()), (200, Some(true)));
}

#[test]
fn a_kubernetes_volume_is_followed() {
    // A mounted ConfigMap: files are links through `..data`, which is swapped as a whole.
    let folder = tempfile::tempdir().expect("a folder");
    let mount = folder.path().join("mount");
    let write = |version: &str, allow: &str| {
        let data = mount.join(version);
        fs::create_dir_all(&data).expect("made");
        fs::write(
            data.join("policy.toml"),
            format!("[[rbac.grant]]\nid = \"more\"\nroles = [\"anyone\"]\npath = \"{allow}\"\n"),
        )
        .expect("written");
        let fresh = mount.join("..data_tmp");
        symlink(version, &fresh).expect("linked");
        fs::rename(&fresh, mount.join("..data")).expect("swapped");
    };
    write("..v1", "/one");
    symlink("..data/policy.toml", mount.join("policy.toml")).expect("linked");
    let gateway = Gateway::start_in(folder, &format!("include = [\"mount/*.toml\"]\n{}", config("/a")), &[]);
    assert_eq!((get(gateway.address, "/one").status, get(gateway.address, "/two").status), (200, 403));
    let mount = gateway.folder().join("mount");
    let data = mount.join("..v2");
    fs::create_dir_all(&data).expect("made");
    fs::write(
        data.join("policy.toml"),
        "[[rbac.grant]]\nid = \"more\"\nroles = [\"anyone\"]\npath = \"/two\"\n",
    )
    .expect("written");
    symlink("..v2", mount.join("..data_tmp")).expect("linked");
    fs::rename(mount.join("..data_tmp"), mount.join("..data")).expect("swapped");
    wait_for_generation(&gateway, 2);
    assert_eq!((get(gateway.address, "/one").status, get(gateway.address, "/two").status), (403, 200));
}

#[test]
fn a_new_file_that_an_include_matches_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("policy")).expect("made");
    let grant = |id: &str, path: &str| {
        format!("[[rbac.grant]]\nid = \"{id}\"\nroles = [\"anyone\"]\npath = \"{path}\"\n")
    };
    fs::write(folder.path().join("policy/a.toml"), grant("one", "/one")).expect("written");
    let gateway = Gateway::start_in(folder, &format!("include = [\"policy/*.toml\"]\n{}", config("/a")), &[]);
    assert_eq!(get(gateway.address, "/two").status, 403);
    gateway.write("policy/b.toml", &grant("two", "/two"));
    wait_for_generation(&gateway, 2);
    assert_eq!(get(gateway.address, "/two").status, 200);
}

#[test]
fn what_needs_a_restart_is_said_and_the_rest_applies() {
    let mut gateway = Gateway::start(&config("/a"));
    gateway
        .write_config(&format!("{}\n[server]\nlisten = [\"127.0.0.1:0\", \"127.0.0.2:0\"]\n", config("/b")));
    gateway.wait_for("only after a restart");
    wait_for_generation(&gateway, 2);
    assert_eq!(get(gateway.address, "/b").status, 200);
    assert_eq!(status(&gateway)["restart_required"], serde_json::json!(["listener"]));
}

#[test]
fn requests_flow_while_large_policies_are_replaced() {
    let many = |allow: &str| {
        let mut text = config(allow);
        for index in 0..10_000 {
            text.push_str(&format!(
                "[[rbac.grant]]\nid = \"g{index}\"\nroles = [\"authenticated\"]\npath = \"/api/v1/r{index}/{{id}}\"\n"
            ));
        }
        text
    };
    let gateway = Gateway::start(&many("/"));
    for generation in 2..5 {
        gateway.write_config(&many(if generation % 2 == 0 { "/{*rest}" } else { "/" }));
        // Every answer on the way is judged by one policy or the other, whole.
        wait_until(|| {
            let response = get(gateway.address, "/");
            assert_eq!(response.status, 200);
            response
                .header("x-portcullis-policy")
                .expect("set")
                .starts_with(&format!("{generation}-"))
                .then_some(())
        });
    }
}
