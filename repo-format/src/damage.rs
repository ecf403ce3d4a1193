//! What a decoder says of bytes it cannot accept.
//!
//! Invariants: small, `Copy`, comparable; names the rule that was broken and never assembles prose.
//! The engine adds which object it was and what to do next.

use core::fmt;

/// Why bytes read from a store were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// Fewer bytes than the layout needs.
    Truncated {
        /// The part that was being read.
        what: &'static str,
        /// Bytes the layout needs.
        need: u64,
        /// Bytes there were.
        have: u64,
    },
    /// Bytes are left over behind a complete value.
    Trailing {
        /// The part that was being read.
        what: &'static str,
    },
    /// An authentication tag does not match: damaged bytes or the wrong key.
    BadTag {
        /// The part that was being opened.
        what: &'static str,
    },
    /// The plaintext does not hash to the id it is stored under.
    BadHash {
        /// The part that was being proved.
        what: &'static str,
    },
    /// A length, count or cost parameter is beyond what the format or this reader allows.
    OverLimit {
        /// The quantity.
        what: &'static str,
        /// The largest value accepted.
        max: u64,
    },
    /// Text that is not the JSON this place needs; `at` is the byte where reading stopped.
    Json {
        /// The document that was being read.
        what: &'static str,
        /// Offset of the offending byte, 0 where it is not known.
        at: u64,
    },
    /// A compressed frame that does not decompress.
    Compression {
        /// The part that was being decompressed.
        what: &'static str,
    },
    /// A value outside its domain: a zero id, an unknown type byte, names out of order.
    Invalid {
        /// The rule that was broken.
        what: &'static str,
    },
    /// A legal value of a format version or feature this reader does not know.
    Unsupported {
        /// The version or feature.
        what: &'static str,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { what, need, have } => {
                write!(f, "{what}: truncated, {need} bytes needed and {have} there")
            }
            Self::Trailing { what } => write!(f, "{what}: bytes left over at the end"),
            Self::BadTag { what } => write!(f, "{what}: authentication failed"),
            Self::BadHash { what } => write!(f, "{what}: content does not match its id"),
            Self::OverLimit { what, max } => write!(f, "{what}: over the limit of {max}"),
            Self::Json { what, at } => write!(f, "{what}: not the expected JSON near byte {at}"),
            Self::Compression { what } => write!(f, "{what}: does not decompress"),
            Self::Invalid { what } => write!(f, "invalid {what}"),
            Self::Unsupported { what } => write!(f, "unsupported {what}"),
        }
    }
}

impl core::error::Error for Damage {}
