//! C-16: key sets that are down, slow, huge, or not what they should be, and floods of unknown keys.
//! Each address is asked at most once in ten seconds, nobody is let in, and nothing piles up.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use crate::client::{Answer, Client, run};
use crate::gateway::{Gateway, open};
use crate::load::{Load, Plan, Script};
use crate::origin::Origin;
use crate::process::until;
use crate::report::Limit::{AtLeast, AtMost};
use crate::report::{Report, Scale};
use crate::token;

/// What is wrong with a key server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Silent,
    Slow,
    Huge,
    Endless,
    Page,
    Failing,
    Elsewhere,
    /// Nothing: a key set with a new key at every fetch.
    Rotating,
}

const ALL: [Kind; 8] = [
    Kind::Silent,
    Kind::Slow,
    Kind::Huge,
    Kind::Endless,
    Kind::Page,
    Kind::Failing,
    Kind::Elsewhere,
    Kind::Rotating,
];

struct KeyServer {
    kind: Kind,
    address: SocketAddr,
    fetches: Arc<AtomicUsize>,
    bytes: Arc<AtomicUsize>,
    keys: Arc<Vec<rcgen::KeyPair>>,
}

impl KeyServer {
    fn start(kind: Kind) -> KeyServer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let key = || rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
        let keys = Arc::new((0..32).map(|_| key()).collect());
        let server = KeyServer { kind, address, fetches: Arc::default(), bytes: Arc::default(), keys };
        let (fetches, bytes, keys) = (server.fetches.clone(), server.bytes.clone(), server.keys.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let number = fetches.fetch_add(1, Ordering::SeqCst);
                let (bytes, keys) = (bytes.clone(), keys.clone());
                thread::spawn(move || answer(kind, stream, number, &bytes, &keys));
            }
        });
        server
    }

    fn source(&self) -> String {
        let id = format!("{:?}", self.kind).to_lowercase();
        format!(
            "[[authn.jwt]]\nid = \"{id}\"\nissuer = \"https://{id}.test\"\naudience = [\"app\"]\nalgorithms = [\"ES256\"]\n\
             roles = \"roles\"\nroles_allowed = [\"reader\"]\njwks = {{ url = \"http://{}/keys\", refresh = \"1m\" }}\n",
            self.address
        )
    }

    /// A token by the key that a fetch brings.
    fn token(&self, number: usize) -> String {
        let header = Header { kid: Some(number.to_string()), ..Header::new(Algorithm::ES256) };
        let issuer = json!({ "iss": format!("https://{}.test", format!("{:?}", self.kind).to_lowercase()) });
        let key = EncodingKey::from_ec_der(self.keys[number].serialized_der());
        token::signed(&header, &key, token::now() + 3600, &issuer)
    }
}

