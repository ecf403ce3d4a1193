//! Looking for cut candidates with a rolling hash over the last 64 bytes.
//!
//! A position is a candidate by those bytes alone, so a stretch of data can be divided among
//! lanes that each begin by reading the 64 bytes before their part.
//!
//! Invariants
//! - Positions are *ends*: `p` stands for the window `data[p - 64..p]`, so none is below 64.
//! - What is found does not depend on the kernel or on how the data is divided.

use core::ops::{ControlFlow, Range};

/// Bytes a rolling hash looks at.
pub const WINDOW: usize = 64;

/// Bytes of one lane of one block. A block is long enough that reading the window before each lane
/// costs little, short enough that little is scanned in vain behind the first candidate, and no
/// power of two, which would put all lanes into the same few sets of the cache.
const LANE: usize = 2112;

/// Below this many bytes for each lane the serial kernel has its answer sooner.
const SHORTEST_LANE: usize = 128;

/// Candidates of one block that are sorted on the stack; where there are more, data is so regular
/// that the block is scanned again in order.
const FEW: usize = 256;

/// A rolling hash and the instructions it is computed with.
pub(crate) trait Kernel {
    /// How many parts of the data are hashed at once, at most 64; 0 to search only serially.
    const LANES: usize;
    /// What the length of a lane must be divisible by.
    const STEP: usize;

    /// Hashes lane `l` over the windows that end at `WINDOW + l * lane + 1 ..= WINDOW + (l + 1) *
    /// lane` and calls `hit(i, lanes)` for each step i at which these lanes (bit l for lane l) are
    /// at a candidate, with i ascending. `data` has `WINDOW + LANES * lane` bytes.
    fn block(&self, data: &[u8], lane: usize, hit: impl FnMut(usize, u64) -> ControlFlow<()>);

    /// Calls `hit` with every candidate of `data`, ascending.
    fn serial(&self, data: &[u8], hit: impl FnMut(usize) -> ControlFlow<()>);
}

/// The serial part of a kernel alone.
pub(crate) struct Serial<'a, K>(pub(crate) &'a K);

impl<K: Kernel> Kernel for Serial<'_, K> {
    const LANES: usize = 0;
    const STEP: usize = 1;

    fn block(&self, _: &[u8], _: usize, _: impl FnMut(usize, u64) -> ControlFlow<()>) {}

    fn serial(&self, data: &[u8], hit: impl FnMut(usize) -> ControlFlow<()>) {
        self.0.serial(data, hit);
    }
}

/// The first candidate not before `from`.
pub(crate) fn first<K: Kernel>(kernel: &K, data: &[u8], from: usize) -> Option<usize> {
    let mut parts = Parts::<K>::new(data, from);
    while let Some(part) = parts.next() {
        let mut found = None;
        match part.lane {
            None => kernel.serial(part.data, |end| {
                found = Some(end);
                ControlFlow::Break(())
            }),
            Some(lane) => {
                // Once a lane has found one, only lanes before it can still find an earlier one.
                let mut live = u64::MAX;
                kernel.block(part.data, lane, |step, lanes| {
                    let lanes = lanes & live;
                    if lanes == 0 {
                        return ControlFlow::Continue(());
                    }
                    let first = lanes.trailing_zeros();
                    found = Some(end_in_block(lane, step, first));
                    live = (1 << first) - 1;
                    if live == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                });
            }
        }
        if let Some(end) = found {
            return Some(part.at + end);
        }
    }
    None
}

/// Appends every candidate not before `from`, as ascending runs of neighbouring positions: on
/// constant data each byte is one.
pub(crate) fn runs<K: Kernel>(kernel: &K, data: &[u8], from: usize, out: &mut Vec<Range<usize>>) {
    let mut parts = Parts::<K>::new(data, from);
    let mut append = |end: usize, length: usize| match out.last_mut() {
        Some(run) if run.end == end => run.end += length,
        _ => out.push(end..end + length),
    };
    while let Some(part) = parts.next() {
        let Some(lane) = part.lane else {
            kernel.serial(part.data, |end| {
                append(part.at + end, 1);
                ControlFlow::Continue(())
            });
            continue;
        };
        let mut few = [0; FEW];
        let mut count = 0;
        kernel.block(part.data, lane, |step, mut lanes| {
            while lanes != 0 {
                if let Some(place) = few.get_mut(count) {
                    *place = end_in_block(lane, step, lanes.trailing_zeros());
                    count += 1;
                    lanes &= lanes - 1;
                } else {
                    count += lanes.count_ones() as usize;
                    lanes = 0;
                }
            }
            ControlFlow::Continue(())
        });
        if let Some(few) = few.get_mut(..count) {
            few.sort_unstable();
            few.iter().for_each(|end| append(part.at + end, 1));
        } else if count == lane * K::LANES {
            append(part.at + WINDOW + 1, count);
        } else {
            // The window before the block ends at a position of the previous part.
            kernel.serial(part.data.get(1..).unwrap_or_default(), |end| {
                append(part.at + 1 + end, 1);
                ControlFlow::Continue(())
            });
        }
    }
}

fn end_in_block(lane: usize, step: usize, of: u32) -> usize {
    WINDOW + of as usize * lane + step + 1
}

/// A stretch of the data beginning with the window before its first new byte.
struct Part<'a> {
    /// Where it begins in the whole.
    at: usize,
    data: &'a [u8],
    /// Bytes for each lane, or None for the serial kernel, which also tests the first window.
    lane: Option<usize>,
}

/// Divides data into the first window, blocks and a serial rest.
struct Parts<'a, K> {
    data: &'a [u8],
    /// Where the next window to look at ends.
    next: usize,
    begun: bool,
    kernel: core::marker::PhantomData<K>,
}

impl<'a, K: Kernel> Parts<'a, K> {
    fn new(data: &'a [u8], from: usize) -> Self {
        Self { data, next: from.max(WINDOW), begun: false, kernel: core::marker::PhantomData }
    }

    fn next(&mut self) -> Option<Part<'a>> {
        let left = (self.data.len() + 1).checked_sub(self.next).filter(|&left| left > 0)?;
        if K::LANES == 0 || left < SHORTEST_LANE * K::LANES + 1 {
            let at = self.next - WINDOW;
            self.next = self.data.len() + 1;
            return Some(Part { at, data: &self.data[at..], lane: None });
        }
        if !self.begun {
            // A block needs the byte before the window; the very first may have none.
            self.begun = true;
            let at = self.next - WINDOW;
            self.next += 1;
            return Some(Part { at, data: &self.data[at..at + WINDOW], lane: None });
        }
        let lane = (left / K::LANES).min(LANE) / K::STEP * K::STEP;
        let at = self.next - WINDOW - 1;
        self.next += lane * K::LANES;
        Some(Part { at, data: &self.data[at..at + WINDOW + lane * K::LANES], lane: Some(lane) })
    }
}
