//! Chunks opened ahead by several threads, given out in the order they were asked for.
//!
//! Invariants
//! - Plaintexts that wait, and what is being opened, take no more than the limit together, but for
//!   a single chunk that is larger than it. Chunks are begun in order, so the one that is waited
//!   for always gets its turn.
//! - Buffers are used again: a stream of any length touches the same memory.

use std::{
    collections::{HashMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use crate::{cancel::Cancel, fault::Fault, model::chunk::ChunkKey, reader::Reader};

/// Chunks asked for ahead.
const MOST_WANTED: usize = 64;
/// A buffer larger than this is not kept.
const KEPT_BYTES: usize = 4 << 20;
/// Buffers that are kept.
const MOST_KEPT: usize = 4;

/// Chunks on their way.
pub(super) struct Stream<'a> {
    reader: &'a Reader,
    limit_bytes: usize,
    cancel: &'a Cancel,
    state: Mutex<State>,
    /// There is something to begin.
    room: Condvar,
    /// There is something to take.
    ready: Condvar,
}

#[derive(Default)]
struct State {
    wanted: VecDeque<Wanted>,
    ready: HashMap<u64, (usize, Result<Vec<u8>, Fault>)>,
    held_bytes: usize,
    asked: u64,
    taken: u64,
    idle: Vec<Vec<u8>>,
    is_over: bool,
}

struct Wanted {
    number: u64,
    key: ChunkKey,
    bytes: usize,
}

impl<'a> Stream<'a> {
    pub(super) fn new(reader: &'a Reader, limit_bytes: usize, cancel: &'a Cancel) -> Self {
        Self {
            reader,
            limit_bytes,
            cancel,
            state: Mutex::default(),
            room: Condvar::new(),
            ready: Condvar::new(),
        }
    }

    /// Runs `work` with threads that open chunks for it.
    pub(super) fn run<T>(&self, openers: usize, work: impl FnOnce(&Self) -> T) -> T {
        std::thread::scope(|scope| {
            for _thread in 0..openers {
                scope.spawn(|| self.open_chunks());
            }
            // Also when the work panics, or the threads would wait for ever.
            let _end = End(self);
            work(self)
        })
    }

    /// Whether more chunks should be asked for.
    pub(super) fn has_room(&self) -> bool {
        let state = self.lock();
        state.asked - state.taken < MOST_WANTED as u64
    }

    /// Asks for a chunk.
    pub(super) fn want(&self, key: ChunkKey) {
        let at = self.reader.location(&key);
        let bytes = at.map_or(0, |at| at.raw_bytes as usize + at.stored_bytes as usize);
        let mut state = self.lock();
        let number = state.asked;
        state.asked += 1;
        state.wanted.push_back(Wanted { number, key, bytes });
        drop(state);
        self.room.notify_one();
    }

    /// The next of the chunks asked for; `None` where all were taken.
    pub(super) fn next(&self) -> Option<Result<Vec<u8>, Fault>> {
        let mut state = self.lock();
        let number = state.taken;
        if number == state.asked {
            return None;
        }
        loop {
            if self.cancel.is_cancelled() {
                return Some(Err(Fault::Cancelled));
            }
            if let Some((bytes, plain)) = state.ready.remove(&number) {
                state.taken += 1;
                state.held_bytes -= bytes;
                drop(state);
                self.room.notify_all();
                return Some(plain);
            }
            state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes a buffer back for the next chunk.
    pub(super) fn give_back(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut state = self.lock();
        if buffer.capacity() <= KEPT_BYTES && state.idle.len() < MOST_KEPT {
            state.idle.push(buffer);
        }
    }

    fn open_chunks(&self) {
        let mut state = self.lock();
        loop {
            if state.is_over {
                return;
            }
            let fits = |wanted: &Wanted| {
                state.held_bytes == 0 || state.held_bytes + wanted.bytes <= self.limit_bytes
            };
            if !state.wanted.front().is_some_and(fits) {
                state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let Some(wanted) = state.wanted.pop_front() else { continue };
            state.held_bytes += wanted.bytes;
            let mut plain = state.idle.pop().unwrap_or_default();
            drop(state);
            let result = match self.cancel.is_cancelled() {
                true => Err(Fault::Cancelled),
                // Nobody uses what a panic leaves half done; whoever waits is answered.
                false => catch_unwind(AssertUnwindSafe(|| {
                    self.reader.chunk(&wanted.key, &mut plain).map(|()| plain)
                }))
                .unwrap_or(Err(Fault::Bug("reading a chunk panicked"))),
            };
            state = self.lock();
            state.ready.insert(wanted.number, (wanted.bytes, result));
            self.ready.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends the threads home.
struct End<'a, 'b>(&'a Stream<'b>);

impl Drop for End<'_, '_> {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.room.notify_all();
    }
}
