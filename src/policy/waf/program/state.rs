//! What one request has set so far: variables, captures, what was matched, what `ctl` said.

use std::collections::HashMap;
use std::sync::Arc;

use super::body::BodyState;
use crate::decision::Written;
use crate::policy::waf::bits::Bits;
use crate::policy::waf::ir::Allowed;
use crate::policy::waf::matcher::Scratch;
use crate::policy::waf::memory::{Kept, Memory, Owner, Remembered};
use crate::policy::waf::values::Values;

/// The variables that rules name, numbered. The captures `TX:0` to `TX:9` come first.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots {
    /// `tx.name`, in small letters.
    pub(super) names: Vec<Box<str>>,
    by_name: HashMap<Box<str>, usize>,
}

/// How many captures there are.
pub(super) const CAPTURES: usize = 10;

impl Slots {
    pub(super) fn new() -> Slots {
        let mut slots = Slots::default();
        for number in 0..CAPTURES {
            slots.number("tx", &number.to_string());
        }
        slots
    }

    /// The number of a variable, made where there is none.
    pub(super) fn number(&mut self, collection: &str, name: &str) -> usize {
        let full = full_name(collection, name).into_boxed_str();
        if let Some(slot) = self.by_name.get(&full) {
            return *slot;
        }
        self.names.push(full.clone());
        self.by_name.insert(full, self.names.len() - 1);
        self.names.len() - 1
    }

    /// The number of a variable that some rule names.
    pub(super) fn find(&self, full: &str) -> Option<usize> {
        self.by_name.get(full).copied()
    }
}

/// A variable's name among all collections.
pub(super) fn full_name(collection: &str, name: &str) -> String {
    format!("{collection}.{}", name.to_ascii_lowercase())
}

/// The value of a variable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Held {
    #[default]
    Nothing,
    Number(i64),
    Fixed(Arc<[u8]>),
    Text(Vec<u8>),
}

impl From<Remembered> for Held {
    fn from(value: Remembered) -> Held {
        match value {
            Remembered::Number(number) => Held::Number(number),
            Remembered::Text(text) => Held::Text(text.into()),
        }
    }
}

impl Held {
    /// What is remembered of it.
    pub(super) fn remembered(&self) -> Option<Remembered> {
        Some(match self {
            Held::Nothing => return None,
            Held::Number(number) => Remembered::Number(*number),
            Held::Fixed(text) => Remembered::Text((**text).into()),
            Held::Text(text) => Remembered::Text(text.as_slice().into()),
        })
    }

    pub(super) fn is_set(&self) -> bool {
        *self != Held::Nothing
    }

    pub(super) fn number(&self) -> i64 {
        match self {
            Held::Nothing => 0,
            Held::Number(number) => *number,
            Held::Fixed(text) => number(text),
            Held::Text(text) => number(text),
        }
    }

    pub(super) fn append_to(&self, out: &mut Vec<u8>) {
        match self {
            Held::Nothing => {}
            Held::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
            Held::Fixed(text) => out.extend_from_slice(text),
            Held::Text(text) => out.extend_from_slice(text),
        }
    }
}

/// The number that a text begins with, as C's `atoi` reads it; 0 where there is none.
pub(in crate::policy::waf) fn number(text: &[u8]) -> i64 {
    let text = text.trim_ascii_start();
    let (negative, digits) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, text),
    };
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    let value =
        digits.fold(0i64, |value, digit| value.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
    if negative { -value } else { value }
}

/// How a matched text is called.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Name {
    /// Not at all.
    #[default]
    None,
    /// As this text of the request: `ARGS:x`.
    Value(usize),
    /// As this variable: `TX:x`.
    Slot(usize),
    /// As this variable, which was named only while running.
    Named(usize),
    Scalar(&'static str),
}

/// A text that a rule matched.
#[derive(Clone, Debug, Default)]
pub(super) struct MatchedText {
    /// What it is called, where anybody asks.
    pub(super) name: Name,
    /// Behind the transformations.
    pub(super) text: Vec<u8>,
    /// Whether it may be a secret, which records do not show.
    pub(super) secret: bool,
}

/// What one request has set so far.
#[derive(Clone, Debug, Default)]
pub(in crate::policy::waf) struct Transaction {
    pub(super) values: Values,
    pub(super) scratch: Scratch,
    /// What the program starts with, by slot.
    pub(super) initial: Arc<[Held]>,
    /// What has been set since, by slot.
    pub(super) held: Vec<Option<Held>>,
    /// Variables that were named only while running.
    pub(super) named: Vec<(String, Held)>,
    /// What the rule or link before matched, the last one last.
    pub(super) matched: Vec<MatchedText>,
    /// Rules that do not run for this request.
    pub(super) removed: Bits,
    /// The controls that keep texts from rules, by rule and effect.
    pub(super) hidden: Vec<Arc<super::parts::Hidden>>,
    pub(super) body: BodyState,
    pub(super) allowed: Option<Allowed>,
    pub(super) off: bool,
    pub(super) detection_only: bool,
    /// What rules added to anomaly scores: rule, level, amount, and whether for the response.
    pub(super) scores: Vec<Scored>,
    pub(super) response: ResponseFacts,
    pub(super) started: bool,
    pub(super) spent: u64,
    /// What is remembered from request to request, and whom the collections are about.
    pub(super) memory: Option<Arc<dyn Memory>>,
    pub(super) owners: [Option<Box<[u8]>>; Kept::COUNT],
}

/// What is known of the response beside its texts.
#[derive(Clone, Debug, Default)]
pub(super) struct ResponseFacts {
    pub(super) status: u16,
    pub(super) content_type: Vec<u8>,
    pub(super) length: usize,
}

/// What a rule added to a score.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scored {
    pub(super) rule: Written,
    pub(super) paranoia: u8,
    pub(super) amount: i64,
    pub(super) of_response: bool,
}

impl Transaction {
    /// One whose collections outlive it.
    pub(in crate::policy::waf) fn with(memory: Option<Arc<dyn Memory>>) -> Transaction {
        Transaction { memory, ..Transaction::default() }
    }

    /// Where the variables of a collection are kept, and whom they are about.
    pub(super) fn kept(&self, kept: Kept) -> Option<(&dyn Memory, Owner<'_>)> {
        let key = self.owners.get(kept as usize)?.as_deref()?;
        Some((self.memory.as_deref()?, Owner { kept, key }))
    }

    /// Whether `ctl:ruleEngine=DetectionOnly` was said.
    pub(in crate::policy::waf) fn only_detects(&self) -> bool {
        self.detection_only
    }

    pub(super) fn read(&self, slot: usize) -> &Held {
        const NOTHING: &Held = &Held::Nothing;
        match self.held.get(slot) {
            Some(Some(held)) => held,
            Some(None) | None => self.initial.get(slot).unwrap_or(NOTHING),
        }
    }

    pub(super) fn write(&mut self, slot: usize, value: Held) {
        if self.held.len() <= slot {
            self.held.resize(slot + 1, None);
        }
        if let Some(held) = self.held.get_mut(slot) {
            *held = Some(value);
        }
    }
}
