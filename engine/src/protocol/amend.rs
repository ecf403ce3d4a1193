//! Roots under a new name because something about them changed.
//!
//! Invariants
//! - The changed root is stored before the old one may be removed, and remembers the first name it
//!   had.
//! - What this version does not know about a root is kept as it was written.

use windlass_format::time::Timestamp;

use super::{Presence, Protocol, Published};
use crate::{
    dialect::kopia::read_only,
    fault::Fault,
    model::{chunk::ChunkKey, root::RootId},
};

/// What changes; all that is not named stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amendment {
    /// Its tags from now on.
    pub tags: Option<Vec<String>>,
    /// A tag it has besides.
    pub add_tag: Option<String>,
    /// Where it was made.
    pub hostname: Option<String>,
    /// When it was made.
    pub time: Option<Timestamp>,
}

/// What it refers to from now on, where it is not the same any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revision {
    /// The top directory.
    pub tree: ChunkKey,
    /// Files, and bytes of them, where they were counted.
    pub totals: Option<(u64, u64)>,
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

    /// Stores a root that refers to something else beside the one it is made from, and gives its
    /// name. It remembers the root it was made from, whatever that was made from.
    pub async fn revise_root(
        &self,
        presence: &Presence,
        published: Published,
        root: &RootId,
        (amendment, revision): (&Amendment, &Revision),
    ) -> Result<RootId, Fault> {
        let _everything_is_findable = published;
        match self {
            Self::Restic(protocol) => {
                presence.check()?;
                protocol.revise_root(root, amendment, revision).await
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
