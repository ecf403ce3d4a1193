//! Rows by their numbers, and their numbers in the order of chunks: in memory while they are few,
//! in files without names in the cache directory when they are many.
//!
//! ```text
//! rows    in the order they came: what a row says, 50 bytes
//! order   sorted: hash │ tag │ number of the row, 37 bytes
//! ```
//!
//! Invariants
//! - Whoever asks cannot tell which it is; but a file may fail, and then the answer is an error and
//!   never "not there".
//! - Of the rows of one chunk, that with the least number comes first and stands for it in sets.
//! - What cannot be put into files goes on in memory, and whoever watches is told.
//!
//! Not here: what is known of packs ([`super`]).

use std::{io, ops::Range};

use super::RowSet;
use crate::{
    fault::Fault,
    index::kept::Row,
    model::chunk::ChunkKey,
    records::{Aside, Records, STRETCH, fence, sort::Sorter},
};

/// Hash and tag.
const KEY_BYTES: usize = 33;
/// And the number of a row.
const ENTRY_BYTES: usize = KEY_BYTES + 4;
/// What a row takes in files at most: itself, its place in the order, and that in a run.
const BYTES_ASIDE: u64 = (Row::BYTES + 2 * ENTRY_BYTES + 2) as u64;
/// Rows in a block of memory; a table in one piece would be copied whenever it grows.
const BLOCK_ROWS: usize = 1 << 14;
/// Rows in memory between two ways into their order.
const BUCKET_ROWS: usize = 8;

fn key_bytes(key: &ChunkKey) -> [u8; KEY_BYTES] {
    let mut bytes = [0; KEY_BYTES];
    bytes[..32].copy_from_slice(key.padded());
    bytes[32] = key.tag();
    bytes
}

fn entry(row: &Row, number: u32) -> [u8; ENTRY_BYTES] {
    let mut entry = [0; ENTRY_BYTES];
    entry[..KEY_BYTES].copy_from_slice(&row.bytes()[..KEY_BYTES]);
    entry[KEY_BYTES..].copy_from_slice(&number.to_be_bytes());
    entry
}

