//! Power cuts at every single write while the header is replaced: slots added, replaced and removed, the key
//! encryption key rotated, a purge shredded, epochs of the security domain added and given up. The vault opens with the key that never changed, is complete, and
//! stands on one side of the change that was under way or on the other.

use std::fs;

use strongroom::{
    CreateKeyOptions, Curve, KeyName, MaintenanceOptions, MasterKey, Passphrase,
    PassphraseParameters, SignatureAlgorithm, Unlock, UnlockKind, Vault, VaultOptions,
};

use super::disk::{Cut, Image, Random, Recording, scratch};
use super::{Layout, child, create, job, mark, open, open_marks, require_sound};
use crate::programme::{Figures, Wrong, cases};
use crate::support::{master_key, name};

const TEST: &str = "crash::header_changes::a_power_cut_leaves_the_header_before_or_after_a_change";
const KEYS: usize = 5;

/// What has been done, in this order. Each is marked when it has returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Created,
    SlotAdded,
    SlotReplaced,
    KekRotated,
    Deleted,
    Purged,
    SlotRemoved,
    KekRotatedAgain,
    DomainRotated,
    FloorRaised,
}

impl Step {
    const ALL: [Self; 10] = [
        Self::Created,
        Self::SlotAdded,
        Self::SlotReplaced,
        Self::KekRotated,
        Self::Deleted,
        Self::Purged,
        Self::SlotRemoved,
        Self::KekRotatedAgain,
        Self::DomainRotated,
        Self::FloorRaised,
    ];

    fn take(self, vault: &Vault) {
        let (master, second, passphrase) = (master_key(), second_key(), passphrase());
        let current = Unlock::raw_key(&master);
        let last = || vault.unlock_slots().unwrap().last().unwrap().id();
        match self {
            Self::Created => {
                for number in 0..KEYS {
                    vault
                        .create_key(&key(number), CreateKeyOptions::ec(Curve::P256))
                        .unwrap();
                }
            }
            Self::SlotAdded => drop(
                vault
                    .add_unlock_slot(current, Unlock::raw_key(&second))
                    .unwrap(),
            ),
            Self::SlotReplaced => drop(
                vault
                    .replace_unlock_slot(current, last(), Unlock::passphrase(&passphrase))
                    .unwrap(),
            ),
            Self::KekRotated | Self::KekRotatedAgain => drop(vault.rotate_kek().unwrap()),
            Self::DomainRotated => drop(vault.rotate_domain().unwrap()),
            Self::FloorRaised => vault.raise_domain_floor(2).unwrap(),
            Self::Deleted => drop(vault.delete_key(&key(0)).unwrap()),
            Self::Purged => drop(vault.purge_deleted_key(&key(0)).unwrap()),
            Self::SlotRemoved => vault.remove_unlock_slot(last()).unwrap(),
        }
    }

    /// The kinds of slots after this step.
    fn slots(self) -> &'static [UnlockKind] {
        match self {
            Self::SlotAdded => &[UnlockKind::RawKey, UnlockKind::RawKey],
            Self::SlotReplaced | Self::KekRotated | Self::Deleted | Self::Purged => {
                &[UnlockKind::RawKey, UnlockKind::Passphrase]
            }
            Self::Created
            | Self::SlotRemoved
            | Self::KekRotatedAgain
            | Self::DomainRotated
            | Self::FloorRaised => &[UnlockKind::RawKey],
        }
    }
}

fn key(number: usize) -> KeyName {
    name(&format!("key-{number}"))
}

fn second_key() -> MasterKey {
    let bytes: Vec<u8> = (101..=132).collect();
    MasterKey::from_bytes(&bytes).unwrap()
}

fn passphrase() -> Passphrase {
    Passphrase::new("a quiet morning").unwrap()
}

fn options() -> VaultOptions {
    VaultOptions::new()
        .storage_cache(16 << 20)
        .passphrase_parameters(PassphraseParameters::new(19_456, 1, 1).unwrap())
}

fn work(layout: &Layout) {
    let mut marks = open_marks(layout);
    create(&layout.vault()).close().unwrap();
    let master = master_key();
    let vault = options()
        .open(layout.vault(), Unlock::raw_key(&master))
        .unwrap();
    for step in Step::ALL {
        step.take(&vault);
        mark(&mut marks, &format!("{step:?}"));
    }
    vault.close().unwrap();
    mark(&mut marks, "closed");
}

#[test]
fn a_power_cut_leaves_the_header_before_or_after_a_change() {
    if let Some(base) = job() {
        return work(&Layout::new(base.as_ref()));
    }
    let figures = Figures::begin("power cuts, header changes");
    for seed in 1..=cases(1, 6) as u64 {
        cut_all_moments(seed, &figures);
    }
    figures.finish();
}

