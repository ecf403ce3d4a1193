//! Making a table of places: sorted rows and what they refer to, in one file.
//!
//! Invariants: the file appears whole under its name or not at all; rows are [sorted](crate::records)
//! in bounded memory.

use std::{
    fs::{self, File},
    io::{self, Write},
};

use super::{FENCE_ROWS, Kept, KeptAt, KeptKey, KeptPack, MAGIC, Row, SWEEP_BYTES};
use crate::{
    records::sort::Sorter,
    store::{Key, cache::base},
};

/// What a new table says.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    /// The table that it follows, and those of its segments that are gone.
    pub(crate) old: Option<(&'a Kept, &'a [Key])>,
    /// Segments that came.
    pub(crate) segments: Vec<Key>,
    /// Packs that came, with the numbers of those segments.
    pub(crate) packs: Vec<KeptPack>,
    /// Rows that came, with the numbers of those packs.
    pub(crate) rows: Sorter<{ Row::BYTES }>,
}

/// Writes a table.
pub(crate) fn write(at: &KeptAt, parts: Parts<'_>) -> io::Result<()> {
    let directory = at.path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let (temporary, file) = base::temporary(directory)?;
    let written = write_into(file, &at.key, parts).and_then(|()| fs::rename(&temporary, &at.path));
    if written.is_err() {
        let _or_it_stays = fs::remove_file(&temporary);
    }
    written
}

fn write_into(file: File, key: &KeptKey, parts: Parts<'_>) -> io::Result<()> {
    let Parts { old, segments: new_segments, packs: new_packs, rows } = parts;
    let (mut segments, mut packs) = (Vec::new(), Vec::new());
    let renumbered = match old {
        Some((old, gone)) => carry_over(old, gone, &mut segments, &mut packs),
        None => Vec::new(),
    };
    let (first_segment, first_pack) = (segments.len() as u32, packs.len() as u32);
    segments.extend(new_segments);
    packs.extend(
        new_packs
            .into_iter()
            .map(|pack| KeptPack { segment: first_segment + pack.segment, ..pack }),
    );

    let mut out = Out::new(file, key);
    out.bytes(&MAGIC)?;
    let mut rows = rows.sorted()?;
    // Numbers of new packs all rise by the same, so that their order stays.
    let shifted = |row: Row| row.in_pack(first_pack + row.location().pack.0);
    if let Some((old, _gone)) = old {
        old.sweep(|row| {
            let Some(pack) = renumbered[row.location().pack.0 as usize] else { return Ok(()) };
            let row = row.in_pack(pack);
            while rows.first().is_some_and(|first| shifted(Row::of(*first)) < row) {
                if let Some(first) = rows.take()? {
                    out.row(shifted(Row::of(first)))?;
                }
            }
            out.row(row)
        })?;
    }
    while let Some(row) = rows.take()? {
        out.row(shifted(Row::of(row)))?;
    }
    out.finish(&segments, &packs)
}

/// Takes over the segments and packs that are not gone; the new numbers of old packs.
fn carry_over(
    old: &Kept,
    gone: &[Key],
    segments: &mut Vec<Key>,
    packs: &mut Vec<KeptPack>,
) -> Vec<Option<u32>> {
    let mut segment_numbers = Vec::new();
    for segment in old.segments() {
        let stays = !gone.contains(segment);
        segment_numbers.push(stays.then_some(segments.len() as u32));
        segments.extend(stays.then(|| segment.clone()));
    }
    let carry = |pack: &KeptPack| {
        let segment = segment_numbers[pack.segment as usize]?;
        packs.push(KeptPack { segment, ..pack.clone() });
        Some((packs.len() - 1) as u32)
    };
    old.packs().iter().map(carry).collect()
}

/// The file while it is written.
struct Out {
    file: File,
    hasher: blake3::Hasher,
    buffer: Vec<u8>,
    rows: u64,
    fences: Vec<u64>,
}

impl Out {
    fn new(file: File, key: &KeptKey) -> Self {
        let hasher = blake3::Hasher::new_keyed(&key.0);
        Self { file, hasher, buffer: Vec::with_capacity(SWEEP_BYTES), rows: 0, fences: Vec::new() }
    }

    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.buffer.len() + bytes.len() > SWEEP_BYTES {
            self.flush()?;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hasher.update(&self.buffer);
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    fn number(&mut self, number: u64) -> io::Result<()> {
        self.bytes(&number.to_le_bytes())
    }

    fn row(&mut self, row: Row) -> io::Result<()> {
        if self.rows.is_multiple_of(FENCE_ROWS) {
            self.fences.push(row.fence());
        }
        self.rows += 1;
        self.bytes(&row.0)
    }

    fn finish(mut self, segments: &[Key], packs: &[KeptPack]) -> io::Result<()> {
        for segment in segments {
            self.number(segment.as_str().len() as u64)?;
            self.bytes(segment.as_str().as_bytes())?;
        }
        for pack in packs {
            self.number(pack.segment.into())?;
            self.number(pack.end)?;
            self.bytes(&pack.hash)?;
        }
        for fence in std::mem::take(&mut self.fences) {
            self.number(fence)?;
        }
        let fences = self.rows.div_ceil(FENCE_ROWS);
        for length in [self.rows, segments.len() as u64, packs.len() as u64, fences] {
            self.number(length)?;
        }
        self.flush()?;
        self.file.write_all(self.hasher.finalize().as_bytes())
    }
}
