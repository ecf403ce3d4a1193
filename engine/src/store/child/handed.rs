//! A file with secrets, for a program that takes them from nowhere else.
//!
//! Invariants: it lies in a directory of its own that nobody but this user enters, and is gone with
//! it when this is dropped.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crate::entropy::name_suffix;

/// Such a file.
#[derive(Debug)]
pub(in crate::store) struct Handed {
    directory: PathBuf,
    file: PathBuf,
}

impl Handed {
    /// Writes it below `room`.
    pub(in crate::store) fn new(room: &Path, name: &str, bytes: &[u8]) -> io::Result<Self> {
        let random = name_suffix().map_err(io::Error::other)?;
        let directory = room.join(format!("windlass-{random:016x}"));
        DirBuilder::new().mode(0o700).create(&directory)?;
        // From here on it is removed, whatever happens.
        let handed = Self { file: directory.join(name), directory };
        let mut file = OpenOptions::new();
        let mut file = file.write(true).create_new(true).mode(0o600).open(&handed.file)?;
        file.write_all(bytes)?;
        Ok(handed)
    }

    /// Where it is.
    pub(in crate::store) fn path(&self) -> &Path {
        &self.file
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        // The program may have written it anew, under names of its own.
        let _or_it_is_gone = fs::remove_dir_all(&self.directory);
    }
}
