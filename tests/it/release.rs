//! Release: what it gives opens with another implementation, and whatever is wrong with a token, a policy or a key gives
//! nothing.

use std::error::Error as _;
use std::sync::Arc;

use serde_json::{Value, json};
use strongroom::backend::testing::MemoryDevice;
use strongroom::{
    CreateKeyOptions, Curve, ErrorKind, ImportKeyOptions, ImportedKey, KeyEncryptionAlgorithm,
    KeyName, KeyOperation, OctKeySize, ReleaseOptions, ReleasePolicy, ReleaseResult, RsaKeySize,
    SecretBytes, SignatureAlgorithm, UpdateKeyOptions, Vault, VaultOptions,
};

use crate::attested::{
    ISSUER, NOW, Service, base64url, claims, decoded, policy, unwrapped, vault_trusting, verified,
};
use crate::support::{FakeClock, fixed_oct, fixed_rsa, memory_vault, name, refused};

struct Setting {
    service: Arc<Service>,
    vault: Vault,
    clock: Arc<FakeClock>,
    key: KeyName,
}

impl Setting {
    fn of(service: Service) -> Self {
        let service = Arc::new(service);
        let (vault, clock) = vault_trusting(&service);
        let key = name("secret");
        vault.create_key(&key, exportable_ec()).unwrap();
        Self {
            service,
            vault,
            clock,
            key,
        }
    }

    fn new() -> Self {
        Self::of(Service::new())
    }

    fn release(&self, token: &str) -> strongroom::Result<ReleaseResult> {
        self.vault.release(&self.key, token, ReleaseOptions::new())
    }

    /// With claims that `change` has changed.
    fn release_with(&self, change: impl FnOnce(&mut Value)) -> strongroom::Result<ReleaseResult> {
        let mut claims = claims();
        change(&mut claims);
        self.release(&self.service.token(SignatureAlgorithm::Rs256, &claims))
    }
}

fn exportable_ec() -> CreateKeyOptions {
    CreateKeyOptions::ec(Curve::P256)
        .exportable()
        .release_policy(policy())
}

#[test]
fn a_released_key_opens_with_another_implementation_and_is_the_same_key() {
    let setting = Setting::new();
    let vault = &setting.vault;
    let rsa = ImportKeyOptions::new(fixed_rsa(RsaKeySize::Bits2048));
    vault
        .import_key(&name("rsa"), rsa.exportable().release_policy(policy()))
        .unwrap();
    for (key, curve) in [
        ("p256", Curve::P256),
        ("p384", Curve::P384),
        ("p521", Curve::P521),
        ("p256k", Curve::P256K),
    ] {
        let options = CreateKeyOptions::ec(curve)
            .exportable()
            .release_policy(policy());
        vault.create_key(&name(key), options).unwrap();
    }
    let (reading, _) = memory_vault();
    for (key, algorithm) in [
        ("p256", SignatureAlgorithm::Es256),
        ("p384", SignatureAlgorithm::Es384),
        ("p521", SignatureAlgorithm::Es512),
        ("p256k", SignatureAlgorithm::Es256K),
    ] {
        for wrapping in KeyEncryptionAlgorithm::ALL {
            let token = setting.service.token(SignatureAlgorithm::Es256, &claims());
            let options = ReleaseOptions::new().algorithm(wrapping).nonce("n-1");
            let released = vault.release(&name(key), &token, options).unwrap();
            let payload = verified(vault, released.value());
            let bundle = vault.get_key(&name(key)).unwrap();
            let request =
                json!({"enc": wrapping.as_str(), "kid": bundle.id().to_string(), "nonce": "n-1"});
            assert_eq!(payload["request"], request);
            let shown = &payload["response"]["key"];
            assert_eq!(shown["key"]["kid"], bundle.id().to_string());
            assert_eq!(shown["attributes"]["exportable"], true);
            assert_eq!(shown["release_policy"]["immutable"], false);
            let imported = ImportedKey::from_pkcs8_der(&unwrapped(&payload, wrapping)).unwrap();
            let options = ImportKeyOptions::new(imported).allow_type_change();
            reading.import_key(&name("copy"), options).unwrap();
            let signed = reading
                .sign_data(&name("copy"), algorithm, b"text")
                .unwrap();
            vault
                .verify_data(&name(key), algorithm, b"text", signed.signature())
                .unwrap();
        }
    }
    // aws-lc reads our PKCS#8, too.
    let token = setting.service.token(SignatureAlgorithm::Rs256, &claims());
    let released = vault
        .release(&name("p384"), &token, ReleaseOptions::new())
        .unwrap();
    let der = unwrapped(
        &verified(vault, released.value()),
        KeyEncryptionAlgorithm::default(),
    );
    aws_lc_rs::signature::EcdsaKeyPair::from_pkcs8(
        &aws_lc_rs::signature::ECDSA_P384_SHA384_FIXED_SIGNING,
        &der,
    )
    .unwrap();
    let released = vault
        .release(&name("rsa"), &token, ReleaseOptions::new())
        .unwrap();
    let der = unwrapped(
        &verified(vault, released.value()),
        KeyEncryptionAlgorithm::default(),
    );
    let pair = aws_lc_rs::rsa::KeyPair::from_pkcs8(&der).unwrap();
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(
        &aws_lc_rs::signature::RSA_PKCS1_SHA256,
        &aws_lc_rs::rand::SystemRandom::new(),
        b"text",
        &mut signature,
    )
    .unwrap();
    vault
        .verify_data(&name("rsa"), SignatureAlgorithm::Rs256, b"text", &signature)
        .unwrap();
}

