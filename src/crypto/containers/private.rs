use pkcs1::RsaPrivateKeyRef;
use pkcs8::der::Decode;
use pkcs8::der::asn1::{ObjectIdentifier, UintRef};
use pkcs8::{AlgorithmIdentifierRef, PrivateKeyInfoRef};
use sec1::{EcParameters, EcPrivateKey};

use super::{RSASSA_PSS_OID, curve_from_oid, malformed};
use crate::crypto::validation::point_from_sec1;
use crate::error::{Error, Result};
use crate::model::material::{ImportedKey, ImportedParts};
use crate::model::spec::Curve;
use crate::secret::SecretBytes;

pub(super) fn from_pkcs8(der: &[u8]) -> Result<ImportedKey> {
    let info = parse_pkcs8(der)
        .ok_or_else(|| malformed("this is not a PKCS#8 private key in DER, exactly one"))?;
    from_info(&info)
}

pub(super) fn parse_pkcs8(der: &[u8]) -> Option<PrivateKeyInfoRef<'_>> {
    PrivateKeyInfoRef::from_der(der).ok()
}

pub(super) fn from_info(info: &PrivateKeyInfoRef<'_>) -> Result<ImportedKey> {
    let key = info.private_key.as_bytes();
    match info.algorithm.oid {
        pkcs1::ALGORITHM_OID => {
            check_rsa_parameters(&info.algorithm)?;
            from_pkcs1(key)
        }
        sec1::ALGORITHM_OID => {
            let curve = named_curve(&info.algorithm)?;
            let mut imported = from_sec1(key, Some(curve))?;
            if let (Some(outer), ImportedParts::Ec { point, .. }) =
                (info.public_key.as_ref(), &mut imported.parts)
            {
                let outer = outer
                    .as_bytes()
                    .ok_or_else(|| malformed("the public key is not whole bytes"))?;
                let outer = point_from_sec1(curve, outer).map_err(Error::from)?;
                if point.as_ref().is_some_and(|inner| *inner != outer) {
                    return Err(malformed("the container holds two different public keys"));
                }
                *point = Some(outer);
            }
            Ok(imported)
        }
        oid => Err(foreign(oid)),
    }
}

pub(super) fn from_pkcs1(der: &[u8]) -> Result<ImportedKey> {
    let key = RsaPrivateKeyRef::from_der(der)
        .map_err(|_| malformed("this is not an RSA private key in DER, exactly one"))?;
    if key.other_prime_infos.is_some() {
        return Err(malformed(
            "an RSA key with more than two primes is not supported",
        ));
    }
    let secret = |number: UintRef<'_>| SecretBytes::copied_from(number.as_bytes());
    Ok(ImportedKey::new(ImportedParts::Rsa {
        n: key.modulus.as_bytes().to_vec(),
        e: key.public_exponent.as_bytes().to_vec(),
        d: secret(key.private_exponent),
        primes: Some((secret(key.prime1), secret(key.prime2))),
        crt: Some((
            secret(key.exponent1),
            secret(key.exponent2),
            secret(key.coefficient),
        )),
    }))
}

/// `outer` is the curve that a container around it names.
pub(super) fn from_sec1(der: &[u8], outer: Option<Curve>) -> Result<ImportedKey> {
    let key = EcPrivateKey::from_der(der)
        .map_err(|_| malformed("this is not an EC private key in DER, exactly one"))?;
    let inner = match key.parameters {
        Some(EcParameters::NamedCurve(oid)) => Some(curve_from_oid(oid).ok_or_else(foreign_curve)?),
        None => None,
    };
    let curve = match (outer, inner) {
        (Some(outer), Some(inner)) if outer != inner => {
            return Err(malformed("the container names two different curves"));
        }
        (Some(curve), _) | (None, Some(curve)) => curve,
        (None, None) => {
            return Err(malformed(
                "the EC private key does not name its curve: put it into PKCS#8",
            ));
        }
    };
    let point = key
        .public_key
        .map(|point| point_from_sec1(curve, point))
        .transpose()?;
    Ok(ImportedKey::new(ImportedParts::Ec {
        curve,
        d: SecretBytes::copied_from(key.private_key),
        point,
    }))
}

pub(super) fn check_rsa_parameters(algorithm: &AlgorithmIdentifierRef<'_>) -> Result<()> {
    match algorithm.parameters {
        Some(parameters) if !parameters.is_null() => {
            Err(malformed("the RSA algorithm identifier has parameters"))
        }
        _ => Ok(()),
    }
}

pub(super) fn named_curve(algorithm: &AlgorithmIdentifierRef<'_>) -> Result<Curve> {
    algorithm
        .parameters
        .and_then(|parameters| parameters.decode_as::<ObjectIdentifier>().ok())
        .and_then(curve_from_oid)
        .ok_or_else(foreign_curve)
}

pub(super) fn foreign(oid: ObjectIdentifier) -> Error {
    if oid == RSASSA_PSS_OID {
        return malformed(
            "the key is restricted to RSASSA-PSS by its container; convert it to a plain RSA key (rsaEncryption) first",
        );
    }
    malformed(format!(
        "a key of algorithm {oid} is not supported: RSA and EC are"
    ))
}

fn foreign_curve() -> Error {
    malformed(
        "the key is on an unnamed or unsupported curve: P-256, P-384, P-521 and secp256k1 are supported",
    )
}
