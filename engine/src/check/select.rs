//! Which packs are read.
//!
//! Invariants: `n/t` selects by the first byte of the name, as restic does, so that n from 1 to t
//! covers every pack once.

use crate::{entropy::Entropy, fault::Fault, model::pack::PackName};

/// How much of the data is read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Read {
    /// None of it.
    #[default]
    Nothing,
    /// All.
    All,
    /// The n-th of t parts, from 1 on.
    Part {
        /// Which part.
        number: u16,
        /// Of how many, up to 256.
        of: u16,
    },
    /// A share of the packs in percent, at random.
    Share(f64),
    /// About that many bytes, at random.
    Bytes(u64),
}

impl Read {
    /// The packs to read, of these with their sizes.
    pub(super) fn select(
        self,
        mut packs: Vec<(PackName, u64)>,
        entropy: &Entropy,
    ) -> Result<Vec<(PackName, u64)>, Fault> {
        let all: u64 = packs.iter().map(|(_, bytes)| bytes).sum();
        let share = match self {
            Self::Nothing => return Ok(Vec::new()),
            Self::All => return Ok(packs),
            Self::Part { number, of } => {
                let wanted = number.saturating_sub(1);
                packs.retain(|(name, _)| u16::from(first_byte(name)) % of.max(1) == wanted);
                return Ok(packs);
            }
            Self::Share(share) => share,
            Self::Bytes(_) if all == 0 => return Ok(packs),
            Self::Bytes(bytes) => bytes.min(all) as f64 / all as f64 * 100.0,
        };
        let count = ((packs.len() as f64 * (share / 100.0)) as usize).max(1).min(packs.len());
        packs.sort();
        for at in 0..count {
            let left = (packs.len() - at) as u64;
            let random = u64::from_le_bytes(entropy.bytes()?) % left;
            packs.swap(at, at + random as usize);
        }
        packs.truncate(count);
        Ok(packs)
    }
}

fn first_byte(name: &PackName) -> u8 {
    match name {
        PackName::Hash([first, ..]) => *first,
        PackName::Chosen(name) => name.bytes().last().unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packs(count: u16) -> Vec<(PackName, u64)> {
        let name = |number: u16| {
            let [high, low] = number.to_be_bytes();
            let mut hash = [high; 32];
            hash[0] = low;
            PackName::Hash(hash)
        };
        (0..count).map(|number| (name(number), 10)).collect()
    }

    fn select(read: Read, count: u16) -> Vec<(PackName, u64)> {
        read.select(packs(count), &Entropy::seeded(1)).expect("random")
    }

    #[test]
    fn all_parts_together_are_everything_once() {
        for of in [1, 2, 3, 7, 256] {
            let parts = (1..=of).map(|number| select(Read::Part { number, of }, 600).len());
            assert_eq!(parts.sum::<usize>(), 600, "{of}");
        }
        let second = select(Read::Part { number: 2, of: 5 }, 300);
        assert!(second.iter().all(|(name, _)| first_byte(name) % 5 == 1));
        assert_eq!(second.len(), 51 + 9);
    }

    #[test]
    fn shares_are_of_different_packs_and_never_none() {
        for (read, count) in [
            (Read::Share(50.0), 100),
            (Read::Share(100.0), 200),
            (Read::Share(0.01), 1),
            (Read::Bytes(500), 50),
            (Read::Bytes(u64::MAX), 200),
            (Read::All, 200),
            (Read::Nothing, 0),
        ] {
            let mut chosen = select(read, 200);
            assert_eq!(chosen.len(), count, "{read:?}");
            chosen.sort();
            chosen.dedup();
            assert_eq!(chosen.len(), count, "{read:?}");
        }
        assert_eq!(select(Read::Share(50.0), 0), []);
    }
}
