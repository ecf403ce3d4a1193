//! Fuzzes `windlass_fuzz::restic::unpacked`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = windlass_fuzz::restic::unpacked(data);
});
