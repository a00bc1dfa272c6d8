//! `suggest`, taken at its word: what it prints is put where it says, `check` accepts it, the very request
//! passes, and of the others pass as many as it said.

use serde_json::Value;

use crate::support::command::{Bench, Ran, about_folder};
use crate::support::{Gateway, get_local, request};

const CONFIG: &str = r#"version = 1
[server]
listen = ["127.0.0.1:0"]
state_dir = "state"
trusted_proxies = ["127.0.0.1"]
[log]
sink = { file = "decisions.jsonl" }
[upstream.demo]
servers = ["builtin:echo"]
[[route]]
id = "all"
path = "/{*rest}"
upstream = "demo"
[[route]]
id = "private"
path = "/private/{*rest}"
upstream = "demo"
authn = "required"
[network]
office = ["192.0.2.0/24"]
villains = ["198.51.100.0/24"]
[[ip.rule]]
id = "office-only"
path = "/office/{*rest}"
allow = ["office"]
[[ip.rule]]
id = "no-villains"
path = "/shop/{*rest}"
deny = ["villains"]   # they know why
[[authn.api_key]]
id = "batch"
header = "x-api-key"
hash = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
roles = ["archivist", "clerk"]
[rbac.role.archivist]
[rbac.role.clerk]
[rbac.role.ops]
[[rbac.grant]]
id = "archive"
roles = ["archivist"]
path = "/archive/{*rest}"
[[rbac.deny]]
id = "freeze"
methods = ["DELETE"]
path = "/archive/{*rest}"
except_roles = ["ops"]
[[rbac.grant]]
id = "ops"
roles = ["ops"]
path = "/ops/{*rest}"
[[rbac.grant]]
id = "scoped"
roles = ["clerk"]
scopes = ["write"]
path = "/scoped/{*rest}"
[[rbac.grant]]
id = "reports"
subjects = ["batch"]
path = "/reports/{id}"
when = "client.ip in office"
[[rbac.grant]]
id = "ledger"
subjects = ["batch"]
path = "/ledger/{id}"
until = 2026-01-01T00:00:00Z
[[rbac.grant]]
id = "open"
roles = ["anyone"]
paths = ["/search", "/frozen", "/form", "/office/{*rest}", "/shop/{*rest}", "/private/{*rest}"]
[[rbac.deny]]
id = "frozen"
path = "/frozen"
[[waf.rule]]
id = "alone"
action = "deny"
targets = ["query", "header:referer"]
match = { contains = "xxx" }
[[waf.rule]]
id = "first"
score = 3
targets = ["query"]
match = { contains = "aaa" }
[[waf.rule]]
id = "second"
score = 3
targets = ["query"]
match = { contains = "bbb" }
[[waf.rule]]
id = "noted"
action = "log"
targets = ["query"]
match = { contains = "a" }
[[waf.rule]]
id = "behind"
score = 3
targets = ["body"]
match = { contains = "ccc" }
"#;

/// Method, path with query, where it comes from, and the body. Those of a name come with the key.
type Request = (&'static str, &'static str, &'static str, &'static str);

const BATCH: &str = "batch";
const NOBODY: &str = "";

fn ask(gateway: &Gateway, (method, path, from, body): Request) -> (u16, String, String) {
    let mut fields = vec![("content-type", "application/x-www-form-urlencoded")];
    match from {
        NOBODY => {}
        BATCH => fields.push(("x-api-key", "abc")),
        "wrong" => fields.push(("x-api-key", "wrong")),
        address => fields.push(("x-forwarded-for", address)),
    }
    let answer = request(gateway.address, method, path, &fields, body.as_bytes());
    let id = answer.header("x-request-id").expect("an id").to_owned();
    (answer.status, answer.rule().to_owned(), id)
}

/// Requests that were made under a policy.
struct Asked {
    config: String,
    requests: Vec<Request>,
    gateway: Gateway,
    answers: Vec<(u16, String, String)>,
}

impl Asked {
    fn new(config: &str, requests: &[Request]) -> Asked {
        let gateway = Gateway::start(config);
        let answers = requests.iter().map(|request| ask(&gateway, *request)).collect();
        gateway.records(requests.len());
        Asked { config: config.to_owned(), requests: requests.to_vec(), gateway, answers }
    }

