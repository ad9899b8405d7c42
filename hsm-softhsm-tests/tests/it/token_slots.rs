//! A token as a way to unlock a vault: it opens what it made and nothing else, by AES-GCM or, where it has none, by
//! RSA-OAEP; and every way in which it cannot has an error of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass};
use cryptoki::session::Session;
use hsm_softhsm_tests::proxy::Function;
use hsm_softhsm_tests::{Configuration, Proxy, SoftHsm, Token};
use strongroom::backend::pkcs11::{Pkcs11Backend, Pkcs11Options, TokenSelector, TokenUnlock};
use strongroom::{
    CreateKeyOptions, Curve, Error, ErrorKind, Passphrase, PassphraseParameters,
    SignatureAlgorithm, Unlock, UnlockKind, Vault, VaultOptions,
};

use crate::backends::{own_options, pin};
use crate::support::{attach, name, object_files, without_attribute};

const AES: &[u8] = b"strongroom/unlock/aes";
const RSA: &[u8] = b"strongroom/unlock/rsa";

/// A place for one vault, which a passphrase opens.
struct Place {
    _directory: tempfile::TempDir,
    path: PathBuf,
    passphrase: Passphrase,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            path: directory.path().join("vault"),
            _directory: directory,
            passphrase: Passphrase::new("a quiet morning").unwrap(),
        }
    }

    fn by_passphrase(&self) -> Unlock<'_> {
        Unlock::passphrase(&self.passphrase)
    }

    fn create(&self) -> Vault {
        options().create(&self.path, self.by_passphrase()).unwrap()
    }

    fn open<'a>(&self, unlock: impl Into<Unlock<'a>>) -> strongroom::Result<Vault> {
        options().open(&self.path, unlock.into())
    }

    /// With a slot for the token beside the passphrase's; closed.
    fn with_token(&self, token: &TokenUnlock) -> [u8; 32] {
        let vault = self.create();
        vault
            .add_unlock_slot(self.by_passphrase(), Unlock::from(token))
            .unwrap();
        let root = *vault.status().unwrap().fingerprint();
        vault.close().unwrap();
        root
    }
}

fn options() -> VaultOptions {
    VaultOptions::new().passphrase_parameters(PassphraseParameters::new(19_456, 1, 1).unwrap())
}

fn unlock(token: &Token) -> TokenUnlock {
    TokenUnlock::new(own_options(token))
}

fn kinds(vault: &Vault) -> Vec<UnlockKind> {
    let slots = vault.unlock_slots().unwrap();
    slots.iter().map(|slot| slot.kind()).collect()
}

#[track_caller]
fn fails<T>(result: strongroom::Result<T>, kind: ErrorKind, words: &str) -> Error {
    match result {
        Ok(_) => panic!("the call succeeded and must not"),
        Err(error) => {
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(words), "{error}");
            error
        }
    }
}

fn labelled(session: &Session, label: &[u8]) -> Vec<cryptoki::object::ObjectHandle> {
    let template = [Attribute::Label(label.to_vec()), Attribute::Token(true)];
    session.find_objects(&template).unwrap()
}

/// The place of slot `number` in the header's first copy.
fn slot_at(number: usize) -> usize {
    64 + number * 2_048
}

