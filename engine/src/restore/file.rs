//! A regular file on its way into the target.
//!
//! Invariants
//! - Any number of threads write its chunks in any order; the one that writes the last chunk puts
//!   the metadata back.
//! - A file that could not be written whole keeps the mode and time of an unfinished one, so that
//!   nothing takes it for the file it should be. That holds for earlier versions too: what others
//!   could read or run is closed to them before the first new byte is in it.
//! - Holes are made only where nothing was before.

use std::{
    error::Error,
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use rustix::io::Errno;

use super::{
    compare,
    folder::Folder,
    handles::Slot,
    task::{Task, add},
};
use crate::{
    model::chunk::ChunkKey,
    monitor::{Action, ItemKind},
    target::{
        Metadata,
        fs::{
            self,
            metadata::{Before, Subject, apply},
        },
    },
};

/// Runs of zeros of at least this length, aligned to it, become holes.
const HOLE_BYTES: usize = 16 << 10;

/// A file being restored.
#[derive(Debug)]
pub(super) struct FileJob {
    folder: Arc<Folder>,
    name: Box<[u8]>,
    size_bytes: u64,
    metadata: Metadata,
    start: Start,
    /// How many chunks are written.
    chunks: usize,
    left: AtomicUsize,
    /// Whether something of it is missing, and was told.
    incomplete: AtomicBool,
    /// Whether it cannot be written.
    broken: AtomicBool,
    created: AtomicBool,
    has_holes: AtomicBool,
    open: Arc<Slot<File>>,
    /// All its chunks and their lengths, where it is read back.
    proof: Option<Box<[(ChunkKey, u32)]>>,
}

/// What there is of a file when its first chunk comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// Nothing.
    Nothing,
    /// Something else, or a file that other names share: it goes first.
    Replace,
    /// An earlier version, of which most is kept. With `is_linked`, this restore gives it other
    /// names.
    Earlier { is_linked: bool },
    /// An empty file that this restore made, so that other names could be linked to it.
    Prepared,
}

impl Start {
    fn keeps_content(self) -> bool {
        matches!(self, Self::Earlier { .. })
    }
}

/// What a file is made from.
pub(super) struct Plan {
    pub(super) folder: Arc<Folder>,
    pub(super) name: Box<[u8]>,
    pub(super) size_bytes: u64,
    pub(super) metadata: Metadata,
    pub(super) start: Start,
    pub(super) chunks: usize,
    pub(super) proof: Option<Box<[(ChunkKey, u32)]>>,
}

/// A chunk for any number of places, looked at once: the zeros of a large hole are one chunk in
/// millions of places.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plain<'a> {
    bytes: &'a [u8],
    is_zero: bool,
}

impl<'a> Plain<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, is_zero: is_zero(bytes) }
    }
}

/// A file was read back and is not what was written.
#[derive(Debug, thiserror::Error)]
#[error("read back, the content differs from the backup")]
struct ReadBackDiffers;

impl FileJob {
    /// A file that waits for its chunks. Its folder is told already.
    pub(super) fn new(plan: Plan) -> Arc<Self> {
        Arc::new(Self {
            folder: plan.folder,
            name: plan.name,
            size_bytes: plan.size_bytes,
            metadata: plan.metadata,
            start: plan.start,
            chunks: plan.chunks,
            left: AtomicUsize::new(plan.chunks),
            incomplete: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            created: AtomicBool::new(false),
            has_holes: AtomicBool::new(false),
            open: Arc::default(),
            proof: plan.proof,
        })
    }

    /// Writes a chunk, and ends the file with its last one.
    pub(super) fn write(&self, task: &Task, offset: u64, plain: Plain<'_>) {
        task.monitor.counters().bytes_done.add(plain.bytes.len() as u64);
        if self.chunks == 1 {
            let written = self.open(task).and_then(|file| {
                self.put(task, &file, offset, plain)?;
                Ok(Arc::new(file))
            });
            return self.end(task, written);
        }
        if !self.broken.load(Ordering::Relaxed) {
            let file = task.handles.get(&self.open, || self.open(task));
            if let Err(error) = file.and_then(|file| self.put(task, &file, offset, plain)) {
                self.spoil(task, error);
            }
        }
        self.part_done(task);
    }

