//! Backup: one pipeline from a directory tree to a root in the repository.
//!
//! ```text
//!  source threads (options.source_threads)        worker pool (CPUs)            runtime
//!  ┌─────────────────────────────────────┐      ┌──────────────────────┐      ┌─────────────────┐
//!  │ list → stat → compare → read → cut  │─────►│ hash → claim →       │─────►│ commit packs    │
//!  │        (walk, compare, read)        │batch │ compress → seal →    │packs │ publish index   │
//!  └─────────────────────────────────────┘      │ verify → pack (seal) │      │ commit root     │
//!        ▲ bounded by the budget                └──────────┬───────────┘      └─────────────────┘
//!        └── buffers come back ───────────────────────────┘        queue: 2 packs, and those that
//!            finished files and directories travel up (work)        wait for the announcement
//! ```
//!
//! Invariants
//! - Memory: buffers of plaintext come out of one budget; each worker adds one batch of sealed bytes
//!   and its compression context.
//! - Nothing is visible before it is complete: packs, then the index, then the root (`protocol`).
//! - Reading and packing begin when the announcement can be seen (far away, the index is asked for
//!   at the same time), storing when it has settled; what was read and packed is thrown away and
//!   begun again where others turn out to be in the way.
//! - Whatever ends a run, its presence is taken back before [`run`] returns.

mod buffer;
pub mod compare;
mod cut;
mod item;
mod listing;
mod options;
pub mod parent;
mod publish;
mod queue;
mod read;
mod report;
mod run;
mod sample;
mod seal;
mod stream;
mod targets;
mod telling;
mod walk;
mod work;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
};

use tokio::sync::{mpsc, oneshot};
use windlass_format::time::Timestamp;

use crate::{
    budget::Budget,
    cancel::Cancel,
    clock::Zone,
    fault::Fault,
    model::{
        chunk::ChunkKey,
        root::{Root, RootId},
    },
    monitor::{Event, Monitor, Phase},
    owner::Owners,
    packing::{FinishedPack, PackSet},
    protocol::{Access, Announcement, Patience, Pending, Presence, Published, Segments, Swept},
    repository::{Loaded, Repository},
    store::{Failure, Store, nowhere::Nowhere},
};
use compare::{Policy, Reason};
pub use options::{Options, SkipUnchanged, Stream};
pub use report::{BackupError, Report};
pub use run::Problem;
use run::{Figures, Problems, Run};
use sample::Sample;
use targets::Targets;

/// Where a backup comes from.
#[derive(Clone)]
enum Origin {
    Targets(Arc<Targets>),
    /// Taken out by the attempt that reads it.
    Stream {
        path: PathBuf,
        stream: Arc<Mutex<Option<Stream>>>,
    },
}

impl Origin {
    /// The absolute paths to note.
    fn paths(&self) -> Vec<String> {
        match self {
            Self::Targets(targets) => targets.paths(),
            Self::Stream { path, .. } => vec![path.to_string_lossy().into_owned()],
        }
    }
}

/// Packs that wait for the store at most.
const PACK_QUEUE: usize = 2;

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
    let targets = Targets::look_at(&options.targets, &options.base)?;
    let origin = Origin::Targets(Arc::new(targets));
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
    let path = stream.path.clone();
    let origin = Origin::Stream { path, stream: Arc::new(Mutex::new(Some(stream))) };
    run_from(repository, origin, options, monitor, cancel).await
}

async fn run_from(
    repository: &Repository,
    origin: Origin,
    options: Options,
    monitor: Arc<dyn Monitor>,
    cancel: &Cancel,
) -> Result<Report, BackupError> {
    let started = repository.environment().clock.now();
    let mut patience = Patience::new(options.lock_patience).told(options.listener.clone());
    let backup = Backup { repository, origin, options, monitor, cancel, started };
    loop {
        match backup.attempt(&mut patience).await {
            // Others were in the way; nothing but reading was done.
            Err(BackupError::Announce(error)) => {
                patience.outlast(error, cancel).await?;
                backup.monitor.counters().begin_again();
            }
            result => return result,
        }
    }
}

/// A backup that may take several attempts.
struct Backup<'a> {
    repository: &'a Repository,
    origin: Origin,
    options: Options,
    monitor: Arc<dyn Monitor>,
    cancel: &'a Cancel,
    started: Timestamp,
}

/// The backup to compare with.
type Parent = Option<(RootId, Root)>;

/// What is known before the source is looked at.
struct Before {
    parent: Parent,
    /// What is read again although it looks unchanged.
    sample: Option<Sample>,
    loaded: Loaded,
}

/// What the pipeline leaves behind.
struct Transferred {
    top: ChunkKey,
    figures: Figures,
    problems: Problems,
    published: Published,
}

