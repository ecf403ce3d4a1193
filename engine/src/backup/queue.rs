//! Directories that wait for a source thread.
//!
//! Invariants
//! - A stack, newest first, so that few are open at a time whatever the size of the tree.
//! - [`Queue::pop`] says that nothing is left only when no thread is at work on a directory, which
//!   could bring more.

use std::{
    collections::BTreeMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use super::{targets::Node, work::DirWork};
use crate::source::fs::Dir;

/// A directory that waits for its turn.
#[derive(Debug)]
pub(super) struct DirJob {
    pub(super) work: Arc<DirWork>,
    pub(super) at: At,
    /// The absolute path in the source.
    pub(super) path: Vec<u8>,
    /// The device of the target it belongs to.
    pub(super) device: u64,
    /// Whether it counts as empty: a mount point that is not to be crossed.
    pub(super) empty: bool,
}

/// How the entries of a directory are reached.
#[derive(Debug)]
pub(super) enum At {
    /// It only leads to targets: these names, each somewhere in the source.
    Leading(BTreeMap<Vec<u8>, Node>),
    /// By its path: a target of the backup.
    Target,
    /// By name, in an open one.
    Child(Arc<Dir>, Box<[u8]>),
}

/// The stack of waiting directories.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<DirJob>,
    busy: usize,
}

impl Queue {
    /// Puts directories on the stack; the last one is taken first.
    pub(super) fn push(&self, jobs: impl IntoIterator<Item = DirJob>) {
        self.lock().waiting.extend(jobs);
        self.changed.notify_all();
    }

    /// The next directory without waiting for one. Whoever takes it says when it is
    /// [`done`](Self::done).
    pub(super) fn try_pop(&self) -> Option<DirJob> {
        self.lock().take()
    }

    /// The next directory; `None` when none is left and none can come.
    pub(super) fn pop(&self) -> Option<DirJob> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.take() {
                return Some(job);
            }
            if state.busy == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A directory that was taken brings no others any more.
    pub(super) fn done(&self) {
        let mut state = self.lock();
        state.busy -= 1;
        if state.busy == 0 && state.waiting.is_empty() {
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self) -> Option<DirJob> {
        let job = self.waiting.pop()?;
        self.busy += 1;
        Some(job)
    }
}
