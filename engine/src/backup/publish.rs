//! Finished packs into the store, and index segments that name them.
//!
//! Invariants
//! - Nothing is committed before the announcement has settled; packs that are finished by then wait,
//!   as drafts that nobody can see.
//! - An index segment is written only of packs whose receipts are in hand, also when the run is told
//!   to stop.
//! - All packs are published or it is an error: a root may refer to any of them.
//! - After the first failure nothing more is committed, and the queue is drained so that no worker
//!   waits for ever.

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Duration, Instant, sleep},
};

use super::BackupError;
use crate::{
    cancel::Cancel,
    dialect::Dialect,
    fault::Fault,
    model::pack::{Location, PackInfo},
    packing::FinishedPack,
    protocol::{Pending, Presence, Protocol, Published},
    repository::Loaded,
    store::{Store, Stored},
};

/// Chunks after which an index segment is written while packs are still coming.
const SEGMENT_CHUNKS: usize = 50_000;

/// Time after which an index segment is written although few chunks have come, so that a killed
/// backup leaves little that has to be stored again.
const SEGMENT_AGE: Duration = Duration::from_secs(600);

/// How long is waited for packs on their way when the run is told to stop. Those that come later are
/// in no index; the lock has to be taken back before whoever gave the signal loses patience.
const LAST_MOMENT: Duration = Duration::from_secs(3);

/// Packs of a local store that may wait for the announcement to settle; a store far away keeps its
/// drafts in memory.
const EARLY_PACKS: usize = 16;

/// What the publisher works with.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) store: Store,
    pub(super) dialect: Dialect,
    pub(super) protocol: Protocol,
    pub(super) loaded: Loaded,
    /// Bytes on their way to a server or from it.
    pub(super) in_flight: usize,
    /// Thrown by the publisher when it fails.
    pub(super) cancel: Cancel,
    /// Thrown by nobody but whoever asked for the backup.
    pub(super) asked_to_stop: Cancel,
    /// Packs go nowhere and no index names them.
    pub(super) dry_run: bool,
}

impl Publisher {
    /// Settles the announcement, commits packs as they come until the last sender is gone, and
    /// publishes all of them. The presence is the caller's to end, whatever else comes of it.
    pub(super) async fn run(
        self,
        pending: Pending,
        settled: oneshot::Sender<()>,
        mut packs: mpsc::Receiver<FinishedPack>,
    ) -> (Option<Presence>, Result<Published, BackupError>) {
        let (early, presence) = self.settle(pending, &mut packs).await;
        let (presence, result) = match presence {
            Ok(presence) => {
                let _nobody_waits_for_it = settled.send(());
                let committed = self.commit_all(&presence, early, &mut packs).await;
                (Some(presence), committed.map_err(BackupError::from))
            }
            Err(error) => (None, Err(error)),
        };
        if result.is_err() {
            self.cancel.cancel();
            packs.close();
            while packs.recv().await.is_some() {}
        }
        (presence, result)
    }

    /// Waits until something may be stored, and takes over packs that are finished before.
    ///
    /// A failure elsewhere does not end the wait: it may come of reading what somebody is about to
    /// remove, and then it is not what went wrong.
    async fn settle(
        &self,
        pending: Pending,
        packs: &mut mpsc::Receiver<FinishedPack>,
    ) -> (Vec<FinishedPack>, Result<Presence, BackupError>) {
        let room = if self.store.capabilities().remote { 0 } else { EARLY_PACKS };
        let mut early = Vec::new();
        let settled = self.protocol.settle(pending, &self.loaded.segments, &self.asked_to_stop);
        tokio::pin!(settled);
        loop {
            tokio::select! {
                presence = &mut settled => return (early, presence.map_err(BackupError::from)),
                Some(pack) = packs.recv(), if early.len() < room => early.push(pack),
            }
        }
    }

