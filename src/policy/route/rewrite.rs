//! A path prefix taken off or put on before a request is forwarded.
//!
//! What is judged stays what the client asked for. What is forwarded is made of its canonical form,
//! by whole segments, before the first gate is asked, and must be canonical again; a path that is not
//! (`/api//x` without `/api` would name a host) is refused by the intake gate. So nothing that any
//! gate has not seen can come out of it.

use std::borrow::Cow;

use http::uri::PathAndQuery;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::raw::RawRoute;
use crate::decision::Builtin;
use crate::facts::{Irregular, Path, Slashes, Target};
use crate::policy::code::Code;
use crate::policy::decode::{Decode, Node, bad_value};
use crate::policy::diagnostic::Diagnostics;
use crate::policy::scope::Segment;

/// A path prefix as written: canonical, without wildcards and without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix {
    canonical: Box<str>,
    /// Decoded, as patterns are written.
    segments: Vec<Box<str>>,
}

/// What becomes of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// What is taken off; may be empty.
    pub stripped: Box<str>,
    /// How many segments that is.
    segments: usize,
    /// What is put on; may be empty.
    added: Box<str>,
}

impl Rewrite {
    /// The rewriting that a route asks for, if it does.
    pub(super) fn new(raw: &RawRoute, diagnostics: &mut Diagnostics) -> Option<Rewrite> {
        if raw.strip_prefix.is_none() && raw.add_prefix.is_none() {
            return None;
        }
        let strip = raw.strip_prefix.as_ref();
        if let Some(strip) = strip {
            let path = raw.path.value.segments();
            let own = strip.value.segments.iter();
            let begins = path.len() >= strip.value.segments.len()
                && path
                    .iter()
                    .zip(own)
                    .all(|(segment, own)| matches!(segment, Segment::Literal(text) if text == own));
            if !begins {
                diagnostics
                    .push(
                        Code::Conflict,
                        strip.place,
                        format!("the path `{}` of this route does not begin with it", raw.path.value),
                    )
                    .help("`strip_prefix` takes off what every path of the route begins with");
            }
        }
        let text = |prefix: Option<&Prefix>| prefix.map_or("", |prefix| &prefix.canonical).into();
        Some(Rewrite {
            stripped: text(strip.map(|strip| &strip.value)),
            segments: strip.map_or(0, |strip| strip.value.segments.len()),
            added: text(raw.add_prefix.as_ref().map(|add| &add.value)),
        })
    }

    /// What is forwarded for a target that the route serves, or the rule that refuses it.
    pub(super) fn apply(&self, target: &Target) -> Result<PathAndQuery, Builtin> {
        let path = target.path();
        let rest = path.match_indices('/').nth(self.segments).map_or("", |(at, _)| &path[at..]);
        let mut text = String::with_capacity(self.added.len() + target.path_and_query().as_str().len());
        text.push_str(&self.added);
        text.push_str(rest);
        if text.is_empty() {
            text.push('/');
        }
        let canonical = matches!(Path::parse(&text, Slashes::Keep), Ok((_, None)));
        // What begins with two slashes is a host to whoever reads a reference (RFC 3986 section 4.2).
        if !canonical || text.starts_with("//") {
            return Err(Builtin::BadTarget);
        }
        if let Some(query) = target.query() {
            text.push('?');
            text.push_str(query);
        }
        PathAndQuery::try_from(text).map_err(|_| Builtin::BadTarget)
    }
}

impl Prefix {
    fn parse(text: &str) -> Result<Prefix, &'static str> {
        if text.contains(['{', '}', '*']) {
            return Err("a prefix has no wildcards");
        }
        if text.contains(['?', '#']) {
            return Err("a prefix is a path, without query or fragment");
        }
        let plain = Path::parse(text, Slashes::Keep);
        let (path, rewritten) = plain.map_err(|_| "it is not a path that a request could have")?;
        let canonical = rewritten.as_deref().unwrap_or(text);
        if path.irregular() != Irregular::default() {
            return Err("a prefix has no `\\`, `;`, encoded or empty segments");
        }
        if text.split('/').any(|part| matches!(part, "." | "..")) {
            return Err("a prefix has no dot segments");
        }
        let segments: Vec<Box<str>> = path.segments(canonical).map(Box::from).collect();
        if segments.is_empty() {
            return Err("a prefix has at least one segment; leave the key out for none");
        }
        let canonical = canonical.strip_suffix('/').unwrap_or(canonical).into();
        Ok(Prefix { canonical, segments })
    }
}

impl Decode for Prefix {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = node.string("a path", diagnostics)?;
        match Prefix::parse(text) {
            Ok(prefix) => Some(prefix),
            Err(why) => {
                bad_value(node, format!("`{text}` is no prefix: {why}"), "write \"/api\"", diagnostics);
                None
            }
        }
    }
}