#[test]
fn a_token_opens_the_vaults_it_was_added_to_until_it_is_removed() {
    let token = Token::new();
    let by_token = unlock(&token);
    let place = Place::new();
    let vault = place.create();
    let key = vault
        .create_key(&name("k"), CreateKeyOptions::ec(Curve::P256))
        .unwrap();
    let id = vault
        .add_unlock_slot(place.by_passphrase(), Unlock::from(&by_token))
        .unwrap();
    assert_eq!(kinds(&vault), [UnlockKind::Passphrase, UnlockKind::Token]);
    assert!(vault.check().unwrap().is_sound());
    vault.close().unwrap();

    // By another connection too, and for another vault with the same key.
    for by_token in [&by_token, &unlock(&token)] {
        let vault = place.open(by_token).unwrap();
        assert!(vault.open_report().unwrap().is_clean());
        assert_eq!(vault.get_key(&name("k")).unwrap(), key);
    }
    let other = Place::new();
    other.with_token(&by_token);
    other.open(&by_token).unwrap();
    assert_eq!(token.object_files(), 1);

    // A device alone does not do, unless somebody says so.
    let vault = place.open(&by_token).unwrap();
    let [first, _] = &vault.unlock_slots().unwrap()[..] else {
        panic!("two slots")
    };
    fails(
        vault.remove_unlock_slot(first.id()),
        ErrorKind::BadParameter,
        "allow_sole_device_slot",
    );
    let replaced = vault
        .replace_unlock_slot(Unlock::from(&by_token), id, Unlock::from(&by_token))
        .unwrap();
    assert_ne!(replaced, id);
    vault.close().unwrap();
    let vault = place
        .open(Unlock::from(&by_token).in_slot(replaced))
        .unwrap();
    vault.remove_unlock_slot(replaced).unwrap();
    vault.close().unwrap();
    fails(place.open(&by_token), ErrorKind::WrongKey, "no slot");
    place.open(place.by_passphrase()).unwrap();
}

#[test]
fn a_token_alone_unlocks_a_vault_only_where_that_was_allowed() {
    let token = Token::new();
    let by_token = unlock(&token);
    let place = Place::new();
    let created = options().create(&place.path, Unlock::from(&by_token));
    fails(created, ErrorKind::BadParameter, "allow_sole_device_slot");
    assert!(!place.path.exists());
    assert_eq!(token.object_files(), 0, "refused before anything was made");
    let allowing = options().allow_sole_device_slot();
    let vault = allowing
        .create(&place.path, Unlock::from(&by_token))
        .unwrap();
    assert_eq!(kinds(&vault), [UnlockKind::Token]);
    vault.close().unwrap();
    place.open(&by_token).unwrap();
}

#[test]
fn what_the_token_makes_for_it_never_leaves_and_does_nothing_else() {
    let token = Token::new();
    Place::new().with_token(&unlock(&token));
    let session = token.session();
    let [key] = labelled(&session, AES)[..] else {
        panic!("one key")
    };
    let is = |attribute, wanted: Attribute| {
        let found = session.get_attributes(key, &[attribute]).unwrap();
        assert_eq!(found, [wanted]);
    };
    is(
        AttributeType::Class,
        Attribute::Class(ObjectClass::SECRET_KEY),
    );
    is(AttributeType::KeyType, Attribute::KeyType(KeyType::AES));
    is(AttributeType::ValueLen, Attribute::ValueLen(32.into()));
    for (attribute, wanted) in [
        (AttributeType::Token, Attribute::Token(true)),
        (AttributeType::Private, Attribute::Private(true)),
        (AttributeType::Sensitive, Attribute::Sensitive(true)),
        (AttributeType::Extractable, Attribute::Extractable(false)),
        (
            AttributeType::NeverExtractable,
            Attribute::NeverExtractable(true),
        ),
        (AttributeType::Encrypt, Attribute::Encrypt(true)),
        (AttributeType::Decrypt, Attribute::Decrypt(true)),
        (AttributeType::Wrap, Attribute::Wrap(false)),
        (AttributeType::Unwrap, Attribute::Unwrap(false)),
        (AttributeType::Sign, Attribute::Sign(false)),
    ] {
        is(attribute, wanted);
    }
    let found = session.get_attributes(key, &[AttributeType::Id]).unwrap();
    assert!(matches!(&found[..], [Attribute::Id(id)] if id.len() == 16));
    // Only the mechanism that it is for.
    let iv = [0; 16];
    assert!(
        session
            .encrypt(&Mechanism::AesCbc(iv), key, &[0; 16])
            .is_err()
    );
}

