//! The section of the manual.

use std::process::Command;
use std::time::Duration;

use crate::Size;
use crate::table::{LOGARITHMIC, Measured, PROPORTIONAL, Table, separated, table};

/// Under which name it was measured, what it is, its unit, and how it may grow: as a search (`log`), as the count (`n`),
/// or as it likes (`-`).
const KEYS: &str = "
open | open, files in the page cache | ms | n
open: read | which reads from the disk | MB | -
open, first | open after the import, from the disk | ms | n
open, first: read | which reads | MB | n
open, cold | open again, from the disk | ms | n
open, cold: read | which reads | MB | n
get, first | `get_key`, the first of its bucket | µs | n
get | `get_key`, any other, median | µs | log
get, p99 | `get_key`, any other, p99 | µs | log
get, kept | `get_key`, all records in memory, median | µs | log
get, kept, p99 | `get_key`, all records in memory, p99 | µs | log
page, first | a page of 25, the first | µs | log
page, middle | a page in the middle | µs | log
page, last | the last page | µs | log
list all | list all, after opening | s | n
append | 1.5 KiB appended to a file and synced | µs | -
create | `create_key`, P-256 | µs | log
rotate | `rotate_key`, P-256 | µs | log
delete | `delete_key` | µs | log
purge | purge a key, and shred it | ms | n
check | `check` | s | n
compact | `compact` | s | n
fill: rate | `import_many`, P-256 | per second | -
open: memory | resident memory after opening | MB | n
fill: memory | at most, importing | MB | n
read: memory | at most, reading | MB | n
get, kept: memory | at most, with all records in memory | MB | n
memory | at most, checking, creating, rotating, deleting | MB | n
purge: memory | at most, purging | MB | n
compact: memory | at most, compacting | MB | n
files | files after the import | MB | n
files, changed | files after all of this | MB | n
files, compacted | files after `compact` | MB | n
open, compacted | open, after `compact` | ms | n
get, compacted | `get_key`, after `compact` | µs | log
";

const VERSIONS: &str = "
open | open, files in the page cache | ms | n
get, first | `get_key`, the first | µs | n
get | `get_key`, the newest version | µs | log
get version | `get_key`, any version, median | µs | log
get version, p99 | `get_key`, any version, p99 | µs | log
sign | sign ES256 with any version | µs | log
page, fresh | a page of 25 versions, the first since a change | ms | n
page, first | the same page again | µs | log
page, middle | a page in the middle | µs | log
page, last | the last page | µs | log
list all | list all, page by page | ms | n
append | 1.5 KiB appended to a file and synced | µs | -
rotate, first | `rotate_key`, the first | µs | n
rotate | `rotate_key`, any other | µs | log
backup | `backup_key` | ms | -
backup: bytes | its backup | MB | -
purge | delete, purge and shred the key | ms | n
check | `check` | ms | n
compact | `compact` | ms | n
open: memory | resident memory after opening | MB | n
read: memory | at most, reading | MB | n
change: memory | at most, rotating | MB | n
purge: memory | at most, purging | MB | n
files | files after the rotations | MB | n
files, compacted | files after `compact` | MB | n
";

const PLOTS: &str = "\
![Times of operations over the number of keys, both logarithmic][plot: scale_time]

![Memory and length of the files over the number of keys, both logarithmic][plot: scale_memory]";

/// What grows, and why.
const CAUSES: &str = "\
Opening reads the log that was written since the opening before: all of it after an import, and later only where each \
segment begins and a snapshot. The records of a vault lie in 4,096 buckets, each of which is verified before its first \
use after an opening; the first read or change in a bucket pays for that. The storage engine keeps 256 MiB of records in \
memory, or what [`storage_cache`](crate::VaultOptions::storage_cache) says; with more records than that, a read goes to \
the file more often than not, and one in a hundred waits while others are put out. With room for all of them it does \
not. Purging a key replaces the key encryption key, which seals every key object anew; in a vault \
of more than 10,000 keys [`maintain`](crate::Vault::maintain) does that, and is counted here. No record tells of the order \
of versions, so the first page of a key's versions opens all of them; the order is remembered for the key that was \
listed last, until it changes. A backup holds at most 501 versions.";

/// Prints it; whether every bound is held.
pub(crate) fn print(size: &Size, keys: &Measured, versions: &Measured, took: Duration) -> bool {
    let of_keys = table(KEYS, &size.keys, keys);
    let of_versions = table(VERSIONS, &size.versions, versions);
    let most = size.keys.last().copied().unwrap_or(0);
    println!(
        "## Scale\n\n```text\ncargo bench --bench scale -- {most} --plots\n```\n\n\
         {}, the machine of above; {:.0} seconds, load {} after it. Each kind of work is done by a process of its own, \
         which only opens the vault before. The keys are on P-256, with a tag; they are imported with `import_many`, by \
         four threads, from {} private keys under names of their own. Changes are durable when they return. \
         The bound for what may grow as a search in a tree is {LOGARITHMIC} times from the first column to the last; for what \
         touches everything it is {PROPORTIONAL} times the quotient of the counts.\n",
        today(),
        took.as_secs_f64(),
        load(),
        crate::fill::POOL,
    );
    show("A vault of so many keys, each of one version:", &of_keys);
    if size.plots {
        println!("{PLOTS}\n");
    }
    show(
        "A vault with one key of so many versions, made by `rotate_key`:",
        &of_versions,
    );
    let (held, asked) = (
        of_keys.held + of_versions.held,
        of_keys.asked + of_versions.asked,
    );
    println!("{CAUSES}\n");
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
