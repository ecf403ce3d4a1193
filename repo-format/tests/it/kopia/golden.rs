//! Every byte of what kopia saved comes back.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use windlass_format::id::to_hex;
use windlass_format::kopia::dir::{self, DirEntry, EntryKind};
use windlass_format::kopia::id::BlobId;
use windlass_format::kopia::index::Segment;
use windlass_format::kopia::pack::LocalIndexReader;
use windlass_format::kopia::{blobcfg, snapshot::Snapshot};
use windlass_format::step::Step;
use windlass_format::time::Timestamp;

use super::repository::Repository;

/// One line of an expected file, without its path.
#[derive(Debug, PartialEq, Eq)]
struct Saved {
    kind: EntryKind,
    mode: String,
    mtime: Timestamp,
    owner: (u64, u64),
    /// Size and SHA-256 of a file, target of a link in hex.
    body: Option<(u64, String)>,
}

type Tree = BTreeMap<String, Saved>;

fn expected(fixture: &str, tag: &str) -> Tree {
    let path = windlass_fixtures::kopia(fixture).join(format!("expected/{tag}.jsonl"));
    let text = fs::read_to_string(path).unwrap();
    let mut tree = Tree::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| line[key].as_str().unwrap().to_owned();
        let number = |key: &str| line[key].as_i64().unwrap();
        let (kind, body) = match line["type"].as_str().unwrap() {
            "d" => (EntryKind::Directory, None),
            "s" => (EntryKind::Symlink, Some((text("target").len() as u64 / 2, text("target")))),
            _ => (EntryKind::File, Some((number("size") as u64, text("sha256")))),
        };
        let mtime = Timestamp::utc(number("seconds"), number("nanos") as u32);
        let owner = (number("uid") as u64, number("gid") as u64);
        let mode = text("mode");
        let known = tree.insert(text("path"), Saved { kind, mode, mtime, owner, body });
        assert!(known.is_none());
    }
    tree
}

/// Reads a snapshot in full.
fn walk(repository: &Repository, snapshot: &Snapshot) -> Tree {
    let mut tree = Tree::new();
    visit(repository, String::new(), snapshot.root.as_ref().unwrap(), &mut tree);
    tree
}

fn visit(repository: &Repository, path: String, entry: &DirEntry, tree: &mut Tree) {
    let object = entry.object.unwrap();
    let body = match entry.kind {
        EntryKind::Directory => {
            let directory = dir::decode(&repository.object(object)).unwrap();
            assert_eq!(directory.summary, entry.summary, "{path}");
            for child in &directory.entries {
                let separator = if path.is_empty() { "" } else { "/" };
                let path = format!("{path}{separator}{}", child.name);
                visit(repository, path, child, tree);
            }
            None
        }
        EntryKind::Symlink => {
            let target = repository.object(object);
            Some((entry.size, to_hex(&target)))
        }
        _ => {
            let (mut hasher, mut size) = (Sha256::new(), 0);
            repository.read(object, &mut |piece| {
                hasher.update(piece);
                size += piece.len() as u64;
            });
            assert_eq!(size, entry.size, "{path}");
            Some((size, to_hex(&hasher.finalize())))
        }
    };
    let saved = Saved {
        kind: entry.kind,
        mode: format!("{:04o}", entry.permissions()),
        mtime: entry.mtime,
        owner: (entry.uid.into(), entry.gid.into()),
        body,
    };
    assert!(tree.insert(path, saved).is_none());
}

fn tagged<'s>(snapshots: &'s [Snapshot], tag: &str) -> &'s Snapshot {
    let mut found = snapshots.iter().filter(|s| s.tags.get("fixture").is_some_and(|t| t == tag));
    let snapshot = found.next().unwrap();
    assert!(found.next().is_none());
    snapshot
}

fn check_snapshot(repository: &Repository, fixture: &str, snapshot: &Snapshot, tag: &str) {
    let (read, saved) = (walk(repository, snapshot), expected(fixture, tag));
    assert!(!saved.is_empty());
    for (path, entry) in &saved {
        assert_eq!(read.get(path), Some(entry), "{path:?}");
    }
    assert_eq!(read.len(), saved.len());
}

#[test]
fn both_snapshots_of_a_default_repository_read_back_byte_for_byte() {
    let repository = Repository::open("default");
    let format = &repository.format;
    assert_eq!((format.version, format.index_version), (3, 2));
    assert_eq!(format.hash, "BLAKE2B-256-128");
    assert_eq!(format.encryption, "AES256-GCM-HMAC-SHA256");
    assert_eq!(format.splitter, "DYNAMIC-4M-BUZHASH");
    assert!(format.epochs.is_some() && format.upgrade_lock.is_none() && format.warnings.is_empty());
    let snapshots = repository.snapshots();
    assert_eq!(snapshots.len(), 2, "the third was deleted");
    for snapshot in &snapshots {
        let source = &snapshot.source;
        assert_eq!((source.user.as_str(), source.host.as_str()), ("windlass", "fixture"));
        assert_eq!((source.path.as_str(), snapshot.incomplete.as_str()), ("/tree", ""));
        assert!(snapshot.end.instant() > snapshot.start.instant());
    }
    let (first, second) = (tagged(&snapshots, "first"), tagged(&snapshots, "second"));
    assert_eq!((first.description.as_str(), first.pins.len()), ("the first one", 0));
    assert_eq!((second.description.as_str(), second.pins.as_slice()), ("", &["keep".into()][..]));
    check_snapshot(&repository, "default", first, "first");
    check_snapshot(&repository, "default", second, "second");
}

