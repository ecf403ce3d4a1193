//! What becomes of every pack: it stays, it goes, or what is in use is moved out of it first.
//!
//! Invariants
//! - Pure: the same survey and limits give the same plan.
//! - A pack with anything in use is never planned to go without being rewritten.
//! - Where a chunk in use loses one of its copies, one that stays is to be proved before: of copies
//!   in packs that stay nobody else reads a byte.
//! - A pack that is in use and missing, or of another size than its chunks add up to, ends the
//!   planning: nothing is removed before that is explained.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashSet},
    ops::Range,
};

use super::{
    ReclaimError,
    survey::{Holds, Sum, Survey, Surveyed},
};
use crate::{
    catalogue::{Catalogue, Row, RowSet},
    fault::Fault,
    model::pack::{Lane, PackName},
};

/// The smallest size packs are meant to have.
const MIN_PACK_BYTES: u64 = 4 << 20;

/// Packs that are small and otherwise fine are joined from this many on.
const SMALL_PACKS: usize = 10;

/// Kept chunks that lie no farther apart are read with what is between them.
pub(super) const GAP_BYTES: u64 = 128 << 10;

/// Bytes read at once.
const SPAN_BYTES: u64 = 16 << 20;

/// How many unused bytes may stay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MaxUnused {
    /// That many.
    Bytes(u64),
    /// As many as make up this share of the repository, in percent, below 100.
    Percent(f64),
    /// Any number.
    Unlimited,
}

impl MaxUnused {
    fn bytes(self, used_bytes: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            // Of all, not of the used ones: five of a hundred are five beside ninety-five.
            Self::Percent(share) => (share / (100.0 - share) * used_bytes as f64) as u64,
            Self::Unlimited => u64::MAX,
        }
    }
}

/// How far cleaning up goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// How many unused bytes may stay.
    pub max_unused: MaxUnused,
    /// Rewrite packs of less than this many bytes in total.
    pub max_repack_bytes: Option<u64>,
    /// Packs below this size are small; by default what is small is judged by the other packs.
    pub small_pack_bytes: Option<u64>,
    /// Rewrite only packs of directories.
    pub meta_only: bool,
    /// Rewrite whatever is not compressed.
    pub uncompressed: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_unused: MaxUnused::Percent(5.0),
            max_repack_bytes: None,
            small_pack_bytes: None,
            meta_only: false,
            uncompressed: false,
        }
    }
}

/// What is going to happen, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forecast {
    /// Chunks in use, each once.
    pub used: Sum,
    /// Further copies of them.
    pub duplicate: Sum,
    /// Chunks that nobody refers to.
    pub unused: Sum,
    /// In packs that are rewritten.
    pub repack: Sum,
    /// Of those, what goes.
    pub repack_remove: Sum,
    /// In packs that go whole.
    pub remove: Sum,
    /// Bytes of packs that no index names.
    pub unreferenced_bytes: u64,
    /// Bytes of packs with chunks that are not compressed and stay so.
    pub uncompressed_bytes: u64,
    /// Packs all of whose chunks are in use.
    pub packs_used: u64,
    /// Packs that hold some in use and some not.
    pub packs_partly_used: u64,
    /// Packs without anything in use.
    pub packs_unused: u64,
    /// Packs that no index names.
    pub packs_unreferenced: u64,
    /// Packs that stay as they are.
    pub packs_keep: u64,
    /// Packs that are rewritten.
    pub packs_repack: u64,
    /// Packs that go whole.
    pub packs_remove: u64,
    /// Requests for reading what is moved, or relied upon instead of another copy.
    pub read_requests: u64,
    /// Bytes that are read for it.
    pub read_bytes: u64,
}

/// What is to be done with packs, by their numbers in the catalogue.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Whose chunks in use are moved first.
    pub(super) repack: Vec<usize>,
    /// Nothing in them is in use.
    pub(super) remove: Vec<usize>,
    /// Named by an index, in use by nobody, and not in the store.
    pub(super) missing: Vec<usize>,
    /// In the store and named by no index.
    pub(super) unreferenced: Vec<PackName>,
    /// Places that are relied upon from now on.
    pub(super) prove: Prove,
    pub(super) forecast: Forecast,
}

/// Places that are to be proved.
#[derive(Debug, Default)]
pub(super) struct Prove {
    pub(super) rows: RowSet,
    /// The packs that have some.
    pub(super) packs: BTreeSet<usize>,
}

