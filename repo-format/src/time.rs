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

/// What calendar and clock showed where a moment was written down.
///
/// Fields may be moved beyond their ranges, as "three months earlier" does; [`Self::days`] carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// The year of the Gregorian calendar.
    pub year: i64,
    /// The month, 1 to 12.
    pub month: i64,
    /// The day of the month, from 1 on.
    pub day: i64,
    /// The second of the day.
    pub second: i64,
}

impl Civil {
    /// Days since 1970-01-01. A month or day beyond its range carries over: 31 February is two or
    /// three days into March.
    #[must_use]
    pub fn days(&self) -> i64 {
        let month = self.month - 1;
        let first = days_from_date(self.year + month.div_euclid(12), month.rem_euclid(12) + 1, 1);
        first + self.day - 1
    }

    /// The year and week of ISO 8601: weeks begin on Monday and belong to the year of their
    /// Thursday.
    #[must_use]
    pub fn iso_week(&self) -> (i64, i64) {
        let days = self.days();
        // 1970-01-01 was a Thursday.
        let thursday = days - (days + 3).rem_euclid(7) + 3;
        let (year, ..) = date_from_days(thursday);
        (year, (thursday - days_from_date(year, 1, 1)) / 7 + 1)
    }
}

impl Timestamp {
    /// 0001-01-01T00:00:00Z, what Go has where no time was ever set.
    pub const ZERO: Self = Self::utc(-62_135_596_800, 0);

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

    /// Reads `YYYY-MM-DDThh:mm:ss[.fraction](Z|+hh:mm|-hh:mm)`; digits of the fraction beyond the
    /// ninth are dropped.
    ///
    /// A sign and six digits may stand for the year. That is not RFC 3339 and Go refuses it, but
    /// rustic writes it for years before 0 and after 9999.
    #[must_use]
    pub fn parse_rfc3339(text: impl AsRef<[u8]>) -> Option<Self> {
        let (year, rest) = year(text.as_ref())?;
        let (fixed, rest) = rest.split_first_chunk::<15>()?;
        let [b'-', m0, m1, b'-', d0, d1, b'T', h0, h1, b':', i0, i1, b':', s0, s1] = *fixed else {
            return None;
        };
        let (month, day) = (two(m0, m1)?, two(d0, d1)?);
        let (hour, minute, second) = (two(h0, h1)?, two(i0, i1)?, two(s0, s1)?);
        if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
            return None;
        }
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let (nanos, zone) = fraction(rest)?;
        let offset_seconds = match *zone {
            [b'Z'] => 0,
            [sign @ (b'+' | b'-'), h0, h1, b':', m0, m1] => {
                let (hours, minutes) = (two(h0, h1)?, two(m0, m1)?);
                if hours > 23 || minutes > 59 {
                    return None;
                }
                let seconds = hours * 3600 + minutes * 60;
                if sign == b'-' { -seconds } else { seconds }
            }
            _ => return None,
        };
        let days = days_from_date(i64::from(year), i64::from(month), i64::from(day));
        let local = days * DAY + i64::from(hour * 3600 + minute * 60 + second);
        Some(Self { seconds: local - i64::from(offset_seconds), nanos, offset_seconds })
    }

    /// Appends the moment in its zone, with as many digits of a fraction as it needs.
    ///
    /// An offset is written in whole minutes, its seconds dropped, although the time of day
    /// includes them; a year outside 0..=9999 is not RFC 3339, see [`Self::clamp_year`].
    pub fn push_rfc3339(&self, out: &mut Vec<u8>) {
        let (days, second) = self.local();
        let (year, month, day) = date_from_days(days);
        let year = i32::try_from(year.clamp(0, 9999)).unwrap_or_default();
        let (y, m, d) = (pair(year / 100), pair(month), pair(day));
        let [y2, y3] = pair(year % 100);
        let [h0, h1] = pair(second / 3600);
        let [i0, i1] = pair(second / 60 % 60);
        let [s0, s1] = pair(second % 60);
        out.extend_from_slice(&[
            y[0], y[1], y2, y3, b'-', m[0], m[1], b'-', d[0], d[1], b'T', h0, h1, b':', i0, i1,
            b':', s0, s1,
        ]);
        if self.nanos != 0 {
            let mut digits = [b'.', 0, 0, 0, 0, 0, 0, 0, 0, 0];
            let mut rest = self.nanos;
            for slot in digits.iter_mut().skip(1).rev() {
                *slot = pair(i32::try_from(rest % 10).unwrap_or_default())[1];
                rest /= 10;
            }
            let used = digits.iter().rposition(|digit| *digit != b'0').unwrap_or_default();
            out.extend(digits.iter().take(used + 1));
        }
        if self.offset_seconds == 0 {
            out.push(b'Z');
        } else {
            let minutes = self.offset_seconds / 60;
            out.push(if minutes < 0 { b'-' } else { b'+' });
            let minutes = minutes.abs();
            let ([h0, h1], [m0, m1]) = (pair(minutes / 60 % 100), pair(minutes % 60));
            out.extend_from_slice(&[h0, h1, b':', m0, m1]);
        }
    }

    /// The date and time of day on the clock that wrote it.
    #[must_use]
    pub fn civil(&self) -> Civil {
        let (days, second) = self.local();
        let (year, month, day) = date_from_days(days);
        Civil { year, month: month.into(), day: day.into(), second: second.into() }
    }

    /// The same day and time of day in year 0 or 9999 if it lies beyond them; 29 February becomes
    /// 1 March where that year has none.
    #[must_use]
    pub fn clamp_year(self) -> Self {
        if CERTAIN.contains(&self.seconds) {
            return self;
        }
        let (days, second) = self.local();
        let (year, month, day) = date_from_days(days);
        if (0..=9999).contains(&year) {
            return self;
        }
        let days = days_from_date(year.clamp(0, 9999), i64::from(month), i64::from(day));
        let seconds = days * DAY + i64::from(second) - i64::from(self.offset_seconds);
        Self { seconds, ..self }
    }

    /// Days since 1970-01-01 and second of the day on the clock that wrote it.
    fn local(&self) -> (i64, i32) {
        let local = self.seconds.saturating_add(i64::from(self.offset_seconds));
        (local.div_euclid(DAY), i32::try_from(local.rem_euclid(DAY)).unwrap_or_default())
    }
}

