//! A refusal as a page: for people in browsers, who did not write the request themselves.
//!
//! One self-contained file without scripts, images or fonts, under a policy that forbids all of them.
//! Of the client's text it shows the percent-encoded path and nothing else.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use minijinja::{Environment, UndefinedBehavior, Value, context};

use super::view::View;
use super::words::Sentence;
use super::{remembered, text};
use crate::decision::{Reason, Stage};
use crate::policy::disclosure::is_link;

/// A page: a template, and the one style that it may have.
#[derive(Debug)]
pub struct Page {
    templates: Environment<'static>,
    style: String,
    policy: HeaderValue,
}

/// The page that ships with portcullis.
static BUILTIN: LazyLock<Option<Page>> = LazyLock::new(|| Page::new(include_str!("page.html"), STYLE).ok());

/// The style that ships with portcullis.
pub(super) const STYLE: &str = include_str!("page.css");

/// The name ends in `.html`, which turns escaping on.
const PAGE: &str = "page.html";

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// The line it is in, from 1 on.
    pub line: Option<usize>,
    /// Why.
    pub why: String,
}

impl Page {
    /// A page of a template's text. It is rendered for two visitors, so that what it asks for and
    /// nobody gives is found now and not by the first one.
    pub fn new(template: &str, style: &str) -> Result<Page, TemplateError> {
        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        templates.add_template_owned(PAGE, template.to_owned()).map_err(|error| wrong(&error))?;
        // Nothing may be loaded, sent or framed; the one style is allowed by its hash.
        let hash = STANDARD.encode(digest(&SHA256, style.as_bytes()));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        let policy = HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"));
        let page = Page { templates, style: style.to_owned(), policy };
        for (contact, hints, facts) in [
            (None, vec![], vec![]),
            (Some("https://a.test"), vec!["hint".to_owned()], vec![("Rule", "rbac/a".into())]),
            (Some("mailto:a@a.test"), vec![], vec![]),
        ] {
            let shown = Shown {
                status: 403,
                title: "Forbidden",
                heading: "No",
                detail: "No.".into(),
                hints,
                contact,
                facts,
            };
            page.fill(&shown).map_err(|error| wrong(&error))?;
        }
        Ok(page)
    }

    /// The Content-Security-Policy of the page.
    pub(super) fn content_security_policy(&self) -> HeaderValue {
        self.policy.clone()
    }

    pub(super) fn fill(&self, shown: &Shown<'_>) -> Result<String, minijinja::Error> {
        let safe = shown.contact.filter(|contact| is_link(contact));
        let mailbox = safe.and_then(|contact| contact.strip_prefix("mailto:"));
        let facts = shown
            .facts
            .iter()
            .map(|(name, value)| Value::from(vec![Value::from(*name), Value::from(&**value)]));
        self.templates.get_template(PAGE)?.render(context! {
            style => self.style.as_str(),
            status => shown.status,
            title => shown.title,
            heading => shown.heading,
            detail => shown.detail.as_str(),
            hints => shown.hints.clone(),
            contact => shown.contact,
            link => safe.is_some() && mailbox.is_none(),
            mailbox => mailbox.and_then(|mailbox| mailbox.split('?').next()),
            facts => facts.collect::<Vec<_>>(),
        })
    }
}

fn wrong(error: &minijinja::Error) -> TemplateError {
    let why = error
        .detail()
        .map_or_else(|| error.kind().to_string(), |detail| format!("{}: {detail}", error.kind()));
    TemplateError { line: error.line(), why }
}

/// What a template may show.
pub(super) struct Shown<'a> {
    pub(super) status: u16,
    pub(super) title: &'a str,
    pub(super) heading: &'a str,
    pub(super) detail: String,
    pub(super) hints: Vec<String>,
    pub(super) contact: Option<&'a str>,
    pub(super) facts: Vec<(&'static str, Cow<'a, str>)>,
}

/// The page that is used: the operator's own, or the one that ships with portcullis.
pub(super) fn page(own: Option<&Page>) -> Option<&Page> {
    own.or(BUILTIN.as_ref())
}

/// The page; none if it cannot be made.
pub(super) fn render(page: &Page, view: &View<'_>) -> Option<Bytes> {
    let mut facts = text::facts(view);
    // What the visitor is asked to quote stands first.
    facts.sort_by_key(|(name, _)| *name != text::REQUEST_ID);
    if let Some(path) = view.path {
        facts.push(("Path", percent_encoded(path)));
    }
    let shown = Shown {
        status: view.status.as_u16(),
        title: view.title,
        heading: heading(view),
        detail: view.detail().text(),
        hints: view.hints().iter().map(|hint| hint.text()).collect(),
        contact: view.rule.as_ref().and_then(|rule| rule.contact),
        facts,
    };
    let ours = BUILTIN.as_ref().is_some_and(|builtin| std::ptr::eq(builtin, page));
    let text = if ours { remembered::fill(page, &shown) } else { page.fill(&shown).ok() };
    text.map(Bytes::from)
}

