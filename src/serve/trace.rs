//! The trace of a request on its way to the upstream: a valid `traceparent` is continued, else one is
//! begun, without the `tracestate` of another (W3C Trace Context, section 3.3). Where spans are made, the
//! upstream gets ours as its parent.

use http::HeaderMap;

use crate::layers::{Context, Judged, TRACEPARENT, TRACESTATE, TraceId, Traceparent, trace_id};
use crate::upstream::Added;

/// Continues the trace that the fields name, or sets the field. Notes the trace for the record.
pub(super) fn set_trace(context: &Context, headers: &mut HeaderMap, added: &mut Added, judged: &mut Judged) {
    let given = Traceparent::of(headers);
    if given.is_none() {
        headers.remove(TRACESTATE);
    }
    match given {
        Some(given) if own(judged).is_none() => judged.trace_id = Some(TraceId(given.trace)),
        _ => {
            headers.remove(TRACEPARENT);
            begin_trace(context, added, judged);
        }
    }
}

/// The same where no field is about one.
pub(super) fn begin_trace(context: &Context, added: &mut Added, judged: &mut Judged) {
    let begun = own(judged).unwrap_or_else(|| {
        let mut ids = context.ids.borrow_mut();
        let (trace, span) = (trace_id(ids.random()), trace_id(ids.random()));
        Traceparent { trace, span, sampled: false }
    });
    judged.trace_id = Some(TraceId(begun.trace));
    added.put_text(&TRACEPARENT, &begun.text());
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
