//! Sizes, durations and moments as people write and read them.
//!
//! Invariants: what scripts match is as restic prints it: `1.500 GiB`, `1:02:03`,
//! `2006-01-02 15:04:05`.

use std::time::Duration;

use jiff::{civil, tz::TimeZone};
use windlass_engine::format::time::Timestamp;

use crate::failure::Failure;

const STEPS: [(&str, u64); 4] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// `3 B`, `1.028 KiB`.
pub(crate) fn bytes(amount: u64) -> String {
    match STEPS.iter().find(|(_, step)| amount >= *step) {
        Some((unit, step)) => format!("{:.3} {unit}", amount as f64 / *step as f64),
        None => format!("{amount} B"),
    }
}

/// `1.0 KiB`, for lines that change all the time.
pub(crate) fn rough_bytes(amount: u64) -> String {
    match STEPS.iter().find(|(_, step)| amount >= *step) {
        Some((unit, step)) => format!("{:.1} {unit}", amount as f64 / *step as f64),
        None => format!("{amount} B"),
    }
}

/// `0:05`, `1:02:03`.
pub(crate) fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// The time of day here, as `2006-01-02 15:04:05`.
pub(crate) fn local_time(time: &Timestamp) -> String {
    match jiff::Timestamp::from_second(time.seconds) {
        Ok(moment) => moment.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => rfc3339(time),
    }
}

/// The moment as it was written.
pub(crate) fn rfc3339(time: &Timestamp) -> String {
    let mut text = Vec::new();
    time.push_rfc3339(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// Reads `now`, `2006-01-02 15:04:05` in local time, or RFC 3339.
pub(crate) fn parse_time(text: &str) -> Result<Option<Timestamp>, Failure> {
    if text == "now" {
        return Ok(None);
    }
    if let Some(time) = Timestamp::parse_rfc3339(text) {
        return Ok(Some(time));
    }
    let wrong = || {
        Failure::input(
            format!("cannot read the time {text:?}"),
            "write it like 2006-01-02 15:04:05 or 2006-01-02T15:04:05+01:00, or write now",
        )
    };
    let local =
        civil::DateTime::strptime("%Y-%m-%d %H:%M:%S", text).map_err(|_unreadable| wrong())?;
    let zoned = local.to_zoned(TimeZone::system()).map_err(|_no_such_moment| wrong())?;
    let offset_seconds = zoned.offset().seconds();
    Ok(Some(Timestamp { seconds: zoned.timestamp().as_second(), nanos: 0, offset_seconds }))
}

/// Reads a size: a number with K, M, G or T for powers of 1024.
pub(crate) fn parse_size(text: &str) -> Result<u64, Failure> {
    let wrong = || {
        Failure::input(
            format!("cannot read the size {text:?}"),
            "write a number like 500, 10M or 2G",
        )
    };
    let shift = match text.chars().last().ok_or_else(wrong)?.to_ascii_lowercase() {
        'b' => Some(0),
        'k' => Some(10),
        'm' => Some(20),
        'g' => Some(30),
        't' => Some(40),
        _ => None,
    };
    let number =
        if shift.is_some() { text.get(..text.len() - 1).unwrap_or_default() } else { text };
    let number: u64 = number.parse().map_err(|_not_a_number| wrong())?;
    number.checked_mul(1 << shift.unwrap_or(0)).ok_or_else(wrong)
}

/// Reads a duration such as `90s`, `5m`, `1h30m`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, Failure> {
    let wrong = || {
        Failure::input(
            format!("cannot read the duration {text:?}"),
            "write it like 90s, 5m or 1h30m",
        )
    };
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits =
            rest.find(|char: char| !char.is_ascii_digit() && char != '.').ok_or_else(wrong)?;
        let (number, after) = rest.split_at(digits);
        let number: f64 = number.parse().map_err(|_not_a_number| wrong())?;
        let unit = after.find(|char: char| char.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        total += number
            * match unit {
                "ms" => 0.001,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return Err(wrong()),
            };
        rest = after;
    }
    if text.is_empty() {
        return Err(wrong());
    }
    Duration::try_from_secs_f64(total).map_err(|_out_of_range| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_printed_and_read_as_restic_does() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1053), "1.028 KiB");
        assert_eq!(bytes(3 << 30), "3.000 GiB");
        for (text, size) in [("7", 7), ("7b", 7), ("2k", 2048), ("3M", 3 << 20), ("1T", 1 << 40)] {
            assert_eq!(parse_size(text).expect("a size"), size);
        }
        for text in ["", "k", "-1", "1.5M", "99999999999T", "1X", "ä"] {
            parse_size(text).expect_err(text);
        }
    }

    #[test]
    fn durations_are_printed_and_read() {
        assert_eq!(clock(Duration::from_millis(5_900)), "0:05");
        assert_eq!(clock(Duration::from_secs(3723)), "1:02:03");
        for (text, seconds) in [("0", 0), ("90s", 90), ("5m", 300), ("1h30m", 5400), ("1.5m", 90)] {
            assert_eq!(parse_duration(text).expect("a duration"), Duration::from_secs(seconds));
        }
        for text in ["", "5", "m", "5 m", "5x", "-5m", "1h30"] {
            parse_duration(text).expect_err(text);
        }
    }

    #[test]
    fn times_are_local_or_carry_their_zone() {
        assert_eq!(parse_time("now").expect("a time"), None);
        let time = parse_time("2012-11-01T22:08:41+01:00").expect("a time").expect("not now");
        assert_eq!((time.seconds, time.offset_seconds), (1_351_804_121, 3600));
        let local = parse_time("2012-11-01 22:08:41").expect("a time").expect("not now");
        assert_eq!(local_time(&local), "2012-11-01 22:08:41");
        for text in ["", "yesterday", "2012-13-01 00:00:00", "2012-11-01"] {
            parse_time(text).expect_err(text);
        }
    }
}
