//! Fuzzes `windlass_fuzz::kopia::directory`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = windlass_fuzz::kopia::directory(data);
});
