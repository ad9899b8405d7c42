//! The forms in which a public key comes and goes: JWK, SPKI, PEM.

use super::containers::{
    parts_from_spki_der, parts_from_spki_pem, spki_der_from_parts, spki_pem_from_parts,
};
use super::public_key::PublicKey;
use super::validation::validate_public;
use crate::error::{Error, ErrorKind, Result};
use crate::model::jwk::JsonWebKey;

impl PublicKey {
    /// From a public JWK.
    ///
    /// # Errors
    ///
    /// [`InvalidKeyMaterial`](ErrorKind::InvalidKeyMaterial), also for a symmetric key, which has no public
    /// part.
    pub fn from_jwk(jwk: &JsonWebKey) -> Result<Self> {
        let parts = jwk.public_parts().ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidKeyMaterial,
                "the JWK has no public part: a symmetric key, or members are missing",
            )
        })?;
        // Other producers pad numbers with zeros.
        Self::from_parts(&validate_public(&parts)?)
    }

    /// From a DER-encoded SubjectPublicKeyInfo (RFC 5280): RSA, or EC with a named curve.
    ///
    /// # Errors
    ///
    /// [`InvalidKeyMaterial`](ErrorKind::InvalidKeyMaterial).
    pub fn from_spki_der(der: &[u8]) -> Result<Self> {
        Self::from_parts(&parts_from_spki_der(der)?)
    }

    /// From PEM with the label `PUBLIC KEY`.
    ///
    /// # Errors
    ///
    /// [`InvalidKeyMaterial`](ErrorKind::InvalidKeyMaterial).
    pub fn from_spki_pem(pem: &str) -> Result<Self> {
        Self::from_parts(&parts_from_spki_pem(pem)?)
    }

    /// As a DER-encoded SubjectPublicKeyInfo (RFC 5280).
    ///
    /// # Errors
    ///
    /// [`Internal`](ErrorKind::Internal), which a legal key does not meet.
    pub fn to_spki_der(&self) -> Result<Vec<u8>> {
        Ok(spki_der_from_parts(self.parts())?)
    }

    /// As PEM with the label `PUBLIC KEY`.
    ///
    /// # Errors
    ///
    /// [`Internal`](ErrorKind::Internal), which a legal key does not meet.
    pub fn to_spki_pem(&self) -> Result<String> {
        Ok(spki_pem_from_parts(self.parts())?)
    }
}
