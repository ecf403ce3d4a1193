//! Cut candidates by Rabin fingerprints, as restic (and kopia under the name Rabin-Karp) has them.
//!
//! The fingerprint of 64 bytes is the polynomial over GF(2) whose coefficients are their 512 bits,
//! first bit highest, modulo a polynomial of degree 53. A position is a candidate if the low bits
//! of the fingerprint of the 64 bytes before it are zero.
//!
//! Invariants: every back end finds the same positions; the tests hold them against each other
//! and the serial one against the definition.
//!
//! Not here: minimum and maximum lengths of chunks, which decide between candidates.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod gfni;
mod scalar;

use core::ops::Range;

use crate::search::{self, Serial};

/// The degree every polynomial must have.
pub const DEGREE: u32 = 53;

/// Low bits of a fingerprint that are zero at the candidates of restic.
pub const RESTIC_BITS: u32 = 20;

/// As many low bits as may be asked to be zero.
pub const MAX_BITS: u32 = 29;

/// Everything derived from one polynomial; some kilobytes, to be shared.
pub struct Rabin {
    tables: scalar::Tables,
    #[cfg(target_arch = "x86_64")]
    matrices: gfni::Matrices,
    #[cfg(target_arch = "x86_64")]
    look_ups: avx2::LookUps,
    backend: Backend,
}

/// What computes the fingerprints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backend {
    /// 64 lanes as bit matrices.
    #[cfg(target_arch = "x86_64")]
    Gfni,
    /// 32 lanes by look-ups of half bytes.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Four lanes by table.
    Scalar,
    /// One lane by table: the twin of all others.
    Serial,
}

impl Backend {
    /// Those that run on this processor, fastest first.
    pub fn available() -> impl Iterator<Item = Self> {
        [
            #[cfg(target_arch = "x86_64")]
            Self::Gfni,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2,
            Self::Scalar,
            Self::Serial,
        ]
        .into_iter()
        .filter(|backend| backend.is_available())
    }

    fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Gfni => gfni::is_available(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => avx2::is_available(),
            Self::Scalar | Self::Serial => true,
        }
    }
}

impl Rabin {
    /// Prepares a search for fingerprints whose low `bits` bits are zero.
    ///
    /// # Panics
    /// If the polynomial is not of degree 53 or `bits` not in `1..=29`.
    pub fn new(polynomial: u64, bits: u32) -> Self {
        let backend = Backend::available().next().unwrap_or(Backend::Serial);
        Self::on(backend, polynomial, bits)
    }

    /// The same on one back end, for tests and benchmarks.
    ///
    /// # Panics
    /// As [`new`](Self::new), and if the processor cannot do it.
    pub fn on(backend: Backend, polynomial: u64, bits: u32) -> Self {
        assert_eq!(polynomial.checked_ilog2(), Some(DEGREE), "degree of {polynomial:x}");
        assert!((1..=MAX_BITS).contains(&bits), "{bits} bits");
        assert!(backend.is_available(), "{backend:?} on this processor");
        Self {
            tables: scalar::Tables::new(polynomial, bits),
            #[cfg(target_arch = "x86_64")]
            matrices: gfni::Matrices::new(polynomial, bits),
            #[cfg(target_arch = "x86_64")]
            look_ups: avx2::LookUps::new(polynomial, bits),
            backend,
        }
    }

    /// The smallest candidate p with `from <= p <= data.len()`, where `data[p - 64..p]` is the
    /// window; none is below 64.
    pub fn first(&self, data: &[u8], from: usize) -> Option<usize> {
        match self.backend {
            #[cfg(target_arch = "x86_64")]
            Backend::Gfni => {
                search::first(&gfni::Gfni::new(&self.matrices, &self.tables), data, from)
            }
            #[cfg(target_arch = "x86_64")]
            Backend::Avx2 => {
                search::first(&avx2::Avx2::new(&self.look_ups, &self.tables), data, from)
            }
            Backend::Scalar => search::first(&self.tables, data, from),
            Backend::Serial => search::first(&Serial(&self.tables), data, from),
        }
    }

    /// Appends every candidate p with `from <= p <= data.len()` to `out`, as ascending runs of
    /// neighbouring positions. There is at most one run for every two bytes, and for data that is
    /// not made to be so about one for every `2^bits`.
    pub fn runs(&self, data: &[u8], from: usize, out: &mut Vec<Range<usize>>) {
        match self.backend {
            #[cfg(target_arch = "x86_64")]
            Backend::Gfni => {
                search::runs(&gfni::Gfni::new(&self.matrices, &self.tables), data, from, out)
            }
            #[cfg(target_arch = "x86_64")]
            Backend::Avx2 => {
                search::runs(&avx2::Avx2::new(&self.look_ups, &self.tables), data, from, out);
            }
            Backend::Scalar => search::runs(&self.tables, data, from, out),
            Backend::Serial => search::runs(&Serial(&self.tables), data, from, out),
        }
    }
}

/// value * x^times modulo the polynomial; `value` is of lower degree than it.
fn times_x(mut value: u64, times: u32, polynomial: u64) -> u64 {
    for _ in 0..times {
        value <<= 1;
        if value >> DEGREE & 1 == 1 {
            value ^= polynomial;
        }
    }
    value
}

#[cfg(test)]
mod tests;
