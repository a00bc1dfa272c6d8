//! What a route asks of a request besides its host and path: methods and header fields.
//!
//! Routes with one host and one path are told apart by these. A route with more conditions is more
//! specific; two with equally many that could both take a request are a load error, so whichever
//! meets is the only one. They are grouped by what they look at, and each group is asked by one hash,
//! so that a thousand tenants cost what one does.
//!
//! A field that stands twice is refused wherever a route looks at it: which of the two counts, nobody
//! behind us need agree about.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;

use http::{HeaderMap, HeaderName, Method};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use smallvec::SmallVec;
use toml::de::DeValue;

use crate::decision::Builtin;
use crate::facts::{RouteId, hash_text};
use crate::policy::decode::{Decode, Node, bad_value};
use crate::policy::diagnostic::Diagnostics;
use crate::policy::scope::MethodSet;

/// What a route wants of a header field, as written: a text, or whether it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldWord {
    /// Exactly this value.
    Exact(Box<str>),
    /// Any value.
    Present,
    /// No such field.
    Absent,
}

/// The conditions of one route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// The methods it takes.
    pub methods: MethodSet,
    /// What it wants of header fields, by name; each name once.
    pub fields: Vec<(HeaderName, FieldWord)>,
}

impl Conditions {
    /// How many there are: more are more specific.
    pub(in crate::policy) fn count(&self) -> usize {
        usize::from(!self.methods.is_any()) + self.fields.len()
    }

    /// Whether a request meets them, read one after the other. A repeated field meets nothing.
    pub(super) fn are_met(&self, method: &Method, headers: &HeaderMap) -> bool {
        self.methods.contains(method)
            && self.fields.iter().all(|(name, word)| {
                only(headers, name).is_ok_and(|value| match word {
                    FieldWord::Exact(text) => value == Some(text.as_bytes()),
                    FieldWord::Present => value.is_some(),
                    FieldWord::Absent => value.is_none(),
                })
            })
    }

    /// Whether some request could meet both.
    pub(super) fn meet(&self, other: &Conditions) -> bool {
        let contradict = |(name, word): &(HeaderName, FieldWord)| {
            other.fields.iter().any(|(theirs, other)| {
                theirs == name
                    && match (word, other) {
                        (FieldWord::Exact(one), FieldWord::Exact(other)) => one != other,
                        (one, other) => (*one == FieldWord::Absent) != (*other == FieldWord::Absent),
                    }
            })
        };
        self.methods.meets(&other.methods) && !self.fields.iter().any(contradict)
    }
}

impl std::fmt::Display for Conditions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.methods.is_any() {
            write!(f, ", {}", self.methods)?;
        }
        for (name, word) in &self.fields {
            match word {
                FieldWord::Exact(text) => write!(f, ", {name}: {text}")?,
                FieldWord::Present => write!(f, ", with {name}")?,
                FieldWord::Absent => write!(f, ", without {name}")?,
            }
        }
        Ok(())
    }
}

/// Routes with one host and one path, told apart by their conditions.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    /// The most specific first.
    looks: Vec<Look>,
}

/// Routes that look at the same things.
#[derive(Clone, Debug)]
struct Look {
    view: View,
    routes: HashMap<u64, SmallVec<[RouteId; 2]>>,
}

/// What is looked at, whatever is wanted there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct View {
    methods: bool,
    fields: Vec<(HeaderName, Kind)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Exact,
    Present,
    Absent,
}

/// A request is asked for all that the routes of one path look at, one after the other.
pub(super) const MAX_VIEWS: usize = 16;

/// Two routes that could both take a request.
pub(super) struct Tie {
    pub(super) first: RouteId,
    pub(super) second: RouteId,
}

