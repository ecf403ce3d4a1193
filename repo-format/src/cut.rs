//! Where a stream of file bytes is cut into chunks.
//!
//! A chunk ends at the first *candidate* that is at least [`Cutter::min`] bytes into it, at
//! [`Cutter::max`] bytes if there is none before, or at the end of the stream. With the rolling
//! hashes of restic and kopia, a candidate is a matter of the 64 bytes before it alone. Their own
//! code carries the hash along; that changes nothing, because no chunk is cut before its 64th
//! byte, so the search starts at `min` and can be divided among threads ([`resolve`]).
//!
//! Invariants
//! - The cuts are those of the original tools, byte for byte, whatever the sizes of the buffers.
//! - Every chunk but the last is between `min` and `max` bytes long, and the last at most `max`.
//!
//! Not here: reading the bytes, hashing the chunks, or deciding which cutter a repository uses
//! (its config or format blob says so).

pub mod fastcdc;
pub mod lengths;
pub mod rabin;
pub mod resolve;
pub mod splitter;

use core::fmt;
use core::num::NonZeroUsize;
use std::sync::Arc;

use windlass_lanes::buzhash::Buzhash;
use windlass_lanes::rabin::Rabin;

use self::fastcdc::FastCdcParams;
use self::lengths::{Lengths, WINDOW};
use self::rabin::Polynomial;
use self::resolve::Candidates;

/// A rule for cutting; cheap to clone and to share.
#[derive(Clone)]
pub enum Cutter {
    /// Rabin fingerprints under the polynomial of a repository (restic) or a fixed one (kopia).
    Rabin(Arc<Rabin>, Lengths),
    /// kopia's buzhash.
    Buzhash(Arc<Buzhash>, Lengths),
    /// Chunks of one length.
    Fixed(NonZeroUsize),
    /// FastCDC, whose candidates also depend on where the chunk began.
    FastCdc(FastCdcParams),
}

impl Cutter {
    /// restic's, with the lengths all its repositories use.
    pub fn rabin(polynomial: Polynomial) -> Self {
        Self::rabin_with(polynomial, Lengths::RESTIC)
    }

    /// restic's, with lengths of its own, as rustic's configs may ask for.
    pub fn rabin_with(polynomial: Polynomial, lengths: Lengths) -> Self {
        let rabin = Rabin::new(polynomial.coefficients(), lengths.average_bits());
        Self::Rabin(Arc::new(rabin), lengths)
    }

    /// The splitter of this name in kopia's format blob or policies.
    pub fn kopia(name: &str) -> Option<Self> {
        splitter::by_name(name)
    }

    /// FastCDC as of 2020.
    pub fn fast_cdc(params: FastCdcParams) -> Self {
        Self::FastCdc(params)
    }

    /// No chunk but the last one of a stream is shorter.
    pub fn min(&self) -> usize {
        match self {
            Self::Rabin(_, lengths) | Self::Buzhash(_, lengths) => lengths.min(),
            Self::Fixed(length) => length.get(),
            Self::FastCdc(params) => params.min(),
        }
    }

    /// No chunk is longer.
    pub fn max(&self) -> usize {
        match self {
            Self::Rabin(_, lengths) | Self::Buzhash(_, lengths) => lengths.max(),
            Self::Fixed(length) => length.get(),
            Self::FastCdc(params) => params.max(),
        }
    }

    /// The length of every chunk in a long run of zeros that begins at a chunk boundary; None if
    /// that cannot be told without looking.
    pub fn zero_run(&self) -> Option<usize> {
        match self {
            // A window of zeros hashes to zero, which is a candidate under every mask.
            Self::Rabin(..) | Self::Buzhash(..) | Self::Fixed(..) => Some(self.min()),
            Self::FastCdc(_) => None,
        }
    }

    /// The length of the first chunk of `data`, which begins where a chunk begins; with `at_end`,
    /// `data` is all there is.
    ///
    /// None asks for more data, and the search then starts again: give `max` bytes at once where
    /// speed matters. With that many, or at the end of a stream that is not empty, there is
    /// always an answer.
    pub fn next(&self, data: &[u8], at_end: bool) -> Option<usize> {
        let (min, max) = (self.min(), self.max());
        let data = data.get(..max).unwrap_or(data);
        let cut = match self {
            Self::Rabin(rabin, _) => rabin.first(data, min),
            Self::Buzhash(buzhash, _) => buzhash.first(data, min),
            Self::Fixed(_) => None,
            Self::FastCdc(params) => params.first(data),
        };
        cut.or_else(|| (data.len() == max || at_end && !data.is_empty()).then_some(data.len()))
    }

    /// The candidates of one segment of a stream, for a [`resolve::Resolver`].
    ///
    /// `data` is up to 63 bytes of *history*, the bytes just before the segment (all there are, if
    /// there are fewer), and the segment itself; `start` is where in the stream the segment begins.
    /// None if the history is too short, which would hide candidates, or if this cutter's
    /// candidates cannot be told without knowing where chunks begin; then there is only
    /// [`next`](Self::next).
    pub fn candidates(&self, data: &[u8], history: usize, start: u64) -> Option<Candidates> {
        let all_there_are = usize::try_from(start).unwrap_or(usize::MAX);
        if history < all_there_are.min(WINDOW - 1) {
            return None;
        }
        let mut runs = Vec::new();
        match self {
            Self::Rabin(rabin, _) => rabin.runs(data, history.saturating_add(1), &mut runs),
            Self::Buzhash(buzhash, _) => buzhash.runs(data, history.saturating_add(1), &mut runs),
            Self::Fixed(_) => {}
            Self::FastCdc(_) => return None,
        }
        Some(Candidates::new(start, data.len().saturating_sub(history), history, runs))
    }
}

impl fmt::Debug for Cutter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Rabin(..) => "Rabin",
            Self::Buzhash(..) => "Buzhash",
            Self::Fixed(..) => "Fixed",
            Self::FastCdc(..) => "FastCdc",
        };
        f.debug_struct(name).field("min", &self.min()).field("max", &self.max()).finish()
    }
}

#[cfg(test)]
mod tests;
