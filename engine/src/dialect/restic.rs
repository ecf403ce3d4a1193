//! restic's bytes behind the neutral nouns.
//!
//! | neutral | restic |
//! |---|---|
//! | tag 0, tag 1 of a key | data blob, tree blob |
//! | coding 0, coding 1 | as it is, zstd |
//! | lane data, lane meta | data pack, tree pack |
//!
//! Invariants
//! - Every sealed chunk is opened again, tag and all, and compared before it counts as sealed.
//! - Data that does not shrink is stored as it is; directories are always compressed in version 2.

use windlass_format::{
    cut::Cutter,
    damage::Damage,
    restic::{
        BlobId, PackId,
        compress::{Compressor, Decompressor, Level},
        config::Version,
        envelope::{self, MasterKey},
        pack::{self, BlobKind, HeaderReader},
        path::FileName,
        tree::{self, Mode, Node, NodeKind},
    },
    step::Step,
    time::Timestamp,
};
use windlass_lanes::sha256::{self, Sha256};

use super::{PackBuilder, PackEnd, Sealed};
use crate::{
    entropy::Entropy,
    fault::Fault,
    model::{
        chunk::{ChunkKey, Role},
        directory::{Directory, Entry, Kind, Residue, Target, Xattr},
        object::Content,
        pack::{Coding, Location, PackName, PackedChunk},
    },
    store::Key,
};

const DATA: u8 = 0;
const TREE: u8 = 1;
const RAW: Coding = Coding(0);
const ZSTD: Coding = Coding(1);

/// Chunks a pack may have, so that its header stays legal.
pub(super) const MOST_CHUNKS: usize = pack::MAX_ENTRIES;

/// Largest chunk that is read. Files are cut at 8 MiB; only the directory of a million files comes
/// near this.
const MOST_CHUNK_BYTES: u32 = 1 << 30;

/// Data shorter than this is compressed without a probe.
const PROBED_BYTES: usize = 64 << 10;

/// How an open restic repository reads and writes bytes.
#[derive(Debug)]
pub struct Codec {
    key: MasterKey,
    version: Version,
    level: Level,
    cutter: Cutter,
    verify: bool,
}

/// What one thread keeps between chunks.
#[derive(Debug)]
pub struct Scratch {
    compressor: Compressor,
    decompressor: Decompressor,
    packed: Vec<u8>,
    check: Vec<u8>,
}

impl Codec {
    /// A codec for a repository opened with `key`.
    #[must_use]
    pub fn new(
        key: MasterKey,
        version: Version,
        level: Level,
        cutter: Cutter,
        verify: bool,
    ) -> Self {
        Self { key, version, level, cutter, verify }
    }

    /// The key everything is sealed with.
    #[must_use]
    pub fn key(&self) -> &MasterKey {
        &self.key
    }

