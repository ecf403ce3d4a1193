//! Extended attributes of one entry, without following it.
//!
//! There is no such call relative to a descriptor on kernels in use, and a descriptor that stands
//! for a symbolic link cannot be asked, so the entry is named through `/proc/self/fd`.

use std::{
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd},
    sync::OnceLock,
};

use rustix::{
    buffer::spare_capacity,
    fd::OwnedFd,
    fs::{fgetxattr, flistxattr, lgetxattr, llistxattr},
    io::Errno,
};

use super::{Attributes, FILE, open_quietly};

/// Enough for what most files have; asked for on the stack.
const USUAL_BYTES: usize = 1024;
/// The kernel's own limit of a list of names and of a value.
const MAX_BYTES: usize = 64 * 1024;

pub(super) fn of_entry(directory: &OwnedFd, name: &[u8]) -> Attributes {
    if !has_proc() {
        return without_proc(directory, name);
    }
    let mut path = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    let path = path.as_slice();
    all(
        |room| match room {
            Room::Stack(room) => llistxattr(path, room).map(|(names, _)| names.len()),
            Room::Heap(room) => llistxattr(path, spare_capacity(room)),
        },
        |name, value| lgetxattr(path, name, spare_capacity(value)),
    )
}

pub(super) fn of_open(fd: impl AsFd) -> Attributes {
    let fd = fd.as_fd();
    all(
        |room| match room {
            Room::Stack(room) => flistxattr(fd, room).map(|(names, _)| names.len()),
            Room::Heap(room) => flistxattr(fd, spare_capacity(room)),
        },
        |name, value| fgetxattr(fd, name, spare_capacity(value)),
    )
}

fn without_proc(directory: &OwnedFd, name: &[u8]) -> Attributes {
    match open_quietly(directory, name, FILE) {
        Ok(entry) => of_open(&entry),
        // A symbolic link, a socket or a device that is not there.
        Err(error)
            if matches!(
                Errno::from_io_error(&error),
                Some(Errno::LOOP | Errno::NXIO | Errno::NODEV)
            ) =>
        {
            Attributes::default()
        }
        Err(error) => Attributes { found: Vec::new(), error: Some(error) },
    }
}

fn has_proc() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| std::fs::symlink_metadata("/proc/self/fd").is_ok())
}

enum Room<'a> {
    Stack(&'a mut [MaybeUninit<u8>]),
    Heap(&'a mut Vec<u8>),
}

fn all(
    list: impl Fn(Room<'_>) -> Result<usize, Errno>,
    get: impl Fn(&[u8], &mut Vec<u8>) -> Result<usize, Errno>,
) -> Attributes {
    let mut attributes = Attributes::default();
    let failed = |errno: Errno| Attributes { found: Vec::new(), error: Some(errno.into()) };
    let mut stack = [MaybeUninit::uninit(); USUAL_BYTES];
    match list(Room::Stack(&mut stack)) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return attributes,
        Ok(_) | Err(Errno::RANGE) => {}
        Err(errno) => return failed(errno),
    }
    let mut names = Vec::with_capacity(MAX_BYTES);
    if let Err(errno) = list(Room::Heap(&mut names)) {
        return failed(errno);
    }
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = Vec::with_capacity(USUAL_BYTES);
        let got = match get(name, &mut value) {
            Err(Errno::RANGE) => {
                value.reserve_exact(MAX_BYTES);
                get(name, &mut value)
            }
            got => got,
        };
        match got {
            Ok(_) => {
                value.shrink_to_fit();
                attributes.found.push((name.to_vec(), value));
            }
            // Removed since it was listed.
            Err(Errno::NODATA) => {}
            // The others are worth having.
            Err(errno) => {
                attributes.error.get_or_insert(errno.into());
            }
        }
    }
    attributes
}
