//! The intermediate representation: what both ways of writing WAF rules mean.
//!
//! TOML is lowered to it by `toml.rs`; it is wide enough for ModSecurity's SecLang too (phases,
//! collections, counts, chains, transaction variables, captures, jumps, `ctl`). Already true of it:
//! every name is resolved and every value is of the right form. Not yet: expressions are text, and
//! nothing says that the engine runs all of it. [`unsupported`] is the one list of what it does not
//! run; a front end that lowers to one of these gets a diagnostic, never a rule that does less than
//! it says.

use super::memory::Kept;
use super::operators::{Argument, OperatorKind};
use super::targets::{Selector, Target};
use super::transforms::Transform;
use crate::policy::diagnostic::Place;
use crate::policy::mode::Mode;
use crate::policy::scope::Scope;

/// Something in the order of a policy's WAF rules.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A rule.
    Rule(Box<Rule>),
    /// A place that rules may jump to (`SecMarker`).
    Marker(Box<str>),
}

/// A rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Where it stands.
    pub place: Place,
    /// When it runs.
    pub phase: Phase,
    /// Which requests it is about.
    pub scope: Scope,
    /// Whether it counts.
    pub mode: Mode,
    /// The lowest paranoia level at which it runs.
    pub paranoia: u8,
    /// What must match, all of it. Never empty; the first link is the head of the chain.
    pub links: Vec<Link>,
    /// What a match means for the request.
    pub action: Action,
    /// What else a match does, in order.
    pub effects: Vec<Effect>,
    /// Tags.
    pub tags: Vec<Box<str>>,
    /// What a match says.
    pub msg: Template,
    /// What of the match is recorded, where the rule says so itself (`logdata`).
    pub data: Option<Template>,
    /// How grave a match is, where the rule says so.
    pub severity: Option<Severity>,
    /// Whether a match is recorded at all (`nolog` is not).
    pub logged: bool,
}

/// When a rule runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// At the head gate: request line, header fields, cookies, query.
    RequestHead = 1,
    /// At the body gate, which also runs when there is no body.
    RequestBody = 2,
    /// On the response's head.
    ResponseHead = 3,
    /// On the response's body.
    ResponseBody = 4,
    /// For the record only.
    Logging = 5,
}

/// One link of a chain.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// The texts it looks at; empty for one that always matches (`SecAction`).
    pub inputs: Vec<Input>,
    /// What is undone to each before it is judged, in order.
    pub transforms: Vec<Transform>,
    /// Whether the value is judged again after each transformation that changed it.
    pub multi_match: bool,
    /// What a text must be.
    pub test: Test,
    /// Whether groups of an expression are kept (`TX:0` to `TX:9`).
    pub capture: bool,
    /// What a match of this link does, once for each text that matched.
    pub effects: Vec<Effect>,
}

/// What a link looks at.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Texts of the request, added or taken away.
    Texts(Target),
    /// How many there are (`&ARGS`), of all of these together.
    Count(Vec<Variable>),
    /// A variable that has no word in `targets`.
    Variable(Variable),
    /// One that is taken away again.
    Without(Variable),
}

/// A variable of SecLang beyond the collections of `targets`.
#[derive(Clone, Debug, PartialEq)]
pub struct Variable {
    /// Which.
    pub kind: VariableKind,
    /// Which of its members.
    pub selector: Selector,
}

/// The kinds of variables.
#[derive(Clone, Debug, PartialEq)]
pub enum VariableKind {
    /// The texts of a target, where they are counted.
    Texts(Target),
    /// `TX`, captures included.
    Transaction,
    /// Another collection that rules write: `IP`, `GLOBAL`, `SESSION`.
    Stored(Box<str>),
    /// `MATCHED_VAR` and `MATCHED_VARS`: what the link before matched.
    Matched,
    /// `MATCHED_VAR_NAME` and `MATCHED_VARS_NAMES`.
    MatchedName,
    /// Any other, by its name in capitals: `REQBODY_PROCESSOR`, `RESPONSE_STATUS`, `DURATION`.
    Named(Box<str>),
}

/// What a text must be.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// Anything at all, even where there is no text (`SecAction`, `@unconditionalMatch`).
    Always,
    /// All of these hold.
    All(Vec<Condition>),
    /// One of these holds.
    Any(Vec<Condition>),
}

/// An operator with its argument.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// Where it stands.
    pub place: Place,
    /// The operator.
    pub operator: OperatorKind,
    /// What it compares with.
    pub argument: Operand,
    /// Whether it must not match.
    pub negated: bool,
}

/// What an operator compares with.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// Known when the policy is compiled.
    Fixed(Argument),
    /// Known only when the rule runs (`@within %{tx.allowed_methods}`).
    Macro(Template),
}

/// A text with macros in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Template {
    /// Its pieces, in order.
    pub pieces: Vec<Piece>,
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// As it stands.
    Text(Box<str>),
    /// The value of a variable (`%{tx.0}`): of the first of these that has one.
    Macro(Vec<Variable>),
}