/// What a visitor should understand first. Told by the status and the stage, which every level shows,
/// and by the reason where the level shows it.
fn heading(view: &View<'_>) -> &'static str {
    let reason = view.rule.as_ref().map(|rule| rule.reason);
    match view.status.as_u16() {
        401 => match reason {
            Some(Reason::TokenExpired) => "Your login has expired",
            Some(Reason::TokenNotYetValid) => "Your login is not valid yet",
            Some(Reason::TokenRevoked) => "Your login has been withdrawn",
            Some(Reason::PasswordWrong) => "User name or password is wrong",
            Some(
                Reason::TokenMalformed
                | Reason::TokenInvalid
                | Reason::KeyUnknown
                | Reason::SchemeUnknown
                | Reason::CredentialsConflict
                | Reason::SubjectInvalid,
            ) => "Your login was not accepted",
            _ => "You need to log in",
        },
        403 if view.stage == Stage::Ip => "This is not open to your network",
        403 if matches!(view.stage, Stage::Waf | Stage::WafBody) => "A security check stopped this request",
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
fn percent_encoded(path: &str) -> Cow<'_, str> {
    // `%` stays: what is encoded already was encoded by the client, or when the path was made canonical.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$()*+,;=:@/%".contains(&byte);
    if path.len() <= LONGEST_PATH && path.bytes().all(plain) {
        return Cow::Borrowed(path);
    }
    let mut shown = String::with_capacity(LONGEST_PATH + '…'.len_utf8());
    for byte in path.bytes() {
        let length = if plain(byte) { 1 } else { 3 };
        if shown.len() + length > LONGEST_PATH {
            shown.push('…');
            break;
        }
        if plain(byte) {
            shown.push(byte.into());
        } else {
            // Written into a string, which does not fail.
            let _ = write!(shown, "%{byte:02X}");
        }
    }
    Cow::Owned(shown)
}

const LONGEST_PATH: usize = 160;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_tried_before_it_is_used() {
        let wrong = |template: &str| {
            Page::new(template, "").map_or_else(|error| Some((error.line, error.why)), |_| None)
        };
        assert_eq!(wrong("<h1>{{ heading }}</h1>{% for fact in facts %}{{ fact[1] }}{% endfor %}"), None);
        for (template, line) in [
            ("a\n{{ headnig }}", Some(2)),
            ("{% if %}", Some(1)),
            ("a\n\n{% include \"other.html\" %}", Some(3)),
            ("{% if contact %}{{ contact.name.first }}{% endif %}", Some(1)),
        ] {
            let found = wrong(template).unwrap_or_else(|| panic!("{template} is taken"));
            assert_eq!(found.0, line, "{template}: {}", found.1);
        }
    }

    #[test]
    fn a_page_that_is_remembered_is_the_one_that_would_be_rendered() {
        let page = page(None).expect("a page");
        let shown = |contact, hint: &str, id: &str, path: &str| Shown {
            status: 403,
            title: "Forbidden",
            heading: "No",
            detail: "<No> & no.".into(),
            hints: if hint.is_empty() { vec![] } else { vec![hint.into()] },
            contact,
            facts: vec![("Request id", id.to_owned().into()), ("Path", path.to_owned().into())],
        };
        for contact in
            [None, Some(""), Some("https://a.test/?b=c&d"), Some("mailto:a@a.test"), Some("the desk")]
        {
            for hint in ["", "Ask \"them\".", "with \u{1} a mark"] {
                for (id, path) in [("1", "/a"), ("2", "/b'\"<&>"), ("\u{1}", "plain")] {
                    let shown = shown(contact, hint, id, path);
                    assert_eq!(
                        remembered::fill(page, &shown),
                        page.fill(&shown).ok(),
                        "{contact:?} {hint} {id}"
                    );
                }
            }
        }
        // Five contacts and three hints, of which one has the mark in it.
        assert_eq!(remembered::known(), 5 * 2);
        // Beyond what is kept, too.
        for number in 0..200 {
            let shown = shown(None, &number.to_string(), "1", "/");
            assert_eq!(remembered::fill(page, &shown), page.fill(&shown).ok());
        }
    }

    #[test]
    fn the_page_that_ships_is_one() {
        assert!(page(None).is_some());
    }

    #[test]
    fn a_path_is_shown_encoded_and_cut() {
        assert_eq!(percent_encoded("/a%20b/é\"<x>'&"), "/a%20b/%C3%A9%22%3Cx%3E%27%26");
        let path = "/é".repeat(100);
        let long = percent_encoded(&path);
        assert!(long.ends_with('…') && long.len() <= LONGEST_PATH + '…'.len_utf8(), "{long}");
    }
}