    fn suggest(&self, which: usize, more: &[&str]) -> Ran {
        about_folder(self.gateway.folder(), &[&["suggest", &self.answers[which].2], more].concat())
    }

    /// What is suggested for one of the requests, once it was tried: put where it says, it is accepted, lets
    /// that request pass, and of the others as many as were counted.
    fn tried(&self, which: usize) -> Value {
        let ran = self.suggest(which, &["--format", "json"]);
        assert_eq!(ran.code, 0, "{:?} {}", self.requests[which], ran.show());
        let told = ran.json();
        let changed = put(&self.config, &told);
        let bench = Bench::with(&changed);
        let check = bench.run(&["check"]);
        assert_eq!(check.code, 0, "{told:#} {}", check.show());
        let gateway = Gateway::start(&changed);
        let mut opened = 0;
        for (number, (request, before)) in self.requests.iter().zip(&self.answers).enumerate() {
            let (status, rule, _) = ask(&gateway, *request);
            match number == which {
                true => assert_eq!(status, 200, "{request:?} is refused by {rule}: {told:#}"),
                false => opened += u64::from(before.0 != 200 && status == 200),
            }
        }
        let count = |name: &str| told[name].as_u64().expect("a count");
        let (surely, may) = (count("opens"), count("may_open"));
        assert!((surely..=surely + may).contains(&opened), "{opened} were opened: {told:#}");
        told
    }
}

/// The configuration with the suggestion in the place that it names.
fn put(config: &str, told: &Value) -> String {
    let toml = told["toml"].as_str().expect("a suggestion");
    let Some(at) = told["at"].as_str() else { return format!("{config}\n{toml}") };
    let line: usize = at.rsplit(':').next().and_then(|line| line.parse().ok()).expect("a place");
    let lines: Vec<&str> = config.split_inclusive('\n').collect();
    let (before, rest) = lines.split_at(line - 1);
    let behind = rest.iter().skip(1).skip_while(|line| !line.starts_with('['));
    [before.concat(), toml.to_owned(), behind.copied().collect()].concat()
}

fn counts(told: &Value) -> (u64, u64) {
    (told["opens"].as_u64().expect("a count"), told["may_open"].as_u64().expect("a count"))
}

/// As somebody begins: the shipped policy, whose pack looks at bodies behind the last gate.
fn quickstart() -> String {
    include_str!("../../config/quickstart.toml")
        .replace("127.0.0.1:8080", "127.0.0.1:0")
        .replace("127.0.0.1:9901", "127.0.0.1:0")
        .replace("sink = \"stdout\"", "sink = { file = \"decisions.jsonl\" }")
}

/// One of each kind, and some that are alike in what matters.
const REQUESTS: [Request; 17] = [
    ("GET", "/ops/1", BATCH, ""),
    ("GET", "/ops/1", BATCH, ""),
    ("GET", "/ops/1", NOBODY, ""),
    ("GET", "/ops/2", BATCH, ""),
    ("GET", "/scoped/1", BATCH, ""),
    ("GET", "/office/a", "203.0.113.9", ""),
    ("GET", "/office/b", "203.0.113.9", ""),
    ("GET", "/office/a", "203.0.113.10", ""),
    ("GET", "/shop/a", "198.51.100.4", ""),
    ("DELETE", "/archive/7", BATCH, ""),
    ("GET", "/search?q=xxx", NOBODY, ""),
    ("GET", "/search?p=xxx", NOBODY, ""),
    ("GET", "/search?q=aaabbb", NOBODY, ""),
    ("GET", "/search?q=aaa&p=bbb", NOBODY, ""),
    ("GET", "/reports/1", BATCH, ""),
    ("GET", "/ledger/1", BATCH, ""),
    ("POST", "/form?q=aaa", NOBODY, "z=ccc"),
];

#[test]
fn whatever_refused_the_suggestion_lets_the_request_pass_and_what_it_counts() {
    let asked = Asked::new(CONFIG, &REQUESTS);
    // Of the second gate of the WAF it is not known what it says, so these may pass.
    let may =
        [(0, 1), (2, 2), (3, 0), (4, 0), (5, 1), (8, 0), (9, 0), (10, 0), (12, 1), (13, 1), (14, 0), (15, 0)];
    for (which, may) in may {
        assert_eq!(counts(&asked.tried(which)), (0, may), "{:?}", REQUESTS[which]);
    }
}