/// What a match means for the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is refused.
    Deny,
    /// It is refused once the scores reach the threshold.
    Score(u32),
    /// It is recorded.
    Log,
    /// Nothing; the rule is there for its effects.
    Pass,
}

/// What else a match does.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Changes a variable (`setvar`); the name may hold macros.
    Set {
        /// The collection, `tx` or a persistent one.
        collection: Box<str>,
        /// The name.
        name: Template,
        /// What becomes of it.
        change: Change,
    },
    /// From here on, a collection is about somebody whom later requests share (`initcol`).
    Recall {
        /// The collection.
        kept: Kept,
        /// Whom it is about.
        key: Template,
    },
    /// Lets go of a variable after a time (`expirevar`).
    Expire {
        /// The collection.
        kept: Kept,
        /// The name.
        name: Template,
        /// In how many seconds.
        seconds: Template,
    },
    /// Goes on behind a marker, within the phase (`skipAfter`).
    SkipAfter(Box<str>),
    /// No further rule is asked (`allow`), about this phase, the request, or at all.
    Allow(Allowed),
    /// Changes what the engine does with this request (`ctl`).
    Control(Control),
}

/// How much `allow` allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// The rest of the phase.
    Phase,
    /// The phases of the request.
    Request,
    /// All phases but the last.
    Everything,
}

/// What becomes of a variable.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// It gets this value.
    Value(Template),
    /// This number is added.
    Add(Template),
    /// This number is taken away.
    Subtract(Template),
    /// It goes away.
    Unset,
}

/// What `ctl` changes for this request.
#[derive(Clone, Debug, PartialEq)]
pub enum Control {
    /// These rules do not run.
    RemoveRules(RuleSet),
    /// These rules do not look at these texts.
    RemoveTarget(RuleSet, Vec<Input>),
    /// Which parser reads the body.
    BodyProcessor(Box<str>),
    /// Any other setting, by name (`forceRequestBodyVariable`, `auditEngine`).
    Setting(Box<str>, Box<str>),
}

/// Rules, named from outside.
#[derive(Clone, Debug, PartialEq)]
pub enum RuleSet {
    /// By id, both ends included.
    Ids(u32, u32),
    /// By tag.
    Tag(Box<str>),
    /// By message.
    Message(Box<str>),
}

/// How grave a match is (the scale of syslog).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names of syslog say it all")]
pub enum Severity {
    Emergency,
    Alert,
    Critical,
    Error,
    Warning,
    Notice,
    Info,
    Debug,
}

/// Texts that a scoped exclusion keeps from rules.
#[derive(Clone, Debug, PartialEq)]
pub struct Exclusion {
    /// For which requests.
    pub scope: Scope,
    /// The rules that are kept from them, by their place among the rules of the program.
    pub rules: Vec<usize>,
    /// The texts; none: the rules do not run at all.
    pub targets: Vec<Target>,
}

impl Template {
    /// A text without macros.
    pub fn text(text: &str) -> Template {
        match text {
            "" => Template::default(),
            _ => Template { pieces: vec![Piece::Text(text.into())] },
        }
    }

    /// The text, if it has no macros.
    pub fn as_text(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }
}

impl Test {
    /// The conditions.
    pub fn conditions(&self) -> &[Condition] {
        match self {
            Test::Always => &[],
            Test::All(conditions) | Test::Any(conditions) => conditions,
        }
    }
}

impl Link {
    /// The texts of the request that it looks at, or does not.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.inputs.iter().filter_map(|input| match input {
            Input::Texts(target) => Some(target),
            Input::Count(_) | Input::Variable(_) | Input::Without(_) => None,
        })
    }
}

impl Rule {
    /// The gate at which all of its texts are known (a chain as a whole).
    pub fn earliest_phase(links: &[Link]) -> Phase {
        let in_body = links.iter().flat_map(|link| &link.inputs).any(|input| match input {
            Input::Texts(target) => target.collection.in_body(),
            Input::Count(_) | Input::Variable(_) | Input::Without(_) => false,
        });
        if in_body { Phase::RequestBody } else { Phase::RequestHead }
    }
}

/// What of a rule the engine does not run, if anything. It runs all that TOML can say.
pub fn unsupported(rule: &Rule) -> Option<&'static str> {
    if rule.phase > Phase::RequestBody {
        return Some("rules on responses");
    }
    if rule.msg.as_text().is_none() || rule.data.is_some() || !rule.logged {
        return Some("macros in messages, `logdata` and `nolog`");
    }
    if rule.links.iter().flat_map(|link| &link.effects).chain(&rule.effects).next().is_some() {
        return Some("variables, jumps and `ctl`");
    }
    for link in &rule.links {
        if link.multi_match || link.capture {
            return Some("`multiMatch` and `capture`");
        }
        if link.inputs.iter().any(|input| !matches!(input, Input::Texts(_))) {
            return Some("counts, and variables beyond the request's texts");
        }
        if link.test == Test::Always {
            return Some("rules without an operator");
        }
        if link.test.conditions().iter().any(|condition| matches!(condition.argument, Operand::Macro(_))) {
            return Some("macros in operator arguments");
        }
    }
    None
}
