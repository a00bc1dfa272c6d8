//! The page on `/`: what an operator needs who was called about a refusal.
//!
//! Rendered here, from templates that are part of the program, with one style sheet and one script of
//! its own; nothing is fetched from anywhere else. Without the script everything can still be read, on
//! loopback; elsewhere the script shows the token that reading needs.
//! Texts of requests and of people are escaped by the templates: markup, and what would turn round or
//! hide the text beside it ([`shown`]).

mod charts;
mod decisions;
pub(super) mod history;
mod judged;
pub(super) mod one;
mod triage;
mod what_if;

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, HtmlEscape, Output, State, UndefinedBehavior, escape_formatter};
use serde::Serialize;
use serde_json::json;

use super::answer::{Answer, CHALLENGE, NEEDS_PLACE, asset, html, unauthorized};
use super::{AdminState, bans, rules, status, verbose};
use crate::deny::escape_for_terminal;
use crate::state::{AddressLine, KeyLine, RuleLine};

/// A page, or a file that pages refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page<'a> {
    Decisions,
    /// The plots and counts of the first page, for the script that renews them.
    Overview,
    One(&'a str),
    WhatIf,
    Rules,
    Triage,
    Bans,
    Upstreams,
    History,
    Style,
    Script,
    Icon,
}

/// The page at a path.
pub(super) fn find(path: &str) -> Option<Page<'_>> {
    Some(match path {
        "/" => Page::Decisions,
        "/overview" => Page::Overview,
        "/what-if" => Page::WhatIf,
        "/rules" => Page::Rules,
        "/waf" => Page::Triage,
        "/bans" => Page::Bans,
        "/upstreams" => Page::Upstreams,
        "/history" => Page::History,
        "/assets/page.css" => Page::Style,
        "/assets/page.js" => Page::Script,
        // Some browsers ask for the second one, whatever the page says.
        "/assets/icon.svg" | "/favicon.ico" => Page::Icon,
        _ => {
            return path
                .strip_prefix("/decisions/")
                .filter(|id| !id.is_empty() && !id.contains('/'))
                .map(Page::One);
        }
    })
}

/// A page for somebody who may not read it: a browser asks its user for the token.
pub(super) fn locked(headers: &HeaderMap) -> Answer {
    let accept = headers.get_all(header::ACCEPT).iter();
    let browser = accept.filter_map(|accept| accept.to_str().ok()).any(|accept| accept.contains("text/html"));
    if !browser {
        return unauthorized(NEEDS_PLACE);
    }
    let mut answer = html(StatusCode::UNAUTHORIZED, include_str!("files/unlock.html").to_owned());
    answer.headers_mut().insert(header::WWW_AUTHENTICATE, CHALLENGE);
    answer
}

impl Page<'_> {
    /// Whether it is a file of the program, which says nothing about this gateway.
    pub(super) fn is_file(&self) -> bool {
        matches!(self, Page::Style | Page::Script | Page::Icon)
    }

    /// Renders it.
    pub(super) async fn answer(self, state: &Arc<AdminState>, query: &str) -> Answer {
        match self {
            Page::Decisions => decisions::page(state, query),
            Page::Overview => render(StatusCode::OK, "overview.html", &decisions::overview(state)),
            Page::One(id) => one::page(state, id, query).await,
            Page::WhatIf => what_if::page(state, query).await,
            Page::Rules => whole(state, "rules.html", "/rules", &rules::document(state)),
            Page::Triage => whole(state, "triage.html", "/waf", &triage::document(state)),
            Page::Bans => whole(state, "bans.html", "/bans", &json!({ "bans": bans::shown(state) })),
            Page::Upstreams => whole(state, "upstreams.html", "/upstreams", &status::status(state)),
            Page::History => whole(state, "history.html", "/history", &history::document(state)),
            Page::Style => asset("text/css; charset=utf-8", include_str!("files/page.css")),
            Page::Script => asset("text/javascript; charset=utf-8", include_str!("files/page.js")),
            Page::Icon => asset("image/svg+xml", include_str!("files/icon.svg")),
        }
    }
}

/// A page with everything around it.
fn whole(state: &AdminState, template: &str, here: &str, content: &impl Serialize) -> Answer {
    framed(state, StatusCode::OK, template, here, content)
}