    /// The repository's version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    pub(super) fn uncompressed_bytes(&self, raw_bytes: u32) -> Option<u64> {
        (self.version == Version::V2).then(|| u64::from(raw_bytes) + envelope::OVERHEAD as u64)
    }

    pub(super) fn cutter(&self) -> &Cutter {
        &self.cutter
    }

    pub(super) fn scratch(&self) -> Result<Scratch, Fault> {
        let contexts = || Ok((Compressor::new(self.level)?, Decompressor::new()?));
        let (compressor, decompressor) =
            contexts().map_err(|damage| Fault::damaged("zstd", damage))?;
        Ok(Scratch { compressor, decompressor, packed: Vec::new(), check: Vec::new() })
    }

    pub(super) fn open_chunk(
        &self,
        key: &ChunkKey,
        at: &Location,
        stored: &[u8],
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<(), Damage> {
        let what = if key.tag() == TREE { "tree blob" } else { "data blob" };
        if at.raw_bytes > MOST_CHUNK_BYTES {
            return Err(Damage::OverLimit { what, max: u64::from(MOST_CHUNK_BYTES) });
        }
        if at.coding == RAW {
            return envelope::open_onto(&self.key, what, stored, out);
        }
        let Scratch { decompressor, packed, .. } = scratch;
        envelope::open(&self.key, what, stored, packed)?;
        decompressor.decompress_onto(what, packed, at.raw_bytes as usize, out)
    }

    pub(super) fn seal(
        &self,
        role: Role,
        plain: &[u8],
        nonce: &[u8; 16],
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<Sealed, Fault> {
        let what = || format!("a chunk of {} bytes", plain.len());
        let start = out.len();
        let compress = match (self.version, role) {
            (Version::V1, _) => false,
            (Version::V2, Role::Directory | Role::Links) => true,
            (Version::V2, Role::File) => self.level != Level::Off && may_shrink(plain),
        };
        let Scratch { compressor, decompressor, packed, check } = scratch;
        packed.clear();
        if compress {
            compressor
                .compress(plain, packed)
                .map_err(|_damage| Fault::VerifyFailed { what: what() })?;
        }
        let shrunk = compress && (role != Role::File || packed.len() < plain.len());
        let body = if shrunk { packed.as_slice() } else { plain };
        envelope::seal(&self.key, nonce, body, out);
        if self.verify {
            let sealed = out.get(start..).unwrap_or_default();
            let proven = envelope::opens_to(&self.key, sealed, body)
                && (!shrunk || {
                    let len = plain.len();
                    let unpacked = decompressor.decompress_exact("own chunk", packed, len, check);
                    unpacked.is_ok() && check == plain
                });
            if !proven {
                return Err(Fault::VerifyFailed { what: what() });
            }
        }
        let raw_bytes = u32::try_from(plain.len())
            .map_err(|_over| Fault::Unsupported { what: "a directory of over 4 GiB".into() })?;
        Ok(Sealed { raw_bytes, coding: if shrunk { ZSTD } else { RAW } })
    }

    pub(super) fn read_pack_end(
        &self,
        pack_bytes: u64,
        end: &[u8],
    ) -> Result<Vec<PackedChunk>, Damage> {
        match self.pack_end(pack_bytes, end)? {
            PackEnd::Chunks(chunks) => Ok(chunks),
            // It begins before the end of the last chunk that the index names.
            PackEnd::Longer { .. } => Err(Damage::Invalid { what: "length of a pack header" }),
        }
    }

    pub(super) fn pack_end(&self, pack_bytes: u64, end: &[u8]) -> Result<PackEnd, Damage> {
        let what = "length of a blob in a pack header";
        match HeaderReader::new(pack_bytes)?.step(&self.key, end)? {
            Step::Done(entries) => {
                let chunks = entries.iter().map(chunk_of);
                let chunks = chunks.map(|chunk| chunk.ok_or(Damage::Invalid { what }));
                Ok(PackEnd::Chunks(chunks.collect::<Result<_, _>>()?))
            }
            Step::Need { start, end } => Ok(PackEnd::Longer { bytes: end - start }),
        }
    }

    pub(super) fn close_pack(
        &self,
        chunks: &[PackedChunk],
        entropy: &Entropy,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let entries: Vec<_> = chunks.iter().map(pack_entry).collect();
        let nonce = entropy.bytes()?;
        pack::finish(&self.key, &nonce, &entries, out)
            .map_err(|damage| Fault::damaged("a pack header of ours", damage))
    }
}

/// A pack's name in the store.
pub(super) fn pack_key(name: &PackName) -> Key {
    match name {
        PackName::Hash(hash) => Key::new(FileName::Pack(PackId(*hash)).to_string()),
        PackName::Chosen(name) => Key::new(name.clone()),
    }
}

/// A chunk of ours as pack headers and indexes describe it.
pub(crate) fn pack_entry(chunk: &PackedChunk) -> pack::Entry {
    pack::Entry {
        kind: if chunk.key.tag() == TREE { BlobKind::Tree } else { BlobKind::Data },
        id: BlobId(*chunk.key.padded()),
        offset: chunk.offset,
        length: chunk.stored_bytes,
        raw_length: (chunk.coding == ZSTD).then_some(chunk.raw_bytes),
    }
}

/// What pack headers and indexes describe, in neutral words; `None` for lengths that cannot be.
pub(crate) fn chunk_of(entry: &pack::Entry) -> Option<PackedChunk> {
    let tag = match entry.kind {
        BlobKind::Data => DATA,
        BlobKind::Tree => TREE,
    };
    Some(PackedChunk {
        key: ChunkKey::full(tag, entry.id.0),
        offset: entry.offset,
        stored_bytes: entry.length,
        raw_bytes: entry.plain_length()?,
        coding: if entry.raw_length.is_some() { ZSTD } else { RAW },
    })
}

/// The key of a directory.
pub(crate) fn tree_key(id: BlobId) -> ChunkKey {
    ChunkKey::full(TREE, id.0)
}

/// Whether a chunk holds a directory.
pub(crate) fn is_tree(key: &ChunkKey) -> bool {
    key.tag() == TREE
}

/// Bytes that name one chunk at the end of a pack.
pub(super) fn entry_bytes(coding: Coding) -> u64 {
    let bytes = if coding == ZSTD { pack::COMPRESSED_ENTRY } else { pack::PLAIN_ENTRY };
    bytes as u64
}

/// Bytes at the end of a pack beside those that name chunks.
pub(super) const CLOSING_BYTES: u64 = (envelope::OVERHEAD + pack::TRAILER) as u64;

pub(super) fn role(key: &ChunkKey) -> Role {
    if key.tag() == TREE { Role::Directory } else { Role::File }
}

/// The key of a piece of a file.
pub(crate) fn data_key(id: BlobId) -> ChunkKey {
    ChunkKey::full(DATA, id.0)
}

pub(super) fn prove(chunks: &[(ChunkKey, &[u8])]) -> Result<(), usize> {
    let plains: Vec<&[u8]> = chunks.iter().map(|(_, plain)| *plain).collect();
    let mut digests = Vec::with_capacity(plains.len());
    sha256::digest_many(&plains, &mut digests);
    let differs = chunks.iter().zip(&digests).position(|((key, _), digest)| key.padded() != digest);
    differs.map_or(Ok(()), Err)
}

/// Hashes a part of a pack and chunks side by side; the places of chunks that are others.
pub(super) fn prove_part(
    pack: Option<&mut Sha256>,
    part: &[u8],
    chunks: &[(ChunkKey, &[u8])],
) -> Vec<usize> {
    let mut digests: Vec<Sha256> = chunks.iter().map(|_chunk| Sha256::new()).collect();
    let plains = digests.iter_mut().zip(chunks.iter().map(|(_, plain)| *plain));
    let mut jobs: Vec<(&mut Sha256, &[u8])> =
        pack.map(|pack| (pack, part)).into_iter().chain(plains).collect();
    sha256::update_many(&mut jobs);
    let differs = digests.into_iter().zip(chunks).enumerate();
    differs
        .filter_map(|(at, (digest, (key, _)))| (digest.finish() != *key.padded()).then_some(at))
        .collect()
}

pub(super) fn hash<'a, 'b>(
    plains: impl Iterator<Item = (Role, &'a [u8])> + Clone,
    packs: impl Iterator<Item = (&'b mut PackBuilder, &'b [u8])>,
    keys: &mut Vec<ChunkKey>,
) {
    let mut digests: Vec<Sha256> = plains.clone().map(|_plain| Sha256::new()).collect();
    let chunks = digests.iter_mut().zip(plains.clone().map(|(_, plain)| plain));
    let packs = packs.filter_map(|(pack, fresh)| Some((pack.digest()?, fresh)));
    let mut jobs: Vec<(&mut Sha256, &[u8])> = chunks.chain(packs).collect();
    sha256::update_many(&mut jobs);
    keys.clear();
    keys.extend(plains.zip(digests).map(|((role, _), digest)| {
        let tag = if role == Role::File { DATA } else { TREE };
        ChunkKey::full(tag, digest.finish())
    }));
}

/// Whether compressing is worth a try: short pieces always, others by the spread of their bytes.
///
/// Random, encrypted or compressed data has nearly eight bits of entropy in every sample. A few
/// samples are counted; if none of them shows any redundancy the whole is stored as it is.
fn may_shrink(plain: &[u8]) -> bool {
    const SAMPLES: usize = 8;
    const SAMPLE_BYTES: usize = 4096;
    /// Of 4096 random bytes, the sum of squares of the 256 counts is 4096 + 4096 × 4095 / 256 =
    /// 69,616 on average with a deviation of 361; ten deviations above is no accident.
    const RANDOM_SQUARES: u32 = 69_616 + 3_610;
    if plain.len() < PROBED_BYTES {
        return true;
    }
    let stride = plain.len() / SAMPLES;
    (0..SAMPLES).any(|sample| {
        let start = sample * stride;
        let bytes = plain.get(start..start + SAMPLE_BYTES).unwrap_or_default();
        let mut counts = [0_u32; 256];
        bytes.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
        counts.iter().map(|count| count * count).sum::<u32>() > RANDOM_SQUARES
    })
}

pub(super) fn read_directory(bytes: &[u8]) -> Result<Directory, Damage> {
    let mut entries = Vec::with_capacity(bytes.len() / 512 + 1);
    tree::visit(bytes, |node| {
        entries.push(entry_of(node));
        Ok(())
    })?;
    Ok(Directory { entries })
}

pub(super) fn write_directory(directory: &Directory, out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut encoder = tree::Encoder::new(std::mem::take(out));
    for entry in &directory.entries {
        encoder
            .push(&node_of(entry))
            .map_err(|damage| Fault::damaged("a directory of ours", damage))?;
    }
    *out = encoder.finish();
    Ok(())
}

fn entry_of(node: Node) -> Entry {
    let kind = match node.kind {
        NodeKind::File => Kind::File {
            size_bytes: node.size,
            content: Content::Chunks(
                node.content.unwrap_or_default().into_iter().map(data_key).collect(),
            ),
        },
        NodeKind::Dir => Kind::Directory { tree: node.subtree.map(tree_key) },
        NodeKind::Symlink => Kind::Symlink { target: Target::Inline(node.link_target.into()) },
        NodeKind::Device => Kind::BlockDevice { rdev: node.device },
        NodeKind::CharDevice => Kind::CharDevice { rdev: node.device },
        NodeKind::Fifo => Kind::Fifo,
        NodeKind::Socket => Kind::Socket,
        NodeKind::Irregular => Kind::Unknown,
    };
    let residue = (!node.generic.is_empty() || !node.error.is_empty())
        .then(|| Box::new(Residue { foreign_attributes: node.generic, error: node.error.into() }));
    Entry {
        name: node.name.into(),
        kind,
        mode: node.mode.to_permissions(),
        mtime: node.mtime,
        atime: node.atime,
        ctime: Some(node.ctime),
        uid: node.uid,
        gid: node.gid,
        user: node.user.into(),
        group: node.group.into(),
        inode: node.inode,
        device: node.device_id,
        links: node.links,
        xattrs: node
            .xattrs
            .into_iter()
            .map(|xattr| Xattr {
                name: xattr.name.into(),
                value: xattr.value.unwrap_or_default().into(),
            })
            .collect(),
        residue,
    }
}

fn node_of(entry: &Entry) -> Node {
    let mut node = Node {
        mtime: entry.mtime,
        atime: entry.atime,
        ctime: entry.ctime.unwrap_or(Timestamp::ZERO),
        uid: entry.uid,
        gid: entry.gid,
        user: entry.user.to_string(),
        group: entry.group.to_string(),
        inode: entry.inode,
        device_id: entry.device,
        links: entry.links,
        xattrs: entry
            .xattrs
            .iter()
            .map(|xattr| tree::Xattr {
                name: xattr.name.to_vec(),
                value: Some(xattr.value.to_vec()),
            })
            .collect(),
        ..Node::new(entry.name.to_vec(), NodeKind::File)
    };
    let st_kind = match &entry.kind {
        Kind::File { size_bytes, content } => {
            node.size = *size_bytes;
            if let Content::Chunks(keys) = content {
                node.content = Some(keys.iter().map(|key| BlobId(*key.padded())).collect());
            }
            0o100_000
        }
        Kind::Directory { tree } => {
            node.kind = NodeKind::Dir;
            node.subtree = tree.map(|key| BlobId(*key.padded()));
            0o040_000
        }
        Kind::Symlink { target } => {
            node.kind = NodeKind::Symlink;
            if let Target::Inline(target) = target {
                node.link_target = target.to_vec();
            }
            0o120_000
        }
        Kind::BlockDevice { rdev } => {
            (node.kind, node.device) = (NodeKind::Device, *rdev);
            0o060_000
        }
        Kind::CharDevice { rdev } => {
            (node.kind, node.device) = (NodeKind::CharDevice, *rdev);
            0o020_000
        }
        Kind::Fifo => {
            node.kind = NodeKind::Fifo;
            0o010_000
        }
        Kind::Socket => {
            node.kind = NodeKind::Socket;
            0o140_000
        }
        Kind::Unknown => {
            node.kind = NodeKind::Irregular;
            0
        }
    };
    node.mode = Mode::from_st_mode(st_kind | entry.mode);
    if let Some(residue) = &entry.residue {
        node.generic.clone_from(&residue.foreign_attributes);
        node.error = residue.error.to_string();
    }
    node
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_data_is_not_worth_compressing_and_text_is() {
        let entropy = Entropy::seeded(1);
        let mut random = vec![0; 1 << 20];
        entropy.fill(&mut random).expect("seeded");
        assert!(!may_shrink(&random));
        let mut text_in_front = random.clone();
        text_in_front[..8192].fill(b'a');
        assert!(may_shrink(&text_in_front));
        assert!(may_shrink(&random[..1000]), "short pieces are always tried");
        assert!(may_shrink(&vec![0; 1 << 20]));
    }
}
