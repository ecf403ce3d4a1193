//! An object: the content of a file as chunks in order.

use super::chunk::ChunkKey;

/// The chunks of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The chunks in order; none for an empty file.
    Chunks(Vec<ChunkKey>),
    /// One chunk that holds a list of parts, nested `depth` times.
    Linked {
        /// The chunk with the list.
        list: ChunkKey,
        /// How many lists lie above the data.
        depth: u8,
    },
}

impl Content {
    /// The content of an empty file.
    pub const EMPTY: Self = Self::Chunks(Vec::new());
}
