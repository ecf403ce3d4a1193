//! Whatever is encoded decodes to the same value.

use proptest::{collection::vec, option, prelude::*, string::string_regex};
use windlass_format::{
    cut::rabin::Polynomial,
    restic::{
        BlobId, PackId, RepositoryId, SnapshotId,
        compress::{Compressor, Decompressor, Level},
        config::{Chunker, Config, Version},
        envelope::{self, MasterKey, OVERHEAD},
        index::{self, IndexPack},
        key::{KdfParams, KeyFile},
        lock::Lock,
        name,
        pack::{self, BlobKind, Entry},
        snapshot::{Snapshot, Summary},
        tree::{self, Mode, Node, NodeKind, Tree, Xattr},
    },
    time::Timestamp,
};

fn timestamp() -> impl Strategy<Value = Timestamp> {
    // Offsets of whole minutes, and years 1 to 9998 in whatever zone.
    let nanos =
        prop_oneof![Just(0), 0..1_000_000_000_u32, (0..1000_u32).prop_map(|n| n * 1_000_000)];
    let offset = prop_oneof![Just(0), (-1439..1440_i32).prop_map(|minutes| minutes * 60)];
    (-62_135_000_000..253_370_000_000_i64, nanos, offset)
        .prop_map(|(seconds, nanos, offset_seconds)| Timestamp { seconds, nanos, offset_seconds })
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        string_regex("[a-z<>&\"\\\\ \n\u{8}\u{2028}\u{e4}]{0,12}").unwrap(),
        any::<String>()
    ]
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 0..20), text().prop_map(String::into_bytes)]
}

fn blob_id() -> impl Strategy<Value = BlobId> {
    any::<[u8; 32]>().prop_map(BlobId)
}

fn kind() -> impl Strategy<Value = BlobKind> {
    prop_oneof![Just(BlobKind::Data), Just(BlobKind::Tree)]
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let one = (kind(), blob_id(), 0..1_000_000_u32, option::of(1..u32::MAX));
    vec(one, 0..20).prop_map(|all| {
        let mut offset = 0;
        let place = |(kind, id, length, raw_length)| {
            let entry = Entry { kind, id, offset, length, raw_length };
            offset += length;
            entry
        };
        all.into_iter().map(place).collect()
    })
}

fn raw_json() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("null".to_owned()),
        Just("1.5e-3".to_owned()),
        Just(r#"{"a":["\u003c\"",true]}"#.to_owned()),
        any::<u64>().prop_map(|number| number.to_string()),
    ]
}

fn extra(keys: &'static [&'static str]) -> impl Strategy<Value = Vec<(String, String)>> {
    vec(raw_json(), 0..=keys.len())
        .prop_map(|raw| keys.iter().map(|key| (*key).to_owned()).zip(raw).collect())
}

prop_compose! {
    fn node()(
        kind in prop_oneof![Just(NodeKind::File), Just(NodeKind::Dir), Just(NodeKind::Symlink),
            Just(NodeKind::Device), Just(NodeKind::CharDevice), Just(NodeKind::Fifo),
            Just(NodeKind::Socket), Just(NodeKind::Irregular)],
        name in bytes().prop_filter("a name", |name| !name.is_empty()),
        mode in any::<u32>(),
        (mtime, atime, ctime) in (timestamp(), timestamp(), timestamp()),
        (uid, gid, user, group) in (any::<u32>(), any::<u32>(), text(), text()),
        (inode, device_id, size, links, device) in any::<(u64, u64, u64, u64, u64)>(),
        link_target in bytes(),
        xattrs in vec((text(), option::of(bytes())), 0..3),
        generic in extra(&["windows.a", "windows.b"]),
        content in option::of(vec(blob_id(), 0..4)),
        subtree in option::of(blob_id()),
        error in text(),
    ) -> Node {
        let xattrs = xattrs.into_iter();
        let xattrs = xattrs.map(|(name, value)| Xattr { name: name.into_bytes(), value });
        Node {
            name, kind, mode: Mode(mode), mtime, atime, ctime, uid, gid, user, group, inode,
            device_id, size, links, link_target, xattrs: xattrs.collect(), generic, device,
            content, subtree, error,
        }
    }
}

