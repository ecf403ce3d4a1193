//! How long to wait before the next try: plain numbers, no clock.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);
/// How much less is waited for an answer that only some stores take back: they have tried again
/// themselves before they gave it.
const SHORTER: u32 = 5;

/// The pause after try number `attempt` (from 1) has failed. It doubles from half a second to half
/// a minute; `random` takes up to half of it away, so that many clients do not come back at once.
/// A store that asks for more gets more.
pub(super) fn pause(attempt: u32, random: u64, asked: Option<Duration>) -> Duration {
    let doublings = attempt.saturating_sub(1).min(16);
    let full = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    let half = full / 2;
    // The remainder is not exactly even, which no server will notice.
    let spread = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX).max(1);
    let pause = half + Duration::from_nanos(random % spread);
    // The jitter is kept: all who were asked to wait a minute would be back at the same moment.
    asked.map_or(pause, |asked| pause.max(asked.saturating_add(pause / 4)))
}

/// The pause before an answer that should be final is asked for again.
pub(super) fn short_pause(attempt: u32, random: u64) -> Duration {
    pause(attempt, random, None) / SHORTER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_limit() {
        let longest =
            |attempt| pause(attempt, u64::MAX / 3 * 2 - 1, None).max(pause(attempt, 0, None));
        for (attempt, full) in
            [(1, 500), (2, 1000), (3, 2000), (6, 16_000), (7, 30_000), (90, 30_000)]
        {
            let full = Duration::from_millis(full);
            assert_eq!(pause(attempt, 0, None), full / 2, "{attempt}");
            assert!(longest(attempt) < full, "{attempt}");
        }
    }

    #[test]
    fn randomness_spreads_over_half_of_the_pause() {
        let pauses: Vec<Duration> = (0..100_u64).map(|i| pause(1, i * 2_500_000, None)).collect();
        assert_eq!(pauses.iter().min(), Some(&Duration::from_millis(250)));
        assert!(pauses.iter().max() >= Some(&Duration::from_millis(490)));
    }

    #[test]
    fn what_the_store_asks_for_is_a_minimum() {
        let asked = Some(Duration::from_secs(60));
        assert!(pause(1, 0, asked) > Duration::from_secs(60));
        assert!(pause(1, 0, asked) < Duration::from_secs(61));
        assert_eq!(pause(9, 0, Some(Duration::ZERO)), pause(9, 0, None));
    }
}
