//! The upstream that the tests expect: `POST /reflect` answers what the request's body describes, and
//! everything else is an empty 200.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// Serves until the process ends.
pub(crate) fn start() -> Result<SocketAddr, String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|error| error.to_string())?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    std::thread::spawn(move || {
        for stream in listener.incoming().filter_map(Result::ok) {
            std::thread::spawn(move || serve(stream));
        }
    });
    Ok(address)
}

fn serve(stream: TcpStream) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
        let (mut length, mut chunked) = (0, false);
        loop {
            let mut field = String::new();
            reader.read_line(&mut field).ok()?;
            let field = field.trim().to_lowercase();
            if field.is_empty() {
                break;
            }
            if let Some(value) = field.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            chunked |= field.starts_with("transfer-encoding:") && field.contains("chunked");
        }
        let mut body = Vec::new();
        if chunked {
            loop {
                let mut size = String::new();
                reader.read_line(&mut size).ok()?;
                let size = usize::from_str_radix(size.trim().split(';').next()?, 16).ok()?;
                let start = body.len();
                body.resize(start + size, 0);
                reader.read_exact(&mut body[start..]).ok()?;
                reader.read_line(&mut String::new()).ok()?;
                if size == 0 {
                    break;
                }
            }
        } else {
            body.resize(length, 0);
            reader.read_exact(&mut body).ok()?;
        }
        let answer = if line.starts_with("POST /reflect") { reflect(&body) } else { answer(200, &[], b"") };
        let answer = if line.starts_with("HEAD ") {
            answer.split_inclusive(|_| false).flatten().copied().collect()
        } else {
            answer
        };
        writer.write_all(&answer).ok()?;
    }
}

fn reflect(body: &[u8]) -> Vec<u8> {
    let Ok(wanted) = serde_json::from_slice::<Value>(body) else { return answer(400, &[], b"not JSON") };
    let status = wanted["status"].as_u64().filter(|status| *status > 0).unwrap_or(200);
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let fields: Vec<(String, String)> = wanted["headers"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), text(value)))
        .collect();
    let mut content = wanted["body"].as_str().unwrap_or_default().as_bytes().to_vec();
    if content.is_empty()
        && let Some(encoded) = wanted["encodedBody"].as_str()
    {
        content = STANDARD.decode(encoded.split_whitespace().collect::<String>()).unwrap_or_default();
    }
    answer(status, &fields, &content)
}

fn answer(status: u64, fields: &[(String, String)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} Status\r\n");
    if !body.is_empty() && !fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
        let html = body.trim_ascii_start().starts_with(b"<");
        let kind = if html { "text/html" } else { "text/plain" };
        head.push_str(&format!("Content-Type: {kind}; charset=utf-8\r\n"));
    }
    let ours = ["content-length", "transfer-encoding", "connection"];
    for (name, value) in fields.iter().filter(|(name, _)| !ours.contains(&name.to_lowercase().as_str())) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    [head.as_bytes(), body].concat()
}
