//! Snapshots of files that do not exist, over index files of chunks without a byte of them.
//!
//! Invariants: every chunk is in use, by every snapshot; each snapshot has a directory of its own
//! above those it shares with all others. The packs of files are holes of the right size.

use std::{
    fs::{self, File},
    path::Path,
};

use sha2::{Digest, Sha256};
use windlass_engine::format::{
    id::to_hex,
    restic::{
        BlobId, PackId,
        compress::{Compressor, Level},
        envelope::{self, MasterKey},
        index::{self, IndexPack},
        pack::{self, BlobKind, Entry},
        snapshot::Snapshot,
    },
    time::Timestamp,
};

use crate::segments::{CHUNKS_OF_SEGMENT, chunk, document, packs, segment};

/// Chunks of the files in one directory.
const CHUNKS_OF_DIRECTORY: u64 = 1000;
/// Chunks of a file.
const CHUNKS_OF_FILE: u64 = 50;
/// Directories in one above them.
const DIRECTORIES: usize = 70;
/// Bytes of a pack of directories.
const PACK_BYTES: usize = 16 << 20;

/// Fills an empty repository in a directory with so many chunks and snapshots.
///
/// # Panics
/// Where that cannot be written.
pub fn write(at: &Path, master: &MasterKey, chunks: u64, snapshots: u64) {
    for first in (0..chunks).step_by(CHUNKS_OF_SEGMENT as usize) {
        let numbers = first..(first + CHUNKS_OF_SEGMENT).min(chunks);
        for hole in packs(numbers.clone()) {
            let name = to_hex(&hole.id.0);
            let file = File::create(at.join("data").join(&name[..2]).join(&name));
            file.expect("made").set_len(pack::pack_size(&hole.blobs)).expect("a hole");
        }
        let (name, sealed) = segment(master, numbers);
        fs::write(at.join(name), sealed).expect("written");
    }
    let mut planting = Planting::new(at, master);
    let leaves: Vec<BlobId> = (0..chunks)
        .step_by(CHUNKS_OF_DIRECTORY as usize)
        .map(|first| planting.files(first..(first + CHUNKS_OF_DIRECTORY).min(chunks)))
        .collect();
    let branches: Vec<BlobId> =
        leaves.chunks(DIRECTORIES).map(|below| planting.above(below, "shared")).collect();
    for number in 0..snapshots {
        let tree = planting.above(&branches, &format!("own {number}"));
        let time = Timestamp::utc(1_700_000_000 + number as i64, 0);
        let snapshot = Snapshot { paths: vec!["/".into()], ..Snapshot::new(time, tree) };
        planting.document("snapshots", &snapshot.encode());
    }
    planting.finish();
}

/// Directories on their way into packs.
struct Planting<'a> {
    at: &'a Path,
    master: &'a MasterKey,
    compressor: Compressor,
    sealed: Vec<u8>,
    entries: Vec<Entry>,
    packs: Vec<IndexPack>,
    nonces: u128,
}

impl<'a> Planting<'a> {
    fn new(at: &'a Path, master: &'a MasterKey) -> Self {
        let compressor = Compressor::new(Level::Fastest).expect("a compressor");
        let (sealed, entries, packs) = (Vec::new(), Vec::new(), Vec::new());
        // Above those of the index files.
        Self { at, master, compressor, sealed, entries, packs, nonces: 1 << 127 }
    }

    fn nonce(&mut self) -> [u8; 16] {
        self.nonces += 1;
        self.nonces.to_le_bytes()
    }

    /// A directory of files with these chunks.
    fn files(&mut self, chunks: std::ops::Range<u64>) -> BlobId {
        let file = |first: u64| {
            let end = (first + CHUNKS_OF_FILE).min(chunks.end);
            let content: Vec<String> =
                (first..end).map(|number| format!("\"{}\"", to_hex(&chunk(number)))).collect();
            node(&format!("{first:012}"), "file", &format!("\"content\":[{}]", content.join(",")))
        };
        let nodes = chunks.clone().step_by(CHUNKS_OF_FILE as usize).map(file);
        self.tree(&nodes.collect::<Vec<String>>())
    }

    /// A directory with those below it and an empty file.
    fn above(&mut self, below: &[BlobId], file: &str) -> BlobId {
        let directory = |(number, id): (usize, &BlobId)| {
            let subtree = format!("\"subtree\":\"{}\"", to_hex(&id.0));
            node(&format!("{number:012}"), "dir", &subtree)
        };
        let mut nodes: Vec<String> = below.iter().enumerate().map(directory).collect();
        nodes.push(node(file, "file", "\"content\":[]"));
        self.tree(&nodes)
    }

    fn tree(&mut self, nodes: &[String]) -> BlobId {
        let json = format!("{{\"nodes\":[{}]}}\n", nodes.join(","));
        let id = BlobId(Sha256::digest(&json).into());
        let (mut packed, nonce) = (Vec::new(), self.nonce());
        self.compressor.compress(json.as_bytes(), &mut packed).expect("compressed");
        let offset = self.sealed.len();
        envelope::seal(self.master, &nonce, &packed, &mut self.sealed);
        self.entries.push(Entry {
            kind: BlobKind::Tree,
            id,
            offset: offset as u32,
            length: (self.sealed.len() - offset) as u32,
            raw_length: Some(json.len() as u32),
        });
        if self.sealed.len() >= PACK_BYTES {
            self.close();
        }
        id
    }

    fn close(&mut self) {
        let nonce = self.nonce();
        pack::finish(self.master, &nonce, &self.entries, &mut self.sealed).expect("finished");
        let id = PackId(Sha256::digest(&self.sealed).into());
        let name = to_hex(&id.0);
        let path = self.at.join("data").join(&name[..2]).join(&name);
        fs::write(path, &self.sealed).expect("written");
        self.sealed.clear();
        let blobs = std::mem::take(&mut self.entries);
        self.packs.push(IndexPack { id, blobs, to_delete: false, time: None, size: None });
    }

    fn document(&mut self, directory: &str, json: &[u8]) {
        let nonce = self.nonce();
        let (name, sealed) = document(self.master, directory, json, &nonce);
        fs::write(self.at.join(name), sealed).expect("written");
    }

    fn finish(mut self) {
        if !self.entries.is_empty() {
            self.close();
        }
        let json = index::encode(&std::mem::take(&mut self.packs));
        self.document("index", &json);
    }
}

fn node(name: &str, kind: &str, more: &str) -> String {
    let time = "2023-11-14T22:13:20Z";
    let (mode, uid) = if kind == "dir" { (0x8000_01ed_u32, 0) } else { (0o644, 0) };
    format!(
        "{{\"name\":\"{name}\",\"type\":\"{kind}\",\"mode\":{mode},\"mtime\":\"{time}\",\
         \"atime\":\"{time}\",\"ctime\":\"{time}\",\"uid\":{uid},\"gid\":0,{more}}}"
    )
}
