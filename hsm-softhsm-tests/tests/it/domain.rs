//! Keys in tokens are backed up and restored under a domain key, which only its ceremony brings from token to token;
//! everything else is refused, and then nothing has changed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use cryptoki_sys::{CK_RV, CKR_ATTRIBUTE_TYPE_INVALID, CKR_DEVICE_MEMORY};
use hsm_softhsm_tests::proxy::{Fault, Function};
use hsm_softhsm_tests::{Proxy, Token};
use strongroom::backend::pkcs11::{
    DomainDestination, KeyKeeping, Pkcs11Backend, TransportFingerprint, provision_domain,
};
use strongroom::backend::{
    Abandoned, BackendErrorKind, KeyBackend, KeyBlob, KeyReference, KeyRequest, KeyTag, VaultLabel,
};
use strongroom::{
    Ciphertext, CreateKeyOptions, Curve, EncryptOptions, EncryptResult, EncryptionAlgorithm,
    ErrorKind, ImportKeyOptions, ImportedKey, KeyName, KeyOperation, KeySpec, MasterKey,
    OctKeySize, Pin, PublicKey, PublicParts, RsaKeySize, SecretBytes, SignatureAlgorithm, Unlock,
    Vault, VaultOptions, WrapAlgorithm, WrapResult,
};
use tempfile::TempDir;

use crate::backends::own_options;
use crate::support::{attach, code, slot};

const DATA: &[u8; 32] = b"what the key was used for before";

/// A token with a vault on it.
struct Site {
    vault: Vault,
    backend: Arc<Pkcs11Backend>,
    token: Token,
    _directory: TempDir,
}

impl Site {
    fn new(keeping: KeyKeeping, domain_of: Option<&Vault>) -> Self {
        Self::on(Token::new(), keeping, domain_of)
    }

    fn on(token: Token, keeping: KeyKeeping, domain_of: Option<&Vault>) -> Self {
        let backend = Arc::new(backend(&token, keeping));
        let (vault, directory) = vault(&backend, domain_of);
        Self {
            vault,
            backend,
            token,
            _directory: directory,
        }
    }

    fn officer(&self) -> Pin {
        Pin::new(self.token.so_pin()).unwrap()
    }

    /// With a domain key.
    fn with_domain(self) -> Self {
        self.backend.create_domain_key(&self.officer()).unwrap();
        self
    }
}

fn backend(token: &Token, keeping: KeyKeeping) -> Pkcs11Backend {
    Pkcs11Backend::new(own_options(token).keeping(keeping))
}

fn vault(backend: &Arc<Pkcs11Backend>, domain_of: Option<&Vault>) -> (Vault, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let path: PathBuf = directory.path().join("vault");
    let master = MasterKey::generate().unwrap();
    let unlock = Unlock::raw_key(&master);
    let options = VaultOptions::new().backend(Arc::clone(backend) as Arc<dyn KeyBackend>);
    let vault = match domain_of {
        None => options.create(path, unlock),
        Some(other) => options.create_in_domain(path, unlock, &other.security_domain().unwrap()),
    };
    (vault.unwrap(), directory)
}

/// Two sites of one security domain, whose tokens have one domain key after the ceremony.
fn provisioned(from: KeyKeeping, to: KeyKeeping) -> (Site, Site) {
    let first = Site::new(from, None).with_domain();
    let second = Site::new(to, Some(&first.vault));
    let heard = second.backend.begin_provisioning().unwrap().fingerprint();
    provision(&first, &second, heard).unwrap();
    (first, second)
}

fn provision(
    first: &Site,
    second: &Site,
    heard: TransportFingerprint,
) -> Result<(), BackendErrorKind> {
    let (officer, other) = (first.officer(), second.officer());
    let destination = DomainDestination::new(&second.backend, &other, heard);
    provision_domain(&first.backend, &officer, &[destination])
        .map(|domain| assert!(domain.is_closed()))
        .map_err(|error| error.kind())
}

fn name(text: &str) -> KeyName {
    text.parse().unwrap()
}

