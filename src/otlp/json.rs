//! The JSON of OTLP: <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>. Ids are
//! hexadecimal, 64-bit numbers are strings.

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::span::{Span, Value};

/// What sends all of it.
pub(super) fn resource(service: &str) -> Json {
    let attributes = [("service.name", service), ("service.version", env!("CARGO_PKG_VERSION"))];
    json!({ "attributes": attributes.map(|(key, value)| attribute(key, &value.into())) })
}

/// The body of a request to `/v1/traces`.
pub(super) fn traces(resource: &Json, spans: &[Span]) -> Json {
    let spans: Vec<Json> = spans.iter().map(span).collect();
    json!({ "resourceSpans": [{ "resource": resource, "scopeSpans": [{ "scope": scope(), "spans": spans }] }] })
}

pub(super) fn scope() -> Json {
    json!({ "name": "portcullis", "version": env!("CARGO_PKG_VERSION") })
}

fn span(span: &Span) -> Json {
    let attributes: Vec<Json> = span.attributes.iter().map(|(key, value)| attribute(key, value)).collect();
    let mut json = json!({
        "traceId": digits(&span.begun.trace),
        "spanId": digits(&span.begun.id),
        "flags": u8::from(span.begun.sampled),
        "name": span.name,
        "kind": SERVER,
        "startTimeUnixNano": nanoseconds(span.start),
        "endTimeUnixNano": nanoseconds(span.end.max(span.start)),
        "attributes": attributes,
        "status": match span.failure {
            None => json!({}),
            Some(why) => json!({ "code": ERROR, "message": why }),
        },
    });
    if let (Some(parent), Some(object)) = (&span.begun.parent, json.as_object_mut()) {
        object.insert("parentSpanId".to_owned(), digits(parent).into());
    }
    json
}

pub(super) fn attribute(key: &str, value: &Value) -> Json {
    let text = |text: &String| json!({ "stringValue": text });
    let value = match value {
        Value::Text(value) => text(value),
        Value::Number(number) => json!({ "intValue": number.to_string() }),
        Value::Texts(texts) => {
            json!({ "arrayValue": { "values": texts.iter().map(text).collect::<Vec<_>>() } })
        }
    };
    json!({ "key": key, "value": value })
}

/// Nanoseconds since 1970, as a string.
pub(super) fn nanoseconds(time: Timestamp) -> String {
    time.as_nanosecond().max(0).to_string()
}

fn digits(id: &[u8]) -> &str {
    std::str::from_utf8(id).unwrap_or_default()
}

const SERVER: u8 = 2;
const ERROR: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::Begun;

    #[test]
    fn a_span_is_written_as_the_specification_has_it() {
        let begun = Begun {
            trace: *b"0af7651916cd43dd8448eb211c80319c",
            id: *b"b7ad6b7169203331",
            parent: Some(*b"00f067aa0ba902b7"),
            sampled: true,
        };
        let start = Timestamp::from_second(1).unwrap();
        let attributes =
            vec![("a", "x".into()), ("b", Value::Number(7)), ("c", Value::Texts(vec!["y".into()]))];
        let one = Span {
            begun,
            name: "GET /".into(),
            start,
            end: start,
            attributes,
            failure: Some("upstream_connect"),
        };
        let body = traces(&resource("gateway"), &[one]);
        let span = &body["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        assert_eq!(span["traceId"], "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(
            (&span["spanId"], &span["parentSpanId"]),
            (&json!("b7ad6b7169203331"), &json!("00f067aa0ba902b7"))
        );
        assert_eq!(span["startTimeUnixNano"], "1000000000");
        assert_eq!(span["status"], json!({ "code": 2, "message": "upstream_connect" }));
        assert_eq!(
            span["attributes"],
            json!([
                { "key": "a", "value": { "stringValue": "x" } },
                { "key": "b", "value": { "intValue": "7" } },
                { "key": "c", "value": { "arrayValue": { "values": [{ "stringValue": "y" }] } } },
            ])
        );
    }
}