fn number(entry: &[u8; ENTRY_BYTES]) -> usize {
    entry[KEY_BYTES..].iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

/// Rows in memory.
#[derive(Debug, Default)]
struct Blocks(Vec<Vec<Row>>);

impl Blocks {
    fn len(&self) -> usize {
        self.0.last().map_or(0, |last| (self.0.len() - 1) * BLOCK_ROWS + last.len())
    }

    fn push(&mut self, row: Row) {
        match self.0.last_mut() {
            Some(last) if last.len() < BLOCK_ROWS => last.push(row),
            None => self.0.push(vec![row]),
            Some(_full) => {
                let mut block = Vec::with_capacity(BLOCK_ROWS);
                block.push(row);
                self.0.push(block);
            }
        }
    }

    fn row(&self, at: usize) -> &Row {
        &self.0[at / BLOCK_ROWS][at % BLOCK_ROWS]
    }

    fn key(&self, at: u32) -> &[u8] {
        &self.row(at as usize).bytes()[..KEY_BYTES]
    }

    fn iter(&self) -> impl Iterator<Item = &Row> {
        self.0.iter().flatten()
    }
}

/// Rows on their way.
#[derive(Debug)]
pub(super) struct Gathering {
    /// Where they may be put, unless that has failed.
    aside: Option<Aside>,
    most_in_memory: usize,
    put: Put,
}

#[derive(Debug)]
enum Put {
    Memory(Blocks),
    Files(Filing),
}

#[derive(Debug)]
struct Filing {
    aside: Aside,
    rows: Records<{ Row::BYTES }>,
    order: Sorter<ENTRY_BYTES>,
}

impl Gathering {
    /// None yet. More than so many are put aside.
    pub(super) fn new(most_in_memory: usize, aside: Option<Aside>) -> Self {
        Self { aside, most_in_memory, put: Put::Memory(Blocks::default()) }
    }

    pub(super) fn len(&self) -> usize {
        match &self.put {
            Put::Memory(blocks) => blocks.len(),
            Put::Files(filing) => filing.rows.len() as usize,
        }
    }

    pub(super) fn push(&mut self, row: Row) -> Result<(), Fault> {
        if self.len() >= u32::MAX as usize {
            return Err(Fault::Unsupported {
                what: "an index of four thousand million chunks".into(),
            });
        }
        if let Put::Memory(blocks) = &self.put
            && blocks.len() >= self.most_in_memory
            && let Some(aside) = self.aside.take()
        {
            match Filing::of(blocks, &aside) {
                Ok(filing) => self.put = Put::Files(filing),
                Err(error) => aside.give_up(&error),
            }
        }
        if let Put::Files(filing) = &mut self.put
            && let Err(error) = filing.push(&row)
        {
            self.put = Put::Memory(back(&filing.aside, &filing.rows, &error)?);
        } else if let Put::Files(_) = &self.put {
            return Ok(());
        }
        if let Put::Memory(blocks) = &mut self.put {
            blocks.push(row);
        }
        Ok(())
    }

    /// The rows with these numbers.
    pub(super) fn read(
        &self,
        numbers: Range<usize>,
        each: impl FnMut(usize, Row),
    ) -> Result<(), Fault> {
        match &self.put {
            Put::Memory(blocks) => numbers_in(blocks, numbers, each),
            Put::Files(filing) => rows_in(&filing.rows, numbers, each),
        }
    }

    /// All of them, and which of them are of chunks that have several.
    pub(super) fn finish(self) -> Result<(Rows, RowSet), Fault> {
        let blocks = match self.put {
            Put::Memory(blocks) => blocks,
            Put::Files(Filing { aside, mut rows, order }) => {
                match sorted(&aside, &mut rows, order) {
                    Ok(Order { order, fences, repeated }) => {
                        let filed = Filed { rows, order, fences };
                        return Ok((Rows(Behind::Files(filed)), repeated));
                    }
                    Err(error) => back(&aside, &rows, &error)?,
                }
            }
        };
        let (held, repeated) = Held::of(blocks);
        Ok((Rows(Behind::Memory(held)), repeated))
    }
}

impl Filing {
    fn of(blocks: &Blocks, aside: &Aside) -> io::Result<Self> {
        let (rows, order) = (Records::new(aside.file()?), Sorter::new(&aside.directory));
        let mut filing = Self { aside: aside.clone(), rows, order };
        blocks.iter().try_for_each(|row| filing.push(row))?;
        Ok(filing)
    }

    fn push(&mut self, row: &Row) -> io::Result<()> {
        let number = self.rows.len();
        if (number + 1) * BYTES_ASIDE > self.aside.most_bytes {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        self.order.push(entry(row, number as u32))?;
        self.rows.push(*row.bytes())
    }
}

/// Rows in the order of chunks.
struct Order {
    order: Records<ENTRY_BYTES>,
    fences: Vec<u64>,
    repeated: RowSet,
}

/// Ends the file of rows, and writes that of their order.
fn sorted(
    aside: &Aside,
    rows: &mut Records<{ Row::BYTES }>,
    order: Sorter<ENTRY_BYTES>,
) -> io::Result<Order> {
    rows.close()?;
    let mut sorted = order.sorted()?;
    let (mut order, mut fences) = (Records::new(aside.file()?), Vec::new());
    let repeated = RowSet::new(rows.len() as usize);
    let mut last: Option<[u8; ENTRY_BYTES]> = None;
    while let Some(entry) = sorted.take()? {
        if order.len().is_multiple_of(STRETCH) {
            fences.push(fence(&entry));
        }
        order.push(entry)?;
        if let Some(last) = last
            && last[..KEY_BYTES] == entry[..KEY_BYTES]
        {
            repeated.insert(number(&last));
            repeated.insert(number(&entry));
        }
        last = Some(entry);
    }
    order.close()?;
    Ok(Order { order, fences, repeated })
}

/// All rows in memory again: there they cannot be put.
fn back(aside: &Aside, rows: &Records<{ Row::BYTES }>, error: &io::Error) -> Result<Blocks, Fault> {
    aside.give_up(error);
    let mut blocks = Blocks::default();
    rows.sweep(|_, row| blocks.push(Row::of(*row))).map_err(Fault::Aside)?;
    Ok(blocks)
}

/// All rows.
#[derive(Debug)]
pub(super) struct Rows(Behind);

#[derive(Debug)]
enum Behind {
    Memory(Held),
    Files(Filed),
}

/// In memory.
#[derive(Debug)]
struct Held {
    rows: Blocks,
    order: Vec<u32>,
    /// Where those begin in it whose hashes begin with the same bits.
    starts: Vec<u32>,
    bits: u32,
}

/// In files.
#[derive(Debug)]
struct Filed {
    rows: Records<{ Row::BYTES }>,
    order: Records<ENTRY_BYTES>,
    /// The first bytes of every stretch of the order.
    fences: Vec<u64>,
}

impl Rows {
    #[cfg(test)]
    pub(super) fn is_in_files(&self) -> bool {
        matches!(self.0, Behind::Files(_))
    }

    pub(super) fn len(&self) -> usize {
        match &self.0 {
            Behind::Memory(held) => held.order.len(),
            Behind::Files(filed) => filed.rows.len() as usize,
        }
    }

    /// The rows with these numbers.
    pub(super) fn read(
        &self,
        numbers: Range<usize>,
        each: impl FnMut(usize, Row),
    ) -> Result<(), Fault> {
        match &self.0 {
            Behind::Memory(held) => numbers_in(&held.rows, numbers, each),
            Behind::Files(filed) => rows_in(&filed.rows, numbers, each),
        }
    }

    /// Calls `each` with the numbers of the rows of a chunk, the least first.
    pub(super) fn find(&self, key: &ChunkKey, each: impl FnMut(usize)) -> Result<(), Fault> {
        match &self.0 {
            Behind::Memory(held) => held.find(key, each),
            Behind::Files(filed) => filed.find(key, each).map_err(Fault::Aside)?,
        }
        Ok(())
    }

    /// Calls `each` with the rows of every chunk that has several: those in `repeated`.
    pub(super) fn each_repeated(
        &self,
        repeated: &RowSet,
        mut each: impl FnMut(&[usize]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut key = [0; KEY_BYTES];
        let mut rows: Vec<usize> = Vec::new();
        let mut add = |of: &[u8], number: usize| -> Result<(), Fault> {
            if !rows.is_empty() && key != *of {
                each(&rows)?;
                rows.clear();
            }
            key.copy_from_slice(of);
            rows.push(number);
            Ok(())
        };
        match &self.0 {
            Behind::Memory(held) => {
                let numbers = held.order.iter().filter(|at| repeated.contains(**at as usize));
                for at in numbers {
                    add(held.rows.key(*at), *at as usize)?;
                }
            }
            Behind::Files(filed) => {
                let mut result = Ok(());
                let swept = filed.order.sweep(|_, entry| {
                    if result.is_ok() && repeated.contains(number(entry)) {
                        result = add(&entry[..KEY_BYTES], number(entry));
                    }
                });
                swept.map_err(Fault::Aside)?;
                result?;
            }
        }
        if rows.is_empty() { Ok(()) } else { each(&rows) }
    }
}

fn numbers_in(
    blocks: &Blocks,
    numbers: Range<usize>,
    mut each: impl FnMut(usize, Row),
) -> Result<(), Fault> {
    numbers.for_each(|at| each(at, *blocks.row(at)));
    Ok(())
}

fn rows_in(
    rows: &Records<{ Row::BYTES }>,
    numbers: Range<usize>,
    mut each: impl FnMut(usize, Row),
) -> Result<(), Fault> {
    let numbers = numbers.start as u64..numbers.end as u64;
    rows.read(numbers, |at, row| each(at as usize, Row::of(*row))).map_err(Fault::Aside)
}

impl Held {
    fn of(rows: Blocks) -> (Self, RowSet) {
        let buckets = (rows.len() / BUCKET_ROWS).next_power_of_two();
        let mut held =
            Self { rows, order: Vec::new(), starts: vec![0; buckets + 1], bits: buckets.ilog2() };
        for row in held.rows.iter() {
            held.starts[bucket(row.bytes(), held.bits) + 1] += 1;
        }
        for at in 1..held.starts.len() {
            held.starts[at] += held.starts[at - 1];
        }
        let mut next = held.starts.clone();
        held.order = vec![0; held.rows.len()];
        for (row, number) in held.rows.iter().zip(0..) {
            let next = &mut next[bucket(row.bytes(), held.bits)];
            held.order[*next as usize] = number;
            *next += 1;
        }
        drop(next);
        let repeated = RowSet::new(held.rows.len());
        for bucket in held.starts.windows(2) {
            let numbers = &mut held.order[bucket[0] as usize..bucket[1] as usize];
            let place = |at: &u32| (held.rows.key(*at), *at);
            numbers.sort_unstable_by(|one, other| place(one).cmp(&place(other)));
            for pair in numbers.windows(2) {
                if held.rows.key(pair[0]) == held.rows.key(pair[1]) {
                    repeated.insert(pair[0] as usize);
                    repeated.insert(pair[1] as usize);
                }
            }
        }
        (held, repeated)
    }

    fn find(&self, key: &ChunkKey, mut each: impl FnMut(usize)) {
        let wanted = key_bytes(key);
        let bucket = bucket(&wanted, self.bits);
        let numbers = &self.order[self.starts[bucket] as usize..self.starts[bucket + 1] as usize];
        let first = numbers.partition_point(|at| *self.rows.key(*at) < wanted[..]);
        let found = numbers[first..].iter().take_while(|at| *self.rows.key(**at) == wanted);
        found.for_each(|at| each(*at as usize));
    }
}

/// The first bits of a hash.
fn bucket(hash: &[u8], bits: u32) -> usize {
    fence(hash).checked_shr(u64::BITS - bits).unwrap_or(0) as usize
}

impl Filed {
    fn find(&self, key: &ChunkKey, mut each: impl FnMut(usize)) -> io::Result<()> {
        let wanted = key_bytes(key);
        let begins = fence(&wanted);
        // Those that begin alike may begin before the stretch that begins so.
        let first = self.fences.partition_point(|fence| *fence < begins).saturating_sub(1);
        let stretches = (first as u64..).zip(&self.fences[first..]);
        for (stretch, _) in stretches.take_while(|(_, fence)| **fence <= begins) {
            let entries = stretch * STRETCH..(stretch + 1) * STRETCH;
            self.order.read(entries, |_, entry| {
                if entry[..KEY_BYTES] == wanted {
                    each(number(entry));
                }
            })?;
        }
        Ok(())
    }
}
