//! The gateway as a process, with its decision log on a pipe that somebody reads.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{Usage, settled, until, usage, watches_files};

/// How a gateway is started.
pub struct Start {
    pub folder: TempDir,
    config: String,
    shell: String,
    environment: Vec<(String, String)>,
    on_record: OnRecord,
}

type OnRecord = Box<dyn FnMut(&str) + Send>;

/// A running gateway; killed when dropped.
pub struct Gateway {
    /// Where it listens, in the order of the configuration.
    pub addresses: Vec<SocketAddr>,
    pub admin: SocketAddr,
    pub folder: TempDir,
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
    records: Arc<Records>,
}

/// What came on the decision log, if it is standard output.
#[derive(Default)]
struct Records {
    whole: AtomicUsize,
    torn: AtomicUsize,
}

/// Nothing that is waited for takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// The binary that is measured.
fn program() -> PathBuf {
    let program = std::env::var_os("PORTCULLIS_BIN").map(PathBuf::from);
    let program = program.unwrap_or_else(|| env!("CARGO_BIN_EXE_portcullis").into());
    program.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", program.display()))
}

/// Whether it is optimised, as far as that can be told: one that was named is taken for a release.
pub fn is_optimised() -> bool {
    std::env::var_os("PORTCULLIS_BIN").is_some() || !cfg!(debug_assertions)
}

impl Start {
    /// With a configuration, to which a listener, an admin listener and a decision log on standard
    /// output are added where it has none.
    pub fn new(config: &str) -> Start {
        let folder = tempfile::tempdir().expect("a folder");
        let on_record: OnRecord = Box::new(|_| {});
        Start { folder, config: complete(config), shell: String::new(), environment: Vec::new(), on_record }
    }

    /// A shell command that changes the process first.
    pub fn after(mut self, shell: &str) -> Start {
        self.shell = format!("{shell}; ");
        self
    }

    pub fn with_env(mut self, name: &str, value: &str) -> Start {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sees every record.
    pub fn on_record(mut self, see: impl FnMut(&str) + Send + 'static) -> Start {
        self.on_record = Box::new(see);
        self
    }

    pub fn start(self) -> Gateway {
        let Start { folder, config, shell, environment, on_record } = self;
        fs::write(folder.path().join("portcullis.toml"), &config).expect("written");
        let mut command = Command::new("bash");
        command.arg("-c").arg(format!("{shell}exec \"$@\"")).arg("bash").arg(program());
        command.args(["run", "--config", "portcullis.toml"]).current_dir(folder.path()).envs(environment);
        command.env("PORTCULLIS_LOG", "info").env("NO_COLOR", "1");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        let records = Arc::new(Records::default());
        let stdout = child.stdout.take().expect("piped");
        let counted = Arc::clone(&records);
        thread::spawn(move || count(stdout, &counted, on_record));
        let said = Arc::new(Mutex::new(Vec::new()));
        let (stderr, kept) = (child.stderr.take().expect("piped"), Arc::clone(&said));
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut kept = kept.lock().expect("not poisoned");
                // Of what is said ten thousand times the beginning is enough.
                if kept.len() < 1000 || !line.contains("reload") {
                    kept.push(line);
                }
            }
        });
        let unset = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut gateway = Gateway { addresses: Vec::new(), admin: unset, folder, child, said, records };
        gateway.admin = address_in(&gateway.wait_for("admin listening"));
        let said = gateway.said.lock().expect("not poisoned").clone();
        let listening = said.iter().filter(|line| line.contains(" listening") && line.contains("scheme="));
        gateway.addresses = listening.map(|line| address_in(line)).collect();
        // Files begin to be watched after that; what is in use from then on counts as before.
        until(PATIENCE, || watches_files(gateway.id()).then_some(())).expect("files are watched");
        settled(gateway.id(), PATIENCE).expect("it opens no more");
        gateway
    }
}

impl Gateway {
    /// With a configuration and nothing special.
    pub fn start(config: &str) -> Gateway {
        Start::new(config).start()
    }

    /// Where it listens first.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The next one, when this one has ended: with the same configuration and what is in its folder.
    pub fn again(self) -> Start {
        let config = fs::read_to_string(self.path().join("portcullis.toml")).expect("written at the start");
        let folder = tempfile::tempdir().expect("a folder");
        for entry in fs::read_dir(self.path()).expect("a folder").map_while(Result::ok) {
            fs::rename(entry.path(), folder.path().join(entry.file_name())).expect("moved");
        }
        let (shell, environment) = (String::new(), Vec::new());
        Start { folder, config, shell, environment, on_record: Box::new(|_| {}) }
    }

    /// What it uses now.
    pub fn usage(&self) -> Usage {
        usage(self.id())
    }

    /// Whether it has said this, in a line of its own log.
    pub fn said(&self, text: &str) -> Option<String> {
        self.said.lock().expect("not poisoned").iter().find(|line| line.contains(text)).cloned()
    }

