//! The vaults and keys that the tests of the rules work with: keys in the token under test.
//!
//! The rules are those of software keys, in `tests/it/rules` of the library's own package, whose module of this
//! name makes software keys. What is different for keys in a token stands in the tests, each with its reason.

use std::sync::Arc;

use hsm_softhsm_tests::{TokenUnderTest, skip};
use strongroom::backend::pkcs11::{KeyKeeping, PinSource, Pkcs11Backend};
use strongroom::{
    CreateKeyOptions, Curve, ImportKeyOptions, ImportedKey, KeyBackup, KeyName, KeyType,
    OctKeySize, Pin, PublicKey, RsaKeySize, Vault, VaultOptions,
};

use crate::backends::options_with;
use crate::support::variable;

/// Whether keys are in hardware, for whose keys a few rules are stricter.
pub(crate) const IN_HARDWARE: bool = true;

/// The name of the backend that has the keys.
pub(crate) const BACKEND: &str = "pkcs11";

/// Says how keys are kept: `wrapped`, else resident.
pub(crate) const KEEPING: &str = "STRONGROOM_TEST_KEEPING";

/// Where the keys of one vault live, however often it is opened, or those of several vaults: a token.
#[derive(Clone, Debug)]
pub(crate) struct Home(Arc<TokenUnderTest>);

impl Home {
    pub(crate) fn new() -> Self {
        Self(Arc::new(TokenUnderTest::get()))
    }

    /// A home of keys that can be backed up and restored, if they were made for it: a token with a domain key. Where
    /// there is none and nobody to make it, says that the test is skipped.
    pub(crate) fn with_backups() -> Option<Self> {
        let home = Self::new();
        home.has_domain_key().then_some(home)
    }

    /// A backup of a key that was made for it, where there can be one; else says that a part of the test is skipped.
    pub(crate) fn backup(&self, vault: &Vault, key: &KeyName) -> Option<KeyBackup> {
        self.has_domain_key()
            .then(|| vault.backup_key(key).unwrap())
    }

    fn has_domain_key(&self) -> bool {
        let backend = self.backend();
        if backend.domain_key().unwrap().is_some() {
            return true;
        }
        let Some(token) = self
            .0
            .own_or_skip("making the domain key that backups need")
        else {
            return false;
        };
        let officer = Pin::new(token.so_pin()).unwrap();
        backend.create_domain_key(&officer).unwrap();
        true
    }

    pub(crate) fn token(&self) -> &TokenUnderTest {
        &self.0
    }

    pub(crate) fn vault_options(&self) -> VaultOptions {
        VaultOptions::new().backend(Arc::new(self.backend()))
    }

    fn backend(&self) -> Pkcs11Backend {
        // Who can ask for the PIN keeps the token: it lasts as long as the last vault that uses it.
        let token = Arc::clone(&self.0);
        let pin = PinSource::callback(move || Ok(Pin::new(token.user_pin()).unwrap()));
        Pkcs11Backend::new(options_with(&self.0, pin).keeping(keeping()))
    }
}

/// How the keys of this run are kept.
pub(crate) fn keeping() -> KeyKeeping {
    if variable(KEEPING).is_some_and(|value| value == "wrapped") {
        KeyKeeping::Wrapped
    } else {
        KeyKeeping::Resident
    }
}

/// For a vault that is opened once.
pub(crate) fn vault_options() -> VaultOptions {
    Home::new().vault_options()
}

pub(crate) fn rsa(size: RsaKeySize) -> CreateKeyOptions {
    CreateKeyOptions::rsa(size).hsm()
}

pub(crate) fn ec(curve: Curve) -> CreateKeyOptions {
    CreateKeyOptions::ec(curve).hsm()
}

pub(crate) fn oct(size: OctKeySize) -> CreateKeyOptions {
    CreateKeyOptions::oct(size).hsm()
}

pub(crate) fn import(key: ImportedKey) -> ImportKeyOptions {
    ImportKeyOptions::new(key).hsm()
}

/// A public key as the vaults here have it, for work without a vault.
pub(crate) fn public_key(key: PublicKey) -> PublicKey {
    key
}

/// The type that keys have here.
pub(crate) fn kty(software: KeyType) -> KeyType {
    match software {
        KeyType::Rsa => KeyType::RsaHsm,
        KeyType::Ec => KeyType::EcHsm,
        KeyType::Oct => KeyType::OctHsm,
        other => panic!("{other} is no type of software keys"),
    }
}

/// `many`, or fewer where keys are slow to make: as here, by milliseconds each.
pub(crate) fn at_most(many: usize, here: usize) -> usize {
    many.min(here)
}

/// Operations per algorithm and direction when compared with another implementation.
pub(crate) const CROSS_CHECKS: usize = 200;

/// Whether keys are in software; else says that the test is skipped, and why.
pub(crate) fn in_software(why_not_elsewhere: &str) -> bool {
    skip(why_not_elsewhere);
    false
}