fn framed(
    state: &AdminState,
    status: StatusCode,
    template: &str,
    here: &str,
    content: &impl Serialize,
) -> Answer {
    let frame = json!({
        "here": here,
        "status": status::status(state),
        "verbose": verbose::shown(state),
        "log_is_on": state.log_is_on,
        "jump": history::jump(state),
        "now": Timestamp::now(),
        "page": content,
    });
    render(status, template, &frame)
}

/// The answer that a template makes. One that cannot be filled is a failure, to programs as well.
fn render(status: StatusCode, template: &str, content: &impl Serialize) -> Answer {
    let filled =
        TEMPLATES.get_template(template).and_then(|template| template.render(Value::from(Serde(content))));
    match filled {
        Ok(text) => html(status, text),
        Err(error) => {
            tracing::error!(%error, template, "a page could not be rendered");
            html(StatusCode::INTERNAL_SERVER_ERROR, FAILED.to_owned())
        }
    }
}

const FAILED: &str = "<!doctype html><html lang=\"en\"><title>portcullis</title><p>This page could not be rendered; see the log. <a href=\"/\">Recent decisions</a>\n";

static TEMPLATES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    match SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build() {
        Ok(syntax) => environment.set_syntax(syntax),
        Err(error) => tracing::error!(%error, "the templates of pages cannot be used"),
    }
    environment.set_formatter(shown);
    environment.add_filter("lines", lines);
    environment.add_filter("field", field);
    environment.add_filter("prose", prose);
    environment.add_filter("clock", clock);
    environment.add_filter("day", day);
    environment.add_filter("percent", percent);
    environment.add_filter("grouped", grouped);
    environment.add_filter("through", through);
    environment.add_filter("came_and_went", came_and_went);
    environment.add_filter("became", became);
    for (name, text) in FILES {
        if let Err(error) = environment.add_template(name, text) {
            tracing::error!(%error, name, "a page's template cannot be used");
        }
    }
    environment
});

const FILES: [(&str, &str); 11] = [
    ("frame.html", include_str!("files/frame.html")),
    ("parts.html", include_str!("files/parts.html")),
    ("decisions.html", include_str!("files/decisions.html")),
    ("overview.html", include_str!("files/overview.html")),
    ("one.html", include_str!("files/one.html")),
    ("what_if.html", include_str!("files/what_if.html")),
    ("rules.html", include_str!("files/rules.html")),
    ("triage.html", include_str!("files/triage.html")),
    ("bans.html", include_str!("files/bans.html")),
    ("upstreams.html", include_str!("files/upstreams.html")),
    ("history.html", include_str!("files/history.html")),
];

/// Writes a value into a page: characters that act on the text around them, or hide in it, are written
/// as `\u{…}`, so that nobody who sends a request decides how the page reads. One line stays one line.
fn shown(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), minijinja::Error> {
    let clean = match value.as_str() {
        Some(text) if !value.is_safe() => match escape_for_terminal(text) {
            Cow::Borrowed(_) => None,
            Cow::Owned(clean) => Some(Value::from(clean)),
        },
        _ => None,
    };
    escape_formatter(out, state, clean.as_ref().unwrap_or(value))
}

/// A text of several lines, each as [`shown`] writes it.
fn lines(text: &str) -> Value {
    let lines = text.split('\n').map(|line| {
        let line = line.replace('\t', "    ");
        HtmlEscape(&escape_for_terminal(&line)).to_string()
    });
    Value::from_safe_string(lines.collect::<Vec<_>>().join("\n"))
}

/// A sentence of ours: begun with a capital, ended with a full stop, and what stands in backticks as code.
fn prose(text: &str) -> Value {
    let mut out = String::new();
    for (number, part) in text.split('`').enumerate() {
        let mut part = part.to_owned();
        if number == 0 {
            let mut letters = part.chars();
            part = letters.next().map(|c| c.to_uppercase().chain(letters).collect()).unwrap_or_default();
        }
        let part = HtmlEscape(&escape_for_terminal(&part)).to_string();
        match number % 2 {
            1 => out.extend(["<code>", &part, "</code>"]),
            _ => out.push_str(&part),
        }
    }
    if !text.ends_with(['.', '?', '!', ':']) {
        out.push('.');
    }
    Value::from_safe_string(out)
}

