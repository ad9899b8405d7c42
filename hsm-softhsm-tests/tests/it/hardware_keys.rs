//! What is different about keys in a token, and what is the same as for the very same key in software.

use std::process::Command;

use strongroom::backend::pkcs11::KeyKeeping;
use strongroom::{
    CreateKeyOptions, Curve, EncryptOptions, EncryptionAlgorithm, ErrorKind, ImportKeyOptions,
    ImportedKey, KeyName, KeyOperation, OctKeySize, PublicKey, RsaKeySize, SignatureAlgorithm,
    UpdateKeyOptions, Vault, WrapAlgorithm,
};

use crate::make::{self, Home, KEEPING};
use crate::support::{fixed_oct, fixed_rsa, hex, memory_vault, name};

/// The rules, the model and this module once more, in a process of its own.
#[test]
fn the_rules_hold_for_wrapped_keys() {
    if make::keeping() == KeyKeeping::Wrapped {
        return;
    }
    let run = Command::new(std::env::current_exe().unwrap())
        .args(["rules::", "smoke::", "model::", "hardware_keys::"])
        .env(KEEPING, "wrapped")
        .output()
        .unwrap();
    assert!(
        run.status.success(),
        "with {KEEPING}=wrapped: {}\n{}",
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr)
    );
}

#[test]
fn keys_are_kept_as_the_run_says() {
    let home = Home::new();
    let Some(token) = home.token().own_or_skip("objects are counted by files") else {
        return;
    };
    let vault = home.vault_options().create_in_memory().unwrap();
    for number in 0..3 {
        vault
            .create_key(&name(&format!("k-{number}")), make::ec(Curve::P256))
            .unwrap();
    }
    let objects = match make::keeping() {
        KeyKeeping::Wrapped => 1, // the key that wraps
        _ => 3,
    };
    assert_eq!(token.object_files(), objects);
}

/// Operations of each algorithm in each direction.
const OPERATIONS: u8 = 25;

#[test]
fn an_update_takes_operations_away_and_gives_back_those_the_key_was_made_with() {
    let (vault, _clock) = memory_vault();
    let key = name("k");
    let made_with = [KeyOperation::Encrypt, KeyOperation::Decrypt];
    vault
        .create_key(&key, make::oct(OctKeySize::Bits256).operations(made_with))
        .unwrap();
    let update = |operations: &[KeyOperation]| {
        let operations: strongroom::KeyOperations = operations.iter().copied().collect();
        vault.update_key_properties(&key, UpdateKeyOptions::new().operations(operations))
    };
    update(&[KeyOperation::Decrypt]).unwrap();
    update(&made_with).unwrap();
    for other in [
        KeyOperation::WrapKey,
        KeyOperation::UnwrapKey,
        KeyOperation::Sign,
    ] {
        let before = vault.get_key(&key).unwrap();
        let error = update(&[KeyOperation::Decrypt, other]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadParameter, "{error}");
        assert!(error.to_string().contains(other.as_str()), "{error}");
        assert!(error.to_string().contains("new version"), "{error}");
        assert_eq!(vault.get_key(&key).unwrap(), before, "nothing changed");
    }
    // The remedy that the message names.
    vault
        .create_key(
            &key,
            make::oct(OctKeySize::Bits256).operations([KeyOperation::WrapKey]),
        )
        .unwrap();
    vault
        .wrap_key(&key, WrapAlgorithm::A256Kw, &[1; 16])
        .unwrap();
}

#[test]
fn software_and_hardware_keys_live_in_one_vault_and_follow_each_other() {
    let (vault, _clock) = memory_vault();
    let key = name("k");
    let soft = vault
        .create_key(&key, CreateKeyOptions::ec(Curve::P256))
        .unwrap();
    let hard = vault.create_key(&key, make::ec(Curve::P256)).unwrap();
    let digest = [3; 32];
    for version in [&soft, &hard] {
        let signed = vault
            .sign(version.id(), SignatureAlgorithm::Es256, &digest)
            .unwrap();
        PublicKey::from_jwk(version.key())
            .unwrap()
            .verify(SignatureAlgorithm::Es256, &digest, signed.signature())
            .unwrap();
    }
    assert_eq!(soft.key().kty().as_str(), "EC");
    assert_eq!(hard.key().kty().as_str(), "EC-HSM");
    let rotated = vault.rotate_key(&key).unwrap();
    assert_eq!(rotated.key().kty().as_str(), "EC-HSM");
}

/// The same key twice: in software and in the token.
struct Twins {
    vault: Vault,
    soft: KeyName,
    hard: KeyName,
}

impl Twins {
    fn import(key: impl Fn() -> ImportedKey) -> Self {
        let (vault, _clock) = memory_vault();
        let (soft, hard) = (name("soft"), name("hard"));
        let in_software = vault
            .import_key(&soft, ImportKeyOptions::new(key()))
            .unwrap();
        let in_token = vault.import_key(&hard, make::import(key())).unwrap();
        assert_eq!(
            in_software.key().public_parts(),
            in_token.key().public_parts()
        );
        Self { vault, soft, hard }
    }

    fn both(&self) -> [(&KeyName, &KeyName); 2] {
        [(&self.soft, &self.hard), (&self.hard, &self.soft)]
    }

    /// What one signs the other verifies; both give the same if the algorithm leaves no choice.
    fn sign(&self, algorithm: SignatureAlgorithm, is_determined: bool) {
        let length = algorithm.digest().map_or(32, |hash| hash.digest_length());
        for number in 0..OPERATIONS {
            let digest = vec![number; length];
            let signatures = self.both().map(|(signer, verifier)| {
                let signed = self.vault.sign(signer, algorithm, &digest).unwrap();
                self.vault
                    .verify(verifier, algorithm, &digest, signed.signature())
                    .unwrap();
                signed.into_signature()
            });
            assert_eq!(
                signatures[0] == signatures[1],
                is_determined,
                "{algorithm}, {number}"
            );
        }
    }

