//! Real restic reads what these codecs write, and would write the trees again the same way.
//!
//! Looks for `restic` on PATH. Without it the test says so and does nothing, except in an
//! unattended run (`CI` set), where that is a failure.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use windlass_format::{
    cut::rabin::Polynomial,
    id::to_hex,
    restic::{
        BlobId, PackId, RepositoryId,
        compress::{Compressor, Level},
        config::{Chunker, Config, Version},
        envelope::{self, MasterKey, OVERHEAD},
        index::{self, IndexPack},
        key::{self, KdfParams, KeyFile},
        pack::{self, BlobKind, Entry},
        path::{FileKind, FileName},
        snapshot::{Snapshot, Summary},
        tree::{Mode, Node, NodeKind, Tree, Xattr},
        unpacked,
    },
    secret::Password,
    time::Timestamp,
};

use super::hash;

const PASSWORD: &str = "pass & word";

/// Writes a repository file by file, with nonces that count up.
struct Writer<'a> {
    root: &'a Path,
    version: Version,
    level: Level,
    compressor: Compressor,
    master: MasterKey,
    nonces: u8,
    packs: Vec<IndexPack>,
}

impl<'a> Writer<'a> {
    fn init(root: &'a Path, version: Version, level: Level) -> Self {
        let random: Vec<u8> = (1..=64).map(|at: u8| at.wrapping_mul(37)).collect();
        let master = MasterKey::generate(&random.try_into().unwrap());
        let mut writer = Self {
            root,
            version,
            level,
            compressor: Compressor::new(level).unwrap(),
            master,
            nonces: 0,
            packs: Vec::new(),
        };
        let polynomial = Polynomial::from_hex("3da3358b4dc173").unwrap();
        let id = RepositoryId([0x42; 32]);
        let mut config = Config { version, id, polynomial, extra: Vec::new() };
        let (min, avg, max) = (1 << 19, 1 << 20, 1 << 23);
        config.set_chunker(Some(&Chunker { name: "fastcdc-v2020".into(), min, avg, max }));
        let sealed = writer.seal(&config.encode());
        fs::write(root.join("config"), sealed).unwrap();
        let kdf = KdfParams { n: 1 << 10, r: 8, p: 2, salt: [9; 64] };
        let derived = key::derive(&kdf, &Password::new(PASSWORD)).unwrap();
        let nonce = writer.nonce();
        let created = Timestamp { seconds: 1_700_000_000, nanos: 7, offset_seconds: -12_600 };
        let names = ("some <user>".to_owned(), "host".to_owned());
        let file = KeyFile::seal(created, names.0, names.1, kdf, &derived, &writer.master, &nonce)
            .unwrap();
        writer.put(FileKind::Key, &file.encode());
        writer
    }

    fn nonce(&mut self) -> [u8; 16] {
        self.nonces += 1;
        [self.nonces; 16]
    }

    fn seal(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::new();
        let nonce = self.nonce();
        envelope::seal(&self.master, &nonce, plain, &mut sealed);
        assert_eq!(sealed.len(), plain.len() + OVERHEAD);
        sealed
    }

