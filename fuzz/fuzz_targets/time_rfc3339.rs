//! Fuzzes `windlass_fuzz::time::rfc3339`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = windlass_fuzz::time::rfc3339(data);
});
