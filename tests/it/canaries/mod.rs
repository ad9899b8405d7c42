//! Secrets that are easy to recognise go through every operation and every refusal; then everything that came out as
//! text is searched for them, raw and in hexadecimal, base64, base64url and decimal: `Debug` of every public type,
//! `Display`, errors with their sources, events of `tracing`, the export of the audit log, messages of panics. A leak
//! that is planted is found in each of these ways.

mod newer;
mod traits;
mod watch;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use strongroom::backend::testing::MemoryDevice;
use strongroom::backend::{KeyBackend, KeyBlob, KeyTag};
use strongroom::{
    AuditOptions, AuditReads, BackupKey, BackupOptions, Ciphertext, CreateKeyOptions, DomainFile,
    EncryptItem, EncryptOptions, EncryptionAlgorithm, FileRollbackGuard, ImportKeyOptions,
    ImportedKey, JsonWebKey, KeyBackup, KeyIdentifier, KeyName, KeyOperation, MaintenanceOptions,
    MasterKey, OctKeySize, PageSize, Passphrase, PassphraseParameters, Permission, Permissions,
    Principal, PublicKey, RecipientKey, RestoreOptions, RsaKeySize, SecretBytes, SecurityDomain,
    SignItem, SignatureAlgorithm, Tags, Unlock, UpdateKeyOptions, Vault, VaultOptions,
    WrapAlgorithm, WrapItem, hazmat, verify_audit_checkpoint,
};

use self::watch::{Canary, Watch};
use crate::permissions::table::calls;
use crate::support::{Place, fixed_rsa, name};

/// 32 bytes that are legal as everything that they are used as. No six in a row, like those of the texts below, occur in
/// any sentence.
fn bytes(number: u8) -> [u8; 32] {
    let mut bytes = *b"\x3c\xa9Qw7kVz\xf1\x07\x98\xb3\x5e\xd4Gh3_xR9_mT5#pZr\xee\xc6\x99";
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = byte.wrapping_add(number.wrapping_mul(place as u8 | 1));
    }
    bytes[0] &= 0x7f;
    bytes
}

const PASSPHRASE: &str = "zQ7#wERtz-uIoP8ue-asDfgh5";
const OTHER_PASSPHRASE: &str = "Yx81!cVbnM-nJk7lO-tRe4wq";
const PASSWORD: &str = "Mko0-nJi9-bHu8-vGy7-cFt6";
const PIN: &str = "93517-Plm-Okn-8642";
const TAG: &str = "tGb5_yHn6_uJm7_iK8-oL9.qAz1";

const MASTER: u8 = 0;
const OCT: u8 = 1;
const SCALAR: u8 = 2;
const PLAINTEXT: u8 = 3;
const RECIPIENT: u8 = 4;
const WRAPPED: u8 = 5;
const NEW_MASTER: u8 = 6;

fn canaries() -> Vec<Canary> {
    let mut canaries: Vec<Canary> = [
        ("master key", MASTER),
        ("symmetric key", OCT),
        ("private scalar", SCALAR),
        ("plaintext", PLAINTEXT),
        ("recipient's key", RECIPIENT),
        ("wrapped key", WRAPPED),
        ("new master key", NEW_MASTER),
    ]
    .map(|(name, number)| (name, bytes(number).to_vec()))
    .to_vec();
    for (name, text) in [
        ("passphrase", PASSPHRASE),
        ("other passphrase", OTHER_PASSPHRASE),
        ("password", PASSWORD),
        ("PIN", PIN),
        ("tag value", TAG),
    ] {
        canaries.push((name, text.as_bytes().to_vec()));
    }
    canaries
}

fn master() -> MasterKey {
    MasterKey::from_bytes(&bytes(MASTER)).unwrap()
}

fn cheap() -> PassphraseParameters {
    PassphraseParameters::new(19_456, 1, 1).unwrap()
}

fn jwk_of_scalar() -> String {
    use p256::elliptic_curve::sec1::ToSec1Point as _;
    let secret = p256::SecretKey::from_slice(&bytes(SCALAR)).unwrap();
    let point = secret.public_key().to_sec1_point(false);
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    format!(
        r#"{{"kty":"EC","crv":"P-256","x":"{}","y":"{}","d":"{}"}}"#,
        text(point.x().unwrap()),
        text(point.y().unwrap()),
        text(&bytes(SCALAR)),
    )
}

