//! One exchange with the admin listener of a running gateway.
//!
//! Used by `status`, `reload`, `healthcheck`, `ban`, `unban`, `verbose` and `top`, and by `why`, `suggest` and
//! `history` where there is nothing on the disk. The address comes from the command line or from
//! the main configuration file; only its `[admin]` table is read, so that a broken edit elsewhere
//! does not keep an operator from asking.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::layout::{printable, visible_width};
use super::reply::{Exit, Reply, STRONG, styled};
use super::{Common, files};
use crate::admin::CHALLENGE;
use crate::config::load;

/// Which gateway is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Whom {
    /// The admin listener to ask [default: `[admin] listen` of the configuration].
    #[arg(long, value_name = "ADDR", env = "PORTCULLIS_ADMIN_LISTEN", hide_env_values = true)]
    admin: Option<SocketAddr>,
    /// How many seconds the whole exchange may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
}

/// A gateway that can be asked.
#[derive(Debug)]
pub(super) struct Gateway {
    /// Its admin listener.
    pub(super) address: SocketAddr,
    /// The file of the token that changes need.
    pub(super) token_file: Option<PathBuf>,
    /// The socket on which changes need none.
    socket: Option<PathBuf>,
    timeout: Duration,
}

/// An answer whose body is still to come.
pub(super) struct Opened {
    pub(super) status: StatusCode,
    headers: HeaderMap,
    pub(super) body: Incoming,
    /// The connection lasts as long as this.
    _sender: http1::SendRequest<Full<Bytes>>,
}

/// What the gateway answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    headers: HeaderMap,
    pub(super) body: Bytes,
}

/// The largest answer that is read.
const MAX_ANSWER: usize = 64 << 20;

impl Whom {
    /// The gateway that was named.
    pub(super) fn named(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// The gateway that is meant; `token`: whether its token will be needed.
    pub(super) fn find(&self, token: bool, common: &Common) -> Result<Gateway, Reply> {
        let timeout = Duration::from_secs(self.timeout);
        let configured = files::config_path(common).and_then(|path| {
            let admin = load::admin(&path).map_err(|why| Reply::failure(Exit::Config, why))?;
            Ok((path, admin))
        });
        let (path, configured) = match (configured, self.admin) {
            (Ok(found), _) => found,
            // Who is asked is known, and perhaps it wants no token.
            (Err(_), Some(address)) if !token => {
                return Ok(Gateway { address: reachable(address), token_file: None, socket: None, timeout });
            }
            (Err(reply), _) => return Err(reply),
        };
        let token_file = configured.as_ref().and_then(|admin| admin.token_file.clone());
        // A gateway at another address has another socket.
        let socket = configured.as_ref().and_then(|admin| admin.socket.clone());
        let socket = socket.filter(|socket| self.admin.is_none() && socket.exists());
        let address = self.admin.or(configured.map(|admin| admin.listen)).ok_or_else(|| {
            let name = printable(&path.to_string_lossy()).into_owned();
            let why = format!("`{name}` has no `[admin] listen`; say where to ask with `--admin ADDR`");
            Reply::failure(Exit::Config, why)
        })?;
        Ok(Gateway { address: reachable(address), token_file, socket, timeout })
    }
}

/// An address that listens on everything is reached on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

impl Gateway {
    /// Asks, and waits for the whole answer.
    pub(super) fn ask(&self, method: Method, path: &str, token: Option<&str>) -> Result<Answer, String> {
        self.send(self.request(method, path, token, None)?, None)
    }

    /// Asks to read something: as anybody, and with the token where the gateway wants one or has no
    /// room for anybody.
    pub(super) fn read(&self, path: &str) -> Result<Answer, String> {
        let answer = self.ask(Method::GET, path, None)?;
        match self.token(None) {
            Ok(token) if wants_token(answer.status, &answer.headers) => {
                self.ask(Method::GET, path, Some(&token))
            }
            Ok(_) | Err(_) => Ok(answer),
        }
    }

