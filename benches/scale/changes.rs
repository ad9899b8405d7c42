//! Changes, each durable before it returns.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use strongroom::Vault;

use crate::child::{Task, Times, tell};
use crate::fill::{ec, name, nth};

/// What one write of a record's length takes on this disk.
pub(crate) fn append_and_sync(task: &Task) -> Times {
    let path = task.path.with_extension("append");
    let times = append(&path, task.samples(200));
    std::fs::remove_file(path).expect("removed");
    times
}

fn append(path: &Path, samples: usize) -> Times {
    let mut file = File::create(path).expect("a file");
    Times::of(samples, |_| {
        file.write_all(&[0x5a; 1_536]).expect("written");
        file.sync_data().expect("synced");
    })
}

/// Creating, rotating and deleting keys of a vault of many.
pub(crate) fn of_keys(task: &Task) {
    let vault = task.open();
    // This verifies all buckets too, which the first change of each would do: once for each opening, and not what is
    // asked here.
    let checked = Times::of(1, |_| assert_sound(&vault));
    tell("check", checked.median());
    tell("append", append_and_sync(task).median());
    let samples = task.samples(200);
    let created = Times::of(samples, |number| {
        let name = name(&format!("new-{number}"));
        vault.create_key(&name, ec()).expect("a key")
    });
    tell("create", created.median());
    let rotated = Times::of(samples, |number| {
        vault.rotate_key(&some(number, task)).expect("a version")
    });
    tell("rotate", rotated.median());
    let deleted = Times::of(samples, |number| {
        let name = name(&format!("new-{number}"));
        vault.delete_key(&name).expect("deleted")
    });
    tell("delete", deleted.median());
    tell("memory", crate::child::memory("VmHWM"));
    vault.close().expect("closed");
}

/// A purge, with the replacement of the key encryption key that makes what is left in the files worthless.
pub(crate) fn purge(task: &Task) {
    let vault = task.open();
    let times = Times::of(1, |_| {
        let name = name("new-0");
        vault.purge_deleted_key(&name).expect("purged");
        // With many keys the replacement is left to this.
        vault
            .maintain(strongroom::MaintenanceOptions::default())
            .expect("maintained");
    });
    tell("purge", times.median());
    tell("purge: memory", crate::child::memory("VmHWM"));
    vault.close().expect("closed");
}

/// A vault's keys in an order that has nothing to do with that of their records.
pub(crate) fn some(number: usize, task: &Task) -> strongroom::KeyName {
    // A prime that divides none of the counts.
    nth((number + 1) * 7_919 % task.count)
}

/// Everything is looked over.
pub(crate) fn check(task: &Task) {
    let vault = task.open();
    let times = Times::of(1, |_| assert_sound(&vault));
    tell("check", times.median());
    tell("check: memory", crate::child::memory("VmHWM"));
    vault.close().expect("closed");
}

fn assert_sound(vault: &Vault) {
    let report = vault.check().expect("checked");
    assert!(report.is_sound(), "{:?}", report.findings());
}
