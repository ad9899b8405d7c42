//! Objects that somebody else deletes or doubles behind the vault's back: an error with a sentence, and the records
//! stay.

use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use strongroom::{BackendFindingKind, ErrorKind};

use super::{Bench, fails, kinds, labels, name, settled, sign, signer, verifies, versions, works};

#[test]
fn a_key_that_somebody_deleted_in_the_token_is_missed_and_not_made_anew() {
    let bench = Bench::new();
    let vault = bench.vault();
    vault.create_key(&name("lost"), signer()).unwrap();
    let signature = sign(&vault, &name("lost")).unwrap();
    let session = bench.token.session();
    let private = [Attribute::Class(ObjectClass::PRIVATE_KEY)];
    let lost = session.find_objects(&private).unwrap();
    assert_eq!(lost.len(), 1);
    session.destroy_object(lost[0]).unwrap();
    drop(session);
    vault.create_key(&name("kept"), signer()).unwrap();

    for _ in 0..2 {
        let error = fails(
            sign(&vault, &name("lost")),
            ErrorKind::BackendUnavailable,
            "the token does not hold the key",
        );
        assert_eq!(error.key(), Some("lost"));
        verifies(&vault, &name("lost"), &signature);
        works(&vault, &name("kept"));
    }
    let vault = {
        vault.close().unwrap();
        bench.vault()
    };
    for findings in [
        vault.open_report().unwrap().backend_findings().to_vec(),
        vault.reconcile_backends().unwrap(),
    ] {
        assert_eq!(kinds(&findings), [BackendFindingKind::MissingKey]);
        assert_eq!(findings[0].key().unwrap().0, &name("lost"));
    }
    let check = vault.check().unwrap();
    assert!(!check.is_sound());
    assert!(check.findings()[0].message().contains("lost"));
    assert!(vault.get_key(&name("lost")).is_ok());
    assert_eq!(versions(&vault), 2);
    assert_eq!(labels(&bench.token).len(), 1);
    // It can be given up, although there is nothing to destroy.
    vault.delete_key(&name("lost")).unwrap();
    vault.purge_deleted_key(&name("lost")).unwrap();
    settled(&vault, &bench.token);
    works(&vault, &name("kept"));
}

#[test]
fn a_second_object_under_the_id_of_a_key_is_an_error_and_no_choice() {
    let bench = Bench::new();
    let vault = bench.vault();
    vault.create_key(&name("key"), signer()).unwrap();
    let signature = sign(&vault, &name("key")).unwrap();
    let session = bench.token.session();
    let private = [Attribute::Class(ObjectClass::PRIVATE_KEY)];
    let own = session.find_objects(&private).unwrap()[0];
    let id = session.get_attributes(own, &[AttributeType::Id]).unwrap();
    let mut template = vec![
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Sign(true),
    ];
    template.extend(id);
    let public = [
        Attribute::Token(false),
        Attribute::EcParams(vec![6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]),
    ];
    let mechanism = cryptoki::mechanism::Mechanism::EccKeyPairGen;
    let (_, second) = session
        .generate_key_pair(&mechanism, &public, &template)
        .unwrap();
    vault.close().unwrap();

    let vault = bench.vault();
    assert_eq!(
        vault.open_report().unwrap().backend_findings(),
        [],
        "it has no label"
    );
    let error = fails(
        sign(&vault, &name("key")),
        ErrorKind::BackendRejected,
        "several objects",
    );
    assert!(error.to_string().contains("remove the one"));
    verifies(&vault, &name("key"), &signature);
    assert_eq!(labels(&bench.token).len(), 2);
    session.destroy_object(second).unwrap();
    drop(session);
    works(&vault, &name("key"));
    let again = sign(&vault, &name("key")).unwrap();
    verifies(&vault, &name("key"), &again);
    settled(&vault, &bench.token);
}
