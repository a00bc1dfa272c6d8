//! OpenTelemetry: what a collector on loopback gets. Runs with `--features otlp`.

use serde_json::{Value, json};

use crate::support::stand_in::nobody;
use crate::support::{Gateway, Upstream, get, request, wait_until};

/// A collector that takes everything.
fn collector() -> Upstream {
    Upstream::answering(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".to_vec())
}

fn config(origin: &Upstream, collector: std::net::SocketAddr, more: &str) -> String {
    let gone = nobody();
    origin.table("origin")
        + &format!(
            r#"
[upstream.gone]
servers = ["http://{gone}"]
[[route]]
id = "all"
path = "/{{*rest}}"
upstream = "origin"
[[route]]
id = "gone"
path = "/gone"
upstream = "gone"
[[rbac.grant]]
id = "open"
roles = ["anyone"]
paths = ["/open/{{name}}", "/gone"]
[[rbac.deny]]
id = "watched"
path = "/open/watched"
mode = "shadow"
shadow_until = 2099-01-01T00:00:00Z
[otlp]
endpoint = "http://{collector}"
service = "gateway"
{more}
"#
        )
}

/// What was sent to a path of the collector.
fn bodies(collector: &Upstream, path: &str) -> Vec<Value> {
    let sent =
        collector.received().into_iter().filter(|sent| sent.line.starts_with(&format!("POST {path} ")));
    sent.map(|sent| {
        assert_eq!(sent.all("content-type"), ["application/json"]);
        serde_json::from_slice(&sent.body).expect("JSON")
    })
    .collect()
}

/// The spans, once there are this many.
fn spans(collector: &Upstream, count: usize) -> Vec<Value> {
    wait_until(|| {
        let bodies = bodies(collector, "/v1/traces");
        let scopes = bodies.iter().map(|body| &body["resourceSpans"][0]);
        let spans: Vec<Value> = scopes
            .flat_map(|spans| spans["scopeSpans"][0]["spans"].as_array().cloned().unwrap_or_default())
            .collect();
        (spans.len() >= count).then_some(spans)
    })
}

/// An attribute of a span or point.
fn attribute<'v>(of: &'v Value, key: &str) -> &'v Value {
    let attributes = of["attributes"].as_array().expect("attributes");
    attributes.iter().find(|it| it["key"] == key).map_or(&Value::Null, |it| &it["value"])
}

fn by_rule<'v>(spans: &'v [Value], rule: &str) -> &'v Value {
    let has = |span: &&Value| attribute(span, "portcullis.rule")["stringValue"] == rule;
    spans.iter().find(has).unwrap_or_else(|| panic!("{rule} in {spans:#?}"))
}

