//! A directory of the local file system (or of a mounted network one) as a store.
//!
//! Invariants
//! - The location itself is made by [`Backend::create`] alone: a put into a location that has gone
//!   (an unmounted volume) fails and never starts a second repository under the mount point.
//! - Nothing is published before its bytes are synced, nothing is reported stored before its name
//!   is: file, name, directory, in this order, for directories made on the way too.
//! - Files that the layout does not know are never listed, so leftovers of a crash do no harm until
//!   they are removed (`leftover`).
//!
//! Not here: locks between processes (`protocol`), deletion being durable at once: file systems
//! commit changes of names in order, which is all that callers rely on.

mod draft;
mod leftover;
mod list;

use std::{
    collections::BTreeSet,
    fmt::Display,
    fs::{self, DirBuilder, File},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use async_trait::async_trait;
use bytes::Bytes;
use rustix::io::Errno;

use super::{
    Backend, Capabilities, Draft, Failure, Key, Leftover, Listed, Range, StoreError, layout::Layout,
};

/// A store in a directory. Clones share its state.
#[derive(Clone, Debug)]
pub struct LocalStore(Arc<Place>);

/// Where the directory is and how to write there.
#[derive(Debug)]
struct Place {
    root: PathBuf,
    layout: Layout,
    modes: OnceLock<Modes>,
    lists_at_once: OnceLock<bool>,
}

/// Permissions of what is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Modes {
    file: u32,
    directory: u32,
}

/// More than any object a repository can hold; a larger file is not one.
const MAX_READ_BYTES: u64 = 4 << 30;

impl LocalStore {
    /// A store in the directory `root`, which need not exist yet.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>, layout: Layout) -> Self {
        Self(Arc::new(Place::new(root.into(), layout)))
    }
}

#[async_trait]
impl Backend for LocalStore {
    fn location(&self) -> String {
        self.0.name()
    }

    fn capabilities(&self) -> Capabilities {
        let lists_at_once = *self.0.lists_at_once.get_or_init(|| is_of_one_kernel(&self.0.root));
        Capabilities { lists_at_once, connections: 4, remote: false }
    }

    async fn create(&self) -> Result<(), StoreError> {
        let place = Arc::clone(&self.0);
        blocking("create", self.0.name(), move || place.create()).await
    }

    async fn list(
        &self,
        prefix: &str,
        each: &mut (dyn FnMut(Listed) + Send),
    ) -> Result<(), StoreError> {
        list::list(&self.0, prefix, each).await
    }

    async fn stat(&self, key: &Key) -> Result<Listed, StoreError> {
        let (place, key) = (Arc::clone(&self.0), key.clone());
        blocking("stat", key.to_string(), move || place.stat(&key)).await
    }

    async fn read(&self, key: &Key, range: Range) -> Result<Bytes, StoreError> {
        let (place, key) = (Arc::clone(&self.0), key.clone());
        blocking("read", key.to_string(), move || place.read(&key, range)).await
    }

    fn read_here(
        &self,
        key: &Key,
        range: Range,
        out: &mut Vec<u8>,
    ) -> Option<Result<(), StoreError>> {
        Some(self.0.append(key, range, out))
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let (place, key) = (Arc::clone(&self.0), key.clone());
        blocking("delete", key.to_string(), move || place.delete(&key)).await
    }

    async fn leftovers(&self) -> Result<Vec<Leftover>, StoreError> {
        let place = Arc::clone(&self.0);
        blocking("list", self.0.name(), move || leftover::find(&place)).await
    }

    async fn remove_leftover(&self, leftover: &Leftover) -> Result<bool, StoreError> {
        let (place, leftover) = (Arc::clone(&self.0), leftover.clone());
        blocking("delete", leftover.path.clone(), move || leftover::remove(&place, &leftover)).await
    }

    fn draft(&self, expected_bytes: u64) -> Result<Box<dyn Draft>, StoreError> {
        Ok(Box::new(draft::LocalDraft::new(Arc::clone(&self.0), expected_bytes)))
    }
}

impl Place {
    fn new(root: PathBuf, layout: Layout) -> Self {
        Self { root, layout, modes: OnceLock::new(), lists_at_once: OnceLock::new() }
    }