#[test]
fn what_may_pass_is_never_told_as_none() {
    let config = quickstart();
    let requests: [Request; 6] = [
        ("GET", "/orders/42", NOBODY, ""),
        ("GET", "/orders/42", NOBODY, ""),
        ("GET", "/orders/43", NOBODY, ""),
        ("GET", "/orders/42", "wrong", ""),
        ("GET", "/office/a", NOBODY, ""),
        ("GET", "/search?q=%3Cscript%3Ealert(1)%3C/script%3E", NOBODY, ""),
    ];
    let asked = Asked::new(&config, &requests);
    let told = asked.tried(0);
    assert_eq!(counts(&told), (0, 1));
    // What is refused for another reason is not in question.
    assert_eq!((&told["replay"]["cannot_tell"], &told["replay"]["same"]), (&1.into(), &4.into()));
    let ran = asked.suggest(0, &[]);
    for text in [
        "Of 5 other requests of the last 24 hours, it may open 1; the others it would not.",
        "Perhaps 1: rbac/for-",
        "the text that WAF rules would then look at is not kept. GET /orders/42 for example",
        "WAF rules behind this gate look at text that no record keeps: they may still refuse the request.",
    ] {
        assert!(ran.words().contains(text), "{text}: {}", ran.show());
    }
    assert!(!ran.words().contains("open none"), "{}", ran.show());
    let ran = asked.suggest(2, &[]);
    assert!(ran.words().contains("it would open none."), "{}", ran.show());
}

#[test]
fn without_rules_behind_what_it_opens_is_sure() {
    let config = &CONFIG[..CONFIG.find("[[waf.rule]]").expect("rules")];
    let asked = Asked::new(config, &REQUESTS[..3]);
    assert_eq!(counts(&asked.tried(0)), (1, 0));
    assert_eq!(counts(&asked.tried(2)), (2, 0));
    let ran = asked.suggest(0, &[]);
    assert!(
        ran.words().contains("Of 2 other requests of the last 24 hours, it would also open 1 request"),
        "{}",
        ran.show()
    );
    assert!(!ran.words().contains("WAF") && !ran.words().contains("Perhaps"), "{}", ran.show());
}

#[test]
fn a_rule_that_only_takes_notes_is_not_kept_from_anything() {
    let asked = Asked::new(CONFIG, &REQUESTS[12..14]);
    let told = asked.tried(0);
    assert!(
        told["toml"]
            .as_str()
            .expect("text")
            .ends_with("targets = [\"query:q\"]\nrules = [\"waf/first\", \"waf/second\"]\n"),
        "{told:#}"
    );
    // Each rule is kept from just the text that it matched on.
    let told = asked.tried(1);
    let toml = told["toml"].as_str().expect("text");
    for text in [
        "targets = [\"query:p\"]\nrules = [\"waf/second\"]\n",
        "targets = [\"query:q\"]\nrules = [\"waf/first\"]\n",
    ] {
        assert!(toml.contains(text), "{toml}");
    }
}

#[test]
fn where_only_the_address_is_cut_a_grant_is_suggested_all_the_same() {
    let cut = CONFIG.replace("[log]", "[log]\nclient = \"/24,/48\"").replace(
        "[[rbac.deny]]\nid = \"frozen\"",
        "[[rbac.deny]]\nid = \"away\"\npath = \"/scoped/{*rest}\"\nwhen = \"client.ip in villains\"\n[[rbac.deny]]\nid = \"frozen\"",
    );
    let asked = Asked::new(&cut, &REQUESTS);
    for which in [0, 2, 9, 10, 14] {
        asked.tried(which);
    }
    let told = asked.tried(0);
    assert!(told["toml"].as_str().expect("text").contains("subjects = [\"batch\"]"), "{told:#}");
    // What nothing here looks at is not said to be missing.
    assert!(!told["mind"].to_string().contains("address"), "{told:#}");
    let told = asked.tried(4);
    let want = "Of the client's address the record keeps only 127.0.0.0/24 (`[log] client`), so it is not known whether `rbac/away` would refuse the request.";
    assert!(told["mind"].as_str().expect("text").contains(want), "{told:#}");
    // An address would be the answer, and there is none.
    let ran = asked.suggest(5, &[]);
    assert_eq!(ran.code, 1, "{}", ran.show());
    let want = "`ip/office-only` looks at the client's address, and the record keeps of it only that it is in 203.0.113.0/24";
    assert!(ran.words().contains(want), "{}", ran.show());
}

