//! The chunker polynomial in a restic config.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| windlass_fuzz::restic_polynomial(data));
