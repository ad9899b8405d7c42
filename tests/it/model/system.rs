//! The vault under test: does what the model's step says, and compares.

use std::collections::BTreeMap;

use proptest_state_machine::StateMachineTest;
use strongroom::{
    AlgorithmRules, Ciphertext, EncryptOptions, EncryptResult, Error, KeyBackup, KeyBundle,
    KeyName, KeySelector, KeyVersion, MaintenanceOptions, Permission, SignatureAlgorithm,
    SoftDelete, Unlock, Vault, WrapAlgorithm,
};

use super::TALLY;
use super::convert::{create_options, import_options, update_options};
use super::steps::{Action, Outcome, Reading, Selected, Serial, Which};
use super::transitions::Transition;
use super::world::World;
use crate::copies::copy_of_one_moment;
use crate::make::Home;
use crate::support::{Place, master_key, name};

const DIGEST: [u8; 32] = [0xd1; 32];
const TEXT: &[u8] = b"the text of the model";
const WRAPPED: [u8; 32] = [0x77; 32];

enum Product {
    Signature(&'static str, Vec<u8>),
    Sealed(EncryptResult),
    Wrapped(&'static str, Vec<u8>),
}

pub(super) struct System {
    place: Place,
    leeway: u64,
    lacking: Option<Permission>,
    /// `None` only while the vault is reopened.
    vault: Option<Vault>,
    pub(super) versions: BTreeMap<Serial, KeyVersion>,
    backups: Vec<KeyBackup>,
    products: Vec<Product>,
    steps: usize,
}

impl StateMachineTest for System {
    type SystemUnderTest = Self;
    type Reference = World;

    fn init_test(world: &World) -> Self {
        let home = Home::with_backups().expect("asked before the first run");
        let place = Place::in_home(&home);
        let mut options = place.options().leeway_seconds(world.leeway);
        options = options.soft_delete(match world.retention_days {
            0 => SoftDelete::OFF,
            days => SoftDelete::days(days).unwrap(),
        });
        if world.purge_protection {
            options = options.purge_protection();
        }
        let vault = options
            .create(&place.path, Unlock::raw_key(&master_key()))
            .unwrap();
        Self {
            place,
            leeway: world.leeway,
            lacking: None,
            vault: Some(vault),
            versions: BTreeMap::new(),
            backups: Vec::new(),
            products: Vec::new(),
            steps: 0,
        }
    }

    fn apply(mut system: Self, world: &World, _: Transition) -> Self {
        let step = &world.step;
        let outcome = system
            .perform(&step.action, &step.expected)
            .unwrap_or_else(|error| Outcome::Refused(error.kind()));
        tally(&step.action, &outcome);
        assert_eq!(outcome, step.expected, "{:?}", step.action);
        if let Some(touched) = &step.touched {
            system.compare_key(world, touched);
        }
        system.steps += 1;
        if system.steps.is_multiple_of(20) {
            system.compare_all(world);
        }
        system
    }

    fn teardown(mut system: Self, world: World) {
        system.compare_all(&world);
        let report = system.vault().check().unwrap();
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(report.keys(), world.keys.len() as u64);
        let versions: usize = world.keys.values().map(|key| key.versions.len()).sum();
        assert_eq!(report.versions(), versions as u64);
        system.reopen().unwrap();
        system.compare_all(&world);
        assert!(system.vault().check().unwrap().is_clean());
    }
}

fn tally(action: &Action, outcome: &Outcome) {
    let verb = match action {
        Action::Nothing => "nothing",
        Action::Create(..) => "create",
        Action::Import(..) => "import",
        Action::Rotate(_) => "rotate",
        Action::Update(..) => "update",
        Action::Get(_) => "get",
        Action::GetDeleted(_) => "get_deleted",
        Action::Delete(_) => "delete",
        Action::Recover(_) => "recover",
        Action::Purge(_) => "purge",
        Action::Backup(_) => "backup",
        Action::Restore { .. } => "restore",
        Action::Sign(..) => "sign",
        Action::Encrypt(..) => "encrypt",
        Action::Wrap(..) => "wrap",
        Action::Verify(..) => "verify",
        Action::Decrypt(..) => "decrypt",
        Action::Unwrap(..) => "unwrap",
        Action::SetClock(_) => "clock",
        Action::Maintain { .. } => "maintain",
        Action::Protect => "protect",
        Action::Rules(_) => "rules",
        Action::Reopen => "reopen",
        Action::Crash => "crash",
        Action::RotateKek => "rotate_kek",
        Action::Lack(_) => "lack",
    };
    let result = match outcome {
        Outcome::Refused(kind) => format!("{verb} {kind:?}"),
        Outcome::Restored {
            previously_purged: true,
            ..
        } => format!("{verb} previously purged"),
        Outcome::Maintained { purged, .. } if !purged.is_empty() => format!("{verb} purges"),
        Outcome::Maintained { announced, .. } if !announced.is_empty() => {
            format!("{verb} announces")
        }
        _ => format!("{verb} ok"),
    };
    *TALLY.lock().unwrap().entry(result).or_insert(0) += 1;
}

/// The last byte with its lowest bit turned, if asked for.
fn perhaps_tampered(bytes: &[u8], reading: &Reading) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if reading.tampered
        && let Some(last) = bytes.last_mut()
    {
        *last ^= 1;
    }
    bytes
}

impl System {
    pub(super) fn vault(&self) -> &Vault {
        self.vault.as_ref().unwrap()
    }

