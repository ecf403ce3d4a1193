//! Rounds of a test that chance decides: a few with the same seeds in every run of all tests, and as
//! many as one likes, with others, where the environment says so.
//!
//! | variable | says |
//! |---|---|
//! | `WINDLASS_TORTURE_ROUNDS` | how many rounds |
//! | `WINDLASS_TORTURE_SECONDS` | how long rounds go on |
//! | `WINDLASS_TORTURE_SEED` | the seed of the first one; each further one has the next |
//!
//! Invariants: a round is a function of its seed, which is told before the round begins, so that
//! one that fails can be run again alone; it is the last one. At the end is told how many there were.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Which rounds there are.
#[derive(Debug)]
pub struct Rounds {
    name: &'static str,
    first: u64,
    done: u64,
    most: u64,
    until: Option<Instant>,
}

impl Rounds {
    /// As many as the environment says, or `usual` ones from the seed 0.
    #[must_use]
    pub fn new(name: &'static str, usual: u64) -> Self {
        let number = |variable: &str| -> Option<u64> {
            let text = std::env::var(variable).ok()?;
            Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
        };
        let rounds = number("WINDLASS_TORTURE_ROUNDS");
        let seconds = number("WINDLASS_TORTURE_SECONDS");
        let first = number("WINDLASS_TORTURE_SEED").unwrap_or_default();
        Self::between(name, usual, first, rounds, seconds)
    }

    fn between(
        name: &'static str,
        usual: u64,
        first: u64,
        rounds: Option<u64>,
        seconds: Option<u64>,
    ) -> Self {
        let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        let most = rounds.unwrap_or(if until.is_some() { u64::MAX } else { usual });
        Self { name, first, done: 0, most, until }
    }

    /// No more than these: there are no more different ones.
    #[must_use]
    pub fn at_most(mut self, rounds: usize) -> Self {
        self.most = self.most.min(rounds as u64);
        self
    }

    /// Does them one after the other.
    pub fn run(mut self, mut round: impl FnMut(u64)) {
        while let Some(seed) = self.next() {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| round(seed))) {
                self.fail(seed, panic);
            }
        }
        self.end();
    }

    /// Does several at once, for those that wait more than they work.
    pub fn run_on(mut self, threads: usize, round: impl Fn(u64) + Sync) {
        let (rounds, failed) = (Mutex::new(&mut self), Mutex::new(None));
        let locked = || rounds.lock().unwrap_or_else(PoisonError::into_inner).next();
        let failure = || failed.lock().unwrap_or_else(PoisonError::into_inner);
        let work = || {
            while failure().is_none()
                && let Some(seed) = locked()
            {
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| round(seed))) {
                    failure().get_or_insert((seed, panic));
                }
            }
        };
        std::thread::scope(|scope| (0..threads.max(1)).for_each(|_| drop(scope.spawn(work))));
        let failed = failure().take();
        match failed {
            Some((seed, panic)) => self.fail(seed, panic),
            None => self.end(),
        }
    }

    /// The seed of the next round.
    fn next(&mut self) -> Option<u64> {
        // One round at least: nothing was shown by none.
        let late = self.done > 0 && self.until.is_some_and(|until| Instant::now() >= until);
        if late || self.done >= self.most {
            return None;
        }
        let seed = self.first.wrapping_add(self.done);
        self.done += 1;
        say(&format!("torture: {}: seed {seed}", self.name));
        Some(seed)
    }

    fn end(&self) {
        let Self { name, first, done, .. } = self;
        let last = first.wrapping_add(done.saturating_sub(1));
        say(&format!("torture: {name}: done, {done} rounds, seeds {first} to {last}"));
    }

    fn fail(&self, seed: u64, panic: Box<dyn Any + Send>) -> ! {
        say(&format!("torture: {}: failed with seed {seed}", self.name));
        resume_unwind(panic)
    }
}

#[expect(clippy::print_stderr, reason = "the test runner shows it where a test fails")]
fn say(line: &str) {
    eprintln!("{line}");
}

/// Which of `count` cases has its turn in the round of a seed: seeds in a row meet every case once,
/// and neighbours of a case late.
#[must_use]
pub fn case(seed: u64, count: usize) -> usize {
    // A prime that divides no number of cases one could have, far from any simple fraction of one.
    const STEP: u128 = 11_400_714_819_323_198_549;
    ((u128::from(seed) * STEP) % (count.max(1) as u128)) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn seeds_in_a_row_meet_every_case_once() {
        for count in [1, 2, 7, 64, 1000, 4099] {
            for first in [0, 5, u64::MAX / 2] {
                let cases: BTreeSet<usize> =
                    (0..count as u64).map(|round| case(first + round, count)).collect();
                assert_eq!(cases.len(), count, "{count} from {first}");
            }
        }
    }

    #[test]
    fn a_number_of_rounds_and_a_time_both_end_them_and_one_round_there_always_is() {
        let seeds = |rounds: Rounds| {
            let seeds = Mutex::new(BTreeSet::new());
            rounds.run_on(3, |seed| {
                seeds.lock().expect("no panic").insert(seed);
            });
            seeds.into_inner().expect("no panic").into_iter().collect::<Vec<u64>>()
        };
        assert_eq!(seeds(Rounds::between("usual", 3, 0, None, None)), [0, 1, 2]);
        assert_eq!(seeds(Rounds::between("rounds", 3, 7, Some(2), None)), [7, 8]);
        assert_eq!(seeds(Rounds::between("late", 3, 7, None, Some(0))), [7]);
        assert_eq!(seeds(Rounds::between("few", 3, 9, None, Some(60)).at_most(4)).len(), 4);
    }

    #[test]
    fn a_round_that_fails_is_the_last_one() {
        for threads in [1, 3] {
            let rounds = Rounds::between("failing", 1000, 0, None, None);
            let last = Mutex::new(0);
            let round = |seed| {
                *last.lock().unwrap_or_else(PoisonError::into_inner) = seed;
                assert!(seed < 5);
            };
            let run = || match threads {
                1 => rounds.run(round),
                _ => rounds.run_on(threads, round),
            };
            catch_unwind(AssertUnwindSafe(run)).expect_err("it failed");
            assert!(*last.lock().unwrap_or_else(PoisonError::into_inner) < 5 + threads as u64);
        }
    }
}
