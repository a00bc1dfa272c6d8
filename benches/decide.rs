//! What does a decision cost, gate by gate and together, as the policy grows?
//!
//! Every bench goes through thousands of different requests, each waiting for the one before; the
//! anchor stands in the same run, so that ratios can be quoted.

mod support;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use criterion::{Criterion, criterion_group, criterion_main};
use portcullis::decision::{Builtin, Denial, Notes, RuleRef, Stage, Trace, Verdict};
use portcullis::facts::{Body, Facts, Identity};
use portcullis::policy::authn::Presented;
use portcullis::policy::ip::IpSet;
use portcullis::policy::{Policy, Progress, World};

use self::support::{
    Callers, ISSUER, Request, Want, addresses, anchor, chain, compile, ip, judge, list, nets, now, rbac,
    requests, routes, sign_in, sizes,
};

/// Does a look-up of an address feel the length of the list?
fn ip_lookup(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ip/lookup");
    for size in sizes(&[10, 100, 1_000, 10_000, 100_000, 1_000_000]) {
        let nets = nets(size);
        let set = IpSet::new(nets.iter().copied());
        chain(&mut group, "half-hits", size, &addresses(&nets), |address| set.contains(*address));
    }
    group.finish();
}

/// Does the address gate feel rules about other paths, and lists?
fn ip_gate(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ip/gate");
    for size in sizes(&[10, 1_000, 10_000, 100_000]) {
        let nets = nets(size);
        let policy = compile(&(ip(size.min(10_000)) + &routes(0)), &list(&nets));
        let requests = requests(&policy, 10_000.min(size), Want::Pass, &addresses(&nets));
        judge(&mut group, "rules-and-prefixes", size, &requests, |request| gate(&policy, Stage::Ip, request));
    }
    group.finish();
}

/// Does finding the route feel the number of routes?
fn route(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("route/find");
    for size in sizes(&[10, 1_000, 10_000]) {
        let policy = compile(&routes(size), "");
        let requests = requests(&policy, size, Want::Pass, &HERE);
        judge(&mut group, "routes", size, &requests, |request| {
            policy.routes.find(&request.admitted.target, &request.headers).is_ok_and(|route| route.is_some())
        });
    }
    group.finish();
}

/// Does deciding who may do what feel the number of rules, when it allows and when it refuses?
fn rbac_gate(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rbac");
    for size in sizes(&[10, 100, 1_000, 10_000, 100_000]) {
        let policy = compile(&rbac(size), "");
        for (name, want) in [("pass", Want::Pass), ("deny", Want::Deny)] {
            let requests = requests(&policy, size, want, &HERE);
            expect(&policy, Stage::Rbac, &requests, want);
            judge(&mut group, name, size, &requests, |request| gate(&policy, Stage::Rbac, request));
            if size == 10_000 {
                judge(&mut group, format!("{name}-traced"), size, &requests, |request| {
                    let mut trace = Trace::default();
                    let facts = request.facts(&policy, now());
                    let verdict =
                        policy.check(Stage::Rbac, &facts, &mut Progress::default(), Some(&mut trace));
                    matches!(verdict, Verdict::Pass(_))
                });
            }
        }
    }
    group.finish();
}

/// What does the whole decision cost without WAF, for a caller that is known: address, route, demanded
/// identity, roles?
fn decision(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decision/without-waf");
    for size in sizes(&[100, 10_000, 100_000]) {
        let nets = nets(size);
        let text = routes(size.min(1_000)) + &ip(100) + &rbac(size);
        let policy = compile(&text, &list(&nets));
        let set = IpSet::new(nets.iter().copied());
        let welcome: Vec<_> =
            addresses(&nets).into_iter().filter(|address| !set.contains(*address)).collect();
        for (name, want) in [("pass", Want::Pass), ("deny", Want::Deny)] {
            let requests = requests(&policy, size, want, &welcome);
            expect(&policy, Stage::Rbac, &requests, want);
            judge(&mut group, name, size, &requests, |request| all(&policy, request, false));
            judge(&mut group, format!("{name}-with-route-search"), size, &requests, |request| {
                all(&policy, request, true)
            });
        }
    }
    group.finish();
}

