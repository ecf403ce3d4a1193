//! Cut candidates by kopia's buzhash.
//!
//! Each byte of the window stands for 32 bits from a table, rotated left once for every byte
//! behind it; the hash is their sum over GF(2). A position is a candidate if the low bits of the
//! hash of the 64 bytes before it are zero.
//!
//! Invariants: every back end finds the same positions; the tests hold them against each other
//! and the serial one against the definition.
//!
//! Not here: minimum and maximum lengths of chunks, which decide between candidates.

mod scalar;
mod table;
#[cfg(target_arch = "x86_64")]
mod vbmi;

use core::ops::Range;

use crate::search::{self, Serial};

/// As many low bits as may be asked to be zero.
pub const MAX_BITS: u32 = 32;

/// A search for one kind of candidates.
pub struct Buzhash {
    scalar: scalar::Scalar,
    #[cfg(target_arch = "x86_64")]
    masks: vbmi::Masks,
    backend: Backend,
}

/// What computes the hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backend {
    /// 64 lanes by byte look-ups.
    #[cfg(target_arch = "x86_64")]
    Vbmi,
    /// Four lanes.
    Scalar,
    /// One lane: the twin of all others.
    Serial,
}

impl Backend {
    /// Those that run on this processor, fastest first.
    pub fn available() -> impl Iterator<Item = Self> {
        [
            #[cfg(target_arch = "x86_64")]
            Self::Vbmi,
            Self::Scalar,
            Self::Serial,
        ]
        .into_iter()
        .filter(|backend| backend.is_available())
    }

    fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Vbmi => vbmi::is_available(),
            Self::Scalar | Self::Serial => true,
        }
    }
}

impl Buzhash {
    /// Prepares a search for hashes whose low `bits` bits are zero.
    ///
    /// # Panics
    /// If `bits` is not in `1..=32`.
    pub fn new(bits: u32) -> Self {
        let backend = Backend::available().next().unwrap_or(Backend::Serial);
        Self::on(backend, bits)
    }

    /// The same on one back end, for tests and benchmarks.
    ///
    /// # Panics
    /// As [`new`](Self::new), and if the processor cannot do it.
    pub fn on(backend: Backend, bits: u32) -> Self {
        assert!((1..=MAX_BITS).contains(&bits), "{bits} bits");
        assert!(backend.is_available(), "{backend:?} on this processor");
        Self {
            scalar: scalar::Scalar::new(bits),
            #[cfg(target_arch = "x86_64")]
            masks: vbmi::Masks::new(bits),
            backend,
        }
    }

    /// The smallest candidate p with `from <= p <= data.len()`, where `data[p - 64..p]` is the
    /// window; none is below 64.
    pub fn first(&self, data: &[u8], from: usize) -> Option<usize> {
        match self.backend {
            #[cfg(target_arch = "x86_64")]
            Backend::Vbmi => search::first(&vbmi::Vbmi::new(&self.masks, &self.scalar), data, from),
            Backend::Scalar => search::first(&self.scalar, data, from),
            Backend::Serial => search::first(&Serial(&self.scalar), data, from),
        }
    }

    /// Appends every candidate p with `from <= p <= data.len()` to `out`, as ascending runs of
    /// neighbouring positions. There is at most one run for every two bytes, and for data that is
    /// not made to be so about one for every `2^bits`.
    pub fn runs(&self, data: &[u8], from: usize, out: &mut Vec<Range<usize>>) {
        match self.backend {
            #[cfg(target_arch = "x86_64")]
            Backend::Vbmi => {
                search::runs(&vbmi::Vbmi::new(&self.masks, &self.scalar), data, from, out);
            }
            Backend::Scalar => search::runs(&self.scalar, data, from, out),
            Backend::Serial => search::runs(&Serial(&self.scalar), data, from, out),
        }
    }
}

#[cfg(test)]
mod tests;
