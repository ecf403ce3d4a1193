//! Height two of the seam between the two formats: order.
//!
//! Who may write, what is published when, what makes a backup visible. All of it asynchronous, all
//! of it called a handful of times in an operation.
//!
//! Invariants
//! - Packs before the index that names them, the index before the root: [`Stored`] packs become
//!   [`Published`], and a root is committed only with that in hand.
//! - Roots are listed before the index is loaded, so that every root that is seen is fully indexed.
//!   Both are listed at once only where every root turns out to be one of which a copy was near
//!   before: its index was there by then.
//! - Announcing takes two steps, since others may announce themselves at the same moment: a
//!   [`Pending`] gives the right to read, and what it read may be overtaken; only the [`Presence`] it
//!   [settles](Protocol::settle) into gives the right to store anything.
//! - A [`Presence`] is refreshed while it is held; if that fails for too long, or somebody removed
//!   it, the operation is cancelled. Before a root becomes visible and before anything is removed
//!   the store is asked whether it is still there.

pub mod amend;
pub mod holders;
pub mod keys;
pub mod kopia;
pub mod listener;
pub mod object;
pub mod open;
mod patience;
pub mod reclaim;
pub mod remove;
pub mod restic;

use std::sync::Arc;

use windlass_format::secret::Password;

use self::{
    keys::{ListedKey, OpenError, Owner},
    object::{ObjectError, ObjectKind, RawObject},
};
use crate::{
    cancel::Cancel,
    dialect::kopia::read_only,
    fault::{Class, Fault},
    index::Index,
    model::{
        pack::PackInfo,
        root::{Root, RootId},
    },
    records::Aside,
    store::{Key, Stored},
};
pub use patience::Patience;

/// How an open repository is written to and read from in order.
#[derive(Clone, Debug)]
pub enum Protocol {
    /// restic, versions 1 and 2.
    Restic(Arc<restic::Protocol>),
    /// kopia, versions 1 to 3, to read from.
    Kopia(Arc<kopia::Protocol>),
}

/// What a holder announces to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads and adds; tolerates others who do so.
    Shared,
    /// Deletes; tolerates nobody.
    Exclusive,
}

/// How a holder announces itself.
#[derive(Clone, Debug)]
pub struct Announcement {
    /// What it is going to do.
    pub access: Access,
    /// The host others will see.
    pub hostname: String,
    /// The user others will see.
    pub username: String,
    /// How long to wait for others.
    pub patience: std::time::Duration,
    /// Who of all that share the repository this is, where somebody sees to it that there are never
    /// two of the same: what an earlier one left is then nobody's.
    pub lineage: Option<String>,
    /// Who hears what it meets.
    pub listener: listener::Listener,
}

/// Others can see that someone is at work here, and whether they tolerate it is not known yet.
/// Ends with [`Protocol::settle`] or [`release`](Self::release); a dropped one is taken back in the
/// background.
#[derive(Debug)]
#[must_use = "nothing may be stored before it has settled"]
pub enum Pending {
    /// restic's lock file.
    Restic(restic::PendingLock),
    /// Nothing was announced: the operation writes nothing, or was told not to.
    Silent,
}

/// The objects that an index was read from.
#[derive(Clone, Debug, Default)]
pub struct Segments(Vec<Key>);

impl Segments {
    /// These.
    pub(crate) fn of(keys: Vec<Key>) -> Self {
        Self(keys)
    }
}

/// Everyone sees that someone is at work here. Ends with [`release`](Self::release); a dropped one
/// is taken back in the background.
#[derive(Debug)]
pub enum Presence {
    /// restic's lock file.
    Restic(restic::Lock),
    /// Nothing was announced: the operation writes nothing, or was told not to.
    Silent,
}

/// Why a presence could not be announced.
#[derive(Debug, thiserror::Error)]
pub enum AnnounceError {
    /// Others are there.
    #[error("repository is already locked {by}")]
    Busy {
        /// Who, since when.
        by: String,
    },
    /// Somebody deletes, and had begun before our announcement could be seen.
    #[error("the repository's index was replaced while it was read")]
    Overtaken,
    /// The store failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl AnnounceError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Busy { .. } | Self::Overtaken => Class::Busy,
            Self::Fault(fault) => fault.class(),
        }
    }
}

/// Proof that chunks can be found by everyone: their packs and the index naming them are stored.
#[derive(Debug, Default)]
#[must_use = "a root is committed with it"]
pub struct Published {
    packs: u64,
}

impl Published {
    fn of(packs: usize) -> Self {
        Self { packs: packs as u64 }
    }

