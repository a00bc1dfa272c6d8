//! The trace of a request on its way to the upstream: a valid `traceparent` is continued, else one is
//! begun. Where spans are made, the upstream gets ours as its parent.

use http::{HeaderMap, HeaderValue};

use crate::layers::{Context, Judged, TRACEPARENT, TraceId, Traceparent, trace_id};

/// Sets the field, and notes the trace for the record.
pub(super) fn set_trace(context: &Context, headers: &mut HeaderMap, judged: &mut Judged) {
    if let Some(ours) = own(judged) {
        write(ours, headers, judged);
        return;
    }
    if let Some(given) = Traceparent::of(headers) {
        judged.trace_id = Some(TraceId(given.trace));
        return;
    }
    let (trace, span) = {
        let mut ids = context.ids.borrow_mut();
        (trace_id(ids.random()), trace_id(ids.random()))
    };
    write(Traceparent { trace, span, sampled: false }, headers, judged);
}

fn write(begun: Traceparent, headers: &mut HeaderMap, judged: &mut Judged) {
    judged.trace_id = Some(TraceId(begun.trace));
    if let Ok(value) = HeaderValue::from_bytes(&begun.text()) {
        headers.insert(TRACEPARENT, value);
    }
}

/// The span that is made of this request, as the parent of the upstream's.
#[cfg(feature = "otlp")]
fn own(judged: &Judged) -> Option<Traceparent> {
    let begun = judged.span?;
    Some(Traceparent { trace: begun.trace, span: begun.id, sampled: begun.sampled })
}

#[cfg(not(feature = "otlp"))]
fn own(_: &Judged) -> Option<Traceparent> {
    None
}
