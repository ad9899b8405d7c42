//! The rules of the service, as functions on the model.

use std::collections::BTreeSet;

use strongroom::{ErrorKind, KeyOperation, KeyOperations};

use super::steps::{Action, New, Outcome, Patch, Reading, Selected, Update};
use super::tables::Kind;
use super::world::{DAY, Key, Product, Version, World};
use crate::make;

/// How many backups, and how many products of earlier steps, are kept.
const BACKUPS: usize = 6;
const PRODUCTS: usize = 24;

type Refusal = Result<Outcome, ErrorKind>;

impl World {
    pub(super) fn perform(&mut self, action: &Action) -> Refusal {
        if self.lacking.is_some() && action.needs() == self.lacking {
            return Err(ErrorKind::Forbidden);
        }
        match action {
            Action::Nothing => Ok(Outcome::Shown(None)),
            Action::SetClock(ms) => {
                self.clock = ms / 1_000;
                Ok(Outcome::Shown(None))
            }
            Action::Create(name, new) => {
                let material = self.fresh();
                self.add(name, new, material, false)
            }
            Action::Import(name, new) => self.add(name, new, new.kind as u32, true),
            Action::Rotate(name) => self.rotate(name),
            Action::Update(selected, update) => self.update(selected, update),
            Action::Get(selected) => {
                let version = self.selected(selected)?;
                Ok(Outcome::Shown(Some(version.serial)))
            }
            Action::GetDeleted(name) => {
                Ok(Outcome::Shown(Some(self.deleted(name)?.newest().serial)))
            }
            Action::Delete(name) => self.delete(name),
            Action::Recover(name) => {
                let newest = self.deleted(name)?.newest().serial;
                if let Some(key) = self.keys.get_mut(&name.to_lowercase()) {
                    key.deletion = None;
                }
                self.committed();
                Ok(Outcome::Shown(Some(newest)))
            }
            Action::Purge(name) => {
                if self.retention_days == 0 {
                    return Err(ErrorKind::PurgeRefused);
                }
                self.deleted(name)?;
                if self.purge_protection {
                    return Err(ErrorKind::PurgeRefused);
                }
                self.remove(name);
                Ok(Outcome::Shown(None))
            }
            Action::Backup(name) => {
                let key = self.active(name)?.clone();
                let slot = self.next_backup % BACKUPS;
                self.next_backup += 1;
                let entry = (name.to_lowercase(), key);
                if slot < self.backups.len() {
                    self.backups[slot] = entry;
                } else {
                    self.backups.push(entry);
                }
                Ok(Outcome::BackedUp(slot))
            }
            Action::Restore { slot, damaged } => self.restore(*slot, *damaged),
            Action::Sign(selected, algorithm) => {
                self.produce(selected, KeyOperation::Sign, algorithm)
            }
            Action::Encrypt(selected, algorithm) => {
                self.produce(selected, KeyOperation::Encrypt, algorithm)
            }
            Action::Wrap(selected, algorithm) => {
                self.produce(selected, KeyOperation::WrapKey, algorithm)
            }
            Action::Verify(selected, reading) => self.read(
                selected,
                KeyOperation::Verify,
                reading,
                ErrorKind::InvalidSignature,
            ),
            Action::Decrypt(selected, reading) => self.read(
                selected,
                KeyOperation::Decrypt,
                reading,
                ErrorKind::DecryptFailed,
            ),
            Action::Unwrap(selected, reading) => self.read(
                selected,
                KeyOperation::UnwrapKey,
                reading,
                ErrorKind::DecryptFailed,
            ),
            Action::Maintain { confirm } => self.maintain(*confirm),
            Action::Protect => {
                if self.retention_days == 0 {
                    return Err(ErrorKind::BadParameter);
                }
                self.purge_protection = true;
                self.committed();
                Ok(Outcome::Shown(None))
            }
            Action::Rules(refused) => {
                self.refused = *refused;
                self.committed();
                Ok(Outcome::Shown(None))
            }
            Action::Crash => {
                // Their counts go with the process; what was reserved is on the disk.
                self.counting.clear();
                Ok(Outcome::Shown(None))
            }
            Action::RotateKek => {
                self.committed();
                Ok(Outcome::Shown(None))
            }
            Action::Lack(permission) => {
                self.lacking = *permission;
                Ok(Outcome::Shown(None))
            }
            Action::Reopen => {
                if !self.counting.is_empty() {
                    self.counting.clear();
                    self.committed();
                }
                Ok(Outcome::Shown(None))
            }
        }
    }