    fn name(&self) -> String {
        self.root.display().to_string()
    }

    /// The file of `key`.
    fn file(&self, action: &'static str, key: &Key) -> Result<PathBuf, StoreError> {
        let path = self.layout.path(key).ok_or_else(|| {
            let why = "this kind of repository has no place for such a name";
            StoreError::new(Failure::Permanent, action, key.as_str(), why)
        })?;
        Ok(self.root.join(path))
    }

    /// An error on `key`; where the whole location is missing it says so.
    fn failed(&self, action: &'static str, key: &Key, error: io::Error) -> StoreError {
        if error.kind() == io::ErrorKind::NotFound
            && let Err(root) = fs::metadata(&self.root)
        {
            return io_error(action, self.name(), root);
        }
        io_error(action, key, error)
    }

    fn create(&self) -> Result<(), StoreError> {
        let modes = self.modes();
        let failed = |error| io_error("create", self.name(), error);
        self.make_directories(&self.root, modes.directory).map_err(failed)?;
        // Names to make durable: where they were added, each directory once.
        let mut changed = BTreeSet::new();
        for directory in self.layout.directories() {
            let path = self.root.join(directory);
            match new_directory(&path, modes.directory) {
                Ok(()) => changed.extend(path.parent().map(Path::to_owned)),
                Err(_) if path.is_dir() => {}
                Err(error) => return Err(failed(error)),
            }
        }
        changed.iter().try_for_each(|path| sync_directory(path)).map_err(failed)
    }

    /// Creates `path` and what is missing above it, each name synced.
    fn make_directories(&self, path: &Path, mode: u32) -> io::Result<()> {
        match new_directory(path, mode) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return if path.is_dir() { Ok(()) } else { Err(error) };
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let parent = path.parent().filter(|parent| *parent != Path::new(""));
                self.make_directories(parent.ok_or(error)?, mode)?;
                if let Err(error) = new_directory(path, mode)
                    && error.kind() != io::ErrorKind::AlreadyExists
                {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
        match path.parent() {
            Some(parent) if parent != Path::new("") => sync_directory(parent),
            _ => sync_directory(Path::new(".")),
        }
    }

    fn stat(&self, key: &Key) -> Result<Listed, StoreError> {
        let found = fs::metadata(self.file("stat", key)?).and_then(|found| {
            let modified = found.modified()?;
            Ok((found, modified))
        });
        let (found, modified) = found.map_err(|error| self.failed("stat", key, error))?;
        if !found.is_file() {
            return Err(not_a_file("stat", key));
        }
        Ok(Listed { key: key.clone(), stored_bytes: found.len(), modified })
    }

    fn read(&self, key: &Key, range: Range) -> Result<Bytes, StoreError> {
        let mut bytes = Vec::new();
        self.append(key, range, &mut bytes)?;
        Ok(Bytes::from(bytes))
    }

    fn append(&self, key: &Key, range: Range, out: &mut Vec<u8>) -> Result<(), StoreError> {
        let path = self.file("read", key)?;
        let failed = |error| self.failed("read", key, error);
        let mut file = File::open(path).map_err(failed)?;
        let found = file.metadata().map_err(failed)?;
        if !found.is_file() {
            return Err(not_a_file("read", key));
        }
        let short = |have: u64| {
            let why = format!("the object has {have} bytes, too few for {range:?}");
            StoreError::new(Failure::Short, "read", key.as_str(), why)
        };
        let (start, end) = range.within(found.len()).ok_or_else(|| short(found.len()))?;
        let len = end - start;
        if len > MAX_READ_BYTES {
            let why = format!("{len} bytes are more than any object has");
            return Err(StoreError::new(Failure::Permanent, "read", key.as_str(), why));
        }
        let room = usize::try_from(len).ok().and_then(|len| out.try_reserve_exact(len).ok());
        room.ok_or_else(|| failed(io::ErrorKind::OutOfMemory.into()))?;
        if start > 0 {
            file.seek(SeekFrom::Start(start)).map_err(failed)?;
        }
        let got = file.take(len).read_to_end(out).map_err(failed)?;
        if got as u64 != len {
            return Err(short(start + got as u64));
        }
        Ok(())
    }

    fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let path = self.file("delete", key)?;
        fs::remove_file(path).map_err(|error| self.failed("delete", key, error))
    }

