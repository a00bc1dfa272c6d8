//! Methods and sets of them.

use std::borrow::Cow;

use http::Method;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::policy::decode::{Decode, Node, bad_value};
use crate::policy::diagnostic::Diagnostics;

/// A method name as written in a policy: a token in upper case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodName(pub Method);

/// A set of methods; empty means any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MethodSet {
    /// The methods of RFC 9110 and PATCH, as bits.
    bits: u16,
    /// Whether any method was named at all.
    limited: bool,
    /// Extension methods, which are few.
    others: Vec<Method>,
}

impl MethodSet {
    /// The set of these methods; of all methods if there are none.
    pub fn new<'a>(methods: impl IntoIterator<Item = &'a Method>) -> MethodSet {
        let mut set = MethodSet::default();
        for method in methods {
            set.limited = true;
            match bit(method) {
                0 => set.others.push(method.clone()),
                bit => set.bits |= bit,
            }
        }
        set
    }

    /// Whether the method is in the set.
    #[inline]
    pub fn contains(&self, method: &Method) -> bool {
        !self.limited || self.bits & bit(method) != 0 || self.others.contains(method)
    }

    /// Whether every method is in the set.
    pub fn is_any(&self) -> bool {
        !self.limited
    }

    /// The methods that were named, if any was.
    pub fn named(&self) -> impl Iterator<Item = &Method> {
        STANDARD.iter().filter(|method| self.bits & bit(method) != 0).chain(&self.others)
    }

    /// Whether some method is in both sets.
    pub fn meets(&self, other: &MethodSet) -> bool {
        !self.limited
            || !other.limited
            || self.bits & other.bits != 0
            || self.others.iter().any(|method| other.others.contains(method))
    }

    /// The methods that are no bit: extensions such as `PROPFIND`.
    pub fn extensions(&self) -> &[Method] {
        &self.others
    }
}

/// A set of methods as two bytes, for comparing in one step: exact for standard methods, and a
/// hint for extension methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodMask(u16);

impl MethodMask {
    const ANY: u16 = u16::MAX;
    /// Stands for all extension methods together.
    const EXTENSION: u16 = 1 << 15;

    /// The mask of a request's method.
    #[inline]
    pub fn of(method: &Method) -> MethodMask {
        match bit(method) {
            0 => MethodMask(MethodMask::EXTENSION),
            bit => MethodMask(bit),
        }
    }

    /// Whether a set may contain a request's method; does, unless [`MethodMask::undecided`].
    #[inline]
    pub fn meets(self, method: MethodMask) -> bool {
        self.0 & method.0 != 0
    }

    /// Whether only the set itself can tell that it contains the method it [meets](Self::meets).
    #[inline]
    pub fn undecided(self, method: MethodMask) -> bool {
        method.0 == MethodMask::EXTENSION && self.0 != MethodMask::ANY
    }
}

impl MethodSet {
    /// The set as a mask.
    pub fn mask(&self) -> MethodMask {
        match (self.limited, self.others.is_empty()) {
            (false, _) => MethodMask(MethodMask::ANY),
            (true, true) => MethodMask(self.bits),
            (true, false) => MethodMask(self.bits | MethodMask::EXTENSION),
        }
    }
}

/// The bit of a standard method; 0 for an extension.
#[inline]
fn bit(method: &Method) -> u16 {
    match *method {
        Method::GET => 1,
        Method::HEAD => 2,
        Method::POST => 4,
        Method::PUT => 8,
        Method::DELETE => 16,
        Method::PATCH => 32,
        Method::OPTIONS => 64,
        Method::CONNECT => 128,
        Method::TRACE => 256,
        _ => 0,
    }
}

/// The methods as people read them: `GET, HEAD`.
impl std::fmt::Display for MethodSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.limited {
            return f.write_str("any method");
        }
        for (index, method) in self.named().enumerate() {
            write!(f, "{}{method}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// The methods that have a bit of their own.
static STANDARD: [Method; 9] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::DELETE,
    Method::PATCH,
    Method::OPTIONS,
    Method::CONNECT,
    Method::TRACE,
];

impl std::fmt::Display for MethodName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl Decode for MethodName {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = node.string("a method", diagnostics)?;
        let method = Method::from_bytes(text.as_bytes())
            .ok()
            .filter(|_| !text.bytes().any(|b| b.is_ascii_lowercase()));
        if method.is_none() {
            let help = "methods are case-sensitive and stand in upper case: \"GET\"";
            bad_value(node, format!("`{text}` is not a method"), help, diagnostics);
        }
        method.map(MethodName)
    }
}

impl JsonSchema for MethodName {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Method".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[A-Z0-9!#$%&'*+.^_`|~-]+$", "examples": ["GET", "POST"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_set_is_any_and_case_matters() {
        let any = MethodSet::default();
        let some = MethodSet::new(&[Method::GET, Method::from_bytes(b"PROPFIND").unwrap_or_default()]);
        let lower = Method::from_bytes(b"get").unwrap_or_default();
        assert!(any.contains(&Method::DELETE) && any.contains(&lower));
        assert!(some.contains(&Method::GET) && !some.contains(&Method::POST) && !some.contains(&lower));
        assert_eq!(some.extensions().len(), 1);
    }
}
