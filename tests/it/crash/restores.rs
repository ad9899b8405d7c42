//! Power cuts at every single write of restores: one key, a whole vault with deleted keys and settings, and versions
//! that were missing. A key is there with all its versions or not at all, settings are the old ones or the new, and what
//! was cut short comes to its end when it is done again.

use std::fs;
use std::io::Cursor;
use std::time::Instant;

use strongroom::{
    BackupOptions, CreateKeyOptions, Curve, ErrorKind, KeyName, Permission, Permissions, Principal,
    RestoreOptions, SignatureAlgorithm, Unlock, Vault, VaultOptions,
};

use super::disk::{Cut, Image, Random, Recording, scratch};
use super::{Layout, child, create, job, mark, open, open_marks, require_sound};
use crate::support::{master_key, name};

const TEST: &str = "crash::restores::a_power_cut_leaves_keys_restored_or_not_and_never_by_half";

const KEYS: usize = 12;

/// Deleted, and so in the stream.
const DELETED: usize = 3;

fn key(number: usize) -> KeyName {
    name(&format!("key-{number}"))
}

/// Of key 0 more than fit into one step of a commit.
fn versions(number: usize) -> usize {
    match number {
        0 => 30,
        _ => 1 + number % 3,
    }
}

fn auditor() -> Principal {
    "auditor".parse().unwrap()
}

fn second(layout: &Layout) -> std::path::PathBuf {
    layout.disk().join("second")
}

/// What the parent needs for doing it again lies beside the disk, which is cut.
fn saved(layout: &Layout, what: &str) -> std::path::PathBuf {
    layout.base.join(what)
}

fn merging() -> RestoreOptions<'static> {
    RestoreOptions::new().merge_missing_versions()
}

fn whole() -> RestoreOptions<'static> {
    RestoreOptions::new().restore_settings()
}

fn work(layout: &Layout) {
    let mut marks = open_marks(layout);
    let vault = create(&layout.vault());
    for number in 0..KEYS {
        let options = CreateKeyOptions::ec(Curve::P256);
        vault.create_key(&key(number), options).unwrap();
        for _ in 1..versions(number) {
            vault.rotate_key(&key(number)).unwrap();
        }
    }
    vault.delete_key(&key(DELETED)).unwrap();
    let may_get = Permissions::none().with(Permission::Get);
    vault.set_access_policy(&auditor(), may_get).unwrap();
    let mut stream = Vec::new();
    vault
        .backup_to(&mut stream, &BackupOptions::new(), |_| ())
        .unwrap();
    fs::write(saved(layout, "stream"), stream).unwrap();
    let blob = vault.backup_key(&key(0)).unwrap();
    fs::write(saved(layout, "blob"), &blob).unwrap();
    vault.delete_key(&key(0)).unwrap();
    vault.purge_deleted_key(&key(0)).unwrap();
    for _ in 0..4 {
        vault.rotate_key(&key(1)).unwrap();
    }
    let late = vault.backup_key(&key(1)).unwrap();
    fs::write(saved(layout, "late"), &late).unwrap();
    mark(&mut marks, "purged");

    vault.restore_key(&blob).unwrap();
    mark(&mut marks, "restored");

    let sister = VaultOptions::new()
        .storage_cache(16 << 20)
        .create_in_domain(
            second(layout),
            Unlock::raw_key(&master_key()),
            &vault.security_domain().unwrap(),
        )
        .unwrap();
    mark(&mut marks, "second");
    let stream = fs::read(saved(layout, "stream")).unwrap();
    sister
        .restore_all_from(Cursor::new(stream), &whole(), |_| ())
        .unwrap();
    mark(&mut marks, "all");
    sister.restore_key_with(&late, &merging()).unwrap();
    mark(&mut marks, "merged");
    sister.close().unwrap();
    vault.close().unwrap();
    mark(&mut marks, "closed");
}

#[test]
fn a_power_cut_leaves_keys_restored_or_not_and_never_by_half() {
    if let Some(base) = job() {
        return work(&Layout::new(base.as_ref()));
    }
    let begun = Instant::now();
    let scratch = scratch();
    let layout = Layout::new(scratch.path());
    fs::create_dir(layout.disk()).unwrap();
    fs::write(layout.marks(), b"").unwrap();
    let mut process = child(TEST, &scratch.path().display().to_string());
    let recording = Recording::of(&mut process, &layout.disk(), &layout.marks());
    let moments: Vec<usize> = (0..recording.len()).collect();
    let mut random = Random::new(1);
    let (mut images, mut within) = (0, 0);
    recording.visit(&moments, |moment, disk, marks| {
        if !marks.contains("purged") {
            return;
        }
        let cut = Cut::ALL[moment % Cut::ALL.len()];
        let image = disk.after(cut, &mut random);
        let target = Layout::new(&scratch.path().join("image"));
        fs::create_dir(&target.base).unwrap();
        image.write(&target.disk());
        for what in ["stream", "blob", "late"] {
            fs::copy(saved(&layout, what), saved(&target, what)).unwrap();
        }
        images += 1;
        match verify(&target, marks) {
            Ok(half_way) => within += usize::from(half_way),
            Err(what) => panic!(
                "{cut:?} at {moment} of {} after {:?}: {what} ({})",
                recording.len(),
                marks.lines().last(),
                Image::summary(&image)
            ),
        }
        fs::remove_dir_all(&target.base).unwrap();
    });
    eprintln!(
        "{images} images, {within} with some of the keys of the stream, {:?}",
        begun.elapsed()
    );
    assert!(
        images > 60 && within > 0,
        "{images} images, {within} within"
    );
}

