//! What is in each pack: how much of it is in use, and which of several places of a chunk counts.
//!
//! Invariants
//! - Of every chunk in use exactly one place is chosen, in a pack that is in the store.
//! - A copy in a pack that has other chunks in use, or nothing but copies of used ones, is chosen
//!   before others: what an interrupted run has moved already is not moved again.

use super::ReclaimError;
use crate::{
    catalogue::{Catalogue, RowSet},
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

/// Counts. `used` has the first place of every chunk in use; `listed` are sizes in the store by
/// number of pack.
pub(super) fn run(
    catalogue: &Catalogue,
    used: &RowSet,
    listed: &[Option<u64>],
    dialect: &Dialect,
) -> Result<Survey, ReclaimError> {
    let mut packs = Vec::with_capacity(catalogue.packs.len());
    for (number, pack) in catalogue.packs.iter().enumerate() {
        let codings = catalogue.rows_of(number).map(|at| catalogue.rows()[at].coding());
        let closing = dialect
            .closing_bytes(codings)
            .ok_or(Fault::Bug("packs of this format are not cleaned up chunk by chunk"))?;
        packs.push(Surveyed {
            holds: Holds::Nothing,
            listed_bytes: listed[number],
            used_chunks: 0,
            unused_chunks: 0,
            used_bytes: closing,
            unused_bytes: 0,
            uncompressed: false,
            marked: pack.marked,
            copies: 0,
        });
    }
    let mut survey = Survey {
        packs,
        chosen: RowSet::new(catalogue.rows().len()),
        used: Sum::default(),
        duplicate: Sum::default(),
        unused: Sum::default(),
    };
    survey.count(catalogue, used, dialect);
    survey.choose(catalogue, used);
    Ok(survey)
}

impl Survey {
    /// Counts every place; copies of one chunk as unused for now.
    fn count(&mut self, catalogue: &Catalogue, used: &RowSet, dialect: &Dialect) {
        let mut first = 0;
        while first < catalogue.rows().len() {
            let run = catalogue.run_at(first);
            let is_used = used.contains(first);
            let single = run.len() == 1;
            for at in run.clone() {
                let row = &catalogue.rows()[at];
                let bytes = row.stored_bytes();
                let lane = match dialect.role(&row.key()) {
                    Role::File => Lane::Data,
                    Role::Directory | Role::Links => Lane::Meta,
                };
                let pack = &mut self.packs[row.pack()];
                pack.holds = match pack.holds {
                    Holds::Nothing => Holds::Only(lane),
                    Holds::Only(other) if other == lane => Holds::Only(lane),
                    Holds::Only(_) | Holds::Mixed => Holds::Mixed,
                };
                pack.uncompressed |= row.coding().0 == 0;
                if is_used && single {
                    pack.used_chunks += 1;
                    pack.used_bytes += bytes;
                    self.used.add(bytes);
                    self.chosen.insert(at);
                } else {
                    pack.unused_chunks += 1;
                    pack.unused_bytes += bytes;
                    if is_used {
                        pack.copies += 1;
                        self.duplicate.add(bytes);
                    } else {
                        self.unused.add(bytes);
                    }
                }
            }
            first = run.end;
        }
    }

    /// Chooses one place of every chunk that has several.
    fn choose(&mut self, catalogue: &Catalogue, used: &RowSet) {
        let mut first = 0;
        while first < catalogue.rows().len() {
            let run = catalogue.run_at(first);
            if run.len() > 1 && used.contains(first) {
                let best = run
                    .clone()
                    .max_by_key(|at| (self.merit(catalogue.rows()[*at].pack()), usize::MAX - at))
                    .unwrap_or(first);
                let row = &catalogue.rows()[best];
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
            }
            first = run.end;
        }
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
