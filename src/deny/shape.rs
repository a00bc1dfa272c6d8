//! Pieces that the problem JSON at level `full` and the decision log write alike.

use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer};

use crate::decision::{RuleRef, ShadowHit, WafNotes};
use crate::facts::Identity;
use crate::policy::Policy;
use crate::policy::rbac::{Nearest, Unmet};

/// A list written from an iterator that can be made again.
pub(super) struct Each<F>(pub F);

impl<I: Iterator<Item: Serialize>, F: Fn() -> I> Serialize for Each<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

// === nearest ===

/// The nearest grants: one entry for each thing that one of them lacks.
#[derive(Clone, Copy, Debug)]
pub struct NearestShape<'a> {
    /// For the names.
    pub policy: &'a Policy,
    /// Who asked.
    pub identity: &'a Identity,
    /// The grants.
    pub nearest: &'a [Nearest],
}

#[derive(Serialize)]
struct Lacking<'a, N: Serialize, H: Serialize> {
    rule: &'a str,
    unmet: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    needs: Option<N>,
    #[serde(skip_serializing_if = "Option::is_none")]
    have: Option<H>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<jiff::Timestamp>,
}

impl Serialize for NearestShape<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for (rule, unmet) in self.entries() {
            let plain = Lacking { rule, unmet: word(unmet), needs: None::<()>, have: None::<()>, at: None };
            match unmet {
                Unmet::Roles(roles) => list.serialize_element(&Lacking {
                    rule,
                    unmet: word(unmet),
                    needs: Some(Each(|| roles.iter().map(|role| self.policy.roles.name(*role)))),
                    have: Some(self.roles()),
                    at: None,
                })?,
                Unmet::Scopes(scopes) => list.serialize_element(&Lacking {
                    rule,
                    unmet: word(unmet),
                    needs: Some(&scopes[..]),
                    have: Some(self.scopes()),
                    at: None,
                })?,
                Unmet::Subject | Unmet::Condition => list.serialize_element(&plain)?,
                Unmet::NotYet(at) | Unmet::Expired(at) => {
                    list.serialize_element(&Lacking { at: Some(*at), ..plain })?;
                }
            }
        }
        list.end()
    }
}

impl<'a> NearestShape<'a> {
    /// Each grant with each thing that it lacks.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, &'a Unmet)> {
        let NearestShape { policy, nearest, .. } = *self;
        nearest.iter().flat_map(move |grant| {
            grant.unmet.iter().map(move |unmet| (policy.rules.name(RuleRef::Written(grant.rule)), unmet))
        })
    }

    /// The roles that the caller's credential brought.
    fn roles(&self) -> &'a [Box<str>] {
        self.identity.who().map_or(&[], |who| &who.holder.roles)
    }

    fn scopes(&self) -> &'a [Box<str>] {
        self.identity.who().map_or(&[], |who| &who.holder.scopes)
    }
}

/// What is unmet, by the key of the grant that says so.
pub(super) fn word(unmet: &Unmet) -> &'static str {
    match unmet {
        Unmet::Roles(_) => "roles",
        Unmet::Scopes(_) => "scopes",
        Unmet::Subject => "subjects",
        Unmet::Condition => "when",
        Unmet::NotYet(_) => "from",
        Unmet::Expired(_) => "until",
    }
}

// === waf ===

/// The WAF's score and matches.
#[derive(Clone, Copy, Debug)]
pub struct WafShape<'a> {
    /// For the names.
    pub policy: &'a Policy,
    /// What the WAF noted.
    pub notes: &'a WafNotes,
    /// Whether to say what became of the body.
    pub body: bool,
}

#[derive(Serialize)]
struct Waf<M: Serialize> {
    score: u32,
    threshold: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'static str>,
    matched: M,
}

#[derive(Serialize)]
struct Match<'a> {
    id: &'a str,
    rule: &'a str,
    target: &'a str,
    score: u32,
    #[serde(skip_serializing_if = "str::is_empty")]
    msg: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    data: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    shadow: bool,
}

impl WafShape<'_> {
    /// Whether there is anything to say: some WAF rule concerned the request.
    pub fn is_empty(&self) -> bool {
        self.notes.threshold == 0 && self.notes.matched.is_empty()
    }
}

impl Serialize for WafShape<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let WafShape { policy, notes, body } = *self;
        Waf {
            score: notes.score,
            threshold: notes.threshold,
            body: body.then(|| notes.body.name()),
            matched: Each(|| {
                notes.matched.iter().map(|found| {
                    let rule = policy.rules.name(found.rule);
                    Match {
                        id: rule.split_once('/').map_or(rule, |(_, id)| id),
                        rule,
                        target: &found.target,
                        score: found.score,
                        msg: &found.msg,
                        data: &found.data,
                        shadow: found.shadow,
                    }
                })
            }),
        }
        .serialize(serializer)
    }
}

// === shadow ===

/// The shadow rules that would have refused.
#[derive(Clone, Copy, Debug)]
pub struct ShadowShape<'a> {
    /// For the names.
    pub policy: &'a Policy,
    /// The hits.
    pub hits: &'a [ShadowHit],
}

#[derive(Serialize)]
struct Shadow<'a> {
    rule: &'a str,
    reason: &'static str,
}

impl ShadowShape<'_> {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.hits.is_empty()
    }
}

impl Serialize for ShadowShape<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(
            self.hits
                .iter()
                .map(|hit| Shadow { rule: self.policy.rules.name(hit.rule), reason: hit.reason.info().code }),
        )
    }
}
