//! How fast are cut candidates found, by which back end?
//!
//! `Serial` is one rolling hash by table, which is what other tools do.

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use windlass_benches::data::random_bytes;
use windlass_lanes::{buzhash, rabin};

const LENGTH: usize = 8 << 20;

/// Finds every candidate one after the other, as a cutter does.
fn bench(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    data: &[u8],
    first: impl Fn(&[u8], usize) -> Option<usize>,
) {
    group.bench_function(name, |b| {
        b.iter(|| {
            let (mut from, mut count) = (0, 0);
            while let Some(end) = first(black_box(data), from) {
                from = end + 1;
                count += 1;
            }
            count
        });
    });
}

fn rabin(c: &mut Criterion) {
    let data = random_bytes(LENGTH);
    let mut group = c.benchmark_group("rabin");
    group.throughput(Throughput::Bytes(LENGTH as u64));
    for backend in rabin::Backend::available() {
        let rabin = rabin::Rabin::on(backend, 0x3d_a335_8b4d_c173, rabin::RESTIC_BITS);
        bench(&mut group, &format!("{backend:?}"), &data, |data, from| rabin.first(data, from));
    }
    group.finish();
}

/// With the candidates of kopia's default, `DYNAMIC-4M-BUZHASH`.
fn buzhash(c: &mut Criterion) {
    let data = random_bytes(LENGTH);
    let mut group = c.benchmark_group("buzhash");
    group.throughput(Throughput::Bytes(LENGTH as u64));
    for backend in buzhash::Backend::available() {
        let buzhash = buzhash::Buzhash::on(backend, 22);
        bench(&mut group, &format!("{backend:?}"), &data, |data, from| buzhash.first(data, from));
    }
    group.finish();
}

criterion_group!(benches, rabin, buzhash);
criterion_main!(benches);
