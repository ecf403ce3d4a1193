//! Where every chunk is: one compact table, asked and reserved in a single step.
//!
//! Invariants
//! - [`Index::claim`] decides and reserves under one lock, so no two workers store one chunk twice.
//! - A chunk may lie in several packs; every place is kept, so that a reader can fall back.
//! - Locks are held for a table access, never for I/O or hashing.
//! - What lies in a [`kept`] table or a catalogue is asked for there; what is in memory here came
//!   since.
//!
//! Not here: reading and writing index objects (`protocol`), their bytes (`dialect`).

pub(crate) mod kept;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock},
};

use hashbrown::{HashTable, hash_table};

use self::kept::Kept;
use crate::{
    catalogue::Catalogue,
    fault::Fault,
    model::{
        chunk::ChunkKey,
        pack::{Location, PackName, PackNumber},
    },
};

const SHARDS: usize = 16;

/// The table of chunks and packs of a repository.
#[derive(Debug)]
pub struct Index {
    shards: [Mutex<Shard>; SHARDS],
    packs: RwLock<Vec<Pack>>,
    ground: OnceLock<Ground>,
}

/// What an index rests on.
#[derive(Debug)]
enum Ground {
    Kept(Kept),
    Catalogue(Arc<Catalogue>),
}

impl Ground {
    fn places(&self, key: &ChunkKey) -> Result<Vec<Location>, Fault> {
        match self {
            Self::Kept(kept) => Ok(kept.places(key)),
            Self::Catalogue(catalogue) => {
                let places = catalogue.places(key)?.into_iter();
                places.map(|at| Ok(catalogue.row(at)?.location())).collect()
            }
        }
    }
}

#[derive(Debug)]
struct Pack {
    name: PackName,
    /// One past the last byte of a chunk in it.
    end: u64,
}

#[derive(Debug, Default)]
struct Shard {
    slots: HashTable<Slot>,
    further: HashMap<ChunkKey, Vec<Location>>,
}

#[derive(Debug)]
struct Slot {
    key: ChunkKey,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Live(Location),
    Reserved,
    Tombstone { at_seconds: i64 },
}

/// What is known of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Nobody stored it.
    Absent,
    /// It can be read there.
    Live(Location),
    /// It was deleted at that second: storing it again takes a newer entry.
    Tombstone {
        /// Seconds since the Unix epoch.
        at_seconds: i64,
    },
}

/// The answer to "I have this chunk, must I store it?"
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is stored, or another worker of this run is storing it.
    Known,
    /// It is yours to store.
    Yours,
}

impl Default for Index {
    fn default() -> Self {
        Self::new()
    }
}