    /// A chunk cannot be had; the others are worth having.
    pub(super) fn lose(&self, task: &Task, why: &(dyn Error + 'static)) {
        if !self.incomplete.swap(true, Ordering::Relaxed) {
            task.problem(&self.folder.path_of(&self.name), why);
        }
        self.part_done(task);
    }

    /// Ends a file of which no chunk has to be written.
    pub(super) fn end_unwritten(&self, task: &Task) {
        self.end(task, self.open(task).map(Arc::new));
    }

    fn part_done(&self, task: &Task) {
        if self.left.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        let is_broken = self.broken.load(Ordering::Relaxed);
        if !self.incomplete.load(Ordering::Relaxed) {
            let file = task.handles.get(&self.open, || self.open(task));
            self.open.close();
            return self.end(task, file);
        }
        if !is_broken && self.chunks > 1 {
            // What was written is in its place, also where the end is missing.
            let file = task.handles.get(&self.open, || self.open(task));
            if let Err(error) = file.and_then(|file| file.set_len(self.size_bytes)) {
                self.spoil(task, error);
            }
        }
        self.open.close();
        self.folder.child_done(task, false);
    }

    fn spoil(&self, task: &Task, error: io::Error) {
        self.broken.store(true, Ordering::Relaxed);
        if !self.incomplete.swap(true, Ordering::Relaxed) {
            task.target_failed(&self.folder.path_of(&self.name), error);
        }
    }

    fn open(&self, task: &Task) -> io::Result<File> {
        let dir = self.folder.dir(&task.handles)?;
        if self.created.load(Ordering::Acquire) || self.start == Start::Prepared {
            return Ok(fs::open_file(&dir, &self.name)?.0);
        }
        if let Start::Earlier { is_linked } = self.start {
            let (file, stat) = fs::open_file(&dir, &self.name)?;
            // Another name may have come since it was compared.
            if stat.links > 1 && !is_linked {
                return Err(Errno::MLINK.into());
            }
            if self.chunks > 0 {
                fs::metadata::close_to_others(&file, &stat)?;
            }
            return Ok(file);
        }
        if self.start == Start::Replace {
            match fs::remove_entry(&dir, &self.name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let file = fs::create_file(&dir, &self.name, self.proof.is_some())?;
        self.created.store(true, Ordering::Release);
        Ok(file)
    }

    fn put(&self, task: &Task, file: &File, offset: u64, plain: Plain<'_>) -> io::Result<()> {
        let Plain { bytes: plain, is_zero } = plain;
        if task.options.sparse && !self.start.keeps_content() {
            let runs = if is_zero { Vec::new() } else { data_runs(offset, plain) };
            let mut written = 0;
            for run in runs {
                written += run.len();
                file.write_all_at(&plain[run.clone()], offset + run.start as u64)?;
            }
            if written < plain.len() {
                self.has_holes.store(true, Ordering::Relaxed);
            }
        } else {
            file.write_all_at(plain, offset)?;
        }
        add(&task.done.bytes_written, plain.len() as u64);
        task.monitor.counters().bytes_added.add(plain.len() as u64);
        Ok(())
    }

    /// The last thread at work ends the file.
    fn end(&self, task: &Task, file: io::Result<Arc<File>>) {
        let ended = file.and_then(|file| self.finish(task, &file));
        let is_done = match ended {
            Ok(true) => {
                let (figure, action) = match self.start {
                    Start::Nothing | Start::Prepared => {
                        (&task.done.files_restored, Action::Restored)
                    }
                    Start::Replace | Start::Earlier { .. } => {
                        (&task.done.files_updated, Action::Updated)
                    }
                };
                add(figure, 1);
                task.monitor.counters().files_done.add(1);
                let path = || self.folder.path_of(&self.name);
                task.item(path, action, ItemKind::File, self.size_bytes, self.size_bytes);
                true
            }
            Ok(false) => {
                task.problem(&self.folder.path_of(&self.name), &ReadBackDiffers);
                false
            }
            Err(error) => {
                self.spoil(task, error);
                false
            }
        };
        self.folder.child_done(task, is_done);
    }

    /// Sets length and metadata; `false` where the file is not what was written.
    fn finish(&self, task: &Task, file: &File) -> io::Result<bool> {
        if self.start.keeps_content() || self.has_holes.load(Ordering::Relaxed) {
            file.set_len(self.size_bytes)?;
        }
        if let Some(proof) = &self.proof
            && !compare::is_whole(task, file, proof)?
        {
            return Ok(false);
        }
        let before = match self.start {
            Start::Nothing | Start::Replace | Start::Prepared => self.folder.newborn(),
            Start::Earlier { .. } => Before::Unknown,
        };
        let wants = |name: &[u8]| task.wants_xattr(name);
        let left_out = apply(Subject::File(file), &self.metadata, before, &task.rules(&wants))?;
        add(&task.done.left_out, left_out);
        Ok(true)
    }
}

/// The parts of `plain`, which belongs at `offset`, that are not long runs of zeros.
fn data_runs(offset: u64, plain: &[u8]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    let into_block = usize::try_from(offset % HOLE_BYTES as u64).unwrap_or(0);
    let mut start = 0;
    let mut end = (HOLE_BYTES - into_block).min(plain.len());
    while start < plain.len() {
        if !is_zero(&plain[start..end]) {
            match runs.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => runs.push(start..end),
            }
        }
        start = end;
        end = (end + HOLE_BYTES).min(plain.len());
    }
    runs
}

fn is_zero(bytes: &[u8]) -> bool {
    // Most data says so in its first bytes; the rest is for zeros, many at once.
    let (pieces, rest) = bytes.as_chunks::<64>();
    pieces.iter().all(|piece| piece.iter().fold(0, |all, byte| all | byte) == 0)
        && rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_zeros_are_left_out_and_all_else_is_kept() {
        let mut plain = vec![0; 5 * HOLE_BYTES];
        plain[0] = 1;
        plain[3 * HOLE_BYTES + 7] = 1;
        assert_eq!(data_runs(0, &plain), [0..HOLE_BYTES, 3 * HOLE_BYTES..4 * HOLE_BYTES]);
        // Blocks are those of the file, not of the chunk.
        assert_eq!(
            data_runs(100, &plain),
            [0..HOLE_BYTES - 100, 3 * HOLE_BYTES - 100..4 * HOLE_BYTES - 100]
        );
        assert_eq!(data_runs(5, &[]), []);
        assert_eq!(data_runs(5, &[0; 100]), []);
        assert!(data_runs(5, &[1; 100]).iter().eq(std::iter::once(&(0..100))));
    }

    #[test]
    fn what_is_left_out_is_exactly_zeros() {
        let mut plain = vec![0; 10 * HOLE_BYTES + 123];
        for at in [5, 70_000, 70_001, 163_960] {
            plain[at] = 9;
        }
        for offset in [0, 1, 4095, 16_384, 1 << 40] {
            let mut rebuilt = vec![0; plain.len()];
            for run in data_runs(offset, &plain) {
                rebuilt[run.clone()].copy_from_slice(&plain[run]);
            }
            assert!(rebuilt == plain);
        }
    }
}
