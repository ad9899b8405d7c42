//! Keys in DER and PEM: PKCS#8 (also encrypted), PKCS#1, SEC1 and SPKI.

use crate::crypto::containers::encrypted::{self, CostLimits};
use crate::crypto::public_key::PublicKey;
use crate::crypto::validation;
use crate::env::OsEntropy;
use crate::error::ErrorKind;
use crate::format::material;
use crate::model::material::{ImportedKey, ImportedParts};

/// A container that costs more is refused here, as one that costs too much is elsewhere.
const LIMITS: CostLimits = CostLimits {
    pbkdf2_iterations: 256,
    scrypt_memory: 256 * 1_024,
};
pub(super) const PASSWORD: &[u8] = b"an open secret";

/// DER by every parser; text also as PEM.
pub(super) fn run(data: &[u8]) -> bool {
    let keys = [
        ImportedKey::from_pkcs8_der(data),
        ImportedKey::from_pkcs1_der(data),
        ImportedKey::from_sec1_der(data),
    ];
    let mut accepted = false;
    for key in keys.into_iter().flatten() {
        validate(key);
        accepted = true;
    }
    match encrypted::from_pkcs8(data, PASSWORD, LIMITS) {
        Ok(key) => {
            validate(key);
            accepted = true;
        }
        Err(error) => assert!(matches!(
            error.kind(),
            ErrorKind::InvalidKeyMaterial | ErrorKind::DecryptFailed | ErrorKind::KdfCostRefused
        )),
    }
    if let Ok(key) = PublicKey::from_spki_der(data) {
        public(&key);
        accepted = true;
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return accepted;
    };
    if let Ok(key) = ImportedKey::from_pem(text) {
        validate(key);
        accepted = true;
    }
    if let Ok(key) = PublicKey::from_spki_pem(text) {
        public(&key);
        accepted = true;
    }
    accepted
}

/// A public key comes back from each of its forms.
fn public(key: &PublicKey) {
    let der = key.to_spki_der().expect("it came from this form");
    let again = PublicKey::from_spki_der(&der).expect("it was just encoded");
    assert_eq!(again.parts(), key.parts());
    let pem = key.to_spki_pem().expect("DER has a PEM");
    let again = PublicKey::from_spki_pem(&pem).expect("it was just encoded");
    assert_eq!(again.to_spki_der().ok(), Some(der));
}

/// The validation of an imported key; what it lets pass must be stored and read back.
pub(super) fn validate(key: ImportedKey) {
    // Primality tests of RSA take too long for a useful number of runs.
    if matches!(key.parts, ImportedParts::Rsa { .. }) {
        return;
    }
    if let Ok(valid) = validation::validate(key, &OsEntropy) {
        let blob = material::encode(&valid).expect("valid material is short");
        let again = material::decode(blob.expose()).expect("it was just encoded");
        assert_eq!(again.spec(), valid.spec());
        if let Some(parts) = valid.public_parts() {
            PublicKey::from_parts(&parts).expect("the public half of a valid key is valid");
        }
    }
}
