//! The appendices of JWS, JWE and JWK.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use serde_json::Value;
use strongroom::{
    Ciphertext, EncryptionAlgorithm, ErrorKind, ImportedKey, JsonWebKey, KeyName, KeyOperation,
    KeyOperations, KeySpec, PublicKey, SecretBytes, SignatureAlgorithm, Vault, WrapAlgorithm,
};

use super::{import_oct, vault};
use crate::make;
use crate::support::name;

fn jose() -> Value {
    serde_json::from_str(include_str!("jose.json")).unwrap()
}

/// The parts of a compact serialisation, decoded, and the text before the last dot.
fn compact(example: &Value) -> (Vec<Vec<u8>>, &str) {
    let text = example["compact"].as_str().unwrap();
    let parts = text
        .split('.')
        .map(|part| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap())
        .collect();
    (parts, text.rsplit_once('.').unwrap().0)
}

/// Imports the JWK as it is in the RFC, for these operations.
fn import_jwk(vault: &Vault, name: &KeyName, jwk: &Value, operations: &[KeyOperation]) {
    let key = ImportedKey::from_jwk(jwk.to_string().as_bytes()).unwrap();
    let mut options = make::import(key);
    if !operations.is_empty() {
        options = options.operations(operations.iter().copied().collect::<KeyOperations>());
    }
    vault.import_key(name, options).unwrap();
}

#[test]
fn rfc_7515_signatures() {
    for (algorithm, is_deterministic) in [
        (SignatureAlgorithm::Hs256, true),
        (SignatureAlgorithm::Rs256, true),
        (SignatureAlgorithm::Es256, false),
        (SignatureAlgorithm::Es512, false),
    ] {
        let jose = jose();
        let example = &jose["jws"][algorithm.as_str()];
        let (parts, signing_input) = compact(example);
        let signature = &parts[2];
        let vault = vault();
        let signer = name("signer");
        import_jwk(&vault, &signer, &example["key"], &[]);
        let verify =
            |data: &[u8], signature: &[u8]| vault.verify_data(&signer, algorithm, data, signature);
        verify(signing_input.as_bytes(), signature).unwrap();
        let made = vault
            .sign_data(&signer, algorithm, signing_input.as_bytes())
            .unwrap();
        assert_eq!(
            made.signature() == signature,
            is_deterministic,
            "{algorithm}"
        );
        verify(signing_input.as_bytes(), made.signature()).unwrap();
        let other = verify(&signing_input.as_bytes()[1..], signature).unwrap_err();
        assert_eq!(other.kind(), ErrorKind::InvalidSignature, "{algorithm}");
    }
}

/// A.1: the key is unwrapped with RSA-OAEP and the text opened with it.
#[test]
fn rfc_7516_rsa_oaep() {
    let jose = jose();
    let example = &jose["jwe"]["RSA-OAEP"];
    let (parts, _) = compact(example);
    let vault = vault();
    let recipient = name("recipient");
    import_jwk(&vault, &recipient, &example["key"], &[]);
    let content_key = vault
        .unwrap_key(&recipient, WrapAlgorithm::RsaOaep, &parts[1])
        .unwrap();
    let content_name = name("content");
    import_oct(&vault, &content_name, content_key.expose());
    let header = example["compact"].as_str().unwrap();
    let header = header.split_once('.').unwrap().0;
    let ciphertext = Ciphertext::new(&parts[3])
        .iv(&parts[2])
        .tag(&parts[4])
        .aad(header.as_bytes());
    let text = vault
        .decrypt(&content_name, EncryptionAlgorithm::A256Gcm, ciphertext)
        .unwrap();
    assert_eq!(
        text.expose(),
        b"The true sign of intelligence is not knowledge but imagination."
    );
}

