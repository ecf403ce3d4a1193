//! File contents into batches: small files together, large ones cut on the way.
//!
//! Invariants
//! - Buffers come out of the budget before they are filled and go back to it when the worker is
//!   through with them; a source thread that must wait first sends off what it has gathered.
//! - Chunk boundaries are those of the cutter whatever the sizes of reads and buffers.
//! - Holes are not read; a run of zeros is hashed once in a whole backup.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    sync::Arc,
};

use rustix::{buffer::spare_capacity, io::Errno};

use super::{
    buffer::Plain,
    cut::cut,
    run::Run,
    seal::{Added, Batch, BatchChunk},
    work::{DirWork, FileDone, FileWork},
};
use crate::{
    budget::Held,
    model::chunk::ChunkKey,
    source::{Stat, fs::next_data},
};

/// Bytes of small files that go to a worker together.
const GATHER_BYTES: usize = 1 << 20;

/// Buffers come in multiples of this, so that they can be used again.
const BUFFER_STEP: usize = 1 << 20;

/// Bytes of a large file that go to a worker together.
const SHARE_BYTES: usize = 8 << 20;

/// Files that go to a worker together at most.
const GATHER_FILES: usize = 256;

/// What a source thread has gathered and not sent yet.
#[derive(Debug, Default)]
pub(super) struct Gather {
    open: Option<Gathered>,
}

#[derive(Debug)]
struct Gathered {
    buffer: Vec<u8>,
    held: Held,
    chunks: Vec<BatchChunk>,
}

impl Gather {
    /// Sends off what was gathered.
    pub(super) fn flush(&mut self, run: &Arc<Run>) {
        if let Some(Gathered { buffer, held, chunks }) = self.open.take()
            && !chunks.is_empty()
        {
            let plain = Plain::new(buffer, Some(held), &run.buffers);
            run.spawn_batch(Batch { plain, chunks });
        }
    }

    /// Reads a file into batches. The caller settles `work` with what comes back.
    pub(super) fn read_file(
        &mut self,
        run: &Arc<Run>,
        file: &mut File,
        stat: &Stat,
        work: &Arc<FileWork>,
    ) -> io::Result<u64> {
        let small = run.cutter.min().min(GATHER_BYTES / 2) as u64;
        if stat.size < small {
            self.read_small(run, file, stat, work)
        } else {
            self.flush(run);
            let mut extents = Extents::new(stat);
            let large = LargeFile::new(run, stat.size, work)?;
            large.read(run, file, |file, at| extents.at(file, at), &[])
        }
    }

    /// Reads a stream of unknown length into batches.
    pub(super) fn read_stream(
        &mut self,
        run: &Arc<Run>,
        stream: &mut dyn Read,
        work: &Arc<FileWork>,
    ) -> io::Result<u64> {
        self.flush(run);
        let large = LargeFile::new(run, u64::MAX, work)?;
        large.read(run, stream, |_stream, _at| Ok(Extent::Data(u64::MAX)), &[])
    }

    /// A file of one chunk goes behind others in the open batch.
    fn read_small(
        &mut self,
        run: &Arc<Run>,
        file: &mut File,
        stat: &Stat,
        work: &Arc<FileWork>,
    ) -> io::Result<u64> {
        let size_hint = stat.size as usize;
        let full = self.open.as_ref().is_some_and(|batch| {
            batch.chunks.len() >= GATHER_FILES || batch.buffer.len() + size_hint + 1 > GATHER_BYTES
        });
        if full {
            self.flush(run);
        }
        if self.open.is_none() {
            let held = run.budget.take(GATHER_BYTES).ok_or_else(stopped)?;
            let buffer = run.buffers.take(GATHER_BYTES);
            self.open = Some(Gathered { buffer, held, chunks: Vec::new() });
        }
        let batch = self.open.as_mut().ok_or_else(stopped)?;
        let start = batch.buffer.len();
        match read_small(file, &mut batch.buffer, size_hint) {
            Ok(len) if len <= size_hint => {
                if len > 0 {
                    work.expect_chunk();
                    let file = Arc::clone(work);
                    batch.chunks.push(BatchChunk { start, len, file, position: 0 });
                }
                run.count_read(len as u64);
                Ok(len as u64)
            }
            Ok(_grown) => {
                // It grew while it was read: go on as with a large one.
                let head = batch.buffer.split_off(start);
                self.flush(run);
                let large = LargeFile::new(run, u64::MAX, work)?;
                large.read(run, file, |_file, _at| Ok(Extent::Data(u64::MAX)), &head)
            }
            Err(error) => {
                batch.buffer.truncate(start);
                Err(error)
            }
        }
    }
}

