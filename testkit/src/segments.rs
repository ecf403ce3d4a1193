//! Index files of repositories that do not exist: millions of chunks without a byte of them.
//!
//! Not here: snapshots that refer to them ([`crate::forest`]).

use sha2::{Digest, Sha256};
use windlass_engine::format::{
    id::to_hex,
    restic::{
        BlobId, PackId,
        compress::{Compressor, Level},
        config::Version,
        envelope::{self, MasterKey},
        index::{self, IndexPack},
        pack::{BlobKind, Entry},
        unpacked,
    },
};

/// Chunks of a pack: sixteen mebibytes of files of some kilobytes each.
pub const CHUNKS_OF_PACK: u64 = 40;
/// Chunks of a full index file.
pub const CHUNKS_OF_SEGMENT: u64 = 50_000;

/// The name of the chunk with this number.
#[must_use]
pub fn chunk(number: u64) -> [u8; 32] {
    Sha256::digest(number.to_le_bytes()).into()
}

/// The packs with the chunks of these numbers, as an index file names them.
#[must_use]
pub fn packs(numbers: std::ops::Range<u64>) -> Vec<IndexPack> {
    let mut packs = Vec::new();
    let mut first = numbers.start;
    while first < numbers.end {
        let end = (first + CHUNKS_OF_PACK).min(numbers.end);
        let id = PackId(Sha256::digest([first.to_le_bytes(), end.to_le_bytes()].concat()).into());
        let entry = |number: u64| Entry {
            kind: BlobKind::Data,
            id: BlobId(chunk(number)),
            offset: ((number - first) * 4000) as u32,
            length: 4000,
            raw_length: Some(9000),
        };
        let blobs = (first..end).map(entry).collect();
        packs.push(IndexPack { id, blobs, to_delete: false, time: None, size: None });
        first = end;
    }
    packs
}

/// The index file that names the chunks with these numbers, and its name in a repository.
#[must_use]
pub fn segment(master: &MasterKey, numbers: std::ops::Range<u64>) -> (String, Vec<u8>) {
    let mut nonce = [0; 16];
    nonce[..8].copy_from_slice(&numbers.start.to_le_bytes());
    nonce[8..].copy_from_slice(&numbers.end.to_le_bytes());
    document(master, "index", &index::encode(&packs(numbers)), &nonce)
}

/// A document of a repository, and its name there.
#[must_use]
pub fn document(
    master: &MasterKey,
    directory: &str,
    json: &[u8],
    nonce: &[u8; 16],
) -> (String, Vec<u8>) {
    let mut packed = Vec::new();
    let mut compressor = Compressor::new(Level::Fastest).expect("a compressor");
    unpacked::encode(Version::V2, &mut compressor, json, &mut packed).expect("packed");
    let mut sealed = Vec::new();
    envelope::seal(master, nonce, &packed, &mut sealed);
    let name = to_hex(&<[u8; 32]>::from(Sha256::digest(&sealed)));
    (format!("{directory}/{name}"), sealed)
}
