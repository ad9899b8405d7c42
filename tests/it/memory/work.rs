//! What the child process does with the vaults.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use strongroom::backend::testing::refuse_protected_memory;
use strongroom::{
    AuditOptions, AuditReads, Ciphertext, CreateKeyOptions, Curve, EncryptOptions,
    EncryptionAlgorithm, ImportKeyOptions, ImportedKey, MasterKey, MemoryProtection, Passphrase,
    PassphraseParameters, RecipientKey, SecretBytes, Shredding, SignatureAlgorithm, Unlock, Vault,
    VaultOptions, WrapAlgorithm,
};

use super::known::{CURVES, PASSING, PASSPHRASE_LENGTH};
use super::phase;
use crate::support::name;

/// In the child: opens both vaults as the job says.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) raw: Vault,
    pub(super) pass: Vault,
    _master: MasterKey,
    _passphrase: Passphrase,
}

pub(super) fn open_both(job: &str) -> Opened {
    let (protection, base) = job.split_once(' ').unwrap();
    let base = PathBuf::from(base);
    let protection = protect(protection);
    let mut master = zeroize::Zeroizing::new([0; 32]);
    read_into(&base.join("master"), &mut *master);
    let mut text = zeroize::Zeroizing::new([0; PASSPHRASE_LENGTH]);
    read_into(&base.join("passphrase"), &mut *text);
    let master = MasterKey::from_bytes(&*master).unwrap();
    let passphrase = Passphrase::new(std::str::from_utf8(&*text).unwrap()).unwrap();
    let options = || {
        let parameters = PassphraseParameters::new(19_456, 1, 1).unwrap();
        VaultOptions::new()
            .memory_protection(protection)
            .passphrase_parameters(parameters)
    };
    Opened {
        raw: options()
            .open(base.join("raw"), Unlock::raw_key(&master))
            .unwrap(),
        pass: options()
            .open(base.join("pass"), Unlock::passphrase(&passphrase))
            .unwrap(),
        _master: master,
        _passphrase: passphrase,
    }
}

/// As the job says; first of all in a child.
pub(super) fn protect(protection: &str) -> MemoryProtection {
    match protection {
        "full" => MemoryProtection::Full,
        "standard" => MemoryProtection::Standard,
        _ => {
            refuse_protected_memory().unwrap();
            MemoryProtection::Standard
        }
    }
}

pub(super) fn read_into(path: &Path, bytes: &mut [u8]) {
    fs::File::open(path).unwrap().read_exact(bytes).unwrap();
}

/// Every kind of operation with every key.
pub(super) fn operate(vault: &Vault) {
    use EncryptionAlgorithm as E;
    use SignatureAlgorithm as S;
    // First, because it takes the key out of the cache.
    vault
        .update_key_properties(
            &name("ec-p256"),
            strongroom::UpdateKeyOptions::new().enabled(true),
        )
        .unwrap();
    for label in ["rsa-2048", "rsa-4096"] {
        let key = name(label);
        for algorithm in [S::Rs256, S::Ps384] {
            let signed = vault.sign_data(&key, algorithm, b"data").unwrap();
            vault
                .verify_data(&key, algorithm, b"data", signed.signature())
                .unwrap();
        }
        for algorithm in [E::RsaOaep256, E::Rsa1_5] {
            let sealed = vault
                .encrypt(&key, algorithm, b"text", EncryptOptions::new())
                .unwrap();
            vault
                .decrypt(&key, algorithm, Ciphertext::from(&sealed))
                .unwrap();
        }
        let wrapped = vault
            .wrap_key(&key, WrapAlgorithm::RsaOaep, &[5; 32])
            .unwrap();
        vault
            .unwrap_key(&key, WrapAlgorithm::RsaOaep, wrapped.wrapped_key())
            .unwrap();
    }
    for ((_, label), algorithm) in CURVES.iter().zip([S::Es256, S::Es384, S::Es512, S::Es256K]) {
        vault.sign_data(&name(label), algorithm, b"data").unwrap();
    }
    operate_symmetric(vault);
    let tag = vault
        .sign_data(&name("oct-512"), S::Hs512, b"data")
        .unwrap();
    vault
        .verify_data(&name("oct-512"), S::Hs512, b"data", tag.signature())
        .unwrap();
    assert!(vault.list_key_properties().count() > 8);
    vault.get_key(&name("rsa-2048")).unwrap();
    vault.backup_key(&name("rsa-4096")).unwrap();
}

