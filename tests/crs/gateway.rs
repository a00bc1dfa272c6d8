//! The gateway under test: its configuration, its process, and the records that it writes.

use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use serde_json::Value;

use crate::{PATIENCE, backend};

/// A running gateway.
#[derive(Debug)]
pub(crate) struct Gateway {
    child: Child,
    address: SocketAddr,
    count: AtomicUsize,
    log: Arc<Log>,
    _folder: tempfile::TempDir,
}

/// What was recorded of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    pub(crate) ids: BTreeSet<u64>,
    /// A line for each rule, in the form that the tests look for, and the record itself.
    pub(crate) lines: Vec<String>,
}

/// The records so far, by request, and who waits for one.
#[derive(Debug, Default)]
struct Log {
    records: Mutex<HashMap<String, Record>>,
    came: Condvar,
}

impl Gateway {
    /// Starts it with the rules of this checkout.
    pub(crate) fn start(crs: &Path) -> Result<Gateway, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let at = |name: &str| folder.path().join(name);
        let upstream = backend::start()?;
        let config = include_str!("gateway.toml")
            .replace("{upstream}", &upstream.to_string())
            .replace("{crs}", &crs.to_string_lossy());
        for (name, text) in [
            ("gateway.toml", config.as_str()),
            ("engine.conf", include_str!("engine.conf")),
            ("paranoia.conf", include_str!("paranoia.conf")),
        ] {
            std::fs::write(at(name), text).map_err(|error| error.to_string())?;
        }
        let binary =
            std::env::var_os("PORTCULLIS").unwrap_or_else(|| env!("CARGO_BIN_EXE_portcullis").into());
        let mut child = Command::new(binary)
            .args(["run", "--config"])
            .arg(at("gateway.toml"))
            .env("PORTCULLIS_LOG", "info")
            .env("NO_COLOR", "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let (records, says) = (child.stdout.take(), child.stderr.take());
        let log = Arc::new(Log::default());
        let address = says.ok_or("stderr is not there".to_owned()).and_then(listening);
        let gateway = |address| Gateway {
            child,
            address,
            count: AtomicUsize::new(0),
            log: Arc::clone(&log),
            _folder: folder,
        };
        match address {
            Ok(address) => {
                let kept = Arc::clone(&log);
                thread::spawn(move || records.into_iter().for_each(|records| kept.read(records)));
                Ok(gateway(address))
            }
            Err(why) => {
                // Its end is waited for where it is dropped.
                drop(gateway(SocketAddr::from(([0, 0, 0, 0], 0))));
                Err(why)
            }
        }
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
        let records = self.log.records.lock().ok()?;
        let absent = |records: &mut HashMap<String, Record>| !records.contains_key(id);
        let (records, _) = self.log.came.wait_timeout_while(records, patience, absent).ok()?;
        records.get(id).cloned()
    }
}

/// Where a gateway that says so listens, or all that it said instead. Whatever it says later is read
/// and forgotten.
fn listening(stderr: impl Read + Send + 'static) -> Result<SocketAddr, String> {
    let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
    let mut said = String::new();
    for line in &mut lines {
        let address = line.split_once(" listening address=").and_then(|(_, rest)| rest.split(' ').next());
        if let Some(address) = address.and_then(|text| text.parse().ok()) {
            thread::spawn(move || lines.for_each(drop));
            return Ok(address);
        }
        said.push_str(&line);
        said.push('\n');
    }
    Err(format!("the gateway does not start:\n{said}"))
}

impl Log {
    /// Takes records until there are no more.
    fn read(&self, records: impl Read) {
        for line in BufReader::new(records).lines().map_while(Result::ok) {
            let Ok(record) = serde_json::from_str::<Value>(&line) else { continue };
            let Some(id) = record["request_id"].as_str() else { continue };
            let Ok(mut records) = self.records.lock() else { return };
            let entry = records.entry(id.to_owned()).or_default();
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
            entry.lines.push(line);
            self.came.notify_all();
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
