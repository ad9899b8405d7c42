//! The section of the manual.

use std::process::Command;
use std::time::Duration;

use crate::Size;
use crate::table::{Growth, LOGARITHMIC, Measured, Row, Table, Unit, separated, table};

const fn row(name: &'static str, what: &'static str, unit: Unit, growth: Growth) -> Row {
    Row {
        name,
        what,
        unit,
        growth,
    }
}

use Growth::{Any, Logarithmic, Proportional};
use Unit::{Megabytes, Microseconds, Milliseconds, PerSecond, Seconds};

const KEYS: [Row; 33] = [
    row(
        "open",
        "open, files in the page cache",
        Milliseconds,
        Proportional,
    ),
    row("open: read", "which reads from the disk", Megabytes, Any),
    row(
        "open, first",
        "open after the import, from the disk",
        Milliseconds,
        Proportional,
    ),
    row("open, first: read", "which reads", Megabytes, Proportional),
    row(
        "open, cold",
        "open again, from the disk",
        Milliseconds,
        Proportional,
    ),
    row("open, cold: read", "which reads", Megabytes, Proportional),
    row(
        "get, first",
        "`get_key`, the first of its bucket",
        Microseconds,
        Proportional,
    ),
    row(
        "get",
        "`get_key`, any other, median",
        Microseconds,
        Logarithmic,
    ),
    row("get, p99", "`get_key`, p99", Microseconds, Logarithmic),
    row(
        "page, first",
        "a page of 25, the first",
        Microseconds,
        Logarithmic,
    ),
    row(
        "page, middle",
        "a page in the middle",
        Microseconds,
        Logarithmic,
    ),
    row("page, last", "the last page", Microseconds, Logarithmic),
    row("list all", "list all, after opening", Seconds, Proportional),
    row(
        "append",
        "1.5 KiB appended to a file and synced",
        Microseconds,
        Any,
    ),
    row("create", "`create_key`, P-256", Microseconds, Logarithmic),
    row("rotate", "`rotate_key`, P-256", Microseconds, Logarithmic),
    row("delete", "`delete_key`", Microseconds, Logarithmic),
    row(
        "purge",
        "purge a key, and shred it",
        Milliseconds,
        Proportional,
    ),
    row("check", "`check`", Seconds, Proportional),
    row("compact", "`compact`", Seconds, Proportional),
    row("fill: rate", "`import_many`, P-256", PerSecond, Any),
    row(
        "open: memory",
        "resident memory after opening",
        Megabytes,
        Proportional,
    ),
    row(
        "fill: memory",
        "at most, importing",
        Megabytes,
        Proportional,
    ),
    row("read: memory", "at most, reading", Megabytes, Proportional),
    row(
        "memory",
        "at most, creating, rotating, deleting",
        Megabytes,
        Proportional,
    ),
    row("purge: memory", "at most, purging", Megabytes, Proportional),
    row(
        "check: memory",
        "at most, checking",
        Megabytes,
        Proportional,
    ),
    row(
        "compact: memory",
        "at most, compacting",
        Megabytes,
        Proportional,
    ),
    row("files", "files after the import", Megabytes, Proportional),
    row(
        "files, changed",
        "files after all of this",
        Megabytes,
        Proportional,
    ),
    row(
        "files, compacted",
        "files after `compact`",
        Megabytes,
        Proportional,
    ),
    row(
        "open, compacted",
        "open, after `compact`",
        Milliseconds,
        Proportional,
    ),
    row(
        "get, compacted",
        "`get_key`, after `compact`",
        Microseconds,
        Logarithmic,
    ),
];

