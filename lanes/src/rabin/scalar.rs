//! The fingerprint by tables, one lane or four.

use core::ops::ControlFlow;

use super::{DEGREE, times_x};
use crate::search::{Kernel, WINDOW};

/// What a byte adds to the fingerprint when it overflows it and when it leaves the window.
pub(super) struct Tables {
    /// b * x^53, for the eight bits that an appended byte pushes out of the fingerprint.
    overflow: [u64; 256],
    /// b * x^512, for the byte that is 64 bytes back when the next one has been appended.
    leave: [u64; 256],
    mask: u64,
}

impl Tables {
    pub(super) fn new(polynomial: u64, bits: u32) -> Self {
        let table = |times| core::array::from_fn(|byte| times_x(byte as u64, times, polynomial));
        Self { overflow: table(DEGREE), leave: table(8 * WINDOW as u32), mask: (1 << bits) - 1 }
    }

    #[inline(always)]
    fn append(&self, fingerprint: u64, byte: u8) -> u64 {
        let overflow = (fingerprint >> (DEGREE - 8)) as u8;
        let kept = fingerprint << 8 & ((1 << DEGREE) - 1);
        (kept | u64::from(byte)) ^ self.overflow[usize::from(overflow)]
    }

    #[inline(always)]
    fn roll(&self, fingerprint: u64, leaving: u8, byte: u8) -> u64 {
        self.append(fingerprint, byte) ^ self.leave[usize::from(leaving)]
    }

    fn of(&self, window: &[u8]) -> u64 {
        window.iter().fold(0, |fingerprint, &byte| self.append(fingerprint, byte))
    }
}

impl Kernel for Tables {
    const LANES: usize = 4;
    const STEP: usize = 1;

    fn block(&self, data: &[u8], lane: usize, mut hit: impl FnMut(usize, u64) -> ControlFlow<()>) {
        let parts: [&[u8]; 4] = [0, 1, 2, 3].map(|l| &data[l * lane..(l + 1) * lane + WINDOW]);
        let mut states = parts.map(|part| self.of(&part[..WINDOW]));
        let [a, b, c, d] = parts.map(|part| part.iter().zip(&part[WINDOW..]));
        for (step, (((a, b), c), d)) in a.zip(b).zip(c).zip(d).enumerate() {
            let mut hits = 0;
            for (l, (&leaving, &byte)) in [a, b, c, d].into_iter().enumerate() {
                states[l] = self.roll(states[l], leaving, byte);
                hits |= u64::from(states[l] & self.mask == 0) << l;
            }
            if hits != 0 && hit(step, hits).is_break() {
                return;
            }
        }
    }

    fn serial(&self, data: &[u8], mut hit: impl FnMut(usize) -> ControlFlow<()>) {
        let Some((window, rest)) = data.split_at_checked(WINDOW) else { return };
        let mut state = self.of(window);
        if state & self.mask == 0 && hit(WINDOW).is_break() {
            return;
        }
        for (at, (&leaving, &byte)) in data.iter().zip(rest).enumerate() {
            state = self.roll(state, leaving, byte);
            if state & self.mask == 0 && hit(WINDOW + at + 1).is_break() {
                return;
            }
        }
    }
}
