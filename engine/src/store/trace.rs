//! What happens on the way to a store, for whoever wants to watch.
//!
//! Invariants: no event holds a credential: neither headers nor the part of a URL after `?`.

use std::{fmt, sync::Arc, time::Duration};

use super::Failure;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreEvent {
    /// A request came to its end.
    Request {
        /// Its method.
        method: String,
        /// Host and path.
        target: String,
        /// What the server answered; `None` where no answer came.
        status: Option<u16>,
        /// Bytes of its body.
        sent: u64,
        /// Bytes of the answer's body.
        received: u64,
        /// From its start to the answer's last byte.
        took: Duration,
    },
    /// A call failed and is tried again.
    Retry {
        /// What was tried.
        action: &'static str,
        /// On which object.
        object: String,
        /// Its class.
        failure: Failure,
        /// Why it failed.
        why: String,
        /// The try that failed, from 1.
        attempt: u32,
        /// What is waited before the next.
        pause: Duration,
    },
    /// The local cache cannot be used, or not be written to any more.
    Cache {
        /// Where it is.
        path: String,
        /// Why.
        why: String,
    },
    /// The number of requests at once changed.
    Window {
        /// Requests that may be under way now.
        requests: usize,
        /// Whether the store asked for less.
        throttled: bool,
    },
}

/// Who wants to know.
#[derive(Clone, Default)]
pub struct Observer(Option<Arc<Tell>>);

type Tell = dyn Fn(&StoreEvent) + Send + Sync;

impl Observer {
    /// Calls `tell` for every event, from whichever task it happens in.
    #[must_use]
    pub fn new(tell: impl Fn(&StoreEvent) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(tell)))
    }

    /// Tells of an event that is made only where somebody wants it.
    pub fn tell(&self, event: impl FnOnce() -> StoreEvent) {
        if let Some(tell) = &self.0 {
            tell(&event());
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Observer({})", if self.0.is_some() { "set" } else { "none" })
    }
}
