//! Restoring single keys from their backups.

use super::grant::Need;
use super::header::Rings;
use super::restore_options::{RestoreOptions, RestorePlan, RestoreResult};
use super::{Act, Inner, Operation, Subject, Vault};
use crate::error::{Error, ErrorKind, Result};
use crate::format::backup::Modes;
use crate::format::backup_payload::{self, BackupPayload};
use crate::model::permission::Permission;
use crate::seal::backup::{BackupOrigin, Domain, OpenedContainer, Opening, open_backup};

impl Vault {
    /// Brings a key back from a backup, under its name, with its version ids, dates and tags: Azure's
    /// [Restore Key](https://learn.microsoft.com/rest/api/keyvault/keys/restore-key/restore-key).
    ///
    /// All versions or nothing: each is validated as strictly as an imported key. Retention and
    /// recovery level are those of this vault. **Blocking:** validation (RSA up to hundreds of milliseconds per
    /// version) and one write to disk.
    ///
    /// # Errors
    ///
    /// [`InvalidBackup`](ErrorKind::InvalidBackup), [`WrongDomain`](ErrorKind::WrongDomain),
    /// [`NewerFormat`](ErrorKind::NewerFormat); [`KeyExists`](ErrorKind::KeyExists) and
    /// [`KeyDeleted`](ErrorKind::KeyDeleted) when the name is taken;
    /// [`ClockJump`](ErrorKind::ClockJump) as for [`Vault::create_key`];
    /// [`BackendUnavailable`](ErrorKind::BackendUnavailable) when a version's backend is not attached; and the
    /// errors of storage.
    pub fn restore_key(&self, blob: impl AsRef<[u8]>) -> Result<RestoreResult> {
        self.act(Operation::RestoreKey, Subject::Vault, |act| {
            act.inner()
                .restore(act, blob.as_ref(), &RestoreOptions::new())
        })
    }

    /// As [`Vault::restore_key`], opened and placed as the options say.
    ///
    /// # Errors
    ///
    /// As [`Vault::restore_key`]; [`WrongKey`](ErrorKind::WrongKey) when the backup is not sealed to the given
    /// recipient or passphrase; [`KdfCostRefused`](ErrorKind::KdfCostRefused) when its passphrase costs more than is
    /// allowed; [`UnauthenticatedBackup`](ErrorKind::UnauthenticatedBackup) when no vault of this domain vouches for
    /// it and that was not accepted; [`Forbidden`](ErrorKind::Forbidden) for a restricted handle without the permission,
    /// which for such a backup is that of an import as well.
    pub fn restore_key_with(
        &self,
        blob: impl AsRef<[u8]>,
        options: &RestoreOptions<'_>,
    ) -> Result<RestoreResult> {
        self.act(Operation::RestoreKeyWith, Subject::Vault, |act| {
            act.inner().restore(act, blob.as_ref(), options)
        })
    }

    /// What [`Vault::restore_key_with`] would do. It changes nothing, and does not validate the keys.
    ///
    /// # Errors
    ///
    /// Those of opening the backup, as [`Vault::restore_key_with`], and of reading the vault; what stands in the way
    /// of a restore is in the plan.
    ///
    /// # Examples
    ///
    /// ```
    /// # use strongroom::*;
    /// # let vault = VaultOptions::new().create_in_memory()?;
    /// # let name = KeyName::from_static("signer");
    /// # vault.create_key(&name, CreateKeyOptions::ec(Curve::P256))?;
    /// let backup = vault.backup_key(&name)?;
    /// let plan = vault.restore_plan(&backup, &RestoreOptions::new())?;
    /// assert_eq!(plan.name_state(), NameState::SameKey);
    /// assert_eq!(plan.expected_error(), Some(ErrorKind::KeyExists));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn restore_plan(
        &self,
        blob: impl AsRef<[u8]>,
        options: &RestoreOptions<'_>,
    ) -> Result<RestorePlan> {
        self.act(Operation::RestorePlan, Subject::Vault, |act| {
            let (payload, origin) = act.inner().open_payload(blob.as_ref(), options)?;
            act.is_about(&payload.name)?;
            act.inner().plan(&payload, origin, options)
        })
    }
}

impl Inner {
    fn restore(
        &self,
        act: &Act<'_>,
        blob: &[u8],
        options: &RestoreOptions<'_>,
    ) -> Result<RestoreResult> {
        let (payload, origin) = self.open_payload(blob, options)?;
        act.is_about(&payload.name)?;
        if origin == BackupOrigin::Unauthenticated {
            // It is a key that anybody may have chosen, as with an import.
            act.require(Need::One(Permission::Import), &payload.name)?;
        }
        self.restore_opened(act, payload, origin, options)
    }

    /// Restores what was opened, if its origin is good enough.
    pub(super) fn restore_opened(
        &self,
        act: &Act<'_>,
        payload: BackupPayload,
        origin: BackupOrigin,
        options: &RestoreOptions<'_>,
    ) -> Result<RestoreResult> {
        require_accepted(origin, options)?;
        self.restore_payload(act, payload, origin, options.merge)
    }

    /// Opens a container with these contents as the options say.
    pub(super) fn open_container(
        &self,
        rings: &Rings,
        blob: &[u8],
        contents: Modes,
        options: &RestoreOptions<'_>,
    ) -> Result<OpenedContainer> {
        let opening = Opening {
            domain: Some(Domain {
                id: rings.domain_id,
                ring: &rings.sdk,
            }),
            by: options.by,
            max_kdf_work_kib: options
                .max_kdf_work_kib
                .unwrap_or(self.limits.max_kdf_work_kib),
        };
        open_backup(opening, contents, blob)
    }

    fn open_payload(
        &self,
        blob: &[u8],
        options: &RestoreOptions<'_>,
    ) -> Result<(BackupPayload, BackupOrigin)> {
        if options.settings {
            return Err(Error::bad_parameter(
                "settings are in the backup of a whole vault only, not in that of a key",
            ));
        }
        let opened = self.open_container(&self.header.rings(), blob, Modes::KEY, options)?;
        let mut payload = backup_payload::decode(&opened.payload)?;
        if let Some(name) = &options.rename_to {
            payload.name = name.clone();
        }
        Ok((payload, opened.origin))
    }
}

pub(super) fn require_accepted(origin: BackupOrigin, options: &RestoreOptions<'_>) -> Result<()> {
    if origin == BackupOrigin::Domain || options.accept_unauthenticated {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::UnauthenticatedBackup,
        "no vault of this security domain vouches for the backup: whoever knows the public key or the passphrase \
         can have made it; if its way to you is known, restore it with RestoreOptions::accept_unauthenticated",
    ))
}