/// And with the token that says who calls: with 10,000 rules and 10,000 prefixes, say, from the header
/// field to the rule and the reason? Among as many callers as requests a hit waits for memory, among a
/// few it does not.
fn decision_with_token(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decision/with-token");
    for size in sizes(&[100, 10_000, 100_000]) {
        let nets = nets(size);
        let policy = compile(&(routes(size.min(1_000)) + &ip(100) + &rbac(size) + ISSUER), &list(&nets));
        let set = IpSet::new(nets.iter().copied());
        let welcome: Vec<_> =
            addresses(&nets).into_iter().filter(|address| !set.contains(*address)).collect();
        let world = World::default();
        for (callers, name) in [(Callers::Few, "of-48-callers"), (Callers::Many, "each-another-caller")] {
            for (want, says) in [(Want::Pass, "pass"), (Want::Deny, "deny")] {
                let mut requests = requests(&policy, size, want, &welcome);
                let cache = sign_in(&policy, &mut requests, callers);
                let judged = |request: &Request| {
                    let Presented::One(credential) =
                        policy.authn.presented(policy.route_authn(request.admitted.route), &request.headers)
                    else {
                        return false;
                    };
                    let Some(who) = policy.recall(&cache, &credential, &world, now()) else { return false };
                    let identity = Identity::Valid(who);
                    let facts =
                        policy.facts(&request.admitted, &request.headers, &identity, &Body::Absent, now());
                    black_box(verdict(&policy, &facts)).is_ok()
                };
                let passed = requests.iter().filter(|request| judged(request)).count();
                assert!((passed > requests.len() / 2) == (want == Want::Pass), "{passed} pass");
                judge(&mut group, format!("{says}-{name}"), size, &requests, judged);
            }
        }
    }
    group.finish();
}

/// The rule that passes last, or the one that refuses, with its reason.
fn verdict(policy: &Policy, facts: &Facts<'_>) -> Result<RuleRef, Denial> {
    let mut progress = Progress::default();
    let mut rule = Builtin::DefaultDeny.into();
    for stage in [Stage::Ip, Stage::Route, Stage::Authn, Stage::Rbac] {
        match policy.check(stage, facts, &mut progress, None) {
            Verdict::Answer(answer) => return Ok(answer.into()),
            Verdict::Pass(passed) => rule = passed,
            Verdict::Deny(denial) => return Err(denial),
        }
    }
    Ok(rule)
}

/// Where requests come from when that does not matter.
const HERE: [IpAddr; 1] = [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))];

fn gate(policy: &Policy, stage: Stage, request: &Request) -> bool {
    let facts = request.facts(policy, now());
    matches!(policy.check(stage, &facts, &mut Progress::default(), None), Verdict::Pass(_))
}

fn all(policy: &Policy, request: &Request, search: bool) -> bool {
    let mut facts = request.facts(policy, now());
    if search {
        facts.route = policy.routes.find(facts.target, facts.headers).expect("no field stands twice");
    }
    let mut progress = Progress { notes: Notes::default(), ..Progress::default() };
    [Stage::Ip, Stage::Route, Stage::Authn, Stage::Rbac]
        .into_iter()
        .all(|stage| matches!(policy.check(stage, &facts, &mut progress, None), Verdict::Pass(_)))
}

/// A bench of refusals that are none would measure something else.
fn expect(policy: &Policy, stage: Stage, requests: &[Request], want: Want) {
    let passed = requests.iter().filter(|request| gate(policy, stage, request)).count();
    let share = passed as f64 / requests.len() as f64;
    match want {
        Want::Pass => assert!(share > 0.9, "only {share} of the requests pass"),
        Want::Deny => assert!(share < 0.1, "{share} of the requests pass"),
    }
}

criterion_group!(benches, anchor, ip_lookup, ip_gate, route, rbac_gate, decision, decision_with_token);
criterion_main!(benches);
