//! Snapshots: which tree was backed up when, from where, by whom.
//!
//! One JSON object without a newline, stored as in [`super::unpacked`]; keys in the order of
//! [`Snapshot`]'s fields, the optional ones left out when empty or zero. Checked against
//! `internal/data/snapshot.go`.
//!
//! Invariant: keys restic does not know (rustic's label, parents, delete, description and further
//! members of the summary) are kept, escaped as Go does, and encode behind the known ones.

use super::{BlobId, SnapshotId};
use crate::{
    damage::Damage,
    go_json::{Object, push_compact, push_hex, read::Reader},
    time::Timestamp,
};

/// Most paths, excludes or tags a snapshot may have.
pub const MAX_LIST: usize = 1 << 20;
/// Most keys a snapshot or its summary may have that restic does not know.
pub const MAX_EXTRA: usize = 256;

const WHAT: &str = "snapshot";

/// A decoded snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// When the backup began, or what it was told.
    pub time: Timestamp,
    /// The snapshot it was compared with.
    pub parent: Option<SnapshotId>,
    /// The root directory.
    pub tree: BlobId,
    /// What was backed up: absolute paths, sorted.
    pub paths: Vec<String>,
    /// Where it ran, empty if unknown.
    pub hostname: String,
    /// Who ran it, empty if unknown.
    pub username: String,
    /// Their user id.
    pub uid: u32,
    /// Their group id.
    pub gid: u32,
    /// The exclude patterns as given.
    pub excludes: Vec<String>,
    /// Tags.
    pub tags: Vec<String>,
    /// The snapshot this one was made from by changing or copying it.
    pub original: Option<SnapshotId>,
    /// The program that wrote it, empty if unknown.
    pub program_version: String,
    /// What the backup found and added.
    pub summary: Option<Summary>,
    /// Every other key with its JSON, in order.
    pub extra: Vec<(String, String)>,
}

/// The counters of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the format's keys and say what they count")]
pub struct Summary {
    pub backup_start: Timestamp,
    pub backup_end: Timestamp,
    pub files_new: u64,
    pub files_changed: u64,
    pub files_unmodified: u64,
    pub dirs_new: u64,
    pub dirs_changed: u64,
    pub dirs_unmodified: u64,
    pub data_blobs: u64,
    pub tree_blobs: u64,
    /// Bytes of new blobs before compression.
    pub data_added: u64,
    /// Bytes of new blobs as stored.
    pub data_added_packed: u64,
    pub total_files_processed: u64,
    pub total_bytes_processed: u64,
    /// Every other key with its JSON, in order.
    pub extra: Vec<(String, String)>,
}

impl Snapshot {
    /// A snapshot of `tree` that says nothing else yet.
    #[must_use]
    pub const fn new(time: Timestamp, tree: BlobId) -> Self {
        Self {
            time,
            parent: None,
            tree,
            paths: Vec::new(),
            hostname: String::new(),
            username: String::new(),
            uid: 0,
            gid: 0,
            excludes: Vec::new(),
            tags: Vec::new(),
            original: None,
            program_version: String::new(),
            summary: None,
            extra: Vec::new(),
        }
    }

    /// Reads the JSON of a snapshot.
    pub fn decode(json: &[u8]) -> Result<Self, Damage> {
        let mut snapshot = Self::new(Timestamp::ZERO, BlobId([0; 32]));
        let mut reader = Reader::new(WHAT, json);
        reader.object(|reader, key| {
            match key {
                "time" => snapshot.time = reader.timestamp()?,
                "parent" => snapshot.parent = reader.optional_hex()?.map(SnapshotId),
                "tree" => snapshot.tree = BlobId(reader.optional_hex()?.unwrap_or_default()),
                "paths" => snapshot.paths = reader.texts(MAX_LIST)?,
                "hostname" => snapshot.hostname = reader.text()?,
                "username" => snapshot.username = reader.text()?,
                "uid" => snapshot.uid = reader.u32()?,
                "gid" => snapshot.gid = reader.u32()?,
                "excludes" => snapshot.excludes = reader.texts(MAX_LIST)?,
                "tags" => snapshot.tags = reader.texts(MAX_LIST)?,
                "original" => snapshot.original = reader.optional_hex()?.map(SnapshotId),
                "program_version" => snapshot.program_version = reader.text()?,
                "summary" if reader.null() => snapshot.summary = None,
                "summary" => snapshot.summary = Some(Summary::read(reader)?),
                _ => read_extra(reader, key, &mut snapshot.extra)?,
            }
            Ok(())
        })?;
        reader.finish()?;
        if snapshot.tree.is_zero() {
            return Err(Damage::Invalid { what: "tree of a snapshot" });
        }
        Ok(snapshot)
    }

