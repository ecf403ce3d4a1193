//! What do compression, index look-ups and whole operations cost, without a disk?
//!
//! Backup and restore run against the memory backend, so that what is measured is the engine. Key
//! derivation is left out: the repository is opened once. `floor.rs` has the sum of the unavoidable
//! parts to hold these against.

use std::{hint::black_box, sync::Arc, time::Duration};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use windlass_benches::{
    data::{random_bytes, text_bytes},
    repository::{self, Memory},
};
use windlass_engine::{
    index::Index,
    model::{
        chunk::ChunkKey,
        pack::{Coding, Location, PackName},
    },
};
use windlass_format::restic::compress::{Compressor, Decompressor, Level};

const MIB: usize = 1 << 20;

fn compress(c: &mut Criterion) {
    let mut group = c.benchmark_group("compress");
    for (name, bytes) in [("text", text_bytes(MIB)), ("random", random_bytes(MIB))] {
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        for level in [Level::Fastest, Level::Auto, Level::Better] {
            let mut compressor = Compressor::new(level).expect("a context");
            let mut packed = Vec::new();
            group.bench_function(format!("{level:?}/{name} 1 MiB"), |b| {
                b.iter(|| {
                    packed.clear();
                    compressor.compress(black_box(&bytes), &mut packed).expect("compressed");
                });
            });
        }
        let (mut packed, mut plain) = (Vec::new(), Vec::new());
        let mut compressor = Compressor::new(Level::Auto).expect("a context");
        compressor.compress(&bytes, &mut packed).expect("compressed");
        let mut decompressor = Decompressor::new().expect("a context");
        group.bench_function(format!("decompress/{name} 1 MiB"), |b| {
            b.iter(|| {
                let packed = black_box(&packed);
                decompressor.decompress_exact("bench", packed, bytes.len(), &mut plain)
            });
        });
    }
    group.finish();
}

fn index_look_up(c: &mut Criterion) {
    const CHUNKS: u64 = 1_000_000;
    let index = Index::new();
    let pack = index.add_pack(PackName::Hash([1; 32]), u64::from(u32::MAX));
    let key = |at: u64| {
        let mut hash = [0; 32];
        for (word, place) in hash.chunks_exact_mut(8).enumerate() {
            let mixed = (at + word as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
            place.copy_from_slice(&mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9).to_le_bytes());
        }
        ChunkKey::full(0, hash)
    };
    index.reserve(CHUNKS as usize);
    for at in 0..CHUNKS {
        let location =
            Location { pack, offset: 0, stored_bytes: 40, raw_bytes: 8, coding: Coding(0) };
        index.insert(key(at), location);
    }
    let mut group = c.benchmark_group("index of a million chunks");
    group.throughput(Throughput::Elements(1));
    let mut at = 0;
    group.bench_function("find, there", |b| {
        b.iter(|| {
            at = (at + 7_919) % CHUNKS;
            index.find(black_box(&key(at)))
        });
    });
    group.bench_function("find, not there", |b| {
        b.iter(|| {
            at = (at + 7_919) % CHUNKS;
            index.find(black_box(&key(at + CHUNKS)))
        });
    });
    group.finish();
}

fn operations(c: &mut Criterion) {
    let runtime = repository::runtime();
    let mut group = c.benchmark_group("memory backend");
    group.sample_size(10).measurement_time(Duration::from_secs(10));
    for (name, source) in
        [("random 256 MiB", repository::random_file(256 * MIB)), ("tree", repository::small_tree())]
    {
        group.throughput(Throughput::Bytes(source.bytes));
        let empty = runtime.block_on(Memory::new());
        group.bench_function(format!("first backup/{name}"), |b| {
            b.iter_batched(
                || empty.fork(),
                |memory| runtime.block_on(memory.back_up(source.path())),
                BatchSize::PerIteration,
            );
        });
        let filled = empty.fork();
        runtime.block_on(filled.back_up(source.path()));
        let filled = Arc::new(filled);
        group.bench_function(format!("unchanged backup/{name}"), |b| {
            b.iter_batched(
                || filled.fork(),
                |memory| runtime.block_on(memory.back_up(source.path())),
                BatchSize::PerIteration,
            );
        });
        group.bench_function(format!("restore/{name}"), |b| {
            b.iter_batched(
                repository::scratch,
                |target| runtime.block_on(filled.restore(target.path())),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, compress, index_look_up, operations);
criterion_main!(benches);
