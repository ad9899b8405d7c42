use super::json::{MAX_JWK_DEPTH, MAX_JWK_LENGTH, MAX_JWK_MEMBERS};
use super::jwk::JsonWebKey;
use super::material::{ImportedKey, ImportedParts, PublicParts};
use super::operation::{KeyOperation, KeyOperations};
use super::spec::{Curve, KeyType};
use crate::error::ErrorKind;

// The keys of RFC 7517, appendix A.2, and of RFC 7515, appendix A.1.
const X: &str = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4";
const Y: &str = "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM";
const D: &str = "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE";
const K: &str =
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";

fn ec_private(more: &str) -> String {
    format!(r#"{{"kty":"EC","crv":"P-256","x":"{X}","y":"{Y}","d":"{D}"{more}}}"#)
}

fn read(json: &str) -> ImportedKey {
    ImportedKey::from_jwk(json.as_bytes()).unwrap()
}

#[track_caller]
fn assert_refused(json: &str, kind: ErrorKind, message: &str) {
    let error = ImportedKey::from_jwk(json.as_bytes()).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(message), "{error}");
}

fn rsa(members: &[&str]) -> String {
    let members: String = members
        .iter()
        .map(|name| format!(r#","{name}":"AQAB""#))
        .collect();
    format!(r#"{{"kty":"RSA"{members}}}"#)
}

#[test]
fn the_ec_key_of_rfc_7517_is_read() {
    let key = read(&ec_private(
        r#","use":"sig","kid":"1","exotic":[{"a":1.5},null,true,-1]"#,
    ));
    assert!(!key.hsm);
    assert_eq!(key.operations, None);
    match &key.parts {
        ImportedParts::Ec { curve, d, point } => {
            assert_eq!(*curve, Curve::P256);
            assert_eq!(d.expose()[..3], [0xf3, 0xbd, 0x0c]);
            assert_eq!(point.as_ref().unwrap().0[..3], [0x30, 0xa0, 0x42]);
        }
        _ => panic!("another family"),
    }
}

#[test]
fn the_hmac_key_of_rfc_7515_is_read() {
    let key = read(&format!(
        r#"{{"kty":"oct-HSM","k":"{K}","key_ops":["sign","verify"]}}"#
    ));
    assert!(key.hsm);
    assert_eq!(
        key.operations,
        Some([KeyOperation::Sign, KeyOperation::Verify].into())
    );
    match &key.parts {
        ImportedParts::Oct(k) => {
            assert_eq!(k.len(), 64);
            assert_eq!(k.expose()[..3], [0x03, 0x23, 0x35]);
        }
        _ => panic!("another family"),
    }
}

#[test]
fn secp256k1_has_two_names_and_no_third() {
    for name in ["P-256K", "secp256k1"] {
        let key = read(&ec_private("").replace("P-256", name));
        assert!(matches!(
            key.parts,
            ImportedParts::Ec {
                curve: Curve::P256K,
                ..
            }
        ));
    }
    for name in ["SECP256K1", "p-256", "P-224", ""] {
        assert_refused(
            &ec_private("").replace("P-256", name),
            ErrorKind::InvalidKeyMaterial,
            "a curve is",
        );
    }
}

#[test]
fn rsa_members_come_in_three_sets_only() {
    for (members, primes, crt) in [
        (&["n", "e", "d"][..], false, false),
        (&["n", "e", "d", "p", "q"], true, false),
        (&["n", "e", "d", "p", "q", "dp", "dq", "qi"], true, true),
    ] {
        match read(&rsa(members)).parts {
            ImportedParts::Rsa {
                primes: has_primes,
                crt: has_crt,
                ..
            } => {
                assert_eq!((has_primes.is_some(), has_crt.is_some()), (primes, crt));
            }
            _ => panic!("another family"),
        }
    }
    let optional = ["p", "q", "dp", "dq", "qi"];
    let mut refused = 0;
    for set in 0u32..32 {
        if [0, 0b00011, 0b11111].contains(&set) {
            continue;
        }
        let mut members = vec!["n", "e", "d"];
        members.extend(
            (0..5)
                .filter(|bit| set >> bit & 1 == 1)
                .map(|bit| optional[bit]),
        );
        assert_refused(&rsa(&members), ErrorKind::InvalidKeyMaterial, "all of p, q");
        refused += 1;
    }
    assert_eq!(refused, 29);
    assert_refused(
        &rsa(&["n", "e", "d", "oth"]),
        ErrorKind::InvalidKeyMaterial,
        "more than two primes",
    );
}

#[test]
fn public_keys_are_told_that_their_private_part_is_missing() {
    let public = ec_private("").replace(&format!(r#","d":"{D}""#), "");
    for json in [&public, &rsa(&["n", "e"]), r#"{"kty":"oct"}"#] {
        assert_refused(
            json,
            ErrorKind::InvalidKeyMaterial,
            "private part is missing",
        );
    }
    let null = ec_private("").replace(&format!(r#""{D}""#), "null");
    assert_refused(
        &null,
        ErrorKind::InvalidKeyMaterial,
        "private part is missing",
    );
    assert_refused(
        &rsa(&["e", "d"]),
        ErrorKind::InvalidKeyMaterial,
        "n is missing",
    );
    let no_y = ec_private("").replace(r#""y":"#, r#""z":"#);
    assert_refused(&no_y, ErrorKind::InvalidKeyMaterial, "y is missing");
}

#[test]
fn base64url_is_strict() {
    for k in [
        "AAECAwQFBgcICQoLDA0ODw==",
        "AAECAwQFBgcICQoLDA0ODx",
        "AAECAwQFBgcICQoLDA0OD",
        "AAECAwQF BgcICQoLDA0ODw",
        "AAECAwQFBgcICQoLDA0ODw ",
        "AAECAwQF\\nBgcICQoLDA0ODw",
        "AAEC+wQFBgcICQoLDA0ODw",
        "AAEC/wQFBgcICQoLDA0ODw",
        "AAECéwQFBgcICQoLDA0ODw",
    ] {
        assert_refused(
            &format!(r#"{{"kty":"oct","k":"{k}"}}"#),
            ErrorKind::InvalidKeyMaterial,
            "the member k is not base64url",
        );
    }
    assert_refused(
        r#"{"kty":"oct","k":""}"#,
        ErrorKind::InvalidKeyMaterial,
        "k is empty",
    );
    for wrong in ["1", "true", "{}", "[]", r#"["AAAA"]"#] {
        assert_refused(
            &format!(r#"{{"kty":"oct","k":{wrong}}}"#),
            ErrorKind::InvalidKeyMaterial,
            "k must be a string",
        );
    }
}

#[test]
fn the_longest_symmetric_key_has_64_bytes() {
    let json = |length: usize| {
        // Whole groups of three bytes.
        format!(r#"{{"kty":"oct","k":"{}"}}"#, "AAAA".repeat(length / 3))
    };
    read(&json(63));
    read(&format!(r#"{{"kty":"oct","k":"{}AA"}}"#, "AAAA".repeat(21)));
    assert_refused(
        &json(66),
        ErrorKind::InvalidKeyMaterial,
        "the k member has more than 64 bytes",
    );
    assert_refused(
        &format!(r#"{{"kty":"oct","k":"{}AAA"}}"#, "AAAA".repeat(21)),
        ErrorKind::InvalidKeyMaterial,
        "the k member has more than 64 bytes",
    );
}

#[test]
fn duplicates_are_refused_at_any_depth_in_any_spelling() {
    for more in [
        r#","d":"AAAA""#,
        r#","kty":"EC""#,
        r#","other":1,"other":1"#,
        r#","o":{"a":1,"a":1}"#,
        r#","o":[[{"b":{"a":1,"a":2}}]]"#,
        r#","\u0064":"AAAA""#,
        r#","o":null,"o":null"#,
    ] {
        assert_refused(&ec_private(more), ErrorKind::InvalidKeyMaterial, "twice");
    }
}

#[test]
fn length_and_depth_are_bounded() {
    let padded = |length: usize| {
        let json = ec_private("");
        format!("{json}{}", " ".repeat(length - json.len()))
    };
    read(&padded(MAX_JWK_LENGTH));
    assert_refused(
        &padded(MAX_JWK_LENGTH + 1),
        ErrorKind::TooLarge,
        "65536 bytes",
    );
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        let nested = |levels: usize| {
            let value = format!("{}1{}", open.repeat(levels), close.repeat(levels));
            ec_private(&format!(r#","o":{value}"#))
        };
        let within = MAX_JWK_DEPTH as usize - 1;
        read(&nested(within));
        assert_refused(
            &nested(within + 1),
            ErrorKind::InvalidKeyMaterial,
            "nested too deeply",
        );
        assert_refused(
            &nested(5_000),
            ErrorKind::InvalidKeyMaterial,
            "nested too deeply",
        );
    }
}

/// 6,000 members of a few bytes took twelve times their length in memory.
#[test]
fn members_and_values_are_bounded() {
    let numbered = |count: usize| -> Vec<String> {
        (0..count)
            .map(|number| format!(r#""m{number}":0"#))
            .collect()
    };
    let own = ["kty", "crv", "x", "y", "d"].len();
    let more = |count: usize| ec_private(&format!(",{}", numbered(count).join(",")));
    read(&more(MAX_JWK_MEMBERS - own));
    let object = |count: usize| ec_private(&format!(r#","o":{{{}}}"#, numbered(count).join(",")));
    read(&object(MAX_JWK_MEMBERS));
    let array = |count: usize| ec_private(&format!(r#","o":[{}]"#, vec!["0"; count].join(",")));
    read(&array(MAX_JWK_MEMBERS));
    for json in [
        more(MAX_JWK_MEMBERS - own + 1),
        object(MAX_JWK_MEMBERS + 1),
        array(MAX_JWK_MEMBERS + 1),
    ] {
        let message = "more members than any key";
        assert_refused(&json, ErrorKind::InvalidKeyMaterial, message);
    }
}

#[test]
fn key_ops_are_strict() {
    let with = |ops: &str| ec_private(&format!(r#","key_ops":{ops}"#));
    assert_eq!(
        read(&with(r#"["sign"]"#)).operations,
        Some([KeyOperation::Sign].into())
    );
    assert_eq!(read(&with("null")).operations, None);
    for (ops, message) in [
        ("[]", "empty"),
        (r#"["sign","sign"]"#, "twice"),
        (r#"["Sign"]"#, "a key operation is"),
        (r#"["deriveKey"]"#, "a key operation is"),
    ] {
        assert_refused(&with(ops), ErrorKind::BadParameter, message);
    }
    for ops in [r#""sign""#, "[1]", "{}", r#"["sign",null]"#] {
        assert_refused(
            &with(ops),
            ErrorKind::InvalidKeyMaterial,
            "array of strings",
        );
    }
}

#[test]
fn use_must_not_contradict_key_ops() {
    let with = |key_use: &str, op: KeyOperation| {
        ec_private(&format!(r#","use":"{key_use}","key_ops":["{op}"]"#))
    };
    for operation in KeyOperation::ALL {
        let signs = matches!(operation, KeyOperation::Sign | KeyOperation::Verify);
        let neutral = matches!(operation, KeyOperation::Import | KeyOperation::Export);
        for (key_use, fits) in [("sig", signs || neutral), ("enc", !signs), ("other", true)] {
            let json = with(key_use, operation);
            if fits {
                assert!(read(&json).operations.unwrap().contains(operation));
            } else {
                assert_refused(&json, ErrorKind::BadParameter, "contradicts");
            }
        }
    }
}

#[test]
fn malformed_texts_are_refused_without_being_quoted() {
    let secret = ec_private("");
    for json in [
        "",
        "null",
        "[]",
        "1",
        r#""text""#,
        "{}",
        r#"{"kty":"rsa"}"#,
        r#"{"kty":7}"#,
        r#"{"kty":"EC"}"#,
    ] {
        assert_refused(json, ErrorKind::InvalidKeyMaterial, "");
    }
    for length in 0..secret.len() {
        assert_refused(&secret[..length], ErrorKind::InvalidKeyMaterial, "");
    }
    for at in 0..secret.len() {
        for byte in [0, 1, b'"', b'\\', b'{', b'}', b'[', b',', b'9', 0xff] {
            let mut altered = secret.clone().into_bytes();
            altered[at] = byte;
            if let Err(error) = ImportedKey::from_jwk(&altered) {
                let message = format!("{error:?}");
                assert!(
                    !message.contains("MB6gfuT") && !message.contains("bVdj3e"),
                    "{message}"
                );
            }
        }
    }
    assert!(ImportedKey::from_jwk(format!("{secret}x").as_bytes()).is_err());
    assert!(ImportedKey::from_jwk(format!("{secret}{secret}").as_bytes()).is_err());
}

#[test]
fn a_public_key_survives_serialisation_in_azures_form() {
    let json = format!(
        r#"{{"kid":"https://vault.invalid/keys/signer/0123456789abcdef0123456789abcdef","kty":"EC-HSM","key_ops":["sign","verify"],"crv":"P-256","x":"{X}","y":"{Y}"}}"#
    );
    let key: JsonWebKey = json.parse().unwrap();
    assert_eq!(key.kid().unwrap().name().as_str(), "signer");
    assert_eq!(key.kty(), KeyType::EcHsm);
    assert_eq!(key.crv(), Some(Curve::P256));
    assert_eq!((key.n(), key.e()), (None, None));
    assert_eq!(serde_json::to_string(&key).unwrap(), json);
    assert_eq!(serde_json::from_str::<JsonWebKey>(&json).unwrap(), key);
    let value = serde_json::from_str::<serde_json::Value>(&json).unwrap();
    assert_eq!(serde_json::from_value::<JsonWebKey>(value).unwrap(), key);
    let rebuilt = JsonWebKey::new(
        key.kid().cloned(),
        key.kty(),
        key.key_ops(),
        key.public_parts().as_ref(),
    );
    assert_eq!(rebuilt, key);
}

#[test]
fn public_rsa_and_symmetric_keys_have_their_members() {
    let rsa: JsonWebKey = r#"{"kty":"RSA","n":"AAEC","e":"AAEAAQ"}"#.parse().unwrap();
    assert_eq!(rsa.n(), Some(&[1, 2][..]));
    assert_eq!(rsa.e(), Some(&[1, 0, 1][..]));
    assert_eq!(
        serde_json::to_string(&rsa).unwrap(),
        r#"{"kty":"RSA","n":"AQI","e":"AQAB"}"#
    );
    let oct = JsonWebKey::new(None, KeyType::OctHsm, [KeyOperation::WrapKey].into(), None);
    let json = serde_json::to_string(&oct).unwrap();
    assert_eq!(json, r#"{"kty":"oct-HSM","key_ops":["wrapKey"]}"#);
    assert_eq!(json.parse::<JsonWebKey>().unwrap(), oct);
}

#[test]
fn public_keys_refuse_private_members() {
    for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        let json = format!(r#"{{"kty":"EC","crv":"P-256","x":"{X}","y":"{Y}","{member}":"AAAA"}}"#);
        let error = json.parse::<JsonWebKey>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidKeyMaterial);
        assert!(error.to_string().contains("public-only"), "{error}");
        let error = serde_json::from_str::<JsonWebKey>(&json).unwrap_err();
        assert!(error.to_string().contains("public-only"), "{error}");
    }
}

#[test]
fn public_coordinates_come_out_in_field_length() {
    let json = |x: &str| format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{Y}"}}"#);
    let short: JsonWebKey = json("AQ").parse().unwrap();
    let x = short.x().unwrap();
    assert_eq!((x.len(), x[31], x[30]), (32, 1, 0));
    let long = "AQAA".repeat(11);
    assert!(json(&long).parse::<JsonWebKey>().is_err());
    let padded = format!("AAAA{}", "AQAA".repeat(10));
    assert!(json(&padded).parse::<JsonWebKey>().is_ok());
}

#[test]
fn a_foreign_kid_is_left_out_and_bad_key_ops_are_refused() {
    let key: JsonWebKey = r#"{"kty":"oct","kid":"2011-04-29"}"#.parse().unwrap();
    assert_eq!(key.kid(), None);
    assert_eq!(key.key_ops(), KeyOperations::NONE);
    for ops in ["[]", r#"["sign","sign"]"#, r#"["x"]"#] {
        let json = format!(r#"{{"kty":"oct","key_ops":{ops}}}"#);
        let error = json.parse::<JsonWebKey>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadParameter);
    }
    assert!(
        " ".repeat(MAX_JWK_LENGTH + 1)
            .parse::<JsonWebKey>()
            .is_err()
    );
    let oversized = format!(r#"{{"kty":"RSA","e":"AQAB","n":"{}"}}"#, "AQAA".repeat(200));
    assert!(oversized.parse::<JsonWebKey>().is_err());
    match "{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"AQAA\"}"
        .parse::<JsonWebKey>()
        .unwrap()
        .public_parts()
    {
        Some(PublicParts::Rsa { n, .. }) => assert_eq!(n, [1, 0, 0]),
        other => panic!("{other:?}"),
    }
}
