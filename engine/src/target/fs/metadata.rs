//! Putting owner, extended attributes, times and mode back, in this order.
//!
//! Invariants
//! - Mode comes after owner, because changing the owner takes setuid and setgid away, and where
//!   the owner could not be put back these bits are left off: a program of one user must not
//!   become one of another.
//! - Each step is tried whatever became of the one before; the first failure is reported.
//! - Without privilege, what takes privilege is left out and counted, not failed.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd},
};

use rustix::{
    fs::{
        AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid, chmod, chownat, fchmod, fchown,
        futimens, openat, utimensat,
    },
    io::Errno,
};

use super::{super::Metadata, xattr::Holder};
use crate::source::{Moment, Stat, fs::Dir};

const SET_ID: u32 = 0o6000;

/// What metadata is put on.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// An open regular file.
    File(&'a File),
    /// An open directory.
    Directory(&'a Dir),
    /// A symbolic link by name; it has no mode of its own.
    Symlink(&'a Dir, &'a [u8]),
    /// A device or FIFO by name.
    Node(&'a Dir, &'a [u8]),
}

/// How metadata is put back.
#[derive(Clone, Copy)]
pub struct Rules<'a> {
    /// Whether this process may do anything, so that a refusal is a failure.
    pub privileged: bool,
    /// The extended attributes that are the restore's business; others are left alone.
    pub wants_xattr: &'a (dyn Fn(&[u8]) -> bool + Sync),
}

/// What the subject may have before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// It was just created and has no extended attributes.
    Nothing,
    /// It may have some of its own or inherited ones.
    Unknown,
}

/// Steps left out for lack of privilege or of support by the file system.
pub type LeftOut = u64;

/// Puts `metadata` on `subject`.
pub fn apply(
    subject: Subject<'_>,
    metadata: &Metadata,
    before: Before,
    rules: &Rules<'_>,
) -> io::Result<LeftOut> {
    let mut steps = Steps { left_out: 0, first: None, privileged: rules.privileged };
    let owned = steps.take(set_owner(subject, metadata));
    if before == Before::Unknown || !metadata.xattrs.is_empty() {
        let holder = holder(subject);
        set_xattrs(&holder, metadata, before, rules, &mut steps);
    }
    steps.take(set_times(subject, metadata));
    let mode = if owned { metadata.mode } else { metadata.mode & !SET_ID };
    steps.take(set_mode(subject, mode));
    match steps.first {
        None => Ok(steps.left_out),
        Some(error) => Err(error),
    }
}

/// Whether the subject, whose status is `stat`, has this metadata already. The time of the last
/// read does not count: reading changes it.
pub fn is_same(
    subject: Subject<'_>,
    stat: &Stat,
    metadata: &Metadata,
    rules: &Rules<'_>,
) -> io::Result<bool> {
    let is_symlink = matches!(subject, Subject::Symlink(..));
    if (stat.uid, stat.gid, stat.mtime) != (metadata.uid, metadata.gid, metadata.mtime)
        || !(is_symlink || stat.mode == metadata.mode)
    {
        return Ok(false);
    }
    let holder = holder(subject);
    let mut names = holder.names()?;
    names.retain(|name| (rules.wants_xattr)(name));
    Ok(names.len() == metadata.xattrs.len()
        && metadata.xattrs.iter().all(|xattr| holder.has(&xattr.name, &xattr.value)))
}

/// Gives this process's user full access to a directory named in another, for a while.
pub fn widen_directory(at: &Dir, name: &[u8], mode: u32) -> io::Result<()> {
    set_mode(Subject::Node(at, name), mode | Mode::RWXU.bits())
}

/// Takes away what lets anyone but its owner read, write or run a file that is about to change.
/// Of a file of somebody else that may not be done, and its mode will be left as it is too.
pub fn close_to_others(file: &File, stat: &Stat) -> io::Result<()> {
    if stat.mode & !0o600 == 0 {
        return Ok(());
    }
    match set_mode(Subject::File(file), stat.mode & 0o600) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        done => done,
    }
}

