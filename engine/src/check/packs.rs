//! Packs read from front to back: every byte hashed, every chunk opened and hashed.
//!
//! Invariants
//! - A pack is read in parts of a few megabytes; its own hash and those of the chunks in a part are
//!   reckoned side by side.
//! - What one pack has wrong with it keeps no other from being looked at.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::runtime::Handle;
use windlass_format::damage::Damage;

use super::finding::{Finding, PackError};
use crate::{
    cancel::Cancel,
    catalogue::{Catalogue, Row},
    dialect::{Dialect, PackProof, Scratch},
    fault::Fault,
    model::{
        chunk::ChunkKey,
        pack::{PackName, PackedChunk},
    },
    monitor::Monitor,
    store::{Range, Store},
};

/// Bytes of a pack that are read at once; a part ends with a chunk and may be longer.
const PART_BYTES: u64 = 8 << 20;

/// Bytes of plaintext that end a part, too.
const PLAIN_BYTES: u64 = 16 << 20;

/// What reading needs.
pub(super) struct Packs<'a> {
    pub(super) store: &'a Store,
    pub(super) dialect: &'a Dialect,
    pub(super) catalogue: &'a Catalogue,
    pub(super) runtime: &'a Handle,
    pub(super) monitor: &'a dyn Monitor,
    pub(super) cancel: &'a Cancel,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Damages {
    pub(super) findings: Vec<Finding>,
    /// Chunks that cannot be read in some place.
    pub(super) chunks: Vec<(ChunkKey, usize)>,
}

/// Room of a thread, used for one pack after the other.
struct Room {
    scratch: Scratch,
    part: Vec<u8>,
    plains: Vec<Vec<u8>>,
}

