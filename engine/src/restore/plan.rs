//! Which bytes of which packs are read at once, and what they are for. Pure.
//!
//! Invariants
//! - Every use appears once; all uses of one chunk from one place lie in the same span, side by
//!   side, so that the chunk is opened once.
//! - A span is longer than its limit only where a single chunk is.

use std::ops::Range;

use crate::model::{
    chunk::ChunkKey,
    pack::{Location, PackNumber},
};

/// A chunk and something it is wanted for.
#[derive(Debug)]
pub(super) struct Use<T> {
    pub(super) key: ChunkKey,
    pub(super) at: Location,
    pub(super) to: T,
}

/// A stretch of a pack, and what is made from it.
#[derive(Debug)]
pub(super) struct Span<T> {
    pub(super) pack: PackNumber,
    pub(super) start: u64,
    pub(super) len: u64,
    /// Ascending by offset.
    pub(super) uses: Vec<Use<T>>,
}

/// When reading on is cheaper than reading twice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes that are read for nothing rather than asked for separately.
    pub(super) gap_bytes: u64,
    /// Bytes of one read.
    pub(super) span_bytes: u64,
}

impl Limits {
    /// For a store on this machine: another read costs microseconds.
    pub(super) const LOCAL: Self = Self { gap_bytes: 64 << 10, span_bytes: 4 << 20 };
    /// For a store at the end of a network, where another read costs milliseconds: a pack is read
    /// at once if three such reads fit into `in_flight` bytes.
    pub(super) fn remote(in_flight: usize) -> Self {
        Self { gap_bytes: 1 << 20, span_bytes: (in_flight as u64 / 3).clamp(1 << 20, 18 << 20) }
    }

    /// Bytes that were asked for and are not used yet.
    pub(super) fn in_flight(&self) -> usize {
        usize::try_from(3 * self.span_bytes).unwrap_or(usize::MAX)
    }
}

/// Groups uses into spans, by pack and offset.
pub(super) fn spans<T>(mut uses: Vec<Use<T>>, limits: Limits) -> Vec<Span<T>> {
    uses.sort_unstable_by_key(|one| (one.at.pack, one.at.offset, one.key));
    let mut spans: Vec<Span<T>> = Vec::new();
    for one in uses {
        let Range { start, end } = one.at.span();
        if let Some(last) = spans.last_mut() {
            let last_end = last.start + last.len;
            let is_same = last.uses.last().is_some_and(|before| before.key == one.key);
            let joins = start <= last_end.saturating_add(limits.gap_bytes)
                && end.saturating_sub(last.start) <= limits.span_bytes;
            if last.pack == one.at.pack && (joins || (is_same && end <= last_end)) {
                last.len = last.len.max(end - last.start);
                last.uses.push(one);
                continue;
            }
        }
        if let Some(last) = spans.last_mut() {
            // It waits for its turn, and so may many.
            last.uses.shrink_to_fit();
        }
        spans.push(Span { pack: one.at.pack, start, len: end - start, uses: vec![one] });
    }
    spans
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::pack::Coding;

    const LIMITS: Limits = Limits { gap_bytes: 10, span_bytes: 100 };

    fn of(pack: u32, offset: u32, stored_bytes: u32, to: usize) -> Use<usize> {
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&pack.to_le_bytes());
        hash[4..8].copy_from_slice(&offset.to_le_bytes());
        let at = Location {
            pack: PackNumber(pack),
            offset,
            stored_bytes,
            raw_bytes: stored_bytes,
            coding: Coding(0),
        };
        Use { key: ChunkKey::full(0, hash), at, to }
    }

    fn shape(spans: &[Span<usize>]) -> Vec<(u32, u64, u64, Vec<usize>)> {
        let row = |span: &Span<usize>| {
            (span.pack.0, span.start, span.len, span.uses.iter().map(|one| one.to).collect())
        };
        spans.iter().map(row).collect()
    }

    #[test]
    fn neighbours_are_read_at_once_and_far_ones_apart() {
        let uses = vec![of(1, 200, 10, 0), of(0, 0, 20, 1), of(0, 30, 20, 2), of(0, 61, 5, 3)];
        let expected = [(0, 0, 50, vec![1, 2]), (0, 61, 5, vec![3]), (1, 200, 10, vec![0])];
        assert_eq!(shape(&spans(uses, LIMITS)), expected);
    }

    #[test]
    fn a_chunk_over_the_limit_is_read_alone_for_all_its_uses() {
        let uses = vec![of(0, 0, 500, 0), of(0, 0, 500, 1), of(0, 500, 1, 2)];
        assert_eq!(shape(&spans(uses, LIMITS)), [(0, 0, 500, vec![0, 1]), (0, 500, 1, vec![2])]);
    }

    proptest! {
        #[test]
        fn every_use_is_in_one_span_that_covers_it(
            places in proptest::collection::vec((0u32..3, 0u32..40), 0..60)
        ) {
            // Chunks of a pack do not overlap: one each ten bytes, of seven.
            let uses = places.iter().enumerate().map(|(at, (pack, slot))| of(*pack, slot * 10, 7, at));
            let spans = spans(uses.collect(), LIMITS);
            let mut seen: Vec<usize> = Vec::new();
            let mut homes = std::collections::HashMap::new();
            for (at, span) in spans.iter().enumerate() {
                prop_assert!(span.len <= LIMITS.span_bytes);
                prop_assert!(span.uses.is_sorted_by_key(|one| one.at.offset));
                for one in &span.uses {
                    let start = u64::from(one.at.offset);
                    prop_assert!(span.pack == one.at.pack && span.start <= start);
                    prop_assert!(start + 7 <= span.start + span.len);
                    prop_assert_eq!(*homes.entry(one.key).or_insert(at), at);
                    seen.push(one.to);
                }
            }
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..places.len()).collect::<Vec<_>>());
        }
    }
}
