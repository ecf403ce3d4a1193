//! Assembling one object and giving it its name.
//!
//! Invariants
//! - Small objects are gathered in memory and cost one temporary file next to their final name;
//!   larger ones go straight into a temporary file while they grow.
//! - A temporary file is unlinked when its draft is dropped, on every path that does not publish.
//! - After a failed append a draft cannot be committed.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};

use super::{Place, blocking, io_error, is_unsupported, sync_directory};
use crate::{
    entropy::name_suffix,
    store::{
        Draft, Existing, Failure, Key, StoreError,
        layout::{DRAFT_NAME, TEMPORARY_MARK},
    },
};

/// Objects up to this size are never a file before their name is known.
const GATHERED_BYTES: usize = 256 * 1024;
/// Attempts at a temporary name nobody has; each is 64 random bits.
const NAME_ATTEMPTS: usize = 8;

#[derive(Debug)]
pub(super) struct LocalDraft {
    place: Arc<Place>,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Gathered(Vec<u8>),
    Spilled { file: Temporary, bytes: u64 },
    Broken,
}

/// A file under a temporary name, which goes with it unless the name is given up.
#[derive(Debug)]
struct Temporary {
    file: File,
    path: Option<PathBuf>,
}

impl LocalDraft {
    pub(super) fn new(place: Arc<Place>, expected_bytes: u64) -> Self {
        let room = usize::try_from(expected_bytes).unwrap_or(0);
        let room = if room > GATHERED_BYTES { 0 } else { room };
        Self { place, body: Body::Gathered(Vec::with_capacity(room)) }
    }

    fn try_append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Body::Gathered(gathered) = &mut self.body {
            if gathered.len() + bytes.len() <= GATHERED_BYTES {
                gathered.extend_from_slice(bytes);
                return Ok(());
            }
            let directory = self.place.root.join(self.place.layout.draft_directory());
            let new = || Temporary::new(&directory, DRAFT_NAME);
            let mut file = self.place.in_directory(&directory, new)?;
            file.file.write_all(gathered)?;
            self.body = Body::Spilled { file, bytes: gathered.len() as u64 };
        }
        match &mut self.body {
            Body::Spilled { file, bytes: total } => {
                file.file.write_all(bytes)?;
                *total += bytes.len() as u64;
                Ok(())
            }
            _ => Err(io::Error::other("an earlier write of this object failed")),
        }
    }

    fn try_read_back(&self) -> io::Result<Bytes> {
        match &self.body {
            Body::Gathered(gathered) => Ok(Bytes::copy_from_slice(gathered)),
            Body::Spilled { file, bytes } => {
                // What was appended came from memory, so it fits there.
                let mut back = vec![0; usize::try_from(*bytes).map_err(io::Error::other)?];
                file.file.read_exact_at(&mut back, 0)?;
                Ok(Bytes::from(back))
            }
            Body::Broken => Err(io::Error::other("an earlier write of this object failed")),
        }
    }

    fn location_error(&self, error: io::Error) -> StoreError {
        io_error("write", self.place.name(), error)
    }
}

#[async_trait]
impl Draft for LocalDraft {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.try_append(bytes).map_err(|error| {
            self.body = Body::Broken;
            self.location_error(error)
        })
    }

    fn read_back(&mut self) -> Result<Bytes, StoreError> {
        self.try_read_back().map_err(|error| self.location_error(error))
    }

    async fn commit(self: Box<Self>, key: &Key, existing: Existing) -> Result<(), StoreError> {
        let key = key.clone();
        blocking("write", key.to_string(), move || {
            let target = self.place.file("write", &key)?;
            let published = publish(&self.place, self.body, &target, existing);
            published.map_err(|error| match Errno::from_io_error(&error) {
                Some(Errno::EXIST) => {
                    let why = "an object with other content has this name";
                    StoreError::new(Failure::Permanent, "write", key.as_str(), why)
                }
                _ => self.place.failed("write", &key, error),
            })
        })
        .await
    }
}

fn publish(place: &Place, body: Body, target: &Path, existing: Existing) -> io::Result<()> {
    let directory = target.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let name = target.file_name().and_then(|name| name.to_str());
    let name = name.ok_or(io::ErrorKind::InvalidInput)?;
    let mut file = match body {
        Body::Gathered(bytes) => {
            let mut file = place.in_directory(directory, || Temporary::new(directory, name))?;
            file.file.write_all(&bytes)?;
            file
        }
        Body::Spilled { file, .. } => file,
        Body::Broken => return Err(io::Error::other("an earlier write of this object failed")),
    };
    file.finish(place.modes().file)?;
    let renamed = place.in_directory(directory, || file.rename(target, existing));
    match renamed {
        Ok(()) => {}
        Err(error) if Errno::from_io_error(&error) == Some(Errno::EXIST) => {
            if !same_content(&file.file, &File::open(target)?)? {
                return Err(error);
            }
        }
        // The directories are on different file systems: somebody linked or mounted one.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::XDEV) => {
            let mut copy = Temporary::new(directory, name)?;
            io::copy(&mut File::open(file.path()?)?, &mut copy.file)?;
            copy.finish(place.modes().file)?;
            match copy.rename(target, existing) {
                Err(error) if Errno::from_io_error(&error) == Some(Errno::EXIST) => {
                    if !same_content(&file.file, &File::open(target)?)? {
                        return Err(error);
                    }
                }
                result => result?,
            }
        }
        Err(error) => return Err(error),
    }
    // Also where the object was there already: whoever put it may not have come this far.
    sync_directory(directory)
}

