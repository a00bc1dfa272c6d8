//! Inputs against the WAF: with the default budget none of up to 128 KiB takes more than 50 ms of the
//! processor, and none is refused for its cost alone. With the core pack, and with the Core Rule Set where
//! `CRS_DIR` says that it lies.

use std::fmt::Write as _;
use std::time::Duration;

use crate::client::{Client, run};
use crate::gateway::{Gateway, Start, open};
use crate::origin::Origin;
use crate::process;
use crate::report::Limit::AtMost;
use crate::report::{Report, Scale};

/// A body, and what it is.
struct Input {
    what: String,
    kind: &'static str,
    body: Vec<u8>,
}

/// Just under 128 KiB, with what stands around it.
const LENGTH: usize = 128 * 1024 - 200;
const MOST: f64 = 50.0;

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
const XML: &str = "text/xml";
const PARTS: &str = "multipart/form-data; boundary=b";

/// What rules look for, nearly what they look for, and what takes long to take apart. Repeated, each is a
/// text that begins to match everywhere.
const WORDS: &[&str] = &[
    "select ",
    "union select ",
    "unio",
    "selec ",
    "from",
    "<script",
    "<scrip",
    "onerror=",
    "onerro",
    "javascript:",
    "javascrip",
    "/etc/passwd",
    "/etc/passw",
    "../",
    "..%2f",
    "${jndi:",
    "${",
    "{{",
    "cat ",
    "sleep(",
    "%27",
    "%2527",
    "&lt;",
    "&#x3c;",
    "\\x3c",
    "\\u003c",
    "/*",
    "*/",
    "--",
    "#",
    "\"",
    "'",
    "`",
    "(",
    ")",
    "[",
    "{",
    "a.",
    "a b ",
    "1,",
    "=",
    "|",
    "||",
    "&&x",
    "$(",
    "<!--",
    "<a ",
    "%u003c",
    "data:",
    "eval(",
    "base64_decode",
    "and ",
    "or 1=1 ",
    "\n",
    "\t",
    "%0d%0a",
    "x=",
    "echo ",
    "wget ",
    "QUFB",
    "SELECT/**/",
    "having ",
    "1e",
    "@@",
    "0x",
    "%",
    "+",
    "%00",
    "nc -e ",
    "; ls ",
    "\\",
    "\\\\",
    ".../",
    "//",
    "_",
    "é",
    "\u{200b}",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa ",
];

