//! What can go wrong on the way to the bytes, for every operation alike.
//!
//! Invariants: a fault names the object it is about; [`Fault::class`] decides what a program does
//! with it, [`Fault::advice`] what a person can do next.

use windlass_format::damage::Damage;

use crate::{
    entropy::EntropyError,
    model::chunk::ChunkKey,
    store::{Failure, StoreError},
};

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The same call may work later: network, throttling.
    Retry,
    /// Someone else holds what is needed.
    Busy,
    /// What was asked for cannot be: wrong password, no such snapshot, no permission, no room.
    WrongInput,
    /// There is no repository there.
    NoRepository,
    /// None of the keys opens with this password.
    WrongPassword,
    /// Stored bytes are not what they should be.
    Damaged,
    /// A legal thing this version cannot do.
    Unsupported,
    /// It was told to stop.
    Cancelled,
    /// An assumption of this program does not hold.
    Bug,
}

/// A failure to read or write objects of a repository.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An object is not what it should be.
    #[error("{object} is damaged: {damage}")]
    Damaged {
        /// Which one.
        object: String,
        /// What is wrong with it.
        damage: Damage,
    },
    /// A chunk is referred to and no index knows it.
    #[error("chunk {key} is in no index")]
    Missing {
        /// Which one.
        key: ChunkKey,
    },
    /// A chunk in use cannot be moved to another pack.
    #[error("a chunk in use cannot be moved: {why}")]
    Unmovable {
        /// Which one, and what is wrong with it.
        why: String,
    },
    /// Objects of a kind were replaced again and again while they were read.
    #[error("objects in {what} keep being replaced while they are read")]
    Unsettled {
        /// Where.
        what: &'static str,
    },
    /// What was stored is not listed.
    #[error("listings of {what} lag behind: what was just stored is there and not listed")]
    Lagging {
        /// Where.
        what: &'static str,
    },
    /// A part of the format that this version cannot read or write.
    #[error("{what} is not supported by this version")]
    Unsupported {
        /// Which one.
        what: String,
    },
    /// What was put aside in files of the cache directory, because it is too much for memory, cannot
    /// be read there.
    #[error("what was put aside in the cache directory cannot be read: {0}")]
    Aside(#[source] std::io::Error),
    /// The system gives no random bytes.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The lock could not be refreshed for so long that others may think its holder dead, or somebody
    /// removed it.
    #[error("the repository's lock was lost: it could not be refreshed in time, or was removed")]
    LockLost,
    /// The operation was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// The stream that was to be backed up broke off.
    #[error("{path}: {source}")]
    Stream {
        /// Its path in the backup.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// What was just encoded does not decode to what it was made from.
    #[error("{what} could not be read back after encoding: faulty memory or processor")]
    VerifyFailed {
        /// What was encoded.
        what: String,
    },
    /// An assumption does not hold.
    #[error("internal error: {0}")]
    Bug(&'static str),
}

/// What several at work together came to: all of it, or the first failure. "Cancelled" is what the
/// others hear of that.
pub(crate) fn together<T>(
    results: impl IntoIterator<Item = Result<T, Fault>>,
) -> Result<Vec<T>, Fault> {
    let mut done = Vec::new();
    let mut failed = None;
    for result in results {
        match (result, &failed) {
            (Ok(part), _) => done.push(part),
            (Err(fault), None | Some(Fault::Cancelled)) => failed = Some(fault),
            (Err(_later), Some(_)) => {}
        }
    }
    failed.map_or(Ok(done), Err)
}

impl Fault {
    /// Damage of a named object.
    pub fn damaged(object: impl Into<String>, damage: Damage) -> Self {
        match damage {
            Damage::Unsupported { what } => Self::Unsupported { what: what.into() },
            damage => Self::Damaged { object: object.into(), damage },
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Store(error) => match error.failure {
                Failure::Transient | Failure::Unreachable | Failure::Throttled => Class::Retry,
                Failure::NotFound | Failure::Short => Class::Damaged,
                Failure::Denied | Failure::NoSpace | Failure::Permanent => Class::WrongInput,
            },
            Self::Damaged { .. } | Self::Missing { .. } | Self::Unmovable { .. } => Class::Damaged,
            Self::Unsupported { .. } => Class::Unsupported,
            Self::LockLost | Self::Unsettled { .. } | Self::Lagging { .. } | Self::Aside(_) => {
                Class::Retry
            }
            Self::Entropy(_) | Self::Stream { .. } => Class::WrongInput,
            Self::Cancelled => Class::Cancelled,
            Self::VerifyFailed { .. } | Self::Bug(_) => Class::Bug,
        }
    }

    /// What a person can do next.
    #[must_use]
    pub fn advice(&self) -> &str {
        match self {
            Self::Store(error) => error.advice().unwrap_or(match error.failure {
                Failure::Unreachable => "look at the location's host and port, and at the network",
                Failure::Transient => "try again; if it stays, look at the network and the server",
                Failure::Throttled => "try again later, or with fewer connections",
                Failure::NotFound => {
                    "an object is gone: run `check` with the tool that wrote the repository, \
                     and do not prune until it is explained"
                }
                Failure::Short => "an object is truncated: run `check --read-data`",
                Failure::Denied => "look at the permissions or credentials for this location",
                Failure::NoSpace => "free some room and run again; what was stored is kept",
                Failure::Permanent => "see the cause above",
            }),
            Self::Damaged { .. } => {
                "run `check --read-data` to see the extent; other snapshots may be whole"
            }
            Self::Missing { .. } => {
                "an index file may be missing: run `repair index`, do not prune before"
            }
            Self::Unmovable { .. } => {
                "nothing was removed; run `check --read-data`, and repair before cleaning up"
            }
            Self::Unsettled { .. } => "try again when the other programs at work are done",
            Self::Lagging { .. } => {
                "nothing was removed: try again when the store lists all that is in it"
            }
            Self::Aside(_) => {
                "nothing was removed: look at the disk of the cache directory, or choose another"
            }
            Self::Unsupported { .. } => "use a newer version of Windlass",
            Self::LockLost => {
                "see who removed it, or look at the connection to the store; then run again"
            }
            Self::Stream { .. } => "nothing was saved: look at what should have written the data",
            Self::Entropy(_) => "give this process access to the system's random generator",
            Self::Cancelled => "run again to go on; what was stored is kept",
            Self::VerifyFailed { .. } => {
                "test this machine's memory before trusting it with backups"
            }
            Self::Bug(_) => "please report this",
        }
    }
}
