//! Listing a directory store: one pass over each directory that can hold the prefix, one `statx`
//! per object, on a blocking thread that hands whole directories over.

use std::{
    ffi::CStr,
    io,
    mem::MaybeUninit,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, RawDir, Statx, StatxFlags, open, statx},
    io::Errno,
};
use tokio::sync::mpsc;

use super::{Listed, Place, StoreError, blocking, io_error};

type Batch = Vec<Listed>;

/// Directories that may wait for the caller.
const BATCHES: usize = 4;
const NAMES_BYTES: usize = 32 * 1024;

pub(super) async fn list(
    place: &Arc<Place>,
    prefix: &str,
    each: &mut (dyn FnMut(Listed) + Send),
) -> Result<(), StoreError> {
    let (batches, mut received) = mpsc::channel::<Batch>(BATCHES);
    let work = blocking("list", place.name(), {
        let (place, prefix) = (Arc::clone(place), prefix.to_owned());
        move || {
            let names = vec![MaybeUninit::uninit(); NAMES_BYTES];
            Walk { place: &place, prefix: &prefix, batches, names }.run()
        }
    });
    let deliver = async {
        while let Some(batch) = received.recv().await {
            batch.into_iter().for_each(&mut *each);
        }
    };
    let (result, ()) = tokio::join!(work, deliver);
    result
}

struct Walk<'a> {
    place: &'a Place,
    prefix: &'a str,
    batches: mpsc::Sender<Batch>,
    names: Vec<MaybeUninit<u8>>,
}

impl Walk<'_> {
    fn run(mut self) -> Result<(), StoreError> {
        // Only the location itself must exist; what vanishes below it was deleted meanwhile.
        let mut pending = Vec::new();
        self.directory("", &mut pending)?;
        while let Some(path) = pending.pop()
            && !self.batches.is_closed()
        {
            match self.directory(&path, &mut pending) {
                Err(error) if error.failure == super::Failure::NotFound => {}
                result => result?,
            }
        }
        Ok(())
    }

    fn directory(&mut self, path: &str, pending: &mut Vec<String>) -> Result<(), StoreError> {
        let full = self.place.root.join(path);
        let failed = |errno: Errno| error(&full, errno);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = open(&full, flags, Mode::empty()).map_err(failed)?;
        let mut batch = Batch::new();
        let mut entries = RawDir::new(&directory, &mut self.names);
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(failed)?;
            let Some(below) = utf8_path(path, entry.file_name()) else { continue };
            let kind = entry.file_type();
            let key = self.place.layout.key(&below);
            let may_be_object = !matches!(kind, FileType::Directory)
                && key.as_ref().is_some_and(|key| key.as_str().starts_with(self.prefix));
            let may_hold = self.place.layout.may_hold(&below, self.prefix);
            match kind {
                FileType::Directory if may_hold => pending.push(below),
                FileType::RegularFile | FileType::Symlink | FileType::Unknown
                    if may_be_object || (may_hold && kind != FileType::RegularFile) =>
                {
                    let mask = StatxFlags::TYPE | StatxFlags::SIZE | StatxFlags::MTIME;
                    match statx(&directory, entry.file_name(), AtFlags::empty(), mask) {
                        Err(Errno::NOENT) => {}
                        Err(errno) => return Err(error(&self.place.root.join(below), errno)),
                        Ok(stat) => match FileType::from_raw_mode(stat.stx_mode.into()) {
                            FileType::Directory if may_hold => pending.push(below),
                            FileType::RegularFile if may_be_object => {
                                batch.extend(key.map(|key| row(key, &stat)));
                            }
                            _ => {}
                        },
                    }
                }
                _ => {}
            }
        }
        // It fails when the caller has given up, which `run` notices.
        drop(self.batches.blocking_send(batch));
        Ok(())
    }
}

fn utf8_path(directory: &str, name: &CStr) -> Option<String> {
    // A foreign name in another encoding cannot be an object.
    let name = name.to_str().ok().filter(|name| !matches!(*name, "." | ".."))?;
    Some(if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") })
}

fn row(key: super::Key, stat: &Statx) -> Listed {
    let seconds = Duration::from_secs(stat.stx_mtime.tv_sec.unsigned_abs());
    let modified = if stat.stx_mtime.tv_sec < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(seconds)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(seconds)
    };
    let modified = modified.unwrap_or(SystemTime::UNIX_EPOCH)
        + Duration::from_nanos(stat.stx_mtime.tv_nsec.into());
    Listed { key, stored_bytes: stat.stx_size, modified }
}

fn error(path: &Path, errno: Errno) -> StoreError {
    io_error("list", path.display(), io::Error::from(errno))
}