    fn add(&mut self, name: &str, new: &New, material: u32, imported: bool) -> Refusal {
        let operations = match new.operations {
            None => new.kind.defaults(),
            Some(operations) => legal_operations(new.kind, operations)?,
        };
        legal_window(new.not_before, new.expires_on)?;
        let lowered = name.to_lowercase();
        if let Ok(key) = self.active(name) {
            if key.newest().kind.family() != new.kind.family() && !new.type_change {
                return Err(ErrorKind::BadParameter);
            }
        } else {
            self.free_name(name, ErrorKind::Internal)?;
        }
        let (now, serial, object) = (self.now(), self.fresh(), self.fresh());
        let key = self.keys.entry(lowered).or_insert_with(|| Key {
            spelled: name.to_owned(),
            object,
            versions: Vec::new(),
            deletion: None,
            announced: None,
        });
        key.versions.push(Version {
            serial,
            kind: new.kind,
            material,
            enabled: new.enabled,
            not_before: new.not_before,
            expires_on: new.expires_on,
            operations,
            made_with: operations,
            imported,
            tags: new.tags,
            created: now,
            updated: now,
        });
        self.committed();
        Ok(Outcome::Made(serial))
    }

    fn rotate(&mut self, name: &str) -> Refusal {
        let newest = self.active(name)?.newest().clone();
        if newest.kind == Kind::Mac64 || newest.imported && make::IN_HARDWARE {
            return Err(ErrorKind::BadParameter);
        }
        let new = New {
            kind: newest.kind,
            operations: Some(newest.operations),
            enabled: true,
            not_before: None,
            expires_on: None,
            tags: newest.tags,
            type_change: false,
        };
        let material = self.fresh();
        self.add(name, &new, material, false)
    }

    fn update(&mut self, selected: &Selected, update: &Update) -> Refusal {
        let now = self.now();
        let mut version = self.selected(selected)?.clone();
        if let Some(operations) = update.operations {
            version.operations = legal_operations(version.kind, operations)?;
            if make::IN_HARDWARE && !operations.iter().all(|one| version.made_with.contains(one)) {
                return Err(ErrorKind::BadParameter);
            }
        }
        version.not_before = patched(update.not_before, version.not_before);
        version.expires_on = patched(update.expires_on, version.expires_on);
        legal_window(version.not_before, version.expires_on)?;
        version.enabled = update.enabled.unwrap_or(version.enabled);
        version.tags = patched(update.tags, Some(version.tags)).unwrap_or(0);
        version.updated = now;
        let serial = version.serial;
        let key = self.keys.get_mut(&selected.name.to_lowercase());
        for place in key.into_iter().flat_map(|key| &mut key.versions) {
            if place.serial == serial {
                place.clone_from(&version);
            }
        }
        self.committed();
        Ok(Outcome::Shown(Some(serial)))
    }

    fn delete(&mut self, name: &str) -> Refusal {
        let newest = self.active(name)?.newest().serial;
        let now = self.now();
        if self.retention_days == 0 {
            self.remove(name);
        } else {
            let gone = now + u64::from(self.retention_days) * DAY;
            if let Some(key) = self.keys.get_mut(&name.to_lowercase()) {
                key.deletion = Some((now, gone));
            }
            self.committed();
        }
        Ok(Outcome::Shown(Some(newest)))
    }

    fn restore(&mut self, slot: usize, damaged: bool) -> Refusal {
        if damaged {
            return Err(ErrorKind::InvalidBackup);
        }
        let (name, mut key) = self.backups[slot].clone();
        // A backup does not tell.
        key.announced = None;
        self.free_name(&name, ErrorKind::KeyExists)?;
        let now = self.now();
        let previously_purged = self
            .tombstones
            .get(&key.object)
            .is_some_and(|purged| now < purged + 90 * DAY);
        let outcome = Outcome::Restored {
            newest: key.newest().serial,
            versions: key.versions.len(),
            previously_purged,
        };
        self.keys.insert(name, key);
        self.committed();
        Ok(outcome)
    }

