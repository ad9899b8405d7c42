//! A key and its versions as the vault keeps them, and the names that backends give them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use super::attributes::Validity;
use super::material::PublicParts;
use super::name::KeyName;
use super::operation::KeyOperations;
use super::release_policy::ReleasePolicy;
use super::rotation_policy::{RotationPolicy, StoredRotationPolicy};
use super::spec::KeySpec;
use super::tags::Tags;
use super::time::Timestamp;
use super::version::KeyVersion;
use crate::env::Entropy;
use crate::error::{Error, Result};
use crate::secret::SecretBytes;

/// 16 random bytes that name one key version towards its backend, for example as `CKA_ID`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyTag {
    bytes: [u8; 16],
}

impl KeyTag {
    /// From the 16 bytes that [`KeyTag::as_bytes`] gave.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self { bytes }
    }

    pub(crate) fn random(entropy: &dyn Entropy) -> Result<Self> {
        let mut bytes = [0; 16];
        entropy.fill(&mut bytes)?;
        Ok(Self { bytes })
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.bytes
    }
}

impl fmt::Display for KeyTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyTag({self})")
    }
}

/// The first eight bytes of a vault's id, as objects in devices are labelled with:
/// `strongroom/<16 hexadecimal characters>`, followed by `/` and the tag of the key. Never a key's name.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct VaultLabel {
    bytes: [u8; 8],
}

impl VaultLabel {
    /// From eight bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self { bytes }
    }

    /// The label of one key: `strongroom/<vault>/<tag>`.
    #[must_use]
    pub fn of_key(&self, tag: KeyTag) -> String {
        format!("{self}/{tag}")
    }
}

impl fmt::Display for VaultLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("strongroom/")?;
        self.bytes
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for VaultLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VaultLabel({self})")
    }
}

/// What a backend wants to find again when it opens a key: wrapped or plain key material, a handle,
/// a URL. The vault stores it sealed and reads nothing in it.
pub struct KeyBlob {
    bytes: SecretBytes,
}

impl KeyBlob {
    /// The longest blob, in bytes.
    pub const MAX_LENGTH: usize = 32_768;

    /// Takes the bytes over.
    #[must_use]
    pub fn new(bytes: SecretBytes) -> Self {
        Self { bytes }
    }

    /// The bytes, for the backend that made them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.bytes.expose()
    }
}

impl fmt::Debug for KeyBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyBlob({} bytes)", self.bytes.len())
    }
}

/// The name of a backend, stable across restarts and stored with each key: 1 to 64 of the
/// characters `0-9 a-z A-Z - . : _`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct BackendId {
    text: Cow<'static, str>,
}

impl BackendId {
    /// The longest name, in characters.
    pub const MAX_LENGTH: usize = 64;

    /// For the constants of this crate, which are legal.
    pub(crate) const fn from_static(text: &'static str) -> Self {
        Self {
            text: Cow::Borrowed(text),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for BackendId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let legal = !text.is_empty()
            && text.len() <= Self::MAX_LENGTH
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-.:_".contains(&byte));
        if legal {
            Ok(Self {
                text: Cow::Owned(text.to_owned()),
            })
        } else {
            Err(Error::bad_parameter(
                "a backend id is 1 to 64 of the characters 0-9, a-z, A-Z, -, ., : and _",
            ))
        }
    }
}

impl fmt::Display for BackendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Which device a backend is connected to, in 1 to 32 bytes of the backend's choice: the same for one device after every
/// restart, and another for another device. Printable ones are shown as they are, so a serial number is a good choice.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendInstance {
    bytes: Vec<u8>,
}

impl BackendInstance {
    /// The longest, in bytes.
    pub const MAX_LENGTH: usize = 32;

    /// From 1 to 32 bytes; `None` for others.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (1..=Self::MAX_LENGTH).contains(&bytes.len()).then(|| Self {
            bytes: bytes.to_vec(),
        })
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Display for BackendInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(&self.bytes) {
            Ok(text) if self.bytes.iter().all(u8::is_ascii_graphic) => f.write_str(text),
            _ => self
                .bytes
                .iter()
                .try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

impl fmt::Debug for BackendInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BackendInstance({self})")
    }
}

/// Where the material of a version came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    Generated,
    Imported,
}

/// A key: what all its versions share.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct KeyObject {
    pub(crate) name: KeyName,
    /// Random; survives backup and restore.
    pub(crate) object_id: [u8; 16],
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
    pub(crate) newest: KeyVersion,
    pub(crate) version_count: u32,
    pub(crate) deletion: Option<Deletion>,
    /// Absent as long as nobody set one.
    pub(crate) rotation_policy: Option<StoredRotationPolicy>,
    /// The version whose near expiry was announced.
    pub(crate) announced: Option<KeyVersion>,
}

impl KeyObject {
    /// What was set, or else the policy of every key.
    pub(crate) fn rotation_policy(&self) -> RotationPolicy {
        self.rotation_policy
            .map_or_else(RotationPolicy::new, |stored| stored.policy)
    }
}

/// The deletion of a key that can still be recovered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Deletion {
    pub(crate) deleted: Timestamp,
    /// From this moment on the key is gone.
    pub(crate) scheduled_purge: Timestamp,
}

/// One version of a key.
#[derive(Debug)]
pub(crate) struct VersionRecord {
    pub(crate) version: KeyVersion,
    /// Position among the versions of the key, from 1: creation times have only whole seconds.
    pub(crate) ordinal: u32,
    pub(crate) attributes: VersionAttributes,
    pub(crate) body: VersionBody,
}

/// What an update may change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct VersionAttributes {
    pub(crate) enabled: bool,
    pub(crate) validity: Validity,
    pub(crate) operations: KeyOperations,
    pub(crate) tags: Tags,
    /// Exportable versions have one, and no others.
    pub(crate) release_policy: Option<ReleasePolicy>,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
}

/// What never changes.
#[derive(Debug)]
pub(crate) struct VersionBody {
    pub(crate) tag: KeyTag,
    pub(crate) spec: KeySpec,
    pub(crate) hsm: bool,
    pub(crate) backend: BackendId,
    pub(crate) origin: Origin,
    pub(crate) backup_allowed: bool,
    pub(crate) public: Option<PublicParts>,
    pub(crate) blob: KeyBlob,
    /// 32 random bytes for RSA: the secret of implicit rejection where a token decrypts.
    pub(crate) rejection_secret: Option<SecretBytes>,
}
