//! An attestation service, an environment that it vouches for, and what that environment does with a released key: with
//! aws-lc, so that nothing is right only because both ends are ours.

use std::error::Error as StdError;
use std::sync::{Arc, LazyLock};

use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrapPadded as _};
use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OAEP_SHA384_MGF1SHA384, OaepPrivateDecryptingKey,
    PrivateDecryptingKey,
};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use strongroom::{
    AttestationAuthority, Clock, CreateKeyOptions, Curve, ImportKeyOptions, KeyEncryptionAlgorithm,
    PublicKey, PublicParts, ReleasePolicy, RsaKeySize, SignatureAlgorithm, Vault, VaultOptions,
};

use crate::support::{FakeClock, START_MS, fixed_rsa, memory_vault, name};

pub(crate) const ISSUER: &str = "https://attest.example";
pub(crate) const NOW: u64 = START_MS / 1_000;

pub(crate) fn base64url(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn decoded(text: &str) -> Vec<u8> {
    BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()
}

pub(crate) fn parsed(text: &str) -> Value {
    serde_json::from_slice(&decoded(text)).unwrap()
}

/// An attestation service, with keys in a vault of its own.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) keys: Vault,
    pub(crate) audience: Option<String>,
    pub(crate) down: bool,
}

impl Service {
    pub(crate) fn new() -> Self {
        let (keys, _) = memory_vault();
        let rsa = ImportKeyOptions::new(fixed_rsa(RsaKeySize::Bits2048));
        keys.import_key(&name("rsa"), rsa).unwrap();
        for (key, curve) in [
            ("p256", Curve::P256),
            ("p384", Curve::P384),
            ("p256k", Curve::P256K),
        ] {
            keys.create_key(&name(key), CreateKeyOptions::ec(curve))
                .unwrap();
        }
        Self {
            keys,
            audience: None,
            down: false,
        }
    }

    pub(crate) fn public(&self, key: &str) -> PublicKey {
        PublicKey::from_jwk(self.keys.get_key(&name(key)).unwrap().key()).unwrap()
    }

    pub(crate) fn token(&self, algorithm: SignatureAlgorithm, claims: &Value) -> String {
        let key = match algorithm {
            SignatureAlgorithm::Es256 => "p256",
            SignatureAlgorithm::Es384 => "p384",
            SignatureAlgorithm::Es256K => "p256k",
            _ => "rsa",
        };
        let header = json!({"alg": algorithm.as_str(), "typ": "JWT", "kid": key});
        let signed = [header.to_string(), claims.to_string()]
            .map(|part| base64url(part.as_bytes()))
            .join(".");
        let signature = self
            .keys
            .sign_data(&name(key), algorithm, signed.as_bytes())
            .unwrap();
        format!("{signed}.{}", base64url(signature.signature()))
    }
}

impl AttestationAuthority for Service {
    fn keys(
        &self,
        issuer: &str,
        _: Option<&str>,
    ) -> Result<Vec<PublicKey>, Box<dyn StdError + Send + Sync>> {
        assert_eq!(issuer, ISSUER, "only issuers of the policy are asked for");
        if self.down {
            return Err("the network is down".into());
        }
        Ok(["p256k", "p384", "p256", "rsa"]
            .map(|key| self.public(key))
            .into())
    }

    fn audience(&self, _: &str) -> Option<String> {
        self.audience.clone()
    }
}

pub(crate) fn target_der() -> Vec<u8> {
    let pem = include_str!("data/rsa-3072.pem");
    let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    BASE64_STANDARD.decode(text).unwrap()
}

/// The modulus of the fixed RSA key of 3072 bits.
pub(crate) static TARGET: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let (vault, _) = memory_vault();
    let target = ImportKeyOptions::new(fixed_rsa(RsaKeySize::Bits3072));
    let bundle = vault.import_key(&name("target"), target).unwrap();
    bundle.key().n().unwrap().to_vec()
});