#[test]
fn a_span_tells_the_decision_and_continues_the_trace_to_the_upstream() {
    let (origin, collector) = (Upstream::start(), collector());
    let gateway = Gateway::start(&config(&origin, collector.address, "metrics = false"));
    let (trace, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let traced = format!("00-{trace}-{parent}-01");
    let fields = [("traceparent", traced.as_str()), ("tracestate", "vendor=1")];
    assert_eq!(request(gateway.address, "GET", "/open/watched", &fields, b"").status, 200);
    let refused = request(gateway.address, "GET", "/secret/of/alice", &[("traceparent", &traced)], b"");
    assert_eq!(refused.status, 403);
    assert_eq!(get(gateway.address, "/gone").status, 502);
    let spans = spans(&collector, 3);

    let allowed = by_rule(&spans, "rbac/open");
    assert_eq!((&allowed["traceId"], &allowed["parentSpanId"]), (&json!(trace), &json!(parent)));
    assert_eq!((&allowed["name"], &allowed["kind"]), (&json!("GET /{*rest}"), &json!(2)));
    for (key, value) in [
        ("portcullis.decision", json!({ "stringValue": "allow" })),
        ("portcullis.stage", json!({ "stringValue": "rbac" })),
        ("portcullis.decided_by", json!({ "stringValue": "upstream" })),
        ("portcullis.route", json!({ "stringValue": "all" })),
        ("portcullis.shadow", json!({ "arrayValue": { "values": [{ "stringValue": "rbac/watched" }] } })),
        ("http.response.status_code", json!({ "intValue": "200" })),
    ] {
        assert_eq!(*attribute(allowed, key), value, "{key}");
    }
    let nanoseconds = |key: &str| allowed[key].as_str().expect("text").parse::<u64>().expect("a number");
    assert!(nanoseconds("startTimeUnixNano") <= nanoseconds("endTimeUnixNano"));
    // The upstream's parent is our span, in the same trace, and the rest of the context is kept.
    let forwarded = &origin.received()[0];
    let ours = format!("00-{trace}-{}-01", allowed["spanId"].as_str().expect("text"));
    assert_eq!(
        (forwarded.all("traceparent"), forwarded.all("tracestate")),
        (vec![ours.as_str()], vec!["vendor=1"])
    );

    let denied = by_rule(&spans, "rbac/default-deny");
    assert_eq!(denied["traceId"], trace);
    assert_eq!(attribute(denied, "portcullis.reason")["stringValue"], "no_matching_grant");
    assert_eq!(denied["status"], json!({}), "a refusal is no failure");
    let failed = by_rule(&spans, "fault/upstream-connect");
    assert_eq!(failed["status"], json!({ "code": 2, "message": "upstream_refused" }));
    assert!(failed["parentSpanId"].is_null());
    let all = Value::from(spans.clone()).to_string();
    assert!(!all.contains("alice") && !all.contains("127.0.0.1:"), "{all}");
    // The record and the span name the same trace.
    let records = gateway.records(3);
    let record = |rule: &str| {
        records.iter().find(|record| record["rule"] == rule).expect("a record")["trace_id"].clone()
    };
    assert_eq!((record("rbac/open"), record("rbac/default-deny")), (json!(trace), json!(trace)));
    assert_eq!(record("fault/upstream-connect"), failed["traceId"]);
}

#[test]
fn what_a_caller_or_the_share_leaves_out_is_not_sent_but_for_refusals() {
    let (origin, collector) = (Upstream::start(), collector());
    let gateway = Gateway::start(&config(&origin, collector.address, "sample = 0.0\nmetrics = false"));
    let unsampled = [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")];
    assert_eq!(request(gateway.address, "GET", "/open/a", &unsampled, b"").status, 200);
    assert_eq!(request(gateway.address, "GET", "/closed", &unsampled, b"").status, 403);
    assert_eq!(get(gateway.address, "/open/b").status, 200);
    assert_eq!(get(gateway.address, "/closed").status, 403);
    let sampled = [("traceparent", "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")];
    assert_eq!(request(gateway.address, "GET", "/open/c", &sampled, b"").status, 200);
    // Spans are sent in the order in which requests end, so nothing else is on its way.
    let spans = spans(&collector, 2);
    let decisions: Vec<&Value> =
        spans.iter().map(|span| &attribute(span, "portcullis.decision")["stringValue"]).collect();
    assert_eq!(decisions, ["deny", "allow"]);
    // The upstream is told who records.
    let flags: Vec<String> =
        origin.received().iter().map(|sent| sent.all("traceparent")[0][53..].to_owned()).collect();
    assert_eq!(flags, ["00", "00", "01"]);
}

#[test]
fn metrics_are_sent_and_what_is_left_at_the_end_too() {
    let (origin, collector) = (Upstream::start(), collector());
    let mut gateway =
        Gateway::start(&config(&origin, collector.address, "traces = false\ninterval = \"1s\""));
    assert_eq!(get(gateway.address, "/open/a").status, 200);
    assert_eq!(get(gateway.address, "/closed").status, 403);
    gateway.records(2);
    let point = |body: &Value, name: &str| -> Value {
        let metrics =
            body["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].as_array().expect("metrics").clone();
        metrics.into_iter().find(|metric| metric["name"] == name).unwrap_or_default()
    };
    let requests = |body: &Value| -> f64 {
        let points =
            point(body, "portcullis_requests")["sum"]["dataPoints"].as_array().cloned().unwrap_or_default();
        points.iter().filter_map(|point| point["asDouble"].as_f64()).sum()
    };
    let body =
        wait_until(|| bodies(&collector, "/v1/metrics").into_iter().find(|body| requests(body) == 2.0));
    let resource = &body["resourceMetrics"][0]["resource"];
    assert_eq!(attribute(resource, "service.name")["stringValue"], "gateway");
    assert_eq!(point(&body, "portcullis_policy_generation")["gauge"]["dataPoints"][0]["asDouble"], 1.0);
    assert_eq!(point(&body, "portcullis_decision_seconds")["histogram"]["dataPoints"][0]["count"], "2");
    // Without traces the caller's context passes as it came.
    let traced = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    request(gateway.address, "GET", "/open/b", &[("traceparent", traced)], b"");
    assert_eq!(origin.received()[1].all("traceparent"), [traced]);
    gateway.signal("TERM");
    assert_eq!(gateway.wait(), Some(0));
    assert!(bodies(&collector, "/v1/metrics").iter().any(|body| requests(body) == 3.0));
    assert!(bodies(&collector, "/v1/traces").is_empty());
}

#[test]
fn a_collector_that_is_not_there_or_says_no_stops_nothing() {
    let origin = Upstream::start();
    let mut gateway = Gateway::start(&config(&origin, nobody(), ""));
    assert_eq!(get(gateway.address, "/open/a").status, 200);
    gateway.wait_for("the collector did not take the spans");
    assert_eq!(get(gateway.address, "/open/a").status, 200);
    let refusing =
        Upstream::answering(|_| b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nno!".to_vec());
    let mut gateway = Gateway::start(&config(&origin, refusing.address, ""));
    assert_eq!(get(gateway.address, "/open/a").status, 200);
    let line = gateway.wait_for("the collector did not take the spans");
    assert!(line.contains("400") && line.contains("no!"), "{line}");
}