/// What a key does.
#[derive(Default)]
struct Uses {
    sign: Vec<SignatureAlgorithm>,
    encrypt: Vec<EncryptionAlgorithm>,
    wrap: Vec<WrapAlgorithm>,
}

fn uses(text: &[&str]) -> Uses {
    let mut uses = Uses::default();
    for name in text {
        uses.sign.extend(name.parse::<SignatureAlgorithm>());
        uses.encrypt.extend(name.parse::<EncryptionAlgorithm>());
        uses.wrap.extend(name.parse::<WrapAlgorithm>());
    }
    uses
}

/// Something that a key did.
struct Evidence {
    public: Option<PublicParts>,
    macs: Vec<(SignatureAlgorithm, Vec<u8>)>,
    ciphertexts: Vec<(EncryptionAlgorithm, EncryptResult)>,
    wrapped: Vec<(WrapAlgorithm, WrapResult)>,
}

impl Evidence {
    fn of(vault: &Vault, key: &KeyName, uses: &Uses) -> Self {
        let public = vault.get_key(key).unwrap().key().public_parts();
        let macs = uses
            .sign
            .iter()
            .filter(|_| public.is_none())
            .map(|algorithm| {
                let mac = vault.sign_data(key, *algorithm, DATA).unwrap();
                (*algorithm, mac.into_signature())
            });
        let macs = macs.collect();
        let ciphertexts = uses.encrypt.iter().map(|algorithm| {
            let options = EncryptOptions::new();
            (
                *algorithm,
                vault.encrypt(key, *algorithm, DATA, options).unwrap(),
            )
        });
        let ciphertexts = ciphertexts.collect();
        let wrapped = uses
            .wrap
            .iter()
            .map(|algorithm| (*algorithm, vault.wrap_key(key, *algorithm, DATA).unwrap()));
        Self {
            public,
            macs,
            ciphertexts,
            wrapped: wrapped.collect(),
        }
    }

    /// The key in this vault is the one that gave the evidence.
    #[track_caller]
    fn holds_for(&self, vault: &Vault, key: &KeyName, uses: &Uses) {
        assert_eq!(
            vault.get_key(key).unwrap().key().public_parts(),
            self.public
        );
        if let Some(parts) = &self.public {
            let public = PublicKey::from_parts(parts).unwrap();
            for algorithm in &uses.sign {
                let signature = vault.sign_data(key, *algorithm, DATA).unwrap();
                public
                    .verify_data(*algorithm, DATA, signature.signature())
                    .unwrap();
            }
        }
        for (algorithm, mac) in &self.macs {
            vault.verify_data(key, *algorithm, DATA, mac).unwrap();
        }
        for (algorithm, ciphertext) in &self.ciphertexts {
            let opened = vault.decrypt(key, *algorithm, Ciphertext::from(ciphertext));
            assert_eq!(opened.unwrap().expose(), DATA);
        }
        for (algorithm, wrapped) in &self.wrapped {
            let opened = vault.unwrap_key(key, *algorithm, wrapped.wrapped_key());
            assert_eq!(opened.unwrap().expose(), DATA);
        }
    }
}