    fn reopen(&mut self) -> Result<(), Error> {
        self.vault.take().unwrap().close()?;
        let vault = self
            .place
            .options()
            .leeway_seconds(self.leeway)
            .open(&self.place.path, Unlock::raw_key(&master_key()))?;
        self.vault = Some(vault);
        Ok(())
    }

    /// The files as they are at this moment, as the end of the process leaves them, take the vault's place.
    fn crash(&mut self) -> Result<(), Error> {
        let left = self.place.path.with_extension("left");
        copy_of_one_moment(&self.place.path, &left);
        // Whatever dropping it writes goes with its directory.
        drop(self.vault.take());
        std::fs::remove_dir_all(&self.place.path).unwrap();
        std::fs::rename(&left, &self.place.path).unwrap();
        let vault = self
            .place
            .options()
            .leeway_seconds(self.leeway)
            .open(&self.place.path, Unlock::raw_key(&master_key()))?;
        self.vault = Some(vault);
        Ok(())
    }

    /// The model's number of a version that the vault shows.
    fn serial(&self, version: KeyVersion) -> Serial {
        *self
            .versions
            .iter()
            .find(|(_, known)| **known == version)
            .expect("the vault shows no version that the model does not know")
            .0
    }

    fn shown(&self, bundle: &KeyBundle) -> Outcome {
        Outcome::Shown(Some(self.serial(bundle.id().version())))
    }

    fn made(&mut self, bundle: &KeyBundle, expected: &Outcome) -> Outcome {
        let Outcome::Made(serial) = expected else {
            panic!("a version was made that must not be: {bundle:?}, {expected:?}");
        };
        let version = bundle.id().version();
        let before = self.versions.values().any(|known| *known == version);
        assert!(!before, "a version id came twice");
        self.versions.insert(*serial, version);
        Outcome::Made(*serial)
    }

    fn produced(&mut self, version: KeyVersion, product: Product, expected: &Outcome) -> Outcome {
        let Outcome::Produced(_, slot) = expected else {
            panic!("something was made that must not be: {expected:?}");
        };
        put(&mut self.products, *slot, product);
        Outcome::Produced(self.serial(version), *slot)
    }

