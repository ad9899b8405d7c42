//! Backup of single keys.

use std::fmt;

use super::header::Rings;
use super::records::{StoredKey, reference};
use super::{Inner, Operation, Vault};
use crate::error::{Error, ErrorKind, Result};
use crate::format::backup::{MAX_STANZAS, Modes};
use crate::format::backup_payload::{self, BackupPayload, MAX_BACKUP_VERSIONS};
use crate::model::key::KeyObject;
use crate::model::name::KeyName;
use crate::model::time::Timestamp;
use crate::seal::backup::{Domain, SealedContainer, SealedFor, inspect, seal_backup};
use crate::seal::hpke::Recipient;
use crate::seal::passphrase::PassphraseParameters;
use crate::secret::{Passphrase, SecretBytes};
use crate::store::View;

/// A key with all its versions, sealed: bytes to be kept anywhere.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyBackup {
    bytes: Vec<u8>,
}

impl KeyBackup {
    /// The blob.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The blob, by value.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Reads what stands in the clear in a blob, without any key.
    ///
    /// Nothing of it is authenticated: it says what the blob claims to be.
    ///
    /// # Errors
    ///
    /// [`InvalidBackup`](ErrorKind::InvalidBackup) and [`NewerFormat`](ErrorKind::NewerFormat).
    ///
    /// # Examples
    ///
    /// ```
    /// # use strongroom::*;
    /// # let vault = VaultOptions::new().create_in_memory()?;
    /// # let name = KeyName::from_static("signer");
    /// # vault.create_key(&name, CreateKeyOptions::ec(Curve::P256))?;
    /// let backup = vault.backup_key(&name)?;
    /// let summary = KeyBackup::inspect(backup.as_bytes())?;
    /// assert_eq!(summary.length(), backup.as_bytes().len());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn inspect(blob: &[u8]) -> Result<BackupSummary> {
        let facts = inspect(blob).map_err(|error| error.with_operation("inspect_backup"))?;
        Ok(BackupSummary {
            created_on: Timestamp::from_unix_milliseconds(facts.created_unix_milliseconds),
            blob_id: facts.blob_id,
            domain_id: facts.domain_id,
            domain_epoch: facts.domain_epoch,
            recipient_count: facts.recipients,
            has_passphrase: facts.modes.contains(Modes::PASSPHRASE),
            passphrase_parameters: facts.passphrase,
            contents: if facts.modes.contains(Modes::DOMAIN_FILE) {
                BackupContents::SecurityDomain
            } else if facts.modes.contains(Modes::WHOLE_VAULT) {
                BackupContents::WholeVault
            } else {
                BackupContents::Key
            },
            length: facts.size,
        })
    }
}

impl AsRef<[u8]> for KeyBackup {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for KeyBackup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyBackup({} bytes)", self.bytes.len())
    }
}

/// What a blob says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BackupSummary {
    created_on: Timestamp,
    blob_id: [u8; 16],
    domain_id: Option<[u8; 16]>,
    domain_epoch: Option<u32>,
    recipient_count: usize,
    has_passphrase: bool,
    passphrase_parameters: Option<PassphraseParameters>,
    contents: BackupContents,
    length: usize,
}

/// What a blob claims to hold.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum BackupContents {
    /// A key with all its versions.
    Key,
    /// A security domain: a [`DomainFile`](crate::DomainFile).
    SecurityDomain,
    /// The beginning of the backup of a whole vault.
    WholeVault,
}

impl BackupSummary {
    /// When the backup was made.
    #[must_use]
    pub fn created_on(&self) -> Timestamp {
        self.created_on
    }

    /// The random id of the blob.
    #[must_use]
    pub fn blob_id(&self) -> &[u8; 16] {
        &self.blob_id
    }

    /// The security domain in which the blob opens, if it is sealed to one.
    #[must_use]
    pub fn domain_id(&self) -> Option<&[u8; 16]> {
        self.domain_id.as_ref()
    }

    /// The epoch of the security domain to which the blob is sealed, if it is sealed to one.
    #[must_use]
    pub fn domain_epoch(&self) -> Option<u32> {
        self.domain_epoch
    }

    /// To how many recipients the blob is sealed. Nothing in it says to whom.
    #[must_use]
    pub fn recipient_count(&self) -> usize {
        self.recipient_count
    }

