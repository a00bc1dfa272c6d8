//! What the gateway counts, read as Prometheus reads it; and the dashboard and alert rules that are
//! made of it.
//!
//! The reader is this test's own: it takes nothing that the format does not allow, so that a fault of
//! the writer is not hidden by a lenient one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::thread;

use crate::support::stand_in::nobody;
use crate::support::{Gateway, Upstream, get, get_local, request, wait_until};

/// One series: its labels, sorted, with its value.
type Series = (BTreeMap<String, String>, f64);

/// A family of metrics.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    help: String,
    /// By the name of the sample: `x_total`, `x_bucket`, `x_sum`, …
    samples: BTreeMap<String, Vec<Series>>,
}

/// The names that samples of a kind have behind the family's.
fn endings(kind: &str) -> &'static [&'static str] {
    match kind {
        "counter" => &["_total"],
        "gauge" => &[""],
        "histogram" => &["_bucket", "_sum", "_count"],
        "info" => &["_info"],
        other => panic!("metrics of the kind `{other}`"),
    }
}

/// Reads an exposition in the OpenMetrics text format, strictly.
fn read(text: &str) -> BTreeMap<String, Family> {
    let text = text.strip_suffix("# EOF\n").expect("it ends with # EOF");
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# ") {
            let mut words = rest.splitn(3, ' ');
            let (what, name, value) =
                (words.next().expect("a word"), words.next().expect("a name"), words.next().unwrap_or(""));
            assert!(is_name(name), "{line}");
            match what {
                "HELP" => {
                    assert!(!families.contains_key(name), "{name} stands twice");
                    families.insert(name.to_owned(), Family { help: value.to_owned(), ..Family::default() });
                    current = name.to_owned();
                }
                "TYPE" => {
                    assert_eq!(name, current, "TYPE apart from HELP");
                    let family = families.get_mut(name).expect("HELP before TYPE");
                    assert!(family.kind.is_empty() && family.samples.is_empty(), "{line}");
                    endings(value);
                    family.kind = value.to_owned();
                }
                other => panic!("`# {other}` in {line}"),
            }
            continue;
        }
        let (name, labels, value) = sample(line);
        let family = families.get_mut(&current).expect("a family before its samples");
        let ending = name.strip_prefix(&current).unwrap_or_else(|| panic!("{name} stands under {current}"));
        assert!(endings(&family.kind).contains(&ending), "{line} in a {}", family.kind);
        let series = family.samples.entry(name.clone()).or_default();
        assert!(series.iter().all(|(known, _)| *known != labels), "the series {line} stands twice");
        series.push((labels, value));
    }
    families
}

/// A line such as `name{label="value"} 1.5`.
fn sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let end = line.find(['{', ' ']).expect("a value");
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, value) = rest.split_once("=\"").expect("label=\"value\"");
            assert!(is_name(label) && !label.contains(':'), "{line}");
            let mut text = String::new();
            let mut chars = value.char_indices();
            let end = loop {
                match chars.next().expect("a closing quote") {
                    (at, '"') => break at + 1,
                    (_, '\\') => match chars.next().expect("an escaped character").1 {
                        'n' => text.push('\n'),
                        escaped @ ('\\' | '"') => text.push(escaped),
                        other => panic!("\\{other} in {line}"),
                    },
                    (_, other) => text.push(other),
                }
            };
            assert!(labels.insert(label.to_owned(), text).is_none(), "{label} stands twice: {line}");
            rest = &value[end..];
            rest = rest.strip_prefix(',').unwrap_or(rest);
        }
        rest = &rest[1..];
    }
    let value = rest.strip_prefix(' ').expect("a space before the value");
    (name.to_owned(), labels, value.parse().unwrap_or_else(|_| panic!("{line}")))
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.chars().all(|char| char.is_ascii_alphanumeric() || "_:".contains(char))
}

