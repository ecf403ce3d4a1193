//! The order in which packs go: out of every index first, out of the store then.
//!
//! ```text
//!  replace_segments ─► Replaced ─► drop_segments ─► Unnamed ─► drop_packs
//!  (new ones stored)              (old ones gone)             (packs gone)
//! ```
//!
//! Invariants
//! - An old index segment is removed only after segments that name all packs it named and that
//!   stay are stored: [`Replaced`]. The one exception is for a full disk and has a name of its own.
//! - A pack is removed only after every segment that names it is gone: [`Unnamed`].

use std::collections::HashMap;

use super::{
    Presence, Protocol,
    remove::{DeleteRight, remove_all},
};
use crate::{
    cancel::Cancel,
    dialect::kopia::read_only,
    fault::Fault,
    model::pack::{PackInfo, PackName},
    store::Key,
};

/// A pack as an index segment names it.
#[derive(Clone, Debug)]
pub struct NamedPack {
    /// What is in it.
    pub info: PackInfo,
    /// Whether another program marked it as to be removed, which hides it from others.
    pub marked: bool,
}

/// Proof that segments are stored that can stand for `old` ones.
#[derive(Debug)]
#[must_use = "the old segments are to be dropped"]
pub struct Replaced {
    old: Vec<Key>,
}

/// Proof that no index names these packs.
#[derive(Debug)]
#[must_use = "the packs are to be dropped"]
pub struct Unnamed {
    packs: Vec<PackName>,
}

/// Hears of an index segment what it names, or why it cannot be read.
pub type EachSegment<'a> =
    dyn FnMut(&Key, Result<Vec<NamedPack>, Fault>) -> Result<(), Fault> + Send + 'a;

impl Protocol {
    /// The index segments there are.
    pub async fn list_segments(&self) -> Result<Vec<Key>, Fault> {
        match self {
            Self::Restic(protocol) => protocol.list_segments().await,
            Self::Kopia(_) => Err(read_only()),
        }
    }

    /// Reads index segments, and tells of each what it names or why it cannot be read; that it has
    /// gone since it was listed is such a reason. Ends with the first error of `each`.
    pub async fn read_segments(
        &self,
        segments: Vec<Key>,
        each: &mut EachSegment<'_>,
    ) -> Result<(), Fault> {
        match self {
            Self::Restic(protocol) => protocol.read_segments(segments, each).await,
            Self::Kopia(_) => Err(read_only()),
        }
    }

    /// Every pack in the store and its size.
    pub async fn list_packs(&self) -> Result<Vec<(PackName, u64)>, Fault> {
        match self {
            Self::Restic(protocol) => protocol.list_packs().await,
            Self::Kopia(_) => Err(read_only()),
        }
    }

    /// Every pack in the store and its size. Those that are named and not listed are asked for one
    /// by one: a listing may lag behind, and what is given up for a pack that is gone may be a lot.
    pub async fn find_packs(
        &self,
        named: impl Iterator<Item = PackName> + Send,
    ) -> Result<HashMap<PackName, u64>, Fault> {
        let mut packs: HashMap<PackName, u64> = self.list_packs().await?.into_iter().collect();
        let unlisted: Vec<PackName> = named.filter(|name| !packs.contains_key(name)).collect();
        match self {
            Self::Restic(protocol) => packs.extend(protocol.stat_packs(unlisted).await?),
            Self::Kopia(_) => return Err(read_only()),
        }
        Ok(packs)
    }

    /// Writes segments that name `stay`, so that `old` ones are not needed any more.
    pub async fn replace_segments(
        &self,
        presence: &Presence,
        stay: impl Iterator<Item = Result<PackInfo, Fault>> + Send,
        old: Vec<Key>,
    ) -> Result<Replaced, Fault> {
        match self {
            Self::Restic(protocol) => {
                presence.confirm().await?;
                protocol.write_segments(presence, stay).await?;
                Ok(Replaced { old })
            }
            Self::Kopia(_) => Err(read_only()),
        }
    }

    /// Gives segments up that nothing stands for yet, where there is no room to write any.
    pub fn abandon_segments(&self, old: Vec<Key>) -> Replaced {
        Replaced { old }
    }

    /// Removes the old segments; `packs` are those that no other names.
    pub async fn drop_segments(
        &self,
        right: &DeleteRight<'_>,
        replaced: Replaced,
        packs: Vec<PackName>,
        cancel: &Cancel,
    ) -> Result<Unnamed, Fault> {
        match self {
            Self::Restic(protocol) => {
                let keys = replaced.old.into_iter().map(|key| (key, ())).collect();
                let mut failed = None;
                let mut each = |(), result: Result<(), Fault>| {
                    if let Err(fault) = result {
                        failed.get_or_insert(fault);
                    }
                };
                remove_all(&protocol.store, right, keys, cancel, &mut each).await?;
                failed.map_or(Ok(Unnamed { packs }), Err)
            }
            Self::Kopia(_) => Err(read_only()),
        }
    }

    /// Removes packs and tells of each what came of it. One that stays is garbage and no harm.
    pub async fn drop_packs(
        &self,
        right: &DeleteRight<'_>,
        unnamed: Unnamed,
        cancel: &Cancel,
        mut each: impl FnMut(PackName, Result<(), Fault>) + Send,
    ) -> Result<(), Fault> {
        match self {
            Self::Restic(protocol) => {
                let keys = unnamed.packs.into_iter().map(|pack| (protocol.pack_key(&pack), pack));
                remove_all(&protocol.store, right, keys.collect(), cancel, &mut each).await
            }
            Self::Kopia(_) => Err(read_only()),
        }
    }
}
