//! The members of the documents that callers send, and what is taken under each. Whoever sends something
//! else is told so in our words: which member it is, what stands there, and what to write instead.

use std::fmt;
use std::net::IpAddr;

use http::StatusCode;
use jiff::Timestamp;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::answer::{Answer, problem};
use super::parameter::BadParameter;

/// A document that callers send.
pub(super) trait Document: DeserializeOwned {
    /// All members that it may have.
    const MEMBERS: &'static [Member];
}

/// A member of a document.
pub(super) struct Member {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// Whether the document is nothing without it.
    pub(super) needed: bool,
    /// What is taken, in words: `give …`.
    pub(super) accepted: &'static str,
}

/// What is taken under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Texts,
    Flag,
    Address,
    Addresses,
    Time,
    Times,
    /// An object of whatever there is.
    Object,
    /// A list of pairs of texts.
    Pairs,
}

impl Member {
    /// A member that may be left out.
    pub(super) const fn new(name: &'static str, kind: Kind, accepted: &'static str) -> Member {
        Member { name, kind, needed: false, accepted }
    }

    /// One that may not.
    pub(super) const fn needed(name: &'static str, kind: Kind, accepted: &'static str) -> Member {
        Member { name, kind, needed: true, accepted }
    }

    fn check(&self, value: &Value) -> Result<(), BadParameter> {
        flaw(self.kind, value)
            .map_or(Ok(()), |flaw| Err(BadParameter::unlike(self.name, flaw, self.accepted)))
    }
}

/// Why a document is not taken.
#[derive(Debug)]
pub(super) enum Refused {
    /// It is none at all.
    Malformed(String),
    /// One of its members is not as it has to be.
    Member(BadParameter),
}

impl Refused {
    /// The refusal.
    pub(super) fn answer(self) -> Answer {
        match self {
            Refused::Malformed(why) => problem(StatusCode::BAD_REQUEST, why),
            Refused::Member(bad) => bad.answer(),
        }
    }
}

/// Reads a document.
pub(super) fn read<T: Document>(text: &[u8]) -> Result<T, Refused> {
    let members: Members = serde_json::from_slice(text).map_err(|error| {
        Refused::Malformed(match error.is_data() {
            // The only thing that is asked of it so far.
            true => "the document is no object: write `{ … }` with the members that there are".to_owned(),
            false => {
                let (line, column) = (error.line(), error.column());
                format!("the document is no JSON: it cannot be read behind line {line}, column {column}")
            }
        })
    })?;
    let checked = members.checked(T::MEMBERS).map_err(Refused::Member)?;
    serde_json::from_value(Value::Object(checked)).map_err(|error| {
        // The members are as they have to be, so this is a mistake of ours; it may quote what was sent.
        tracing::error!(category = ?error.classify(), "a document that was checked cannot be read");
        Refused::Malformed("the document cannot be read".to_owned())
    })
}

/// The members of a document in their order; one that stands there twice is not lost.
struct Members(Vec<(String, Value)>);

impl Members {
    /// The members, if all are known and as they have to be. One that is null is none.
    fn checked(self, known: &[Member]) -> Result<Map<String, Value>, BadParameter> {
        let mut checked = Map::new();
        for (name, value) in self.0 {
            let Some(member) = known.iter().find(|member| *member.name == *name) else {
                let names: Vec<&str> = known.iter().map(|member| member.name).collect();
                let name: String = name.chars().take(LONGEST).collect();
                return Err(BadParameter::unknown(&name, &names));
            };
            if value.is_null() {
                continue;
            }
            member.check(&value)?;
            if checked.insert(name, value).is_some() {
                return Err(BadParameter::twice(member.name));
            }
        }
        let lacking = known.iter().find(|member| member.needed && !checked.contains_key(member.name));
        match lacking {
            Some(member) => Err(BadParameter::unlike(member.name, "it is not there", member.accepted)),
            None => Ok(checked),
        }
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Members, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        from.deserialize_map(All)
    }
}

/// What is wrong with a value, if anything is. Texts that may be credentials are not repeated.
fn flaw(kind: Kind, value: &Value) -> Option<String> {
    let is = || Some(format!("it is {}", called(value)));
    match (kind, value) {
        (Kind::Text, Value::String(_)) | (Kind::Flag, Value::Bool(_)) | (Kind::Object, Value::Object(_)) => {
            None
        }
        (Kind::Address, Value::String(text)) => unlike::<IpAddr>(text, "address"),
        (Kind::Time, Value::String(text)) => unlike::<Timestamp>(text, "time"),
        (Kind::Texts, Value::Array(items)) => first(items, Kind::Text),
        (Kind::Addresses, Value::Array(items)) => first(items, Kind::Address),
        (Kind::Times, Value::Array(items)) => first(items, Kind::Time),
        (Kind::Pairs, Value::Array(items)) => {
            (1..).zip(items).find_map(|(number, item)| match item.as_array() {
                Some(pair) if pair.len() == 2 => {
                    first(pair, Kind::Text).map(|flaw| format!("of item {number}, {flaw}"))
                }
                Some(pair) => Some(format!("item {number} is a list of {}", pair.len())),
                None => Some(format!("item {number} is {}", called(item))),
            })
        }
        (
            Kind::Text
            | Kind::Flag
            | Kind::Object
            | Kind::Address
            | Kind::Time
            | Kind::Texts
            | Kind::Addresses
            | Kind::Times
            | Kind::Pairs,
            _,
        ) => is(),
    }
}

/// The first flaw among the items of a list.
fn first(items: &[Value], kind: Kind) -> Option<String> {
    (1..).zip(items).find_map(|(number, item)| {
        let flaw = flaw(kind, item)?;
        Some(match flaw.strip_prefix("it is ") {
            Some(what) => format!("item {number} is {what}"),
            None => flaw,
        })
    })
}

