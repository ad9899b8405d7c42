//! What the objects of keys in a token are, as others see them: sensitive, private, not extractable, and able to
//! do what their `key_ops` need and nothing else. Plain PKCS#11 reads every attribute, and the command
//! `pkcs11-tool` has a look of its own.

use std::process::Command;
use std::sync::Arc;

use cryptoki::error::RvError;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use cryptoki::session::Session;
use hsm_softhsm_tests::Token;
use strongroom::backend::pkcs11::Pkcs11Backend;
use strongroom::{
    CreateKeyOptions, Curve, KeyOperation, OctKeySize, RsaKeySize, Vault, VaultOptions,
};

use KeyOperation::{Decrypt, Encrypt, Sign, UnwrapKey, Verify, WrapKey};

use crate::backends::own_options;
use crate::make;
use crate::support::{code, fixed_oct, fixed_rsa, name};

const RSA_SIGNING: [MechanismType; 2] = [MechanismType::RSA_PKCS, MechanismType::RSA_PKCS_PSS];
/// RSA-OAEP-256 and RSA1_5 are unpadded by the library.
const RSA_OPENING: [MechanismType; 2] = [MechanismType::RSA_PKCS_OAEP, MechanismType::RSA_X_509];
const AES: [MechanismType; 3] = [
    MechanismType::AES_GCM,
    MechanismType::AES_CBC,
    MechanismType::AES_CBC_PAD,
];
/// With padding, the library wraps block by block, and the token unwraps.
const WRAPPING: [MechanismType; 3] = [
    MechanismType::AES_KEY_WRAP,
    MechanismType::AES_KEY_WRAP_PAD,
    MechanismType::AES_ECB,
];
const MACS: [MechanismType; 3] = [
    MechanismType::SHA256_HMAC,
    MechanismType::SHA384_HMAC,
    MechanismType::SHA512_HMAC,
];

/// A token with what one call made in it.
struct Made {
    token: Token,
    session: Session,
}

impl Made {
    fn create(options: CreateKeyOptions) -> Self {
        Self::by(|vault| drop(vault.create_key(&name("k"), options).unwrap()))
    }

    fn by(work: impl FnOnce(&Vault)) -> Self {
        Self::on(Token::new(), work)
    }

    fn on(token: Token, work: impl FnOnce(&Vault)) -> Self {
        let vault = VaultOptions::new()
            .backend(Arc::new(Pkcs11Backend::new(own_options(&token))))
            .create_in_memory()
            .unwrap();
        let session = token.session();
        work(&vault);
        Self { token, session }
    }

    fn objects(&self) -> Vec<Object<'_>> {
        let objects = self.session.find_objects(&[]).unwrap();
        objects
            .into_iter()
            .map(|handle| Object {
                session: &self.session,
                handle,
            })
            .collect()
    }

    fn only_object(&self) -> Object<'_> {
        let mut objects = self.objects();
        assert_eq!(objects.len(), 1, "no public key, no second value");
        objects.remove(0)
    }
}

struct Object<'a> {
    session: &'a Session,
    handle: ObjectHandle,
}

