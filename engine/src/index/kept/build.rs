//! Making a table of places: rows are sorted in runs that fit into memory and merged into one file.
//!
//! Invariants
//! - Whatever the number of rows, [`RUN_ROWS`] of them and a buffer for each run are in memory.
//! - The file appears whole under its name or not at all. Runs are files without a name.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::{self, File, OpenOptions},
    io::{self, BufReader, BufWriter, Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    vec,
};

use super::{FENCE_ROWS, Kept, KeptAt, KeptKey, KeptPack, MAGIC, Row, SWEEP_BYTES};
use crate::{
    entropy::name_suffix,
    store::{Key, cache::base},
};

/// Rows sorted at once: 25 MiB.
const RUN_ROWS: usize = 1 << 19;
const RUN_BUFFER_BYTES: usize = 256 << 10;

/// Rows on their way into a table.
#[derive(Debug)]
pub(crate) struct Sorter {
    directory: PathBuf,
    rows: Vec<Row>,
    runs: Vec<File>,
    spilled: u64,
}

impl Sorter {
    /// Nothing yet; runs that do not fit into memory go into files in `directory`.
    pub(crate) fn new(directory: &Path) -> Self {
        let directory = directory.to_owned();
        Self { directory, rows: Vec::new(), runs: Vec::new(), spilled: 0 }
    }

    pub(crate) fn len(&self) -> u64 {
        self.spilled + self.rows.len() as u64
    }

    pub(crate) fn push(&mut self, row: Row) -> io::Result<()> {
        if self.rows.len() == RUN_ROWS {
            self.spill()?;
        }
        self.rows.push(row);
        Ok(())
    }

    fn spill(&mut self) -> io::Result<()> {
        self.rows.sort_unstable();
        let mut run = BufWriter::with_capacity(RUN_BUFFER_BYTES, nameless(&self.directory)?);
        for row in &self.rows {
            run.write_all(&row.0)?;
        }
        let mut run = run.into_inner().map_err(io::IntoInnerError::into_error)?;
        run.rewind()?;
        self.spilled += self.rows.len() as u64;
        self.runs.push(run);
        self.rows.clear();
        Ok(())
    }

    /// All rows in order.
    pub(crate) fn sorted(mut self) -> io::Result<Sorted> {
        self.rows.sort_unstable();
        let reader = |run| BufReader::with_capacity(RUN_BUFFER_BYTES, run);
        let mut sorted = Sorted {
            runs: self.runs.into_iter().map(reader).collect(),
            rows: self.rows.into_iter(),
            heads: BinaryHeap::new(),
        };
        for run in 0..=sorted.runs.len() {
            sorted.pull(run)?;
        }
        Ok(sorted)
    }
}

/// Rows in order.
#[derive(Debug)]
pub(crate) struct Sorted {
    runs: Vec<BufReader<File>>,
    rows: vec::IntoIter<Row>,
    /// The first row of each run that is not at its end; the last run is `rows`.
    heads: BinaryHeap<Reverse<(Row, usize)>>,
}

impl Sorted {
    fn pull(&mut self, run: usize) -> io::Result<()> {
        let next = match self.runs.get_mut(run) {
            None => self.rows.next(),
            Some(file) => {
                let mut row = [0; Row::BYTES];
                match file.read_exact(&mut row) {
                    Ok(()) => Some(Row(row)),
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
                    Err(error) => return Err(error),
                }
            }
        };
        self.heads.extend(next.map(|row| Reverse((row, run))));
        Ok(())
    }

    fn first(&self) -> Option<&Row> {
        self.heads.peek().map(|Reverse((row, _))| row)
    }

    /// The next row.
    pub(crate) fn take(&mut self) -> io::Result<Option<Row>> {
        let Some(Reverse((row, run))) = self.heads.pop() else { return Ok(None) };
        self.pull(run)?;
        Ok(Some(row))
    }
}

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
    pub(crate) rows: Sorter,
}

/// Writes a table.
pub(crate) fn write(at: &KeptAt, parts: Parts<'_>) -> io::Result<()> {
    let directory = at.path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let (temporary, file) = temporary(directory)?;
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
            while rows.first().is_some_and(|first| shifted(*first) < row) {
                if let Some(first) = rows.take()? {
                    out.row(shifted(first))?;
                }
            }
            out.row(row)
        })?;
    }
    while let Some(row) = rows.take()? {
        out.row(shifted(row))?;
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

fn temporary(directory: &Path) -> io::Result<(PathBuf, File)> {
    let suffix = name_suffix().map_err(io::Error::other)?;
    let path = directory.join(format!("tmp-{suffix:016x}"));
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    let file = match options.open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            base::make(directory.parent().unwrap_or(directory), directory)?;
            options.open(&path)?
        }
        opened => opened?,
    };
    Ok((path, file))
}

/// A file that goes with its handle.
fn nameless(directory: &Path) -> io::Result<File> {
    let (path, file) = temporary(directory)?;
    fs::remove_file(path)?;
    Ok(file)
}