impl Choice {
    /// Groups routes. Also the pairs of them that nothing tells apart, and whether they look at more
    /// combinations of things than may be.
    pub(super) fn new(routes: &[(RouteId, &Conditions)]) -> (Choice, Vec<Tie>, bool) {
        let mut looks: Vec<(Look, Vec<(RouteId, &Conditions)>)> = Vec::new();
        let mut ties = Vec::new();
        for (id, conditions) in routes {
            let view = View::of(conditions);
            let at = looks.iter().position(|(look, _)| look.view == view).unwrap_or_else(|| {
                looks.push((Look { view, routes: HashMap::new() }, Vec::new()));
                looks.len() - 1
            });
            let Some((look, members)) = looks.get_mut(at) else { continue };
            let mut rivals: SmallVec<[RouteId; 2]> = SmallVec::new();
            for hash in look.view.hashes(conditions) {
                let slot = look.routes.entry(hash).or_default();
                rivals.extend(slot.iter().copied());
                slot.push(*id);
            }
            let rival =
                members.iter().find(|(rival, other)| rivals.contains(rival) && other.meet(conditions));
            ties.extend(rival.map(|(first, _)| Tie { first: *first, second: *id }));
            members.push((*id, conditions));
        }
        // Routes that look at different things may still want the same.
        for (at, (look, members)) in looks.iter().enumerate() {
            let rivals = looks.iter().take(at).filter(|(other, _)| other.view.count() == look.view.count());
            for (id, conditions) in members {
                let mut others = rivals.clone().flat_map(|(_, members)| members);
                let rival = others.find(|(_, other)| other.meet(conditions));
                ties.extend(rival.map(|(first, _)| Tie { first: *first, second: *id }));
            }
        }
        let too_many = looks.len() > MAX_VIEWS;
        let mut looks: Vec<Look> = looks.into_iter().map(|(look, _)| look).collect();
        looks.sort_by_key(|look| Reverse(look.view.count()));
        (Choice { looks }, ties, too_many)
    }

    /// The route that a request takes, or the rule that refuses it. `conditions`: of a route.
    pub(super) fn find<'c>(
        &self,
        method: &Method,
        headers: &HeaderMap,
        conditions: impl Fn(RouteId) -> Option<&'c Conditions>,
    ) -> Result<Option<RouteId>, Builtin> {
        for look in &self.looks {
            let Some(hash) = look.view.hash(method, headers)? else { continue };
            let found = look.routes.get(&hash).into_iter().flatten().copied();
            let mut found = found.filter(|id| conditions(*id).is_some_and(|of| of.are_met(method, headers)));
            if let Some(id) = found.next() {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }
}

impl View {
    fn of(conditions: &Conditions) -> View {
        let kind = |word: &FieldWord| match word {
            FieldWord::Exact(_) => Kind::Exact,
            FieldWord::Present => Kind::Present,
            FieldWord::Absent => Kind::Absent,
        };
        let fields = conditions.fields.iter().map(|(name, word)| (name.clone(), kind(word)));
        View { methods: !conditions.methods.is_any(), fields: fields.collect() }
    }

    fn count(&self) -> usize {
        usize::from(self.methods) + self.fields.len()
    }

    /// The hash of what a request has there; none where it lacks something. All fields are looked at,
    /// so that a repeated one is never overlooked.
    fn hash(&self, method: &Method, headers: &HeaderMap) -> Result<Option<u64>, Builtin> {
        let mut hash = if self.methods { hash_method(method) } else { 0 };
        let mut met = true;
        for ((name, kind), place) in self.fields.iter().zip(1..) {
            match (kind, only(headers, name)?) {
                (Kind::Exact, Some(value)) => hash = hash.wrapping_add(hash_text(place, value)),
                (Kind::Present, Some(_)) | (Kind::Absent, None) => {}
                (Kind::Exact | Kind::Present, None) | (Kind::Absent, Some(_)) => met = false,
            }
        }
        Ok(met.then_some(hash))
    }

    /// The hashes that requests for a route have: one for each of its methods.
    fn hashes(&self, conditions: &Conditions) -> Vec<u64> {
        let values = conditions.fields.iter().zip(1..).map(|((_, word), place)| match word {
            FieldWord::Exact(text) => hash_text(place, text.as_bytes()),
            FieldWord::Present | FieldWord::Absent => 0,
        });
        let values = values.fold(0, u64::wrapping_add);
        if !self.methods {
            return vec![values];
        }
        conditions.methods.named().map(|method| values.wrapping_add(hash_method(method))).collect()
    }
}

fn hash_method(method: &Method) -> u64 {
    hash_text(0, method.as_str().as_bytes())
}

/// The one value of a field.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h [u8]>, Builtin> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(Builtin::HeaderDuplicate),
        (value, None) => Ok(value.map(http::HeaderValue::as_bytes)),
    }
}

impl Decode for FieldWord {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        match node.value() {
            DeValue::Boolean(true) => Some(FieldWord::Present),
            DeValue::Boolean(false) => Some(FieldWord::Absent),
            DeValue::String(text) => {
                let sent = text.trim_matches([' ', '\t']);
                let plain = sent.bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f));
                if sent.len() != text.len() || !plain {
                    let help = "no control characters or line breaks, and no blanks at either end";
                    bad_value(node, "no header field can have this value", help, diagnostics);
                    return None;
                }
                Some(FieldWord::Exact(sent.into()))
            }
            _ => {
                node.wrong_type("a text, or true for any value, or false for none", diagnostics);
                None
            }
        }
    }
}

impl JsonSchema for FieldWord {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Field".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "boolean"], "examples": ["a", true, false] })
    }
}
