//! Claims into what a holder is: subject, roles, scopes, times.
//!
//! A claim that is there and of another type than it must be refuses the token: to take it for
//! absent would let a token slip past the denies that look at it.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::raw::ClaimPath;
use crate::decision::Builtin;
use crate::facts::Problem;

/// The claims of a token.
pub(super) type Claims = Map<String, Value>;

/// Names of roles or scopes.
pub(super) type Names = Vec<Box<str>>;

/// Follows a path. `Ok(None)`: there is no such claim.
pub(super) fn find<'c>(claims: &'c Claims, path: &ClaimPath) -> Result<Option<&'c Value>, Problem> {
    let mut object = claims;
    let mut names = path.0.iter().peekable();
    while let Some(name) = names.next() {
        let Some(value) = object.get(&**name) else { return Ok(None) };
        match value {
            value if names.peek().is_none() => return Ok(Some(value)),
            Value::Object(inner) => object = inner,
            _ => {
                return Err(wrong_type(
                    "a claim on the way to the roles, scopes or subject is not an object",
                ));
            }
        }
    }
    Ok(None)
}

/// A list of names: an array of strings, each of them one name whatever it holds, or a string,
/// which is one name. `"user,admin"` is the name of no role. `null` lists nothing, as some issuers
/// write it for a user without roles.
pub(super) fn names(value: &Value) -> Result<Names, Problem> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(name) => Ok(vec![name.as_str().into()]),
        Value::Array(items) => items
            .iter()
            .map(|item| {
                item.as_str()
                    .map(Into::into)
                    .ok_or_else(|| wrong_type("the roles or scopes are not all strings"))
            })
            .collect(),
        _ => Err(wrong_type("the roles or scopes are neither a string nor a list of strings")),
    }
}

/// A list of scopes: as [`names`], but a string is split at its spaces (RFC 8693 section 4.2).
pub(super) fn scopes(value: &Value) -> Result<Names, Problem> {
    match value {
        Value::String(list) => {
            Ok(list.split(' ').filter(|scope| !scope.is_empty()).map(Into::into).collect())
        }
        other => names(other),
    }
}

/// A string that must be there.
pub(super) fn required_string<'c>(
    value: Option<&'c Value>,
    missing: &'static str,
    wrong: &'static str,
) -> Result<&'c str, Problem> {
    match value {
        None => Err(Problem::new(Builtin::ClaimMissing, missing)),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(wrong_type(wrong)),
    }
}

/// A NumericDate: seconds since 1970, possibly with a fraction (RFC 7519 section 2).
pub(super) fn time(value: Option<&Value>, wrong: &'static str) -> Result<Option<Timestamp>, Problem> {
    let Some(value) = value else { return Ok(None) };
    let number = match value {
        Value::Number(number) => number,
        _ => return Err(wrong_type(wrong)),
    };
    let time = match number.as_i64() {
        Some(seconds) => Timestamp::from_second(seconds).ok(),
        // Numbers beyond i64 come as floats or u64 and are far beyond any calendar.
        None => number
            .as_f64()
            .and_then(|seconds| SignedDuration::try_from_secs_f64(seconds).ok())
            .and_then(|since| Timestamp::from_duration(since).ok()),
    };
    time.map(Some).ok_or_else(|| wrong_type("a time is beyond the calendar"))
}

/// Whether a subject can be written into a header field and read there as the same one: not empty,
/// not long, no control characters, no space at its ends (which a reader would strip).
pub(crate) fn is_subject(text: &str) -> bool {
    let ends = [text.chars().next(), text.chars().next_back()];
    !text.is_empty()
        && text.len() <= MAX_SUBJECT
        && !text.chars().any(char::is_control)
        && !ends.into_iter().flatten().any(char::is_whitespace)
}

/// The longest subject, in bytes.
const MAX_SUBJECT: usize = 256;

