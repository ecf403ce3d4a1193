//! Manifests: small JSON documents found by labels.
//!
//! Invariants: a [`Manifests`] holds at most one entry per id, the newest of all contents added;
//! deletions stay in it so that an older entry added later cannot come back.
//!
//! Layout: a content with prefix `m` is gzip of `{"entries":[{id, labels, modified, deleted?,
//! data}]}`.
//!
//! Not here: what `data` means; [`snapshot`](super::snapshot) reads one kind, the others are kept
//! as they are.
//!
//! Checked against `repo/manifest/serialized.go` and `committed_manifest_manager.go`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::compress;
use super::json;
use crate::damage::Damage;
use crate::time::Timestamp;

/// Prefix letter of contents that hold manifests.
pub const PREFIX: u8 = b'm';
/// Bytes of the largest unpacked manifest content.
pub const UNPACKED_LEN_MAX: usize = 256 << 20;

/// One manifest.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// 32 hex digits.
    pub id: String,
    /// What it is found by; `type` is always there.
    pub labels: BTreeMap<String, String>,
    /// When it was written.
    pub modified: Timestamp,
    /// Whether this entry only says that the id is gone.
    pub deleted: bool,
    /// The document, byte for byte.
    pub data: Box<RawValue>,
}

impl Manifest {
    /// The value of a label, empty where it is missing.
    #[must_use]
    pub fn label(&self, key: &str) -> &str {
        self.labels.get(key).map_or("", String::as_str)
    }

    /// Whether this is a snapshot, with labels `username`, `hostname`, `path` and `tag:*`.
    #[must_use]
    pub fn is_snapshot(&self) -> bool {
        self.label("type") == "snapshot"
    }
}

#[derive(Deserialize)]
struct Wire {
    #[serde(default)]
    entries: Option<Vec<WireManifest>>,
}

#[derive(Deserialize)]
struct WireManifest {
    id: String,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    modified: String,
    #[serde(default)]
    deleted: bool,
    #[serde(default)]
    data: Option<Box<RawValue>>,
}

/// Decodes one `m` content.
pub fn decode(content: &[u8]) -> Result<Vec<Manifest>, Damage> {
    let mut text = Vec::new();
    compress::gunzip(content, UNPACKED_LEN_MAX, &mut text)?;
    let wire: Wire = json::read(&text, "manifests", UNPACKED_LEN_MAX)?;
    wire.entries.unwrap_or_default().into_iter().map(manifest).collect()
}

fn manifest(wire: WireManifest) -> Result<Manifest, Damage> {
    let modified = Timestamp::parse_rfc3339(&wire.modified)
        .ok_or(Damage::Invalid { what: "time of a manifest" })?;
    Ok(Manifest {
        id: wire.id,
        labels: wire.labels.unwrap_or_default(),
        modified,
        deleted: wire.deleted,
        data: wire.data.unwrap_or_else(|| RawValue::NULL.to_owned()),
    })
}

/// The manifests of a repository, merged from all `m` contents in any order.
#[derive(Clone, Debug, Default)]
pub struct Manifests(BTreeMap<String, Manifest>);

impl Manifests {
    /// Merges what one content holds. Of equal times the first added stays; kopia never writes one
    /// id twice at one time.
    pub fn add(&mut self, manifests: impl IntoIterator<Item = Manifest>) {
        for manifest in manifests {
            match self.0.entry(manifest.id.clone()) {
                Slot::Vacant(slot) => {
                    slot.insert(manifest);
                }
                Slot::Occupied(mut slot) => {
                    if manifest.modified.instant() > slot.get().modified.instant() {
                        slot.insert(manifest);
                    }
                }
            }
        }
    }

    /// Those that were not deleted, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Manifest> {
        self.0.values().filter(|manifest| !manifest.deleted)
    }

    /// One that was not deleted.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&Manifest> {
        self.0.get(id).filter(|manifest| !manifest.deleted)
    }
}

#[cfg(test)]
mod tests;
