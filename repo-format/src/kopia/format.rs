//! What an opened format blob says: algorithms, keys, parameters.
//!
//! Invariants
//! - A [`Format`] exists only for a version, index version and set of required features that this
//!   reader knows; its keys print nothing and wipe themselves.
//! - Numbers that were missing are already the default kopia gives them.
//!
//! Not here: validation that only a writer needs (the legal range of new pack sizes).
//!
//! Checked against `repo/format/content_format.go`, `format_provider.go` and
//! `upgrade_lock_intent.go`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use core::fmt;
use serde::Deserialize;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::json;
use super::refusal::{Refusal, shorten};
use crate::damage::Damage;
use crate::time::Timestamp;

/// Bytes of the longest key a repository may name.
pub const KEY_LEN_MAX: usize = 64;
/// Bytes of the largest pack: what an index entry can express as an offset.
pub const PACK_LEN_MAX: u32 = 1 << 30;

const FORMAT_LEN_MAX: usize = 64 << 10;
const NANOS_PER_SECOND: i128 = 1_000_000_000;
const FEATURES_KNOWN: [&str; 2] = ["index-v1", "index-v2"];

/// Key bytes of a length the repository chose: no `Display`, an empty `Debug`, wiped on drop.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct KeyBytes(Vec<u8>);

impl KeyBytes {
    fn decode(base64: &str, what: &'static str) -> Result<Self, Damage> {
        let bytes = STANDARD.decode(base64).map_err(|_error| Damage::Invalid { what })?;
        if bytes.is_empty() || bytes.len() > KEY_LEN_MAX {
            return Err(Damage::Invalid { what });
        }
        Ok(Self(bytes))
    }

    /// The bytes, for the cipher or hash that needs them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for KeyBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyBytes")
    }
}

/// How a repository is written.
#[derive(Clone, Debug)]
pub struct Format {
    /// 1, 2 or 3; 2 and 3 mean the same.
    pub version: u8,
    /// Name of the hash that makes content ids.
    pub hash: String,
    /// Name of the cipher that seals contents.
    pub encryption: String,
    /// Key of the hash.
    pub secret: KeyBytes,
    /// Key the cipher's keys are derived from.
    pub master_key: KeyBytes,
    /// Bytes at which a pack is closed.
    pub max_pack_size: u32,
    /// 1 or 2: the layout of new index blobs. Readers take both.
    pub index_version: u8,
    /// How index blobs are replaced, or `None` where the old `n` blobs are in use.
    pub epochs: Option<EpochParameters>,
    /// Whether purpose keys come from the master key (else from the password).
    pub enable_password_change: bool,
    /// Name of the splitter, empty in very old repositories.
    pub splitter: String,
    /// Set while the repository is being upgraded.
    pub upgrade_lock: Option<UpgradeLock>,
    /// Features we do not know whose owner only wants a warning.
    pub warnings: Vec<String>,
}

/// How the index moves from epoch to epoch; times in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct EpochParameters {
    enabled: bool,
    /// How long a writer may trust its view of the index.
    pub epoch_refresh_frequency: i64,
    /// Epochs between range checkpoints.
    pub full_checkpoint_frequency: i64,
    /// How long superseded blobs are kept, in storage time.
    pub cleanup_safety_margin: i64,
    /// How long an epoch lasts at least.
    pub min_epoch_duration: i64,
    /// Index blobs after which an epoch may end.
    pub epoch_advance_on_count_threshold: i64,
    /// Index bytes after which an epoch may end.
    pub epoch_advance_on_total_size_bytes_threshold: i64,
    /// Deletions in flight during clean-up.
    pub delete_parallelism: i64,
}

/// Someone's intent to upgrade the repository, which every other client must respect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpgradeLock {
    /// Who holds it.
    pub owner: String,
    /// When it was placed.
    pub created: Timestamp,
    /// What users are to be told.
    pub message: String,
    advance_notice_nanos: i64,
    drain_nanos: i64,
}

impl UpgradeLock {
    /// Whether all other clients must be gone at `now`; before that the lock is only announced.
    #[must_use]
    pub fn is_locked(&self, now: Timestamp) -> bool {
        let nanos =
            |time: Timestamp| i128::from(time.seconds) * NANOS_PER_SECOND + i128::from(time.nanos);
        let notice = i128::from(self.advance_notice_nanos) - i128::from(self.drain_nanos);
        notice < 0 || nanos(now) >= nanos(self.created) + notice
    }
}

