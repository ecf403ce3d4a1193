//! Backup: one pipeline from a directory tree to a root in the repository.
//!
//! ```text
//!  source threads (options.source_threads)        worker pool (CPUs)            runtime
//!  ┌─────────────────────────────────────┐      ┌──────────────────────┐      ┌─────────────────┐
//!  │ list → stat → compare → read → cut  │─────►│ hash → claim →       │─────►│ commit packs    │
//!  │        (walk, compare, read)        │batch │ compress → seal →    │packs │ publish index   │
//!  └─────────────────────────────────────┘      │ verify → pack (seal) │      │ commit root     │
//!        ▲ bounded by the budget                └──────────┬───────────┘      └─────────────────┘
//!        └── buffers come back ───────────────────────────┘        queue: 2 packs
//!            finished files and directories travel up (work)
//! ```
//!
//! Invariants
//! - Memory: buffers of plaintext come out of one budget; each worker adds one batch of sealed bytes
//!   and its compression context.
//! - Nothing is visible before it is complete: packs, then the index, then the root (`protocol`).
//! - Whatever ends a run, its presence is taken back before [`run`] returns.

mod buffer;
pub mod compare;
mod cut;
pub mod pack;
pub mod parent;
mod publish;
mod read;
mod run;
mod seal;
mod stream;
mod targets;
mod walk;
mod work;

use std::{
    fmt,
    io::Read,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{runtime::Handle, sync::mpsc};
use windlass_format::time::Timestamp;

use crate::{
    budget::Budget,
    cancel::Cancel,
    clock::Zone,
    fault::{Class, Fault},
    filter::Filter,
    index::Index,
    model::{
        chunk::ChunkKey,
        root::{Root, RootId, Summary},
    },
    monitor::{Event, Monitor, Phase},
    owner::Owners,
    protocol::{Access, AnnounceError, Announcement, Presence},
    repository::Repository,
    store::{Store, nowhere::Nowhere},
};
use compare::{Policy, Reason};
use parent::ParentChoice;
pub use run::Problem;
use run::{Figures, Problems, Run};
use targets::Targets;

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

/// Where a backup comes from.
enum Origin {
    Targets(Targets),
    Stream(Stream),
}

impl Origin {
    /// The absolute paths to note.
    fn paths(&self) -> Vec<String> {
        match self {
            Self::Targets(targets) => targets.paths(),
            Self::Stream(stream) => vec![stream.path.to_string_lossy().into_owned()],
        }
    }
}

/// Packs that wait for the store at most.
const PACK_QUEUE: usize = 2;

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
    /// No root is written if nothing differs from the parent.
    pub skip_if_unchanged: bool,
    /// How long to wait for others' locks.
    pub lock_patience: Duration,
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
            skip_if_unchanged: false,
            lock_patience: Duration::ZERO,
        }
    }
}

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

/// Backs up `options.targets`.
///
/// Cancelling through `cancel` stops within a second and leaves no lock; what was stored until then
/// is found again by the next run.
pub async fn run(
    repository: &Repository,
    options: Options,
    monitor: Arc<dyn Monitor>,
    cancel: &Cancel,
) -> Result<Report, BackupError> {
    let origin = Origin::Targets(Targets::look_at(&options.targets, &options.base)?);
    run_from(repository, origin, options, monitor, cancel).await
}

/// Backs up one stream as one file; `options.targets` and the rules for files play no part.
pub async fn run_stream(
    repository: &Repository,
    stream: Stream,
    options: Options,
    monitor: Arc<dyn Monitor>,
    cancel: &Cancel,
) -> Result<Report, BackupError> {
    run_from(repository, Origin::Stream(stream), options, monitor, cancel).await
}

