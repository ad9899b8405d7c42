//! A workload with every kind of change, of which it is known what each step leads to.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::{
    CreateKeyOptions, Curve, ImportKeyOptions, ImportedKey, KeyBackup, KeyName, MaintenanceOptions,
    MasterKey, OctKeySize, SecretBytes, SignatureAlgorithm, Unlock, UpdateKeyOptions, Vault,
    VaultOptions,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Create,
    Import,
    Rotate,
    Update,
    Backup,
    Delete,
    Recover,
    DeleteAgain,
    Purge,
    Restore,
    RotateKek,
    AddSlot,
    RemoveSlot,
    SetRules,
    Close,
    Compact,
    CreateAfter,
    CloseAgain,
    Reopen,
    RotateAfter,
    Maintain,
    CloseAtLast,
}

pub(super) const STEPS: [Step; 22] = [
    Step::Create,
    Step::Import,
    Step::Rotate,
    Step::Update,
    Step::Backup,
    Step::Delete,
    Step::Recover,
    Step::DeleteAgain,
    Step::Purge,
    Step::Restore,
    Step::RotateKek,
    Step::AddSlot,
    Step::RemoveSlot,
    Step::SetRules,
    Step::Close,
    Step::Compact,
    Step::CreateAfter,
    Step::CloseAgain,
    Step::Reopen,
    Step::RotateAfter,
    Step::Maintain,
    Step::CloseAtLast,
];

fn options() -> VaultOptions {
    VaultOptions::new().storage_cache(8 << 20)
}

fn key(byte: u8) -> MasterKey {
    let bytes: Vec<u8> = (byte..byte + 32).collect();
    MasterKey::from_bytes(&bytes).unwrap()
}

fn name(text: &str) -> KeyName {
    text.parse().unwrap()
}

/// Makes the vault in which the script is played.
pub(super) fn found(path: &Path) {
    let vault = options().create(path, Unlock::raw_key(&key(1))).unwrap();
    vault
        .create_key(&name("old"), CreateKeyOptions::ec(Curve::P256))
        .unwrap();
    vault.close().unwrap();
}

pub(super) fn open(path: &Path) -> Result<Vault> {
    options().open(path, Unlock::raw_key(&key(1)))
}

/// Plays the script in the vault at a path.
#[derive(Debug)]
pub(super) struct Player {
    path: PathBuf,
    vault: Option<Vault>,
    backup: Option<KeyBackup>,
}

impl Player {
    pub(super) fn begin(path: &Path) -> Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            vault: Some(open(path)?),
            backup: None,
        })
    }

    pub(super) fn vault(&self) -> Option<&Vault> {
        self.vault.as_ref()
    }

    pub(super) fn take(&mut self, step: Step) -> Result<()> {
        let first = key(1);
        match step {
            Step::Close | Step::CloseAgain | Step::CloseAtLast => {
                return self.vault.take().map_or(Ok(()), |vault| vault.close());
            }
            Step::Compact => {
                let (vault, _) = options().compact(&self.path, Unlock::raw_key(&first))?;
                self.vault = Some(vault);
                return Ok(());
            }
            Step::Reopen => {
                self.vault = Some(open(&self.path)?);
                return Ok(());
            }
            _ => {}
        }
        let vault = self
            .vault
            .as_ref()
            .ok_or_else(|| Error::internal("closed"))?;
        match step {
            Step::Create => drop(vault.create_key(&name("a"), CreateKeyOptions::ec(Curve::P256))?),
            Step::Import => {
                let secret = SecretBytes::from(vec![0x42; 32]);
                let options = ImportKeyOptions::new(ImportedKey::oct(secret)).tag("from", "import");
                vault.import_key(&name("b"), options)?;
            }
            Step::Rotate | Step::RotateAfter => drop(vault.rotate_key(&name("a"))?),
            Step::Update => {
                let options = UpdateKeyOptions::new().enabled(false);
                vault.update_key_properties(&name("b"), options)?;
            }
            Step::Backup => self.backup = Some(vault.backup_key(&name("b"))?),
            Step::Delete | Step::DeleteAgain => drop(vault.delete_key(&name("b"))?),
            Step::Recover => drop(vault.recover_deleted_key(&name("b"))?),
            Step::Purge => drop(vault.purge_deleted_key(&name("b"))?),
            Step::Restore => {
                let backup = self
                    .backup
                    .as_ref()
                    .ok_or_else(|| Error::internal("none"))?;
                vault.restore_key(backup)?;
            }
            Step::RotateKek => drop(vault.rotate_kek()?),
            Step::AddSlot => {
                vault.add_unlock_slot(Unlock::raw_key(&first), Unlock::raw_key(&key(2)))?;
            }
            Step::RemoveSlot => {
                let slots = vault.unlock_slots()?;
                let last = slots.last().ok_or_else(|| Error::internal("none"))?;
                vault.remove_unlock_slot(last.id())?;
            }
            Step::SetRules => {
                vault.set_algorithm_rules(vault.algorithm_rules().refuse("RSA1_5")?)?;
            }
            Step::CreateAfter => {
                vault.create_key(&name("c"), CreateKeyOptions::oct(OctKeySize::Bits256))?;
            }
            _ => drop(vault.maintain(MaintenanceOptions::new())?),
        }
        Ok(())
    }
}

/// What can be seen of a vault, without what differs from one run to the next.
pub(super) fn portrait(vault: &Vault) -> Result<String> {
    let mut lines = Vec::new();
    for item in vault.list_key_properties() {
        let item = item?;
        let versions = vault.list_key_properties_versions(item.name())?.count();
        let (enabled, tags) = (item.enabled(), item.tags().iter().count());
        lines.push(format!("{} {versions} {enabled} {tags}", item.name()));
        if ["old", "a"].contains(&item.name().as_str()) {
            vault.sign_data(item.name(), SignatureAlgorithm::Es256, b"text")?;
        }
    }
    for item in vault.list_deleted_key_properties() {
        lines.push(format!("deleted {}", item?.properties().name()));
    }
    lines.sort();
    lines.push(format!("{} slots", vault.unlock_slots()?.len()));
    lines.push(format!("{:?}", vault.algorithm_rules()));
    Ok(lines.join("; "))
}
