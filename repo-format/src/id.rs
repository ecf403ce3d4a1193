//! Fixed-size ids as distinct types, with hex in and out, from one macro.
//!
//! Invariants: an id is `Copy`, compares by its bytes, prints as lowercase hex and parses nothing
//! but exactly that many lowercase hex digits.

/// Writes `bytes` as lowercase hex.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Reads exactly `out.len()` bytes of lowercase hex; `None` for anything else.
#[must_use]
pub fn from_hex(text: &[u8], out: &mut [u8]) -> Option<()> {
    let (pairs, rest) = text.as_chunks::<2>();
    if pairs.len() != out.len() || !rest.is_empty() {
        return None;
    }
    // No way out before the end: ids are most of an index and of many trees, and without branches
    // this loop runs on vectors.
    let mut wrong = false;
    let mut nibble = |digit: u8| {
        let (number, letter) = (digit.wrapping_sub(b'0'), digit.wrapping_sub(b'a'));
        wrong |= number > 9 && letter > 5;
        if number > 9 { letter.wrapping_add(10) } else { number }
    };
    for (byte, [high, low]) in out.iter_mut().zip(pairs) {
        *byte = nibble(*high) << 4 | nibble(*low) & 15;
    }
    (!wrong).then_some(())
}

/// Defines id types of a fixed number of bytes.
#[macro_export]
macro_rules! define_id {
    ($($(#[$doc:meta])* $name:ident: $len:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// The id as lowercase hex.
            #[must_use]
            pub fn to_hex(self) -> String {
                $crate::id::to_hex(&self.0)
            }

            /// Reads exactly this id's number of lowercase hex digits.
            #[must_use]
            pub fn from_hex(text: &[u8]) -> Option<Self> {
                let mut bytes = [0; $len];
                $crate::id::from_hex(text, &mut bytes)?;
                Some(Self(bytes))
            }

            /// Whether every byte is zero, which no real id is.
            #[must_use]
            pub fn is_zero(&self) -> bool {
                self.0 == [0; $len]
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(&self.to_hex())
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.to_hex())
            }
        }
    )+};
}

#[cfg(test)]
mod tests {
    use short::Short;

    mod short {
        #![expect(unreachable_pub, dead_code, reason = "the macro defines public ids")]
        define_id! {
            /// An id for the test.
            Short: 2;
        }
    }

    #[test]
    fn hex_round_trips_and_nothing_else_parses() {
        assert_eq!(Short([0x0a, 0xf9]).to_hex(), "0af9");
        assert_eq!(Short::from_hex(b"0af9"), Some(Short([0x0a, 0xf9])));
        for bad in [&b"0AF9"[..], b"0af", b"0af9a", b"0af90", b"", b"0ag9"] {
            assert_eq!(Short::from_hex(bad), None);
        }
    }
}
