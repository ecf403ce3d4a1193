//! Bytes that are cut short, flipped or made to hurt.

use windlass_fixtures as fixtures;
use windlass_format::{
    damage::Damage,
    go_json::read::MAX_DEPTH,
    restic::{
        BlobId,
        compress::{Compressor, Decompressor, Level},
        config::{Config, Version},
        envelope::{self, MasterKey, OVERHEAD},
        index,
        key::{KdfParams, KeyFile, MAX_LANE_BYTES, MAX_LANES, derive},
        lock::Lock,
        name,
        pack::{self, BlobKind, Entry, HeaderReader, MIN_PACK},
        snapshot::Snapshot,
        tree::{self, Node, NodeKind, Tree},
        unpacked,
    },
    secret::Password,
    step::Step,
};

use super::{ALL, named};

/// A decoder of plaintext, reduced to whether it took the bytes.
type Takes = fn(&[u8]) -> bool;

fn documents() -> Vec<(Takes, Vec<u8>)> {
    let opened = named("v2_auto");
    let tree: Takes = |json| {
        let _ = tree::references(json, |_, _| {});
        tree::decode_lossless(json).is_ok()
    };
    let index: Takes = |json| {
        assert_eq!(index::visit(json, |_, _| {}), index::decode(json).map(drop));
        index::decode(json).is_ok()
    };
    let mut documents: Vec<(Takes, Vec<u8>)> = vec![
        (|json| Config::decode(json).is_ok(), opened.config_plain.clone()),
        (|json| KeyFile::decode(json).is_ok(), opened.key_files[0].clone()),
        (|json| Snapshot::decode(json).is_ok(), opened.snapshots[0].clone()),
        (|json| Lock::decode(json).is_ok(), opened.locks[0].clone()),
        (|json| MasterKey::from_json(json).is_ok(), opened.master.to_json().to_vec()),
        (index, opened.indexes[0].clone()),
    ];
    documents.extend(opened.trees().map(|(_, json)| (tree, json.to_vec())));
    let mut header = Vec::new();
    pack::encode_entries(&opened.packs.values().next().unwrap().entries, &mut header);
    documents.push((|bytes| pack::decode_entries(bytes).is_ok(), header));
    documents
}

#[test]
fn a_document_cut_short_is_refused_and_never_panics() {
    for (takes, document) in documents() {
        assert!(takes(&document));
        // Without its newline a document is as good; one byte less and it is not.
        let text = document.trim_ascii_end().len();
        let step = (text / 500).max(1);
        let binary = document.first() != Some(&b'{');
        for length in (0..text).step_by(step) {
            assert!(!takes(&document[..length]) || binary, "{length} of {text}");
        }
    }
}

#[test]
fn flipped_bits_never_panic() {
    let mut refused = 0;
    for (takes, document) in documents() {
        let step = (document.len() / 700).max(1);
        for at in (0..document.len()).step_by(step) {
            for bit in [0, 3, 5, 7] {
                let mut damaged = document.clone();
                damaged[at] ^= 1 << bit;
                refused += usize::from(!takes(&damaged));
            }
        }
    }
    assert!(refused > 1000, "{refused}");
}

#[test]
fn every_flipped_bit_of_a_sealed_item_is_noticed() {
    let key = &named("v2_auto").master;
    let mut sealed = Vec::new();
    envelope::seal(key, &[7; 16], &(0..100).collect::<Vec<u8>>(), &mut sealed);
    let mut out = Vec::new();
    for at in 0..sealed.len() * 8 {
        let mut damaged = sealed.clone();
        damaged[at / 8] ^= 1 << (at % 8);
        let refused = Err(Damage::BadTag { what: "item" });
        assert_eq!(envelope::open(key, "item", &damaged, &mut out), refused);
        assert!(out.is_empty(), "nothing unauthenticated comes out");
        assert_eq!(envelope::open_in_place(key, "item", &mut damaged).map(drop), refused);
    }
    for length in 0..sealed.len() {
        assert!(envelope::open(key, "item", &sealed[..length], &mut out).is_err());
    }
}

#[test]
fn keys_and_nonces_of_zeros_are_refused() {
    let mut bytes = [1; 64];
    assert!(MasterKey::from_bytes(&bytes).is_ok());
    for part in [0..32, 32..48, 48..64] {
        let mut zeroed = bytes;
        zeroed[part].fill(0);
        assert!(MasterKey::from_bytes(&zeroed).is_err());
    }
    bytes[0] = 2;
    let key = MasterKey::from_bytes(&bytes).unwrap();
    let zero = Err(Damage::Invalid { what: "nonce of zeros" });
    assert_eq!(envelope::open(&key, "item", &[0; OVERHEAD], &mut Vec::new()), zero);
}

