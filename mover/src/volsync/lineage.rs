//! Who this mover is of those there are never two of.
//!
//! The cache volume belongs to one replication, whose Job runs one pod at a time. A name kept in it
//! tells a lock that the last pod left from one that somebody else holds, in another pod as well.
//!
//! Invariants: without a cache volume that keeps it there is no name, and locks are judged without.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use windlass_engine::{entropy::Entropy, format::id::to_hex};

use crate::settings::environment::Variables;

const FILE: &str = "windlass-lineage";
const PREFIX: &str = "volsync-";
const HEX_DIGITS: usize = 32;

/// Whether somebody has given a name already.
pub(super) fn given(variables: &Variables) -> bool {
    variables.get("WINDLASS_LINEAGE").is_some()
}

/// The name kept in the cache volume, made where there is none.
pub(super) fn of(cache: &Path, entropy: &Entropy) -> Option<String> {
    kept(cache).or_else(|| make(cache, entropy))
}

fn kept(cache: &Path) -> Option<String> {
    let mut text = String::new();
    let file = File::open(cache.join(FILE)).ok()?;
    file.take(PREFIX.len() as u64 + HEX_DIGITS as u64 + 1).read_to_string(&mut text).ok()?;
    let digits = text.strip_prefix(PREFIX)?;
    let is_whole =
        digits.len() == HEX_DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_whole.then_some(text)
}

fn make(cache: &Path, entropy: &Entropy) -> Option<String> {
    let random: [u8; HEX_DIGITS / 2] = entropy.bytes().ok()?;
    let name = format!("{PREFIX}{}", to_hex(&random));
    // What was cut off while it was written is written again.
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(cache.join(FILE)).ok()?;
    file.write_all(name.as_bytes()).and_then(|()| file.sync_all()).ok()?;
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_as_long_as_its_file_is_whole() {
        let cache = tempfile::tempdir().expect("a directory");
        let name = || of(cache.path(), &Entropy::system());
        let first = name().expect("a name");
        assert_eq!(name().as_ref(), Some(&first));
        std::fs::write(cache.path().join(FILE), &first[..20]).expect("cut off");
        let second = name().expect("a name");
        assert!(second != first && name() == Some(second));
        assert_eq!(of(&cache.path().join("missing"), &Entropy::system()), None);
    }
}
