//! Index layout 1: no compression, original length implied.
//!
//! ```text
//! header  0 version = 1 | 1 key size | 2 value size u16 = 20 | 4 entry count u32
//! entry   key | 0 seconds u48 | 6 format version | 7 pack name length
//!             | 8 pack name offset u32 (from the start of the blob)
//!             | 12 deleted bit, pack offset u31 | 16 packed length u32
//! ```
//!
//! All big-endian; names follow the entries and random bytes may follow the names.
//!
//! Checked against `repo/content/index/index_v1.go`.

use super::cipher::OVERHEAD;
use super::index::{Entry, PackRef, content_id};
use crate::damage::Damage;

const HEADER_LEN: usize = 8;
const VALUE_LEN: usize = 20;
/// A prefix byte and the longest hash.
const KEY_LEN_MAX: u8 = 33;

#[derive(Clone, Copy, Debug)]
pub(super) struct V1<'a> {
    key_len: usize,
    entries: &'a [u8],
}

pub(super) fn parse(bytes: &[u8]) -> Result<V1<'_>, Damage> {
    let have = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let truncated = Damage::Truncated { what: "index header", need: 8, have };
    let (header, rest) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(truncated)?;
    let [_, key_len, v0, v1, c0, c1, c2, c3] = *header;
    let count = u32::from_be_bytes([c0, c1, c2, c3]);
    if usize::from(u16::from_be_bytes([v0, v1])) != VALUE_LEN {
        return Err(Damage::Invalid { what: "index value size" });
    }
    let (key_len, len) = table_len(key_len, VALUE_LEN, count)?;
    let (need, have) = (u64::try_from(len).unwrap_or(u64::MAX), have.saturating_sub(8));
    let entries = rest.get(..len).ok_or(Damage::Truncated { what: "index", need, have })?;
    Ok(V1 { key_len, entries })
}

/// Checks the key size and returns it with the bytes of the whole entry table. An index without
/// entries has the key size 255 and no keys.
pub(super) fn table_len(
    key_len: u8,
    value_len: usize,
    count: u32,
) -> Result<(usize, usize), Damage> {
    if key_len < 2 || (count > 0 && key_len > KEY_LEN_MAX) {
        return Err(Damage::Invalid { what: "index key size" });
    }
    let key_len = usize::from(key_len);
    let len = usize::try_from(count).ok().and_then(|n| n.checked_mul(key_len + value_len));
    Ok((key_len, len.ok_or(Damage::Invalid { what: "index entry count" })?))
}

impl<'a> V1<'a> {
    pub(super) fn entry_count(&self) -> usize {
        self.entries.len() / (self.key_len + VALUE_LEN)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = Result<Entry, Damage>> + use<'a> {
        let key_len = self.key_len;
        self.entries.chunks_exact(key_len + VALUE_LEN).map(move |entry| {
            let short = Damage::Invalid { what: "index entry" };
            let (key, value) = entry.split_at_checked(key_len).ok_or(short)?;
            read(key, value.first_chunk().ok_or(short)?)
        })
    }
}

fn read(key: &[u8], value: &[u8; VALUE_LEN]) -> Result<Entry, Damage> {
    let [
        t0,
        t1,
        t2,
        t3,
        t4,
        t5,
        format_version,
        pack_len,
        n0,
        n1,
        n2,
        n3,
        o0,
        o1,
        o2,
        o3,
        l0,
        l1,
        l2,
        l3,
    ] = *value;
    let packed_len = u32::from_be_bytes([l0, l1, l2, l3]);
    let overhead = u32::try_from(OVERHEAD).unwrap_or(u32::MAX);
    let raw_len = packed_len
        .checked_sub(overhead)
        .ok_or(Damage::Invalid { what: "packed length in an index" })?;
    Ok(Entry {
        content: content_id(key)?,
        deleted: o0 & 0x80 != 0,
        seconds: i64::from_be_bytes([0, 0, t0, t1, t2, t3, t4, t5]),
        pack: PackRef { at: u32::from_be_bytes([n0, n1, n2, n3]), len: pack_len },
        offset: u32::from_be_bytes([o0 & 0x7f, o1, o2, o3]),
        packed_len,
        raw_len,
        compression: 0,
        format_version,
        key_id: 0,
    })
}
