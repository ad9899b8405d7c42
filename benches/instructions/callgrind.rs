//! Valgrind, which counts the instructions of this program.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Counts;
use crate::calls::{CHILD, COUNTED};

/// The function that is counted. No pattern: of two options with the same pattern valgrind heeds only one.
const FUNCTION: &str = "instructions::calls::counted_calls";

/// What is freed is kept by its thread, so that it does not depend on the history of the heap, which differs from run to
/// run, how long allocating takes.
const ALLOCATOR: &str = "glibc.malloc.tcache_count=2000";

/// Only what the thread does inside [`FUNCTION`] is counted: neither the preparation, which differs from run to run,
/// nor other threads. Valgrind writes one file each time the function is left: the first for the vault's calls, the
/// second for the bare ones.
pub(crate) fn count(name: &str, scratch: &Path) -> Result<Counts, String> {
    let own = std::env::current_exe().map_err(|error| format!("which program is this: {error}"))?;
    let written = scratch.join(name);
    let output = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--quiet",
            "--cache-sim=no",
            "--collect-bus=yes",
        ])
        .arg(format!("--toggle-collect={FUNCTION}"))
        .arg(format!("--dump-after={FUNCTION}"))
        .arg(format!("--callgrind-out-file={}", written.display()))
        .arg(own)
        .args([CHILD, name])
        .env("GLIBC_TUNABLES", ALLOCATOR)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| not_started(&error))?;
    if !output.status.success() {
        return Err(format!(
            "valgrind or the program under it failed for {name} ({}):\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    let nothing = || format!("valgrind counted nothing for {name}: does the program have symbols?");
    let (vault, locked) = per_call(&written.with_extension("1"))?.ok_or_else(nothing)?;
    let bare = per_call(&written.with_extension("2"))?;
    Ok(Counts {
        vault,
        bare: bare.map(|(instructions, _)| instructions),
        locked,
    })
}

pub(crate) fn version() -> Result<String, String> {
    let output = Command::new("valgrind").arg("--version").output();
    let output = output.map_err(|error| not_started(&error))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.trim().trim_start_matches("valgrind-").to_owned())
}

fn not_started(error: &std::io::Error) -> String {
    format!("valgrind does not start ({error}); instructions are counted with it: install valgrind")
}

/// Instructions, and those of them that are locked. `None` when the function was not left so often, and there is nothing
/// to read.
fn per_call(written: &Path) -> Result<Option<(u64, u64)>, String> {
    let text = match fs::read_to_string(written) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{} cannot be read: {error}", written.display())),
    };
    let after = |start: &str| text.lines().find_map(|line| line.strip_prefix(start));
    let totals = || {
        // Without these in this order, the numbers are something else.
        after("events: ").filter(|events| events.trim() == "Ir Ge")?;
        let mut totals = after("totals: ")?.split_whitespace();
        // Zeros at the end are not written.
        let (instructions, locked) = (totals.next()?, totals.next().unwrap_or("0"));
        Some((instructions.parse().ok()?, locked.parse().ok()?))
    };
    let (instructions, locked): (u64, u64) = totals().ok_or_else(|| {
        format!(
            "{} has no totals of \"Ir Ge\": this valgrind writes something else",
            written.display()
        )
    })?;
    let calls = u64::from(COUNTED);
    let each = |total: u64| (total + calls / 2) / calls;
    Ok(Some((each(instructions), each(locked))))
}