impl Place {
    /// Does `work` in `directory`, which is created where only it is missing.
    fn in_directory<T>(
        &self,
        directory: &Path,
        mut work: impl FnMut() -> io::Result<T>,
    ) -> io::Result<T> {
        match work() {
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && directory != self.root
                    && fs::metadata(&self.root).is_ok() =>
            {
                self.make_directories(directory, self.modes().directory)?;
                work()
            }
            result => result,
        }
    }
}

impl Temporary {
    fn new(directory: &Path, name: &str) -> io::Result<Self> {
        let mut attempts = 0;
        loop {
            let random = name_suffix().map_err(io::Error::other)?;
            let path = directory.join(format!("{name}{TEMPORARY_MARK}{random:016x}"));
            match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)
            {
                Ok(file) => return Ok(Self { file, path: Some(path) }),
                Err(error)
                    if error.kind() == io::ErrorKind::AlreadyExists && attempts < NAME_ATTEMPTS =>
                {
                    attempts += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn path(&self) -> io::Result<&Path> {
        self.path.as_deref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Gives the file its permissions and makes its content durable.
    fn finish(&self, mode: u32) -> io::Result<()> {
        match self.file.set_permissions(fs::Permissions::from_mode(mode)) {
            // Some file systems have no permissions; the object is good all the same.
            Err(error)
                if error.kind() == io::ErrorKind::PermissionDenied || is_unsupported(&error) => {}
            result => result?,
        }
        match self.file.sync_all() {
            Err(error) if is_unsupported(&error) => Ok(()),
            result => result,
        }
    }

    fn rename(&mut self, target: &Path, existing: Existing) -> io::Result<()> {
        let path = self.path()?;
        match existing {
            Existing::Replace => fs::rename(path, target)?,
            Existing::Keep => rename_new(path, target)?,
        }
        self.path = None;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // Best effort: a leftover is foreign to every listing.
            drop(fs::remove_file(path));
        }
    }
}

/// Renames unless `target` exists, by the strongest means the file system has.
fn rename_new(path: &Path, target: &Path) -> io::Result<()> {
    match renameat_with(CWD, path, CWD, target, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
        result => return Ok(result?),
    }
    match fs::hard_link(path, target) {
        Ok(()) => return fs::remove_file(path),
        Err(error)
            if matches!(
                Errno::from_io_error(&error),
                Some(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::MLINK)
            ) => {}
        Err(error) => return Err(error),
    }
    // Neither is known here. Looking first leaves a gap, in which only an equal object can appear:
    // names stand for their content.
    if fs::symlink_metadata(target).is_ok() {
        return Err(Errno::EXIST.into());
    }
    fs::rename(path, target)
}

fn same_content(ours: &File, theirs: &File) -> io::Result<bool> {
    const STEP: usize = 64 * 1024;
    let len = ours.metadata()?.len();
    if theirs.metadata()?.len() != len {
        return Ok(false);
    }
    let (mut left, mut right) = (vec![0; STEP], vec![0; STEP]);
    let mut at = 0;
    while at < len {
        let step = usize::try_from(len - at).map_or(STEP, |rest| rest.min(STEP));
        let (left, right) = (&mut left[..step], &mut right[..step]);
        ours.read_exact_at(left, at)?;
        theirs.read_exact_at(right, at)?;
        if left != right {
            return Ok(false);
        }
        at += step as u64;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_name_never_replaces_a_file() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        fs::write(&from, "new").expect("written");
        fs::write(&to, "old").expect("written");
        let error = rename_new(&from, &to).expect_err("the name is taken");
        assert_eq!(Errno::from_io_error(&error), Some(Errno::EXIST));
        assert_eq!(fs::read(&to).expect("read"), b"old");
    }

    #[test]
    fn content_is_compared_to_the_last_byte() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = |name: &str, bytes: &[u8]| {
            let path = directory.path().join(name);
            fs::write(&path, bytes).expect("written");
            File::open(path).expect("opened")
        };
        let mut bytes = vec![7; 200_000];
        let left = file("left", &bytes);
        assert!(same_content(&left, &file("equal", &bytes)).expect("read"));
        bytes[199_999] = 8;
        assert!(!same_content(&left, &file("other", &bytes)).expect("read"));
        assert!(!same_content(&left, &file("short", &bytes[..199_999])).expect("read"));
    }
}
