//! How fast are restic's trees and indexes read and written, and its blobs sealed and opened?
//!
//! A backup of an unchanged directory of 60,000 files decodes and encodes as much tree as here;
//! opening a repository of 50,000 blobs reads one such index. `serde_json` is the peer for
//! reading; it borrows every text and resolves neither times nor ids.

use std::borrow::Cow;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde::Deserialize;
use windlass_benches::data::random_bytes;
use windlass_format::restic::compress::{Compressor, Decompressor, Level};
use windlass_format::restic::index::{self, IndexPack};
use windlass_format::restic::pack::{BlobKind, Entry};
use windlass_format::restic::tree::{self, Encoder, Mode, Node, NodeKind, Tree};
use windlass_format::restic::{BlobId, PackId, envelope};
use windlass_format::time::Timestamp;

fn ids() -> impl Iterator<Item = [u8; 32]> {
    let bytes = random_bytes(60_000 * 32);
    (0..).map(move |at| *bytes[at % 60_000 * 32..].first_chunk().unwrap())
}

fn directory() -> Tree {
    let files = (0..60_000_u64).zip(ids()).map(|(at, id)| {
        let mut node = Node::new(format!("file-{at:08}.txt").into_bytes(), NodeKind::File);
        node.mode = Mode(0o644);
        let nanos = u32::try_from(at * 7_654_321 % 1_000_000_000).unwrap();
        let seconds = 1_700_000_000 + i64::try_from(at).unwrap() * 7919;
        node.mtime = Timestamp { seconds, nanos, offset_seconds: 7200 };
        (node.atime, node.ctime) = (node.mtime, node.mtime);
        (node.uid, node.gid) = (1000, 1000);
        (node.user, node.group) = ("someone".into(), "somegroup".into());
        (node.inode, node.device_id) = (1_000_000 + at, 64769);
        (node.size, node.links) = (at * 1000 + 1, 1);
        node.content = Some(vec![BlobId(id)]);
        node
    });
    Tree { nodes: files.collect() }
}

#[derive(Deserialize)]
struct PeerTree<'a> {
    #[serde(borrow)]
    nodes: Vec<PeerNode<'a>>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "the peer has to read what it is not asked for")]
struct PeerNode<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(default)]
    mode: u32,
    mtime: &'a str,
    atime: &'a str,
    ctime: &'a str,
    uid: u32,
    gid: u32,
    #[serde(default, borrow)]
    user: Cow<'a, str>,
    #[serde(default, borrow)]
    group: Cow<'a, str>,
    #[serde(default)]
    inode: u64,
    #[serde(default)]
    device_id: u64,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    links: u64,
    content: Option<Vec<&'a str>>,
    subtree: Option<&'a str>,
}

fn trees(c: &mut Criterion) {
    let tree = directory();
    let json = tree.encode().unwrap();
    let mut group = c.benchmark_group("tree");
    group.throughput(Throughput::Bytes(json.len() as u64)).sample_size(20);
    group.bench_function("decode", |b| b.iter(|| tree::decode(black_box(&json)).unwrap()));
    group.bench_function("visit", |b| {
        let node = |node| {
            drop(black_box(node));
            Ok(())
        };
        b.iter(|| tree::visit(black_box(&json), node).unwrap());
    });
    group.bench_function("references", |b| {
        b.iter(|| {
            let mut found = 0;
            tree::references(black_box(&json), |_, _| found += 1).unwrap();
            found
        });
    });
    group.bench_function("serde_json", |b| {
        b.iter(|| serde_json::from_slice::<PeerTree<'_>>(black_box(&json)).unwrap().nodes.len());
    });
    let mut out = Vec::with_capacity(json.len());
    group.bench_function("encode", |b| {
        b.iter(|| {
            let mut encoder = Encoder::new(std::mem::take(&mut out));
            for node in &tree.nodes {
                encoder.push(black_box(node)).unwrap();
            }
            out = encoder.finish();
        });
    });
    group.finish();
}

fn indexes(c: &mut Criterion) {
    let mut ids = ids();
    let packs = std::iter::repeat_with(|| {
        let blobs = (0..100_u32).zip(&mut ids).map(|(at, id)| Entry {
            kind: BlobKind::Data,
            id: BlobId(id),
            offset: at * 160_000,
            length: 160_000 - at,
            raw_length: Some(300_000 + at),
        });
        let blobs = blobs.collect();
        let id = PackId([7; 32]);
        IndexPack { id, blobs, to_delete: false, time: None, size: None }
    });
    let packs = packs.take(500).collect::<Vec<_>>();
    let json = index::encode(&packs);
    let mut group = c.benchmark_group("index");
    group.throughput(Throughput::Bytes(json.len() as u64)).sample_size(20);
    group.bench_function("visit", |b| {
        b.iter(|| {
            let mut bytes = 0;
            index::visit(black_box(&json), |_, entry| bytes += u64::from(entry.length)).unwrap();
            bytes
        });
    });
    group.bench_function("decode", |b| b.iter(|| index::decode(black_box(&json)).unwrap()));
    group.bench_function("encode", |b| b.iter(|| index::encode(black_box(&packs))));
    group.finish();
}

fn envelopes(c: &mut Criterion) {
    let key = envelope::MasterKey::from_bytes(&[7; 64]).unwrap();
    let mut group = c.benchmark_group("envelope");
    for bytes in [4 << 10, 1 << 20] {
        let plain = random_bytes(bytes);
        let (mut sealed, mut opened) = (Vec::new(), Vec::new());
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(format!("seal/{bytes}"), |b| {
            b.iter(|| {
                sealed.clear();
                envelope::seal(&key, &[1; 16], black_box(&plain), &mut sealed);
            });
        });
        group.bench_function(format!("open/{bytes}"), |b| {
            b.iter(|| envelope::open(&key, "blob", black_box(&sealed), &mut opened).unwrap());
        });
        group.bench_function(format!("opens to/{bytes}"), |b| {
            b.iter(|| assert!(envelope::opens_to(&key, black_box(&sealed), &plain)));
        });
    }
    group.finish();
}

fn compression(c: &mut Criterion) {
    let plain = directory().encode().unwrap();
    let plain = &plain[..1 << 20];
    let mut decompressor = Decompressor::new().unwrap();
    let mut group = c.benchmark_group("compress 1 MiB of tree");
    group.throughput(Throughput::Bytes(plain.len() as u64)).sample_size(20);
    for level in [Level::Fastest, Level::Auto, Level::Better, Level::Max] {
        let mut compressor = Compressor::new(level).unwrap();
        let (mut packed, mut out) = (Vec::new(), Vec::new());
        group.bench_function(format!("{level:?}"), |b| {
            b.iter(|| {
                packed.clear();
                compressor.compress(black_box(plain), &mut packed).unwrap();
            });
        });
        group.bench_function(format!("back from {level:?}"), |b| {
            b.iter(|| {
                let packed = black_box(&packed);
                decompressor.decompress_exact("tree", packed, plain.len(), &mut out).unwrap();
            });
        });
    }
    group.finish();
}

criterion_group!(benches, trees, indexes, envelopes, compression);
criterion_main!(benches);
