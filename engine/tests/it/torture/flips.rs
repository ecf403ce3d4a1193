//! Single bits that flip, in every object of a small repository.

use std::collections::BTreeMap;

use windlass_engine::{
    fault::Class,
    model::{chunk::ChunkKey, directory::Kind, root::RootId},
    reader::Reader,
    restore::RestoreError,
    store::{Key, memory::MemoryStore},
};
use windlass_format::restic::config::Version;
use windlass_testkit::rounds::{Rounds, case};

use super::{
    super::damage::Subject,
    AT_ONCE,
    work::{Site, Work},
};

/// Every so manieth bit is looked at in one round, so that this many rounds look at all.
const SHARES: usize = 64;

#[test]
fn no_flipped_bit_is_ever_restored() {
    let subject = Subject::new(Version::V2);
    Rounds::new("flipped bits, read and restored", 1).at_most(SHARES).run(|seed| {
        for (key, bytes) in &subject.objects() {
            let damaged = subject.store.fork();
            for bit in (case(seed, SHARES)..bytes.len() * 8).step_by(SHARES) {
                damaged.overwrite(key, flipped(bytes, bit));
                let right = subject.check_flip(&damaged, key, bit);
                // Where opening fails there is nothing to restore from.
                if subject.scene.try_open(damaged.clone()).is_err() {
                    continue;
                }
                match subject.restore(&damaged) {
                    Ok(problems) => assert!(!right || problems.is_empty(), "{key} bit {bit}"),
                    Err(RestoreError::Fault(fault)) => {
                        assert_eq!(fault.class(), Class::Damaged, "{key} bit {bit}: {fault}");
                    }
                    Err(error) => panic!("{key} bit {bit}: {error}"),
                }
            }
        }
    });
}

fn flipped(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut altered = bytes.to_vec();
    altered[bit / 8] ^= 1 << (bit % 8);
    altered
}

/// Operations on what is damaged.
const WORKS: [Work; 9] = [
    Work::Backup,
    Work::Prune,
    Work::CopyFrom,
    Work::CopyInto,
    Work::Rewrite,
    Work::RepairIndex,
    Work::RepairPacks,
    Work::Mend,
    Work::Heal,
];

#[test]
fn nothing_that_can_be_read_beside_a_flipped_bit_is_lost_by_any_operation() {
    let site = Site::small();
    let objects: Vec<(Key, usize)> =
        site.store.contents().iter().map(|(key, bytes)| (key.clone(), bytes.len() * 8)).collect();
    let bits: usize = objects.iter().map(|(_, bits)| bits).sum();
    let rounds = Rounds::new("flipped bits, worked on", 120).at_most(bits * WORKS.len());
    rounds.run_on(AT_ONCE, |seed| {
        let which = case(seed, bits * WORKS.len());
        let (work, mut bit) = (WORKS[which % WORKS.len()], which / WORKS.len());
        let mut objects = objects.iter();
        let key = loop {
            let (key, bits) = objects.next().expect("a bit of one of them");
            if bit < *bits {
                break key;
            }
            bit -= bits;
        };
        check(&site, work, key, bit, &format!("seed {seed}: {work:?}, {key} bit {bit}"));
    });
}

fn check(site: &Site, work: Work, key: &Key, bit: usize, told: &str) {
    let store = site.store.fork();
    store.overwrite(key, flipped(&store.contents()[key], bit));
    let Ok(repository) = site.scene.try_open(store.clone()) else { return };
    let before = readable(site, &store);
    let done = site.run(work, &repository);
    if let Err(ended) = &done {
        let expected = matches!(ended.class, Class::Damaged | Class::Unsupported);
        assert!(expected, "{told}: {ended:?}");
    }
    let after = readable(site, &store);
    for Readable { id, files, .. } in &before {
        for (path, content) in files {
            if work == Work::Rewrite && path.ends_with(b"/secret") {
                continue;
            }
            let same = |root: &Readable| {
                let of_it = root.id == *id || root.original.as_ref() == Some(id);
                of_it && root.files.get(path) == Some(content)
            };
            let path = String::from_utf8_lossy(path);
            assert!(after.iter().any(same), "{told}: {path} of {id} is lost, {done:?}");
        }
    }
    // An index is made again from the packs, and says all that the old one said.
    if work == Work::RepairIndex && key.as_str().starts_with("index/") {
        assert!(done.is_ok(), "{told}: {done:?}");
        site.check_whole(work, &store, told);
    }
    // What was lost is in the other repository.
    if work == Work::Heal && key.as_str().starts_with("data/") {
        assert!(done.is_ok(), "{told}: {done:?}");
        site.check_whole(work, &store, told);
    }
}

/// What of a root can be read.
struct Readable {
    id: RootId,
    original: Option<RootId>,
    /// Directories, and files with all that is in them.
    files: BTreeMap<Vec<u8>, Vec<ChunkKey>>,
}

fn readable(site: &Site, store: &MemoryStore) -> Vec<Readable> {
    let repository = site.scene.open(store.clone());
    // Without an index nothing can be.
    let Ok(reader) = site.scene.runtime.block_on(repository.reader()) else { return Vec::new() };
    let roots = site.scene.try_roots(&repository).expect("listed").into_iter();
    let roots = roots.filter_map(|(id, root)| {
        let root = root.ok()?;
        let mut files = BTreeMap::new();
        walk(&reader, Vec::new(), &root.tree, &mut files);
        Some(Readable { id, original: root.original, files })
    });
    roots.collect()
}

fn walk(
    reader: &Reader,
    path: Vec<u8>,
    tree: &ChunkKey,
    files: &mut BTreeMap<Vec<u8>, Vec<ChunkKey>>,
) {
    let Ok(directory) = reader.directory(tree) else { return };
    for entry in &directory.entries {
        let path = [&path[..], b"/", &entry.name].concat();
        match &entry.kind {
            Kind::Directory { tree: Some(below) } => walk(reader, path, below, files),
            Kind::File { content, .. } => {
                let chunks = reader.chunks_of(content).unwrap_or_default();
                if chunks.iter().all(|chunk| reader.chunk(chunk, &mut Vec::new()).is_ok()) {
                    files.insert(path, chunks);
                }
            }
            _ => {}
        }
    }
    files.insert(path, Vec::new());
}
