//! Packs: sealed blobs back to back, then the sealed header that lists them.
//!
//! ```text
//! | sealed blob | sealed blob | … | sealed header | length of the sealed header, u32 LE |
//!
//! header entry   0 data, 1 tree:   kind u8 | length u32 LE | id 32                       37 bytes
//!                2 data, 3 tree:   kind u8 | length u32 LE | raw length u32 LE | id 32   41 bytes
//! ```
//!
//! `length` is of the sealed blob. Kinds 2 and 3 are compressed and say how long they are
//! decompressed. Offsets are the sums of the lengths before. Checked against
//! `internal/repository/pack/pack.go`.
//!
//! Invariants: a pack has at least one entry, and blobs and header fill it exactly; the name of a
//! pack is the SHA-256 of all its bytes.

use super::{
    BlobId,
    envelope::{self, MasterKey, OVERHEAD},
};
use crate::{
    cursor::{Cursor, count},
    damage::Damage,
    step::Step,
};

/// Bytes of the length behind the header.
pub const TRAILER: usize = 4;
/// Most bytes of the sealed header.
pub const MAX_HEADER: usize = 16 << 20;
/// Bytes of a header entry of a blob that is not compressed.
pub const PLAIN_ENTRY: usize = 1 + 4 + 32;
/// Bytes of a header entry of a compressed blob.
pub const COMPRESSED_ENTRY: usize = PLAIN_ENTRY + 4;
/// Entries after which a writer closes the pack, whatever they are.
pub const MAX_ENTRIES: usize = (MAX_HEADER - OVERHEAD) / COMPRESSED_ENTRY;
/// Fewest bytes a pack has.
pub const MIN_PACK: usize = PLAIN_ENTRY + OVERHEAD + TRAILER;

/// Entries the first read of a header has room for, as restic's.
const EAGER_ENTRIES: usize = 15;
const WHAT: &str = "pack header";

/// What a blob holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlobKind {
    /// A piece of a file.
    Data,
    /// A directory.
    Tree,
}

/// One blob in a pack, as header and index describe it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// What it holds.
    pub kind: BlobKind,
    /// SHA-256 of its plaintext.
    pub id: BlobId,
    /// Where its sealed bytes start.
    pub offset: u32,
    /// How many sealed bytes there are.
    pub length: u32,
    /// How long it is decompressed; `None` if it is not compressed.
    pub raw_length: Option<u32>,
}

impl Entry {
    /// How many bytes the plaintext has; none if the sealed ones are too few to be any.
    #[must_use]
    pub fn plain_length(&self) -> Option<u32> {
        let overhead = u32::try_from(OVERHEAD).ok()?;
        let unsealed = self.length.checked_sub(overhead)?;
        Some(self.raw_length.unwrap_or(unsealed))
    }

    /// Bytes it takes in the header.
    #[must_use]
    pub const fn header_bytes(&self) -> usize {
        if self.raw_length.is_some() { COMPRESSED_ENTRY } else { PLAIN_ENTRY }
    }
}

/// Bytes of header and trailer together for these entries.
pub fn header_size<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> u64 {
    let own = entries.into_iter().map(|entry| count(entry.header_bytes())).sum::<u64>();
    own + count(OVERHEAD + TRAILER)
}

/// Bytes of the whole pack that has exactly these entries.
pub fn pack_size<'a>(entries: impl IntoIterator<Item = &'a Entry> + Clone) -> u64 {
    let blobs = entries.clone().into_iter().map(|entry| u64::from(entry.length)).sum::<u64>();
    blobs + header_size(entries)
}

/// Appends the plaintext of a header; offsets are implied and not written.
pub fn encode_entries(entries: &[Entry], out: &mut Vec<u8>) {
    out.reserve(entries.iter().map(Entry::header_bytes).sum());
    for entry in entries {
        let kind = match (entry.kind, entry.raw_length) {
            (BlobKind::Data, None) => 0,
            (BlobKind::Tree, None) => 1,
            (BlobKind::Data, Some(_)) => 2,
            (BlobKind::Tree, Some(_)) => 3,
        };
        out.push(kind);
        out.extend_from_slice(&entry.length.to_le_bytes());
        if let Some(raw_length) = entry.raw_length {
            out.extend_from_slice(&raw_length.to_le_bytes());
        }
        out.extend_from_slice(&entry.id.0);
    }
}

