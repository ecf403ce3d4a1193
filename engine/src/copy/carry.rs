//! What is needed in the target: found by those who walk, carried over by others.
//!
//! Invariants
//! - Every chunk is claimed once in the target, by whoever finds it first.
//! - A window that was found is carried, or the run fails.

use std::{
    ops::{ControlFlow, Range as Span},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

use bytes::Bytes;
use tokio::runtime::Handle;

use crate::{
    catalogue::{Catalogue, RowSet},
    deposit::{Added, Deposit},
    dialect::{Dialect, Scratch},
    fault::{Class, Fault},
    index::{Claim, Index},
    mark::Uses,
    model::{
        chunk::{ChunkKey, Role},
        directory::Entry,
        root::RootId,
    },
    monitor::Monitor,
    store::{Range, Store},
};

/// Chunks that are handed over at once.
const WINDOW_CHUNKS: usize = 4096;

/// Stored bytes that are handed over at once: about two packs, so that what lies together there is
/// read together.
const WINDOW_BYTES: u64 = 32 << 20;

/// Parts that the last window is handed over in, so that more than one carrier has something to do.
const LAST_PARTS: usize = 8;

/// Bytes read at once; more only where one chunk is longer.
const SPAN_BYTES: u64 = 4 << 20;

/// Bytes of no use that are read rather than asked around.
const GAP_BYTES: u64 = 64 << 10;

/// Plaintext held at once by a carrier; more only where one chunk is longer.
const PLAIN_BYTES: u64 = 8 << 20;

/// What a carrier holds in the usual case.
pub(super) const MOST_HELD_BYTES: usize = (SPAN_BYTES + PLAIN_BYTES) as usize;

/// Where chunks come from.
pub(super) struct Source {
    pub(super) store: Store,
    pub(super) dialect: Dialect,
    pub(super) catalogue: Catalogue,
    pub(super) runtime: Handle,
}

/// Rows of the source's catalogue.
type Window = Vec<usize>;

/// Windows on their way to carriers.
pub(super) type Windows = Arc<Mutex<Receiver<Window>>>;

/// Finds what is needed.
pub(super) struct Collector<'a> {
    source: &'a Source,
    seen: &'a RowSet,
    in_target: &'a Index,
    open: Mutex<Open>,
    windows: SyncSender<Window>,
}

#[derive(Default)]
struct Open {
    window: Window,
    bytes: u64,
    found: Added,
}

impl<'a> Collector<'a> {
    pub(super) fn new(
        source: &'a Source,
        seen: &'a RowSet,
        in_target: &'a Index,
        carriers: usize,
    ) -> (Self, Windows) {
        let (windows, receiver) = sync_channel(carriers);
        let open = Mutex::default();
        (Self { source, seen, in_target, open, windows }, Arc::new(Mutex::new(receiver)))
    }

    /// What was found since the last time.
    pub(super) fn found(&self) -> Added {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut open.found)
    }

    /// Hands over what is left.
    pub(super) fn send_rest(&self) -> Result<(), Fault> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let window = std::mem::take(&mut open.window);
        open.bytes = 0;
        drop(open);
        let part = window.len().div_ceil(LAST_PARTS).max(1);
        window.chunks(part).try_for_each(|part| self.send(part.to_vec()))
    }

    fn send(&self, window: Window) -> Result<(), Fault> {
        self.windows.send(window).map_err(|_gone| Fault::Cancelled)
    }

    /// Whether this chunk is looked at for the first time; then it is handed over, unless the target
    /// has it.
    fn need(&self, key: &ChunkKey) -> Result<bool, Fault> {
        let catalogue = &self.source.catalogue;
        let places = catalogue.find(key).ok_or(Fault::Missing { key: *key })?;
        if !self.seen.insert(places.start) {
            return Ok(false);
        }
        if self.in_target.claim(key) == Claim::Known {
            return Ok(true);
        }
        // A pack that somebody marked may be gone any moment.
        let stays = |at: &usize| !catalogue.packs[catalogue.rows()[*at].pack()].marked;
        let row = places.clone().find(stays).unwrap_or(places.start);
        let stored_bytes = catalogue.rows()[row].stored_bytes();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.window.push(row);
        open.bytes += stored_bytes;
        open.found += Added { chunks: 1, stored_bytes };
        if open.bytes >= WINDOW_BYTES || open.window.len() >= WINDOW_CHUNKS {
            let window = std::mem::take(&mut open.window);
            open.bytes = 0;
            drop(open);
            self.send(window)?;
        }
        Ok(true)
    }
}

impl Uses for Collector<'_> {
    fn directory(&self, key: &ChunkKey) -> Result<bool, Fault> {
        self.need(key)
    }

    fn entry(&self, _in: &ChunkKey, _entry: &Entry, chunks: &[ChunkKey]) -> Result<(), Fault> {
        chunks.iter().try_for_each(|chunk| self.need(chunk).map(drop))
    }

    fn problem(&self, _root: &RootId, _in: &ChunkKey, fault: Fault) -> ControlFlow<Fault> {
        ControlFlow::Break(fault)
    }
}

/// Carries windows over.
pub(super) struct Carrier<'a, B> {
    pub(super) source: &'a Source,
    pub(super) deposit: &'a Deposit<B>,
    pub(super) monitor: &'a dyn Monitor,
}

/// What a carrier works with.
struct Room {
    scratch: Scratch,
    plain: Vec<u8>,
    added: Added,
}

