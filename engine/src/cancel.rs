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
    above: Option<Cancel>,
}

impl Cancel {
    /// A switch that is not thrown.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A switch that is thrown with this one, or alone.
    #[must_use]
    pub fn child(&self) -> Self {
        Self(Arc::new(Switch { above: Some(self.clone()), ..Switch::default() }))
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
            || self.0.above.as_ref().is_some_and(Self::is_cancelled)
    }

    /// Resolves when it is thrown.
    pub async fn cancelled(&self) {
        let woken = self.0.wake.notified();
        tokio::pin!(woken);
        woken.as_mut().enable();
        if self.is_cancelled() {
            return;
        }
        match &self.0.above {
            None => woken.await,
            Some(above) => tokio::select! {
                () = woken => {}
                () = Box::pin(above.cancelled()) => {}
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_child_is_cancelled_with_its_parent_and_not_the_other_way_round() {
        let parent = Cancel::new();
        let (first, second) = (parent.child(), parent.child());
        first.cancel();
        first.cancelled().await;
        assert!(!parent.is_cancelled() && !second.is_cancelled());
        let waiting = tokio::spawn({
            let second = second.clone();
            async move { second.cancelled().await }
        });
        tokio::task::yield_now().await;
        parent.cancel();
        waiting.await.expect("woken");
        assert!(second.is_cancelled());
    }
}
