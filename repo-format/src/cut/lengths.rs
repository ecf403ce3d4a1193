//! How long chunks may be and how often a candidate comes.
//!
//! Invariants: the minimum is at least the window of the rolling hashes, so that no candidate
//! depends on bytes before its chunk; it is not above the maximum.

use crate::damage::Damage;

/// The bytes a rolling hash looks at.
pub const WINDOW: usize = windlass_lanes::search::WINDOW;

/// The longest chunk any cutter makes; buffers of this size can be asked for by a repository.
pub const MAX_CHUNK: usize = 128 << 20;

/// Limits of a cutter with a rolling hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths {
    min: usize,
    average_bits: u32,
    max: usize,
}

impl Lengths {
    /// 512 KiB to 8 MiB, a candidate every MiB.
    pub const RESTIC: Self = Self { min: 512 << 10, average_bits: 20, max: 8 << 20 };

    /// kopia's: half to double a power of two between 128 KiB and 8 MiB.
    pub(super) const fn kopia(average_bits: u32) -> Self {
        let average = 1 << average_bits;
        Self { min: average / 2, average_bits, max: average * 2 }
    }

    /// Other limits; `average` is a power of two.
    pub fn new(min: usize, average: usize, max: usize) -> Result<Self, Damage> {
        if min < WINDOW || min > max || !average.is_power_of_two() {
            return Err(Damage::Invalid { what: "chunk lengths" });
        }
        if max > MAX_CHUNK || average > max {
            let limit = u64::try_from(MAX_CHUNK).unwrap_or(u64::MAX);
            return Err(Damage::OverLimit { what: "chunk length", max: limit });
        }
        match average.ilog2() {
            0 => Err(Damage::Invalid { what: "chunk lengths" }),
            average_bits => Ok(Self { min, average_bits, max }),
        }
    }

    /// The shortest chunk.
    pub fn min(self) -> usize {
        self.min
    }

    /// Low bits of the hash that are zero at a candidate; at least 1 and at most 27.
    pub fn average_bits(self) -> u32 {
        self.average_bits
    }

    /// The longest chunk.
    pub fn max(self) -> usize {
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_a_cutter_cannot_work_with_are_refused() {
        assert_eq!(Lengths::new(512 << 10, 1 << 20, 8 << 20), Ok(Lengths::RESTIC));
        assert!(Lengths::new(WINDOW, 2, WINDOW).is_ok());
        for (min, average, max) in [
            (WINDOW - 1, 128, 256),
            (1024, 1000, 2048),
            (1024, 0, 2048),
            (1024, 1, 2048),
            (2048, 1024, 2047),
            (1024, 2048, MAX_CHUNK + 1),
            (1024, 4096, 2048),
        ] {
            assert!(Lengths::new(min, average, max).is_err(), "{min} {average} {max}");
        }
    }
}
