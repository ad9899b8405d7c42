//! The work on a key of many versions.

use strongroom::{ContinuationToken, KeyIdentifier, KeyName, PageSize, SignatureAlgorithm, Vault};

use crate::changes::append_and_sync;
use crate::child::{Task, Times, memory, seconds, tell};
use crate::{files, fill};

/// In this order, each in a process of its own.
pub(crate) const WORK: [&str; 7] = [
    "fill versions",
    "open",
    "read versions",
    "change versions",
    "check",
    "compact",
    "purge versions",
];

/// What can be measured once only in an opening is measured in so many.
const OPENINGS: usize = 5;

/// A backup holds no more.
const MOST_IN_BACKUP: usize = 500;

/// `false` when it is not a work of this kind.
pub(crate) fn work(work: &str, task: &Task) -> bool {
    match work {
        "fill versions" => fill(task),
        "read versions" => read(task),
        "change versions" => change(task),
        "purge versions" => purge(task),
        _ => return false,
    }
    true
}

fn the_key() -> KeyName {
    fill::name("versioned")
}

fn fill(task: &Task) {
    let ((), seconds) = seconds(|| fill::versions(&task.path, &the_key(), task.count));
    tell("fill: rate", task.count as f64 / seconds);
    tell("files", files::bytes(&task.path));
}

fn read(task: &Task) {
    let key = the_key();
    let (mut first, mut fresh, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..OPENINGS {
        let vault = task.open_uncached();
        // Verifies the bucket.
        first.push(seconds(|| vault.get_key(&key).expect("the key")).1);
        // Opens every version, because no record tells of their order.
        fresh.push(seconds(|| page(&vault, &key, None)).1);
        all.push(seconds(|| places(&vault, &key, task.count)).1);
        vault.close().expect("closed");
    }
    for (what, times) in [
        ("get, first", first),
        ("page, fresh", fresh),
        ("list all", all),
    ] {
        tell(what, Times::collect(times.into_iter()).median());
    }
    let vault = task.open_uncached();
    let (versions, places) = places(&vault, &key, task.count);
    let get = Times::of(task.samples(2_000), |_| {
        vault.get_key(&key).expect("the key")
    });
    tell("get", get.median());
    let get = Times::of(task.samples(2_000), |number| {
        let version = &versions[number * 7_919 % versions.len()];
        vault.get_key(version).expect("the version")
    });
    tell("get version", get.median());
    tell("get version, p99", get.share(0.99));
    let sign = Times::of(task.samples(200), |number| {
        let version = &versions[number * 7_919 % versions.len()];
        vault
            .sign_data(version, SignatureAlgorithm::Es256, b"text")
            .expect("signed")
    });
    tell("sign", sign.median());
    for (part, token) in ["first", "middle", "last"].iter().zip(&places) {
        let times = Times::of(task.samples(20), |_| page(&vault, &key, token.as_ref()));
        tell(&format!("page, {part}"), times.median());
    }
    if task.count <= MOST_IN_BACKUP {
        let (backup, seconds) = seconds(|| vault.backup_key(&key).expect("a backup"));
        tell("backup", seconds);
        tell("backup: bytes", backup.as_bytes().len() as f64);
    }
    tell("read: memory", memory("VmHWM"));
    vault.close().expect("closed");
}

fn page(
    vault: &Vault,
    key: &KeyName,
    from: Option<&ContinuationToken>,
) -> strongroom::Page<strongroom::KeyProperties> {
    vault
        .list_key_properties_versions_page(key, from, PageSize::MAX)
        .expect("a page")
}

/// Reads the whole listing: all versions, and where its first page begins, one in the middle, and the last full one.
fn places(
    vault: &Vault,
    key: &KeyName,
    count: usize,
) -> (Vec<KeyIdentifier>, [Option<ContinuationToken>; 3]) {
    let (mut listed, mut middle, mut last, mut from) = (Vec::new(), None, None, None);
    loop {
        let read = page(vault, key, from.as_ref());
        if read.items().len() == PageSize::MAX.items() {
            last = from.clone();
            if listed.len() <= count / 2 {
                middle = from.clone();
            }
        }
        listed.extend(read.items().iter().map(|version| version.id().clone()));
        from = read.continuation().cloned();
        if from.is_none() {
            break;
        }
    }
    assert_eq!(listed.len(), count, "every version is listed");
    (listed, [None, middle, last])
}

fn change(task: &Task) {
    let (vault, key) = (task.open(), the_key());
    let first = Times::of(1, |_| vault.rotate_key(&key).expect("a version"));
    tell("rotate, first", first.median());
    tell("append", append_and_sync(task).median());
    let rotated = Times::of(task.samples(100), |_| {
        vault.rotate_key(&key).expect("a version")
    });
    tell("rotate", rotated.median());
    tell("change: memory", memory("VmHWM"));
    vault.close().expect("closed");
}

/// The key with all its versions goes, and the key encryption key is replaced.
fn purge(task: &Task) {
    let (vault, key) = (task.open(), the_key());
    let times = Times::of(1, |_| {
        vault.delete_key(&key).expect("deleted");
        vault.purge_deleted_key(&key).expect("purged");
    });
    tell("purge", times.median());
    tell("purge: memory", memory("VmHWM"));
    vault.close().expect("closed");
}