    fn put(&mut self, kind: FileKind, bytes: &[u8]) -> [u8; 32] {
        let id = hash(bytes);
        let key = FileName::new(kind, id).to_string();
        let (directory, name) = key.split_once('/').unwrap();
        let directory = match kind {
            FileKind::Data => self.root.join(directory).join(&name[..2]),
            _ => self.root.join(directory),
        };
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(name), bytes).unwrap();
        id
    }

    fn put_unpacked(&mut self, kind: FileKind, json: &[u8]) -> [u8; 32] {
        let mut stored = Vec::new();
        unpacked::encode(self.version, &mut self.compressor, json, &mut stored).unwrap();
        let sealed = self.seal(&stored);
        self.put(kind, &sealed)
    }

    fn put_pack(&mut self, kind: BlobKind, blobs: &[&[u8]]) -> Vec<BlobId> {
        let (mut packed, mut entries) = (Vec::new(), Vec::new());
        for plain in blobs {
            let compressed =
                self.version == Version::V2 && (kind == BlobKind::Tree || self.level != Level::Off);
            let mut stored = Vec::new();
            if compressed {
                self.compressor.compress(plain, &mut stored).unwrap();
            } else {
                stored.extend_from_slice(plain);
            }
            let sealed = self.seal(&stored);
            let offset = u32::try_from(packed.len()).unwrap();
            let length = u32::try_from(sealed.len()).unwrap();
            let raw_length = compressed.then(|| u32::try_from(plain.len()).unwrap());
            entries.push(Entry { kind, id: BlobId(hash(plain)), offset, length, raw_length });
            packed.extend_from_slice(&sealed);
        }
        let nonce = self.nonce();
        pack::finish(&self.master, &nonce, &entries, &mut packed).unwrap();
        let id = PackId(self.put(FileKind::Data, &packed));
        let ids = entries.iter().map(|entry| entry.id).collect();
        self.packs.push(IndexPack { id, blobs: entries, to_delete: false, time: None, size: None });
        ids
    }

    fn finish(&mut self, snapshot: &Snapshot) -> String {
        let json = index::encode(&self.packs);
        self.put_unpacked(FileKind::Index, &json);
        to_hex(&self.put_unpacked(FileKind::Snapshot, &snapshot.encode()))
    }
}

/// A file of every awkward name, and one of every kind.
fn nodes(content: &[BlobId], size: u64) -> Vec<Node> {
    let names: [&[u8]; 16] = [
        b"back\\slash",
        b"dou\"ble",
        b"new\nline\ttab\x01\x07\x08\x0b\x0c\r\x7f\x1b",
        b"bad\xff\xe2\x80",
        "nbsp\u{a0} ls\u{2028} ps\u{2029} bom\u{feff} soft\u{ad} zwj\u{200d} c1\u{85}".as_bytes(),
        "\u{1f600}\u{6f22}\u{fc}\u{fffd}".as_bytes(),
        "private\u{e000} tag\u{e0001} new\u{1fae9}".as_bytes(),
        b"<tag>&amp;",
        b"\\x41\\u00e9",
        b"..dots",
        b" space ",
        b"dir",
        b"fifo",
        b"link",
        b"link_raw",
        b"char",
    ];
    let mut nodes = names.map(|name| Node::new(name.to_vec(), NodeKind::File)).to_vec();
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    for (at, node) in (0_u32..).zip(&mut nodes) {
        let (kind, st_mode) = match node.name.as_slice() {
            b"fifo" => (NodeKind::Fifo, 0o010_644),
            b"link" | b"link_raw" => (NodeKind::Symlink, 0o120_777),
            b"char" => (NodeKind::CharDevice, 0o020_600),
            _ => (NodeKind::File, 0o106_755),
        };
        (node.kind, node.mode) = (kind, Mode::from_st_mode(st_mode));
        let nanos = 120_000_000 * (at % 3);
        node.mtime = Timestamp { seconds: -5, nanos, offset_seconds: 20_700 };
        node.atime = Timestamp { seconds: 300_000_000_000, nanos, offset_seconds: 0 };
        node.ctime = Timestamp { seconds: -80_000_000_000, nanos, offset_seconds: -3600 };
        (node.uid, node.gid, node.user) = (at, u32::MAX, "<user>".to_owned());
        (node.inode, node.device_id, node.links) = (u64::MAX, 1 << 40, u64::from(at));
        match kind {
            NodeKind::File => {
                node.content = Some(content.to_vec());
                node.size = size;
            }
            NodeKind::Symlink if node.name == b"link_raw" => {
                node.link_target = b"\xff<&>\"\\\x08\x0c\n\x01\xe2\x80".to_vec();
            }
            NodeKind::Symlink => node.link_target = "<\u{e4}&>\u{2028}\u{8}".into(),
            NodeKind::CharDevice => node.device = 0x0103,
            _ => {}
        }
        let xattr =
            |name: &str, value: &[u8]| Xattr { name: name.into(), value: Some(value.into()) };
        node.xattrs = vec![xattr("user.b<", b"\0\xff"), xattr("user.a", b"")];
    }
    nodes
}