#[test]
fn one_token_keeps_a_vaults_keys_and_unlocks_it() {
    let token = Token::new();
    let place = Place::new();
    let with = |backend: &Arc<Pkcs11Backend>| options().backend(Arc::clone(backend) as Arc<_>);
    let backend = Arc::new(Pkcs11Backend::new(own_options(&token)));
    let vault = with(&backend)
        .create(&place.path, place.by_passphrase())
        .unwrap();
    let signer = CreateKeyOptions::ec(Curve::P256).hsm();
    vault.create_key(&name("k"), signer).unwrap();
    let by_token = TokenUnlock::of(&backend);
    vault
        .add_unlock_slot(place.by_passphrase(), Unlock::from(&by_token))
        .unwrap();
    assert_eq!(vault.reconcile_backends().unwrap(), []);
    vault.close().unwrap();
    drop((backend, by_token));

    let backend = Arc::new(Pkcs11Backend::new(own_options(&token)));
    let by_token = TokenUnlock::of(&backend);
    let vault = with(&backend)
        .open(&place.path, Unlock::from(&by_token))
        .unwrap();
    assert!(
        vault.open_report().unwrap().is_clean(),
        "{:?}",
        vault.open_report()
    );
    let signed = vault.sign_data(&name("k"), SignatureAlgorithm::Es256, b"text");
    signed.unwrap();
}

#[test]
fn without_gcm_the_token_opens_by_rsa_and_only_the_expected_root() {
    let softhsm = SoftHsm::copy(&Configuration::new().without(&["CKM_AES_GCM"]));
    let token = softhsm.new_token();
    let by_token = unlock(&token);
    let place = Place::new();
    let root = place.with_token(&by_token);
    assert_eq!(labelled(&token.session(), AES), []);
    assert_eq!(labelled(&token.session(), RSA).len(), 1, "the private half");
    fails(
        place.open(&by_token),
        ErrorKind::BadParameter,
        "expect_root",
    );
    let expecting = |root| {
        options()
            .expect_root(root)
            .open(&place.path, Unlock::from(&by_token))
    };
    fails(expecting([7; 32]), ErrorKind::WrongRoot, "");
    let vault = expecting(root).unwrap();
    assert_eq!(kinds(&vault), [UnlockKind::Passphrase, UnlockKind::Token]);
    vault.close().unwrap();
    // The same key serves other vaults.
    Place::new().with_token(&by_token);
    assert_eq!(token.object_files(), 1);

    // 384 bytes of ciphertext: some of each end, and the middle.
    let kept = slot_at(1) + 128;
    let places = (0..384).filter(|at| at % 48 == 0 || *at == 383);
    let changed = every_change(&place, places.map(|at| kept + at), || expecting(root));
    assert_eq!(changed, 9);
}

#[test]
fn without_any_safe_way_there_is_no_slot() {
    let softhsm = SoftHsm::copy(&Configuration::new().without(&["CKM_AES_GCM", "CKM_RSA_X_509"]));
    let token = softhsm.new_token();
    let place = Place::new();
    let vault = place.create();
    let added = vault.add_unlock_slot(place.by_passphrase(), Unlock::from(&unlock(&token)));
    fails(
        added,
        ErrorKind::Unsupported,
        "neither AES-GCM nor RSA-OAEP",
    );
    assert_eq!(token.object_files(), 0);
    assert_eq!(kinds(&vault), [UnlockKind::Passphrase]);
}

/// Opens with one byte after another changed in both copies of the header, whose checksum is made right again; each
/// must be refused as a wrong key. Gives how many.
fn every_change(
    place: &Place,
    places: impl Iterator<Item = usize>,
    open: impl Fn() -> strongroom::Result<Vault>,
) -> usize {
    const COPY: usize = 20_480;
    let header = place.path.join("vault.hdr");
    let good = fs::read(&header).unwrap();
    let mut changed = 0;
    for at in places {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, &bad[..20_384]);
        bad[20_384..20_416].copy_from_slice(&digest.as_ref()[..32]);
        bad.copy_within(..COPY, COPY);
        fs::write(&header, &bad).unwrap();
        let error = match open() {
            Ok(_) => panic!("opens with byte {at} changed"),
            Err(error) => error,
        };
        assert_eq!(error.kind(), ErrorKind::WrongKey, "byte {at}: {error}");
        changed += 1;
    }
    fs::write(&header, &good).unwrap();
    open().unwrap();
    changed
}

