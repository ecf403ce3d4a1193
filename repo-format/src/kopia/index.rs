//! Index blobs: which content lies where.
//!
//! Invariants
//! - A [`Segment`] that was parsed has room for all its entries; reading an entry can still find a
//!   bad one, which is [`Damage`], never a panic.
//! - [`supersedes`] is a strict order, so every reader merges any set of segments to the same
//!   result whatever order it meets them in.
//!
//! Not here: binary search inside a segment (readers load segments into a table of their own).

use super::id::{ContentId, is_blob_name};
use super::index_v1::{self, V1};
use super::index_v2::{self, V2};
use crate::damage::Damage;

/// Bytes of the largest index blob that is read; kopia cuts at sixteen million entries.
pub const SEGMENT_LEN_MAX: usize = 2 << 30;

/// One content in one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which content.
    pub content: ContentId,
    /// Whether this entry says that the content is gone.
    pub deleted: bool,
    /// Seconds since the Unix epoch at which this was decided.
    pub seconds: i64,
    /// In which pack; resolve with [`Segment::pack_name`].
    pub pack: PackRef,
    /// Where in the pack.
    pub offset: u32,
    /// Stored bytes.
    pub packed_len: u32,
    /// Plaintext bytes.
    pub raw_len: u32,
    /// Compression header id, 0 if stored raw.
    pub compression: u32,
    /// Format version of the writer.
    pub format_version: u8,
    /// Reserved by the format, always 0.
    pub key_id: u8,
}

/// A pack name inside a segment; equal within one segment means the same pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackRef {
    pub(super) at: u32,
    pub(super) len: u8,
}

/// A decrypted index blob.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    bytes: &'a [u8],
    layout: Layout<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Layout<'a> {
    V1(V1<'a>),
    V2(V2<'a>),
}

impl<'a> Segment<'a> {
    /// Reads the header and checks that the tables are all there.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Damage> {
        if bytes.len() > SEGMENT_LEN_MAX {
            return Err(Damage::OverLimit { what: "index", max: 2 << 30 });
        }
        let layout = match bytes.first() {
            Some(1) => Layout::V1(index_v1::parse(bytes)?),
            Some(2) => Layout::V2(index_v2::parse(bytes)?),
            Some(_) => return Err(Damage::Unsupported { what: "index version" }),
            None => return Err(Damage::Truncated { what: "index header", need: 8, have: 0 }),
        };
        Ok(Self { bytes, layout })
    }

    /// How many entries there are.
    #[must_use]
    pub fn entry_count(&self) -> usize {
        match &self.layout {
            Layout::V1(v1) => v1.entry_count(),
            Layout::V2(v2) => v2.entry_count(),
        }
    }

    /// Visits every entry in the order of the segment; stops at the first bad one.
    pub fn visit<E: From<Damage>>(
        &self,
        mut entry: impl FnMut(Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        match &self.layout {
            Layout::V1(v1) => v1.entries().try_for_each(|read| entry(read?)),
            Layout::V2(v2) => v2.entries().try_for_each(|read| entry(read?)),
        }
    }

    /// The name of a pack that an entry of this segment refers to; empty where a deletion names
    /// none.
    pub fn pack_name(&self, pack: PackRef) -> Result<&'a str, Damage> {
        if pack.len == 0 {
            return Ok("");
        }
        let damage = Damage::Invalid { what: "pack name in an index" };
        let start = usize::try_from(pack.at).map_err(|_error| damage)?;
        let end = start.checked_add(usize::from(pack.len)).ok_or(damage)?;
        let name = self.bytes.get(start..end).filter(|name| is_blob_name(name)).ok_or(damage)?;
        str::from_utf8(name).map_err(|_error| damage)
    }
}

/// What decides between two entries of the same content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim<'a> {
    /// [`Entry::seconds`].
    pub seconds: i64,
    /// [`Entry::deleted`].
    pub deleted: bool,
    /// Name of the entry's pack.
    pub pack: &'a str,
}

/// Whether `a` replaces `b`: the newer one, else the one that is not deleted, else the one in the
/// pack with the larger name.
#[must_use]
pub fn supersedes(a: Claim<'_>, b: Claim<'_>) -> bool {
    (a.seconds, !a.deleted, a.pack) > (b.seconds, !b.deleted, b.pack)
}

/// Whether the *winning* entry of a content counts as absent: a deletion at or before the watermark
/// (see [`epoch`](super::epoch)). An older entry it superseded stays superseded.
#[must_use]
pub fn is_forgotten(seconds: i64, deleted: bool, watermark: Option<i64>) -> bool {
    deleted && watermark.is_some_and(|watermark| seconds <= watermark)
}

/// The key of an entry as a content id.
pub(super) fn content_id(key: &[u8]) -> Result<ContentId, Damage> {
    ContentId::from_key(key).ok_or(Damage::Invalid { what: "content id in an index" })
}

#[cfg(test)]
mod tests;