fn unlike<T: std::str::FromStr>(text: &str, what: &str) -> Option<String> {
    let shown: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    text.parse::<T>().err().map(|_| format!("`{shown}` is no {what}"))
}

fn called(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// So much is repeated of an address or time that is none, and of a name that nobody knows.
const LONGEST: usize = 64;

/// Checks that the members of a document are those of the type that it is read into, and that what is taken
/// under each can be read.
#[cfg(test)]
pub(super) fn agree<T: Document + fmt::Debug>() {
    let error = serde_json::from_str::<T>(r#"{"no such member":1}"#).expect_err("unknown").to_string();
    let known: std::collections::BTreeSet<&str> = error.split('`').skip(3).step_by(2).collect();
    assert_eq!(known, T::MEMBERS.iter().map(|member| member.name).collect(), "{error}");
    let whole: Map<String, Value> = T::MEMBERS
        .iter()
        .map(|member| {
            let value = match member.kind {
                Kind::Text => "a".into(),
                Kind::Texts => vec!["a"].into(),
                Kind::Flag => true.into(),
                Kind::Address => "192.0.2.1".into(),
                Kind::Addresses => vec!["192.0.2.1"].into(),
                Kind::Time => "2026-11-24T10:00:00Z".into(),
                Kind::Times => vec!["2026-11-24T10:00:00Z"].into(),
                Kind::Object => Map::new().into(),
                Kind::Pairs => vec![vec!["a", "b"]].into(),
            };
            (member.name.to_owned(), value)
        })
        .collect();
    let text = serde_json::to_vec(&whole).expect("JSON");
    assert!(read::<T>(&text).is_ok(), "{}", String::from_utf8_lossy(&text));
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use serde::Deserialize as Derived;

    use super::*;

    #[derive(Debug, Default, Derived)]
    #[serde(deny_unknown_fields, default)]
    struct Asked {
        name: String,
        headers: Vec<(String, String)>,
        at: Option<Timestamp>,
        ips: Vec<IpAddr>,
        flag: bool,
    }

    impl Document for Asked {
        const MEMBERS: &'static [Member] = &[
            Member::needed("name", Kind::Text, "a name"),
            Member::new("headers", Kind::Pairs, "a list of pairs"),
            Member::new("at", Kind::Time, "a time"),
            Member::new("ips", Kind::Addresses, "a list of addresses"),
            Member::new("flag", Kind::Flag, "true or false"),
        ];
    }

    /// What is said of a document that is none; which member it is about.
    async fn refused(text: &str) -> (String, Option<String>) {
        let answer = read::<Asked>(text.as_bytes()).expect_err("it is refused").answer();
        assert_eq!(answer.status(), 400, "{text}");
        let body = answer.into_body().collect().await.expect("whole").to_bytes();
        let told: Value = serde_json::from_slice(&body).expect("JSON");
        let text = |name: &str| told[name].as_str().map(str::to_owned);
        (text("error").expect("said"), text("parameter"))
    }

    #[tokio::test]
    async fn what_is_not_taken_is_named_with_what_is() {
        for (text, member, why) in [
            (r#"{"name":7}"#, Some("name"), "name: it is a number; give a name"),
            (r#"{}"#, Some("name"), "name: it is not there; give a name"),
            (r#"{"name":null}"#, Some("name"), "name: it is not there; give a name"),
            (r#"{"name":"a","name":"b"}"#, Some("name"), "name: it is given twice, and only one can count"),
            (r#"{"name":"a","flag":"yes"}"#, Some("flag"), "flag: it is a text; give true or false"),
            (
                r#"{"name":"a","headers":{"x":"y"}}"#,
                Some("headers"),
                "headers: it is an object; give a list of pairs",
            ),
            (
                r#"{"name":"a","headers":[["a","b"],["Authorization: secret"]]}"#,
                Some("headers"),
                "headers: item 2 is a list of 1; give a list of pairs",
            ),
            (
                r#"{"name":"a","headers":[["a",1]]}"#,
                Some("headers"),
                "headers: of item 1, item 2 is a number; give a list of pairs",
            ),
            (
                r#"{"name":"a","headers":["secret"]}"#,
                Some("headers"),
                "headers: item 1 is a text; give a list of pairs",
            ),
            (r#"{"name":"a","at":"no\non"}"#, Some("at"), "at: `no\\non` is no time; give a time"),
            (
                r#"{"name":"a","ips":["192.0.2.1","there"]}"#,
                Some("ips"),
                "ips: `there` is no address; give a list of addresses",
            ),
            (
                r#"{"nome":"a"}"#,
                Some("nome"),
                "there is no parameter `nome` here; there is name, headers, at, ips, flag",
            ),
            ("[]", None, "the document is no object: write `{ … }` with the members that there are"),
            ("{\n\"name\":", None, "the document is no JSON: it cannot be read behind line 2, column 7"),
        ] {
            assert_eq!(refused(text).await, (why.to_owned(), member.map(str::to_owned)), "{text}");
        }
    }

    #[test]
    fn what_is_taken_is_read() {
        agree::<Asked>();
        let text = r#"{"name":"a","headers":[["accept","b"]],"at":"2026-11-24T10:00:00Z","ips":["::1"],"flag":null}"#;
        let Ok(read) = read::<Asked>(text.as_bytes()) else { panic!("it is taken") };
        assert_eq!((read.name.as_str(), read.headers.len(), read.ips.len(), read.flag), ("a", 1, 1, false));
        assert!(read.at.is_some());
    }
}