/// Keys on their way in, whole and broken in every place.
fn imports(watch: &Watch, vault: &Vault) {
    let oct = || ImportedKey::oct(SecretBytes::copied_from(&bytes(OCT)));
    watch.value(&oct());
    watch.value(&ImportKeyOptions::new(oct()).tag("a", TAG));
    let jwk = jwk_of_scalar();
    watch.value(&ImportedKey::from_jwk(jwk.as_bytes()).unwrap());
    let all = [
        KeyOperation::Encrypt,
        KeyOperation::Decrypt,
        KeyOperation::WrapKey,
        KeyOperation::UnwrapKey,
        KeyOperation::Sign,
        KeyOperation::Verify,
    ];
    let import = ImportKeyOptions::new(oct())
        .operations(all)
        .backup_allowed()
        .tag("a", TAG);
    watch.given(vault.import_key(&name("oct"), import));
    let ec = ImportedKey::from_jwk(jwk.as_bytes()).unwrap();
    let import = ImportKeyOptions::new(ec).backup_allowed().tag("a", TAG);
    watch.given(vault.import_key(&name("ec"), import));
    watch.given(vault.import_key(
        &name("rsa"),
        ImportKeyOptions::new(fixed_rsa(RsaKeySize::Bits2048)),
    ));

    // A scalar of another public key, of another length, above the order.
    for wrong in [
        jwk.replace("\"x\":\"", "\"x\":\"A"),
        jwk.replacen("P-256", "P-384", 1),
        jwk.replacen("P-256", "P-256K", 1),
        jwk.replace("\"d\":\"", "\"d\":\"A"),
        jwk.replace("\"d\":\"", "\"d\":\"/"),
        jwk.replace("\"d\":", "\"d\":1,\"e\":"),
        jwk.replace("\"kty\":\"EC\"", "\"kty\":\"RSA\""),
        jwk.replace("\"kty\":\"EC\"", "\"kty\":\"oct\",\"k\":true"),
        jwk.replace("\"d\":", "\"d\":["),
    ] {
        if let Some(key) = watch.result(ImportedKey::from_jwk(wrong.as_bytes())) {
            watch.result(vault.import_key(&name("wrong"), ImportKeyOptions::new(key)));
        }
    }
    for length in 0..jwk.len() {
        watch.result(ImportedKey::from_jwk(&jwk.as_bytes()[..length]));
        let mut altered = jwk.clone().into_bytes();
        altered[length] ^= 0x11;
        watch.result(ImportedKey::from_jwk(&altered));
        if let Ok(text) = std::str::from_utf8(&altered) {
            watch.result(text.parse::<JsonWebKey>());
        }
    }
    let too_long = [bytes(OCT); 3].concat();
    let key = ImportedKey::oct(SecretBytes::from(too_long));
    watch.refused(vault.import_key(&name("wrong"), ImportKeyOptions::new(key)));
    let too_short = ImportedKey::oct(SecretBytes::copied_from(&bytes(OCT)[..15]));
    watch.refused(vault.import_key(&name("wrong"), ImportKeyOptions::new(too_short)));
    let key = ImportedKey::oct(SecretBytes::copied_from(&bytes(OCT)));
    let options = ImportKeyOptions::new(key).operations([KeyOperation::Import]);
    watch.refused(vault.import_key(&name("wrong"), options));

    // DER and PEM around the scalar.
    let der = [
        &b"\x30\x41\x02\x01\x00\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x04\x27"
            [..],
        b"\x30\x25\x02\x01\x01\x04\x20",
        &bytes(SCALAR),
    ]
    .concat();
    watch.given(ImportedKey::from_pkcs8_der(&der));
    let pem = |label: &str| {
        let text = base64::engine::general_purpose::STANDARD.encode(&der);
        format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
    };
    for label in [
        "PRIVATE KEY",
        "EC PRIVATE KEY",
        "RSA PRIVATE KEY",
        "PUBLIC KEY",
    ] {
        watch.result(ImportedKey::from_pem(&pem(label)));
        watch.result(PublicKey::from_spki_pem(&pem(label)));
        watch.result(ImportedKey::from_encrypted_pem(
            &pem(label),
            PASSWORD.as_bytes(),
        ));
    }
    for at in 0..der.len() {
        let mut altered = der.clone();
        altered[at] ^= 0x55;
        for bytes in [&der[..at], &altered] {
            for key in [
                ImportedKey::from_pkcs8_der(bytes),
                ImportedKey::from_pkcs1_der(bytes),
                ImportedKey::from_sec1_der(bytes),
                ImportedKey::from_pkcs8_encrypted_der(bytes, PASSWORD.as_bytes()),
            ] {
                if let Some(key) = watch.result(key) {
                    watch.result(vault.import_key(&name("altered"), ImportKeyOptions::new(key)));
                }
            }
            watch.result(PublicKey::from_spki_der(bytes));
        }
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/containers");
    let encrypted = std::fs::read(folder.join("p256.pbkdf2.pkcs8")).unwrap();
    watch.refused(ImportedKey::from_pkcs8_encrypted_der(
        &encrypted,
        PASSWORD.as_bytes(),
    ));
}

/// Each operation with secrets in its input, done and refused.
fn operations(watch: &Watch, vault: &Vault) {
    let (oct, ec, rsa) = (name("oct"), name("ec"), name("rsa"));
    let plaintext = bytes(PLAINTEXT);
    let gcm = EncryptionAlgorithm::A256Gcm;
    let (kw, hs) = (WrapAlgorithm::A256Kw, SignatureAlgorithm::Hs256);
    // Additional data is sent in the clear, and shown.
    let aad = b"who, when, what for";
    let options = EncryptOptions::new().aad(aad);
    watch.value(&options);
    let sealed = watch.given(vault.encrypt(&oct, gcm, &plaintext, options));
    let ciphertext = Ciphertext::from(&sealed).aad(aad);
    watch.given(vault.decrypt(&oct, gcm, ciphertext));
    watch.refused(vault.decrypt(&oct, gcm, Ciphertext::from(&sealed)));
    watch.refused(vault.decrypt(&oct, gcm, Ciphertext::new(&plaintext)));
    watch.value(&Ciphertext::new(sealed.ciphertext()).tag(&[1; 16]));
    for algorithm in ["A256CBC", "A128GCM", "RSA-OAEP", "RSA1_5"] {
        let algorithm: EncryptionAlgorithm = algorithm.parse().unwrap();
        watch.refused(vault.encrypt(&oct, algorithm, &plaintext[1..], EncryptOptions::new()));
        watch.refused(vault.encrypt(&name("missing"), algorithm, &plaintext, options));
        watch.result(vault.encrypt(&rsa, algorithm, &plaintext, EncryptOptions::new()));
        watch.refused(vault.decrypt(&rsa, gcm, Ciphertext::new(&plaintext)));
    }
    watch.result(hazmat::encrypt_with_iv(
        vault,
        &oct,
        gcm,
        &plaintext,
        &[7; 12],
        EncryptOptions::new(),
    ));
    watch.refused(hazmat::encrypt_with_iv(
        vault,
        &oct,
        gcm,
        &plaintext,
        &plaintext,
        EncryptOptions::new(),
    ));
    let long = [plaintext; 20].concat();
    let oaep = EncryptionAlgorithm::RsaOaep256;
    watch.refused(vault.encrypt(&rsa, oaep, &long, EncryptOptions::new()));

    let key = bytes(WRAPPED);
    let wrapped = watch.given(vault.wrap_key(&oct, kw, &key));
    watch.given(vault.unwrap_key(&oct, kw, wrapped.wrapped_key()));
    watch.refused(vault.wrap_key(&oct, kw, &key[1..]));
    watch.refused(vault.wrap_key(&ec, kw, &key));
    watch.refused(vault.wrap_key(&rsa, WrapAlgorithm::RsaOaep256, &[key; 20].concat()));
    watch.refused(vault.unwrap_key(&oct, kw, &key));
    let data_key = watch.given(vault.generate_data_key(&oct, kw, 32));
    let text = format!("{data_key:?} {data_key:#?}");
    assert_eq!(
        crate::rules::secrets::find_marker(&text, data_key.key().expose()),
        None
    );
    watch.result(vault.rewrap_key(
        &oct,
        kw,
        wrapped.wrapped_key(),
        &rsa,
        WrapAlgorithm::RsaOaep256,
    ));
    watch.refused(vault.rewrap_key(&oct, kw, &key, &rsa, WrapAlgorithm::RsaOaep256));

    let signed = watch.given(vault.sign_data(&oct, hs, &plaintext));
    watch.given(vault.verify_data(&oct, hs, &plaintext, signed.signature()));
    watch.refused(vault.verify_data(&oct, hs, &key, signed.signature()));
    watch.refused(vault.verify_data(&oct, hs, &plaintext, &key));
    watch.refused(vault.sign(&ec, hs, &plaintext));
    watch.refused(vault.sign(&ec, SignatureAlgorithm::Es256, &plaintext[1..]));
    watch.given(vault.sign(&ec, SignatureAlgorithm::Es256, &plaintext));
    let failing = || std::io::Error::other("the reader fails");
    struct Failing<F>(F);
    impl<F: Fn() -> std::io::Error> std::io::Read for Failing<F> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            buffer[..32].copy_from_slice(&bytes(PLAINTEXT));
            Err((self.0)())
        }
    }
    watch.refused(vault.sign_reader(&oct, hs, Failing(failing)));

    // Batches: what is done, and what is refused.
    let sign = [
        SignItem::new(&oct, hs, &plaintext),
        SignItem::new(&ec, hs, &plaintext),
    ];
    watch.value(&sign);
    watch.value(&vault.sign_many(&sign));
    let encrypt = [
        EncryptItem::new(&oct, gcm, &plaintext, options),
        EncryptItem::new(&ec, gcm, &plaintext, options),
    ];
    watch.value(&encrypt);
    watch.value(&vault.encrypt_many(&encrypt));
    let wrap = [
        WrapItem::new(&oct, kw, &key),
        WrapItem::new(&oct, kw, &key[1..]),
    ];
    watch.value(&wrap);
    watch.value(&vault.wrap_many(&wrap));
    let import = |length: usize| {
        let key = ImportedKey::oct(SecretBytes::copied_from(&bytes(OCT)[..length]));
        (
            name(&format!("of-a-batch-{length}")),
            ImportKeyOptions::new(key).tag("a", TAG),
        )
    };
    watch.value(&vault.import_many(vec![import(32), import(15), import(32)]));

    let bound = watch.given(vault.key(&oct));
    watch.refused(bound.decrypt(gcm, Ciphertext::new(&plaintext)));
    watch.refused(bound.unwrap_key(kw, &key));
    let bound = watch.given(vault.key(&ec));
    let public = bound.public_key().unwrap();
    watch.value(public);
    watch.value(public.parts());
    watch.refused(public.encrypt(oaep, &plaintext));
    watch.refused(public.verify(SignatureAlgorithm::Es256, &plaintext, &key));

    // Tags and names.
    let mut tags = Tags::new();
    tags.insert("a", TAG).unwrap();
    watch.value(&tags);
    watch.refused(tags.insert("b", TAG.repeat(20)));
    watch.refused(tags.insert(TAG.repeat(20), TAG));
    let many: Vec<String> = (0..16).map(|number| format!("t{number}")).collect();
    let create = || CreateKeyOptions::oct(OctKeySize::Bits256);
    let too_many = many
        .iter()
        .fold(create(), |options, tag| options.tag(tag, TAG));
    watch.value(&too_many);
    watch.refused(vault.create_key(&name("tagged"), too_many));
    watch.refused(vault.create_key(&name("tagged"), create().tag("a", TAG.repeat(20))));
    let update = UpdateKeyOptions::new().tags(tags);
    watch.value(&update);
    watch.given(vault.update_key_properties(&oct, update));
    watch.refused(bytes_as_text().parse::<KeyName>());
    watch.refused(bytes_as_text().parse::<KeyIdentifier>());
}

