//! Every place of every chunk, as all index segments together say it, in as few bytes as will do.
//!
//! Invariants
//! - Rows are sorted by chunk, then by pack; all places of a chunk are neighbours, and the first of
//!   them stands for it in sets of chunks.
//! - A place that several segments name is one row; a pack that several segments name is one pack.
//! - 52 bytes a place and no second copy while it is built: the rows wait in 256 buckets that grow
//!   by an eighth.

mod load;

use std::{
    cmp::Ordering,
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering as Memory},
};

use crate::{
    fault::Fault,
    model::{
        chunk::ChunkKey,
        pack::{Coding, Lane, Location, PackInfo, PackName, PackNumber, PackedChunk},
    },
    protocol::{Segments, reclaim::NamedPack},
    store::Key,
};

pub(crate) use self::load::load;

const BUCKETS: usize = 256;

/// A place of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    hash: [u8; 32],
    tag: u8,
    coding: u8,
    pack: u32,
    offset: u32,
    stored_bytes: u32,
    raw_bytes: u32,
}

impl Row {
    fn new(pack: PackNumber, chunk: &PackedChunk) -> Result<Self, Fault> {
        let wide = |_wide| Fault::Bug("a coding of the format fits a byte");
        Ok(Self {
            hash: *chunk.key.padded(),
            tag: chunk.key.tag(),
            coding: u8::try_from(chunk.coding.0).map_err(wide)?,
            pack: pack.0,
            offset: chunk.offset,
            stored_bytes: chunk.stored_bytes,
            raw_bytes: chunk.raw_bytes,
        })
    }

    pub(crate) fn key(&self) -> ChunkKey {
        ChunkKey::full(self.tag, self.hash)
    }

    pub(crate) fn pack(&self) -> usize {
        self.pack as usize
    }

    pub(crate) fn stored_bytes(&self) -> u64 {
        self.stored_bytes.into()
    }

    pub(crate) fn coding(&self) -> Coding {
        Coding(self.coding.into())
    }

    pub(crate) fn location(&self) -> Location {
        Location {
            pack: PackNumber(self.pack),
            offset: self.offset,
            stored_bytes: self.stored_bytes,
            raw_bytes: self.raw_bytes,
            coding: self.coding(),
        }
    }

    pub(crate) fn chunk(&self) -> PackedChunk {
        PackedChunk {
            key: self.key(),
            offset: self.offset,
            stored_bytes: self.stored_bytes,
            raw_bytes: self.raw_bytes,
            coding: self.coding(),
        }
    }

    fn order(&self, other: &Self) -> Ordering {
        let place = |row: &Self| (row.tag, row.pack, row.offset);
        self.hash.cmp(&other.hash).then_with(|| place(self).cmp(&place(other)))
    }

    fn is_of(&self, key: &ChunkKey) -> bool {
        self.hash == *key.padded() && self.tag == key.tag()
    }
}

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
}

/// What the segments say while they are read.
#[derive(Debug)]
pub(crate) struct Builder {
    buckets: Vec<Vec<Row>>,
    packs: Vec<Pack>,
    numbers: HashMap<PackName, u32>,
    segments: Vec<Segment>,
}

/// An index segment.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) key: Key,
    pub(crate) packs: Vec<u32>,
    pub(crate) chunks: usize,
}

/// Every place of every chunk.
#[derive(Debug)]
pub(crate) struct Catalogue {
    rows: Vec<Row>,
    /// Where the rows of each first byte of a hash begin, and the end.
    starts: Vec<usize>,
    pub(crate) packs: Vec<Pack>,
    pub(crate) segments: Vec<Segment>,
    /// Rows by pack, then by place in it, and where those of each pack begin.
    by_pack: Vec<u32>,
    pack_starts: Vec<u32>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| Vec::new()).collect(),
            packs: Vec::new(),
            numbers: HashMap::new(),
            segments: Vec::new(),
        }
    }
}

