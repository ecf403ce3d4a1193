//! Restore: from a root of the repository to a directory tree.
//!
//! ```text
//!   ahead (2 threads)    walker (1 thread)             fetchers (remote)    workers (CPUs)
//!  ┌────────────────┐   ┌────────────────────────┐    ┌─────────────┐    ┌──────────────────────┐
//!  │ read, decode   │──►│ name, choose, mkdir    │    │ read spans  │    │ (read a local span)  │
//!  │ next trees     │   │ delete extras (mirror) │    │ of packs    │    │ open → prove → write │
//!  └────────────────┘   │ fill a window (window) │───►│             │───►│ last chunk: metadata │
//!                       │  compare existing files│span└─────────────┘    │ last child: folder's │
//!                       │  spans by pack (plan)  │  budget │             └──────────────────────┘
//!                       └────────────────────────┘         └ bytes of spans under way
//! ```
//!
//! Invariants
//! - Memory: at most two windows, whatever the snapshot's size, and the budget for spans; only the
//!   entries of one directory and the chunk list of one file are ever whole in memory.
//! - Nothing is written that was not proved; a file that could not be written whole keeps mode and
//!   time of an unfinished one.
//! - No entry of a snapshot and no link in the target leads out of the target.
//! - A damaged or missing chunk costs the files that hold it, each named, and nothing else.
//!
//! Not here: choosing the root, words for people (the mover's).

mod compare;
mod file;
mod folder;
mod handles;
mod links;
mod mirror;
mod owner;
mod plan;
mod special;
mod task;
mod walk;
mod window;
mod work;

use std::{io, path::PathBuf, sync::Arc, sync::mpsc};

use tokio::runtime::Handle;

use crate::{
    budget::Budget,
    cancel::Cancel,
    fault::{Class, Fault},
    filter::Selection,
    model::{
        chunk::ChunkKey,
        directory::{Directory, Entry, Kind},
        root::Root,
    },
    monitor::{Event, Monitor, Phase},
    reader::ahead,
    repository::Repository,
    source::fs::Dir,
    target::fs::{is_system_root, open_existing, open_target},
};
use folder::Folder;
use plan::Limits;
use task::Task;
pub use walk::{BadEntry, MOST_LEVELS};

/// Threads that read directories ahead of the walk.
const AHEAD_THREADS: usize = 2;
/// Requests under way to a remote store at most; more only compete.
const MOST_FETCHERS: usize = 32;

/// What to restore and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory to restore into; made where it is missing.
    pub target: PathBuf,
    /// A directory of the snapshot whose content is restored instead of all; components separated
    /// by slashes.
    pub sub_path: Vec<u8>,
    /// What is taken. Paths start with a slash, which is the target.
    pub selection: Selection,
    /// What happens to what is there.
    pub overwrite: Overwrite,
    /// Whether what the snapshot does not have is removed from the target.
    pub delete: bool,
    /// Whether to remove even where the snapshot looks empty or like a wrong one.
    pub allow_suspicious_delete: bool,
    /// Whether long runs of zeros become holes.
    pub sparse: bool,
    /// Nothing is touched, only told.
    pub dry_run: bool,
    /// Every file is read back and its content compared.
    pub verify: bool,
    /// The extended attributes that are put back, and removed where the snapshot has none.
    pub xattrs: Selection,
    /// Who owns what is restored.
    pub ownership: Ownership,
}

impl Options {
    /// Defaults for restoring into `target`.
    #[must_use]
    pub fn new(target: impl Into<PathBuf>) -> Self {
        Self {
            target: target.into(),
            sub_path: Vec::new(),
            selection: Selection::default(),
            overwrite: Overwrite::default(),
            delete: false,
            allow_suspicious_delete: false,
            sparse: true,
            dry_run: false,
            verify: false,
            xattrs: Selection::default(),
            ownership: Ownership::default(),
        }
    }
}

/// What happens to an entry that is in the target already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overwrite {
    /// It becomes what the snapshot has; of a file, only what differs is written.
    #[default]
    Always,
    /// As [`Always`](Self::Always), but a file of the same time and size is trusted to be the same.
    IfChanged,
    /// It is replaced if the snapshot's is newer.
    IfNewer,
    /// It stays as it is.
    Never,
}

/// Who owns what is restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ownership {
    /// The recorded numbers.
    #[default]
    ByNumber,
    /// The recorded names as this system numbers them; 0 for a name that it does not know.
    ByNameOrRoot,
    /// The recorded names as this system numbers them; the recorded number for other names.
    ByNameOrNumber,
}