    fn with<T>(&self, selected: &Selected, call: impl FnOnce(KeySelector<'_>) -> T) -> T {
        let key = name(&selected.name);
        match selected.which {
            Which::Newest => call((&key).into()),
            Which::Exact(serial) => call((&key, self.versions[&serial]).into()),
            Which::Unknown => call((&key, "0".repeat(32).parse().unwrap()).into()),
        }
    }

    fn perform(&mut self, action: &Action, expected: &Outcome) -> Result<Outcome, Error> {
        let nothing = Outcome::Shown(None);
        let mut vault = self.vault().clone();
        if let Some(lacking) = self.lacking
            && action.needs().is_some()
        {
            let others = Permission::ALL.into_iter().filter(|one| *one != lacking);
            vault = vault.restricted(others.collect());
        }
        Ok(match action {
            Action::Nothing => nothing,
            Action::SetClock(ms) => {
                self.place.clock.set_ms(*ms);
                nothing
            }
            Action::Create(key, new) => {
                let bundle = vault.create_key(&name(key), create_options(new))?;
                self.made(&bundle, expected)
            }
            Action::Import(key, new) => {
                let bundle = vault.import_key(&name(key), import_options(new))?;
                self.made(&bundle, expected)
            }
            Action::Rotate(key) => {
                let bundle = vault.rotate_key(&name(key))?;
                self.made(&bundle, expected)
            }
            Action::Update(selected, update) => {
                let options = update_options(update);
                self.shown(&self.with(selected, |key| vault.update_key_properties(key, options))?)
            }
            Action::Get(selected) => self.shown(&self.with(selected, |key| vault.get_key(key))?),
            Action::GetDeleted(key) => {
                let deleted = vault.get_deleted_key(&name(key))?;
                Outcome::Shown(Some(self.serial(deleted.properties().version())))
            }
            Action::Delete(key) => {
                let deleted = vault.delete_key(&name(key))?;
                Outcome::Shown(Some(self.serial(deleted.properties().version())))
            }
            Action::Recover(key) => self.shown(&vault.recover_deleted_key(&name(key))?),
            Action::Purge(key) => {
                vault.purge_deleted_key(&name(key))?;
                nothing
            }
            Action::Backup(key) => {
                let backup = vault.backup_key(&name(key))?;
                let Outcome::BackedUp(slot) = expected else {
                    panic!("a backup was made that must not be: {expected:?}");
                };
                put(&mut self.backups, *slot, backup);
                Outcome::BackedUp(*slot)
            }
            Action::Restore { slot, damaged } => {
                let mut blob = self.backups[*slot].as_bytes().to_vec();
                if *damaged {
                    let middle = blob.len() / 2;
                    blob[middle] ^= 1;
                }
                let restored = vault.restore_key(&blob)?;
                Outcome::Restored {
                    newest: self.serial(restored.key().id().version()),
                    versions: restored.version_count(),
                    previously_purged: restored.previously_purged(),
                }
            }
            Action::Sign(selected, algorithm) => {
                let parsed: SignatureAlgorithm = algorithm.parse()?;
                let signed = self.with(selected, |key| vault.sign(key, parsed, &DIGEST))?;
                let version = signed.key_id().version();
                let product = Product::Signature(algorithm, signed.into_signature());
                self.produced(version, product, expected)
            }
            Action::Encrypt(selected, algorithm) => {
                let (parsed, options) = (algorithm.parse()?, EncryptOptions::new());
                let sealed =
                    self.with(selected, |key| vault.encrypt(key, parsed, TEXT, options))?;
                let version = sealed.key_id().version();
                self.produced(version, Product::Sealed(sealed), expected)
            }
            Action::Wrap(selected, algorithm) => {
                let parsed: WrapAlgorithm = algorithm.parse()?;
                let wrapped = self.with(selected, |key| vault.wrap_key(key, parsed, &WRAPPED))?;
                let version = wrapped.key_id().version();
                let product = Product::Wrapped(algorithm, wrapped.wrapped_key().to_vec());
                self.produced(version, product, expected)
            }
            Action::Verify(selected, reading)
            | Action::Decrypt(selected, reading)
            | Action::Unwrap(selected, reading) => {
                self.read(&vault, selected, reading)?;
                nothing
            }
            Action::Maintain { confirm } => {
                let mut options = MaintenanceOptions::new();
                if *confirm {
                    options = options.confirm_clock();
                }
                let report = vault.maintain(options)?;
                let lowered = |name: &KeyName| name.as_str().to_lowercase();
                let announced = report.near_expiry().iter();
                Outcome::Maintained {
                    purged: report.purged().iter().map(lowered).collect(),
                    announced: announced.map(|id| lowered(id.name())).collect(),
                }
            }
            Action::Protect => {
                vault.enable_purge_protection()?;
                nothing
            }
            Action::Rules(refused) => {
                let mut rules = AlgorithmRules::default();
                if let Some(refused) = refused {
                    rules = rules.refuse(refused)?;
                }
                vault.set_algorithm_rules(rules)?;
                nothing
            }
            Action::Crash => {
                drop(vault);
                self.crash()?;
                nothing
            }
            Action::RotateKek => {
                vault.rotate_kek()?;
                nothing
            }
            Action::Lack(permission) => {
                self.lacking = *permission;
                nothing
            }
            Action::Reopen => {
                drop(vault);
                self.reopen()?;
                nothing
            }
        })
    }

    fn read(&self, vault: &Vault, selected: &Selected, reading: &Reading) -> Result<(), Error> {
        match &self.products[reading.slot] {
            Product::Signature(algorithm, signature) => {
                let (algorithm, signature) =
                    (algorithm.parse()?, perhaps_tampered(signature, reading));
                self.with(selected, |key| {
                    vault.verify(key, algorithm, &DIGEST, &signature)
                })
            }
            Product::Sealed(sealed) => {
                let bytes = perhaps_tampered(sealed.ciphertext(), reading);
                let ciphertext = Ciphertext::new(&bytes)
                    .iv(sealed.iv().unwrap_or_default())
                    .tag(sealed.tag().unwrap_or_default());
                let text = self.with(selected, |key| {
                    vault.decrypt(key, sealed.algorithm(), ciphertext)
                })?;
                assert_eq!(text.expose(), TEXT);
                Ok(())
            }
            Product::Wrapped(algorithm, wrapped) => {
                let (algorithm, wrapped) = (algorithm.parse()?, perhaps_tampered(wrapped, reading));
                let key = self.with(selected, |key| vault.unwrap_key(key, algorithm, &wrapped))?;
                assert_eq!(key.expose(), WRAPPED);
                Ok(())
            }
        }
    }
}

fn put<T>(slots: &mut Vec<T>, slot: usize, value: T) {
    if slot < slots.len() {
        slots[slot] = value;
    } else {
        slots.push(value);
    }
}
