//! An object being assembled until it goes to the server in one put.
//!
//! Invariants
//! - A large one waits in a file without a name, where there is a place for such; a full or missing
//!   disk there never fails it, it goes on in memory.
//! - Whatever ends the process, no file is left.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use rustix::fs::{Mode, OFlags};

use super::{Draft, Existing, Failure, Key, Layout, Line, PutRules, StoreError};

/// What is expected to be larger than this waits in a file; a hint beyond it is not believed before
/// the bytes come.
const SMALL_BYTES: u64 = 1 << 20;

/// Bytes that go to the server in one put.
#[derive(Debug)]
pub(super) struct Gathered {
    line: Line,
    layout: Layout,
    may_be_cold: bool,
    sha256: Option<[u8; 32]>,
    held: Held,
}

#[derive(Debug)]
enum Held {
    Memory(Vec<u8>),
    /// So many bytes of a file; what may be behind them was not wholly written.
    File(Arc<File>, u64),
}

impl Gathered {
    pub(super) fn new(line: Line, layout: Layout, expected_bytes: u64) -> Self {
        let spool = line.0.spool.as_deref().filter(|_spool| expected_bytes > SMALL_BYTES);
        let held = match spool.and_then(nameless_file) {
            Some(file) => Held::File(Arc::new(file), 0),
            None => {
                let expected = usize::try_from(expected_bytes.min(SMALL_BYTES)).unwrap_or(0);
                Held::Memory(Vec::with_capacity(expected))
            }
        };
        Self { line, layout, may_be_cold: false, sha256: None, held }
    }

    fn failed(error: io::Error) -> StoreError {
        StoreError::new(Failure::Permanent, "read", "what waits to be stored", error)
    }
}

impl Held {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Memory(held) => held.extend_from_slice(bytes),
            Self::File(file, len) => match file.as_ref().write_all(bytes) {
                Ok(()) => *len += bytes.len() as u64,
                Err(_full) => {
                    let mut held = read(file, *len)?;
                    held.extend_from_slice(bytes);
                    *self = Self::Memory(held);
                }
            },
        }
        Ok(())
    }
}

/// Nothing where this cannot be had: not every file system has such.
fn nameless_file(directory: &Path) -> Option<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR).ok().map(File::from)
}

fn read(file: &File, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

#[async_trait]
impl Draft for Gathered {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.held.append(bytes).map_err(Self::failed)
    }

    fn read_back(&mut self) -> Result<Bytes, StoreError> {
        match &self.held {
            Held::Memory(held) => Ok(Bytes::copy_from_slice(held)),
            Held::File(file, len) => read(file, *len).map(Bytes::from).map_err(Self::failed),
        }
    }

    fn will_hash_to(&mut self, sha256: [u8; 32]) {
        self.sha256 = Some(sha256);
    }

    fn may_be_cold(&mut self) {
        self.may_be_cold = true;
    }

    async fn commit(self: Box<Self>, key: &Key, existing: Existing) -> Result<(), StoreError> {
        let Self { line, layout, may_be_cold, sha256, held } = *self;
        let name = layout.path(key).ok_or_else(|| {
            let why = "this kind of repository has no place for such a name";
            StoreError::new(Failure::Permanent, "write", key.as_str(), why)
        })?;
        let bytes = match held {
            Held::Memory(held) => held,
            Held::File(file, len) => {
                let reading = tokio::task::spawn_blocking(move || read(&file, len)).await;
                reading.map_err(io::Error::other).flatten().map_err(Self::failed)?
            }
        };
        let rules = PutRules { existing, may_be_cold, sha256 };
        line.0.put(&name, Bytes::from(bytes), rules).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_disk_has_room_for_goes_on_in_memory() {
        // Writing there always fails as a full disk does.
        let full = File::options().read(true).write(true).open("/dev/full").expect("opened");
        let mut held = Held::File(Arc::new(full), 0);
        held.append(b"some").expect("in memory");
        held.append(b" more").expect("in memory");
        assert!(matches!(held, Held::Memory(bytes) if bytes == b"some more"));
    }

    #[test]
    fn what_was_written_before_a_disk_was_full_is_kept() {
        let room = tempfile::tempdir().expect("a temporary directory");
        let Some(file) = nameless_file(room.path()) else { return };
        let mut held = Held::File(Arc::new(file), 0);
        held.append(b"some").expect("written");
        let Held::File(file, 4) = &held else { panic!("not in the file") };
        let reopened =
            File::open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&**file)));
        // Opened for reading only, it takes nothing more.
        let mut held = Held::File(Arc::new(reopened.expect("opened")), 4);
        held.append(b" more").expect("in memory");
        assert!(matches!(held, Held::Memory(bytes) if bytes == b"some more"));
    }
}