#[test]
fn a_key_prints_nothing_of_itself() {
    let key = MasterKey::from_bytes(&[0xab; 64]).unwrap();
    assert_eq!(format!("{key:?}"), "MasterKey");
}

#[test]
fn derivations_that_cost_too_much_are_refused_before_they_start() {
    let sane = KdfParams { n: 2, r: 1, p: 1, salt: [0; 64] };
    let password = Password::new("x");
    assert!(derive(&sane, &password).is_ok());
    let memory = Err(Damage::OverLimit { what: "scrypt memory", max: MAX_LANE_BYTES });
    for (n, r) in [(1 << 24, 1), (1 << 20, 9), (1 << 63, u32::MAX), (2, u32::MAX), (1 << 57, 1)] {
        assert_eq!(derive(&KdfParams { n, r, ..sane }, &password).map(drop), memory, "{n} {r}");
    }
    let lanes = Err(Damage::OverLimit { what: "scrypt lanes", max: u64::from(MAX_LANES) });
    assert_eq!(derive(&KdfParams { p: MAX_LANES + 1, ..sane }, &password).map(drop), lanes);
    for (n, r, p) in [(0, 1, 1), (1, 1, 1), (3, 1, 1), (2, 0, 1), (2, 1, 0)] {
        let refused = derive(&KdfParams { n, r, p, ..sane }, &password).map(drop);
        assert_eq!(refused, Err(Damage::Invalid { what: "scrypt parameters" }));
    }
}

#[test]
fn a_wrong_password_is_a_bad_tag_and_nothing_else() {
    let key = KeyFile::decode(&named("v2_restic_0_14").key_files[0]).unwrap();
    let derived = derive(&key.kdf, &Password::new("not windlass")).unwrap();
    let refused = key.unlock(&derived).map(drop);
    assert_eq!(refused, Err(Damage::BadTag { what: "key file" }));
    let right = derive(&key.kdf, &Password::new(fixtures::RESTIC_PASSWORD)).unwrap();
    assert!(key.unlock(&right).is_ok());
}

#[test]
fn pack_headers_that_lie_about_their_length_are_refused() {
    let key = &named("v2_auto").master;
    let blob = Entry {
        kind: BlobKind::Data,
        id: BlobId([9; 32]),
        offset: 0,
        length: 40,
        raw_length: None,
    };
    let mut packed = vec![0; 40];
    pack::finish(key, &[3; 16], &[blob], &mut packed).unwrap();
    assert_eq!(packed.len() as u64, pack::pack_size(&[blob]));
    let read = |bytes: &[u8]| {
        let reader = HeaderReader::new(bytes.len() as u64)?;
        reader.step(key, bytes)
    };
    assert_eq!(read(&packed), Ok(Step::Done(vec![blob])));
    let end = packed.len();
    for lie in [0, 31, 32, 68, 70, 200, 0xff_ffff, 0xffff_ffff_u32] {
        let mut damaged = packed.clone();
        damaged[end - 4..].copy_from_slice(&lie.to_le_bytes());
        assert!(read(&damaged).is_err(), "{lie}");
    }
    // One byte of blob too many, which only sizes can tell.
    let mut longer = vec![0; 41];
    longer.extend_from_slice(&packed[40..]);
    assert_eq!(read(&longer), Err(Damage::Invalid { what: "pack size" }));
    assert!(HeaderReader::new(MIN_PACK as u64 - 1).is_err());
    assert!(pack::finish(key, &[3; 16], &[], &mut Vec::new()).is_err());
}

#[test]
fn lengths_that_pass_four_gigabytes_are_refused() {
    let entry = |length: u32| [&[0][..], &length.to_le_bytes(), &[1; 32]].concat();
    let over = Err(Damage::OverLimit { what: "pack size", max: u64::from(u32::MAX) });
    let header = [entry(u32::MAX), entry(1)].concat();
    assert_eq!(pack::decode_entries(&header), over);
    let id = "01".repeat(32);
    let json = format!(
        r#"{{"packs":[{{"id":"{id}","blobs":[{{"id":"{id}","type":"data","offset":4294967295,"length":1}}]}}]}}"#
    );
    assert!(index::decode(json.as_bytes()).is_err());
    assert!(index::decode(json.replace("4294967295", "4294967296").as_bytes()).is_err());
    assert!(index::decode(json.replace("4294967295", "4294967294").as_bytes()).is_ok());
}