/// Reads the plaintext of a header.
pub fn decode_entries(header: &[u8]) -> Result<Vec<Entry>, Damage> {
    if header.len() > MAX_HEADER {
        return Err(Damage::OverLimit { what: WHAT, max: count(MAX_HEADER) });
    }
    let mut entries = Vec::with_capacity(header.len() / PLAIN_ENTRY);
    let mut cursor = Cursor::new(WHAT, header);
    let mut offset = 0_u32;
    while !cursor.is_empty() {
        let (kind, compressed) = match cursor.u8()? {
            0 => (BlobKind::Data, false),
            1 => (BlobKind::Tree, false),
            2 => (BlobKind::Data, true),
            3 => (BlobKind::Tree, true),
            _ => return Err(Damage::Unsupported { what: "blob kind" }),
        };
        let length = cursor.u32_le()?;
        let raw_length = if compressed { Some(cursor.u32_le()?) } else { None };
        let id = BlobId(cursor.array()?);
        // A raw length of zero is not compressed, as in an index.
        let raw_length = raw_length.filter(|length| *length != 0);
        entries.push(Entry { kind, id, offset, length, raw_length });
        let over = Damage::OverLimit { what: "pack size", max: u64::from(u32::MAX) };
        offset = offset.checked_add(length).ok_or(over)?;
    }
    Ok(entries)
}

/// Appends sealed header and trailer to the sealed blobs already in `pack`.
pub fn finish(
    key: &MasterKey,
    nonce: &[u8; 16],
    entries: &[Entry],
    pack: &mut Vec<u8>,
) -> Result<(), Damage> {
    if entries.is_empty() {
        return Err(Damage::Invalid { what: "pack without blobs" });
    }
    let mut header = Vec::new();
    encode_entries(entries, &mut header);
    let sealed = header.len() + OVERHEAD;
    let over = Damage::OverLimit { what: WHAT, max: count(MAX_HEADER) };
    let trailer = u32::try_from(sealed).ok().filter(|_| sealed <= MAX_HEADER).ok_or(over)?;
    envelope::seal(key, nonce, &header, pack);
    pack.extend_from_slice(&trailer.to_le_bytes());
    Ok(())
}

/// Reads the header of a pack of known size, asking for the ranges it needs.
///
/// Ask [`Self::step`] with no bytes first. It answers with a range at the end that is enough for
/// 15 entries; given those bytes it is done, or asks once more for the rest.
#[derive(Clone, Copy, Debug)]
pub struct HeaderReader {
    pack_size: u64,
}

impl HeaderReader {
    /// Starts on a pack of this many bytes.
    pub fn new(pack_size: u64) -> Result<Self, Damage> {
        let (need, have) = (count(MIN_PACK), pack_size);
        if have < need {
            return Err(Damage::Truncated { what: "pack", need, have });
        }
        Ok(Self { pack_size })
    }

    /// Takes the last bytes of the pack, as many as were asked for, and goes on.
    pub fn step(&self, key: &MasterKey, tail: &[u8]) -> Result<Step<Vec<Entry>>, Damage> {
        let Some((before, trailer)) = tail.split_last_chunk::<TRAILER>() else {
            let eager = count(EAGER_ENTRIES * COMPRESSED_ENTRY + OVERHEAD + TRAILER);
            return Ok(self.need(eager.min(self.pack_size)));
        };
        let sealed = u64::from(u32::from_le_bytes(*trailer));
        if sealed > count(MAX_HEADER) {
            return Err(Damage::OverLimit { what: WHAT, max: count(MAX_HEADER) });
        }
        let whole = sealed + count(TRAILER);
        if sealed < count(OVERHEAD + PLAIN_ENTRY) || whole > self.pack_size {
            return Err(Damage::Invalid { what: "length of a pack header" });
        }
        let start = usize::try_from(sealed).ok().and_then(|len| before.len().checked_sub(len));
        let Some(sealed) = start.and_then(|start| before.get(start..)) else {
            return Ok(self.need(whole));
        };
        let mut header = Vec::new();
        envelope::open(key, WHAT, sealed, &mut header)?;
        let entries = decode_entries(&header)?;
        if pack_size(&entries) != self.pack_size {
            return Err(Damage::Invalid { what: "pack size" });
        }
        Ok(Step::Done(entries))
    }

    const fn need(&self, bytes: u64) -> Step<Vec<Entry>> {
        Step::Need { start: self.pack_size - bytes, end: self.pack_size }
    }
}