/// A secret where a name is expected.
fn bytes_as_text() -> String {
    format!("{PASSPHRASE} {TAG}")
}

/// Listings, statuses, and everything else that a vault tells about itself.
fn about(watch: &Watch, vault: &Vault, place: &Place) {
    let oct = name("oct");
    watch.value(vault);
    watch.value(&place.options());
    watch.shown(vault.url());
    watch.result(vault.status());
    let metrics = watch.given(vault.metrics());
    metrics
        .operations()
        .values()
        .for_each(|metrics| watch.value(metrics));
    watch.shown(&oct);
    watch.value(&cheap());
    watch.result(vault.open_report());
    watch.result(vault.check());
    watch.value(&vault.memory_report());
    watch.value(&vault.deletion_settings());
    watch.value(&vault.algorithm_rules());
    watch.result(vault.unlock_slots());
    watch.result(vault.security_domain());
    watch.result(vault.domain_epochs());
    watch.shown(&watch.given(vault.pin()));
    for backend in vault.backends().unwrap() {
        watch.value(&backend);
        watch.value(&backend.capabilities());
    }
    watch.result(vault.reconcile_backends());
    let bundle = watch.given(vault.get_key(&oct));
    watch.shown(bundle.id());
    watch.value(&vault.list_key_properties());
    for properties in vault.list_key_properties() {
        watch.given(properties);
    }
    let page = watch.given(vault.list_key_properties_page(None, PageSize::new(1).unwrap()));
    watch.shown(page.continuation().unwrap());
    watch.value(&PageSize::MAX);
    let versions = watch.given(vault.list_key_properties_versions(&oct));
    for version in versions {
        watch.value(&version);
    }
    let who: Principal = "somebody".parse().unwrap();
    let permissions = Permissions::from([Permission::Get])
        .for_names(["o*".parse().unwrap()])
        .unwrap();
    watch.shown(&who);
    watch.value(&permissions);
    watch.result(vault.set_access_policy(&who, permissions));
    watch.result(vault.access_policies());
    let restricted = watch.given(vault.as_principal(&who));
    watch.refused(restricted.encrypt(
        &oct,
        EncryptionAlgorithm::A256Gcm,
        &bytes(PLAINTEXT),
        EncryptOptions::new(),
    ));
    watch.result(vault.remove_access_policy(&who));
    watch.result(vault.maintain(MaintenanceOptions::new()));
    watch.value(&MaintenanceOptions::new());
    watch.result(vault.rotate_kek());
}