fn write(root: &Path, version: Version, level: Level) -> String {
    let mut writer = Writer::init(root, version, level);
    let first = b"some text, some text, some text, some text ".repeat(3000);
    let second: Vec<u8> =
        (0..70_000_u32).flat_map(|at| hash(&at.to_le_bytes())[..2].to_vec()).collect();
    let content = writer.put_pack(BlobKind::Data, &[&first, &second, b"x"]);
    let size = u64::try_from(first.len() + second.len() + 1).unwrap();
    let inner = Tree { nodes: nodes(&content, size) }.encode().unwrap();
    let empty = Tree::default().encode().unwrap();
    let mut top = nodes(&content[..1], u64::try_from(first.len()).unwrap());
    for node in top.iter_mut().filter(|node| node.name == b"dir") {
        (node.kind, node.mode) = (NodeKind::Dir, Mode::from_st_mode(0o041_777));
        (node.content, node.size) = (None, 0);
        node.subtree = Some(BlobId(hash(&inner)));
    }
    let mut more = Node::new(b"zzz empty".to_vec(), NodeKind::Dir);
    more.subtree = Some(BlobId(hash(&empty)));
    top.push(more);
    top.sort_by(|a, b| a.name.cmp(&b.name));
    let top = Tree { nodes: top }.encode().unwrap();
    let trees = writer.put_pack(BlobKind::Tree, &[&inner, &empty, &top]);
    let mut snapshot = Snapshot::new(Timestamp::utc(1_700_000_000, 5), trees[2]);
    snapshot.paths = vec!["/some <path>".into()];
    snapshot.hostname = "host".into();
    snapshot.tags = vec!["a".into(), "b&".into()];
    snapshot.program_version = "windlass".into();
    snapshot.summary = Some(Summary::new(snapshot.time, snapshot.time));
    writer.finish(&snapshot)
}

fn restic(root: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new("restic");
    command.args(["--no-cache", "--repo"]).arg(root).args(arguments);
    command.env("RESTIC_PASSWORD", PASSWORD).output().unwrap()
}

#[track_caller]
fn succeeds(root: &Path, arguments: &[&str]) -> String {
    let output = restic(root, arguments);
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "restic {arguments:?}\n{out}{err}");
    out.into_owned()
}

/// The release of the restic on PATH, as (major, minor); none if there is no restic.
#[expect(clippy::print_stderr, reason = "a test that is left out must be seen")]
fn release() -> Option<(u32, u32)> {
    let Ok(output) = Command::new("restic").arg("version").output() else {
        assert!(std::env::var_os("CI").is_none(), "an unattended run needs restic on PATH");
        eprintln!("SKIPPED: there is no restic on PATH to read what we write");
        return None;
    };
    let text = String::from_utf8(output.stdout).unwrap();
    let mut numbers = text.split_whitespace().nth(1).unwrap().split('.');
    let mut number = || numbers.next().unwrap().parse().unwrap();
    Some((number(), number()))
}

#[test]
fn real_restic_checks_and_rewrites_what_we_write() {
    let Some(release) = release() else { return };
    for (version, level) in [
        (Version::V1, Level::Off),
        (Version::V2, Level::Off),
        (Version::V2, Level::Auto),
        (Version::V2, Level::Max),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let id = write(root, version, level);
        succeeds(root, &["check", "--read-data"]);
        let listed = succeeds(root, &["ls", "--json", &id]);
        assert_eq!(listed.lines().count(), 1 + 17 + 16);
        assert!(
            succeeds(root, &["cat", "snapshot", &id]).contains(r#""program_version": "windlass""#)
                || release < (0, 17)
        );
        assert!(succeeds(root, &["key", "list"]).contains("some <user>"));
        if release >= (0, 17) {
            // Each tree is decoded and encoded, and one that came out differently refused.
            succeeds(root, &["rewrite", "--exclude", "zzz empty", &id]);
            let repaired = succeeds(root, &["repair", "snapshots", "--dry-run"]);
            assert!(repaired.contains("no snapshots"), "{repaired}");
            succeeds(root, &["check", "--read-data"]);
        }
        succeeds(root, &["prune", "--max-unused", "0"]);
        succeeds(root, &["check", "--read-data"]);
    }
}
