//! Plaintext between a source thread and the workers that share it.
//!
//! Invariants: its bytes are in the budget for as long as anyone holds it; then its room goes to
//! the next reader, so that a new buffer costs no page faults.

use std::sync::{Arc, Mutex, PoisonError};

use crate::budget::Held;

/// Plaintext that is complete. The last batch to let go of it gives its room back.
#[derive(Debug)]
pub(super) struct Plain {
    bytes: Vec<u8>,
    held: Option<Held>,
    home: Arc<Buffers>,
}

impl Plain {
    pub(super) fn new(bytes: Vec<u8>, held: Option<Held>, home: &Arc<Buffers>) -> Arc<Self> {
        Arc::new(Self { bytes, held, home: Arc::clone(home) })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        self.home.give_back(std::mem::take(&mut self.bytes));
        // Only now may the next reader ask for room.
        drop(self.held.take());
    }
}

/// Buffers that were used before. Idle ones are not in the budget, so only as many are kept as
/// change hands at any moment.
#[derive(Debug, Default)]
pub(super) struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    /// An empty buffer with room for `bytes`.
    pub(super) fn take(&self, bytes: usize) -> Vec<u8> {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The smallest that is large enough.
        let fitting = (0..free.len()).filter(|at| free[*at].capacity() >= bytes);
        match fitting.min_by_key(|at| free[*at].capacity()) {
            Some(at) => free.swap_remove(at),
            None => {
                free.clear();
                Vec::with_capacity(bytes)
            }
        }
    }

    fn give_back(&self, mut buffer: Vec<u8>) {
        const KEPT: usize = 2;
        buffer.clear();
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < KEPT {
            free.push(buffer);
        }
    }
}
