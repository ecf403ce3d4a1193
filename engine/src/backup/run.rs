//! What all stages of one backup share.
//!
//! Invariants
//! - The first failure wins: it cancels the run, closes the budget and is what the caller hears.
//! - The run is over when no source thread and no batch is left ([`Run::wait_idle`]).

use std::sync::{
    Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use super::{
    buffer::Buffers,
    compare::{self, Policy, Reason},
    read::Done,
    seal::{Added, Batch, Workers},
    telling::{Began, Listener, Told},
    work::{Account, DirWork, FileDone, Finished, Outcome},
};
use crate::{
    budget::Budget,
    cancel::Cancel,
    fault::Fault,
    index::Index,
    model::{
        chunk::{ChunkKey, Role},
        directory::{Entry, Kind},
        root::Summary,
    },
    monitor::{Action, Event, ItemKind, Monitor},
};
use windlass_format::{cut::Cutter, time::Timestamp};

/// The shared state of a backup.
pub(super) struct Run {
    pub(super) cancel: Cancel,
    pub(super) budget: Budget,
    pub(super) buffers: Arc<Buffers>,
    pub(super) cutter: Cutter,
    pub(super) index: Arc<Index>,
    pub(super) policy: Policy,
    pub(super) zero_chunk: OnceLock<ChunkKey>,
    pub(super) monitor: Arc<dyn Monitor>,
    pub(super) figures: Figures,
    pub(super) account: Arc<Account>,
    pub(super) problems: Mutex<Problems>,
    workers: Workers,
    pub(super) pool: Arc<rayon::ThreadPool>,
    state: Mutex<State>,
    tasks: Arc<Tasks>,
}

#[derive(Debug, Default)]
struct State {
    top: Option<ChunkKey>,
    failure: Option<Fault>,
}

/// How many tasks are on the pool. Outlives the run by the moment in which its last task lets go
/// of it, so that whoever waited is the only holder then.
#[derive(Debug, Default)]
struct Tasks {
    count: Mutex<usize>,
    none_left: Condvar,
}

impl Tasks {
    fn begin(&self) {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    }

    fn end(&self) {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        *count -= 1;
        if *count == 0 {
            self.none_left.notify_all();
        }
    }

    fn wait(&self) {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        while *count > 0 {
            count = self.none_left.wait(count).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The figures of a backup while it runs.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) files_new: AtomicU64,
    pub(super) files_changed: AtomicU64,
    pub(super) files_unmodified: AtomicU64,
    pub(super) dirs_new: AtomicU64,
    pub(super) dirs_changed: AtomicU64,
    /// Those that were encoded all the same; the others are booked where they keep their key.
    pub(super) dirs_unmodified: AtomicU64,
    pub(super) data_chunks: AtomicU64,
    pub(super) meta_chunks: AtomicU64,
    pub(super) added_bytes: AtomicU64,
    pub(super) added_stored_bytes: AtomicU64,
    pub(super) total_files: AtomicU64,
    pub(super) total_bytes: AtomicU64,
    pub(super) vanished: AtomicU64,
    pub(super) read_for: [AtomicU64; Reason::ALL.len()],
}

/// What could not be backed up.
#[derive(Debug, Default)]
pub(super) struct Problems {
    pub(super) count: u64,
    pub(super) first: Vec<Problem>,
}

/// One thing that could not be backed up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub path: Vec<u8>,
    /// Why.
    pub error: String,
}

/// Problems kept with their names; more are only counted.
const PROBLEMS_NAMED: usize = 100;

impl Run {
    #[expect(clippy::too_many_arguments, reason = "called once, by the pipeline")]
    pub(super) fn new(
        cancel: Cancel,
        budget: Budget,
        cutter: Cutter,
        policy: Policy,
        index: Arc<Index>,
        monitor: Arc<dyn Monitor>,
        workers: Workers,
        pool: Arc<rayon::ThreadPool>,
    ) -> Self {
        let account = Account { kept: AtomicU64::new(0), listener: Listener::new(&monitor) };
        Self {
            cancel,
            budget,
            buffers: Arc::default(),
            cutter,
            policy,
            index,
            zero_chunk: OnceLock::new(),
            monitor,
            figures: Figures::default(),
            account: Arc::new(account),
            problems: Mutex::default(),
            workers,
            pool,
            state: Mutex::default(),
            tasks: Arc::default(),
        }
    }

    /// Hands a batch to the workers.
    pub(super) fn spawn_batch(self: &Arc<Self>, batch: Batch) {
        self.spawn(move |run| run.workers.batch(run, batch));
    }

    /// Passes on what a source thread has finished.
    pub(super) fn pass_on(self: &Arc<Self>, finished: Finished) {
        match finished {
            Finished::Nothing => {}
            Finished::Top(key) => self.top_done(key),
            Finished::Encode(dir) => self.spawn(move |run| run.workers.directory(run, dir)),
        }
    }

    /// Settles a finished file from a source thread.
    pub(super) fn pass_on_file(self: &Arc<Self>, done: Done) {
        if let Some((dir, file)) = done {
            let finished = self.file_done(&dir, file);
            self.pass_on(finished);
        }
    }

    fn spawn(self: &Arc<Self>, task: impl FnOnce(&Self) -> Result<(), Fault> + Send + 'static) {
        self.tasks.begin();
        let run = Arc::clone(self);
        self.pool.spawn(move || {
            if !run.cancel.is_cancelled()
                && let Err(fault) = task(&run)
            {
                run.fail(fault);
            }
            let tasks = Arc::clone(&run.tasks);
            drop(run);
            tasks.end();
        });
    }

    /// Ends the run with `fault`, unless another one came first.
    pub(super) fn fail(&self, fault: Fault) {
        let mut state = self.lock();
        if state.failure.is_none() {
            state.failure = Some(fault);
        }
        drop(state);
        self.cancel.cancel();
        self.budget.close();
    }

    /// Waits until no task is left; then the key of the top directory.
    pub(super) fn wait_idle(&self) -> Result<ChunkKey, Fault> {
        self.tasks.wait();
        let mut state = self.lock();
        if let Some(fault) = state.failure.take() {
            return Err(fault);
        }
        if self.cancel.is_cancelled() {
            return Err(Fault::Cancelled);
        }
        state.top.ok_or(Fault::Bug("the walk ended before the top directory was complete"))
    }

    pub(super) fn top_done(&self, key: ChunkKey) {
        self.lock().top = Some(key);
    }

    /// Books a finished file and settles it in its directory.
    pub(super) fn file_done(&self, dir: &Arc<DirWork>, file: FileDone) -> Finished {
        let Some(mut entry) = file.entry else {
            return dir.child_done(file.slot, Outcome::Omit);
        };
        let size_bytes = match entry.kind {
            Kind::File { size_bytes, .. } => size_bytes,
            _ => 0,
        };
        let action = match file.old {
            None => {
                Figures::bump(&self.figures.files_new);
                Action::New
            }
            Some(old) if compare::same_after_reading(self.policy, &old, &entry) => {
                entry = old;
                Figures::bump(&self.figures.files_unmodified);
                Action::Unchanged
            }
            Some(_) => {
                Figures::bump(&self.figures.files_changed);
                Action::Modified
            }
        };
        if action != Action::Unchanged {
            dir.alter();
        }
        self.count_file(size_bytes);
        self.tell(dir, &entry, action, size_bytes, (file.added, file.began));
        dir.child_done(file.slot, Outcome::File(entry))
    }

    /// Books a directory that was encoded under `key`, of which this was new.
    pub(super) fn dir_done(&self, dir: &DirWork, key: ChunkKey, added: Added) {
        if dir.is_top() {
            return;
        }
        let (counter, action) = if dir.is_new() {
            (&self.figures.dirs_new, Action::New)
        } else if dir.old == Some(key) {
            (&self.figures.dirs_unmodified, Action::Unchanged)
        } else {
            (&self.figures.dirs_changed, Action::Modified)
        };
        Figures::bump(counter);
        dir.tell(action, added);
    }

    /// Books a file as dealt with.
    pub(super) fn count_file(&self, size_bytes: u64) {
        self.figures.total_files.fetch_add(1, Ordering::Relaxed);
        self.figures.total_bytes.fetch_add(size_bytes, Ordering::Relaxed);
        let counters = self.monitor.counters();
        counters.files_done.add(1);
        counters.bytes_done.add(size_bytes);
    }

    /// Books bytes read from the source.
    pub(super) fn count_read(&self, bytes: u64) {
        self.monitor.counters().bytes_read.add(bytes);
    }

    /// Books a chunk that was stored.
    pub(super) fn count_added(&self, role: Role, added: Added) {
        if added.stored_bytes == 0 {
            return;
        }
        Figures::bump(match role {
            Role::File => &self.figures.data_chunks,
            Role::Directory | Role::Links => &self.figures.meta_chunks,
        });
        self.figures.added_bytes.fetch_add(added.raw_bytes, Ordering::Relaxed);
        self.figures.added_stored_bytes.fetch_add(added.stored_bytes, Ordering::Relaxed);
        let counters = self.monitor.counters();
        counters.bytes_added.add(added.raw_bytes);
        counters.stored_bytes_added.add(added.stored_bytes);
    }

    /// Tells whoever listens of an entry that needed no reading.
    pub(super) fn item(&self, dir: &DirWork, entry: &Entry, action: Action, size_bytes: u64) {
        self.tell(dir, entry, action, size_bytes, (Added::default(), Began::default()));
    }

    fn tell(
        &self,
        dir: &DirWork,
        entry: &Entry,
        action: Action,
        size_bytes: u64,
        (added, began): (Added, Began),
    ) {
        let kind = ItemKind::from(&entry.kind);
        let told = Told { action, kind, size_bytes, added, began };
        self.account.listener.tell(|| dir.path_of(&entry.name), told);
    }

    /// Tells of something that a rule leaves out, where someone listens.
    pub(super) fn left_out(&self, source_path: &[u8]) {
        let told = Told {
            action: Action::Skipped,
            kind: ItemKind::Other,
            size_bytes: 0,
            added: Added::default(),
            began: Began::default(),
        };
        self.account.listener.tell(|| source_path.to_vec(), told);
    }

    /// Tells that a file begins to be read, where someone listens; its path goes to
    /// [`Self::read`].
    pub(super) fn reading(&self, path: impl FnOnce() -> Vec<u8>) -> Option<Vec<u8>> {
        let path = self.monitor.wants_current().then(path)?;
        self.monitor.event(Event::Reading { path: &path });
        Some(path)
    }

    /// Tells that it was read, or cannot be.
    pub(super) fn read(&self, path: Option<Vec<u8>>) {
        if let Some(path) = path {
            self.monitor.event(Event::Read { path: &path });
        }
    }

    /// Tells of something that cannot be backed up; the run goes on.
    pub(super) fn problem(&self, path: &[u8], error: &(dyn std::error::Error + 'static)) {
        self.monitor.counters().problems.add(1);
        self.monitor.event(Event::Problem { path, error });
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        problems.count += 1;
        if problems.first.len() < PROBLEMS_NAMED {
            problems.first.push(Problem { path: path.to_vec(), error: error.to_string() });
        }
    }

    /// Whether these bytes are the chunk that a run of zeros is cut into.
    pub(super) fn is_zero_chunk(&self, plain: &[u8]) -> bool {
        self.cutter.zero_run() == Some(plain.len()) && is_zero(plain)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes an idle run apart, for the flush of its workers.
pub(super) fn into_parts(run: Arc<Run>) -> Result<(Workers, Figures, Problems), Fault> {
    let run = Arc::into_inner(run).ok_or(Fault::Bug("a stage holds on to a run that is over"))?;
    let problems = run.problems.into_inner().unwrap_or_else(PoisonError::into_inner);
    let figures = run.figures;
    figures.dirs_unmodified.fetch_add(run.account.kept.load(Ordering::Relaxed), Ordering::Relaxed);
    Ok((run.workers, figures, problems))
}

impl Figures {
    /// The figures so far.
    pub(super) fn summary(&self, started: Timestamp, ended: Timestamp) -> Summary {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Summary {
            started: Some(started),
            ended: Some(ended),
            files_new: value(&self.files_new),
            files_changed: value(&self.files_changed),
            files_unmodified: value(&self.files_unmodified),
            dirs_new: value(&self.dirs_new),
            dirs_changed: value(&self.dirs_changed),
            dirs_unmodified: value(&self.dirs_unmodified),
            data_chunks: value(&self.data_chunks),
            meta_chunks: value(&self.meta_chunks),
            added_bytes: value(&self.added_bytes),
            added_stored_bytes: value(&self.added_stored_bytes),
            total_files: value(&self.total_files),
            total_bytes: value(&self.total_bytes),
        }
    }

    /// Books why a file is read.
    pub(super) fn count_reason(&self, reason: Reason) {
        if let Some(at) = Reason::ALL.iter().position(|other| *other == reason) {
            Self::bump(&self.read_for[at]);
        }
    }

    pub(super) fn bump(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    let (blocks, rest) = bytes.as_chunks::<64>();
    blocks.iter().all(|block| *block == [0; 64]) && rest.iter().all(|byte| *byte == 0)
}