impl Object<'_> {
    fn attribute(&self, attribute: AttributeType) -> Option<Attribute> {
        let found = self.session.get_attributes(self.handle, &[attribute]);
        found.unwrap().into_iter().next()
    }

    /// False for what such objects do not have.
    fn is(&self, attribute: AttributeType) -> bool {
        match self.attribute(attribute) {
            Some(
                Attribute::Encrypt(value)
                | Attribute::Decrypt(value)
                | Attribute::Sign(value)
                | Attribute::SignRecover(value)
                | Attribute::Verify(value)
                | Attribute::VerifyRecover(value)
                | Attribute::Wrap(value)
                | Attribute::Unwrap(value)
                | Attribute::Derive(value)
                | Attribute::Token(value)
                | Attribute::Private(value)
                | Attribute::Sensitive(value)
                | Attribute::AlwaysSensitive(value)
                | Attribute::Extractable(value)
                | Attribute::NeverExtractable(value)
                | Attribute::WrapWithTrusted(value),
            ) => value,
            Some(other) => panic!("{:?} is no flag", other.attribute_type()),
            None => false,
        }
    }

    /// The usage attributes that are true.
    fn usages(&self) -> Vec<&'static str> {
        [
            ("encrypt", AttributeType::Encrypt),
            ("decrypt", AttributeType::Decrypt),
            ("sign", AttributeType::Sign),
            ("sign-recover", AttributeType::SignRecover),
            ("verify", AttributeType::Verify),
            ("verify-recover", AttributeType::VerifyRecover),
            ("wrap", AttributeType::Wrap),
            ("unwrap", AttributeType::Unwrap),
            ("derive", AttributeType::Derive),
        ]
        .into_iter()
        .filter(|(_, attribute)| self.is(*attribute))
        .map(|(usage, _)| usage)
        .collect()
    }

    fn mechanisms(&self) -> Vec<MechanismType> {
        match self.attribute(AttributeType::AllowedMechanisms) {
            Some(Attribute::AllowedMechanisms(mechanisms)) => mechanisms,
            _ => Vec::new(),
        }
    }

    #[track_caller]
    fn assert_may(&self, usages: &[&str], mechanisms: &[MechanismType]) {
        assert_eq!(self.usages(), usages);
        let found = self.mechanisms();
        assert_eq!(found.len(), mechanisms.len(), "{found:?}");
        for mechanism in mechanisms {
            assert!(found.contains(mechanism), "{mechanism} in {found:?}");
        }
    }

    /// Nobody reads it, and nobody takes it out.
    #[track_caller]
    fn assert_guarded(&self) {
        assert!(self.is(AttributeType::Token));
        assert!(self.is(AttributeType::Private));
        assert!(self.is(AttributeType::Sensitive));
        assert!(!self.is(AttributeType::Extractable));
        for secret in [
            AttributeType::Value,
            AttributeType::PrivateExponent,
            AttributeType::Prime1,
            AttributeType::Prime2,
            AttributeType::Exponent1,
            AttributeType::Exponent2,
            AttributeType::Coefficient,
        ] {
            assert!(self.attribute(secret).is_none(), "{secret:?} can be read");
        }
    }
}

#[test]
fn a_key_may_do_what_its_key_ops_need_and_nothing_else() {
    let ec = || make::ec(Curve::P256);
    let rsa = || make::rsa(RsaKeySize::Bits2048);
    let oct = || make::oct(OctKeySize::Bits256);
    let all_rsa = [RSA_SIGNING, RSA_OPENING].concat();
    let cases: [(CreateKeyOptions, &[&str], &[MechanismType]); 12] = [
        (ec(), &["sign"], &[MechanismType::ECDSA]),
        (ec().operations([Sign]), &["sign"], &[MechanismType::ECDSA]),
        (ec().operations([Verify]), &[], &[]),
        (rsa(), &["decrypt", "sign"], &all_rsa),
        (rsa().operations([Sign]), &["sign"], &RSA_SIGNING),
        (rsa().operations([Decrypt]), &["decrypt"], &RSA_OPENING),
        (rsa().operations([UnwrapKey]), &["decrypt"], &RSA_OPENING),
        // All by the public key.
        (rsa().operations([Encrypt, Verify, WrapKey]), &[], &[]),
        (oct().operations([Encrypt]), &["encrypt"], &AES),
        (oct().operations([Decrypt]), &["decrypt"], &AES),
        (
            oct().operations([WrapKey, UnwrapKey]),
            &["encrypt", "wrap", "unwrap"],
            &WRAPPING,
        ),
        // A MAC is verified by making it again.
        (oct().operations([Verify]), &["sign"], &MACS),
    ];
    for (options, usages, mechanisms) in cases {
        let made = Made::create(options);
        let object = made.only_object();
        object.assert_guarded();
        object.assert_may(usages, mechanisms);
        assert!(object.is(AttributeType::AlwaysSensitive));
        assert!(object.is(AttributeType::NeverExtractable));
    }
}

#[test]
fn a_symmetric_key_for_everything_has_two_values_with_separate_uses() {
    let operations = [Encrypt, Decrypt, Sign, Verify, WrapKey, UnwrapKey];
    let made = Made::create(make::oct(OctKeySize::Bits128).operations(operations));
    let mut objects = made.objects();
    assert_eq!(objects.len(), 2);
    objects.sort_by_key(|object| object.usages().len());
    for object in &objects {
        object.assert_guarded();
    }
    objects[0].assert_may(&["sign"], &MACS);
    let aes = ["encrypt", "decrypt", "wrap", "unwrap"];
    objects[1].assert_may(&aes, &[&AES[..], &WRAPPING].concat());
}

#[test]
fn imported_keys_are_guarded_as_generated_ones() {
    for key in [
        || fixed_rsa(RsaKeySize::Bits2048),
        || fixed_oct(32),
        || fixed_oct(40),
    ] {
        let made = Made::by(|vault| {
            vault.import_key(&name("k"), make::import(key())).unwrap();
        });
        let object = made.only_object();
        object.assert_guarded();
        assert!(!object.is(AttributeType::WrapWithTrusted));
        // It was outside once, and the token says so.
        assert!(!object.is(AttributeType::AlwaysSensitive));
    }
}

