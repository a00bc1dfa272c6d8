//! THE order: every layer a request passes, and why it stands at its height.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;

use http::Response;
use tower::layer::layer_fn;
use tower::{Service, ServiceBuilder};

use super::proxy::proxy;
use super::slots::Slots;
use crate::decision::Stage;
use crate::layers::{Admit, Arrival, Audit, Context, Gate, Identify, Outgoing, ReadBody};

/// The stack of one thread. It is made once and never rebuilt: a reload swaps the data that the
/// layers read, not the layers. Clones for connections share the places of its futures.
pub(super) fn stack(
    context: &Rc<Context>,
) -> impl Service<Arrival, Response = Response<Outgoing>, Error = Infallible, Future: 'static> + Clone + use<>
{
    let (audit, admit, identify, innermost) =
        (Rc::clone(context), Rc::clone(context), Rc::clone(context), Rc::clone(context));
    let buffers = Arc::clone(&context.buffers);
    ServiceBuilder::new()
        // Outermost, so that it sees every reply and every client that hangs up, and writes the one
        // record of each before (a refusal) or when (an allow) its answer ends.
        .layer(layer_fn(move |inner| Audit::new(Rc::clone(&audit), inner)))
        // One policy snapshot, the client, the target, now, an id: what all gates below judge by.
        .layer(layer_fn(move |inner| Admit::new(Rc::clone(&admit), inner)))
        // First of the gates: what is ambiguous must not be judged at all.
        .layer(layer_fn(|inner| Gate::new(Stage::Intake, inner)))
        // Costs nanoseconds and needs nothing of the request: turn away who is not welcome at all.
        .layer(layer_fn(|inner| Gate::new(Stage::Ip, inner)))
        // What nothing serves needs no credentials and no inspection.
        .layer(layer_fn(|inner| Gate::new(Stage::Route, inner)))
        // Before identity, so that an attack on the verifiers is stopped in front of them.
        .layer(layer_fn(|inner| Gate::new(Stage::Waf, inner)))
        // Fills in who asks; refuses nobody.
        .layer(layer_fn(move |inner| Identify::new(Rc::clone(&identify), inner)))
        // Someone may be demanded, and what was shown must be valid.
        .layer(layer_fn(|inner| Gate::new(Stage::Authn, inner)))
        // Needs the identity; before the body, so that strangers cannot make us read.
        .layer(layer_fn(|inner| Gate::new(Stage::Rbac, inner)))
        // Reads the body, bounded, and only if a rule wants it.
        .layer(layer_fn(move |inner| ReadBody::new(Arc::clone(&buffers), inner)))
        // The last gate: nothing reaches the upstream before its body is judged.
        .layer(layer_fn(|inner| Gate::new(Stage::WafBody, inner)))
        .service(Slots::new(move |inbound| proxy(Rc::clone(&innermost), inbound)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stack_has_a_gate_for_every_stage_in_the_one_order() {
        let source = include_str!("stack.rs");
        let code = &source[..source.find("#[cfg(test)]").expect("this module")];
        let gates: Vec<&str> =
            code.split("Gate::new(Stage::").skip(1).filter_map(|rest| rest.split(',').next()).collect();
        let stages: Vec<String> = Stage::ALL.iter().map(|stage| format!("{stage:?}")).collect();
        assert_eq!(gates, stages);
    }
}
