//! What the caller asks for when a key is made, imported or changed, and when data are encrypted.

use super::attributes::Validity;
use super::key::BackendId;
use super::key_transfer::KeyTransferBlob;
use super::material::ImportedKey;
use super::operation::KeyOperations;
use super::release_policy::ReleasePolicy;
use super::results::EncryptResult;
use super::spec::{Curve, KeySpec, KeyType, OctKeySize, RsaKeySize};
use super::tags::Tags;
use super::time::Timestamp;
use crate::error::Result;

/// Where a new version is to live.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) enum Placement {
    #[default]
    Software,
    FirstHardware,
    Named(BackendId),
}

/// What creating and importing have in common.
#[derive(Debug)]
pub(crate) struct VersionOptions {
    pub(crate) placement: Placement,
    pub(crate) operations: Option<KeyOperations>,
    pub(crate) enabled: bool,
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) expires_on: Option<Timestamp>,
    pub(crate) tags: Result<Tags>,
    pub(crate) backup_allowed: bool,
    pub(crate) type_change_allowed: bool,
    pub(crate) exportable: bool,
    pub(crate) release_policy: Option<ReleasePolicy>,
}

impl Default for VersionOptions {
    fn default() -> Self {
        Self {
            placement: Placement::default(),
            operations: None,
            enabled: true,
            not_before: None,
            expires_on: None,
            tags: Ok(Tags::new()),
            backup_allowed: false,
            type_change_allowed: false,
            exportable: false,
            release_policy: None,
        }
    }
}

impl VersionOptions {
    pub(crate) fn validity(&self) -> Result<Validity> {
        Validity::new(self.not_before, self.expires_on)
    }

    fn tag(&mut self, name: String, value: String) {
        if let Ok(tags) = &mut self.tags
            && let Err(error) = tags.insert(name, value)
        {
            self.tags = Err(error);
        }
    }
}

/// The setters that creating and importing share.
macro_rules! version_setters {
    () => {
        /// In the first hardware backend of the vault: an `-HSM` key.
        #[must_use]
        pub fn hsm(mut self) -> Self {
            self.common.placement = Placement::FirstHardware;
            self
        }

        /// In the backend of this name.
        #[must_use]
        pub fn backend(mut self, id: &BackendId) -> Self {
            self.common.placement = Placement::Named(id.clone());
            self
        }

        /// The permitted operations: `key_ops`. Without this call the key gets the defaults of its
        /// type; an empty set is refused.
        #[must_use]
        pub fn operations(mut self, operations: impl Into<KeyOperations>) -> Self {
            self.common.operations = Some(operations.into());
            self
        }

        /// Whether the version may be used at once; it may, by default.
        #[must_use]
        pub fn enabled(mut self, enabled: bool) -> Self {
            self.common.enabled = enabled;
            self
        }

        /// The first moment at which the version may encrypt, wrap and sign.
        #[must_use]
        pub fn not_before(mut self, not_before: Timestamp) -> Self {
            self.common.not_before = Some(not_before);
            self
        }

        /// The first moment at which the version may no longer encrypt, wrap and sign. It still
        /// decrypts, unwraps and verifies.
        #[must_use]
        pub fn expires_on(mut self, expires_on: Timestamp) -> Self {
            self.common.expires_on = Some(expires_on);
            self
        }

        /// Adds one tag. A tag outside the limits of [`Tags`] is refused when the key is made.
        #[must_use]
        pub fn tag(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
            self.common.tag(name.into(), value.into());
            self
        }

        /// Replaces all tags.
        #[must_use]
        pub fn tags(mut self, tags: Tags) -> Self {
            self.common.tags = Ok(tags);
            self
        }

        /// Lets a hardware backend keep the key in a form that backups can carry. Software keys can
        /// always be backed up.
        #[must_use]
        pub fn backup_allowed(mut self) -> Self {
            self.common.backup_allowed = true;
            self
        }

        /// Lets the key be released to environments that meet its [release policy](Self::release_policy), which it
        /// needs; a new version of an exportable key gets that of the newest one if none is given. Only backends that
        /// can release keys make such keys: software does, tokens do not yet. Without
        /// [`operations`](Self::operations), `export` is added to the defaults.
        #[must_use]
        pub fn exportable(mut self) -> Self {
            self.common.exportable = true;
            self
        }

        /// Who may get an exportable key.
        #[must_use]
        pub fn release_policy(mut self, policy: ReleasePolicy) -> Self {
            self.common.release_policy = Some(policy);
            self
        }

        /// Permits the new version to be of another family (RSA, EC, oct) than the newest one under
        /// the name, which is refused otherwise.
        #[must_use]
        pub fn allow_type_change(mut self) -> Self {
            self.common.type_change_allowed = true;
            self
        }
    };
}

