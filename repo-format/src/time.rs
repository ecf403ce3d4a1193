//! A moment with the zone offset it was written in.
//!
//! Invariants: equality and order compare the moment *and* the offset as written, because both are
//! part of byte-exact metadata; [`Timestamp::same_instant`] compares the moment alone.

/// Seconds and nanoseconds since the Unix epoch, and the offset of the clock that wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Whole seconds since 1970-01-01T00:00:00Z, negative before it.
    pub seconds: i64,
    /// Nanoseconds past `seconds`, 0..1_000_000_000.
    pub nanos: u32,
    /// Seconds east of UTC of the written local time; 0 prints as `Z`.
    pub offset_seconds: i32,
}

impl Timestamp {
    /// A moment in UTC.
    #[must_use]
    pub const fn utc(seconds: i64, nanos: u32) -> Self {
        Self { seconds, nanos, offset_seconds: 0 }
    }

    /// Whether both are the same moment, whatever zone they were written in.
    #[must_use]
    pub fn same_instant(&self, other: &Self) -> bool {
        self.instant() == other.instant()
    }

    /// The moment alone, for ordering across zones.
    #[must_use]
    pub const fn instant(&self) -> (i64, u32) {
        (self.seconds, self.nanos)
    }
}
