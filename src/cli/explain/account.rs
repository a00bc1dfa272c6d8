//! Everything there is to tell about one decision, before it is told in words or as JSON.

use jiff::Timestamp;

use super::asked::Asked;
use super::hidden::Hidden;
use super::what_if::Variation;
use super::{curl, written};
use crate::audit::is_hash;
use crate::cli::layout::{list, printable};
use crate::cli::request::{self, ASSUMED};
use crate::config::Setup;
use crate::decision::{Decision, Denial, Outcome, RuleRef, Stage, Step, Trace, Written};
use crate::facts::{Body, Client, Derivation, Facts, Identity};
use crate::policy::condition::{Part, Unheld};
use crate::policy::disclosure::Level;
use crate::policy::intake::AddressSource;
use crate::policy::rbac::{Nearest, Unmet};
use crate::policy::rules::RuleInfo;
use crate::policy::{Admitted, Caller, Policy, Sample, World};

/// One decision with everything that led to it.
#[derive(Debug)]
pub(super) struct Account<'a> {
    pub(super) setup: &'a Setup,
    pub(super) sample: Sample,
    pub(super) decision: Decision,
    pub(super) trace: Trace,
    /// The facts before the first gate.
    pub(super) admitted: Admitted,
    /// Who asks; none when the request was refused before anyone looked.
    pub(super) identity: Option<Identity>,
    /// The grants that nearly allowed the request, the nearest first; only for refusals of `rbac`.
    pub(super) nearest: Vec<Nearest>,
    /// Of those, the conditions that do not hold.
    pub(super) unheld: Vec<(Written, Unheld)>,
    /// The same request with something changed.
    pub(super) what_if: Vec<Variation>,
    /// Facts that nobody stated.
    pub(super) assumed: &'a [String],
    /// What is kept of the client, where another address stands for it.
    pub(super) hidden: Option<&'a Hidden>,
    /// How much the caller is told, and where that is written, unless it is the default.
    pub(super) level: (Level, Option<&'a str>),
    /// The command that makes the request.
    pub(super) curl: curl::Command,
    /// What refused it is known to be over: a ban that has ended, a rule past its end.
    pub(super) over: bool,
}

/// How a request came past one gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    Passed,
    Refused,
    NotReached,
}

