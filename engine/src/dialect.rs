//! Height one of the seam between the two formats: bytes.
//!
//! Invariants
//! - No I/O here and nothing asynchronous; called once a chunk, pack, directory or index segment.
//! - A closed enum: other people own the formats, and a new step has to be answered for both before
//!   it compiles. Reading is answered by [`Dialect`], writing by [`Encoder`], which exists only for
//!   the formats this version writes.
//!
//! Not here: locks, sessions, order of writes (`protocol`).

pub mod kopia;
pub mod restic;

use std::{fmt, sync::Arc};

use windlass_format::{cut::Cutter, damage::Damage};
use windlass_lanes::sha256::Sha256;

use crate::{
    entropy::Entropy,
    fault::Fault,
    model::{
        chunk::{ChunkKey, Role},
        directory::Directory,
        pack::{Coding, Location, PackName, PackedChunk},
    },
    store::Key,
};

/// How the bytes of an open repository are read.
#[derive(Clone, Debug)]
pub enum Dialect {
    /// restic, versions 1 and 2.
    Restic(Arc<restic::Codec>),
    /// kopia, versions 1 to 3.
    Kopia(Arc<kopia::Codec>),
}

/// What one thread keeps between chunks: compression contexts and room to work in.
#[derive(Debug)]
pub enum Scratch {
    /// For restic.
    Restic(restic::Scratch),
    /// For kopia.
    Kopia(kopia::Scratch),
}

/// Room to work in that was made for another dialect.
const OTHER_SCRATCH: Damage = Damage::Invalid { what: "working room of another dialect" };

impl Dialect {
    /// How to write to this repository, where this version can.
    pub fn encoder(&self) -> Result<Encoder, Fault> {
        match self {
            Self::Restic(codec) => Ok(Encoder::Restic(Arc::clone(codec))),
            Self::Kopia(_) => Err(kopia::read_only()),
        }
    }

