//! `[response_headers]` and `[page]` as written.

use std::sync::Arc;

use super::html::STYLE;
use super::{Page, ResponseHeaders};
use crate::policy::code::Code;
use crate::policy::decode::{FilePath, table};
use crate::policy::diagnostic::{At, Diagnostics, FileId, Place};
use crate::policy::source::{Attached, Sources};

table! {
    /// `[page]`: the page that people in browsers get with a refusal, instead of the one that ships with portcullis.
    pub struct RawPage as "[page]" {
        /// A template in the manner of Jinja. It may use `status`, `title`, `heading`, `detail`, `hints`, `contact`,
        /// `link`, `mailbox`, `facts` and, inside `<style>`, `style|safe`; nothing else is loaded by the page.
        req template: At<FilePath>,
        /// The style sheet that stands for `style`; the one that ships with portcullis unless given.
        opt style: At<FilePath>,
    }
}

/// The operator's own page, if its files can be used.
pub fn page(raw: &RawPage, sources: &Sources, diagnostics: &mut Diagnostics) -> Option<Arc<Page>> {
    let (file, template) = text(&raw.template, sources, diagnostics)?;
    let style = match &raw.style {
        Some(style) => text(style, sources, diagnostics)?.1,
        None => STYLE.into(),
    };
    match Page::new(&template, &style) {
        Ok(page) => Some(Arc::new(page)),
        Err(error) => {
            let line = error.line.unwrap_or(1).saturating_sub(1);
            let start = template.split_inclusive('\n').take(line).map(str::len).sum::<usize>();
            let end = start + template.get(start..).unwrap_or("").lines().next().map_or(0, str::len);
            let place = Place { file, start: start as u32, end: end as u32 };
            diagnostics
                .push(Code::BadValue, place, format!("this template cannot be used: {}", error.why))
                .help("the variables are status, title, heading, detail, hints, contact, link, mailbox, facts, style");
            None
        }
    }
}

fn text(file: &At<FilePath>, sources: &Sources, diagnostics: &mut Diagnostics) -> Option<(FileId, Arc<str>)> {
    let why = match sources.attached(file.place.file, &file.value.0) {
        Some(Attached::Text(id)) => {
            let text =
                sources.get(*id).map(|source| source.text.clone()).filter(|text| !text.trim().is_empty());
            match text {
                Some(text) => return Some((*id, text)),
                None => "it is empty",
            }
        }
        Some(Attached::Unreadable(why)) => why,
        Some(Attached::Absent) | None => "there is no such file",
    };
    diagnostics.push(Code::File, file.place, format!("`{}` cannot be used: {why}", file.value.0));
    None
}

table! {
    /// `[response_headers]`: which of our headers answers carry, as far as the caller's disclosure level allows them.
    pub struct RawResponseHeaders as "[response_headers]" {
        /// `x-portcullis-decision`; default true.
        opt decision: bool,
        /// `x-portcullis-rule`; default true.
        opt rule: bool,
        /// `x-portcullis-reason`; default true.
        opt reason: bool,
        /// `x-portcullis-policy`; default true.
        opt policy: bool,
        /// `x-portcullis-shadow`; default true.
        opt shadow: bool,
        /// `proxy-status` (RFC 9209); default true.
        opt proxy_status: bool,
    }
}

impl From<&RawResponseHeaders> for ResponseHeaders {
    fn from(raw: &RawResponseHeaders) -> ResponseHeaders {
        let default = ResponseHeaders::default();
        ResponseHeaders {
            decision: raw.decision.unwrap_or(default.decision),
            rule: raw.rule.unwrap_or(default.rule),
            reason: raw.reason.unwrap_or(default.reason),
            policy: raw.policy.unwrap_or(default.policy),
            shadow: raw.shadow.unwrap_or(default.shadow),
            proxy_status: raw.proxy_status.unwrap_or(default.proxy_status),
        }
    }
}