/// Backups and what they are sealed with.
fn backups(watch: &Watch, vault: &Vault, place: &Place) {
    let (oct, recipient) = (
        name("oct"),
        RecipientKey::from_bytes(&bytes(RECIPIENT)).unwrap(),
    );
    let passphrase = Passphrase::new(PASSPHRASE).unwrap();
    let wrong = Passphrase::new(OTHER_PASSPHRASE).unwrap();
    watch.value(&recipient);
    watch.shown(&recipient.recipient());
    watch.refused(RecipientKey::from_bytes(&bytes(RECIPIENT)[1..]));
    let sealed_for = BackupOptions::new()
        .recipient(&recipient.recipient())
        .passphrase(&passphrase)
        .passphrase_parameters(cheap())
        .without_domain();
    watch.value(&sealed_for);
    watch.value(&BackupKey::passphrase(&passphrase));
    let blob = watch.given(vault.backup_key_with(&oct, &sealed_for));
    watch.given(KeyBackup::inspect(blob.as_bytes()));
    let mut altered = blob.as_bytes().to_vec();
    let at = altered.len() - 40;
    altered[at] ^= 1;
    let key = || RestoreOptions::new().recipient_key(&recipient);
    for (blob, options) in [
        (blob.as_bytes(), RestoreOptions::new()),
        (blob.as_bytes(), RestoreOptions::new().passphrase(&wrong)),
        (
            blob.as_bytes(),
            RestoreOptions::new().passphrase(&passphrase),
        ),
        (blob.as_bytes(), key()),
        (blob.as_bytes(), key().accept_unauthenticated(true)),
        (&altered, key().accept_unauthenticated(true)),
        (&bytes(WRAPPED)[..], key()),
    ] {
        watch.value(&options);
        watch.result(vault.restore_plan(blob, &options));
        watch.refused(vault.restore_key_with(blob, &options));
    }
    let other = VaultOptions::new().create_in_memory().unwrap();
    let options = key().accept_unauthenticated(true);
    watch.given(other.restore_key_with(&blob, &options));
    let mut stream = Vec::new();
    watch.given(vault.backup_to(&mut stream, &sealed_for, |progress| watch.value(&progress)));
    let restored = other.restore_all_from(&stream[..], &options, |progress| watch.value(&progress));
    watch.value(watch.given(restored).settings().unwrap());
    let cut = &stream[..stream.len() - 1];
    watch.refused(other.restore_all_from(cut, &options, |_| ()));

    let domain = watch.given(vault.security_domain());
    let file: DomainFile = watch.given(vault.export_domain(&sealed_for));
    let open = |key: BackupKey<'_>, fingerprint: &[u8; 32]| {
        SecurityDomain::open(file.as_bytes(), key, fingerprint, 1 << 20)
    };
    watch.given(open(
        BackupKey::recipient(&recipient),
        &domain.fingerprint(),
    ));
    watch.refused(open(BackupKey::passphrase(&wrong), &domain.fingerprint()));
    watch.refused(open(BackupKey::passphrase(&passphrase), &bytes(WRAPPED)));
    watch.given(vault.rotate_domain());

    // Slots.
    let slot = watch
        .given(vault.add_unlock_slot(Unlock::raw_key(&master()), Unlock::passphrase(&passphrase)));
    watch.shown(&slot);
    watch.refused(vault.add_unlock_slot(Unlock::passphrase(&wrong), Unlock::raw_key(&master())));
    watch.refused(vault.replace_unlock_slot(
        Unlock::passphrase(&wrong),
        slot,
        Unlock::passphrase(&wrong),
    ));
    watch.value(&vault.unlock_slots().unwrap());
    watch.given(vault.remove_unlock_slot(slot));
    let guard = FileRollbackGuard::new(place.path.with_extension("guard"));
    watch.value(&guard);
}

