//! Key material on its way into a backend, and public parts.

use std::fmt;

use super::operation::KeyOperations;
use super::spec::{Curve, KeySpec, OctKeyLength, RsaKeySize};
use crate::secret::SecretBytes;

/// A private or secret key as it was decoded from a JWK, PKCS#8, PKCS#1, SEC1 or raw bytes: not yet
/// validated.
///
/// It goes into [`ImportKeyOptions`](crate::ImportKeyOptions); the vault validates it completely
/// before any backend sees it. The bytes are wiped when it is dropped.
pub struct ImportedKey {
    pub(crate) parts: ImportedParts,
    /// The `key_ops` that came with the key, if any did.
    pub(crate) operations: Option<KeyOperations>,
    /// Whether the key says of itself that it belongs into hardware: `kty` ended in `-HSM`.
    pub(crate) hsm: bool,
}

/// Integers are big-endian and may carry leading zeros.
pub(crate) enum ImportedParts {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
        d: SecretBytes,
        /// `p` and `q`; without them they are recovered from `n`, `e` and `d`.
        primes: Option<(SecretBytes, SecretBytes)>,
        /// `dp`, `dq` and `qi`; computed when absent, compared when present.
        crt: Option<(SecretBytes, SecretBytes, SecretBytes)>,
    },
    Ec {
        curve: Curve,
        d: SecretBytes,
        /// The public point, compared with the one that `d` gives; computed when absent.
        point: Option<(Vec<u8>, Vec<u8>)>,
    },
    Oct(SecretBytes),
}

impl ImportedKey {
    pub(crate) fn new(parts: ImportedParts) -> Self {
        Self {
            parts,
            operations: None,
            hsm: false,
        }
    }

    /// A symmetric key of 16 to 64 bytes: 16, 24 or 32 for AES, any of them for HMAC.
    #[must_use]
    pub fn oct(key: SecretBytes) -> Self {
        Self::new(ImportedParts::Oct(key))
    }
}

impl fmt::Debug for ImportedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.parts {
            ImportedParts::Rsa { .. } => "RSA",
            ImportedParts::Ec { .. } => "EC",
            ImportedParts::Oct(_) => "oct",
        };
        f.debug_struct("ImportedKey")
            .field("kty", &kind)
            .finish_non_exhaustive()
    }
}

/// Validated private or secret key material, complete and in canonical lengths.
///
/// The vault makes it from an [`ImportedKey`] and gives it to [`KeyBackend::import`](crate::backend::KeyBackend::import).
pub struct KeyMaterial {
    pub(crate) parts: MaterialParts,
}

/// Back to where validation begins: for material that comes out of a backup.
impl From<KeyMaterial> for ImportedKey {
    fn from(material: KeyMaterial) -> Self {
        Self::new(match material.parts {
            MaterialParts::Rsa(rsa) => ImportedParts::Rsa {
                n: rsa.n,
                e: rsa.e,
                d: rsa.d,
                primes: Some((rsa.p, rsa.q)),
                crt: Some((rsa.dp, rsa.dq, rsa.qi)),
            },
            MaterialParts::Ec(ec) => ImportedParts::Ec {
                curve: ec.curve,
                d: ec.d,
                point: Some((ec.x, ec.y)),
            },
            MaterialParts::Oct { length: _, key } => ImportedParts::Oct(key),
        })
    }
}

/// The parts of [`KeyMaterial`].
pub(crate) enum MaterialParts {
    Rsa(RsaMaterial),
    Ec(EcMaterial),
    Oct {
        length: OctKeyLength,
        key: SecretBytes,
    },
}

/// All eight numbers of a two-prime RSA key, big-endian: `n` and `d` of the modulus length, the
/// primes and CRT values of half of it, `e` without leading zeros. `p > q`.
pub(crate) struct RsaMaterial {
    pub(crate) size: RsaKeySize,
    pub(crate) n: Vec<u8>,
    pub(crate) e: Vec<u8>,
    pub(crate) d: SecretBytes,
    pub(crate) p: SecretBytes,
    pub(crate) q: SecretBytes,
    pub(crate) dp: SecretBytes,
    pub(crate) dq: SecretBytes,
    pub(crate) qi: SecretBytes,
}

/// Scalar and public point, each number of [`Curve::field_length`] bytes, big-endian.
pub(crate) struct EcMaterial {
    pub(crate) curve: Curve,
    pub(crate) d: SecretBytes,
    pub(crate) x: Vec<u8>,
    pub(crate) y: Vec<u8>,
}

impl KeyMaterial {
    pub(crate) fn new(parts: MaterialParts) -> Self {
        Self { parts }
    }

    /// What kind of key it is.
    #[must_use]
    pub fn spec(&self) -> KeySpec {
        match &self.parts {
            MaterialParts::Rsa(rsa) => KeySpec::Rsa(rsa.size),
            MaterialParts::Ec(ec) => KeySpec::Ec(ec.curve),
            MaterialParts::Oct { length, .. } => KeySpec::Oct(*length),
        }
    }

    /// The public part; symmetric keys have none.
    #[must_use]
    pub fn public_parts(&self) -> Option<PublicParts> {
        match &self.parts {
            MaterialParts::Rsa(rsa) => Some(PublicParts::Rsa {
                n: rsa.n.clone(),
                e: rsa.e.clone(),
            }),
            MaterialParts::Ec(ec) => Some(PublicParts::Ec {
                curve: ec.curve,
                x: ec.x.clone(),
                y: ec.y.clone(),
            }),
            MaterialParts::Oct { .. } => None,
        }
    }
}

impl fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyMaterial")
            .field("spec", &self.spec())
            .finish_non_exhaustive()
    }
}

/// The numbers of a public key, big-endian: `n` of the modulus length and `e` without leading zeros,
/// or `x` and `y` of [`Curve::field_length`] bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_enums, reason = "a new family is a new format")]
pub enum PublicParts {
    /// RSA.
    Rsa {
        /// The modulus.
        n: Vec<u8>,
        /// The public exponent.
        e: Vec<u8>,
    },
    /// Elliptic curve.
    Ec {
        /// The curve.
        curve: Curve,
        /// The first coordinate.
        x: Vec<u8>,
        /// The second coordinate.
        y: Vec<u8>,
    },
}