/// Keys of every kind, and what they do.
fn make_all(vault: &Vault) -> Vec<(KeyName, Uses)> {
    use KeyOperation::{Decrypt, Encrypt, Sign, UnwrapKey, Verify, WrapKey};
    let mut keys = Vec::new();
    let mut made = |key: &str, options: CreateKeyOptions, text: &[&str]| {
        let key = name(key);
        vault
            .create_key(&key, options.hsm().backup_allowed())
            .unwrap();
        keys.push((key, uses(text)));
    };
    made(
        "rsa",
        CreateKeyOptions::rsa(RsaKeySize::Bits2048),
        &["RS256", "PS384", "RSA-OAEP", "RSA-OAEP-256"],
    );
    for (curve, algorithm) in [
        (Curve::P256, "ES256"),
        (Curve::P384, "ES384"),
        (Curve::P521, "ES512"),
        (Curve::P256K, "ES256K"),
    ] {
        let key = format!("ec-{}", algorithm.to_lowercase());
        made(&key, CreateKeyOptions::ec(curve), &[algorithm]);
    }
    for (size, bits) in [
        (OctKeySize::Bits128, 128),
        (OctKeySize::Bits192, 192),
        (OctKeySize::Bits256, 256),
    ] {
        let aes = ["GCM", "CBC", "CBCPAD", "KW"].map(|mode| format!("A{bits}{mode}"));
        let mut all: Vec<&str> = aes.iter().map(String::as_str).collect();
        made(&format!("aes-{bits}"), CreateKeyOptions::oct(size), &all);
        let macs = ["HS256", "HS384", "HS512"];
        let options = CreateKeyOptions::oct(size).operations([Sign, Verify]);
        made(&format!("mac-{bits}"), options, &macs);
        all.extend(macs);
        let operations = [Encrypt, Decrypt, WrapKey, UnwrapKey, Sign, Verify];
        let options = CreateKeyOptions::oct(size).operations(operations);
        made(&format!("both-{bits}"), options, &all);
    }
    let imported = name("imported-mac");
    let material = ImportedKey::oct(SecretBytes::copied_from(&[0x11; 20]));
    let options = ImportKeyOptions::new(material).operations([Sign, Verify]);
    vault
        .import_key(&imported, options.hsm().backup_allowed())
        .unwrap();
    keys.push((imported, uses(&["HS256"])));
    keys
}

fn every_key_moves(from: KeyKeeping, to: KeyKeeping) {
    let (first, second) = provisioned(from, to);
    let keys = make_all(&first.vault);
    assert_eq!(keys.len(), 15);
    for (key, uses) in &keys {
        let evidence = Evidence::of(&first.vault, key, uses);
        let backup = first.vault.backup_key(key).unwrap();
        second.vault.restore_key(&backup).unwrap();
        evidence.holds_for(&second.vault, key, uses);
        // The original goes on working beside it.
        evidence.holds_for(&first.vault, key, uses);
        // And what was restored can be backed up again.
        let again = second.vault.backup_key(key).unwrap();
        let (third, _directory) = vault(&second.backend, Some(&first.vault));
        third.restore_key(&again).unwrap();
        evidence.holds_for(&third, key, uses);
    }
    let report = second.vault.check().unwrap();
    assert_eq!(report.findings(), &[], "{report:?}");
}

#[test]
fn every_kind_of_key_moves_to_another_token() {
    every_key_moves(KeyKeeping::Resident, KeyKeeping::Resident);
}

#[test]
fn every_kind_of_wrapped_key_moves_to_another_token() {
    every_key_moves(KeyKeeping::Wrapped, KeyKeeping::Wrapped);
}

#[test]
fn a_resident_key_can_become_a_wrapped_one() {
    every_key_moves(KeyKeeping::Resident, KeyKeeping::Wrapped);
}

#[test]
fn a_wrapped_key_can_become_a_resident_one() {
    every_key_moves(KeyKeeping::Wrapped, KeyKeeping::Resident);
}

#[test]
fn a_token_restores_its_own_backups_and_ceremonies_leave_no_transport_key() {
    let site = Site::new(KeyKeeping::Resident, None).with_domain();
    let (key, uses) = (name("signer"), uses(&["ES256"]));
    let options = CreateKeyOptions::ec(Curve::P256).hsm().backup_allowed();
    site.vault.create_key(&key, options).unwrap();
    let evidence = Evidence::of(&site.vault, &key, &uses);
    let backup = site.vault.backup_key(&key).unwrap();
    let taken = site.vault.restore_key(&backup).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::KeyExists);

    let (other, _directory) = vault(&site.backend, Some(&site.vault));
    other.restore_key(&backup).unwrap();
    evidence.holds_for(&other, &key, &uses);
    // The two are objects of their own.
    site.vault.delete_key(&key).unwrap();
    site.vault.purge_deleted_key(&key).unwrap();
    evidence.holds_for(&other, &key, &uses);
    assert!(site.vault.restore_key(&backup).unwrap().previously_purged());
    evidence.holds_for(&site.vault, &key, &uses);

    // Without destinations a ceremony only closes the domain, and closing changes nothing else.
    let open = site.backend.domain_key().unwrap().unwrap();
    assert!(open.is_trusted() && !open.is_closed());
    let closed = provision_domain(&site.backend, &site.officer(), &[]).unwrap();
    assert!(closed.is_trusted() && closed.is_closed());
    assert_eq!(closed.check_value(), open.check_value());
    let (third, _directory) = vault(&site.backend, Some(&site.vault));
    third.restore_key(&backup).unwrap();
    evidence.holds_for(&third, &key, &uses);
}

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

