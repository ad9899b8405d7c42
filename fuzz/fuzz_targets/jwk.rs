#![no_main]

use strongroom::{ImportedKey, JsonWebKey, KeyIdentifier, PublicKey};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let keys = [
        ImportedKey::from_jwk(data),
        ImportedKey::from_pkcs8_der(data),
        ImportedKey::from_pkcs1_der(data),
        ImportedKey::from_sec1_der(data),
    ];
    keys.into_iter()
        .flatten()
        .for_each(strongroom::fuzzing::validate);
    if let Ok(key) = PublicKey::from_spki_der(data) {
        let again = key.to_spki_der().expect("it came from this form");
        let again = PublicKey::from_spki_der(&again).expect("it was just encoded");
        assert_eq!(again.parts(), key.parts());
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(key) = ImportedKey::from_pem(text) {
        strongroom::fuzzing::validate(key);
    }
    let _ = PublicKey::from_spki_pem(text);
    if let Ok(id) = text.parse::<KeyIdentifier>() {
        assert_eq!(id.to_string().parse::<KeyIdentifier>().ok(), Some(id));
    }
    if let Ok(jwk) = text.parse::<JsonWebKey>() {
        let json = serde_json::to_string(&jwk).expect("a JWK is JSON");
        assert_eq!(json.parse::<JsonWebKey>().ok().as_ref(), Some(&jwk));
        let _ = PublicKey::from_jwk(&jwk);
    }
});