    /// Whether a version may do an operation now.
    fn authorize(
        &self,
        version: &Version,
        operation: KeyOperation,
        algorithm: &str,
    ) -> Result<(), ErrorKind> {
        let now = self.now();
        if !version.kind.fitting(operation).contains(&algorithm) {
            return Err(ErrorKind::AlgorithmMismatch);
        }
        if self.refused == Some(algorithm) {
            return Err(ErrorKind::AlgorithmRefused);
        }
        if !version.enabled {
            return Err(ErrorKind::KeyDisabled);
        }
        let makes = matches!(
            operation,
            KeyOperation::Sign | KeyOperation::Encrypt | KeyOperation::WrapKey
        );
        if makes
            && version
                .not_before
                .is_some_and(|from| now + self.leeway < from)
        {
            return Err(ErrorKind::KeyNotYetValid);
        }
        if makes
            && version
                .expires_on
                .is_some_and(|end| now >= end + self.leeway)
        {
            return Err(ErrorKind::KeyExpired);
        }
        if !version.operations.contains(operation) {
            return Err(ErrorKind::OperationNotPermitted);
        }
        Ok(())
    }

    fn produce(
        &mut self,
        selected: &Selected,
        operation: KeyOperation,
        algorithm: &'static str,
    ) -> Refusal {
        let version = self.selected(selected)?.clone();
        self.authorize(&version, operation, algorithm)?;
        let name = selected.name.to_lowercase();
        if algorithm.ends_with("GCM") && self.counting.insert((name.clone(), version.serial)) {
            self.committed();
        }
        let slot = self.next_product % PRODUCTS;
        self.next_product += 1;
        let product = Product {
            name,
            serial: version.serial,
            material: version.material,
            operation,
            algorithm,
        };
        if slot < self.products.len() {
            self.products[slot] = product;
        } else {
            self.products.push(product);
        }
        Ok(Outcome::Produced(version.serial, slot))
    }

    fn read(
        &self,
        selected: &Selected,
        operation: KeyOperation,
        reading: &Reading,
        failed: ErrorKind,
    ) -> Refusal {
        let product = &self.products[reading.slot];
        let version = self.selected(selected)?;
        self.authorize(version, operation, product.algorithm)?;
        if version.material != product.material || reading.tampered {
            return Err(failed);
        }
        Ok(Outcome::Shown(None))
    }

    fn maintain(&mut self, confirm: bool) -> Refusal {
        if confirm {
            self.floor = self.clock;
        }
        let due: BTreeSet<String> = self
            .keys
            .iter()
            .filter(|(_, key)| self.is_gone(key))
            .map(|(name, _)| name.clone())
            .collect();
        if !due.is_empty() && !self.is_plausible() {
            return Err(ErrorKind::ClockJump);
        }
        for name in &due {
            self.remove(name);
        }
        let now = self.now();
        let announced: BTreeSet<String> = self
            .keys
            .iter()
            .filter(|(_, key)| key.is_to_be_announced(now))
            .map(|(name, _)| name.clone())
            .collect();
        if !announced.is_empty() && !self.is_plausible() {
            return Err(ErrorKind::ClockJump);
        }
        for name in &announced {
            let key = self.keys.get_mut(name).expect("it was just there");
            key.announced = Some(key.newest().serial);
            self.committed();
        }
        Ok(Outcome::Maintained {
            purged: due,
            announced,
        })
    }
}

fn legal_operations(kind: Kind, operations: KeyOperations) -> Result<KeyOperations, ErrorKind> {
    let legal =
        !operations.is_empty() && operations.iter().all(|operation| kind.possible(operation));
    legal.then_some(operations).ok_or(ErrorKind::BadParameter)
}

fn legal_window(not_before: Option<u64>, expires_on: Option<u64>) -> Result<(), ErrorKind> {
    match (not_before, expires_on) {
        (Some(from), Some(end)) if from > end => Err(ErrorKind::BadParameter),
        _ => Ok(()),
    }
}

fn patched<T>(patch: Patch<T>, old: Option<T>) -> Option<T> {
    match patch {
        Patch::Keep => old,
        Patch::Set(new) => Some(new),
        Patch::Clear => None,
    }
}
