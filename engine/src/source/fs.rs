//! Reading directories of this system by descriptor: one `openat` per directory, one `statx` per
//! entry, no path is ever built.
//!
//! Invariants
//! - Below [`Dir::open_root`] no symbolic link is followed, whoever swaps names meanwhile.
//! - Opening never blocks: a pipe put in a file's place is noticed, not waited for.
//! - Access times stay as they are wherever the system lets us.
//!
//! Not here: xattrs of a kernel without `/proc`, for symbolic links alone (they are reported as
//! having none).

mod xattr;

use std::{
    fs::File,
    io,
    mem::MaybeUninit,
    ops::Range,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, RawDir, SeekFrom, StatxFlags, makedev, seek, statx},
    io::Errno,
};

use super::{FileKind, Moment, Stat};

/// A name with its value.
pub type Attribute = (Vec<u8>, Vec<u8>);

/// Extended attributes as far as they can be read, in listing order; none where the file system
/// has none.
#[derive(Debug, Default)]
pub struct Attributes {
    /// Those that were read.
    pub found: Vec<Attribute>,
    /// Why some are missing.
    pub error: Option<io::Error>,
}

/// An open directory.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
}

/// The names in a directory, in one allocation that the next directory uses again.
#[derive(Debug)]
pub struct Names {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    buffer: Vec<MaybeUninit<u8>>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    len: usize,
    kind: Option<FileKind>,
    inode: u64,
}

/// One name and what the directory itself says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a> {
    /// The name, raw bytes.
    pub bytes: &'a [u8],
    /// What it is, where the file system keeps that in directories.
    pub kind: Option<FileKind>,
    /// Inode number; of what is below where something is mounted here.
    pub inode: u64,
}

const BUFFER_BYTES: usize = 32 * 1024;
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const FILE: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

impl Dir {
    /// Opens the directory at `path`, following symbolic links up to and including it.
    pub fn open_root(path: &Path) -> io::Result<Self> {
        Self::open(rustix::fs::CWD, path, DIRECTORY)
    }

    /// Opens the directory at `path` as a place for names in it, following symbolic links. That
    /// takes no right to list it, and it cannot be listed.
    pub fn open_place(path: &Path) -> io::Result<Self> {
        Self::open(rustix::fs::CWD, path, DIRECTORY.union(OFlags::PATH))
    }

    /// Opens a directory in this one.
    pub fn open_child(&self, name: &[u8]) -> io::Result<Self> {
        Self::open(&self.fd, name, DIRECTORY.union(OFlags::NOFOLLOW))
    }

    fn open(at: impl AsFd, path: impl rustix::path::Arg + Copy, flags: OFlags) -> io::Result<Self> {
        Ok(Self { fd: open_quietly(at, path, flags)? })
    }

