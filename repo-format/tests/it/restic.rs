//! restic: repositories written by the real tools read back byte for byte, and what is hostile or
//! damaged is refused.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use sha2::{Digest as _, Sha256};
use windlass_fixtures as fixtures;
use windlass_format::{
    restic::{
        BlobId, PackId,
        compress::Decompressor,
        config::Config,
        envelope::{self, MasterKey},
        key::{self, KeyFile},
        pack::{BlobKind, Entry, HeaderReader},
        unpacked,
    },
    secret::Password,
    step::Step,
};

mod damaged;
mod golden;
mod interop;
mod round_trip;

/// A fixture with its key found and everything in it decrypted.
struct Opened {
    name: &'static str,
    config_plain: Vec<u8>,
    config: Config,
    key_files: Vec<Vec<u8>>,
    master: MasterKey,
    indexes: Vec<Vec<u8>>,
    snapshots: Vec<Vec<u8>>,
    locks: Vec<Vec<u8>>,
    packs: BTreeMap<PackId, Pack>,
}

struct Pack {
    entries: Vec<Entry>,
    blobs: Vec<(BlobKind, BlobId, Vec<u8>)>,
}

impl Opened {
    fn trees(&self) -> impl Iterator<Item = (BlobId, &[u8])> {
        let blobs = self.packs.values().flat_map(|pack| &pack.blobs);
        blobs
            .filter(|(kind, _, _)| *kind == BlobKind::Tree)
            .map(|(_, id, plain)| (*id, plain.as_slice()))
    }
}

/// Every fixture, opened once: deriving a key takes a while on purpose.
static ALL: LazyLock<Vec<Opened>> = LazyLock::new(|| {
    std::thread::scope(|scope| {
        let opening = fixtures::RESTIC.map(|name| scope.spawn(move || open(name)));
        opening.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
});

fn named(name: &str) -> &'static Opened {
    ALL.iter().find(|opened| opened.name == name).unwrap()
}

fn open(name: &'static str) -> Opened {
    let root = fixtures::restic(name);
    let key_files = files(&root.join("keys"));
    let password = Password::new(fixtures::RESTIC_PASSWORD);
    let master = key_files.iter().find_map(|json| {
        let key = KeyFile::decode(json).unwrap();
        key.unlock(&key::derive(&key.kdf, &password).unwrap()).ok()
    });
    let master = master.expect("no key fits");
    let mut config_plain = Vec::new();
    let config = fs::read(root.join("config")).unwrap();
    envelope::open(&master, "config", &config, &mut config_plain).unwrap();
    let unpack = |kind: &str| {
        let stored = files(&root.join(kind));
        stored.iter().map(|stored| unpacked(&master, stored)).collect::<Vec<_>>()
    };
    let packs = fs::read_dir(root.join("data")).unwrap().flat_map(|shard| {
        let stored = files(&shard.unwrap().path());
        stored
            .iter()
            .map(|stored| (PackId(hash(stored)), pack(&master, stored)))
            .collect::<Vec<_>>()
    });
    Opened {
        name,
        config: Config::decode(&config_plain).unwrap(),
        config_plain,
        key_files,
        indexes: unpack("index"),
        snapshots: unpack("snapshots"),
        locks: unpack("locks"),
        packs: packs.collect(),
        master,
    }
}

/// The files of a directory that must be named by their hash; none if there is no directory.
fn files(directory: &Path) -> Vec<Vec<u8>> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert_eq!(windlass_format::id::to_hex(&hash(&bytes)), name, "{}", path.display());
        bytes
    };
    paths.iter().map(read).collect()
}

fn unpacked(master: &MasterKey, stored: &[u8]) -> Vec<u8> {
    let (mut opened, mut json) = (Vec::new(), Vec::new());
    envelope::open(master, "file", stored, &mut opened).unwrap();
    unpacked::decode(&mut Decompressor::new().unwrap(), "file", &opened, &mut json).unwrap();
    json
}

fn pack(master: &MasterKey, stored: &[u8]) -> Pack {
    let entries = header(master, stored).unwrap();
    let mut decompressor = Decompressor::new().unwrap();
    let blobs = entries.iter().map(|entry| {
        let start = usize::try_from(entry.offset).unwrap();
        let sealed = &stored[start..start + usize::try_from(entry.length).unwrap()];
        let mut opened = Vec::new();
        envelope::open(master, "blob", sealed, &mut opened).unwrap();
        let plain = match entry.raw_length {
            None => opened,
            Some(length) => {
                let mut plain = Vec::new();
                let length = usize::try_from(length).unwrap();
                decompressor.decompress_exact("blob", &opened, length, &mut plain).unwrap();
                plain
            }
        };
        assert_eq!(BlobId(hash(&plain)), entry.id);
        assert_eq!(entry.plain_length().unwrap() as usize, plain.len());
        (entry.kind, entry.id, plain)
    });
    Pack { blobs: blobs.collect(), entries: entries.clone() }
}

/// Reads a header the way a store would serve it, and counts the reads.
fn header(
    master: &MasterKey,
    stored: &[u8],
) -> Result<Vec<Entry>, windlass_format::damage::Damage> {
    let reader = HeaderReader::new(stored.len() as u64)?;
    let mut range = 0..0;
    for _ in 0..3 {
        match reader.step(master, &stored[range])? {
            Step::Done(entries) => return Ok(entries),
            Step::Need { start, end } => {
                assert!(start < end && end == stored.len() as u64);
                range = usize::try_from(start).unwrap()..usize::try_from(end).unwrap();
            }
        }
    }
    panic!("a header takes at most two reads")
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