#[test]
fn a_symmetric_key_is_released_as_its_bytes() {
    let setting = Setting::new();
    for length in [16, 20, 32, 64] {
        let options = ImportKeyOptions::new(fixed_oct(length))
            .exportable()
            .release_policy(policy());
        let key = name(&format!("oct-{length}"));
        setting.vault.import_key(&key, options).unwrap();
        let token = setting.service.token(SignatureAlgorithm::Ps384, &claims());
        let released = setting
            .vault
            .release(&key, &token, ReleaseOptions::new())
            .unwrap();
        let bytes = unwrapped(
            &verified(&setting.vault, released.value()),
            KeyEncryptionAlgorithm::default(),
        );
        let expected: Vec<u8> = (1..=length as u8).collect();
        assert_eq!(bytes, expected);
    }
}

#[test]
fn every_allowed_signature_is_verified_and_no_other() {
    let setting = Setting::new();
    for algorithm in [
        SignatureAlgorithm::Rs256,
        SignatureAlgorithm::Rs384,
        SignatureAlgorithm::Rs512,
        SignatureAlgorithm::Ps256,
        SignatureAlgorithm::Ps384,
        SignatureAlgorithm::Ps512,
        SignatureAlgorithm::Es256,
        SignatureAlgorithm::Es384,
    ] {
        let token = setting.service.token(algorithm, &claims());
        setting.release(&token).unwrap();
        // One byte of the signature, and one of the claims.
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let mut altered = decoded(signature);
        altered[7] ^= 1;
        let altered = format!("{signed}.{}", base64url(&altered));
        assert_eq!(
            refused(setting.release(&altered)),
            ErrorKind::ReleaseRefused,
            "{algorithm}"
        );
        let mut other = claims();
        other["x-ms-isolation-tee"]["more"] = true.into();
        let header = signed.split_once('.').unwrap().0;
        let moved = format!(
            "{header}.{}.{signature}",
            base64url(other.to_string().as_bytes())
        );
        assert_eq!(refused(setting.release(&moved)), ErrorKind::ReleaseRefused);
    }
    let token = setting.service.token(SignatureAlgorithm::Es256K, &claims());
    assert_eq!(refused(setting.release(&token)), ErrorKind::BadParameter);

    // The classics: no signature, and a MAC under the public key.
    let payload = base64url(claims().to_string().as_bytes());
    let none = base64url(br#"{"alg":"none"}"#);
    for token in [format!("{none}.{payload}."), format!("{none}.{payload}.AA")] {
        assert_eq!(refused(setting.release(&token)), ErrorKind::BadParameter);
    }
    let header = base64url(br#"{"alg":"HS256"}"#);
    let secret = setting.service.public("p256").to_spki_der().unwrap();
    let mac = aws_lc_rs::hmac::sign(
        &aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &secret),
        format!("{header}.{payload}").as_bytes(),
    );
    let token = format!("{header}.{payload}.{}", base64url(mac.as_ref()));
    assert_eq!(refused(setting.release(&token)), ErrorKind::BadParameter);
    // RS256's name over an ECDSA signature.
    let token = setting.service.token(SignatureAlgorithm::Es256, &claims());
    let (_, rest) = token.split_once('.').unwrap();
    let token = format!("{}.{rest}", base64url(br#"{"alg":"RS256"}"#));
    assert_eq!(refused(setting.release(&token)), ErrorKind::ReleaseRefused);
}

#[test]
fn claims_must_name_the_issuer_hold_the_policy_and_bring_a_key() {
    let setting = Setting::new();
    setting.release_with(|_| ()).unwrap();
    type Refusal = (&'static str, fn(&mut Value));
    let refusals: [Refusal; 11] = [
        ("another issuer", |claims| {
            claims["iss"] = "https://evil.example".into()
        }),
        ("a slash", |claims| {
            claims["iss"] = format!("{ISSUER}/").into()
        }),
        ("a claim of another value", |claims| {
            claims["x-ms-isolation-tee"]["svn"] = 7.into()
        }),
        ("a claim of another type", |claims| {
            claims["x-ms-isolation-tee"]["debug"] = "false".into()
        }),
        ("a claim that is missing", |claims| {
            claims["x-ms-isolation-tee"] = json!({})
        }),
        ("claims at another place", |claims| {
            claims["x-ms-isolation-tee.x-ms-compliance-status"] =
                claims["x-ms-isolation-tee"]["x-ms-compliance-status"].take();
        }),
        ("no keys", |claims| {
            claims["x-ms-runtime"]["keys"] = json!([])
        }),
        ("no runtime", |claims| {
            claims["x-ms-runtime"] = json!("keys")
        }),
        ("no key for encryption", |claims| {
            claims["x-ms-runtime"]["keys"][2]["key_ops"] = json!(["sign"]);
        }),
        ("a key without kid", |claims| {
            claims["x-ms-runtime"]["keys"][2]["kid"] = json!(null);
        }),
        ("a key that is too short", |claims| {
            claims["x-ms-runtime"]["keys"][2]["n"] = base64url(&[0xff; 128]).into();
        }),
    ];
    for (what, change) in refusals {
        let error = setting.release_with(change).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ReleaseRefused, "{what}");
        let azure = error.azure().unwrap();
        assert_eq!((azure.status(), azure.code()), (403, "Forbidden"));
    }
    for (what, member) in [("no issuer", "iss"), ("no expiry", "exp")] {
        let outcome = setting.release_with(|claims| {
            claims.as_object_mut().unwrap().remove(member);
        });
        assert_eq!(refused(outcome), ErrorKind::BadParameter, "{what}");
    }
    let named_use = setting.release_with(|claims| {
        claims["x-ms-runtime"]["keys"][2]["key_ops"] = json!(null);
        claims["x-ms-runtime"]["keys"][2]["key_use"] = json!("enc");
    });
    named_use.unwrap();
}

#[test]
fn dates_of_tokens_hold_with_a_minute_of_leeway() {
    let setting = Setting::new();
    let with =
        |member: &'static str, value: Value| setting.release_with(|claims| claims[member] = value);
    with("exp", (NOW - 59).into()).unwrap();
    assert_eq!(
        refused(with("exp", (NOW - 60).into())),
        ErrorKind::ReleaseRefused
    );
    assert_eq!(refused(with("exp", 0.into())), ErrorKind::ReleaseRefused);
    with("exp", u64::MAX.into()).unwrap();
    for member in ["nbf", "iat"] {
        with(member, (NOW + 60).into()).unwrap();
        assert_eq!(
            refused(with(member, (NOW + 61).into())),
            ErrorKind::ReleaseRefused
        );
    }
    for bad in [json!("1"), json!(-1), json!(1e30), json!(null), json!([])] {
        for member in ["exp", "nbf", "iat"] {
            assert_eq!(
                refused(with(member, bad.clone())),
                ErrorKind::BadParameter,
                "{member} {bad}"
            );
        }
    }
    setting.clock.advance_seconds(3_600 + 60);
    assert_eq!(
        refused(setting.release_with(|_| ())),
        ErrorKind::ReleaseRefused
    );
}

#[test]
fn audience_and_nonce_must_be_those_that_are_expected() {
    let setting = Setting::new();
    assert_eq!(
        refused(setting.release_with(|claims| claims["aud"] = "us".into())),
        ErrorKind::ReleaseRefused,
        "for somebody, and nobody expects it"
    );
    let with_nonce = |nonce: &str, claims: &Value| {
        let token = setting.service.token(SignatureAlgorithm::Es256, claims);
        setting
            .vault
            .release(&setting.key, &token, ReleaseOptions::new().nonce(nonce))
    };
    with_nonce("n-1", &claims()).unwrap();
    assert_eq!(
        refused(with_nonce("n-2", &claims())),
        ErrorKind::ReleaseRefused
    );
    assert_eq!(refused(with_nonce("", &claims())), ErrorKind::BadParameter);
    assert_eq!(
        refused(with_nonce(&"n".repeat(1_025), &claims())),
        ErrorKind::BadParameter
    );
    let mut at_top = claims();
    at_top["nonce"] = "top".into();
    with_nonce("top", &at_top).unwrap();
    assert_eq!(
        refused(with_nonce("n-1", &at_top)),
        ErrorKind::ReleaseRefused
    );
    let mut without = claims();
    without["x-ms-runtime"]["client-payload"] = json!({});
    assert_eq!(
        refused(with_nonce("n-1", &without)),
        ErrorKind::ReleaseRefused
    );

    let setting = Setting::of(Service {
        audience: Some("us".to_owned()),
        ..Service::new()
    });
    for good in [json!("us"), json!(["them", "us"])] {
        setting.release_with(|claims| claims["aud"] = good).unwrap();
    }
    for bad in [
        json!("them"),
        json!([]),
        json!(["US"]),
        json!({"us": 1}),
        json!(null),
    ] {
        let outcome = setting.release_with(|claims| claims["aud"] = bad);
        assert_eq!(refused(outcome), ErrorKind::ReleaseRefused);
    }
    assert_eq!(
        refused(setting.release_with(|_| ())),
        ErrorKind::ReleaseRefused
    );
}

#[test]
fn only_enabled_exportable_keys_with_the_operation_are_released() {
    let setting = Setting::new();
    let vault = &setting.vault;
    let token = setting.service.token(SignatureAlgorithm::Es256, &claims());
    let release = |key: &str| vault.release(&name(key), &token, ReleaseOptions::new());
    assert_eq!(refused(release("nobody")), ErrorKind::KeyNotFound);
    vault
        .create_key(&name("plain"), CreateKeyOptions::ec(Curve::P256))
        .unwrap();
    assert_eq!(refused(release("plain")), ErrorKind::NotExportable);
    // Dates do not matter, as Azure has it.
    let now = strongroom::Timestamp::from_unix_seconds(NOW);
    vault
        .create_key(&name("expired"), exportable_ec().expires_on(now))
        .unwrap();
    release("expired").unwrap();
    vault
        .create_key(
            &name("unlisted"),
            exportable_ec().operations([KeyOperation::Sign]),
        )
        .unwrap();
    assert_eq!(
        refused(release("unlisted")),
        ErrorKind::OperationNotPermitted
    );
    vault
        .create_key(&name("disabled"), exportable_ec().enabled(false))
        .unwrap();
    assert_eq!(refused(release("disabled")), ErrorKind::KeyDisabled);

    let alone = VaultOptions::new().create_in_memory().unwrap();
    alone.create_key(&setting.key, exportable_ec()).unwrap();
    let outcome = alone.release(&setting.key, &token, ReleaseOptions::new());
    assert_eq!(refused(outcome), ErrorKind::Unsupported);

    let down = Setting::of(Service {
        down: true,
        ..Service::new()
    });
    let error = down.release(&token).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BackendUnavailable);
    assert!(error.source().unwrap().to_string().contains("down"));
}

#[test]
fn exportable_and_release_policy_go_together() {
    let (vault, _) = memory_vault();
    let key = name("k");
    let plain = || CreateKeyOptions::ec(Curve::P256);
    let error = vault.create_key(&key, plain().exportable()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("Exportable keys must have release policy"),
        "{error}"
    );
    let error = vault
        .create_key(&key, plain().release_policy(policy()))
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("Non-exportable keys must not have release policy"),
        "{error}"
    );
    assert_eq!(refused(vault.get_key(&key)), ErrorKind::KeyNotFound);

    let first = vault.create_key(&key, exportable_ec()).unwrap();
    assert!(first.properties().exportable());
    assert_eq!(first.properties().release_policy(), Some(&policy()));
    assert!(first.key().key_ops().contains(KeyOperation::Export));
    // Later versions take the policy over.
    let second = vault.create_key(&key, plain().exportable()).unwrap();
    assert_eq!(second.properties().release_policy(), Some(&policy()));
    let third = vault.rotate_key(&key).unwrap();
    assert_eq!(third.properties().release_policy(), Some(&policy()));
    assert!(third.key().key_ops().contains(KeyOperation::Export));
    let fourth = vault.create_key(&key, plain()).unwrap();
    assert!(!fourth.properties().exportable());
    let update = UpdateKeyOptions::new().release_policy(policy());
    assert_eq!(
        refused(vault.update_key_properties(&key, update)),
        ErrorKind::BadParameter
    );

    let device = Arc::new(MemoryDevice::new("device".parse().unwrap()));
    let vault = VaultOptions::new()
        .backend(device)
        .create_in_memory()
        .unwrap();
    assert_eq!(
        refused(vault.create_key(&key, exportable_ec().hsm())),
        ErrorKind::Unsupported
    );
}

#[test]
fn an_immutable_policy_is_never_changed_and_survives_backups() {
    let setting = Setting::new();
    let (vault, key) = (&setting.vault, &setting.key);
    let other = ReleasePolicy::from_json(
        json!({"anyOf": [{"authority": ISSUER, "allOf": [{"claim": "iss", "equals": "nobody"}]}]})
            .to_string()
            .as_bytes(),
    )
    .unwrap();
    let update = |policy: ReleasePolicy| {
        vault.update_key_properties(key, UpdateKeyOptions::new().release_policy(policy))
    };
    update(other.clone()).unwrap();
    assert_eq!(
        refused(setting.release_with(|_| ())),
        ErrorKind::ReleaseRefused
    );
    update(policy().immutable()).unwrap();
    setting.release_with(|_| ()).unwrap();
    for changed in [other.clone(), other.immutable(), policy()] {
        let error = update(changed).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadParameter);
        assert!(error.to_string().contains("AKV.SKR.1020"), "{error}");
    }
    update(policy().immutable()).unwrap();

    vault.rotate_key(key).unwrap();
    let backup = vault.backup_key(key).unwrap();
    vault.delete_key(key).unwrap();
    vault.purge_deleted_key(key).unwrap();
    vault.restore_key(&backup).unwrap();
    for version in vault.list_key_properties_versions(key).unwrap() {
        assert_eq!(version.release_policy(), Some(&policy().immutable()));
    }
    setting.release_with(|_| ()).unwrap();
}

