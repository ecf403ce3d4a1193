//! Fuzzes `windlass_fuzz::restic::compressed`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = windlass_fuzz::restic::compressed(data);
});
