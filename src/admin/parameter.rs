//! What stands in a query and cannot be meant. Whoever misspells a filter is told so, and not that there is
//! nothing of the kind.

use http::{HeaderValue, Method, StatusCode, header};
use serde::Serialize;

use super::answer::{Answer, json};
use super::query::pairs;
use crate::policy::diagnostic::suggest;

/// A parameter that is not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadParameter {
    /// Its name.
    pub(super) parameter: String,
    /// What is wrong with it, and what to write instead.
    pub(super) why: String,
    /// What is taken: every word of a closed set, or how a value is written.
    pub(super) accepted: Vec<String>,
}

impl BadParameter {
    /// A value that is none of these words.
    pub(super) fn none_of(parameter: &str, value: &str, words: &[&str]) -> BadParameter {
        let near = suggest(&value.to_ascii_lowercase(), words.iter().copied());
        let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        let accepted: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let why = format!("{parameter}: `{value}` is none of {}{near}", accepted.join(", "));
        BadParameter { parameter: parameter.to_owned(), why, accepted }
    }

    /// A value that is not written as this one has to be.
    pub(super) fn unlike(parameter: &str, why: impl Into<String>, accepted: &str) -> BadParameter {
        let why = format!("{parameter}: {}; give {accepted}", why.into());
        BadParameter { parameter: parameter.to_owned(), why, accepted: vec![accepted.to_owned()] }
    }

    /// A parameter of which there can be but one.
    pub(super) fn twice(parameter: &str) -> BadParameter {
        let why = format!("{parameter}: it is given twice, and only one can count");
        BadParameter { parameter: parameter.to_owned(), why, accepted: Vec::new() }
    }

    /// A parameter that there is not.
    pub(super) fn unknown(parameter: &str, known: &[&str]) -> BadParameter {
        let accepted: Vec<String> = known.iter().map(|name| (*name).to_owned()).collect();
        let why = match known {
            [] => format!("there is no parameter `{parameter}` here; this takes none"),
            _ => format!("there is no parameter `{parameter}` here; there is {}", accepted.join(", ")),
        };
        BadParameter { parameter: parameter.to_owned(), why, accepted }
    }

    /// The refusal (RFC 9457, with the `error` that all refusals of this listener have).
    pub(super) fn answer(&self) -> Answer {
        #[derive(Serialize)]
        struct Problem<'a> {
            r#type: &'static str,
            title: &'static str,
            status: u16,
            detail: &'a str,
            error: &'a str,
            parameter: &'a str,
            accepted: &'a [String],
        }
        let status = StatusCode::BAD_REQUEST;
        let mut answer = json(
            status,
            &Problem {
                r#type: "urn:portcullis:admin:bad-parameter",
                title: "Bad Request",
                status: status.as_u16(),
                detail: &self.why,
                error: &self.why,
                parameter: &self.parameter,
                accepted: &self.accepted,
            },
        );
        let kind = HeaderValue::from_static("application/problem+json");
        answer.headers_mut().insert(header::CONTENT_TYPE, kind);
        answer
    }
}

/// What is wrong with the query of an endpoint, by the names that it takes. The filters of decisions are
/// read elsewhere, and probes and metrics may be asked with whatever a prober adds.
pub(super) fn check(endpoint: &str, method: &Method, query: &str) -> Result<(), BadParameter> {
    let known: &[&str] = match (endpoint, method.as_str()) {
        ("/api/decisions", _) => return Ok(()),
        (path, _) if !path.starts_with("/api/") => return Ok(()),
        ("/api/bans", "DELETE") => &["address"],
        _ => &[],
    };
    let mut seen: Vec<String> = Vec::new();
    for (name, _) in pairs(query) {
        if !known.contains(&name.as_str()) {
            return Err(BadParameter::unknown(&name, known));
        }
        if seen.contains(&name) {
            return Err(BadParameter::twice(&name));
        }
        seen.push(name);
    }
    Ok(())
}