const DAY: i64 = 86400;
/// Moments in years 0 to 9999 whatever the zone, short of a few days at both ends.
const CERTAIN: core::ops::Range<i64> = -62_167_000_000..253_402_000_000;

fn two(high: u8, low: u8) -> Option<i32> {
    let digit = |byte: u8| byte.is_ascii_digit().then(|| i32::from(byte - b'0'));
    Some(digit(high)? * 10 + digit(low)?)
}

/// Two digits of a number below 100.
fn pair(number: i32) -> [u8; 2] {
    let number = u8::try_from(number).unwrap_or_default();
    [b'0' + number / 10 % 10, b'0' + number % 10]
}

fn year(text: &[u8]) -> Option<(i32, &[u8])> {
    match *text {
        [b'+', y0, y1, y2, y3, y4, y5, ref rest @ ..] => Some((six(y0, y1, y2, y3, y4, y5)?, rest)),
        [b'-', y0, y1, y2, y3, y4, y5, ref rest @ ..] => {
            Some((-six(y0, y1, y2, y3, y4, y5)?, rest))
        }
        [y0, y1, y2, y3, ref rest @ ..] => Some((two(y0, y1)? * 100 + two(y2, y3)?, rest)),
        _ => None,
    }
}

fn six(y0: u8, y1: u8, y2: u8, y3: u8, y4: u8, y5: u8) -> Option<i32> {
    Some((two(y0, y1)? * 100 + two(y2, y3)?) * 100 + two(y4, y5)?)
}

fn fraction(rest: &[u8]) -> Option<(u32, &[u8])> {
    let [b'.', digits @ ..] = rest else { return Some((0, rest)) };
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, zone) = digits.split_at_checked(length)?;
    if digits.is_empty() {
        return None;
    }
    let kept = digits.iter().chain([b'0'; 9].iter()).take(9);
    Some((kept.fold(0, |nanos, digit| nanos * 10 + u32::from(digit - b'0')), zone))
}

fn days_in_month(year: i32, month: i32) -> i32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar.
///
/// Years are counted from March so that the leap day is the last of one; 146097 days make 400.
fn days_from_date(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + year * 365 + year / 4 - year / 100 + day_of_year - 719_468
}

