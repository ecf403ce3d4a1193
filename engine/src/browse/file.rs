//! The content of a file, read from any place.
//!
//! Invariants
//! - Only what was proved is given out; a file whose chunks are not as long as it is cannot be
//!   opened, and a chunk that is not as long as the index says cannot be read: bytes never move.
//! - Whoever reads on where it stopped has the next chunks opened meanwhile, a few and only while
//!   few are under way.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use windlass_format::damage::Damage;

use crate::{
    fault::Fault,
    model::{chunk::ChunkKey, object::Content},
    reader::Reader,
};

/// An open file.
#[derive(Debug)]
pub struct File {
    pub(super) plan: Arc<Plan>,
    /// Where the last reading ended.
    next: AtomicU64,
}

/// Which chunks a file is made of.
#[derive(Debug)]
pub(super) struct Plan {
    keys: Vec<ChunkKey>,
    /// Where each ends in the file.
    ends: Vec<u64>,
}

/// A part of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Which of the file's chunks.
    pub(super) number: usize,
    pub(super) key: ChunkKey,
    /// Bytes of the whole chunk.
    pub(super) chunk_bytes: u64,
    /// The first byte of it.
    pub(super) from: u64,
    pub(super) bytes: u64,
}

impl Plan {
    /// Looks every chunk up.
    pub(super) fn new(reader: &Reader, size_bytes: u64, content: &Content) -> Result<Self, Fault> {
        let keys = reader.chunks_of(content)?;
        let mut ends = Vec::with_capacity(keys.len());
        let mut end = 0_u64;
        for key in &keys {
            let at = reader.location(key).ok_or(Fault::Missing { key: *key })?;
            end = end.saturating_add(at.raw_bytes.into());
            ends.push(end);
        }
        if end != size_bytes {
            let damage = Damage::Invalid { what: "size: its chunks have another" };
            return Err(Fault::damaged("file", damage));
        }
        Ok(Self { keys, ends })
    }

    /// What it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        let each = size_of::<ChunkKey>() + size_of::<u64>();
        size_of::<Self>() + self.keys.len() * each
    }

    fn size_bytes(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// The piece at a place in the file, as long as its chunk goes.
    pub(super) fn piece(&self, at: u64) -> Option<Piece> {
        // Chunks may be empty, then several end at one place.
        let number = self.ends.partition_point(|end| *end <= at);
        let end = *self.ends.get(number)?;
        let start = number.checked_sub(1).and_then(|before| self.ends.get(before)).copied();
        let start = start.unwrap_or(0);
        let key = *self.keys.get(number)?;
        Some(Piece { number, key, chunk_bytes: end - start, from: at - start, bytes: end - at })
    }

    /// The chunks behind one, with their bytes.
    pub(super) fn behind(&self, number: usize) -> impl Iterator<Item = (ChunkKey, u64)> {
        let start = self.ends.get(number).copied().unwrap_or(0);
        let starts = std::iter::once(start).chain(self.ends.iter().skip(number + 1).copied());
        let rest = self.keys.iter().zip(&self.ends).skip(number + 1);
        rest.zip(starts).map(|((key, end), start)| (*key, end - start))
    }
}

impl File {
    pub(super) fn new(plan: Arc<Plan>) -> Self {
        Self { plan, next: AtomicU64::new(0) }
    }

    /// Its size.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.plan.size_bytes()
    }

    /// Notes what is read; whether it goes on where the last reading ended. Those who read ahead
    /// themselves, as a kernel does, come a little out of order.
    pub(super) fn goes_on(&self, from: u64, bytes: u64) -> bool {
        const OUT_OF_ORDER_BYTES: u64 = 1 << 20;
        let expected = self.next.fetch_max(from.saturating_add(bytes), Ordering::Relaxed);
        let is_near = from.abs_diff(expected) <= OUT_OF_ORDER_BYTES;
        if !is_near {
            self.next.store(from.saturating_add(bytes), Ordering::Relaxed);
        }
        is_near && expected > 0
    }
}