#[test]
fn supersedes_is_ignored_and_order_of_keys_does_not_matter() {
    let id = "01".repeat(32);
    let usual = format!(
        r#"{{"packs":[{{"id":"{id}","blobs":[{{"id":"{id}","type":"tree","offset":3,"length":44,"uncompressed_length":9}}]}}]}}"#
    );
    let odd = format!(
        r#" {{ "supersedes": ["{id}"], "packs" : [ {{ "blobs" : [ {{"uncompressed_length":9 , "x":[{{}}],
            "length":44,"offset":3,"type":"tree","id":"{id}"}} ], "id" : "{id}" }} ] }} "#
    );
    let packs = index::decode(usual.as_bytes()).unwrap();
    assert_eq!(index::decode(odd.as_bytes()), Ok(packs.clone()));
    let mut written = usual.into_bytes();
    written.push(b'\n');
    assert_eq!(index::encode(&packs), written);
}

#[test]
fn a_small_frame_that_would_grow_beyond_its_limit_is_refused() {
    let mut decompressor = Decompressor::new().unwrap();
    let mut frame = Vec::new();
    let zeros = vec![0; 8 << 20];
    Compressor::new(Level::Max).unwrap().compress(&zeros, &mut frame).unwrap();
    assert!(frame.len() < 1000);
    let mut out = Vec::new();
    let over = Err(Damage::OverLimit { what: "bomb", max: 1 << 20 });
    assert_eq!(decompressor.decompress_up_to("bomb", &frame, 1 << 20, &mut out), over);
    assert!(out.capacity() < (1 << 20) + 100, "{}", out.capacity());
    let broken = Err(Damage::Compression { what: "bomb" });
    for length in [0, 1, zeros.len() - 1, zeros.len() + 1] {
        let mut out = Vec::new();
        assert_eq!(decompressor.decompress_exact("bomb", &frame, length, &mut out), broken);
    }
    // Room that happens to be there does not make a frame longer than promised acceptable.
    let mut roomy = Vec::with_capacity(zeros.len() * 2);
    let exact = decompressor.decompress_exact("bomb", &frame, zeros.len() - 1, &mut roomy);
    assert_eq!(exact, broken);
    decompressor.decompress_exact("bomb", &frame, zeros.len(), &mut out).unwrap();
    assert_eq!(out, zeros);
}

#[test]
fn a_frame_without_its_size_or_in_several_pieces_is_read() {
    let text = "some text that repeats, some text that repeats ".repeat(9000);
    let mut streamed = zstd::stream::encode_all(text.as_bytes(), 1).unwrap();
    let more = zstd::stream::encode_all(&b"and more"[..], 19).unwrap();
    streamed.extend_from_slice(&more);
    let expected = text.clone() + "and more";
    let mut decompressor = Decompressor::new().unwrap();
    let mut out = Vec::new();
    decompressor.decompress_up_to("frames", &streamed, 1 << 20, &mut out).unwrap();
    assert_eq!(out, expected.as_bytes());
    decompressor.decompress_exact("frames", &streamed, expected.len(), &mut out).unwrap();
    assert_eq!(out, expected.as_bytes());
    for length in 0..streamed.len() {
        let cut = decompressor.decompress_up_to("frames", &streamed[..length], 1 << 20, &mut out);
        let between = length == streamed.len() - more.len();
        assert_eq!(cut.is_ok(), between, "{length}");
    }
}

#[test]
fn files_outside_packs_say_what_they_are_with_their_first_byte() {
    let mut decompressor = Decompressor::new().unwrap();
    let mut compressor = Compressor::new(Level::default()).unwrap();
    let mut out = Vec::new();
    for version in [Version::V1, Version::V2] {
        for json in [&b"{}"[..], b"[1]", b"{\"packs\":[]}\n"] {
            let mut stored = Vec::new();
            unpacked::encode(version, &mut compressor, json, &mut stored).unwrap();
            assert_eq!(stored.first() == Some(&2), version == Version::V2);
            unpacked::decode(&mut decompressor, "file", &stored, &mut out).unwrap();
            assert_eq!(out, json);
        }
    }
    for first in (0..=255).filter(|first| !matches!(first, 2 | b'{' | b'[')) {
        assert!(unpacked::decode(&mut decompressor, "file", &[first, 1], &mut out).is_err());
    }
    assert_eq!(unpacked::decode(&mut decompressor, "file", &[], &mut out), Ok(()));
    assert!(unpacked::decode(&mut decompressor, "file", &[2], &mut out).is_err());
}

