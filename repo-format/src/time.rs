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

impl Timestamp {
    /// Reads `YYYY-MM-DDThh:mm:ss[.fraction](Z|±hh:mm)`, as Go writes times in JSON; `None` for
    /// anything else. Digits of a fraction past the ninth must be absent.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let (head, rest) = text.as_bytes().split_first_chunk::<19>()?;
        let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b'T', h0, h1, b':', n0, n1, b':', s0, s1] =
            *head
        else {
            return None;
        };
        let year = digits(&[y0, y1, y2, y3])?;
        let (month, day) = (digits(&[m0, m1])?, digits(&[d0, d1])?);
        let (hour, minute, second) = (digits(&[h0, h1])?, digits(&[n0, n1])?, digits(&[s0, s1])?);
        if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
            return None;
        }
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let (nanos, zone) = fraction(rest)?;
        let offset_seconds = zone_offset(zone)?;
        let local =
            days_from_epoch(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
        Some(Self { seconds: local - i64::from(offset_seconds), nanos, offset_seconds })
    }
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0_i64, |sum, byte| {
        byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0'))
    })
}

/// The nanoseconds of an optional fraction, and what follows it.
fn fraction(text: &[u8]) -> Option<(u32, &[u8])> {
    let Some((b'.', text)) = text.split_first() else { return Some((0, text)) };
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=9).contains(&length) {
        return None;
    }
    let (fraction, zone) = text.split_at_checked(length)?;
    let missing = u32::try_from(9 - length).ok()?;
    let nanos = digits(fraction)? * 10_i64.pow(missing);
    Some((u32::try_from(nanos).ok()?, zone))
}

fn zone_offset(zone: &[u8]) -> Option<i32> {
    if zone == b"Z" {
        return Some(0);
    }
    let &[sign, h0, h1, b':', m0, m1] = zone else { return None };
    let (hours, minutes) = (digits(&[h0, h1])?, digits(&[m0, m1])?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    let offset = i32::try_from(hours * 3_600 + minutes * 60).ok()?;
    match sign {
        b'+' => Some(offset),
        b'-' => Some(-offset),
        _ => None,
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar, years counted from March so
/// that the leap day is the last of its year.
fn days_from_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::Timestamp;

    fn at(text: &str) -> Option<(i64, u32, i32)> {
        let time = Timestamp::parse_rfc3339(text)?;
        Some((time.seconds, time.nanos, time.offset_seconds))
    }

    #[test]
    fn rfc3339_moments_are_the_ones_go_means() {
        assert_eq!(at("1970-01-01T00:00:00Z"), Some((0, 0, 0)));
        assert_eq!(at("1969-12-31T23:59:59.5Z"), Some((-1, 500_000_000, 0)));
        assert_eq!(at("2024-02-29T12:34:56.123456789+02:00"), {
            Some((1_709_202_896, 123_456_789, 7_200))
        });
        assert_eq!(at("0001-01-01T00:00:00Z"), Some((-62_135_596_800, 0, 0)));
        assert_eq!(at("9999-12-31T23:59:59-09:30"), Some((253_402_334_999, 0, -34_200)));
        assert_eq!(at("1900-03-01T00:00:00Z"), Some((-2_203_891_200, 0, 0)));
    }

    #[test]
    fn anything_else_is_not_a_moment() {
        for text in [
            "",
            "1970-01-01",
            "1970-01-01T00:00:00",
            "1970-01-01 00:00:00Z",
            "1970-13-01T00:00:00Z",
            "1970-00-01T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "1970-01-01T24:00:00Z",
            "1970-01-01T00:00:60Z",
            "1970-01-01T00:00:00.Z",
            "1970-01-01T00:00:00.1234567890Z",
            "1970-01-01T00:00:00+0200",
            "1970-01-01T00:00:00Zx",
            "-970-01-01T00:00:00Z",
        ] {
            assert_eq!(at(text), None, "{text}");
        }
    }
}
