//! The gateway under test: its configuration, its process, and the records that it writes.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{PATIENCE, backend};

/// A running gateway.
#[derive(Debug)]
pub(crate) struct Gateway {
    child: Child,
    address: SocketAddr,
    count: AtomicUsize,
    log: Mutex<Log>,
    _folder: tempfile::TempDir,
}

/// What was recorded of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    pub(crate) ids: BTreeSet<u64>,
    /// A line for each rule, in the form that the tests look for, and the record itself.
    pub(crate) lines: Vec<String>,
}

#[derive(Debug)]
struct Log {
    file: File,
    rest: Vec<u8>,
    records: HashMap<String, Record>,
}

impl Gateway {
    /// Starts it with the rules of this checkout.
    pub(crate) fn start(crs: &Path) -> Result<Gateway, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let at = |name: &str| folder.path().join(name);
        let upstream = backend::start()?;
        let free = || TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
        let address = free().map_err(|error| error.to_string())?;
        let config = include_str!("gateway.toml")
            .replace("{listen}", &address.to_string())
            .replace("{upstream}", &upstream.to_string())
            .replace("{crs}", &crs.to_string_lossy());
        for (name, text) in [
            ("gateway.toml", config.as_str()),
            ("engine.conf", include_str!("engine.conf")),
            ("paranoia.conf", include_str!("paranoia.conf")),
        ] {
            std::fs::write(at(name), text).map_err(|error| error.to_string())?;
        }
        let log = File::create_new(at("decisions.jsonl")).and_then(|_| File::open(at("decisions.jsonl")));
        let file = log.map_err(|error| error.to_string())?;
        let errors = File::create(at("stderr")).map_err(|error| error.to_string())?;
        let binary =
            std::env::var_os("PORTCULLIS").unwrap_or_else(|| env!("CARGO_BIN_EXE_portcullis").into());
        let child = Command::new(binary)
            .args(["run", "--config"])
            .arg(at("gateway.toml"))
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .map_err(|error| error.to_string())?;
        let log = Log { file, rest: Vec::new(), records: HashMap::new() };
        let (count, log) = (AtomicUsize::new(0), Mutex::new(log));
        let mut gateway = Gateway { child, address, count, log, _folder: folder };
        let deadline = Instant::now() + 10 * PATIENCE;
        while TcpStream::connect(address).is_err() {
            let gone = gateway.child.try_wait().ok().flatten().is_some();
            if gone || Instant::now() > deadline {
                let said = std::fs::read_to_string(gateway._folder.path().join("stderr")).unwrap_or_default();
                return Err(format!("the gateway does not start:\n{said}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(gateway)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// An id that no other request has.
    pub(crate) fn next_id(&self, case: &str, stage: usize) -> String {
        format!("crs-{case}-{stage}-{}", self.count.fetch_add(1, Ordering::Relaxed))
    }

    /// What was recorded of a request. Waited for a while; an answer of the parser may have none.
    pub(crate) fn record(&self, id: &str, status: u16) -> Option<Record> {
        let patience = if status == 400 { PATIENCE / 10 } else { PATIENCE / 2 };
        let deadline = Instant::now() + patience;
        loop {
            let mut log = self.log.lock().ok()?;
            log.read();
            let found = log.records.get(id).cloned();
            drop(log);
            if found.is_some() || Instant::now() > deadline {
                return found;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Log {
    fn read(&mut self) {
        let mut rest = std::mem::take(&mut self.rest);
        let _ = self.file.read_to_end(&mut rest);
        let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for line in rest[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let Ok(record) = serde_json::from_slice::<Value>(line) else { continue };
            let Some(id) = record["request_id"].as_str() else { continue };
            let entry = self.records.entry(id.to_owned()).or_default();
            for found in record["waf"]["matched"].as_array().into_iter().flatten() {
                let text = |key: &str| found[key].as_str().unwrap_or_default();
                let Ok(rule) = text("id").parse() else { continue };
                entry.ids.insert(rule);
                entry.lines.push(format!(
                    "[id \"{rule}\"] [msg \"{}\"] [data \"{}\"]",
                    text("msg"),
                    text("data")
                ));
            }
            entry.lines.push(String::from_utf8_lossy(line).into_owned());
        }
        self.rest = rest.split_off(whole);
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