/// A file that is cut while it is read, in buffers of the largest chunk's size.
struct LargeFile<'a> {
    work: &'a Arc<FileWork>,
    buffer: Vec<u8>,
    /// Bytes the buffer is filled with before it is cut: as many as the largest chunk has, or the
    /// whole file.
    capacity: usize,
    held: Option<Held>,
    position: usize,
    /// What is behind the last cut, on its way to the next buffer.
    rest: Vec<u8>,
}

impl<'a> LargeFile<'a> {
    fn new(run: &Run, size: u64, work: &'a Arc<FileWork>) -> io::Result<Self> {
        // One byte more than the file has, so that its end is found before the buffer is full.
        let size = usize::try_from(size).unwrap_or(usize::MAX).saturating_add(1);
        let largest = window_bytes(run);
        let capacity = size.min(largest).next_multiple_of(BUFFER_STEP).min(largest);
        let held = run.budget.take(capacity).ok_or_else(stopped)?;
        let buffer = run.buffers.take(capacity);
        Ok(Self { work, buffer, capacity, held: Some(held), position: 0, rest: Vec::new() })
    }

    fn read<R: Read + ?Sized>(
        mut self,
        run: &Arc<Run>,
        from: &mut R,
        mut extent_at: impl FnMut(&mut R, u64) -> io::Result<Extent>,
        head: &[u8],
    ) -> io::Result<u64> {
        let mut total = head.len() as u64;
        self.buffer.extend_from_slice(head);
        loop {
            if run.cancel.is_cancelled() {
                return Err(stopped());
            }
            let room = self.capacity - self.buffer.len();
            let got = match extent_at(from, total)? {
                Extent::Zeros(zeros) => {
                    let skipped = self.skip_zero_chunks(run, zeros);
                    total += skipped;
                    let zeros = usize::try_from(zeros - skipped).unwrap_or(usize::MAX).min(room);
                    self.buffer.resize(self.buffer.len() + zeros, 0);
                    total += zeros as u64;
                    total -= self.cut_into_zeros(run, zeros)?;
                    0
                }
                Extent::Data(bytes) => {
                    let room = usize::try_from(bytes).unwrap_or(usize::MAX).min(room);
                    let got = read_up_to(from, &mut self.buffer, room)?;
                    run.count_read(got as u64);
                    if got == 0 {
                        self.send(run, true)?;
                        return Ok(total);
                    }
                    got
                }
            };
            total += got as u64;
            if self.buffer.len() == self.capacity {
                self.send(run, false)?;
            }
        }
    }

    /// Cuts what ends in `zeros` zero bytes. Behind the first boundary among them only whole chunks
    /// of zeros follow, so the rest can be counted instead of kept: so many bytes are given back.
    fn cut_into_zeros(&mut self, run: &Arc<Run>, zeros: usize) -> io::Result<u64> {
        if run.zero_chunk.get().is_none() || run.cutter.zero_run().is_none() {
            return Ok(0);
        }
        let has_cut = self.send(run, false)?;
        let given_back = self.buffer.len();
        if !has_cut || given_back > zeros || !self.buffer.iter().all(|byte| *byte == 0) {
            return Ok(0);
        }
        self.buffer.clear();
        Ok(given_back as u64)
    }

    /// A file that has grown beyond its buffer without a cut gets room for the largest chunk. The
    /// bytes beyond what is held are few and short-lived: this is rare.
    fn grow(&mut self, run: &Run) {
        if self.capacity < run.cutter.max() {
            self.capacity = run.cutter.max();
            self.buffer.reserve_exact(self.capacity - self.buffer.len());
        }
    }

