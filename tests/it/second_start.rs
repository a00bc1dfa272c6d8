//! A gateway that is started while another still has what it needs: it says who has it and what to do.

use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::process::{Command, Output};

use crate::support::Gateway;

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

[timeouts]
drain_delay = "1h"
"#;

/// Runs a gateway that cannot start; what it said.
fn run(config: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("portcullis.toml");
    std::fs::write(&path, format!("version = 1\n{CONFIG}\n{config}")).expect("written");
    let Output { status, stderr, .. } = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["run", "--config"])
        .arg(&path)
        .env("NO_COLOR", "1")
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(status.code(), Some(70), "{said}");
    said
}

#[test]
fn a_gateway_that_still_ends_is_named_with_what_it_has() {
    let state = tempfile::tempdir().expect("a folder");
    let server = |listen: &str, state: &std::path::Path| {
        format!("[server]\nlisten = [\"{listen}\"]\nstate_dir = {state:?}\n")
    };
    let socket = state.path().join("admin.sock");
    let admin = format!("[admin]\nlisten = \"127.0.0.1:0\"\nsocket = {socket:?}\n");
    let mut first = Gateway::start(&format!("{CONFIG}\n{}{admin}", server("127.0.0.1:0", state.path())));
    first.signal("TERM");
    first.wait_for("clients are asked to leave");
    let (who, admin) =
        (format!("process {} (portcullis)", first.id()), first.admin.expect("an admin listener"));
    let said = run(&server("127.0.0.1:0", state.path()));
    assert!(said.contains(&format!("{who} writes there")) && said.contains("`[server] state_dir`"), "{said}");
    let other = tempfile::tempdir().expect("a folder");
    let said = run(&server(&first.address.to_string(), other.path()));
    assert!(said.contains(&format!("{who} listens there")) && said.contains("drain_delay"), "{said}");
    let said = run(&format!("[server]\nlisten = [\"127.0.0.1:0\"]\n[admin]\nlisten = \"{admin}\"\n"));
    assert!(said.contains(&format!("cannot listen on {admin}")) && said.contains(&who), "{said}");
    // A socket that is listened on is not taken away.
    let said = run(&format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\n[admin]\nlisten = \"127.0.0.1:0\"\nsocket = {socket:?}\n"
    ));
    assert!(said.contains(&format!("process {} listens there", first.id())), "{said}");
    assert!(UnixStream::connect(&socket).is_ok());
}

#[test]
fn another_program_is_named_too() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let said = run(&format!("[server]\nlisten = [\"{address}\"]\n"));
    assert!(said.contains(&format!("; process {} (", std::process::id())), "{said}");
    assert!(said.contains("stop it, or listen elsewhere") && !said.contains("drain_delay"), "{said}");
}
