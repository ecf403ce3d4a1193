//! What is known of a location before it is asked: which repository it held, and how its config
//! and the key that was used are named and sealed.
//!
//! Invariants
//! - It saves requests and decides nothing: whatever does not fit what the store says is dropped,
//!   and the repository is opened as if nothing were known.
//! - No secret is in it: config and key are as sealed as in the store. Who reads it can try
//!   passwords, as with a copy of the repository; so it is its owner's alone.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use windlass_format::id::{from_hex, to_hex};

use crate::entropy::name_suffix;

/// What a location held when it was opened last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// The repository's id.
    pub(crate) repository: [u8; 32],
    /// The name of the key that opened it.
    pub(crate) key: [u8; 32],
    /// That key as it is stored.
    pub(crate) sealed_key: Vec<u8>,
    /// The config as it is stored.
    pub(crate) config: Vec<u8>,
}

/// A config or a key is a few hundred bytes.
const MOST_BYTES: u64 = 64 * 1024;
/// Digits of a length.
const LENGTH_DIGITS: usize = 8;

impl Known {
    /// What is known of a location.
    pub(crate) fn load(base: &Path, location: &str) -> Option<Self> {
        let path = path_of(base, location);
        if fs::metadata(&path).ok()?.len() > MOST_BYTES {
            return None;
        }
        let bytes = fs::read(path).ok()?;
        let (repository, rest) = bytes.split_at_checked(64)?;
        let (key, rest) = rest.split_at_checked(64)?;
        let (length, rest) = rest.split_at_checked(LENGTH_DIGITS)?;
        let length = usize::from_str_radix(std::str::from_utf8(length).ok()?, 16).ok()?;
        let (sealed_key, config) = rest.split_at_checked(length)?;
        let (sealed_key, config) = (sealed_key.to_vec(), config.to_vec());
        let mut known = Self { repository: [0; 32], key: [0; 32], sealed_key, config };
        from_hex(repository, &mut known.repository)?;
        from_hex(key, &mut known.key)?;
        Some(known)
    }

    /// Keeps it for the next time. Where it cannot be kept, the next time asks.
    pub(crate) fn save(&self, base: &Path, location: &str) {
        let path = path_of(base, location);
        let (repository, key) = (to_hex(&self.repository), to_hex(&self.key));
        let length = self.sealed_key.len();
        let mut text = format!("{repository}{key}{length:0LENGTH_DIGITS$x}").into_bytes();
        text.extend(&self.sealed_key);
        text.extend(&self.config);
        if fs::read(&path).is_ok_and(|kept| kept == text) {
            return;
        }
        let Some(directory) = path.parent() else { return };
        let Ok(suffix) = name_suffix() else { return };
        let temporary = directory.join(format!("tmp-{suffix:016x}"));
        let saved = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        let mut new = OpenOptions::new();
        new.write(true).create_new(true).mode(0o600);
        let saved = saved.and_then(|()| new.open(&temporary)?.write_all(&text));
        if saved.and_then(|()| fs::rename(&temporary, &path)).is_err() {
            let _or_it_stays = fs::remove_file(&temporary);
        }
    }

    /// Drops what turned out to be wrong.
    pub(crate) fn drop(base: &Path, location: &str) {
        let _or_it_is_found_wrong_again = fs::remove_file(path_of(base, location));
    }
}

fn path_of(base: &Path, location: &str) -> PathBuf {
    let name: [u8; 32] = Sha256::digest(location).into();
    base.join("windlass-locations").join(to_hex(&name))
}
