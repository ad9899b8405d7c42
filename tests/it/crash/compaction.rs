//! Power cuts while a vault is compacted, and disks that are full: at every moment the directory holds the whole vault,
//! opening it says what was left of the compaction, and nothing of that stays.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use strongroom::{
    CreateKeyOptions, Curve, ErrorKind, OpenFinding, SignatureAlgorithm, Unlock, Vault,
    VaultOptions,
};

use super::disk::{Cut, Image, Random, Recording, scratch};
use super::{Layout, child, create, job, kind_named, mark, open, open_marks, require_sound};
use crate::programme::{Defect, Figures, Wrong, cases};
use crate::support::{master_key, name};

const TEST: &str = "crash::compaction::a_power_cut_leaves_the_whole_vault";
const KEYS: usize = 40;

fn fill(vault: &Vault) {
    for number in 0..KEYS {
        let key = name(&format!("key-{number}"));
        vault
            .create_key(&key, CreateKeyOptions::ec(Curve::P256))
            .unwrap();
        vault.rotate_key(&key).unwrap();
    }
    vault.delete_key(&name("key-3")).unwrap();
    vault.rotate_kek().unwrap();
}

fn compact(path: &Path) -> strongroom::Result<Vault> {
    VaultOptions::new()
        .storage_cache(16 << 20)
        .compact(path, Unlock::raw_key(&master_key()))
        .map(|(vault, _)| vault)
}

fn work(layout: &Layout) {
    let mut marks = open_marks(layout);
    let vault = compact(&layout.vault()).unwrap();
    mark(&mut marks, "compacted");
    vault.close().unwrap();
}

#[test]
fn a_power_cut_leaves_the_whole_vault() {
    if let Some(base) = job() {
        return work(&Layout::new(base.as_ref()));
    }
    let figures = Figures::begin("power cuts, compaction");
    figures.spread(cases(1, 6), |number| {
        cut_one_run(number as u64 + 1, &figures)
    });
    figures.finish();
}

fn cut_one_run(seed: u64, figures: &Figures) {
    let scratch = scratch();
    let layout = Layout::new(scratch.path());
    layout.prepare();
    let vault = open(&layout.vault()).unwrap();
    fill(&vault);
    let generation = vault.status().unwrap().generation();
    vault.close().unwrap();
    let mut process = child(TEST, &scratch.path().display().to_string());
    let recording = Recording::of(&mut process, &layout.disk(), &layout.marks());
    let mut random = Random::new(seed);
    // A part of the copying, and all of the switch and what comes after it.
    let all: Vec<usize> = (0..recording.len()).collect();
    let mut switch = None;
    recording.visit(&all, |moment, disk, _| {
        let image = disk.after(Cut::Kept, &mut random);
        if switch.is_none() && image.contains("vault/vault.compacted") {
            switch = Some(moment);
        }
    });
    let switch = switch.expect("the compacted records become ready");
    let step = (switch / 120).max(1);
    let mut moments: Vec<usize> = (0..switch).step_by(step).collect();
    moments.extend(switch.saturating_sub(15)..recording.len());
    moments.sort_unstable();
    moments.dedup();
    let (mut images, mut discarded, mut completed, mut newer) = (0, 0, 0, 0);
    recording.visit(&moments, |moment, disk, marks| {
        for cut in Cut::ALL {
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
            let found = figures.case(story(), || {
                let (reached, findings) = verify(&target)?;
                let done = marks.contains("compacted");
                if reached > generation || !done && reached == generation {
                    Ok((reached, findings))
                } else {
                    Err(Wrong::new(Defect::Loss, format!("generation {reached}")))
                }
            });
            if let Some((reached, findings)) = found {
                newer += usize::from(reached > generation);
                completed += usize::from(findings.contains(&OpenFinding::CompactionCompleted));
                discarded += usize::from(findings.contains(&OpenFinding::CompactionDiscarded));
            }
            fs::remove_dir_all(&target.base).unwrap();
        }
    });
    eprintln!(
        "{images} images of {} moments: {discarded} compactions discarded, {completed} completed, {newer} over",
        recording.len()
    );
    assert!(
        images > 200 && discarded > 50 && completed > 5 && newer > 0,
        "{images}, {discarded}, {completed}, {newer}"
    );
}

