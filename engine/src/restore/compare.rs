//! What of a local file is as in the backup already.
//!
//! Invariants
//! - A chunk counts as there only when its bytes hash to its key; times and sizes are trusted only
//!   by the policy that says so.
//! - Nothing here writes, and no room is made for chunks that lie beyond the file's end.

use std::{fs::File, io, os::unix::fs::FileExt};

use rayon::prelude::*;

use super::task::Task;
use crate::model::chunk::ChunkKey;

/// Plain bytes hashed at once.
const BATCH_BYTES: usize = 2 << 20;

/// The places among `chunks` of those that the file does not hold where it should.
pub(super) fn missing(
    task: &Task,
    file: &File,
    chunks: &[(ChunkKey, u32)],
) -> io::Result<Vec<usize>> {
    let mut batches = Vec::new();
    let (mut first, mut offset, mut start) = (0, 0u64, 0u64);
    for (at, (_, len)) in chunks.iter().enumerate() {
        offset += u64::from(*len);
        if offset - start >= BATCH_BYTES as u64 || at + 1 == chunks.len() {
            batches.push((first..at + 1, start));
            (first, start) = (at + 1, offset);
        }
    }
    let have = file.metadata()?.len();
    // Also where this thread is none of the pool.
    let found: Vec<Vec<usize>> = task.pool.install(|| {
        let found = batches.into_par_iter().map_init(Vec::new, |buffer, (range, start)| {
            let local = Stretch { file, start, have };
            let mut missing = batch(task, &local, &chunks[range.clone()], buffer)?;
            missing.iter_mut().for_each(|at| *at += range.start);
            Ok(missing)
        });
        found.collect::<io::Result<_>>()
    })?;
    Ok(found.concat())
}

/// Whether the file holds all of `chunks`, one behind the other from its beginning.
pub(super) fn is_whole(task: &Task, file: &File, chunks: &[(ChunkKey, u32)]) -> io::Result<bool> {
    Ok(missing(task, file, chunks)?.is_empty())
}

/// Where in a file of `have` bytes a batch begins.
struct Stretch<'a> {
    file: &'a File,
    start: u64,
    have: u64,
}

fn batch(
    task: &Task,
    local: &Stretch<'_>,
    chunks: &[(ChunkKey, u32)],
    buffer: &mut Vec<u8>,
) -> io::Result<Vec<usize>> {
    if task.is_stopped() {
        return Err(io::ErrorKind::Interrupted.into());
    }
    let total: u64 = chunks.iter().map(|(_, len)| u64::from(*len)).sum();
    let room = total.min(local.have.saturating_sub(local.start));
    buffer.resize(room as usize, 0);
    let have = read_up_to(local.file, buffer, local.start)?;
    let mut missing = Vec::new();
    let mut at = 0;
    let mut whole = Vec::new();
    for (place, (key, len)) in chunks.iter().enumerate() {
        let end = at + *len as usize;
        if end <= have {
            whole.push((place, (*key, &buffer[at..end])));
        } else {
            missing.push(place);
        }
        at = end;
    }
    let proofs: Vec<(ChunkKey, &[u8])> = whole.iter().map(|(_, proof)| *proof).collect();
    let mut proved = 0;
    while let Some(rest) = proofs.get(proved..)
        && let Err(differs) = task.dialect.prove(rest)
    {
        missing.extend(whole.get(proved + differs).map(|(place, _)| *place));
        proved += differs + 1;
    }
    missing.sort_unstable();
    Ok(missing)
}

/// Reads until `buffer` is full or the file ends.
fn read_up_to(file: &File, buffer: &mut [u8], start: u64) -> io::Result<usize> {
    let mut have = 0;
    while have < buffer.len() {
        match file.read_at(&mut buffer[have..], start + have as u64) {
            Ok(0) => break,
            Ok(read) => have += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(have)
}