#[test]
fn hostile_targets_cost_little_and_never_panic() {
    let setting = Setting::new();
    let long = "a".repeat(10_000_000);
    assert_eq!(refused(setting.release(&long)), ErrorKind::TooLarge);
    let header = base64url(br#"{"alg":"ES256"}"#);
    let nested = base64url(("[".repeat(20_000) + &"]".repeat(20_000)).as_bytes());
    let wide = base64url(format!("{{\"a\":[{}0]}}", "0,".repeat(15_000)).as_bytes());
    for target in [
        "",
        ".",
        "..",
        "...",
        "\u{0}.\u{0}.\u{0}",
        "é.é.é",
        &format!("{header}.{nested}.AA"),
        &format!("{nested}.{header}.AA"),
        &format!("{header}.{wide}.AA"),
        &format!("{header}..AA"),
        &".".repeat(60_000),
    ] {
        assert_eq!(refused(setting.release(target)), ErrorKind::BadParameter);
    }
}

#[test]
fn an_exportable_key_survives_closing() {
    let place = crate::support::Place::new();
    let vault = place.create();
    let secret = ImportedKey::oct(SecretBytes::from(vec![7; 32]));
    let options = ImportKeyOptions::new(secret)
        .exportable()
        .release_policy(policy().immutable());
    let made = vault.import_key(&name("k"), options).unwrap();
    vault
        .create_key(&name("aes"), CreateKeyOptions::oct(OctKeySize::Bits128))
        .unwrap();
    vault.close().unwrap();
    let vault = place.open().unwrap();
    assert_eq!(vault.get_key(&name("k")).unwrap(), made);
    assert!(vault.check().unwrap().is_sound());
}