#[test]
fn without_the_subject_there_is_no_grant_for_it_but_what_needs_none() {
    let hashed = CONFIG.replace("[log]", "[log]\nclient = \"hash\"\nsubject = \"hash\"");
    let asked = Asked::new(&hashed, &REQUESTS);
    let ran = asked.suggest(0, &[]);
    assert_eq!(ran.code, 1, "{}", ran.show());
    for text in [
        "The record keeps the subject only as a hash",
        "Without a change, `rbac/ops` allows this to a caller with the role ops.",
    ] {
        assert!(ran.words().contains(text), "{text}: {}", ran.show());
    }
    for which in [2, 9, 10] {
        asked.tried(which);
    }
}

#[test]
fn what_refuses_whoever_asks_is_told_though_nobody_was_looked_at() {
    let requests: [Request; 2] =
        [("GET", "/frozen?q=xxx", NOBODY, ""), ("GET", "/private/1?q=xxx", NOBODY, "")];
    let asked = Asked::new(CONFIG, &requests);
    for (which, by) in [(0, "`rbac/frozen` (denied_by_rule)"), (1, "`authn/required` (credentials_missing)")]
    {
        let ran = asked.suggest(which, &[]);
        let want = format!(
            "the head of a request is judged first: without a credential it would then be refused by {by}."
        );
        assert!(ran.words().contains(&want), "{}", ran.show());
    }
}

#[test]
fn rules_behind_that_look_at_the_path_once_more_are_kept_from_it_as_well() {
    let config = quickstart();
    let asked = Asked::new(&config, &[("GET", "/hello/%3Cscript%3Ealert(1)%3C/script%3E", NOBODY, "")]);
    assert_eq!(asked.answers[0].1, "waf/xss-grammar");
    let told = asked.tried(0);
    let toml = told["toml"].as_str().expect("text");
    assert!(toml.contains("targets = [\"path\"]") && toml.contains("\"waf/xss-script-element\""), "{toml}");
}

#[test]
fn the_page_has_one_exclusion_for_rules_that_refuse_only_together() {
    let config = CONFIG.replace("score = 3", "score = 5");
    // On the first two each rule alone is enough to refuse.
    let requests = [
        ("GET", "/search?q=aaabbb", NOBODY, ""),
        ("GET", "/search?q=bbbaaa", NOBODY, ""),
        ("GET", "/search?q=aaa", NOBODY, ""),
        ("GET", "/search?p=aaa", NOBODY, ""),
    ];
    let asked = Asked::new(&config, &requests);
    let admin = asked.gateway.admin.expect("an admin listener");
    let page = get_local(admin, "/waf").text();
    let groups: Vec<&str> = page.split("<section").collect();
    let joint = groups.iter().find(|group| group.contains("Seen together")).expect("a group of both");
    assert!(joint.contains("at most <b>3 of 3</b> pass"), "{joint}");
    let single = |group: &&&str| group.contains("rules = [&quot;waf&#x2f;second&quot;]");
    assert!(groups.iter().find(single).is_some_and(|group| group.contains("let <b>none</b> pass")), "{page}");
    let toml = joint.split("<pre").nth(1).and_then(|pre| pre.split_once('>')).expect("TOML").1;
    let toml = toml.split("</pre>").next().expect("TOML").replace("&quot;", "\"").replace("&#x2f;", "/");
    let want = "[[waf.exclude]]\nid = \"all-query-q-first-second\"\nroutes = [\"all\"]\ntargets = [\"query:q\"]\nrules = [\"waf/first\", \"waf/second\"]\n";
    assert_eq!(toml.trim_end(), want.trim_end());
    let gateway = Gateway::start(&format!("{config}\n{want}"));
    let answers: Vec<u16> = requests.iter().map(|request| ask(&gateway, *request).0).collect();
    assert_eq!(answers, [200, 200, 200, 403]);
}
