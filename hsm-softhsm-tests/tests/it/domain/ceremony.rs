//! The ceremony that brings a domain key into other tokens, and what it leaves.

use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use strongroom::backend::BackendErrorKind;
use strongroom::backend::KeyBackend;
use strongroom::backend::pkcs11::{
    DomainDestination, KeyKeeping, TransportFingerprint, provision_domain,
};
use strongroom::{CreateKeyOptions, Curve, KeyOperation, KeySpec, OctKeySize, Pin, RsaKeySize};

use super::{Evidence, Site, backend, name, one, provision, provisioned, uses};
use crate::support::{attach, code, slot};

#[test]
fn a_wrong_fingerprint_changes_nothing() {
    let first = Site::new(KeyKeeping::Resident, None).with_domain();
    let second = Site::new(KeyKeeping::Resident, None);
    let before = first.backend.begin_provisioning().unwrap_err();
    assert_eq!(before.kind(), BackendErrorKind::Rejected);

    let wrong = TransportFingerprint::from_bytes([7; 32]);
    let rejected = Err(BackendErrorKind::Rejected);
    assert_eq!(provision(&first, &second, wrong), rejected);
    let stale = second.backend.begin_provisioning().unwrap();
    let transport = second.backend.begin_provisioning().unwrap();
    assert_ne!(stale.fingerprint(), transport.fingerprint());
    assert_eq!(
        transport.public_key().spec(),
        KeySpec::Rsa(RsaKeySize::Bits3072)
    );
    let files = (first.token.object_files(), second.token.object_files());
    assert_eq!(files, (1, 2));
    for wrong in [wrong, stale.fingerprint()] {
        assert_eq!(provision(&first, &second, wrong), rejected);
    }
    let serial = first.token.serial().to_owned();
    let (officer, right) = (first.officer(), transport.fingerprint());
    let twice = DomainDestination::new(&first.backend, &officer, right);
    let twice = provision_domain(&first.backend, &officer, &[twice]).unwrap_err();
    assert_eq!(twice.kind(), BackendErrorKind::InvalidInput);
    assert!(twice.to_string().contains(&serial));
    assert_eq!(
        files,
        (first.token.object_files(), second.token.object_files())
    );
    assert!(!first.backend.domain_key().unwrap().unwrap().is_closed());
    assert_eq!(second.backend.domain_key().unwrap(), None);

    // As a person may have typed it.
    let heard = transport.fingerprint().to_string().replace(' ', ":");
    provision(&first, &second, heard.to_uppercase().parse().unwrap()).unwrap();
    assert_eq!(
        first.backend.domain_key().unwrap(),
        second.backend.domain_key().unwrap()
    );
    // Nothing is left of the transport, and the same call again is content.
    assert_eq!(
        (first.token.object_files(), second.token.object_files()),
        (1, 1)
    );
    provision(&first, &second, wrong).unwrap();
    // A closed domain takes in nobody else.
    let third = Site::new(KeyKeeping::Resident, None);
    let heard = third.backend.begin_provisioning().unwrap().fingerprint();
    assert_eq!(provision(&first, &third, heard), rejected);
    assert_eq!(third.backend.domain_key().unwrap(), None);
}

#[test]
fn one_ceremony_brings_the_key_into_several_tokens() {
    let first = Site::new(KeyKeeping::Resident, None).with_domain();
    let others = [(); 2].map(|()| Site::new(KeyKeeping::Resident, Some(&first.vault)));
    let officers = [&others[0], &others[1]].map(Site::officer);
    let heard = [&others[0], &others[1]]
        .map(|site| site.backend.begin_provisioning().unwrap().fingerprint());
    let destinations =
        [0, 1].map(|i| DomainDestination::new(&others[i].backend, &officers[i], heard[i]));
    let domain = provision_domain(&first.backend, &first.officer(), &destinations).unwrap();
    for site in &others {
        assert_eq!(site.backend.domain_key().unwrap(), Some(domain.clone()));
    }
}