    /// Asks for a change: over the socket where there is one, else with the token.
    pub(super) fn change(
        &self,
        method: Method,
        path: &str,
        document: Option<&Value>,
        token_file: Option<&Path>,
    ) -> Result<Answer, Reply> {
        let failure = |why| Reply::failure(Exit::Findings, why);
        let socket = self.socket.as_deref().filter(|_| token_file.is_none());
        let token = match socket {
            Some(_) => None,
            None => Some(self.token(token_file).map_err(|why| Reply::failure(Exit::Config, why))?),
        };
        let request = self.request(method, path, token.as_deref(), document).map_err(failure)?;
        self.send(request, socket).map_err(failure)
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        document: Option<&Value>,
    ) -> Result<Request<Full<Bytes>>, String> {
        let mut request =
            Request::builder().method(method).uri(path).header(header::HOST, self.address.to_string());
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(actor) = actor() {
            request = request.header("x-portcullis-actor", actor);
        }
        let mut body = Bytes::new();
        if let Some(document) = document {
            body = document.to_string().into();
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        request.body(Full::new(body)).map_err(|error| format!("no request: {error}"))
    }

    fn send(&self, request: Request<Full<Bytes>>, socket: Option<&Path>) -> Result<Answer, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
        let exchange = async {
            match socket {
                Some(path) => {
                    let stream = UnixStream::connect(path).await;
                    let stream = stream.map_err(|error| {
                        format!("`{}` cannot be opened: {error}", printable(&path.to_string_lossy()))
                    })?;
                    self.exchange(stream, request).await?.whole(self.address).await
                }
                None => self.exchange(self.connect().await?, request).await?.whole(self.address).await,
            }
        };
        // A timer can only be made inside the runtime.
        match runtime.block_on(async { timeout(self.timeout, exchange).await }) {
            Ok(answer) => answer,
            Err(_) => Err(format!("{} did not answer within {} s", self.address, self.timeout.as_secs())),
        }
    }

    /// Asks for something that is read piece by piece, as it comes.
    pub(super) async fn open(&self, path: &str, accept: &'static str) -> Result<Opened, String> {
        let opened = self.open_as(path, accept, None).await?;
        match self.token(None) {
            Ok(token) if wants_token(opened.status, &opened.headers) => {
                self.open_as(path, accept, Some(&token)).await
            }
            Ok(_) | Err(_) => Ok(opened),
        }
    }

    async fn open_as(&self, path: &str, accept: &'static str, token: Option<&str>) -> Result<Opened, String> {
        let mut request = self.request(Method::GET, path, token, None)?;
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static(accept));
        let begin = async { self.exchange(self.connect().await?, request).await };
        let late = |_| format!("{} did not answer within {} s", self.address, self.timeout.as_secs());
        timeout(self.timeout, begin).await.map_err(late)?
    }

    /// Asks for a JSON document.
    pub(super) async fn document(&self, path: &str) -> Result<Value, String> {
        let answer = self.open(path, "application/json").await?.whole(self.address).await?;
        if !answer.status.is_success() {
            return Err(format!("{path}: {}", answer.status));
        }
        serde_json::from_slice(&answer.body).map_err(|error| format!("{path}: {error}"))
    }

    async fn connect(&self) -> Result<TcpStream, String> {
        let address = self.address;
        TcpStream::connect(address).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::ConnectionRefused => {
                format!(
                    "nothing listens on {address}: is the gateway running, and is this its admin address?"
                )
            }
            _ => format!("{address} cannot be reached: {error}"),
        })
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        request: Request<Full<Bytes>>,
    ) -> Result<Opened, String> {
        let broken =
            |error: hyper::Error| format!("{} does not speak HTTP as expected: {error}", self.address);
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(broken)?;
        let (head, body) = response.into_parts();
        Ok(Opened { status: head.status, headers: head.headers, body, _sender: sender })
    }

    /// The token that changes need.
    pub(super) fn token(&self, file: Option<&Path>) -> Result<String, String> {
        let Some(file) = file.or(self.token_file.as_deref()) else {
            return Err(
                "the configuration has no `[admin] token_file`; name one with `--token-file`".to_owned()
            );
        };
        let token = files::read_secret(file)?;
        String::from_utf8(token)
            .map_err(|_| format!("`{}` holds no token", printable(&file.to_string_lossy())))
    }
}

impl Opened {
    async fn whole(self, address: SocketAddr) -> Result<Answer, String> {
        let body = Limited::new(self.body, MAX_ANSWER).collect().await;
        let body = body.map_err(|error| format!("the answer of {address} cannot be read: {error}"))?;
        Ok(Answer { status: self.status, headers: self.headers, body: body.to_bytes() })
    }
}

