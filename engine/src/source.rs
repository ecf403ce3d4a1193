//! Where backups read from: what is known about a file before its content.
//!
//! Invariants
//! - Names and link targets are raw bytes; a name is one component and never `.` or `..`.
//! - Errors keep the system's number: vanished (`ENOENT`) and unreadable (`EACCES`) are different
//!   outcomes for a backup.
//!
//! Not here: the order of a walk and what is left out (`backup`).

pub mod fs;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// Something this system has and we have no word for.
    Other,
}

/// Seconds since 1970 and nanoseconds past them, which count upwards also before it.
pub type Moment = (i64, u32);

/// Status of a file, the link itself where it is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: FileKind,
    /// Permission, setuid, setgid and sticky bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes of content; of a symbolic link, of its target.
    pub size: u64,
    /// Bytes that take room; fewer than `size` where there may be holes.
    pub allocated: u64,
    /// Last change of content.
    pub mtime: Moment,
    /// Last change of anything.
    pub ctime: Moment,
    /// Last read, as far as the system keeps it.
    pub atime: Moment,
    /// Inode number.
    pub inode: u64,
    /// Device it lies on, as in `st_dev`.
    pub device: u64,
    /// Device it stands for, as in `st_rdev`.
    pub rdev: u64,
    /// Number of hard links.
    pub links: u64,
}

impl Stat {
    /// Whether some of the content may be holes, so that looking for them can pay.
    #[must_use]
    pub fn may_have_holes(&self) -> bool {
        self.kind == FileKind::File && self.allocated < self.size
    }
}
