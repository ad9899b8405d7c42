#![no_main]

use strongroom::KeyBackup;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    match data.split_first() {
        Some((0, payload)) => strongroom::fuzzing::backup_payload(payload),
        Some((_, blob)) => {
            if let Ok(summary) = KeyBackup::inspect(blob) {
                assert_eq!(summary.length(), blob.len());
            }
        }
        None => {}
    }
});