    /// Owner only, and the group too where the group may read the repository's model object.
    fn modes(&self) -> Modes {
        *self.modes.get_or_init(|| {
            let model = self.layout.model_object().map(|name| fs::metadata(self.root.join(name)));
            let group = match &model {
                Some(Ok(model)) => model.permissions().mode() & 0o040 != 0,
                _ => false,
            };
            let mut modes = if group {
                Modes { file: 0o660, directory: 0o770 }
            } else {
                Modes { file: 0o600, directory: 0o700 }
            };
            if model.is_some() {
                modes.file &= !0o222;
            }
            modes
        })
    }
}

/// Runs `work` where it may block.
async fn blocking<T: Send + 'static>(
    action: &'static str,
    object: String,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(stopped) => Err(StoreError::new(Failure::Permanent, action, object, stopped)),
    }
}

fn new_directory(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().mode(mode).create(path)
}

/// Makes the names in a directory durable, where its file system knows how.
fn sync_directory(path: &Path) -> io::Result<()> {
    match File::open(path)?.sync_all() {
        Err(error) if is_unsupported(&error) => Ok(()),
        result => result,
    }
}

/// Whether a file system says that it has no such operation, rather than that it failed.
/// Whether the file system is one whose names one kernel keeps, so that every process sees at once
/// what another has made. Those of a network may answer out of what they remember.
fn is_of_one_kernel(root: &Path) -> bool {
    /// What `statfs` calls bcachefs, btrfs, ext4, f2fs, overlayfs, ramfs, tmpfs, XFS and ZFS.
    const KNOWN: [u64; 9] = [
        0xca45_1a4e,
        0x9123_683e,
        0xef53,
        0xf2f5_2010,
        0x794c_7630,
        0x8584_58f6,
        0x0102_1994,
        0x5846_5342,
        0x2fc1_2fc1,
    ];
    let kind = rustix::fs::statfs(root).map(|known| u64::try_from(known.f_type));
    matches!(kind, Ok(Ok(kind)) if KNOWN.contains(&kind))
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS | Errno::NOTTY)
    )
}

fn not_a_file(action: &'static str, key: &Key) -> StoreError {
    StoreError::new(Failure::Permanent, action, key.as_str(), "not a regular file")
}

fn io_error(action: &'static str, object: impl Display, error: io::Error) -> StoreError {
    StoreError::new(failure(&error), action, object.to_string(), error)
}

fn failure(error: &io::Error) -> Failure {
    match Errno::from_io_error(error) {
        Some(Errno::NOENT) => Failure::NotFound,
        Some(Errno::ACCESS | Errno::PERM) => Failure::Denied,
        Some(Errno::NOSPC | Errno::DQUOT | Errno::ROFS | Errno::FBIG) => Failure::NoSpace,
        // A network file system that lost its server for a while says one of these.
        Some(
            Errno::AGAIN
            | Errno::INTR
            | Errno::TIMEDOUT
            | Errno::STALE
            | Errno::IO
            | Errno::BUSY
            | Errno::NOTCONN
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH
            | Errno::MFILE
            | Errno::NFILE
            | Errno::NOMEM,
        ) => Failure::Transient,
        _ => Failure::Permanent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errnos_fall_into_classes() {
        for (errno, class) in [
            (Errno::NOENT, Failure::NotFound),
            (Errno::ACCESS, Failure::Denied),
            (Errno::PERM, Failure::Denied),
            (Errno::NOSPC, Failure::NoSpace),
            (Errno::DQUOT, Failure::NoSpace),
            (Errno::ROFS, Failure::NoSpace),
            (Errno::STALE, Failure::Transient),
            (Errno::NOTDIR, Failure::Permanent),
        ] {
            assert_eq!(failure(&errno.into()), class, "{errno:?}");
        }
        assert_eq!(failure(&io::Error::other("no errno")), Failure::Permanent);
    }
}