/// A gateway with some of everything: routes, refusals of several stages, rules in shadow, an upstream
/// that is not there, a key set that is fetched.
fn config() -> String {
    let gone = nobody();
    format!(
        r#"
[upstream.demo]
servers = ["builtin:echo"]
[upstream.gone]
servers = ["http://{gone}"]
[[route]]
id = "all"
path = "/{{*rest}}"
upstream = "demo"
[[route]]
id = "gone"
path = "/gone"
upstream = "gone"
[[route]]
id = "hosted"
host = "hosted.test"
path = "/only"
upstream = "demo"
[[ip.rule]]
id = "closed"
path = "/closed/{{*rest}}"
deny = ["127.0.0.0/8"]
[[authn.jwt]]
id = "corp"
issuer = "https://id.test"
audience = ["x"]
algorithms = ["RS256"]
jwks = {{ url = "http://{gone}/jwks.json" }}
[[rbac.grant]]
id = "open"
roles = ["anyone"]
paths = ["/open/{{*rest}}", "/gone", "/closed/{{*rest}}"]
[[rbac.deny]]
id = "watched"
path = "/open/watched"
mode = "shadow"
shadow_until = 2099-01-01T00:00:00Z
[[waf.rule]]
id = "word"
action = "deny"
targets = ["query"]
match = {{ contains = "attack" }}
"#
    )
}

/// The names and labels that `CONTRACT.md` promises, and those of the servers of upstreams.
const PROMISED: &[(&str, &str, &[&str])] = &[
    ("portcullis_requests", "counter", &["route", "code", "decided_by"]),
    ("portcullis_decisions", "counter", &["stage", "rule", "decision", "mode"]),
    ("portcullis_decision_seconds", "histogram", &[]),
    ("portcullis_upstream_seconds", "histogram", &[]),
    ("portcullis_policy_generation", "gauge", &[]),
    ("portcullis_policy_reload_success", "gauge", &[]),
    ("portcullis_policy_reload_timestamp_seconds", "gauge", &[]),
    ("portcullis_restart_required", "gauge", &[]),
    ("portcullis_jwks_age_seconds", "gauge", &["source"]),
    ("portcullis_connections", "gauge", &[]),
    ("portcullis_log_lost", "counter", &[]),
    ("portcullis_panics", "counter", &[]),
    ("portcullis_build", "info", &["version"]),
    ("portcullis_upstream_servers", "gauge", &["upstream", "state"]),
];

/// The values that labels of a closed set have.
const VALUES: &[(&str, &[&str])] = &[
    ("decided_by", &["proxy", "upstream"]),
    ("decision", &["allow", "deny", "error"]),
    ("mode", &["enforce", "shadow"]),
    ("state", &["up", "unhealthy", "ejected"]),
];

/// Sends some requests of every kind; how many.
fn traffic(gateway: &Gateway) -> f64 {
    let paths = [
        "/open/a",
        "/open/b?q=1",
        "/open/watched",
        "/closed/x",
        "/other",
        "/gone",
        "/open/a?q=attack",
        "/a%2fb",
        "/open/secret-path-of-alice",
    ];
    for path in paths {
        get(gateway.address, path);
    }
    request(gateway.address, "DELETE", "/open/a", &[("Authorization", "Bearer alice.secret.token")], b"");
    paths.len() as f64 + 1.0
}

/// What a gateway says after such traffic.
fn exposition(gateway: &Gateway) -> String {
    get_local(gateway.admin.expect("an admin listener"), "/metrics").text()
}

fn total(families: &BTreeMap<String, Family>, name: &str, wanted: &[(&str, &str)]) -> f64 {
    let has = |labels: &BTreeMap<String, String>| {
        wanted.iter().all(|(label, value)| labels.get(*label).is_some_and(|found| found == value))
    };
    let family = families.values().find_map(|family| family.samples.get(name));
    family.map_or(0.0, |series| series.iter().filter(|(labels, _)| has(labels)).map(|(_, value)| value).sum())
}

