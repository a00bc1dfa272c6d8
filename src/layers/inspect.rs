//! Shows an upstream's answer to the WAF before the client gets any of it: its head, and as much of its
//! body as rules look at.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response};
use http_body_util::BodyExt;

use super::judged::{Judged, Verdicts};
use crate::decision::Verdict;
use crate::policy::{Answer, AnswerPlan};
use crate::upstream::{BodyFailure, Fault, ResponseBody};

/// What becomes of an answer, once rules have seen it.
pub(crate) async fn inspect(judged: &mut Judged, response: Response<ResponseBody>) -> Verdicts {
    let installed = std::rc::Rc::clone(&judged.installed);
    let policy = &installed.snapshot.policy;
    let limit = match policy.answer_plan(response.status(), response.headers()) {
        AnswerPlan::Pass => return Verdicts::Answered(response),
        AnswerPlan::Head => 0,
        AnswerPlan::Body(limit) => limit,
    };
    let (parts, mut body) = response.into_parts();
    let ahead = match limit {
        0 => Ok(Bytes::new()),
        limit => read_ahead(&mut body, limit).await,
    };
    let ahead = match ahead {
        Ok(ahead) => ahead,
        Err(BodyFailure::Cut) => return Verdicts::Failed(Fault::Reset),
        Err(BodyFailure::Late) => return Verdicts::Failed(Fault::Timeout),
    };
    let Judged { admitted, identity, body: request_body, progress, now, .. } = judged;
    // The request's fields went to the upstream; what rules want of them they have seen before.
    let none = HeaderMap::new();
    let facts = policy.facts(admitted, &none, identity, request_body, *now);
    let answer = Answer { status: parts.status, headers: &parts.headers, body: &ahead };
    match policy.check_answer(&facts, &answer, progress) {
        Verdict::Deny(denial) => Verdicts::Denied(denial),
        Verdict::Pass(_) | Verdict::Answer(_) => {
            let body = match ahead.is_empty() {
                true => body,
                false => ResponseBody::Ahead(Some(ahead), Box::new(body)),
            };
            Verdicts::Answered(Response::from_parts(parts, body))
        }
    }
}

/// The first bytes of a body, at least so many where there are so many.
async fn read_ahead(body: &mut ResponseBody, limit: usize) -> Result<Bytes, BodyFailure> {
    let mut ahead = BytesMut::new();
    while ahead.len() < limit && !http_body::Body::is_end_stream(body) {
        let Some(frame) = body.frame().await else { break };
        // Trailers that end within what is judged are not passed on: they would have to wait for it.
        let Ok(data) = frame?.into_data() else { continue };
        ahead.extend_from_slice(&data);
    }
    Ok(ahead.freeze())
}
