//! Snapshots as roots, and back.
//!
//! Invariants: what restic keeps of a snapshot is in the neutral root; keys of other tools are not,
//! because a root is never written that was read.

use windlass_format::restic::{
    BlobId, SnapshotId,
    snapshot::{self, Snapshot},
};

use crate::{
    dialect::restic::tree_key,
    fault::Fault,
    model::root::{Root, RootId, Summary},
};

pub(super) fn root_of(snapshot: Snapshot) -> Root {
    let id = |id: SnapshotId| RootId::new(id.to_hex());
    Root {
        time: snapshot.time,
        parent: snapshot.parent.map(id),
        tree: tree_key(snapshot.tree),
        top: None,
        paths: snapshot.paths,
        hostname: snapshot.hostname,
        username: snapshot.username,
        uid: snapshot.uid,
        gid: snapshot.gid,
        excludes: snapshot.excludes,
        tags: snapshot.tags,
        original: snapshot.original.map(id),
        description: String::new(),
        program: snapshot.program_version,
        summary: snapshot.summary.map(|summary| Summary {
            started: Some(summary.backup_start),
            ended: Some(summary.backup_end),
            files_new: summary.files_new,
            files_changed: summary.files_changed,
            files_unmodified: summary.files_unmodified,
            dirs_new: summary.dirs_new,
            dirs_changed: summary.dirs_changed,
            dirs_unmodified: summary.dirs_unmodified,
            data_chunks: summary.data_blobs,
            meta_chunks: summary.tree_blobs,
            added_bytes: summary.data_added,
            added_stored_bytes: summary.data_added_packed,
            total_files: summary.total_files_processed,
            total_bytes: summary.total_bytes_processed,
        }),
    }
}

pub(super) fn snapshot_of(root: &Root) -> Result<Snapshot, Fault> {
    let id = |id: &RootId| {
        SnapshotId::from_hex(id.as_str().as_bytes())
            .ok_or(Fault::Bug("a root of this format is named by a hash"))
    };
    let mut paths = root.paths.clone();
    paths.sort_unstable();
    let mut tags = root.tags.clone();
    tags.sort_unstable();
    Ok(Snapshot {
        parent: root.parent.as_ref().map(id).transpose()?,
        paths,
        hostname: root.hostname.clone(),
        username: root.username.clone(),
        uid: root.uid,
        gid: root.gid,
        excludes: root.excludes.clone(),
        tags,
        original: root.original.as_ref().map(id).transpose()?,
        program_version: root.program.clone(),
        summary: root.summary.map(|summary| snapshot::Summary {
            files_new: summary.files_new,
            files_changed: summary.files_changed,
            files_unmodified: summary.files_unmodified,
            dirs_new: summary.dirs_new,
            dirs_changed: summary.dirs_changed,
            dirs_unmodified: summary.dirs_unmodified,
            data_blobs: summary.data_chunks,
            tree_blobs: summary.meta_chunks,
            data_added: summary.added_bytes,
            data_added_packed: summary.added_stored_bytes,
            total_files_processed: summary.total_files,
            total_bytes_processed: summary.total_bytes,
            ..snapshot::Summary::new(
                summary.started.unwrap_or(root.time),
                summary.ended.unwrap_or(root.time),
            )
        }),
        ..Snapshot::new(root.time, BlobId(*root.tree.padded()))
    })
}
