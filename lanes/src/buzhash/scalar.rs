//! The hash by table, one lane or four.

use core::ops::ControlFlow;

use super::table::TABLE;
use crate::search::{Kernel, WINDOW};

pub(super) struct Scalar {
    mask: u32,
}

impl Scalar {
    pub(super) fn new(bits: u32) -> Self {
        Self { mask: u32::MAX >> (u32::BITS - bits) }
    }
}

#[inline(always)]
fn append(hash: u32, byte: u8) -> u32 {
    hash.rotate_left(1) ^ TABLE[usize::from(byte)]
}

/// The byte that leaves was rotated 64 times, which is not at all.
#[inline(always)]
fn roll(hash: u32, leaving: u8, byte: u8) -> u32 {
    append(hash, byte) ^ TABLE[usize::from(leaving)]
}

fn of(window: &[u8]) -> u32 {
    window.iter().fold(0, |hash, &byte| append(hash, byte))
}

impl Kernel for Scalar {
    const LANES: usize = 4;
    const STEP: usize = 1;

    fn block(&self, data: &[u8], lane: usize, mut hit: impl FnMut(usize, u64) -> ControlFlow<()>) {
        let parts: [&[u8]; 4] = [0, 1, 2, 3].map(|l| &data[l * lane..(l + 1) * lane + WINDOW]);
        let mut hashes = parts.map(|part| of(&part[..WINDOW]));
        let [a, b, c, d] = parts.map(|part| part.iter().zip(&part[WINDOW..]));
        for (step, (((a, b), c), d)) in a.zip(b).zip(c).zip(d).enumerate() {
            let mut hits = 0;
            for (l, (&leaving, &byte)) in [a, b, c, d].into_iter().enumerate() {
                hashes[l] = roll(hashes[l], leaving, byte);
                hits |= u64::from(hashes[l] & self.mask == 0) << l;
            }
            if hits != 0 && hit(step, hits).is_break() {
                return;
            }
        }
    }

    fn serial(&self, data: &[u8], mut hit: impl FnMut(usize) -> ControlFlow<()>) {
        let Some((window, rest)) = data.split_at_checked(WINDOW) else { return };
        let mut hash = of(window);
        if hash & self.mask == 0 && hit(WINDOW).is_break() {
            return;
        }
        for (at, (&leaving, &byte)) in data.iter().zip(rest).enumerate() {
            hash = roll(hash, leaving, byte);
            if hash & self.mask == 0 && hit(WINDOW + at + 1).is_break() {
                return;
            }
        }
    }
}
