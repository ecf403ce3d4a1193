//! The threads that read packs, open chunks and write files.
//!
//! Invariants
//! - A chunk is fetched and opened once for all files of a window that hold it, and proved before
//!   any of it is written.
//! - A chunk that cannot be had in one place is looked for in every other place it is known at.
//! - After a stop the queue is emptied and nothing more is done; a panic is a stop.

use std::{
    ops::Range as Places,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError, mpsc},
};

use bytes::Bytes;

use super::{
    file::{FileJob, Plain},
    plan::{Span, Use},
    special::Special,
    task::{Task, add},
};
use crate::{
    budget::{Budget, Held},
    dialect::Scratch,
    fault::Fault,
    model::{
        chunk::ChunkKey,
        pack::{Location, PackNumber},
    },
    monitor::Event,
    store::Range,
};
use windlass_format::damage::Damage;

/// Plain bytes, or chunks, that are opened before they are proved at once and written.
const BATCH_BYTES: usize = 2 << 20;
const BATCH_CHUNKS: usize = 64;

/// Where a chunk goes.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) file: Arc<FileJob>,
    pub(super) offset: u64,
}

/// Something for a worker.
#[derive(Debug)]
pub(super) enum Work {
    /// A stretch of a pack, to be read.
    Span(Span<Place>),
    /// A stretch that was read.
    Loaded { span: Span<Place>, bytes: Result<Bytes, Fault>, held: Option<Held> },
    /// Files of which nothing is written.
    Files(Vec<Arc<FileJob>>),
    /// Entries without chunks.
    Specials(Vec<Special>),
}

/// A queue that several threads take from.
pub(super) struct Queue(Mutex<mpsc::Receiver<Work>>);

impl Queue {
    pub(super) fn new(receiver: mpsc::Receiver<Work>) -> Self {
        Self(Mutex::new(receiver))
    }

    fn next(&self) -> Option<Work> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
    }
}

/// Reads spans from a store that answers slowly and passes everything on, until the queue ends.
pub(super) fn fetch(task: &Task, queue: &Queue, budget: &Budget, on: &mpsc::SyncSender<Work>) {
    while let Some(work) = queue.next() {
        let work = match work {
            Work::Span(span) if !task.is_stopped() => {
                let held = budget.take(usize::try_from(span.len).unwrap_or(usize::MAX));
                let bytes = guarded(task, || read(task, span.pack, span.start, span.len))
                    .unwrap_or(Err(Fault::Cancelled));
                Work::Loaded { span, bytes, held }
            }
            work => work,
        };
        if on.send(work).is_err() {
            return;
        }
    }
}

/// Does what the queue holds until it ends.
pub(super) fn work(task: &Task, queue: &Queue) {
    let mut worker = match task.dialect.scratch() {
        Ok(scratch) => {
            let (stored, plain, batch) = (Vec::new(), Vec::new(), Vec::new());
            Worker { task, scratch, stored, plain, batch }
        }
        Err(fault) => {
            task.fail(fault.into());
            while queue.next().is_some() {}
            return;
        }
    };
    while let Some(work) = queue.next() {
        if task.is_stopped() {
            continue;
        }
        guarded(task, || worker.take(work));
    }
}

/// What `work` gives; a panic ends the restore, and the thread goes on emptying its queue, so that
/// nobody waits for it in vain.
fn guarded<T>(task: &Task, work: impl FnOnce() -> T) -> Option<T> {
    let done = catch_unwind(AssertUnwindSafe(work));
    if done.is_err() {
        task.fail(Fault::Bug("a thread of the restore panicked").into());
    }
    done.ok()
}

struct Worker<'a> {
    task: &'a Task,
    scratch: Scratch,
    /// A span as it was read; the room is used again.
    stored: Vec<u8>,
    /// Opened chunks, one behind the other.
    plain: Vec<u8>,
    batch: Vec<Opened>,
}

/// A chunk that is opened and not yet proved.
struct Opened {
    key: ChunkKey,
    plain: Places<usize>,
    /// Its uses in the span.
    uses: Places<usize>,
}

