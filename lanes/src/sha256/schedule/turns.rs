//! Which streams share the hash unit, and for how long.
//!
//! Invariants: streams are taken in the order given, which should be longest first; of those
//! taken, the ones with most left to do run, so that all end together and the unit is shared to
//! the last.

use super::Stream;
use crate::sha256::shani;

/// As many streams as share the unit. Four are a little faster than three; five only spill.
const WIDTH: usize = 4;
/// As many streams as take turns. More would balance better still but cost more to choose from.
const ACTIVE: usize = 16;
/// Blocks that streams of equal length run before the next ones have their turn.
const TURN: usize = 64;

#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
pub(super) fn run<'a>(mut streams: impl Iterator<Item = Stream<'a>>) {
    let mut active = Active { streams: [const { None }; ACTIVE], len: 0 };
    loop {
        active.fill(&mut streams);
        match active.len {
            0 => break,
            1 => active.turn::<1>(),
            2 => active.turn::<2>(),
            3 => active.turn::<3>(),
            _ => active.turn::<WIDTH>(),
        }
    }
}

/// The streams that take turns: the first `len`.
struct Active<'a> {
    streams: [Option<Stream<'a>>; ACTIVE],
    len: usize,
}

impl<'a> Active<'a> {
    fn fill(&mut self, streams: &mut impl Iterator<Item = Stream<'a>>) {
        while self.len < ACTIVE {
            let Some(stream) = streams.next() else { break };
            self.streams[self.len] = Some(stream);
            self.len += 1;
        }
    }

    fn left(&self, at: usize) -> usize {
        self.streams[at].as_ref().map_or(0, |stream| stream.left)
    }

    /// Runs the N streams with most left for a while and drops those that are done.
    #[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
    fn turn<const N: usize>(&mut self) {
        if self.len > N {
            // Brings the longest N to the front and the next one behind them.
            for at in 0..=N {
                let longest = (at..self.len).max_by_key(|&other| self.left(other)).unwrap_or(at);
                self.streams.swap(at, longest);
            }
        }
        let mut count = usize::MAX;
        if self.len > N {
            count = TURN.max(self.left(N - 1) - self.left(N));
        }
        let (running, _) = self.streams.split_first_chunk_mut::<N>().expect("N is below ACTIVE");
        let running = running.each_mut().map(|stream| stream.as_mut().expect("len is at least N"));
        let count = running.iter().fold(count, |count, stream| count.min(stream.parts[0].len()));
        let mut blocks = [&[][..]; N];
        let mut states = {
            let mut at = 0;
            running.map(|stream| {
                blocks[at] = stream.take(count);
                at += 1;
                &mut *stream.state
            })
        };
        shani::compress(&mut states, blocks);
        for at in (0..N).rev() {
            if self.left(at) == 0 {
                self.len -= 1;
                self.streams.swap(at, self.len);
                self.streams[self.len] = None;
            }
        }
    }
}
