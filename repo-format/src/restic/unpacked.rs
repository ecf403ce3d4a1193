//! Files outside packs, before sealing: index, snapshot and lock.
//!
//! ```text
//! version 2    02 | zstd frame of the JSON
//! version 1    the JSON, beginning with `{` or `[`
//! ```
//!
//! Checked against `internal/repository/repository.go`. Invariant: a reader takes both forms in
//! either version. `config` is always plain JSON and does not come through here.

use super::{
    compress::{Compressor, Decompressor},
    config::Version,
};
use crate::damage::Damage;

/// Most bytes an index, snapshot or lock may have when decompressed.
pub const MAX_PLAIN: usize = 1 << 30;

const COMPRESSED: u8 = 2;

/// Appends the stored form of `json`, yet to be sealed.
pub fn encode(
    version: Version,
    compressor: &mut Compressor,
    json: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Damage> {
    match version {
        Version::V1 => {
            out.extend_from_slice(json);
            Ok(())
        }
        Version::V2 => {
            out.push(COMPRESSED);
            compressor.compress(json, out)
        }
    }
}

/// Replaces what is in `out` by the JSON in an opened file.
pub fn decode(
    decompressor: &mut Decompressor,
    what: &'static str,
    opened: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Damage> {
    match opened {
        [] | [b'{' | b'[', ..] => {
            out.clear();
            out.extend_from_slice(opened);
            Ok(())
        }
        [COMPRESSED, frame @ ..] => decompressor.decompress_up_to(what, frame, MAX_PLAIN, out),
        _ => Err(Damage::Unsupported { what: "encoding of a file outside packs" }),
    }
}