#[test]
fn what_the_ceremony_leaves_is_guarded_by_the_token_itself() {
    let (first, second) = provisioned(KeyKeeping::Resident, KeyKeeping::Resident);
    let key = name("signer");
    let options = CreateKeyOptions::ec(Curve::P256).hsm().backup_allowed();
    first.vault.create_key(&key, options).unwrap();
    let backup = first.vault.backup_key(&key).unwrap();
    second.vault.restore_key(backup).unwrap();
    for site in [&first, &second] {
        let pkcs11 = attach(&site.token);
        let slot = slot(&pkcs11, &site.token).unwrap();
        // The backend's login counts for the process.
        let session = pkcs11.open_rw_session(slot).unwrap();
        let domain = one(&session, &[Attribute::Label(b"strongroom/domain".to_vec())]);
        let attributes = [
            AttributeType::Private,
            AttributeType::Sensitive,
            AttributeType::Extractable,
            AttributeType::Trusted,
            AttributeType::Wrap,
            AttributeType::Unwrap,
            AttributeType::Encrypt,
            AttributeType::Decrypt,
        ];
        let expected = [
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Trusted(true),
            Attribute::Wrap(true),
            Attribute::Unwrap(true),
            Attribute::Encrypt(false),
            Attribute::Decrypt(false),
        ];
        assert_eq!(
            session.get_attributes(domain, &attributes).unwrap(),
            expected
        );
        let transport = [Attribute::Label(b"strongroom/transport".to_vec())];
        assert_eq!(session.find_objects(&transport).unwrap(), []);

        let ordinary = session
            .generate_key(
                &Mechanism::AesKeyGen,
                &[
                    Attribute::Token(false),
                    Attribute::Wrap(true),
                    Attribute::ValueLen(cryptoki_sys::CK_ULONG::from(32_u32).into()),
                ],
            )
            .unwrap();
        let wrap = |with, what| session.wrap_key(&Mechanism::AesKeyWrapPad, with, what);
        let private = one(&session, &[Attribute::Class(ObjectClass::PRIVATE_KEY)]);
        assert_eq!(code(wrap(ordinary, private)), RvError::KeyNotWrappable);
        assert_eq!(code(wrap(ordinary, domain)), RvError::KeyUnextractable);
        let reopen = session.update_attributes(domain, &[Attribute::Extractable(true)]);
        assert_eq!(code(reopen), RvError::AttributeReadOnly);
        wrap(domain, private).unwrap();
    }
}

#[test]
fn a_refused_officer_changes_nothing_and_everybody_goes_on() {
    for keeping in [KeyKeeping::Resident, KeyKeeping::Wrapped] {
        let site = Site::new(keeping, None);
        let beside = backend(&site.token, keeping);
        beside.check().unwrap();
        let (key, uses) = (name("both"), uses(&["A256GCM", "HS256"]));
        let options = CreateKeyOptions::oct(OctKeySize::Bits256).operations([
            KeyOperation::Encrypt,
            KeyOperation::Decrypt,
            KeyOperation::Sign,
            KeyOperation::Verify,
        ]);
        site.vault
            .create_key(&key, options.hsm().backup_allowed())
            .unwrap();
        let evidence = Evidence::of(&site.vault, &key, &uses);
        let files = site.token.object_files();
        let wrong = Pin::new("not the officer's").unwrap();
        for _ in 0..2 {
            let error = site.backend.create_domain_key(&wrong).unwrap_err();
            assert_eq!(error.kind(), BackendErrorKind::Authentication);
            assert!(error.to_string().contains("PIN"), "{error}");
            assert_eq!(site.token.object_files(), files);
            evidence.holds_for(&site.vault, &key, &uses);
            beside.check().unwrap();
        }
        // Objects that both had in use before are found again after it.
        site.backend.create_domain_key(&site.officer()).unwrap();
        evidence.holds_for(&site.vault, &key, &uses);
        assert_eq!(
            beside.domain_key().unwrap(),
            site.backend.domain_key().unwrap()
        );
        beside.check().unwrap();
        site.vault.backup_key(&key).unwrap();
    }
}