    /// Writes the JSON, without a newline.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut object = Object::open(&mut out);
        object.timestamp("time", &self.time);
        if let Some(parent) = &self.parent {
            push_hex(&parent.0, object.key("parent"));
        }
        push_hex(&self.tree.0, object.key("tree"));
        object.strings("paths", &self.paths);
        object.string_unless_empty("hostname", &self.hostname);
        object.string_unless_empty("username", &self.username);
        object.u64_unless_zero("uid", self.uid);
        object.u64_unless_zero("gid", self.gid);
        if !self.excludes.is_empty() {
            object.strings("excludes", &self.excludes);
        }
        if !self.tags.is_empty() {
            object.strings("tags", &self.tags);
        }
        if let Some(original) = &self.original {
            push_hex(&original.0, object.key("original"));
        }
        object.string_unless_empty("program_version", &self.program_version);
        if let Some(summary) = &self.summary {
            summary.write(object.key("summary"));
        }
        write_extra(&self.extra, &mut object);
        object.close();
        out
    }
}

impl Summary {
    /// A summary of a backup between these times that found nothing.
    #[must_use]
    pub const fn new(backup_start: Timestamp, backup_end: Timestamp) -> Self {
        Self {
            backup_start,
            backup_end,
            files_new: 0,
            files_changed: 0,
            files_unmodified: 0,
            dirs_new: 0,
            dirs_changed: 0,
            dirs_unmodified: 0,
            data_blobs: 0,
            tree_blobs: 0,
            data_added: 0,
            data_added_packed: 0,
            total_files_processed: 0,
            total_bytes_processed: 0,
            extra: Vec::new(),
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Damage> {
        let mut summary = Self::new(Timestamp::ZERO, Timestamp::ZERO);
        reader.object(|reader, key| {
            let counter = match key {
                "backup_start" => {
                    summary.backup_start = reader.timestamp()?;
                    return Ok(());
                }
                "backup_end" => {
                    summary.backup_end = reader.timestamp()?;
                    return Ok(());
                }
                "files_new" => &mut summary.files_new,
                "files_changed" => &mut summary.files_changed,
                "files_unmodified" => &mut summary.files_unmodified,
                "dirs_new" => &mut summary.dirs_new,
                "dirs_changed" => &mut summary.dirs_changed,
                "dirs_unmodified" => &mut summary.dirs_unmodified,
                "data_blobs" => &mut summary.data_blobs,
                "tree_blobs" => &mut summary.tree_blobs,
                "data_added" => &mut summary.data_added,
                "data_added_packed" => &mut summary.data_added_packed,
                "total_files_processed" => &mut summary.total_files_processed,
                "total_bytes_processed" => &mut summary.total_bytes_processed,
                _ => return read_extra(reader, key, &mut summary.extra),
            };
            *counter = reader.u64()?;
            Ok(())
        })?;
        Ok(summary)
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut object = Object::open(out);
        object.timestamp("backup_start", &self.backup_start);
        object.timestamp("backup_end", &self.backup_end);
        object.u64("files_new", self.files_new);
        object.u64("files_changed", self.files_changed);
        object.u64("files_unmodified", self.files_unmodified);
        object.u64("dirs_new", self.dirs_new);
        object.u64("dirs_changed", self.dirs_changed);
        object.u64("dirs_unmodified", self.dirs_unmodified);
        object.u64("data_blobs", self.data_blobs);
        object.u64("tree_blobs", self.tree_blobs);
        object.u64("data_added", self.data_added);
        object.u64("data_added_packed", self.data_added_packed);
        object.u64("total_files_processed", self.total_files_processed);
        object.u64("total_bytes_processed", self.total_bytes_processed);
        write_extra(&self.extra, &mut object);
        object.close();
    }
}

fn read_extra(
    reader: &mut Reader<'_>,
    key: &str,
    extra: &mut Vec<(String, String)>,
) -> Result<(), Damage> {
    if extra.len() == MAX_EXTRA {
        return Err(Damage::OverLimit { what: "snapshot keys", max: 256 });
    }
    extra.push((key.to_owned(), reader.compact_value()?));
    Ok(())
}

fn write_extra(extra: &[(String, String)], object: &mut Object<'_>) {
    for (key, raw) in extra {
        push_compact(raw.as_bytes(), object.key(key));
    }
}
