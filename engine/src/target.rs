//! Where restores write to: the metadata that is put back on what was created.
//!
//! Invariants
//! - Everything below the target's own path is named by one component relative to an open
//!   directory, and no symbolic link is ever followed there.
//! - While a restore runs, what it creates is for its owner alone.
//!
//! Not here: which entries are written, and in which order (`restore`).

pub mod fs;

use crate::{
    model::directory::{Entry, Xattr},
    source::Moment,
};

/// What is put back on an entry besides its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Permission, setuid, setgid and sticky bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change of content.
    pub mtime: Moment,
    /// Last read.
    pub atime: Moment,
    /// Extended attributes; all of those the target should have.
    pub xattrs: Vec<Xattr>,
}

impl Metadata {
    /// What `entry` recorded, with its owner by number and the attributes that `wanted` takes.
    #[must_use]
    pub fn of(entry: &mut Entry, wanted: impl Fn(&[u8]) -> bool) -> Self {
        let mut xattrs = std::mem::take(&mut entry.xattrs);
        xattrs.retain(|xattr| wanted(&xattr.name));
        Self {
            mode: entry.mode & 0o7777,
            uid: entry.uid,
            gid: entry.gid,
            mtime: entry.mtime.instant(),
            atime: entry.atime.instant(),
            xattrs,
        }
    }
}
