//! What does not leave a token and what does not come in; then nothing has changed.

use std::sync::Arc;

use cryptoki::object::Attribute;
use strongroom::backend::KeyBackend;
use strongroom::backend::pkcs11::{
    DomainDestination, KeyKeeping, Pkcs11Backend, TransportFingerprint, provision_domain,
};
use strongroom::backend::{
    Abandoned, BackendErrorKind, KeyBlob, KeyReference, KeyRequest, KeyTag, VaultLabel,
};
use strongroom::{
    CreateKeyOptions, Curve, ErrorKind, KeyName, KeyOperation, KeySpec, OctKeySize, RsaKeySize,
    SecretBytes,
};

use super::{Site, backend, name, one, vault};
use crate::backends::own_options;
use crate::support::{attach, slot};

#[test]
fn without_a_domain_key_nothing_leaves_and_nothing_comes_in() {
    for keeping in [KeyKeeping::Resident, KeyKeeping::Wrapped] {
        let first = Site::new(keeping, None);
        let second = Site::new(keeping, Some(&first.vault));
        let key = name("signer");
        let options = CreateKeyOptions::ec(Curve::P256).hsm().backup_allowed();
        first.vault.create_key(&key, options).unwrap();
        let error = first.vault.backup_key(&key).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotExportable);
        assert!(error.to_string().contains("create_domain_key"), "{error}");

        let officer = first.officer();
        first.backend.create_domain_key(&officer).unwrap();
        let backup = first.vault.backup_key(&key).unwrap();
        let before = second.token.object_files();
        let error = second.vault.restore_key(&backup).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BackendUnavailable);
        assert!(error.to_string().contains("provision_domain"), "{error}");
        nothing_changed(&second, &key, before);

        // With a domain key of its own the token opens nothing of the other's.
        second.backend.create_domain_key(&second.officer()).unwrap();
        let before = second.token.object_files();
        let error = second.vault.restore_key(&backup).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BackendRejected);
        assert!(error.to_string().contains("another domain key"), "{error}");
        assert!(error.to_string().contains(first.token.serial()), "{error}");
        nothing_changed(&second, &key, before);
        let (officer, other) = (first.officer(), second.officer());
        let heard = TransportFingerprint::from_bytes([1; 32]);
        let destination = DomainDestination::new(&second.backend, &other, heard);
        let error = provision_domain(&first.backend, &officer, &[destination]).unwrap_err();
        assert_eq!(error.kind(), BackendErrorKind::Rejected);
    }
}

fn nothing_changed(site: &Site, key: &KeyName, files: usize) {
    let missing = site.vault.get_key(key).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::KeyNotFound);
    assert_eq!(site.token.object_files(), files);
    assert_eq!(site.vault.check().unwrap().findings(), &[]);
}

#[test]
fn keys_that_were_not_made_for_backups_never_leave() {
    for keeping in [KeyKeeping::Resident, KeyKeeping::Wrapped] {
        let site = Site::new(keeping, None).with_domain();
        let key = name("signer");
        let options = CreateKeyOptions::ec(Curve::P256).hsm();
        site.vault.create_key(&key, options).unwrap();
        let error = site.vault.backup_key(&key).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotExportable);

        // The backend does not rely on the vault for it.
        let label = VaultLabel::from_bytes([1; 8]);
        let tag = KeyTag::from_bytes([9; 16]);
        let spec = KeySpec::Ec(Curve::P256);
        let request = KeyRequest::new(tag, spec, [KeyOperation::Sign].into(), &label);
        let (blob, public) = site.backend.generate(&request).unwrap().into_parts();
        let key = KeyReference::new(tag, spec, &blob).with_public(public.as_ref());
        let error = site.backend.export(&key).unwrap_err();
        assert_eq!(error.kind(), BackendErrorKind::NotExportable);
        assert!(error.to_string().contains("backup_allowed"), "{error}");
    }
}

#[test]
fn damaged_blobs_are_refused_and_leave_nothing() {
    let site = Site::new(KeyKeeping::Resident, None).with_domain();
    let label = VaultLabel::from_bytes([1; 8]);
    let spec = KeySpec::Ec(Curve::P256);
    let request = |tag| {
        KeyRequest::new(
            KeyTag::from_bytes([tag; 16]),
            spec,
            [KeyOperation::Sign, KeyOperation::Verify].into(),
            &label,
        )
        .with_backup_allowed(true)
    };
    let (blob, public) = site.backend.generate(&request(1)).unwrap().into_parts();
    let key = KeyReference::new(request(1).tag, spec, &blob).with_public(public.as_ref());
    let exported = site.backend.export(&key).unwrap();
    let files = site.token.object_files();
    let bytes = exported.expose().to_vec();

    // magic, version, check value, values, usage, serial number, public part, wrapped key
    let usage = 5 + 1 + 16 + 1;
    let serial = usage + 2..usage + 2 + site.token.serial().len();
    let wrapped = bytes.len() - 80..bytes.len();
    let attempt = |bytes: &[u8]| {
        let blob = KeyBlob::new(SecretBytes::copied_from(bytes));
        let result = site.backend.restore(&request(2), &blob);
        let abandoned = site.backend.abandon(request(2).tag).unwrap();
        assert_eq!(abandoned, Abandoned::NothingLeft);
        assert_eq!(site.token.object_files(), files);
        result.map(drop).map_err(|error| error.kind())
    };
    assert_eq!(attempt(&bytes), Ok(()));
    for place in 0..bytes.len() {
        // What they say is not the token's to check: the seal of the backup is for that.
        if place == usage || serial.contains(&place) {
            continue;
        }
        let mut damaged = bytes.clone();
        damaged[place] ^= 1;
        let expected = if (6..22).contains(&place) {
            BackendErrorKind::Rejected
        } else {
            BackendErrorKind::InvalidInput
        };
        assert_eq!(attempt(&damaged), Err(expected), "byte {place}");
        if wrapped.contains(&place) || place % 8 == 0 {
            let cut = attempt(&bytes[..place]);
            assert_eq!(cut, Err(BackendErrorKind::InvalidInput), "cut at {place}");
        }
    }
    assert_eq!(attempt(&[]), Err(BackendErrorKind::InvalidInput));

    // The record of the vault and the blob have to tell of the same key.
    let other = |spec, operations: &[KeyOperation]| {
        let operations = operations.iter().copied().collect();
        let request = KeyRequest::new(request(2).tag, spec, operations, &label);
        let result = site.backend.restore(&request, &exported);
        assert_eq!(site.token.object_files(), files);
        result.unwrap_err().kind()
    };
    for (spec, operations) in [
        (KeySpec::Ec(Curve::P384), &[KeyOperation::Sign][..]),
        (KeySpec::Ec(Curve::P256K), &[KeyOperation::Sign]),
        (KeySpec::Rsa(RsaKeySize::Bits2048), &[KeyOperation::Sign]),
        (
            KeySpec::Oct(OctKeySize::Bits256.into()),
            &[KeyOperation::Sign],
        ),
        (spec, &[KeyOperation::Sign, KeyOperation::Decrypt]),
    ] {
        assert_eq!(other(spec, operations), BackendErrorKind::InvalidInput);
    }
}

