#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| loader_fuzz::run("bzimage", input));
