//! A moment as Go's layouts write it: `2006-01-02T15:04:05Z07:00` and its like.
//!
//! Invariants: a layout is written with the parts of one fixed moment, and everything else stands
//! for itself, as in Go's `time.Format`; so no layout is wrong. The moment is shown in the zone it
//! was written in, whose name is known for UTC alone: any other is its offset, as Go has it where it
//! knows no name.

use std::fmt::Write;

use windlass_format::time::Timestamp;

/// A part of a layout that a moment fills in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    LongMonth,
    Month,
    NumMonth,
    ZeroMonth,
    LongWeekday,
    Weekday,
    Day,
    SpaceDay,
    ZeroDay,
    SpaceYearDay,
    ZeroYearDay,
    Hour,
    Hour12,
    ZeroHour12,
    Minute,
    ZeroMinute,
    Second,
    ZeroSecond,
    LongYear,
    Year,
    Noon,
    SmallNoon,
    ZoneName,
    /// The offset: `Z` for none at all, how many of hours, minutes and seconds, with colons.
    Offset {
        z: bool,
        units: u8,
        colons: bool,
    },
    /// Digits of a fraction; trailing zeros are left out or not.
    Fraction {
        comma: bool,
        digits: usize,
        trimmed: bool,
    },
}

use Part::*;

/// Those that are recognised by their first letters, the longer ones first.
const PARTS: [(&str, Part); 33] = [
    ("January", LongMonth),
    ("Jan", Month),
    ("Monday", LongWeekday),
    ("Mon", Weekday),
    ("MST", ZoneName),
    ("002", ZeroYearDay),
    ("01", ZeroMonth),
    ("02", ZeroDay),
    ("03", ZeroHour12),
    ("04", ZeroMinute),
    ("05", ZeroSecond),
    ("06", Year),
    ("15", Hour),
    ("1", NumMonth),
    ("2006", LongYear),
    ("2", Day),
    ("__2", SpaceYearDay),
    ("_2", SpaceDay),
    ("3", Hour12),
    ("4", Minute),
    ("5", Second),
    ("PM", Noon),
    ("pm", SmallNoon),
    ("-070000", Offset { z: false, units: 3, colons: false }),
    ("-07:00:00", Offset { z: false, units: 3, colons: true }),
    ("-0700", Offset { z: false, units: 2, colons: false }),
    ("-07:00", Offset { z: false, units: 2, colons: true }),
    ("-07", Offset { z: false, units: 1, colons: false }),
    ("Z070000", Offset { z: true, units: 3, colons: false }),
    ("Z07:00:00", Offset { z: true, units: 3, colons: true }),
    ("Z0700", Offset { z: true, units: 2, colons: false }),
    ("Z07:00", Offset { z: true, units: 2, colons: true }),
    ("Z07", Offset { z: true, units: 1, colons: false }),
];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] =
    ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

/// The moment as `layout` shows it.
#[must_use]
pub(super) fn stamp(layout: &str, time: &Timestamp) -> String {
    let mut out = String::new();
    let mut rest = layout;
    while let Some(first) = rest.chars().next() {
        if let Some((part, len)) = part_at(rest) {
            push(&mut out, part, time);
            rest = rest.get(len..).unwrap_or_default();
        } else {
            out.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        }
    }
    out
}

/// The part that a text begins with, and its length.
fn part_at(text: &str) -> Option<(Part, usize)> {
    if text.starts_with("_2006") {
        // The underscore stands for itself.
        return None;
    }
    if let Some(fraction) = fraction_at(text) {
        return Some(fraction);
    }
    let (word, part) = PARTS.iter().find(|(word, _)| text.starts_with(word))?;
    let next = text.get(word.len()..)?.chars().next();
    // `Jan` and `Mon` may be the beginning of another word.
    let is_other_word =
        matches!(part, Month | Weekday) && next.is_some_and(|next| next.is_ascii_lowercase());
    (!is_other_word).then_some((*part, word.len()))
}

fn fraction_at(text: &str) -> Option<(Part, usize)> {
    let (b'.' | b',', digits) = text.as_bytes().split_first()? else { return None };
    let digit = *digits.first().filter(|digit| matches!(digit, b'0' | b'9'))?;
    let count = digits.iter().take_while(|other| **other == digit).count();
    if digits.get(count).is_some_and(u8::is_ascii_digit) {
        return None;
    }
    Some((
        Fraction { comma: text.starts_with(','), digits: count, trimmed: digit == b'9' },
        1 + count,
    ))
}

