//! FastCDC as of 2020, with the tables and masks of the crate `fastcdc`.
//!
//! Invariants: cuts are those of that crate's `v2020` at normalization level 1.

use fastcdc::v2020::{
    AVERAGE_MAX, AVERAGE_MIN, MAXIMUM_MAX, MAXIMUM_MIN, MINIMUM_MAX, MINIMUM_MIN, Normalization,
    cut, select_masks,
};

use crate::damage::Damage;

/// What this cutter is called where it is chosen by name.
pub const NAME: &str = "fastcdc-v2020";

/// The lengths FastCDC aims at, and the masks that follow from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FastCdcParams {
    min: usize,
    average: usize,
    max: usize,
    strict_mask: u64,
    relaxed_mask: u64,
}

impl FastCdcParams {
    /// Lengths within the limits of the crate, even and ascending.
    pub fn new(min: usize, average: usize, max: usize) -> Result<Self, Damage> {
        let within = (MINIMUM_MIN..=MINIMUM_MAX).contains(&min)
            && (AVERAGE_MIN..=AVERAGE_MAX).contains(&average)
            && (MAXIMUM_MIN..=MAXIMUM_MAX).contains(&max);
        // The crate tests positions in pairs; odd lengths would shift them.
        let even = [min, average, max].iter().all(|length| length.is_multiple_of(2));
        if !within || !even || min > average || average > max {
            return Err(Damage::Invalid { what: "FastCDC lengths" });
        }
        Ok(Self::derived(min, average, max))
    }

    fn derived(min: usize, average: usize, max: usize) -> Self {
        let (strict_mask, relaxed_mask) = select_masks(average, Normalization::Level1);
        Self { min, average, max, strict_mask, relaxed_mask }
    }

    /// The shortest chunk.
    pub fn min(&self) -> usize {
        self.min
    }

    /// The length aimed at.
    pub fn average(&self) -> usize {
        self.average
    }

    /// The longest chunk.
    pub fn max(&self) -> usize {
        self.max
    }

    /// Where the chunk that begins `data` ends by its bytes, if that is within `data`.
    pub(super) fn first(&self, data: &[u8]) -> Option<usize> {
        let (strict, relaxed) = (self.strict_mask, self.relaxed_mask);
        let (_, end) =
            cut(data, self.min, self.average, self.max, strict, relaxed, strict << 1, relaxed << 1);
        // Without a cut it answers the end of the data. A cut before that stays one when there is
        // more data: the masks change at a position that more data never moves backwards.
        (end < data.len().min(self.max)).then_some(end)
    }
}

impl Default for FastCdcParams {
    /// 512 KiB to 8 MiB, 1 MiB on average.
    fn default() -> Self {
        Self::derived(512 << 10, 1 << 20, 8 << 20)
    }
}
