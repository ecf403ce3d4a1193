//! What an operation tells while it runs.
//!
//! Invariants: counters only grow, unless an operation begins again, and are cheap enough for hot
//! loops; [`Monitor::event`] is called from worker threads and must not block for long.
//!
//! Not here: words, bars, JSON (the mover's).

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::model::{directory::Kind, root::RootId};

/// Receives what happens. All methods have a default that ignores it.
pub trait Monitor: Send + Sync {
    /// Something happened.
    fn event(&self, event: Event<'_>) {
        let _ignored = event;
    }

    /// Whether [`Event::Item`] is wanted; building paths for millions of items is not free.
    fn wants_items(&self) -> bool {
        false
    }

    /// Whether [`Event::Reading`] and [`Event::Read`] are wanted.
    fn wants_current(&self) -> bool {
        false
    }

    /// The running figures of the operation.
    fn counters(&self) -> &Counters;
}

/// A monitor that only counts.
#[derive(Debug, Default)]
pub struct Silent(Counters);

impl Monitor for Silent {
    fn counters(&self) -> &Counters {
        &self.0
    }
}

/// What happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A choice the operation made that its user may want to see: pool sizes, a lock.
    Note(&'a str),
    /// The earlier backup that a backup compares with was chosen, or there is none.
    Parent(Option<&'a RootId>),
    /// A part of the operation began.
    Phase(Phase),
    /// A backup begins to read the content of a file.
    Reading {
        /// Where it is in the backup.
        path: &'a [u8],
    },
    /// It was read, or cannot be. What was read may still be on its way into the repository.
    Read {
        /// Where it is in the backup.
        path: &'a [u8],
    },
    /// One item is done.
    Item {
        /// Where it is in the backup or the target; in the source where it is left out.
        path: &'a [u8],
        /// What was done with it.
        action: Action,
        /// What it is.
        kind: ItemKind,
        /// Plain bytes.
        size_bytes: u64,
        /// Plain bytes that were new to the repository: of a file its content, of a directory its
        /// listing.
        added_bytes: u64,
        /// What they take in the repository.
        added_stored_bytes: u64,
        /// How long it took, waiting included, where that was measured.
        took: Duration,
    },
    /// One item could not be dealt with; the operation goes on.
    Problem {
        /// Where.
        path: &'a [u8],
        /// What went wrong.
        error: &'a (dyn std::error::Error + 'a),
    },
}

/// The parts of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Waiting for another holder's lock.
    Lock,
    /// Reading the index.
    Index,
    /// Reading the source or planning.
    Scan,
    /// Moving data.
    Transfer,
    /// Publishing what was stored.
    Publish,
    /// Reading back what was written.
    Verify,
}

/// What was done with an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Backup: was not in the parent.
    New,
    /// Backup: differs from the parent.
    Modified,
    /// Backup: as in the parent. Restore: as it should be already.
    Unchanged,
    /// Restore: written.
    Restored,
    /// Restore: existed and was brought up to date.
    Updated,
    /// Restore: removed.
    Deleted,
    /// Left out by a rule.
    Skipped,
}

/// What an item is, for the user's eye.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// Anything else.
    Other,
}

impl From<&Kind> for ItemKind {
    fn from(kind: &Kind) -> Self {
        match kind {
            Kind::File { .. } => Self::File,
            Kind::Directory { .. } => Self::Directory,
            _ => Self::Other,
        }
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// Running figures, written by workers and read by whoever draws them.
        #[derive(Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: Counter,)+
        }

        impl Counters {
            /// All back to nothing: the operation begins again.
            pub(crate) fn begin_again(&self) {
                $(self.$name.0.store(0, Ordering::Relaxed);)+
            }
        }

        impl fmt::Debug for Counters {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct("Counters")$(.field(stringify!($name), &self.$name.get()))+.finish()
            }
        }
    };
}

counters! {
    /// Files known to be in scope so far.
    files_found,
    /// Bytes in those files.
    bytes_found,
    /// Files dealt with.
    files_done,
    /// Bytes dealt with, whether moved or found unchanged.
    bytes_done,
    /// Bytes read from the source.
    bytes_read,
    /// Bytes written to a target or new to the repository, plain.
    bytes_added,
    /// Bytes new to the repository, as stored.
    stored_bytes_added,
    /// Items left as they were.
    files_unchanged,
    /// Items removed.
    files_deleted,
    /// Items that could not be dealt with.
    problems,
}

/// A figure that only grows.
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// Its value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