/// The ways to open a vault, right and wrong, and the secrets for it.
fn unlocking(watch: &Watch, place: &Place) {
    let (master, passphrase) = (master(), Passphrase::new(PASSPHRASE).unwrap());
    let new = MasterKey::from_bytes(&bytes(NEW_MASTER)).unwrap();
    watch.value(&master);
    watch.value(&passphrase);
    watch.value(&Unlock::raw_key(&master));
    watch.value(&strongroom::NewSlot::from(Unlock::passphrase(&passphrase)));
    watch.refused(MasterKey::from_bytes(&bytes(MASTER)[1..]));
    watch.refused(Passphrase::new(&PASSPHRASE.repeat(200)));
    watch.value(&SecretBytes::copied_from(&bytes(MASTER)));
    watch.value(&KeyBlob::new(SecretBytes::copied_from(&bytes(MASTER))));
    watch.shown(&KeyTag::from_bytes([1; 16]));
    watch.refused(place.options().open(&place.path, Unlock::raw_key(&new)));
    watch.refused(
        place
            .options()
            .open(&place.path, Unlock::passphrase(&passphrase)),
    );
    let recipient = RecipientKey::from_bytes(&bytes(RECIPIENT)).unwrap();
    watch.refused(
        place
            .options()
            .open(&place.path, Unlock::recipient(&recipient)),
    );
    watch.refused(
        place
            .options()
            .create(&place.path, Unlock::raw_key(&master)),
    );
    let elsewhere = Place::new();
    watch.refused(
        elsewhere
            .options()
            .open(&elsewhere.path, Unlock::raw_key(&master)),
    );
    let salvaged = place
        .options()
        .salvage(&place.path, Unlock::raw_key(&master), &elsewhere.path);
    let (vault, report) = salvaged.unwrap();
    watch.value(&report);
    watch.given(vault.close());
    watch.refused(place.options().compact(&place.path, Unlock::raw_key(&new)));
    let (vault, report) = place
        .options()
        .compact(&place.path, Unlock::raw_key(&master))
        .unwrap();
    watch.value(&report);
    watch.given(vault.close());
    let rotated = Place::new();
    let vault = watch.given(place.options().rotate_root(
        &place.path,
        Unlock::raw_key(&master),
        &rotated.path,
        Unlock::raw_key(&new),
    ));
    watch.given(vault.lock());
    watch.refused(vault.get_key(&name("oct")));
    watch.result(vault.close());
    #[cfg(feature = "pkcs11")]
    tokens(watch);
}

