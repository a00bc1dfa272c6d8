//! Generated policies and requests for the benches: always the same, never one request over and over.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "each bench uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench that cannot be set up must stop")]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::hash::RandomState;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use http::{HeaderMap, HeaderValue, Method, Uri, Version, header};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use jiff::Timestamp;
use portcullis::facts::{Body, Facts, Holder, Identity, Scheme};
use portcullis::policy::authn::{Bounds, Presented, TokenCache};
use portcullis::policy::decode::{Part, TableReader};
use portcullis::policy::diagnostic::{Diagnostics, FileId, Place};
use portcullis::policy::raw::RawPolicy;
use portcullis::policy::route::AuthnWord;
use portcullis::policy::source::Sources;
use portcullis::policy::{Admitted, Frame, Policy, World};
use toml::de::DeTable;

/// How many different requests a bench goes through.
pub const REQUESTS: usize = 8192;

/// Whether the bench is only run once to see that it runs (`cargo bench -- --test`, `cargo test --benches`).
pub fn testing() -> bool {
    let args: Vec<String> = std::env::args().collect();
    args.iter().any(|arg| arg == "--test") || !args.iter().any(|arg| arg == "--bench")
}

/// The sizes to measure, cut short when only testing.
pub fn sizes(all: &[usize]) -> Vec<usize> {
    all.iter().copied().filter(|size| !testing() || *size <= 100).collect()
}

/// A generator of numbers that are always the same (xorshift).
#[derive(Clone, Debug)]
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Numbers {
        Numbers(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit
    }
}

/// Runs `one` over all inputs, again and again, each look-up waiting for the one before: what is
/// measured is the time until an answer is there, not how many answers the machine overlaps.
pub fn chain<T>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: impl Into<String>,
    size: usize,
    inputs: &[T],
    mut one: impl FnMut(&T) -> bool,
) {
    let nothing = black_box(0);
    let mut at = 0;
    group.bench_function(criterion::BenchmarkId::new(name, size), |bencher| {
        bencher.iter(|| {
            let said = one(&inputs[at]);
            at = (at + 1 + (usize::from(said) & nothing)) % inputs.len();
            said
        });
    });
}

/// The same for judging requests, whose facts were made just before they are judged and so are
/// near at hand, while the policy is only as near as other requests have left it: the facts of a
/// few requests are read through, then these are judged and that is timed.
pub fn judge(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: impl Into<String>,
    size: usize,
    requests: &[Request],
    mut one: impl FnMut(&Request) -> bool,
) {
    const BATCH: usize = 32;
    let nothing = black_box(0);
    let mut at = 0;
    group.bench_function(criterion::BenchmarkId::new(name, size), |bencher| {
        bencher.iter_custom(|wanted| {
            let mut time = Duration::ZERO;
            let batches = wanted.div_ceil(BATCH as u64);
            for _ in 0..batches {
                let batch = &requests[at..at + BATCH];
                black_box(batch.iter().map(Request::touch).sum::<usize>());
                let start = Instant::now();
                let mut next = 0;
                while let Some(request) = batch.get(next) {
                    next += 1 + (usize::from(black_box(one(request))) & nothing);
                }
                time += start.elapsed();
                at = (at + BATCH) % requests.len();
            }
            time.mul_f64(wanted as f64 / (batches * BATCH as u64) as f64)
        });
    });
}

/// The anchor: a hit in a `HashMap` of 10,000 texts, to quote ratios by.
pub fn anchor(criterion: &mut Criterion) {
    let keys: Vec<String> = (0..10_000).map(|number| format!("/service-{number}/orders")).collect();
    let map: HashMap<&str, usize> = keys.iter().map(String::as_str).zip(0..).collect();
    let mut numbers = Numbers::new(7);
    let asked: Vec<&str> = (0..REQUESTS).map(|_| keys[numbers.below(keys.len())].as_str()).collect();
    let mut group = criterion.benchmark_group("anchor");
    chain(&mut group, "hash-map-hit", 10_000, &asked, |key| map.contains_key(*key));
    group.finish();
}

// === addresses ===