async fn run_from(
    repository: &Repository,
    origin: Origin,
    options: Options,
    monitor: Arc<dyn Monitor>,
    cancel: &Cancel,
) -> Result<Report, BackupError> {
    let environment = repository.environment();
    let started = environment.clock.now();
    // A child: cancelled by the caller, by a lost lock and by a failing stage alike.
    let cancel = cancel.child();
    let presence = if options.dry_run {
        Presence::Silent
    } else {
        monitor.event(Event::Phase(Phase::Lock));
        let announcement = Announcement {
            access: Access::Shared,
            hostname: options.hostname.clone(),
            username: options.username.clone(),
            patience: options.lock_patience,
        };
        repository.protocol().announce(&announcement, &cancel).await?
    };
    let presence = Arc::new(presence);
    let result = announced(repository, origin, options, monitor, &cancel, started, &presence).await;
    // The publisher is gone by now, so this is the last one.
    if let Some(presence) = Arc::into_inner(presence) {
        let released = presence.release().await;
        if result.is_ok() {
            released?;
        }
    }
    result
}

async fn announced(
    repository: &Repository,
    origin: Origin,
    options: Options,
    monitor: Arc<dyn Monitor>,
    cancel: &Cancel,
    started: Timestamp,
    presence: &Arc<Presence>,
) -> Result<Report, BackupError> {
    let paths = origin.paths();
    // Roots first, the index second: every root that is seen is fully indexed then.
    monitor.event(Event::Phase(Phase::Index));
    let parent = parent::find(repository, &options, &paths, started).await?;
    monitor.event(Event::Parent(parent.as_ref().map(|(id, _)| id)));
    let index = repository.index_to_write().await?;
    monitor.event(Event::Phase(Phase::Transfer));
    let outcome = transfer(
        repository, &options, origin, started, &parent, &index, &monitor, cancel, presence,
    );
    let (top, figures, problems, published) = outcome.await?;
    if !options.dry_run {
        repository.keep_index(index).await;
    }
    let report = |root: Option<RootId>, summary| Report {
        root,
        parent: parent.as_ref().map(|(id, _)| id.clone()),
        summary,
        read_for: Reason::ALL
            .into_iter()
            .zip(figures.read_for.iter().map(|count| count.load(Ordering::Relaxed)))
            .collect(),
        vanished: figures.vanished.load(Ordering::Relaxed),
        problem_count: problems.count,
        problems: problems.first.clone(),
    };
    let clock = &repository.environment().clock;
    let summary = figures.summary(started, clock.now());
    let found = summary.total_files + summary.dirs_new + summary.dirs_changed;
    if problems.count > 0 && found + summary.dirs_unmodified == 0 {
        return Err(BackupError::Empty);
    }
    let unchanged = parent.as_ref().is_some_and(|(_, parent)| parent.tree == top);
    if options.dry_run || (options.skip_if_unchanged && unchanged) {
        return Ok(report(None, summary));
    }
    monitor.event(Event::Phase(Phase::Publish));
    let root = Root {
        time: options.time.unwrap_or(started),
        parent: parent.as_ref().map(|(id, _)| id.clone()),
        tree: top,
        paths,
        hostname: options.hostname,
        username: options.username,
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        excludes: options.excludes,
        tags: options.tags,
        original: None,
        description: String::new(),
        program: options.program,
        summary: Some(summary),
    };
    let id = repository.protocol().commit_root(presence, published, &root).await?;
    Ok(report(Some(id), summary))
}

