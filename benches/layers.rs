//! What the layers cost around a decision, in memory and without a socket.
//!
//! `answer`: what does a refusal cost from verdict to bytes, and marking an allow?
//! `record`: what does the line of a usual allow cost, from facts to bytes and into the page cache?

use std::future::{Future, poll_fn};
use std::hint::black_box;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue, Method, Uri, Version, header};
use jiff::Timestamp;
use portcullis::audit::{DecidedBy, Log, Record, Recorder, Settings, SinkSettings, Timing, Traffic};
use portcullis::decision::{Builtin, Denial, Notes, Outcome, Reason, Stage, Written};
use portcullis::deny::{Allowance, Challenges, Refusal, ResponseHeaders, answer, mark};
use portcullis::facts::{Body, Client, Facts, Fields, Holder, Identity, Scheme, Target};
use portcullis::policy::decode::{Name, Part, TableReader};
use portcullis::policy::diagnostic::{At, Diagnostics, FileId, Place};
use portcullis::policy::disclosure::Level;
use portcullis::policy::mode::Mode;
use portcullis::policy::raw::RawPolicy;
use portcullis::policy::rbac::{Nearest, Unmet};
use portcullis::policy::rules::RuleInfo;
use portcullis::policy::source::Sources;
use portcullis::policy::{Frame, Policy};
use uuid::Uuid;

const POLICY: &str = "contact.url = \"https://intranet.example/access\"\n[rbac.role.orders-admin]\n[rbac.role.orders-reader]\n";

/// A policy with one written rule, `rbac/orders-read`.
fn policy() -> Policy {
    let sources = Sources::single("bench.toml", POLICY);
    let mut diagnostics = Diagnostics::default();
    let table = toml::de::DeTable::parse(POLICY).expect("the text above is TOML");
    let mut reader = TableReader::new(FileId(0), "a policy file", table.get_ref(), Place::default());
    let raw = RawPolicy::read(&mut reader, &mut diagnostics).expect("the text above is a policy");
    let compiled =
        Policy::compile(&raw, &Frame::default(), &sources, Timestamp::UNIX_EPOCH, &mut diagnostics);
    let mut policy = compiled.expect("the text above is a policy");
    let info = RuleInfo {
        stage: Stage::Rbac,
        name: "rbac/orders-read".into(),
        public_name: None,
        at: "policy/orders.toml:41".into(),
        place: Place::default(),
        mode: Mode::Enforce,
        reason: None,
        remediation: None,
        contact: None,
    };
    let id = At { value: Name::new("orders-read").expect("a name"), place: Place::default() };
    policy.rules.add(&id, info, &mut diagnostics);
    policy
}

/// Who asks for what, in these benches.
struct Request {
    target: Target,
    headers: HeaderMap,
    client: Client,
    identity: Identity,
    fields: Fields,
}

fn request(policy: &Policy, accept: &'static str) -> Request {
    let uri = Uri::from_static("http://api.example.com/orders/4711");
    let holder = Holder {
        source: "corp".into(),
        subject: "alice@example.com".into(),
        roles: vec!["orders-reader".into()],
        ..Holder::default()
    };
    Request {
        target: Target::parse(&Method::DELETE, Scheme::Https, &uri, &HeaderMap::new()),
        headers: HeaderMap::from_iter([
            (header::ACCEPT, HeaderValue::from_static(accept)),
            (header::USER_AGENT, HeaderValue::from_static("curl/8.10.1")),
        ]),
        client: Client::direct([203, 0, 113, 9].into()),
        identity: Identity::Valid(policy.roles.who(holder.into()).into()),
        fields: Fields::default(),
    }
}

impl Request {
    fn facts(&self) -> Facts<'_> {
        Facts {
            now: Timestamp::new(1_795_000_000, 123_456_789).unwrap_or_default(),
            target: &self.target,
            headers: &self.headers,
            fields: &self.fields,
            client: &self.client,
            route: None,
            identity: &self.identity,
            body: &Body::Absent,
        }
    }
}

