//! Looking for pieces in files, cut as the repository cuts them.
//!
//! Invariants
//! - Files that were not whole are looked into first, where they were; then all others.
//! - It ends when everything was found. A file that cannot be read is passed over.

use std::{
    collections::{BTreeSet, HashSet},
    ffi::OsStr,
    fs::{self, File},
    io::Read,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use crate::{
    cancel::Cancel,
    dialect::Encoder,
    fault::Fault,
    model::chunk::{ChunkKey, Role},
};

/// What is looked for, and where.
pub(super) struct Search {
    pub(super) path: PathBuf,
    pub(super) wanted: BTreeSet<ChunkKey>,
    /// Paths to look at first.
    pub(super) first: Vec<Vec<u8>>,
    pub(super) encoder: Encoder,
}

/// Hears of a piece that was wanted.
type Found<'a> = dyn FnMut(&ChunkKey, &[u8]) -> Result<(), Fault> + 'a;

impl Search {
    pub(super) fn run(mut self, stop: &Cancel, found: &mut Found<'_>) -> Result<(), Fault> {
        let mut seen = HashSet::new();
        for path in std::mem::take(&mut self.first) {
            let path = PathBuf::from(OsStr::from_bytes(&path));
            if path.starts_with(&self.path) && is_file(&path) && seen.insert(path.clone()) {
                self.file(&path, stop, found)?;
            }
        }
        let mut waiting = vec![self.path.clone()];
        while let Some(path) = waiting.pop() {
            if self.wanted.is_empty() {
                return Ok(());
            }
            if is_file(&path) {
                if !seen.contains(&path) {
                    self.file(&path, stop, found)?;
                }
                continue;
            }
            let Ok(entries) = fs::read_dir(&path) else { continue };
            // A link leads to what is looked at elsewhere, or out of what was named.
            let below = entries.filter_map(Result::ok).filter(|entry| {
                entry.file_type().is_ok_and(|kind| kind.is_dir() || kind.is_file())
            });
            waiting.extend(below.map(|entry| entry.path()));
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, stop: &Cancel, found: &mut Found<'_>) -> Result<(), Fault> {
        let Ok(mut file) = File::open(path) else { return Ok(()) };
        let cutter = self.encoder.cutter().clone();
        let room = cutter.max() * 2;
        let mut buffer = Vec::with_capacity(room);
        let mut keys = Vec::new();
        let mut at_end = false;
        while !self.wanted.is_empty() {
            if stop.is_cancelled() {
                return Err(Fault::Cancelled);
            }
            if !at_end {
                let more = (room - buffer.len()) as u64;
                match (&mut file).take(more).read_to_end(&mut buffer) {
                    Ok(read) => at_end = (read as u64) < more,
                    Err(_unreadable) => return Ok(()),
                }
            }
            let mut done = 0;
            while let Some(len) = cutter.next(&buffer[done..], at_end).filter(|len| *len > 0) {
                let piece = &buffer[done..done + len];
                let plains = std::iter::once((Role::File, piece));
                self.encoder.hash(plains, std::iter::empty(), &mut keys);
                if let Some(key) = keys.first()
                    && self.wanted.remove(key)
                {
                    found(key, piece)?;
                }
                done += len;
                // Near the end of the buffer a cut is certain only with as much as a chunk may have.
                if !at_end && buffer.len() - done < cutter.max() {
                    break;
                }
            }
            buffer.drain(..done);
            if at_end && (done == 0 || buffer.is_empty()) {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file())
}