    /// At a chunk boundary inside a run of zeros, whole chunks of zeros follow: their key is known.
    fn skip_zero_chunks(&mut self, run: &Run, zeros: u64) -> u64 {
        let (Some(len), true) = (run.cutter.zero_run(), self.buffer.is_empty()) else { return 0 };
        let Some(key) = run.zero_chunk.get() else { return 0 };
        // The last one is left to the cutter: whether it ends here depends on what follows.
        let whole = (zeros / len as u64).saturating_sub(1);
        for _chunk in 0..whole {
            self.settle_known(run, *key);
        }
        whole * len as u64
    }

    fn settle_known(&mut self, run: &Run, key: ChunkKey) {
        self.work.expect_chunk();
        let done = self.work.chunk_done(self.position, key, Added::default());
        debug_assert!(done.is_none(), "the reader still holds the file");
        let _reader_still_holds_it = (run, done);
        self.position += 1;
    }

    /// Cuts what is in the buffer, sends the chunks off and keeps the rest for the next buffer.
    /// Says whether there was anything to cut.
    fn send(&mut self, run: &Arc<Run>, at_end: bool) -> io::Result<bool> {
        let mut chunks = Vec::new();
        let mut start = 0;
        for len in cut(&run.cutter, &run.pool, &self.buffer, at_end) {
            if run.is_zero_chunk(&self.buffer[start..start + len])
                && let Some(key) = run.zero_chunk.get()
            {
                self.settle_known(run, *key);
            } else {
                self.work.expect_chunk();
                let file = Arc::clone(self.work);
                chunks.push(BatchChunk { start, len, file, position: self.position });
                self.position += 1;
            }
            start += len;
        }
        if chunks.is_empty() {
            self.buffer.drain(..start);
            self.grow(run);
            return Ok(start > 0);
        }
        // The full buffer is on its way before the next one is waited for: with a budget of a
        // single buffer the workers give this one back first.
        self.rest.clear();
        self.rest.extend_from_slice(&self.buffer[start..]);
        self.buffer.truncate(start);
        let plain = Plain::new(std::mem::take(&mut self.buffer), self.held.take(), &run.buffers);
        for chunks in shares(chunks) {
            run.spawn_batch(Batch { plain: Arc::clone(&plain), chunks });
        }
        drop(plain);
        if !at_end {
            // It may have grown: from here on only room for the largest chunk is sure to be enough.
            self.capacity = window_bytes(run);
            self.held = Some(run.budget.take(self.capacity).ok_or_else(stopped)?);
            self.buffer = run.buffers.take(self.capacity);
            self.buffer.extend_from_slice(&self.rest);
        }
        Ok(true)
    }
}

/// Chunks in shares for one worker each.
fn shares(chunks: Vec<BatchChunk>) -> Vec<Vec<BatchChunk>> {
    let mut shares: Vec<Vec<BatchChunk>> = Vec::new();
    let mut bytes = SHARE_BYTES;
    for chunk in chunks {
        if bytes >= SHARE_BYTES {
            shares.push(Vec::new());
            bytes = 0;
        }
        bytes += chunk.len;
        if let Some(share) = shares.last_mut() {
            share.push(chunk);
        }
    }
    shares
}

/// Bytes a large file is read in at once: more than the largest chunk only where many threads can
/// search them for cuts side by side, and the budget has room for several such windows.
fn window_bytes(run: &Run) -> usize {
    const BYTES_PER_THREAD: usize = 4 << 20;
    let wanted = run.pool.current_num_threads() * BYTES_PER_THREAD;
    wanted.min(run.budget.limit_bytes() / 3).max(run.cutter.max())
}

/// What the file system says of the next bytes of a file.
enum Extent {
    /// So many have to be read, unless the file ends before.
    Data(u64),
    /// So many are zero and take no room.
    Zeros(u64),
}

/// Where a file has holes.
struct Extents {
    size: u64,
    may_have_holes: bool,
    /// Data up to here is known to be data.
    data_until: u64,
}

impl Extents {
    fn new(stat: &Stat) -> Self {
        Self { size: stat.size, may_have_holes: stat.may_have_holes(), data_until: 0 }
    }

