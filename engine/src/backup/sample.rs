//! The share of the unchanged files that a clone-aware backup reads again.
//!
//! Every path belongs to one of N shares by its hash, and each backup reads the next share: after N
//! backups every file was read once more. What keeps the count is the backup itself: the program
//! that a root names says which turn it was, as in `windlass 1.0 (sample turn 17)`. So the count
//! survives forgetting, copying and editing roots, and nothing has to be kept beside them.
//!
//! Invariants
//! - Paths are hashed as they are in the backup, by a function that never changes: neither where a
//!   clone is mounted nor who compiled this program moves a file into another share.
//! - Where no count can go on, the share is drawn at random: no schedule, however regular, can read
//!   the same shares for ever.

use std::num::NonZeroU32;

use crate::entropy::{Entropy, EntropyError};

const MARK: &str = " (sample turn ";

/// Which share is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    turn: u64,
    every: NonZeroU32,
}

/// The hash of a path in the backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PathHash(u64);

impl Sample {
    /// The share after the one that the program of the parent backup notes, if it is known to be
    /// the last one that was read.
    pub(super) fn next(
        every: NonZeroU32,
        last_program: Option<&str>,
        entropy: &Entropy,
    ) -> Result<Self, EntropyError> {
        let turn = match last_program.and_then(noted) {
            Some(turn) => turn.wrapping_add(1),
            // Small, to be read by people.
            None => u64::from(u32::from_le_bytes(entropy.bytes()?) % every),
        };
        Ok(Self { turn, every })
    }

    /// Whether it is this path's turn.
    pub(super) fn has(&self, path: PathHash) -> bool {
        let every = u64::from(self.every.get());
        path.0 % every == self.turn % every
    }

    /// The name of the program with the turn noted in it.
    pub(super) fn note(&self, program: &str) -> String {
        format!("{program}{MARK}{})", self.turn)
    }

    /// For people.
    pub(super) fn words(&self) -> String {
        let Self { turn, every } = self;
        let share = turn % u64::from(every.get()) + 1;
        format!("of the files that look unchanged, share {share} of {every} is read again")
    }
}

/// The turn that the name of a program notes.
fn noted(program: &str) -> Option<u64> {
    program.strip_suffix(')')?.rsplit_once(MARK)?.1.parse().ok()
}

impl PathHash {
    /// Of the top directory.
    pub(super) const TOP: Self = Self(0xcbf2_9ce4_8422_2325);

    /// Of an entry in it: FNV-1a over names and the slashes in front of them, with its halves
    /// folded together, because its low bits alone are no good remainder.
    pub(super) fn below(self, name: &[u8]) -> Self {
        let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        let hash = name.iter().fold(mix(self.0, &b'/'), mix);
        Self(hash ^ (hash >> 32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEVEN: NonZeroU32 = NonZeroU32::new(7).unwrap();

    fn next(program: Option<&str>, seed: u64) -> Sample {
        Sample::next(SEVEN, program, &Entropy::seeded(seed)).expect("seeded")
    }

    #[test]
    fn the_turn_after_the_noted_one_comes() {
        let first = next(Some("windlass 1.0"), 1);
        let mut program = first.note("windlass 1.0");
        for turn in 1..20 {
            let sample = next(Some(&program), turn);
            assert_eq!(sample.turn, first.turn + turn);
            program = sample.note("windlass 2.0 (x)");
        }
        assert_eq!(next(Some("a (sample turn 18446744073709551615)"), 1).turn, 0);
    }

    #[test]
    fn where_no_count_can_go_on_the_share_is_drawn() {
        for program in [
            None,
            Some("windlass 1.0"),
            Some("restic 0.19.0 (compiled manually)"),
            Some("windlass (sample turn -1)"),
            Some("windlass (sample turn 3"),
        ] {
            let drawn = (0..200).map(|seed| next(program, seed).turn);
            let drawn: std::collections::BTreeSet<_> = drawn.collect();
            assert_eq!(drawn, (0..7).collect(), "{program:?}");
        }
    }

    #[test]
    fn every_path_has_its_turn_once_in_a_round() {
        let mut shares = [0; 7];
        for number in 0..7_000_u32 {
            let path = PathHash::TOP.below(b"dir").below(format!("file-{number}").as_bytes());
            let samples = (1000..1007).map(|turn| Sample { turn, every: SEVEN });
            let turns: Vec<_> = samples.filter(|sample| sample.has(path)).collect();
            assert_eq!(turns.len(), 1);
            shares[(turns[0].turn % 7) as usize] += 1;
        }
        assert!(shares.iter().all(|share| (800..1200).contains(share)), "{shares:?}");
    }

    #[test]
    fn hashes_are_those_of_every_version() {
        let hash = PathHash::TOP.below(b"srv").below(b"data");
        assert_eq!(hash.0, 0x7deb_cfae_4a51_efbe);
        assert_ne!(hash, PathHash::TOP.below(b"srv/data2"));
    }
}
