//! Decompression of contents.
//!
//! Invariants: output never grows past the length the index promised, and is refused if it differs.
//!
//! ```text
//! compressed content = | header id u32 BE | frame |
//! ```
//!
//! Frames are written as streams, so a zstd frame names no content size.
//!
//! Checked against `repo/compression/`.

use std::io::Read;

use flate2::bufread::{DeflateDecoder, MultiGzDecoder};
use zstd::bulk::Decompressor;

use crate::damage::Damage;

/// Bytes of the largest content: what an index entry can express.
pub const CONTENT_LEN_MAX: u32 = (1 << 28) - 1;

/// Decompression state that is worth keeping from content to content.
#[derive(Default)]
pub struct Decompression {
    zstd: Option<Decompressor<'static>>,
}

impl core::fmt::Debug for Decompression {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Decompression")
    }
}

impl Decompression {
    /// Decompresses a content whose header must be `id` into exactly `raw_len` bytes.
    pub fn run(
        &mut self,
        id: u32,
        stored: &[u8],
        raw_len: u32,
        raw: &mut Vec<u8>,
    ) -> Result<(), Damage> {
        let what = "compressed content";
        let (header, frame) = split_header(stored)?;
        if header != id {
            return Err(Damage::Invalid { what: "compression header" });
        }
        let raw_len = expected_len(raw_len)?;
        self.bounded(header, frame, raw_len, raw)?;
        if raw.len() == raw_len { Ok(()) } else { Err(Damage::Compression { what }) }
    }

    /// Decompresses what carries its own header into at most `raw_len_max` bytes.
    pub fn run_by_header(
        &mut self,
        stored: &[u8],
        raw_len_max: u32,
        raw: &mut Vec<u8>,
    ) -> Result<(), Damage> {
        let (header, frame) = split_header(stored)?;
        self.bounded(header, frame, expected_len(raw_len_max)?, raw)
    }

    fn bounded(
        &mut self,
        header: u32,
        frame: &[u8],
        max: usize,
        raw: &mut Vec<u8>,
    ) -> Result<(), Damage> {
        raw.clear();
        match header {
            0x1000..=0x1002 | 0x1300..=0x1302 => gunzip(frame, max, raw),
            0x1100..=0x1103 => self.unzstd(frame, max, raw),
            0x1500..=0x1502 => read_bounded(DeflateDecoder::new(frame), max, raw),
            0x1200..=0x1203 => Err(Damage::Unsupported { what: "compression s2" }),
            0x1400 => Err(Damage::Unsupported { what: "compression lz4" }),
            _ => Err(Damage::Unsupported { what: "compression header" }),
        }
    }

    fn unzstd(&mut self, frame: &[u8], max: usize, raw: &mut Vec<u8>) -> Result<(), Damage> {
        let damage = Damage::Compression { what: "zstd content" };
        let zstd = match &mut self.zstd {
            Some(zstd) => zstd,
            none => none.insert(Decompressor::new().map_err(|_error| damage)?),
        };
        raw.reserve_exact(max);
        // A vector may have more room than was asked for; an oversized frame is caught by length.
        zstd.decompress_to_buffer(frame, raw).map_err(|_error| damage)?;
        if raw.len() > max { Err(damage) } else { Ok(()) }
    }
}

/// Decompresses gzip, one or more members, into at most `max` bytes.
pub(super) fn gunzip(frame: &[u8], max: usize, raw: &mut Vec<u8>) -> Result<(), Damage> {
    read_bounded(MultiGzDecoder::new(frame), max, raw)
}

fn read_bounded(reader: impl Read, max: usize, raw: &mut Vec<u8>) -> Result<(), Damage> {
    let limit = u64::try_from(max).unwrap_or(u64::MAX);
    let what = "deflated content";
    let damage = Damage::Compression { what };
    let read = reader.take(limit.saturating_add(1)).read_to_end(raw).map_err(|_error| damage)?;
    if read > max { Err(Damage::OverLimit { what, max: limit }) } else { Ok(()) }
}

fn split_header(stored: &[u8]) -> Result<(u32, &[u8]), Damage> {
    let have = u64::try_from(stored.len()).unwrap_or(u64::MAX);
    let truncated = Damage::Truncated { what: "compression header", need: 4, have };
    let (header, frame) = stored.split_first_chunk().ok_or(truncated)?;
    Ok((u32::from_be_bytes(*header), frame))
}

fn expected_len(raw_len: u32) -> Result<usize, Damage> {
    let over = Damage::OverLimit { what: "content length", max: u64::from(CONTENT_LEN_MAX) };
    if raw_len > CONTENT_LEN_MAX {
        return Err(over);
    }
    usize::try_from(raw_len).map_err(|_error| over)
}
