//! Types, curves and sizes of keys.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A key's type: the JWK member `kty`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum KeyType {
    /// Elliptic curve, in software.
    #[serde(rename = "EC")]
    Ec,
    /// Elliptic curve, in a hardware backend.
    #[serde(rename = "EC-HSM")]
    EcHsm,
    /// RSA, in software.
    #[serde(rename = "RSA")]
    Rsa,
    /// RSA, in a hardware backend.
    #[serde(rename = "RSA-HSM")]
    RsaHsm,
    /// Symmetric, in software.
    #[serde(rename = "oct")]
    Oct,
    /// Symmetric, in a hardware backend.
    #[serde(rename = "oct-HSM")]
    OctHsm,
}

impl KeyType {
    /// All types.
    pub const ALL: [Self; 6] = [
        Self::Ec,
        Self::EcHsm,
        Self::Rsa,
        Self::RsaHsm,
        Self::Oct,
        Self::OctHsm,
    ];

    /// The name in a JWK.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ec => "EC",
            Self::EcHsm => "EC-HSM",
            Self::Rsa => "RSA",
            Self::RsaHsm => "RSA-HSM",
            Self::Oct => "oct",
            Self::OctHsm => "oct-HSM",
        }
    }

    /// The family, which software and hardware share.
    #[must_use]
    pub const fn family(self) -> KeyFamily {
        match self {
            Self::Ec | Self::EcHsm => KeyFamily::Ec,
            Self::Rsa | Self::RsaHsm => KeyFamily::Rsa,
            Self::Oct | Self::OctHsm => KeyFamily::Oct,
        }
    }

    /// Whether the key lives in a hardware backend.
    #[must_use]
    pub const fn is_hsm(self) -> bool {
        matches!(self, Self::EcHsm | Self::RsaHsm | Self::OctHsm)
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for KeyType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|key_type| key_type.as_str() == text)
            .ok_or_else(|| {
                Error::bad_parameter("a key type is EC, EC-HSM, RSA, RSA-HSM, oct or oct-HSM")
            })
    }
}

/// A type without the place where the key lives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(clippy::exhaustive_enums, reason = "a new family is a new format")]
pub enum KeyFamily {
    /// RSA.
    Rsa,
    /// Elliptic curve.
    Ec,
    /// Symmetric.
    Oct,
}

/// An elliptic curve: the JWK member `crv`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Curve {
    /// NIST P-256, secp256r1.
    #[serde(rename = "P-256")]
    P256,
    /// NIST P-384, secp384r1.
    #[serde(rename = "P-384")]
    P384,
    /// NIST P-521, secp521r1.
    #[serde(rename = "P-521")]
    P521,
    /// secp256k1, which Azure calls P-256K.
    #[serde(rename = "P-256K")]
    P256K,
}

impl Curve {
    /// All curves.
    pub const ALL: [Self; 4] = [Self::P256, Self::P384, Self::P521, Self::P256K];

    /// Azure's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
            Self::P256K => "P-256K",
        }
    }

    /// Length in bytes of a coordinate, a private scalar, and of each half of a raw signature.
    #[must_use]
    pub const fn field_length(self) -> usize {
        match self {
            Self::P256 | Self::P256K => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

impl fmt::Display for Curve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Curve {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|curve| curve.as_str() == text)
            .ok_or_else(|| Error::bad_parameter("a curve is P-256, P-384, P-521 or P-256K"))
    }
}

/// The size of an RSA modulus.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
#[non_exhaustive]
pub enum RsaKeySize {
    /// 2048 bits.
    Bits2048,
    /// 3072 bits.
    Bits3072,
    /// 4096 bits.
    Bits4096,
}

impl RsaKeySize {
    /// All sizes.
    pub const ALL: [Self; 3] = [Self::Bits2048, Self::Bits3072, Self::Bits4096];

    /// Size in bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Self::Bits2048 => 2048,
            Self::Bits3072 => 3072,
            Self::Bits4096 => 4096,
        }
    }

    /// Length in bytes of the modulus, of a signature and of a ciphertext.
    #[must_use]
    pub const fn modulus_length(self) -> usize {
        self.bits() as usize / 8
    }
}

impl TryFrom<u32> for RsaKeySize {
    type Error = Error;

