//! What the kernel asks of a file system, answered from snapshots.
//!
//! Invariants
//! - Whatever cannot be read is an error of that call (EIO) and is told; the mount goes on.
//! - What is in a snapshot never changes, so the kernel may keep it; what is above snapshots it has
//!   to ask for again after a moment.

use std::{
    collections::HashMap,
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use fuser::{
    AccessFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, InitFlags, KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyXattr, Request,
};
use rustix::fs::{major, minor};
use windlass_engine::{
    browse::{Attributes, BrowseError, Browser, File, Listing, Node, Shape},
    cancel::Cancel,
    fault::Fault,
    format::time::Timestamp,
};

use super::numbers::{Known, Numbers, probable};
use crate::{command::reading, output::Output};

/// How long the kernel may rely on what is in a snapshot, and on what is above.
const STORED: Duration = Duration::from_secs(3600);
const ABOVE: Duration = Duration::from_secs(1);
/// Names that are asked for at once.
const PAGE_ITEMS: usize = 256;
/// The longest name that the kernel takes.
const MOST_NAME_BYTES: usize = 255;

/// Whom things belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// As it is stored; what is stored nowhere, to whoever mounts it.
    AsStored,
    Root,
}

/// The snapshots of a repository as a file system.
#[derive(Debug)]
pub(super) struct View {
    browser: Browser,
    owner: Owner,
    own: (u32, u32),
    numbers: Numbers,
    files: Handles<File>,
    listings: Handles<Listing>,
    output: Arc<Output>,
    cancel: Cancel,
}

/// What the kernel has opened.
#[derive(Debug)]
struct Handles<T> {
    open: Mutex<HashMap<u64, Arc<T>>>,
    next: AtomicU64,
}

impl<T> Handles<T> {
    fn new() -> Self {
        Self { open: Mutex::default(), next: AtomicU64::new(1) }
    }

    fn add(&self, opened: T) -> FileHandle {
        let handle = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(handle, Arc::new(opened));
        FileHandle(handle)
    }

    fn get(&self, handle: FileHandle) -> Result<Arc<T>, Errno> {
        self.lock().get(&handle.0).cloned().ok_or(Errno::EBADF)
    }

