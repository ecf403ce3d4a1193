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
    /// What becomes due after one moment and not after another. Every pack is due once in a period,
    /// at a moment that follows from its name: whoever always goes on where the last one ended reads
    /// each once in the period, whenever that is.
    Due {
        /// The period.
        period_seconds: u64,
        /// Where the last one ended, since the Unix epoch.
        after_seconds: i64,
        /// Up to which moment.
        until_seconds: i64,
    },
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
            Self::Due { period_seconds, after_seconds, until_seconds } => {
                let period = i128::from(period_seconds.max(1));
                packs.retain(|(name, _)| {
                    let moment = i128::from(phase(name)) % period;
                    let times = |end: i64| (i128::from(end) - moment).div_euclid(period);
                    times(until_seconds) > times(after_seconds)
                });
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

/// A number that is as good as random and always the same for a name.
fn phase(name: &PackName) -> u64 {
    let bytes = match name {
        PackName::Hash(hash) => &hash[..],
        PackName::Chosen(name) => name.as_bytes(),
    };
    // The first byte is what parts are chosen by; a period must not go with it.
    let last = bytes.iter().rev().take(8);
    last.fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_due_once_in_a_period_however_far_apart_runs_are() {
        const DAY: u64 = 86_400;
        let entropy = Entropy::seeded(3);
        let packs: Vec<(PackName, u64)> =
            (0..500).map(|_| (PackName::Hash(entropy.bytes().expect("seeded")), 10)).collect();
        let due = |after_seconds: i64, until_seconds: i64| {
            let read = Read::Due { period_seconds: 30 * DAY, after_seconds, until_seconds };
            read.select(packs.clone(), &entropy).expect("chosen").len()
        };
        let start = 1_700_000_000;
        // Of one day about a thirtieth.
        let day = DAY as i64;
        let a_day = due(start, start + day);
        assert!((5..40).contains(&a_day), "{a_day}");
        assert_eq!(due(start, start), 0);
        for pauses in
            [vec![day; 30], vec![7 * day, 3600, day, 20 * day, 2 * day - 3600], vec![30 * day]]
        {
            assert_eq!(pauses.iter().sum::<i64>(), 30 * day);
            let mut at = start;
            let read = pauses.iter().map(|pause| {
                at += pause;
                due(at - pause, at)
            });
            assert_eq!(read.sum::<usize>(), 500, "{pauses:?}");
        }
        // Whoever comes after two periods reads everything, and once.
        assert_eq!(due(start, start + 61 * day), 500);
        assert_eq!(due(-5, 30 * day - 5), 500);
    }

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
