//! Blocks on their way into states, and what mixes them in.
//!
//! Invariants: each stream's blocks are mixed in exactly once and in order.

#[cfg(target_arch = "x86_64")]
mod turns;

use super::BLOCK;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Backend {
    #[cfg(target_arch = "x86_64")]
    ShaNi,
    /// `sha2`, which has the instructions of other processors.
    Serial,
}

impl Backend {
    pub(super) fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        if super::shani::is_available() {
            return Self::ShaNi;
        }
        Self::Serial
    }
}

/// A state and the blocks to mix into it, in three parts so that nothing need be copied.
pub(super) struct Stream<'a> {
    state: &'a mut [u32; 8],
    parts: [&'a [[u8; BLOCK]]; 3],
    left: usize,
}

impl<'a> Stream<'a> {
    pub(super) fn new(state: &'a mut [u32; 8], parts: [&'a [[u8; BLOCK]]; 3]) -> Self {
        let left = parts.iter().map(|part| part.len()).sum();
        let mut stream = Self { state, parts, left };
        stream.skip_empty_parts();
        stream
    }

    /// Takes `count` blocks off the first part; there are as many.
    fn take(&mut self, count: usize) -> &'a [[u8; BLOCK]] {
        let (blocks, rest) = self.parts[0].split_at(count);
        self.parts[0] = rest;
        self.left -= count;
        self.skip_empty_parts();
        blocks
    }

    fn skip_empty_parts(&mut self) {
        while self.left > 0 && self.parts[0].is_empty() {
            self.parts.rotate_left(1);
        }
    }
}

pub(super) fn run<'a>(backend: Backend, streams: impl Iterator<Item = Stream<'a>>) {
    let streams = streams.filter(|stream| stream.left > 0);
    match backend {
        Backend::Serial => streams.for_each(|mut stream| {
            while stream.left > 0 {
                let blocks = stream.take(stream.parts[0].len());
                sha2::block_api::compress256(stream.state, blocks);
            }
        }),
        #[cfg(target_arch = "x86_64")]
        Backend::ShaNi => {
            assert!(super::shani::is_available());
            // SAFETY: asserted above.
            unsafe { turns::run(streams) };
        }
    }
}
