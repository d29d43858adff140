#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| natbox_fuzz::nat::run(data));