#[cfg(feature = "pkcs11")]
fn tokens(watch: &Watch) {
    use strongroom::Pin;
    use strongroom::backend::pkcs11::{
        PinSource, Pkcs11Backend, Pkcs11Options, TokenSelector, TokenUnlock,
    };
    let pin = || Pin::new(PIN).unwrap();
    watch.value(&pin());
    watch.refused(Pin::new(&PIN.repeat(50)));
    watch.value(&PinSource::value(pin()));
    let options = || {
        let token = TokenSelector::Label("none".to_owned());
        Pkcs11Options::new("/no/such/module.so", token, PinSource::value(pin()))
            .initialization_string(PIN)
    };
    watch.value(&options());
    let backend = Pkcs11Backend::new(options());
    watch.value(&backend);
    for error in [
        backend.serial().unwrap_err(),
        backend.label().unwrap_err(),
        backend.create_domain_key(&pin()).unwrap_err(),
    ] {
        watch.shown(&error);
        watch.error(&error.into());
    }
    let _ = std::any::type_name::<TokenUnlock>();
}

/// The events of every operation.
#[cfg(feature = "tracing")]
mod events {
    use std::fmt::{Debug, Write};

    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    #[derive(Clone, Default)]
    pub(super) struct Lines(pub(super) super::Arc<super::Mutex<Vec<String>>>);

