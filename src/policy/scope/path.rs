//! Path patterns: literal segments, `{name}` for one segment, `{*rest}` for all that follow.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use smallvec::SmallVec;

use crate::policy::decode::{Decode, Node, bad_value};
use crate::policy::diagnostic::Diagnostics;

/// A path pattern, compared segment by segment with decoded paths. Case matters; a single trailing
/// slash does not distinguish.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PathPattern {
    segments: Vec<Segment>,
    rest: Option<Box<str>>,
}

/// One segment of a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Segment {
    /// This text.
    Literal(Box<str>),
    /// Any one segment, by this name in conditions (`path.name`).
    Any(Box<str>),
}

impl PathPattern {
    /// Reads a pattern, or says what is wrong with it.
    pub fn parse(text: &str) -> Result<PathPattern, &'static str> {
        let rest_of = text.strip_prefix('/').ok_or("a path pattern begins with `/`")?;
        let body = rest_of.strip_suffix('/').unwrap_or(rest_of);
        let count = body.bytes().filter(|byte| *byte == b'/').count() + 1;
        let mut pattern = PathPattern { segments: Vec::with_capacity(count.min(MAX_SEGMENTS)), rest: None };
        let mut names: SmallVec<[&str; MAX_NAMES]> = SmallVec::new();
        for part in body.split('/').filter(|_| !body.is_empty()) {
            if pattern.rest.is_some() {
                return Err("`{*rest}` stands last");
            }
            let name = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
            let name_only = name.map(|name| name.strip_prefix('*').unwrap_or(name));
            if let Some(name) = name_only {
                if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                    return Err("a name in braces consists of letters, digits and `_`");
                }
                if names.contains(&name) {
                    return Err("a name stands twice in this pattern");
                }
                names.push(name);
            }
            match name {
                Some(name) if name.starts_with('*') => pattern.rest = Some(name[1..].into()),
                Some(name) => pattern.segments.push(Segment::Any(name.into())),
                None => pattern.segments.push(literal(part)?),
            }
        }
        if pattern.segments.len() > MAX_SEGMENTS {
            return Err("a pattern has at most 64 segments");
        }
        if pattern.segments.iter().filter(|segment| matches!(segment, Segment::Any(_))).count() > MAX_NAMES {
            return Err("a pattern has at most 8 `{name}` segments");
        }
        Ok(pattern)
    }

    /// The segments before the rest.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The name of `{*rest}`, if the pattern ends in it.
    pub fn rest(&self) -> Option<&str> {
        self.rest.as_deref()
    }

    /// The pattern with its texts in small letters.
    pub fn folded(&self) -> PathPattern {
        let fold = |segment: &Segment| match segment {
            Segment::Literal(text) => Segment::Literal(text.to_lowercase().into()),
            Segment::Any(name) => Segment::Any(name.clone()),
        };
        PathPattern { segments: self.segments.iter().map(fold).collect(), rest: self.rest.clone() }
    }

    /// The pattern with the texts of another that it is alike with, as far as that has some.
    pub fn spelled_like(&self, other: &PathPattern) -> PathPattern {
        let theirs = other.segments.iter().map(Some).chain(std::iter::repeat(None));
        let spell = |(mine, theirs): (&Segment, Option<&Segment>)| match theirs {
            Some(text @ Segment::Literal(_)) => text.clone(),
            _ => mine.clone(),
        };
        if self.segments.len() < other.segments.len() {
            return other.clone();
        }
        PathPattern {
            segments: self.segments.iter().zip(theirs).map(spell).collect(),
            rest: self.rest.clone(),
        }
    }

    /// Whether decoded segments match. `{*rest}` matches nothing too: `/a/{*rest}` covers `/a`.
    pub fn matches<'a>(&self, mut path: impl ExactSizeIterator<Item = &'a str>) -> bool {
        let enough = match self.rest {
            Some(_) => path.len() >= self.segments.len(),
            None => path.len() == self.segments.len(),
        };
        enough
            && self.segments.iter().all(|segment| match (segment, path.next()) {
                (Segment::Any(_), Some(_)) => true,
                (Segment::Literal(text), Some(part)) => &**text == part,
                (_, None) => false,
            })
    }

    /// The segment that a name stands for, by its place.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.segments.iter().position(|segment| matches!(segment, Segment::Any(any) if &**any == name))
    }
}

fn literal(part: &str) -> Result<Segment, &'static str> {
    match part {
        "" => Err("a pattern has no empty segments"),
        "." | ".." => Err("a pattern has no dot segments: requests are judged after resolving them"),
        _ if part.contains(['{', '}']) => Err("braces enclose a whole segment: `/a/{name}`"),
        _ if part.contains('*') => Err("`*` stands only in `{*rest}`"),
        _ if part.chars().any(char::is_control) => Err("a pattern has no control characters"),
        _ if part.contains('?') || part.contains('#') => {
            Err("a pattern is a path, without query or fragment")
        }
        _ => Ok(Segment::Literal(part.into())),
    }
}

/// More would be a typing error. A shape counts its segments in a byte.
const MAX_SEGMENTS: usize = 64;

/// Bounds the look-up: each name may double the groups of patterns that are looked through.
pub(super) const MAX_NAMES: usize = 8;

impl std::fmt::Display for PathPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for segment in &self.segments {
            match segment {
                Segment::Literal(text) => write!(f, "/{text}")?,
                Segment::Any(name) => write!(f, "/{{{name}}}")?,
            }
        }
        match &self.rest {
            Some(name) => write!(f, "/{{*{name}}}"),
            None if self.segments.is_empty() => f.write_str("/"),
            None => Ok(()),
        }
    }
}

impl Decode for PathPattern {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = node.string("a path", diagnostics)?;
        match PathPattern::parse(text) {
            Ok(pattern) => Some(pattern),
            Err(why) => {
                let help = "write patterns decoded: \"/orders/{id}\", \"/static/{*rest}\"";
                bad_value(node, format!("`{text}` is not a path pattern: {why}"), help, diagnostics);
                None
            }
        }
    }
}

impl JsonSchema for PathPattern {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "PathPattern".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^/", "examples": ["/orders/{id}", "/static/{*rest}"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, path: &str, want: bool) {
        let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let got = PathPattern::parse(pattern).map(|pattern| pattern.matches(segments.iter().copied()));
        assert_eq!(got, Ok(want), "{pattern} on {path}");
    }

    #[test]
    fn a_rest_covers_its_own_root_and_all_below() {
        check("/a/{*rest}", "/a", true);
        check("/a/{*rest}", "/a/b/c", true);
        check("/a/{*rest}", "/ab", false);
        check("/{*rest}", "/", true);
    }

    #[test]
    fn a_name_is_exactly_one_segment() {
        check("/a/{id}", "/a/1", true);
        check("/a/{id}", "/a", false);
        check("/a/{id}", "/a/1/2", false);
        check("/a/", "/a", true);
        check("/", "/", true);
        check("/", "/a", false);
        check("/A", "/a", false);
    }

    #[test]
    fn what_is_no_pattern_says_why() {
        for text in [
            "a", "", "//a", "/a//b", "/../a", "/{", "/{}", "/{*}", "/{*a}/b", "/{a}/{a}", "/a{b}", "/*",
            "/a?b",
        ] {
            assert!(PathPattern::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_pattern_is_shown_as_it_is_written() {
        for text in ["/", "/a/{b}/{*c}", "/{*rest}"] {
            assert_eq!(PathPattern::parse(text).map(|pattern| pattern.to_string()).as_deref(), Ok(text));
        }
    }
}
