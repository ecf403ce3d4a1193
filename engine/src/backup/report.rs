//! What became of a backup.

use super::{compare::Reason, run::Problem};
use crate::{
    fault::{Class, Fault},
    model::root::{RootId, Summary},
    protocol::AnnounceError,
};

/// What a backup did.
#[derive(Clone, Debug)]
pub struct Report {
    /// The new root; none for a dry run or where nothing had changed.
    pub root: Option<RootId>,
    /// The backup it was compared with.
    pub parent: Option<RootId>,
    /// Figures.
    pub summary: Summary,
    /// Files that were read, by the reason why.
    pub read_for: Vec<(Reason, u64)>,
    /// Names that were gone when they were looked at.
    pub vanished: u64,
    /// Items that could not be backed up.
    pub problem_count: u64,
    /// The first of them.
    pub problems: Vec<Problem>,
    /// Why the lock is still in the store: who may only add cannot remove it.
    pub lock_left: Option<String>,
}

impl Report {
    /// Whether something could not be backed up.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.problem_count > 0
    }
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Others are at work.
    #[error(transparent)]
    Announce(#[from] AnnounceError),
    /// A target does not exist or cannot be looked at, and no other is left.
    #[error("nothing to back up: {path}: {error}")]
    NoSource {
        /// The first such target.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// The parent that was asked for is not there.
    #[error("no snapshot {id} to compare with")]
    NoSuchParent {
        /// Its name.
        id: String,
    },
    /// Everything in scope was unreadable or excluded.
    #[error("nothing could be read, not saving an empty snapshot")]
    Empty,
    /// Reading or writing failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl BackupError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Announce(error) => error.class(),
            Self::NoSource { .. } | Self::NoSuchParent { .. } | Self::Empty => Class::WrongInput,
            Self::Fault(fault) => fault.class(),
        }
    }
}