#[test]
fn the_metrics_are_those_that_are_promised_and_count_what_happened() {
    let gateway = Gateway::start(&config());
    let sent = traffic(&gateway);
    gateway.records(sent as usize);
    let text = exposition(&gateway);
    let families = read(&text);
    let names: BTreeSet<&str> = families.keys().map(String::as_str).collect();
    let promised: BTreeSet<&str> = PROMISED.iter().map(|(name, ..)| *name).collect();
    assert_eq!(names, promised);
    for (name, kind, labels) in PROMISED {
        let family = &families[*name];
        assert_eq!(family.kind, *kind, "{name}");
        assert!(family.help.len() > 10, "{name}: {}", family.help);
        assert!(!family.samples.is_empty(), "{name} has no series");
        let wanted: BTreeSet<&str> = labels.iter().copied().collect();
        for (of, series) in &family.samples {
            for (found, value) in series {
                let found: BTreeSet<&str> =
                    found.keys().map(String::as_str).filter(|label| *label != "le").collect();
                assert_eq!(found, wanted, "{of}");
                assert!(value.is_finite() && *value >= 0.0, "{of}: {value}");
            }
        }
    }
    for (label, values) in VALUES {
        let all = families.values().flat_map(|family| family.samples.values().flatten());
        let found: BTreeSet<&str> =
            all.filter_map(|(labels, _)| labels.get(*label).map(String::as_str)).collect();
        assert!(found.iter().all(|value| values.contains(value)), "{label}: {found:?}");
    }
    for secret in ["alice", "secret", "127.0.0.1", "/open/", "/other"] {
        let labels = families.values().flat_map(|family| family.samples.values().flatten());
        let mut values = labels.flat_map(|(labels, _)| labels.values());
        assert!(!values.any(|value| value.contains(secret)), "a label holds {secret}");
    }
    assert_eq!(total(&families, "portcullis_requests_total", &[]), sent);
    let enforced = [("mode", "enforce")];
    assert_eq!(total(&families, "portcullis_decisions_total", &enforced), sent);
    for (rule, decision, mode) in [
        ("rbac/open", "allow", "enforce"),
        ("rbac/watched", "deny", "shadow"),
        ("ip/closed", "deny", "enforce"),
        ("rbac/default-deny", "deny", "enforce"),
        ("waf/word", "deny", "enforce"),
        ("intake/encoded-slash", "deny", "enforce"),
        ("fault/upstream-connect", "error", "enforce"),
    ] {
        let labels = [("rule", rule), ("decision", decision), ("mode", mode)];
        assert!(total(&families, "portcullis_decisions_total", &labels) >= 1.0, "{labels:?} in {text}");
    }
    assert_eq!(total(&families, "portcullis_requests_total", &[("route", "gone"), ("code", "502")]), 1.0);
}

#[test]
fn histograms_rise_from_bucket_to_bucket_up_to_their_count() {
    let gateway = Gateway::start(&config());
    let sent = traffic(&gateway);
    gateway.records(sent as usize);
    let families = read(&exposition(&gateway));
    for (name, count) in [("portcullis_decision_seconds", Some(sent)), ("portcullis_upstream_seconds", None)]
    {
        let samples = &families[name].samples;
        let buckets = &samples[&format!("{name}_bucket")];
        let mut last = (f64::NEG_INFINITY, 0.0);
        for (labels, value) in buckets {
            let le: f64 = labels["le"].parse().expect("a bound");
            assert!(le > last.0 && *value >= last.1, "{name}: {labels:?}");
            last = (le, *value);
        }
        assert_eq!(last.0, f64::INFINITY, "{name}");
        let counted = samples[&format!("{name}_count")][0].1;
        assert_eq!(last.1, counted, "{name}");
        assert!(count.is_none_or(|count| count == counted) && counted > 0.0, "{name}: {counted}");
        assert!(samples[&format!("{name}_sum")][0].1 > 0.0, "{name}");
    }
    let bounds = &families["portcullis_decision_seconds"].samples["portcullis_decision_seconds_bucket"];
    assert_eq!((bounds[0].0["le"].parse(), bounds[bounds.len() - 2].0["le"].parse()), (Ok(1e-7), Ok(0.01)));
}

