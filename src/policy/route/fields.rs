//! Which header fields a route may look at, set or remove.

use http::HeaderName;

use crate::facts::{HOP_BY_HOP, REQUEST_ONLY};
use crate::policy::code::Code;
use crate::policy::diagnostic::{At, Diagnostics};

/// The name of a field of requests that a route looks at.
pub(super) fn readable(
    key: &At<String>,
    managed: &[HeaderName],
    diagnostics: &mut Diagnostics,
) -> Option<HeaderName> {
    let name = field_name(key, diagnostics)?;
    let why = of_the_connection(&name).or_else(|| ours(&name, managed)).or_else(|| {
        let credential = matches!(name.as_str(), "authorization" | "cookie");
        credential.then_some("holds credentials, which are judged by `[authn]` and `[[rbac.grant]]`")
    });
    refuse(name, why, key, diagnostics)
}

/// Which way a field goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// To the upstream.
    Request,
    /// To the client.
    Response,
}

/// The name of a field that a route sets or removes.
pub(super) fn editable(
    key: &At<String>,
    direction: Direction,
    managed: &[HeaderName],
    diagnostics: &mut Diagnostics,
) -> Option<HeaderName> {
    let name = field_name(key, diagnostics)?;
    let why = of_the_connection(&name).or_else(|| match direction {
        Direction::Request => ours(&name, managed),
        Direction::Response => {
            let text = name.as_str();
            let own = text.starts_with("x-portcullis-") || matches!(text, "x-request-id" | "proxy-status");
            own.then_some(OURS)
        }
    });
    refuse(name, why, key, diagnostics)
}

/// A name that is one in every reading: `_` and `.` are taken for `-` by some servers.
fn field_name(key: &At<String>, diagnostics: &mut Diagnostics) -> Option<HeaderName> {
    let name = HeaderName::try_from(key.as_str()).ok().filter(|name| !name.as_str().contains(['_', '.']));
    if name.is_none() {
        diagnostics
            .push(Code::BadValue, key.place, format!("`{}` is not the name of a header field", key.value))
            .help("letters, digits and `-`; no `_` or `.`, which some servers take for `-`");
    }
    name
}

fn refuse(
    name: HeaderName,
    why: Option<&str>,
    key: &At<String>,
    diagnostics: &mut Diagnostics,
) -> Option<HeaderName> {
    let Some(why) = why else { return Some(name) };
    diagnostics.push(Code::BadValue, key.place, format!("a route cannot name the field `{name}`: it {why}"));
    None
}

fn of_the_connection(name: &HeaderName) -> Option<&'static str> {
    let own = matches!(name.as_str(), "host" | "content-length" | "expect" | "date");
    (own || HOP_BY_HOP.contains(&name.as_str())).then_some("belongs to the connection or the framing")
}

fn ours(name: &HeaderName, managed: &[HeaderName]) -> Option<&'static str> {
    let text = name.as_str();
    let ours = managed.contains(name)
        || REQUEST_ONLY.contains(&text)
        || text.starts_with("x-forwarded-")
        || matches!(text, "traceparent" | "tracestate");
    ours.then_some(OURS)
}

const OURS: &str = "is the gateway's own, which sets or removes it";