impl JsonSchema for Prefix {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Prefix".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^/", "examples": ["/api"] })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::TestCaseError;

    use crate::decision::Stage;
    use crate::facts::{Path, Slashes};
    use crate::policy::fixture::{ask, policy, problems};

    fn route(keys: &str) -> String {
        format!(
            "[[route]]\nid = \"a\"\npath = \"/api/v1/{{*rest}}\"\nupstream = \"up\"\naccept = [\"double-slash\", \"encoded-slash\"]\n{keys}\n"
        )
    }

    #[track_caller]
    fn check(keys: &str, path: &str, want: &str) {
        let policy = policy(&route(keys));
        let ask = ask("GET", path);
        let said = ask.verdict(&policy, Stage::Intake);
        let forwarded = ask.with(&policy, |facts| facts.target.forwarded().to_string());
        assert_eq!(if said == "pass intake/clean" { forwarded } else { said }, want, "{path} with {keys}");
    }

    #[test]
    fn whole_segments_are_taken_off_and_put_on() {
        let strip = "strip_prefix = \"/api/\"";
        check(strip, "/api/v1/x/?q=/api/v1", "/v1/x/?q=/api/v1");
        check(strip, "/api/v1", "/v1");
        check("strip_prefix = \"/api/v1\"", "/api/v1", "/");
        check("strip_prefix = \"/api/v1\"", "/api/v1/", "/");
        check("strip_prefix = \"/%61pi/v1\"\nadd_prefix = \"/b%20c\"", "/%61pi/./v1", "/b%20c");
        check("add_prefix = \"/v2\"", "/api/v1/a%2Fb", "/v2/api/v1/a%2Fb");
        check("strip_prefix = \"/api/v1\"\nadd_prefix = \"/x\"", "/api/v1/y//z", "/x/y//z");
    }

    #[test]
    fn what_would_be_another_target_is_refused() {
        let refused = "deny intake/bad-target bad_target";
        check("strip_prefix = \"/api/v1\"", "/api/v1//evil.test/x", refused);
        check("strip_prefix = \"/api/v1\"\nadd_prefix = \"/x\"", "/api/v1//y", "/x//y");
        check("strip_prefix = \"/api/v1\"", "/api/v1/%2e%2e/admin", "/api/admin");
    }

    proptest! {
        /// Whatever is let through comes out canonical, with the segments that were judged behind the
        /// prefix, and with nothing that names a host.
        #[test]
        fn what_is_forwarded_is_what_was_judged_without_its_prefix(
            parts in prop::collection::vec(
                prop::sample::select(vec!["/", "a", ".", "..", "%2e", "%2F", ";", "%5c", "%25", "é", "api", "v1"]), 0..12),
            added in any::<bool>(),
        ) {
            let keys = if added { "strip_prefix = \"/api\"\nadd_prefix = \"/x/y\"" } else { "strip_prefix = \"/api\"" };
            let policy = policy(&route(keys));
            let path = format!("/api/v1/{}", parts.concat());
            prop_assume!(path.parse::<http::Uri>().is_ok());
            ask("GET", &path).with(&policy, |facts| {
                if facts.target.error.is_some() || facts.route.is_none() {
                    return Ok(());
                }
                let forwarded = facts.target.forwarded().path();
                let Ok((again, None)) = Path::parse(forwarded, Slashes::Keep) else {
                    return Err(TestCaseError::fail(format!("{path} becomes {forwarded}")));
                };
                prop_assert!(!forwarded.starts_with("//"), "{} becomes {}", path, forwarded);
                let own: &[&str] = if added { &["x", "y"] } else { &[] };
                let want: Vec<&str> = own.iter().copied().chain(facts.target.segments().skip(1)).collect();
                prop_assert_eq!(again.segments(forwarded).collect::<Vec<_>>(), want);
                Ok(())
            })?;
        }
    }

    #[test]
    fn a_prefix_is_checked() {
        let found =
            |keys: &str| problems(&route(keys)).into_iter().map(|(_, _, why)| why).collect::<Vec<_>>();
        let no_prefix = |text: &str, why: &str| {
            assert_eq!(found(&format!("add_prefix = '{text}'")), [format!("`{text}` is no prefix: {why}")]);
        };
        no_prefix("api", "it is not a path that a request could have");
        no_prefix("/", "a prefix has at least one segment; leave the key out for none");
        no_prefix("/a/../b", "a prefix has no dot segments");
        no_prefix("/a//b", "a prefix has no `\\`, `;`, encoded or empty segments");
        no_prefix("/a%2Fb", "a prefix has no `\\`, `;`, encoded or empty segments");
        no_prefix("/a/{x}", "a prefix has no wildcards");
        no_prefix("/a?b", "a prefix is a path, without query or fragment");
        for keys in ["strip_prefix = \"/ap\"", "strip_prefix = \"/api/v1/x\"", "strip_prefix = \"/v1\""] {
            let want = "the path `/api/v1/{*rest}` of this route does not begin with it";
            assert_eq!(found(keys), [want], "{keys}");
        }
    }
}
