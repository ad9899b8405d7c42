//! A mix of changes of which everybody can work out what they lead to.
//!
//! Each thread has names of its own and does one change after the other; which, follows from the seed, the
//! thread, the number of the change and what the changes before have led to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;

use strongroom::{
    CreateKeyOptions, Curve, ErrorKind, ImportKeyOptions, ImportedKey, KeyName, KeyVersion,
    SignatureAlgorithm, Tags, UpdateKeyOptions, Vault,
};

use super::disk::Random;
use super::{Layout, mark, open_marks};
use crate::programme::{Defect, Wrong};
use crate::support::name;

const NAMES: usize = 3;
const MAX_VERSIONS: usize = 4;
const STEP: &str = "step";
/// The key of RFC 7515, appendix A.3.1.
const JWK: &[u8] = br#"{"kty":"EC","crv":"P-256",
    "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    "d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;

/// A key version: the change that made it, and the one that set its tags.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    made: u64,
    step: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    Absent,
    Active(Vec<Version>),
    Deleted(Vec<Version>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Create,
    Import,
    Rotate,
    Update,
    Delete,
    Recover,
    Purge,
    Backup,
    Restore,
}

/// What the changes of one thread have led to.
#[derive(Debug, Clone)]
struct Model {
    seed: u64,
    thread: u64,
    done: u64,
    keys: Vec<Key>,
    backup: Option<(usize, Vec<Version>)>,
}

impl Model {
    fn new(seed: u64, thread: u64) -> Self {
        Self {
            seed,
            thread,
            done: 0,
            keys: vec![Key::Absent; NAMES],
            backup: None,
        }
    }

    fn after(seed: u64, thread: u64, done: u64) -> Self {
        let mut model = Self::new(seed, thread);
        while model.done < done {
            model.step();
        }
        model
    }

    fn random(&self) -> Random {
        Random::new(self.seed ^ (self.thread << 48) ^ (self.done << 8))
    }

    /// The next change and the number of its key.
    fn next(&self) -> (Operation, usize) {
        let mut random = self.random();
        let key = random.below(NAMES);
        let operation = match &self.keys[key] {
            Key::Absent => match &self.backup {
                Some((saved, _)) if *saved == key && !random.one_in(4) => Operation::Restore,
                _ if random.one_in(3) => Operation::Import,
                _ => Operation::Create,
            },
            Key::Active(versions) => match random.below(10) {
                0..3 if versions.len() < MAX_VERSIONS => Operation::Rotate,
                3 if versions.len() < MAX_VERSIONS => Operation::Create,
                0..6 => Operation::Update,
                6 | 7 => Operation::Backup,
                _ => Operation::Delete,
            },
            Key::Deleted(_) if random.one_in(2) => Operation::Recover,
            Key::Deleted(_) => Operation::Purge,
        };
        (operation, key)
    }

    fn step(&mut self) {
        let (operation, number) = self.next();
        let new = Version {
            made: self.done,
            step: self.done,
        };
        let key = &mut self.keys[number];
        match (operation, &mut *key) {
            (Operation::Create | Operation::Rotate, Key::Active(versions)) => {
                let step = match operation {
                    Operation::Rotate => versions.last().unwrap().step,
                    _ => new.step,
                };
                versions.push(Version { step, ..new });
            }
            (Operation::Create | Operation::Import, _) => *key = Key::Active(vec![new]),
            (Operation::Update, Key::Active(versions)) => {
                versions.last_mut().unwrap().step = new.step;
            }
            (Operation::Backup, Key::Active(versions)) => {
                self.backup = Some((number, versions.clone()));
            }
            (Operation::Delete, Key::Active(versions)) => {
                *key = Key::Deleted(std::mem::take(versions));
            }
            (Operation::Recover, Key::Deleted(versions)) => {
                *key = Key::Active(std::mem::take(versions));
            }
            (Operation::Purge, _) => *key = Key::Absent,
            (Operation::Restore, _) => *key = Key::Active(self.backup.clone().unwrap().1),
            other => panic!("{other:?}"),
        }
        self.done += 1;
    }
}

fn key_name(thread: u64, key: usize) -> KeyName {
    name(&format!("thread-{thread}-key-{key}"))
}

