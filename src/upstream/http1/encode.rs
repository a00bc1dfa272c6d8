//! A request as it is written.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use http_body::{Body as _, Frame};

use super::super::added::{Added, Beside};
use super::super::body::RequestBody;
use super::{Broken, COPIED};

/// How the end of a request's body is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// By its length; so much of it is to come.
    Sized(u64),
    /// By a chunk that is empty, and trailers of the names that the head announces.
    Chunked(Option<HeaderValue>),
}

/// Writes a head. How its body follows, if one does.
pub(super) fn head(
    out: &mut BytesMut,
    request: &Request<RequestBody>,
    beside: Beside<'_>,
) -> Option<Framing> {
    let (method, fields) = (request.method(), request.headers());
    let framing = match request.body().size_hint().exact() {
        Some(0) => None,
        Some(length) => Some(Framing::Sized(length)),
        None => Some(Framing::Chunked(fields.get(header::TRAILER).cloned())),
    };
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let values: usize = fields.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let added = beside.added.map_or(&[][..], Added::lines);
    out.reserve(method.as_str().len() + target.len() + values + added.len() + ROOM);
    put(out, &[method.as_str(), " ", target, " HTTP/1.1\r\n"]);
    // First, as RFC 9110 section 7.2 has it.
    if let Some(host) = beside.host.or_else(|| fields.get(header::HOST)) {
        field(out, "host", host.as_bytes());
    }
    for (name, value) in fields {
        let name = name.as_str();
        // Host has been said, and the length of the body is told here and nowhere else.
        if !matches!(name, "host" | "content-length" | "transfer-encoding") {
            field(out, name, value.as_bytes());
        }
    }
    out.extend_from_slice(added);
    match framing {
        Some(Framing::Sized(length)) => length_field(out, length),
        Some(Framing::Chunked(_)) => put(out, &["transfer-encoding: chunked\r\n"]),
        // RFC 9110 section 8.6: of a method that may have a body, that there is none is said.
        None if takes_body(method) => length_field(out, 0),
        None => {}
    }
    put(out, &["\r\n"]);
    framing
}

/// For the Host, a length, and what stands between.
const ROOM: usize = 320;

fn takes_body(method: &Method) -> bool {
    !matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::CONNECT | Method::DELETE
    )
}

fn put(out: &mut BytesMut, texts: &[&str]) {
    texts.iter().for_each(|text| out.extend_from_slice(text.as_bytes()));
}

fn field(out: &mut BytesMut, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn length_field(out: &mut BytesMut, length: u64) {
    put(out, &["content-length: ", &length.to_string(), "\r\n"]);
}

impl Framing {
    /// Writes a frame; long data becomes `piece`, which goes behind what is written. Whether more of
    /// the body may follow.
    pub(super) fn frame(
        &mut self,
        frame: Frame<Bytes>,
        out: &mut BytesMut,
        piece: &mut Bytes,
    ) -> Result<bool, Broken> {
        match frame.into_data() {
            Ok(data) => self.data(data, out, piece).map(|()| true),
            Err(frame) => match (frame.into_trailers(), &*self) {
                (Ok(trailers), Framing::Chunked(announced)) => {
                    end_chunks(out, &trailers, announced.as_ref());
                    Ok(false)
                }
                // There is no place for trailers behind a length.
                (Ok(_), Framing::Sized(_)) | (Err(_), _) => Ok(true),
            },
        }
    }

    fn data(&mut self, data: Bytes, out: &mut BytesMut, piece: &mut Bytes) -> Result<(), Broken> {
        if data.is_empty() {
            // As a chunk, it would be the last one.
            return Ok(());
        }
        match self {
            Framing::Sized(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(Broken::Body)?;
                if data.len() <= COPIED {
                    out.extend_from_slice(&data);
                } else {
                    *piece = data;
                }
            }
            Framing::Chunked(_) => {
                put(out, &[&format!("{:x}\r\n", data.len())]);
                // The line break behind it has no place behind a piece that stays where it lies.
                out.extend_from_slice(&data);
                out.put_slice(b"\r\n");
            }
        }
        Ok(())
    }

    /// Writes the end of the body, which has no trailers.
    pub(super) fn end(&self, out: &mut BytesMut) -> Result<(), Broken> {
        match self {
            Framing::Sized(0) => Ok(()),
            Framing::Sized(_) => Err(Broken::Body),
            Framing::Chunked(_) => {
                put(out, &["0\r\n\r\n"]);
                Ok(())
            }
        }
    }
}

/// A name that nobody announced may be one that somebody on the way would have had to see.
fn end_chunks(out: &mut BytesMut, trailers: &HeaderMap, announced: Option<&HeaderValue>) {
    let names = |name: &HeaderName| {
        announced.is_some_and(|value| {
            let mut tokens = value.as_bytes().split(|byte| *byte == b',');
            tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes()))
        })
    };
    put(out, &["0\r\n"]);
    for (name, value) in trailers.iter().filter(|(name, _)| names(name)) {
        field(out, name.as_str(), value.as_bytes());
    }
    put(out, &["\r\n"]);
}
