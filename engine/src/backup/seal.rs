//! The workers of a backup: hash, claim, compress, seal, verify, pack.
//!
//! Invariants
//! - A worker never waits for a source thread; it waits for the store alone, and only when the
//!   queue of finished packs is full.
//! - Every key handed back to a file or directory is stored by this run or known to the index.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::{
    buffer::Plain,
    run::Run,
    work::{DirWork, FileDone, FileWork, Finished},
};
use crate::{
    dialect::{Encoder, Scratch},
    entropy::Entropy,
    fault::Fault,
    index::Claim,
    model::{
        chunk::{ChunkKey, Role},
        pack::Lane,
    },
    packing::{FinishedPack, PackSet},
};

/// Plaintext that is hashed together.
const GROUP_BYTES: usize = 4 << 20;

/// Plaintext on its way to a worker.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) plain: Arc<Plain>,
    pub(super) chunks: Vec<BatchChunk>,
}

/// One chunk of a batch.
#[derive(Debug)]
pub(super) struct BatchChunk {
    pub(super) start: usize,
    pub(super) len: usize,
    pub(super) file: Arc<FileWork>,
    pub(super) position: usize,
}

/// The worker states, one for each thread of the pool.
#[derive(Debug)]
pub(super) struct Workers {
    states: Vec<Mutex<Worker>>,
}

#[derive(Debug)]
struct Worker {
    encoder: Encoder,
    entropy: Entropy,
    scratch: Scratch,
    packs: PackSet,
    keys: Vec<ChunkKey>,
    encoded: Vec<u8>,
    finished: mpsc::Sender<FinishedPack>,
}

/// What storing chunks did: nothing for one that was there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Added {
    pub(super) raw_bytes: u64,
    pub(super) stored_bytes: u64,
}

impl std::ops::AddAssign for Added {
    fn add_assign(&mut self, other: Self) {
        self.raw_bytes += other.raw_bytes;
        self.stored_bytes += other.stored_bytes;
    }
}

impl Workers {
    pub(super) fn new(
        count: usize,
        encoder: &Encoder,
        entropy: &Entropy,
        packs: impl Fn() -> PackSet,
        finished: &mpsc::Sender<FinishedPack>,
    ) -> Result<Self, Fault> {
        let worker = |_at| {
            Ok(Mutex::new(Worker {
                encoder: encoder.clone(),
                entropy: entropy.clone(),
                scratch: encoder.scratch()?,
                packs: packs(),
                keys: Vec::new(),
                encoded: Vec::new(),
                finished: finished.clone(),
            }))
        };
        Ok(Self { states: (0..count.max(1)).map(worker).collect::<Result<_, Fault>>()? })
    }