/// Decides about every pack. `unreferenced` are packs in the store that no index names.
pub(super) fn decide(
    catalogue: &Catalogue,
    survey: &Survey,
    unreferenced: Vec<(PackName, u64)>,
    limits: &Limits,
    pack_bytes: u64,
    can_compress: bool,
) -> Result<Plan, ReclaimError> {
    let mut plan = Plan {
        forecast: Forecast {
            used: survey.used,
            duplicate: survey.duplicate,
            unused: survey.unused,
            unreferenced_bytes: unreferenced.iter().map(|(_, bytes)| bytes).sum(),
            packs_unreferenced: unreferenced.len() as u64,
            ..Forecast::default()
        },
        unreferenced: unreferenced.into_iter().map(|(name, _)| name).collect(),
        ..Plan::default()
    };
    check_packs(catalogue, survey)?;
    let small_bytes = small_bytes(&survey.packs, limits, pack_bytes);
    let mut candidates = Vec::new();
    let mut small = Vec::new();
    for (number, pack) in survey.packs.iter().enumerate() {
        let fate = plan.sort_pack(number, pack, limits, can_compress, small_bytes);
        match fate {
            Fate::Stays => {}
            Fate::Candidate(must_compress) => candidates.push((number, must_compress)),
            Fate::Small => small.push((number, false)),
        }
    }
    if small.len() < SMALL_PACKS {
        plan.forecast.packs_keep += small.len() as u64;
    } else {
        candidates.extend(small);
    }
    let packs = &survey.packs;
    candidates.sort_by_key(|(number, _)| {
        let pack = &packs[*number];
        let is_data = pack.holds == Holds::Only(Lane::Data);
        // Shares of unused bytes, compared as fractions of 2^32.
        let share = (u128::from(pack.unused_bytes) << 32) / u128::from(pack.bytes().max(1));
        (is_data, pack.bytes() >= small_bytes, Reverse(share), *number)
    });
    plan.choose(catalogue, survey, &candidates, limits, small_bytes)?;
    plan.doubt_copies(catalogue, survey)?;
    if !can_compress {
        plan.forecast.uncompressed_bytes = 0;
    }
    Ok(plan)
}

enum Fate {
    /// Or goes: it is booked.
    Stays,
    /// May be rewritten; whether for being compressed.
    Candidate(bool),
    /// May be joined with others.
    Small,
}

impl Plan {
    fn sort_pack(
        &mut self,
        number: usize,
        pack: &Surveyed,
        limits: &Limits,
        can_compress: bool,
        small_bytes: u64,
    ) -> Fate {
        let forecast = &mut self.forecast;
        if pack.listed_bytes.is_none() || pack.used_chunks == 0 {
            forecast.remove.chunks += pack.unused_chunks;
            forecast.remove.bytes += pack.unused_bytes;
            if pack.listed_bytes.is_none() {
                self.missing.push(number);
            } else {
                forecast.packs_unused += 1;
                forecast.packs_remove += 1;
                if pack.uncompressed {
                    forecast.uncompressed_bytes += pack.bytes();
                }
                self.remove.push(number);
            }
            return Fate::Stays;
        }
        match pack.unused_chunks {
            0 => forecast.packs_used += 1,
            _ => forecast.packs_partly_used += 1,
        }
        if pack.uncompressed {
            forecast.uncompressed_bytes += pack.bytes();
        }
        let is_meta = pack.holds == Holds::Only(Lane::Meta);
        let must_compress = can_compress && pack.uncompressed && (is_meta || limits.uncompressed);
        if limits.meta_only && pack.holds == Holds::Only(Lane::Data) {
            forecast.packs_keep += 1;
            return Fate::Stays;
        }
        if pack.unused_chunks == 0 && pack.holds != Holds::Mixed && !must_compress {
            if pack.listed_bytes.is_some_and(|bytes| bytes < small_bytes) {
                return Fate::Small;
            }
            forecast.packs_keep += 1;
            return Fate::Stays;
        }
        Fate::Candidate(must_compress)
    }

    /// Takes candidates, best first, as far as the limits allow.
    fn choose(
        &mut self,
        catalogue: &Catalogue,
        survey: &Survey,
        candidates: &[(usize, bool)],
        limits: &Limits,
        small_bytes: u64,
    ) -> Result<(), Fault> {
        let forecast = &mut self.forecast;
        let tolerated = limits.max_unused.bytes(survey.used.bytes);
        for (number, must_compress) in candidates {
            let pack = &survey.packs[*number];
            let unused = survey.duplicate.bytes + survey.unused.bytes
                - forecast.remove.bytes
                - forecast.repack_remove.bytes;
            let over_budget = limits
                .max_repack_bytes
                .is_some_and(|most| forecast.repack.bytes + pack.bytes() >= most);
            let is_data = pack.holds == Holds::Only(Lane::Data);
            let needs_it = !is_data || *must_compress;
            let tolerable = unused < tolerated && pack.bytes() >= small_bytes;
            if over_budget || (!needs_it && tolerable) {
                forecast.packs_keep += 1;
                continue;
            }
            forecast.packs_repack += 1;
            forecast.repack.chunks += pack.used_chunks + pack.unused_chunks;
            forecast.repack.bytes += pack.bytes();
            forecast.repack_remove.chunks += pack.unused_chunks;
            forecast.repack_remove.bytes += pack.unused_bytes;
            if pack.uncompressed {
                forecast.uncompressed_bytes -= pack.bytes();
            }
            forecast.add_reads(&spans(rows_in(catalogue, *number, &survey.chosen)?));
            self.repack.push(*number);
        }
        Ok(())
    }

