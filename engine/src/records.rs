//! Records of one size in a file without a name, found by their number and proved as they are read.
//!
//! ```text
//! stretch = up to 16 records │ check of them and of where they lie, 8 bytes
//! ```
//!
//! Invariants
//! - The file belongs to this process and this run; it is gone with its handle.
//! - What comes out is what was put in, at that place, or an error: a disk that gives other bytes
//!   than it was given is noticed.
//! - Nothing is mapped: a file cut short meanwhile is an error and not a signal, and what is in use
//!   is not counted as memory of ours.

pub(crate) mod sort;

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt, path::PathBuf};

use crate::store::{
    cache::base,
    trace::{Observer, StoreEvent},
};

/// Records of a stretch.
pub(crate) const STRETCH: u64 = 16;
const CHECK_BYTES: usize = 8;
/// Bytes of the largest stretch.
const MOST_STRETCH_BYTES: usize = 1 << 10;
/// Records read at once from front to back.
const SWEPT: u64 = 1 << 14;
/// Stretches written at once.
const FLUSHED_STRETCHES: usize = 1 << 10;

/// Where records may be put that are too many for memory.
#[derive(Clone, Debug)]
pub(crate) struct Aside {
    pub(crate) directory: PathBuf,
    /// Bytes that they may have at most.
    pub(crate) most_bytes: u64,
    /// Who is told that they cannot be put there.
    pub(crate) observer: Observer,
}

impl Aside {
    /// A file that goes with its handle.
    pub(crate) fn file(&self) -> io::Result<File> {
        base::nameless(&self.directory)
    }

    /// Tells that it cannot be used.
    pub(crate) fn give_up(&self, error: &io::Error) {
        let path = self.directory.display().to_string();
        self.observer.tell(|| StoreEvent::Cache { path, why: error.to_string() });
    }
}

/// Records in a file.
#[derive(Debug)]
pub(crate) struct Records<const N: usize> {
    file: File,
    /// Records in the file; all but those of the last stretch lie in whole ones.
    written: u64,
    /// Those that are not in it yet.
    waiting: Vec<[u8; N]>,
}

impl<const N: usize> Records<N> {
    const STRETCH_BYTES: usize = {
        let bytes = STRETCH as usize * N + CHECK_BYTES;
        assert!(bytes <= MOST_STRETCH_BYTES);
        bytes
    };

    /// None yet, in an empty file.
    pub(crate) fn new(file: File) -> Self {
        Self { file, written: 0, waiting: Vec::new() }
    }

    pub(crate) fn len(&self) -> u64 {
        self.written + self.waiting.len() as u64
    }

    /// Adds a record behind the last. After an error those that were there before can be read still.
    pub(crate) fn push(&mut self, record: [u8; N]) -> io::Result<()> {
        if self.waiting.len() == FLUSHED_STRETCHES * STRETCH as usize {
            self.flush()?;
        }
        self.waiting.push(record);
        Ok(())
    }

    /// Writes what waits. None can be added afterwards.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        self.flush()?;
        self.waiting = Vec::new();
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let first = self.written / STRETCH;
        let stretches = self.waiting.chunks(STRETCH as usize);
        let mut bytes = Vec::with_capacity(stretches.len() * Self::STRETCH_BYTES);
        for (stretch, at) in stretches.zip(first..) {
            let start = bytes.len();
            bytes.extend_from_slice(stretch.as_flattened());
            let check = check(at, &bytes[start..]);
            bytes.extend_from_slice(&check.to_le_bytes());
        }
        // Where it failed before, what was half written then is written again.
        self.file.write_all_at(&bytes, first * Self::STRETCH_BYTES as u64)?;
        self.written += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }

    /// Calls `each` for the records with these numbers, in their order.
    pub(crate) fn read(
        &self,
        numbers: Range<u64>,
        mut each: impl FnMut(u64, &[u8; N]),
    ) -> io::Result<()> {
        let in_file = numbers.start.min(self.written)..numbers.end.min(self.written);
        if !in_file.is_empty() {
            let stretches = in_file.start / STRETCH..in_file.end.div_ceil(STRETCH);
            let end = (stretches.end * STRETCH).min(self.written);
            let count = end - stretches.start * STRETCH;
            let checks = (stretches.end - stretches.start) as usize * CHECK_BYTES;
            let len = count as usize * N + checks;
            let (mut small, mut large) = ([0; MOST_STRETCH_BYTES], Vec::new());
            let bytes = match small.get_mut(..len) {
                Some(bytes) => bytes,
                None => {
                    large.resize(len, 0);
                    &mut large[..]
                }
            };
            self.file.read_exact_at(bytes, stretches.start * Self::STRETCH_BYTES as u64)?;
            for (stretch, at) in bytes.chunks(Self::STRETCH_BYTES).zip(stretches) {
                let (records, written) = stretch.split_at(stretch.len() - CHECK_BYTES);
                if check(at, records).to_le_bytes() != written {
                    return Err(io::Error::other("it has other bytes than were written to it"));
                }
                for (record, number) in records.as_chunks().0.iter().zip(at * STRETCH..) {
                    if in_file.contains(&number) {
                        each(number, record);
                    }
                }
            }
        }
        let waiting = numbers.start.max(self.written)..numbers.end.min(self.len());
        waiting.for_each(|number| each(number, &self.waiting[(number - self.written) as usize]));
        Ok(())
    }

    /// Calls `each` for all records, in their order.
    pub(crate) fn sweep(&self, mut each: impl FnMut(u64, &[u8; N])) -> io::Result<()> {
        let starts = (0..self.len()).step_by(SWEPT as usize);
        starts.into_iter().try_for_each(|start| self.read(start..start + SWEPT, &mut each))
    }
}

