//! Creating, opening and removing entries of this system by one name in an open directory.
//!
//! Invariants
//! - A name is one component; anything else is refused before the system sees it.
//! - Creating never takes over what is there: it fails where the name exists.
//! - Removing a tree stays on its file system, follows no link, and keeps what it is told to keep
//!   together with the directories that lead there.
//!
//! Not here: owner, times, modes and attributes (`metadata`, `xattr`).

pub mod metadata;
mod xattr;

use std::{fs::File, io, path::Path};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, linkat, mkdirat, mknodat, openat, symlinkat, unlinkat},
    io::Errno,
};

use crate::source::{
    FileKind, Stat,
    fs::{Dir, Names, stat_file},
};

/// For its owner alone until its own mode is put back.
const DIRECTORY_MODE: Mode = Mode::RWXU;
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
/// Levels of directories that are removed; each holds a descriptor and a stack frame.
const MOST_LEVELS: usize = 512;

/// Whether `name` can be the name of an entry: not empty, not `.` or `..`, without `/` and NUL.
#[must_use]
pub fn is_safe_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.iter().any(|byte| matches!(byte, b'/' | 0))
}

fn checked(name: &[u8]) -> io::Result<&[u8]> {
    if is_safe_name(name) { Ok(name) } else { Err(Errno::INVAL.into()) }
}

/// Opens the directory at `path`, creating it and what is missing above it. The path is the
/// user's own and may lead through symbolic links.
pub fn open_target(path: &Path) -> io::Result<Dir> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE.bits()).create(path)?;
    Dir::open_root(path)
}

/// Whether `directory` is the root directory of this system.
pub fn is_system_root(directory: &Dir) -> io::Result<bool> {
    let (here, root) = (directory.stat_self()?, Dir::open_root(Path::new("/"))?.stat_self()?);
    Ok((here.device, here.inode) == (root.device, root.inode))
}

/// Creates a directory.
pub fn make_directory(at: &Dir, name: &[u8]) -> io::Result<()> {
    Ok(mkdirat(at, checked(name)?, DIRECTORY_MODE)?)
}

/// Creates a regular file, open for writing and, with `readable`, for reading.
pub fn create_file(at: &Dir, name: &[u8], readable: bool) -> io::Result<File> {
    let access = if readable { OFlags::RDWR } else { OFlags::WRONLY };
    let flags = access | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(openat(at, checked(name)?, flags, FILE_MODE)?))
}

/// Opens a regular file for reading and writing, with its status as of now. Anything else that
/// has taken the name is `EINVAL`, or `ELOOP` for a symbolic link.
pub fn open_file(at: &Dir, name: &[u8]) -> io::Result<(File, Stat)> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(at, checked(name)?, flags, Mode::empty())?);
    let stat = stat_file(&file)?;
    if stat.kind != FileKind::File {
        return Err(Errno::INVAL.into());
    }
    Ok((file, stat))
}

/// Creates a symbolic link.
pub fn make_symlink(at: &Dir, name: &[u8], target: &[u8]) -> io::Result<()> {
    Ok(symlinkat(target, at, checked(name)?)?)
}

/// Creates a device or FIFO.
pub fn make_node(at: &Dir, name: &[u8], kind: FileKind, rdev: u64) -> io::Result<()> {
    let kind = match kind {
        FileKind::Fifo => FileType::Fifo,
        FileKind::CharDevice => FileType::CharacterDevice,
        FileKind::BlockDevice => FileType::BlockDevice,
        _ => return Err(Errno::INVAL.into()),
    };
    Ok(mknodat(at, checked(name)?, kind, FILE_MODE, rdev)?)
}

/// Gives an entry a second name; a symbolic link itself where it is one.
pub fn link(from: &Dir, old: &[u8], to: &Dir, new: &[u8]) -> io::Result<()> {
    Ok(linkat(from, checked(old)?, to, checked(new)?, AtFlags::empty())?)
}

/// Removes an entry that is no directory.
pub fn remove_entry(at: &Dir, name: &[u8]) -> io::Result<()> {
    Ok(unlinkat(at, checked(name)?, AtFlags::empty())?)
}

/// Removes an empty directory.
pub fn remove_directory(at: &Dir, name: &[u8]) -> io::Result<()> {
    Ok(unlinkat(at, checked(name)?, AtFlags::REMOVEDIR)?)
}

/// What removing a tree asks and tells.
pub trait Remover {
    /// Whether the entry at `path`, relative to where the removal began, may go.
    fn may_remove(&mut self, path: &[u8]) -> bool;
    /// Something went.
    fn removed(&mut self, path: &[u8], kind: FileKind);
    /// Something could not be removed; the rest goes on.
    fn failed(&mut self, path: &[u8], error: io::Error);
    /// Whether to stop here.
    fn is_stopped(&self) -> bool;
    /// Whether anything is to be touched at all.
    fn is_dry(&self) -> bool;
}

/// Removes the entry `name` of `at` with all below it. `path` is that entry's path for `remover`.
/// Returns whether it is gone.
pub fn remove_tree(at: &Dir, name: &[u8], path: &mut Vec<u8>, remover: &mut dyn Remover) -> bool {
    let device = match at.stat_self() {
        Ok(stat) => stat.device,
        Err(error) => {
            remover.failed(path, error);
            return false;
        }
    };
    remove_level(at, name, device, 0, path, remover)
}

fn remove_level(
    at: &Dir,
    name: &[u8],
    device: u64,
    level: usize,
    path: &mut Vec<u8>,
    remover: &mut dyn Remover,
) -> bool {
    if remover.is_stopped() || !remover.may_remove(path) {
        return false;
    }
    let removed = checked(name).and_then(|name| at.stat(name)).and_then(|stat| {
        // What is mounted here is not the target's.
        if stat.device != device {
            return Err(Errno::XDEV.into());
        }
        let is_directory = stat.kind == FileKind::Directory;
        if is_directory && !empty_directory(&at.open_child(name)?, device, level, path, remover)? {
            return Ok(None);
        }
        if !remover.is_dry() {
            let flags = if is_directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
            unlinkat(at, name, flags)?;
        }
        Ok(Some(stat.kind))
    });
    match removed {
        Ok(Some(kind)) => {
            remover.removed(path, kind);
            true
        }
        Ok(None) => false,
        Err(error) => {
            remover.failed(path, error);
            false
        }
    }
}

/// Removes what is in a directory; whether nothing is left.
fn empty_directory(
    directory: &Dir,
    device: u64,
    level: usize,
    path: &mut Vec<u8>,
    remover: &mut dyn Remover,
) -> io::Result<bool> {
    if level >= MOST_LEVELS {
        return Err(Errno::NAMETOOLONG.into());
    }
    let mut names = Names::new();
    directory.entries(&mut names)?;
    let mut is_empty = true;
    for child in names.iter() {
        let length = path.len();
        path.push(b'/');
        path.extend_from_slice(child.bytes);
        is_empty &= remove_level(directory, child.bytes, device, level + 1, path, remover);
        path.truncate(length);
    }
    Ok(is_empty)
}

/// Opens the directory at `path` where it exists, touching nothing.
pub fn open_existing(path: &Path) -> io::Result<Option<Dir>> {
    match Dir::open_root(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

#[cfg(test)]
mod tests;
