//! The innermost service: an allowed request to its upstream.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::Parts as UriParts;
use http::{Request, Uri, Version};

use super::trace::{begin_trace, set_trace};
use crate::decision::Builtin;
use crate::facts::{Body, Identity, fold_name, hash_text, is_odd_name, upgrade_wanted};
use crate::layers::{
    Context, Inbound, Judged, Payload, Reply, TRACEPARENT, TRACESTATE, Verdicts, X_REQUEST_ID, inspect,
};
use crate::policy::route::Route;
use crate::upstream::{Added, Fault, Forwarded, Outbound, RequestBody, forward};

/// Forwards a request that every gate has let pass.
pub(super) async fn proxy(context: Rc<Context>, mut inbound: Inbound) -> Result<Reply, Infallible> {
    #[cfg(test)]
    crate::layers::trap::spring(crate::layers::trap::At::Proxy);
    if !context.log.ready() {
        // What cannot be recorded is not passed on.
        inbound.judged.pause();
        if context.log.until_ready().await.is_err() {
            return Ok(inbound.fail(Builtin::FaultLog));
        }
        inbound.judged.resume();
    }
    let (mut judged, outbound) = match outbound(&context, inbound) {
        Ok(prepared) => prepared,
        Err(reply) => return Ok(*reply),
    };
    let begin = judged.pause();
    let (forwarded, answered) = forward(outbound, begin).await;
    judged.upstream = Some(answered.saturating_duration_since(begin));
    let verdict = match forwarded {
        Ok(Forwarded::Answer(response)) => inspect(&mut judged, response).await,
        Ok(Forwarded::Switched(response, tunnel)) => Verdicts::Switched(response, tunnel),
        Err(fault) => Verdicts::Failed(fault),
    };
    Ok(Reply { judged, verdict })
}

type Prepared = (crate::layers::Held, Outbound);

/// Makes the upstream's request of the client's: fields cleaned, ours set, the canonical target.
fn outbound(context: &Context, inbound: Inbound) -> Result<Prepared, Box<Reply>> {
    let Inbound { body, mut judged } = inbound;
    let installed = Rc::clone(&judged.installed);
    let snapshot = &installed.snapshot;
    let route = snapshot.policy.route(judged.admitted.route);
    // The same request id goes the same way.
    let draw = || hash_text(0, judged.request_id.as_bytes());
    let picked = route.and_then(|route| {
        let upstream = route.upstream.pick(draw)?;
        Some((route, installed.upstreams.borrow().get(upstream)?))
    });
    let Some((route, cluster)) = picked else {
        return Err(Box::new(Reply { judged, verdict: Verdicts::Failed(Fault::Unavailable) }));
    };
    let mut headers = std::mem::take(&mut judged.headers);
    let upgrade = route.websocket && upgrade_wanted(&judged.method, judged.version, &headers);
    judged.take_down(context, &headers);
    let client = &judged.admitted.client;
    let key = cluster.key(client.ip, judged.admitted.target.path_and_query().path(), &headers);
    // The port is that of the peer, and says nothing about a client behind it.
    let client = SocketAddr::new(client.ip, if client.ip == client.peer { judged.port } else { 0 });
    let te_trailers = judged.admitted.fields.names.may_have(&header::TE) && reads_trailers(&headers);
    // Behind a body that was read to be inspected, none come.
    let passes = route.accept.trailers && !matches!(judged.body, Body::Whole(_));
    let trailers = passes.then(|| snapshot.hygiene.announced_trailers(&headers)).flatten();
    snapshot.hygiene.clean_request(&mut headers, judged.admitted.fields.odd_names);
    remove_credentials(&mut headers, &judged);
    if snapshot.policy.waf.reads_answers() {
        accept_what_can_be_read(&mut headers);
    }
    let edited = !route.request_edits.is_empty();
    if edited {
        edit(&mut headers, route, &judged);
    }
    if upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    let mut added = Added::new();
    add_forwarding(&mut added, route, &judged);
    add_identity(&mut added, &judged);
    let names = judged.admitted.fields.names;
    if edited || names.may_have(&TRACEPARENT) || names.may_have(&TRACESTATE) {
        set_trace(context, &mut headers, &mut added, &mut judged);
    } else {
        begin_trace(context, &mut added, &mut judged);
    }
    added.put(&X_REQUEST_ID, &judged.request_id);
    if edited {
        // The fields of these names that came from the client were removed; a route may set them again.
        added.displace(&mut headers);
    }
    if let Some(trailers) = trailers {
        headers.insert(header::TRAILER, trailers);
    }
    let host = match (&judged.admitted.target.authority, route.preserve_host) {
        (Some(authority), true) => Some(authority.header().clone()),
        _ => None,
    };

    let body = match body {
        Payload::Ready(body) => body,
        Payload::Incoming(_) => RequestBody::Empty,
    };
    let mut request = Request::new(body);
    *request.method_mut() = std::mem::take(&mut judged.method);
    *request.uri_mut() = origin_form(&judged);
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = headers;
    let outbound = Outbound {
        request,
        added,
        host,
        fate: judged.fate.clone(),
        key,
        timeouts: cluster.timeouts().over(snapshot.settings.timeouts).on(&route.patience),
        // What flows after an upgrade goes on for as long as both ends want.
        total: route.patience.total.or(cluster.timeouts().total).filter(|_| !upgrade),
        cluster,
        client,
        te_trailers,
        upgrade,
    };
    Ok((judged, outbound))
}

