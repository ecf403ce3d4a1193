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

/// Buffers that were used before, the one that was given back last at the end. A large one costs
/// more page faults to replace than its content costs to read.
#[derive(Debug, Default)]
pub(super) struct Buffers(Mutex<Vec<Vec<u8>>>);

/// Idle buffers are not in the budget, so no more are kept than change hands at any moment.
const IDLE_BYTES: usize = 16 << 20;

/// How much larger than asked for a buffer may be: the budget knows only of what was asked for.
const MOST_WASTE: usize = 2;

impl Buffers {
    /// An empty buffer with room for `bytes`.
    pub(super) fn take(&self, bytes: usize) -> Vec<u8> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |buffer: &Vec<u8>| {
            (bytes..=bytes.saturating_mul(MOST_WASTE)).contains(&buffer.capacity())
        };
        // The one that was used last is in the caches still.
        let found = idle.iter().rposition(fits).map(|at| idle.remove(at));
        drop(idle);
        found.unwrap_or_else(|| Vec::with_capacity(bytes))
    }

    fn give_back(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(buffer);
        let mut bytes: usize = idle.iter().map(Vec::capacity).sum();
        let mut surplus = 0;
        while bytes > IDLE_BYTES && surplus < idle.len() {
            bytes -= idle[surplus].capacity();
            surplus += 1;
        }
        let surplus: Vec<Vec<u8>> = idle.drain(..surplus).collect();
        drop(idle);
        // Given back to the system without anyone waiting for it.
        drop(surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn a_buffer_is_used_again_where_it_fits_and_is_not_much_too_large() {
        let buffers = Arc::new(Buffers::default());
        let first = buffers.take(4 * MIB);
        let place = first.as_ptr();
        drop(Plain::new(first, None, &buffers));
        let (small, large) = (buffers.take(MIB), buffers.take(5 * MIB));
        assert!(small.as_ptr() != place && large.as_ptr() != place, "too large, too small");
        let again = buffers.take(3 * MIB);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
    }

    #[test]
    fn idle_buffers_are_few() {
        let buffers = Arc::new(Buffers::default());
        let taken: Vec<_> = (0..100).map(|_| buffers.take(MIB)).collect();
        for buffer in taken {
            drop(Plain::new(buffer, None, &buffers));
        }
        drop(Plain::new(buffers.take(8 * MIB), None, &buffers));
        let idle = buffers.0.lock().unwrap();
        let bytes: usize = idle.iter().map(Vec::capacity).sum();
        assert!((8 * MIB..=IDLE_BYTES).contains(&bytes), "{bytes}");
        assert_eq!(idle.last().map(Vec::capacity), Some(8 * MIB), "the newest is kept");
    }
}
