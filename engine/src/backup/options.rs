//! What to back up, from where, and how.

use std::{fmt, io::Read, path::PathBuf, time::Duration};

use windlass_format::time::Timestamp;

use super::{compare::Policy, parent::ParentChoice};
use crate::{filter::Filter, protocol::listener::Listener};

/// Bytes of one file that come from elsewhere than a file system: standard input, a command.
pub struct Stream {
    /// Where the file is in the backup, `/` in front.
    pub path: PathBuf,
    /// The bytes. An error, or no byte at all, means that there is no backup: nothing is saved of
    /// a dump that broke off.
    pub bytes: Box<dyn Read + Send>,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({})", self.path.display())
    }
}

/// Which roots are not written because nothing differs from the parent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SkipUnchanged {
    /// None.
    #[default]
    Never,
    /// Those that lack what could not be read: trying again adds nothing to what the parent has.
    Partial,
    /// All.
    Always,
}

/// What to back up and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Files and directories; relative ones are stored under their relative path, as restic does.
    pub targets: Vec<PathBuf>,
    /// The directory that relative targets are in.
    pub base: PathBuf,
    /// What is left out.
    pub filter: Filter,
    /// The exclude patterns as given, to be noted with the root.
    pub excludes: Vec<String>,
    /// Directories on other file systems stay empty.
    pub one_file_system: bool,
    /// Access times are kept; without, they are the modification times.
    pub with_atime: bool,
    /// What counts as unchanged.
    pub policy: Policy,
    /// The backup to compare with.
    pub parent: ParentChoice,
    /// The host to note, part of what a parent is found by.
    pub hostname: String,
    /// The user to note.
    pub username: String,
    /// Tags to note.
    pub tags: Vec<String>,
    /// The time to note instead of now.
    pub time: Option<Timestamp>,
    /// The program to note.
    pub program: String,
    /// Threads that list and read the source; 0 chooses.
    pub source_threads: usize,
    /// Size at which a pack is closed.
    pub pack_bytes: u64,
    /// Nothing is written.
    pub dry_run: bool,
    /// Which roots are not written that would equal the parent.
    pub skip_unchanged: SkipUnchanged,
    /// The host at work, as others see it, where that is not the one to note.
    pub holder: Option<String>,
    /// How long to wait for others' locks.
    pub lock_patience: Duration,
    /// See [`Announcement::lineage`](crate::protocol::Announcement::lineage).
    pub lineage: Option<String>,
    /// Who hears of others' locks.
    pub listener: Listener,
}

impl Options {
    /// Defaults for backing up `targets`.
    #[must_use]
    pub fn new(targets: Vec<PathBuf>, hostname: String) -> Self {
        Self {
            targets,
            base: PathBuf::from("/"),
            filter: Filter::default(),
            excludes: Vec::new(),
            one_file_system: false,
            with_atime: false,
            policy: Policy::default(),
            parent: ParentChoice::default(),
            hostname,
            username: String::new(),
            tags: Vec::new(),
            time: None,
            program: format!("windlass {}", env!("CARGO_PKG_VERSION")),
            source_threads: 0,
            pack_bytes: 16 << 20,
            dry_run: false,
            skip_unchanged: SkipUnchanged::default(),
            holder: None,
            lock_patience: Duration::ZERO,
            lineage: None,
            listener: Listener::default(),
        }
    }
}
