//! Fuzzes `windlass_fuzz::restic::name`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = windlass_fuzz::restic::name(data);
});
