//! What is in each pack: how much of it is in use, and which of several places of a chunk counts.
//!
//! Invariants
//! - Of every chunk in use exactly one place is chosen, in a pack that is in the store.
//! - A copy in a pack that has other chunks in use, or nothing but copies of used ones, is chosen
//!   before others: what an interrupted run has moved already is not moved again.

use super::ReclaimError;
use crate::{
    catalogue::{Catalogue, Row, RowSet},
    dialect::Dialect,
    fault::Fault,
    model::{chunk::Role, pack::Lane},
};

/// What a pack holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    Nothing,
    Only(Lane),
    Mixed,
}

/// A pack, counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Surveyed {
    pub(super) holds: Holds,
    /// Its size in the store; `None` where it is missing.
    pub(super) listed_bytes: Option<u64>,
    pub(super) used_chunks: u64,
    pub(super) unused_chunks: u64,
    /// Used bytes and those that close the pack.
    pub(super) used_bytes: u64,
    pub(super) unused_bytes: u64,
    /// Whether it has chunks that are not compressed.
    pub(super) uncompressed: bool,
    pub(super) marked: bool,
    /// Copies of chunks in use, none of which was chosen yet.
    copies: u64,
}

/// All packs counted, and the chosen places.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) packs: Vec<Surveyed>,
    pub(super) chosen: RowSet,
    pub(super) used: Sum,
    pub(super) duplicate: Sum,
    pub(super) unused: Sum,
}

/// Chunks and what they take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many.
    pub chunks: u64,
    /// Bytes in packs.
    pub bytes: u64,
}

impl Sum {
    fn add(&mut self, bytes: u64) {
        self.chunks += 1;
        self.bytes += bytes;
    }
}

/// Counts. `used` has the row that stands for every chunk in use; `listed` are sizes in the store
/// by number of pack.
pub(super) fn run(
    catalogue: &Catalogue,
    used: &RowSet,
    listed: &[Option<u64>],
    dialect: &Dialect,
) -> Result<Survey, ReclaimError> {
    let mut survey = Survey {
        packs: Vec::with_capacity(catalogue.packs.len()),
        chosen: RowSet::new(catalogue.len()),
        used: Sum::default(),
        duplicate: Sum::default(),
        unused: Sum::default(),
    };
    // All places of chunks in use that have several.
    let copies = RowSet::new(catalogue.len());
    catalogue.each_repeated(|places| {
        for at in places.iter().filter(|_| used.contains(places[0])) {
            copies.insert(*at);
        }
        Ok(())
    })?;
    for (number, pack) in catalogue.packs.iter().enumerate() {
        let rows = catalogue.rows_of(number)?;
        let closing = dialect
            .closing_bytes(rows.iter().map(|(_, row)| row.coding()))
            .ok_or(Fault::Bug("packs of this format are not cleaned up chunk by chunk"))?;
        let mut pack = Surveyed {
            holds: Holds::Nothing,
            listed_bytes: listed[number],
            used_chunks: 0,
            unused_chunks: 0,
            used_bytes: closing,
            unused_bytes: 0,
            uncompressed: false,
            marked: pack.marked,
            copies: 0,
        };
        survey.count(&mut pack, &rows, used, &copies, dialect);
        survey.packs.push(pack);
    }
    catalogue.each_repeated(|places| match copies.contains(places[0]) {
        true => survey.choose(places, catalogue),
        false => Ok(()),
    })?;
    Ok(survey)
}

impl Survey {
    /// Counts the rows of a pack; copies as unused for now.
    fn count(
        &mut self,
        pack: &mut Surveyed,
        rows: &[(usize, Row)],
        used: &RowSet,
        copies: &RowSet,
        dialect: &Dialect,
    ) {
        for (at, row) in rows {
            let lane = match dialect.role(&row.key()) {
                Role::File => Lane::Data,
                Role::Directory | Role::Links => Lane::Meta,
            };
            pack.holds = match pack.holds {
                Holds::Nothing => Holds::Only(lane),
                Holds::Only(other) if other == lane => Holds::Only(lane),
                Holds::Only(_) | Holds::Mixed => Holds::Mixed,
            };
            pack.uncompressed |= row.coding().0 == 0;
            let bytes = row.stored_bytes();
            let is_copy = copies.contains(*at);
            if used.contains(*at) && !is_copy {
                pack.used_chunks += 1;
                pack.used_bytes += bytes;
                self.used.add(bytes);
                self.chosen.insert(*at);
                continue;
            }
            pack.unused_chunks += 1;
            pack.unused_bytes += bytes;
            if is_copy {
                pack.copies += 1;
                self.duplicate.add(bytes);
            } else {
                self.unused.add(bytes);
            }
        }
    }

    /// Chooses one place of a chunk in use that has several.
    fn choose(&mut self, places: &[usize], catalogue: &Catalogue) -> Result<(), Fault> {
        let merit = |at: &&usize| (self.merit(catalogue.pack_of(**at)), usize::MAX - **at);
        let best = *places.iter().max_by_key(merit).ok_or(Fault::Bug("a chunk without a place"))?;
        let row = catalogue.row(best)?;
        let bytes = row.stored_bytes();
        let pack = &mut self.packs[row.pack()];
        pack.used_chunks += 1;
        pack.used_bytes += bytes;
        pack.unused_chunks -= 1;
        pack.unused_bytes -= bytes;
        pack.copies -= 1;
        self.used.add(bytes);
        self.duplicate.chunks -= 1;
        self.duplicate.bytes -= bytes;
        self.chosen.insert(best);
        Ok(())
    }

    /// How good a pack is to keep a copy in.
    fn merit(&self, pack: usize) -> u8 {
        let pack = &self.packs[pack];
        if pack.listed_bytes.is_none() {
            return 0;
        }
        let only_copies = pack.copies == pack.unused_chunks;
        match (pack.marked, pack.used_chunks > 0 || only_copies) {
            (true, _) => 1,
            (false, false) => 2,
            (false, true) => 3,
        }
    }
}