/// What a restore did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Files that were not there.
    pub files_restored: u64,
    /// Files that were there and differed, in content or metadata.
    pub files_updated: u64,
    /// Files that were as they should be.
    pub files_unchanged: u64,
    /// Directories that were not there.
    pub dirs_restored: u64,
    /// Links, devices and FIFOs made or brought up to date.
    pub others_restored: u64,
    /// Entries left as they were by the overwrite policy, and kinds that cannot be restored.
    pub skipped: u64,
    /// Entries removed from the target.
    pub deleted: u64,
    /// Bytes written to files, holes included.
    pub bytes_written: u64,
    /// Bytes of files that were there already.
    pub bytes_reused: u64,
    /// Bytes of packs read.
    pub bytes_fetched: u64,
    /// Owners, attributes and devices left out for lack of privilege or support.
    pub left_out: u64,
    /// Items that could not be restored, or not as they should be.
    pub problem_count: u64,
    /// The first of them.
    pub problems: Vec<Problem>,
}

/// One thing that could not be restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where in the target.
    pub path: Vec<u8>,
    /// Why.
    pub error: String,
}

/// How a restore ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything asked for is there.
    Success,
    /// Something is missing, see the problems.
    Partial,
}

impl Report {
    /// How it ended.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        if self.problem_count == 0 { Outcome::Success } else { Outcome::Partial }
    }
}

/// Why a restore ended early.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The repository cannot be read.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The target cannot be written.
    #[error("cannot write {path}: {source}")]
    Target {
        /// Where.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The snapshot has no such directory.
    #[error("the snapshot has no directory {path}")]
    NoSuchDirectory {
        /// Its path in the snapshot.
        path: String,
    },
    /// Mirroring onto the whole system.
    #[error("refusing to delete from / what the snapshot does not have")]
    DeleteFromRoot,
    /// Mirroring a snapshot that is likely not meant.
    #[error("refusing to delete: {why}")]
    SuspiciousDelete {
        /// What looks wrong.
        why: &'static str,
    },
    /// It was told to stop.
    #[error("cancelled")]
    Cancelled,
}

impl RestoreError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Fault(fault) => fault.class(),
            Self::Cancelled => Class::Cancelled,
            Self::Target { .. }
            | Self::NoSuchDirectory { .. }
            | Self::DeleteFromRoot
            | Self::SuspiciousDelete { .. } => Class::WrongInput,
        }
    }

    /// What a person can do next.
    #[must_use]
    pub fn advice(&self) -> &str {
        match self {
            Self::Fault(fault) => fault.advice(),
            Self::Target { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "free some room and run again; what is there will not be fetched again"
                }
                _ => "look at the target's permissions and mount",
            },
            Self::NoSuchDirectory { .. } => "list the snapshot to see its directories",
            Self::DeleteFromRoot => "name what is to be restored with include or exclude patterns",
            Self::SuspiciousDelete { .. } => {
                "look at the snapshot and the target; if this is meant, allow it explicitly"
            }
            Self::Cancelled => "run again to go on; what is there will not be fetched again",
        }
    }
}

/// Restores `root`.
///
/// Cancelling through `cancel` stops within a second; what was restored until then stays, and the
/// next run goes on from there.
pub async fn run(
    repository: &Repository,
    root: &Root,
    options: Options,
    monitor: Arc<dyn Monitor>,
    cancel: &Cancel,
) -> Result<Report, RestoreError> {
    monitor.event(Event::Phase(Phase::Index));
    let environment = repository.environment();
    let task = Arc::new(Task {
        store: repository.store().clone(),
        dialect: repository.dialect().clone(),
        index: repository.index().await?,
        reader: repository.reader().await?,
        runtime: Handle::current(),
        pool: Arc::clone(repository.pool()),
        cpus: environment.resources.cpus.max(1),
        buffer_bytes: environment.resources.buffers(),
        in_flight: environment.resources.in_flight(),
        monitor,
        cancel: cancel.clone(),
        handles: handles::Handles::new(),
        owners: owner::Owners::default(),
        privileged: rustix::process::geteuid().is_root(),
        done: task::Tallies::default(),
        state: task::State::default(),
        options,
    });
    let _abandoned = Abandon(Arc::clone(&task));
    let (tree, entry) = (root.tree, root.top.as_deref().cloned());
    let done = tokio::task::spawn_blocking(move || restore(&task, tree, entry));
    done.await.unwrap_or(Err(Fault::Bug("a thread of the restore panicked").into()))
}