    struct Line(String);

    impl Visit for Line {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            write!(self.0, " {field}={value:?}").unwrap();
        }
    }

    impl Subscriber for Lines {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, event: &Event<'_>) {
            let mut line = Line(event.metadata().target().to_owned());
            event.record(&mut line);
            self.0.lock().unwrap().push(line.0);
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }
}

/// Everything that the vault does, with everything that comes out of it.
fn whole_life(watch: &Watch) {
    let place = Place::new();
    let audit = AuditOptions::on().reads(AuditReads::All);
    watch.value(&audit);
    let device = "device".parse().unwrap();
    let vault = place
        .options()
        .audit(audit)
        .passphrase_parameters(cheap())
        .backend(Arc::new(MemoryDevice::new(device)) as Arc<dyn KeyBackend>)
        .create(&place.path, Unlock::raw_key(&master()))
        .unwrap();
    imports(watch, &vault);
    operations(watch, &vault);
    newer::run(watch, &vault);
    about(watch, &vault, &place);
    backups(watch, &vault, &place);
    let ec = name("ec");
    let deleted = watch.given(vault.delete_key(&ec));
    watch.value(&deleted);
    watch.given(vault.get_deleted_key(&ec));
    for properties in vault.list_deleted_key_properties() {
        watch.given(properties);
    }
    watch.value(&vault.list_deleted_key_properties());
    watch.given(vault.purge_deleted_key(&ec));

    // The audit log.
    let checkpoint = watch.given(vault.audit_checkpoint());
    let identity = watch.given(vault.identity_public_key());
    watch.given(verify_audit_checkpoint(&checkpoint, &identity));
    watch.given(vault.verify_audit());
    let entries = watch.given(vault.audit_entries(0));
    let mut count = 0;
    for entry in entries {
        watch.given(entry);
        count += 1;
    }
    assert!(count > 50, "{count} entries");
    let mut export = Vec::new();
    vault.export_audit(&mut export).unwrap();
    watch.text(
        "the export of the audit log",
        String::from_utf8(export).unwrap(),
    );
    // Every public method: without permissions, on no key, on a closed vault.
    let (oct, missing) = (name("oct"), name("missing"));
    for (method, _, call) in calls() {
        let restricted = vault.restricted(Permissions::none());
        let errors = [
            call(&restricted, &oct).err(),
            (!matches!(method, "lock" | "close"))
                .then(|| call(&vault, &missing).err())
                .flatten(),
        ];
        for error in errors.into_iter().flatten() {
            watch.error(&error);
        }
    }
    vault.close().unwrap();
    for (_, _, call) in calls() {
        if let Err(error) = call(&vault, &name("oct")) {
            watch.error(&error);
        }
    }
    drop(vault);
    unlocking(watch, &place);
    panics(watch);
}

/// A panic of the caller's code in the middle of an operation, and the one that a constant can give.
fn panics(watch: &Watch) {
    let vault = VaultOptions::new().create_in_memory().unwrap();
    let key = ImportedKey::oct(SecretBytes::copied_from(&bytes(OCT)));
    let import = ImportKeyOptions::new(key).backup_allowed().tag("a", TAG);
    vault.import_key(&name("oct"), import).unwrap();
    let before = Arc::new(std::panic::take_hook());
    let others = Arc::clone(&before);
    let messages = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&messages);
    let own = std::thread::current().id();
    std::panic::set_hook(Box::new(move |info| {
        if std::thread::current().id() == own {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.push(info.to_string());
        } else {
            others(info);
        }
    }));
    let recipient = RecipientKey::from_bytes(&bytes(RECIPIENT)).unwrap();
    let options = BackupOptions::new().recipient(&recipient.recipient());
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        vault.backup_to(Vec::new(), &options, |_| panic!("the caller's"))
    }));
    let no_name = std::panic::catch_unwind(|| KeyName::from_static("not a name"));
    std::panic::set_hook(Box::new(move |info| before(info)));
    for payload in [caught.err(), no_name.err()].into_iter().flatten() {
        let text = payload.downcast_ref::<String>().cloned();
        let literal = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned());
        watch.text("a panic's payload", text.or(literal).unwrap_or_default());
    }
    let messages = messages.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(messages.len(), 2);
    for message in messages.iter() {
        watch.text("a panic's message", message.clone());
    }
    // The vault stands it, or says that it does not.
    watch.result(vault.get_key(&name("oct")));
}