/// The text of a field that is sent back as it is, so that nothing in it may be written otherwise.
fn field(text: &Value) -> Value {
    Value::from_safe_string(HtmlEscape(text.as_str().unwrap_or("")).to_string())
}

/// What a rule of a difference changed by, where that is more than its own text.
fn through(rule: Serde<RuleLine>) -> String {
    rule.through().join(" and ")
}

/// Which addresses came into a list of a difference, and which went.
fn came_and_went(line: Serde<AddressLine>) -> String {
    line.words()
}

/// What became of a key of a rule or definition.
fn became(line: Serde<KeyLine>) -> String {
    line.words()
}

/// `09:12:03` of a time.
fn clock(time: &str) -> String {
    time.get(11..19).unwrap_or(time).to_owned()
}

/// `2026-11-24 09:12:03` of a time.
fn day(time: &str) -> String {
    time.get(..19).unwrap_or(time).replace('T', " ")
}

/// `12.5 %` of a share.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        0.0 => "0 %".to_owned(),
        percent if percent < 0.1 => "< 0.1 %".to_owned(),
        percent if percent < 10.0 => format!("{percent:.1} %"),
        percent => format!("{percent:.0} %"),
    }
}

/// `1 234 567`, with narrow blanks.
fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::from(if number < 0 { "−" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// The text of a member, if it is one.
fn member<'a>(value: &'a serde_json::Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_can_be_used() {
        for (name, _) in FILES {
            assert!(TEMPLATES.get_template(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_page_that_cannot_be_filled_is_a_failure() {
        let broken = json!({ "page": { "rules": [{ "rule": "rbac/a", "text": 7 }] } });
        assert_eq!(render(StatusCode::OK, "rules.html", &broken).status(), StatusCode::INTERNAL_SERVER_ERROR);
    }

    #[test]
    fn nothing_that_comes_from_requests_or_people_decides_how_a_page_reads() {
        let rendered = |template: &str| {
            let values = json!({ "bad": "<b>\u{202e}x\ny\u{200b}</b>", "list": ["\u{2066}a", "b"] });
            TEMPLATES.render_str(template, Value::from(Serde(&values))).unwrap()
        };
        assert_eq!(rendered("{{ bad }}"), "&lt;b&gt;\\u{202e}x\\u{a}y\\u{200b}&lt;&#x2f;b&gt;");
        assert_eq!(rendered("{{ bad | lines }}"), "&lt;b&gt;\\u{202e}x\ny\\u{200b}&lt;&#x2f;b&gt;");
        assert_eq!(rendered("{{ list | join(\", \") }}"), "\\u{2066}a, b");
        assert_eq!(rendered("{% macro m(v) %}{{ v }}{% endmacro %}{{ m(bad) }}"), rendered("{{ bad }}"));
        // What a form sends back is what was written into it.
        assert_eq!(rendered("{{ bad | field }}"), "&lt;b&gt;\u{202e}x\ny\u{200b}&lt;&#x2f;b&gt;");
        assert_eq!(rendered("{{ nothing.there | field }}"), "");
    }

    #[test]
    fn sentences_of_ours_read_well() {
        assert_eq!(prose("read `a<b`, then go").to_string(), "Read <code>a&lt;b</code>, then go.");
        assert_eq!(prose("`x` is it.").to_string(), "<code>x</code> is it.");
    }

    #[test]
    fn numbers_and_times_read_well() {
        assert_eq!(
            (grouped(1_234_567), grouped(-12), grouped(999)),
            ("1\u{202f}234\u{202f}567".into(), "−12".into(), "999".into())
        );
        assert_eq!(clock("2026-11-24T09:12:03.000001Z"), "09:12:03");
        assert_eq!(day("2026-11-24T09:12:03Z"), "2026-11-24 09:12:03");
        let percents = [0.0, 0.0004, 0.034, 0.5].map(percent);
        assert_eq!(percents, ["0 %", "< 0.1 %", "3.4 %", "50 %"]);
    }
}