/// Stops the threads when nobody waits for them any more.
struct Abandon(Arc<Task>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// The pipeline: on a thread that may block.
fn restore(task: &Task, top: ChunkKey, entry: Option<Entry>) -> Result<Report, RestoreError> {
    task.monitor.event(Event::Phase(Phase::Scan));
    let (tree, directory) = find_top(task, top)?;
    let target = open(task)?;
    if let Some(target) = &target
        && task.options.delete
    {
        refuse_foolish_delete(task, target, &directory)?;
    }
    // What is known of the top directory goes to the target if that is what is restored there.
    let entry = entry.filter(|_entry| tree == top);
    let metadata = entry.map(|mut entry| task.metadata(&mut entry));
    let top = Folder::top(target, tree, metadata, task.options.selection.is_all());
    task.monitor.event(Event::Phase(Phase::Transfer));
    transfer(task, &top, directory);
    task.finish()
}

/// Wires the threads together and waits for them.
fn transfer(task: &Task, top: &Arc<Folder>, directory: Directory) {
    let capabilities = task.store.capabilities();
    let fetchers = capabilities.connections.clamp(1, MOST_FETCHERS);
    let limits = match capabilities.remote {
        true => Limits::remote(task.in_flight),
        false => Limits::LOCAL,
    };
    let budget = Budget::new(limits.in_flight());
    let (ahead, requests) = ahead::channel();
    let (planned, spans) = mpsc::sync_channel(task.cpus * 2);
    let spans = work::Queue::new(spans);
    let (fetched, loaded) = mpsc::sync_channel(MOST_FETCHERS);
    let loaded = work::Queue::new(loaded);
    std::thread::scope(|scope| {
        for _thread in 0..AHEAD_THREADS {
            scope.spawn(|| requests.serve(&task.reader, || task.is_stopped()));
        }
        let queue = if capabilities.remote { &loaded } else { &spans };
        if capabilities.remote {
            for _thread in 0..fetchers {
                let fetched = fetched.clone();
                let (spans, budget) = (&spans, &budget);
                scope.spawn(move || work::fetch(task, spans, budget, &fetched));
            }
        }
        drop(fetched);
        for _thread in 0..task.cpus {
            scope.spawn(move || work::work(task, queue));
        }
        // Its ends of the queues go with the walker, and the threads come to their ends after it.
        let window = window::Window::new(task, planned, limits);
        walk::Walker::new(task, ahead, window).run(top, directory);
    });
}

/// The directory whose content goes into the target.
fn find_top(task: &Task, tree: ChunkKey) -> Result<(ChunkKey, Directory), RestoreError> {
    let mut key = tree;
    let mut directory = task.reader.directory(&key)?;
    let names = task.options.sub_path.split(|byte| *byte == b'/');
    for name in names.filter(|name| !matches!(*name, b"" | b".")) {
        let entry = directory.entries.iter().find(|entry| *entry.name == *name);
        let Some(Kind::Directory { tree: Some(tree) }) = entry.map(|entry| &entry.kind) else {
            let path = String::from_utf8_lossy(&task.options.sub_path).into_owned();
            return Err(RestoreError::NoSuchDirectory { path });
        };
        key = *tree;
        directory = task.reader.directory(&key)?;
    }
    Ok((key, directory))
}

/// Opens the target, making it where it is missing; a dry run makes nothing.
fn open(task: &Task) -> Result<Option<Dir>, RestoreError> {
    let target = &task.options.target;
    let opened = match task.options.dry_run {
        true => open_existing(target),
        false => open_target(target).map(Some),
    };
    opened.map_err(|error| target_error(task, error))
}

fn target_error(task: &Task, source: io::Error) -> RestoreError {
    RestoreError::Target { path: task.options.target.display().to_string(), source }
}

fn refuse_foolish_delete(
    task: &Task,
    target: &Dir,
    directory: &Directory,
) -> Result<(), RestoreError> {
    let failed = |error| target_error(task, error);
    if task.options.selection.is_all() && is_system_root(target).map_err(failed)? {
        return Err(RestoreError::DeleteFromRoot);
    }
    let names = walk::names(directory);
    let suspicion = mirror::suspicion(&task.options, target, &names).map_err(failed)?;
    match suspicion {
        Some(why) if !task.options.allow_suspicious_delete => {
            Err(RestoreError::SuspiciousDelete { why })
        }
        _ => Ok(()),
    }
}
