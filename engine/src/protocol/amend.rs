//! Roots under a new name because something about them changed.
//!
//! Invariants
//! - The changed root is stored before the old one may be removed, and remembers the first name it
//!   had.
//! - What this version does not know about a root is kept as it was written.

use super::{Presence, Protocol, Published};
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
                presence.confirm().await?;
                protocol.amend_root(root, amendment).await
            }
            Self::Kopia(_) => Err(read_only()),
        }
    }

    /// Stores a root of another repository, and gives its new name. It remembers the first name it
    /// had; the backup it was compared with is not here.
    pub async fn adopt_root(
        &self,
        presence: &Presence,
        published: Published,
        from: &Self,
        root: &RootId,
    ) -> Result<RootId, Fault> {
        let _everything_is_findable = published;
        match (self, from) {
            (Self::Restic(protocol), Self::Restic(from)) => {
                presence.confirm().await?;
                protocol.adopt_root(from, root).await
            }
            (Self::Restic(_), Self::Kopia(_)) => {
                Err(Fault::Bug("a root of another format was to be copied"))
            }
            (Self::Kopia(_), _) => Err(read_only()),
        }
    }
}