/// Whether the second vault holds some keys of the stream and not all.
fn verify(layout: &Layout, marks: &str) -> Result<bool, String> {
    let marked = |step: &str| marks.lines().any(|line| line == step);
    let vault = open(&layout.vault()).map_err(|error| format!("it does not open: {error:?}"))?;
    require_sound(&vault, &layout.vault())?;
    let there = count(&vault, 0)?;
    if there != versions(0) && (there != 0 || marked("restored")) {
        return Err(format!("{there} versions of the restored key"));
    }
    if there == 0 {
        let blob = fs::read(saved(layout, "blob")).unwrap();
        vault
            .restore_key(blob)
            .map_err(|error| format!("restoring again: {error:?}"))?;
    }
    if count(&vault, 0)? != versions(0) {
        return Err("what was restored again is not whole".to_owned());
    }
    vault.close().map_err(|error| format!("close: {error:?}"))?;

    let sister = match open(&second(layout)) {
        Ok(sister) => sister,
        // A vault that nobody was told of is there or not.
        Err(error) if !marked("second") && error.kind() == ErrorKind::VaultNotFound => {
            return Ok(false);
        }
        Err(error) => return Err(format!("the second does not open: {error:?}")),
    };
    verify_second(layout, &sister, marked("all"), marked("merged"))
}

fn verify_second(layout: &Layout, sister: &Vault, all: bool, merged: bool) -> Result<bool, String> {
    require_sound(sister, &second(layout))?;
    let merged_count = versions(1) + 4;
    let mut present = 0;
    for number in 0..KEYS {
        let there = count(sister, number)?;
        let whole = there == versions(number) || (number == 1 && all && there == merged_count);
        let absent = there == 0 && !all;
        if !whole && !absent || number == 1 && merged && there != merged_count {
            return Err(format!("{there} versions of key {number} in the second"));
        }
        present += usize::from(whole);
    }
    let policies = sister
        .access_policies()
        .map_err(|error| format!("{error:?}"))?;
    if policies.is_empty() && all {
        return Err("the access policies are not there".to_owned());
    }
    // All of it again, and nothing is missing.
    let stream = fs::read(saved(layout, "stream")).unwrap();
    let late = fs::read(saved(layout, "late")).unwrap();
    let again = |error| format!("restoring again: {error:?}");
    sister
        .restore_all_from(Cursor::new(stream), &whole(), |_| ())
        .map_err(again)?;
    sister.restore_key_with(late, &merging()).map_err(again)?;
    for number in 0..KEYS {
        let expected = if number == 1 {
            merged_count
        } else {
            versions(number)
        };
        if count(sister, number)? != expected {
            return Err(format!("key {number} is not whole after all"));
        }
    }
    require_sound(sister, &second(layout))?;
    Ok((1..KEYS).contains(&present))
}

/// How many versions of a key are there; all of them are used, but for the deleted key's.
fn count(vault: &Vault, number: usize) -> Result<usize, String> {
    let name = key(number);
    let said = |error: strongroom::Error| format!("key {number}: {error:?}");
    if number == DELETED {
        return match vault.get_deleted_key(&name) {
            Ok(_) => {
                vault.recover_deleted_key(&name).map_err(said)?;
                let count = count_active(vault, &name).map_err(said);
                vault.delete_key(&name).map_err(said)?;
                count
            }
            Err(error) if error.kind() == ErrorKind::DeletedKeyNotFound => Ok(0),
            Err(error) => Err(said(error)),
        };
    }
    match count_active(vault, &name) {
        Err(error) if error.kind() == ErrorKind::KeyNotFound => Ok(0),
        other => other.map_err(said),
    }
}

fn count_active(vault: &Vault, name: &KeyName) -> strongroom::Result<usize> {
    vault.get_key(name)?;
    let mut count = 0;
    for version in vault.list_key_properties_versions(name)? {
        vault.sign_data(version.id(), SignatureAlgorithm::Es256, b"text")?;
        count += 1;
    }
    Ok(count)
}