    /// Whether a passphrase opens the blob.
    #[must_use]
    pub fn has_passphrase(&self) -> bool {
        self.has_passphrase
    }

    /// What a guess of the passphrase costs; `None` without a passphrase, and for a cost that this library refuses.
    #[must_use]
    pub fn passphrase_parameters(&self) -> Option<PassphraseParameters> {
        self.passphrase_parameters
    }

    /// What the blob claims to hold.
    #[must_use]
    pub fn contents(&self) -> BackupContents {
        self.contents
    }

    /// Length of the blob in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }
}

/// Who is to be able to open a backup: the vault's security domain, unless it is left out, and whoever is named.
///
/// # Examples
///
/// ```
/// use strongroom::{BackupOptions, RecipientKey};
///
/// let safe = RecipientKey::generate()?;
/// let options = BackupOptions::new().recipient(&safe.recipient()).without_domain();
/// # let _ = options;
/// # Ok::<(), strongroom::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct BackupOptions<'a> {
    without_domain: bool,
    recipients: Vec<Recipient>,
    passphrase: Option<&'a Passphrase>,
    parameters: Option<PassphraseParameters>,
}

impl Default for BackupOptions<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> BackupOptions<'a> {
    /// For the vault's security domain alone.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            without_domain: false,
            recipients: Vec::new(),
            passphrase: None,
            parameters: None,
        }
    }

    /// For the holder of this recipient's private key too; domain, recipients and passphrase are 16 at most.
    ///
    /// Check whose public key it is: he gets the private keys.
    #[must_use]
    pub fn recipient(mut self, recipient: &Recipient) -> Self {
        // One more than there may be is enough to be refused.
        if self.recipients.len() <= MAX_STANZAS && !self.recipients.contains(recipient) {
            self.recipients.push(*recipient);
        }
        self
    }

    /// For whoever knows this passphrase too. Whoever has the blob can guess as long as he likes.
    #[must_use]
    pub const fn passphrase(mut self, passphrase: &'a Passphrase) -> Self {
        self.passphrase = Some(passphrase);
        self
    }

    /// What a guess of the passphrase costs; by default what it costs in new slots of the vault.
    #[must_use]
    pub const fn passphrase_parameters(mut self, parameters: PassphraseParameters) -> Self {
        self.parameters = Some(parameters);
        self
    }

    /// Not for the security domain: then nothing proves which vault made the backup, and it restores only with
    /// [`RestoreOptions::accept_unauthenticated`](crate::RestoreOptions::accept_unauthenticated).
    #[must_use]
    pub const fn without_domain(mut self) -> Self {
        self.without_domain = true;
        self
    }

    pub(super) fn wants_domain(&self) -> bool {
        !self.without_domain
    }
}

impl Vault {
    /// Seals a key with all its versions to the vault's security domain: Azure's
    /// [Backup Key](https://learn.microsoft.com/rest/api/keyvault/keys/backup-key/backup-key).
    ///
    /// The blob opens in every vault of the same domain, for ever: deleting or purging the key does
    /// not reach it. It holds no access policies and no retention.
    ///
    /// # Errors
    ///
    /// [`KeyNotFound`](ErrorKind::KeyNotFound); [`TooLarge`](ErrorKind::TooLarge) for a key with more than 500
    /// past versions; [`NotExportable`](ErrorKind::NotExportable) for a version that may not leave its backend;
    /// and the errors of storage.
    pub fn backup_key(&self, name: &KeyName) -> Result<KeyBackup> {
        self.act(Operation::BackupKey, name, |act| {
            act.inner().backup(name, &BackupOptions::new())
        })
    }