/// Networks as in real lists: 4 of 5 are IPv4, most are /24, IPv6 lies where addresses are given out.
pub fn nets(count: usize) -> Vec<IpNet> {
    let mut numbers = Numbers::new(count as u64);
    (0..count)
        .map(|at| {
            if at % 5 != 4 {
                let length = [24, 24, 24, 32, 22, 28][numbers.below(6)];
                IpNet::V4(Ipv4Net::new(v4(&mut numbers), length).unwrap().trunc())
            } else {
                let length = [48, 48, 64, 32, 56][numbers.below(5)];
                IpNet::V6(Ipv6Net::new(v6(&mut numbers), length).unwrap().trunc())
            }
        })
        .collect()
}

fn v4(numbers: &mut Numbers) -> Ipv4Addr {
    Ipv4Addr::from((numbers.next() >> 32) as u32)
}

fn v6(numbers: &mut Numbers) -> Ipv6Addr {
    let block = [0x2001_u128, 0x2400, 0x2600, 0x2800, 0x2a00, 0x2c00][numbers.below(6)];
    let rest = u128::from(numbers.next()) << 48 | u128::from(numbers.next());
    Ipv6Addr::from(block << 112 | rest & ((1 << 112) - 1) >> 4)
}

/// Addresses, half of them in one of the networks, 4 of 5 IPv4.
pub fn addresses(nets: &[IpNet]) -> Vec<IpAddr> {
    let mut numbers = Numbers::new(99);
    (0..REQUESTS)
        .map(|at| match (at % 2, nets[numbers.below(nets.len())]) {
            (0, IpNet::V4(net)) => {
                let host = numbers.next() as u32 & u32::from(net.hostmask());
                IpAddr::V4(Ipv4Addr::from(u32::from(net.network()) | host))
            }
            (0, IpNet::V6(net)) => {
                let host = u128::from(numbers.next()) & u128::from(net.hostmask());
                IpAddr::V6(Ipv6Addr::from(u128::from(net.network()) | host))
            }
            (_, IpNet::V4(_)) => IpAddr::V4(v4(&mut numbers)),
            (_, IpNet::V6(_)) => IpAddr::V6(v6(&mut numbers)),
        })
        .collect()
}

// === policies ===

/// Reads and compiles a policy, with a file `list.txt` beside it.
pub fn compile(text: &str, list: &str) -> Policy {
    let (raw, sources) = parse(text, list);
    compile_raw(&raw, &sources)
}

pub fn parse(text: &str, list: &str) -> (RawPolicy, Sources) {
    let mut sources = Sources::single("bench.toml", text);
    sources.attach("list.txt", list);
    let mut diagnostics = Diagnostics::default();
    let table = DeTable::parse(text).unwrap();
    let mut reader = TableReader::new(FileId(0), "a policy file", table.get_ref(), Place::default());
    let raw = RawPolicy::read(&mut reader, &mut diagnostics);
    (raw.unwrap_or_else(|| panic!("{diagnostics:?}")), sources)
}

pub fn compile_raw(raw: &RawPolicy, sources: &Sources) -> Policy {
    let mut diagnostics = Diagnostics::default();
    let frame = Frame { upstreams: vec!["up".into()], ..Frame::default() };
    let policy = Policy::compile(raw, &frame, sources, now(), &mut diagnostics);
    policy.unwrap_or_else(|| panic!("{:?}", diagnostics.iter().next()))
}

pub fn now() -> Timestamp {
    Timestamp::from_second(1_790_000_000).unwrap_or_default()
}

/// Roles that the rules are about, and one that is denied everywhere.
const ROLES: usize = 48;

/// A grant or deny of the generated policy: where it applies, and for which role.
struct Rule {
    path: String,
    host: Option<String>,
    method: &'static str,
    role: usize,
    deny: bool,
}

/// Rules as gateways have them: services with resources, most by one role and method, every third
/// for one host, every twentieth a deny.
fn rules(count: usize) -> impl Iterator<Item = Rule> {
    let services = (count / 20).max(1);
    (0..count).map(move |at| {
        let service = at % services;
        Rule {
            path: match at % 4 {
                0 => format!("/svc{service}/res{at}"),
                1 => format!("/svc{service}/res{at}/{{id}}"),
                2 => format!("/svc{service}/res{at}/{{*rest}}"),
                _ => format!("/svc{service}/{{tenant}}/res{at}"),
            },
            host: (at % 3 == 0).then(|| format!("h{}.example.com", at % 16)),
            method: ["GET", "POST", "PUT"][at % 7 % 3],
            role: at * 31 % ROLES,
            deny: at % 20 == 19,
        }
    })
}

