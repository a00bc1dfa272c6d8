//! Facts → values: the texts of a request's head.

use std::io::Write;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, header};

use super::body::form;
use super::sight::{Sight, View};
use super::targets::Collection;
use super::values::Values;
use crate::facts::Facts;

/// Which texts of the head a gate needs.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    collections: Vec<Collection>,
    /// The header fields that any gate looks at; `None`: all of them.
    headers: Option<Arc<[HeaderName]>>,
}

impl Wanted {
    /// What the units of a gate look at. `headers`: what all gates together look at.
    pub(super) fn new(sight: &Sight, headers: Option<Arc<[HeaderName]>>) -> Wanted {
        let touched = |collection: &Collection| sight.views().iter().any(|view| view.touches(*collection));
        let head = Collection::ALL.iter().copied().filter(|collection| !collection.in_body());
        Wanted { collections: head.filter(touched).collect(), headers }
    }

    /// The header fields that any of these views looks at; `None`: all of them.
    pub(super) fn header_names<'a>(views: impl Iterator<Item = &'a View>) -> Option<Arc<[HeaderName]>> {
        let mut names: Vec<HeaderName> = Vec::new();
        for view in views {
            // What is no field name is in no request.
            names.extend(
                view.names(Collection::Header)?
                    .into_iter()
                    .filter_map(|name| HeaderName::from_bytes(name).ok()),
            );
        }
        names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        Some(names.into())
    }

    /// Adds what is wanted and not there yet. `has` remembers what was added.
    pub(super) fn collect(&self, facts: &Facts<'_>, has: &mut Vec<Collection>, values: &mut Values) {
        if has.is_empty() && !self.collections.is_empty() {
            values.reserve();
        }
        for collection in &self.collections {
            if has.contains(collection) {
                continue;
            }
            has.push(*collection);
            self.add(*collection, facts, values);
        }
    }

    fn add(&self, collection: Collection, facts: &Facts<'_>, values: &mut Values) {
        let target = facts.target;
        match collection {
            Collection::Method => values.single(collection, target.method.as_str().as_bytes()),
            Collection::Line => {
                let line = [target.method.as_str(), " ", target.path_and_query().as_str()];
                values.single(collection, line.concat().as_bytes());
            }
            Collection::Path => values.single(collection, target.decoded_path().as_bytes()),
            Collection::Client => {
                let mut text = Vec::new();
                // Writing into a vector cannot fail.
                let _ = write!(text, "{}", facts.client.ip);
                values.single(collection, &text);
            }
            Collection::Query => {
                if let Some(query) = target.query() {
                    form::split(query.as_bytes(), collection, usize::MAX, values);
                }
            }
            Collection::Cookie => cookies(facts, values),
            Collection::Header => self.headers(facts, values),
            Collection::Form | Collection::Json | Collection::Xml | Collection::File | Collection::Body => {}
            // SecLang's own, which its engine fills in.
            Collection::RequestLine
            | Collection::Uri
            | Collection::UriRaw
            | Collection::Basename
            | Collection::Protocol
            | Collection::QueryString
            | Collection::PartHeader
            | Collection::ResponseHeader
            | Collection::ResponseBody => {}
        }
    }

    fn headers(&self, facts: &Facts<'_>, values: &mut Values) {
        let mut add = |name: &HeaderName, value: &HeaderValue, named: bool| {
            let (name, value) = (values.put(name.as_str().as_bytes()), values.put(value.as_bytes()));
            match named {
                true => values.value(Collection::Header, name, value),
                false => values.member(Collection::Header, name, value),
            }
        };
        match &self.headers {
            None => facts.headers.iter().for_each(|(name, value)| add(name, value, false)),
            Some(names) => {
                for name in names.iter() {
                    facts.headers.get_all(name).iter().for_each(|value| add(name, value, true));
                }
            }
        }
    }
}

/// Cookies end at `;` and nowhere else; blanks before a name do not belong to it. Values are as they came.
pub(super) fn cookies(facts: &Facts<'_>, values: &mut Values) {
    for field in facts.headers.get_all(header::COOKIE) {
        for pair in field.as_bytes().split(|byte| *byte == b';') {
            let pair = pair.trim_ascii_start();
            if pair.is_empty() {
                continue;
            }
            let split = memchr::memchr(b'=', pair);
            let (name, value) = split.map_or((pair, &[][..]), |at| (&pair[..at], &pair[at + 1..]));
            let (name, value) = (values.put(name), values.put(value));
            values.member(Collection::Cookie, name, value);
        }
    }
}
