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

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use proptest::prelude::*;

    use super::Decompression;
    use crate::damage::Damage;

    /// The same bytes under every header that this reader knows.
    fn compressed(raw: &[u8]) -> Vec<(u32, Vec<u8>)> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(raw).unwrap();
        let gzip = gzip.finish().unwrap();
        let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), Compression::best());
        deflate.write_all(raw).unwrap();
        let deflate = deflate.finish().unwrap();
        let mut zstd = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        zstd.include_checksum(true).unwrap();
        zstd.write_all(raw).unwrap();
        let zstd = zstd.finish().unwrap();
        let gzips = [0x1000_u32, 0x1001, 0x1002, 0x1300, 0x1301, 0x1302].map(|id| (id, &gzip));
        let zstds = [0x1100, 0x1101, 0x1102, 0x1103].map(|id| (id, &zstd));
        let deflates = [0x1500, 0x1501, 0x1502].map(|id| (id, &deflate));
        let all = gzips.into_iter().chain(zstds).chain(deflates);
        all.map(|(id, frame)| (id, [&id.to_be_bytes()[..], frame].concat())).collect()
    }

    fn run(id: u32, stored: &[u8], raw_len: usize) -> Result<Vec<u8>, Damage> {
        let mut raw = vec![1, 2, 3];
        Decompression::default().run(id, stored, raw_len as u32, &mut raw)?;
        Ok(raw)
    }

    proptest! {
        #[test]
        fn every_codec_round_trips_and_keeps_the_promised_length(
            raw in prop::collection::vec(0..4_u8, 0..5000),
        ) {
            for (id, stored) in compressed(&raw) {
                prop_assert_eq!(run(id, &stored, raw.len()), Ok(raw.clone()));
                prop_assert!(run(id, &stored, raw.len() + 1).is_err());
                if let Some(shorter) = raw.len().checked_sub(1) {
                    prop_assert!(run(id, &stored, shorter).is_err());
                }
                prop_assert!(run(id ^ 1, &stored, raw.len()).is_err());
            }
        }

        #[test]
        fn damaged_frames_never_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            for (id, mut stored) in compressed(b"some text, some text, some text, other text") {
                let at = at.index(stored.len());
                prop_assert!(run(id, &stored[..at], 43).is_err());
                stored[at] = byte;
                drop(run(id, &stored, 43));
            }
        }
    }

    #[test]
    fn a_bomb_stops_at_the_promised_length() {
        let raw = vec![0; 50 << 20];
        for (id, stored) in compressed(&raw) {
            let mut out = Vec::new();
            assert!(Decompression::default().run(id, &stored, 1000, &mut out).is_err());
            assert!(out.capacity() < 1 << 20, "{id:x} grew to {}", out.capacity());
        }
    }

    #[test]
    fn a_roomy_buffer_does_not_raise_the_limit() {
        for (id, stored) in compressed(&[7; 500]) {
            let mut raw = Vec::with_capacity(4096);
            let mut decompression = Decompression::default();
            assert_eq!(decompression.run_by_header(&stored, 500, &mut raw), Ok(()), "{id:x}");
            assert_eq!(raw, [7; 500]);
            assert!(decompression.run_by_header(&stored, 499, &mut raw).is_err(), "{id:x}");
        }
    }

    #[test]
    fn codecs_we_lack_are_refused_by_name() {
        let refused = |id: u32| run(id, &id.to_be_bytes(), 1).unwrap_err();
        assert_eq!(refused(0x1200), Damage::Unsupported { what: "compression s2" });
        assert_eq!(refused(0x1400), Damage::Unsupported { what: "compression lz4" });
        assert_eq!(refused(0x9999), Damage::Unsupported { what: "compression header" });
        assert_eq!(run(0x1100, &[0, 0, 0x11], 1).unwrap_err(), {
            Damage::Truncated { what: "compression header", need: 4, have: 3 }
        });
        let max = 0x0fff_ffff;
        assert_eq!(run(0x1100, &[0, 0, 0x11, 0], 1 << 28).unwrap_err(), {
            Damage::OverLimit { what: "content length", max }
        });
    }
}
