//! JSON Web Keys, public, private and secret.

use super::containers::validate;
use crate::crypto::public_key::PublicKey;
use crate::model::jwk::JsonWebKey;
use crate::model::material::ImportedKey;

/// The JSON as a key to import and as a public key.
pub(super) fn run(data: &[u8]) -> bool {
    let imported = ImportedKey::from_jwk(data);
    let mut accepted = imported.is_ok();
    if let Ok(key) = imported {
        validate(key);
    }
    let Ok(text) = std::str::from_utf8(data) else {
        assert!(!accepted, "JSON is UTF-8");
        return false;
    };
    if let Ok(jwk) = text.parse::<JsonWebKey>() {
        let json = serde_json::to_string(&jwk).expect("a JWK is JSON");
        let again = json.parse::<JsonWebKey>().expect("it was just written");
        assert_eq!(again, jwk);
        assert_eq!(serde_json::to_string(&again).ok(), Some(json));
        if let Ok(key) = PublicKey::from_jwk(&jwk) {
            assert_eq!(Some(key.parts()), jwk.public_parts().as_ref());
        }
        accepted = true;
    }
    accepted
}
