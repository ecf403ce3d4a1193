//! Index layout 2: compression per content, pack names once.
//!
//! ```text
//! header  0 version = 2 | 1 key size | 2 value size u16 | 4 entry count u32 | 8 pack count u32
//!         | 12 format count | 13 base seconds u32
//! entry   key | 0 seconds u32 since base | 4 deleted bit, pack offset u31
//!             | 8 original length u24 | 11 packed length u24 | 14 pack number low u16
//!             | 16 format number | 17 pack number high u8 | 18 original, packed length high u4 + u4
//! pack    0 name length | 1 name offset u32 (from the start of the blob)
//! format  0 compression header u32 | 4 format version | 5 key id
//! ```
//!
//! All big-endian. Bytes 16, 17 and 18 of a value exist for all entries or none, as the value size
//! of 16 to 19 tells. Entries, packs, formats and names follow each other; random bytes may follow
//! the names.
//!
//! Checked against `repo/content/index/index_v2.go`.

use super::index::{Entry, PackRef, content_id};
use super::index_v1::table_len;
use crate::damage::Damage;

const HEADER_LEN: usize = 17;
const VALUE_LEN_MIN: usize = 16;
const VALUE_LEN_MAX: usize = 19;
const PACK_LEN: usize = 5;
const FORMAT_LEN: usize = 6;
const PACK_COUNT_MAX: u32 = 1 << 24;

#[derive(Clone, Copy, Debug)]
pub(super) struct V2<'a> {
    key_len: usize,
    value_len: usize,
    base_seconds: u32,
    entries: &'a [u8],
    packs: &'a [[u8; PACK_LEN]],
    formats: &'a [[u8; FORMAT_LEN]],
}

pub(super) fn parse(bytes: &[u8]) -> Result<V2<'_>, Damage> {
    let have = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let truncated = Damage::Truncated { what: "index header", need: 17, have };
    let (header, rest) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(truncated)?;
    let [_, key_len, v0, v1, c0, c1, c2, c3, p0, p1, p2, p3, formats, b0, b1, b2, b3] = *header;
    let value_len = usize::from(u16::from_be_bytes([v0, v1]));
    if !(VALUE_LEN_MIN..=VALUE_LEN_MAX).contains(&value_len) {
        return Err(Damage::Invalid { what: "index value size" });
    }
    let pack_count = u32::from_be_bytes([p0, p1, p2, p3]);
    if pack_count > PACK_COUNT_MAX {
        let max = u64::from(PACK_COUNT_MAX);
        return Err(Damage::OverLimit { what: "packs in an index", max });
    }
    let count = u32::from_be_bytes([c0, c1, c2, c3]);
    let (key_len, entries_len) = table_len(key_len, value_len, count)?;
    let (entries, rest) = split(rest, entries_len)?;
    let packs_len = usize::try_from(pack_count).unwrap_or(usize::MAX).saturating_mul(PACK_LEN);
    let (packs, rest) = split(rest, packs_len)?;
    let (formats, _) = split(rest, usize::from(formats) * FORMAT_LEN)?;
    Ok(V2 {
        key_len,
        value_len,
        base_seconds: u32::from_be_bytes([b0, b1, b2, b3]),
        entries,
        packs: packs.as_chunks().0,
        formats: formats.as_chunks().0,
    })
}

fn split(bytes: &[u8], len: usize) -> Result<(&[u8], &[u8]), Damage> {
    let [need, have] = [len, bytes.len()].map(|len| u64::try_from(len).unwrap_or(u64::MAX));
    bytes.split_at_checked(len).ok_or(Damage::Truncated { what: "index", need, have })
}

impl<'a> V2<'a> {
    pub(super) fn entry_count(&self) -> usize {
        self.entries.len() / (self.key_len + self.value_len)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = Result<Entry, Damage>> + use<'a> {
        let tables = *self;
        self.entries.chunks_exact(self.key_len + self.value_len).map(move |entry| {
            let short = Damage::Invalid { what: "index entry" };
            let (key, value) = entry.split_at_checked(tables.key_len).ok_or(short)?;
            let (fixed, optional) = value.split_first_chunk().ok_or(short)?;
            tables.read(key, fixed, optional)
        })
    }

    fn read(
        &self,
        key: &[u8],
        fixed: &[u8; VALUE_LEN_MIN],
        optional: &[u8],
    ) -> Result<Entry, Damage> {
        let [t0, t1, t2, t3, o0, o1, o2, o3, r0, r1, r2, l0, l1, l2, p0, p1] = *fixed;
        let mut optional = optional.iter().copied();
        let format = optional.next().unwrap_or(0);
        let pack_high = optional.next().unwrap_or(0);
        let len_high = optional.next().unwrap_or(0);
        let pack = usize::try_from(u32::from_be_bytes([0, pack_high, p0, p1])).ok();
        let [pack_len, n0, n1, n2, n3] = *pack
            .and_then(|pack| self.packs.get(pack))
            .ok_or(Damage::Invalid { what: "pack number in an index" })?;
        let [c0, c1, c2, c3, format_version, key_id] = *self
            .formats
            .get(usize::from(format))
            .ok_or(Damage::Invalid { what: "format number in an index" })?;
        let seconds = u32::from_be_bytes([t0, t1, t2, t3]);
        Ok(Entry {
            content: content_id(key)?,
            deleted: o0 & 0x80 != 0,
            seconds: i64::from(seconds) + i64::from(self.base_seconds),
            pack: PackRef { at: u32::from_be_bytes([n0, n1, n2, n3]), len: pack_len },
            offset: u32::from_be_bytes([o0 & 0x7f, o1, o2, o3]),
            packed_len: u32::from_be_bytes([len_high & 15, l0, l1, l2]),
            raw_len: u32::from_be_bytes([len_high >> 4, r0, r1, r2]),
            compression: u32::from_be_bytes([c0, c1, c2, c3]),
            format_version,
            key_id,
        })
    }
}