#[test]
fn a_slot_with_any_byte_changed_is_a_wrong_key() {
    let token = Token::new();
    let by_token = unlock(&token);
    let place = Place::new();
    place.with_token(&by_token);
    let slot = slot_at(1);
    // Provider tag and slot id; IV, ciphertext, tag and the sealed root key.
    let places = (48..80).chain(128..128 + 60 + 104).map(|at| slot + at);
    assert_eq!(every_change(&place, places, || place.open(&by_token)), 196);
    // From another vault of the same token, and from another slot of the same vault.
    let other = Place::new();
    other.with_token(&by_token);
    let theirs = fs::read(other.path.join("vault.hdr")).unwrap();
    let header = place.path.join("vault.hdr");
    let good = fs::read(&header).unwrap();
    let mut bad = good.clone();
    bad[slot..slot + 2_048].copy_from_slice(&theirs[slot..slot + 2_048]);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, &bad[..20_384]);
    bad[20_384..20_416].copy_from_slice(&digest.as_ref()[..32]);
    bad.copy_within(..20_480, 20_480);
    fs::write(&header, &bad).unwrap();
    fails(place.open(&by_token), ErrorKind::WrongKey, "altered");
}

#[test]
fn another_token_and_a_token_without_the_key_say_so() {
    let token = Token::new();
    let place = Place::new();
    place.with_token(&unlock(&token));
    let other = Token::new();
    let fresh = unlock(&other);
    let error = fails(place.open(&fresh), ErrorKind::WrongKey, "another token");
    assert!(error.to_string().contains(other.serial()), "{error}");
    // Looking makes nothing.
    assert_eq!(other.object_files(), 0);
    Place::new().with_token(&fresh);
    fails(place.open(&fresh), ErrorKind::WrongKey, "another token");

    // Both tokens can open one vault.
    let vault = place.open(&unlock(&token)).unwrap();
    vault
        .add_unlock_slot(place.by_passphrase(), Unlock::from(&fresh))
        .unwrap();
    vault.close().unwrap();
    place.open(&fresh).unwrap();

    let by_token = unlock(&token);
    place.open(&by_token).unwrap();
    let session = token.session();
    for key in labelled(&session, AES) {
        session.destroy_object(key).unwrap();
    }
    fails(place.open(&by_token), ErrorKind::WrongKey, "does not have");
    place.open(&fresh).unwrap();
    // A new slot gets a new key, which does not open the old one.
    let vault = place.open(place.by_passphrase()).unwrap();
    vault
        .add_unlock_slot(place.by_passphrase(), Unlock::from(&by_token))
        .unwrap();
    vault.close().unwrap();
    place.open(&by_token).unwrap();
    assert_eq!(labelled(&session, AES).len(), 1);
}

#[test]
fn a_wrong_pin_is_refused_once_and_never_tried_again() {
    let proxy = Proxy::new();
    let token = proxy.new_token();
    let place = Place::new();
    let by_token = unlock(&token);
    place.with_token(&by_token);
    drop(by_token);
    let wrong = Pkcs11Options::new(
        token.module(),
        TokenSelector::Serial(token.serial().to_owned()),
        pin("not the user's"),
    );
    let wrong = TokenUnlock::new(wrong.session_patience(Duration::from_secs(5)));
    let before = proxy.calls(Function::Login);
    for _ in 0..3 {
        fails(place.open(&wrong), ErrorKind::BackendAuthentication, "PIN");
    }
    assert_eq!(proxy.calls(Function::Login), before + 1);
    place.open(&unlock(&token)).unwrap();
}

