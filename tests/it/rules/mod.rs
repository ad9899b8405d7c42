//! The rules of keys, one file per theme: what an operation answers in which state, and what it changes.

mod authorization;
mod backup_restore;
mod compatibility;
mod concurrency;
mod create_and_import;
mod errors;
mod gcm_counting;
mod lifecycle;
mod limits;
mod listing;
mod names_and_identifiers;
mod passphrase;
pub(crate) mod secrets;
mod time;
mod update;
mod versions_and_rotation;

use strongroom::{
    Ciphertext, EncryptOptions, EncryptResult, EncryptionAlgorithm, KeyName, KeyOperation,
    KeySelector, Result, SignResult, SignatureAlgorithm, Vault, WrapAlgorithm, WrapResult,
};

/// One algorithm of each kind that a key offers.
#[derive(Clone, Copy)]
struct Suite {
    encryption: EncryptionAlgorithm,
    signature: SignatureAlgorithm,
    wrap: WrapAlgorithm,
}

const RSA: Suite = Suite {
    encryption: EncryptionAlgorithm::RsaOaep256,
    signature: SignatureAlgorithm::Rs256,
    wrap: WrapAlgorithm::RsaOaep256,
};

const OCT_256: Suite = Suite {
    encryption: EncryptionAlgorithm::A256Gcm,
    signature: SignatureAlgorithm::Hs256,
    wrap: WrapAlgorithm::A256Kw,
};

/// The six operations that use a key.
const SIX: [KeyOperation; 6] = [
    KeyOperation::Encrypt,
    KeyOperation::Decrypt,
    KeyOperation::Sign,
    KeyOperation::Verify,
    KeyOperation::WrapKey,
    KeyOperation::UnwrapKey,
];

const DIGEST: [u8; 32] = [0x5a; 32];

/// What a version made while it could, for later attempts to read.
struct Made {
    suite: Suite,
    sealed: EncryptResult,
    signed: SignResult,
    wrapped: WrapResult,
}

impl Made {
    fn by(vault: &Vault, key: &KeyName, suite: Suite) -> Self {
        Self {
            suite,
            sealed: vault
                .encrypt(key, suite.encryption, b"text", EncryptOptions::new())
                .unwrap(),
            signed: vault.sign(key, suite.signature, &DIGEST).unwrap(),
            wrapped: vault.wrap_key(key, suite.wrap, &[7; 32]).unwrap(),
        }
    }

    /// Does one operation, and checks that what succeeds is right.
    fn attempt<'a>(
        &self,
        vault: &Vault,
        key: impl Into<KeySelector<'a>>,
        operation: KeyOperation,
    ) -> Result<()> {
        let key = key.into();
        let suite = self.suite;
        match operation {
            KeyOperation::Encrypt => vault
                .encrypt(key, suite.encryption, b"text", EncryptOptions::new())
                .map(drop),
            KeyOperation::Decrypt => vault
                .decrypt(key, suite.encryption, Ciphertext::from(&self.sealed))
                .map(|text| assert_eq!(text.expose(), b"text")),
            KeyOperation::Sign => vault.sign(key, suite.signature, &DIGEST).map(drop),
            KeyOperation::Verify => {
                vault.verify(key, suite.signature, &DIGEST, self.signed.signature())
            }
            KeyOperation::WrapKey => vault.wrap_key(key, suite.wrap, &[7; 32]).map(drop),
            KeyOperation::UnwrapKey => vault
                .unwrap_key(key, suite.wrap, self.wrapped.wrapped_key())
                .map(|key| assert_eq!(key.expose(), [7; 32])),
            other => panic!("{other} does not use a key"),
        }
    }
}