    /// Whether a chunk has the same key here as in a repository of another dialect.
    #[must_use]
    pub fn names_chunks_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Restic(_), Self::Restic(_)) => true,
            // Keys are made with a secret of the repository.
            (Self::Kopia(_), _) | (_, Self::Kopia(_)) => false,
        }
    }

    /// Room to work in for one thread.
    pub fn scratch(&self) -> Result<Scratch, Fault> {
        match self {
            Self::Restic(codec) => Ok(Scratch::Restic(codec.scratch()?)),
            Self::Kopia(_) => Ok(Scratch::Kopia(kopia::Scratch::default())),
        }
    }

    /// The name of a pack in the store.
    #[must_use]
    pub fn pack_key(&self, name: &PackName) -> Key {
        match self {
            Self::Restic(_) => restic::pack_key(name),
            Self::Kopia(_) => Key::new(name.to_string()),
        }
    }

    /// Authenticates, decrypts and decompresses a chunk, appending its plaintext to `out`. That it
    /// is the right one is still to be [proved](Self::prove).
    pub fn open_chunk(
        &self,
        key: &ChunkKey,
        at: &Location,
        stored: &[u8],
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<(), Damage> {
        match (self, scratch) {
            (Self::Restic(codec), Scratch::Restic(scratch)) => {
                codec.open_chunk(key, at, stored, scratch, out)
            }
            (Self::Kopia(codec), Scratch::Kopia(scratch)) => {
                codec.open_chunk(key, at, stored, scratch, out)
            }
            (Self::Restic(_) | Self::Kopia(_), _) => Err(OTHER_SCRATCH),
        }
    }

    /// Hashes plaintexts, several at once, and compares with their keys; the error is the place of
    /// the first that differs.
    pub fn prove(&self, chunks: &[(ChunkKey, &[u8])]) -> Result<(), usize> {
        match self {
            Self::Restic(_) => restic::prove(chunks),
            Self::Kopia(codec) => codec.prove(chunks),
        }
    }

    /// [`open_chunk`](Self::open_chunk) and [`prove`](Self::prove) of one chunk.
    pub fn unseal(
        &self,
        key: &ChunkKey,
        at: &Location,
        stored: &[u8],
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<(), Damage> {
        let start = out.len();
        self.open_chunk(key, at, stored, scratch, out)?;
        let plain = out.get(start..).unwrap_or_default();
        self.prove(&[(*key, plain)]).map_err(|_first| Damage::BadHash { what: "chunk" })
    }

    /// Whether a chunk that should hold a directory holds the list of its parts instead.
    #[must_use]
    pub fn is_links(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Restic(_) => false,
            Self::Kopia(_) => kopia::is_links(bytes),
        }
    }

    /// What a chunk holds, as its key tells.
    #[must_use]
    pub fn role(&self, key: &ChunkKey) -> Role {
        match self {
            Self::Restic(_) => restic::role(key),
            Self::Kopia(_) => kopia::role(key),
        }
    }

    /// What a chunk would take in a pack if it were not compressed; `None` where the repository
    /// cannot compress.
    #[must_use]
    pub fn uncompressed_bytes(&self, raw_bytes: u32) -> Option<u64> {
        match self {
            Self::Restic(codec) => codec.uncompressed_bytes(raw_bytes),
            Self::Kopia(_) => Some(kopia::uncompressed_bytes(raw_bytes)),
        }
    }

    /// A directory that is stored nowhere, because a root is a single file.
    #[must_use]
    pub fn made_up_directory(&self, key: &ChunkKey) -> Option<Directory> {
        match self {
            Self::Restic(_) => None,
            Self::Kopia(codec) => codec.made_up(key),
        }
    }

    /// Bytes at the end of a pack that holds chunks of these codings, and nothing else; `None` where
    /// that cannot be told.
    pub fn closing_bytes(&self, codings: impl Iterator<Item = Coding>) -> Option<u64> {
        match self {
            Self::Restic(_) => {
                Some(restic::CLOSING_BYTES + codings.map(restic::entry_bytes).sum::<u64>())
            }
            Self::Kopia(_) => None,
        }
    }

    /// Begins to prove that a pack is what its name says.
    #[must_use]
    pub fn start_proof(&self) -> PackProof {
        match self {
            Self::Restic(_) => PackProof(Some(Box::new(Sha256::new()))),
            Self::Kopia(_) => PackProof(None),
        }
    }

    /// Takes the next part of a pack, and chunks out of it that are to be proved beside; gives the
    /// places of those that are not what their keys say.
    #[must_use]
    pub fn prove_part(
        &self,
        proof: &mut PackProof,
        part: &[u8],
        chunks: &[(ChunkKey, &[u8])],
    ) -> Vec<usize> {
        match self {
            Self::Restic(_) => restic::prove_part(proof.0.as_deref_mut(), part, chunks),
            Self::Kopia(codec) => {
                let wrong = |at: &usize| codec.prove(&chunks[*at..=*at]).is_err();
                (0..chunks.len()).filter(wrong).collect()
            }
        }
    }

    /// What the end of a pack of that many bytes says is in it.
    pub fn read_pack_end(&self, pack_bytes: u64, end: &[u8]) -> Result<Vec<PackedChunk>, Damage> {
        match self {
            Self::Restic(codec) => codec.read_pack_end(pack_bytes, end),
            Self::Kopia(_) => Err(Damage::Unsupported { what: "end of a pack" }),
        }
    }

    /// What the end of a pack says is in it, given its last bytes, or how many are needed.
    pub fn pack_end(&self, pack_bytes: u64, end: &[u8]) -> Result<PackEnd, Damage> {
        match self {
            Self::Restic(codec) => codec.pack_end(pack_bytes, end),
            Self::Kopia(_) => Err(Damage::Unsupported { what: "end of a pack" }),
        }
    }

    /// Reads a directory.
    pub fn read_directory(&self, bytes: &[u8]) -> Result<Directory, Damage> {
        match self {
            Self::Restic(_) => restic::read_directory(bytes),
            Self::Kopia(_) => kopia::read_directory(bytes),
        }
    }

    /// Reads a list of chunks that stands for a large object: each part's key and how many lists
    /// lie above its data.
    pub fn read_links(&self, bytes: &[u8]) -> Result<Vec<(ChunkKey, u8)>, Damage> {
        match self {
            Self::Restic(_) => Err(Damage::Unsupported { what: "link list" }),
            Self::Kopia(_) => kopia::read_links(bytes),
        }
    }
}

/// What the last bytes of a pack say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PackEnd {
    /// What is in it.
    Chunks(Vec<PackedChunk>),
    /// Nothing yet: that many bytes are needed.
    Longer {
        /// From the end.
        bytes: u64,
    },
}

/// The proof, on its way, that a pack is what its name says; nothing to prove where names are
/// chosen.
pub struct PackProof(Option<Box<Sha256>>);

impl fmt::Debug for PackProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PackProof")
    }
}

impl PackProof {
    /// Whether all parts together are the pack of this name.
    #[must_use]
    pub fn matches(self, name: &PackName) -> bool {
        match (self.0, name) {
            (Some(digest), PackName::Hash(hash)) => digest.finish() == *hash,
            (Some(_), PackName::Chosen(_)) => false,
            (None, _) => true,
        }
    }
}

/// How the bytes of a repository are written.
#[derive(Clone, Debug)]
pub enum Encoder {
    /// restic, versions 1 and 2.
    Restic(Arc<restic::Codec>),
}

