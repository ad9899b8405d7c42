//! Power cuts while a vault gets a new root: the old vault is untouched throughout, and the new one is not there or
//! complete.

use std::fs;
use std::path::Path;

use strongroom::{
    CreateKeyOptions, Curve, MasterKey, SignatureAlgorithm, Unlock, Vault, VaultOptions,
};

use super::disk::{Cut, Image, Random, Recording, scratch};
use super::{Layout, child, create, job, mark, open_marks, require_sound};
use crate::programme::{Figures, cases};
use crate::support::{master_key, name};

const TEST: &str =
    "crash::root_rotation::a_power_cut_leaves_the_old_vault_and_none_or_a_whole_new_one";
const KEYS: usize = 40;

fn new_key() -> MasterKey {
    let bytes: Vec<u8> = (101..=132).collect();
    MasterKey::from_bytes(&bytes).unwrap()
}

fn work(layout: &Layout) {
    let mut marks = open_marks(layout);
    let vault = create(&layout.vault());
    for number in 0..KEYS {
        let key = name(&format!("key-{number}"));
        vault
            .create_key(&key, CreateKeyOptions::ec(Curve::P256))
            .unwrap();
        vault.rotate_key(&key).unwrap();
    }
    vault.close().unwrap();
    mark(&mut marks, "filled");
    let (old, new) = (master_key(), new_key());
    VaultOptions::new()
        .storage_cache(16 << 20)
        .rotate_root(
            layout.vault(),
            Unlock::raw_key(&old),
            layout.disk().join("second"),
            Unlock::raw_key(&new),
        )
        .unwrap()
        .close()
        .unwrap();
    mark(&mut marks, "rotated");
}

#[test]
fn a_power_cut_leaves_the_old_vault_and_none_or_a_whole_new_one() {
    if let Some(base) = job() {
        return work(&Layout::new(base.as_ref()));
    }
    let figures = Figures::begin("power cuts, a new root");
    figures.spread(cases(1, 8), |number| {
        cut_one_run(number as u64 + 1, &figures)
    });
    figures.finish();
}

fn cut_one_run(seed: u64, figures: &Figures) {
    let scratch = scratch();
    let layout = Layout::new(scratch.path());
    fs::create_dir(layout.disk()).unwrap();
    fs::write(layout.marks(), b"").unwrap();
    let mut process = child(TEST, &scratch.path().display().to_string());
    let recording = Recording::of(&mut process, &layout.disk(), &layout.marks());
    let mut random = Random::new(seed);
    // Of the moments after the old vault was filled, two hundred and the last ones.
    let mut first = 0;
    recording.visit(
        &(0..recording.len()).collect::<Vec<_>>(),
        |moment, _, marks| {
            if !marks.contains("filled") {
                first = moment + 1;
            }
        },
    );
    let step = (recording.len() - first).div_ceil(200);
    let mut moments: Vec<usize> = (first..recording.len()).step_by(step).collect();
    moments.extend(recording.len().saturating_sub(20)..recording.len());
    moments.sort_unstable();
    moments.dedup();
    let (mut images, mut new) = (0, 0);
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
        let there = figures.case(story(), || Ok(verify(&target, marks.contains("rotated"))?));
        new += usize::from(there == Some(true));
        fs::remove_dir_all(&target.base).unwrap();
    });
    eprintln!("{images} images, {new} with the new vault");
    assert!(images > 60 && new > 0 && new < images, "{images}, {new}");
}

/// Whether the new vault is there.
fn verify(layout: &Layout, rotated: bool) -> Result<bool, String> {
    let look = |path: &Path, key: &MasterKey| {
        let vault: Vault = VaultOptions::new()
            .storage_cache(16 << 20)
            .open(path, Unlock::raw_key(key))
            .map_err(|error| format!("{} does not open: {error:?}", path.display()))?;
        require_sound(&vault, path)?;
        let report = vault.check().unwrap();
        if (report.keys(), report.versions()) != (KEYS as u64, 2 * KEYS as u64) {
            return Err(format!("{} is not complete: {report:?}", path.display()));
        }
        vault
            .sign_data(&name("key-7"), SignatureAlgorithm::Es256, b"text")
            .map(drop)
            .map_err(|error| format!("{error:?}"))
    };
    look(&layout.vault(), &master_key())?;
    let second = layout.disk().join("second");
    if !second.exists() {
        return if rotated {
            Err("the new vault is not there".to_owned())
        } else {
            Ok(false)
        };
    }
    look(&second, &new_key())?;
    Ok(true)
}
