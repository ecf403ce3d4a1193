//! The index at one moment: what all its segments say together.
//!
//! Invariants
//! - Of several entries for a content the same one wins in every order of reading; a deletion that
//!   wins leaves no older place behind.
//! - A pack is known to the neutral index only if something in it lives.
//!
//! Not here: which segments belong to the index (`windlass_format::kopia::epoch`).

use std::collections::{HashMap, hash_map::Entry as Slot};

use windlass_format::{
    damage::Damage,
    kopia::{
        id::ContentId,
        index::{self, Claim, Entry, Segment},
    },
};

use crate::{
    dialect::kopia::key_of,
    index::Index,
    model::pack::{Coding, Location, PackName, PackNumber},
    store::Key,
};

/// Segments merged so far.
#[derive(Debug, Default)]
pub(super) struct View {
    packs: Vec<Box<str>>,
    numbers: HashMap<Box<str>, PackNumber>,
    places: HashMap<ContentId, Place>,
    /// Live places that lost against others, for when those cannot be read.
    further: Vec<(ContentId, Place)>,
}

/// What one segment says of a content. Packs are numbered in this view.
#[derive(Clone, Copy, Debug)]
struct Place {
    seconds: i64,
    deleted: bool,
    at: Location,
}

impl View {
    /// Merges a segment.
    pub(super) fn add(&mut self, plain: &[u8]) -> Result<(), Damage> {
        let segment = Segment::parse(plain)?;
        self.places.reserve(segment.entry_count());
        let mut numbers = HashMap::new();
        segment.visit(|entry| {
            let pack = match numbers.get(&entry.pack) {
                Some(number) => *number,
                None => {
                    let number = self.number(segment.pack_name(entry.pack)?)?;
                    *numbers.entry(entry.pack).or_insert(number)
                }
            };
            self.merge(&entry, pack)
        })
    }

    /// Drops deletions that are final.
    pub(super) fn forget(&mut self, watermark: Option<i64>) {
        self.places
            .retain(|_, place| !index::is_forgotten(place.seconds, place.deleted, watermark));
    }

    /// Every place of every living content with this prefix, the best first.
    pub(super) fn with_prefix(&self, prefix: u8) -> Vec<(ContentId, Vec<(Key, Location)>)> {
        let wanted = |id: &ContentId| id.prefix() == Some(prefix);
        let mut found: HashMap<ContentId, Vec<(Key, Location)>> = HashMap::new();
        let key = |place: &Place| Key::new(self.name(place.at.pack));
        for (id, place) in self.places.iter().filter(|(id, place)| wanted(id) && !place.deleted) {
            found.insert(*id, vec![(key(place), place.at)]);
        }
        for (id, place) in self.further.iter().filter(|(id, _)| wanted(id)) {
            if let Some(places) = found.get_mut(id) {
                places.push((key(place), place.at));
            }
        }
        let mut found: Vec<_> = found.into_iter().collect();
        found.sort_by_key(|(id, _)| *id);
        found
    }

    /// Records everything in the neutral index.
    pub(super) fn fill(self, index: &Index) -> Result<(), Damage> {
        let mut ends = vec![None; self.packs.len()];
        let living = self.places.values().filter(|place| !place.deleted);
        for place in living.chain(self.further.iter().map(|(_, place)| place)) {
            let Location { pack, offset, stored_bytes, .. } = place.at;
            if let Some(end) = ends.get_mut(pack.0 as usize) {
                *end = (*end).max(Some(u64::from(offset) + u64::from(stored_bytes)));
            }
        }
        let named = self.packs.into_iter().zip(ends);
        let numbers: Vec<Option<PackNumber>> = named
            .map(|(name, end)| end.map(|end| index.add_pack(PackName::Chosen(name), end)))
            .collect();
        let placed = |at: Location| {
            numbers.get(at.pack.0 as usize).copied().flatten().map(|pack| Location { pack, ..at })
        };
        index.reserve(self.places.len());
        for (id, place) in &self.places {
            let key = key_of(*id)?;
            if place.deleted {
                index.bury(key, place.seconds);
            } else if let Some(location) = placed(place.at) {
                index.insert(key, location);
            }
        }
        for (id, place) in &self.further {
            let lives = self.places.get(id).is_some_and(|winner| !winner.deleted);
            if let Some(location) = placed(place.at).filter(|_| lives) {
                index.insert(key_of(*id)?, location);
            }
        }
        Ok(())
    }

    fn number(&mut self, name: &str) -> Result<PackNumber, Damage> {
        if let Some(number) = self.numbers.get(name) {
            return Ok(*number);
        }
        let over = Damage::OverLimit { what: "packs", max: u32::MAX.into() };
        let number = PackNumber(u32::try_from(self.packs.len()).map_err(|_over| over)?);
        self.packs.push(name.into());
        self.numbers.insert(name.into(), number);
        Ok(number)
    }

    fn merge(&mut self, entry: &Entry, pack: PackNumber) -> Result<(), Damage> {
        if entry.key_id != 0 {
            return Err(Damage::Unsupported { what: "content key id" });
        }
        let at = Location {
            pack,
            offset: entry.offset,
            stored_bytes: entry.packed_len,
            raw_bytes: entry.raw_len,
            coding: Coding(entry.compression),
        };
        let place = Place { seconds: entry.seconds, deleted: entry.deleted, at };
        let packs = &self.packs;
        let claim = |place: &Place| Claim {
            seconds: place.seconds,
            deleted: place.deleted,
            pack: packs.get(place.at.pack.0 as usize).map_or("", |name| name),
        };
        match self.places.entry(entry.content) {
            Slot::Vacant(slot) => {
                slot.insert(place);
            }
            Slot::Occupied(mut slot) => {
                let known = *slot.get();
                let loser = if index::supersedes(claim(&place), claim(&known)) {
                    slot.insert(place);
                    known
                } else {
                    place
                };
                if !loser.deleted && known.at != place.at {
                    self.further.push((entry.content, loser));
                }
            }
        }
        Ok(())
    }

    fn name(&self, pack: PackNumber) -> &str {
        self.packs.get(pack.0 as usize).map_or("", |name| name)
    }
}
