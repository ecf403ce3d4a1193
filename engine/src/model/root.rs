//! A root: one backup of some paths at one moment ("snapshot" to its users).

use std::fmt;

use windlass_format::time::Timestamp;

use super::{chunk::ChunkKey, directory::Entry};

/// The name of a root in its repository.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RootId(Box<str>);

impl RootId {
    /// Takes a name over.
    #[must_use]
    pub fn new(name: impl Into<Box<str>>) -> Self {
        Self(name.into())
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first eight characters, for people.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }
}

impl fmt::Display for RootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootId({})", self.0)
    }
}

/// A backup as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// When the backup began, or the time it was told to bear.
    pub time: Timestamp,
    /// The backup it was compared with.
    pub parent: Option<RootId>,
    /// The top directory: what is in it.
    pub tree: ChunkKey,
    /// The top directory itself, where it stands for one of the source and the format says more of
    /// it than what is in it.
    pub top: Option<Box<Entry>>,
    /// The source paths, absolute, sorted.
    pub paths: Vec<String>,
    /// The host it was made on.
    pub hostname: String,
    /// The user who made it.
    pub username: String,
    /// That user's number.
    pub uid: u32,
    /// That user's group.
    pub gid: u32,
    /// Exclude patterns as given.
    pub excludes: Vec<String>,
    /// Tags, sorted.
    pub tags: Vec<String>,
    /// The backup this one was derived from by editing.
    pub original: Option<RootId>,
    /// Free text.
    pub description: String,
    /// The program that made it.
    pub program: String,
    /// What it did.
    pub summary: Option<Summary>,
}

/// The figures of a backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// When it began.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Files that were not in the parent.
    pub files_new: u64,
    /// Files whose content or metadata differs from the parent's.
    pub files_changed: u64,
    /// Files as in the parent.
    pub files_unmodified: u64,
    /// Directories that were not in the parent.
    pub dirs_new: u64,
    /// Directories that differ from the parent's.
    pub dirs_changed: u64,
    /// Directories as in the parent.
    pub dirs_unmodified: u64,
    /// Chunks of files added to the repository.
    pub data_chunks: u64,
    /// Chunks of metadata added to the repository.
    pub meta_chunks: u64,
    /// Plain bytes of the added chunks.
    pub added_bytes: u64,
    /// Stored bytes of the added chunks.
    pub added_stored_bytes: u64,
    /// Files seen.
    pub total_files: u64,
    /// Bytes of the files seen.
    pub total_bytes: u64,
}