    /// Both together.
    pub fn join(&mut self, other: Self) {
        self.packs += other.packs;
    }

    /// How many packs.
    #[must_use]
    pub fn packs(&self) -> u64 {
        self.packs
    }
}

/// What was removed of what killed writers left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Files.
    pub files: u64,
    /// Their size.
    pub stored_bytes: u64,
}

/// A root that was listed, or why it cannot be read.
pub type ListedRoot = (RootId, Result<Root, Fault>);

impl Protocol {
    /// Tells others that someone is at work, and waits for those who do not tolerate it.
    pub async fn announce(
        &self,
        announcement: &Announcement,
        cancel: &Cancel,
    ) -> Result<Presence, AnnounceError> {
        let mut patience = Patience::new(announcement.patience).told(announcement.listener.clone());
        loop {
            let pending = self.announce_early(announcement, &mut patience, cancel).await?;
            match self.settle(pending, &Segments::default(), cancel).await {
                Err(error) => patience.outlast(error, cancel).await?,
                settled => return settled,
            }
        }
    }

    /// The first step of announcing, after which the repository may be read. `cancel` is thrown
    /// should the announcement be lost later. When settling fails, whatever was read meanwhile is
    /// not to be relied on, and the operation begins again as long as `patience` lasts.
    pub async fn announce_early(
        &self,
        announcement: &Announcement,
        patience: &mut Patience,
        cancel: &Cancel,
    ) -> Result<Pending, AnnounceError> {
        match self {
            Self::Restic(protocol) => {
                Ok(Pending::Restic(protocol.lock(announcement, patience, cancel).await?))
            }
            Self::Kopia(_) => match announcement.access {
                Access::Shared => Ok(Pending::Silent),
                Access::Exclusive => Err(read_only().into()),
            },
        }
    }

    /// The second step: nobody is there who does not tolerate it, and nobody who was has removed
    /// any of `segments`, so that what they name is still there. Otherwise it is taken back.
    pub async fn settle(
        &self,
        pending: Pending,
        segments: &Segments,
        cancel: &Cancel,
    ) -> Result<Presence, AnnounceError> {
        match (self, pending) {
            (_, Pending::Silent) => Ok(Presence::Silent),
            (Self::Restic(protocol), Pending::Restic(lock)) => {
                Ok(Presence::Restic(protocol.settle(lock, segments, cancel).await?))
            }
            (Self::Kopia(_), Pending::Restic(_)) => {
                Err(Fault::Bug("an announcement in another repository").into())
            }
        }
    }

    /// Every root, unreadable ones included, oldest first.
    pub async fn list_roots(&self) -> Result<Vec<ListedRoot>, Fault> {
        match self {
            Self::Restic(protocol) => protocol.list_roots().await,
            Self::Kopia(protocol) => protocol.list_roots().await,
        }
    }

    /// The same, and the objects that the index is to be read from, where asking for both at once
    /// turned out to be as good as asking for them after the roots.
    pub(crate) async fn list_roots_and_segments(
        &self,
    ) -> Result<(Vec<ListedRoot>, Option<Segments>), Fault> {
        match self {
            Self::Restic(protocol) => protocol.list_roots_and_segments().await,
            Self::Kopia(protocol) => Ok((protocol.list_roots().await?, None)),
        }
    }

    /// An object outside packs, or a pack, by its name or the beginning of it.
    pub async fn object(&self, kind: ObjectKind, prefix: &str) -> Result<RawObject, ObjectError> {
        match self {
            Self::Restic(protocol) => protocol.object(kind, prefix).await,
            Self::Kopia(protocol) => protocol.object(kind, prefix).await,
        }
    }

    /// The names of all objects of a kind.
    pub async fn list_objects(&self, kind: ObjectKind) -> Result<Vec<String>, ObjectError> {
        match self {
            Self::Restic(protocol) => protocol.list_objects(kind).await,
            Self::Kopia(_) => Err(ObjectError::NoSuchKind("they are listed with its own tool")),
        }
    }

    /// The passwords that open the repository, oldest first.
    pub async fn list_keys(&self) -> Result<Vec<ListedKey>, OpenError> {
        match self {
            Self::Restic(protocol) => protocol.list_keys().await,
            Self::Kopia(_) => Err(one_password().into()),
        }
    }

    /// Adds a password.
    pub async fn add_key(
        &self,
        password: &Password,
        owner: &Owner,
        pool: &Arc<rayon::ThreadPool>,
    ) -> Result<String, OpenError> {
        match self {
            Self::Restic(protocol) => protocol.add_key(password, owner, pool).await,
            Self::Kopia(_) => Err(one_password().into()),
        }
    }