/// The claims of an environment with that key.
pub(crate) fn claims() -> Value {
    json!({
        "iss": ISSUER, "exp": NOW + 3_600, "nbf": NOW, "iat": NOW,
        "x-ms-attestation-type": "sevsnpvm",
        "x-ms-isolation-tee": {"x-ms-compliance-status": "azure-compliant-cvm", "svn": 6, "debug": false},
        "x-ms-runtime": {
            "client-payload": {"nonce": BASE64_STANDARD.encode("n-1")},
            "keys": [
                {"kty": "RSA", "kid": "Signer", "use": "sig", "n": "AQ", "e": "AQAB"},
                {"kty": "EC", "kid": "Ec", "key_ops": ["encrypt"]},
                {"kty": "RSA", "kid": "TpmEphemeralEncryptionKey", "key_ops": ["encrypt"],
                 "n": base64url(&TARGET), "e": "AQAB"},
            ],
        },
    })
}

pub(crate) fn policy() -> ReleasePolicy {
    let json = json!({"version": "1.0.0", "anyOf": [
        {"authority": "https://other.example", "anyOf": [{"claim": "iss", "equals": ISSUER}]},
        {"authority": ISSUER, "allOf": [
            {"claim": "x-ms-isolation-tee.x-ms-compliance-status", "equals": "azure-compliant-cvm"},
            {"anyOf": [{"claim": "x-ms-isolation-tee.svn", "equals": 6}, {"claim": "absent", "equals": true}]},
            {"claim": "x-ms-isolation-tee.debug", "equals": false},
        ]},
    ]});
    ReleasePolicy::from_json(json.to_string().as_bytes()).unwrap()
}

/// The payload, after another implementation has verified the signature.
pub(crate) fn verified(vault: &Vault, jws: &str) -> Value {
    let [header, payload, signature] = jws.split('.').collect::<Vec<_>>()[..] else {
        panic!("{jws}");
    };
    let identity = vault.identity_public_key().unwrap();
    let PublicParts::Ec { x, y, .. } = identity.parts() else {
        panic!("{identity:?}");
    };
    let point = [&[4], &x[..], &y[..]].concat();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(
            format!("{header}.{payload}").as_bytes(),
            &decoded(signature),
        )
        .unwrap();
    assert_eq!(parsed(header)["alg"], "ES256");
    parsed(payload)
}

/// The key in the payload, unwrapped by another implementation.
pub(crate) fn unwrapped(payload: &Value, algorithm: KeyEncryptionAlgorithm) -> Vec<u8> {
    let key_hsm = parsed(
        payload["response"]["key"]["key"]["key_hsm"]
            .as_str()
            .unwrap(),
    );
    assert_eq!(
        key_hsm["header"],
        json!({"kid": "TpmEphemeralEncryptionKey", "alg": "dir", "enc": algorithm.as_str()})
    );
    let ciphertext = decoded(key_hsm["ciphertext"].as_str().unwrap());
    let (transport, wrapped) = ciphertext.split_at(384);
    let key = PrivateDecryptingKey::from_pkcs8(&target_der()).unwrap();
    let key = OaepPrivateDecryptingKey::new(key).unwrap();
    let oaep = match algorithm {
        KeyEncryptionAlgorithm::CkmRsaAesKeyWrap => &OAEP_SHA1_MGF1SHA1,
        KeyEncryptionAlgorithm::RsaAesKeyWrap256 => &OAEP_SHA256_MGF1SHA256,
        KeyEncryptionAlgorithm::RsaAesKeyWrap384 => &OAEP_SHA384_MGF1SHA384,
        other => panic!("{other} is new here"),
    };
    let mut buffer = vec![0; key.min_output_size()];
    let kek = key.decrypt(oaep, transport, &mut buffer, None).unwrap();
    assert_eq!(kek.len(), 32);
    let mut buffer = vec![0; wrapped.len()];
    AesKek::new(&AES_256, kek)
        .unwrap()
        .unwrap_with_padding(wrapped, &mut buffer)
        .unwrap()
        .to_vec()
}

/// A vault that trusts the service, with a clock that stands.
pub(crate) fn vault_trusting(service: &Arc<Service>) -> (Vault, Arc<FakeClock>) {
    let clock = FakeClock::new();
    let vault = VaultOptions::new()
        .clock(Arc::clone(&clock) as Arc<dyn Clock>)
        .attestation_authority(Arc::clone(service) as Arc<dyn AttestationAuthority>)
        .create_in_memory()
        .unwrap();
    (vault, clock)
}
