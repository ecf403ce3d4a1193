//! How fast is SHA-256 when one thread hashes several things at once, and what do tag and keystream
//! of what is sealed cost?
//!
//! Peers are the crates `sha2`, which every other tool's speed is close to, `poly1305`, `aes` and
//! `ctr`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use windlass_benches::data::random_bytes;
use windlass_lanes::aes_ctr::Aes256Ctr;
use windlass_lanes::poly1305;
use windlass_lanes::sha256::{Sha256, digest_many, update_many};

fn digests(c: &mut Criterion) {
    let data = random_bytes(16 << 20);
    let mut group = c.benchmark_group("sha256");
    for (name, lengths) in [
        ("1 of 4 MiB", vec![4 << 20]),
        ("2 of 2 MiB", vec![2 << 20; 2]),
        ("3 of 1 MiB", vec![1 << 20; 3]),
        ("4 of 1 MiB", vec![1 << 20; 4]),
        ("5 of 1 MiB", vec![1 << 20; 5]),
        ("uneven chunks", vec![1_430_300, 643_367, 2_684_423, 525_145, 906_100, 1_076_361]),
        ("64 of 3 KiB", vec![3 << 10; 64]),
        ("64 of 200 B", vec![200; 64]),
    ] {
        let mut rest = &data[..];
        let inputs: Vec<&[u8]> = lengths
            .iter()
            .map(|&length| {
                let (input, after) = rest.split_at(length);
                rest = after;
                input
            })
            .collect();
        let mut out = Vec::new();
        group.throughput(Throughput::Bytes(lengths.iter().sum::<usize>() as u64));
        group.bench_function(format!("lanes/{name}"), |b| {
            b.iter(|| digest_many(black_box(&inputs), &mut out));
        });
        group.bench_function(format!("sha2/{name}"), |b| {
            use sha2::Digest;
            b.iter(|| {
                out.clear();
                out.extend(inputs.iter().map(|i| <[u8; 32]>::from(sha2::Sha256::digest(i))));
            });
        });
    }
    group.finish();
}

/// A chunk and the pack it goes into, as the backup pipeline feeds them.
fn chunk_and_pack(c: &mut Criterion) {
    let data = random_bytes(2 << 20);
    let (chunk_bytes, pack_bytes) = data.split_at(1 << 20);
    let mut group = c.benchmark_group("sha256 chunk and pack");
    group.throughput(Throughput::Bytes(data.len() as u64));
    let (mut chunk, mut pack) = (Sha256::new(), Sha256::new());
    pack.update(b"so that the pack is not at a block boundary");
    group.bench_function("together", |b| {
        b.iter(|| update_many(&mut [(&mut chunk, chunk_bytes), (&mut pack, pack_bytes)]));
    });
    group.bench_function("one after the other", |b| {
        b.iter(|| {
            chunk.update(chunk_bytes);
            pack.update(pack_bytes);
        });
    });
    group.finish();
}

/// The tag of what is sealed; the crate `poly1305` is both twin and peer.
fn tags(c: &mut Criterion) {
    let data = random_bytes(1 << 20);
    let key = [7; 32];
    let mut group = c.benchmark_group("poly1305");
    for length in [1 << 10, 16 << 10, 1 << 20] {
        let data = &data[..length];
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(format!("lanes/{length}"), |b| {
            b.iter(|| poly1305::tag(&key, black_box(data)));
        });
        group.bench_function(format!("poly1305/{length}"), |b| {
            b.iter(|| poly1305::portable(&key, black_box(data)));
        });
    }
    group.finish();
}

/// The keystream of what is sealed; the crates `aes` and `ctr` are both twin and peer.
fn keystreams(c: &mut Criterion) {
    let data = random_bytes(1 << 20);
    let (cipher, counter) = (Aes256Ctr::new(&[7; 32]), [9; 16]);
    let mut group = c.benchmark_group("aes-256-ctr");
    for length in [1 << 10, 16 << 10, 1 << 20] {
        let data = &data[..length];
        let mut out = Vec::new();
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(format!("lanes/{length}"), |b| {
            b.iter(|| {
                out.clear();
                cipher.append(&counter, black_box(data), &mut out);
            });
        });
        group.bench_function(format!("lanes, compared/{length}"), |b| {
            b.iter(|| assert!(cipher.decrypts_to(&counter, black_box(&out), data)));
        });
        group.bench_function(format!("aes and ctr/{length}"), |b| {
            b.iter(|| {
                out.clear();
                cipher.append_portable(&counter, black_box(data), &mut out);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, digests, chunk_and_pack, tags, keystreams);
criterion_main!(benches);