    /// Waits for a line of its own log.
    pub fn wait_for(&self, text: &str) -> String {
        until(PATIENCE, || self.said(text)).unwrap_or_else(|| {
            let said = self.said.lock().expect("not poisoned").join("\n");
            panic!("`{text}` was not said, but:\n{said}")
        })
    }

    /// What the command with its configuration prints.
    pub fn command(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(program());
        let ran = command.args(arguments).current_dir(self.path()).env("NO_COLOR", "1").output();
        let ran = ran.expect("the binary runs");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).expect("UTF-8")
    }

    /// Replaces a file, by a rename.
    pub fn write(&self, name: &str, text: &str) {
        let fresh = self.path().join(format!("{name}.new"));
        fs::write(&fresh, text).expect("written");
        fs::rename(&fresh, self.path().join(name)).expect("renamed");
    }

    /// Replaces the configuration.
    pub fn write_config(&self, config: &str) {
        self.write("portcullis.toml", &complete(config));
    }

    /// Asks for a reload by the admin interface; the answer.
    pub fn reload(&self) -> (u16, serde_json::Value) {
        let token = fs::read_to_string(self.path().join("admin.token")).expect("made at the start");
        let fields = format!("Authorization: Bearer {}\r\n", token.trim());
        let (status, body) = self.admin("POST", "/api/reload", &fields);
        (status, serde_json::from_str(&body).unwrap_or_default())
    }

    /// GET of the admin listener.
    pub fn ask_admin(&self, path: &str) -> (u16, String) {
        self.admin("GET", path, "")
    }

    fn admin(&self, method: &str, path: &str, fields: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.admin).expect("the admin listener");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{fields}Connection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("sent");
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        let status = answer.split(' ').nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        (status, body.to_owned())
    }

    /// The value of the first metric that begins like this.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let (_, text) = self.ask_admin("/metrics");
        let line = text.lines().find(|line| line.starts_with(name))?.to_owned();
        line.rsplit(' ').next()?.parse().ok()
    }

    /// How many records came, once there are this many or no more have come for a second.
    pub fn records(&self, expected: usize) -> usize {
        let count = || self.records.whole.load(Ordering::SeqCst);
        loop {
            let before = count();
            let reached = until(Duration::from_secs(1), || (count() >= expected).then_some(()));
            if reached.is_some() || count() == before {
                return count();
            }
        }
    }

    /// How many of them were not whole.
    pub fn torn(&self) -> usize {
        self.records.torn.load(Ordering::SeqCst)
    }

    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").arg(format!("-{signal}")).arg(self.id().to_string()).status();
        assert!(status.expect("kill runs").success());
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> Option<ExitStatus> {
        until(PATIENCE, || self.child.try_wait().expect("a child"))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if thread::panicking() {
            let said = self.said.lock().expect("not poisoned");
            said.iter().rev().take(10).rev().for_each(|line| eprintln!("gateway: {line}"));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A route for everything to an upstream, open to anyone.
pub fn open(upstream: &str, more: &str) -> String {
    format!(
        "[upstream.origin]\n{upstream}\n\n[[route]]\nid = \"all\"\npath = \"/{{*rest}}\"\nupstream = \"origin\"\n\
         upgrade = [\"websocket\"]\n\n[[rbac.grant]]\nid = \"all\"\nroles = [\"anyone\"]\n\n{more}\n"
    )
}

fn complete(config: &str) -> String {
    let mut text = format!("version = 1\n{config}\n");
    if !config.contains("[server]") && !config.contains("[[listener]]") {
        text.push_str("[server]\nlisten = [\"127.0.0.1:0\"]\n");
    }
    if !config.contains("[limits]") {
        text.push_str("[limits]\nconnections = 15000\nconnections_per_address = 15000\n");
    }
    if !config.contains("[log]") {
        text.push_str("[log]\nsink = \"stdout\"\nflush = \"100ms\"\n");
    }
    text.push_str("[admin]\nlisten = \"127.0.0.1:0\"\ntoken_file = \"admin.token\"\n");
    text
}

fn count(stdout: ChildStdout, records: &Records, mut see: OnRecord) {
    let mut reader = BufReader::with_capacity(1 << 20, stdout);
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|count| count > 0) {
        if line.starts_with('{') && line.ends_with("}\n") {
            records.whole.fetch_add(1, Ordering::SeqCst);
            see(&line);
        } else {
            records.torn.fetch_add(1, Ordering::SeqCst);
        }
        line.clear();
    }
}

fn address_in(line: &str) -> SocketAddr {
    let (_, rest) = line.split_once("address=").unwrap_or_else(|| panic!("no address in {line}"));
    rest.split_whitespace().next().and_then(|text| text.parse().ok()).expect("an address")
}