pub(super) fn wrong_type(note: &'static str) -> Problem {
    Problem::new(Builtin::ClaimType, note)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn path(names: &[&str]) -> ClaimPath {
        ClaimPath(names.iter().map(|name| Box::from(*name)).collect())
    }

    fn lookup(claims: Value, names: &[&str]) -> Result<Option<Value>, Builtin> {
        let Value::Object(claims) = claims else { return Ok(None) };
        find(&claims, &path(names)).map(|found| found.cloned()).map_err(|problem| problem.rule)
    }

    #[test]
    fn a_path_leads_through_objects_only() {
        let claims = json!({"realm": {"roles": ["a"]}, "realm.roles": ["b"], "text": "x"});
        assert_eq!(lookup(claims.clone(), &["realm", "roles"]), Ok(Some(json!(["a"]))));
        assert_eq!(lookup(claims.clone(), &["realm.roles"]), Ok(Some(json!(["b"]))));
        assert_eq!(lookup(claims.clone(), &["realm", "other"]), Ok(None));
        assert_eq!(lookup(claims.clone(), &["other", "roles"]), Ok(None));
        assert_eq!(lookup(claims, &["text", "roles"]), Err(Builtin::ClaimType));
    }

    fn listed(value: Value) -> Option<String> {
        names(&value).ok().map(|names| names.join("|"))
    }

    #[test]
    fn names_are_taken_whole() {
        assert_eq!(listed(json!("editor")).as_deref(), Some("editor"));
        assert_eq!(listed(json!("user,admin")).as_deref(), Some("user,admin"));
        assert_eq!(listed(json!("user admin")).as_deref(), Some("user admin"));
        assert_eq!(listed(json!(["a", "b c"])).as_deref(), Some("a|b c"));
        assert_eq!(listed(json!([])).as_deref(), Some(""));
        assert_eq!(listed(json!(null)).as_deref(), Some(""));
    }

    #[test]
    fn names_of_another_type_refuse() {
        for value in [json!([["admin"]]), json!(["a", {"admin": true}]), json!({"admin": true}), json!(1)] {
            assert_eq!(listed(value.clone()), None, "{value}");
        }
    }

    #[test]
    fn scopes_in_a_string_are_split_at_spaces() {
        let listed = |value: Value| scopes(&value).ok().map(|scopes| scopes.join("|"));
        assert_eq!(listed(json!("items:read  items:write")).as_deref(), Some("items:read|items:write"));
        assert_eq!(listed(json!(["items:read"])).as_deref(), Some("items:read"));
        assert_eq!(listed(json!("")).as_deref(), Some(""));
        assert_eq!(listed(json!(7)), None);
    }

    fn seconds(value: Value) -> Result<Option<i64>, Builtin> {
        time(Some(&value), "").map(|time| time.map(Timestamp::as_second)).map_err(|problem| problem.rule)
    }

    #[test]
    fn times_are_numbers_within_the_calendar() {
        assert_eq!(seconds(json!(1700000000)), Ok(Some(1700000000)));
        assert_eq!(seconds(json!(1700000000.75)), Ok(Some(1700000000)));
        assert_eq!(seconds(json!(-1)), Ok(Some(-1)));
        for value in [
            json!("1700000000"),
            json!([1]),
            json!(null),
            json!(true),
            json!(1e300),
            json!(u64::MAX),
            json!(i64::MIN),
            json!(1700000000000000i64),
        ] {
            assert_eq!(seconds(value.clone()), Err(Builtin::ClaimType), "{value}");
        }
    }

    #[test]
    fn a_subject_survives_a_header_field() {
        for good in ["alice", "alice, root", "jürgen@example.com", "auth0|5f7c", &"a".repeat(256)] {
            assert!(is_subject(good) && http::HeaderValue::from_bytes(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in [
            "",
            " alice",
            "alice ",
            "alice\r\nx-roles: admin",
            "a\0",
            "a\u{85}b",
            "\u{a0}alice",
            &"a".repeat(257),
        ] {
            assert!(!is_subject(bad), "{bad:?}");
        }
    }
}
