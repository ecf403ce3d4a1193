//! Sorting records in bounded memory: runs of them in files without names, merged.
//!
//! Invariants
//! - Whatever their number, one run of records and a buffer for each other run are in memory.
//! - What comes out is what was put in, or an error at the end.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, binary_heap::PeekMut},
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, Write},
    path::{Path, PathBuf},
    vec,
};

use super::{check, fence};
use crate::store::cache::base;

/// Records sorted at once.
const RUN_BYTES: usize = 25 << 20;
const RUN_BUFFER_BYTES: usize = 256 << 10;

/// Records on their way into their order.
#[derive(Debug)]
pub(crate) struct Sorter<const N: usize> {
    directory: PathBuf,
    run_records: usize,
    records: Vec<[u8; N]>,
    runs: Vec<File>,
    spilled: u64,
    sum: Sum,
}

/// The same for the same records in any order, and for hardly any others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum(u64);

impl Sum {
    fn add(&mut self, record: &[u8]) {
        self.0 = self.0.wrapping_add(check(0, record));
    }
}

impl<const N: usize> Sorter<N> {
    /// None yet; runs that do not fit into memory go into files in `directory`.
    pub(crate) fn new(directory: &Path) -> Self {
        Self::with_runs(directory, RUN_BYTES / N)
    }

    fn with_runs(directory: &Path, run_records: usize) -> Self {
        let (directory, sum) = (directory.to_owned(), Sum::default());
        Self { directory, run_records, records: Vec::new(), runs: Vec::new(), spilled: 0, sum }
    }

    pub(crate) fn len(&self) -> u64 {
        self.spilled + self.records.len() as u64
    }

    pub(crate) fn push(&mut self, record: [u8; N]) -> io::Result<()> {
        if self.records.len() == self.run_records {
            self.spill()?;
        }
        self.sum.add(&record);
        self.records.push(record);
        Ok(())
    }

    fn spill(&mut self) -> io::Result<()> {
        self.records.sort_unstable();
        let file = base::nameless(&self.directory)?;
        let mut run = BufWriter::with_capacity(RUN_BUFFER_BYTES, file);
        run.write_all(self.records.as_flattened())?;
        let mut run = run.into_inner().map_err(io::IntoInnerError::into_error)?;
        run.rewind()?;
        self.spilled += self.records.len() as u64;
        self.runs.push(run);
        self.records.clear();
        Ok(())
    }

    /// All records in order.
    pub(crate) fn sorted(mut self) -> io::Result<Sorted<N>> {
        self.records.sort_unstable();
        let reader = |run| BufReader::with_capacity(RUN_BUFFER_BYTES, run);
        let mut sorted = Sorted {
            runs: self.runs.into_iter().map(reader).collect(),
            records: self.records.into_iter(),
            heads: BinaryHeap::new(),
            left: Sum::default(),
            put_in: self.sum,
        };
        for run in 0..=sorted.runs.len() {
            let head = sorted.pull(run)?;
            sorted.heads.extend(head.map(Reverse));
        }
        Ok(sorted)
    }
}

/// Records in order.
#[derive(Debug)]
pub(crate) struct Sorted<const N: usize> {
    runs: Vec<BufReader<File>>,
    records: vec::IntoIter<[u8; N]>,
    /// The first record of each run that is not at its end; the last run is `records`.
    heads: BinaryHeap<Reverse<Head<N>>>,
    left: Sum,
    put_in: Sum,
}

/// Compared by its first bytes as a number, which nearly always decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Head<const N: usize> {
    fence: u64,
    record: [u8; N],
    run: usize,
}

impl<const N: usize> Sorted<N> {
    fn pull(&mut self, run: usize) -> io::Result<Option<Head<N>>> {
        let next = match self.runs.get_mut(run) {
            None => self.records.next(),
            Some(file) => {
                let mut record = [0; N];
                match file.read_exact(&mut record) {
                    Ok(()) => Some(record),
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
                    Err(error) => return Err(error),
                }
            }
        };
        Ok(next.map(|record| Head { fence: fence(&record), record, run }))
    }

    pub(crate) fn first(&self) -> Option<&[u8; N]> {
        self.heads.peek().map(|Reverse(head)| &head.record)
    }

    /// The next record. After the last one it is an error if they are not those that were put in.
    pub(crate) fn take(&mut self) -> io::Result<Option<[u8; N]>> {
        let Some(Reverse(Head { record, run, .. })) = self.heads.peek().copied() else {
            return match self.left == self.put_in {
                true => Ok(None),
                false => Err(io::Error::other("it has other bytes than were written to it")),
            };
        };
        self.left.add(&record);
        let next = self.pull(run)?;
        if let Some(mut first) = self.heads.peek_mut() {
            match next {
                Some(head) => *first = Reverse(head),
                None => drop(PeekMut::pop(first)),
            }
        }
        Ok(Some(record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDS: u32 = 100_000;

    fn record(number: u32) -> [u8; 12] {
        let mut record = [0; 12];
        // Many that begin alike.
        let mixed = u64::from(number % 1000).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        record[..8].copy_from_slice(&mixed.to_be_bytes());
        record[8..].copy_from_slice(&number.to_be_bytes());
        record
    }

    fn filled(room: &Path) -> Sorter<12> {
        let mut sorter = Sorter::with_runs(room, 30_000);
        (0..RECORDS).for_each(|number| sorter.push(record(number)).expect("pushed"));
        sorter
    }

    #[test]
    fn runs_on_disk_come_out_in_order() {
        let room = tempfile::tempdir().expect("a directory");
        let sorter = filled(room.path());
        assert_eq!(sorter.len(), u64::from(RECORDS));
        let left = std::fs::read_dir(room.path()).expect("listed");
        let names: Vec<_> = left.map(|entry| entry.expect("an entry").file_name()).collect();
        assert!(names.iter().all(|name| !name.to_string_lossy().starts_with("tmp-")), "{names:?}");
        let mut sorted = sorter.sorted().expect("sorted");
        let mut taken = Vec::new();
        while let Some(record) = sorted.take().expect("read") {
            taken.push(record);
        }
        let mut expected: Vec<_> = (0..RECORDS).map(record).collect();
        expected.sort_unstable();
        assert!(taken == expected);
    }

    #[test]
    fn a_run_that_gives_other_bytes_or_fewer_is_an_error() {
        let room = tempfile::tempdir().expect("a directory");
        for spoil in [
            |run: &File| std::os::unix::fs::FileExt::write_all_at(run, &[77], 5000),
            |run: &File| run.set_len(1200),
        ] {
            let sorter = filled(room.path());
            spoil(&sorter.runs[1]).expect("spoilt");
            let mut sorted = sorter.sorted().expect("sorted");
            let failed = std::iter::from_fn(|| sorted.take().transpose()).find_map(Result::err);
            assert!(failed.is_some(), "it is noticed at the end");
        }
    }
}
