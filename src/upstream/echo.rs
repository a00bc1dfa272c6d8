//! `builtin:echo`, the embedded demonstration upstream: answers what it received, as JSON.

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Limited};
use serde::Serialize;

use super::body::{RequestBody, ResponseBody};
use super::fault::Fault;

/// The largest body that is echoed.
const MAX_BODY: usize = 1 << 20;

#[derive(Serialize)]
struct Echo<'a> {
    upstream: &'static str,
    method: &'a str,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<&'a str>,
    headers: Vec<(&'a str, String)>,
    body: String,
}

/// Answers a request with what it says.
pub(super) async fn answer(request: Request<RequestBody>) -> Result<Response<ResponseBody>, Fault> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await.map_err(|_| Fault::Reset)?.to_bytes();
    let headers = parts
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    let echo = Echo {
        upstream: "builtin:echo",
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query(),
        headers: headers.collect(),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let mut text = serde_json::to_vec_pretty(&echo).map_err(|_| Fault::Reset)?;
    text.push(b'\n');
    let mut response = Response::new(ResponseBody::Whole(Some(Bytes::from(text))));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
