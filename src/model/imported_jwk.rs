//! Which of two kinds of key an import on the wire brings.

use super::json::{Members, malformed};
use super::jwk::{curve, key_operations, key_type};
use super::key_transfer::KeyTransferBlob;
use super::material::ImportedKey;
use super::operation::KeyOperations;
use super::private_jwk::check_use;
use super::spec::{Curve, KeyFamily, KeyType};
use crate::error::Result;

/// What carries or announces numbers of a key, none of which stands beside `key_hsm`.
const NUMBERS: [&str; 13] = [
    "n", "e", "d", "p", "q", "dp", "dq", "qi", "oth", "k", "x", "y", "t",
];

/// A JSON Web Key that is imported.
#[derive(Debug)]
pub(crate) enum ImportedJwk {
    /// The key itself.
    Plain(ImportedKey),
    /// A key that is wrapped under one of the vault's: *bring your own key*.
    Transferred(TransferredJwk),
}

/// A JSON Web Key with `key_hsm`, which is base64url of a key transfer blob.
#[derive(Debug)]
pub(crate) struct TransferredJwk {
    pub(crate) key_type: KeyType,
    /// That of an EC key, if it is announced.
    pub(crate) curve: Option<Curve>,
    pub(crate) operations: Option<KeyOperations>,
    pub(crate) blob: KeyTransferBlob,
}

impl ImportedJwk {
    /// Errors: those of [`ImportedKey::from_jwk`] and [`KeyTransferBlob::from_json`].
    pub(crate) fn parse(json: &[u8]) -> Result<Self> {
        let members = Members::parse(json)?;
        let Some(blob) = members.bytes("key_hsm")? else {
            return ImportedKey::from_members(&members).map(Self::Plain);
        };
        if let Some(name) = NUMBERS.into_iter().find(|name| members.has(name)) {
            return Err(malformed(format!(
                "the member {name} does not go with key_hsm, in which the whole key is"
            )));
        }
        let key_type = key_type(&members)?;
        let curve = match key_type.family() {
            KeyFamily::Ec if members.has("crv") => Some(curve(&members)?),
            _ => None,
        };
        let operations = key_operations(&members)?;
        check_use(&members, operations)?;
        Ok(Self::Transferred(TransferredJwk {
            key_type,
            curve,
            operations,
            blob: KeyTransferBlob::from_json(&blob)?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::base64url;
    use super::*;
    use crate::error::ErrorKind;

    fn blob() -> String {
        let kid = "https://vault.invalid/keys/kek/0123456789abcdef0123456789abcdef";
        base64url::encode(
            format!(
                r#"{{"schema_version":"1.0.0","header":{{"kid":"{kid}","alg":"dir","enc":"CKM_RSA_AES_KEY_WRAP"}},"ciphertext":"AAAA"}}"#
            )
            .as_bytes(),
        )
    }

    #[test]
    fn a_wrapped_key_and_a_plain_one_are_told_apart() {
        let json = format!(
            r#"{{"kty":"EC-HSM","crv":"P-384","key_ops":["sign"],"key_hsm":"{}"}}"#,
            blob()
        );
        let ImportedJwk::Transferred(key) = ImportedJwk::parse(json.as_bytes()).unwrap() else {
            panic!("it has key_hsm");
        };
        assert_eq!(
            (key.key_type, key.curve),
            (KeyType::EcHsm, Some(Curve::P384))
        );
        assert_eq!(key.operations.unwrap().iter().count(), 1);
        assert_eq!(key.blob.ciphertext, [0, 0, 0]);
        for plain in [
            r#"{"kty":"oct","k":"AAECAwQFBgcICQoLDA0ODw"}"#,
            r#"{"kty":"oct","k":"AAECAwQFBgcICQoLDA0ODw","key_hsm":null}"#,
        ] {
            let key = ImportedJwk::parse(plain.as_bytes()).unwrap();
            assert!(matches!(key, ImportedJwk::Plain(_)));
        }
    }

    #[test]
    fn numbers_beside_a_wrapped_key_and_broken_blobs_are_refused() {
        for (json, kind) in [
            (
                format!(r#"{{"kty":"oct","k":"AAEC","key_hsm":"{}"}}"#, blob()),
                ErrorKind::InvalidKeyMaterial,
            ),
            (
                format!(r#"{{"kty":"RSA","n":"AAEC","key_hsm":"{}"}}"#, blob()),
                ErrorKind::InvalidKeyMaterial,
            ),
            (
                format!(r#"{{"kty":"EC","crv":"P-1","key_hsm":"{}"}}"#, blob()),
                ErrorKind::InvalidKeyMaterial,
            ),
            (
                format!(r#"{{"key_hsm":"{}"}}"#, blob()),
                ErrorKind::InvalidKeyMaterial,
            ),
            (
                r#"{"kty":"RSA-HSM","key_hsm":"{}"}"#.to_owned(),
                ErrorKind::InvalidKeyMaterial,
            ),
            (
                r#"{"kty":"RSA-HSM","key_hsm":"e30"}"#.to_owned(),
                ErrorKind::BadParameter,
            ),
        ] {
            let error = ImportedJwk::parse(json.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), kind, "{json}");
        }
    }
}