    fn close(&self, handle: FileHandle) {
        self.lock().remove(&handle.0);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<T>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl View {
    pub(super) fn new(browser: Browser, owner: Owner, output: Arc<Output>, cancel: Cancel) -> Self {
        Self {
            numbers: Numbers::new(browser.top()),
            browser,
            owner,
            own: (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw()),
            files: Handles::new(),
            listings: Handles::new(),
            output,
            cancel,
        }
    }

    fn known(&self, number: INodeNo) -> Result<Known, Errno> {
        self.numbers.get(number.0).ok_or(Errno::ESTALE)
    }

    fn attributes(&self, number: u64, of: &Attributes) -> FileAttr {
        let (uid, gid) = match self.owner {
            Owner::AsStored => of.owner.unwrap_or(self.own),
            Owner::Root => (0, 0),
        };
        let has_links = of.shape != Shape::Directory && of.links > 1;
        FileAttr {
            ino: INodeNo(number),
            size: of.size_bytes,
            blocks: of.size_bytes.div_ceil(512),
            atime: moment(&of.atime),
            mtime: moment(&of.mtime),
            ctime: moment(&of.ctime),
            crtime: SystemTime::UNIX_EPOCH,
            kind: kind(of.shape),
            perm: (of.mode & 0o7777) as u16,
            // One link of a directory says that its subdirectories were not counted.
            nlink: if has_links { u32::try_from(of.links).unwrap_or(u32::MAX) } else { 1 },
            uid,
            gid,
            rdev: device(of.rdev),
            blksize: 4096,
            flags: 0,
        }
    }

    /// The code of an error, which is told if it is about the repository.
    fn failed(&self, error: &BrowseError) -> Errno {
        match error {
            BrowseError::NotFound => Errno::ENOENT,
            BrowseError::NotADirectory => Errno::ENOTDIR,
            BrowseError::NotAFile | BrowseError::NotALink => Errno::EINVAL,
            BrowseError::Fault(Fault::Cancelled) => Errno::EINTR,
            BrowseError::Fault(fault) => {
                if !self.cancel.is_cancelled() {
                    reading::problem(&self.output, "mount", b"", fault);
                }
                Errno::EIO
            }
        }
    }

    fn find(&self, parent: INodeNo, name: &OsStr) -> Result<(FileAttr, Duration), Errno> {
        let above = self.known(parent)?;
        let found = self.browser.look_up(&above.node, name.as_bytes());
        let (node, attributes) = found.map_err(|error| self.failed(&error))?;
        let patience = if above.node.is_stored() { STORED } else { ABOVE };
        let is_same = |one: &Node, other: &Node| self.browser.is_same(one, other).unwrap_or(false);
        let number =
            self.numbers.enter((parent.0, &above), name.as_bytes(), node, &attributes, is_same);
        Ok((self.attributes(number, &attributes), patience))
    }

    /// Adds names to a list from an offset on, until it is full.
    fn fill(
        &self,
        number: INodeNo,
        handle: FileHandle,
        offset: u64,
        reply: &mut ReplyDirectory,
    ) -> Result<(), Errno> {
        let known = self.known(number)?;
        let listing = self.listings.get(handle)?;
        for (at, ino, name) in [(0, number.0, "."), (1, known.parent, "..")] {
            if offset <= at && reply.add(INodeNo(ino), at + 1, FileType::Directory, name) {
                return Ok(());
            }
        }
        let mut from = Some(usize::try_from(offset.saturating_sub(2)).unwrap_or(usize::MAX));
        while let Some(at) = from {
            let page = self.browser.page(&listing, at, PAGE_ITEMS);
            let page = page.map_err(|error| self.failed(&error))?;
            for item in page.items.iter().filter(|item| item.name.len() <= MOST_NAME_BYTES) {
                let ino = probable((number.0, &known), &item.name, &item.attributes);
                let (next, kind) = (item.next as u64 + 2, kind(item.attributes.shape));
                if reply.add(INodeNo(ino), next, kind, OsStr::from_bytes(&item.name)) {
                    return Ok(());
                }
            }
            from = page.next;
        }
        Ok(())
    }

    fn attribute(&self, number: INodeNo, name: &OsStr) -> Result<Box<[u8]>, Errno> {
        let node = self.known(number)?.node;
        let all = self.browser.xattrs(&node).map_err(|error| self.failed(&error))?;
        let found = all.into_iter().find(|xattr| *xattr.name == *name.as_bytes());
        found.map(|xattr| xattr.value).ok_or(Errno::NO_XATTR)
    }

    fn attribute_names(&self, number: INodeNo) -> Result<Vec<u8>, Errno> {
        let node = self.known(number)?.node;
        let all = self.browser.xattrs(&node).map_err(|error| self.failed(&error))?;
        let mut names = Vec::new();
        for xattr in all.iter().filter(|xattr| !xattr.name.is_empty() && !xattr.name.contains(&0)) {
            names.extend_from_slice(&xattr.name);
            names.push(0);
        }
        Ok(names)
    }
}

impl Filesystem for View {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        // Kernels that cannot are asked one thing at a time.
        let _one_at_a_time = config.add_capabilities(InitFlags::FUSE_PARALLEL_DIROPS);
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.find(parent, name) {
            Ok((attributes, patience)) => reply.entry(&patience, &attributes, Generation(0)),
            Err(errno) => reply.error(errno),
        }
    }

    fn forget(&self, _request: &Request, number: INodeNo, times: u64) {
        self.numbers.forget(number.0, times);
    }

    fn getattr(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: Option<FileHandle>,
        reply: ReplyAttr,
    ) {
        let attributes = self.known(number).and_then(|known| {
            let attributes = self.browser.attributes(&known.node);
            let patience = if known.node.is_stored() { STORED } else { ABOVE };
            attributes.map(|of| (of, patience)).map_err(|error| self.failed(&error))
        });
        match attributes {
            Ok((of, patience)) => reply.attr(&patience, &self.attributes(number.0, &of)),
            Err(errno) => reply.error(errno),
        }
    }

    fn readlink(&self, _request: &Request, number: INodeNo, reply: ReplyData) {
        let target = self.known(number).and_then(|known| {
            self.browser.target(&known.node).map_err(|error| self.failed(&error))
        });
        match target {
            Ok(target) => reply.data(&target),
            Err(errno) => reply.error(errno),
        }
    }

    fn open(&self, _request: &Request, number: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let file = self
            .known(number)
            .and_then(|known| self.browser.open(&known.node).map_err(|error| self.failed(&error)));
        match file {
            Ok(file) => reply.opened(self.files.add(file), FopenFlags::FOPEN_KEEP_CACHE),
            Err(errno) => reply.error(errno),
        }
    }

    fn read(
        &self,
        _request: &Request,
        _number: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let bytes = self.files.get(handle).and_then(|file| {
            let bytes = self.browser.read(&file, offset, size as usize);
            bytes.map_err(|fault| self.failed(&fault.into()))
        });
        match bytes {
            Ok(bytes) => reply.data(&bytes),
            Err(errno) => reply.error(errno),
        }
    }

    fn release(
        &self,
        _request: &Request,
        _number: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.files.close(handle);
        reply.ok();
    }

    fn opendir(&self, _request: &Request, number: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let listing = self
            .known(number)
            .and_then(|known| self.browser.list(&known.node).map_err(|error| self.failed(&error)));
        match listing {
            Ok(listing) => reply.opened(self.listings.add(listing), FopenFlags::empty()),
            Err(errno) => reply.error(errno),
        }
    }

    fn readdir(
        &self,
        _request: &Request,
        number: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        match self.fill(number, handle, offset, &mut reply) {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    fn releasedir(
        &self,
        _request: &Request,
        _number: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.listings.close(handle);
        reply.ok();
    }

    fn getxattr(
        &self,
        _request: &Request,
        number: INodeNo,
        name: &OsStr,
        size: u32,
        reply: ReplyXattr,
    ) {
        answer(self.attribute(number, name).as_deref(), size, reply);
    }

    fn listxattr(&self, _request: &Request, number: INodeNo, size: u32, reply: ReplyXattr) {
        answer(self.attribute_names(number).as_deref(), size, reply);
    }

    fn access(&self, _request: &Request, _number: INodeNo, mask: AccessFlags, reply: ReplyEmpty) {
        if mask.contains(AccessFlags::W_OK) {
            reply.error(Errno::EROFS);
        } else {
            reply.ok();
        }
    }
}

/// The length to whoever asks for it, or the bytes to whoever has room for them.
fn answer(bytes: Result<&[u8], &Errno>, size: u32, reply: ReplyXattr) {
    match bytes {
        Ok(bytes) if size == 0 => reply.size(u32::try_from(bytes.len()).unwrap_or(u32::MAX)),
        Ok(bytes) if bytes.len() > size as usize => reply.error(Errno::ERANGE),
        Ok(bytes) => reply.data(bytes),
        Err(errno) => reply.error(*errno),
    }
}

fn kind(shape: Shape) -> FileType {
    match shape {
        Shape::File => FileType::RegularFile,
        Shape::Directory => FileType::Directory,
        Shape::Symlink => FileType::Symlink,
        Shape::BlockDevice => FileType::BlockDevice,
        Shape::CharDevice => FileType::CharDevice,
        Shape::Fifo => FileType::NamedPipe,
        Shape::Socket => FileType::Socket,
    }
}

/// The number of a device as FUSE has it, in 32 bits.
fn device(rdev: u64) -> u32 {
    let (major, minor) = (major(rdev), minor(rdev));
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

fn moment(time: &Timestamp) -> SystemTime {
    let epoch = SystemTime::UNIX_EPOCH;
    let whole = Duration::from_secs(time.seconds.unsigned_abs());
    let second = if time.seconds < 0 { epoch.checked_sub(whole) } else { epoch.checked_add(whole) };
    let nanos = Duration::from_nanos(time.nanos.into());
    second.and_then(|second| second.checked_add(nanos)).unwrap_or(epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_moment_can_be_shown() {
        let epoch = SystemTime::UNIX_EPOCH;
        assert_eq!(moment(&Timestamp::utc(1, 5)), epoch + Duration::new(1, 5));
        assert_eq!(
            moment(&Timestamp::utc(-2, 400)),
            epoch - Duration::from_secs(2) + Duration::from_nanos(400)
        );
        for seconds in [i64::MIN, i64::MAX] {
            let _shown = moment(&Timestamp::utc(seconds, 999_999_999));
        }
    }
}