fn cut_all_moments(seed: u64, figures: &Figures) {
    let scratch = scratch();
    let layout = Layout::new(scratch.path());
    fs::create_dir(layout.disk()).unwrap();
    fs::write(layout.marks(), b"").unwrap();
    let mut process = child(TEST, &scratch.path().display().to_string());
    let recording = Recording::of(&mut process, &layout.disk(), &layout.marks());
    let moments: Vec<usize> = (0..recording.len()).collect();
    let mut random = Random::new(seed);
    let (mut images, mut between) = (0, 0);
    recording.visit(&moments, |moment, disk, marks| {
        let done = Step::ALL
            .into_iter()
            .rev()
            .find(|step| marks.lines().any(|line| line == format!("{step:?}")));
        // Before that, the other power cuts.
        let Some(done) = done else { return };
        for cut in Cut::ALL {
            let image = disk.after(cut, &mut random);
            let target = Layout::new(&scratch.path().join("image"));
            fs::create_dir(&target.base).unwrap();
            image.write(&target.disk());
            images += 1;
            let story = || {
                format!(
                    "seed {seed}, {cut:?} at {moment} of {} after {done:?} ({})",
                    recording.len(),
                    Image::summary(&image)
                )
            };
            let reached = figures.case(story(), || verify(&target, done));
            between += usize::from(reached.is_some_and(|reached| reached != done));
            fs::remove_dir_all(&target.base).unwrap();
        }
    });
    eprintln!("{images} images, {between} with a change that nobody was told of");
    assert!(
        images > 300 && between > 10,
        "{images} images, {between} between"
    );
}

/// The step that the vault stands at: the one that was marked, or the next.
fn verify(layout: &Layout, done: Step) -> Result<Step, Wrong> {
    let path = layout.vault();
    let vault = open(&path).map_err(|error| Wrong::open(error.kind(), error))?;
    let next = Step::ALL.into_iter().find(|step| *step > done);
    let reached = [Some(done), next]
        .into_iter()
        .flatten()
        .find(|step| stands_at(&vault, *step))
        .ok_or_else(|| {
            format!(
                "slots {:?}, {:?}: neither {done:?} nor {next:?}",
                vault.unlock_slots().unwrap(),
                vault.status().unwrap()
            )
        })?;
    let use_all = |vault: &Vault| {
        (1..KEYS).try_for_each(|number| {
            vault
                .sign_data(&key(number), SignatureAlgorithm::Es256, b"text")
                .map(drop)
                .map_err(|error| format!("key {number}: {error:?}"))
        })
    };
    use_all(&vault)?;
    vault
        .maintain(MaintenanceOptions::new())
        .map_err(|error| format!("maintain: {error:?}"))?;
    let status = vault.status().unwrap();
    if status.kek_rotation_pending() || status.shred_pending() {
        return Err(format!("maintenance left {status:?}").into());
    }
    require_sound(&vault, &path)?;
    if vault.check().unwrap().previous_kek_keys() != 0 {
        return Err("keys are left under the previous key".to_owned().into());
    }
    let kinds = kinds(&vault);
    vault.close().map_err(|error| format!("close: {error:?}"))?;

    // Each slot that is listed opens, and no other.
    let opens = |unlock: Unlock<'_>| options().open(&path, unlock).is_ok();
    let (second, passphrase) = (second_key(), passphrase());
    let raw = kinds.iter().filter(|kind| **kind == UnlockKind::RawKey);
    if opens(Unlock::raw_key(&second)) != (raw.count() == 2)
        || opens(Unlock::passphrase(&passphrase)) != kinds.contains(&UnlockKind::Passphrase)
    {
        return Err(format!("{kinds:?} are not what opens it").into());
    }
    let vault = open(&path).map_err(|error| Wrong::open(error.kind(), error))?;
    use_all(&vault)?;
    Ok(reached)
}

fn kinds(vault: &Vault) -> Vec<UnlockKind> {
    vault
        .unlock_slots()
        .unwrap()
        .iter()
        .map(|slot| slot.kind())
        .collect()
}

fn stands_at(vault: &Vault, step: Step) -> bool {
    let first = key(0);
    let there = vault.get_key(&first).is_ok();
    let deleted = vault.get_deleted_key(&first).is_ok();
    let expected = match step {
        _ if step < Step::Deleted => (true, false),
        Step::Deleted => (false, true),
        _ => (false, false),
    };
    // A rotation that is under way has the new term already.
    let term = vault.status().unwrap().kek_term();
    let terms = match step {
        Step::Created | Step::SlotAdded | Step::SlotReplaced => 1..=1,
        Step::KekRotated | Step::Deleted => 2..=2,
        Step::Purged => 2..=3,
        Step::SlotRemoved => 3..=3,
        Step::KekRotatedAgain | Step::DomainRotated | Step::FloorRaised => 4..=4,
    };
    let epochs: Vec<u32> = vault
        .domain_epochs()
        .unwrap()
        .iter()
        .map(|epoch| epoch.number())
        .collect();
    let domain: &[u32] = match step {
        Step::DomainRotated => &[1, 2],
        Step::FloorRaised => &[2],
        _ => &[1],
    };
    epochs == domain
        && kinds(vault) == step.slots()
        && (there, deleted) == expected
        && terms.contains(&term)
}
