//! Zstandard as restic uses it, with contexts that are kept.
//!
//! Invariants
//! - A frame carries its content size and no checksum, and is a single one.
//! - Any legal frame is read, whoever wrote it; output is limited before it is allocated.

use std::io::Cursor;

use zstd::{
    bulk,
    zstd_safe::{self, CParameter, DParameter, InBuffer, OutBuffer, ResetDirective},
};

use crate::{cursor::count, damage::Damage};

/// How much work compression may be; each is about what restic does under that name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// restic's default.
    #[default]
    Auto,
    /// As fast as possible.
    Fastest,
    /// Smaller than `Auto` at more than twice the work.
    Better,
    /// As small as is sensible.
    Max,
    /// Only trees and files outside packs are compressed, and those as `Auto` does.
    Off,
}

impl Level {
    const fn zstd(self) -> i32 {
        match self {
            Self::Fastest => 1,
            Self::Auto | Self::Off => 3,
            Self::Better => 7,
            Self::Max => 12,
        }
    }
}

/// Largest window a frame may ask for when it is read piece by piece, as a power of
/// two: 128 MiB, what the highest zstd level asks for.
const MAX_WINDOW_LOG: u32 = 27;

/// A compression context of one level.
pub struct Compressor {
    level: Level,
    context: bulk::Compressor<'static>,
}

impl Compressor {
    /// Sets a context up; it is reused by every call.
    pub fn new(level: Level) -> Result<Self, Damage> {
        let unavailable = |_| Damage::Unsupported { what: "zstd context" };
        let mut context = bulk::Compressor::new(level.zstd()).map_err(unavailable)?;
        for parameter in [
            CParameter::ContentSizeFlag(true),
            CParameter::ChecksumFlag(false),
            CParameter::DictIdFlag(false),
        ] {
            context.set_parameter(parameter).map_err(unavailable)?;
        }
        Ok(Self { level, context })
    }

    /// The level it was made for.
    #[must_use]
    pub const fn level(&self) -> Level {
        self.level
    }

    /// Appends `plain` as one frame; the only allocation is `out` growing.
    pub fn compress(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Damage> {
        let failed = Damage::Compression { what: "plaintext" };
        let from = out.len();
        out.reserve(zstd_safe::compress_bound(plain.len()));
        let mut behind = Cursor::new(out);
        behind.set_position(count(from));
        self.context.compress_to_buffer(plain, &mut behind).map(drop).map_err(|_| failed)
    }
}

impl core::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Compressor({:?})", self.level)
    }
}

/// A decompression context.
pub struct Decompressor {
    context: zstd_safe::DCtx<'static>,
}

impl Decompressor {
    /// Sets a context up; it is reused by every call.
    pub fn new() -> Result<Self, Damage> {
        let unavailable = Damage::Unsupported { what: "zstd context" };
        let mut context = zstd_safe::DCtx::try_create().ok_or(unavailable)?;
        let window = DParameter::WindowLogMax(MAX_WINDOW_LOG);
        context.set_parameter(window).map_err(|_| unavailable)?;
        Ok(Self { context })
    }

    /// Replaces what is in `out` by the plaintext, which must have exactly `length` bytes.
    ///
    /// `length` comes from an index or pack header and decides the allocation, so the caller
    /// checks it against its own limit first.
    pub fn decompress_exact(
        &mut self,
        what: &'static str,
        packed: &[u8],
        length: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Damage> {
        out.clear();
        self.decompress_onto(what, packed, length, out)
    }

    /// Appends the plaintext, which must have exactly `length` bytes, to `out`, or nothing. On
    /// `length` see [`decompress_exact`](Self::decompress_exact).
    pub fn decompress_onto(
        &mut self,
        what: &'static str,
        packed: &[u8],
        length: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Damage> {
        let from = out.len();
        if out.capacity() - from < length {
            // To the byte where it is the first, as usual where more follow.
            if from == 0 { out.reserve_exact(length) } else { out.reserve(length) }
        }
        let mut behind = Cursor::new(&mut *out);
        behind.set_position(count(from));
        // A vector longer than asked for must not hide a frame longer than promised.
        match self.context.decompress(&mut behind, packed) {
            Ok(written) if written == length => Ok(()),
            _ => {
                out.truncate(from);
                Err(Damage::Compression { what })
            }
        }
    }

    /// Replaces what is in `out` by the plaintext, of at most `max` bytes.
    pub fn decompress_up_to(
        &mut self,
        what: &'static str,
        packed: &[u8],
        max: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Damage> {
        out.clear();
        let over = Damage::OverLimit { what, max: count(max) };
        let broken = Damage::Compression { what };
        self.context.reset(ResetDirective::SessionOnly).map_err(|_| broken)?;
        // The size a frame promises is a guess at the room it needs, believed only so far.
        let promised = zstd_safe::get_frame_content_size(packed).map_err(|_| broken)?;
        let promised = promised.and_then(|promised| usize::try_from(promised).ok());
        let believed = packed.len().saturating_mul(4).max(FIRST_ROOM);
        // One byte more than allowed is enough to see that there are too many.
        let most = max.saturating_add(1);
        out.reserve_exact(promised.unwrap_or(believed).min(believed).min(most));
        let mut input = InBuffer::around(packed);
        loop {
            if out.len() == out.capacity() {
                let more = out.len().max(FIRST_ROOM);
                out.reserve_exact(more.min(most.saturating_sub(out.len())).max(1));
            }
            let from = out.len();
            let room = out.capacity() - from;
            let mut output = OutBuffer::around_pos(out, from);
            let hint = self.context.decompress_stream(&mut output, &mut input);
            let produced = output.pos() - from;
            let hint = hint.map_err(|_| broken)?;
            if out.len() > max {
                return Err(over);
            }
            // A frame has ended (hint 0) and so has the input; or nothing moves any more.
            if hint == 0 && input.pos() == packed.len() {
                return Ok(());
            }
            if produced < room && input.pos() == packed.len() {
                return Err(broken);
            }
        }
    }
}

/// Room made before the first piece, and the least added when there is none left.
const FIRST_ROOM: usize = 128 * 1024;

impl core::fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Decompressor")
    }
}
