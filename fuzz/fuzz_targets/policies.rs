#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    (strongroom::fuzzing::target("policies").run)(data);
});
