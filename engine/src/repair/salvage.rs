//! What is good in damaged packs, into new ones.
//!
//! Invariants
//! - A chunk is stored after it was opened and hashed, once, however many places are tried; it is
//!   given up in a place after it was read there twice.
//! - A place that fails to be read for other reasons than damage makes its pack one to be kept.

use std::{
    collections::{HashMap, HashSet},
    ops::Range as Span,
};

use bytes::Bytes;
use tokio::runtime::Handle;

use super::is_lost;
use crate::{
    cancel::Cancel,
    deposit::{self, Added, Chunk, Deposit, Terms},
    dialect::{Dialect, Scratch},
    fault::{Class, Fault},
    model::{
        chunk::ChunkKey,
        pack::{PackName, PackNumber, PackedChunk},
    },
    protocol::Presence,
    repository::Repository,
    store::{Failure, Range, Store},
};

/// Bytes read at once; more only where one chunk is longer.
const PART_BYTES: u64 = 8 << 20;

/// A pack with damage.
#[derive(Clone, Debug)]
pub(super) struct Broken {
    pub(super) name: PackName,
    /// Its size in the store; nothing where it is not there.
    pub(super) listed_bytes: Option<u64>,
    /// What an index or its own end says is in it.
    pub(super) chunks: Vec<PackedChunk>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Salvaged {
    pub(super) added: Added,
    /// Chunks that are in a new pack now.
    pub(super) saved: HashSet<ChunkKey>,
    /// Chunks that could not be read in these packs, and were not found in another of them.
    pub(super) unread: Vec<(PackName, ChunkKey, Fault)>,
    /// Packs of which something may be readable another time.
    pub(super) doubtful: HashSet<PackName>,
}

/// Stores what is good in these packs, and publishes it.
pub(super) async fn run(
    repository: &Repository,
    presence: &Presence,
    packs: Vec<Broken>,
    pack_bytes: u64,
    cancel: &Cancel,
) -> Result<Salvaged, Fault> {
    let salvor = Salvor {
        store: repository.store().clone(),
        dialect: repository.dialect().clone(),
        runtime: Handle::current(),
    };
    let work = move |deposit: &Deposit<()>| {
        let mut salvaged = Salvaged::default();
        let mut scratch = salvor.dialect.scratch()?;
        for pack in &packs {
            salvor.pack(pack, deposit, &mut scratch, &mut salvaged)?;
        }
        let Salvaged { unread, saved, .. } = &mut salvaged;
        unread.retain(|(_, chunk, _)| !saved.contains(chunk));
        deposit.end_batch(())?;
        Ok(salvaged)
    };
    let terms = Terms { presence: Some(presence), pack_bytes, threads: 1, cancel };
    deposit::run(repository, terms, work, async |(), _landed| Ok(())).await
}

struct Salvor {
    store: Store,
    dialect: Dialect,
    runtime: Handle,
}

impl Salvor {
    fn pack(
        &self,
        pack: &Broken,
        deposit: &Deposit<()>,
        scratch: &mut Scratch,
        salvaged: &mut Salvaged,
    ) -> Result<(), Fault> {
        let mut chunks = pack.chunks.clone();
        chunks.sort_unstable_by_key(|chunk| (chunk.offset, chunk.key));
        chunks.dedup();
        let mut part: Option<(u64, Bytes)> = None;
        let mut plain = Vec::new();
        let mut unread: HashMap<ChunkKey, Fault> = HashMap::new();
        for (at, chunk) in chunks.iter().enumerate() {
            if deposit.stop.is_cancelled() {
                return Err(Fault::Cancelled);
            }
            if salvaged.saved.contains(&chunk.key) {
                continue;
            }
            // Which pack it is, is told by its name here.
            let place = chunk.at(PackNumber(0));
            let span = place.span();
            if part.as_ref().is_none_or(|part| slice(part, &span).is_none()) {
                part = self.part(pack, &chunks[at..])?;
            }
            let mut open = |stored: Result<Bytes, Fault>| {
                plain.clear();
                let opened = self.dialect.unseal(&chunk.key, &place, &stored?, scratch, &mut plain);
                let what = || format!("chunk {} in pack {}", chunk.key, pack.name);
                opened.map_err(|damage| Fault::damaged(what(), damage))
            };
            let mut opened = open(match part.as_ref().and_then(|part| slice(part, &span)) {
                Some(stored) => Ok(stored),
                None => self.read(pack, span.clone()),
            });
            // What came out wrong once may have been a copy, or have been spoilt on the way.
            if opened.as_ref().is_err_and(is_lost) {
                self.store.doubt(&self.dialect.pack_key(&pack.name));
                opened = open(self.read(pack, span));
            }
            match opened {
                Ok(()) => {
                    let role = self.dialect.role(&chunk.key);
                    let (added, wrong) = deposit.store(role, &[Chunk::new(chunk.key, &plain)])?;
                    if !wrong.is_empty() {
                        return Err(Fault::Bug("a chunk that was proved is another one"));
                    }
                    salvaged.added += added;
                    salvaged.saved.insert(chunk.key);
                }
                Err(fault) if is_lost(&fault) => {
                    unread.insert(chunk.key, fault);
                }
                Err(fault) if may_pass(&fault) => return Err(fault),
                // The file system or disk refuses: somebody may still get it back.
                Err(fault) => {
                    salvaged.doubtful.insert(pack.name.clone());
                    unread.insert(chunk.key, fault);
                }
            }
        }
        let mut unread: Vec<_> =
            unread.into_iter().map(|(key, fault)| (pack.name.clone(), key, fault)).collect();
        unread.sort_by_key(|(_, key, _)| *key);
        salvaged.unread.extend(unread);
        Ok(())
    }

    /// Bytes from the first of these chunks on; nothing where they have to be tried one by one.
    fn part(&self, pack: &Broken, chunks: &[PackedChunk]) -> Result<Option<(u64, Bytes)>, Fault> {
        let Some(size) = pack.listed_bytes else { return Ok(None) };
        let Some(start) = chunks.first().map(|chunk| u64::from(chunk.offset)) else {
            return Ok(None);
        };
        let ends = chunks.iter().map(|chunk| chunk.at(PackNumber(0)).span().end.min(size));
        let end = ends.take_while(|end| end.saturating_sub(start) <= PART_BYTES).max();
        let Some(end) = end.filter(|end| *end > start) else { return Ok(None) };
        match self.read(pack, start..end) {
            Ok(bytes) => Ok(Some((start, bytes))),
            Err(fault) if may_pass(&fault) => Err(fault),
            Err(_one_by_one) => Ok(None),
        }
    }

    fn read(&self, pack: &Broken, span: Span<u64>) -> Result<Bytes, Fault> {
        let range = Range::At { start: span.start, len: span.end.saturating_sub(span.start) };
        let key = self.dialect.pack_key(&pack.name);
        Ok(self.store.read_blocking(&self.runtime, &key, range)?)
    }
}

/// Whether the same call may work in a while.
fn may_pass(fault: &Fault) -> bool {
    match fault {
        Fault::Store(error) => {
            error.failure.may_pass() || matches!(error.failure, Failure::Denied | Failure::NoSpace)
        }
        fault => fault.class() != Class::Damaged,
    }
}

fn slice((start, bytes): &(u64, Bytes), span: &Span<u64>) -> Option<Bytes> {
    let from = usize::try_from(span.start.checked_sub(*start)?).ok()?;
    let to = usize::try_from(span.end.checked_sub(*start)?).ok()?;
    (to <= bytes.len()).then(|| bytes.slice(from..to))
}
