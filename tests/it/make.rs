//! The vaults and keys that the tests of the rules work with: here keys in software.
//!
//! The tests of hardware tokens and of the other engine run the same rules, each with another module of this name.

use strongroom::{
    CreateKeyOptions, Curve, ImportKeyOptions, ImportedKey, KeyBackup, KeyName, KeyType,
    OctKeySize, PublicKey, RsaKeySize, Vault, VaultOptions,
};

/// Whether keys are in hardware, for whose keys a few rules are stricter.
pub(crate) const IN_HARDWARE: bool = false;

/// The name of the backend that has the keys.
pub(crate) const BACKEND: &str = "software";

/// Where the keys of one vault live, however often it is opened, or those of several vaults.
#[derive(Clone, Debug)]
pub(crate) struct Home;

impl Home {
    pub(crate) fn new() -> Self {
        Self
    }

    /// A home of keys that can be backed up and restored, if they were made for it; where there is none, says that
    /// the test is skipped.
    #[expect(
        clippy::unnecessary_wraps,
        reason = "the tests of hardware tokens have one that gives none"
    )]
    pub(crate) fn with_backups() -> Option<Self> {
        Some(Self)
    }

    /// A backup of a key that was made for it, where there can be one; else says that a part of the test is skipped.
    #[expect(
        clippy::unnecessary_wraps,
        reason = "the tests of hardware tokens have one that gives none"
    )]
    pub(crate) fn backup(&self, vault: &Vault, key: &KeyName) -> Option<KeyBackup> {
        Some(vault.backup_key(key).unwrap())
    }

    pub(crate) fn vault_options(&self) -> VaultOptions {
        VaultOptions::new()
    }
}

/// For a vault that is opened once.
pub(crate) fn vault_options() -> VaultOptions {
    Home::new().vault_options()
}

pub(crate) fn rsa(size: RsaKeySize) -> CreateKeyOptions {
    CreateKeyOptions::rsa(size)
}

pub(crate) fn ec(curve: Curve) -> CreateKeyOptions {
    CreateKeyOptions::ec(curve)
}

pub(crate) fn oct(size: OctKeySize) -> CreateKeyOptions {
    CreateKeyOptions::oct(size)
}

pub(crate) fn import(key: ImportedKey) -> ImportKeyOptions {
    ImportKeyOptions::new(key)
}

/// A public key as the vaults here have it, for work without a vault.
pub(crate) fn public_key(key: PublicKey) -> PublicKey {
    key
}

/// The type that keys have here: `RSA`, or `RSA-HSM`.
pub(crate) fn kty(software: KeyType) -> KeyType {
    software
}

/// `many`, or fewer where keys are slow to make.
pub(crate) fn at_most(many: usize, _here: usize) -> usize {
    many
}

/// Operations per algorithm and direction when compared with another implementation.
pub(crate) const CROSS_CHECKS: usize = 500;

/// Whether keys are in software; else says that the test is skipped, and why.
pub(crate) fn in_software(_why_not_elsewhere: &str) -> bool {
    true
}
