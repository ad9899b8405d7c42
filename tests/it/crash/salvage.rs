//! Power cuts while a damaged vault is salvaged: not a byte of it changes, and the new vault is not there or has all
//! that can be saved.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use strongroom::{CreateKeyOptions, Curve, ErrorKind, SignatureAlgorithm, Unlock, VaultOptions};

use super::disk::{Cut, Image, Random, Recording, scratch};
use super::{Layout, child, job, mark, open, open_marks, require_sound};
use crate::image::read_image;
use crate::programme::{Figures, cases};
use crate::support::{master_key, name};

const TEST: &str = "crash::salvage::a_power_cut_leaves_the_wreck_and_none_or_all_of_what_is_saved";
const KEYS: usize = 30;
/// Of them one is damaged.
const SAVED: usize = KEYS - 1;

fn work(layout: &Layout) {
    let mut marks = open_marks(layout);
    let (vault, report) = VaultOptions::new()
        .storage_cache(16 << 20)
        .salvage(
            layout.vault(),
            Unlock::raw_key(&master_key()),
            layout.disk().join("second"),
        )
        .unwrap();
    assert_eq!(report.saved().len(), SAVED);
    mark(&mut marks, "salvaged");
    vault.close().unwrap();
}

/// Damages one key object behind the vault's back.
fn spoil(path: &Path) {
    let database = loop {
        let opened = sled::Config::new()
            .path(path)
            .segment_size(512 * 1024)
            .flush_every_ms(None)
            .open();
        match opened {
            Ok(database) => break database,
            Err(sled::Error::Io(_)) => sleep(Duration::from_millis(2)),
            Err(error) => panic!("{error}"),
        }
    };
    let tree = database.open_tree(b"r").unwrap();
    let (key, value) = tree
        .iter()
        .map(Result::unwrap)
        .find(|(key, _)| key[0] == 2 && key[17] == b'M')
        .unwrap();
    let mut value = value.to_vec();
    *value.last_mut().unwrap() ^= 1;
    tree.insert(key, value).unwrap();
    database.flush().unwrap();
}

#[test]
fn a_power_cut_leaves_the_wreck_and_none_or_all_of_what_is_saved() {
    if let Some(base) = job() {
        return work(&Layout::new(base.as_ref()));
    }
    let figures = Figures::begin("power cuts, salvage");
    figures.spread(cases(1, 8), |number| {
        cut_one_run(number as u64 + 1, &figures)
    });
    figures.finish();
}

fn cut_one_run(seed: u64, figures: &Figures) {
    let scratch = scratch();
    let layout = Layout::new(scratch.path());
    layout.prepare();
    let vault = open(&layout.vault()).unwrap();
    for number in 0..KEYS {
        let key = name(&format!("key-{number}"));
        vault
            .create_key(&key, CreateKeyOptions::ec(Curve::P256))
            .unwrap();
        vault.rotate_key(&key).unwrap();
    }
    vault.close().unwrap();
    spoil(&layout.vault());
    let wreck = loop {
        // sled's file is written when its lock is free.
        if let Ok(file) = fs::File::open(layout.vault().join("db"))
            && file.try_lock_shared().is_ok()
        {
            break read_image(&layout.vault());
        }
        sleep(Duration::from_millis(2));
    };
    let mut process = child(TEST, &scratch.path().display().to_string());
    let recording = Recording::of(&mut process, &layout.disk(), &layout.marks());
    assert_eq!(read_image(&layout.vault()), wreck);
    let mut random = Random::new(seed);
    let step = recording.len().div_ceil(200);
    let mut moments: Vec<usize> = (0..recording.len()).step_by(step).collect();
    let mut named = None;
    let all: Vec<usize> = (0..recording.len()).collect();
    recording.visit(&all, |moment, disk, _| {
        if named.is_none() && disk.after(Cut::Kept, &mut random).contains("second") {
            named = Some(moment);
        }
    });
    let named = named.expect("the new vault gets its name");
    moments.extend(named.saturating_sub(20)..(named + 20).min(recording.len()));
    moments.extend(recording.len().saturating_sub(20)..recording.len());
    moments.sort_unstable();
    moments.dedup();
    let (mut images, mut there) = (0, 0);
    recording.visit(&moments, |moment, disk, marks| {
        let cut = Cut::ALL[moment % Cut::ALL.len()];
        let image = disk.after(cut, &mut random);
        let target = Layout::new(&scratch.path().join("image"));
        fs::create_dir(&target.base).unwrap();
        image.write(&target.disk());
        images += 1;
        let story = || {
            format!(
                "seed {seed}, {cut:?} at {moment} of {} ({})",
                recording.len(),
                Image::summary(&image)
            )
        };
        let saved = figures.case(story(), || {
            if read_image(&target.vault()) != wreck {
                return Err("the damaged vault was changed".to_owned().into());
            }
            Ok(verify(&target, marks.contains("salvaged"))?)
        });
        there += usize::from(saved == Some(true));
        fs::remove_dir_all(&target.base).unwrap();
    });
    eprintln!("{images} images, {there} with the new vault");
    assert!(
        images > 100 && there > 0 && there < images,
        "{images}, {there}"
    );
}

/// Whether the new vault is there. If it is not, it can be made.
fn verify(layout: &Layout, salvaged: bool) -> Result<bool, String> {
    let second = layout.disk().join("second");
    let there = second.exists();
    if !there && salvaged {
        return Err("the new vault is not there".to_owned());
    }
    let vault = match open(&second) {
        Ok(vault) => vault,
        Err(error) if !there && error.kind() == ErrorKind::VaultNotFound => {
            // What is left has other names.
            for entry in fs::read_dir(layout.disk()).unwrap() {
                let entry = entry.unwrap().file_name().into_string().unwrap();
                let known = entry == "vault"
                    || entry.starts_with("second.new-")
                    || entry.starts_with("second.salvage-");
                if !known {
                    return Err(format!("{entry} is left"));
                }
            }
            return Ok(false);
        }
        Err(error) => return Err(format!("it does not open: {error:?}")),
    };
    require_sound(&vault, &second)?;
    let report = vault.check().unwrap();
    if (report.keys(), report.versions()) != (SAVED as u64, 2 * SAVED as u64) {
        return Err(format!("it is not complete: {report:?}"));
    }
    let signed = (0..KEYS)
        .filter(|number| {
            vault
                .sign_data(
                    &name(&format!("key-{number}")),
                    SignatureAlgorithm::Es256,
                    b"text",
                )
                .is_ok()
        })
        .count();
    if signed != SAVED {
        return Err(format!("{signed} keys sign"));
    }
    Ok(true)
}
