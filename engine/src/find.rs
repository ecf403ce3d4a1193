//! Looking into roots: lists, searches, differences and figures, all on one walker.
//!
//! Invariants
//! - Trees are read depth first and in the order of names, a few directories ahead of whoever looks.
//! - Memory: the entries of the directories on the way down and what reading ahead is allowed, plus
//!   what a search or count has to remember (each says what that is).
//! - A directory that cannot be read is a problem with a path; everything else goes on.
//! - For threads that may block; each loop asks [`Cancel`].
//!
//! Not here: choosing roots, words for people (the mover's).

pub mod diff;
pub mod search;
pub mod stats;
mod walk;

use crate::{
    cancel::Cancel,
    fault::{Class, Fault},
    model::{
        chunk::ChunkKey,
        directory::{Entry, Kind},
    },
    reader::Reader,
    repository::Repository,
};
pub use walk::Visitor;

/// Threads that read directories ahead of the walk at most.
const MOST_AHEAD_THREADS: usize = 8;

/// Walks the trees of one repository.
#[derive(Clone, Debug)]
pub struct Walker {
    reader: Reader,
    ahead_threads: usize,
    cancel: Cancel,
}

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The top directory itself.
    Top(ChunkKey),
    /// An entry below it.
    Entry(Box<Entry>),
}

/// Why a path leads nowhere.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// There is no such name.
    #[error("path {path}: not found")]
    NotFound {
        /// The first part that is missing.
        path: String,
    },
    /// It leads through something that is no directory.
    #[error("path {path}: not a directory")]
    NotADirectory {
        /// That part.
        path: String,
    },
    /// A directory on the way cannot be read.
    #[error("path {path}: {fault}")]
    Unreadable {
        /// That directory.
        path: String,
        /// Why.
        fault: Fault,
    },
}

impl FindError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::NotFound { .. } | Self::NotADirectory { .. } => Class::WrongInput,
            Self::Unreadable { fault, .. } => fault.class(),
        }
    }

    /// What a person can do next.
    #[must_use]
    pub fn advice(&self) -> &str {
        match self {
            Self::NotFound { .. } | Self::NotADirectory { .. } => {
                "list the snapshot to see the paths in it"
            }
            Self::Unreadable { fault, .. } => fault.advice(),
        }
    }
}

impl Walker {
    /// A walker of this repository. Loads its index: list roots before.
    pub async fn new(repository: &Repository, cancel: &Cancel) -> Result<Self, Fault> {
        let capabilities = repository.store().capabilities();
        let threads = if capabilities.remote {
            capabilities.connections
        } else {
            repository.environment().resources.cpus
        };
        Ok(Self {
            reader: repository.reader().await?,
            ahead_threads: threads.clamp(1, MOST_AHEAD_THREADS),
            cancel: cancel.clone(),
        })
    }

    /// What it reads with.
    #[must_use]
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// What the path, with or without slashes around it, leads to from the top directory.
    pub fn find(&self, top: ChunkKey, path: &[u8]) -> Result<Found, FindError> {
        let mut found = Found::Top(top);
        let mut so_far = Vec::new();
        let names = path.split(|byte| *byte == b'/');
        for name in names.filter(|name| !matches!(*name, b"" | b".")) {
            let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
            let key = found
                .directory()
                .ok_or_else(|| FindError::NotADirectory { path: text(&so_far) })?;
            if !so_far.is_empty() {
                so_far.push(b'/');
            }
            so_far.extend_from_slice(name);
            let directory = self
                .reader
                .directory(&key)
                .map_err(|fault| FindError::Unreadable { path: text(&so_far), fault })?;
            let entry = directory.entries.into_iter().find(|entry| *entry.name == *name);
            let entry = entry.ok_or_else(|| FindError::NotFound { path: text(&so_far) })?;
            found = Found::Entry(Box::new(entry));
        }
        Ok(found)
    }

    /// The directory that the path leads to.
    pub fn find_directory(&self, top: ChunkKey, path: &[u8]) -> Result<ChunkKey, FindError> {
        let path_text = || String::from_utf8_lossy(path).into_owned();
        let found = self.find(top, path)?;
        found.directory().ok_or_else(|| FindError::NotADirectory { path: path_text() })
    }
}

impl Found {
    /// Its entries, where it is a directory.
    #[must_use]
    pub fn directory(&self) -> Option<ChunkKey> {
        match self {
            Self::Top(key) => Some(*key),
            Self::Entry(entry) => match &entry.kind {
                Kind::Directory { tree } => *tree,
                _ => None,
            },
        }
    }
}
