//! What is needed in the target: found by those who walk, carried over by others.
//!
//! Invariants
//! - Every chunk is claimed once in the target, by whoever finds it first.
//! - A window that was found is carried, or the run fails.

use std::{
    ops::ControlFlow,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

use crate::{
    carry::{Carrier, PLAIN_BYTES, Room, Source},
    catalogue::{Row, RowSet},
    deposit::Added,
    fault::Fault,
    index::{Claim, Index},
    mark::Uses,
    model::{chunk::ChunkKey, directory::Entry, root::RootId},
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

/// What a carrier holds in the usual case.
pub(super) const MOST_HELD_BYTES: usize = SPAN_BYTES as usize + PLAIN_BYTES;

/// Rows of the source's catalogue.
type Window = Vec<Row>;

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
        let places = catalogue.places(key)?;
        let first = *places.first().ok_or(Fault::Missing { key: *key })?;
        if !self.seen.insert(first) {
            return Ok(false);
        }
        if self.in_target.claim(key) == Claim::Known {
            return Ok(true);
        }
        // A pack that somebody marked may be gone any moment.
        let stays = |at: &usize| !catalogue.packs[catalogue.pack_of(*at)].marked;
        let row = catalogue.row(places.into_iter().find(stays).unwrap_or(first))?;
        let stored_bytes = row.stored_bytes();
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

/// Carries windows until there are no more, or until it fails, which ends the whole run.
pub(super) fn work<B>(carrier: &Carrier<'_, B>, windows: &Windows) -> Result<Added, Fault> {
    let carried = carrier
        .source
        .room()
        .and_then(|mut room| carry_all(carrier, windows, &mut room).map(|()| room.added));
    if carried.is_err() {
        carrier.deposit.stop.cancel();
        // Whoever walks must not wait for a carrier that is gone.
        while next(windows).is_some() {}
    }
    carried
}

fn carry_all<B>(carrier: &Carrier<'_, B>, windows: &Windows, room: &mut Room) -> Result<(), Fault> {
    while let Some(mut window) = next(windows) {
        window.sort_unstable_by_key(|row| (row.pack(), row.offset()));
        let mut rest = window.as_slice();
        while !rest.is_empty() {
            if carrier.deposit.stop.is_cancelled() {
                return Err(Fault::Cancelled);
            }
            let (these, others) = rest.split_at(together(rest));
            rest = others;
            carrier.carry(these, room)?;
        }
    }
    Ok(())
}

/// How many of these rows are read at once; at least one.
fn together(window: &[Row]) -> usize {
    let mut first = None;
    let mut end = 0;
    for (count, row) in window.iter().enumerate() {
        let span = row.location().span();
        let (pack, start) = *first.get_or_insert((row.pack(), span.start));
        let near = row.pack() == pack && span.start <= end + GAP_BYTES;
        if count > 0 && !(near && span.end.max(end) - start <= SPAN_BYTES) {
            return count;
        }
        end = span.end.max(end);
    }
    window.len()
}

fn next(windows: &Windows) -> Option<Window> {
    windows.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}
