//! `kopia.blobcfg`: how long the storage itself must refuse to delete.
//!
//! Invariants: sealed exactly as the format block; absent in repositories older than the blob,
//! which means no retention.
//!
//! Checked against `repo/format/blobcfg_blob.go`.

use serde::Deserialize;

use super::format_blob::FormatBlob;
use super::json;
use super::refusal::Refusal;
use crate::secret::Secret;

const BLOBCFG_LEN_MAX: usize = 64 << 10;

/// Retention that writers ask of the storage for every blob they put.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlobConfig {
    /// `GOVERNANCE`, `COMPLIANCE` or empty.
    #[serde(default)]
    pub retention_mode: String,
    /// Nanoseconds, 0 without retention.
    #[serde(default, rename = "retentionPeriod")]
    pub retention_nanos: i64,
}

/// Opens and decodes `kopia.blobcfg`.
pub fn open(blob: &FormatBlob, key: &Secret<32>, bytes: &[u8]) -> Result<BlobConfig, Refusal> {
    let plain = blob.open_block(key, bytes, "kopia.blobcfg")?;
    Ok(json::read(&plain, "kopia.blobcfg", BLOBCFG_LEN_MAX)?)
}

#[cfg(test)]
mod tests {
    use super::BlobConfig;

    #[test]
    fn retention_is_read_in_nanoseconds() {
        let text = r#"{"retentionMode":"COMPLIANCE","retentionPeriod":86400000000000}"#;
        let config: BlobConfig = serde_json::from_str(text).unwrap();
        assert_eq!((config.retention_mode.as_str(), config.retention_nanos), {
            ("COMPLIANCE", 86_400_000_000_000)
        });
    }
}