impl Worker<'_> {
    fn take(&mut self, work: Work) {
        let task = self.task;
        match work {
            Work::Span(span) => {
                let mut stored = std::mem::take(&mut self.stored);
                stored.clear();
                let read = append(task, span.pack, span.start, span.len, &mut stored);
                self.span(&span, read.map(|()| stored.as_slice()));
                self.stored = stored;
            }
            Work::Loaded { span, bytes, held } => {
                self.span(&span, bytes.as_deref().map_err(drop));
                // Whoever waits for the budget finds the room free.
                drop(bytes);
                drop(held);
            }
            Work::Files(files) => files.iter().for_each(|file| file.end_unwritten(task)),
            Work::Specials(specials) => specials.iter().for_each(|special| special.restore(task)),
        }
    }

    fn span<E>(&mut self, span: &Span<Place>, bytes: Result<&[u8], E>) {
        let bytes = match bytes {
            Ok(bytes) => {
                self.task.read_succeeded();
                bytes
            }
            // What of it can still be read is read one by one.
            Err(_fault) => &[],
        };
        let mut first = 0;
        while let Some(one) = span.uses.get(first) {
            if self.task.is_stopped() {
                return;
            }
            if self.plain.len() + one.at.raw_bytes as usize > 2 * BATCH_BYTES {
                self.write_batch(span);
            }
            let same = span.uses[first..].iter().take_while(|other| other.key == one.key).count();
            let uses = first..first + same;
            first += same;
            let start = (u64::from(one.at.offset) - span.start) as usize;
            let stored = bytes.get(start..start + one.at.stored_bytes as usize);
            let at = self.plain.len();
            let opened = stored.is_some_and(|stored| self.open(one, stored));
            if opened {
                let plain = at..self.plain.len();
                self.batch.push(Opened { key: one.key, plain, uses });
            } else {
                self.plain.truncate(at);
                self.recover(&span.uses[uses]);
            }
            if self.plain.len() >= BATCH_BYTES || self.batch.len() >= BATCH_CHUNKS {
                self.write_batch(span);
            }
        }
        self.write_batch(span);
    }

    fn open(&mut self, one: &Use<Place>, stored: &[u8]) -> bool {
        let before = self.plain.len();
        let Self { task, scratch, plain, .. } = self;
        let opened = task.dialect.open_chunk(&one.key, &one.at, stored, scratch, plain);
        opened.is_ok() && plain.len() - before == one.at.raw_bytes as usize
    }

    /// Proves what was opened and writes it.
    fn write_batch(&mut self, span: &Span<Place>) {
        let batch = std::mem::take(&mut self.batch);
        let proofs: Vec<(ChunkKey, &[u8])> =
            batch.iter().map(|one| (one.key, &self.plain[one.plain.clone()])).collect();
        let mut damaged = Vec::new();
        let mut proved = 0;
        while let Some(rest) = proofs.get(proved..)
            && let Err(differs) = self.task.dialect.prove(rest)
        {
            damaged.push(proved + differs);
            proved += differs + 1;
        }
        drop(proofs);
        for (at, one) in batch.iter().enumerate() {
            if !damaged.contains(&at) && !self.task.is_stopped() {
                write(self.task, &span.uses[one.uses.clone()], &self.plain[one.plain.clone()]);
            }
        }
        self.plain.clear();
        for at in damaged {
            self.recover(&span.uses[batch[at].uses.clone()]);
            self.plain.clear();
        }
        self.batch = batch;
        self.batch.clear();
    }

    /// Looks for a chunk in each place it is known at. What is opened and waits is left alone.
    fn recover(&mut self, uses: &[Use<Place>]) {
        let Some(one) = uses.first() else { return };
        let further = self.task.index.further(&one.key);
        let all = std::iter::once(one.at).chain(further.into_iter().filter(|at| *at != one.at));
        let start = self.plain.len();
        let mut first_fault = None;
        for (tried, at) in all.enumerate() {
            if self.task.is_stopped() {
                return;
            }
            self.plain.truncate(start);
            match self.alone(&one.key, &at) {
                Ok(()) => {
                    if tried > 0 {
                        let note = format!("chunk {} was taken from another pack", one.key);
                        self.task.monitor.event(Event::Note(&note));
                    }
                    write(self.task, uses, &self.plain[start..]);
                    self.plain.truncate(start);
                    return;
                }
                Err(fault) => {
                    first_fault.get_or_insert(fault);
                }
            }
        }
        self.plain.truncate(start);
        if let Some(fault) = first_fault
            && let Some(fault) = self.task.ends_with(fault)
        {
            uses.iter().for_each(|one| one.to.file.lose(self.task, &fault));
        }
    }

    /// Reads, opens and proves one chunk.
    fn alone(&mut self, key: &ChunkKey, at: &Location) -> Result<(), Fault> {
        let stored = read(self.task, at.pack, u64::from(at.offset), u64::from(at.stored_bytes))?;
        self.task.read_succeeded();
        let before = self.plain.len();
        let Self { task, scratch, plain, .. } = self;
        let opened = task.dialect.unseal(key, at, &stored, scratch, plain);
        let opened = opened.and_then(|()| {
            // Offsets of what follows in the file were reckoned with the length in the index.
            let is_as_long = plain.len() - before == at.raw_bytes as usize;
            is_as_long.then_some(()).ok_or(Damage::Invalid { what: "length in the index" })
        });
        opened.map_err(|damage| {
            let pack = task.index.pack_name(at.pack);
            let pack = pack.map_or_else(String::new, |name| name.to_string());
            Fault::damaged(format!("chunk {key} in pack {pack}"), damage)
        })
    }
}

fn write(task: &Task, uses: &[Use<Place>], plain: &[u8]) {
    let plain = Plain::new(plain);
    for one in uses {
        one.to.file.write(task, one.to.offset, plain);
    }
}

fn read(task: &Task, pack: PackNumber, start: u64, len: u64) -> Result<Bytes, Fault> {
    if task.store.capabilities().remote {
        return read_from_afar(task, pack, start, len);
    }
    let mut bytes = Vec::new();
    append(task, pack, start, len, &mut bytes)?;
    Ok(Bytes::from(bytes))
}

fn append(
    task: &Task,
    pack: PackNumber,
    start: u64,
    len: u64,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let name = task.index.pack_name(pack).ok_or(Fault::Bug("a location names no pack"))?;
    let key = task.dialect.pack_key(&name);
    task.store.append_blocking(&task.runtime, &key, Range::At { start, len }, out)?;
    count_fetched(task, len);
    Ok(())
}

/// A read that a cancellation ends, also while it hangs.
fn read_from_afar(task: &Task, pack: PackNumber, start: u64, len: u64) -> Result<Bytes, Fault> {
    let name = task.index.pack_name(pack).ok_or(Fault::Bug("a location names no pack"))?;
    let key = task.dialect.pack_key(&name);
    let bytes = task.runtime.block_on(async {
        tokio::select! {
            bytes = task.store.read(&key, Range::At { start, len }) => bytes.map_err(Fault::from),
            () = task.cancel.cancelled() => Err(Fault::Cancelled),
        }
    })?;
    count_fetched(task, len);
    Ok(bytes)
}

fn count_fetched(task: &Task, len: u64) {
    add(&task.done.bytes_fetched, len);
    task.monitor.counters().bytes_read.add(len);
}
