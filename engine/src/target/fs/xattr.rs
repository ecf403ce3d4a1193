//! Extended attributes put back: of an open file or directory, or of an entry by name.
//!
//! There is no such call relative to a descriptor on kernels in use, so an entry that cannot be
//! opened (a symbolic link, a device) is named through `/proc/self/fd`.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use rustix::{
    buffer::spare_capacity,
    fs::{
        XattrFlags, fgetxattr, flistxattr, fremovexattr, fsetxattr, lgetxattr, llistxattr,
        lremovexattr, lsetxattr,
    },
    io::Errno,
};

use crate::source::fs::Dir;

/// The kernel's own limit of a list of names and of a value.
const MAX_BYTES: usize = 64 * 1024;

/// What attributes are put on.
pub(super) enum Holder<'a> {
    Open(BorrowedFd<'a>),
    Named(Vec<u8>),
}

impl<'a> Holder<'a> {
    pub(super) fn open(fd: &'a impl AsFd) -> Self {
        Self::Open(fd.as_fd())
    }

    pub(super) fn entry(at: &Dir, name: &[u8]) -> Self {
        let mut path = format!("/proc/self/fd/{}/", at.as_fd().as_raw_fd()).into_bytes();
        path.extend_from_slice(name);
        Self::Named(path)
    }

    /// Names of all attributes; none where the file system has none.
    pub(super) fn names(&self) -> io::Result<Vec<Box<[u8]>>> {
        let mut list = Vec::with_capacity(MAX_BYTES);
        let got = match self {
            Self::Open(fd) => flistxattr(fd, spare_capacity(&mut list)),
            Self::Named(path) => llistxattr(path.as_slice(), spare_capacity(&mut list)),
        };
        match got {
            Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            got => got?,
        };
        let names = list.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        Ok(names.map(Into::into).collect())
    }

    /// Whether the attribute `name` has exactly this value.
    pub(super) fn has(&self, name: &[u8], value: &[u8]) -> bool {
        let mut found = Vec::with_capacity(value.len() + 1);
        let got = match self {
            Self::Open(fd) => fgetxattr(fd, name, spare_capacity(&mut found)),
            Self::Named(path) => lgetxattr(path.as_slice(), name, spare_capacity(&mut found)),
        };
        // With no room given the kernel only tells the length, but there is always room for one.
        got.is_ok() && found == value
    }

    pub(super) fn set(&self, name: &[u8], value: &[u8]) -> io::Result<()> {
        let done = match self {
            Self::Open(fd) => fsetxattr(fd, name, value, XattrFlags::empty()),
            Self::Named(path) => lsetxattr(path.as_slice(), name, value, XattrFlags::empty()),
        };
        Ok(done?)
    }

    /// Removes an attribute; one that is not there is removed already.
    pub(super) fn remove(&self, name: &[u8]) -> io::Result<()> {
        let done = match self {
            Self::Open(fd) => fremovexattr(fd, name),
            Self::Named(path) => lremovexattr(path.as_slice(), name),
        };
        match done {
            Err(Errno::NODATA) => Ok(()),
            done => Ok(done?),
        }
    }
}
