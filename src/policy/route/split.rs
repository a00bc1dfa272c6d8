//! The upstreams of a route: one, or several by weight.

use std::borrow::Cow;
use std::collections::HashMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use smallvec::SmallVec;
use toml::de::DeValue;

use crate::policy::code::Code;
use crate::policy::compile::unknown_name;
use crate::policy::decode::{Decode, Name, Node, table};
use crate::policy::diagnostic::{At, Diagnostics};

table! {
    /// A share of a route's requests.
    pub struct RawShare as "a share" {
        /// The name of the upstream.
        req name: At<Name>,
        /// How many of all weights together; 1 by default, 0 for none for now.
        opt weight: At<u16>,
    }
}

/// The upstreams as written.
#[derive(Clone, Debug)]
pub struct RawSplit(pub Vec<RawShare>);

/// Where the requests of a route go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// Places in the list of upstreams that the policy was compiled with, each with the sum of the
    /// weights up to it.
    shares: SmallVec<[(usize, u64); 1]>,
}

impl Split {
    /// The shares that name an upstream. `upstreams`: where each one stands.
    pub(super) fn new(
        raw: &At<RawSplit>,
        upstreams: &HashMap<&str, usize>,
        diagnostics: &mut Diagnostics,
    ) -> Split {
        let mut split = Split::default();
        let mut total = 0;
        for share in &raw.value.0 {
            total += u64::from(share.weight.map_or(1, |weight| weight.value));
            let Some(at) = upstreams.get(share.name.as_str()).copied() else {
                if !share.name.value.is_stand_in() {
                    let known = upstreams.keys().copied();
                    unknown_name("upstream", share.name.as_str(), share.name.place, known, diagnostics);
                }
                continue;
            };
            if split.shares.iter().any(|(other, _)| *other == at) {
                let message = format!("the upstream `{}` stands here twice", share.name.value);
                diagnostics.push(Code::Conflict, share.name.place, message).help("add up its weights");
            }
            split.shares.push((at, total));
        }
        if raw.value.0.is_empty() {
            diagnostics.push(Code::BadValue, raw.place, "a route needs at least one upstream");
        } else if total == 0 {
            diagnostics
                .push(Code::BadValue, raw.place, "the weights come to 0, so no upstream would be asked")
                .help("give one of them a weight of 1 or more");
        }
        split
    }

    /// The upstreams.
    pub fn all(&self) -> impl Iterator<Item = usize> {
        self.shares.iter().map(|(upstream, _)| *upstream)
    }

    /// The upstream of one request. `hash` is asked only where there is a choice, and decides it.
    pub fn pick(&self, hash: impl FnOnce() -> u64) -> Option<usize> {
        let (upstream, total) = self.shares.last()?;
        if self.shares.len() == 1 {
            return Some(*upstream);
        }
        // A number below the total, as evenly spread as the hash.
        let drawn = ((u128::from(hash()) * u128::from(*total)) >> 64) as u64;
        self.shares.iter().find(|(_, upto)| drawn < *upto).map(|(upstream, _)| *upstream)
    }
}

impl Decode for RawSplit {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        match node.value() {
            DeValue::Array(_) => Vec::decode(node, diagnostics).map(RawSplit),
            DeValue::String(_) => {
                let name = At::<Name>::decode(node, diagnostics)?;
                Some(RawSplit(vec![RawShare { place: node.place(), name, weight: None }]))
            }
            _ => {
                node.wrong_type(
                    "the name of an upstream, or an array of tables with `name` and `weight`",
                    diagnostics,
                );
                None
            }
        }
    }

    fn stand_in() -> Option<Self> {
        let name = At::<Name>::stand_in()?;
        Some(RawSplit(vec![RawShare { place: name.place, name, weight: None }]))
    }
}

impl JsonSchema for RawSplit {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Upstreams".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<Name>();
        let many = generator.subschema_for::<Vec<RawShare>>();
        json_schema!({ "anyOf": [one, many] })
    }
}

#[cfg(test)]
mod tests {
    use crate::facts::hash_text;
    use crate::policy::fixture::{policy, problems};

    fn route(upstream: &str) -> String {
        format!("[[route]]\nid = \"a\"\npath = \"/a\"\nupstream = {upstream}\n")
    }

    #[test]
    fn requests_are_spread_by_weight_and_one_request_always_goes_the_same_way() {
        let policy = policy(&route("[{ name = \"up\", weight = 9 }, { name = \"other\" }]"));
        let Some((_, route)) = policy.routes.iter().next() else { panic!("a route") };
        let pick =
            |number: u32| route.upstream.pick(|| hash_text(0, format!("0197f2c4-{number}").as_bytes()));
        let picks: Vec<usize> = (0..10_000).filter_map(pick).collect();
        let others = picks.iter().filter(|upstream| **upstream == 1).count();
        assert!(picks.len() == 10_000 && (800..1200).contains(&others), "{others}");
        assert_eq!(pick(7), pick(7));
        assert_eq!(policy.routes.unused_upstreams().count(), 0);
    }

    #[test]
    fn an_upstream_of_weight_0_is_not_asked() {
        let policy = policy(&route("[{ name = \"up\", weight = 0 }, { name = \"other\", weight = 1 }]"));
        let Some((_, route)) = policy.routes.iter().next() else { panic!("a route") };
        assert!([0, 1, u64::MAX / 2, u64::MAX].iter().all(|hash| route.upstream.pick(|| *hash) == Some(1)));
    }

    #[test]
    fn shares_are_checked() {
        let found = |upstream: &str| {
            problems(&route(upstream)).into_iter().map(|(_, _, why)| why).collect::<Vec<_>>()
        };
        assert_eq!(found("[]"), ["a route needs at least one upstream"]);
        assert_eq!(found("[{ name = \"upp\" }, { name = \"up\" }]"), ["there is no upstream `upp`"]);
        assert_eq!(found("[{ name = \"up\" }, { name = \"up\" }]"), ["the upstream `up` stands here twice"]);
        assert_eq!(
            found("[{ name = \"up\", weight = 0 }]"),
            ["the weights come to 0, so no upstream would be asked"]
        );
        assert_eq!(
            found("7"),
            [
                "expected the name of an upstream, or an array of tables with `name` and `weight`, found an integer"
            ]
        );
    }
}
