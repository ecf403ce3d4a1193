//! Snapshot manifests.
//!
//! Invariants: a field that kopia omits when empty reads as its zero; the id is not in the document
//! but that of the manifest around it.
//!
//! Checked against `snapshot/manifest.go`, `snapshot/source.go` and `snapshot/stats.go`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::dir::{DirEntry, WireEntry};
use super::json;
use super::manifest::Manifest;
use crate::damage::Damage;
use crate::time::Timestamp;

const SNAPSHOT_LEN_MAX: usize = 16 << 20;

/// One snapshot of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Id of the manifest.
    pub id: String,
    /// What was saved.
    pub source: Source,
    /// Free text.
    pub description: String,
    /// When reading began.
    pub start: Timestamp,
    /// When reading ended.
    pub end: Timestamp,
    /// Why the snapshot is not whole: `checkpoint`, `canceled`, `limit reached`; empty if it is.
    pub incomplete: String,
    /// The root; a checkpoint taken too early has none.
    pub root: Option<DirEntry>,
    /// Tags, keys without their `tag:` prefix.
    pub tags: BTreeMap<String, String>,
    /// Names that keep retention away.
    pub pins: Vec<String>,
    /// Counts taken while reading.
    pub stats: Stats,
}

/// What a snapshot is of.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub struct Source {
    /// Host name, lower case.
    #[serde(default)]
    pub host: String,
    /// User name.
    #[serde(default, rename = "userName")]
    pub user: String,
    /// Absolute path.
    #[serde(default)]
    pub path: String,
}

/// Counts of a snapshot run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Stats {
    /// Bytes of all files.
    pub total_size: i64,
    /// Files.
    pub file_count: i64,
    /// Files that were taken over from the previous snapshot unread.
    pub cached_files: i64,
    /// Files that were read.
    pub non_cached_files: i64,
    /// Directories.
    pub dir_count: i64,
    /// Entries that could not be read and were left out.
    pub ignored_error_count: i64,
    /// Entries that could not be read.
    pub error_count: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'j> {
    #[serde(default)]
    source: Source,
    #[serde(default)]
    description: String,
    start_time: String,
    end_time: String,
    #[serde(default)]
    stats: Stats,
    #[serde(default)]
    incomplete: String,
    #[serde(borrow, default)]
    root_entry: Option<WireEntry<'j>>,
    #[serde(default)]
    tags: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pins: Option<Vec<String>>,
}

/// Reads the snapshot in a manifest whose `type` is `snapshot`.
pub fn decode(manifest: &Manifest) -> Result<Snapshot, Damage> {
    let what = "snapshot manifest";
    if !manifest.is_snapshot() {
        return Err(Damage::Invalid { what });
    }
    let wire: Wire<'_> = json::read(manifest.data.get().as_bytes(), what, SNAPSHOT_LEN_MAX)?;
    let time = |text: &str| Timestamp::parse_rfc3339(text).ok_or(Damage::Invalid { what });
    let tags = wire.tags.unwrap_or_default().into_iter();
    Ok(Snapshot {
        id: manifest.id.clone(),
        source: wire.source,
        description: wire.description,
        start: time(&wire.start_time)?,
        end: time(&wire.end_time)?,
        incomplete: wire.incomplete,
        root: wire.root_entry.map(DirEntry::try_from).transpose()?,
        tags: tags
            .map(|(key, value)| (key.strip_prefix("tag:").unwrap_or(&key).to_owned(), value))
            .collect(),
        pins: wire.pins.unwrap_or_default(),
        stats: wire.stats,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::value::RawValue;

    use super::{Snapshot, decode};
    use crate::damage::Damage;
    use crate::kopia::manifest::Manifest;
    use crate::time::Timestamp;

    fn snapshot(kind: &str, data: &str) -> Result<Snapshot, Damage> {
        decode(&Manifest {
            id: "0011".into(),
            labels: BTreeMap::from([("type".into(), kind.into())]),
            modified: Timestamp::utc(0, 0),
            deleted: false,
            data: RawValue::from_string(data.into()).unwrap(),
        })
    }

    #[test]
    fn a_checkpoint_without_root_is_a_snapshot() {
        let data = r#"{"id":"","source":{"host":"h","userName":"u","path":"/p"},
            "startTime":"2026-01-01T00:00:00Z","endTime":"2026-01-01T00:00:01.5Z",
            "stats":{"totalSize":12,"fileCount":3,"unknown":1},"incomplete":"checkpoint",
            "rootEntry":null,"tags":{"tag:a":"1","b":"2"},"pins":["p"]}"#;
        let snapshot = snapshot("snapshot", data).unwrap();
        assert_eq!(snapshot.id, "0011");
        assert_eq!((snapshot.incomplete.as_str(), snapshot.root), ("checkpoint", None));
        assert_eq!((snapshot.stats.total_size, snapshot.stats.file_count), (12, 3));
        assert_eq!(snapshot.end.nanos, 500_000_000);
        let tags: Vec<_> = snapshot.tags.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!((tags.as_slice(), snapshot.pins.len()), (&[("a", "1"), ("b", "2")][..], 1));
    }

    #[test]
    fn other_manifests_and_missing_times_are_damage() {
        assert!(snapshot("policy", "{}").is_err());
        assert!(matches!(snapshot("snapshot", "{}"), Err(Damage::Json { .. })));
        let times = r#"{"startTime":"now","endTime":"2026-01-01T00:00:00Z"}"#;
        assert_eq!(snapshot("snapshot", times), Err(Damage::Invalid { what: "snapshot manifest" }));
        let root = r#"{"startTime":"2026-01-01T00:00:00Z","endTime":"2026-01-01T00:00:00Z",
            "rootEntry":{"name":"r","type":"d","obj":"x"}}"#;
        let what = "object id in a directory";
        assert_eq!(snapshot("snapshot", root), Err(Damage::Invalid { what }));
    }
}