    /// The state of the calling thread of the pool.
    fn mine(&self) -> MutexGuard<'_, Worker> {
        let at = rayon::current_thread_index().unwrap_or(0) % self.states.len();
        self.states[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores the chunks of a batch and tells their files.
    pub(super) fn batch(&self, run: &Run, batch: Batch) -> Result<(), Fault> {
        let mut worker = self.mine();
        let worker = &mut *worker;
        let mut done = Vec::new();
        for group in groups(&batch.chunks) {
            worker.group(run, batch.plain.bytes(), group, &mut done)?;
        }
        drop(batch.plain);
        for (dir, file) in done {
            let finished = run.file_done(&dir, file);
            worker.carry_up(run, finished)?;
        }
        Ok(())
    }

    /// Encodes and stores a finished directory, and those above that are finished by it.
    pub(super) fn directory(&self, run: &Run, dir: Arc<DirWork>) -> Result<(), Fault> {
        self.mine().carry_up(run, Finished::Encode(dir))
    }

    /// Hashes what is left, joins small packs and sends the last ones off.
    pub(super) fn finish(self) -> Result<(), Fault> {
        let mut workers = self
            .states
            .into_iter()
            .map(|state| state.into_inner().unwrap_or_else(PoisonError::into_inner));
        let Some(mut first) = workers.next() else { return Ok(()) };
        first.hash(std::iter::empty())?;
        for mut worker in workers {
            worker.hash(std::iter::empty())?;
            first.packs.absorb(worker.packs);
        }
        first.packs.close_all(&first.entropy)?;
        first.hash(std::iter::empty())
    }
}

/// Chunks in groups of about [`GROUP_BYTES`]: enough to keep several hash streams busy, and as
/// much as a worker holds of sealed bytes that are not hashed yet.
fn groups(chunks: &[BatchChunk]) -> impl Iterator<Item = &[BatchChunk]> {
    let mut bytes = 0;
    chunks.chunk_by(move |chunk, next| {
        bytes += chunk.len;
        let fits = bytes + next.len <= GROUP_BYTES;
        if !fits {
            bytes = 0;
        }
        fits
    })
}

impl Worker {
    /// Stores a group of chunks; files that are complete by it go to `done`.
    fn group(
        &mut self,
        run: &Run,
        buffer: &[u8],
        chunks: &[BatchChunk],
        done: &mut Vec<(Arc<DirWork>, FileDone)>,
    ) -> Result<(), Fault> {
        let plains =
            chunks.iter().map(|chunk| (Role::File, &buffer[chunk.start..chunk.start + chunk.len]));
        self.hash(plains.clone())?;
        let keys = std::mem::take(&mut self.keys);
        for ((chunk, key), (_, plain)) in chunks.iter().zip(&keys).zip(plains) {
            if run.cancel.is_cancelled() {
                return Err(Fault::Cancelled);
            }
            if run.is_zero_chunk(plain) {
                let _set_before = run.zero_chunk.set(*key);
            }
            let added = self.store(run, Role::File, *key, plain)?;
            run.count_added(Role::File, added);
            if let Some(file) = chunk.file.chunk_done(chunk.position, *key, added) {
                done.push((Arc::clone(&chunk.file.dir), file));
            }
        }
        self.packs.close_full(Lane::Data, &self.entropy)?;
        self.keys = keys;
        Ok(())
    }

    /// Keys of `plains` into `self.keys`, hashed beside the bytes that packs still owe.
    fn hash<'a>(
        &mut self,
        plains: impl Iterator<Item = (Role, &'a [u8])> + Clone,
    ) -> Result<(), Fault> {
        self.encoder.hash(plains, self.packs.unhashed(), &mut self.keys);
        for pack in self.packs.hashed()? {
            self.finished.blocking_send(pack).map_err(|_closed| Fault::Cancelled)?;
        }
        Ok(())
    }

    fn store(
        &mut self,
        run: &Run,
        role: Role,
        key: ChunkKey,
        plain: &[u8],
    ) -> Result<Added, Fault> {
        if run.index.claim(&key) == Claim::Known {
            return Ok(Added::default());
        }
        let lane = match role {
            Role::File => Lane::Data,
            Role::Directory | Role::Links => Lane::Meta,
        };
        let Self { encoder, entropy, scratch, packs, .. } = self;
        let nonce = entropy.bytes()?;
        let stored_bytes = packs.pick(lane, entropy)?.append(|out| {
            let sealed = encoder.seal(role, plain, &nonce, scratch, out)?;
            Ok((key, sealed.raw_bytes, sealed.coding))
        })?;
        Ok(Added { raw_bytes: plain.len() as u64, stored_bytes: u64::from(stored_bytes) })
    }

    fn carry_up(&mut self, run: &Run, mut finished: Finished) -> Result<(), Fault> {
        loop {
            match finished {
                Finished::Nothing => return Ok(()),
                Finished::Top(key) => {
                    run.top_done(key);
                    return Ok(());
                }
                Finished::Encode(dir) => {
                    if run.cancel.is_cancelled() {
                        return Err(Fault::Cancelled);
                    }
                    let mut encoded = std::mem::take(&mut self.encoded);
                    encoded.clear();
                    self.encoder.write_directory(&dir.take_directory(), &mut encoded)?;
                    self.hash(std::iter::once((Role::Directory, encoded.as_slice())))?;
                    let key = self.keys[0];
                    let added = self.store(run, Role::Directory, key, &encoded)?;
                    self.packs.close_full(Lane::Meta, &self.entropy)?;
                    self.encoded = encoded;
                    run.count_added(Role::Directory, added);
                    run.dir_done(&dir, key, added);
                    finished = dir.stored(key);
                }
            }
        }
    }
}