/// Whether the client reads trailers (RFC 9110 section 10.1.4).
fn reads_trailers(headers: &HeaderMap) -> bool {
    let tokens = |value: &HeaderValue| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    };
    headers.get_all(header::TE).iter().any(tokens)
}

/// What was judged is what is forwarded: path and query of the canonical target, or what the route
/// makes of them.
fn origin_form(judged: &Judged) -> Uri {
    let mut parts = UriParts::default();
    parts.path_and_query = Some(judged.admitted.target.forwarded().clone());
    Uri::from_parts(parts).unwrap_or_default()
}

/// Keys and passwords are for the gateway alone; bearer tokens pass where their source says so.
fn remove_credentials(headers: &mut HeaderMap, judged: &Judged) {
    let policy = &judged.installed.snapshot.policy;
    for name in policy.authn.private_headers(policy.route_authn(judged.admitted.route), &judged.identity) {
        remove(headers, name, judged);
    }
}

/// Rules read what comes back, so it must not come in a coding that nobody here undoes.
fn accept_what_can_be_read(headers: &mut HeaderMap) {
    let known = |coding: &[u8]| {
        let name = coding.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        [&b"gzip"[..], b"x-gzip", b"deflate", b"identity"]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
    };
    let codings = headers.get_all(header::ACCEPT_ENCODING).iter();
    let codings = codings.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let kept: Vec<&[u8]> = codings.map(<[u8]>::trim_ascii).filter(|coding| known(coding)).collect();
    // Without the field an upstream may choose any coding.
    let kept = if kept.is_empty() { b"identity".to_vec() } else { kept.join(&b", "[..]) };
    if let Ok(kept) = HeaderValue::from_bytes(&kept) {
        headers.insert(header::ACCEPT_ENCODING, kept);
    }
}

/// What the route sets and removes.
fn edit(headers: &mut HeaderMap, route: &Route, judged: &Judged) {
    for name in route.request_edits.names() {
        remove(headers, name, judged);
    }
    route.request_edits.apply(headers);
}

/// Removes a field in every spelling: what stands in `x_api_key` is `x-api-key` to a server that folds
/// names.
fn remove(headers: &mut HeaderMap, name: &HeaderName, judged: &Judged) {
    headers.remove(name);
    if !judged.admitted.fields.odd_names {
        return;
    }
    let other = |other: &&HeaderName| is_odd_name(other.as_str()) && *fold_name(other.as_str()) == *name;
    while let Some(spelling) = headers.keys().find(other).cloned() {
        headers.remove(spelling);
    }
}

/// Our own account of where the request comes from; the client's was removed.
fn add_forwarding(added: &mut Added, route: &Route, judged: &Judged) {
    let target = &judged.admitted.target;
    let client = &judged.admitted.client;
    if client.ip == client.peer {
        added.put(&X_FORWARDED_FOR, judged.peer.text());
    } else {
        added.put_text(&X_FORWARDED_FOR, format!("{}, {}", client.ip, client.peer).as_bytes());
    }
    added.put_text(&X_FORWARDED_PROTO, target.scheme.as_str().as_bytes());
    if let Some(authority) = &target.authority {
        added.put(&X_FORWARDED_HOST, authority.header());
    }
    // So that an upstream can write links that lead back here.
    if let Some(rewrite) = route.rewrite.as_ref().filter(|rewrite| !rewrite.stripped.is_empty()) {
        added.put_text(&X_FORWARDED_PREFIX, rewrite.stripped.as_bytes());
    }
}

/// Who asks and by which grant, under the names that the configuration gives them.
fn add_identity(added: &mut Added, judged: &Judged) {
    let snapshot = &judged.installed.snapshot;
    let names = &snapshot.settings.upstream_headers;
    if let Identity::Valid(who) = &judged.identity {
        added.put_text(&names.subject, who.holder.subject.as_bytes());
        let mut roles = String::new();
        for role in who.roles.iter().filter(|role| role.0 > 1) {
            if !roles.is_empty() {
                roles.push(',');
            }
            roles.push_str(snapshot.policy.roles.name(role));
        }
        added.put_text(&names.roles, roles.as_bytes());
    }
    added.put_text(&names.rule, snapshot.policy.rules.name(judged.grant).as_bytes());
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
