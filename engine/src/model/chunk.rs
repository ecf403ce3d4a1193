//! A chunk: a piece of plaintext stored once under the hash of its content.

use std::fmt;

use windlass_format::id::to_hex;

/// What a chunk holds; decides how it is cut, compressed and where it is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// A piece of a file.
    File,
    /// A directory.
    Directory,
    /// A list of chunks that stands for a large object.
    Links,
}

/// The identity of a chunk: one tag byte and up to 32 bytes of hash.
///
/// Tag and hash together are unique in a repository; what the tag means is the dialect's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkKey {
    tag: u8,
    len: u8,
    hash: [u8; 32],
}

impl ChunkKey {
    /// A key of `tag` and `hash`; `None` for a hash longer than 32 bytes.
    #[must_use]
    pub fn new(tag: u8, hash: &[u8]) -> Option<Self> {
        let mut bytes = [0; 32];
        bytes.get_mut(..hash.len())?.copy_from_slice(hash);
        Some(Self { tag, len: hash.len() as u8, hash: bytes })
    }

    /// A key with a hash of full width.
    #[must_use]
    pub const fn full(tag: u8, hash: [u8; 32]) -> Self {
        Self { tag, len: 32, hash }
    }

    /// The tag byte.
    #[must_use]
    pub const fn tag(&self) -> u8 {
        self.tag
    }

    /// The hash at its own width.
    #[must_use]
    pub fn hash(&self) -> &[u8] {
        &self.hash[..usize::from(self.len)]
    }

    /// The hash padded to 32 bytes with zeros.
    #[must_use]
    pub const fn padded(&self) -> &[u8; 32] {
        &self.hash
    }

    /// Eight well-mixed bytes of the hash, for tables.
    #[must_use]
    pub fn table_hash(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.hash;
        u64::from_le_bytes([a, b, c, d, e, f, g, h]) ^ u64::from(self.tag).rotate_left(32)
    }
}

impl fmt::Display for ChunkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tag.is_ascii_lowercase() {
            write!(f, "{}", char::from(self.tag))?;
        }
        f.write_str(&to_hex(self.hash()))
    }
}

impl fmt::Debug for ChunkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChunkKey({self})")
    }
}
