//! A time in the JSON of either format.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| windlass_fuzz::rfc3339_time(data));