#[test]
fn another_public_key_in_the_blob_does_not_pass_the_self_test() {
    let site = Site::new(KeyKeeping::Resident, None).with_domain();
    let label = VaultLabel::from_bytes([1; 8]);
    let spec = KeySpec::Ec(Curve::P256);
    let exported = [1, 2].map(|tag| {
        let tag = KeyTag::from_bytes([tag; 16]);
        let request = KeyRequest::new(tag, spec, [KeyOperation::Sign].into(), &label)
            .with_backup_allowed(true);
        let (blob, public) = site.backend.generate(&request).unwrap().into_parts();
        let key = KeyReference::new(tag, spec, &blob).with_public(public.as_ref());
        site.backend.export(&key).unwrap().expose().to_vec()
    });
    // The public part of the one, the wrapped key of the other.
    let split = exported[0].len() - 80;
    let mixed = [&exported[0][..split], &exported[1][split..]].concat();
    let tag = KeyTag::from_bytes([3; 16]);
    let request = KeyRequest::new(tag, spec, [KeyOperation::Sign].into(), &label);
    let blob = KeyBlob::new(SecretBytes::from(mixed));
    let error = site.backend.restore(&request, &blob).unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Device);
}

#[test]
fn a_token_has_one_domain_key_at_most() {
    let site = Site::new(KeyKeeping::Resident, None).with_domain();
    let error = site.backend.create_domain_key(&site.officer()).unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Rejected);
    assert_eq!(site.token.object_files(), 1);
    let key = name("signer");
    let options = CreateKeyOptions::ec(Curve::P256).hsm().backup_allowed();
    site.vault.create_key(&key, options).unwrap();
    let backup = site.vault.backup_key(&key).unwrap();

    // Whatever made a second one.
    let pkcs11 = attach(&site.token);
    let session = pkcs11
        .open_rw_session(slot(&pkcs11, &site.token).unwrap())
        .unwrap();
    let domain = one(&session, &[Attribute::Label(b"strongroom/domain".to_vec())]);
    let second = session
        .copy_object(domain, &[Attribute::Token(true)])
        .unwrap();
    let other = backend(&site.token, KeyKeeping::Resident);
    let error = other.domain_key().unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Rejected);
    assert!(error.to_string().contains("several domain keys"), "{error}");
    session.destroy_object(domain).unwrap();
    // The copy has the same value: what was backed up is restored, with handles that are found anew.
    let (restored, _directory) = vault(&site.backend, Some(&site.vault));
    restored.restore_key(&backup).unwrap();
    site.vault.backup_key(&key).unwrap();
    session.destroy_object(second).unwrap();
    let error = site.vault.backup_key(&key).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotExportable);
}

#[test]
fn options_can_name_the_domain_key_that_counts() {
    let site = Site::new(KeyKeeping::Wrapped, None).with_domain();
    let key = name("signer");
    let options = CreateKeyOptions::ec(Curve::P256).hsm().backup_allowed();
    site.vault.create_key(&key, options).unwrap();
    let backup = site.vault.backup_key(&key).unwrap();
    let domain = site.backend.domain_key().unwrap().unwrap();
    let right = *domain.check_value();
    let mut wrong = right;
    wrong[15] ^= 1;
    let naming = |check_value| {
        let options = own_options(&site.token).keeping(KeyKeeping::Wrapped);
        let backend = Arc::new(Pkcs11Backend::new(options.domain(check_value)));
        vault(&backend, Some(&site.vault))
    };
    let (strict, _directory) = naming(right);
    strict.restore_key(&backup).unwrap();
    strict.backup_key(&key).unwrap();
    let (strict, _directory) = naming(wrong);
    let error = strict.restore_key(&backup).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BackendRejected);
    let options = CreateKeyOptions::ec(Curve::P256).hsm().backup_allowed();
    strict.create_key(&key, options).unwrap();
    let error = strict.backup_key(&key).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BackendRejected);
    assert!(error.to_string().contains("options"), "{error}");
}