impl Index {
    /// An index of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::new(Shard::default())),
            packs: RwLock::new(Vec::new()),
            ground: OnceLock::new(),
        }
    }

    /// Rests on a table, before anything else is known here: its packs keep their numbers.
    pub(crate) fn rest_on(&self, kept: Kept) -> Result<(), Fault> {
        let mut packs = self.packs.write().unwrap_or_else(PoisonError::into_inner);
        if !packs.is_empty() {
            return Err(Fault::Bug("an index rests on a table from its beginning"));
        }
        packs
            .extend(kept.packs().iter().map(|pack| Pack { name: Kept::name(pack), end: pack.end }));
        let _only_once = self.ground.set(Ground::Kept(kept));
        Ok(())
    }

    /// An index of what a catalogue says, with the same numbers of packs.
    pub(crate) fn over(catalogue: Arc<Catalogue>) -> Self {
        let packs = catalogue.packs.iter();
        let packs = packs.map(|pack| Pack { name: pack.name.clone(), end: pack.end }).collect();
        let ground = OnceLock::from(Ground::Catalogue(catalogue));
        Self { packs: RwLock::new(packs), ground, ..Self::new() }
    }

    fn places_below(&self, key: &ChunkKey) -> Result<Vec<Location>, Fault> {
        self.ground.get().map_or(Ok(Vec::new()), |ground| ground.places(key))
    }

    /// Gives a pack, whose last chunk ends before `end`, its number in this index.
    pub fn add_pack(&self, name: PackName, end: u64) -> PackNumber {
        let mut packs = self.packs.write().unwrap_or_else(PoisonError::into_inner);
        packs.push(Pack { name, end });
        PackNumber((packs.len() - 1) as u32)
    }

    /// The name of a pack of this index.
    #[must_use]
    pub fn pack_name(&self, pack: PackNumber) -> Option<PackName> {
        let packs = self.packs.read().unwrap_or_else(PoisonError::into_inner);
        packs.get(pack.0 as usize).map(|pack| pack.name.clone())
    }

    /// One past the last byte of a chunk in a pack.
    #[must_use]
    pub fn pack_end(&self, pack: PackNumber) -> u64 {
        let packs = self.packs.read().unwrap_or_else(PoisonError::into_inner);
        packs.get(pack.0 as usize).map_or(0, |pack| pack.end)
    }

    /// The names of all packs.
    #[must_use]
    pub fn pack_names(&self) -> Vec<PackName> {
        let packs = self.packs.read().unwrap_or_else(PoisonError::into_inner);
        packs.iter().map(|pack| pack.name.clone()).collect()
    }

    /// Makes room for `chunks` more, before a bulk of [`insert`](Self::insert).
    pub fn reserve(&self, chunks: usize) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard
                .slots
                .reserve(chunks / SHARDS + chunks / SHARDS / 8, |slot| slot.key.table_hash());
        }
    }

    /// Records a place where a chunk lies.
    pub fn insert(&self, key: ChunkKey, location: Location) {
        let mut guard = self.shard(&key);
        let shard = &mut *guard;
        match shard.slots.entry(
            key.table_hash(),
            |slot| slot.key == key,
            |slot| slot.key.table_hash(),
        ) {
            hash_table::Entry::Vacant(vacant) => {
                vacant.insert(Slot { key, state: State::Live(location) });
            }
            hash_table::Entry::Occupied(mut slot) => match slot.get().state {
                State::Live(first) if first != location => {
                    let further = shard.further.entry(key).or_default();
                    if !further.contains(&location) {
                        further.push(location);
                    }
                }
                State::Live(_) => {}
                State::Reserved | State::Tombstone { .. } => {
                    slot.get_mut().state = State::Live(location);
                }
            },
        }
    }

    /// Records that a chunk was deleted, unless it is known to live.
    pub fn bury(&self, key: ChunkKey, at_seconds: i64) {
        let mut shard = self.shard(&key);
        let entry = shard.slots.entry(
            key.table_hash(),
            |slot| slot.key == key,
            |slot| slot.key.table_hash(),
        );
        if let hash_table::Entry::Vacant(vacant) = entry {
            vacant.insert(Slot { key, state: State::Tombstone { at_seconds } });
        }
    }

    /// What is known of a chunk. Where this rests on a file that fails, nothing is: whoever must
    /// know [asks for more](Self::locate).
    #[must_use]
    pub fn presence(&self, key: &ChunkKey) -> Presence {
        self.ask(key).unwrap_or(Presence::Absent)
    }

    fn ask(&self, key: &ChunkKey) -> Result<Presence, Fault> {
        let shard = self.shard(key);
        let found = shard.slots.find(key.table_hash(), |slot| slot.key == *key);
        let state = found.map(|slot| slot.state);
        drop(shard);
        // What is in memory is no question for the disk.
        if let Some(State::Live(location)) = state {
            return Ok(Presence::Live(location));
        }
        Ok(match (state, self.places_below(key)?.first()) {
            (_, Some(location)) => Presence::Live(*location),
            (Some(State::Tombstone { at_seconds }), None) => Presence::Tombstone { at_seconds },
            _ => Presence::Absent,
        })
    }

    /// Where a chunk can be read, or why that cannot be told.
    pub(crate) fn locate(&self, key: &ChunkKey) -> Result<Option<Location>, Fault> {
        Ok(match self.ask(key)? {
            Presence::Live(location) => Some(location),
            Presence::Absent | Presence::Tombstone { .. } => None,
        })
    }

    /// Where a chunk can be read.
    #[must_use]
    pub fn find(&self, key: &ChunkKey) -> Option<Location> {
        self.locate(key).ok().flatten()
    }

    /// Further places of a chunk, for when the first cannot be read.
    #[must_use]
    pub fn further(&self, key: &ChunkKey) -> Vec<Location> {
        self.locate_others(key).unwrap_or_default()
    }

    /// The same, or why that cannot be told.
    pub(crate) fn locate_others(&self, key: &ChunkKey) -> Result<Vec<Location>, Fault> {
        let mut further = self.shard(key).further.get(key).cloned().unwrap_or_default();
        let first = self.locate(key)?;
        further.extend(self.places_below(key)?.into_iter().filter(|at| Some(*at) != first));
        Ok(further)
    }

    /// Whether a chunk is stored or being stored by this run; reserves it for the caller if not.
    #[must_use]
    pub fn claim(&self, key: &ChunkKey) -> Claim {
        if self.places_below(key).is_ok_and(|places| !places.is_empty()) {
            return Claim::Known;
        }
        let mut shard = self.shard(key);
        let entry = shard.slots.entry(
            key.table_hash(),
            |slot| slot.key == *key,
            |slot| slot.key.table_hash(),
        );
        match entry {
            hash_table::Entry::Vacant(vacant) => {
                vacant.insert(Slot { key: *key, state: State::Reserved });
                Claim::Yours
            }
            hash_table::Entry::Occupied(mut slot) => match slot.get().state {
                State::Live(_) | State::Reserved => Claim::Known,
                State::Tombstone { .. } => {
                    slot.get_mut().state = State::Reserved;
                    Claim::Yours
                }
            },
        }
    }

    /// Number of chunks known.
    #[must_use]
    pub fn chunk_count(&self) -> usize {
        let in_memory: usize = self
            .shards
            .iter()
            .map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).slots.len())
            .sum();
        in_memory
            + self.ground.get().map_or(0, |ground| match ground {
                Ground::Kept(kept) => kept.rows() as usize,
                Ground::Catalogue(catalogue) => catalogue.len(),
            })
    }

    /// Calls `each` for every place of every chunk, in no order.
    pub fn for_each(&self, mut each: impl FnMut(&ChunkKey, &Location)) {
        match self.ground.get() {
            Some(Ground::Kept(kept)) => kept.sweep_all(|row| each(&row.key(), &row.location())),
            Some(Ground::Catalogue(catalogue)) => {
                let rows = (0..catalogue.packs.len()).filter_map(|at| catalogue.rows_of(at).ok());
                rows.flatten().for_each(|(_, row)| each(&row.key(), &row.location()));
            }
            None => {}
        }
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for slot in &shard.slots {
                if let State::Live(location) = &slot.state {
                    each(&slot.key, location);
                }
            }
            for (key, locations) in &shard.further {
                locations.iter().for_each(|location| each(key, location));
            }
        }
    }

    fn shard(&self, key: &ChunkKey) -> MutexGuard<'_, Shard> {
        let [.., last] = key.table_hash().to_le_bytes();
        self.shards[usize::from(last) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::pack::Coding;

    fn place(pack: u32, offset: u32) -> Location {
        Location {
            pack: PackNumber(pack),
            offset,
            stored_bytes: 40,
            raw_bytes: 8,
            coding: Coding(0),
        }
    }

    #[test]
    fn only_one_of_many_threads_may_store_a_chunk() {
        let index = Index::new();
        let won: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        (0..=255u8)
                            .filter(|byte| {
                                index.claim(&ChunkKey::full(0, [*byte; 32])) == Claim::Yours
                            })
                            .count()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert_eq!(won, 256);
    }

    #[test]
    fn a_reserved_chunk_cannot_be_read_yet() {
        let index = Index::new();
        let key = ChunkKey::full(0, [7; 32]);
        assert_eq!(index.claim(&key), Claim::Yours);
        assert_eq!(index.find(&key), None);
        index.insert(key, place(0, 0));
        assert_eq!(index.find(&key), Some(place(0, 0)));
    }

    #[test]
    fn every_place_of_a_chunk_is_kept_once() {
        let index = Index::new();
        let key = ChunkKey::full(1, [1; 32]);
        for location in [place(0, 0), place(1, 5), place(0, 0), place(1, 5)] {
            index.insert(key, location);
        }
        assert_eq!(index.find(&key), Some(place(0, 0)));
        assert_eq!(index.further(&key), [place(1, 5)]);
    }

    #[test]
    fn a_tombstone_is_a_miss_that_can_be_claimed_again() {
        let index = Index::new();
        let key = ChunkKey::full(1, [2; 32]);
        index.bury(key, 99);
        assert_eq!(index.presence(&key), Presence::Tombstone { at_seconds: 99 });
        assert_eq!(index.claim(&key), Claim::Yours);
        index.insert(key, place(3, 0));
        index.bury(key, 100);
        assert_eq!(index.find(&key), Some(place(3, 0)));
    }
}
