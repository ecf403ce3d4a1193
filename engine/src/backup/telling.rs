//! Telling of items as they are done, where someone listens.
//!
//! Invariants: where nobody listens no clock is asked and no path is put together.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use super::seal::Added;
use crate::monitor::{Action, Event, ItemKind, Monitor};

/// Whoever wants to hear of items.
#[derive(Clone)]
pub(super) struct Listener(Option<Arc<dyn Monitor>>);

/// When work on an item began, where someone wants to know.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Began(Option<Instant>);

/// An item that is done.
pub(super) struct Told {
    pub(super) action: Action,
    pub(super) kind: ItemKind,
    pub(super) size_bytes: u64,
    /// What was new of it.
    pub(super) added: Added,
    pub(super) began: Began,
}

impl Listener {
    pub(super) fn new(monitor: &Arc<dyn Monitor>) -> Self {
        Self(monitor.wants_items().then(|| Arc::clone(monitor)))
    }

    /// Work on an item begins.
    pub(super) fn begin(&self) -> Began {
        Began(self.0.as_ref().map(|_| Instant::now()))
    }

    /// It is done.
    pub(super) fn tell(&self, path: impl FnOnce() -> Vec<u8>, told: Told) {
        let Some(monitor) = &self.0 else { return };
        let Told { action, kind, size_bytes, added, began } = told;
        monitor.event(Event::Item {
            path: &path(),
            action,
            kind,
            size_bytes,
            added_bytes: added.raw_bytes,
            added_stored_bytes: added.stored_bytes,
            took: began.0.map_or(Duration::ZERO, |began| began.elapsed()),
        });
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Listener" } else { "Listener(nobody)" })
    }
}
