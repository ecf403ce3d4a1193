//! The time of day: the only place that asks the system for it.
//!
//! Invariants: what [`Clock::now`] gives carries the local zone's offset at that moment, because
//! repositories record it.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use windlass_format::time::Timestamp;

/// Where operations get the time from.
pub trait Clock: Send + Sync + fmt::Debug {
    /// This moment, in local time.
    fn now(&self) -> Timestamp;
}

/// The system's clock and time zone.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct FixedClock(Mutex<Timestamp>);

const NANOS: u32 = 1_000_000_000;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        from_zoned(&jiff::Zoned::now())
    }
}

impl FixedClock {
    /// A clock showing `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self(Mutex::new(now))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let nanos = now.nanos + by.subsec_nanos();
        let seconds = i64::try_from(by.as_secs()).unwrap_or(i64::MAX);
        now.seconds = now.seconds.saturating_add(seconds).saturating_add((nanos / NANOS).into());
        now.nanos = nanos % NANOS;
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A time zone, for moments that come from elsewhere than the clock.
#[derive(Clone, Debug)]
pub struct Zone(jiff::tz::TimeZone);

impl Zone {
    /// The system's.
    #[must_use]
    pub fn system() -> Self {
        Self(jiff::tz::TimeZone::system())
    }

    /// Coordinated universal time.
    #[must_use]
    pub fn utc() -> Self {
        Self(jiff::tz::TimeZone::UTC)
    }

    /// The zone with a name of the time zone database, such as `Europe/Berlin`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        jiff::tz::TimeZone::get(name).ok().map(Self)
    }

    /// Seconds east of UTC at a moment.
    #[must_use]
    pub fn offset_seconds(&self, seconds: i64) -> i32 {
        jiff::Timestamp::from_second(seconds).map_or(0, |moment| self.0.to_offset(moment).seconds())
    }

    /// A moment, with this zone's offset at that moment, in whole minutes: before zones were
    /// agreed on there were odd seconds, which the text of a time has no room for and which would
    /// be missing from the moment when it is read again.
    #[must_use]
    pub fn timestamp(&self, (seconds, nanos): (i64, u32)) -> Timestamp {
        let offset_seconds = self.offset_seconds(seconds) / 60 * 60;
        Timestamp { seconds, nanos, offset_seconds }
    }
}

fn from_zoned(now: &jiff::Zoned) -> Timestamp {
    let (seconds, nanos) = (now.timestamp().as_second(), now.timestamp().subsec_nanosecond());
    // Before 1970 both are negative there; ours counts nanoseconds upwards only.
    let (seconds, nanos) = match u32::try_from(nanos) {
        Ok(nanos) => (seconds, nanos),
        Err(_) => (seconds - 1, NANOS - nanos.unsigned_abs()),
    };
    Timestamp { seconds, nanos, offset_seconds: now.offset().seconds() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_zoned(text: &str, seconds: i64, nanos: u32, offset_seconds: i32) {
        let zoned: jiff::Zoned = text.parse().expect("a zoned time");
        assert_eq!(from_zoned(&zoned), Timestamp { seconds, nanos, offset_seconds });
    }

    #[test]
    fn the_offset_of_the_zone_is_kept() {
        check_zoned("1970-01-01T01:00:00.5+01:00[+01:00]", 0, 500_000_000, 3600);
        check_zoned("2024-07-01T12:00:00-03:30[-03:30]", 1_719_847_800, 0, -12_600);
    }

    #[test]
    fn fractions_before_1970_count_upwards() {
        check_zoned("1969-12-31T23:59:59.75+00:00[UTC]", -1, 750_000_000, 0);
        check_zoned("1969-12-31T23:59:59+00:00[UTC]", -1, 0, 0);
    }

    #[test]
    fn a_moment_in_local_mean_time_survives_being_written() {
        let st_johns = jiff::tz::Offset::from_seconds(-12_652).expect("an offset");
        let zone = Zone(jiff::tz::TimeZone::fixed(st_johns));
        let time = zone.timestamp((-1_900_000_001, 1));
        assert_eq!(time, Timestamp { seconds: -1_900_000_001, nanos: 1, offset_seconds: -12_600 });
    }

    #[test]
    fn a_fixed_clock_moves_only_when_told() {
        let clock = FixedClock::new(Timestamp::utc(-1, 900_000_000));
        assert_eq!(clock.now(), clock.now());
        clock.advance(Duration::from_millis(1_200));
        assert_eq!(clock.now(), Timestamp::utc(1, 100_000_000));
    }

    #[test]
    fn the_system_clock_agrees_with_the_system() {
        let since = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("after 1970")
            .as_secs();
        let now = u64::try_from(SystemClock.now().seconds).expect("after 1970");
        assert!(now.abs_diff(since) < 60);
    }
}
