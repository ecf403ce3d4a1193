//! Whether a request still gets on.
//!
//! Invariants: only time without any progress counts. What waits for our own limits is no standstill
//! of the server.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// The progress of one request. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Watch(Arc<State>);

#[derive(Debug)]
struct State {
    patience: Duration,
    last: Mutex<Instant>,
    sent: AtomicU64,
}

impl Watch {
    pub(super) fn new(patience: Duration) -> Self {
        let last = Mutex::new(Instant::now());
        Self(Arc::new(State { patience, last, sent: AtomicU64::new(0) }))
    }

    /// Bytes went out. `until` is when they may at the earliest, which nobody else is to blame for.
    pub(super) fn out(&self, bytes: usize, until: Option<Instant>) {
        self.0.sent.fetch_add(bytes as u64, Ordering::Relaxed);
        self.progress(until);
    }

    /// Something came in.
    pub(super) fn progress(&self, until: Option<Instant>) {
        let mut last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = (*last).max(until.unwrap_or_else(Instant::now));
    }

    pub(super) fn sent(&self) -> u64 {
        self.0.sent.load(Ordering::Relaxed)
    }

    pub(super) fn patience(&self) -> Duration {
        self.0.patience
    }

    /// When patience ends, if nothing happens until then.
    pub(super) fn deadline(&self) -> Instant {
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) + self.0.patience
    }

    /// Returns when nothing has happened for too long.
    pub(super) async fn stuck(&self) {
        loop {
            let deadline = self.deadline();
            if Instant::now() >= deadline {
                return;
            }
            sleep_until(deadline).await;
        }
    }
}
