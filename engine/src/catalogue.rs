//! Every place of every chunk, as all index segments together say it.
//!
//! Invariants
//! - A place that several segments name is one row; a pack that several segments name is one pack.
//! - Rows are numbered as packs come, those of a pack from front to back, so that they are
//!   neighbours; only a pack that a later segment says more of has them in several places.
//! - In memory are about a byte for each row and some for each pack and segment; the rows themselves
//!   are there only where they are few or cannot lie elsewhere ([`rows`]). Whoever reads rows that
//!   lie elsewhere may be told of an error, and then nothing may rest on what it knows.

mod load;
mod rows;

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    sync::atomic::{AtomicU64, Ordering as Memory},
};

pub(crate) use self::load::{load, load_readable};
use self::rows::{Gathering, Rows};
pub(crate) use crate::index::kept::Row;
use crate::{
    dialect::Dialect,
    fault::Fault,
    model::{
        chunk::ChunkKey,
        pack::{Lane, PackInfo, PackName, PackNumber, PackedChunk},
    },
    protocol::{Segments, reclaim::NamedPack},
    repository::Repository,
    store::Key,
};

/// A pack that some segment names.
#[derive(Clone, Debug)]
pub(crate) struct Pack {
    pub(crate) name: PackName,
    /// Whether every segment that names it marks it as to be removed.
    pub(crate) marked: bool,
    /// Whether any does.
    pub(crate) ever_marked: bool,
    /// How many segments name it.
    pub(crate) times: u32,
    /// The fewest chunks that any of them says it has.
    pub(crate) fewest_chunks: usize,
    /// One past the last byte of a chunk.
    pub(crate) end: u64,
}

/// An index segment.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) key: Key,
    pub(crate) packs: Vec<u32>,
    pub(crate) chunks: usize,
}

/// Which rows are of which pack.
#[derive(Debug, Default)]
struct Extents {
    /// The first row of each stretch of rows of one pack, and the pack.
    starts: Vec<(u32, u32)>,
    /// The first stretch of each pack.
    of_packs: Vec<u32>,
    /// Those of packs that later segments say more of.
    further: HashMap<u32, Vec<u32>>,
}

impl Extents {
    /// The rows from this one on are of this pack.
    fn begin(&mut self, pack: u32, first_row: usize) {
        let stretch = self.starts.len() as u32;
        self.starts.push((first_row as u32, pack));
        match self.of_packs.len() == pack as usize {
            true => self.of_packs.push(stretch),
            false => self.further.entry(pack).or_default().push(stretch),
        }
    }

    fn pack_of(&self, row: usize) -> usize {
        let after = self.starts.partition_point(|(first, _)| *first as usize <= row);
        self.starts[after - 1].1 as usize
    }

    /// The rows of a pack, of `rows` in all.
    fn of(&self, pack: usize, rows: usize) -> impl Iterator<Item = Range<usize>> {
        let further = self.further.get(&(pack as u32)).into_iter().flatten();
        std::iter::once(&self.of_packs[pack]).chain(further).map(move |stretch| {
            let (first, _) = self.starts[*stretch as usize];
            let next = self.starts.get(*stretch as usize + 1);
            first as usize..next.map_or(rows, |(first, _)| *first as usize)
        })
    }
}

/// What the segments say while they are read.
#[derive(Debug)]
pub(crate) struct Builder {
    rows: Gathering,
    extents: Extents,
    packs: Vec<Pack>,
    numbers: HashMap<PackName, u32>,
    segments: Vec<Segment>,
}

/// Every place of every chunk.
#[derive(Debug)]
pub(crate) struct Catalogue {
    rows: Rows,
    /// Those of chunks that have several.
    repeated: RowSet,
    extents: Extents,
    pub(crate) packs: Vec<Pack>,
    pub(crate) segments: Vec<Segment>,
}

impl Builder {
    /// For the segments of a repository.
    pub(crate) fn new(repository: &Repository) -> Self {
        let most_in_memory = repository.environment().resources.rows();
        Self::of(Gathering::new(most_in_memory, repository.protocol().aside()))
    }

    fn of(rows: Gathering) -> Self {
        Self {
            rows,
            extents: Extents::default(),
            packs: Vec::new(),
            numbers: HashMap::new(),
            segments: Vec::new(),
        }
    }

    /// Adds what a segment names.
    pub(crate) fn add(&mut self, key: &Key, packs: Vec<NamedPack>) -> Result<(), Fault> {
        let mut segment = Segment { key: key.clone(), packs: Vec::new(), chunks: 0 };
        for NamedPack { info, marked } in packs {
            let known = self.numbers.get(&info.name).copied();
            let number = match known {
                Some(number) => number,
                None => {
                    let number = self.packs.len() as u32;
                    self.packs.push(Pack {
                        name: info.name.clone(),
                        marked: true,
                        ever_marked: false,
                        times: 0,
                        fewest_chunks: usize::MAX,
                        end: 0,
                    });
                    self.numbers.insert(info.name.clone(), number);
                    number
                }
            };
            let pack = &mut self.packs[number as usize];
            pack.marked &= marked;
            pack.ever_marked |= marked;
            pack.times += 1;
            pack.fewest_chunks = pack.fewest_chunks.min(info.chunks.len());
            pack.end = pack.end.max(info.chunks_end());
            segment.packs.push(number);
            segment.chunks += info.chunks.len();
            self.add_rows(number, known.is_some(), &info.chunks)?;
        }
        self.segments.push(segment);
        Ok(())
    }

