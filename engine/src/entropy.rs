//! Random bytes: the only place that asks the system for them.
//!
//! Invariants
//! - Every byte of the system's generator is given out once and wiped here.
//! - A seeded generator repeats itself and is for tests alone.
//!
//! Not here: what the bytes are used for; codecs take nonces as arguments.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

/// A source of random bytes. Clones share it, and it may be used from any thread.
#[derive(Clone)]
pub struct Entropy(Arc<Mutex<Source>>);

enum Source {
    System { block: Box<[u8; BLOCK_BYTES]>, used: usize },
    Seeded(u64),
}

/// The system has no random bytes to give.
#[derive(Debug, thiserror::Error)]
#[error("the system's random generator failed: {0}")]
pub struct EntropyError(#[from] getrandom::Error);

/// Fetched at once, so that a nonce costs no system call.
const BLOCK_BYTES: usize = 4096;

impl Entropy {
    /// The system's generator.
    #[must_use]
    pub fn system() -> Self {
        Self::with(Source::System { block: Box::new([0; BLOCK_BYTES]), used: BLOCK_BYTES })
    }

    /// A predictable sequence: never where secrecy or uniqueness matter.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self::with(Source::Seeded(seed))
    }

    /// Fills `out`.
    pub fn fill(&self, out: &mut [u8]) -> Result<(), EntropyError> {
        let mut source = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *source {
            Source::System { block, used } => {
                if out.len() >= BLOCK_BYTES {
                    return Ok(getrandom::fill(out)?);
                }
                if BLOCK_BYTES - *used < out.len() {
                    getrandom::fill(&mut block[..])?;
                    *used = 0;
                }
                let fresh = &mut block[*used..*used + out.len()];
                out.copy_from_slice(fresh);
                fresh.fill(0);
                *used += out.len();
            }
            Source::Seeded(state) => {
                for bytes in out.chunks_mut(8) {
                    bytes.copy_from_slice(&next(state).to_le_bytes()[..bytes.len()]);
                }
            }
        }
        Ok(())
    }

    /// An array of random bytes.
    pub fn bytes<const N: usize>(&self) -> Result<[u8; N], EntropyError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn with(source: Source) -> Self {
        Self(Arc::new(Mutex::new(source)))
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy")
    }
}

/// A number for a temporary name: rare enough to try again where it is taken.
pub(crate) fn name_suffix() -> Result<u64, EntropyError> {
    Ok(getrandom::u64()?)
}

/// Steele, Lea and Flood's SplitMix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn nonces_never_repeat_across_blocks() {
        let entropy = Entropy::system();
        let nonces: BTreeSet<[u8; 16]> =
            (0..10_000).map(|_| entropy.bytes().expect("random bytes")).collect();
        assert_eq!(nonces.len(), 10_000);
    }

    #[test]
    fn every_length_is_filled_to_the_end() {
        let entropy = Entropy::system();
        for len in [1, 7, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1] {
            let last_bytes: BTreeSet<u8> = (0..64)
                .map(|_| {
                    let mut bytes = vec![0; len];
                    entropy.fill(&mut bytes).expect("random bytes");
                    bytes[len - 1]
                })
                .collect();
            assert!(last_bytes.len() > 10, "{len}");
        }
    }

    #[test]
    fn bytes_given_out_are_wiped() {
        let entropy = Entropy::system();
        let _nonce: [u8; 32] = entropy.bytes().expect("random bytes");
        let source = entropy.0.lock().expect("not poisoned");
        let Source::System { block, used } = &*source else { panic!("the system's generator") };
        assert_eq!(*used, 32);
        assert!(block[..32].iter().all(|byte| *byte == 0));
        assert!(block[32..].iter().any(|byte| *byte != 0));
    }

    #[test]
    fn a_seed_repeats_and_clones_share_the_sequence() {
        let draw = |entropy: &Entropy| entropy.bytes::<11>().expect("never fails");
        let (left, right) = (Entropy::seeded(7), Entropy::seeded(7));
        let first = draw(&left);
        assert_eq!(first, draw(&right));
        assert_ne!(first, draw(&left.clone()));
        assert_ne!(first, draw(&Entropy::seeded(8)));
    }
}