/// Eight bytes that hardly any other bytes at any other place have; chance is what it is against.
fn check(place: u64, bytes: &[u8]) -> u64 {
    const ONE: u64 = 0x9e37_79b9_7f4a_7c15;
    const OTHER: u64 = 0xd1b5_4a32_d192_ed03;
    let fold = |one: u64, other: u64| {
        let product = u128::from(one) * u128::from(other);
        product as u64 ^ (product >> 64) as u64
    };
    let (words, rest) = bytes.as_chunks();
    let start = fold(place ^ ONE, OTHER);
    let state =
        words.iter().fold(start, |state, word| fold(state ^ u64::from_le_bytes(*word), ONE));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    fold(state ^ u64::from_le_bytes(last), OTHER)
}

/// The first bytes of a record as a number, for finding stretches of sorted ones.
pub(crate) fn fence(record: &[u8]) -> u64 {
    record[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDS: u64 = 40_000;

    fn record(number: u64) -> [u8; 12] {
        let mut record = [number as u8; 12];
        record[..8].copy_from_slice(&number.to_be_bytes());
        record
    }

    fn numbers(records: &Records<12>, numbers: Range<u64>) -> io::Result<Vec<u64>> {
        let mut read = Vec::new();
        records.read(numbers, |number, bytes| {
            assert_eq!(*bytes, record(number));
            read.push(number);
        })?;
        Ok(read)
    }

    #[test]
    fn records_are_found_by_their_numbers_while_they_come_and_afterwards() {
        let mut records = Records::new(tempfile::tempfile().expect("a file"));
        for number in 0..RECORDS {
            records.push(record(number)).expect("pushed");
        }
        for is_closed in [false, true] {
            if is_closed {
                records.close().expect("closed");
            }
            assert_eq!(records.len(), RECORDS);
            for range in
                [0..0, 0..1, 15..17, 5..300, 16_380..16_390, 32_760..RECORDS, 39_999..50_000]
            {
                let expected: Vec<u64> = (range.start..range.end.min(RECORDS)).collect();
                assert_eq!(numbers(&records, range).expect("read"), expected);
            }
            let mut swept = 0;
            records
                .sweep(|number, bytes| {
                    assert_eq!((number, *bytes), (swept, record(number)));
                    swept += 1;
                })
                .expect("swept");
            assert_eq!(swept, RECORDS);
        }
    }

    #[test]
    fn other_bytes_than_were_written_are_an_error() {
        let file = tempfile::tempfile().expect("a file");
        let mut records = Records::new(file.try_clone().expect("the same file"));
        (0..100).for_each(|number| records.push(record(number)).expect("pushed"));
        records.close().expect("closed");
        let bytes = file.metadata().expect("a size").len();
        assert_eq!(bytes, 100 * 12 + 7 * 8);
        for at in 0..bytes {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).expect("read");
            file.write_all_at(&[byte[0] ^ 1 << (at % 8)], at).expect("flipped");
            let stretch = at / 200 * STRETCH;
            for first in (0..100).step_by(16) {
                let read = numbers(&records, first..first + 1);
                assert_eq!(read.is_err(), first == stretch, "byte {at}, record {first}");
            }
            file.write_all_at(&byte, at).expect("mended");
        }
        // What belongs elsewhere is not taken for what belongs here.
        let mut stretch = [0; 200];
        file.read_exact_at(&mut stretch, 0).expect("read");
        file.write_all_at(&stretch, 200).expect("written");
        numbers(&records, 16..17).expect_err("it is another stretch");
        file.set_len(210).expect("cut");
        numbers(&records, 32..33).expect_err("it is gone");
        numbers(&records, 3..4).expect("it is there still");
    }

    #[test]
    fn what_was_there_before_a_disk_was_full_can_be_read_still() {
        // Writing there always fails as a full disk does.
        let full = File::options().read(true).write(true).open("/dev/full").expect("opened");
        let mut records = Records::new(full);
        let pushed = (0..RECORDS).take_while(|number| records.push(record(*number)).is_ok());
        let pushed = pushed.count() as u64;
        assert!(pushed > 0 && pushed < RECORDS, "{pushed}");
        records.close().expect_err("it is full");
        assert_eq!(numbers(&records, 0..RECORDS).expect("read"), (0..pushed).collect::<Vec<_>>());
    }
}
