//! Stopping an operation from outside.
//!
//! Invariants: once cancelled always cancelled; every loop of an operation asks, so that work stops
//! within a second and what was announced (locks) is taken back before the operation returns.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::Notify;

/// A switch that many tasks and threads watch. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<Switch>);

#[derive(Debug, Default)]
struct Switch {
    thrown: AtomicBool,
    wake: Notify,
}

impl Cancel {
    /// A switch that is not thrown.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Throws the switch.
    pub fn cancel(&self) {
        self.0.thrown.store(true, Ordering::Release);
        self.0.wake.notify_waiters();
    }

    /// Whether it is thrown.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.thrown.load(Ordering::Acquire)
    }

    /// Resolves when it is thrown.
    pub async fn cancelled(&self) {
        let woken = self.0.wake.notified();
        tokio::pin!(woken);
        woken.as_mut().enable();
        if !self.is_cancelled() {
            woken.await;
        }
    }
}
