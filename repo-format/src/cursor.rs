//! Reading fixed binary layouts front to back.
//!
//! Invariants: the only code that slices binary input; a read that does not fit takes nothing and
//! says which part was short; [`Cursor::finish`] refuses bytes left over.

use crate::damage::Damage;

/// A position in a byte slice.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Starts at the front of `bytes`; `what` names them in a [`Damage`].
    #[must_use]
    pub const fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, rest: bytes }
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Damage> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            return Err(self.short(count));
        };
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes by value.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let Some((taken, rest)) = self.rest.split_first_chunk() else {
            return Err(self.short(N));
        };
        self.rest = rest;
        Ok(*taken)
    }

    /// The next byte.
    pub fn u8(&mut self) -> Result<u8, Damage> {
        self.array().map(|[byte]| byte)
    }

    /// The next two bytes, most significant first.
    pub fn u16_be(&mut self) -> Result<u16, Damage> {
        self.array().map(u16::from_be_bytes)
    }

    /// The next four bytes, most significant first.
    pub fn u32_be(&mut self) -> Result<u32, Damage> {
        self.array().map(u32::from_be_bytes)
    }

    /// The next four bytes, least significant first.
    pub fn u32_le(&mut self) -> Result<u32, Damage> {
        self.array().map(u32::from_le_bytes)
    }

    /// What has not been read yet.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything has been read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Refuses anything that has not been read.
    pub const fn finish(self) -> Result<(), Damage> {
        if self.rest.is_empty() { Ok(()) } else { Err(Damage::Trailing { what: self.what }) }
    }

    fn short(&self, need: usize) -> Damage {
        let (need, have) = (count(need), count(self.rest.len()));
        Damage::Truncated { what: self.what, need, have }
    }
}

/// A length in memory as the 64-bit number formats and errors use.
#[must_use]
pub(crate) fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_that_does_not_fit_takes_nothing() {
        let mut cursor = Cursor::new("thing", &[1, 2, 3]);
        assert_eq!(cursor.u8(), Ok(1));
        assert_eq!(cursor.u32_le(), Err(Damage::Truncated { what: "thing", need: 4, have: 2 }));
        assert_eq!(cursor.u16_be(), Ok(0x0203));
        assert_eq!(cursor.take(1), Err(Damage::Truncated { what: "thing", need: 1, have: 0 }));
        assert_eq!(cursor.finish(), Ok(()));
    }

    #[test]
    fn bytes_left_over_are_refused() {
        let mut cursor = Cursor::new("thing", &[1, 0, 0, 0, 9]);
        assert_eq!(cursor.clone().u32_be(), Ok(0x0100_0000));
        assert_eq!(cursor.u32_le(), Ok(1));
        assert_eq!(cursor.rest(), [9]);
        assert_eq!(cursor.finish(), Err(Damage::Trailing { what: "thing" }));
    }
}