fn answer(kind: Kind, mut stream: TcpStream, number: usize, bytes: &AtomicUsize, keys: &[rcgen::KeyPair]) {
    let _ = stream.read(&mut [0; 4096]);
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    let mut send = |data: &[u8]| {
        bytes.fetch_add(data.len(), Ordering::SeqCst);
        stream.write_all(data).is_ok()
    };
    match kind {
        Kind::Silent => thread::sleep(Duration::from_secs(100)),
        Kind::Slow => {
            send(format!("{head}Content-Length: 1000\r\n\r\n{{").as_bytes());
            while send(b" ") {
                thread::sleep(Duration::from_millis(500));
            }
        }
        Kind::Huge | Kind::Endless => {
            let length = if kind == Kind::Huge { "Content-Length: 1000000000\r\n" } else { "" };
            send(format!("{head}{length}\r\n{{").as_bytes());
            let piece = vec![b' '; 1 << 16];
            while send(&piece) {}
        }
        Kind::Page => {
            send(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<h1>Hello</h1>");
        }
        Kind::Failing => {
            send(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
        }
        Kind::Elsewhere => {
            send(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/keys\r\nContent-Length: 0\r\n\r\n");
        }
        Kind::Rotating => {
            let point = keys[number % keys.len()].public_key_raw();
            let part = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
            let key = json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": number.to_string(),
                              "x": part(1..33), "y": part(33..65) });
            let body = json!({ "keys": [key] }).to_string();
            send(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
        }
    }
}

/// Tokens with keys that nobody has, of every issuer in turn.
struct Flood;

impl Script for Flood {
    fn path(&self, number: usize) -> String {
        format!("/tag/{number}")
    }

    fn request(&self, path: &str) -> Vec<u8> {
        let number: usize = path.rsplit('/').next().and_then(|text| text.parse().ok()).unwrap_or(0);
        let issuer = format!("https://{}.test", format!("{:?}", ALL[number % ALL.len()]).to_lowercase());
        token::get(path, &token::forged(&issuer, &format!("unknown-{number}")))
    }

    fn check(&self, path: &str, answer: &Answer) -> Result<(), String> {
        match (answer.status, answer.rule()) {
            (503, "authn/keys-unavailable") | (401, "authn/key-unknown") => Ok(()),
            (status, rule) => Err(format!("{path}: {status} {rule}")),
        }
    }
}

pub fn faults(scale: Scale, report: &mut Report) {
    let servers: Vec<KeyServer> = ALL.into_iter().map(KeyServer::start).collect();
    let origin = Origin::start();
    let sources: String = servers.iter().map(KeyServer::source).collect();
    let config = open(&origin.servers(), &format!("{sources}[rbac.role.reader]\n"));
    let begin = Instant::now();
    let gateway = Gateway::start(&config);
    let before = gateway.usage();
    let flood = Load::start(gateway.address(), Plan { connections: 8, rest: Duration::ZERO }, Flood);
    let time = Duration::from_secs(scale.pick(24, 120));
    // In all the noise a key that was rotated is found.
    let good = servers.iter().find(|server| server.kind == Kind::Rotating).expect("one of them");
    let served = |number: usize| {
        let request = token::get("/tag/good", &good.token(number));
        let answer = run(async { Client::connect(gateway.address()).await?.ask(&request).await });
        answer.is_ok_and(|answer| answer.status == 200)
    };
    let mut longest = Duration::ZERO;
    let mut peak = 0.0_f64;
    for number in 0.. {
        let asked = Instant::now();
        let found = until(Duration::from_secs(15), || served(number).then_some(()));
        longest = longest.max(if found.is_some() { asked.elapsed() } else { Duration::MAX });
        peak = peak.max(gateway.usage().kib);
        if begin.elapsed() > time {
            break;
        }
    }
    let outcome = flood.stop();
    let seconds = begin.elapsed().as_secs_f64();
    report.none("C-16", "answers to unknown keys but 401 and 503", &outcome.wrong, outcome.sent);
    report.line("C-16", "unknown keys a second", outcome.sent as f64 / seconds, "", AtLeast(100.0));
    for server in &servers {
        let fetches = server.fetches.load(Ordering::SeqCst) as f64;
        let what = format!("{:?}: fetches in {seconds:.0} s", server.kind);
        report.line("C-16", what, fetches, "", AtMost((seconds / 10.0).floor() + 1.0));
        if matches!(server.kind, Kind::Huge | Kind::Endless) {
            let each = server.bytes.load(Ordering::SeqCst) as f64 / fetches.max(1.0) / f64::from(1 << 20);
            // What the system's buffers take comes on top of the mebibyte that is read.
            report.line("C-16", format!("{:?}: sent in a fetch", server.kind), each, "MiB", AtMost(16.0));
        }
    }
    let longest = longest.as_secs_f64();
    report.line("C-16", "until a rotated key is known, at the longest", longest, "s", AtMost(12.0));
    let more = (peak - before.kib) / 1024.0;
    report.line("C-16", "resident memory more at its peak", more, "MiB", AtMost(80.0));
}
