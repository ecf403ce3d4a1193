//! Snapshots written again with something changed.

use windlass_format::{
    id::to_hex,
    restic::{
        BlobId, SnapshotId,
        path::{FileKind, FileName},
        snapshot::{Snapshot, Summary},
    },
    time::Timestamp,
};

use super::{Protocol, read_document};
use crate::{
    fault::Fault,
    model::root::RootId,
    protocol::amend::{Amendment, Revision},
};

impl Protocol {
    pub(in crate::protocol) async fn amend_root(
        &self,
        root: &RootId,
        amendment: &Amendment,
    ) -> Result<RootId, Fault> {
        let (id, mut snapshot) = self.snapshot(root).await?;
        change(&mut snapshot, amendment);
        snapshot.original.get_or_insert(id);
        let stored = self.put(FileKind::Snapshot, &snapshot.encode()).await?;
        Ok(RootId::new(to_hex(&stored.into_inner())))
    }

    pub(in crate::protocol) async fn revise_root(
        &self,
        root: &RootId,
        amendment: &Amendment,
        revision: &Revision,
    ) -> Result<RootId, Fault> {
        let (id, mut snapshot) = self.snapshot(root).await?;
        change(&mut snapshot, amendment);
        snapshot.tree = BlobId(*revision.tree.padded());
        if let Some((files, bytes)) = revision.totals {
            let none = || Summary::new(Timestamp::ZERO, Timestamp::ZERO);
            let summary = snapshot.summary.get_or_insert_with(none);
            summary.total_files_processed = files;
            summary.total_bytes_processed = bytes;
        }
        // What it holds is new: a copy of the old one is no copy of it.
        snapshot.original = Some(id);
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

fn change(snapshot: &mut Snapshot, amendment: &Amendment) {
    let Amendment { tags, add_tag, hostname, time } = amendment;
    if let Some(tags) = tags {
        snapshot.tags.clone_from(tags);
    }
    if let Some(tag) = add_tag
        && !snapshot.tags.contains(tag)
    {
        snapshot.tags.push(tag.clone());
    }
    if let Some(hostname) = hostname {
        snapshot.hostname.clone_from(hostname);
    }
    if let Some(time) = time {
        snapshot.time = *time;
    }
}
