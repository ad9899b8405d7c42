//! What operations answer. Every result names the exact version that did the work.

use serde::{Deserialize, Serialize};

use super::algorithm::{EncryptionAlgorithm, SignatureAlgorithm, WrapAlgorithm};
use super::attributes::RecoveryLevel;
use super::base64url;
use super::identifier::KeyIdentifier;
use super::jwk::JsonWebKey;
use super::key::BackendId;
use super::name::KeyName;
use super::release_policy::ReleasePolicy;
use super::short_bytes::ShortBytes;
use super::spec::KeyType;
use super::tags::Tags;
use super::time::Timestamp;
use super::version::KeyVersion;
use crate::secret::SecretBytes;

/// Everything about one key version but its key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeyProperties {
    pub(crate) id: KeyIdentifier,
    pub(crate) key_type: KeyType,
    pub(crate) enabled: bool,
    #[serde(rename = "nbf", default, skip_serializing_if = "Option::is_none")]
    pub(crate) not_before: Option<Timestamp>,
    #[serde(rename = "exp", default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_on: Option<Timestamp>,
    #[serde(rename = "created")]
    pub(crate) created_on: Timestamp,
    #[serde(rename = "updated")]
    pub(crate) updated_on: Timestamp,
    #[serde(rename = "recoverableDays")]
    pub(crate) recoverable_days: u8,
    #[serde(rename = "recoveryLevel")]
    pub(crate) recovery_level: RecoveryLevel,
    pub(crate) tags: Tags,
    #[serde(with = "backend_text")]
    pub(crate) backend: BackendId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) release_policy: Option<ReleasePolicy>,
}

mod backend_text {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::BackendId;

    pub(super) fn serialize<S: Serializer>(
        id: &BackendId,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(id.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BackendId, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl KeyProperties {
    /// The identifier with the exact version.
    #[must_use]
    pub fn id(&self) -> &KeyIdentifier {
        &self.id
    }

    /// The key's name.
    #[must_use]
    pub fn name(&self) -> &KeyName {
        self.id.name()
    }

    /// The version.
    #[must_use]
    pub fn version(&self) -> KeyVersion {
        self.id.version()
    }

    /// The type.
    #[must_use]
    pub fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// Whether cryptographic operations are allowed at all.
    #[must_use]
    pub fn enabled(&self) -> bool {
        self.enabled
    }

    /// The first moment at which the version may encrypt, wrap and sign.
    #[must_use]
    pub fn not_before(&self) -> Option<Timestamp> {
        self.not_before
    }

    /// The first moment at which it may not any more.
    #[must_use]
    pub fn expires_on(&self) -> Option<Timestamp> {
        self.expires_on
    }

    /// When the version was made.
    #[must_use]
    pub fn created_on(&self) -> Timestamp {
        self.created_on
    }

    /// When its properties last changed.
    #[must_use]
    pub fn updated_on(&self) -> Timestamp {
        self.updated_on
    }

    /// Days for which the key can be recovered after a deletion; 0 when soft delete is off.
    #[must_use]
    pub fn recoverable_days(&self) -> u8 {
        self.recoverable_days
    }

    /// What can become of the key after a deletion.
    #[must_use]
    pub fn recovery_level(&self) -> RecoveryLevel {
        self.recovery_level
    }

    /// The tags.
    #[must_use]
    pub fn tags(&self) -> &Tags {
        &self.tags
    }

    /// Whether the version may be released.
    #[must_use]
    pub fn exportable(&self) -> bool {
        self.release_policy.is_some()
    }

    /// To whom an exportable version may be released.
    #[must_use]
    pub fn release_policy(&self) -> Option<&ReleasePolicy> {
        self.release_policy.as_ref()
    }

    /// The backend that holds the key.
    #[must_use]
    pub fn backend(&self) -> &BackendId {
        &self.backend
    }
}

/// A key version: its public part and its properties.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct KeyBundle {
    pub(crate) key: JsonWebKey,
    pub(crate) properties: KeyProperties,
}

impl KeyBundle {
    /// The public part; a symmetric key shows only its type.
    #[must_use]
    pub fn key(&self) -> &JsonWebKey {
        &self.key
    }

    /// The properties.
    #[must_use]
    pub fn properties(&self) -> &KeyProperties {
        &self.properties
    }

    /// The identifier with the exact version.
    #[must_use]
    pub fn id(&self) -> &KeyIdentifier {
        self.properties.id()
    }
}

/// A deleted key that can still be recovered: its newest version and the dates of the deletion.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DeletedKey {
    pub(crate) bundle: KeyBundle,
    pub(crate) deletion: DeletionDates,
}

/// The properties of a deleted key that can still be recovered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DeletedKeyProperties {
    pub(crate) properties: KeyProperties,
    pub(crate) deletion: DeletionDates,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct DeletionDates {
    #[serde(rename = "deletedDate")]
    pub(crate) deleted_on: Timestamp,
    /// `None` when deletion was final at once.
    #[serde(
        rename = "scheduledPurgeDate",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) scheduled_purge: Option<Timestamp>,
}

