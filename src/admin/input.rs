//! What callers send: queries and JSON documents.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::answer::{Answer, problem};

/// More is no question of an operator.
const MAX_BODY: usize = 256 * 1024;

/// A caller sends its document within this time.
const PATIENCE: Duration = Duration::from_secs(10);

/// The names and values of a query, decoded.
pub(super) fn pairs(query: &str) -> Vec<(String, String)> {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let pair = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (decode(name), decode(value))
    };
    query.split('&').filter(|part| !part.is_empty()).map(pair).collect()
}

/// The JSON document of a request.
pub(super) async fn document<T: DeserializeOwned>(headers: &HeaderMap, body: Incoming) -> Result<T, Answer> {
    // A form of a foreign page cannot have this type.
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    if kind.split(';').next().map(str::trim) != Some("application/json") {
        let why = "send a JSON document: `content-type: application/json`";
        return Err(problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
    }
    let body = match timeout(PATIENCE, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => {
            let why = format!("the document cannot be read, or has more than {MAX_BODY} bytes");
            return Err(problem(StatusCode::PAYLOAD_TOO_LARGE, why));
        }
        Err(_) => return Err(problem(StatusCode::REQUEST_TIMEOUT, "the document did not come in time")),
    };
    serde_json::from_slice(&body).map_err(|error| problem(StatusCode::BAD_REQUEST, error.to_string()))
}
