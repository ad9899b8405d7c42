//! Rotation policies of keys.

use super::{Act, Inner, Operation, Vault};
use crate::error::Result;
use crate::model::key::KeyObject;
use crate::model::name::KeyName;
use crate::model::rotation_policy::{
    KeyRotationPolicy, PolicyDates, RotationPolicy, StoredRotationPolicy,
};

impl Vault {
    /// The rotation policy of a key: Azure's
    /// [Get Key Rotation Policy](https://learn.microsoft.com/rest/api/keyvault/keys/get-key-rotation-policy/get-key-rotation-policy).
    /// A key for which none was set has [`RotationPolicy::new`], without dates.
    ///
    /// # Errors
    ///
    /// [`KeyNotFound`](crate::ErrorKind::KeyNotFound), and the errors of storage.
    pub fn get_key_rotation_policy(&self, name: &KeyName) -> Result<KeyRotationPolicy> {
        self.act(Operation::GetKeyRotationPolicy, name, |act| {
            let inner = act.inner();
            let key = inner.store.read(|view| inner.load_active(view, name))?;
            Ok(inner.key_rotation_policy(&key.object))
        })
    }

    /// Sets the rotation policy of a key in place of the one it has: Azure's
    /// [Update Key Rotation Policy](https://learn.microsoft.com/rest/api/keyvault/keys/update-key-rotation-policy/update-key-rotation-policy).
    ///
    /// It belongs to the key, not to a version: it changes no version that exists, survives deletion and recovery, and
    /// goes into backups. [`Vault::rotate_key`] and [`Vault::maintain`] obey it. **Durability:** as every change.
    ///
    /// # Errors
    ///
    /// [`BadParameter`](crate::ErrorKind::BadParameter) for a policy outside Azure's limits, which
    /// [`RotationPolicy`]'s methods name; [`KeyNotFound`](crate::ErrorKind::KeyNotFound); and the errors of storage.
    ///
    /// # Examples
    ///
    /// ```
    /// # use strongroom::*;
    /// # let vault = VaultOptions::new().create_in_memory()?;
    /// # let name = KeyName::from_static("signer");
    /// # vault.create_key(&name, CreateKeyOptions::ec(Curve::P256))?;
    /// let policy = RotationPolicy::new()
    ///     .rotate(RotationTrigger::TimeAfterCreate(CalendarDuration::days(90)))
    ///     .expiry_time("P1Y".parse()?);
    /// vault.update_key_rotation_policy(&name, policy)?;
    ///
    /// let fresh = vault.rotate_key(&name)?;
    /// assert!(fresh.properties().expires_on().is_some());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn update_key_rotation_policy(
        &self,
        name: &KeyName,
        policy: RotationPolicy,
    ) -> Result<KeyRotationPolicy> {
        self.act(Operation::UpdateKeyRotationPolicy, name, |act| {
            act.inner().set_rotation_policy(act, name, policy)
        })
    }
}

impl Inner {
    fn set_rotation_policy(
        &self,
        act: &Act<'_>,
        name: &KeyName,
        policy: RotationPolicy,
    ) -> Result<KeyRotationPolicy> {
        policy.check()?;
        let _guard = self.locks.lock(name);
        let mut key = self.store.read(|view| self.load_active(view, name))?;
        let now = self.now();
        let created = key
            .object
            .rotation_policy
            .map_or(now, |stored| stored.dates.created);
        key.object.rotation_policy = Some(StoredRotationPolicy {
            policy,
            dates: PolicyDates {
                created,
                updated: now,
            },
        });
        let sealing = self.header.sealing();
        self.commit(act, name, vec![self.put_key(&sealing, &key)?])?;
        drop(sealing);
        Ok(self.key_rotation_policy(&key.object))
    }

    fn key_rotation_policy(&self, object: &KeyObject) -> KeyRotationPolicy {
        KeyRotationPolicy {
            id: format!("{}/keys/{}/rotationpolicy", self.url, object.name),
            policy: object.rotation_policy(),
            dates: object.rotation_policy.map(|stored| stored.dates),
        }
    }
}
