//! Traffic for a build that learns from it (`tests/pgo`): no figure, only the usual mix of what a gateway
//! does, for some seconds, and a process that ends in order, since it writes down what it saw then.

use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::net::TcpStream;

use crate::client::{Answer, get, run};
use crate::gateway::{Start, open};
use crate::load::{Load, Outcome, Plan, Script};
use crate::origin::Origin;
use crate::token;

/// How long each gateway is asked.
const TIME: Duration = Duration::from_secs(8);

/// Who may pass, and why not, as in the examples.
const POLICY: &str = r#"
[[route]]
id = "all"
path = "/{*rest}"
upstream = "origin"

[[rbac.grant]]
id = "public"
roles = ["anyone"]
paths = ["/tag/{*rest}", "/form/{*rest}", "/json/{*rest}", "/office/{*rest}", "/frozen/{*rest}"]

[[route]]
id = "private"
path = "/private/{*rest}"
upstream = "origin"
authn = "required"

[network]
office = ["192.0.2.0/24"]
here = ["127.0.0.0/8"]

[[ip.rule]]
id = "office-only"
path = "/office/{*rest}"
allow = ["office"]

[[ip.rule]]
id = "here-only"
allow = ["here"]

[[rbac.grant]]
id = "readers"
roles = ["reader"]
path = "/private/{id}"
methods = ["GET"]
when = 'method == "GET" or claims.sub == path.id'

[[rbac.deny]]
id = "frozen"
path = "/frozen/{*rest}"
"#;

/// Both gateways, one after the other.
pub fn train() {
    let origin = Origin::start();
    let quick = "[timeouts]\ndrain_delay = \"0s\"\n";
    // A proxy that does little more than to pass on.
    gateway(&open(&origin.servers(), &format!("{quick}[log]\nsink = \"none\"\n")), &["/tag/plain"]);
    let log = "[log]\nsink = { file = \"log.jsonl\" }\nflush = \"100ms\"\n";
    let servers = format!("[upstream.origin]\n{}\n", origin.servers());
    let plain = format!("{servers}{quick}{log}{}{POLICY}", token::SOURCE);
    const MIX: [&str; 8] =
        ["/tag/a", "/private/7", "/private/8", "/private/9", "/office/a", "/frozen/a", "/nobody", "/tag/b"];
    gateway(&plain, &MIX);
    let waf = format!("{plain}[waf]\npacks = [\"core\"]\n");
    const TEXTS: [&str; 5] = [
        "/tag/search?q=red+shoes&page=2",
        "/form/a",
        "/json/a",
        "/private/7?sort=asc",
        "/tag/x?q=%3Cscript%3Ealert(1)%3C/script%3E",
    ];
    gateway(&waf, &TEXTS);
}

fn gateway(config: &str, paths: &'static [&'static str]) {
    let start = Start::new(config);
    fs::write(start.folder.path().join("secret.txt"), token::SECRET).expect("written");
    let mut gateway = start.start();
    let token = token::token(token::now() + 3_600, &json!({}));
    let plan = Plan { connections: 8, rest: Duration::ZERO };
    let load = Load::start(gateway.address(), plan, Mix { paths, token });
    thread::sleep(TIME);
    let Outcome { statuses, wrong, .. } = load.stop();
    run(over_http2(gateway.address(), paths));
    println!("{statuses:?}");
    assert_eq!(wrong.first(), None);
    gateway.signal("TERM");
    let ended = gateway.wait().expect("it ends");
    assert!(ended.success(), "{ended}");
}

/// Paths in turn, each asked for as it is meant.
struct Mix {
    paths: &'static [&'static str],
    token: String,
}

/// Fields as a browser sends them.
const FIELDS: &str = "Host: app.test\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
                      Accept: text/html,application/json;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\n\
                      Accept-Encoding: gzip, deflate, br\r\nCookie: theme=dark; session=8f14e45fceea167a\r\n";

impl Script for Mix {
    fn path(&self, number: usize) -> String {
        self.paths[number % self.paths.len()].to_owned()
    }

    fn request(&self, path: &str) -> Vec<u8> {
        let post = |kind: &str, body: &str| {
            let length = body.len();
            format!(
                "POST {path} HTTP/1.1\r\n{FIELDS}Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
            )
        };
        match path {
            "/tag/a" => return get(path),
            _ if path.starts_with("/private/9") => return get(path),
            _ if path.starts_with("/private/") => {
                return format!(
                    "GET {path} HTTP/1.1\r\n{FIELDS}Authorization: Bearer {}\r\n\r\n",
                    self.token
                )
                .into_bytes();
            }
            "/form/a" => post(
                "application/x-www-form-urlencoded",
                "name=Ada+Lovelace&city=London&note=a%20first%20order",
            ),
            "/json/a" => post(
                "application/json",
                r#"{"items":[{"id":7,"name":"red shoes","price":59.9}],"note":"leave at the door"}"#,
            ),
            _ => format!("GET {path} HTTP/1.1\r\n{FIELDS}\r\n"),
        }
        .into_bytes()
    }

    fn check(&self, path: &str, answer: &Answer) -> Result<(), String> {
        match answer.status {
            200 | 401 | 403 => Ok(()),
            status => Err(format!("{path}: {status}")),
        }
    }
}

/// The same paths on one connection of HTTP/2.
async fn over_http2(address: SocketAddr, paths: &[&str]) {
    let stream = TcpStream::connect(address).await.expect("it listens");
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.expect("HTTP/2");
    tokio::spawn(connection);
    for number in 0..2_000 {
        let path = paths[number % paths.len()];
        let request = Request::get(format!("http://app.test{path}")).body(Empty::<bytes::Bytes>::new());
        let answer = sender.send_request(request.expect("a request")).await.expect("an answer");
        let _ = answer.into_body().collect().await;
    }
}
