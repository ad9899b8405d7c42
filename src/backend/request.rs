//! What the vault tells a backend about a key, and what it gets back.

use crate::model::key::{KeyBlob, KeyTag, VaultLabel};
use crate::model::material::PublicParts;
use crate::model::operation::KeyOperations;
use crate::model::spec::KeySpec;
use crate::secret::SecretBytes;

/// What a backend is asked to make or take in.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct KeyRequest<'a> {
    /// The name of the key towards the backend.
    pub tag: KeyTag,
    /// What kind of key.
    pub spec: KeySpec,
    /// The public exponent of a generated RSA key; `None` means 65537.
    pub public_exponent: Option<u64>,
    /// What the key is to do.
    pub operations: KeyOperations,
    /// Whether backups may carry the key.
    pub backup_allowed: bool,
    /// Whether the key may be released to other environments.
    pub exportable: bool,
    /// The vault's part of the labels in a device's own listings.
    pub label: &'a VaultLabel,
}

impl<'a> KeyRequest<'a> {
    /// A request without an exponent of its own, not for backups.
    #[must_use]
    pub fn new(
        tag: KeyTag,
        spec: KeySpec,
        operations: KeyOperations,
        label: &'a VaultLabel,
    ) -> Self {
        Self {
            tag,
            spec,
            public_exponent: None,
            operations,
            backup_allowed: false,
            exportable: false,
            label,
        }
    }

    /// The public exponent of a generated RSA key.
    #[must_use]
    pub fn with_public_exponent(mut self, exponent: Option<u64>) -> Self {
        self.public_exponent = exponent;
        self
    }

    /// Whether backups may carry the key.
    #[must_use]
    pub fn with_backup_allowed(mut self, allowed: bool) -> Self {
        self.backup_allowed = allowed;
        self
    }

    /// Whether the key may be released to other environments.
    #[must_use]
    pub fn with_exportable(mut self, exportable: bool) -> Self {
        self.exportable = exportable;
        self
    }
}

/// A key version that exists, as the vault's records describe it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct KeyReference<'a> {
    /// The name of the key towards the backend.
    pub tag: KeyTag,
    /// What kind of key.
    pub spec: KeySpec,
    /// The public part of an asymmetric key.
    pub public: Option<&'a PublicParts>,
    /// What the backend wanted to find again.
    pub blob: &'a KeyBlob,
    /// 32 random bytes of each RSA version: the secret of implicit rejection where the backend only does the
    /// raw private-key operation.
    pub rejection_secret: Option<&'a SecretBytes>,
}

impl<'a> KeyReference<'a> {
    /// Without public part and rejection secret.
    #[must_use]
    pub fn new(tag: KeyTag, spec: KeySpec, blob: &'a KeyBlob) -> Self {
        Self {
            tag,
            spec,
            public: None,
            blob,
            rejection_secret: None,
        }
    }

    /// The public part of an asymmetric key.
    #[must_use]
    pub fn with_public(mut self, public: Option<&'a PublicParts>) -> Self {
        self.public = public;
        self
    }

    /// The secret of implicit rejection of an RSA key.
    #[must_use]
    pub fn with_rejection_secret(mut self, secret: Option<&'a SecretBytes>) -> Self {
        self.rejection_secret = secret;
        self
    }
}

/// What [`KeyBackend::abandon`](super::KeyBackend::abandon) found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Abandoned {
    /// There is nothing, or nothing any more.
    NothingLeft,
    /// The key is confirmed and was not touched.
    Confirmed,
}

/// One key that a backend holds, see [`KeyBackend::inventory`](super::KeyBackend::inventory).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldKey {
    tag: Option<KeyTag>,
    provisional: bool,
    description: String,
}

impl HeldKey {
    /// A key; `description` tells a person what it is, without key names or secrets.
    #[must_use]
    pub fn new(tag: Option<KeyTag>, provisional: bool, description: impl Into<String>) -> Self {
        Self {
            tag,
            provisional,
            description: description.into(),
        }
    }

    /// The tag; `None` for an object that has none, as an interrupted generation can leave it.
    #[must_use]
    pub fn tag(&self) -> Option<KeyTag> {
        self.tag
    }

    /// Whether it was never confirmed.
    #[must_use]
    pub fn is_provisional(&self) -> bool {
        self.provisional
    }

    /// What it is.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }
}

/// A key that a backend made or took in.
#[derive(Debug)]
pub struct NewKey {
    blob: KeyBlob,
    public: Option<PublicParts>,
}

impl NewKey {
    /// What the backend wants to find again, and the public part of an asymmetric key.
    #[must_use]
    pub fn new(blob: KeyBlob, public: Option<PublicParts>) -> Self {
        Self { blob, public }
    }

    /// Both, by value.
    #[must_use]
    pub fn into_parts(self) -> (KeyBlob, Option<PublicParts>) {
        (self.blob, self.public)
    }
}
