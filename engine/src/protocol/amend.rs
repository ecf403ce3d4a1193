//! Roots under a new name because something about them changed.
//!
//! Invariants
//! - The changed root is stored before the old one may be removed, and remembers the first name it
//!   had.
//! - What this version does not know about a root is kept as it was written.

use super::{Presence, Protocol};
use crate::{dialect::kopia::read_only, fault::Fault, model::root::RootId};

/// What changes; all that is not named stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amendment {
    /// Its tags from now on.
    pub tags: Option<Vec<String>>,
}

impl Protocol {
    /// Stores a root with changes beside the one it is made from, and gives its name.
    pub async fn amend_root(
        &self,
        presence: &Presence,
        root: &RootId,
        amendment: &Amendment,
    ) -> Result<RootId, Fault> {
        match self {
            Self::Restic(protocol) => {
                presence.check()?;
                protocol.amend_root(root, amendment).await
            }
            Self::Kopia(_) => Err(read_only()),
        }
    }
}
