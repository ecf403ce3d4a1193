//! What is known of a name without opening it.
//!
//! Invariants: only what has a name that cannot lead elsewhere, and is of a kind that file systems
//! know, is shown at all.

use windlass_format::time::Timestamp;

use super::layout::Top;
use crate::{
    model::{
        directory::{Directory, Entry, Kind, Target},
        object::Content,
    },
    reader::Reader,
    target::fs::is_safe_name,
};

/// What something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A block device.
    BlockDevice,
    /// A character device.
    CharDevice,
    /// A FIFO.
    Fifo,
    /// A socket.
    Socket,
}

/// What is known of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// What it is.
    pub shape: Shape,
    /// Permission, setuid, setgid and sticky bits.
    pub mode: u32,
    /// User and group by number; `None` where nobody owns it because it is stored nowhere.
    pub owner: Option<(u32, u32)>,
    /// Last change of content.
    pub mtime: Timestamp,
    /// Last access.
    pub atime: Timestamp,
    /// Last change of metadata.
    pub ctime: Timestamp,
    /// Bytes of a file, or of a link's target.
    pub size_bytes: u64,
    /// The number of a device.
    pub rdev: u64,
    /// Hard links it had, 0 where unknown.
    pub links: u64,
    /// Device and inode number where it had several names.
    pub identity: Option<(u64, u64)>,
}

/// Permissions of what is stored nowhere.
const MADE_UP_MODE: u32 = 0o555;

impl Attributes {
    /// Those of a directory that is stored nowhere.
    pub(super) fn made_up(shape: Shape, time: Timestamp, size_bytes: u64) -> Self {
        Self {
            shape,
            mode: if shape == Shape::Symlink { 0o777 } else { MADE_UP_MODE },
            owner: None,
            mtime: time,
            atime: time,
            ctime: time,
            size_bytes,
            rdev: 0,
            links: 1,
            identity: None,
        }
    }

    /// Those of the top directory of a root.
    pub(super) fn of_top(top: &Top) -> Self {
        let made_up = Self::made_up(Shape::Directory, top.time, 0);
        match &top.entry {
            Some(entry) => Self::with_shape(entry, Shape::Directory, 0),
            None => made_up,
        }
    }

    /// Those of an entry; `None` if it is not shown.
    pub(super) fn of(entry: &Entry, reader: &Reader) -> Option<Self> {
        let (shape, size_bytes) = match &entry.kind {
            Kind::File { size_bytes, .. } => (Shape::File, *size_bytes),
            Kind::Directory { .. } => (Shape::Directory, 0),
            Kind::Symlink { target } => (Shape::Symlink, target_bytes(target, reader)),
            Kind::BlockDevice { .. } => (Shape::BlockDevice, 0),
            Kind::CharDevice { .. } => (Shape::CharDevice, 0),
            Kind::Fifo => (Shape::Fifo, 0),
            Kind::Socket => (Shape::Socket, 0),
            Kind::Unknown => return None,
        };
        is_safe_name(&entry.name).then(|| Self::with_shape(entry, shape, size_bytes))
    }

    fn with_shape(entry: &Entry, shape: Shape, size_bytes: u64) -> Self {
        let rdev = match entry.kind {
            Kind::BlockDevice { rdev } | Kind::CharDevice { rdev } => rdev,
            _ => 0,
        };
        let has_names = entry.links > 1 && shape != Shape::Directory && entry.inode != 0;
        Self {
            shape,
            mode: entry.mode & 0o7777,
            owner: Some((entry.uid, entry.gid)),
            mtime: entry.mtime,
            atime: entry.atime,
            ctime: entry.ctime.unwrap_or(entry.mtime),
            size_bytes,
            rdev,
            links: entry.links,
            identity: has_names.then_some((entry.device, entry.inode)),
        }
    }
}

/// As far as it can be told without reading it.
fn target_bytes(target: &Target, reader: &Reader) -> u64 {
    match target {
        Target::Inline(bytes) => bytes.len() as u64,
        Target::Stored(Content::Chunks(keys)) => {
            let known = keys.iter().filter_map(|key| reader.location(key));
            known.map(|at| u64::from(at.raw_bytes)).sum()
        }
        Target::Stored(Content::Linked { .. }) => 0,
    }
}

/// What a decoded directory takes in memory.
pub(super) fn bytes_of(directory: &Directory) -> usize {
    let of_content = |content: &Content| match content {
        Content::Chunks(keys) => keys.len() * size_of::<crate::model::chunk::ChunkKey>(),
        Content::Linked { .. } => 0,
    };
    let of_entry = |entry: &Entry| {
        let kind = match &entry.kind {
            Kind::File { content, .. } => of_content(content),
            Kind::Symlink { target: Target::Inline(bytes) } => bytes.len(),
            Kind::Symlink { target: Target::Stored(content) } => of_content(content),
            _ => 0,
        };
        let xattrs = entry.xattrs.iter().map(|xattr| xattr.name.len() + xattr.value.len() + 32);
        let residue = entry.residue.as_deref().map_or(0, |residue| {
            let attributes = residue.foreign_attributes.iter();
            residue.error.len()
                + attributes.map(|(name, raw)| name.len() + raw.len() + 48).sum::<usize>()
        });
        size_of::<Entry>()
            + entry.name.len()
            + entry.user.len()
            + entry.group.len()
            + kind
            + xattrs.sum::<usize>()
            + residue
    };
    directory.entries.iter().map(of_entry).sum::<usize>() + size_of::<Directory>()
}
