//! The files of one repository's cache.
//!
//! Invariants
//! - A file appears whole or not at all: it is written under another name and renamed. Nothing is
//!   synchronised: what a crash leaves short is found when it is proved, and fetched again.
//! - What does not fit is not kept; packs that were not used for the longest time go first, and
//!   nothing that this process has used.
//! - The first failure to write ends all writing, and is told once. A failure to read is a miss.

use std::{
    collections::HashSet,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use bytes::Bytes;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, utimensat};

use super::{CacheOptions, DOCUMENTS, PACKS, base};
use crate::{
    entropy::name_suffix,
    store::{
        Key, Range,
        trace::{Observer, StoreEvent},
    },
};

/// Part of a file system that a cache without a limit leaves free, and what is enough of a large
/// one.
const KEPT_FREE: (u64, u64) = (20, 1 << 30);
/// How far below its limit a full cache is emptied, so that not every file does it again.
const EMPTIED_TO: (u64, u64) = (9, 10);

/// The directory of one repository.
#[derive(Debug)]
pub(super) struct Room {
    path: PathBuf,
    limit_bytes: Option<u64>,
    observer: Observer,
    is_closed: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes of all files, once they were counted.
    bytes: Option<u64>,
    used: HashSet<Key>,
}

/// Which packs may go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Evicted {
    /// Those that this process has not used.
    Unused,
    Any,
}

/// A file found in the cache.
struct Found {
    key: Key,
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

impl Room {
    /// The cache at `path`, made where there is none. One that can only be read is used so.
    pub(super) fn open(options: &CacheOptions, path: &Path) -> Result<Self, StoreEvent> {
        let room = Self {
            path: path.to_owned(),
            limit_bytes: options.limit_bytes,
            observer: options.observer.clone(),
            is_closed: AtomicBool::new(false),
            state: Mutex::default(),
        };
        let unusable = |error: &io::Error| StoreEvent::Cache {
            path: room.path.display().to_string(),
            why: error.to_string(),
        };
        match base::version_of(&room.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unusable(&error)),
            Ok(base::VERSION) => {}
            Ok(other) => {
                let why = format!("its version is {other}, which this program does not know");
                return Err(unusable(&io::Error::other(why)));
            }
            Err(_absent) => {
                base::make(&options.base, &room.path).map_err(|error| unusable(&error))?;
            }
        }
        // What is cleaned up goes by this time; another user's directory keeps its own.
        let _or_not = touch(&room.path);
        Ok(room)
    }

