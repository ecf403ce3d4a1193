//! Fuzzes `windlass_fuzz::kopia::ids`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = windlass_fuzz::kopia::ids(data);
});
