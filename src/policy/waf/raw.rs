//! `[waf]` as written.

mod condition;

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

pub use condition::{RawArgument, RawCondition, RawMatch};

use super::targets::{self, Target};
use super::transforms::Transform;
use crate::policy::compile::RawWords;
use crate::policy::decode::{Decode, Name, Node, Size, bad_value, table, unknown_word, words};
use crate::policy::diagnostic::{At, Diagnostics};
use crate::policy::merge::{once, twice};
use crate::policy::mode::RawMode;
use crate::policy::scope::RawScope;

words! {
    /// The rule packs that ship with portcullis.
    pub enum PackWord {
        /// Rules against the common attacks on web applications.
        Core = "core",
    }
}

words! {
    /// What a matching rule does, other than to score.
    pub enum ActionWord {
        /// The request is refused.
        Deny = "deny",
        /// The match is recorded.
        Log = "log",
    }
}

table! {
    /// `[waf]`: rules on the text of requests.
    pub struct RawWaf as "[waf]" {
        /// The mode of the whole stage.
        part mode: RawMode,
        /// Rule packs that ship with portcullis; none unless named here.
        opt packs: At<Vec<At<PackWord>>>,
        /// Programs in SecLang, the language of ModSecurity: globs of files, run in this order, as in
        /// `["/etc/crs/crs-setup.conf", "/etc/crs/rules/*.conf"]`.
        opt seclang: At<Vec<At<String>>>,
        /// How suspicious the rules are: 1 (default) to 4. Rules of higher levels do not run.
        opt paranoia: At<u8>,
        /// The sum of scores at which a request is refused; 5 by default.
        opt threshold: At<u32>,
        /// How much work one request may cause, in steps of a byte looked at once; refused as `waf/budget` beyond.
        opt budget: At<u64>,
        /// Which bodies are read.
        opt body: RawWafBody,
        /// The rules.
        list rule: RawWafRule,
        /// Texts that are kept from rules.
        list exclude: RawWafExclude,
    }
}

table! {
    /// `[waf.body]`: bounds of the bodies that are read. A body beyond them is refused.
    pub struct RawWafBody as "[waf.body]" {
        /// The largest body that is read; `"128KiB"` by default.
        opt limit: At<Size>,
        /// How deep JSON and XML may be nested; 32 by default.
        opt depth: At<u32>,
        /// How many fields, values and parts a body may have; 1000 by default.
        opt fields: At<u32>,
    }
}

table! {
    /// `[[waf.rule]]`: a rule on the text of requests.
    pub struct RawWafRule as "[[waf.rule]]" {
        /// The id of the rule.
        req id: At<Name>,
        /// Which requests the rule is about.
        part scope: RawScope,
        /// Whether the rule counts.
        part mode: RawMode,
        /// Words for people.
        part words: RawWords,
        /// What a match adds to the request's score. Either this or `action`.
        opt score: At<u32>,
        /// What a match does: `deny` or `log`. Either this or `score`.
        opt action: At<ActionWord>,
        /// The texts that the rule looks at: `path`, `args`, `header:referer`, `!query:q`.
        req targets: At<Vec<At<TargetWord>>>,
        /// What is undone to a text before it is judged, in order.
        list transforms: TransformWord,
        /// What a text must be: one operator, or `all` or `any` of several.
        req r#match: RawMatch,
        /// More that must match in the same request, each on texts of its own.
        list chain: RawWafLink,
        /// Tags, for people.
        list tags: At<Name>,
        /// What a match says in the record.
        opt msg: At<String>,
        /// The lowest paranoia level at which the rule runs; 1 by default.
        opt paranoia: At<u8>,
    }
}

table! {
    /// A link of `chain`.
    pub struct RawWafLink as "a link of `chain`" {
        /// The texts that the link looks at.
        req targets: At<Vec<At<TargetWord>>>,
        /// What is undone to a text before it is judged, in order.
        list transforms: TransformWord,
        /// What a text must be.
        req r#match: RawMatch,
    }
}

table! {
    /// `[[waf.exclude]]`: texts that are kept from rules.
    pub struct RawWafExclude as "[[waf.exclude]]" {
        /// The id of the exclusion.
        req id: At<Name>,
        /// For which requests.
        part scope: RawScope,
        /// The texts that are not looked at; absent: the rules do not run at all.
        opt targets: At<Vec<At<TargetWord>>>,
        /// The rules that are kept from them, by full name: `waf/sqli-tautology`.
        req rules: At<Vec<At<String>>>,
    }
}

/// One entry of `targets`; `args` stands for several targets.
#[derive(Clone, Debug)]
pub struct TargetWord(pub Vec<Target>);

/// The name of a transformation.
#[derive(Clone, Copy, Debug)]
pub struct TransformWord(pub Transform);

impl RawWaf {
    /// Takes the table of the next file.
    pub fn absorb(&mut self, other: RawWaf, diagnostics: &mut Diagnostics) {
        self.mode.absorb(other.mode, "waf", diagnostics);
        once(&mut self.packs, other.packs, "waf.packs", diagnostics);
        once(&mut self.seclang, other.seclang, "waf.seclang", diagnostics);
        once(&mut self.paranoia, other.paranoia, "waf.paranoia", diagnostics);
        once(&mut self.threshold, other.threshold, "waf.threshold", diagnostics);
        once(&mut self.budget, other.budget, "waf.budget", diagnostics);
        match (&self.body, other.body) {
            (Some(first), Some(second)) => twice("waf.body", first.place, second.place, diagnostics),
            (None, second) => self.body = second,
            (Some(_), None) => {}
        }
        self.rule.extend(other.rule);
        self.exclude.extend(other.exclude);
    }
}

impl Decode for TargetWord {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = node.string("a target such as \"query\"", diagnostics)?;
        match targets::parse(text) {
            Ok(targets) => Some(TargetWord(targets)),
            Err((why, near)) => {
                let help = match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => {
                        "write for example \"args\", \"query.names\", \"header:referer\", \"!cookie:/^sess/\""
                            .into()
                    }
                };
                bad_value(node, format!("`{text}` is not a target: {why}"), &help, diagnostics);
                None
            }
        }
    }
}

impl JsonSchema for TargetWord {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "WafTarget".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["args", "query.names", "header:referer", "!cookie:/^sess/"] })
    }
}

impl Decode for TransformWord {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = node.string("the name of a transformation", diagnostics)?;
        let transform = Transform::by_name(text);
        if transform.is_none() {
            let names: Vec<&str> = Transform::ALL.iter().map(|transform| transform.info().name).collect();
            unknown_word(node, text, &names, diagnostics);
        }
        transform.map(TransformWord)
    }
}

impl JsonSchema for TransformWord {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "WafTransform".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<&str> = Transform::ALL.iter().map(|transform| transform.info().name).collect();
        json_schema!({ "type": "string", "enum": names })
    }
}
