//! Finished packs into the store, and index segments that name them.
//!
//! Invariants
//! - An index segment is written only of packs whose receipts are in hand.
//! - After the first failure nothing more is committed, and the queue is drained so that no worker
//!   waits for ever.

use std::sync::Arc;

use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Duration, Instant},
};

use super::pack::{FinishedPack, PackInfo};
use crate::{
    cancel::Cancel,
    dialect::Dialect,
    fault::Fault,
    index::Index,
    model::pack::Location,
    protocol::{Presence, Protocol, Published},
    store::{Store, Stored},
};

/// Chunks after which an index segment is written while packs are still coming.
const SEGMENT_CHUNKS: usize = 50_000;

/// Time after which an index segment is written although few chunks have come, so that a killed
/// backup leaves little that has to be stored again.
const SEGMENT_AGE: Duration = Duration::from_secs(600);

/// What the publisher works with.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) store: Store,
    pub(super) dialect: Dialect,
    pub(super) protocol: Protocol,
    pub(super) presence: Arc<Presence>,
    pub(super) index: Arc<Index>,
    pub(super) cancel: Cancel,
    /// Packs go nowhere and no index names them.
    pub(super) dry_run: bool,
}

impl Publisher {
    /// Commits packs as they come until the last sender is gone, and publishes all of them.
    pub(super) async fn run(
        self,
        mut packs: mpsc::Receiver<FinishedPack>,
    ) -> Result<Published, Fault> {
        let result = self.commit_all(&mut packs).await;
        if result.is_err() {
            self.cancel.cancel();
            packs.close();
            while packs.recv().await.is_some() {}
        }
        result
    }

    async fn commit_all(
        &self,
        packs: &mut mpsc::Receiver<FinishedPack>,
    ) -> Result<Published, Fault> {
        let connections = self.store.capabilities().connections.max(1);
        let mut commits = JoinSet::new();
        let mut waiting: Vec<Stored<PackInfo>> = Vec::new();
        let mut published = Published::default();
        let mut segment_began = Instant::now();
        loop {
            let room = commits.len() < connections;
            tokio::select! {
                Some(stored) = commits.join_next(), if !commits.is_empty() => {
                    waiting.push(self.stored(stored)?);
                }
                pack = packs.recv(), if room => {
                    let Some(pack) = pack else { break };
                    self.start_commit(&mut commits, pack);
                }
            }
            let chunks: usize = waiting.iter().map(|pack| pack.get().chunks.len()).sum();
            if chunks >= SEGMENT_CHUNKS || (chunks > 0 && segment_began.elapsed() >= SEGMENT_AGE) {
                let segment = std::mem::take(&mut waiting);
                published.join(self.publish(segment).await?);
                segment_began = Instant::now();
            }
        }
        while let Some(stored) = commits.join_next().await {
            waiting.push(self.stored(stored)?);
        }
        published.join(self.publish(waiting).await?);
        Ok(published)
    }

    async fn publish(&self, packs: Vec<Stored<PackInfo>>) -> Result<Published, Fault> {
        if self.dry_run {
            return Ok(Published::default());
        }
        self.protocol.publish(&self.presence, packs).await
    }

    fn start_commit(
        &self,
        commits: &mut JoinSet<Result<Stored<PackInfo>, Fault>>,
        pack: FinishedPack,
    ) {
        let store = self.store.clone();
        let key = self.dialect.pack_key(&pack.info.name);
        commits.spawn(async move { Ok(store.commit(pack.draft, &key, pack.info).await?) });
    }

    /// Books a committed pack in the index.
    fn stored(
        &self,
        joined: Result<Result<Stored<PackInfo>, Fault>, tokio::task::JoinError>,
    ) -> Result<Stored<PackInfo>, Fault> {
        let stored = joined.map_err(|_panic| Fault::Bug("a pack commit panicked"))??;
        let info = stored.get();
        let pack = self.index.add_pack(info.name.clone(), info.chunks_end());
        for chunk in &info.chunks {
            let location = Location {
                pack,
                offset: chunk.offset,
                stored_bytes: chunk.stored_bytes,
                raw_bytes: chunk.raw_bytes,
                coding: chunk.coding,
            };
            self.index.insert(chunk.key, location);
        }
        Ok(stored)
    }
}