impl Builder {
    /// Adds what a segment names. `each` hears of every chunk and the number of its pack.
    pub(crate) fn add(
        &mut self,
        key: &Key,
        packs: Vec<NamedPack>,
        mut new_pack: impl FnMut(&PackInfo) -> PackNumber,
        mut each: impl FnMut(&PackedChunk, PackNumber),
    ) -> Result<(), Fault> {
        let mut segment = Segment { key: key.clone(), packs: Vec::new(), chunks: 0 };
        for NamedPack { info, marked } in packs {
            let number = match self.numbers.get(&info.name) {
                Some(number) => *number,
                None => {
                    let PackNumber(number) = new_pack(&info);
                    if number as usize != self.packs.len() {
                        return Err(Fault::Bug("packs are numbered as they come"));
                    }
                    let name = info.name.clone();
                    self.packs.push(Pack {
                        name,
                        marked: true,
                        ever_marked: false,
                        times: 0,
                        fewest_chunks: usize::MAX,
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
            segment.packs.push(number);
            segment.chunks += info.chunks.len();
            for chunk in &info.chunks {
                let row = Row::new(PackNumber(number), chunk)?;
                let bucket = &mut self.buckets[usize::from(row.hash[0])];
                if bucket.len() == bucket.capacity() {
                    bucket.reserve_exact(bucket.len() / 8 + 64);
                }
                bucket.push(row);
                each(chunk, PackNumber(number));
            }
        }
        self.segments.push(segment);
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<Catalogue, Fault> {
        let Self { buckets, packs, numbers: _, segments } = self;
        let mut rows = Vec::with_capacity(buckets.iter().map(Vec::len).sum());
        let mut starts = Vec::with_capacity(BUCKETS + 1);
        for mut bucket in buckets {
            starts.push(rows.len());
            bucket.sort_unstable_by(Row::order);
            bucket.dedup();
            rows.append(&mut bucket);
        }
        starts.push(rows.len());
        if u32::try_from(rows.len()).is_err() {
            return Err(Fault::Unsupported {
                what: "an index of four thousand million chunks".into(),
            });
        }
        let mut pack_starts = vec![0_u32; packs.len() + 1];
        for row in &rows {
            pack_starts[row.pack() + 1] += 1;
        }
        for at in 1..pack_starts.len() {
            pack_starts[at] += pack_starts[at - 1];
        }
        let mut next = pack_starts.clone();
        let mut by_pack = vec![0_u32; rows.len()];
        for (at, row) in rows.iter().enumerate() {
            by_pack[next[row.pack()] as usize] = at as u32;
            next[row.pack()] += 1;
        }
        drop(next);
        let mut catalogue = Catalogue { rows, starts, packs, segments, by_pack, pack_starts };
        catalogue.order_packs();
        Ok(catalogue)
    }
}

impl Catalogue {
    fn order_packs(&mut self) {
        for pack in 0..self.packs.len() {
            let range = self.pack_range(pack);
            let rows = &self.rows;
            self.by_pack[range].sort_unstable_by_key(|at| rows[*at as usize].offset);
        }
    }

    fn pack_range(&self, pack: usize) -> std::ops::Range<usize> {
        self.pack_starts[pack] as usize..self.pack_starts[pack + 1] as usize
    }

    /// The objects that all this was read from.
    pub(crate) fn read_from(&self) -> Segments {
        Segments::of(self.segments.iter().map(|segment| segment.key.clone()).collect())
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The places in a pack, from front to back.
    pub(crate) fn rows_of(&self, pack: usize) -> impl Iterator<Item = usize> + '_ {
        self.by_pack[self.pack_range(pack)].iter().map(|at| *at as usize)
    }

    /// A pack as an index is to name it.
    pub(crate) fn pack_info(&self, pack: usize, lane: Lane) -> PackInfo {
        let chunks = self.rows_of(pack).map(|at| self.rows[at].chunk()).collect();
        PackInfo { name: self.packs[pack].name.clone(), lane, chunks }
    }

    /// The places of a chunk.
    pub(crate) fn find(&self, key: &ChunkKey) -> Option<std::ops::Range<usize>> {
        let bucket = usize::from(key.padded()[0]);
        let range = self.starts[bucket]..self.starts[bucket + 1];
        let base = range.start;
        let wanted = (key.padded(), key.tag());
        let rows = &self.rows[range];
        let first = rows.partition_point(|row| (&row.hash, row.tag) < wanted);
        let count = rows[first..].iter().take_while(|row| row.is_of(key)).count();
        (count > 0).then(|| base + first..base + first + count)
    }

    /// The places of the chunk whose first place this is.
    pub(crate) fn run_at(&self, first: usize) -> std::ops::Range<usize> {
        let key = self.rows[first].key();
        let count = self.rows[first..].iter().take_while(|row| row.is_of(&key)).count();
        first..first + count
    }
}

/// A set of rows.
#[derive(Debug)]
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