    /// What one encrypts the other decrypts.
    fn encrypt(&self, algorithm: EncryptionAlgorithm, block: usize) {
        for number in 0..OPERATIONS {
            let text = vec![number; usize::from(number % 4) * block];
            for (maker, opener) in self.both() {
                let options = EncryptOptions::new();
                let made = self.vault.encrypt(maker, algorithm, &text, options);
                let opened = self
                    .vault
                    .decrypt(opener, algorithm, (&made.unwrap()).into());
                assert_eq!(opened.unwrap().expose(), text, "{algorithm}");
            }
        }
    }

    /// What one wraps the other unwraps.
    fn wrap(&self, algorithm: WrapAlgorithm) {
        for number in 0..OPERATIONS {
            let text = vec![number; 16 + usize::from(number % 3) * 8];
            for (maker, opener) in self.both() {
                let made = self.vault.wrap_key(maker, algorithm, &text).unwrap();
                let opened = self.vault.unwrap_key(opener, algorithm, made.wrapped_key());
                assert_eq!(opened.unwrap().expose(), text, "{algorithm}");
            }
        }
    }
}

#[test]
fn the_same_rsa_key_does_the_same_in_software_and_in_the_token() {
    for size in RsaKeySize::ALL {
        let twins = Twins::import(|| fixed_rsa(size));
        for algorithm in ["RS256", "RS384", "RS512"] {
            twins.sign(algorithm.parse().unwrap(), true);
        }
        for algorithm in ["PS256", "PS384", "PS512"] {
            twins.sign(algorithm.parse().unwrap(), false);
        }
        for algorithm in ["RSA-OAEP", "RSA-OAEP-256", "RSA1_5"] {
            twins.encrypt(algorithm.parse().unwrap(), 10);
            twins.wrap(algorithm.parse().unwrap());
        }
    }
}

#[test]
fn the_same_ec_key_does_the_same_in_software_and_in_the_token() {
    for curve in Curve::ALL {
        let algorithm = SignatureAlgorithm::ALL
            .iter()
            .find(|algorithm| algorithm.curve() == Some(curve))
            .unwrap();
        let twins = Twins::import(|| ImportedKey::from_sec1_der(&sec1(curve)).unwrap());
        twins.sign(*algorithm, false);
    }
}

/// A private key of the smallest form: version, number and curve. Its number is the bytes 1, 2, 3 ...
fn sec1(curve: Curve) -> Vec<u8> {
    let (oid, length) = match curve {
        Curve::P256 => ("06082a8648ce3d030107", 32),
        Curve::P384 => ("06052b81040022", 48),
        Curve::P521 => ("06052b81040023", 66),
        Curve::P256K => ("06052b8104000a", 32),
        other => panic!("no such key on {other}"),
    };
    let tagged =
        |tag: u8, content: &[u8]| [&[tag, u8::try_from(content.len()).unwrap()], content].concat();
    let mut number: Vec<u8> = (1..=length).collect();
    if curve == Curve::P521 {
        number[0] = 0;
    }
    let content = [
        hex("020101"),
        tagged(0x04, &number),
        tagged(0xa0, &hex(oid)),
    ]
    .concat();
    tagged(0x30, &content)
}

#[test]
fn the_same_symmetric_key_does_the_same_in_software_and_in_the_token() {
    for bits in [128, 192, 256] {
        let twins = Twins::import(|| fixed_oct(bits / 8));
        let algorithm = |end: &str| format!("A{bits}{end}");
        twins.encrypt(algorithm("GCM").parse().unwrap(), 10);
        twins.encrypt(algorithm("CBC").parse().unwrap(), 16);
        twins.encrypt(algorithm("CBCPAD").parse().unwrap(), 10);
        for end in ["KW", "KWPAD"] {
            twins.wrap(algorithm(end).parse().unwrap());
        }
        twins.wrap(WrapAlgorithm::CkmAesKeyWrap);
        twins.wrap(WrapAlgorithm::CkmAesKeyWrapPad);
    }
    // The lengths that only HMAC has.
    for length in [17, 48, 64] {
        let twins = Twins::import(|| fixed_oct(length));
        for algorithm in ["HS256", "HS384", "HS512"] {
            twins.sign(algorithm.parse().unwrap(), true);
        }
    }
}

#[test]
fn a_p_256k_signature_of_the_token_has_a_low_s() {
    // Half of the order of the group, rounded down.
    let half = hex("7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0");
    let (vault, _clock) = memory_vault();
    let key = name("k");
    vault.create_key(&key, make::ec(Curve::P256K)).unwrap();
    for number in 0..200 {
        let signed = vault
            .sign(&key, SignatureAlgorithm::Es256K, &[number; 32])
            .unwrap();
        assert!(signed.signature()[32..] <= half[..]);
    }
}

#[test]
fn random_bytes_come_from_the_token_too() {
    let (vault, _clock) = memory_vault();
    let backend = make::BACKEND.parse().unwrap();
    let drawn: Vec<_> = (0..2)
        .map(|_| vault.get_random_bytes_from(&backend, 64).unwrap())
        .collect();
    assert_ne!(drawn[0], drawn[1]);
    for bytes in drawn {
        assert_eq!(bytes.expose().len(), 64);
        assert!(bytes.expose().iter().any(|byte| *byte != 0));
    }
}