/// Tags that tell of a change; of some they are as large as tags get, 15 times 512 characters of 4 bytes.
fn tags(done: u64, bulky: bool) -> Tags {
    let mut tags = Tags::new();
    tags.insert(STEP, done.to_string()).unwrap();
    if bulky {
        for number in 1..Tags::MAX_COUNT {
            let name = format!("{number:02}{}", "𝄞".repeat(254));
            tags.insert(name, "𝄞".repeat(256)).unwrap();
        }
    }
    tags
}

/// How large the records of a workload get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bulk {
    Never,
    Sometimes,
}

/// Goes on with one thread's changes until `end`, each marked with the version that it made.
pub(crate) fn run(
    vault: &Vault,
    layout: &Layout,
    (seed, thread): (u64, u64),
    changes: Range<u64>,
    bulk: Bulk,
) -> strongroom::Result<()> {
    let mut marks = open_marks(layout);
    let mut model = Model::after(seed, thread, changes.start);
    while model.done < changes.end {
        let (operation, key) = model.next();
        let made = perform(vault, layout, &model, operation, key, bulk)?;
        mark(
            &mut marks,
            &format!(
                "{thread} {} {}",
                model.done,
                made.map_or_else(|| "-".to_owned(), |version| version.to_string())
            ),
        );
        model.step();
    }
    Ok(())
}

fn perform(
    vault: &Vault,
    layout: &Layout,
    model: &Model,
    operation: Operation,
    key: usize,
    bulk: Bulk,
) -> strongroom::Result<Option<KeyVersion>> {
    let name = key_name(model.thread, key);
    let bulky = bulk == Bulk::Sometimes && model.done.is_multiple_of(5);
    let tags = tags(model.done, bulky);
    let saved = layout.base.join(format!("backup-{}", model.thread));
    let bundle = match operation {
        Operation::Create => {
            vault.create_key(&name, CreateKeyOptions::ec(Curve::P256).tags(tags))?
        }
        Operation::Import => {
            let options = ImportKeyOptions::new(ImportedKey::from_jwk(JWK)?).tags(tags);
            vault.import_key(&name, options)?
        }
        Operation::Rotate => vault.rotate_key(&name)?,
        Operation::Update => {
            vault.update_key_properties(&name, UpdateKeyOptions::new().tags(tags))?;
            return Ok(None);
        }
        Operation::Delete => {
            vault.delete_key(&name)?;
            return Ok(None);
        }
        Operation::Recover => {
            vault.recover_deleted_key(&name)?;
            return Ok(None);
        }
        Operation::Purge => {
            vault.purge_deleted_key(&name)?;
            return Ok(None);
        }
        Operation::Backup => {
            let backup = vault.backup_key(&name)?;
            let new = saved.with_extension("new");
            fs::write(&new, backup.as_bytes()).unwrap();
            fs::rename(&new, &saved).unwrap();
            return Ok(None);
        }
        Operation::Restore => {
            vault.restore_key(fs::read(&saved).unwrap())?;
            return Ok(None);
        }
    };
    Ok(Some(bundle.properties().version()))
}

/// What the marks tell: changes acknowledged, by thread, and the versions that they made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    pub(crate) done: Vec<u64>,
    versions: Vec<BTreeMap<u64, String>>,
}

pub(crate) fn acknowledged(marks: &str, threads: u64) -> Acknowledged {
    let mut acknowledged = Acknowledged {
        done: vec![0; threads as usize],
        versions: vec![BTreeMap::new(); threads as usize],
    };
    for line in marks.lines() {
        let mut words = line.split(' ');
        let Some(Ok(thread)) = words.next().map(str::parse::<usize>) else {
            continue;
        };
        let number: u64 = words.next().unwrap().parse().unwrap();
        let version = words.next().unwrap();
        assert_eq!(acknowledged.done[thread], number, "marks out of order");
        acknowledged.done[thread] = number + 1;
        if version != "-" {
            acknowledged.versions[thread].insert(number, version.to_owned());
        }
    }
    acknowledged
}

