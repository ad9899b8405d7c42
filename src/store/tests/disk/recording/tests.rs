//! What `strace` writes, word for word but for the hexadecimal, and what becomes of it.

use super::*;

/// As `strace -xx` writes bytes.
fn hexadecimal(bytes: &str) -> String {
    bytes.bytes().map(|byte| format!("\\x{byte:02x}")).collect()
}

/// The steps, in short, of a record in which `F` is a descriptor of the file `/root/db`.
fn steps(lines: &[&str]) -> Vec<String> {
    let mut parser = Parser {
        root: "/root".into(),
        marks: "/marks".into(),
        known: BTreeSet::from(["db".into()]),
        positions: BTreeMap::new(),
        open_calls: BTreeMap::new(),
        calls: 0,
        steps: Vec::new(),
    };
    for line in lines {
        let file = format!("5<{}>", hexadecimal("/root/db"));
        let bytes = format!("\"{}\"", hexadecimal("abc"));
        parser.line(line.replace('F', &file).replace('B', &bytes).as_bytes());
    }
    let short = |step: &Step| match step {
        Step::Write { call, offset, .. } => format!("write {call} at {offset}"),
        Step::Sync { call, .. } => format!("sync {call}"),
        Step::End { call } => format!("end {call}"),
        Step::Resize { length, .. } => format!("resize {length}"),
        step => format!("{step:?}"),
    };
    parser.steps.iter().map(short).collect()
}

#[test]
fn calls_are_told_in_the_order_of_their_starts_and_ends() {
    assert_eq!(
        steps(&[
            "11 pwrite64(F, B, 3, 0) = 3",
            "11 pwrite64(F, B, 3, 8 <unfinished ...>",
            "12 fdatasync(F <unfinished ...>",
            "11 <... pwrite64 resumed>) = 3",
            "12 <... fdatasync resumed>) = 0",
            "12 ftruncate(F, 2) = 0",
            "12 ftruncate(F, 1) = -1 EIO (Input/output error)",
        ]),
        [
            "write 1 at 0",
            "end 1",
            "write 2 at 8",
            "sync 3",
            "end 2",
            "end 3",
            "resize 2"
        ]
    );
}

/// A thread works while another ends the process. `strace` 6.1 ended lines in each of these ways when that was tried, and
/// a line without an answer stopped a programme of power cuts once in some thousand runs.
#[test]
fn a_call_cut_short_by_the_end_of_the_process_has_begun_and_never_returned() {
    for end in [
        "11 pwrite64(F, B, 3, 0 <detached ...>",
        "11 pwrite64(F, B, 3, 0) <detached ...>",
        "11 pwrite64(F, B, 3, 0) = ?",
        "11 pwrite64(F, B, 3, 0) = ? <unavailable>",
        "11 pwrite64(F, B, 3, 0) = -1 (errno 18446744073709551598)",
    ] {
        assert_eq!(steps(&[end]), ["write 1 at 0"], "{end}");
    }
    for end in [
        "11 <... fdatasync resumed>) = ?",
        "11 <... fdatasync resumed>) = ? <unavailable>",
        "11 <... fdatasync resumed> <detached ...>",
        "11 <... fdatasync resumed>) = -1 (errno 18446744073709551539)",
    ] {
        let lines = ["11 fdatasync(F <unfinished ...>", end];
        assert_eq!(steps(&lines), ["sync 1"], "{end}");
    }
    for end in [
        "11 ???() = ?",
        "11 ??? <detached ...>",
        "11 ftruncate(F, 10) = ?",
        "11 ftruncate(F, 10 <detached ...>",
    ] {
        assert_eq!(steps(&[end]), [""; 0], "{end}");
    }
}

#[test]
#[should_panic(expected = "a recorded fdatasync failed")]
fn a_sync_that_a_signal_interrupts_is_none_either() {
    steps(&["11 fdatasync(F) = ? ERESTARTSYS (To be restarted if SA_RESTART is set)"]);
}

#[test]
#[should_panic(expected = "a recorded fdatasync failed")]
fn a_sync_that_fails_is_no_record_to_cut_the_power_in() {
    steps(&["11 fdatasync(F) = -1 EIO (Input/output error)"]);
}
