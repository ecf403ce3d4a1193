//! The data volume, and what of it is the file system's own.
//!
//! Invariants: `lost+found` is nobody's data: it makes no volume full, is not backed up, not
//! restored and not removed.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

use rustix::fs::Access;

/// The file system's own directory.
pub(super) const FURNITURE: &str = "lost+found";

/// Whether there is nothing in it.
pub(super) fn is_empty(volume: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(volume)? {
        if entry?.file_name() != FURNITURE {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether something can be put into it.
pub(super) fn is_writable(volume: &Path) -> Result<(), rustix::io::Errno> {
    rustix::fs::access(volume, Access::WRITE_OK | Access::EXEC_OK)
}

/// Whose it is and who asks, for a message about what is not allowed.
pub(super) fn who_may(volume: &Path) -> String {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    match fs::metadata(volume) {
        Ok(meta) => format!(
            "it belongs to uid {} and gid {} with mode {:03o}, this is uid {uid} and gid {gid}",
            meta.uid(),
            meta.gid(),
            meta.mode() & 0o7777
        ),
        Err(_) => format!("this is uid {uid} and gid {gid}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn furniture_does_not_make_it_full() {
        let volume = tempfile::tempdir().expect("a directory");
        assert!(is_empty(volume.path()).expect("listed"));
        fs::create_dir(volume.path().join(FURNITURE)).expect("made");
        assert!(is_empty(volume.path()).expect("listed"));
        fs::write(volume.path().join(".hidden"), b"").expect("written");
        assert!(!is_empty(volume.path()).expect("listed"));
        is_empty(&volume.path().join("missing")).expect_err("cannot tell");
    }
}
