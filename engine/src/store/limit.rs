//! Limits on bytes in a second.
//!
//! Invariants: over any time the bytes let through are at most the rate times that time and one
//! [`PIECE_BYTES`]; what was not used in a pause is not made up for later.

use std::{
    num::NonZeroU64,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::settings::Limits;

/// What is handed on at once, so that a limit is even and progress is seen.
pub const PIECE_BYTES: usize = 64 * 1024;

/// Both directions of a store.
#[derive(Debug, Default)]
pub struct Limiter {
    up: Option<Mutex<Pace>>,
    down: Option<Mutex<Pace>>,
}

/// Where bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the store.
    Up,
    /// From the store.
    Down,
}

/// One direction: when the next byte may go.
#[derive(Clone, Copy, Debug)]
struct Pace {
    bytes_per_second: NonZeroU64,
    free_at: Option<Instant>,
}

impl Pace {
    /// Books `bytes`, and says when they may go if they come at `now`.
    fn book(&mut self, now: Instant, bytes: u64) -> Instant {
        let start = self.free_at.map_or(now, |free_at| free_at.max(now));
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second.get());
        let takes = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.free_at = Some(start.checked_add(takes).unwrap_or(start));
        start
    }
}

impl Limiter {
    /// Limits both directions.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let pace = |rate: Option<NonZeroU64>| {
            rate.map(|bytes_per_second| Mutex::new(Pace { bytes_per_second, free_at: None }))
        };
        Self { up: pace(limits.up), down: pace(limits.down) }
    }

    /// Books `bytes` and says when they may go; `None` for now.
    #[must_use]
    pub fn book(&self, direction: Direction, bytes: usize) -> Option<Instant> {
        let pace = match direction {
            Direction::Up => self.up.as_ref()?,
            Direction::Down => self.down.as_ref()?,
        };
        let now = Instant::now();
        let mut pace = pace.lock().unwrap_or_else(PoisonError::into_inner);
        Some(pace.book(now, bytes as u64)).filter(|at| *at > now)
    }

    /// Waits until `bytes` may go.
    pub async fn pass(&self, direction: Direction, bytes: usize) {
        if let Some(at) = self.book(direction, bytes) {
            tokio::time::sleep_until(at).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(up: u64) -> Limiter {
        Limiter::new(Limits { up: NonZeroU64::new(up), down: None })
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_pass_at_the_rate_and_not_faster() {
        let limiter = limiter(1000);
        let began = Instant::now();
        for _piece in 0..5 {
            limiter.pass(Direction::Up, 500).await;
        }
        // The first goes at once, and each after it waits for those before.
        assert_eq!(began.elapsed(), Duration::from_secs(2));
        limiter.pass(Direction::Down, 1 << 40).await;
        assert_eq!(began.elapsed(), Duration::from_secs(2), "the other direction has no limit");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_not_made_up_for() {
        let limiter = limiter(1000);
        limiter.pass(Direction::Up, 1000).await;
        tokio::time::sleep(Duration::from_secs(100)).await;
        let began = Instant::now();
        limiter.pass(Direction::Up, 1000).await;
        limiter.pass(Direction::Up, 1000).await;
        assert_eq!(began.elapsed(), Duration::from_secs(1));
    }

    #[test]
    fn a_huge_booking_does_not_overflow() {
        let now = Instant::now();
        let mut pace = Pace { bytes_per_second: NonZeroU64::MIN, free_at: None };
        for _time in 0..3 {
            assert!(pace.book(now, u64::MAX) >= now);
        }
    }
}