/// Compares a vault with what was acknowledged; each thread may have got one change further. The answer is how
/// far each has got.
pub(crate) fn compare(
    vault: &Vault,
    seed: u64,
    acknowledged: &Acknowledged,
) -> Result<Vec<u64>, Wrong> {
    let mut reached = Vec::new();
    for (thread, versions) in (0..).zip(&acknowledged.versions) {
        let done = acknowledged.done[thread as usize];
        let mut model = Model::after(seed, thread, done);
        let without = compare_thread(vault, &model, versions);
        if without.is_ok() {
            reached.push(done);
            continue;
        }
        let next = model.next();
        model.step();
        let with = compare_thread(vault, &model, versions);
        if with.is_err() {
            // What fits a state before the last acknowledged change has lost that.
            let earlier = (done.saturating_sub(8)..done).any(|done| {
                compare_thread(vault, &Model::after(seed, thread, done), versions).is_ok()
            });
            let defect = if earlier { Defect::Loss } else { Defect::Half };
            return Err(Wrong::new(
                defect,
                format!(
                    "thread {thread} after {done} changes: {without:?}; with {next:?} in flight: {with:?}"
                ),
            ));
        }
        reached.push(done + 1);
    }
    Ok(reached)
}

/// Marks the changes that landed without an acknowledgement.
pub(crate) fn adopt(marks: &mut fs::File, acknowledged: &Acknowledged, reached: &[u64]) {
    for (thread, (reached, done)) in reached.iter().zip(&acknowledged.done).enumerate() {
        if reached > done {
            mark(marks, &format!("{thread} {done} -"));
        }
    }
}

fn compare_thread(
    vault: &Vault,
    model: &Model,
    made: &BTreeMap<u64, String>,
) -> Result<(), String> {
    for (number, key) in model.keys.iter().enumerate() {
        let name = key_name(model.thread, number);
        // The check opens every version; one that is used as well will do.
        let used = model.done % NAMES as u64 == number as u64;
        compare_key(vault, &name, key, made, used).map_err(|what| format!("{name}: {what}"))?;
    }
    Ok(())
}

fn compare_key(
    vault: &Vault,
    name: &KeyName,
    key: &Key,
    made: &BTreeMap<u64, String>,
    used: bool,
) -> Result<(), String> {
    let step_of = |tags: &Tags| tags.get(STEP).map(|step| step.parse::<u64>().unwrap());
    let failed = |error: strongroom::Error| format!("{error:?}");
    let deleted = match vault.get_deleted_key(name) {
        Ok(deleted) => Some(step_of(deleted.properties().tags())),
        Err(error) if error.kind() == ErrorKind::DeletedKeyNotFound => None,
        Err(error) => return Err(failed(error)),
    };
    let mut active = Vec::new();
    match vault.list_key_properties_versions(name) {
        Ok(versions) => {
            for version in versions {
                active.push((version.version().to_string(), step_of(version.tags())));
            }
        }
        Err(error) if error.kind() == ErrorKind::KeyNotFound => {}
        Err(error) => return Err(failed(error)),
    }
    match key {
        Key::Absent if deleted.is_none() && active.is_empty() => Ok(()),
        Key::Deleted(versions)
            if active.is_empty() && deleted == Some(versions.last().map(|last| last.step)) =>
        {
            Ok(())
        }
        Key::Active(versions) if deleted.is_none() => {
            let mut steps: Vec<_> = active.iter().map(|(_, step)| *step).collect();
            let mut wanted: Vec<_> = versions.iter().map(|own| Some(own.step)).collect();
            steps.sort_unstable();
            wanted.sort_unstable();
            if steps != wanted {
                return Err(format!("tags of {steps:?} in place of {wanted:?}"));
            }
            let ids: BTreeSet<&String> = active.iter().map(|(id, _)| id).collect();
            for version in versions {
                if let Some(id) = made.get(&version.made)
                    && !ids.contains(id)
                {
                    return Err(format!("version {id} is missing"));
                }
            }
            if !used {
                return Ok(());
            }
            let signed = vault
                .sign_data(name, SignatureAlgorithm::Es256, b"still here")
                .map_err(failed)?;
            vault
                .verify_data(
                    signed.key_id(),
                    SignatureAlgorithm::Es256,
                    b"still here",
                    signed.signature(),
                )
                .map_err(failed)
        }
        _ => Err(format!(
            "deleted {deleted:?}, active {active:?} in place of {key:?}"
        )),
    }
}
