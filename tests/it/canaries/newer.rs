//! Rotation policies, exportable keys, keys that come wrapped, attestation, and why operations would be refused.

use serde_json::json;
use strongroom::{
    CryptoOperation, ImportKeyOptions, ImportTransferredKeyOptions, ImportedKey, KeyTransferBlob,
    KeyType, ReleaseOptions, ReleasePolicy, RotationPolicy, SignatureAlgorithm, Vault,
};

use super::watch::Watch;
use super::{TAG, jwk_of_scalar};
use crate::support::name;

pub(super) fn run(watch: &Watch, vault: &Vault) {
    let key = name("newer");
    let policy = json!({"version": "1.0.0", "anyOf": [
        {"authority": "https://a.example", "allOf": [{"claim": "iss", "equals": "https://a.example"}]},
    ]});
    let policy = ReleasePolicy::from_json(policy.to_string().as_bytes()).unwrap();
    watch.value(&policy);
    let options = ImportKeyOptions::new(ImportedKey::from_jwk(jwk_of_scalar().as_bytes()).unwrap())
        .exportable()
        .release_policy(policy)
        .tag("note", TAG);
    watch.value(&options);
    watch.result(vault.import_key(&key, options)).unwrap();
    let release = ReleaseOptions::new().nonce("n-1");
    watch.value(&release);
    watch.result(vault.release(&key, "a.b.c", release));

    let json = br#"{"lifetimeActions":[{"trigger":{"timeAfterCreate":"P90D"},"action":{"type":"Rotate"}}],"attributes":{"expiryTime":"P1Y"}}"#;
    let rotation: RotationPolicy = serde_json::from_slice(json).unwrap();
    watch.value(&rotation);
    watch
        .result(vault.update_key_rotation_policy(&key, rotation))
        .unwrap();
    watch.result(vault.get_key_rotation_policy(&key)).unwrap();
    watch.result(vault.next_event()).unwrap();

    for algorithm in [SignatureAlgorithm::Es256, SignatureAlgorithm::Rs256] {
        let operation = CryptoOperation::Sign(algorithm);
        watch.result(vault.explain(&key, operation)).unwrap();
    }
    let attested = watch.result(vault.get_key_attestation(&key)).unwrap();
    watch.value(attested.attestation());

    let blob = json!({
        "schema_version": "1.0.0",
        "header": {
            "kid": vault.get_key(&key).unwrap().id().to_string(),
            "alg": "dir",
            "enc": "CKM_RSA_AES_KEY_WRAP",
        },
        "ciphertext": "AAAA",
        "generator": "a test",
    });
    let blob = KeyTransferBlob::from_json(blob.to_string().as_bytes()).unwrap();
    watch.value(&blob);
    let options = ImportTransferredKeyOptions::new(KeyType::Ec, blob);
    watch.value(&options);
    watch.result(vault.import_transferred_key(&name("transferred"), options));
}