/// The generation, and what opening told.
fn verify(layout: &Layout) -> Result<(u64, Vec<OpenFinding>), String> {
    let path = layout.vault();
    let vault = open(&path).map_err(|error| format!("it does not open: {error:?}"))?;
    let findings = vault.open_report().unwrap().findings().to_vec();
    require_sound(&vault, &path)?;
    let report = vault.check().unwrap();
    if (report.keys(), report.versions()) != (KEYS as u64, 2 * KEYS as u64) {
        return Err(format!("it is not complete: {report:?}"));
    }
    for number in [0, 7, KEYS - 1] {
        vault
            .sign_data(
                &name(&format!("key-{number}")),
                SignatureAlgorithm::Es256,
                b"text",
            )
            .map_err(|error| format!("{error:?}"))?;
    }
    for left in ["vault.compacting", "vault.compacted"] {
        if path.join(left).exists() {
            return Err(format!("{left} is left"));
        }
    }
    let generation = vault.status().unwrap().generation();
    vault.rotate_key(&name("key-7")).unwrap();
    vault.close().map_err(|error| format!("close: {error:?}"))?;
    let again = open(&path).map_err(|error| format!("it does not open again: {error:?}"))?;
    if !again.open_report().unwrap().is_clean() {
        return Err(format!("again {:?}", again.open_report().unwrap()));
    }
    Ok((generation, findings))
}

const FULL_TEST: &str = "crash::compaction::a_full_or_failing_disk_leaves_the_vault_as_it_was";

fn work_on_a_bad_disk(layout: &Layout) {
    let mut marks = open_marks(layout);
    match compact(&layout.vault()) {
        Ok(vault) => {
            mark(&mut marks, "compacted");
            vault.close().unwrap();
        }
        Err(error) => mark(&mut marks, &format!("failed {:?}", error.kind())),
    }
}

#[test]
fn a_full_or_failing_disk_leaves_the_vault_as_it_was() {
    if let Some(base) = job() {
        return work_on_a_bad_disk(&Layout::new(base.as_ref()));
    }
    let scratch = scratch();
    let original = Layout::new(&scratch.path().join("original"));
    fs::create_dir(&original.base).unwrap();
    original.prepare();
    let vault = open(&original.vault()).unwrap();
    fill(&vault);
    vault.close().unwrap();
    let (mut failed, mut cases) = (0, 0);
    for (call, error, expected) in [
        ("pwrite64", "ENOSPC", ErrorKind::StorageFull),
        ("fdatasync", "EIO", ErrorKind::Io),
    ] {
        for when in [1, 2, 3, 5, 8, 13] {
            let layout = Layout::new(&scratch.path().join("case"));
            fs::create_dir(&layout.base).unwrap();
            crate::copies::copy_directory(&original.disk(), &layout.disk());
            let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
            fs::set_permissions(layout.vault(), private).unwrap();
            fs::write(layout.marks(), b"").unwrap();
            let story = format!("{call} {error} {when}");
            let process = child(FULL_TEST, &layout.base.display().to_string());
            let mut strace = Command::new("strace");
            strace
                .args(["-f", "-qq", "-o"])
                .arg(layout.base.join("trace"));
            // The new files only.
            for own in ["db", "conf", "vault.anchor"] {
                strace
                    .arg("-P")
                    .arg(layout.vault().join("vault.compacting").join(own));
            }
            let status = strace
                .args(["-e", &format!("trace={call}"), "-e"])
                .arg(format!("inject={call}:error={error}:when={when}"))
                .arg("--")
                .arg(process.get_program())
                .args(process.get_args())
                .env(super::CHILD, layout.base.display().to_string())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .expect("faults are injected by strace: install it");
            assert!(status.success(), "{story}: {status}");
            cases += 1;
            let marks = layout.read_marks();
            if let Some(kind) = marks.trim().strip_prefix("failed ") {
                assert_eq!(kind_named(kind), Some(expected), "{story}: {kind}");
                failed += 1;
                for left in ["vault.compacting", "vault.compacted"] {
                    assert!(!layout.vault().join(left).exists(), "{story}: {left}");
                }
            }
            let (_, findings) = verify(&layout).unwrap_or_else(|what| panic!("{story}: {what}"));
            assert!(
                !findings.contains(&OpenFinding::CompactionDiscarded),
                "{story}: {findings:?}"
            );
            fs::remove_dir_all(&layout.base).unwrap();
        }
    }
    eprintln!("{cases} bad disks, {failed} compactions given up");
    assert!(failed >= 6, "{failed} of {cases}");
}

/// As `prepare` makes it, for the copies of the tests here.
#[test]
fn a_compaction_that_nothing_interrupts_leaves_nothing_behind() {
    let scratch = scratch();
    let layout = Layout::new(scratch.path());
    fs::create_dir(layout.disk()).unwrap();
    let vault = create(&layout.vault());
    fill(&vault);
    vault.close().unwrap();
    compact(&layout.vault()).unwrap().close().unwrap();
    let (_, findings) = verify(&layout).unwrap();
    assert_eq!(findings, []);
}
