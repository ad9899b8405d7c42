//! Keys that come wrapped under a key of the vault.

use super::base64url;
use super::identifier::KeyIdentifier;
use super::release_policy::KeyEncryptionAlgorithm;
use super::strict_json::Json;
use crate::error::{Error, ErrorKind, Result};

/// A key on its way into the vault, wrapped under the public half of one of the vault's keys: the *key transfer blob* of Azure's
/// [bring your own key](https://learn.microsoft.com/azure/key-vault/keys/byok-specification), which goes into the JWK's
/// member `key_hsm` there.
///
/// It is JSON: `{"schema_version": "1.0.0", "header": {"kid": identifier of the wrapping key, "alg": "dir", "enc":
/// "CKM_RSA_AES_KEY_WRAP"}, "ciphertext": base64url, "generator": text}`. The ciphertext is an AES-256 key under RSA-OAEP with
/// SHA-1 and, behind it, the PKCS#8 of the key, or the bytes of a symmetric one, under that by AES Key Wrap with Padding (RFC 5649).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyTransferBlob {
    pub(crate) key_id: KeyIdentifier,
    pub(crate) ciphertext: Vec<u8>,
}

impl KeyTransferBlob {
    /// The longest blob, in bytes of JSON.
    pub const MAX_LENGTH: usize = 64 * 1024;

    /// Reads a blob. Nothing is decrypted.
    ///
    /// # Errors
    ///
    /// [`BadParameter`](ErrorKind::BadParameter) for anything else, and for other versions and algorithms;
    /// [`TooLarge`](ErrorKind::TooLarge) above [`KeyTransferBlob::MAX_LENGTH`].
    pub fn from_json(json: &[u8]) -> Result<Self> {
        if json.len() > Self::MAX_LENGTH {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!("a key transfer blob has at most {} bytes", Self::MAX_LENGTH),
            ));
        }
        let blob = Json::parse(json).map_err(|error| {
            Error::bad_parameter(format!("a key transfer blob is JSON: {error}"))
        })?;
        let text = |path: &[&str]| {
            blob.at(path.iter().copied())
                .and_then(Json::as_text)
                .ok_or_else(|| {
                    let name = path.join(".");
                    Error::bad_parameter(format!("{name} of a key transfer blob is a string"))
                })
        };
        if !matches!(text(&["schema_version"])?, "1.0.0" | "1.0") {
            return Err(Error::bad_parameter(
                "the schema_version of a key transfer blob is 1.0.0",
            ));
        }
        let expected = KeyEncryptionAlgorithm::CkmRsaAesKeyWrap.as_str();
        if text(&["header", "alg"])? != "dir" || text(&["header", "enc"])? != expected {
            return Err(Error::bad_parameter(format!(
                "a key transfer blob has alg dir and enc {expected}"
            )));
        }
        let key_id = text(&["header", "kid"])?.parse().map_err(|_| {
            Error::bad_parameter(
                "header.kid of a key transfer blob is the identifier of a version of the vault's key",
            )
        })?;
        let ciphertext = base64url::decode(text(&["ciphertext"])?).ok_or_else(|| {
            Error::bad_parameter("ciphertext of a key transfer blob is base64url without padding")
        })?;
        Ok(Self { key_id, ciphertext })
    }

    /// Which key it is wrapped under.
    #[must_use]
    pub fn key_id(&self) -> &KeyIdentifier {
        &self.key_id
    }
}