impl Packs<'_> {
    /// Reads these packs, by number and size, with several threads. Blocks.
    pub(super) fn read_all(
        &self,
        packs: &[(usize, u64)],
        threads: usize,
    ) -> Result<Damages, Fault> {
        let next = AtomicUsize::new(0);
        let damages = Mutex::new(Damages::default());
        let failed = std::thread::scope(|scope| {
            let work = || -> Result<(), Fault> {
                let scratch = self.dialect.scratch()?;
                let mut room = Room { scratch, part: Vec::new(), plains: Vec::new() };
                while let Some((pack, bytes)) = packs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if self.cancel.is_cancelled() {
                        return Err(Fault::Cancelled);
                    }
                    if let Some(found) = self.read(*pack, *bytes, &mut room)? {
                        let mut damages = damages.lock().unwrap_or_else(PoisonError::into_inner);
                        if let Finding::Pack { errors, .. } = &found {
                            let bad = errors.iter().filter_map(|error| match error {
                                PackError::Chunk { chunk, .. } => Some((*chunk, *pack)),
                                _ => None,
                            });
                            damages.chunks.extend(bad);
                        }
                        damages.findings.push(found);
                    }
                }
                Ok(())
            };
            let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
            let joined = workers
                .into_iter()
                .map(|worker| worker.join().unwrap_or(Err(Fault::Bug("reading packs panicked"))));
            joined.collect::<Result<(), Fault>>()
        });
        failed?;
        let mut damages = damages.into_inner().unwrap_or_else(PoisonError::into_inner);
        damages.findings.sort_by_key(ToString::to_string);
        Ok(damages)
    }

    fn read(
        &self,
        pack: usize,
        pack_bytes: u64,
        room: &mut Room,
    ) -> Result<Option<Finding>, Fault> {
        let name = self.catalogue.packs[pack].name.clone();
        let rows = self.catalogue.rows_of(pack)?;
        let rows: Vec<Row> = rows.into_iter().map(|(_, row)| row).collect();
        Ok(match self.read_rows(&name, pack_bytes, &rows, room) {
            Ok(errors) if errors.is_empty() => None,
            Ok(errors) => Some(Finding::Pack { pack: name, errors }),
            Err(fault) => Some(Finding::PackUnread { pack: name, fault }),
        })
    }

    fn read_rows(
        &self,
        name: &PackName,
        pack_bytes: u64,
        rows: &[Row],
        room: &mut Room,
    ) -> Result<Vec<PackError>, Fault> {
        let Room { scratch, part: bytes, plains } = room;
        let key = self.dialect.pack_key(name);
        let mut proof = self.dialect.start_proof();
        let mut errors = Vec::new();
        let mut read = 0_u64;
        let mut rows = rows;
        let all_rows = rows;
        while !rows.is_empty() {
            let (count, end) = part(read, rows);
            let (these, others) = rows.split_at(count);
            rows = others;
            let end = end.min(pack_bytes).max(read);
            let range = Range::At { start: read, len: end - read };
            bytes.clear();
            self.store.append_blocking(self.runtime, &key, range, bytes)?;
            let mut opened = Vec::new();
            for row in these {
                let place = row.location();
                let from = u64::from(place.offset);
                let slot = opened.len();
                if plains.len() <= slot {
                    plains.push(Vec::new());
                }
                plains[slot].clear();
                let stored = from.checked_sub(read).and_then(|from| {
                    bytes.get(from as usize..from as usize + place.stored_bytes as usize)
                });
                let result = match stored {
                    Some(stored) => self.dialect.open_chunk(
                        &row.key(),
                        &place,
                        stored,
                        scratch,
                        &mut plains[slot],
                    ),
                    None => Err(Damage::Invalid { what: "place of a chunk" }),
                };
                match result {
                    Ok(()) => opened.push(row.key()),
                    Err(damage) => errors.push(PackError::Chunk { chunk: row.key(), damage }),
                }
            }
            let chunks: Vec<(ChunkKey, &[u8])> =
                opened.iter().copied().zip(plains.iter().map(Vec::as_slice)).collect();
            for at in self.dialect.prove_part(&mut proof, bytes, &chunks) {
                let damage = Damage::BadHash { what: "chunk" };
                errors.push(PackError::Chunk { chunk: chunks[at].0, damage });
            }
            self.monitor.counters().bytes_done.add(end - read);
            read = end;
        }
        let range = Range::At { start: read, len: pack_bytes - read };
        bytes.clear();
        self.store.append_blocking(self.runtime, &key, range, bytes)?;
        let _no_chunks = self.dialect.prove_part(&mut proof, bytes, &[]);
        self.monitor.counters().bytes_done.add(pack_bytes - read);
        self.look_at_end(name, pack_bytes, bytes, proof, all_rows, &mut errors);
        Ok(errors)
    }

    /// Compares name and end of a pack with what the index says.
    fn look_at_end(
        &self,
        name: &PackName,
        pack_bytes: u64,
        end: &[u8],
        proof: PackProof,
        rows: &[Row],
        errors: &mut Vec<PackError>,
    ) {
        let mut expected = 0;
        let gaps = rows.iter().any(|row| {
            let place = row.location();
            let fits = place.offset == expected;
            expected = place.offset.saturating_add(place.stored_bytes);
            !fits
        });
        if gaps {
            errors.push(PackError::Gaps);
        }
        if !proof.matches(name) {
            errors.push(PackError::Name);
            return;
        }
        match self.dialect.read_pack_end(pack_bytes, end) {
            Err(damage) => errors.push(PackError::End(damage)),
            Ok(chunks) => {
                let mut indexed: HashMap<(ChunkKey, u32), PackedChunk> = rows
                    .iter()
                    .map(|row| ((row.key(), row.location().offset), row.chunk()))
                    .collect();
                let differs = chunks
                    .iter()
                    .filter(|chunk| indexed.remove(&(chunk.key, chunk.offset)) != Some(**chunk));
                let differs: Vec<ChunkKey> = differs.map(|chunk| chunk.key).collect();
                let mut absent: Vec<ChunkKey> = indexed.into_keys().map(|(key, _)| key).collect();
                absent.sort_unstable();
                errors.extend(differs.into_iter().chain(absent).map(PackError::NotIndexed));
            }
        }
    }
}

/// How many of these rows are read at once, and where they end.
fn part(start: u64, rows: &[Row]) -> (usize, u64) {
    let mut end = start;
    let mut plain_bytes = 0;
    for (at, row) in rows.iter().enumerate() {
        let place = row.location();
        end = end.max(place.span().end);
        plain_bytes += u64::from(place.raw_bytes);
        if end - start >= PART_BYTES || plain_bytes >= PLAIN_BYTES {
            return (at + 1, end);
        }
    }
    (rows.len(), end)
}
