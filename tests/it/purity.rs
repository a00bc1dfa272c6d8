//! What judging leaves for the record, and the trace of how it went, never change what is decided.
//!
//! The requests are those of the case tables, taken apart and put together anew, so that they get past
//! one gate and are caught at another, with every policy of the tables.

use std::sync::LazyLock;

use jiff::Timestamp;
use portcullis::decision::{Builtin, Notes, Outcome, Reason, ShadowHit, Stage, Trace, Verdict, WafMatch};
use portcullis::facts::{Body, Identity};
use portcullis::policy::{BodyPlan, Policy, Progress, Sample, World};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::support::tables::{setup, tables};

/// The policy of each table, and the requests of its cases.
static TABLES: LazyLock<Vec<(Policy, Vec<Sample>)>> = LazyLock::new(|| {
    let read = |table: crate::support::tables::Table| {
        let policy = setup(&table.config).policy;
        let samples = table.cases.iter().map(|case| case.sample(&policy, Timestamp::UNIX_EPOCH)).collect();
        (policy, samples)
    };
    tables().into_iter().map(read).collect()
});

/// A request made of parts of several others.
fn mixed(samples: &[Sample], parts: &[Index; 5]) -> Sample {
    let [target, headers, body, caller, time] = parts.map(|part| part.get(samples));
    Sample {
        headers: headers.headers.clone(),
        version: headers.version,
        body: body.body.clone(),
        caller: caller.caller.clone(),
        peer: caller.peer,
        now: time.now,
        ..target.clone()
    }
}

/// What no gate may look at.
fn rubbish() -> Notes {
    let mut notes = Notes::default();
    notes.waf.score = 4000;
    notes.waf.threshold = 1;
    notes.waf.matched.push(WafMatch {
        rule: Builtin::FaultInternal.into(),
        target: "query:q".to_owned(),
        score: 4000,
        shadow: false,
        data: "data".to_owned(),
        msg: "msg".to_owned(),
    });
    notes.shadow.push(ShadowHit { rule: Builtin::DefaultDeny.into(), reason: Reason::WafMatch });
    notes
}

/// Asks the gates one by one, as the server does, with other notes before each.
fn judged_over(policy: &Policy, sample: &Sample, notes: impl Fn() -> Notes) -> Outcome {
    let admitted = policy.admit_sample(sample);
    let identity = policy.identify_sample(admitted.route, sample, &World::default());
    let mut progress = Progress::default();
    let mut last = None;
    for stage in Stage::ALL {
        let nobody = Identity::Nobody;
        let known = matches!(stage, Stage::Authn | Stage::Rbac | Stage::WafBody | Stage::Fault);
        let identity = if known { &identity } else { &nobody };
        let facts = policy.facts(&admitted, &sample.headers, identity, &Body::Absent, sample.now);
        let read = match policy.body_plan(&facts, false) {
            BodyPlan::Read(limit) if sample.body.len() as u64 <= limit => Body::Whole(sample.body.clone()),
            BodyPlan::Read(_) => Body::TooLarge,
            BodyPlan::Pass(_) => Body::Unread,
        };
        let body = if stage == Stage::WafBody && !sample.body.is_empty() { &read } else { &Body::Absent };
        let facts = policy.facts(&admitted, &sample.headers, identity, body, sample.now);
        progress.notes = notes();
        match policy.check(stage, &facts, &mut progress, None) {
            Verdict::Deny(denial) => return Outcome::Deny(denial),
            Verdict::Answer(rule) => return Outcome::Allow(rule.into()),
            Verdict::Pass(rule) if stage == Stage::Rbac => last = Some(rule),
            Verdict::Pass(_) => {}
        }
    }
    Outcome::Allow(last.expect("the RBAC gate was asked"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn neither_a_trace_nor_what_is_noted_changes_a_decision(table: Index, parts: [Index; 5]) {
        let (policy, samples) = table.get(&TABLES);
        let sample = mixed(samples, &parts);
        let plain = policy.decide(&sample, &World::default(), None);
        let traced = policy.decide(&sample, &World::default(), Some(&mut Trace::default()));
        prop_assert_eq!(plain.outcome, traced.outcome);
        prop_assert_eq!(&plain.notes.shadow, &traced.notes.shadow);
        prop_assert_eq!(&plain.notes.waf.matched, &traced.notes.waf.matched);
        prop_assert_eq!(plain.notes.waf.score, traced.notes.waf.score);
        let fresh = judged_over(policy, &sample, Notes::default);
        prop_assert_eq!(judged_over(policy, &sample, rubbish), fresh);
    }
}