/// What [`Vault::create_key`](crate::Vault::create_key) makes.
#[derive(Debug)]
pub struct CreateKeyOptions {
    pub(crate) spec: KeySpec,
    pub(crate) public_exponent: Option<u64>,
    pub(crate) common: VersionOptions,
}

impl CreateKeyOptions {
    /// An RSA key.
    #[must_use]
    pub fn rsa(size: RsaKeySize) -> Self {
        Self::new(KeySpec::Rsa(size))
    }

    /// An elliptic curve key.
    #[must_use]
    pub fn ec(curve: Curve) -> Self {
        Self::new(KeySpec::Ec(curve))
    }

    /// A symmetric key. By default it encrypts and wraps; for HMAC ask for the operations `sign` and
    /// `verify`. One key for both is possible when both are asked for.
    #[must_use]
    pub fn oct(size: OctKeySize) -> Self {
        Self::new(KeySpec::Oct(size.into()))
    }

    fn new(spec: KeySpec) -> Self {
        Self {
            spec,
            public_exponent: None,
            common: VersionOptions::default(),
        }
    }

    /// The public exponent of an RSA key: odd, from 65537, below 2^33. Without this call 65537.
    #[must_use]
    pub fn public_exponent(mut self, exponent: u64) -> Self {
        self.public_exponent = Some(exponent);
        self
    }

    version_setters!();
}

/// What [`Vault::import_key`](crate::Vault::import_key) stores.
#[derive(Debug)]
pub struct ImportKeyOptions {
    pub(crate) key: ImportedKey,
    pub(crate) common: VersionOptions,
}

impl ImportKeyOptions {
    /// This key, which the vault validates completely before it stores it.
    ///
    /// `key_ops` and an `-HSM` type of a JWK count as [`operations`](Self::operations) and
    /// [`hsm`](Self::hsm), which override them.
    #[must_use]
    pub fn new(key: ImportedKey) -> Self {
        let placement = if key.hsm {
            Placement::FirstHardware
        } else {
            Placement::Software
        };
        let common = VersionOptions {
            placement,
            operations: key.operations,
            ..VersionOptions::default()
        };
        Self { key, common }
    }

    version_setters!();
}

/// What [`Vault::import_transferred_key`](crate::Vault::import_transferred_key) stores.
#[derive(Debug)]
pub struct ImportTransferredKeyOptions {
    pub(crate) key_type: KeyType,
    pub(crate) curve: Option<Curve>,
    pub(crate) blob: KeyTransferBlob,
    pub(crate) common: VersionOptions,
}

impl ImportTransferredKeyOptions {
    /// The key in this blob, which is of this type; an `-HSM` type counts as [`hsm`](Self::hsm).
    #[must_use]
    pub fn new(key_type: KeyType, blob: KeyTransferBlob) -> Self {
        let placement = if key_type.is_hsm() {
            Placement::FirstHardware
        } else {
            Placement::Software
        };
        Self {
            key_type,
            curve: None,
            blob,
            common: VersionOptions {
                placement,
                ..VersionOptions::default()
            },
        }
    }

    /// The curve that the key in the blob must have; without this call, any.
    #[must_use]
    pub fn curve(mut self, curve: Curve) -> Self {
        self.curve = Some(curve);
        self
    }

    version_setters!();
}

/// Keep, set or clear.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) enum Patch<T> {
    #[default]
    Keep,
    Set(T),
    Clear,
}

impl<T> Patch<T> {
    /// The value afterwards.
    pub(crate) fn apply(self, current: Option<T>) -> Option<T> {
        match self {
            Self::Keep => current,
            Self::Set(value) => Some(value),
            Self::Clear => None,
        }
    }
}

/// What [`Vault::update_key_properties`](crate::Vault::update_key_properties) changes; what is not
/// named stays.
///
/// # Examples
///
/// ```
/// use strongroom::{Timestamp, UpdateKeyOptions};
///
/// let update = UpdateKeyOptions::new()
///     .enabled(false)
///     .expires_on(Timestamp::from_unix_seconds(1_900_000_000))
///     .clear_not_before();
/// # let _ = update;
/// ```
#[derive(Debug, Default)]
pub struct UpdateKeyOptions {
    pub(crate) enabled: Option<bool>,
    pub(crate) operations: Option<KeyOperations>,
    pub(crate) not_before: Patch<Timestamp>,
    pub(crate) expires_on: Patch<Timestamp>,
    pub(crate) tags: Patch<Tags>,
    pub(crate) release_policy: Option<ReleasePolicy>,
    /// What the version is, in the words of whoever sends its attributes back.
    pub(crate) exportable: Option<bool>,
}