#[track_caller]
fn one(session: &Session, template: &[Attribute]) -> ObjectHandle {
    let objects = session.find_objects(template).unwrap();
    assert_eq!(objects.len(), 1);
    objects[0]
}

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

#[test]
fn a_restoration_that_stops_half_way_leaves_nothing_in_the_token() {
    let proxy = Proxy::new();
    let site = Site::on(proxy.new_token(), KeyKeeping::Resident, None).with_domain();
    let (other, _directory) = vault(&site.backend, Some(&site.vault));
    let key = name("both");
    let options = CreateKeyOptions::oct(OctKeySize::Bits256).operations([
        KeyOperation::Encrypt,
        KeyOperation::Decrypt,
        KeyOperation::Sign,
        KeyOperation::Verify,
    ]);
    site.vault
        .create_key(&key, options.hsm().backup_allowed())
        .unwrap();
    site.vault.rotate_key(&key).unwrap();
    let backup = site.vault.backup_key(&key).unwrap();
    let files = site.token.object_files();
    for (step, calls) in [(Function::UnwrapKey, 4), (Function::Sign, 2)] {
        for number in 1..=calls {
            let strikes = proxy.inject(Fault::answer(step, CKR_DEVICE_MEMORY).from_call(number));
            let error = other.restore_key(&backup).unwrap_err();
            assert_eq!(strikes.count(), 1);
            assert_eq!(error.kind(), ErrorKind::Throttled, "{step:?} {number}");
            assert_eq!(site.token.object_files(), files, "{step:?} {number}");
            let missing = other.get_key(&key).unwrap_err();
            assert_eq!(missing.kind(), ErrorKind::KeyNotFound);
        }
    }
    assert_eq!(other.check().unwrap().findings(), &[]);
    assert_eq!(other.restore_key(&backup).unwrap().version_count(), 2);
    assert_eq!(site.token.object_files(), files + 4);
}

/// Calls that change something, or are the last before something changes.
const STEPS: [Function; 9] = [
    Function::Login,
    Function::Logout,
    Function::GenerateKey,
    Function::CreateObject,
    Function::CopyObject,
    Function::WrapKey,
    Function::UnwrapKey,
    Function::SetAttributeValue,
    Function::DestroyObject,
];

