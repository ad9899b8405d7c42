//! Reading private and secret JSON Web Keys.

use super::json::{Members, malformed};
use super::jwk::{curve, key_operations, key_type, required};
use super::material::{ImportedKey, ImportedParts};
use super::operation::{KeyOperation, KeyOperations};
use super::spec::{KeyFamily, OctKeyLength};
use crate::error::{Error, Result};

impl ImportedKey {
    /// A private or secret JSON Web Key (RFC 7517, 7518, 8812): UTF-8 JSON of at most 64 KiB, nested at
    /// most 8 deep, with at most 128 members or values in each object or array, without duplicate members; numbers and
    /// keys in unpadded, canonical base64url.
    ///
    /// - `kty` `RSA` or `RSA-HSM`: `n`, `e`, `d`, then nothing more, or `p` and `q`, or `p`, `q`, `dp`,
    ///   `dq` and `qi`. Multi-prime keys (`oth`) are refused.
    /// - `kty` `EC` or `EC-HSM`: `crv` (`P-256`, `P-384`, `P-521`, `P-256K` or `secp256k1`), `x`, `y`, `d`.
    /// - `kty` `oct` or `oct-HSM`: `k` of at most 64 bytes.
    ///
    /// `key_ops` is kept for the import; a `use` of `sig` or `enc` must not contradict it. Other members
    /// are ignored. The numbers are validated when the key is imported. `json` stays with the caller, who
    /// wipes it; every copy made of it here is wiped.
    ///
    /// # Errors
    ///
    /// - [`TooLarge`](crate::ErrorKind::TooLarge): more than 64 KiB.
    /// - [`InvalidKeyMaterial`](crate::ErrorKind::InvalidKeyMaterial): not such a key, or only the public
    ///   part of one.
    /// - [`BadParameter`](crate::ErrorKind::BadParameter): `key_ops` is empty, has an unknown or repeated
    ///   value, or contradicts `use`.
    ///
    /// # Examples
    ///
    /// ```
    /// use strongroom::ImportedKey;
    ///
    /// let json = br#"{"kty":"oct","k":"AAECAwQFBgcICQoLDA0ODw"}"#;
    /// let key = ImportedKey::from_jwk(json)?;
    /// # let _ = key;
    /// # Ok::<(), strongroom::Error>(())
    /// ```
    pub fn from_jwk(json: &[u8]) -> Result<Self> {
        Self::from_members(&Members::parse(json)?)
    }

    pub(super) fn from_members(members: &Members) -> Result<Self> {
        let kty = key_type(members)?;
        let parts = match kty.family() {
            KeyFamily::Rsa => rsa_parts(members)?,
            KeyFamily::Ec => ec_parts(members)?,
            KeyFamily::Oct => oct_parts(members)?,
        };
        let operations = key_operations(members)?;
        check_use(members, operations)?;
        let mut key = Self::new(parts);
        key.operations = operations;
        key.hsm = kty.is_hsm();
        Ok(key)
    }
}

fn rsa_parts(members: &Members) -> Result<ImportedParts> {
    if members.has("oth") {
        return Err(malformed(
            "an RSA key with more than two primes (member oth) is not supported",
        ));
    }
    let n = required(members.bytes("n")?, "n")?;
    let e = required(members.bytes("e")?, "e")?;
    let d = private(members.secret("d")?, "d")?;
    let primes = match (members.secret("p")?, members.secret("q")?) {
        (Some(p), Some(q)) => Some((p, q)),
        (None, None) => None,
        _ => return Err(partial_set()),
    };
    let crt = match (
        members.secret("dp")?,
        members.secret("dq")?,
        members.secret("qi")?,
    ) {
        (Some(dp), Some(dq), Some(qi)) if primes.is_some() => Some((dp, dq, qi)),
        (None, None, None) => None,
        _ => return Err(partial_set()),
    };
    Ok(ImportedParts::Rsa {
        n,
        e,
        d,
        primes,
        crt,
    })
}

fn partial_set() -> Error {
    malformed("an RSA key has all of p, q, dp, dq and qi, or p and q, or none of them")
}

fn ec_parts(members: &Members) -> Result<ImportedParts> {
    let curve = curve(members)?;
    let x = required(members.bytes("x")?, "x")?;
    let y = required(members.bytes("y")?, "y")?;
    let d = private(members.secret("d")?, "d")?;
    Ok(ImportedParts::Ec {
        curve,
        d,
        point: Some((x, y)),
    })
}

fn oct_parts(members: &Members) -> Result<ImportedParts> {
    let k = private(members.secret("k")?, "k")?;
    if k.len() > OctKeyLength::MAX_BYTES {
        return Err(malformed(format!(
            "the k member has more than {} bytes",
            OctKeyLength::MAX_BYTES
        )));
    }
    Ok(ImportedParts::Oct(k))
}

fn private<T>(value: Option<T>, name: &str) -> Result<T> {
    value.ok_or_else(|| {
        malformed(format!(
            "the private part is missing: this JSON Web Key has no member {name}"
        ))
    })
}

pub(super) fn check_use(members: &Members, operations: Option<KeyOperations>) -> Result<()> {
    let (Some(key_use), Some(operations)) = (members.text("use")?, operations) else {
        return Ok(());
    };
    let signs = |operation| matches!(operation, KeyOperation::Sign | KeyOperation::Verify);
    let neutral = |operation| matches!(operation, KeyOperation::Import | KeyOperation::Export);
    let contradicts = |operation| match key_use {
        "sig" => !signs(operation) && !neutral(operation),
        "enc" => signs(operation),
        _ => false,
    };
    match operations.iter().find(|operation| contradicts(*operation)) {
        Some(operation) => Err(Error::bad_parameter(format!(
            "the member use contradicts {operation} in key_ops; leave one of the two out"
        ))),
        None => Ok(()),
    }
}
