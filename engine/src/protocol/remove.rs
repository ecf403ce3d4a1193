//! Removing: who may, and how much at once.
//!
//! Invariants
//! - What others may be looking at is removed only with a [`DeleteRight`]. It is lent by an
//!   exclusive [`Presence`] and cannot outlive it.
//! - The right is asked again before every removal, and the store, too, before the first one and
//!   every few seconds: where the presence was lost or taken away meanwhile, nothing more is removed.
//! - What is gone already counts as removed.

use std::time::Duration;

use tokio::{task::JoinSet, time::Instant};

use super::{Presence, Protocol};
use crate::{
    cancel::Cancel,
    dialect::kopia::read_only,
    fault::Fault,
    model::root::RootId,
    store::{Failure, Key, Store},
};

/// How long an answer of the store that the presence is there is good for.
const CONFIRMED_FOR: Duration = Duration::from_secs(3);

/// The right to remove what others might need: there are no others.
#[derive(Clone, Copy, Debug)]
pub struct DeleteRight<'presence> {
    presence: &'presence Presence,
}

impl Presence {
    /// The right to remove, for whoever announced that it needs to be alone.
    pub fn delete_right(&self) -> Result<DeleteRight<'_>, Fault> {
        let right = DeleteRight { presence: self };
        right.check()?;
        Ok(right)
    }
}

impl DeleteRight<'_> {
    /// Fails where it was lost.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        match self.presence {
            Presence::Restic(lock) if lock.is_exclusive() => lock.check(),
            Presence::Restic(_) | Presence::Silent => {
                Err(Fault::Bug("removing without having announced it"))
            }
        }
    }

    /// The same, and asks the store.
    async fn confirm(&self) -> Result<(), Fault> {
        self.check()?;
        self.presence.confirm().await
    }
}

impl Protocol {
    /// Removes roots and tells of each what came of it. Only what ends the whole work is an error:
    /// a right that was lost, or a cancelled run.
    pub async fn retire_roots(
        &self,
        right: &DeleteRight<'_>,
        roots: Vec<RootId>,
        cancel: &Cancel,
        mut each: impl FnMut(RootId, Result<(), Fault>) + Send,
    ) -> Result<(), Fault> {
        match self {
            Self::Restic(protocol) => {
                let keys: Result<Vec<_>, Fault> =
                    roots.into_iter().map(|root| Ok((protocol.root_key(&root)?, root))).collect();
                remove_all(&protocol.store, right, keys?, cancel, &mut each).await
            }
            Self::Kopia(_) => Err(read_only()),
        }
    }
}

/// Removes objects, as many at once as the store has connections.
pub(super) async fn remove_all<T: Send + 'static>(
    store: &Store,
    right: &DeleteRight<'_>,
    keys: Vec<(Key, T)>,
    cancel: &Cancel,
    each: &mut (dyn FnMut(T, Result<(), Fault>) + Send),
) -> Result<(), Fault> {
    let connections = store.capabilities().connections.max(1);
    let mut removals = JoinSet::new();
    let mut stopped = Ok(());
    let mut confirmed: Option<Instant> = None;
    let mut keys = keys.into_iter();
    loop {
        while removals.len() < connections
            && stopped.is_ok()
            && let Some((key, what)) = keys.next()
        {
            stopped = match confirmed.is_some_and(|at| at.elapsed() < CONFIRMED_FOR) {
                true => right.check(),
                false => {
                    confirmed = Some(Instant::now());
                    right.confirm().await
                }
            };
            if cancel.is_cancelled() {
                stopped = Err(Fault::Cancelled);
            }
            if stopped.is_ok() {
                let store = store.clone();
                removals.spawn(async move { (what, store.delete(&key).await) });
            }
        }
        let Some(removed) = removals.join_next().await else { return stopped };
        let (what, result) = removed.map_err(|_panic| Fault::Bug("removing panicked"))?;
        match result {
            Err(error) if error.failure != Failure::NotFound => each(what, Err(error.into())),
            _ => each(what, Ok(())),
        }
    }
}
