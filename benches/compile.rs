//! How long does it take to make a policy of its text?

mod support;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use portcullis::policy::ip::IpSet;

use self::support::{anchor, compile_raw, ip, list, nets, parse, rbac, routes, sizes};

/// The rules of a policy: read from text, and compiled.
fn rules(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("compile/rules");
    group.sample_size(10);
    for size in sizes(&[100, 10_000, 100_000]) {
        let text = routes(100.min(size)) + &ip(100.min(size)) + &rbac(size);
        group.bench_function(BenchmarkId::new("parse", size), |bencher| {
            bencher.iter(|| parse(&text, "192.0.2.0/24"));
        });
        let (raw, sources) = parse(&text, "192.0.2.0/24");
        group.bench_function(BenchmarkId::new("compile", size), |bencher| {
            bencher.iter(|| compile_raw(&raw, &sources));
        });
    }
    group.finish();
}

/// A list of addresses: as a compiled set, and as a policy that names a file of them.
fn addresses(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("compile/addresses");
    group.sample_size(10);
    for size in sizes(&[100, 10_000, 1_000_000]) {
        let nets = nets(size);
        group.bench_function(BenchmarkId::new("set", size), |bencher| {
            bencher.iter(|| IpSet::new(nets.iter().copied()));
        });
        let (raw, sources) = parse(&ip(100), &list(&nets));
        group.bench_function(BenchmarkId::new("file", size), |bencher| {
            bencher.iter(|| compile_raw(&raw, &sources));
        });
    }
    group.finish();
}

criterion_group!(benches, anchor, rules, addresses);
criterion_main!(benches);
