//! Containers of keys: PKCS#8 (also encrypted), PKCS#1 and SEC1 for private keys, SPKI for public ones;
//! DER and PEM.

pub(crate) mod encrypted;
mod pem;
mod private;
mod private_der;
mod public;

#[cfg(test)]
mod tests;

pub(crate) use private_der::pkcs8_der_from_material;
pub(crate) use public::{
    parts_from_spki_der, parts_from_spki_pem, spki_der_from_parts, spki_pem_from_parts,
};

use p256::pkcs8::AssociatedOid;
use pkcs8::ObjectIdentifier;

use crate::error::{Error, ErrorKind, Result};
use crate::model::material::ImportedKey;
use crate::model::spec::Curve;

/// The longest DER container, in bytes.
pub(crate) const MAX_DER_LENGTH: usize = 64 * 1024;
/// The longest PEM text, in bytes.
pub(crate) const MAX_PEM_LENGTH: usize = 128 * 1024;

/// RFC 4055: an RSA key that only RSASSA-PSS may use, under parameters of its own.
const RSASSA_PSS_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");

/// Private keys in the usual containers, for RSA and the four curves. The numbers are validated when
/// the key is imported. The input stays with the caller, who wipes it; every copy made of it here is
/// wiped.
impl ImportedKey {
    /// A PKCS#8 `PrivateKeyInfo` or `OneAsymmetricKey` (RFC 5958) in DER, at most 64 KiB.
    ///
    /// # Errors
    ///
    /// - [`TooLarge`](crate::ErrorKind::TooLarge): more than 64 KiB.
    /// - [`InvalidKeyMaterial`](crate::ErrorKind::InvalidKeyMaterial): malformed, or a key of another kind,
    ///   such as one restricted to RSASSA-PSS.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self> {
        check_der_length(der)?;
        private::from_pkcs8(der)
    }

    /// A PKCS#8 `EncryptedPrivateKeyInfo` (RFC 5958) in DER, at most 64 KiB, under PBES2 with PBKDF2
    /// (HMAC with SHA-2, at most 10,000,000 iterations) or scrypt (at most 256 MiB), and AES.
    ///
    /// Deriving the key takes as long as the container asks for: up to many seconds.
    ///
    /// # Errors
    ///
    /// - [`TooLarge`](crate::ErrorKind::TooLarge): more than 64 KiB.
    /// - [`KdfCostRefused`](crate::ErrorKind::KdfCostRefused): deriving the key would cost more than that.
    /// - [`DecryptFailed`](crate::ErrorKind::DecryptFailed): the password is wrong or the data damaged.
    /// - [`InvalidKeyMaterial`](crate::ErrorKind::InvalidKeyMaterial): malformed, another encryption, or a
    ///   key of another kind.
    pub fn from_pkcs8_encrypted_der(der: &[u8], password: &[u8]) -> Result<Self> {
        check_der_length(der)?;
        encrypted::from_pkcs8(der, password, encrypted::CostLimits::PUBLISHED)
    }

    /// A PKCS#1 `RSAPrivateKey` (RFC 8017) in DER, at most 64 KiB.
    ///
    /// # Errors
    ///
    /// - [`TooLarge`](crate::ErrorKind::TooLarge): more than 64 KiB.
    /// - [`InvalidKeyMaterial`](crate::ErrorKind::InvalidKeyMaterial): malformed, or more than two primes.
    pub fn from_pkcs1_der(der: &[u8]) -> Result<Self> {
        check_der_length(der)?;
        private::from_pkcs1(der)
    }

    /// A SEC1 `ECPrivateKey` (RFC 5915) in DER, at most 64 KiB, which names its curve.
    ///
    /// # Errors
    ///
    /// - [`TooLarge`](crate::ErrorKind::TooLarge): more than 64 KiB.
    /// - [`InvalidKeyMaterial`](crate::ErrorKind::InvalidKeyMaterial): malformed, without a named curve, or
    ///   on another curve.
    pub fn from_sec1_der(der: &[u8]) -> Result<Self> {
        check_der_length(der)?;
        private::from_sec1(der, None)
    }

    /// PEM text (RFC 7468) of at most 128 KiB with one `PRIVATE KEY`, `RSA PRIVATE KEY` or
    /// `EC PRIVATE KEY`; an `EC PARAMETERS` block before it is skipped.
    ///
    /// # Errors
    ///
    /// - [`TooLarge`](crate::ErrorKind::TooLarge): more than 128 KiB.
    /// - [`InvalidKeyMaterial`](crate::ErrorKind::InvalidKeyMaterial): not such text, encrypted, or not a
    ///   key that the DER functions accept.
    ///
    /// # Examples
    ///
    /// ```
    /// use strongroom::ImportedKey;
    ///
    /// let pem = "\
    /// -----BEGIN PRIVATE KEY-----
    /// MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgRzh7xwRm4+6ODD55
    /// CnPj1xRdHSJScZMCqjO9cHqu61ehRANCAAQZ54WzED3e5FX3gqyoHkgKhZ05kpK7
    /// 9fBnMAVCwRPT6WLTNnPSTA3ANxpNOByB1voPCGZcHI0UddD//joO8kWT
    /// -----END PRIVATE KEY-----
    /// ";
    /// let key = ImportedKey::from_pem(pem)?;
    /// # let _ = key;
    /// # Ok::<(), strongroom::Error>(())
    /// ```
    pub fn from_pem(text: &str) -> Result<Self> {
        let document = pem::decode(text)?;
        match document.label() {
            pem::PKCS8 => Self::from_pkcs8_der(document.der()),
            pem::PKCS1 => Self::from_pkcs1_der(document.der()),
            pem::SEC1 => Self::from_sec1_der(document.der()),
            pem::ENCRYPTED_PKCS8 => Err(malformed(
                "the private key is encrypted: use ImportedKey::from_encrypted_pem",
            )),
            _ => Err(no_private_key()),
        }
    }

    /// PEM text (RFC 7468) of at most 128 KiB with one `ENCRYPTED PRIVATE KEY`, as
    /// [`from_pkcs8_encrypted_der`](Self::from_pkcs8_encrypted_der) takes in DER.
    ///
    /// # Errors
    ///
    /// - [`TooLarge`](crate::ErrorKind::TooLarge): more than 128 KiB.
    /// - [`KdfCostRefused`](crate::ErrorKind::KdfCostRefused): deriving the key would cost too much.
    /// - [`DecryptFailed`](crate::ErrorKind::DecryptFailed): the password is wrong or the data damaged.
    /// - [`InvalidKeyMaterial`](crate::ErrorKind::InvalidKeyMaterial): not such text, not encrypted, or a
    ///   key of another kind.
    pub fn from_encrypted_pem(text: &str, password: &[u8]) -> Result<Self> {
        let document = pem::decode(text)?;
        match document.label() {
            pem::ENCRYPTED_PKCS8 => Self::from_pkcs8_encrypted_der(document.der(), password),
            pem::PKCS8 | pem::PKCS1 | pem::SEC1 => Err(malformed(
                "the private key is not encrypted: use ImportedKey::from_pem",
            )),
            _ => Err(no_private_key()),
        }
    }
}

fn no_private_key() -> Error {
    malformed("the PEM text holds no private key")
}

fn check_der_length(der: &[u8]) -> Result<()> {
    if der.len() > MAX_DER_LENGTH {
        return Err(Error::new(
            ErrorKind::TooLarge,
            format!("a key in DER has at most {MAX_DER_LENGTH} bytes"),
        ));
    }
    Ok(())
}

fn malformed(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidKeyMaterial, message)
}

fn curve_oid(curve: Curve) -> ObjectIdentifier {
    match curve {
        Curve::P256 => p256::NistP256::OID,
        Curve::P384 => p384::NistP384::OID,
        Curve::P521 => p521::NistP521::OID,
        Curve::P256K => k256::Secp256k1::OID,
    }
}

fn curve_from_oid(oid: ObjectIdentifier) -> Option<Curve> {
    Curve::ALL
        .into_iter()
        .find(|curve| curve_oid(*curve) == oid)
}