/// Year, month and day; the inverse of [`days_from_date`].
fn date_from_days(days: i64) -> (i64, i32, i32) {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    let narrow = |number: i64| i32::try_from(number).unwrap_or_default();
    (era * 400 + year, narrow(month), narrow(day))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(moment: Timestamp) -> String {
        let mut out = Vec::new();
        moment.push_rfc3339(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_was_written_is_written_again() {
        for text in [
            "1970-01-01T00:00:00Z",
            "1969-12-31T23:59:59.999999999Z",
            "2026-11-21T14:12:07.01234+05:45",
            "2024-02-29T12:00:00-03:30",
            "0000-01-01T00:00:00Z",
            "9999-12-31T23:59:59.5+14:00",
            "1600-03-01T00:00:00Z",
        ] {
            assert_eq!(printed(Timestamp::parse_rfc3339(text).unwrap()), text);
        }
    }

    #[test]
    fn the_moment_is_the_one_a_calendar_gives() {
        let moment = Timestamp::parse_rfc3339(b"2026-11-21T14:12:07.5+05:45").unwrap();
        assert_eq!(moment.seconds, 1_795_249_627);
        assert_eq!((moment.nanos, moment.offset_seconds), (500_000_000, 20_700));
        assert!(moment.same_instant(&Timestamp::utc(1_795_249_627, 500_000_000)));
        let moment = Timestamp::parse_rfc3339("2024-02-29T12:34:56.123456789+02:00").unwrap();
        assert_eq!((moment.seconds, moment.nanos), (1_709_202_896, 123_456_789));
        let moment = Timestamp::parse_rfc3339("9999-12-31T23:59:59-09:30").unwrap();
        assert_eq!(moment.instant(), (253_402_334_999, 0));
        assert_eq!(Timestamp::parse_rfc3339("0001-01-01T00:00:00Z"), Some(Timestamp::ZERO));
        assert_eq!(printed(Timestamp::utc(-62_167_219_200, 0)), "0000-01-01T00:00:00Z");
        assert_eq!(printed(Timestamp::utc(951_782_400, 1)), "2000-02-29T00:00:00.000000001Z");
    }

    #[test]
    fn years_of_six_digits_are_read_though_never_written() {
        let far = Timestamp::parse_rfc3339("+010000-02-29T00:00:00Z").unwrap();
        assert_eq!(far.seconds, days_from_date(10_000, 2, 29) * DAY);
        assert_eq!(printed(far.clamp_year()), "9999-03-01T00:00:00Z");
        let before = Timestamp::parse_rfc3339("-000006-12-31T20:00:00+00:00").unwrap();
        assert_eq!(before.seconds, days_from_date(-6, 12, 31) * DAY + 72_000);
    }

    #[test]
    fn text_that_is_no_time_is_refused() {
        for text in [
            "",
            "2026-11-21T14:12:07",
            "2026-11-21 14:12:07Z",
            "2026-11-31T14:12:07Z",
            "2025-02-29T14:12:07Z",
            "2026-13-01T14:12:07Z",
            "2026-00-01T14:12:07Z",
            "2026-11-21T24:00:00Z",
            "2026-11-21T23:60:00Z",
            "2026-11-21T23:59:60Z",
            "2026-11-21T14:12:07.Z",
            "2026-11-21T14:12:07,5Z",
            "2026-11-21T14:12:07z",
            "2026-11-21T14:12:07+24:00",
            "2026-11-21T14:12:07+0545",
            "2026-11-21T14:12:07Z ",
            "10000-01-01T00:00:00Z",
            "+10000-01-01T00:00:00Z",
        ] {
            assert_eq!(Timestamp::parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn years_beyond_four_digits_come_back_to_the_nearest_one() {
        // 10000-02-29 exists, 9999-02-29 does not.
        let leap_day = days_from_date(10_000, 2, 29) * DAY + 3723;
        let clamped = Timestamp::utc(leap_day, 7).clamp_year();
        assert_eq!(printed(clamped), "9999-03-01T01:02:03.000000007Z");
        let before = Timestamp::utc(days_from_date(-5, 6, 7) * DAY, 0).clamp_year();
        assert_eq!(printed(before), "0000-06-07T00:00:00Z");
        for seconds in [i64::MIN, i64::MAX] {
            let extreme = Timestamp { seconds, nanos: 1, offset_seconds: 3600 };
            assert!(printed(extreme.clamp_year()).len() > 20);
        }
    }

    #[test]
    fn seconds_of_an_offset_show_in_the_time_of_day_alone() {
        let moment = Timestamp { seconds: 0, nanos: 0, offset_seconds: 5 * 3600 + 41 * 60 + 16 };
        assert_eq!(printed(moment), "1970-01-01T05:41:16+05:41");
        let west = Timestamp { seconds: 0, nanos: 0, offset_seconds: -30 };
        assert_eq!(printed(west), "1969-12-31T23:59:30+00:00");
    }

    #[test]
    fn months_and_days_beyond_their_range_carry_over() {
        let days = |year, month, day| Civil { year, month, day, second: 0 }.days();
        assert_eq!(days(2023, 2, 31), days(2023, 3, 3));
        assert_eq!(days(2024, 2, 31), days(2024, 3, 2));
        assert_eq!(days(2024, -9, 1), days(2023, 3, 1));
        assert_eq!(days(2024, 0, 31), days(2023, 12, 31));
        assert_eq!(days(2024, 3, -1), days(2024, 2, 28));
    }

    #[test]
    fn weeks_are_those_of_iso_8601() {
        let week = |text: &str| {
            let moment = Timestamp::parse_rfc3339(format!("{text}T23:59:59Z")).unwrap();
            moment.civil().iso_week()
        };
        assert_eq!(week("2005-01-01"), (2004, 53));
        assert_eq!(week("2005-01-03"), (2005, 1));
        assert_eq!(week("2008-12-29"), (2009, 1));
        assert_eq!(week("2010-01-03"), (2009, 53));
        assert_eq!(week("2026-11-21"), (2026, 47));
        assert_eq!(week("1969-12-28"), (1969, 52));
    }

    #[test]
    fn every_day_of_eight_centuries_is_its_own_date() {
        let mut previous = (0, 0, 0);
        for days in days_from_date(1599, 12, 31)..days_from_date(2401, 1, 1) {
            let (year, month, day) = date_from_days(days);
            assert!((year, month, day) > previous);
            assert!(day <= days_in_month(i32::try_from(year).unwrap(), month));
            assert_eq!(days_from_date(year, month.into(), day.into()), days);
            previous = (year, month, day);
        }
        assert_eq!(previous, (2400, 12, 31));
    }
}