#[test]
fn compressed_contents_and_lists_of_lists_read_back_byte_for_byte() {
    let repository = Repository::open("zstd-128k");
    let compressed =
        |id: u32| repository.contents.values().filter(|c| c.0.compression == id).count();
    assert!(compressed(0x1101) > 5 && compressed(0) > 2);
    let snapshots = repository.snapshots();
    check_snapshot(&repository, "zstd-128k", tagged(&snapshots, "pieces"), "pieces");
    let zeros = tagged(&snapshots, "zeros");
    let root = zeros.root.as_ref().unwrap().object.unwrap();
    let file = &dir::decode(&repository.object(root)).unwrap().entries[0];
    assert!(file.object.unwrap().to_string().starts_with("IIx"));
    check_snapshot(&repository, "zstd-128k", zeros, "zeros");
}

#[test]
fn a_directory_of_several_contents_has_all_its_entries() {
    let repository = Repository::open("zstd-128k");
    let snapshots = repository.snapshots();
    let root = tagged(&snapshots, "many").root.as_ref().unwrap();
    assert!(root.object.unwrap().to_string().starts_with("Ik"));
    let directory = dir::decode(&repository.object(root.object.unwrap())).unwrap();
    assert_eq!(directory.entries.len(), 3000);
    for (number, entry) in directory.entries.iter().enumerate() {
        assert_eq!(entry.name, format!("entry-{number:04}"));
        assert_eq!((entry.kind, entry.permissions(), entry.size), (EntryKind::File, 0o644, 0));
        assert_eq!(entry.mtime, Timestamp::utc(1_577_836_800, 0));
    }
    assert_eq!(repository.object(directory.entries[7].object.unwrap()), b"");
}

#[test]
fn format_version_one_reads_back_with_its_other_algorithms() {
    let repository = Repository::open("version-1");
    assert_eq!((repository.format.version, repository.format.index_version), (1, 1));
    assert!(repository.format.epochs.is_none() && !repository.format.enable_password_change);
    assert_eq!(repository.format_blob.key_algorithm, "pbkdf2-sha256-600000");
    let snapshots = repository.snapshots();
    check_snapshot(&repository, "version-1", tagged(&snapshots, "small"), "small");
}

#[test]
fn manifests_of_other_kinds_are_kept_as_they_are() {
    let repository = Repository::open("default");
    let manifests = repository.manifests();
    let of_kind = |kind: &str| manifests.iter().filter(|m| m.label("type") == kind).count();
    // Kopia gave the source a policy of its own at its first snapshot.
    assert_eq!((of_kind("snapshot"), of_kind("policy"), of_kind("maintenance")), (2, 2, 1));
    let policy = manifests.iter().find(|m| m.label("policyType") == "global").unwrap();
    assert!(policy.data.get().contains("\"keepLatest\":10"));
    assert!(manifests.find(&policy.id).is_some());
}

#[test]
fn the_storage_configuration_asks_for_no_retention() {
    let repository = Repository::open("default");
    let bytes = repository.blob(&BlobId::parse(BlobId::BLOBCFG).unwrap());
    let config = blobcfg::open(&repository.format_blob, &repository.key, &bytes).unwrap();
    assert_eq!(config, blobcfg::BlobConfig::default());
}

#[test]
fn the_index_can_be_recovered_from_the_packs_alone() {
    for fixture in ["default", "zstd-128k", "version-1"] {
        let repository = Repository::open(fixture);
        let mut recovered = BTreeMap::new();
        for pack in repository.blobs.iter().filter(|blob| blob.as_str().starts_with(['p', 'q'])) {
            let stored = repository.blob(pack);
            let mut reader = LocalIndexReader::new(stored.len() as u64).unwrap();
            let mut step = reader.first();
            let local = loop {
                match step {
                    Step::Done(local) => break local,
                    Step::Need { start, end } => {
                        let bytes = stored[start as usize..end as usize].to_vec();
                        step = reader.next(&repository.crypter, bytes).unwrap();
                    }
                }
            };
            let segment = Segment::parse(&local).unwrap();
            let visited = segment.visit(|entry| {
                let name = segment.pack_name(entry.pack)?.to_owned();
                recovered.insert((entry.content, name), entry.offset);
                Ok::<_, windlass_format::damage::Damage>(())
            });
            visited.unwrap();
        }
        for (content, (entry, pack)) in &repository.contents {
            let offset = recovered.get(&(*content, pack.as_str().to_owned()));
            assert_eq!(offset, Some(&entry.offset), "{fixture} {content}");
        }
    }
}

#[test]
fn every_log_blob_opens_and_hashes_to_its_name() {
    let repository = Repository::open("default");
    let logs = repository.blobs.iter().filter(|blob| blob.as_str().starts_with("_log_"));
    let mut count = 0;
    for log in logs {
        let mut stored = repository.blob(log);
        assert!(repository.crypter.open_blob(log, &mut stored).is_ok(), "{log}");
        count += 1;
    }
    assert_eq!(count, 5);
}