    /// Reads all names, in the directory's own order.
    pub fn entries(&self, names: &mut Names) -> io::Result<()> {
        names.bytes.clear();
        names.spans.clear();
        let Names { bytes, spans, buffer } = names;
        // Also where the directory was read before.
        seek(&self.fd, SeekFrom::Start(0))?;
        let mut entries = RawDir::new(&self.fd, buffer);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                let kind = match entry.file_type() {
                    FileType::Unknown => None,
                    kind => Some(file_kind(kind)),
                };
                spans.push(Span { start: bytes.len(), len: name.len(), kind, inode: entry.ino() });
                bytes.extend_from_slice(name);
            }
        }
        Ok(())
    }

    /// Status of an entry.
    pub fn stat(&self, name: &[u8]) -> io::Result<Stat> {
        stat_at(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Status of the directory itself.
    pub fn stat_self(&self) -> io::Result<Stat> {
        stat_at(&self.fd, c"", AtFlags::EMPTY_PATH)
    }

    /// The target of a symbolic link.
    pub fn read_link(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(&self.fd, name, Vec::new())?.into_bytes())
    }

    /// Extended attributes of an entry.
    pub fn xattrs(&self, name: &[u8]) -> Attributes {
        xattr::of_entry(&self.fd, name)
    }

    /// Extended attributes of the directory itself.
    pub fn xattrs_self(&self) -> Attributes {
        xattr::of_open(&self.fd)
    }

    /// Opens a regular file for reading, with its status as of now. Anything else that has taken
    /// the name is `EINVAL`, or `ELOOP` for a symbolic link.
    pub fn open_file(&self, name: &[u8]) -> io::Result<(File, Stat)> {
        let file = File::from(open_quietly(&self.fd, name, FILE)?);
        let stat = stat_file(&file)?;
        if stat.kind != FileKind::File {
            return Err(Errno::INVAL.into());
        }
        Ok((file, stat))
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Names {
    /// Room for the names of a directory.
    #[must_use]
    pub fn new() -> Self {
        let buffer = vec![MaybeUninit::uninit(); BUFFER_BYTES];
        Self { bytes: Vec::new(), spans: Vec::new(), buffer }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether the directory is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Puts them into ascending order of their bytes, which both formats want.
    pub fn sort(&mut self) {
        let bytes = &self.bytes;
        let name = |span: &Span| bytes.get(span.start..span.start + span.len);
        self.spans.sort_unstable_by(|a, b| name(a).cmp(&name(b)));
    }

    /// The names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Name<'_>> {
        self.spans.iter().map(|span| Name {
            bytes: &self.bytes[span.start..span.start + span.len],
            kind: span.kind,
            inode: span.inode,
        })
    }
}

impl Default for Names {
    fn default() -> Self {
        Self::new()
    }
}

/// Status of an open file.
pub fn stat_file(file: &File) -> io::Result<Stat> {
    stat_at(file, c"", AtFlags::EMPTY_PATH)
}

/// Extended attributes of an open file, in listing order; none where the file system has none.
pub fn xattrs_of_file(file: &File) -> Attributes {
    xattr::of_open(file)
}

/// The next stretch of data of a file of `size` bytes at or after `from`; `None` where only holes
/// follow. Moves the file's position: read with `read_at`.
///
/// A file system that knows no holes says that all is data.
pub fn next_data(file: &File, from: u64, size: u64) -> io::Result<Option<Range<u64>>> {
    if from >= size {
        return Ok(None);
    }
    let start = match seek(file, SeekFrom::Data(from)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Some(from..size)),
        Err(errno) => return Err(errno.into()),
    };
    if start >= size {
        return Ok(None);
    }
    match seek(file, SeekFrom::Hole(start)) {
        Ok(end) => Ok(Some(start..end.min(size))),
        // The file was cut short meanwhile; reading will find that.
        Err(Errno::NXIO) => Ok(Some(start..size)),
        Err(errno) => Err(errno.into()),
    }
}

/// Opens without touching the access time, where this process may ask for that.
fn open_quietly(
    at: impl AsFd,
    path: impl rustix::path::Arg + Copy,
    flags: OFlags,
) -> io::Result<OwnedFd> {
    let quiet = flags.union(OFlags::NOATIME);
    match rustix::fs::openat(at.as_fd(), path, quiet, Mode::empty()) {
        // Only owners and the superuser may.
        Err(Errno::PERM) => Ok(rustix::fs::openat(at.as_fd(), path, flags, Mode::empty())?),
        result => Ok(result?),
    }
}

fn stat_at(at: impl AsFd, path: impl rustix::path::Arg, flags: AtFlags) -> io::Result<Stat> {
    let found = statx(at, path, flags | AtFlags::NO_AUTOMOUNT, StatxFlags::BASIC_STATS)?;
    let moment = |time: rustix::fs::StatxTimestamp| -> Moment { (time.tv_sec, time.tv_nsec) };
    let mode = u32::from(found.stx_mode);
    Ok(Stat {
        kind: file_kind(FileType::from_raw_mode(mode)),
        mode: mode & 0o7777,
        uid: found.stx_uid,
        gid: found.stx_gid,
        size: found.stx_size,
        allocated: found.stx_blocks.saturating_mul(512),
        mtime: moment(found.stx_mtime),
        ctime: moment(found.stx_ctime),
        atime: moment(found.stx_atime),
        inode: found.stx_ino,
        device: makedev(found.stx_dev_major, found.stx_dev_minor),
        rdev: makedev(found.stx_rdev_major, found.stx_rdev_minor),
        links: found.stx_nlink.into(),
    })
}

fn file_kind(kind: FileType) -> FileKind {
    match kind {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Symlink,
        FileType::Fifo => FileKind::Fifo,
        FileType::Socket => FileKind::Socket,
        FileType::CharacterDevice => FileKind::CharDevice,
        FileType::BlockDevice => FileKind::BlockDevice,
        FileType::Unknown => FileKind::Other,
    }
}