/// The ceremony with the proxy failing at one call; then it is held again. Whether it failed.
fn interrupted(
    proxy: &Proxy,
    sites: &[Site; 2],
    heard: TransportFingerprint,
    step: Function,
    number: u64,
) -> bool {
    let [first, second] = sites;
    for site in sites {
        begin_anew(site);
    }
    first.backend.create_domain_key(&first.officer()).unwrap();

    // No code that makes anybody try again by himself.
    let fault = Fault::answer(step, CKR_DEVICE_MEMORY).from_call(number);
    let strikes = proxy.inject(fault);
    let outcome = provision(first, second, heard);
    proxy.heal();
    if strikes.count() == 0 {
        outcome.unwrap();
    } else {
        assert!(outcome.is_err(), "{step:?} {number}");
        // A login that failed is not tried again at once.
        while second.backend.check().and(first.backend.check()).is_err() {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    provision(first, second, heard).unwrap();
    let domain = second.backend.domain_key().unwrap().unwrap();
    assert!(
        domain.is_trusted() && domain.is_closed(),
        "{step:?} {number}"
    );
    assert_eq!(first.backend.domain_key().unwrap(), Some(domain));
    // Each has its domain key and, but for what was put aside, nothing else.
    let files = (first.token.object_files(), second.token.object_files());
    assert_eq!(files, (1, 1 + 2), "{step:?} {number}");
    strikes.count() > 0
}

/// Another session, beside the backend, whose login counts for it too.
fn session_beside(site: &Site) -> Session {
    site.backend.check().unwrap();
    let pkcs11 = site.token.pkcs11();
    pkcs11.open_rw_session(site.token.slot()).unwrap()
}

const TRANSPORT: &[u8] = b"strongroom/transport";
/// The label of transport keys that the test has put aside, because making one takes a second.
const ASIDE: &[u8] = b"aside";

/// Gives all transport keys another label.
fn put_transport_aside(site: &Site) {
    let session = session_beside(site);
    let transport = [Attribute::Label(TRANSPORT.to_vec())];
    for object in session.find_objects(&transport).unwrap() {
        let aside = [Attribute::Label(ASIDE.to_vec())];
        session.update_attributes(object, &aside).unwrap();
    }
}

/// Destroys all that was not put aside, and makes transport keys of what was.
fn begin_anew(site: &Site) {
    let session = session_beside(site);
    let aside = session.find_objects(&[Attribute::Label(ASIDE.to_vec())]);
    let aside = aside.unwrap();
    for object in session.find_objects(&[]).unwrap() {
        if !aside.contains(&object) {
            session.destroy_object(object).unwrap();
        }
    }
    for object in aside {
        let transport = [Attribute::Token(true), Attribute::Label(TRANSPORT.to_vec())];
        session.copy_object(object, &transport).unwrap();
    }
}

/// How often the ceremony was interrupted.
fn every_interruption(source: bool) -> u32 {
    let proxy = Proxy::new();
    let mut tokens = [proxy.new_token(), Token::new()];
    if !source {
        tokens.reverse();
    }
    let sites = tokens.map(|token| Site::on(token, KeyKeeping::Wrapped, None));
    let heard = sites[1].backend.begin_provisioning().unwrap().fingerprint();
    put_transport_aside(&sites[1]);
    let mut interruptions = 0;
    for step in STEPS {
        for number in 1.. {
            if !interrupted(&proxy, &sites, heard, step, number) {
                break;
            }
            interruptions += 1;
        }
    }
    interruptions
}

#[test]
fn a_ceremony_that_the_source_cuts_short_is_completed_by_holding_it_again() {
    assert!(every_interruption(true) >= 10);
}

#[test]
fn a_ceremony_that_the_destination_cuts_short_is_completed_by_holding_it_again() {
    assert!(every_interruption(false) >= 20);
}

#[test]
fn where_officers_cannot_give_trust_wrapped_keys_are_backed_up_all_the_same() {
    let proxy = Proxy::new();
    let no_trust = |function, code: CK_RV| proxy.inject(Fault::answer(function, code));
    let site = Site::on(proxy.new_token(), KeyKeeping::Wrapped, None);
    site.backend.check().unwrap();
    no_trust(Function::GenerateKey, CKR_ATTRIBUTE_TYPE_INVALID);
    let domain = site.backend.create_domain_key(&site.officer()).unwrap();
    assert!(!domain.is_trusted());
    let key = name("signer");
    let options = || CreateKeyOptions::ec(Curve::P256).hsm().backup_allowed();
    site.vault.create_key(&key, options()).unwrap();
    let evidence = Evidence::of(&site.vault, &key, &uses(&["ES256"]));
    let backup = site.vault.backup_key(&key).unwrap();
    let (other, _directory) = vault(&site.backend, Some(&site.vault));
    other.restore_key(&backup).unwrap();
    evidence.holds_for(&other, &key, &uses(&["ES256"]));

    // The token itself keeps resident keys from going under such a key.
    let resident = Arc::new(backend(&site.token, KeyKeeping::Resident));
    let (other, _directory) = vault(&resident, None);
    other.create_key(&key, options()).unwrap();
    let error = other.backup_key(&key).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotExportable);
    assert!(error.to_string().contains("not trusted"), "{error}");
}
