//! Fuzzes `windlass_fuzz::restic::config`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = windlass_fuzz::restic::config(data);
});
