//! Times, which both formats write alike.

use windlass_format::time::Timestamp;

use crate::text;

/// A time in JSON.
pub fn rfc3339(data: &[u8]) -> bool {
    let Some(time) = text(data).and_then(Timestamp::parse_rfc3339) else { return false };
    assert!(time.nanos < 1_000_000_000 && time.offset_seconds.abs() < 86_400);
    assert!(time.same_instant(&Timestamp::utc(time.seconds, time.nanos)));
    true
}
