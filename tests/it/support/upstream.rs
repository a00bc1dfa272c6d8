//! An upstream that remembers what it was sent, byte for byte.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// A listening upstream. Its thread ends with the test process.
#[derive(Clone, Debug)]
pub struct Upstream {
    pub address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Received {
    /// All values of a field.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| &**value).collect()
    }
}

impl Upstream {
    /// Answers every request with 200 and `ok`.
    pub fn start() -> Upstream {
        Upstream::answering(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec())
    }

    /// Answers every request with what `answer` makes of it. An empty answer closes the connection.
    pub fn answering(answer: impl Fn(&Received) -> Vec<u8> + Send + Sync + 'static) -> Upstream {
        Upstream::with(answer, false)
    }

    /// The same, but a request counts as received before it is answered, which may take a while.
    pub fn holding(answer: impl Fn(&Received) -> Vec<u8> + Send + Sync + 'static) -> Upstream {
        Upstream::with(answer, true)
    }

    fn with(answer: impl Fn(&Received) -> Vec<u8> + Send + Sync + 'static, first: bool) -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let received = Arc::new(Mutex::new(Vec::new()));
        let (kept, answer) = (Arc::clone(&received), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, answer) = (Arc::clone(&kept), Arc::clone(&answer));
                thread::spawn(move || serve(stream, &kept, &*answer, first));
            }
        });
        Upstream { address, received }
    }

    /// What arrived so far.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().expect("not poisoned").clone()
    }

    /// The `[upstream]` table of this upstream.
    pub fn table(&self, name: &str) -> String {
        format!("[upstream.{name}]\nservers = [\"http://{}\"]\n", self.address)
    }
}

fn serve(stream: TcpStream, kept: &Mutex<Vec<Received>>, answer: &dyn Fn(&Received) -> Vec<u8>, first: bool) {
    let Ok(mut writer) = stream.try_clone() else { return };
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader) {
        if first {
            kept.lock().expect("not poisoned").push(request.clone());
        }
        let bytes = answer(&request);
        if !first {
            kept.lock().expect("not poisoned").push(request);
        }
        if bytes.is_empty() || writer.write_all(&bytes).is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Received> {
    let line = read_line(reader)?;
    let mut headers = Vec::new();
    loop {
        let field = read_line(reader)?;
        if field.is_empty() {
            break;
        }
        let (name, value) = field.split_once(':')?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let find = |name: &str| {
        headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
    };
    let mut body = Vec::new();
    if let Some(length) = find("content-length") {
        body.resize(length.parse().ok()?, 0);
        reader.read_exact(&mut body).ok()?;
    } else if find("transfer-encoding").is_some() {
        loop {
            let size = usize::from_str_radix(read_line(reader)?.trim(), 16).ok()?;
            let mut chunk = vec![0; size];
            reader.read_exact(&mut chunk).ok()?;
            body.extend_from_slice(&chunk);
            let rest = read_line(reader)?;
            if size == 0 {
                // Trailers, if any, up to the empty line.
                let mut trailer = rest;
                while !trailer.is_empty() {
                    let (name, value) = trailer.split_once(':')?;
                    headers.push((format!("trailer {name}"), value.trim().to_owned()));
                    trailer = read_line(reader)?;
                }
                break;
            }
        }
    }
    Some(Received { line, headers, body })
}

fn read_line(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut bytes = Vec::new();
    reader.read_until(b'\n', &mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    text.strip_suffix("\r\n").map(str::to_owned)
}