    async fn commit_all(
        &self,
        presence: &Presence,
        early: Vec<FinishedPack>,
        packs: &mut mpsc::Receiver<FinishedPack>,
    ) -> Result<Published, Fault> {
        let mut early = early.into_iter();
        let capabilities = self.store.capabilities();
        let most_bytes = if capabilities.remote { self.in_flight as u64 / 2 } else { u64::MAX };
        let mut under_way = 0;
        let mut commits = JoinSet::new();
        let mut waiting: Vec<Stored<PackInfo>> = Vec::new();
        let mut published = Published::default();
        let mut segment_began = Instant::now();
        let mut has_all = false;
        // Packs that wait when the run is told to stop are not worth the time they take.
        loop {
            let room = commits.is_empty()
                || (commits.len() < capabilities.connections && under_way < most_bytes);
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => break,
                Some(stored) = commits.join_next(), if !commits.is_empty() => {
                    let stored = self.stored(stored)?;
                    under_way -= stored.get().chunks_end();
                    waiting.push(stored);
                }
                pack = next(&mut early, packs), if room => {
                    let Some(pack) = pack else {
                        has_all = true;
                        break;
                    };
                    under_way += pack.info.chunks_end();
                    self.start_commit(presence, &mut commits, pack)?;
                }
            }
            let chunks: usize = waiting.iter().map(|pack| pack.get().chunks.len()).sum();
            if chunks >= SEGMENT_CHUNKS || (chunks > 0 && segment_began.elapsed() >= SEGMENT_AGE) {
                let segment = std::mem::take(&mut waiting);
                published.join(self.publish(presence, segment).await?);
                segment_began = Instant::now();
            }
        }
        let last_moment = async {
            self.cancel.cancelled().await;
            sleep(LAST_MOMENT).await;
        };
        tokio::pin!(last_moment);
        loop {
            let stored = tokio::select! {
                biased;
                stored = commits.join_next() => stored,
                () = &mut last_moment => {
                    has_all = false;
                    None
                }
            };
            let Some(stored) = stored else { break };
            waiting.push(self.stored(stored)?);
        }
        published.join(self.publish(presence, waiting).await?);
        // What is in the index is found by the next run; a root would refer to what is not.
        if has_all { Ok(published) } else { Err(Fault::Cancelled) }
    }

    async fn publish(
        &self,
        presence: &Presence,
        packs: Vec<Stored<PackInfo>>,
    ) -> Result<Published, Fault> {
        if self.dry_run {
            return Ok(Published::default());
        }
        self.protocol.publish(presence, packs).await
    }

    fn start_commit(
        &self,
        presence: &Presence,
        commits: &mut JoinSet<Result<Stored<PackInfo>, Fault>>,
        pack: FinishedPack,
    ) -> Result<(), Fault> {
        if !self.dry_run {
            presence.check()?;
        }
        let store = self.store.clone();
        let key = self.dialect.pack_key(&pack.info.name);
        commits.spawn(async move { Ok(store.commit(pack.draft, &key, pack.info).await?) });
        Ok(())
    }

    /// Books a committed pack in the index.
    fn stored(
        &self,
        joined: Result<Result<Stored<PackInfo>, Fault>, tokio::task::JoinError>,
    ) -> Result<Stored<PackInfo>, Fault> {
        let stored = joined.map_err(|_panic| Fault::Bug("a pack commit panicked"))??;
        let info = stored.get();
        let pack = self.loaded.index.add_pack(info.name.clone(), info.chunks_end());
        for chunk in &info.chunks {
            let location = Location {
                pack,
                offset: chunk.offset,
                stored_bytes: chunk.stored_bytes,
                raw_bytes: chunk.raw_bytes,
                coding: chunk.coding,
            };
            self.loaded.index.insert(chunk.key, location);
        }
        Ok(stored)
    }
}

/// The next pack to commit: those that had to wait come first.
async fn next(
    early: &mut std::vec::IntoIter<FinishedPack>,
    packs: &mut mpsc::Receiver<FinishedPack>,
) -> Option<FinishedPack> {
    match early.next() {
        Some(pack) => Some(pack),
        None => packs.recv().await,
    }
}
