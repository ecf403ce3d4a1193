//! What a check finds.
//!
//! Invariants: a finding is damage; a hint is untidiness that costs nothing but room.

use windlass_format::damage::Damage;

use crate::{
    fault::Fault,
    model::{chunk::ChunkKey, pack::PackName, root::RootId},
};

/// Something is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum Finding {
    /// An index segment cannot be read.
    #[error("{0}")]
    Segment(Fault),
    /// Index segments say different things of a pack.
    #[error("pack {0} has different data in indexes")]
    Contradiction(PackName),
    /// An index names a pack that is not there.
    #[error("pack {0}: does not exist")]
    PackMissing(PackName),
    /// A pack has another size than its chunks add up to.
    #[error("pack {pack}: unexpected file size: got {listed_bytes}, expected {indexed_bytes}")]
    PackSize {
        /// Which one.
        pack: PackName,
        /// In the store.
        listed_bytes: u64,
        /// By the index.
        indexed_bytes: u64,
    },
    /// A root cannot be read.
    #[error("snapshot {root}: {fault}")]
    Root {
        /// Which one.
        root: RootId,
        /// Why.
        fault: Fault,
    },
    /// A directory cannot be read.
    #[error("directory {directory} of snapshot {}: {fault}", root.short())]
    Directory {
        /// A root it is in.
        root: RootId,
        /// Which one.
        directory: ChunkKey,
        /// Why.
        fault: Fault,
    },
    /// An entry of a directory refers to what no index knows.
    #[error("directory {directory}: file {name:?} chunk {chunk} not found in index")]
    ChunkMissing {
        /// The directory.
        directory: ChunkKey,
        /// The entry.
        name: String,
        /// The chunk.
        chunk: ChunkKey,
    },
    /// A directory is recorded without what is in it.
    #[error("directory {directory}: {name:?} has no subtree")]
    NoSubtree {
        /// The directory above.
        directory: ChunkKey,
        /// Its name.
        name: String,
    },
    /// What is in a pack is damaged.
    #[error("pack {pack} contains {} errors: {}", errors.len(), told(errors))]
    Pack {
        /// Which one.
        pack: PackName,
        /// All of them.
        errors: Vec<PackError>,
    },
    /// A pack could not be read at all.
    #[error("pack {pack}: download error: {fault}")]
    PackUnread {
        /// Which one.
        pack: PackName,
        /// Why.
        fault: Fault,
    },
}

/// What is wrong in a pack.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    /// The chunks that the index names leave gaps or overlap.
    #[error("index for pack contains gaps / overlapping blobs")]
    Gaps,
    /// A chunk cannot be opened or is another one.
    #[error("chunk {chunk}: {damage}")]
    Chunk {
        /// Which one.
        chunk: ChunkKey,
        /// What is wrong with it.
        damage: Damage,
    },
    /// Its bytes are not those that it is named after.
    #[error("its bytes are not what its name says")]
    Name,
    /// What ends the pack cannot be read.
    #[error("its end: {0}")]
    End(Damage),
    /// What ends the pack names other chunks than the index.
    #[error("chunk {0} is not contained in index or position is incorrect")]
    NotIndexed(ChunkKey),
}

/// Something is untidy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Hint {
    /// Several segments name a pack, and say the same of it.
    #[error("pack {0} contained in several indexes")]
    NamedTwice(PackName),
    /// A pack holds directories and pieces of files.
    #[error("pack {0} contains a mix of tree and data blobs")]
    Mixed(PackName),
    /// No index names a pack.
    #[error("pack {0}: not referenced in any index")]
    Orphan(PackName),
}

/// A file or directory of a root that is not whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Affected {
    /// The root.
    pub root: RootId,
    /// The path in it.
    pub path: Vec<u8>,
}

fn told(errors: &[PackError]) -> String {
    const MOST: usize = 20;
    let shown: Vec<String> = errors.iter().take(MOST).map(ToString::to_string).collect();
    let more = if errors.len() > MOST { ", …" } else { "" };
    format!("[{}{more}]", shown.join(", "))
}
