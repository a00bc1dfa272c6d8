//! C-8: policies replaced while requests flow. Every answer names the generation that judged it, and is
//! held against what that generation says.

use std::thread;
use std::time::{Duration, Instant};

use crate::client::Answer;
use crate::gateway::{Gateway, Start, open};
use crate::load::{Load, Plan, Script, Tags, fill};
use crate::origin::Origin;
use crate::process::until;
use crate::report::Limit::{AtMost, Exactly, Shown};
use crate::report::{Report, Scale};

/// Policies that follow each other: each opens one of these paths.
const VARIANTS: u64 = 3;

fn policy(upstream: &Origin, generation: u64) -> String {
    let open = (generation - 1) % VARIANTS;
    format!(
        "# {generation}\n[upstream.origin]\n{}\n[[route]]\nid = \"all\"\npath = \"/{{*rest}}\"\nupstream = \"origin\"\n\
         [[rbac.grant]]\nid = \"open-{open}\"\nroles = [\"anyone\"]\npath = \"/v{open}/{{*rest}}\"\n",
        upstream.servers()
    )
}

/// Asks for all paths in turn, and knows what each generation says.
struct Oracle;

impl Script for Oracle {
    fn path(&self, number: usize) -> String {
        format!("/v{}/{number}", number as u64 % VARIANTS)
    }

    fn check(&self, path: &str, answer: &Answer) -> Result<(), String> {
        let generation = answer.generation().ok_or_else(|| format!("{path}: no generation"))?;
        let open = (generation - 1) % VARIANTS;
        let said = (answer.status, answer.rule());
        let right = if path.starts_with(&format!("/v{open}/")) {
            said == (200, &*format!("rbac/open-{open}")) && answer.body == path.as_bytes()
        } else {
            said == (403, "rbac/default-deny")
        };
        if right { Ok(()) } else { Err(format!("{path} by generation {generation}: {said:?}")) }
    }
}

/// Replaces the policy again and again, first at a pace, then as fast as it goes.
pub fn under_load(scale: Scale, report: &mut Report) {
    let (paced, in_all) = scale.pick((100, 300), (6_000, 10_000));
    let pace = Duration::from_millis(50);
    let origin = Origin::start();
    let gateway = Start::new(&policy(&origin, 1)).start();
    let mut generation = 1;
    let mut missed = Vec::new();
    let mut reload = |gateway: &Gateway| {
        generation += 1;
        gateway.write_config(&policy(&origin, generation));
        let (status, body) = gateway.reload();
        let policy = body["policy"].as_str().unwrap_or("").to_owned();
        if status != 200 || !policy.starts_with(&format!("{generation}-")) {
            missed.push(format!("reload {generation}: {status} {policy}"));
        }
    };
    let start = gateway.usage();
    // What grows once, grows now: buffers, allocator arenas, threads for blocking work, the last records,
    // the history of 125 policies.
    let filled = fill(gateway.address());
    let (warm, warm_paced) = scale.pick((150, 50), (2_500, 1_500));
    let running =
        Load::start(gateway.address(), Plan { connections: 8, rest: Duration::from_millis(3) }, Oracle);
    let mut at_a_pace = |in_all: u32, paced: u32, mut look: Box<dyn FnMut(u32) + '_>| {
        let begin = Instant::now();
        for number in 1..=in_all {
            reload(&gateway);
            look(number);
            if number <= paced {
                thread::sleep((pace * number).saturating_sub(begin.elapsed()));
            }
        }
    };
    at_a_pace(warm, warm_paced, Box::new(|_| {}));
    let (before, warmed) = (gateway.usage(), running.sent());
    let begin = Instant::now();
    let mut quarters = Vec::new();
    let look = |number| {
        if number % (in_all / 4) == 0 {
            quarters.push(gateway.usage().kib);
        }
    };
    at_a_pace(in_all, paced, Box::new(look));
    let took = begin.elapsed();
    let after = gateway.usage();
    let outcome = running.stop();
    // Connections to the upstream rest for 4 s, threads for blocking work for 10 s.
    let settled = until(Duration::from_secs(15), || {
        let now = gateway.usage();
        (now.descriptors <= start.descriptors && now.threads <= start.threads).then_some(now)
    });
    let settled = settled.unwrap_or_else(|| gateway.usage());
    let sent = filled + outcome.sent;
    let wrong = outcome.wrong;
    let records = gateway.records(sent);
    report.none("C-8", "reloads that did not take", &missed, (in_all + warm) as usize);
    report.none("C-8", "requests failed or wrongly judged", &wrong, sent);
    let pace = (outcome.sent - warmed) as f64 / took.as_secs_f64();
    report.line("C-8", "requests a second meanwhile", pace, "", Shown);
    report.line("C-8", format!("records of {sent} requests"), records as f64, "", Exactly(sent as f64));
    let quarters: Vec<String> = quarters.iter().map(|kib| (kib - before.kib).to_string()).collect();
    println!("             resident memory more after each quarter, KiB: {}", quarters.join(", "));
    let drift = (after.kib - before.kib) / before.kib * 100.0;
    let what = format!("resident memory more than the {} KiB after {warm} reloads", before.kib);
    report.line("C-8", what, drift, "%", scale.if_optimised(AtMost(scale.pick(10.0, 1.0))));
    let more = settled.descriptors as f64 - start.descriptors as f64;
    report.line("C-8", "descriptors more than at the start", more, "", AtMost(0.0));
    let more = settled.threads as f64 - start.threads as f64;
    report.line("C-8", "threads more than at the start", more, "", AtMost(0.0));
    let panics = gateway.metric("portcullis_panics_total");
    report.line("C-8", "panics", panics.unwrap_or(f64::NAN), "", Exactly(0.0));
}

/// A policy of 10,000 rules is replaced, and requests go on.
pub fn large(scale: Scale, report: &mut Report) {
    let origin = Origin::start();
    let many = |number: usize| {
        // Besides those, one that lets the requests pass meanwhile; beside a grant for everything each of the
        // others would be a finding.
        let mut text = open(&origin.servers(), "")
            .replace("roles = [\"anyone\"]", "roles = [\"anyone\"]\npath = \"/tag/{*rest}\"");
        for rule in 0..10_000 {
            text.push_str(&format!(
                "[[rbac.grant]]\nid = \"g{rule}\"\nroles = [\"authenticated\"]\npath = \"/api/v{number}/r{rule}/{{id}}\"\n"
            ));
        }
        text
    };
    let gateway = Gateway::start(&many(0));
    let plan = Plan { connections: 4, rest: Duration::from_millis(5) };
    let load = Load::start(gateway.address(), plan, Tags);
    let mut times = Vec::new();
    for number in 1..=scale.pick(3, 21) {
        gateway.write_config(&many(number));
        let begin = Instant::now();
        let (status, _) = gateway.reload();
        times.push(begin.elapsed());
        assert_eq!(status, 200, "the reload is taken");
    }
    let outcome = load.stop();
    report.none("rules", "requests failed meanwhile", &outcome.wrong, outcome.sent);
    let median = crate::load::quantile(&mut times, 0.5);
    let what = format!("a reload of 10,000 rules, asked for until answered, median of {}", times.len());
    report.line("rules", what, median, "ms", scale.if_optimised(AtMost(100.0)));
    let mut waited = outcome.times;
    let worst = crate::load::quantile(&mut waited, 0.999);
    report.line("rules", "requests' 99.9th percentile meanwhile", worst, "ms", Shown);
}