/// A.2 and A.3: the key is unwrapped, its first half authenticates and its second half opens the text.
#[test]
fn rfc_7516_rsa1_5_and_a128kw() {
    for algorithm in [WrapAlgorithm::Rsa1_5, WrapAlgorithm::A128Kw] {
        let jose = jose();
        let example = &jose["jwe"][algorithm.as_str()];
        let (parts, _) = compact(example);
        let vault = vault();
        let recipient = name("recipient");
        import_jwk(&vault, &recipient, &example["key"], &[]);
        let content_key = vault.unwrap_key(&recipient, algorithm, &parts[1]).unwrap();
        if algorithm == WrapAlgorithm::A128Kw {
            let again = vault.wrap_key(&recipient, algorithm, content_key.expose());
            assert_eq!(again.unwrap().wrapped_key(), parts[1]);
        }
        let (mac_key, cipher_key) = content_key.expose().split_at(16);
        let mac_name = name("mac");
        let mac_key = ImportedKey::oct(SecretBytes::copied_from(mac_key));
        let options = make::import(mac_key).operations([KeyOperation::Sign]);
        vault.import_key(&mac_name, options).unwrap();
        let header = example["compact"].as_str().unwrap();
        let header = header.split_once('.').unwrap().0.as_bytes();
        let bits = 8 * u64::try_from(header.len()).unwrap();
        let authenticated = [header, &parts[2], &parts[3], &bits.to_be_bytes()].concat();
        let mac = vault
            .sign(&mac_name, SignatureAlgorithm::Hs256, &authenticated)
            .unwrap();
        assert_eq!(mac.signature()[..16], parts[4], "{algorithm}");
        let cipher_name = name("cipher");
        import_oct(&vault, &cipher_name, cipher_key);
        let ciphertext = Ciphertext::new(&parts[3]).iv(&parts[2]);
        let text = vault
            .decrypt(&cipher_name, EncryptionAlgorithm::A128CbcPad, ciphertext)
            .unwrap();
        assert_eq!(text.expose(), b"Live long and prosper.", "{algorithm}");
    }
}

#[test]
fn rfc_7517_keys() {
    let jose = jose();
    let jwk = &jose["jwk"];
    let list = |list: &str| jwk[list].as_array().unwrap().clone();
    let vault = vault();
    for (index, (public, private)) in list("public").iter().zip(list("private")).enumerate() {
        let parsed: JsonWebKey = public.to_string().parse().unwrap();
        let public_key = make::public_key(PublicKey::from_jwk(&parsed).unwrap());
        // A private key is no public one.
        let as_public = private.to_string().parse::<JsonWebKey>().unwrap_err();
        assert_eq!(as_public.kind(), ErrorKind::InvalidKeyMaterial);
        let key_name = name(&format!("private-{index}"));
        import_jwk(&vault, &key_name, &private, &[]);
        let kept = vault.get_key(&key_name).unwrap();
        assert_eq!(PublicKey::from_jwk(kept.key()).unwrap(), public_key);
        for member in ["n", "e", "crv", "x", "y"] {
            let kept = serde_json::to_value(kept.key()).unwrap();
            assert_eq!(kept.get(member), public.get(member), "{member}");
        }
    }
    // The symmetric keys do what their bytes do.
    let [wrapping, authenticating] = &list("symmetric")[..] else {
        panic!("the RFC has two symmetric keys");
    };
    let bytes = |key: &Value| BASE64_URL_SAFE_NO_PAD.decode(key["k"].as_str().unwrap());
    for (number, key) in [wrapping, authenticating].into_iter().enumerate() {
        import_jwk(&vault, &name(&format!("jwk-{number}")), key, &[]);
        import_oct(
            &vault,
            &name(&format!("raw-{number}")),
            &bytes(key).unwrap(),
        );
    }
    let wrapped = ["jwk-0", "raw-0"].map(|key| {
        let wrapped = vault.wrap_key(&name(key), WrapAlgorithm::A128Kw, &[7; 16]);
        wrapped.unwrap().wrapped_key().to_vec()
    });
    assert_eq!(wrapped[0], wrapped[1]);
    let macs = ["jwk-1", "raw-1"].map(|key| {
        let mac = vault.sign(&name(key), SignatureAlgorithm::Hs512, b"data");
        mac.unwrap().into_signature()
    });
    assert_eq!(macs[0], macs[1]);
    let certified: JsonWebKey = jwk["with_certificate"].to_string().parse().unwrap();
    let certified = PublicKey::from_jwk(&certified).unwrap();
    assert!(matches!(certified.spec(), KeySpec::Rsa(size) if size.bits() == 2048));
    import_jwk(&vault, &name("juliet"), &jwk["juliet"], &[]);
}