/// A sealed chunk's figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Bytes of plaintext.
    pub raw_bytes: u32,
    /// How it is coded.
    pub coding: Coding,
}

impl Encoder {
    /// Where files are cut.
    #[must_use]
    pub fn cutter(&self) -> &Cutter {
        match self {
            Self::Restic(codec) => codec.cutter(),
        }
    }

    /// Room to work in for one thread.
    pub fn scratch(&self) -> Result<Scratch, Fault> {
        match self {
            Self::Restic(codec) => Ok(Scratch::Restic(codec.scratch()?)),
        }
    }

    /// Keys of `plains` into `keys`, and what packs have not hashed yet beside them.
    pub fn hash<'a, 'b>(
        &self,
        plains: impl Iterator<Item = (Role, &'a [u8])> + Clone,
        packs: impl Iterator<Item = (&'b mut PackBuilder, &'b [u8])>,
        keys: &mut Vec<ChunkKey>,
    ) {
        match self {
            Self::Restic(_) => restic::hash(plains, packs, keys),
        }
    }

    /// Compresses where it helps, seals, and proves that what was appended to `out` gives the
    /// plaintext back.
    pub fn seal(
        &self,
        role: Role,
        plain: &[u8],
        nonce: &[u8; 16],
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<Sealed, Fault> {
        match (self, scratch) {
            (Self::Restic(codec), Scratch::Restic(scratch)) => {
                codec.seal(role, plain, nonce, scratch, out)
            }
            (Self::Restic(_), Scratch::Kopia(_)) => {
                Err(Fault::Bug("a chunk is sealed with the working room of another dialect"))
            }
        }
    }

    /// An empty pack.
    #[must_use]
    pub fn start_pack(&self) -> PackBuilder {
        match self {
            Self::Restic(_) => PackBuilder {
                naming: Naming::ByHash(Box::new(Sha256::new())),
                chunks: Vec::new(),
                stored_bytes: 0,
                most_chunks: restic::MOST_CHUNKS,
            },
        }
    }

    /// Appends to `out` what ends a pack behind its last chunk.
    pub fn close_pack(
        &self,
        builder: &mut PackBuilder,
        entropy: &Entropy,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        match self {
            Self::Restic(codec) => codec.close_pack(&builder.chunks, entropy, out),
        }
    }

    /// Writes a directory, byte for byte as the format wants it.
    pub fn write_directory(&self, directory: &Directory, out: &mut Vec<u8>) -> Result<(), Fault> {
        match self {
            Self::Restic(_) => restic::write_directory(directory, out),
        }
    }
}

/// A pack while it is being filled: what is in it, and how it gets its name.
#[derive(Debug)]
pub struct PackBuilder {
    naming: Naming,
    chunks: Vec<PackedChunk>,
    stored_bytes: u64,
    most_chunks: usize,
}

enum Naming {
    ByHash(Box<Sha256>),
}

impl fmt::Debug for Naming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByHash(_) => f.write_str("ByHash"),
        }
    }
}

impl PackBuilder {
    /// Records a chunk behind the last one.
    pub(crate) fn add(&mut self, key: ChunkKey, stored_bytes: u32, raw_bytes: u32, coding: Coding) {
        self.chunks.push(PackedChunk {
            key,
            offset: self.stored_bytes as u32,
            stored_bytes,
            raw_bytes,
            coding,
        });
        self.stored_bytes += u64::from(stored_bytes);
    }

    /// Records all chunks of another pack behind the last one.
    pub(crate) fn join(&mut self, other: Self) {
        for chunk in other.chunks {
            self.add(chunk.key, chunk.stored_bytes, chunk.raw_bytes, chunk.coding);
        }
    }

    /// Bytes of chunks so far.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        self.stored_bytes
    }

    /// Number of chunks so far.
    #[must_use]
    pub fn chunk_count(&self) -> usize {
        self.chunks.len()
    }

    /// Whether the format allows no further chunk.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.chunks.len() >= self.most_chunks
    }

    /// Whether the format allows this many chunks more.
    pub(crate) fn has_room_for(&self, other: &Self) -> bool {
        self.chunks.len() + other.chunks.len() <= self.most_chunks
    }

    fn digest(&mut self) -> Option<&mut Sha256> {
        match &mut self.naming {
            Naming::ByHash(digest) => Some(digest),
        }
    }

    /// Its name and its chunks, when all its bytes were hashed.
    pub(crate) fn finish(self) -> (PackName, Vec<PackedChunk>) {
        let name = match self.naming {
            Naming::ByHash(digest) => PackName::Hash(digest.finish()),
        };
        (name, self.chunks)
    }
}
