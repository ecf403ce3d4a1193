//! The index at the end of every pack, for recovery when index blobs are lost.
//!
//! ```text
//! pack    ... contents, padding | sealed local index | trailer | trailer length u8
//! trailer uvarint 1 | uvarint iv length | iv | uvarint index offset | uvarint index length
//!         | CRC-32 (IEEE) of the trailer so far, u32 BE
//! ```
//!
//! Invariants: the trailer is only a hint, for nothing signs it; the index it leads to is opened
//! with the iv and must hash to it.
//!
//! Checked against `repo/content/content_index_recovery.go`.

use super::cipher::OVERHEAD;
use super::crypter::Crypter;
use super::format::PACK_LEN_MAX;
use super::hash::Digest;
use super::id::HASH_LEN_MAX;
use crate::damage::Damage;
use crate::step::Step;

/// Bytes of the longest trailer with its length byte.
pub const TRAILER_LEN_MAX: u64 = 256;
/// Bytes of the largest local index that is fetched.
pub const LOCAL_INDEX_LEN_MAX: u64 = 256 << 20;

/// Reads a pack's local index in two ranged reads.
#[derive(Clone, Debug)]
pub struct LocalIndexReader {
    pack_len: u64,
    trailer: Option<Trailer>,
}

#[derive(Clone, Debug)]
struct Trailer {
    iv: Vec<u8>,
    start: u64,
    end: u64,
}

impl LocalIndexReader {
    /// For a pack of this many bytes.
    pub fn new(pack_len: u64) -> Result<Self, Damage> {
        // A pack may exceed the size at which it is closed by one content and its index.
        let max = u64::from(PACK_LEN_MAX) + LOCAL_INDEX_LEN_MAX;
        if pack_len > max {
            return Err(Damage::OverLimit { what: "pack", max });
        }
        Ok(Self { pack_len, trailer: None })
    }

    /// The first range to read: the end of the pack.
    #[must_use]
    pub fn first(&self) -> Step<Vec<u8>> {
        Step::Need { start: self.pack_len.saturating_sub(TRAILER_LEN_MAX), end: self.pack_len }
    }

    /// Takes the bytes asked for last and answers with the next range or the plain local index,
    /// which [`Segment::parse`](super::index::Segment::parse) reads.
    pub fn next(&mut self, crypter: &Crypter, mut bytes: Vec<u8>) -> Result<Step<Vec<u8>>, Damage> {
        let Some(trailer) = self.trailer.take() else {
            let trailer = read_trailer(&bytes)?;
            let limit = self.pack_len.min(trailer.start.saturating_add(LOCAL_INDEX_LEN_MAX));
            let overhead = u64::try_from(OVERHEAD).unwrap_or(u64::MAX);
            if trailer.end > limit || trailer.end - trailer.start < overhead {
                return Err(Damage::Invalid { what: "place of the index in a pack" });
            }
            let (start, end) = (trailer.start, trailer.end);
            self.trailer = Some(trailer);
            return Ok(Step::Need { start, end });
        };
        let have = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let need = trailer.end - trailer.start;
        if have != need {
            return Err(Damage::Truncated { what: "index in a pack", need, have });
        }
        let plain = crypter.cipher.open(&trailer.iv, &mut bytes, "index in a pack")?;
        let hash: Digest = crypter.hasher.hash(plain);
        if hash.as_ref() != trailer.iv {
            return Err(Damage::BadHash { what: "index in a pack" });
        }
        let plain_len = plain.len();
        bytes.truncate(bytes.len() - (OVERHEAD - 12));
        bytes.drain(..12);
        debug_assert_eq!(bytes.len(), plain_len);
        Ok(Step::Done(bytes))
    }
}

fn read_trailer(tail: &[u8]) -> Result<Trailer, Damage> {
    let what = "trailer of a pack";
    let bad = Damage::Invalid { what };
    let have = u64::try_from(tail.len()).unwrap_or(u64::MAX);
    let (len, rest) = tail.split_last().ok_or(Damage::Truncated { what, need: 1, have })?;
    let len = usize::from(*len);
    let need = u64::try_from(len).unwrap_or(u64::MAX);
    let start = rest.len().checked_sub(len).ok_or(Damage::Truncated { what, need, have })?;
    let trailer = rest.get(start..).ok_or(bad)?;
    let (mut payload, crc) = trailer.split_last_chunk::<4>().ok_or(bad)?;
    let mut sum = flate2::Crc::new();
    sum.update(payload);
    if sum.sum() != u32::from_be_bytes(*crc) {
        return Err(Damage::BadHash { what });
    }
    if uvarint(&mut payload).ok_or(bad)? != 1 {
        return Err(Damage::Unsupported { what });
    }
    let iv_len = uvarint(&mut payload).and_then(|len| usize::try_from(len).ok()).ok_or(bad)?;
    if iv_len == 0 || iv_len > HASH_LEN_MAX {
        return Err(bad);
    }
    let (iv, mut payload) = payload.split_at_checked(iv_len).ok_or(bad)?;
    let start = uvarint(&mut payload).ok_or(bad)?;
    let len = uvarint(&mut payload).ok_or(bad)?;
    let end = start.checked_add(len).ok_or(bad)?;
    if payload.is_empty() { Ok(Trailer { iv: iv.to_vec(), start, end }) } else { Err(bad) }
}

/// Go's unsigned varint: seven bits a byte, least significant first.
fn uvarint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if bits.leading_zeros() < shift {
            return None;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests;
