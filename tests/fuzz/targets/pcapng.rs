#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| natbox_fuzz::pcapng::run(data));