prop_compose! {
    fn summary()(
        (backup_start, backup_end) in (timestamp(), timestamp()),
        n in any::<[u64; 12]>(),
        extra in extra(&["command", "total_duration"]),
    ) -> Summary {
        let [files_new, files_changed, files_unmodified, dirs_new, dirs_changed, dirs_unmodified,
            data_blobs, tree_blobs, data_added, data_added_packed, total_files_processed,
            total_bytes_processed] = n;
        Summary {
            backup_start, backup_end, files_new, files_changed, files_unmodified, dirs_new,
            dirs_changed, dirs_unmodified, data_blobs, tree_blobs, data_added, data_added_packed,
            total_files_processed, total_bytes_processed, extra,
        }
    }
}

prop_compose! {
    fn snapshot()(
        time in timestamp(),
        (parent, original) in any::<(Option<[u8; 32]>, Option<[u8; 32]>)>(),
        tree in blob_id().prop_filter("a tree", |id| !id.is_zero()),
        (paths, excludes, tags) in (vec(text(), 0..4), vec(text(), 0..4), vec(text(), 0..4)),
        (hostname, username, program_version) in (text(), text(), text()),
        (uid, gid) in any::<(u32, u32)>(),
        summary in option::of(summary()),
        extra in extra(&["label", "parents", "delete"]),
    ) -> Snapshot {
        Snapshot {
            time, parent: parent.map(SnapshotId), tree, paths, hostname, username, uid, gid,
            excludes, tags, original: original.map(SnapshotId), program_version, summary, extra,
        }
    }
}

