//! The work on vaults of many keys.

use strongroom::{ContinuationToken, PageSize, Unlock, Vault, VaultOptions};

use crate::changes::{self, some};
use crate::child::{Task, Times, bytes_read, memory, seconds, tell};
use crate::{files, fill, master_key};

/// In this order, each in a process of its own.
pub(crate) const WORK: [&str; 10] = [
    "fill",
    "open, first",
    "open, cold",
    "open",
    "read",
    "read, kept",
    "change",
    "purge",
    "compact",
    "compacted",
];

/// `false` when it is not a work of this kind.
pub(crate) fn work(work: &str, task: &Task) -> bool {
    match work {
        "fill" => fill(task),
        // The storage engine reads what was written since the opening before, and notes that it did.
        "open, first" | "open, cold" => open_cold(work, task),
        "open" => open(task),
        "read" => read(task),
        "read, kept" => read_kept(task),
        "change" => changes::of_keys(task),
        "purge" => changes::purge(task),
        "check" => changes::check(task),
        "compact" => compact(task),
        "compacted" => compacted(task),
        _ => return false,
    }
    true
}

fn fill(task: &Task) {
    let ((), seconds) = seconds(|| fill::keys(&task.path, task.count));
    tell("fill: rate", task.count as f64 / seconds);
    tell("fill: memory", memory("VmHWM"));
    tell("files", files::bytes(&task.path));
}

fn open_cold(work: &str, task: &Task) {
    files::forget(&task.path);
    let before = bytes_read();
    let (vault, seconds) = seconds(|| task.open());
    tell(work, seconds);
    tell(&format!("{work}: read"), bytes_read() - before);
    vault.close().expect("closed");
}

fn open(task: &Task) {
    // For this and for the work that follows.
    files::remember(&task.path);
    // Once for the memory of an opening alone.
    let vault = task.open();
    tell("open: memory", memory("VmRSS"));
    vault.close().expect("closed");
    let before = bytes_read();
    let times = (0..task.samples(7)).map(|_| {
        let (vault, seconds) = seconds(|| task.open());
        vault.close().expect("closed");
        seconds
    });
    tell("open", Times::collect(times).median());
    tell("open: read", bytes_read() - before);
}

fn read(task: &Task) {
    let vault = task.open_uncached();
    let get = |number| vault.get_key(&some(number, task)).expect("the key");
    // The first read in each of 4,096 buckets verifies it.
    let first = Times::of(task.samples(200).min(task.count), get);
    tell("get, first", first.median());
    let (places, all) = seconds(|| places(&vault, task.count));
    tell("list all", all);
    let get = Times::of(task.samples(20_000), get);
    tell("get", get.median());
    tell("get, p99", get.share(0.99));
    for (part, token) in ["first", "middle", "last"].iter().zip(&places) {
        let times = Times::of(task.samples(200), |_| page(&vault, token.as_ref()));
        tell(&format!("page, {part}"), times.median());
    }
    tell("read: memory", memory("VmHWM"));
    vault.close().expect("closed");
}

/// With all records kept in memory.
fn read_kept(task: &Task) {
    let vault = task.open_keeping_all();
    let get = |number| vault.get_key(&some(number, task)).expect("the key");
    for number in 0..task.count {
        get(number);
    }
    let get = Times::of(task.samples(20_000), get);
    tell("get, kept", get.median());
    tell("get, kept, p99", get.share(0.99));
    tell("get, kept: memory", memory("VmHWM"));
    vault.close().expect("closed");
}

fn page(
    vault: &Vault,
    from: Option<&ContinuationToken>,
) -> strongroom::Page<strongroom::KeyProperties> {
    vault
        .list_key_properties_page(from, PageSize::MAX)
        .expect("a page")
}

/// Reads the whole listing; where its first page begins, one in the middle, and the last full one.
fn places(vault: &Vault, count: usize) -> [Option<ContinuationToken>; 3] {
    let (mut listed, mut middle, mut last, mut from) = (0, None, None, None);
    loop {
        let read = page(vault, from.as_ref());
        if read.items().len() == PageSize::MAX.items() {
            last = from.clone();
            if listed <= count / 2 {
                middle = from.clone();
            }
        }
        listed += read.items().len();
        from = read.continuation().cloned();
        if from.is_none() {
            break;
        }
    }
    assert_eq!(listed, count, "every key is listed");
    [None, middle, last]
}

fn compact(task: &Task) {
    tell("files, changed", files::bytes(&task.path));
    let master = master_key();
    let ((vault, _), seconds) = seconds(|| {
        VaultOptions::new()
            .compact(&task.path, Unlock::raw_key(&master))
            .expect("compacted")
    });
    tell("compact", seconds);
    vault.close().expect("closed");
    tell("compact: memory", memory("VmHWM"));
    tell("files, compacted", files::bytes(&task.path));
}

fn compacted(task: &Task) {
    let times = (0..task.samples(5)).map(|_| {
        let (vault, seconds) = seconds(|| task.open());
        vault.close().expect("closed");
        seconds
    });
    tell("open, compacted", Times::collect(times).median());
    let vault = task.open_uncached();
    let get = |number| vault.get_key(&some(number, task)).expect("the key");
    // Each bucket is verified, and the storage engine holds what it is going to hold.
    for number in 0..task.count {
        get(number);
    }
    let get = Times::of(task.samples(20_000), get);
    tell("get, compacted", get.median());
    vault.close().expect("closed");
}
