//! Host patterns: exact, or everything below a name.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::facts::Authority;
use crate::policy::decode::{Decode, Node, bad_value};
use crate::policy::diagnostic::Diagnostics;

/// A host pattern. Compared in lower case, without port and trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// This host.
    Exact(Box<str>),
    /// Every host that ends in this suffix, which begins with a dot: `.example.com`.
    Below(Box<str>),
}

impl HostPattern {
    /// Reads a pattern: `api.example.com`, `*.example.com`.
    pub fn parse(text: &str) -> Option<HostPattern> {
        let (wildcard, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        let authority = Authority::parse_str(name).ok().filter(|authority| authority.port().is_none())?;
        let host = authority.host();
        match wildcard {
            true if host.starts_with('[') => None,
            true => Some(HostPattern::Below(format!(".{host}").into())),
            false => Some(HostPattern::Exact(host.into())),
        }
    }

    /// The host, or the suffix with its dot.
    pub fn text(&self) -> &str {
        match self {
            HostPattern::Exact(text) | HostPattern::Below(text) => text,
        }
    }

    /// Whether a canonical host matches.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            HostPattern::Exact(name) => host == &**name,
            HostPattern::Below(suffix) => host.len() > suffix.len() && host.ends_with(&**suffix),
        }
    }
}

impl std::fmt::Display for HostPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            HostPattern::Exact(name) => f.write_str(name),
            HostPattern::Below(suffix) => write!(f, "*{suffix}"),
        }
    }
}

impl Decode for HostPattern {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = node.string("a host", diagnostics)?;
        let pattern = HostPattern::parse(text);
        if pattern.is_none() {
            let help = "write a host name without scheme, port or path, or `*.` and a host name";
            bad_value(node, format!("`{text}` is not a host"), help, diagnostics);
        }
        pattern
    }
}

impl JsonSchema for HostPattern {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Host".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["api.example.com", "*.example.com"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_covers_every_depth_below_but_not_the_name_itself() {
        let Some(below) = HostPattern::parse("*.Example.com") else { panic!("a pattern") };
        assert!(below.matches("a.example.com") && below.matches("a.b.example.com"));
        assert!(
            !below.matches("example.com")
                && !below.matches("badexample.com")
                && !below.matches(".example.com")
        );
    }

    #[test]
    fn scheme_port_and_inner_stars_are_refused() {
        for text in ["http://a", "a:80", "a.*.b", "*", "*.", "a/b", ""] {
            assert_eq!(HostPattern::parse(text), None, "{text}");
        }
    }
}
