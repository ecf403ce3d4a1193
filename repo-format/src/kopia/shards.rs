//! Where a file-like store keeps a blob: `.shards` and the paths it leads to.
//!
//! Invariants: object stores are flat and never come here. The characters of a directory are taken
//! *out of* the name: `p123456...` under shards 1, 3 is `p/123/456....f`.
//!
//! Checked against `repo/blob/sharded/sharded_parameters.go`.

use serde::Deserialize;

use super::id::BlobId;
use super::json;
use crate::damage::Damage;

/// The file at the root that says how blobs are spread.
pub const FILE_NAME: &str = ".shards";
/// What every complete blob's file name ends with; anything else is an unfinished write.
pub const SUFFIX: &str = ".f";

const FILE_LEN_MAX: usize = 64 << 10;
const LEVELS_MAX: usize = 16;
const OVERRIDES_MAX: usize = 1024;

/// How blobs are spread over directories.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Shards {
    #[serde(rename = "default")]
    levels: Vec<u8>,
    #[serde(rename = "maxNonShardedLength")]
    flat_len_max: u32,
    #[serde(default)]
    overrides: Vec<Override>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Override {
    prefix: String,
    shards: Vec<u8>,
}

impl Default for Shards {
    /// What a store without `.shards` means: it is older than the file.
    fn default() -> Self {
        Self { levels: vec![3, 3], flat_len_max: 20, overrides: Vec::new() }
    }
}

impl Shards {
    /// Decodes `.shards`.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        let shards: Self = json::read(bytes, ".shards", FILE_LEN_MAX)?;
        if shards.overrides.len() > OVERRIDES_MAX {
            return Err(Damage::OverLimit { what: ".shards overrides", max: 1024 });
        }
        let absurd = |levels: &Vec<u8>| levels.len() > LEVELS_MAX || levels.contains(&0);
        if absurd(&shards.levels) || shards.overrides.iter().any(|o| absurd(&o.shards)) {
            return Err(Damage::Invalid { what: ".shards levels" });
        }
        Ok(shards)
    }

    /// Characters of each level of directories.
    #[must_use]
    pub fn levels(&self) -> &[u8] {
        &self.levels
    }

    /// Names of at most so many characters stay at the root.
    #[must_use]
    pub fn flat_len_max(&self) -> u32 {
        self.flat_len_max
    }

    /// Other levels for names that begin so; the first match counts.
    pub fn overrides(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.overrides.iter().map(|o| (o.prefix.as_str(), o.shards.as_slice()))
    }

    /// The path of a blob below the root, with `/` between directories.
    #[must_use]
    pub fn path(&self, blob: &BlobId) -> String {
        let mut rest = blob.as_str();
        let mut path = String::with_capacity(rest.len() + 8);
        let flat_len_max = usize::try_from(self.flat_len_max).unwrap_or(usize::MAX);
        if rest.len() > flat_len_max {
            let named = self.overrides.iter().find(|o| rest.starts_with(&o.prefix));
            for level in named.map_or(&self.levels, |o| &o.shards) {
                let level = usize::from(*level);
                let Some((directory, below)) = rest.split_at_checked(level) else { break };
                if below.is_empty() {
                    break;
                }
                path.push_str(directory);
                path.push('/');
                rest = below;
            }
        }
        path + rest + SUFFIX
    }
}

/// The blob whose file is at `path` below the root, or `None` for temporary and foreign files.
#[must_use]
pub fn blob_at(path: &str) -> Option<BlobId> {
    BlobId::parse(&path.strip_suffix(SUFFIX)?.replace('/', ""))
}

#[cfg(test)]
mod tests {
    use super::{Shards, blob_at};
    use crate::kopia::id::BlobId;

    fn path(shards: &Shards, name: &str) -> String {
        let blob = BlobId::parse(name).unwrap();
        let path = shards.path(&blob);
        assert_eq!(blob_at(&path), Some(blob));
        path
    }

    #[test]
    fn shard_characters_are_taken_out_of_the_name() {
        let one_three = Shards::decode(br#"{"default":[1,3],"maxNonShardedLength":20}"#).unwrap();
        assert_eq!(path(&one_three, "kopia.repository"), "kopia.repository.f");
        assert_eq!(path(&one_three, "p123456789012345678901"), "p/123/456789012345678901.f");
        assert_eq!(path(&one_three, "_log_20260101000000_aa"), "_/log/_20260101000000_aa.f");
        assert_eq!(path(&Shards::default(), "p123456789012345678901"), {
            "p12/345/6789012345678901.f"
        });
    }

    #[test]
    fn overrides_apply_by_prefix_and_short_names_stop_early() {
        let text = br#"{"default":[1,3],"maxNonShardedLength":0,"overrides":
            [{"prefix":"x","shards":[]},{"prefix":"ab","shards":[2,3]}]}"#;
        let shards = Shards::decode(text).unwrap();
        assert_eq!(path(&shards, "xn0_1234567890"), "xn0_1234567890.f");
        assert_eq!(path(&shards, "abcde"), "ab/cde.f");
        assert_eq!(path(&shards, "ab"), "ab.f");
    }

    #[test]
    fn absurd_shards_and_foreign_files_are_refused() {
        for text in [
            &br#"{"default":[0],"maxNonShardedLength":20}"#[..],
            br#"{"default":[-1],"maxNonShardedLength":20}"#,
            br#"{"default":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"maxNonShardedLength":20}"#,
            br#"{"maxNonShardedLength":20}"#,
            b"[]",
            b"",
        ] {
            assert!(Shards::decode(text).is_err());
        }
        assert_eq!(blob_at("p/123/.tmp.0011"), None);
        assert_eq!(blob_at("p/123/abc"), None);
        assert_eq!(blob_at(".shards"), None);
    }
}