macro_rules! deletion_getters {
    () => {
        /// When the key was deleted.
        #[must_use]
        pub fn deleted_on(&self) -> Timestamp {
            self.deletion.deleted_on
        }

        /// The moment from which the key is gone; `None` when it is gone already, because the vault
        /// has no soft delete.
        #[must_use]
        pub fn scheduled_purge_date(&self) -> Option<Timestamp> {
            self.deletion.scheduled_purge
        }

        /// `{vault URL}/deletedkeys/{name}`.
        #[must_use]
        pub fn recovery_id(&self) -> String {
            let id = self.properties().id();
            format!("{}/deletedkeys/{}", id.vault_url(), id.name())
        }
    };
}

impl DeletedKey {
    /// The public part of the newest version.
    #[must_use]
    pub fn key(&self) -> &JsonWebKey {
        self.bundle.key()
    }

    /// The properties of the newest version.
    #[must_use]
    pub fn properties(&self) -> &KeyProperties {
        self.bundle.properties()
    }

    deletion_getters!();
}

impl DeletedKeyProperties {
    /// The properties of the newest version.
    #[must_use]
    pub fn properties(&self) -> &KeyProperties {
        &self.properties
    }

    deletion_getters!();
}

/// A signature or MAC.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SignResult {
    #[serde(rename = "kid")]
    pub(crate) key_id: KeyIdentifier,
    #[serde(rename = "alg")]
    pub(crate) algorithm: SignatureAlgorithm,
    #[serde(rename = "value", with = "base64url")]
    pub(crate) signature: Vec<u8>,
}

impl SignResult {
    /// The version that signed.
    #[must_use]
    pub fn key_id(&self) -> &KeyIdentifier {
        &self.key_id
    }

    /// The algorithm.
    #[must_use]
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// The signature: of the modulus length for RSA, `r ‖ s` for ECDSA, the MAC for HMAC.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// The signature, by value.
    #[must_use]
    pub fn into_signature(self) -> Vec<u8> {
        self.signature
    }
}

/// Ciphertext and what decryption needs besides the key and the additional data.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EncryptResult {
    #[serde(rename = "kid")]
    pub(crate) key_id: KeyIdentifier,
    #[serde(rename = "alg")]
    pub(crate) algorithm: EncryptionAlgorithm,
    #[serde(rename = "value", with = "base64url")]
    pub(crate) ciphertext: Vec<u8>,
    #[serde(
        default,
        with = "base64url::short_option",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) iv: Option<ShortBytes>,
    #[serde(
        default,
        with = "base64url::short_option",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) tag: Option<ShortBytes>,
}

impl EncryptResult {
    /// The version that encrypted; decrypt with exactly this one.
    #[must_use]
    pub fn key_id(&self) -> &KeyIdentifier {
        &self.key_id
    }

    /// The algorithm.
    #[must_use]
    pub fn algorithm(&self) -> EncryptionAlgorithm {
        self.algorithm
    }

    /// The ciphertext.
    #[must_use]
    pub fn ciphertext(&self) -> &[u8] {
        &self.ciphertext
    }

    /// The IV: 12 bytes for GCM, 16 for CBC, none for RSA.
    #[must_use]
    pub fn iv(&self) -> Option<&[u8]> {
        self.iv.as_deref()
    }

    /// The tag of 16 bytes: GCM.
    #[must_use]
    pub fn tag(&self) -> Option<&[u8]> {
        self.tag.as_deref()
    }
}

/// A wrapped key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WrapResult {
    #[serde(rename = "kid")]
    pub(crate) key_id: KeyIdentifier,
    #[serde(rename = "alg")]
    pub(crate) algorithm: WrapAlgorithm,
    #[serde(rename = "value", with = "base64url")]
    pub(crate) wrapped_key: Vec<u8>,
}

impl WrapResult {
    /// The version that wrapped; unwrap with exactly this one.
    #[must_use]
    pub fn key_id(&self) -> &KeyIdentifier {
        &self.key_id
    }

    /// The algorithm.
    #[must_use]
    pub fn algorithm(&self) -> WrapAlgorithm {
        self.algorithm
    }

    /// The wrapped key.
    #[must_use]
    pub fn wrapped_key(&self) -> &[u8] {
        &self.wrapped_key
    }
}

/// A fresh symmetric key, in the clear and wrapped: keep the wrapped form with the data, and drop
/// the clear form as soon as the data are encrypted.
#[derive(Debug)]
pub struct DataKey {
    pub(crate) key: SecretBytes,
    pub(crate) wrapped: WrapResult,
}

impl DataKey {
    /// The key in the clear.
    #[must_use]
    pub fn key(&self) -> &SecretBytes {
        &self.key
    }

    /// The key as the vault's key wrapped it.
    #[must_use]
    pub fn wrapped(&self) -> &WrapResult {
        &self.wrapped
    }

    /// Both, by value.
    #[must_use]
    pub fn into_parts(self) -> (SecretBytes, WrapResult) {
        (self.key, self.wrapped)
    }
}
