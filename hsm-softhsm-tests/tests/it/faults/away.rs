//! A token that is pulled out and put back: private operations fail as unavailable, public ones go on, nothing is
//! deleted meanwhile, and nothing has to be reopened.

use std::time::Duration;

use hsm_softhsm_tests::SoftHsm;
use strongroom::{
    BackendFindingKind, CreateKeyOptions, EncryptionAlgorithm, ErrorKind, MaintenanceOptions,
    OctKeySize, RsaKeySize, Vault,
};

use super::{
    Bench, eventually, fails, kinds, labels, name, settled, sign, signer, verifies, versions,
    within, works,
};

/// How a token goes away and comes back.
struct Way {
    away: fn(&Bench),
    back: fn(&Bench),
}

#[test]
fn a_token_that_is_away_is_unavailable_and_works_again_when_it_is_back() {
    go_and_return(&Way {
        away: |bench| bench.token.move_away(),
        back: |bench| bench.token.move_back(),
    });
}

/// Then SoftHSM2 cannot even be initialized.
#[test]
fn a_module_that_lost_all_its_tokens_works_again_when_they_are_back() {
    go_and_return(&Way {
        away: |bench| softhsm(bench).move_away(),
        back: |bench| softhsm(bench).move_back(),
    });
}

fn softhsm(bench: &Bench) -> &SoftHsm {
    bench.proxy.softhsm()
}

fn go_and_return(way: &Way) {
    within(Duration::from_secs(120), || {
        let bench = Bench::new();
        let vault = bench.vault();
        let (key, gone, rsa, aes) = (name("key"), name("gone"), name("rsa"), name("aes"));
        vault.create_key(&key, signer()).unwrap();
        vault.create_key(&gone, signer()).unwrap();
        let options = CreateKeyOptions::rsa(RsaKeySize::Bits2048).hsm();
        vault.create_key(&rsa, options).unwrap();
        let options = CreateKeyOptions::oct(OctKeySize::Bits256).hsm();
        vault.create_key(&aes, options).unwrap();
        let signature = sign(&vault, &key).unwrap();
        let held = labels(&bench.token).len();

        (way.away)(&bench);
        for _ in 0..3 {
            is_away(&vault);
            verifies(&vault, &key, &signature);
            let oaep = EncryptionAlgorithm::RsaOaep256;
            let sealed = vault.encrypt(&rsa, oaep, b"text", Default::default());
            assert!(!sealed.unwrap().ciphertext().is_empty());
            assert_eq!(vault.list_key_properties().count(), 4);
            assert_eq!(vault.get_key(&key).unwrap().properties().name(), &key);
            let findings = vault.reconcile_backends().unwrap();
            assert_eq!(kinds(&findings), [BackendFindingKind::Unavailable]);
            let check = vault.check().unwrap();
            assert!(check.is_sound() && !check.is_clean());
            std::thread::sleep(Duration::from_millis(150));
        }
        // What is purged meanwhile waits.
        vault.delete_key(&gone).unwrap();
        vault.purge_deleted_key(&gone).unwrap();
        let report = vault.maintain(MaintenanceOptions::new()).unwrap();
        assert_eq!((report.settled(), report.unsettled()), (0, 1));
        assert_eq!(versions(&vault), 3);
        vault.close().unwrap();

        // Opening meanwhile deletes nothing and says what it could not do.
        let vault = bench.vault();
        let findings = vault.open_report().unwrap().backend_findings();
        assert_eq!(kinds(findings), [BackendFindingKind::Unavailable]);
        assert!(findings[0].message().contains("cannot be asked"));
        is_away(&vault);
        verifies(&vault, &key, &signature);
        assert_eq!(versions(&vault), 3);

        (way.back)(&bench);
        eventually(|| sign(&vault, &key));
        works(&vault, &key);
        assert_eq!(labels(&bench.token).len(), held);
        let report = vault.maintain(MaintenanceOptions::new()).unwrap();
        assert_eq!((report.settled(), report.unsettled()), (1, 0));
        assert_eq!(labels(&bench.token).len(), held - 1);
        vault.create_key(&name("new"), signer()).unwrap();
        works(&vault, &name("new"));
        let sealed = vault
            .encrypt(
                &aes,
                EncryptionAlgorithm::A256Gcm,
                b"text",
                Default::default(),
            )
            .unwrap();
        let opened = vault
            .decrypt(&aes, EncryptionAlgorithm::A256Gcm, (&sealed).into())
            .unwrap();
        assert_eq!(opened.expose(), b"text");
        settled(&vault, &bench.token);
    });
}

fn is_away(vault: &Vault) {
    let kind = ErrorKind::BackendUnavailable;
    let gcm = EncryptionAlgorithm::A256Gcm;
    for result in [
        sign(vault, &name("key")).map(drop),
        vault
            .encrypt(&name("aes"), gcm, b"text", Default::default())
            .map(drop),
        vault.create_key(&name("new"), signer()).map(drop),
        vault.rotate_key(&name("key")).map(drop),
    ] {
        fails(result, kind, "");
    }
}