    fn try_from(bits: u32) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|size| size.bits() == bits)
            .ok_or_else(|| {
                Error::bad_parameter(format!(
                    "unsupported RSA key size ({bits}): 2048, 3072 and 4096 bits are supported"
                ))
            })
    }
}

/// The size of a generated symmetric key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
#[non_exhaustive]
pub enum OctKeySize {
    /// 128 bits.
    Bits128,
    /// 192 bits.
    Bits192,
    /// 256 bits.
    Bits256,
}

impl OctKeySize {
    /// All sizes.
    pub const ALL: [Self; 3] = [Self::Bits128, Self::Bits192, Self::Bits256];

    /// Size in bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Self::Bits128 => 128,
            Self::Bits192 => 192,
            Self::Bits256 => 256,
        }
    }
}

impl TryFrom<u32> for OctKeySize {
    type Error = Error;

    fn try_from(bits: u32) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|size| size.bits() == bits)
            .ok_or_else(|| {
                Error::bad_parameter(format!(
                    "unsupported symmetric key size ({bits}): 128, 192 and 256 bits are supported"
                ))
            })
    }
}

/// What a key is, wherever it lives: what an algorithm must fit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(clippy::exhaustive_enums, reason = "a new family is a new format")]
pub enum KeySpec {
    /// RSA with a modulus of this size.
    Rsa(RsaKeySize),
    /// On this curve.
    Ec(Curve),
    /// Symmetric, of this length.
    Oct(OctKeyLength),
}

impl KeySpec {
    /// The family.
    #[must_use]
    pub const fn family(self) -> KeyFamily {
        match self {
            Self::Rsa(_) => KeyFamily::Rsa,
            Self::Ec(_) => KeyFamily::Ec,
            Self::Oct(_) => KeyFamily::Oct,
        }
    }

    /// The JWK type of such a key in software or in hardware.
    #[must_use]
    pub const fn key_type(self, hsm: bool) -> KeyType {
        match (self, hsm) {
            (Self::Rsa(_), false) => KeyType::Rsa,
            (Self::Rsa(_), true) => KeyType::RsaHsm,
            (Self::Ec(_), false) => KeyType::Ec,
            (Self::Ec(_), true) => KeyType::EcHsm,
            (Self::Oct(_), false) => KeyType::Oct,
            (Self::Oct(_), true) => KeyType::OctHsm,
        }
    }
}

impl fmt::Display for KeySpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa(size) => write!(f, "RSA {}", size.bits()),
            Self::Ec(curve) => write!(f, "EC {curve}"),
            Self::Oct(length) => write!(f, "oct {}", length.bits()),
        }
    }
}

/// The length of a symmetric key: 16 to 64 bytes. Only 16, 24 and 32 bytes are AES keys.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct OctKeyLength {
    bytes: u8,
}

impl OctKeyLength {
    /// The shortest, in bytes.
    pub const MIN_BYTES: usize = 16;
    /// The longest, in bytes.
    pub const MAX_BYTES: usize = 64;

    /// Length in bytes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        self.bytes as usize
    }

    /// Length in bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.bytes as u32 * 8
    }

    /// The AES key size of this length, or `None` when such a key serves HMAC only.
    #[must_use]
    pub const fn aes(self) -> Option<OctKeySize> {
        match self.bytes {
            16 => Some(OctKeySize::Bits128),
            24 => Some(OctKeySize::Bits192),
            32 => Some(OctKeySize::Bits256),
            _ => None,
        }
    }
}

impl From<OctKeySize> for OctKeyLength {
    fn from(size: OctKeySize) -> Self {
        let bytes = match size {
            OctKeySize::Bits128 => 16,
            OctKeySize::Bits192 => 24,
            OctKeySize::Bits256 => 32,
        };
        Self { bytes }
    }
}

impl TryFrom<usize> for OctKeyLength {
    type Error = Error;

    fn try_from(bytes: usize) -> Result<Self> {
        match u8::try_from(bytes) {
            Ok(short) if (Self::MIN_BYTES..=Self::MAX_BYTES).contains(&bytes) => {
                Ok(Self { bytes: short })
            }
            _ => Err(Error::bad_parameter(format!(
                "a symmetric key has 16 to 64 bytes, but {bytes} were given"
            ))),
        }
    }
}