    /// Bytes of an object, if they are here.
    pub(super) fn load(&self, key: &Key, range: Range) -> Option<Bytes> {
        let path = self.path_of(key)?;
        let mut file = File::open(&path).ok()?;
        let size = file.metadata().ok()?.len();
        let (start, end) = range.within(size)?;
        let len = usize::try_from(end - start).ok()?;
        let mut bytes = Vec::with_capacity(len);
        file.seek(SeekFrom::Start(start)).ok()?;
        file.take(end - start).read_to_end(&mut bytes).ok()?;
        if bytes.len() != len {
            return None;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.used.insert(key.clone()) {
            drop(state);
            let _or_not = touch(&path);
        }
        Some(Bytes::from(bytes))
    }

    /// Keeps a whole object, if it fits.
    pub(super) fn save(&self, key: &Key, bytes: &[u8]) {
        if self.is_closed.load(Ordering::Relaxed) {
            return;
        }
        let Some(path) = self.path_of(key) else { return };
        let saved = self.make_room(bytes.len() as u64).and_then(|fits| {
            if fits {
                write(&path, bytes)?;
            }
            Ok(fits)
        });
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match saved {
            Ok(true) => {
                state.used.insert(key.clone());
                state.bytes = state.bytes.map(|all| all + bytes.len() as u64);
            }
            Ok(false) => {}
            Err(error) => {
                drop(state);
                if !self.is_closed.swap(true, Ordering::Relaxed) {
                    self.observer.tell(|| StoreEvent::Cache {
                        path: self.path.display().to_string(),
                        why: error.to_string(),
                    });
                }
            }
        }
    }

    /// Removes the copy of an object; says whether there was one.
    pub(super) fn remove(&self, key: &Key) -> bool {
        let Some(path) = self.path_of(key) else { return false };
        let Ok(metadata) = fs::metadata(&path) else { return false };
        let is_gone = fs::remove_file(&path).is_ok();
        if is_gone {
            self.forget_bytes(metadata.len());
        }
        is_gone
    }

    /// Removes the copies below a directory that are not to be kept.
    pub(super) fn retain(&self, directory: &str, keep: &dyn Fn(&Key) -> bool) {
        for found in self.files(directory) {
            if !keep(&found.key) && fs::remove_file(&found.path).is_ok() {
                self.forget_bytes(found.bytes);
            }
        }
    }

    /// The objects below a directory that are here.
    pub(super) fn keys(&self, directory: &str) -> HashSet<Key> {
        self.files(directory).into_iter().map(|found| found.key).collect()
    }

    fn forget_bytes(&self, bytes: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.bytes = state.bytes.map(|all| all.saturating_sub(bytes));
    }

    /// Whether so many bytes more may be kept, after packs went where that helps.
    fn make_room(&self, wanted: u64) -> io::Result<bool> {
        let over = match self.limit_bytes {
            Some(limit) => {
                // Of a cache that was allowed more until now, even what is in use goes.
                let excess = self.bytes().saturating_sub(limit);
                self.evict(excess, Evicted::Any);
                let all = self.bytes().saturating_add(wanted);
                let target = limit / EMPTIED_TO.1 * EMPTIED_TO.0;
                if all <= limit { 0 } else { all - target }
            }
            None => {
                let file_system = rustix::fs::statvfs(&self.path)?;
                let block = file_system.f_frsize;
                let free = file_system.f_bavail.saturating_mul(block);
                let kept = file_system.f_blocks.saturating_mul(block) / KEPT_FREE.0;
                let kept = kept.min(KEPT_FREE.1);
                kept.saturating_add(wanted).saturating_sub(free)
            }
        };
        Ok(self.evict(over, Evicted::Unused) >= over)
    }

    /// Removes packs until so many bytes went, or none is left that may go, what was used last at
    /// last.
    fn evict(&self, bytes: u64, which: Evicted) -> u64 {
        if bytes == 0 {
            return 0;
        }
        let used = self.state.lock().unwrap_or_else(PoisonError::into_inner).used.clone();
        let mut packs = self.files(PACKS);
        packs.retain(|found| which == Evicted::Any || !used.contains(&found.key));
        packs.sort_by_key(|found| (used.contains(&found.key), found.used));
        let mut gone = 0;
        for found in packs {
            if gone >= bytes {
                break;
            }
            if fs::remove_file(&found.path).is_ok() {
                gone += found.bytes;
                self.forget_bytes(found.bytes);
            }
        }
        gone
    }

    fn bytes(&self) -> u64 {
        let known = self.state.lock().unwrap_or_else(PoisonError::into_inner).bytes;
        known.unwrap_or_else(|| {
            let directories = DOCUMENTS.iter().copied().chain([PACKS]);
            let files = directories.flat_map(|directory| self.files(directory));
            let bytes = files.map(|found| found.bytes).sum();
            self.state.lock().unwrap_or_else(PoisonError::into_inner).bytes = Some(bytes);
            bytes
        })
    }

    /// The files below a directory; what cannot be read is as if it were not there.
    fn files(&self, directory: &str) -> Vec<Found> {
        let list = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten();
        let mut files = Vec::new();
        for shard in list(&self.path.join(directory)) {
            for file in list(&shard.path()) {
                let Ok(name) = file.file_name().into_string() else { continue };
                let key = Key::new(format!("{directory}{name}"));
                let path = file.path();
                let is_ours = self.path_of(&key).is_some_and(|proper| proper == path);
                let Ok(metadata) = file.metadata() else { continue };
                let Ok(used) = metadata.modified() else { continue };
                if is_ours && metadata.is_file() {
                    files.push(Found { key, path, bytes: metadata.len(), used });
                }
            }
        }
        files
    }

    /// Where the copy of an object is; `None` for names that have no place here.
    fn path_of(&self, key: &Key) -> Option<PathBuf> {
        let (directory, name) = key.as_str().split_once('/')?;
        let is_name = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        let shard = name.get(..2).filter(|_shard| is_name)?;
        Some(self.path.join(directory).join(shard).join(name))
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let suffix = name_suffix().map_err(io::Error::other)?;
    let temporary = directory.join(format!("tmp-{suffix:016x}"));
    let create = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary);
    let mut file = match create() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().mode(0o700).recursive(true).create(directory)?;
            create()?
        }
        created => created?,
    };
    let written = file.write_all(bytes).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _or_it_stays = fs::remove_file(&temporary);
    }
    written
}

fn touch(path: &Path) -> rustix::io::Result<()> {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    utimensat(CWD, path, &Timestamps { last_access: now, last_modification: now }, AtFlags::empty())
}