#[derive(Deserialize)]
struct Envelope {
    format: Wire,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    #[serde(default)]
    hash: String,
    #[serde(default)]
    encryption: String,
    #[serde(default)]
    ecc: String,
    #[serde(default)]
    ecc_overhead_percent: i64,
    #[serde(default)]
    secret: Zeroed,
    #[serde(default)]
    master_key: Zeroed,
    #[serde(default)]
    version: i64,
    #[serde(default)]
    max_pack_size: i64,
    #[serde(default)]
    index_version: i64,
    epoch_parameters: Option<EpochParameters>,
    #[serde(default)]
    enable_password_change: bool,
    #[serde(default)]
    splitter: String,
    upgrade_lock: Option<WireLock>,
    required_features: Option<Vec<WireFeature>>,
}

/// Base64 of a key, wiped after decoding.
#[derive(Default, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(transparent)]
struct Zeroed(String);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireLock {
    #[serde(default, rename = "ownerID")]
    owner_id: String,
    creation_time: String,
    #[serde(default)]
    advance_notice_duration: i64,
    #[serde(default, rename = "ioDrainTimeout")]
    io_drain_timeout: i64,
    #[serde(default)]
    message: String,
    #[serde(default)]
    max_permitted_clock_drift: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireFeature {
    feature: String,
    #[serde(default)]
    if_not_understood: IfNotUnderstood,
}

#[derive(Default, Deserialize)]
struct IfNotUnderstood {
    #[serde(default)]
    warn: bool,
    #[serde(default)]
    message: String,
}

impl Format {
    /// Decodes the plaintext of the encrypted format block.
    pub fn decode(plain: &Zeroizing<Vec<u8>>) -> Result<Self, Refusal> {
        let Envelope { format: wire } = json::read(plain, "format block", FORMAT_LEN_MAX)?;
        let warnings = unknown_features(wire.required_features.unwrap_or_default())?;
        let version = match wire.version {
            version @ 1..=3 => u8::try_from(version).unwrap_or(3),
            _ => return Err(Damage::Unsupported { what: "repository format version" }.into()),
        };
        let index_version = match wire.index_version {
            0 | 1 => 1,
            2 => 2,
            _ => return Err(Damage::Unsupported { what: "index version" }.into()),
        };
        let max_pack_size = match u32::try_from(wire.max_pack_size) {
            Ok(0) => 20 << 20,
            Ok(size) if size <= PACK_LEN_MAX => size,
            _ => {
                let max = u64::from(PACK_LEN_MAX);
                return Err(Damage::OverLimit { what: "maximum pack size", max }.into());
            }
        };
        if !wire.ecc.is_empty() && wire.ecc_overhead_percent > 0 {
            return Err(Refusal::algorithm("error correction", &wire.ecc));
        }
        Ok(Self {
            version,
            hash: wire.hash,
            encryption: wire.encryption,
            secret: KeyBytes::decode(&wire.secret.0, "hash secret")?,
            master_key: KeyBytes::decode(&wire.master_key.0, "master key")?,
            max_pack_size,
            index_version,
            epochs: wire.epoch_parameters.filter(|epochs| epochs.enabled),
            enable_password_change: wire.enable_password_change,
            splitter: wire.splitter,
            upgrade_lock: wire.upgrade_lock.map(upgrade_lock).transpose()?,
            warnings,
        })
    }
}

/// Refuses what must be understood and is not; returns what only deserves a warning.
fn unknown_features(required: Vec<WireFeature>) -> Result<Vec<String>, Refusal> {
    let mut warnings = Vec::new();
    for feature in required {
        if FEATURES_KNOWN.contains(&feature.feature.as_str()) {
            continue;
        }
        let name = shorten(&feature.feature);
        if !feature.if_not_understood.warn {
            let message = shorten(&feature.if_not_understood.message);
            return Err(Refusal::Feature { name, message });
        }
        warnings.push(name);
    }
    Ok(warnings)
}

fn upgrade_lock(wire: WireLock) -> Result<UpgradeLock, Damage> {
    let created = Timestamp::parse_rfc3339(&wire.creation_time)
        .ok_or(Damage::Invalid { what: "time of the upgrade lock" })?;
    let drain_nanos =
        wire.io_drain_timeout.saturating_mul(2).saturating_add(wire.max_permitted_clock_drift);
    Ok(UpgradeLock {
        owner: shorten(&wire.owner_id),
        created,
        message: shorten(&wire.message),
        advance_notice_nanos: wire.advance_notice_duration,
        drain_nanos,
    })
}

#[cfg(test)]
mod tests;