    /// Removes the one password whose key's name begins with `prefix`; never the one in use.
    pub async fn remove_key(&self, prefix: &str, in_use: &str) -> Result<String, OpenError> {
        match self {
            Self::Restic(protocol) => protocol.remove_key(prefix, in_use).await,
            Self::Kopia(_) => Err(one_password().into()),
        }
    }

    /// Reads everything into `index`, and says what it was read from. What is `listed` already is
    /// not asked for again.
    pub async fn load_index(
        &self,
        index: &Arc<Index>,
        listed: Option<Segments>,
    ) -> Result<Segments, Fault> {
        match self {
            Self::Restic(protocol) => protocol.load_index(index, listed).await,
            // Nobody who reads is announced here, so there is nothing to prove later.
            Self::Kopia(protocol) => {
                protocol.load_index(index).await?;
                Ok(Segments::default())
            }
        }
    }

    /// Whether an object is to outlast whoever made it, so that nobody should be able to remove it;
    /// announcements, logs and the like are not.
    #[must_use]
    pub fn outlasts(&self, key: &Key) -> bool {
        match self {
            Self::Restic(_) => restic::outlasts(key),
            Self::Kopia(_) => kopia::outlasts(key),
        }
    }

    /// Removes temporary files of writers that were killed, where nobody else can be writing them.
    pub async fn sweep(&self, presence: &Presence) -> Result<Swept, Fault> {
        match (self, presence) {
            (Self::Restic(protocol), Presence::Restic(lock)) => {
                lock.check()?;
                protocol.sweep().await
            }
            (Self::Restic(_) | Self::Kopia(_), _) => Ok(Swept::default()),
        }
    }

    /// Where an operation may put aside what it needs while it runs and is too much for memory.
    pub(crate) fn aside(&self) -> Option<Aside> {
        match self {
            Self::Restic(protocol) => protocol.aside(),
            Self::Kopia(_) => None,
        }
    }

    /// Makes stored packs findable.
    pub async fn publish(
        &self,
        presence: &Presence,
        packs: Vec<Stored<PackInfo>>,
    ) -> Result<Published, Fault> {
        match self {
            Self::Restic(protocol) => {
                presence.check()?;
                protocol.publish(presence, packs).await
            }
            Self::Kopia(_) => Err(read_only()),
        }
    }

    /// Makes a backup visible.
    pub async fn commit_root(
        &self,
        presence: &Presence,
        published: Published,
        root: &Root,
    ) -> Result<RootId, Fault> {
        match self {
            Self::Restic(protocol) => {
                match published.packs() {
                    0 => presence.confirm_lately().await?,
                    _ => presence.confirm().await?,
                }
                protocol.commit_root(root).await
            }
            Self::Kopia(_) => Err(read_only()),
        }
    }
}

/// The answer to whoever asks for the keys of a repository that has none.
fn one_password() -> Fault {
    Fault::Unsupported { what: "more than the one password of a kopia repository".into() }
}

impl Pending {
    /// Waits until it can be settled without waiting, or until it is cancelled.
    pub async fn ripe(&self, cancel: &Cancel) {
        match self {
            Self::Restic(lock) => lock.ripe(cancel).await,
            Self::Silent => {}
        }
    }

    /// Takes it back.
    pub async fn release(self) -> Result<(), Fault> {
        match self {
            Self::Restic(lock) => lock.release().await,
            Self::Silent => Ok(()),
        }
    }
}

impl Presence {
    /// Fails where the presence was lost, so that nothing is written after that.
    pub fn check(&self) -> Result<(), Fault> {
        match self {
            Self::Restic(lock) => lock.check(),
            Self::Silent => Err(Fault::Bug("writing without having announced it")),
        }
    }

    /// The same, and asks the store: fails where somebody else removed it.
    pub async fn confirm(&self) -> Result<(), Fault> {
        self.check()?;
        match self {
            Self::Restic(lock) => lock.confirm().await,
            Self::Silent => Ok(()),
        }
    }

    /// The same for whoever has stored nothing since it settled: does not ask where it was seen in
    /// the store a moment ago.
    async fn confirm_lately(&self) -> Result<(), Fault> {
        match self {
            Self::Restic(lock) if lock.was_seen_lately() => self.check(),
            _ => self.confirm().await,
        }
    }

    /// Takes it back.
    pub async fn release(self) -> Result<(), Fault> {
        match self {
            Self::Restic(lock) => lock.release().await,
            Self::Silent => Ok(()),
        }
    }
}