/// Changes the mode of an open directory and nothing else.
pub fn set_directory_mode(directory: &Dir, mode: u32) -> io::Result<()> {
    set_mode(Subject::Directory(directory), mode)
}

struct Steps {
    left_out: LeftOut,
    first: Option<io::Error>,
    privileged: bool,
}

impl Steps {
    /// Notes what became of a step; whether it was done.
    fn take(&mut self, done: io::Result<()>) -> bool {
        let Err(error) = done else { return true };
        match Errno::from_io_error(&error) {
            Some(Errno::OPNOTSUPP | Errno::NOSYS) => self.left_out += 1,
            Some(Errno::PERM | Errno::ACCESS) if !self.privileged => self.left_out += 1,
            _ => {
                self.first.get_or_insert(error);
            }
        }
        false
    }
}

fn holder<'a>(subject: Subject<'a>) -> Holder<'a> {
    match subject {
        Subject::File(file) => Holder::open(file),
        Subject::Directory(directory) => Holder::open(directory),
        Subject::Symlink(at, name) | Subject::Node(at, name) => Holder::entry(at, name),
    }
}

fn set_xattrs(
    holder: &Holder<'_>,
    metadata: &Metadata,
    before: Before,
    rules: &Rules<'_>,
    steps: &mut Steps,
) {
    let mut names = Vec::new();
    if before == Before::Unknown {
        match holder.names() {
            Ok(found) => names = found,
            Err(error) => {
                steps.take(Err(error));
            }
        }
    }
    for name in &names {
        let is_extra = !metadata.xattrs.iter().any(|xattr| xattr.name == *name);
        if is_extra && (rules.wants_xattr)(name) && !is_label(name) {
            steps.take(holder.remove(name));
        }
    }
    for xattr in &metadata.xattrs {
        if !(names.contains(&xattr.name) && holder.has(&xattr.name, &xattr.value)) {
            steps.take(holder.set(&xattr.name, &xattr.value));
        }
    }
}

/// Labels that this system itself puts on everything; they may change and never be removed.
fn is_label(name: &[u8]) -> bool {
    name == b"security.selinux"
}

fn set_owner(subject: Subject<'_>, metadata: &Metadata) -> io::Result<()> {
    // The number that means "leave as it is" to the system is nobody's.
    if metadata.uid == u32::MAX || metadata.gid == u32::MAX {
        return Err(Errno::INVAL.into());
    }
    let (uid, gid) = (Some(Uid::from_raw(metadata.uid)), Some(Gid::from_raw(metadata.gid)));
    match subject {
        Subject::File(file) => fchown(file, uid, gid)?,
        Subject::Directory(directory) => fchown(directory, uid, gid)?,
        Subject::Symlink(at, name) | Subject::Node(at, name) => {
            chownat(at, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
        }
    }
    Ok(())
}

fn set_times(subject: Subject<'_>, metadata: &Metadata) -> io::Result<()> {
    let times = Timestamps {
        last_access: timespec(metadata.atime),
        last_modification: timespec(metadata.mtime),
    };
    match subject {
        Subject::File(file) => futimens(file, &times)?,
        Subject::Directory(directory) => futimens(directory, &times)?,
        Subject::Symlink(at, name) | Subject::Node(at, name) => {
            utimensat(at, name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        }
    }
    Ok(())
}

fn timespec((seconds, nanos): Moment) -> Timespec {
    Timespec { tv_sec: seconds, tv_nsec: nanos.into() }
}

fn set_mode(subject: Subject<'_>, mode: u32) -> io::Result<()> {
    let mode = Mode::from_raw_mode(mode);
    match subject {
        Subject::File(file) => fchmod(file, mode)?,
        Subject::Directory(directory) => fchmod(directory, mode)?,
        Subject::Symlink(..) => {}
        Subject::Node(at, name) => {
            // The one way to change the mode of what may be a link by now without following it.
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let node = openat(at, name, flags, Mode::empty())?;
            chmod(format!("/proc/self/fd/{}", node.as_fd().as_raw_fd()), mode)?;
        }
    }
    Ok(())
}