fn answers(criterion: &mut Criterion) {
    let policy = policy();
    let admin = policy.roles.get("orders-admin").expect("declared above");
    let nearest = [Nearest { rule: Written(0), unmet: vec![Unmet::Roles(vec![admin])] }];
    let denial = Denial::builtin(Stage::Rbac, Builtin::DefaultDeny).because(Reason::RoleMissing);
    let request_id = HeaderValue::from_static("0197f2c4-7e1b-7c3a-9a51-000000000001");
    let notes = Notes::default();

    let mut group = criterion.benchmark_group("answer");
    let refusals = [
        ("json, rule", "*/*", Level::Rule),
        ("json, full", "*/*", Level::Full),
        ("json, id", "*/*", Level::Id),
        ("silent", "*/*", Level::Silent),
        ("text, rule", "text/plain", Level::Rule),
        ("html, rule", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Level::Rule),
    ];
    for (name, accept, level) in refusals {
        let request = request(&policy, accept);
        let facts = request.facts();
        let refusal = Refusal {
            policy: &policy,
            facts: &facts,
            denial: &denial,
            notes: &notes,
            level,
            request_id: &request_id,
            decision_id: Uuid::from_u128(0x0197_f2c4_7e1b_7c3a_9a51_0d0f_5f2b_6e11),
            nearest: &nearest,
            challenges: Challenges::default(),
            headers: ResponseHeaders::default(),
            change: None,
            page: None,
            upstream: None,
        };
        group.bench_function(name, |bench| bench.iter(|| answer(black_box(&refusal))));
    }

    let allowance = Allowance {
        policy: &policy,
        rule: Written(0).into(),
        notes: &notes,
        level: Level::Rule,
        request_id: &request_id,
        headers: ResponseHeaders::default(),
        personal: true,
    };
    // What an upstream sent, with room for ours: the layer marks the head as it came.
    let mut upstream = HeaderMap::with_capacity(16);
    upstream.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    upstream.insert(header::CONTENT_LENGTH, HeaderValue::from_static("1024"));
    group.bench_function("allow, rule", |bench| {
        bench.iter(|| {
            mark(black_box(&mut upstream), &allowance);
            upstream.len()
        });
    });
    group.finish();
}

fn records(criterion: &mut Criterion) {
    let policy = policy();
    let request = request(&policy, "*/*");
    let facts = request.facts();
    let notes = Notes::default();
    let settings = Settings::default();
    let recorder = Recorder::new(&settings, &[], b"a key of the process");
    let line = |out: &mut Vec<u8>| {
        out.clear();
        Record {
            policy: &policy,
            now: facts.now,
            request_id: "0197f2c4-7e1b-7c3a-9a51-000000000001",
            decision_id: Uuid::from_u128(0x0197_f2c4_7e1b_7c3a_9a51_0d0f_5f2b_6e11),
            outcome: Outcome::Allow(Written(0).into()),
            notes: &notes,
            seen: &recorder.see(&policy, black_box(&facts), Version::HTTP_11, &[]),
            identity: &request.identity,
            nearest: &[],
            rule_changed: None,
            status: 200,
            grpc_status: None,
            decided_by: DecidedBy::Upstream,
            timing: Timing { policy_ns: 412, upstream_us: Some(1834) },
            bytes: Traffic { r#in: 0, out: 1024 },
            trace_id: None,
        }
        .write(out);
    };
    let mut group = criterion.benchmark_group("record");
    let mut out = Vec::new();
    group.bench_function("allow", |bench| bench.iter(|| line(black_box(&mut out))));

    // In memory where there is such a place: the question is what handing over costs, not the disk.
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let folder = folder.expect("there is a place for temporary files");
    let path = folder.path().join("decisions.jsonl");
    let sink =
        SinkSettings::File { path: path.to_string_lossy().into_owned(), rotate: Some(100 << 20), keep: 1 };
    let log = Log::open(&Settings { sink, ..settings }).expect("a file can be made there");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let local = tokio::task::LocalSet::new();
    let handle = local.block_on(&runtime, async { Rc::new(log.handle()) });
    for together in [1, 16] {
        group.throughput(Throughput::Elements(together));
        group.bench_function(format!("group of {together} to a file"), |bench| {
            bench.iter_custom(|rounds| {
                local.block_on(&runtime, async {
                    let begin = Instant::now();
                    for _ in 0..rounds {
                        let written = (0..together).map(|_| handle.write_before_answer(&out));
                        let mut written: Vec<_> = written.map(Box::pin).collect();
                        // All are polled before the task that hands over has its turn.
                        poll_fn(|context| {
                            written.retain_mut(|line| line.as_mut().poll(context).is_pending());
                            if written.is_empty() { Poll::Ready(()) } else { Poll::Pending }
                        })
                        .await;
                    }
                    begin.elapsed()
                })
            });
        });
    }
    group.finish();
}

criterion_group!(benches, answers, records);
criterion_main!(benches);