fn master() -> MasterKey {
    MasterKey::from_bytes(&[0x5a; 64]).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_survives(mut nodes in vec(node(), 0..6)) {
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        nodes.dedup_by(|a, b| a.name == b.name);
        let tree = Tree { nodes };
        let json = tree.encode().unwrap();
        prop_assert_eq!(tree::decode_lossless(&json).unwrap(), (tree, true));
    }

    #[test]
    fn any_bytes_survive_as_a_name(raw in bytes()) {
        let mut quoted = Vec::new();
        name::quote(&raw, &mut quoted);
        let quoted = String::from_utf8(quoted).unwrap();
        let mut again = Vec::new();
        name::unquote(&quoted, &mut again).unwrap();
        prop_assert_eq!(again, raw.clone());
        prop_assert!(!name::is_plain(&raw) || quoted.as_bytes() == raw);
    }

    #[test]
    fn unquoting_any_text_never_panics(text in "[\\\\xuU0-9a-f\"\n\u{e4}]{0,14}") {
        let mut bytes = Vec::new();
        if name::unquote(&text, &mut bytes).is_ok() {
            let mut quoted = Vec::new();
            name::quote(&bytes, &mut quoted);
            let mut again = Vec::new();
            name::unquote(&String::from_utf8(quoted).unwrap(), &mut again).unwrap();
            prop_assert_eq!(again, bytes);
        }
    }

    #[test]
    fn any_snapshot_survives(snapshot in snapshot()) {
        prop_assert_eq!(Snapshot::decode(&snapshot.encode()), Ok(snapshot));
    }

    #[test]
    fn any_lock_survives(
        time in timestamp(), exclusive: bool, hostname in text(), username in text(),
        pid: i64, uid: u32, gid: u32, process in text(), lineage in text(),
    ) {
        let lock =
            Lock { time, exclusive, hostname, username, pid, uid, gid, process, lineage };
        prop_assert_eq!(Lock::decode(&lock.encode()), Ok(lock));
    }

    #[test]
    fn any_key_file_survives(
        created in timestamp(), username in text(), hostname in text(),
        log_n in 1..20_u32, r in 1..8_u32, p in 1..=64_u32, salt in vec(any::<u8>(), 64),
        data in vec(any::<u8>(), 0..300),
    ) {
        let kdf = KdfParams { n: 1 << log_n, r, p, salt: salt.try_into().unwrap() };
        let key = KeyFile { created, username, hostname, kdf, data };
        prop_assert_eq!(KeyFile::decode(&key.encode()), Ok(key));
    }

    #[test]
    fn any_config_survives(
        id: [u8; 32], first: bool, extra in extra(&["is_hot", "chunker"]),
        name in "[a-z0-9-]{1,20}", sizes in [1..=u32::MAX, 1..=u32::MAX, 1..=u32::MAX],
    ) {
        let polynomial = Polynomial::from_hex("3da3358b4dc173").unwrap();
        let version = if first { Version::V1 } else { Version::V2 };
        let mut config = Config { version, id: RepositoryId(id), polynomial, extra };
        prop_assert_eq!(Config::decode(&config.encode()), Ok(config.clone()));
        let without = config.clone();
        let mut sizes = sizes.map(u64::from);
        sizes.sort_unstable();
        let [min, avg, max] = sizes;
        let chunker = Chunker { name, min, avg, max };
        config.set_chunker(Some(&chunker));
        let again = Config::decode(&config.encode()).unwrap();
        prop_assert_eq!(again.chunker(), Ok(Some(chunker)));
        config.set_chunker(None);
        prop_assert_eq!(config, without);
    }

    #[test]
    fn any_index_survives(
        packs in vec((any::<[u8; 32]>(), entries(), option::of(timestamp()), any::<Option<u64>>()), 0..4),
        marked in 0..4_usize,
    ) {
        // Those marked for removal come last, as they are written.
        let count = packs.len();
        let packs = packs.into_iter().enumerate().map(|(at, (id, blobs, time, size))| IndexPack {
            id: PackId(id), blobs, to_delete: at + marked > count, time, size,
        });
        let packs = packs.filter(|pack| !pack.id.is_zero()).collect::<Vec<_>>();
        prop_assert_eq!(index::decode(&index::encode(&packs)), Ok(packs));
    }

    #[test]
    fn any_pack_survives(entries in entries().prop_filter("a blob", |all| !all.is_empty())) {
        let blobs: u32 = entries.iter().map(|entry| entry.length).sum();
        prop_assume!(blobs < 4_000_000);
        let mut packed = vec![0; usize::try_from(blobs).unwrap()];
        pack::finish(&master(), &[1; 16], &entries, &mut packed).unwrap();
        prop_assert_eq!(pack::pack_size(&entries), packed.len() as u64);
        prop_assert_eq!(super::header(&master(), &packed), Ok(entries));
    }

    #[test]
    fn any_bytes_survive_sealing(
        key: [u8; 32], rest: [u8; 32], nonce: [u8; 16],
        plain in prop_oneof![vec(any::<u8>(), 0..200), vec(any::<u8>(), 4000..9000)],
        before in vec(any::<u8>(), 0..40),
    ) {
        prop_assume!(nonce != [0; 16]);
        let key = MasterKey::generate(&[key, rest].concat().try_into().unwrap());
        let mut sealed = before.clone();
        envelope::seal(&key, &nonce, &plain, &mut sealed);
        prop_assert_eq!(sealed.len(), before.len() + plain.len() + OVERHEAD);
        prop_assert_eq!(&sealed[..before.len()], before.as_slice());
        let sealed = &mut sealed[before.len()..];
        let mut out = vec![1, 2, 3];
        envelope::open(&key, "item", sealed, &mut out).unwrap();
        prop_assert_eq!(&out, &plain);
        prop_assert!(envelope::opens_to(&key, sealed, &plain));
        if let Some(last) = out.last_mut() {
            *last ^= 1;
            prop_assert!(!envelope::opens_to(&key, sealed, &out));
            prop_assert!(!envelope::opens_to(&key, sealed, &plain[1..]));
        }
        prop_assert_eq!(&*envelope::open_in_place(&key, "item", sealed).unwrap(), &plain[..]);
    }

    #[test]
    fn any_bytes_survive_compression(
        level in prop_oneof![Just(Level::Auto), Just(Level::Fastest), Just(Level::Better),
            Just(Level::Max), Just(Level::Off)],
        plain in vec(0..4_u8, 0..5000),
        before in vec(any::<u8>(), 0..40),
    ) {
        let mut packed = before.clone();
        Compressor::new(level).unwrap().compress(&plain, &mut packed).unwrap();
        prop_assert_eq!(&packed[..before.len()], before.as_slice());
        let mut out = vec![1, 2, 3];
        let mut decompressor = Decompressor::new().unwrap();
        let packed = &packed[before.len()..];
        decompressor.decompress_exact("item", packed, plain.len(), &mut out).unwrap();
        prop_assert_eq!(&out, &plain);
        decompressor.decompress_up_to("item", packed, plain.len(), &mut out).unwrap();
        prop_assert_eq!(&out, &plain);
        if !plain.is_empty() {
            let short = plain.len() - 1;
            prop_assert!(decompressor.decompress_up_to("item", packed, short, &mut out).is_err());
        }
    }
}
