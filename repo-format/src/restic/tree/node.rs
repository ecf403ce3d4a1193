//! One entry of a directory.

use crate::{restic::BlobId, time::Timestamp};

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A block device.
    Device,
    /// A character device.
    CharDevice,
    /// A named pipe.
    Fifo,
    /// A socket, which is read but never written by a backup.
    Socket,
    /// What restic calls irregular and will not restore.
    Irregular,
}

impl NodeKind {
    const ALL: [Self; 8] = [
        Self::File,
        Self::Dir,
        Self::Symlink,
        Self::Device,
        Self::CharDevice,
        Self::Fifo,
        Self::Socket,
        Self::Irregular,
    ];

    /// The word in the JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Dir => "dir",
            Self::Symlink => "symlink",
            Self::Device => "dev",
            Self::CharDevice => "chardev",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
            Self::Irregular => "irregular",
        }
    }

    /// The kind of a word.
    #[must_use]
    pub fn from_word(word: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word().as_bytes() == word)
    }
}

/// A file mode in Go's bits, which are not those of `st_mode`.
///
/// ```text
/// 31 dir  27 symlink  26 device  25 fifo  24 socket  23 setuid  22 setgid  21 chardevice
/// 20 sticky  19 irregular  8..0 permissions
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mode(pub u32);

const DIR: u32 = 1 << 31;
const SYMLINK: u32 = 1 << 27;
const DEVICE: u32 = 1 << 26;
const FIFO: u32 = 1 << 25;
const SOCKET: u32 = 1 << 24;
const SETUID: u32 = 1 << 23;
const SETGID: u32 = 1 << 22;
const CHAR_DEVICE: u32 = 1 << 21;
const STICKY: u32 = 1 << 20;
const IRREGULAR: u32 = 1 << 19;

/// Type bits of Go and of `st_mode`.
const KINDS: [(u32, u32); 7] = [
    (DIR, 0o040_000),
    (SYMLINK, 0o120_000),
    (DEVICE | CHAR_DEVICE, 0o020_000),
    (DEVICE, 0o060_000),
    (FIFO, 0o010_000),
    (SOCKET, 0o140_000),
    (0, 0o100_000),
];
/// Bits beside type and permissions of Go and of `st_mode`.
const SPECIAL: [(u32, u32); 3] = [(SETUID, 0o4000), (SETGID, 0o2000), (STICKY, 0o1000)];
const ST_KIND: u32 = 0o170_000;
const GO_KIND: u32 = DIR | SYMLINK | DEVICE | CHAR_DEVICE | FIFO | SOCKET | IRREGULAR;

impl Mode {
    /// From `st_mode`; a type Unix does not have becomes irregular.
    #[must_use]
    pub fn from_st_mode(st_mode: u32) -> Self {
        let kind = KINDS.iter().find(|(_, st)| st_mode & ST_KIND == *st);
        let special = SPECIAL.iter().filter(|(_, st)| st_mode & st != 0);
        let special = special.fold(0, |bits, (go, _)| bits | go);
        Self(st_mode & 0o777 | special | kind.map_or(IRREGULAR, |(go, _)| *go))
    }

    /// As `st_mode`; no type bits for what Unix does not have.
    #[must_use]
    pub fn to_st_mode(self) -> u32 {
        let kind = KINDS.iter().find(|(go, _)| self.0 & GO_KIND == *go);
        kind.map_or(0, |(_, st)| *st) | self.to_permissions()
    }

    /// Permissions, setuid, setgid and sticky as `chmod` takes them.
    #[must_use]
    pub fn to_permissions(self) -> u32 {
        let special = SPECIAL.iter().filter(|(go, _)| self.0 & go != 0);
        self.0 & 0o777 | special.fold(0, |bits, (_, st)| bits | st)
    }
}

/// An extended attribute.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Xattr {
    /// Its full name.
    pub name: Vec<u8>,
    /// Its value; `None` only where a writer put null instead of an empty text.
    pub value: Option<Vec<u8>>,
}

/// One entry of a directory. Numbers that are zero and texts that are empty are not written,
/// except `uid` and `gid`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The name as the file system has it.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: NodeKind,
    /// Type and permissions.
    pub mode: Mode,
    /// Last change of the content.
    pub mtime: Timestamp,
    /// Last access; a copy of `mtime` unless asked for.
    pub atime: Timestamp,
    /// Last change of the inode.
    pub ctime: Timestamp,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Owner's name.
    pub user: String,
    /// Group's name.
    pub group: String,
    /// Inode number.
    pub inode: u64,
    /// `st_dev` of the file.
    pub device_id: u64,
    /// Bytes of a file.
    pub size: u64,
    /// Hard links.
    pub links: u64,
    /// Target of a symbolic link.
    pub link_target: Vec<u8>,
    /// Extended attributes in the order the file system lists them.
    pub xattrs: Vec<Xattr>,
    /// Attributes of other systems: name and JSON, written sorted by name.
    pub generic: Vec<(String, String)>,
    /// Device number of a device.
    pub device: u64,
    /// Blobs of a file, `None` for everything else.
    pub content: Option<Vec<BlobId>>,
    /// The tree of a directory.
    pub subtree: Option<BlobId>,
    /// What went wrong while it was read.
    pub error: String,
}

impl Node {
    /// An entry that says no more than name and kind.
    #[must_use]
    pub const fn new(name: Vec<u8>, kind: NodeKind) -> Self {
        Self {
            name,
            kind,
            mode: Mode(0),
            mtime: Timestamp::ZERO,
            atime: Timestamp::ZERO,
            ctime: Timestamp::ZERO,
            uid: 0,
            gid: 0,
            user: String::new(),
            group: String::new(),
            inode: 0,
            device_id: 0,
            size: 0,
            links: 0,
            link_target: Vec::new(),
            xattrs: Vec::new(),
            generic: Vec::new(),
            device: 0,
            content: None,
            subtree: None,
            error: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_the_ones_restic_writes() {
        for (st_mode, go) in [
            (0o040_755, 2_147_484_141),
            (0o106_755, 12_583_405),
            (0o041_777, 2_148_532_735),
            (0o010_644, 33_554_852),
            (0o100_644, 0o644),
            (0o120_777, SYMLINK | 0o777),
            (0o060_660, DEVICE | 0o660),
            (0o020_600, DEVICE | CHAR_DEVICE | 0o600),
            (0o140_755, SOCKET | 0o755),
        ] {
            assert_eq!(Mode::from_st_mode(st_mode), Mode(go), "{st_mode:o}");
        }
    }

    #[test]
    fn every_mode_unix_has_survives() {
        for st_mode in 0..=0o177_777 {
            let mode = Mode::from_st_mode(st_mode);
            if KINDS.iter().any(|(_, kind)| st_mode & ST_KIND == *kind) {
                assert_eq!(mode.to_st_mode(), st_mode);
            } else {
                assert_eq!(mode.to_st_mode(), st_mode & !ST_KIND);
            }
            assert_eq!(mode.to_permissions(), st_mode & 0o7777);
        }
    }

    #[test]
    fn kinds_have_distinct_words() {
        for kind in NodeKind::ALL {
            assert_eq!(NodeKind::from_word(kind.word().as_bytes()), Some(kind));
        }
        assert_eq!(NodeKind::from_word(b""), None);
    }
}