    /// Adds those places in a pack that are new.
    fn add_rows(&mut self, pack: u32, known: bool, chunks: &[PackedChunk]) -> Result<(), Fault> {
        let row = |chunk| Row::new(PackNumber(pack), chunk);
        let rows: Option<Vec<Row>> = chunks.iter().map(row).collect();
        let mut rows = rows.ok_or(Fault::Bug("a coding of the format fits a byte"))?;
        rows.sort_unstable_by_key(in_pack);
        rows.dedup();
        if known {
            let mut there = HashSet::new();
            for stretch in self.extents.of(pack as usize, self.rows.len()) {
                self.rows.read(stretch, |_, row| {
                    there.insert(row);
                })?;
            }
            rows.retain(|row| !there.contains(row));
            if rows.is_empty() {
                return Ok(());
            }
        }
        self.extents.begin(pack, self.rows.len());
        rows.into_iter().try_for_each(|row| self.rows.push(row))
    }

    pub(crate) fn finish(self) -> Result<Catalogue, Fault> {
        let Self { rows, extents, packs, numbers: _, segments } = self;
        let (rows, repeated) = rows.finish()?;
        Ok(Catalogue { rows, repeated, extents, packs, segments })
    }
}

/// The order of rows in their pack.
fn in_pack(row: &Row) -> (u32, Row) {
    (row.offset(), *row)
}

impl Catalogue {
    /// The objects that all this was read from.
    pub(crate) fn read_from(&self) -> Segments {
        Segments::of(self.segments.iter().map(|segment| segment.key.clone()).collect())
    }

    /// How many rows there are; they are numbered from 0.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn row(&self, at: usize) -> Result<Row, Fault> {
        let mut found = None;
        self.rows.read(at..at + 1, |_, row| found = Some(row))?;
        found.ok_or(Fault::Bug("there is no row of this number"))
    }

    pub(crate) fn pack_of(&self, at: usize) -> usize {
        self.extents.pack_of(at)
    }

    /// The rows of a pack and their numbers, from front to back.
    pub(crate) fn rows_of(&self, pack: usize) -> Result<Vec<(usize, Row)>, Fault> {
        let mut rows = Vec::new();
        let mut stretches = 0;
        for stretch in self.extents.of(pack, self.len()) {
            rows.reserve(stretch.len());
            self.rows.read(stretch, |at, row| rows.push((at, row)))?;
            stretches += 1;
        }
        if stretches > 1 {
            rows.sort_unstable_by_key(|(_, row)| in_pack(row));
        }
        Ok(rows)
    }

    /// A pack as an index is to name it.
    pub(crate) fn pack_info(&self, pack: usize, lane: Lane) -> Result<PackInfo, Fault> {
        let chunks = self.rows_of(pack)?.iter().map(|(_, row)| row.chunk()).collect();
        Ok(PackInfo { name: self.packs[pack].name.clone(), lane, chunks })
    }

    /// How many chunks a pack has, and how long it is by what is said of them.
    pub(crate) fn indexed(&self, pack: usize, dialect: &Dialect) -> Result<(usize, u64), Fault> {
        let rows = self.rows_of(pack)?;
        let chunks: u64 = rows.iter().map(|(_, row)| row.stored_bytes()).sum();
        let closing = dialect.closing_bytes(rows.iter().map(|(_, row)| row.coding()));
        Ok((rows.len(), chunks + closing.unwrap_or_default()))
    }

    /// The row that stands for a chunk in sets: the first of its places.
    pub(crate) fn first(&self, key: &ChunkKey) -> Result<Option<usize>, Fault> {
        let mut first = None;
        self.rows.find(key, |at| {
            first.get_or_insert(at);
        })?;
        Ok(first)
    }

    /// The places of a chunk; none where nothing knows it.
    pub(crate) fn places(&self, key: &ChunkKey) -> Result<Vec<usize>, Fault> {
        let mut places = Vec::new();
        self.rows.find(key, |at| places.push(at))?;
        Ok(places)
    }

    /// The names of the packs that a chunk is in.
    pub(crate) fn names_of(
        &self,
        key: &ChunkKey,
    ) -> Result<impl Iterator<Item = &PackName>, Fault> {
        let places = self.places(key)?.into_iter();
        Ok(places.map(|at| &self.packs[self.pack_of(at)].name))
    }

    /// Whether the chunk of a row has other places.
    pub(crate) fn is_repeated(&self, at: usize) -> bool {
        self.repeated.contains(at)
    }

    /// Calls `each` with the places of every chunk that has several.
    pub(crate) fn each_repeated(
        &self,
        each: impl FnMut(&[usize]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.rows.each_repeated(&self.repeated, each)
    }
}

/// A set of rows.
#[derive(Debug, Default)]
pub(crate) struct RowSet(Vec<AtomicU64>);

impl RowSet {
    pub(crate) fn new(rows: usize) -> Self {
        Self((0..rows.div_ceil(64)).map(|_| AtomicU64::new(0)).collect())
    }

    /// Adds a row; whether it was not there before.
    pub(crate) fn insert(&self, row: usize) -> bool {
        let bit = 1 << (row % 64);
        self.0[row / 64].fetch_or(bit, Memory::Relaxed) & bit == 0
    }

    pub(crate) fn contains(&self, row: usize) -> bool {
        self.0[row / 64].load(Memory::Relaxed) & 1 << (row % 64) != 0
    }
}

#[cfg(test)]
mod tests;
