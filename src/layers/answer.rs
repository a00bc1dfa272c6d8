//! The answers of this gateway's own, made of what is known of a request.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::context::Installed;
use super::judged::Judged;
use super::secured::Secured;
use crate::decision::{Builtin, Denial, RuleRef};
use crate::deny::{self, Allowance, Refusal};
use crate::facts::Identity;
use crate::policy::rbac::Nearest;
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
    let answer = deny::answer(&Refusal {
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
        change: None,
        upstream: None,
    });
    (answer, nearest)
}

/// Whether nobody knows where the next request begins, behind one that was refused so.
pub(super) fn must_close(denial: &Denial) -> bool {
    matches!(
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
    if switching {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    let empty = HeaderMap::new();
    let facts = judged.facts(&empty);
    let personal = match facts.identity {
        Identity::Valid(who) => !who.holder.bearer,
        Identity::Nobody | Identity::Invalid(_) => {
            let certificate = judged.peer.secured.as_ref().is_some_and(Secured::has_certificate);
            (certificate && snapshot.policy.authn.reads_certificates())
                || snapshot.policy.ip.looked_at(&facts)
        }
    };
    deny::mark(
        headers,
        &Allowance {
            policy: &snapshot.policy,
            rule: judged.grant,
            notes: &judged.progress.notes,
            level: snapshot.policy.disclosure.level(&facts, None),
            request_id: &judged.request_id,
            headers: snapshot.settings.response_headers,
            personal,
        },
    );
    response
}
