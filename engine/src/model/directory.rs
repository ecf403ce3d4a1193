//! A directory and its entries: a superset of what either format can store.
//!
//! Invariants: names are raw bytes of one path component; `mode` has permission, setuid, setgid
//! and sticky bits as in `st_mode`, without the type; entries are ascending by name.
//!
//! Not here: what each dialect leaves out (documented and tested there).

use windlass_format::time::Timestamp;

use super::{chunk::ChunkKey, object::Content};

/// The entries of one directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    /// Ascending by name, no name twice.
    pub entries: Vec<Entry>,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name, raw bytes.
    pub name: Box<[u8]>,
    /// What it is, and what only such things have.
    pub kind: Kind,
    /// Permission, setuid, setgid and sticky bits.
    pub mode: u32,
    /// Last change of content.
    pub mtime: Timestamp,
    /// Last access, as far as it is kept.
    pub atime: Timestamp,
    /// Last change of metadata; `None` where the dialect does not store it.
    pub ctime: Option<Timestamp>,
    /// Owner by number.
    pub uid: u32,
    /// Group by number.
    pub gid: u32,
    /// Owner by name, empty where unknown.
    pub user: Box<str>,
    /// Group by name, empty where unknown.
    pub group: Box<str>,
    /// Inode number, 0 where unknown.
    pub inode: u64,
    /// Device the inode number belongs to, 0 where unknown.
    pub device: u64,
    /// Number of hard links, 0 where unknown.
    pub links: u64,
    /// Extended attributes in listing order.
    pub xattrs: Vec<Xattr>,
    /// What the dialect knows beyond this model and needs to write the entry again unharmed.
    pub residue: Option<Box<Residue>>,
}

impl Entry {
    /// An entry that no file system knows: owned by number 0, without identity and attributes.
    #[must_use]
    pub fn plain(name: impl Into<Box<[u8]>>, kind: Kind, mode: u32, time: Timestamp) -> Self {
        Self {
            name: name.into(),
            kind,
            mode,
            mtime: time,
            atime: time,
            ctime: None,
            uid: 0,
            gid: 0,
            user: Box::default(),
            group: Box::default(),
            inode: 0,
            device: 0,
            links: 0,
            xattrs: Vec::new(),
            residue: None,
        }
    }
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File {
        /// Bytes of content.
        size_bytes: u64,
        /// Its chunks.
        content: Content,
    },
    /// A directory.
    Directory {
        /// Its entries; `None` where they could not be read.
        tree: Option<ChunkKey>,
    },
    /// A symbolic link.
    Symlink {
        /// The target as raw bytes.
        target: Target,
    },
    /// A block device.
    BlockDevice {
        /// The device number.
        rdev: u64,
    },
    /// A character device.
    CharDevice {
        /// The device number.
        rdev: u64,
    },
    /// A FIFO.
    Fifo,
    /// A socket: listed, never restored.
    Socket,
    /// A kind this version does not know; listed, never restored.
    Unknown,
}

/// A symbolic link's target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The bytes, kept in the directory.
    Inline(Box<[u8]>),
    /// The bytes, kept as an object of their own.
    Stored(Content),
}

/// One extended attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Xattr {
    /// Its full name, such as `user.comment`.
    pub name: Box<[u8]>,
    /// Its value.
    pub value: Box<[u8]>,
}

/// What only the dialect understands.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Residue {
    /// Attributes of other operating systems: name and raw value.
    pub foreign_attributes: Vec<(String, String)>,
    /// The error text stored with an entry that could not be read.
    pub error: Box<str>,
}