/// Letters that texts without a meaning are made of.
const ALPHABETS: &[(&str, &str)] = &[
    ("letters", "abcdefghijklmnopqrstuvwxyz"),
    ("two letters", "ab"),
    ("letters, digits and blanks", "abcdefgh 0123"),
    ("signs", "'\"<>()[]{};:,./?\\|`~!@#$%^*-_=+"),
    ("the letters of SQL", "selctunio '\"(),=-*/01"),
    ("the letters of HTML", "<>/ =\"'scriptonload:"),
    ("the letters of a shell", "$(){}|;`<> catlsechowget/.-"),
    ("hexadecimal digits", "0123456789abcdef"),
    ("base64", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"),
];

pub fn inputs(scale: Scale, report: &mut Report) {
    let origin = Origin::start();
    let core = "[waf]\npacks = [\"core\"]\n".to_owned();
    most(&Gateway::start(&open(&origin.servers(), &core)), "the core pack", scale, report);
    if let Some(folder) = std::env::var_os("CRS_DIR") {
        let folder = std::path::PathBuf::from(folder).canonicalize().expect("CRS_DIR is a folder");
        let folder = folder.display();
        let more = format!(
            "[waf]\nseclang = [\"engine.conf\", \"{folder}/crs-setup.conf.example\", \"{folder}/rules/*.conf\"]\n"
        );
        let start = Start::new(&open(&origin.servers(), &more));
        let engine = "SecRuleEngine On\nSecRequestBodyAccess On\n";
        std::fs::write(start.folder.path().join("engine.conf"), engine).expect("written");
        most(&start.start(), "the Core Rule Set", scale, report);
    }
}

/// Sends all of them; the dearest ones are shown.
fn most(gateway: &Gateway, rules: &str, scale: Scale, report: &mut Report) {
    let mut costs: Vec<(f64, String)> = Vec::new();
    let mut spent = Vec::new();
    run(async {
        for Input { what, kind, body } in all() {
            let head = format!(
                "POST /x HTTP/1.1\r\nHost: app.test\r\nUser-Agent: soak\r\nAccept: */*\r\nContent-Type: {kind}\r\n\
                 Content-Length: {}\r\n\r\n",
                body.len()
            );
            let request = [head.as_bytes(), &body].concat();
            let mut least = Duration::MAX;
            // What else the machine does only adds to it.
            for _ in 0..scale.pick(2, 4) {
                let mut client = Client::connect(gateway.address()).await.expect("it listens");
                let before = process::on_processor(gateway.id());
                let answer = client.ask(&request).await.expect("an answer");
                least = least.min(process::on_processor(gateway.id()) - before);
                if answer.rule() == "waf/budget" {
                    spent.push(what.clone());
                }
            }
            costs.push((least.as_secs_f64() * 1e3, what));
        }
    });
    costs.sort_by(|one, other| other.0.total_cmp(&one.0));
    let count = costs.len();
    for (milliseconds, what) in costs.iter().take(5) {
        let label = format!("{rules}, of {count} inputs of up to 128 KiB: {what}");
        report.line("WAF", label, *milliseconds, "ms", scale.if_optimised(AtMost(MOST)));
    }
    report.none("WAF", format!("{rules}: refused as waf/budget"), &spent, count);
}

fn all() -> Vec<Input> {
    let mut inputs = Vec::new();
    let mut add = |what: String, kind: &'static str, body: String| {
        assert!(body.len() <= 128 * 1024, "{what} is too long");
        inputs.push(Input { what, kind, body: body.into_bytes() });
    };
    for word in WORDS {
        let text = word.repeat(LENGTH / word.len());
        add(format!("a form of {word:?}"), FORM, format!("a={text}"));
        let text = word.repeat(LENGTH / 2 / word.len());
        add(format!("JSON of {word:?}"), JSON, serde_json::json!({ "a": text }).to_string());
    }
    let mut seed = 3_u64;
    for (name, alphabet) in ALPHABETS {
        let letters: Vec<char> = alphabet.chars().collect();
        let mut text = String::new();
        while text.len() < LENGTH {
            // Any sequence without a pattern will do, so long as each run has the same.
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.push(letters[(seed >> 33) as usize % letters.len()]);
        }
        add(format!("a form of {name}"), FORM, format!("a={text}"));
        add(format!("JSON of {name}"), JSON, serde_json::json!({ "a": text[..LENGTH / 2] }).to_string());
        let escaped: String = text[..LENGTH / 3].bytes().fold(String::new(), |mut escaped, byte| {
            write!(escaped, "%{byte:02x}").expect("a string");
            escaped
        });
        add(format!("an escaped form of {name}"), FORM, format!("a={escaped}"));
    }
    shapes(&mut add);
    inputs
}

/// Many fields, deep ones, and long names.
fn shapes(add: &mut impl FnMut(String, &'static str, String)) {
    let many = |each: fn(&mut String, usize), count: usize| {
        (0..count).fold(String::new(), |mut text, number| {
            each(&mut text, number);
            text
        })
    };
    let form = many(|text, number| write!(text, "a{number}=1&").expect("a string"), 15_000);
    add("a form of 15,000 fields".into(), FORM, form);
    let form = many(|text, number| write!(text, "a{number}=selec+fro+unio&").expect("a string"), 999);
    add("a form of 999 fields".into(), FORM, form);
    let form = many(|text, number| write!(text, "{}{number}=1&", "n".repeat(120)).expect("a string"), 999);
    add("a form of 999 long names".into(), FORM, form);
    add("JSON, 30 deep".into(), JSON, format!("{}1{}", "{\"a\":".repeat(30), "}".repeat(30)));
    add("JSON, 60,000 deep".into(), JSON, format!("{}{}", "[".repeat(60_000), "]".repeat(60_000)));
    let list = many(|text, _| text.push_str("1,"), 60_000);
    add("a JSON list of 60,000".into(), JSON, format!("[{list}1]"));
    let list =
        many(|text, number| write!(text, "{{\"k{number}\":\"v select {number}\"}},").expect("a string"), 900);
    add("900 JSON objects".into(), JSON, format!("[{list}1]"));
    let list = many(
        |text, number| write!(text, "\"{}\":\"v\",", format!("k{number}").repeat(20)).expect("a string"),
        900,
    );
    add("900 long JSON names".into(), JSON, format!("{{{list}\"z\":1}}"));
    add("XML, 5,000 deep".into(), XML, format!("{}{}", "<a>".repeat(5_000), "</a>".repeat(5_000)));
    let text = "select x ".repeat(LENGTH / 9);
    add("XML of one text".into(), XML, format!("<a>{text}</a>"));
    let parts = many(
        |text, number| {
            let head = "--b\r\nContent-Disposition: form-data; name=";
            write!(text, "{head}\"a{number}\"\r\n\r\nselec fro\r\n").expect("a string");
        },
        900,
    );
    add("900 parts".into(), PARTS, format!("{parts}--b--\r\n"));
}