#[test]
fn a_token_that_is_away_is_unavailable_and_opens_when_it_is_back() {
    let token = Token::alone();
    let place = Place::new();
    let by_token = unlock(&token);
    place.with_token(&by_token);
    token.move_away();
    fails(place.open(&by_token), ErrorKind::BackendUnavailable, "");
    fails(
        place.open(&unlock(&token)),
        ErrorKind::BackendUnavailable,
        "",
    );
    // What else unlocks the vault goes on doing so.
    place.open(place.by_passphrase()).unwrap();
    token.move_back();
    let start = Instant::now();
    while let Err(error) = place.open(&unlock(&token)) {
        assert_eq!(error.kind(), ErrorKind::BackendUnavailable, "{error}");
        assert!(start.elapsed() < Duration::from_secs(60), "{error}");
        // SoftHSM2 sees it again only when it is started anew.
        token.softhsm().finalize();
        token.softhsm().initialize().unwrap();
        thread::sleep(Duration::from_millis(50));
    }
    let nowhere = Pkcs11Options::new(
        Path::new("/nowhere/module.so"),
        TokenSelector::Serial(token.serial().to_owned()),
        pin("1234"),
    );
    let error = place.open(&TokenUnlock::new(nowhere)).unwrap_err();
    assert_ne!(error.kind(), ErrorKind::WrongKey, "{error}");
}

fn plant(session: &Session, label: &[u8], id: u8, change: impl Fn(&mut Vec<Attribute>)) {
    let mut template = vec![
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
        Attribute::ValueLen(32.into()),
        Attribute::Label(label.to_vec()),
        Attribute::Id(vec![0, id]),
    ];
    change(&mut template);
    session
        .generate_key(&Mechanism::AesKeyGen, &template)
        .unwrap();
}

fn replace(template: &mut Vec<Attribute>, new: Attribute) {
    template.retain(|old| old.attribute_type() != new.attribute_type());
    template.push(new);
}

/// As a process that is killed in the middle of C_GenerateKey leaves it, and as somebody else could put it there.
#[test]
fn a_key_that_is_half_made_or_can_leave_is_not_chosen() {
    let proxy = Proxy::new();
    let token = proxy.new_token();
    {
        let session = token.session();
        plant(&session, AES, 0, |_| {});
        let file = object_files(token.directory()).pop().unwrap();
        let half = without_attribute(&fs::read(&file).unwrap(), 0x11);
        fs::write(&file, half).unwrap();
        plant(&session, AES, 1, |template| {
            replace(template, Attribute::Extractable(true));
        });
        plant(&session, AES, 2, |template| {
            replace(template, Attribute::Decrypt(false));
        });
        plant(&session, AES, 3, |template| {
            replace(template, Attribute::ValueLen(16.into()));
        });
        // Known to him who put it there.
        session
            .create_object(&[
                Attribute::Class(ObjectClass::SECRET_KEY),
                Attribute::KeyType(KeyType::AES),
                Attribute::Token(true),
                Attribute::Private(true),
                Attribute::Sensitive(true),
                Attribute::Extractable(false),
                Attribute::Encrypt(true),
                Attribute::Decrypt(true),
                Attribute::Label(AES.to_vec()),
                Attribute::Id(vec![0, 4]),
                Attribute::Value(vec![7; 32]),
            ])
            .unwrap();
    }
    proxy.softhsm().finalize();
    let place = Place::new();
    let by_token = unlock(&token);
    place.with_token(&by_token);
    place.open(&by_token).unwrap();
    assert_eq!(token.object_files(), 6, "one was made and none destroyed");
    Place::new().with_token(&by_token);
    assert_eq!(token.object_files(), 6);
}

#[test]
fn a_key_that_was_prepared_is_used_and_none_is_made() {
    let token = Token::new();
    let place = Place::new();
    let vault = place.create();
    let prepared = unlock(&token).key_label("prepared by an officer");
    let add = || vault.add_unlock_slot(place.by_passphrase(), Unlock::from(&prepared));
    fails(
        add(),
        ErrorKind::BackendUnavailable,
        "prepared by an officer",
    );
    assert_eq!(token.object_files(), 0);
    let session = {
        let pkcs11 = attach(&token);
        drop(pkcs11);
        token.session()
    };
    plant(&session, b"prepared by an officer", 1, |template| {
        replace(template, Attribute::Extractable(true));
    });
    fails(add(), ErrorKind::BackendUnavailable, "never extractable");
    plant(&session, b"prepared by an officer", 2, |_| {});
    add().unwrap();
    vault.close().unwrap();
    assert_eq!(token.object_files(), 2);
    place.open(&prepared).unwrap();
    // Another label, another key.
    fails(place.open(&unlock(&token)), ErrorKind::WrongKey, "");
}