pub(super) fn operate_symmetric(vault: &Vault) {
    use EncryptionAlgorithm as E;
    let key = name("oct-256");
    for algorithm in [E::A256Gcm, E::A256CbcPad] {
        let sealed = vault
            .encrypt(&key, algorithm, b"text", EncryptOptions::new())
            .unwrap();
        vault
            .decrypt(&key, algorithm, Ciphertext::from(&sealed))
            .unwrap();
    }
    let wrapped = vault
        .wrap_key(&key, WrapAlgorithm::A256Kw, &[5; 32])
        .unwrap();
    vault
        .unwrap_key(&key, WrapAlgorithm::A256Kw, wrapped.wrapped_key())
        .unwrap();
}

/// Whatever changes keys, the ways to unlock the vault, or its own keys.
pub(super) fn change(vault: &Vault, master: &MasterKey, base: &Path) {
    let sign = |key: &str| {
        vault
            .sign_data(&name(key), SignatureAlgorithm::Es256, b"data")
            .unwrap();
    };
    vault
        .set_audit_options(AuditOptions::on().reads(AuditReads::All))
        .unwrap();
    vault
        .create_key(&name("made"), CreateKeyOptions::ec(Curve::P256))
        .unwrap();
    sign("made");
    vault.rotate_key(&name("made")).unwrap();
    sign("made");
    let passing = |(file, length): (&str, usize)| {
        let mut bytes = zeroize::Zeroizing::new(vec![0; length]);
        read_into(&base.join(file), &mut bytes);
        bytes
    };
    let [recipient, passphrase, brought] = PASSING.map(passing);
    let brought = ImportedKey::oct(SecretBytes::from(brought));
    vault
        .import_key(&name("brought"), ImportKeyOptions::new(brought))
        .unwrap();
    sign("purged");
    vault.delete_key(&name("purged")).unwrap();
    let shredding = vault.purge_deleted_key(&name("purged")).unwrap();
    assert_eq!(shredding, Shredding::Done);
    vault.rotate_kek().unwrap();
    let recipient = RecipientKey::from_bytes(&recipient).unwrap();
    let passphrase = Passphrase::new(std::str::from_utf8(&passphrase).unwrap()).unwrap();
    let current = Unlock::raw_key(master);
    let slot = vault
        .add_unlock_slot(current, Unlock::passphrase(&passphrase))
        .unwrap();
    let slot = vault
        .replace_unlock_slot(
            Unlock::passphrase(&passphrase),
            slot,
            Unlock::recipient(&recipient),
        )
        .unwrap();
    let third = vault
        .add_unlock_slot(Unlock::recipient(&recipient), current)
        .unwrap();
    vault.remove_unlock_slot(third).unwrap();
    vault.remove_unlock_slot(slot).unwrap();
    let checkpoint = vault.audit_checkpoint().unwrap();
    assert!(vault.verify_audit_since(&checkpoint).unwrap().is_intact());
    vault.export_audit(std::io::sink()).unwrap();
    assert!(vault.check().unwrap().is_clean());
}

/// In the child: opens, works, waits; locks, waits.
pub(super) fn work_and_wait(job: &str) {
    let opened = open_both(job);
    let bound = opened.raw.key(&name("ec-p256")).unwrap();
    phase("opened");
    operate(&opened.raw);
    operate_symmetric(&opened.pass);
    let base = job.split_once(' ').unwrap().1;
    change(&opened.raw, &opened._master, base.as_ref());
    operate(&opened.raw);
    operate_symmetric(&opened.pass);
    opened
        .raw
        .sign_data(&name("made"), SignatureAlgorithm::Es256, b"data")
        .unwrap();
    phase("between operations");
    opened.raw.lock().unwrap();
    opened.pass.lock().unwrap();
    phase("locked");
    drop(bound);
}
