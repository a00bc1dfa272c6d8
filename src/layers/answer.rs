//! The answers of this gateway's own, made of what is known of a request.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::context::Installed;
use super::judged::Judged;
use super::secured::Secured;
use crate::decision::{Builtin, Change, Denial, Reason, RuleRef};
use crate::deny::{self, Allowance, Refusal};
use crate::facts::{Identity, Scheme};
use crate::policy::disclosure::Level;
use crate::policy::rbac::Nearest;
use crate::policy::route::secure_location;
use crate::upstream::ResponseBody;

/// Renders a refusal for the caller it is for. Also the nearest grants, where the record wants them.
pub(super) fn render(
    judged: &Judged,
    denial: &Denial,
    fields: &HeaderMap,
) -> (Response<Bytes>, Vec<Nearest>) {
    let facts = judged.facts(fields);
    let policy = &judged.installed.snapshot.policy;
    let level = policy.disclosure.level(&facts, Some(denial.stage));
    let logged = denial.rule == Builtin::DefaultDeny.into();
    let wanted = logged || deny::wants_nearest(denial, facts.identity, level);
    let nearest = if wanted { policy.rbac.nearest(&facts) } else { Vec::new() };
    let mut answer = deny::answer(&Refusal {
        policy,
        facts: &facts,
        denial,
        notes: &judged.progress.notes,
        level,
        request_id: &judged.request_id,
        decision_id: judged.decision_id,
        nearest: &nearest,
        challenges: policy.authn.challenges(policy.route_authn(facts.route)).into(),
        headers: judged.installed.snapshot.settings.response_headers,
        change: change(judged, denial, level),
        page: judged.installed.snapshot.settings.page.as_deref(),
        upstream: None,
    });
    if level != Level::Silent {
        dress(judged, answer.headers_mut(), fields, deny::OUR_HEADERS);
    }
    (answer, nearest)
}

/// The last change of the rule, where the caller is told of it.
fn change(judged: &Judged, denial: &Denial, level: Level) -> Option<Change> {
    let snapshot = &judged.installed.snapshot;
    let told = level == Level::Full;
    told.then(|| snapshot.change_for(denial.rule, &judged.admitted.target, &judged.identity)).flatten()
}

/// What a route has every answer say: to pages of other origins, and about TLS. A silent refusal says
/// nothing, since an unrouted path says nothing. `fields`: of the request.
fn dress(judged: &Judged, headers: &mut HeaderMap, fields: &HeaderMap, ours: &str) {
    let Some(route) = judged.installed.snapshot.policy.route(judged.admitted.route) else { return };
    if let Some(cors) = &route.cors {
        cors.add(headers, fields, ours);
    }
    if let Some(hsts) = &route.hsts {
        // RFC 6797 section 7.2: never over clear text.
        headers.remove(header::STRICT_TRANSPORT_SECURITY);
        if judged.admitted.target.scheme == Scheme::Https
            && let Ok(hsts) = HeaderValue::from_bytes(hsts.as_bytes())
        {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, hsts);
        }
    }
}

/// The answer to a request that is for the gateway itself.
pub(super) fn own(judged: &Judged, rule: Builtin, fields: &HeaderMap) -> Response<Bytes> {
    let Installed { snapshot, .. } = &*judged.installed;
    let mut response = Response::new(Bytes::new());
    let status = rule.own_status().and_then(|status| StatusCode::from_u16(status).ok());
    *response.status_mut() = status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let headers = response.headers_mut();
    dress(judged, headers, fields, "");
    let route = snapshot.policy.route(judged.admitted.route);
    match (rule, route.and_then(|route| route.cors.as_ref())) {
        (Builtin::Redirect, _) => {
            if let Some(location) = secure_location(&judged.admitted.target) {
                headers.insert(header::LOCATION, location);
            }
        }
        (_, Some(cors)) => {
            let asked = "access-control-request-method, access-control-request-headers";
            headers.append(header::VARY, HeaderValue::from_static(asked));
            cors.add_preflight(headers);
        }
        (_, None) => {}
    }
    let level = snapshot.policy.disclosure.level(&judged.facts(fields), None);
    let personal = judged.progress.notes.personal;
    deny::mark(headers, &allowance(judged, rule.into(), level, personal));
    response
}

fn allowance(judged: &Judged, rule: RuleRef, level: Level, personal: bool) -> Allowance<'_> {
    let Installed { snapshot, .. } = &*judged.installed;
    Allowance {
        policy: &snapshot.policy,
        rule,
        notes: &judged.progress.notes,
        level,
        request_id: &judged.request_id,
        headers: snapshot.settings.response_headers,
        personal,
    }
}

/// Whether nobody knows where the next request begins, behind one that was refused so.
pub(super) fn must_close(denial: &Denial) -> bool {
    // An upstream without room says nothing about the client's connection.
    denial.reason != Reason::UpstreamOverloaded
        && matches!(
            denial.rule,
            RuleRef::Builtin(
                Builtin::FramingConflict
                    | Builtin::Malformed
                    | Builtin::FaultInternal
                    | Builtin::FaultOverload
                    | Builtin::BodyTooLarge
            )
        )
}

/// The answer to a request whose judging panicked: a refusal, and nothing that could be wrong.
pub(super) fn panicked() -> Response<Bytes> {
    let info = Builtin::FaultInternal.info();
    let reason = info.reason.info();
    let body = format!(
        "{{\"type\":\"urn:portcullis:reason:{}\",\"title\":\"{}\",\"status\":{},\"rule\":\"{}\"}}",
        reason.code, reason.title, reason.status, info.name
    );
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-portcullis-decision", HeaderValue::from_static("error"));
    response
}

/// Cleans the upstream's fields and adds our words about the allow.
pub(super) fn mark(judged: &Judged, mut response: Response<ResponseBody>) -> Response<ResponseBody> {
    let switching = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let Installed { snapshot, .. } = &*judged.installed;
    let headers = response.headers_mut();
    snapshot.hygiene.clean_response(headers);
    let route = snapshot.policy.route(judged.admitted.route);
    if let Some(route) = route {
        route.response_edits.apply(headers);
    }
    if switching {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    let empty = HeaderMap::new();
    let facts = judged.facts(&empty);
    let personal = judged.progress.notes.personal
        || match facts.identity {
            Identity::Valid(who) => !who.holder.bearer,
            Identity::Nobody | Identity::Invalid(_) => {
                let certificate = judged.peer.secured.as_ref().is_some_and(Secured::has_certificate);
                certificate && snapshot.policy.authn.reads_certificates()
            }
        };
    let level = snapshot.policy.disclosure.level(&facts, None);
    if route.is_some_and(|route| route.cors.is_some() || route.hsts.is_some()) {
        let fields: HeaderMap = judged.kept.iter().cloned().collect();
        let ours = if level == Level::Silent { "" } else { deny::OUR_HEADERS };
        dress(judged, headers, &fields, ours);
    }
    deny::mark(headers, &allowance(judged, judged.grant, level, personal));
    response
}