/// Whether an answer says that with the token there would be another: who has it is not counted among
/// those for whom there is no room.
fn wants_token(status: StatusCode, headers: &HeaderMap) -> bool {
    match status {
        // The token is for nobody else who asks for one: the address may be that of another listener.
        StatusCode::UNAUTHORIZED => headers.get(header::WWW_AUTHENTICATE) == Some(&CHALLENGE),
        status => status == StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Who makes a change, as the system calls its user.
fn actor() -> Option<String> {
    let name = ["SUDO_USER", "USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok())?;
    Some(name).filter(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()))
}

impl Answer {
    /// The reply of a change: what `done` makes of the answer, or why the gateway refused.
    pub(super) fn reply(&self, done: impl FnOnce(&Value) -> String) -> Reply {
        if self.status.is_success() {
            return Reply::text(Exit::Fine, done(&serde_json::from_slice(&self.body).unwrap_or_default()));
        }
        Reply::failure(Exit::Findings, self.why())
    }

    /// Why the gateway did not do as it was asked.
    pub(super) fn why(&self) -> String {
        let told: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        match told["error"].as_str() {
            Some(why) => printable(why).into_owned(),
            None => format!("{}: {}", self.status, self.text().trim_end()),
        }
    }

    /// The answer for people: a JSON object as aligned lines, anything else as it is.
    pub(super) fn text(&self) -> String {
        match serde_json::from_slice(&self.body) {
            Ok(value @ (Value::Object(_) | Value::Array(_))) => {
                let mut out = String::new();
                lines(&value, 0, &mut out);
                out
            }
            _ => {
                let text = String::from_utf8_lossy(&self.body);
                text.trim_end().lines().map(|line| printable(line).into_owned() + "\n").collect()
            }
        }
    }
}

fn lines(value: &Value, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(object) => {
            let names: Vec<_> =
                object.keys().map(|key| printable(&key.replace('_', " ")).into_owned()).collect();
            let width = names.iter().map(|name| visible_width(name)).max().unwrap_or(0);
            for (name, value) in names.iter().zip(object.values()) {
                match value {
                    Value::Object(_) | Value::Array(_) if !is_plain(value) => {
                        out.push_str(&format!("{indent}{}\n", styled(STRONG, name)));
                        lines(value, depth + 1, out);
                    }
                    value => out.push_str(&format!("{indent}{name:width$}  {}\n", plain(value))),
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                match is_plain(item) {
                    true => out.push_str(&format!("{indent}{}\n", plain(item))),
                    false => {
                        let mut inner = String::new();
                        lines(item, depth + 1, &mut inner);
                        // The first key stands behind the dash.
                        out.push_str(&format!("{indent}- {}", inner.trim_start()));
                    }
                }
            }
        }
        value => out.push_str(&format!("{indent}{}\n", plain(value))),
    }
}

/// Whether a value fits behind its name.
fn is_plain(value: &Value) -> bool {
    match value {
        Value::Object(object) => object.is_empty(),
        Value::Array(items) => items.iter().all(|item| !item.is_object() && !item.is_array()),
        _ => true,
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => printable(text).into_owned(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(_) => "none".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_address_is_asked_on_loopback() {
        let check = |address: &str, want: &str| {
            assert_eq!(reachable(address.parse().unwrap()), want.parse().unwrap());
        };
        check("0.0.0.0:9901", "127.0.0.1:9901");
        check("[::]:9901", "[::1]:9901");
        check("192.0.2.1:9901", "192.0.2.1:9901");
    }

    #[test]
    fn a_json_answer_reads_as_aligned_lines() {
        let body = r#"{"policy":"7-3f9a2c1d","listeners":["a","b"],"restart_required":[],
            "upstreams":[{"name":"x","up":true},{"name":"y\u001b","up":false}],"last":{"at":null,"n":3}}"#;
        let answer = Answer {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: Bytes::from_static(body.as_bytes()),
        };
        insta::assert_snapshot!(anstream::adapter::strip_str(&answer.text()), @r"
        last
          at  -
          n   3
        listeners         a, b
        policy            7-3f9a2c1d
        restart required  none
        upstreams
          - name  x
            up    true
          - name  y\u{1b}
            up    false
        ");
        let answer = Answer {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: Bytes::from_static(b"ready\n"),
        };
        assert_eq!(answer.text(), "ready\n");
    }
}