/// The `[rbac]` part of a policy with this many rules.
pub fn rbac(count: usize) -> String {
    let mut text = String::from("[rbac.role.suspended]\n");
    for role in 0..ROLES {
        let _ = writeln!(text, "[rbac.role.r{role}]");
    }
    for (rule, at) in rules(count).zip(0..) {
        let kind = if rule.deny { "deny" } else { "grant" };
        let _ = write!(
            text,
            "[[rbac.{kind}]]\nid = \"rule-{at}\"\nroles = [\"r{}\"]\nmethods = [\"{}\"]\npath = \"{}\"\n",
            rule.role, rule.method, rule.path
        );
        if let Some(host) = &rule.host {
            let _ = writeln!(text, "host = \"{host}\"");
        }
    }
    text.push_str("[[rbac.deny]]\nid = \"suspended\"\nroles = [\"suspended\"]\n");
    text
}

/// One route for everything, and one for each of these services.
pub fn routes(count: usize) -> String {
    let mut text = String::from("[[route]]\nid = \"all\"\npath = \"/{*rest}\"\nupstream = \"up\"\n");
    for at in 0..count {
        let _ =
            write!(text, "[[route]]\nid = \"svc{at}\"\npath = \"/svc{at}/{{*rest}}\"\nupstream = \"up\"\n");
    }
    text
}

/// One rule over a file of networks, and this many rules about single paths.
pub fn ip(rules: usize) -> String {
    let mut text = String::from(
        "[network]\nlisted = { file = \"list.txt\" }\n[[ip.rule]]\nid = \"listed\"\ndeny = [\"listed\"]\n",
    );
    for at in 0..rules {
        let _ = write!(
            text,
            "[[ip.rule]]\nid = \"ip-{at}\"\npath = \"/svc{at}/admin/{{*rest}}\"\nallow = [\"10.{}.0.0/16\"]\n",
            at % 256
        );
    }
    text
}

pub fn list(nets: &[IpNet]) -> String {
    let mut text = String::new();
    for net in nets {
        let _ = writeln!(text, "{net}");
    }
    text
}

// === requests ===

/// A request with everything that is known of it before the gates are asked.
pub struct Request {
    pub headers: HeaderMap,
    pub identity: Identity,
    pub admitted: Admitted,
}

/// What a generated request is to come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    Pass,
    Deny,
}

/// Different requests that some rule of `rbac(count)` is about, by callers with three roles: with
/// the one that the rule asks for, or without it.
pub fn requests(policy: &Policy, count: usize, want: Want, addresses: &[IpAddr]) -> Vec<Request> {
    let rules: Vec<Rule> = rules(count).filter(|rule| !rule.deny).collect();
    let mut numbers = Numbers::new(3);
    (0..REQUESTS)
        .map(|at| {
            let rule = &rules[numbers.below(rules.len())];
            let id = numbers.below(1_000_000);
            let path = rule
                .path
                .replace("{id}", &id.to_string())
                .replace("{tenant}", &format!("tenant-{id}"))
                .replace("{*rest}", &format!("items/{id}"));
            let host = rule.host.clone().unwrap_or_else(|| format!("h{}.example.com", numbers.below(16)));
            let other = |numbers: &mut Numbers| (rule.role + 1 + numbers.below(ROLES - 1)) % ROLES;
            let mut roles = [other(&mut numbers), other(&mut numbers), other(&mut numbers)];
            if want == Want::Pass {
                roles[at % 3] = rule.role;
            }
            let names: Vec<String> = roles.iter().map(|role| format!("r{role}")).collect();
            request(policy, rule.method, &host, &path, &names, addresses[at % addresses.len()])
        })
        .collect()
}

