//! What callers send: texts for others to read, and JSON documents.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use tokio::time::timeout;

use super::answer::{Answer, problem};
use super::members::{self, Document};
use crate::deny::is_deceptive;

/// More is no question of an operator.
const MAX_BODY: usize = 256 * 1024;

/// A caller sends its document within this time.
const PATIENCE: Duration = Duration::from_secs(10);

/// A text that somebody wrote for others to read, if it is of one line, not too long, and looks as it
/// is: no control characters, none that turn round or hide what stands beside them.
pub(super) fn plain(name: &str, text: &str, most: usize) -> Result<String, String> {
    if let Some(found) = text.chars().find(|c| is_deceptive(*c)) {
        let code = u32::from(found);
        return Err(format!(
            "{name}: the character U+{code:04X} acts on the text around it or cannot be seen; leave it out"
        ));
    }
    match text.chars().count() {
        count if count > most => Err(format!("{name}: {count} characters are too many; {most} at most")),
        _ => Ok(text.to_owned()),
    }
}

/// The JSON document of a request.
pub(super) async fn document<T: Document>(headers: &HeaderMap, body: Incoming) -> Result<T, Answer> {
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
    members::read(&body).map_err(members::Refused::answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_looks_as_it_is() {
        assert_eq!(plain("reason", "Grüße, 世界", 9), Ok("Grüße, 世界".to_owned()));
        assert_eq!(
            plain("reason", "0123456789", 9).unwrap_err(),
            "reason: 10 characters are too many; 9 at most"
        );
        for (text, code) in [
            ("a\u{202e}b", "U+202E"),
            ("a\u{1b}[2Jb", "U+001B"),
            ("a\nb", "U+000A"),
            ("a\u{200b}b", "U+200B"),
            ("a\u{9b}b", "U+009B"),
        ] {
            assert!(plain("reason", text, 9).unwrap_err().contains(code), "{code}");
        }
    }
}
