//! Objects with the label of a domain key that cannot be one are passed over, and a token in trouble is not taken for
//! one without a domain key.

use std::fs;

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, KeyType, ObjectClass};
use cryptoki_sys::CKR_GENERAL_ERROR;
use hsm_softhsm_tests::Proxy;
use hsm_softhsm_tests::proxy::{Fault, Function};
use strongroom::backend::pkcs11::KeyKeeping;
use strongroom::{CreateKeyOptions, Curve, ErrorKind};

use super::{Site, backend, name, provision, vault};
use crate::support::{object_files, without_attribute};

const LABEL: &[u8] = b"strongroom/domain";

/// As a process that is killed in the middle of C_CopyObject leaves it: everything but the value; and one that whoever
/// put it there can read.
#[test]
fn a_domain_key_that_cannot_be_one_is_passed_over_and_left_alone() {
    let proxy = Proxy::new();
    let token = proxy.new_token();
    {
        let session = token.session();
        session
            .generate_key(
                &Mechanism::AesKeyGen,
                &[
                    Attribute::Token(true),
                    Attribute::Private(true),
                    Attribute::Sensitive(true),
                    Attribute::Extractable(true),
                    Attribute::Wrap(true),
                    Attribute::Unwrap(true),
                    Attribute::ValueLen(32.into()),
                    Attribute::Id(vec![7; 16]),
                    Attribute::Label(LABEL.to_vec()),
                ],
            )
            .unwrap();
        let file = object_files(token.directory()).pop().unwrap();
        let half = without_attribute(&fs::read(&file).unwrap(), 0x11);
        fs::write(&file, half).unwrap();
        session
            .create_object(&[
                Attribute::Class(ObjectClass::SECRET_KEY),
                Attribute::KeyType(KeyType::AES),
                Attribute::Token(true),
                Attribute::Private(true),
                Attribute::Sensitive(false),
                Attribute::Extractable(true),
                Attribute::Wrap(true),
                Attribute::Unwrap(true),
                Attribute::Id(vec![8; 16]),
                Attribute::Label(LABEL.to_vec()),
                Attribute::Value(vec![7; 32]),
            ])
            .unwrap();
    }
    proxy.softhsm().finalize();

    let site = Site::on(token, KeyKeeping::Resident, None);
    assert_eq!(site.backend.domain_key().unwrap(), None);
    let key = name("signer");
    let options = CreateKeyOptions::ec(Curve::P256).hsm().backup_allowed();
    site.vault.create_key(&key, options).unwrap();
    let error = site.vault.backup_key(&key).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotExportable, "{error}");
    // One can be made beside them, and is the one.
    let site = site.with_domain();
    let domain = site.backend.domain_key().unwrap();
    assert!(domain.is_some());
    let backup = site.vault.backup_key(&key).unwrap();
    let (restored, _directory) = vault(&site.backend, Some(&site.vault));
    restored.restore_key(&backup).unwrap();
    // Others find the same one, and a ceremony brings it elsewhere.
    let other = backend(&site.token, KeyKeeping::Resident);
    assert_eq!(other.domain_key().unwrap(), domain);
    let second = Site::new(KeyKeeping::Resident, Some(&site.vault));
    let heard = second.backend.begin_provisioning().unwrap().fingerprint();
    provision(&site, &second, heard).unwrap();
    assert_eq!(
        second.backend.domain_key().unwrap(),
        site.backend.domain_key().unwrap()
    );
    let session = site.token.session();
    let labelled = [Attribute::Label(LABEL.to_vec())];
    assert_eq!(session.find_objects(&labelled).unwrap().len(), 3);
}

#[test]
fn a_domain_key_in_passing_trouble_is_not_taken_for_none() {
    let proxy = Proxy::new();
    let site = Site::on(proxy.new_token(), KeyKeeping::Wrapped, None).with_domain();
    let domain = site.backend.domain_key().unwrap();
    let files = site.token.object_files();
    let fresh = backend(&site.token, KeyKeeping::Wrapped);
    proxy.inject(Fault::answer(Function::WrapKey, CKR_GENERAL_ERROR).for_ever());
    fresh.domain_key().unwrap_err();
    fresh.create_domain_key(&site.officer()).unwrap_err();
    assert_eq!(site.token.object_files(), files);
    proxy.heal();
    // Once is made up for.
    let strikes = proxy.inject(Fault::answer(Function::WrapKey, CKR_GENERAL_ERROR));
    assert_eq!(fresh.domain_key().unwrap(), domain);
    assert_eq!(strikes.count(), 1);
}
