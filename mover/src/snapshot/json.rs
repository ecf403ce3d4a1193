//! A snapshot as JSON, field by field as restic prints it.

use serde::Serialize;
use windlass_engine::model::root::Summary;

use super::Snapshot;
use crate::{output::is_default, units::rfc3339};

/// A snapshot of a list.
#[derive(Debug, Serialize)]
pub(crate) struct SnapshotJson<'a> {
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<&'a str>,
    tree: String,
    paths: &'a [String],
    #[serde(skip_serializing_if = "is_default")]
    hostname: &'a str,
    #[serde(skip_serializing_if = "is_default")]
    username: &'a str,
    #[serde(skip_serializing_if = "is_default")]
    uid: u32,
    #[serde(skip_serializing_if = "is_default")]
    gid: u32,
    #[serde(skip_serializing_if = "is_default")]
    excludes: &'a [String],
    #[serde(skip_serializing_if = "is_default")]
    tags: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    original: Option<&'a str>,
    #[serde(skip_serializing_if = "is_default")]
    description: &'a str,
    #[serde(skip_serializing_if = "is_default")]
    program_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<SummaryJson>,
    id: &'a str,
    short_id: &'a str,
}

/// The figures of a backup.
#[derive(Debug, Serialize)]
pub(crate) struct SummaryJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    backup_start: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backup_end: Option<String>,
    files_new: u64,
    files_changed: u64,
    files_unmodified: u64,
    dirs_new: u64,
    dirs_changed: u64,
    dirs_unmodified: u64,
    data_blobs: u64,
    tree_blobs: u64,
    data_added: u64,
    data_added_packed: u64,
    total_files_processed: u64,
    total_bytes_processed: u64,
}

impl<'a> From<&'a Snapshot> for SnapshotJson<'a> {
    fn from(Snapshot { id, root }: &'a Snapshot) -> Self {
        Self {
            time: rfc3339(&root.time),
            parent: root.parent.as_ref().map(|id| id.as_str()),
            tree: root.tree.to_string(),
            paths: &root.paths,
            hostname: &root.hostname,
            username: &root.username,
            uid: root.uid,
            gid: root.gid,
            excludes: &root.excludes,
            tags: &root.tags,
            original: root.original.as_ref().map(|id| id.as_str()),
            description: &root.description,
            program_version: &root.program,
            summary: root.summary.as_ref().map(SummaryJson::from),
            id: id.as_str(),
            short_id: id.short(),
        }
    }
}

impl From<&Summary> for SummaryJson {
    fn from(summary: &Summary) -> Self {
        Self {
            backup_start: summary.started.as_ref().map(rfc3339),
            backup_end: summary.ended.as_ref().map(rfc3339),
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
        }
    }
}
