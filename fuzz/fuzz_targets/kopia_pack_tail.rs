//! Fuzzes `windlass_fuzz::kopia::pack_tail`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = windlass_fuzz::kopia::pack_tail(data);
});