    /// What is at `position`, which is where the file is read next.
    fn at(&mut self, file: &mut File, position: u64) -> io::Result<Extent> {
        if !self.may_have_holes || position >= self.size {
            return Ok(Extent::Data(u64::MAX));
        }
        if position < self.data_until {
            return Ok(Extent::Data(self.data_until - position));
        }
        let extent = match next_data(file, position, self.size)? {
            Some(data) if data.start <= position => {
                self.data_until = data.end;
                Extent::Data(data.end - position)
            }
            Some(data) => Extent::Zeros(data.start - position),
            // A hole up to the end, or the file was cut short: what is not there is not zero.
            None => match file.metadata()?.len().min(self.size).saturating_sub(position) {
                0 => Extent::Data(u64::MAX),
                zeros => Extent::Zeros(zeros),
            },
        };
        let next = match extent {
            Extent::Data(_) => position,
            Extent::Zeros(zeros) => position + zeros,
        };
        file.seek(SeekFrom::Start(next))?;
        Ok(extent)
    }
}

/// Appends a file of `expected` bytes, with one read where it has no fewer. What goes beyond that
/// is in the file; how far it goes, the caller has to find out.
fn read_small(file: &File, buffer: &mut Vec<u8>, expected: usize) -> io::Result<usize> {
    let start = buffer.len();
    // At least one byte more than expected, so that growth shows.
    buffer.reserve(expected + 1);
    loop {
        match rustix::io::read(file, spare_capacity(buffer)) {
            Ok(0) => break,
            Ok(_) if buffer.len() - start >= expected => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(buffer.len() - start)
}

/// Appends up to `room` bytes; fewer only at the end of the file.
fn read_up_to(
    from: &mut (impl Read + ?Sized),
    buffer: &mut Vec<u8>,
    room: usize,
) -> io::Result<usize> {
    (&mut *from).take(room as u64).read_to_end(buffer)
}

fn stopped() -> io::Error {
    io::Error::new(io::ErrorKind::Interrupted, "cancelled")
}

/// A finished file on its way to its directory.
pub(super) type Done = Option<(Arc<DirWork>, FileDone)>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::FileKind;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_small_file_is_read_to_its_end_whatever_was_expected() {
        use std::io::Write;
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(b"hello").expect("written");
        for (expected, room, read) in [
            (5, 100, "hello"),
            // It was cut short since.
            (9, 100, "hello"),
            // It has grown, and that shows.
            (3, 100, "hello"),
            (3, 0, "hello"),
            (0, 100, "hello"),
        ] {
            file.seek(SeekFrom::Start(0)).expect("rewound");
            let mut buffer = Vec::with_capacity(6 + room);
            buffer.extend_from_slice(b"before");
            let got = read_small(&file, &mut buffer, expected).expect("read");
            assert!(got == buffer.len() - 6 && buffer.starts_with(b"before"));
            assert!(got > expected || &buffer[6..] == read.as_bytes(), "{expected} {room}");
        }
    }

    fn zeros_at(len: u64, listed: u64, position: u64) -> Option<u64> {
        let mut file = tempfile::tempfile().expect("a file");
        file.set_len(len).expect("a hole");
        let moment = (0, 0);
        let stat = Stat {
            kind: FileKind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: listed,
            allocated: 0,
            mtime: moment,
            ctime: moment,
            atime: moment,
            inode: 1,
            device: 1,
            rdev: 0,
            links: 1,
        };
        match Extents::new(&stat).at(&mut file, position).expect("an extent") {
            Extent::Zeros(zeros) => Some(zeros),
            Extent::Data(_) => None,
        }
    }

    #[test]
    fn a_hole_ends_where_a_file_was_cut_short_after_it_was_listed() {
        assert_eq!(zeros_at(8 * MIB, 8 * MIB, 2 * MIB), Some(6 * MIB));
        assert_eq!(zeros_at(3 * MIB, 8 * MIB, 2 * MIB), Some(MIB));
        assert_eq!(zeros_at(3 * MIB, 8 * MIB, 3 * MIB), None);
        assert_eq!(zeros_at(MIB, 8 * MIB, 2 * MIB), None);
        assert_eq!(zeros_at(9 * MIB, 8 * MIB, 2 * MIB), Some(6 * MIB), "it has grown");
    }
}