impl UpdateKeyOptions {
    /// Nothing changes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Enables or disables the version.
    #[must_use]
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = Some(enabled);
        self
    }

    /// Replaces `key_ops`; an empty set is refused.
    #[must_use]
    pub fn operations(mut self, operations: impl Into<KeyOperations>) -> Self {
        self.operations = Some(operations.into());
        self
    }

    /// Sets the first moment at which the version may encrypt, wrap and sign.
    #[must_use]
    pub fn not_before(mut self, not_before: Timestamp) -> Self {
        self.not_before = Patch::Set(not_before);
        self
    }

    /// Removes the not-before time.
    #[must_use]
    pub fn clear_not_before(mut self) -> Self {
        self.not_before = Patch::Clear;
        self
    }

    /// Sets the first moment at which the version may no longer encrypt, wrap and sign.
    #[must_use]
    pub fn expires_on(mut self, expires_on: Timestamp) -> Self {
        self.expires_on = Patch::Set(expires_on);
        self
    }

    /// Removes the expiry.
    #[must_use]
    pub fn clear_expires_on(mut self) -> Self {
        self.expires_on = Patch::Clear;
        self
    }

    /// Replaces all tags.
    #[must_use]
    pub fn tags(mut self, tags: Tags) -> Self {
        self.tags = Patch::Set(tags);
        self
    }

    /// Replaces the release policy of an exportable version, unless it is immutable.
    #[must_use]
    pub fn release_policy(mut self, policy: ReleasePolicy) -> Self {
        self.release_policy = Some(policy);
        self
    }

    /// What the version must be already: no update changes it.
    #[cfg(feature = "rest")]
    pub(crate) fn exportable(mut self, exportable: bool) -> Self {
        self.exportable = Some(exportable);
        self
    }

    /// Removes all tags.
    #[must_use]
    pub fn clear_tags(mut self) -> Self {
        self.tags = Patch::Clear;
        self
    }
}

/// Parameters of [`Vault::encrypt`](crate::Vault::encrypt).
#[derive(Clone, Copy, Debug, Default)]
pub struct EncryptOptions<'a> {
    pub(crate) aad: &'a [u8],
    pub(crate) iv: Option<&'a [u8]>,
}

impl<'a> EncryptOptions<'a> {
    /// No additional data; the IV is made by the library.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Additional authenticated data, up to 64 KiB: A128GCM, A192GCM and A256GCM only.
    #[must_use]
    pub fn aad(mut self, aad: &'a [u8]) -> Self {
        self.aad = aad;
        self
    }

    /// The IV of 16 bytes for CBC and CBCPAD; without it one is made. GCM IVs are always the
    /// library's.
    #[must_use]
    pub fn iv(mut self, iv: &'a [u8]) -> Self {
        self.iv = Some(iv);
        self
    }
}

/// What [`Vault::decrypt`](crate::Vault::decrypt) takes: the ciphertext and, for AES, what belongs to it.
#[derive(Clone, Copy, Debug)]
pub struct Ciphertext<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) iv: &'a [u8],
    pub(crate) aad: &'a [u8],
    pub(crate) tag: &'a [u8],
}

impl<'a> Ciphertext<'a> {
    /// The ciphertext alone.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            iv: &[],
            aad: &[],
            tag: &[],
        }
    }

    /// The IV: 12 bytes for GCM, 16 for CBC.
    #[must_use]
    pub fn iv(mut self, iv: &'a [u8]) -> Self {
        self.iv = iv;
        self
    }

    /// The additional data that were authenticated.
    #[must_use]
    pub fn aad(mut self, aad: &'a [u8]) -> Self {
        self.aad = aad;
        self
    }

    /// The tag of 16 bytes: GCM.
    #[must_use]
    pub fn tag(mut self, tag: &'a [u8]) -> Self {
        self.tag = tag;
        self
    }
}

impl<'a> From<&'a EncryptResult> for Ciphertext<'a> {
    /// Ciphertext, IV and tag; additional data are not part of the result and are to be added.
    fn from(result: &'a EncryptResult) -> Self {
        Self::new(result.ciphertext())
            .iv(result.iv().unwrap_or_default())
            .tag(result.tag().unwrap_or_default())
    }
}