/// What is public and holds nothing that a caller gave: enumerations, numbers and settings.
const PLAIN: &[&str] = &[
    "AttestationAuthority",
    "CalendarDuration",
    "CryptoEngine",
    "KeyEncryptionAlgorithm",
    "KeyEvent",
    "KeyEventKind",
    "KeyEventSubscriber",
    "ReleaseResult",
    "RotationTrigger",
    "ScheduledEvent",
    "ScheduledEventKind",
    "AuditReads",
    "AzureError",
    "BackendFinding",
    "BackendFindingKind",
    "BackupContents",
    "BackupOrigin",
    "CheckFinding",
    "Clock",
    "Curve",
    "CryptoOperation",
    "DomainFile",
    "Entropy",
    "EncryptionAlgorithm",
    "ErrorKind",
    "HardeningReport",
    "HashAlgorithm",
    "KeyFamily",
    "KeyMaterial",
    "KeyOutcome",
    "KeyOperation",
    "KeyOperations",
    "KeySelector",
    "KeySpec",
    "KeyType",
    "KeyVersion",
    "MemoryDegradation",
    "MemoryProtection",
    "NamePattern",
    "NameState",
    "OctKeyLength",
    "OctKeySize",
    "OpenFinding",
    "OsEntropy",
    "Permission",
    "RecoveryLevel",
    "Result",
    "RsaKeySize",
    "SignatureAlgorithm",
    "SoftDelete",
    "SystemClock",
    "Timestamp",
    "UnlockKind",
    "VaultStatus",
    "WipingAllocator",
    "WrapAlgorithm",
];

/// The types that `lib.rs` exports.
fn exported() -> BTreeSet<String> {
    let text = include_str!("../../../src/lib.rs");
    let uses = text
        .split("pub use ")
        .skip(1)
        .map(|rest| rest.split(';').next().unwrap());
    uses.flat_map(|names| names.split(|c: char| !c.is_alphanumeric() && c != '_'))
        .filter(|word| word.starts_with(|c: char| c.is_uppercase()))
        .map(str::to_owned)
        .collect()
}

#[test]
fn no_secret_comes_out_as_text() {
    let watch = Watch::default();
    #[cfg(feature = "tracing")]
    {
        let lines = events::Lines::default();
        // With a single subscriber `tracing` asks the thread that comes first whether anybody wants an event, and that
        // may be another test's.
        let _second = tracing::Dispatch::new(lines.clone());
        tracing::subscriber::with_default(lines.clone(), || whole_life(&watch));
        let lines = lines.0.lock().unwrap();
        assert!(lines.len() > 100, "{} events", lines.len());
        watch.text("events", lines.join("\n"));
    }
    #[cfg(not(feature = "tracing"))]
    whole_life(&watch);

    let leaks = watch.leaks(&canaries());
    assert!(leaks.is_empty(), "{leaks:#?}");
    let (texts, types) = (watch.count(), watch.types());
    assert!(texts > 1_000, "{texts} texts");
    let unseen: Vec<String> = exported()
        .into_iter()
        .filter(|name| !types.contains(name) && !PLAIN.contains(&name.as_str()))
        .collect();
    assert!(unseen.is_empty(), "never looked at: {unseen:?}");
    println!("{texts} texts of {} types, no canary in any", types.len());

    // Planted, each canary is found in each notation.
    for (name, canary) in canaries() {
        let hex = |byte: &u8| format!("{byte:02x}");
        let hex: String = canary.iter().map(hex).collect();
        let standard = base64::engine::general_purpose::STANDARD;
        let mut planted = BTreeSet::from([
            hex.clone(),
            hex.to_uppercase(),
            format!("{canary:?}"),
            format!("{canary:#?}"),
            format!("{canary:02x?}"),
        ]);
        if let Ok(text) = std::str::from_utf8(&canary) {
            planted.insert(text.to_owned());
            planted.insert(text.to_uppercase());
        }
        for before in ["", "1", "12"] {
            let bytes = [before.as_bytes(), &canary].concat();
            planted.insert(standard.encode(&bytes));
            planted.insert(URL_SAFE_NO_PAD.encode(&bytes));
        }
        for text in planted {
            let watch = Watch::default();
            watch.text("planted", format!("Error {{ value: {text} }}"));
            let found = watch.leaks(&[(name, canary.clone())]).len();
            assert_eq!(found, 1, "{name} as {text}");
        }
    }
}
