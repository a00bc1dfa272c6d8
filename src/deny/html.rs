//! A refusal as a page: for people in browsers, who did not write the request themselves.
//!
//! One self-contained file without scripts, images or fonts, under a policy that forbids all of them.
//! Of the client's text it shows the percent-encoded path and nothing else.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use minijinja::{Environment, Value, context};

use super::text;
use super::view::View;
use super::words::Sentence;
use crate::policy::disclosure::is_link;

const STYLE: &str = include_str!("page.css");

static PAGES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut pages = Environment::new();
    // The name ends in `.html`, which turns escaping on. A test renders the page, so the template
    // parses; if it did not, callers would get plain text.
    let _ = pages.add_template(PAGE, include_str!("page.html"));
    pages
});

const PAGE: &str = "page.html";

/// Nothing may be loaded, sent or framed; the one style is allowed by its hash.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// The Content-Security-Policy of the page.
pub(super) fn content_security_policy() -> HeaderValue {
    POLICY.clone()
}

/// The page; none if it cannot be made.
pub(super) fn render(view: &View<'_>) -> Option<Bytes> {
    let contact = view.rule.as_ref().and_then(|rule| rule.contact);
    let safe = contact.filter(|contact| is_link(contact));
    let mailbox = safe.and_then(|contact| contact.strip_prefix("mailto:"));
    let mut facts = text::facts(view);
    // What the visitor is asked to quote stands first.
    facts.sort_by_key(|(name, _)| *name != text::REQUEST_ID);
    if let Some(path) = view.path {
        facts.push(("Path", percent_encoded(path)));
    }
    let facts = facts.into_iter().map(|(name, value)| Value::from(vec![Value::from(name), value.into()]));
    let page = context! {
        style => STYLE,
        status => view.status.as_u16(),
        title => view.title,
        heading => heading(view.status.as_u16()),
        detail => view.detail().text(),
        hints => view.hints().iter().map(|hint| hint.text()).collect::<Vec<_>>(),
        contact,
        link => safe.is_some() && mailbox.is_none(),
        mailbox => mailbox.and_then(|mailbox| mailbox.split('?').next()),
        facts => facts.collect::<Vec<_>>(),
    };
    let html = PAGES.get_template(PAGE).and_then(|template| template.render(page)).ok()?;
    Some(html.into())
}

/// What a visitor should understand first. Told by the status alone, which every level shows.
fn heading(status: u16) -> &'static str {
    match status {
        401 => "You need to log in",
        403 => "You do not have access to this",
        404 => "There is nothing here",
        405 => "This cannot be done here",
        413 => "That was too large to accept",
        415 => "That format is not accepted here",
        421 => "This site is not served here",
        429 => "Too many requests, for the moment",
        502..=504 => "The service is not available at the moment",
        _ => "The request could not be understood",
    }
}

/// A path for a page: everything encoded that has no business in a path, and not too long.
fn percent_encoded(path: &str) -> String {
    let mut shown = String::new();
    for byte in path.bytes() {
        // `%` stays: what is encoded already was encoded by the client, or when the path was made canonical.
        let plain = byte.is_ascii_alphanumeric() || b"-._~!$()*+,;=:@/%".contains(&byte);
        let more = if plain { char::from(byte).to_string() } else { format!("%{byte:02X}") };
        if shown.len() + more.len() > LONGEST_PATH {
            shown.push('…');
            break;
        }
        shown.push_str(&more);
    }
    shown
}

const LONGEST_PATH: usize = 160;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_shown_encoded_and_cut() {
        assert_eq!(percent_encoded("/a%20b/é\"<x>'&"), "/a%20b/%C3%A9%22%3Cx%3E%27%26");
        let long = percent_encoded(&"/é".repeat(100));
        assert!(long.ends_with('…') && long.len() <= LONGEST_PATH + '…'.len_utf8(), "{long}");
    }
}