#[test]
fn a_key_that_backups_may_carry_leaves_under_a_trusted_key_only() {
    let made = Made::create(make::ec(Curve::P384).backup_allowed());
    let object = made.only_object();
    assert!(object.is(AttributeType::Sensitive));
    assert!(object.is(AttributeType::Private));
    assert!(object.is(AttributeType::Extractable));
    assert!(object.is(AttributeType::WrapWithTrusted));
    assert!(object.attribute(AttributeType::Value).is_none());
}

#[test]
fn the_token_enforces_it_against_others() {
    let made = Made::create(make::rsa(RsaKeySize::Bits2048).operations([Sign]));
    let key = made.only_object().handle;
    let session = &made.session;
    assert!(session.sign(&Mechanism::RsaPkcs, key, &[1; 51]).is_ok());
    assert_eq!(
        code(session.sign(&Mechanism::RsaX509, key, &[1; 256])),
        RvError::MechanismInvalid,
        "a signing key does not do the raw operation"
    );
    let decrypted = made.token.session();
    assert_eq!(
        code(decrypted.decrypt(&Mechanism::RsaPkcs, key, &[1; 256])),
        RvError::KeyFunctionNotPermitted
    );
    let opened = session.update_attributes(key, &[Attribute::Sensitive(false)]);
    assert!(opened.is_err(), "sensitive once is sensitive for ever");
    let opened = session.update_attributes(key, &[Attribute::Extractable(true)]);
    assert!(opened.is_err(), "not extractable is for ever");
}

#[test]
fn who_is_not_logged_in_sees_no_key() {
    let made = Made::on(Token::alone(), |vault| {
        vault.create_key(&name("k"), make::ec(Curve::P256)).unwrap();
    });
    assert_eq!(made.objects().len(), 1);
    // As another process would: being logged in belongs to the process.
    let other = made.token.softhsm().second_instance();
    let pkcs11 = other.pkcs11();
    let slot = crate::support::slot(&pkcs11, &made.token).unwrap();
    let session = pkcs11.open_ro_session(slot).unwrap();
    assert_eq!(session.find_objects(&[]).unwrap(), []);
}

/// What `pkcs11-tool` lists of a token, from a process of its own.
fn listed_by_another_program(token: &Token) -> String {
    let module = token.module().to_str().unwrap();
    let output = Command::new("pkcs11-tool")
        .args(["--module", module, "--token-label", token.label()])
        .args(["--login", "--pin", token.user_pin(), "--list-objects"])
        .env(
            "SOFTHSM2_CONF",
            token.softhsm().tokens().with_file_name("softhsm2.conf"),
        )
        .output()
        .unwrap_or_else(|error| {
            panic!("pkcs11-tool does not run ({error}): install opensc, or start run.sh")
        });
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The words after `Usage:` or `Access:`, for each object that has such a line.
fn lines(listing: &str, title: &str) -> Vec<String> {
    listing
        .lines()
        .filter_map(|line| line.trim().strip_prefix(title))
        .map(|rest| rest.trim().to_owned())
        .collect()
}

#[test]
fn another_program_sees_the_same() {
    let made = Made::create(make::ec(Curve::P256));
    let listing = listed_by_another_program(&made.token);
    assert!(listing.contains("Private Key Object; EC"), "{listing}");
    assert!(!listing.contains("Public Key Object"), "{listing}");
    assert!(listing.contains("label:      strongroom/"), "{listing}");
    assert_eq!(lines(&listing, "Usage:"), ["sign"]);
    assert_eq!(
        lines(&listing, "Access:"),
        ["sensitive, always sensitive, never extractable, local"]
    );

    let made = Made::by(|vault| {
        let options = make::import(fixed_rsa(RsaKeySize::Bits2048)).operations([Decrypt]);
        vault.import_key(&name("invoices"), options).unwrap();
    });
    let listing = listed_by_another_program(&made.token);
    assert!(listing.contains("Private Key Object; RSA"), "{listing}");
    assert_eq!(lines(&listing, "Usage:"), ["decrypt"]);
    assert_eq!(lines(&listing, "Access:"), ["sensitive"]);
    assert!(!listing.contains("invoices"), "no name of a key: {listing}");

    let made = Made::create(make::oct(OctKeySize::Bits256).operations([Encrypt]));
    let listing = listed_by_another_program(&made.token);
    assert!(
        listing.contains("Secret Key Object; AES length 32"),
        "{listing}"
    );
    assert_eq!(lines(&listing, "Usage:"), ["encrypt"]);
    assert_eq!(
        lines(&listing, "Access:"),
        ["sensitive, always sensitive, never extractable, local"]
    );
}
