//! A pack: an object of the store that holds many sealed chunks.

use std::{fmt, ops::Range};

use windlass_format::id::to_hex;

use super::chunk::ChunkKey;

/// Which stream of packs a chunk goes to: data and metadata are never mixed in one pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// Pieces of files.
    Data,
    /// Directories, link lists, roots.
    Meta,
}

/// The name of a pack: the hash of its bytes, or a name chosen before it was written.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PackName {
    /// SHA-256 of the pack's bytes.
    Hash([u8; 32]),
    /// A chosen name.
    Chosen(Box<str>),
}

impl fmt::Display for PackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hash(hash) => f.write_str(&to_hex(hash)),
            Self::Chosen(name) => f.write_str(name),
        }
    }
}

impl fmt::Debug for PackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PackName({self})")
    }
}

/// The place of a pack in the table of packs of one loaded index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackNumber(pub u32);

/// How a chunk's bytes are coded inside its seal; the meaning is the dialect's, 0 is "as they are".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Coding(pub u32);

/// Where a sealed chunk lies and how long it is, sealed and plain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// The pack.
    pub pack: PackNumber,
    /// First byte in the pack.
    pub offset: u32,
    /// Bytes in the pack.
    pub stored_bytes: u32,
    /// Bytes of plaintext.
    pub raw_bytes: u32,
    /// How the plaintext was coded before sealing.
    pub coding: Coding,
}

impl Location {
    /// Where its bytes are in the pack.
    #[must_use]
    pub fn span(&self) -> Range<u64> {
        let start = u64::from(self.offset);
        start..start + u64::from(self.stored_bytes)
    }
}

/// A chunk as the pack it is in, or an index, describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackedChunk {
    /// Which chunk.
    pub key: ChunkKey,
    /// First byte in the pack.
    pub offset: u32,
    /// Bytes in the pack.
    pub stored_bytes: u32,
    /// Bytes of plaintext.
    pub raw_bytes: u32,
    /// How it is coded.
    pub coding: Coding,
}

impl PackedChunk {
    /// Where it is, given the number of its pack.
    #[must_use]
    pub fn at(&self, pack: PackNumber) -> Location {
        Location {
            pack,
            offset: self.offset,
            stored_bytes: self.stored_bytes,
            raw_bytes: self.raw_bytes,
            coding: self.coding,
        }
    }
}

/// What an index says of a pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackInfo {
    /// Its name.
    pub name: PackName,
    /// Its lane.
    pub lane: Lane,
    /// Its chunks in order.
    pub chunks: Vec<PackedChunk>,
}

impl PackInfo {
    /// One past the last byte of a chunk.
    #[must_use]
    pub fn chunks_end(&self) -> u64 {
        let ends =
            self.chunks.iter().map(|chunk| u64::from(chunk.offset) + u64::from(chunk.stored_bytes));
        ends.max().unwrap_or(0)
    }
}
