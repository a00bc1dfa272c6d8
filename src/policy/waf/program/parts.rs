//! What a program is made of, ready to run.

use std::sync::Arc;

use regex_automata::meta;

use crate::decision::Written;
use crate::policy::diagnostic::Place;
use crate::policy::waf::bits::Bits;
use crate::policy::waf::ir::{Action, Allowed};
use crate::policy::waf::matcher::CompiledTest;
use crate::policy::waf::memory::Kept;
use crate::policy::waf::operators::OperatorKind;
use crate::policy::waf::seclang;
use crate::policy::waf::sight::View;
use crate::policy::waf::transforms::Transform;

/// A rule, ready to run.
#[derive(Debug)]
pub(in crate::policy::waf) struct ProgramRule {
    pub(in crate::policy::waf) written: Written,
    pub(super) place: Place,
    pub(super) paranoia: u8,
    pub(super) links: Vec<Link>,
    pub(super) action: Action,
    pub(super) logged: bool,
    pub(super) msg: Text,
    pub(super) data: Option<Text>,
    /// Where its phase goes on when it matched.
    pub(super) skip: Option<usize>,
    pub(super) allow: Option<Allowed>,
}

/// A link of a chain.
#[derive(Debug)]
pub(in crate::policy::waf) struct Link {
    /// The texts of the request; none: it looks at none.
    pub(super) view: Option<Arc<View>>,
    pub(super) asked: Vec<Asked>,
    pub(super) transforms: Box<[Transform]>,
    pub(super) multi_match: bool,
    pub(super) test: LinkTest,
    pub(super) capture: bool,
    pub(super) effects: Vec<Done>,
    /// Whether the matcher can look for it.
    pub(super) found_by_matcher: bool,
}

/// Something other than a text of the request that a link looks at.
#[derive(Debug)]
pub(super) enum Asked {
    Slot(usize),
    /// The variables of a collection whose names match; all of them without an expression.
    Slots(Box<str>, Option<Box<meta::Regex>>),
    Matched,
    MatchedNames,
    LastMatched,
    LastMatchedName,
    Scalar(&'static str),
    Count(Vec<Asked>),
    /// How many texts there are.
    CountTexts(Arc<View>),
}

/// What a link demands.
#[derive(Debug)]
pub(in crate::policy::waf) enum LinkTest {
    Always,
    Fixed(CompiledTest),
    /// Numbers are compared as C's `atoi` reads them.
    Number {
        kind: OperatorKind,
        with: Number,
        negated: bool,
    },
    Text {
        kind: OperatorKind,
        with: Text,
        negated: bool,
    },
}

#[derive(Debug)]
pub(in crate::policy::waf) enum Number {
    Fixed(i64),
    Text(Text),
}

/// A text with macros, ready to be put together.
#[derive(Clone, Debug, Default)]
pub(in crate::policy::waf) struct Text(pub(super) Vec<TextPiece>);

#[derive(Clone, Debug)]
pub(super) enum TextPiece {
    Fixed(Arc<[u8]>),
    Slot(usize),
    LastMatched,
    LastMatchedName,
    Scalar(&'static str),
    /// The first text that one of these sees.
    Texts(Vec<Arc<View>>),
}

/// What a match does.
#[derive(Debug)]
pub(super) enum Done {
    Set { slot: Assigned, change: Changed, scores: bool },
    Recall { kept: Kept, key: Text },
    Expire { kept: Kept, name: Text, seconds: Text },
    RemoveRules(Arc<Bits>),
    Hide(Arc<Hidden>),
    Processor(super::body::Processor),
    Engine(seclang::EngineMode),
    ForceBody(bool),
    RequestBody(bool),
}

/// What is set.
#[derive(Debug)]
pub(super) enum Assigned {
    Slot(usize),
    Named(Box<str>, Text),
}

#[derive(Debug)]
pub(super) enum Changed {
    Value(Text),
    Add(Text),
    Subtract(Text),
    Unset,
}

/// Texts that are kept from rules.
#[derive(Debug)]
pub(in crate::policy::waf) struct Hidden {
    pub(super) rules: Bits,
    pub(super) texts: View,
    pub(super) slots: Vec<usize>,
}

impl Link {
    /// Whether it matches whatever the request, and looks at nothing.
    pub(super) fn is_unconditional(&self) -> bool {
        matches!(self.test, LinkTest::Always) && self.view.is_none() && self.asked.is_empty()
    }

    /// The work of asking about a text, in steps for each byte.
    pub(super) fn weight(&self) -> u64 {
        let test = match &self.test {
            LinkTest::Fixed(test) => test.weight(),
            LinkTest::Always | LinkTest::Number { .. } | LinkTest::Text { .. } => 1,
        };
        test + self.transforms.len() as u64
    }
}

impl ProgramRule {
    /// Whether it only weighs what other rules have found: all that it looks at are variables.
    pub(super) fn is_summary(&self) -> bool {
        self.links.first().is_some_and(|head| {
            head.view.is_none()
                && !head.asked.is_empty()
                && head.asked.iter().all(|asked| matches!(asked, Asked::Slot(_)))
        })
    }
}
