//! Moments as HTTP and WebDAV write them.

use jiff::fmt::rfc2822::{DateTimeParser, DateTimePrinter};
use windlass_engine::format::time::Timestamp;

/// `Sun, 06 Nov 1994 08:49:37 GMT`; `None` for what has no such date.
pub(super) fn http(time: &Timestamp) -> Option<String> {
    let moment = jiff::Timestamp::from_second(time.seconds).ok()?;
    DateTimePrinter::new().timestamp_to_rfc9110_string(&moment).ok()
}

/// `1994-11-06T08:49:37Z`.
pub(super) fn iso(time: &Timestamp) -> Option<String> {
    Some(jiff::Timestamp::from_second(time.seconds).ok()?.to_string())
}

/// The second that a date stands for.
pub(super) fn second(text: &str) -> Option<i64> {
    DateTimeParser::new().parse_timestamp(text).ok().map(|moment| moment.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_and_read() {
        let time = Timestamp::utc(784_111_777, 5);
        assert_eq!(http(&time).as_deref(), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert_eq!(iso(&time).as_deref(), Some("1994-11-06T08:49:37Z"));
        assert_eq!(second("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(http(&Timestamp::utc(i64::MAX, 0)), None);
        assert_eq!((second("yesterday"), second("")), (None, None));
    }
}