    /// Finds chunks in use of which a copy goes and another stays.
    fn doubt_copies(&mut self, catalogue: &Catalogue, survey: &Survey) -> Result<(), Fault> {
        let mut goes = vec![false; survey.packs.len()];
        self.remove.iter().chain(&self.repack).for_each(|pack| goes[*pack] = true);
        let stays = |at: &usize| {
            let pack = catalogue.pack_of(*at);
            !goes[pack] && survey.packs[pack].listed_bytes.is_some()
        };
        let mut prove = Prove { rows: RowSet::new(catalogue.len()), packs: BTreeSet::new() };
        catalogue.each_repeated(|places| {
            let used = places.iter().any(|at| survey.chosen.contains(*at));
            if used && places.iter().any(|at| goes[catalogue.pack_of(*at)]) {
                let mut stay = places.iter().copied().filter(stays);
                let chosen = stay.clone().find(|at| survey.chosen.contains(*at));
                if let Some(at) = chosen.or_else(|| stay.next()) {
                    prove.rows.insert(at);
                    prove.packs.insert(catalogue.pack_of(at));
                }
            }
            Ok(())
        })?;
        for pack in &prove.packs {
            self.forecast.add_reads(&spans(rows_in(catalogue, *pack, &prove.rows)?));
        }
        self.prove = prove;
        Ok(())
    }
}

impl Forecast {
    fn add_reads(&mut self, spans: &[Span]) {
        self.read_requests += spans.len() as u64;
        self.read_bytes += spans.iter().map(Span::bytes).sum::<u64>();
    }
}

impl Surveyed {
    /// What its chunks and what closes it add up to.
    pub(super) fn bytes(&self) -> u64 {
        self.used_bytes + self.unused_bytes
    }
}

/// The rows of a pack that are in a set, from front to back.
pub(super) fn rows_in(
    catalogue: &Catalogue,
    pack: usize,
    set: &RowSet,
) -> Result<Vec<(usize, Row)>, Fault> {
    let mut rows = catalogue.rows_of(pack)?;
    rows.retain(|(at, _)| set.contains(*at));
    Ok(rows)
}

/// Packs with copies of what is in use in these packs, which nobody has proved.
pub(super) fn copies_of(
    catalogue: &Catalogue,
    survey: &Survey,
    packs: impl Iterator<Item = usize>,
) -> Result<HashSet<usize>, Fault> {
    let mut copies = HashSet::new();
    for pack in packs {
        let mut rows = rows_in(catalogue, pack, &survey.chosen)?;
        rows.retain(|(at, _)| catalogue.is_repeated(*at));
        for (_, row) in rows {
            let places = catalogue.places(&row.key())?.into_iter();
            copies.extend(places.map(|at| catalogue.pack_of(at)).filter(|other| *other != pack));
        }
    }
    Ok(copies)
}

/// A stretch of a pack and the chunks in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) rows: Vec<Row>,
}

impl Span {
    pub(super) fn bytes(&self) -> u64 {
        self.end - self.start
    }
}

/// Which stretches of a pack to read for these rows, from front to back.
pub(super) fn spans(rows: Vec<(usize, Row)>) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for (_, row) in rows {
        let Range { start, end } = row.location().span();
        match spans.last_mut() {
            Some(span) if start <= span.end + GAP_BYTES && end - span.start <= SPAN_BYTES => {
                span.end = span.end.max(end);
                span.rows.push(row);
            }
            _ => spans.push(Span { start, end, rows: vec![row] }),
        }
    }
    spans
}

fn check_packs(catalogue: &Catalogue, survey: &Survey) -> Result<(), ReclaimError> {
    let needed = || survey.packs.iter().enumerate().filter(|(_, pack)| pack.used_chunks > 0);
    let missing: Vec<PackName> = needed()
        .filter(|(_, pack)| pack.listed_bytes.is_none())
        .map(|(number, _)| catalogue.packs[number].name.clone())
        .collect();
    if !missing.is_empty() {
        return Err(ReclaimError::PacksMissing { packs: missing });
    }
    let wrong = needed().find(|(_, pack)| pack.listed_bytes.is_some_and(|it| it != pack.bytes()));
    match wrong {
        Some((number, pack)) => Err(ReclaimError::PackSize {
            pack: catalogue.packs[number].name.clone(),
            listed_bytes: pack.listed_bytes.unwrap_or_default(),
            indexed_bytes: pack.bytes(),
        }),
        None => Ok(()),
    }
}

/// Below which size a pack is small: four fifths of what the smallest packs but three in a hundred
/// have, so that where all are of a size none is; and of what new packs will have, so that what was
/// joined is not joined again.
fn small_bytes(packs: &[Surveyed], limits: &Limits, pack_bytes: u64) -> u64 {
    if let Some(bytes) = limits.small_pack_bytes {
        return bytes;
    }
    let mut sizes: Vec<u64> = packs.iter().map(Surveyed::bytes).collect();
    if sizes.is_empty() {
        return 0;
    }
    let third_percentile = sizes.len() * 3 / 100;
    let (_, size, _) = sizes.select_nth_unstable(third_percentile);
    (*size).max(MIN_PACK_BYTES).min(pack_bytes) * 4 / 5
}
