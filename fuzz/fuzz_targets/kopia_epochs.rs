//! Fuzzes `windlass_fuzz::kopia::epochs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = windlass_fuzz::kopia::epochs(data);
});
