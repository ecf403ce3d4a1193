//! Fuzzes `windlass_fuzz::kopia::index`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = windlass_fuzz::kopia::index(data);
});