pub fn request(
    policy: &Policy,
    method: &str,
    host: &str,
    path: &str,
    roles: &[String],
    ip: IpAddr,
) -> Request {
    let value = |text: &str| HeaderValue::from_str(text).unwrap();
    let headers = HeaderMap::from_iter([
        (header::HOST, value(host)),
        (header::USER_AGENT, value("Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0")),
        (header::ACCEPT, value("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")),
    ]);
    let uri: Uri = path.parse().unwrap();
    let method = Method::from_bytes(method.as_bytes()).unwrap_or_default();
    let admitted = policy.admit(&method, Scheme::Https, &uri, Version::HTTP_11, &headers, ip);
    let roles = roles.iter().map(|role| role.as_str().into()).collect();
    let holder = Holder { subject: "alice".into(), roles, ..Holder::default() };
    let identity = Identity::Valid(Arc::new(policy.roles.who(Arc::new(holder))));
    Request { headers, identity, admitted }
}

/// The source of the tokens of [`sign_in`].
pub const ISSUER: &str = "[[authn.jwt]]\nid = \"idp\"\nissuer = \"https://idp.test\"\naudience = \"portcullis\"\n\
     algorithms = [\"HS256\"]\njwks = { inline = '{\"keys\":[{\"kty\":\"oct\",\"alg\":\"HS256\",\"k\":\"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY\"}]}' }\n";

/// How many callers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callers {
    /// Each request is another one's.
    Many,
    /// One for each role.
    Few,
}

/// Gives each request a token as long as a usual RS256 one, and a cache in which all were verified.
pub fn sign_in(policy: &Policy, requests: &mut [Request], callers: Callers) -> TokenCache {
    let cache = TokenCache::new(Bounds { entries: 40_000, bytes: 256 << 20 }, RandomState::new(), &[7; 32]);
    let mut tokens: HashMap<Box<str>, HeaderValue> = HashMap::new();
    for (at, request) in requests.iter_mut().enumerate() {
        let mut roles = request.identity.who().unwrap().holder.roles.clone();
        if callers == Callers::Few {
            roles = vec![roles.swap_remove(at % 3)];
        }
        let subject = match callers {
            Callers::Many => format!("3f0e6c1a-user-{at}"),
            Callers::Few => format!("3f0e6c1a-user-{}", roles[0]),
        };
        let fresh = !tokens.contains_key(&*subject);
        let number = tokens.len() as u64;
        let token = tokens.entry(subject.as_str().into()).or_insert_with(|| {
            let mut numbers = Numbers::new(number);
            let token: String = (0..82).map(|_| format!("{:08x}", numbers.next() >> 32)).collect();
            HeaderValue::try_from(format!("Bearer {token}")).unwrap()
        });
        request.headers.insert(header::AUTHORIZATION, token.clone());
        if fresh {
            let holder = Holder {
                source: "idp".into(),
                subject: subject.into(),
                roles,
                expires_at: now().checked_add(jiff::SignedDuration::from_hours(1)).ok(),
                bearer: true,
                ..Holder::default()
            };
            let Presented::One(credential) = policy.authn.presented(AuthnWord::Optional, &request.headers)
            else {
                panic!("the token is not seen");
            };
            policy.remember(&cache, &credential, Arc::new(holder), &World::default(), now());
        }
        // A request's own bytes have just been read; those of others with the same token have not.
        let own = HeaderValue::from_bytes(request.headers[header::AUTHORIZATION].as_bytes()).unwrap();
        request.headers.insert(header::AUTHORIZATION, own);
    }
    cache
}

impl Request {
    /// Reads what the gates read of a request.
    pub fn touch(&self) -> usize {
        let Admitted { target, client, route, .. } = &self.admitted;
        let segments: usize = target.segments().flat_map(str::bytes).map(usize::from).sum();
        let host: usize = target.host().bytes().map(usize::from).sum();
        let who = self
            .identity
            .who()
            .map(|who| who.roles.words().iter().sum::<u64>() as usize + who.holder.scopes.len());
        let token = self.headers.get(header::AUTHORIZATION).map_or(&[][..], HeaderValue::as_bytes);
        segments
            + host
            + token.iter().copied().map(usize::from).sum::<usize>()
            + who.unwrap_or(0)
            + usize::from(client.ip.is_ipv4())
            + route.map_or(0, |route| route.0 as usize)
    }

    pub fn facts<'a>(&'a self, policy: &Policy, now: Timestamp) -> Facts<'a> {
        policy.facts(&self.admitted, &self.headers, &self.identity, &Body::Absent, now)
    }
}