#[test]
fn the_reader_takes_nothing_that_the_format_does_not_allow() {
    let good = "# HELP a Text.\n# TYPE a counter\na_total{x=\"1\\n\\\"\"} 1\n# EOF\n";
    let families = read(good);
    assert_eq!(families["a"].samples["a_total"][0], (BTreeMap::from([("x".into(), "1\n\"".into())]), 1.0));
    for bad in [
        "# HELP a Text.\n# TYPE a counter\na_total 1\n",
        "# HELP a Text.\n# TYPE a counter\na 1\n# EOF\n",
        "# HELP a Text.\n# TYPE a counter\nb_total 1\n# EOF\n",
        "# HELP a Text.\n# TYPE a counter\na_total 1\na_total 2\n# EOF\n",
        "# HELP a Text.\n# TYPE a counter\na_total{x=\"1\",x=\"2\"} 1\n# EOF\n",
        "# HELP a Text.\n# TYPE a counter\na_total one\n# EOF\n",
        "# TYPE a counter\na_total 1\n# EOF\n",
        "# HELP a Text.\n# TYPE a thing\n# EOF\n",
        "# HELP a Text.\n# TYPE a gauge\n# HELP a Text.\n# TYPE a gauge\n# EOF\n",
    ] {
        assert!(std::panic::catch_unwind(|| read(bad)).is_err(), "{bad}");
    }
}

// === dashboard and alerts ===

/// The samples that there are, with their labels; Prometheus adds `instance` and `job`.
fn known() -> BTreeMap<String, BTreeSet<&'static str>> {
    let mut known = BTreeMap::new();
    for (family, kind, labels) in PROMISED {
        for ending in endings(kind) {
            let le = (*ending == "_bucket").then_some("le");
            let labels = labels.iter().copied().chain(["instance", "job"]).chain(le).collect();
            known.insert(format!("{family}{ending}"), labels);
        }
    }
    known
}

/// The metrics that an expression names and the labels that it names of them, with their values where
/// they are compared with one. Labels behind `by` are asked of each metric of the expression.
fn check_expression(expression: &str) {
    let known = known();
    let mut metrics: Vec<(&str, &BTreeSet<&str>)> = Vec::new();
    let mut rest = expression;
    while let Some(at) = rest.find("portcullis_") {
        rest = &rest[at..];
        let end =
            rest.find(|char: char| !(char.is_ascii_alphanumeric() || char == '_')).unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        let labels = known.get(name).unwrap_or_else(|| panic!("there is no metric {name}: {expression}"));
        metrics.push((name, labels));
        rest = behind;
        let Some((selector, _)) = behind.strip_prefix('{').and_then(|inside| inside.split_once('}')) else {
            continue;
        };
        for part in selector.split(',') {
            let at = part.find(['=', '!']).expect("a comparison");
            let (label, value) = part.split_at(at);
            assert!(labels.contains(label.trim()), "{name} has no label {label}: {expression}");
            let closed = VALUES.iter().find(|(of, _)| *of == label.trim());
            if let (Some((_, values)), Some(value)) = (closed, value.strip_prefix("=\"")) {
                assert!(
                    values.contains(&value.trim_end_matches('"')),
                    "{label} is never {value}: {expression}"
                );
            }
        }
    }
    assert!(!metrics.is_empty(), "{expression} names no metric");
    for grouped in expression.split("by (").skip(1) {
        let (labels, _) = grouped.split_once(')').expect("a closing bracket");
        for label in labels.split(',').map(str::trim) {
            assert!(metrics.iter().all(|(_, has)| has.contains(label)), "no label {label}: {expression}");
        }
    }
    let depth =
        |open: char, close: char| expression.matches(open).count() == expression.matches(close).count();
    assert!(depth('(', ')') && depth('{', '}') && depth('[', ']'), "{expression}");
}

fn shipped(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)).expect("a file")
}

