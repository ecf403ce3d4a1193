//! When a small read is asked for a second time because the first answer is late.
//!
//! Invariants: at most one read in twenty is doubled, and none before it is known how long reads
//! take here.

use std::time::Duration;

/// Only what is small may be had twice.
pub(super) const MOST_BYTES: u64 = 1 << 20;

const SAMPLES: u32 = 16;
const SHARE: u32 = 20;
const SHORTEST: Duration = Duration::from_millis(25);

/// How long small reads take.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hedge {
    reads: u32,
    doubled: u32,
    mean: f64,
    deviation: f64,
}

impl Hedge {
    /// A read has taken so long.
    pub(super) fn took(&mut self, took: Duration) {
        let took = took.as_secs_f64();
        self.reads = self.reads.saturating_add(1);
        if self.reads == 1 {
            (self.mean, self.deviation) = (took, took / 2.0);
            return;
        }
        // As TCP judges its round trips.
        self.deviation += ((took - self.mean).abs() - self.deviation) / 4.0;
        self.mean += (took - self.mean) / 8.0;
    }

    /// How long to wait for an answer before asking again; `None` not to.
    pub(super) fn delay(&self) -> Option<Duration> {
        let may_double = self.reads >= SAMPLES && self.doubled < self.reads / SHARE + 1;
        let delay = Duration::from_secs_f64(self.mean + 4.0 * self.deviation);
        may_double.then(|| delay.max(SHORTEST))
    }

    /// One was asked for again.
    pub(super) fn doubled(&mut self) {
        self.doubled = self.doubled.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_doubled_before_times_are_known() {
        let mut hedge = Hedge::default();
        for _read in 1..SAMPLES {
            hedge.took(Duration::from_millis(40));
            assert_eq!(hedge.delay(), None);
        }
        hedge.took(Duration::from_millis(40));
        let delay = hedge.delay().expect("known now");
        assert!(
            delay > Duration::from_millis(40) && delay < Duration::from_millis(80),
            "{delay:?}"
        );
    }

    #[test]
    fn few_reads_are_doubled() {
        let mut hedge = Hedge::default();
        let mut doubled = 0;
        for _read in 0..1000 {
            hedge.took(Duration::from_millis(40));
            if hedge.delay().is_some() {
                hedge.doubled();
                doubled += 1;
            }
        }
        assert!((40..=51).contains(&doubled), "{doubled}");
    }

    #[test]
    fn times_that_vary_make_it_patient() {
        let mut hedge = Hedge::default();
        for read in 0..100 {
            hedge.took(Duration::from_millis(if read % 2 == 0 { 10 } else { 200 }));
        }
        assert!(hedge.delay().expect("known") > Duration::from_millis(300));
    }
}
