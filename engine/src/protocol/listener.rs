//! Who hears what announcing meets on its way: others that are waited for, and what stood for
//! nobody any more.

use std::{fmt, sync::Arc, time::Duration};

use super::holders::Stale;

/// Hears what announcing meets; by default nobody does.
#[derive(Clone, Default)]
pub struct Listener(Option<Arc<Hear>>);

type Hear = dyn Fn(&Met<'_>) + Send + Sync;

/// What announcing met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met<'a> {
    /// Others are in the way and waited for.
    Waiting {
        /// Who, since when.
        by: &'a str,
        /// After how long it is tried again.
        next: Duration,
        /// How long it is waited at most, from now on.
        left: Duration,
    },
    /// An announcement that stood for nobody was removed.
    Cleared {
        /// Whose, since when.
        by: &'a str,
        /// Why nobody can be there.
        why: Stale,
    },
}

impl Listener {
    /// One that does this.
    pub fn new(hear: impl Fn(&Met<'_>) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hear)))
    }

    pub(super) fn hear(&self, met: Met<'_>) {
        if let Some(hear) = &self.0 {
            hear(&met);
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Listener" } else { "nobody" })
    }
}
