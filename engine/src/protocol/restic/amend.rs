//! Snapshots written again with something changed.

use windlass_format::{
    id::to_hex,
    restic::{
        SnapshotId,
        path::{FileKind, FileName},
        snapshot::Snapshot,
    },
};

use super::{Protocol, read_document};
use crate::{fault::Fault, model::root::RootId, protocol::amend::Amendment};

impl Protocol {
    pub(in crate::protocol) async fn amend_root(
        &self,
        root: &RootId,
        amendment: &Amendment,
    ) -> Result<RootId, Fault> {
        let (id, mut snapshot) = self.snapshot(root).await?;
        if let Some(tags) = &amendment.tags {
            snapshot.tags.clone_from(tags);
        }
        snapshot.original.get_or_insert(id);
        let stored = self.put(FileKind::Snapshot, &snapshot.encode()).await?;
        Ok(RootId::new(to_hex(&stored.into_inner())))
    }

    pub(in crate::protocol) async fn adopt_root(
        &self,
        from: &Self,
        root: &RootId,
    ) -> Result<RootId, Fault> {
        let (id, mut snapshot) = from.snapshot(root).await?;
        snapshot.parent = None;
        // What rustic compared with besides.
        snapshot.extra.retain(|(key, _)| key != "parents");
        snapshot.original.get_or_insert(id);
        let stored = self.put(FileKind::Snapshot, &snapshot.encode()).await?;
        Ok(RootId::new(to_hex(&stored.into_inner())))
    }

    async fn snapshot(&self, root: &RootId) -> Result<(SnapshotId, Snapshot), Fault> {
        let id = SnapshotId::from_hex(root.as_str().as_bytes())
            .ok_or(Fault::Bug("a root of this format is named by a hash"))?;
        let json = read_document(&self.store, &self.codec, FileName::Snapshot(id)).await?;
        let damaged = |damage| Fault::damaged(format!("snapshot {root}"), damage);
        Ok((id, Snapshot::decode(&json).map_err(damaged)?))
    }
}
