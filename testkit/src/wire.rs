//! How requests and answers are written: addresses, ranges, times.

use std::{ops::Range, time::SystemTime};

/// The value of a name in a query.
pub(crate) fn asked(query: &str, name: &str) -> Option<String> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| decoded(&value.replace('+', " ")))
}

/// The bytes that a header asks for of an object with this length, which may be none; `None` where
/// it asks for all.
pub(crate) fn span(range: Option<&str>, len: usize) -> Option<Range<usize>> {
    let wanted = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-'))?;
    Some(match wanted {
        ("", last) => len.saturating_sub(last.parse().unwrap_or(0))..len,
        (start, "") => start.parse().unwrap_or(len)..len,
        (start, end) => {
            let end = end.parse::<usize>().map_or(len, |end| end.saturating_add(1).min(len));
            start.parse().unwrap_or(len)..end
        }
    })
}

/// Text out of an address.
pub(crate) fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let hex = more.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &more[2..];
            }
            None => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Year, month and day of days since 1970, and what is left of the day.
fn civil(seconds: u64) -> (u64, u64, u64, u64) {
    let (days, left) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day, left)
}

/// A moment without its zone, which is UTC.
pub(crate) fn listed_time(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (year, month, day, left) = civil(since.as_secs());
    let (hour, minute, second) = (left / 3600, left / 60 % 60, left % 60);
    let micros = since.subsec_micros();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}")
}

/// A moment as headers write it.
pub(crate) fn http_date(seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let at = |number: u64| usize::try_from(number).expect("small");
    let (year, month, day, left) = civil(seconds);
    let (hour, minute, second) = (left / 3600, left / 60 % 60, left % 60);
    let (weekday, month) = (DAYS[at(seconds / 86_400 % 7)], MONTHS[at(month - 1)]);
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}