impl Backup<'_> {
    async fn attempt(&self, patience: &mut Patience) -> Result<Report, BackupError> {
        // A child: cancelled by the caller, by a lost lock and by a failing stage alike.
        let cancel = self.cancel.child();
        let (pending, before) = if self.options.dry_run {
            (Pending::Silent, self.prepare().await)
        } else {
            self.monitor.event(Event::Phase(Phase::Lock));
            let announcement = Announcement {
                access: Access::Shared,
                hostname: self.options.holder.as_ref().unwrap_or(&self.options.hostname).clone(),
                username: self.options.username.clone(),
                patience: self.options.lock_patience,
                lineage: self.options.lineage.clone(),
                listener: self.options.listener.clone(),
            };
            // What is read before others can see it is proved with the rest when it settles. Whoever
            // had to wait for others reads what they left.
            let beside = self.repository.store().capabilities().remote && !patience.was_needed();
            let protocol = self.repository.protocol();
            let announce = protocol.announce_early(&announcement, patience, &cancel);
            if beside {
                let (pending, before) = tokio::join!(announce, self.prepare());
                (pending?, before)
            } else {
                (announce.await?, self.prepare().await)
            }
        };
        let (presence, mut result) = self.announced(pending, before, &cancel).await;
        // The publisher is gone by now, so this is the last one.
        if let Some(presence) = presence {
            if result.is_ok() {
                self.sweep(&presence).await;
            }
            match (presence.release().await, &mut result) {
                (Err(Fault::Store(error)), Ok(report)) if error.failure == Failure::Denied => {
                    report.lock_left = Some(error.to_string());
                }
                (Err(fault), Ok(_)) => return Err(fault.into()),
                (Ok(()), _) | (Err(_), Err(_)) => {}
            }
        }
        result
    }

    /// Removes what killed writers left; whether it could be is no part of the success.
    async fn sweep(&self, presence: &Presence) {
        let swept = self.repository.protocol().sweep(presence).await;
        if let Ok(Swept { files: files @ 1.., stored_bytes }) = swept {
            let note = format!("removed {files} files of killed writers, {stored_bytes} bytes");
            self.monitor.event(Event::Note(&note));
        }
    }

    async fn announced(
        &self,
        pending: Pending,
        before: Result<Before, BackupError>,
        cancel: &Cancel,
    ) -> (Option<Presence>, Result<Report, BackupError>) {
        let before = match before {
            Ok(before) => before,
            // It may come of reading what somebody is about to remove.
            Err(error) => {
                let protocol = self.repository.protocol();
                return match protocol.settle(pending, &Segments::default(), self.cancel).await {
                    Ok(presence) => (Some(presence), Err(error)),
                    Err(in_the_way) => (None, Err(in_the_way.into())),
                };
            }
        };
        self.monitor.event(Event::Phase(Phase::Transfer));
        let (presence, transferred) = self.transfer(pending, &before, cancel).await;
        let result = match transferred {
            Ok(transferred) => {
                let Before { parent, sample, loaded } = before;
                if !self.options.dry_run {
                    self.repository.keep_index(loaded).await;
                }
                self.commit(presence.as_ref(), parent, sample, transferred).await
            }
            Err(error) => Err(error),
        };
        (presence, result)
    }

    async fn prepare(&self) -> Result<Before, BackupError> {
        // Roots first, the index second: every root that is seen is fully indexed then.
        self.monitor.event(Event::Phase(Phase::Index));
        let paths = self.origin.paths();
        let (parent, segments) =
            parent::find(self.repository, &self.options, &paths, self.started).await?;
        self.monitor.event(Event::Parent(parent.as_ref().map(|(id, _)| id)));
        let sample = self.sample(parent.as_ref().map(|(_, root)| root))?;
        if let Some(sample) = &sample {
            self.monitor.event(Event::Note(&sample.words()));
        }
        let loaded = self.repository.index_to_write(segments).await?;
        Ok(Before { parent, sample, loaded })
    }

    fn sample(&self, parent: Option<&Root>) -> Result<Option<Sample>, Fault> {
        let Policy::CloneAware { sample_every } = self.options.policy else { return Ok(None) };
        // A run that leaves no root counts for nothing.
        let last = parent.filter(|_root| self.options.skip_unchanged != SkipUnchanged::Always);
        let last = last.map(|root| root.program.as_str());
        let entropy = &self.repository.environment().entropy;
        Ok(Some(Sample::next(sample_every, last, entropy)?))
    }

    /// Makes what was transferred visible.
    async fn commit(
        &self,
        presence: Option<&Presence>,
        parent: Parent,
        sample: Option<Sample>,
        transferred: Transferred,
    ) -> Result<Report, BackupError> {
        let Self { repository, options, started, .. } = self;
        let Transferred { top, figures, problems, published } = transferred;
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
            lock_left: None,
        };
        let clock = &repository.environment().clock;
        let summary = figures.summary(*started, clock.now());
        let found = summary.total_files + summary.dirs_new + summary.dirs_changed;
        if problems.count > 0 && found + summary.dirs_unmodified == 0 {
            return Err(BackupError::Empty);
        }
        let unchanged = parent.as_ref().is_some_and(|(_, parent)| parent.tree == top);
        let skips = match options.skip_unchanged {
            SkipUnchanged::Never => false,
            SkipUnchanged::Partial => problems.count > 0,
            SkipUnchanged::Always => true,
        };
        if options.dry_run || (skips && unchanged) {
            return Ok(report(None, summary));
        }
        self.monitor.event(Event::Phase(Phase::Publish));
        let root = Root {
            time: options.time.unwrap_or(*started),
            parent: parent.as_ref().map(|(id, _)| id.clone()),
            tree: top,
            top: None,
            paths: self.origin.paths(),
            hostname: options.hostname.clone(),
            username: options.username.clone(),
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            excludes: options.excludes.clone(),
            tags: options.tags.clone(),
            original: None,
            description: String::new(),
            program: sample
                .map_or_else(|| options.program.clone(), |sample| sample.note(&options.program)),
            summary: Some(summary),
        };
        let presence = presence.ok_or(Fault::Bug("published without a presence"))?;
        let id = repository.protocol().commit_root(presence, published, &root).await?;
        Ok(report(Some(id), summary))
    }

    /// The pipeline itself: everything between finding the parent and committing the root.
    async fn transfer(
        &self,
        pending: Pending,
        before: &Before,
        cancel: &Cancel,
    ) -> (Option<Presence>, Result<Transferred, BackupError>) {
        let (finished, packs) = mpsc::channel(PACK_QUEUE);
        let (settled, has_settled) = oneshot::channel();
        let publisher = publish::Publisher {
            store: self.store(),
            dialect: self.repository.dialect().clone(),
            protocol: self.repository.protocol().clone(),
            loaded: before.loaded.clone(),
            cancel: cancel.clone(),
            asked_to_stop: self.cancel.clone(),
            dry_run: self.options.dry_run,
            in_flight: self.repository.environment().resources.in_flight(),
        };
        let publisher = tokio::spawn(publisher.run(pending, settled, packs));
        let flushed = self.fill_packs(before, cancel, finished, has_settled).await;
        // Whatever happened: the senders are gone with the workers, and the publisher comes to its
        // end.
        let (presence, published) = publisher
            .await
            .unwrap_or_else(|_panic| (None, Err(Fault::Bug("the publisher panicked").into())));
        let transferred = match (flushed, published) {
            (Ok((top, figures, problems)), Ok(published)) => {
                Ok(Transferred { top, figures, problems, published })
            }
            // Others in the way explain any failure to read.
            (_, Err(error @ BackupError::Announce(_))) => Err(error),
            // A failing store makes both ends fail; what it said is worth more than "cancelled".
            (Err(Fault::Cancelled), Err(error)) | (Ok(_), Err(error)) => Err(error),
            (Err(fault), _) => Err(fault.into()),
        };
        (presence, transferred)
    }

    /// Where packs and the index are stored.
    fn store(&self) -> Store {
        if self.options.dry_run { Store::new(Nowhere) } else { self.repository.store().clone() }
    }

    /// All stages before the publisher.
    async fn fill_packs(
        &self,
        before: &Before,
        cancel: &Cancel,
        finished: mpsc::Sender<FinishedPack>,
        has_settled: oneshot::Receiver<()>,
    ) -> Result<(ChunkKey, Figures, Problems), Fault> {
        let Self { repository, options, monitor, started, .. } = self;
        let Before { parent, sample, loaded } = before;
        let (index, started) = (&loaded.index, *started);
        let resources = &repository.environment().resources;
        let encoder = repository.dialect().encoder()?;
        let store = self.store();
        let workers = seal::Workers::new(
            resources.cpus,
            &encoder,
            &repository.environment().entropy,
            || PackSet::new(store.clone(), encoder.clone(), options.pack_bytes),
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
            reader: repository.reader_of(Arc::clone(index)),
            rules: walk::Rules {
                policy: options.policy,
                filter: options.filter.clone(),
                one_file_system: options.one_file_system,
                with_atime: options.with_atime,
                zone: Zone::system(),
                sample: *sample,
            },
            owners: Owners::default(),
            queue: queue::Queue::default(),
        };
        let old_top = parent.as_ref().map(|(_, root)| root.tree);
        let stop = {
            let (run, cancel) = (Arc::clone(&run), cancel.clone());
            tokio::spawn(async move {
                cancel.cancelled().await;
                run.fail(Fault::Cancelled);
            })
        };
        let origin = self.origin.clone();
        let blocking = tokio::task::spawn_blocking(move || -> Result<_, Fault> {
            match origin {
                Origin::Targets(targets) => walk.start(Targets::clone(&targets), old_top),
                Origin::Stream { stream, .. } => {
                    // What is read of a stream cannot be read again by another attempt.
                    has_settled.blocking_recv().map_err(|_in_the_way| Fault::Cancelled)?;
                    let stream = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
                    let stream = stream.ok_or(Fault::Bug("a stream was read before"))?;
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
        match walked {
            Ok((run, top)) => {
                let flush = tokio::task::spawn_blocking(move || {
                    let (workers, figures, problems) = run::into_parts(run)?;
                    workers.finish()?;
                    Ok((top, figures, problems))
                });
                flush.await.unwrap_or(Err(Fault::Bug("flushing packs panicked")))
            }
            Err(fault) => Err(fault),
        }
    }
}
