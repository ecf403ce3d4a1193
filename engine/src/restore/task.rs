//! What all threads of one restore share: where from, where to, what was done, whether to stop.
//!
//! Invariants
//! - The first failure that ends the restore is the one reported; after it, and after a
//!   cancellation, every thread only empties its queue.
//! - A problem is counted, told to the monitor, and kept only among the first ones.

use std::{
    error::Error,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustix::io::Errno;
use tokio::runtime::Handle;

use super::{Options, Problem, Report, RestoreError, handles::Handles, owner::Owners};
use crate::{
    cancel::Cancel,
    dialect::Dialect,
    fault::{Class, Fault},
    index::Index,
    model::directory::Entry,
    monitor::{Action, Event, ItemKind, Monitor},
    reader::Reader,
    store::{Failure, Store},
    target::{Metadata, fs::metadata::Rules},
};

/// Problems that are kept with their words.
const KEPT_PROBLEMS: usize = 100;
/// Reads that failed with none succeeding between; then the store is gone, not one object.
const FAILURES_IN_A_ROW: usize = 32;

/// One restore.
pub(super) struct Task {
    pub(super) options: Options,
    pub(super) store: Store,
    pub(super) dialect: Dialect,
    pub(super) index: Arc<Index>,
    pub(super) reader: Reader,
    pub(super) runtime: Handle,
    pub(super) pool: Arc<rayon::ThreadPool>,
    pub(super) cpus: usize,
    pub(super) buffer_bytes: usize,
    pub(super) in_flight: usize,
    pub(super) monitor: Arc<dyn Monitor>,
    pub(super) cancel: Cancel,
    pub(super) handles: Handles,
    pub(super) owners: Owners,
    pub(super) privileged: bool,
    pub(super) done: Tallies,
    pub(super) state: State,
}

/// How far it is and what went wrong.
#[derive(Default)]
pub(super) struct State {
    fatal: Mutex<Option<RestoreError>>,
    is_stopped: AtomicBool,
    failures_in_a_row: AtomicUsize,
    problem_count: AtomicU64,
    problems: Mutex<Vec<Problem>>,
}

/// Figures of the report, while they grow.
#[derive(Default)]
pub(super) struct Tallies {
    pub(super) files_restored: AtomicU64,
    pub(super) files_updated: AtomicU64,
    pub(super) files_unchanged: AtomicU64,
    pub(super) dirs_restored: AtomicU64,
    pub(super) others_restored: AtomicU64,
    pub(super) skipped: AtomicU64,
    pub(super) deleted: AtomicU64,
    pub(super) bytes_written: AtomicU64,
    pub(super) bytes_reused: AtomicU64,
    pub(super) bytes_fetched: AtomicU64,
    pub(super) left_out: AtomicU64,
}

/// Adds to a figure.
pub(super) fn add(figure: &AtomicU64, amount: u64) {
    figure.fetch_add(amount, Ordering::Relaxed);
}

impl Task {
    /// Whether to do nothing more.
    pub(super) fn is_stopped(&self) -> bool {
        self.state.is_stopped.load(Ordering::Relaxed) || self.cancel.is_cancelled()
    }

    /// Ends the restore without a reason of its own.
    pub(super) fn abandon(&self) {
        self.state.is_stopped.store(true, Ordering::Relaxed);
    }

    /// Ends the restore.
    pub(super) fn fail(&self, error: RestoreError) {
        let mut fatal = self.state.fatal.lock().unwrap_or_else(PoisonError::into_inner);
        fatal.get_or_insert(error);
        self.state.is_stopped.store(true, Ordering::Relaxed);
    }

    /// How metadata is put back.
    pub(super) fn rules<'a>(&self, wants_xattr: &'a (dyn Fn(&[u8]) -> bool + Sync)) -> Rules<'a> {
        Rules { privileged: self.privileged, wants_xattr }
    }

    /// Whether the extended attribute `name` is the restore's business.
    pub(super) fn wants_xattr(&self, name: &[u8]) -> bool {
        self.options.xattrs.is_all() || self.options.xattrs.is_selected(name)
    }

    /// What is put back on `entry`.
    pub(super) fn metadata(&self, entry: &mut Entry) -> Metadata {
        let mut metadata = Metadata::of(entry, |name| self.wants_xattr(name));
        self.owners.map(self.options.ownership, entry, &mut metadata);
        metadata
    }

    /// Counts and tells a problem with the item at `path`.
    pub(super) fn problem(&self, path: &[u8], error: &(dyn Error + 'static)) {
        self.monitor.counters().problems.add(1);
        self.monitor.event(Event::Problem { path, error });
        let count = self.state.problem_count.fetch_add(1, Ordering::Relaxed);
        if count < KEPT_PROBLEMS as u64 {
            let error = error.to_string();
            let mut problems = self.state.problems.lock().unwrap_or_else(PoisonError::into_inner);
            problems.push(Problem { path: path.into(), error });
        }
    }

    /// A failure of the target: the end where nothing more can be written, a problem otherwise.
    pub(super) fn target_failed(&self, path: &[u8], error: io::Error) {
        match Errno::from_io_error(&error) {
            Some(Errno::NOSPC | Errno::DQUOT | Errno::ROFS | Errno::MFILE | Errno::NFILE) => {
                self.fail(RestoreError::Target {
                    path: String::from_utf8_lossy(path).into_owned(),
                    source: error,
                });
            }
            _ => self.problem(path, &error),
        }
    }

    /// A failure to read from the repository: the end where the store is not to be had; otherwise
    /// given back, for those who miss what was to be read.
    pub(super) fn ends_with(&self, fault: Fault) -> Option<Fault> {
        let is_denied = matches!(&fault, Fault::Store(error) if error.failure == Failure::Denied);
        let is_store = matches!(fault.class(), Class::Retry | Class::WrongInput);
        let in_a_row = match is_store {
            true => self.state.failures_in_a_row.fetch_add(1, Ordering::Relaxed) + 1,
            false => 0,
        };
        if is_denied || in_a_row >= FAILURES_IN_A_ROW {
            self.fail(fault.into());
            return None;
        }
        Some(fault)
    }

    /// A failure to read what the item at `path` needs.
    pub(super) fn read_failed(&self, path: &[u8], fault: Fault) {
        if let Some(fault) = self.ends_with(fault) {
            self.problem(path, &fault);
        }
    }

    /// The store answers.
    pub(super) fn read_succeeded(&self) {
        if self.state.failures_in_a_row.load(Ordering::Relaxed) != 0 {
            self.state.failures_in_a_row.store(0, Ordering::Relaxed);
        }
    }

    /// Tells what was done with an item; `path` is asked only where someone listens.
    pub(super) fn item(
        &self,
        path: impl FnOnce() -> Vec<u8>,
        action: Action,
        kind: ItemKind,
        size_bytes: u64,
        added_bytes: u64,
    ) {
        if self.monitor.wants_items() {
            let path = &path();
            self.monitor.event(Event::Item {
                path,
                action,
                kind,
                size_bytes,
                added_bytes,
                added_stored_bytes: 0,
                took: Duration::ZERO,
            });
        }
    }

    /// What was done, or why it ended.
    pub(super) fn finish(&self) -> Result<Report, RestoreError> {
        if let Some(error) = self.state.fatal.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            return Err(error);
        }
        if self.is_stopped() {
            return Err(RestoreError::Cancelled);
        }
        let of = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        let done = &self.done;
        let problems = self.state.problems.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(Report {
            files_restored: of(&done.files_restored),
            files_updated: of(&done.files_updated),
            files_unchanged: of(&done.files_unchanged),
            dirs_restored: of(&done.dirs_restored),
            others_restored: of(&done.others_restored),
            skipped: of(&done.skipped),
            deleted: of(&done.deleted),
            bytes_written: of(&done.bytes_written),
            bytes_reused: of(&done.bytes_reused),
            bytes_fetched: of(&done.bytes_fetched),
            left_out: of(&done.left_out),
            problem_count: of(&self.state.problem_count),
            problems,
        })
    }
}
