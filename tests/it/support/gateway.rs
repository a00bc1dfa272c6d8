//! The gateway as a process, started with a configuration of the test's own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::get;

/// A running gateway; ended when dropped.
pub struct Gateway {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where its admin listener is, if it has one.
    pub admin: Option<SocketAddr>,
    child: Child,
    folder: TempDir,
    stderr: Receiver<String>,
    seen: Vec<String>,
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_portcullis");

/// Nothing that a test waits for takes longer.
const PATIENCE: Duration = Duration::from_secs(120);

impl Gateway {
    /// Starts a gateway. The configuration is completed with a version, a listener on port 0, an
    /// admin listener and a decision log in the gateway's folder, where it does not name its own.
    pub fn start(config: &str) -> Gateway {
        let folder = tempfile::tempdir().expect("a folder");
        Gateway::start_in(folder, config, &[])
    }

    /// The same, in a folder that holds further files.
    pub fn start_in(folder: TempDir, config: &str, arguments: &[&str]) -> Gateway {
        let path = folder.path().join("portcullis.toml");
        Gateway::start_by(Command::new(PROGRAM), folder, &path, config, arguments)
    }

    /// The same, as somebody starts it who stands in its folder.
    pub fn start_standing_in(folder: TempDir, config: &str) -> Gateway {
        Gateway::start_by(Command::new(PROGRAM), folder, Path::new("portcullis.toml"), config, &[])
    }

    /// The same, by a shell that first does something to the process that it becomes.
    pub fn start_after(shell: &str, folder: TempDir, config: &str) -> Gateway {
        let mut command = Command::new("bash");
        command.arg("-c").arg(format!("{shell}; exec \"$@\"")).args(["bash", PROGRAM]);
        let path = folder.path().join("portcullis.toml");
        Gateway::start_by(command, folder, &path, config, &[])
    }

    fn start_by(
        mut command: Command,
        folder: TempDir,
        path: &Path,
        config: &str,
        arguments: &[&str],
    ) -> Gateway {
        fs::write(folder.path().join("portcullis.toml"), complete(config)).expect("written");
        let mut child = command
            .arg("run")
            .arg("--config")
            .arg(path)
            .args(arguments)
            .env_remove("PORTCULLIS_LISTEN")
            .env("PORTCULLIS_LOG", "info")
            .env("NO_COLOR", "1")
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let stderr = lines(child.stderr.take().expect("piped"));
        let unset = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut gateway = Gateway { address: unset, admin: None, child, folder, stderr, seen: Vec::new() };
        if gateway.seen_config_admin(config) {
            let line = gateway.wait_for("admin listening");
            gateway.admin = Some(address_in(&line));
        }
        gateway
    }

    fn seen_config_admin(&mut self, config: &str) -> bool {
        let line = self.wait_for(" listening");
        self.address = address_in(&line);
        complete(config).contains("[admin]")
    }

    /// Waits for a line of the process's own log.
    pub fn wait_for(&mut self, text: &str) -> String {
        if let Some(line) = self.seen.iter().find(|line| line.contains(text)) {
            return line.clone();
        }
        loop {
            match self.stderr.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(_) => panic!("`{text}` was not logged; what was:\n{}", self.seen.join("\n")),
            }
        }
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until a policy of this generation judges.
    pub fn wait_for_generation(&self, wanted: u64) {
        wait_until(|| {
            let answer = get(self.address, "/");
            answer.header("x-portcullis-policy")?.starts_with(&format!("{wanted}-")).then_some(())
        });
    }

    /// Replaces the configuration as an editor does, by a rename.
    pub fn write_config(&self, config: &str) {
        self.write("portcullis.toml", &complete(config));
    }

    /// Replaces a file in its folder, by a rename.
    pub fn write(&self, name: &str, text: &str) {
        let fresh = self.folder().join(format!("{name}.new"));
        fs::write(&fresh, text).expect("written");
        fs::rename(&fresh, self.folder().join(name)).expect("renamed");
    }

    /// The records of the decision log, once there are this many.
    pub fn records(&self, count: usize) -> Vec<serde_json::Value> {
        let path = self.folder().join("decisions.jsonl");
        wait_until(|| {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let records: Vec<serde_json::Value> =
                text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
            (records.len() >= count).then_some(records)
        })
    }

    /// Sends a signal.
    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").arg(format!("-{signal}")).arg(self.id().to_string()).status();
        assert!(status.expect("kill runs").success());
    }

    /// Waits for its end; the exit code.
    pub fn wait(&mut self) -> Option<i32> {
        wait_until(|| self.child.try_wait().expect("a child")).code()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks again and again until there is something to see.
pub fn wait_until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let begin = std::time::Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(begin.elapsed() < PATIENCE, "waited in vain");
        thread::yield_now();
    }
}

fn complete(config: &str) -> String {
    let mut text = String::new();
    if !config.contains("version =") {
        text.push_str("version = 1\n");
    }
    text.push_str(config);
    if !config.contains("[server]") && !config.contains("[[listener]]") {
        text.push_str("\n[server]\nlisten = [\"127.0.0.1:0\"]\n");
    }
    if !config.contains("[admin]") {
        text.push_str("\n[admin]\nlisten = \"127.0.0.1:0\"\ntoken_file = \"admin.token\"\n");
    }
    if !config.contains("[log]") {
        text.push_str("\n[log]\nsink = { file = \"decisions.jsonl\" }\n");
    }
    if !config.contains("[timeouts]") {
        text.push_str("\n[timeouts]\ndrain_delay = \"0s\"\n");
    }
    text
}

fn lines(stderr: std::process::ChildStderr) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

fn address_in(line: &str) -> SocketAddr {
    let (_, rest) = line.split_once("address=").unwrap_or_else(|| panic!("no address in {line}"));
    rest.split_whitespace().next().and_then(|text| text.parse().ok()).expect("an address")
}