#[test]
fn nodes_out_of_order_or_twice_are_refused_both_ways() {
    let node = |name: &str| {
        format!(
            r#"{{"name":"{name}","type":"fifo","mtime":"2020-01-01T00:00:00Z","atime":"2020-01-01T00:00:00Z","ctime":"2020-01-01T00:00:00Z","uid":0,"gid":0,"content":null}}"#
        )
    };
    let order = Damage::Invalid { what: "order of the nodes of a tree" };
    for (first, second) in [("b", "a"), ("a", "a"), (r"\\xff", "\u{20ac}")] {
        let json = format!("{{\"nodes\":[{},{}]}}\n", node(first), node(second));
        assert_eq!(tree::decode(json.as_bytes()), Err(order));
    }
    // Bytes decide, not the quoted form: \xff comes last although a backslash comes early.
    let json = format!("{{\"nodes\":[{},{}]}}\n", node("\u{20ac}"), node(r"\\xff"));
    let (tree, lossless) = tree::decode_lossless(json.as_bytes()).unwrap();
    assert!(lossless);
    let swapped = Tree { nodes: tree.nodes.into_iter().rev().collect() };
    assert_eq!(swapped.encode(), Err(order));
    let nameless = Tree { nodes: vec![Node::new(Vec::new(), NodeKind::Fifo)] };
    assert!(nameless.encode().is_err());
}

#[test]
fn what_a_rewrite_would_lose_is_told() {
    let json = r#"{"nodes":[{"name":"a","type":"file","mode":420,"mtime":"2020-01-01T00:00:00Z","atime":"2020-01-01T00:00:00Z","ctime":"2020-01-01T00:00:00Z","uid":0,"gid":0,"content":[]}]}"#;
    let lossless = |json: &str| tree::decode_lossless(json.as_bytes()).map(|(_, same)| same);
    assert_eq!(lossless(&format!("{json}\n")), Ok(true));
    for changed in [
        json.to_owned(),
        format!("{json}\n\n"),
        format!("{}\n", json.replace(r#""uid":0"#, r#""uid":0,"unknown":{"a":[1.5e3]}"#)),
        format!("{}\n", json.replace(r#"{"nodes""#, r#"{"more":1,"nodes""#)),
        format!("{}\n", json.replace(r#""uid":0,"gid":0"#, r#""gid":0,"uid":0"#)),
        format!("{}\n", json.replace("00Z", "00+00:00")),
        format!("{}\n", json.replace("00Z", "00.10Z")),
        format!("{}\n", json.replace(r#""a""#, r#""\u0061""#)),
        format!("{}\n", json.replace(r#""uid":0"#, r#""uid":0,"size":0"#)),
        format!("{}\n", json.replace(r#""uid":0"#, r#""uid":0,"uid":0"#)),
        "{\"nodes\":null}\n".to_owned(),
    ] {
        assert_eq!(lossless(&changed), Ok(false), "{changed}");
    }
    assert_eq!(lossless("{\"nodes\":[]}\n"), Ok(true));
    for refused in ["{}", "[]", "", "{\"nodes\":{}}", "{\"nodes\":[]}x", "{\"nodes\":[{}]}"] {
        assert!(lossless(refused).is_err(), "{refused}");
    }
}

#[test]
fn windows_attributes_are_carried_through_sorted() {
    let node = r#"{"nodes":[{"name":"C","type":"dir","mode":2147484159,"mtime":"2020-01-01T00:00:00Z","atime":"2020-01-01T00:00:00Z","ctime":"2020-01-01T00:00:00Z","uid":0,"gid":0,"generic_attributes":{"windows.creation_time":"MIyLSLFS2QE=","windows.file_attributes":16,"windows.security_descriptor":{"a":"\u003c"}},"content":null}]}"#;
    let (tree, lossless) = tree::decode_lossless(format!("{node}\n").as_bytes()).unwrap();
    assert!(lossless);
    assert_eq!(tree.nodes[0].generic.len(), 3);
    assert_eq!(tree.nodes[0].generic[1].1, "16");
}

#[test]
fn nesting_without_end_is_refused() {
    let deep = "[".repeat(100_000);
    let json = format!(r#"{{"nodes":[],"deep":{deep}"#);
    let over = Err(Damage::OverLimit { what: "tree", max: u64::from(MAX_DEPTH) });
    assert_eq!(tree::decode(json.as_bytes()).map(drop), over);
}

#[test]
fn names_that_would_leave_their_directory_are_not_safe() {
    for name in [&b""[..], b".", b"..", b"a/b", b"/", b"a\0b"] {
        assert!(!name::is_safe(name));
    }
    for name in [&b"..."[..], b".a", b"a", b"\xff", b"\\", b" "] {
        assert!(name::is_safe(name));
    }
    let all = ALL.iter().flat_map(|opened| opened.trees());
    for (_, json) in all {
        assert!(tree::decode(json).unwrap().nodes.iter().all(|node| name::is_safe(&node.name)));
    }
}