impl<B> Carrier<'_, B> {
    /// Carries windows until there are no more, or until it fails, which ends the whole run.
    pub(super) fn work(&self, windows: &Windows) -> Result<Added, Fault> {
        let carried = self.source.dialect.scratch().and_then(|scratch| {
            let mut room = Room { scratch, plain: Vec::new(), added: Added::default() };
            self.carry_all(windows, &mut room).map(|()| room.added)
        });
        if carried.is_err() {
            self.deposit.stop.cancel();
            // Whoever walks must not wait for a carrier that is gone.
            while next(windows).is_some() {}
        }
        carried
    }

    fn carry_all(&self, windows: &Windows, room: &mut Room) -> Result<(), Fault> {
        while let Some(mut window) = next(windows) {
            let rows = self.source.catalogue.rows();
            window.sort_unstable_by_key(|at| (rows[*at].pack(), rows[*at].location().offset));
            let mut rest = window.as_slice();
            while !rest.is_empty() {
                if self.deposit.stop.is_cancelled() {
                    return Err(Fault::Cancelled);
                }
                let (these, others) = rest.split_at(self.together(rest));
                rest = others;
                self.carry(these, room)?;
            }
        }
        Ok(())
    }

    /// How many of these rows are read at once; at least one.
    fn together(&self, rows: &[usize]) -> usize {
        let mut first = None;
        let mut end = 0;
        let mut plain = 0;
        for (count, at) in rows.iter().enumerate() {
            let row = &self.source.catalogue.rows()[*at];
            let span = span_of(row.location());
            let (pack, start) = *first.get_or_insert((row.pack(), span.start));
            plain += u64::from(row.location().raw_bytes);
            let near = row.pack() == pack && span.start <= end + GAP_BYTES;
            let fits = span.end.max(end) - start <= SPAN_BYTES && plain <= PLAIN_BYTES;
            if count > 0 && !(near && fits) {
                return count;
            }
            end = span.end.max(end);
        }
        rows.len()
    }

    fn carry(&self, rows: &[usize], room: &mut Room) -> Result<(), Fault> {
        let Source { dialect, catalogue, .. } = self.source;
        let all = catalogue.rows();
        let Some(first) = rows.first().map(|at| &all[*at]) else { return Ok(()) };
        let start = u64::from(first.location().offset);
        let end = rows.iter().map(|at| span_of(all[*at].location()).end).max().unwrap_or(start);
        let read = self.read(first.pack(), start..end);
        room.plain.clear();
        let mut opened: Vec<(usize, Span<usize>)> = Vec::new();
        let mut again = Vec::new();
        for at in rows {
            let (key, place) = (all[*at].key(), all[*at].location());
            let from = (u64::from(place.offset) - start) as usize;
            let span = from..from + place.stored_bytes as usize;
            let before = room.plain.len();
            let result = read.as_ref().ok().and_then(|bytes| {
                let Room { scratch, plain, .. } = &mut *room;
                dialect.open_chunk(&key, &place, bytes.get(span)?, scratch, plain).ok()
            });
            match result {
                Some(()) => opened.push((*at, before..room.plain.len())),
                None => {
                    room.plain.truncate(before);
                    again.push(*at);
                }
            }
        }
        for role in [Role::File, Role::Directory, Role::Links] {
            let chosen = opened.iter().filter(|(at, _)| dialect.role(&all[*at].key()) == role);
            let chosen: Vec<&(usize, Span<usize>)> = chosen.collect();
            if chosen.is_empty() {
                continue;
            }
            let plain = |span: &Span<usize>| room.plain.get(span.clone()).unwrap_or_default();
            let chunks: Vec<(ChunkKey, &[u8])> =
                chosen.iter().map(|(at, span)| (all[*at].key(), plain(span))).collect();
            let (added, wrong) = self.deposit.store(role, &chunks)?;
            room.added += added;
            again.extend(wrong.into_iter().map(|at| chosen[at].0));
        }
        for at in again {
            self.carry_copy(at, room)?;
        }
        let bytes = rows.iter().map(|at| all[*at].stored_bytes()).sum();
        self.monitor.counters().bytes_done.add(bytes);
        Ok(())
    }

    /// Carries a chunk over that was not good where it was looked for, from any place that is.
    fn carry_copy(&self, at: usize, room: &mut Room) -> Result<(), Fault> {
        let Source { dialect, catalogue, .. } = self.source;
        let key = catalogue.rows()[at].key();
        let mut why = Fault::Missing { key };
        for copy in catalogue.find(&key).unwrap_or_default() {
            let row = &catalogue.rows()[copy];
            let place = row.location();
            let mut plain = Vec::new();
            let opened = self.read(row.pack(), span_of(place)).and_then(|stored| {
                let unsealed = dialect.unseal(&key, &place, &stored, &mut room.scratch, &mut plain);
                unsealed.map_err(|damage| {
                    let pack = &catalogue.packs[row.pack()].name;
                    Fault::damaged(format!("chunk {key} in pack {pack}"), damage)
                })
            });
            match opened {
                Ok(()) => {
                    let (added, _proved_before) =
                        self.deposit.store(dialect.role(&key), &[(key, &plain)])?;
                    room.added += added;
                    return Ok(());
                }
                // One that cannot be reached now may be good the next time.
                Err(fault) if fault.class() != Class::Damaged => return Err(fault),
                Err(fault) => why = fault,
            }
        }
        Err(why)
    }

    fn read(&self, pack: usize, span: Span<u64>) -> Result<Bytes, Fault> {
        let Source { store, dialect, catalogue, runtime } = self.source;
        let key = dialect.pack_key(&catalogue.packs[pack].name);
        let range = Range::At { start: span.start, len: span.end - span.start };
        Ok(store.read_blocking(runtime, &key, range)?)
    }
}

fn span_of(place: crate::model::pack::Location) -> Span<u64> {
    let start = u64::from(place.offset);
    start..start + u64::from(place.stored_bytes)
}

fn next(windows: &Windows) -> Option<Window> {
    windows.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}