fn push(out: &mut String, part: Part, time: &Timestamp) {
    let civil = time.civil();
    let (hour, minute, second) = (civil.second / 3600, civil.second / 60 % 60, civil.second % 60);
    let hour12 = if hour % 12 == 0 { 12 } else { hour % 12 };
    let month = MONTHS[(civil.month - 1).rem_euclid(12) as usize];
    // 1970-01-01 was a Thursday.
    let weekday = WEEKDAYS[civil.days().rem_euclid(7) as usize];
    let year_day = || {
        let first = windlass_format::time::Civil { month: 1, day: 1, ..civil };
        civil.days() - first.days() + 1
    };
    // Writing into a text cannot fail.
    let _written = match part {
        LongMonth => out.write_str(month),
        Month => out.write_str(&month[..3]),
        NumMonth => write!(out, "{}", civil.month),
        ZeroMonth => write!(out, "{:02}", civil.month),
        LongWeekday => out.write_str(weekday),
        Weekday => out.write_str(&weekday[..3]),
        Day => write!(out, "{}", civil.day),
        SpaceDay => write!(out, "{:2}", civil.day),
        ZeroDay => write!(out, "{:02}", civil.day),
        SpaceYearDay => write!(out, "{:3}", year_day()),
        ZeroYearDay => write!(out, "{:03}", year_day()),
        Hour => write!(out, "{hour:02}"),
        Hour12 => write!(out, "{hour12}"),
        ZeroHour12 => write!(out, "{hour12:02}"),
        Minute => write!(out, "{minute}"),
        ZeroMinute => write!(out, "{minute:02}"),
        Second => write!(out, "{second}"),
        ZeroSecond => write!(out, "{second:02}"),
        LongYear if civil.year < 0 => write!(out, "-{:04}", -civil.year),
        LongYear => write!(out, "{:04}", civil.year),
        Year => write!(out, "{:02}", civil.year.rem_euclid(100)),
        Noon => out.write_str(if hour < 12 { "AM" } else { "PM" }),
        SmallNoon => out.write_str(if hour < 12 { "am" } else { "pm" }),
        ZoneName if time.offset_seconds == 0 => out.write_str("UTC"),
        ZoneName => push_offset(out, time.offset_seconds, 2, false),
        Offset { z: true, .. } if time.offset_seconds == 0 => out.write_str("Z"),
        Offset { units, colons, .. } => push_offset(out, time.offset_seconds, units, colons),
        Fraction { comma, digits, trimmed } => {
            let nanos = format!("{:09}", time.nanos);
            let mut shown: String =
                nanos.chars().chain(std::iter::repeat('0')).take(digits).collect();
            if trimmed {
                shown.truncate(shown.trim_end_matches('0').len());
            }
            match (shown.is_empty(), comma) {
                (true, _) => Ok(()),
                (false, true) => write!(out, ",{shown}"),
                (false, false) => write!(out, ".{shown}"),
            }
        }
    };
}

fn push_offset(out: &mut String, seconds: i32, units: u8, colons: bool) -> std::fmt::Result {
    let colon = if colons { ":" } else { "" };
    out.write_char(if seconds < 0 { '-' } else { '+' })?;
    let seconds = seconds.unsigned_abs();
    write!(out, "{:02}", seconds / 3600)?;
    if units > 1 {
        write!(out, "{colon}{:02}", seconds / 60 % 60)?;
    }
    if units > 2 {
        write!(out, "{colon}{:02}", seconds % 60)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(layout: &str, time: &str, expected: &str) {
        let time = Timestamp::parse_rfc3339(time).expect("a time");
        assert_eq!(stamp(layout, &time), expected, "{layout}");
    }

    #[test]
    fn layouts_are_filled_in_as_go_does() {
        // Each line was printed by Go's time.Format.
        let time = "2009-02-04T21:00:57.012345678-08:00";
        for (layout, expected) in [
            ("2006-01-02T15:04:05Z07:00", "2009-02-04T21:00:57-08:00"),
            ("2006-01-02_15-04-05", "2009-02-04_21-00-57"),
            ("Mon Jan _2 15:04:05 2006", "Wed Feb  4 21:00:57 2009"),
            ("Monday, 02-Jan-06 15:04:05 -0700", "Wednesday, 04-Feb-09 21:00:57 -0800"),
            ("3:04PM", "9:00PM"),
            ("03:04pm", "09:00pm"),
            ("Jan _2 15:04:05.000", "Feb  4 21:00:57.012"),
            ("15:04:05.999999999", "21:00:57.012345678"),
            ("05,000000", "57,012345"),
            ("January 2 2006 002 __2", "February 4 2009 035  35"),
            ("Janet Monthly", "Janet Monthly"),
            ("20060102150405", "20090204210057"),
            ("Z0700 -07 -07:00:00", "-0800 -08 -08:00:00"),
            ("a_2006b", "a_2009b"),
            ("MST", "-0800"),
        ] {
            check(layout, time, expected);
        }
        check("2006-01-02T15:04:05Z07:00 MST", "2024-12-31T00:05:09Z", "2024-12-31T00:05:09Z UTC");
        check("3 4 5 PM .999x", "2024-12-31T00:05:09Z", "12 5 9 AM x");
    }
}