    /// As [`Vault::backup_key`], sealed to whom the options say.
    ///
    /// **Blocking:** a passphrase costs its hash.
    ///
    /// # Errors
    ///
    /// As [`Vault::backup_key`]; [`BadParameter`](ErrorKind::BadParameter) when nobody could open the backup, or
    /// there are more than 16 who could; [`KdfCostRefused`](ErrorKind::KdfCostRefused) when there is no memory for the
    /// hash of the passphrase.
    ///
    /// # Examples
    ///
    /// ```
    /// # use strongroom::*;
    /// # let vault = VaultOptions::new().create_in_memory()?;
    /// # let name = KeyName::from_static("signer");
    /// # vault.create_key(&name, CreateKeyOptions::ec(Curve::P256))?;
    /// let safe = RecipientKey::generate()?;
    /// let options = BackupOptions::new().recipient(&safe.recipient());
    /// let backup = vault.backup_key_with(&name, &options)?;
    ///
    /// // A vault of another domain, years later:
    /// let other = VaultOptions::new().create_in_memory()?;
    /// let options = RestoreOptions::new().recipient_key(&safe).accept_unauthenticated(true);
    /// other.restore_key_with(&backup, &options)?;
    /// # Ok::<(), Error>(())
    /// ```
    pub fn backup_key_with(
        &self,
        name: &KeyName,
        options: &BackupOptions<'_>,
    ) -> Result<KeyBackup> {
        self.act(Operation::BackupKeyWith, name, |act| {
            act.inner().backup(name, options)
        })
    }
}

impl Inner {
    fn backup(&self, name: &KeyName, options: &BackupOptions<'_>) -> Result<KeyBackup> {
        let plaintext = self.backup_payload(name)?;
        self.seal_in(
            &self.header.rings(),
            options,
            Modes::KEY,
            plaintext.expose(),
        )
        .map(|sealed| KeyBackup {
            bytes: sealed.bytes,
        })
    }

    /// Seals to whom the options say.
    pub(super) fn seal_in(
        &self,
        rings: &Rings,
        options: &BackupOptions<'_>,
        contents: Modes,
        payload: &[u8],
    ) -> Result<SealedContainer> {
        // A domain file opens without the domain that it brings.
        let wanted = options.wants_domain() && contents != Modes::DOMAIN_FILE;
        let domain = wanted.then_some(Domain {
            id: rings.domain_id,
            ring: &rings.sdk,
        });
        let parameters = options
            .parameters
            .unwrap_or_else(|| self.passphrase_cost.parameters());
        let sealed_for = SealedFor {
            domain,
            recipients: &options.recipients,
            passphrase: options
                .passphrase
                .map(|passphrase| (passphrase, parameters)),
        };
        seal_backup(
            sealed_for,
            contents,
            self.now_ms(),
            payload,
            self.hierarchy.suite(),
            &*self.entropy,
        )
    }

    /// A key in use with all its versions, as it goes into a backup.
    fn backup_payload(&self, name: &KeyName) -> Result<SecretBytes> {
        let payload = self.store.read(|view| {
            let key = self.load_active(view, name)?;
            self.load_payload(view, key)
        })?;
        self.export_payload(payload)
    }

    /// A key with all its versions, as they are stored.
    ///
    /// Errors: `TooLarge`, `NotExportable`, and those of the store.
    pub(super) fn load_payload(&self, view: &View<'_>, key: StoredKey) -> Result<BackupPayload> {
        if key.object.version_count as usize > MAX_BACKUP_VERSIONS {
            return Err(Error::new(
                ErrorKind::TooLarge,
                "a key with more than 500 past versions cannot be backed up",
            ));
        }
        let mut versions = Vec::with_capacity(key.object.version_count as usize);
        for version in self.load_versions(view, &key)? {
            if version.body.hsm && !version.body.backup_allowed {
                return Err(Error::new(
                    ErrorKind::NotExportable,
                    "a version of this key was made without backup_allowed and cannot leave its backend",
                ));
            }
            let count = self.load_gcm_count(view, &key, version.version)?;
            versions.push((version, count));
        }
        let KeyObject {
            name,
            object_id,
            created,
            updated,
            deletion,
            rotation_policy,
            announced: _,
            newest: _,
            version_count: _,
        } = key.object;
        Ok(BackupPayload {
            name,
            object_id,
            created,
            updated,
            deletion,
            rotation_policy,
            versions,
        })
    }

    /// The bytes of a payload, with the material as its backends give it away.
    pub(super) fn export_payload(&self, mut payload: BackupPayload) -> Result<SecretBytes> {
        for (version, _) in &mut payload.versions {
            let body = &version.body;
            let exported = self.backend(&body.backend)?.export(&reference(body))?;
            version.body.blob = exported;
        }
        backup_payload::encode(&payload).map(SecretBytes::from)
    }
}
