//! The public JSON Web Key.

use std::str::FromStr;

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::base64url;
use super::identifier::KeyIdentifier;
use super::json::{Members, malformed};
use super::material::PublicParts;
use super::operation::{KeyOperation, KeyOperations};
use super::spec::{Curve, KeyFamily, KeyType, RsaKeySize};
use crate::error::{Error, Result};

/// The longest public exponent that a JSON Web Key may have, in bytes.
const MAX_EXPONENT_LENGTH: usize = 8;
/// The members of private and secret keys.
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// The public part of a key as a JSON Web Key (RFC 7517), with Azure's names for types and curves.
///
/// It never holds private material: reading a JWK with a private member fails. Private keys enter by
/// [`ImportedKey::from_jwk`](crate::ImportedKey::from_jwk). A symmetric key shows only type and
/// operations.
///
/// Reading checks the encoding; sizes, exponents and points are checked where the key is used.
///
/// # Examples
///
/// ```
/// use strongroom::{JsonWebKey, KeyType};
///
/// let json = r#"{"kty":"EC","crv":"P-256",
///     "x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
///     "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}"#;
/// let key: JsonWebKey = json.parse()?;
/// assert_eq!(key.kty(), KeyType::Ec);
/// assert_eq!(key.x().map(|x| x.len()), Some(32));
/// # Ok::<(), strongroom::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JsonWebKey {
    kid: Option<KeyIdentifier>,
    kty: KeyType,
    key_ops: KeyOperations,
    parts: Option<PublicParts>,
}

impl JsonWebKey {
    pub(crate) fn new(
        kid: Option<KeyIdentifier>,
        kty: KeyType,
        key_ops: KeyOperations,
        parts: Option<&PublicParts>,
    ) -> Self {
        Self {
            kid,
            kty,
            key_ops,
            parts: parts.cloned(),
        }
    }

    /// Which version of which key it is; `None` for a key without a `kid` or with one that is not a
    /// key identifier.
    #[must_use]
    pub fn kid(&self) -> Option<&KeyIdentifier> {
        self.kid.as_ref()
    }

    /// The type.
    #[must_use]
    pub fn kty(&self) -> KeyType {
        self.kty
    }

    /// The permitted operations; none when the member is absent.
    #[must_use]
    pub fn key_ops(&self) -> KeyOperations {
        self.key_ops
    }

    /// The RSA modulus, big-endian, without leading zeros.
    #[must_use]
    pub fn n(&self) -> Option<&[u8]> {
        match &self.parts {
            Some(PublicParts::Rsa { n, .. }) => Some(n),
            _ => None,
        }
    }

    /// The RSA public exponent, big-endian, without leading zeros.
    #[must_use]
    pub fn e(&self) -> Option<&[u8]> {
        match &self.parts {
            Some(PublicParts::Rsa { e, .. }) => Some(e),
            _ => None,
        }
    }

    /// The curve.
    #[must_use]
    pub fn crv(&self) -> Option<Curve> {
        match &self.parts {
            Some(PublicParts::Ec { curve, .. }) => Some(*curve),
            _ => None,
        }
    }

    /// The first coordinate: big-endian, [`Curve::field_length`] bytes.
    #[must_use]
    pub fn x(&self) -> Option<&[u8]> {
        match &self.parts {
            Some(PublicParts::Ec { x, .. }) => Some(x),
            _ => None,
        }
    }

    /// The second coordinate: big-endian, [`Curve::field_length`] bytes.
    #[must_use]
    pub fn y(&self) -> Option<&[u8]> {
        match &self.parts {
            Some(PublicParts::Ec { y, .. }) => Some(y),
            _ => None,
        }
    }

    /// The public numbers; symmetric keys have none.
    #[must_use]
    pub fn public_parts(&self) -> Option<PublicParts> {
        self.parts.clone()
    }

    fn from_members(members: &Members) -> Result<Self> {
        if let Some(name) = PRIVATE_MEMBERS.into_iter().find(|name| members.has(name)) {
            return Err(malformed(format!(
                "the member {name} is private, and this type is public-only: read private keys with ImportedKey::from_jwk"
            )));
        }
        let kty = key_type(members)?;
        let parts = match kty.family() {
            KeyFamily::Rsa => Some(rsa_parts(members)?),
            KeyFamily::Ec => Some(ec_parts(members)?),
            KeyFamily::Oct => None,
        };
        Ok(Self {
            kid: members.text("kid")?.and_then(|kid| kid.parse().ok()),
            kty,
            key_ops: key_operations(members)?.unwrap_or_default(),
            parts,
        })
    }
}