const VERSIONS: [Row; 24] = [
    row(
        "open",
        "open, files in the page cache",
        Milliseconds,
        Proportional,
    ),
    row(
        "get, first",
        "`get_key`, the first",
        Microseconds,
        Proportional,
    ),
    row(
        "get",
        "`get_key`, the newest version",
        Microseconds,
        Logarithmic,
    ),
    row(
        "get version",
        "`get_key`, any version, median",
        Microseconds,
        Logarithmic,
    ),
    row(
        "get version, p99",
        "`get_key`, any version, p99",
        Microseconds,
        Logarithmic,
    ),
    row(
        "sign",
        "sign ES256 with any version",
        Microseconds,
        Logarithmic,
    ),
    row(
        "page, first",
        "a page of 25 versions, the first",
        Microseconds,
        Logarithmic,
    ),
    row(
        "page, middle",
        "a page in the middle",
        Microseconds,
        Logarithmic,
    ),
    row("page, last", "the last page", Microseconds, Logarithmic),
    row(
        "list all",
        "list all, page by page",
        Milliseconds,
        Proportional,
    ),
    row(
        "append",
        "1.5 KiB appended to a file and synced",
        Microseconds,
        Any,
    ),
    row(
        "rotate, first",
        "`rotate_key`, the first",
        Microseconds,
        Proportional,
    ),
    row(
        "rotate",
        "`rotate_key`, any other",
        Microseconds,
        Logarithmic,
    ),
    row("backup", "`backup_key`", Milliseconds, Any),
    row("backup: bytes", "its backup", Megabytes, Any),
    row(
        "purge",
        "delete, purge and shred the key",
        Milliseconds,
        Proportional,
    ),
    row("check", "`check`", Milliseconds, Proportional),
    row("compact", "`compact`", Milliseconds, Proportional),
    row(
        "open: memory",
        "resident memory after opening",
        Megabytes,
        Proportional,
    ),
    row("read: memory", "at most, reading", Megabytes, Proportional),
    row(
        "change: memory",
        "at most, rotating",
        Megabytes,
        Proportional,
    ),
    row("purge: memory", "at most, purging", Megabytes, Proportional),
    row(
        "files",
        "files after the rotations",
        Megabytes,
        Proportional,
    ),
    row(
        "files, compacted",
        "files after `compact`",
        Megabytes,
        Proportional,
    ),
];

/// Prints it; whether every bound is held.
pub(crate) fn print(size: &Size, keys: &Measured, versions: &Measured, took: Duration) -> bool {
    let of_keys = table(&KEYS, &size.keys, keys);
    let of_versions = table(&VERSIONS, &size.versions, versions);
    let most = size.keys.last().copied().unwrap_or(0);
    println!(
        "## Scale\n\n```text\ncargo bench --bench scale -- {most} --plots\n```\n\n\
         {}, the machine of above; {:.0} minutes, load {} after it. Each kind of work is done by a process of its own, \
         which only opens the vault before. The keys are on P-256, with a tag; they are imported with `import_many`, by \
         four threads, from {} private keys under names of their own. Changes are durable when they return. \
         What may grow as a search in a tree, may grow {LOGARITHMIC} times from the first column to the last; of what \
         has to touch everything, one and a half times the quotient of the counts is demanded.\n",
        today(),
        took.as_secs_f64() / 60.0,
        load(),
        crate::fill::POOL,
    );
    show("A vault of so many keys, each of one version:", &of_keys);
    show(
        "A vault with one key of so many versions, made by `rotate_key`:",
        &of_versions,
    );
    let (held, asked) = (
        of_keys.held + of_versions.held,
        of_keys.asked + of_versions.asked,
    );
    println!(
        "{} of {} bounds are held.",
        separated(held as u64),
        separated(asked as u64)
    );
    held == asked
}

fn show(head: &str, table: &Table) {
    if !table.text.is_empty() {
        println!("{head}\n\n{}", table.text);
    }
}

fn today() -> String {
    let output = Command::new("date")
        .env("LC_ALL", "C")
        .arg("+%-d %B %Y")
        .output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_default()
}

/// How busy the machine is, as the system says.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace()
        .next()
        .unwrap_or("unknown")
        .to_owned()
}