/// Every expression of a dashboard.
fn expressions<'d>(value: &'d serde_json::Value, found: &mut Vec<&'d str>) {
    match value {
        serde_json::Value::Object(object) => {
            for (key, value) in object {
                match (key.as_str(), value.as_str()) {
                    ("expr", Some(expression)) => found.push(expression),
                    ("query", Some(query)) if query.starts_with("label_values(") => found.push(query),
                    _ => expressions(value, found),
                }
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_shows_metrics_that_there_are() {
    let dashboard: serde_json::Value =
        serde_json::from_str(&shipped("grafana/portcullis.json")).expect("JSON");
    let mut found = Vec::new();
    expressions(&dashboard, &mut found);
    assert!(found.len() > 20, "{found:?}");
    found.iter().for_each(|expression| check_expression(expression));
    let panels = dashboard["panels"].as_array().expect("panels");
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().expect("an id")).collect();
    assert_eq!(ids.len(), panels.len(), "two panels have one id");
    // Every metric is on it.
    for (family, ..) in PROMISED {
        assert!(found.iter().any(|expression| expression.contains(family)), "{family} is on no panel");
    }
    // What a series is called may only name its labels.
    for target in panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten()) {
        let (expression, legend) =
            (target["expr"].as_str().expect("text"), target["legendFormat"].as_str().expect("text"));
        for label in legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()) {
            assert!(
                expression.contains(label) || label == "instance" && !expression.contains("by ("),
                "{label}: {expression}"
            );
        }
    }
}

#[test]
fn alerts_are_about_metrics_that_there_are() {
    let text = shipped("prometheus/alerts.yml");
    let mut alerts = BTreeSet::new();
    let mut lines = text.lines().peekable();
    let (mut expressions, mut summaries) = (0, 0);
    while let Some(line) = lines.next() {
        if let Some(name) = line.trim().strip_prefix("- alert: ") {
            assert!(alerts.insert(name.to_owned()), "{name} stands twice");
        }
        if let Some(expression) = line.trim().strip_prefix("expr: ") {
            let mut whole = expression.to_owned();
            if expression == ">-" {
                whole.clear();
                while let Some(more) = lines.next_if(|line| line.starts_with("          ")) {
                    whole.push_str(more.trim());
                    whole.push(' ');
                }
            }
            check_expression(&whole);
            expressions += 1;
        }
        summaries += usize::from(line.trim().starts_with("summary: "));
    }
    assert!(alerts.len() >= 10 && expressions == alerts.len() && summaries == alerts.len(), "{alerts:?}");
}

/// Rules and routes are counted by their numbers, which another policy gives to others.
#[test]
fn a_request_that_outlives_its_policy_is_counted_for_its_own_rule() {
    let (release, wait) = channel::<()>();
    let wait = Mutex::new(Some(wait));
    let upstream = Upstream::holding(move |_| {
        if let Some(first) = wait.lock().expect("not poisoned").take() {
            let _ = first.recv();
        }
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()
    });
    let config = |name: &str| {
        format!(
            "{}[server]\nlisten = [\"127.0.0.1:0\"]\nthreads = 1\n[[route]]\nid = \"{name}\"\npath = \"/{{*rest}}\"\nupstream = \"origin\"\n\
             [[rbac.grant]]\nid = \"{name}\"\nroles = [\"anyone\"]\npath = \"/open\"\n",
            upstream.table("origin")
        )
    };
    let gateway = Gateway::start(&config("old"));
    let address = gateway.address;
    let held = thread::spawn(move || get(address, "/open").status);
    wait_until(|| (upstream.received().len() == 1).then_some(()));
    gateway.write_config(&config("new"));
    gateway.wait_for_generation(2);
    // The thread has taken the new policy, and nothing was counted by its rule yet.
    assert_eq!(get(address, "/shut").status, 403);
    release.send(()).expect("it waits");
    assert_eq!(held.join().expect("no panic"), 200);
    assert_eq!(get(address, "/open").status, 200);
    let text = get_local(gateway.admin.expect("an admin listener"), "/metrics").text();
    let counted =
        |what: &str| text.lines().filter(|line| line.contains(what)).any(|line| line.ends_with(" 1"));
    for what in
        ["rule=\"rbac/old\"", "rule=\"rbac/new\"", "route=\"old\",code=\"200\"", "route=\"new\",code=\"200\""]
    {
        assert!(counted(what), "{what}: {text}");
    }
}
