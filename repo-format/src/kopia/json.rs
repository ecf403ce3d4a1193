//! One JSON document with a size limit.

use serde::Deserialize;

use crate::damage::Damage;

/// Reads a whole document of at most `max` bytes.
pub(super) fn read<'j, T: Deserialize<'j>>(
    bytes: &'j [u8],
    what: &'static str,
    max: usize,
) -> Result<T, Damage> {
    if bytes.len() > max {
        return Err(Damage::OverLimit { what, max: u64::try_from(max).unwrap_or(u64::MAX) });
    }
    serde_json::from_slice(bytes).map_err(|error| damage(&error, what))
}

/// Where reading stopped; the offset is exact for the single-line documents kopia writes and 0
/// for others.
pub(super) fn damage(error: &serde_json::Error, what: &'static str) -> Damage {
    let at = if error.line() == 1 { u64::try_from(error.column()).unwrap_or(0) } else { 0 };
    Damage::Json { what, at }
}