impl<'a> Account<'a> {
    /// Judges a request. With what else it is compared is for whoever asks.
    pub(super) fn new(setup: &'a Setup, asked: &'a Asked, now: Timestamp) -> Account<'a> {
        Account::judged(setup, &request::world(setup), asked, now)
    }

    /// The same with what is known of keys, revocations and bans.
    pub(super) fn judged(setup: &'a Setup, world: &World, asked: &'a Asked, now: Timestamp) -> Account<'a> {
        let policy = &setup.policy;
        let sample = asked.request.clone().sample(policy, now, asked.caller.clone());
        let mut trace = Trace::default();
        let decision = policy.decide(&sample, world, Some(&mut trace));
        let admitted = policy.admit_sample(&sample);
        let reached = |stage| passage(&decision, stage) != Passage::NotReached;
        let identity = reached(Stage::Authn).then(|| policy.identify_sample(admitted.route, &sample, world));
        let denial = match &decision.outcome {
            Outcome::Deny(denial) => Some(denial),
            Outcome::Allow(_) => None,
        };
        let known = identity.as_ref().unwrap_or(&Identity::Nobody);
        let facts = policy.facts(&admitted, &sample.headers, known, &Body::Absent, now);
        let (nearest, mut unheld) = nearly(policy, denial, &facts);
        if let Some(hidden) = &asked.hidden {
            unheld.iter_mut().for_each(|(_, unheld)| hidden.hedge(unheld));
        }
        unheld.iter_mut().for_each(|(_, unheld)| hedge_hashes(unheld));
        let level = policy.disclosure.level_at(&facts, denial.map(|denial| denial.stage));
        let curl = curl::Command::new(setup, asked, &sample, admitted.route);
        let assumed = &asked.assumed;
        Account {
            setup,
            sample,
            decision,
            trace,
            admitted,
            identity,
            nearest,
            unheld,
            what_if: Vec::new(),
            assumed,
            hidden: asked.hidden.as_ref(),
            level,
            curl,
            over: false,
        }
    }

    /// The policy that judged.
    pub(super) fn policy(&self) -> &'a Policy {
        &self.setup.policy
    }

    /// The refusal, if it is one.
    pub(super) fn denial(&self) -> Option<&Denial> {
        match &self.decision.outcome {
            Outcome::Deny(denial) => Some(denial),
            Outcome::Allow(_) => None,
        }
    }

    /// When the deny that refused ends by itself, where the request would be refused then all the same.
    pub(super) fn ends_in_vain(&self) -> Option<Timestamp> {
        match self.denial()? {
            Denial { stage: Stage::Rbac, rule: RuleRef::Written(rule), until: None, .. } => {
                self.policy().rbac.ends(*rule)
            }
            _ => None,
        }
    }

    /// Of a refusal by a written deny, that no grant allows the request either: a sentence, with what the
    /// nearest grant needs.
    pub(super) fn ungranted(&self) -> Option<String> {
        let policy = self.policy();
        let by_deny = matches!(self.denial()?, Denial { stage: Stage::Rbac, rule: RuleRef::Written(_), .. });
        let known = self.identity.as_ref().unwrap_or(&Identity::Nobody);
        let sample = &self.sample;
        let facts = policy.facts(&self.admitted, &sample.headers, known, &Body::Absent, sample.now);
        if !by_deny || policy.rbac.is_granted(&facts) {
            return None;
        }
        let nearest = policy.rbac.nearest(&facts).into_iter().next().map(|near| {
            let unheld = policy.rbac.unheld(near.rule, &facts);
            let needs: Vec<String> =
                near.unmet.iter().map(|unmet| need(unmet, unheld.as_ref(), policy)).collect();
            format!("; the nearest, {}, needs {}", policy.rules.get(near.rule).name, needs.join(", and "))
        });
        Some(format!("Without it no grant would allow this either{}.", nearest.unwrap_or_default()))
    }

    /// What of the condition of a grant does not hold, if it is one of the nearest.
    pub(super) fn unheld(&self, rule: Written) -> Option<&Unheld> {
        self.unheld.iter().find(|(own, _)| *own == rule).map(|(_, unheld)| unheld)
    }

    /// The status that the caller sees of the refusal, if it is one.
    pub(super) fn sent_status(&self) -> Option<u16> {
        self.denial().map(|denial| self.level.0.sent_status(denial))
    }

    /// What the policy knows of a rule that somebody wrote.
    pub(super) fn info(&self, rule: RuleRef) -> Option<&'a RuleInfo> {
        match rule {
            RuleRef::Written(written) => Some(self.policy().rules.get(written)),
            RuleRef::Builtin(_) => None,
        }
    }

    /// The name of a rule.
    pub(super) fn name(&self, rule: RuleRef) -> &'a str {
        self.policy().rules.name(rule)
    }

    /// The text of a rule: line numbers and lines for a written one, a sentence for a built-in one.
    pub(super) fn rule_text(&self, rule: RuleRef) -> Vec<(Option<u32>, String)> {
        match rule {
            RuleRef::Builtin(builtin) => vec![(None, builtin.info().text.to_owned())],
            RuleRef::Written(rule) => {
                let place = self.policy().rules.get(rule).place;
                let lines = written::lines(&self.setup.sources, place).into_iter();
                lines.map(|(line, text)| (Some(line), text)).collect()
            }
        }
    }

    /// How the request came past a gate.
    pub(super) fn passage(&self, stage: Stage) -> Passage {
        passage(&self.decision, stage)
    }

    /// What a gate did, step by step.
    pub(super) fn steps(&self, stage: Stage) -> impl Iterator<Item = &Step> {
        self.trace.steps.iter().filter(move |step| step.stage == stage)
    }

    /// Who asks, in a word.
    pub(super) fn who(&self) -> String {
        match (&self.identity, &self.sample.caller) {
            (Some(Identity::Valid(who)), _) => printable(&who.holder.subject).into_owned(),
            (Some(Identity::Nobody), _) => "nobody in particular".to_owned(),
            (Some(Identity::Invalid(_)), _) => "somebody who is not believed".to_owned(),
            (None, Caller::Assumed(holder)) => printable(&holder.subject).into_owned(),
            (None, Caller::FromHeaders) => "somebody".to_owned(),
        }
    }

    /// What was established about who asks, in one sentence.
    pub(super) fn identity_words(&self) -> String {
        let who = match &self.identity {
            None => return "not looked at".to_owned(),
            Some(Identity::Nobody) => return "nobody was shown".to_owned(),
            Some(Identity::Invalid(problem)) => return format!("not believed: {}", problem.note),
            Some(Identity::Valid(who)) => who,
        };
        let holder = &who.holder;
        let source = match &*holder.source {
            ASSUMED => "assumed".to_owned(),
            source => format!("verified by {source}"),
        };
        let mut words = format!("{} ({source})", holder.subject);
        for (names, what) in [
            (&holder.roles, "roles"),
            (&holder.scopes, "scopes"),
            (&holder.ignored_roles, "ignored roles"),
            (&who.undeclared, "undeclared roles"),
        ] {
            if !names.is_empty() {
                words.push_str(&format!(", {what} {}", names.join(" ")));
            }
        }
        if let Some(at) = holder.expires_at {
            words.push_str(&format!(", until {at}"));
        }
        words
    }

    /// Where the request came from, as far as that is known.
    pub(super) fn origin(&self) -> String {
        match self.hidden {
            Some(hidden) => hidden.kept.clone(),
            None => self.admitted.client.ip.to_string(),
        }
    }

    /// How the client's address was found, in one sentence.
    pub(super) fn client_words(&self) -> String {
        let Client { ip, peer, via, .. } = &self.admitted.client;
        if let Some(hidden) = self.hidden {
            return hidden.words(*ip);
        }
        let proxies = &self.policy().proxies;
        match via {
            Derivation::Header { name, trusted } => {
                let hops: Vec<String> = trusted.iter().map(ToString::to_string).collect();
                let past = match hops.is_empty() {
                    true => String::new(),
                    false => format!(", past the trusted {}", list(&hops, " and ")),
                };
                format!("{ip}, from {name} of the trusted proxy {peer}{past}")
            }
            Derivation::Peer => {
                let why = match proxies.source {
                    AddressSource::Peer => "`client_address` is \"peer\"",
                    _ if proxies.proxies.is_empty() => "there are no trusted proxies",
                    _ if !proxies.trusts(*peer) => "it is not one of the trusted proxies",
                    _ => "it is a trusted proxy but named no client",
                };
                format!("{ip}, the other end of the connection: {why}")
            }
            Derivation::Unreadable => {
                format!("unknown: the trusted proxy {peer} sent a forwarding header that cannot be read")
            }
        }
    }
}

