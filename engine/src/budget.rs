//! One memory budget for all buffers of an operation.
//!
//! Invariants
//! - What is held never exceeds the limit, but for a single request larger than the limit itself,
//!   which is served alone: a limit below one chunk slows down and never deadlocks.
//! - Waiters are served in the order in which they came.
//!
//! Not here: how large the limit is (`resources`).

use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// A number of bytes that buffers may take together. Clones share it.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limit_bytes: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    held_bytes: usize,
    next_ticket: u64,
    serving: u64,
    closed: bool,
}

/// Bytes taken from a budget; given back on drop.
#[derive(Debug)]
pub struct Held {
    budget: Arc<Shared>,
    bytes: usize,
}

impl Budget {
    /// A budget of `limit_bytes`.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        Self(Arc::new(Shared {
            limit_bytes,
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
        }))
    }

    /// Waits until `bytes` fit and takes them; `None` once the budget is [closed](Self::close).
    ///
    /// Blocks the thread: for source threads, never on a worker that others wait for.
    #[must_use]
    pub fn take(&self, bytes: usize) -> Option<Held> {
        let shared = &self.0;
        let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        loop {
            if state.closed {
                return None;
            }
            let fits = state.held_bytes == 0
                || state.held_bytes.saturating_add(bytes) <= shared.limit_bytes;
            if state.serving == ticket && fits {
                break;
            }
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.serving += 1;
        state.held_bytes += bytes;
        drop(state);
        shared.changed.notify_all();
        Some(Held { budget: Arc::clone(shared), bytes })
    }

    /// Wakes everyone who waits and lets nobody in again: the operation is over.
    pub fn close(&self) {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.0.changed.notify_all();
    }

    /// The limit.
    #[must_use]
    pub fn limit_bytes(&self) -> usize {
        self.0.limit_bytes
    }
}

impl Held {
    /// Gives part of the bytes back, keeping `bytes`.
    pub fn shrink(&mut self, bytes: usize) {
        let surplus = self.bytes.saturating_sub(bytes);
        self.bytes -= surplus;
        self.budget.give(surplus);
    }
}

impl Shared {
    fn give(&self, bytes: usize) {
        if bytes > 0 {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.held_bytes -= bytes;
            drop(state);
            self.changed.notify_all();
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.give(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_waits_until_it_fits() {
        let budget = Budget::new(10);
        let first = budget.take(8).expect("open");
        let waiter = std::thread::spawn({
            let budget = budget.clone();
            move || budget.take(5).map(|held| held.bytes)
        });
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(!waiter.is_finished());
        drop(first);
        assert_eq!(waiter.join().expect("no panic"), Some(5));
    }

    #[test]
    fn a_request_over_the_limit_is_served_alone() {
        let budget = Budget::new(10);
        let held = budget.take(100).expect("open");
        assert_eq!(held.bytes, 100);
    }

    #[test]
    fn closing_wakes_waiters_empty_handed() {
        let budget = Budget::new(10);
        let _all = budget.take(10).expect("open");
        let waiter = std::thread::spawn({
            let budget = budget.clone();
            move || budget.take(1).is_none()
        });
        budget.close();
        assert!(waiter.join().expect("no panic"));
    }
}
