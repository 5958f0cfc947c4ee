#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wick_fuzz::one("container", bytes));
