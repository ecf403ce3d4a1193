//! From the candidates of segments to the chunks of a stream.
//!
//! One large file is searched by several threads, a segment each; a [`Resolver`] then walks over
//! what they found, in order, which costs next to nothing.
//!
//! Invariants: the chunks are those [`Cutter::next`] finds, however the stream was divided.

use core::ops::Range;
use std::collections::VecDeque;

use super::Cutter;

/// The positions in one segment at which a chunk may end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidates {
    start: u64,
    end: u64,
    /// Runs of neighbouring positions in the stream, ascending and apart.
    runs: Vec<Range<u64>>,
}

impl Candidates {
    /// `runs` are counted from `history` bytes before `start`.
    pub(super) fn new(start: u64, length: usize, history: usize, runs: Vec<Range<usize>>) -> Self {
        // A `usize` is never wider than 64 bits on what Rust runs on.
        let wide = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
        let in_stream = |end: usize| start.saturating_add(wide(end.saturating_sub(history)));
        Self {
            start,
            end: start.saturating_add(wide(length)),
            runs: runs.into_iter().map(|run| in_stream(run.start)..in_stream(run.end)).collect(),
        }
    }
}

/// Walks from cut to cut.
#[derive(Clone, Debug)]
pub struct Resolver {
    min: u64,
    max: u64,
    /// Chunks of one length need no candidates.
    fixed: bool,
    chunk_start: u64,
    known: u64,
    runs: VecDeque<Range<u64>>,
}

impl Resolver {
    /// At the beginning of a stream. None for a cutter without [`Cutter::candidates`].
    pub fn new(cutter: &Cutter) -> Option<Self> {
        let fixed = match cutter {
            Cutter::Rabin(..) | Cutter::Buzhash(..) => false,
            Cutter::Fixed(_) => true,
            Cutter::FastCdc(_) => return None,
        };
        Some(Self {
            min: u64::try_from(cutter.min()).ok()?,
            max: u64::try_from(cutter.max()).ok()?,
            fixed,
            chunk_start: 0,
            known: 0,
            runs: VecDeque::new(),
        })
    }

    /// Takes the candidates of the next segment. False, and nothing happens, if it is not the
    /// segment that begins where the last one ended.
    #[must_use]
    pub fn feed(&mut self, candidates: Candidates) -> bool {
        if candidates.start != self.known {
            return false;
        }
        self.known = candidates.end;
        self.runs.extend(candidates.runs);
        true
    }

    /// The length of the next chunk; with `at_end`, the segments taken are all there are. None
    /// asks for the next segment, or says at the end that all is cut.
    pub fn next(&mut self, at_end: bool) -> Option<u64> {
        let earliest = self.chunk_start.saturating_add(self.min);
        let latest = self.chunk_start.saturating_add(self.max);
        while self.runs.front().is_some_and(|run| run.end <= earliest) {
            self.runs.pop_front();
        }
        let candidate = self.runs.front().map(|run| run.start.max(earliest));
        let end = match candidate.filter(|&end| end <= latest && !self.fixed) {
            Some(end) => end,
            None if self.known >= latest => latest,
            None if at_end && self.known > self.chunk_start => self.known,
            None => return None,
        };
        let length = end.saturating_sub(self.chunk_start);
        self.chunk_start = end;
        Some(length)
    }
}