/// The pipeline itself: everything between finding the parent and committing the root.
#[expect(clippy::too_many_arguments, reason = "the one place where all of it meets")]
async fn transfer(
    repository: &Repository,
    options: &Options,
    origin: Origin,
    started: Timestamp,
    parent: &Option<(RootId, Root)>,
    index: &Arc<Index>,
    monitor: &Arc<dyn Monitor>,
    cancel: &Cancel,
    presence: &Arc<Presence>,
) -> Result<(ChunkKey, Figures, Problems, crate::protocol::Published), Fault> {
    let resources = &repository.environment().resources;
    let encoder = repository.dialect().encoder()?;
    let store = if options.dry_run { Store::new(Nowhere) } else { repository.store().clone() };
    let (finished, packs) = mpsc::channel(PACK_QUEUE);
    let publisher = publish::Publisher {
        store: store.clone(),
        dialect: repository.dialect().clone(),
        protocol: repository.protocol().clone(),
        presence: Arc::clone(presence),
        index: Arc::clone(index),
        cancel: cancel.clone(),
        dry_run: options.dry_run,
    };
    let publisher = tokio::spawn(publisher.run(packs));
    let workers = seal::Workers::new(
        resources.cpus,
        &encoder,
        &repository.environment().entropy,
        || pack::PackSet::new(store.clone(), encoder.clone(), options.pack_bytes),
        &finished,
    )?;
    drop(finished);
    let source_threads = match options.source_threads {
        0 => resources.cpus.max(2),
        threads => threads,
    };
    let note = format!(
        "{}; {} worker threads, {source_threads} source threads, {} MiB of buffers",
        resources.because,
        resources.cpus,
        resources.buffers() >> 20
    );
    monitor.event(Event::Note(&note));
    let run = Arc::new(Run::new(
        cancel.clone(),
        Budget::new(resources.buffers()),
        encoder.cutter().clone(),
        options.policy,
        Arc::clone(index),
        Arc::clone(monitor),
        workers,
        Arc::clone(repository.pool()),
    ));
    let walk = walk::Walk {
        run: Arc::clone(&run),
        reader: crate::reader::Reader::new(
            repository.store().clone(),
            repository.dialect().clone(),
            Arc::clone(index),
            Handle::current(),
        ),
        rules: walk::Rules {
            policy: options.policy,
            filter: options.filter.clone(),
            one_file_system: options.one_file_system,
            with_atime: options.with_atime,
            zone: Zone::system(),
            turn: parent::turn(parent.as_ref().map(|(id, _)| id)),
        },
        owners: Owners::default(),
        queue: walk::Queue::default(),
    };
    let old_top = parent.as_ref().map(|(_, root)| root.tree);
    let stop = {
        let (run, cancel) = (Arc::clone(&run), cancel.clone());
        tokio::spawn(async move {
            cancel.cancelled().await;
            run.fail(Fault::Cancelled);
        })
    };
    let blocking = tokio::task::spawn_blocking(move || -> Result<_, Fault> {
        match origin {
            Origin::Targets(targets) => walk.start(&targets, old_top),
            Origin::Stream(stream) => {
                if let Err(fault) = walk.stream(stream, old_top, started) {
                    run.fail(fault);
                }
            }
        }
        std::thread::scope(|scope| {
            for _thread in 0..source_threads {
                scope.spawn(|| walk.source_thread());
            }
        });
        drop(walk);
        let top = run.wait_idle()?;
        Ok((run, top))
    });
    let walked = blocking.await.unwrap_or(Err(Fault::Bug("a source thread panicked")));
    stop.abort();
    let _aborted = stop.await;
    // Whatever happened: the senders are gone with the workers, and the publisher comes to its end.
    let flushed = match walked {
        Ok((run, top)) => {
            let flush = tokio::task::spawn_blocking(move || {
                let (workers, figures, problems) = run::into_parts(run)?;
                workers.finish()?;
                Ok((top, figures, problems))
            });
            flush.await.unwrap_or(Err(Fault::Bug("flushing packs panicked")))
        }
        Err(fault) => Err(fault),
    };
    let published = publisher.await.unwrap_or(Err(Fault::Bug("the publisher panicked")));
    // A failing store makes both ends fail; what it said is worth more than "cancelled".
    match (flushed, published) {
        (Ok((top, figures, problems)), Ok(published)) => Ok((top, figures, problems, published)),
        (Err(Fault::Cancelled), Err(fault)) | (Err(fault), _) | (Ok(_), Err(fault)) => Err(fault),
    }
}