/// The grants that nearly allowed what was refused, and what of their conditions does not hold.
pub(super) fn nearly(
    policy: &Policy,
    denial: Option<&Denial>,
    facts: &Facts<'_>,
) -> (Vec<Nearest>, Vec<(Written, Unheld)>) {
    let Some(denial) = denial.filter(|denial| denial.stage == Stage::Rbac) else {
        return (Vec::new(), Vec::new());
    };
    let nearest = policy.rbac.nearest_to(denial, facts);
    let conditioned = nearest.iter().filter(|near| near.unmet.contains(&Unmet::Condition));
    let unheld =
        conditioned.filter_map(|near| Some((near.rule, policy.rbac.unheld(near.rule, facts)?))).collect();
    (nearest, unheld)
}

/// How a decision came past a gate.
pub(super) fn passage(decision: &Decision, stage: Stage) -> Passage {
    let place = |stage| Stage::ALL.iter().position(|other| *other == stage);
    match &decision.outcome {
        // Behind the gate that answers by itself, no other is asked.
        Outcome::Allow(RuleRef::Builtin(rule)) if rule.own_status().is_some() => {
            match place(stage) <= place(rule.info().stage) {
                true => Passage::Passed,
                false => Passage::NotReached,
            }
        }
        Outcome::Allow(_) => Passage::Passed,
        Outcome::Deny(denial) => match place(stage).cmp(&place(denial.stage)) {
            std::cmp::Ordering::Less => Passage::Passed,
            std::cmp::Ordering::Equal => Passage::Refused,
            std::cmp::Ordering::Greater => Passage::NotReached,
        },
    }
}

/// What a grant lacks, as the end of a sentence that begins with "needs".
pub(super) fn need(unmet: &Unmet, unheld: Option<&Unheld>, policy: &Policy) -> String {
    match unmet {
        Unmet::Roles(roles) => {
            let names: Vec<&str> = roles.iter().map(|role| policy.roles.name(*role)).collect();
            let word = if names.len() == 1 { "the role" } else { "one of the roles" };
            format!("{word} {}", list(&names, " or "))
        }
        Unmet::Scopes(scopes) => {
            let word = if scopes.len() == 1 { "the scope" } else { "the scopes" };
            format!("{word} {}", list(scopes, " and "))
        }
        Unmet::Subject => "another subject".to_owned(),
        Unmet::Condition => match unheld {
            Some(unheld) => format!("its `when` to hold, `{}`", unheld.text),
            None => "its `when` to hold".to_owned(),
        },
        Unmet::NotYet(from) => format!("to begin, at {from}"),
        Unmet::Expired(until) => format!("a later end: it ended at {until}"),
    }
}

/// What is said of a value that a condition looks at, behind its name.
const ONLY_A_HASH: &str = " is kept only as a hash";

/// What is said of a part of a condition that does not hold as far as is known.
pub(super) fn fate(part: &Part) -> &'static str {
    match part.seen.iter().any(|seen| seen.ends_with(ONLY_A_HASH)) {
        true => "may or may not hold",
        false => "does not hold",
    }
}

/// Says of what a condition saw that it was a hash that the record keeps instead.
fn hedge_hashes(unheld: &mut Unheld) {
    for seen in unheld.parts.iter_mut().flat_map(|part| &mut part.seen) {
        if let Some((fact, value)) = seen.split_once(" is \"")
            && is_hash(value.trim_end_matches('"'))
        {
            *seen = format!("{fact}{ONLY_A_HASH}");
        }
    }
}

/// What of a condition does not hold and by which facts, a sentence for each part.
pub(super) fn unheld_words(unheld: &Unheld) -> Vec<String> {
    let whole = unheld.parts.len() == 1 && unheld.parts.iter().all(|part| part.text == unheld.text);
    let parts = unheld.parts.iter().map(|part| {
        let seen = list(&part.seen, " and ");
        match whole {
            true => format!("It {}: {seen}.", fate(part)),
            false => format!("`{}` {}: {seen}.", part.text, fate(part)),
        }
    });
    parts.collect()
}
