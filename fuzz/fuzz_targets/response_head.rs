#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hooklatch_fuzz::response_head::check(data));
