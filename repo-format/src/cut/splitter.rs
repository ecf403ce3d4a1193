//! kopia's splitters by name.
//!
//! Invariants: every name kopia registers is known and none else (checked against
//! `repo/splitter/splitter.go`); names are case-sensitive there as here.

use core::num::NonZeroUsize;
use std::sync::Arc;

use windlass_lanes::buzhash::Buzhash;
use windlass_lanes::rabin::Rabin;

use super::Cutter;
use super::lengths::Lengths;

/// What kopia gives new repositories.
pub const DEFAULT: &str = "DYNAMIC-4M-BUZHASH";

/// The polynomial of every `-RABINKARP` splitter, which kopia's hash module derives from a fixed
/// seed.
const RABIN_KARP: u64 = 0x2e_3e3e_4a30_5605;

/// The average of the names that carry no size.
const LEGACY_BITS: u32 = 22;

pub(super) fn by_name(name: &str) -> Option<Cutter> {
    match name {
        "FIXED" => return fixed(LEGACY_BITS),
        "DYNAMIC" => return Some(buzhash(LEGACY_BITS)),
        _ => {}
    }
    if let Some(size) = name.strip_prefix("FIXED-") {
        return fixed(bits(size)?);
    }
    let (size, hash) = name.strip_prefix("DYNAMIC-")?.split_once('-')?;
    match hash {
        "BUZHASH" => Some(buzhash(bits(size)?)),
        "RABINKARP" => {
            let bits = bits(size)?;
            Some(Cutter::Rabin(Arc::new(Rabin::new(RABIN_KARP, bits)), Lengths::kopia(bits)))
        }
        _ => None,
    }
}

fn bits(size: &str) -> Option<u32> {
    match size {
        "128K" => Some(17),
        "256K" => Some(18),
        "512K" => Some(19),
        "1M" => Some(20),
        "2M" => Some(21),
        "4M" => Some(22),
        "8M" => Some(23),
        _ => None,
    }
}

fn fixed(bits: u32) -> Option<Cutter> {
    NonZeroUsize::new(1 << bits).map(Cutter::Fixed)
}

fn buzhash(bits: u32) -> Cutter {
    Cutter::Buzhash(Arc::new(Buzhash::new(bits)), Lengths::kopia(bits))
}