/// From JSON of at most 64 KiB, nested at most 8 deep, without duplicate members.
///
/// # Errors
///
/// [`TooLarge`](crate::ErrorKind::TooLarge), [`InvalidKeyMaterial`](crate::ErrorKind::InvalidKeyMaterial)
/// for what is not a public JWK, [`BadParameter`](crate::ErrorKind::BadParameter) for `key_ops` that are
/// empty, repeated or unknown.
impl FromStr for JsonWebKey {
    type Err = Error;

    fn from_str(json: &str) -> Result<Self> {
        Self::from_members(&Members::parse(json.as_bytes())?)
    }
}

impl<'de> Deserialize<'de> for JsonWebKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members = Members::deserialize(deserializer)?;
        Self::from_members(&members).map_err(serde::de::Error::custom)
    }
}

impl Serialize for JsonWebKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(kid) = &self.kid {
            map.serialize_entry("kid", kid)?;
        }
        map.serialize_entry("kty", &self.kty)?;
        if !self.key_ops.is_empty() {
            map.serialize_entry("key_ops", &self.key_ops)?;
        }
        match &self.parts {
            Some(PublicParts::Rsa { n, e }) => {
                map.serialize_entry("n", &base64url::encode(n))?;
                map.serialize_entry("e", &base64url::encode(e))?;
            }
            Some(PublicParts::Ec { curve, x, y }) => {
                map.serialize_entry("crv", curve)?;
                map.serialize_entry("x", &base64url::encode(x))?;
                map.serialize_entry("y", &base64url::encode(y))?;
            }
            None => {}
        }
        map.end()
    }
}

pub(super) fn key_type(members: &Members) -> Result<KeyType> {
    members
        .text("kty")?
        .ok_or_else(|| malformed("the member kty is missing"))?
        .parse()
        .map_err(|error: Error| malformed(error.to_string()))
}

/// `key_ops`: absent is `None`; empty, repeated and unknown ones are refused.
pub(super) fn key_operations(members: &Members) -> Result<Option<KeyOperations>> {
    let Some(names) = members.texts("key_ops")? else {
        return Ok(None);
    };
    let mut operations = KeyOperations::NONE;
    for name in names {
        let operation: KeyOperation = name.parse()?;
        if operations.contains(operation) {
            return Err(Error::bad_parameter(format!(
                "key_ops lists {operation} twice"
            )));
        }
        operations = operations.with(operation);
    }
    if operations.is_empty() {
        return Err(Error::bad_parameter(
            "key_ops is empty; leave it out to get the defaults of the key's type",
        ));
    }
    Ok(Some(operations))
}

/// `crv`: Azure's names, and RFC 8812's for secp256k1.
pub(super) fn curve(members: &Members) -> Result<Curve> {
    match required(members.text("crv")?, "crv")? {
        "secp256k1" => Ok(Curve::P256K),
        name => name
            .parse()
            .map_err(|error: Error| malformed(error.to_string())),
    }
}

pub(super) fn required<T>(value: Option<T>, name: &str) -> Result<T> {
    value.ok_or_else(|| malformed(format!("the member {name} is missing")))
}

fn rsa_parts(members: &Members) -> Result<PublicParts> {
    let n = without_leading_zeros(required(members.bytes("n")?, "n")?);
    let e = without_leading_zeros(required(members.bytes("e")?, "e")?);
    if n.is_empty() || n.len() > RsaKeySize::Bits4096.modulus_length() {
        return Err(malformed("the member n is zero or has more than 4096 bits"));
    }
    if e.is_empty() || e.len() > MAX_EXPONENT_LENGTH {
        return Err(malformed("the member e is zero or has more than 64 bits"));
    }
    Ok(PublicParts::Rsa { n, e })
}

fn ec_parts(members: &Members) -> Result<PublicParts> {
    let curve = curve(members)?;
    let coordinate = |name: &str| {
        let mut bytes = without_leading_zeros(required(members.bytes(name)?, name)?);
        let Some(missing) = curve.field_length().checked_sub(bytes.len()) else {
            return Err(malformed(format!(
                "the member {name} is longer than a coordinate of {curve}"
            )));
        };
        bytes.splice(0..0, std::iter::repeat_n(0, missing));
        Ok(bytes)
    };
    Ok(PublicParts::Ec {
        curve,
        x: coordinate("x")?,
        y: coordinate("y")?,
    })
}

fn without_leading_zeros(mut bytes: Vec<u8>) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.drain(..zeros);
    bytes
}
