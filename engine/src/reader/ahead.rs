//! Directories decoded ahead of whoever walks a tree, by threads that may wait for a store.
//!
//! Invariants
//! - A directory is read once, by whoever comes first: the walker reads itself what nobody began.
//! - Whatever becomes of a directory that was begun, whoever waits for it is answered.
//! - Reading ahead stops while more than [`MOST_ENTRIES`] entries wait, so that what is in memory
//!   is bounded but for the size of single directories.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
};

use super::Reader;
use crate::{
    fault::Fault,
    model::{chunk::ChunkKey, directory::Directory},
};

/// Decoded entries that wait for the walker.
const MOST_ENTRIES: usize = 4096;
/// Directories asked for ahead, of each directory.
pub(crate) const DEPTH: usize = 16;

/// The request of one directory.
#[derive(Debug)]
pub(crate) struct Wanted {
    key: ChunkKey,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
enum State {
    Waiting,
    Taken,
    Ready(Result<Directory, Fault>),
}

/// Hands requests to the threads that read ahead.
#[derive(Clone)]
pub(crate) struct Ahead {
    requests: mpsc::Sender<Arc<Wanted>>,
    ready_entries: Arc<AtomicUsize>,
}

/// What a thread that reads ahead listens to.
pub(crate) struct Requests {
    requests: Mutex<mpsc::Receiver<Arc<Wanted>>>,
    ready_entries: Arc<AtomicUsize>,
}

/// A pair of ends.
pub(crate) fn channel() -> (Ahead, Requests) {
    let (sender, receiver) = mpsc::channel();
    let ready_entries = Arc::new(AtomicUsize::new(0));
    let requests = Mutex::new(receiver);
    (
        Ahead { requests: sender, ready_entries: Arc::clone(&ready_entries) },
        Requests { requests, ready_entries },
    )
}

impl Wanted {
    pub(crate) fn new(key: ChunkKey) -> Arc<Self> {
        Arc::new(Self { key, state: Mutex::new(State::Waiting), changed: Condvar::new() })
    }

    fn take_up(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_free = matches!(*state, State::Waiting);
        if is_free {
            *state = State::Taken;
        }
        is_free
    }
}

impl Ahead {
    /// Asks for a directory that will be wanted soon.
    pub(crate) fn request(&self, wanted: &Arc<Wanted>) {
        // Nobody listens any more only when the walk is over.
        let _over = self.requests.send(Arc::clone(wanted));
    }

    /// The directory, now.
    pub(crate) fn get(&self, reader: &Reader, wanted: &Wanted) -> Result<Directory, Fault> {
        if wanted.take_up() {
            return reader.directory(&wanted.key);
        }
        let mut state = wanted.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match std::mem::replace(&mut *state, State::Taken) {
                State::Ready(directory) => {
                    if let Ok(directory) = &directory {
                        self.ready_entries.fetch_sub(directory.entries.len(), Ordering::Relaxed);
                    }
                    return directory;
                }
                State::Waiting | State::Taken => {
                    state = wanted.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

impl Requests {
    /// Reads ahead until the walker is gone.
    pub(crate) fn serve(&self, reader: &Reader, is_stopped: impl Fn() -> bool) {
        loop {
            let request = self.requests.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(wanted) = request else { return };
            let is_full = self.ready_entries.load(Ordering::Relaxed) > MOST_ENTRIES;
            if is_full || is_stopped() || !wanted.take_up() {
                continue;
            }
            // What a panic leaves half done is the reader's cache, which can only be too small.
            let directory = catch_unwind(AssertUnwindSafe(|| reader.directory(&wanted.key)))
                .unwrap_or(Err(Fault::Bug("reading a directory panicked")));
            if let Ok(directory) = &directory {
                self.ready_entries.fetch_add(directory.entries.len(), Ordering::Relaxed);
            }
            *wanted.state.lock().unwrap_or_else(PoisonError::into_inner) = State::Ready(directory);
            wanted.changed.notify_all();
        }
    }
}
