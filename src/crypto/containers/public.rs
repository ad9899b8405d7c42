use pkcs1::{RsaPublicKey, RsaPublicKeyRef};
use pkcs8::der::asn1::{AnyRef, BitStringRef, UintRef};
use pkcs8::der::{Decode, Encode, Error as DerError};
use pkcs8::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

use super::private::{check_rsa_parameters, foreign, named_curve};
use super::{MAX_DER_LENGTH, curve_oid, pem};
use crate::crypto::validation::{point_from_sec1, validate_public};
use crate::crypto::{CryptoError, CryptoResult};
use crate::error::Error;
use crate::model::material::PublicParts;

const UNCOMPRESSED: u8 = 4;

/// `SubjectPublicKeyInfo` (RFC 5280) in DER; points uncompressed.
pub(crate) fn spki_der_from_parts(parts: &PublicParts) -> CryptoResult<Vec<u8>> {
    match parts {
        PublicParts::Rsa { n, e } => {
            let key = RsaPublicKey {
                modulus: UintRef::new(n).map_err(|error| unencodable(&error))?,
                public_exponent: UintRef::new(e).map_err(|error| unencodable(&error))?,
            };
            let key = key.to_der().map_err(|error| unencodable(&error))?;
            encode(pkcs1::ALGORITHM_OID, AnyRef::NULL, &key)
        }
        PublicParts::Ec { curve, x, y } => {
            if [x, y]
                .iter()
                .any(|bytes| bytes.len() != curve.field_length())
            {
                return Err(CryptoError::InvalidKey(
                    "a coordinate has not the length of the curve's field".to_owned(),
                ));
            }
            let mut point = vec![UNCOMPRESSED];
            point.extend_from_slice(x);
            point.extend_from_slice(y);
            let oid = curve_oid(*curve);
            encode(sec1::ALGORITHM_OID, AnyRef::from(&oid), &point)
        }
    }
}

/// The public numbers, validated: RSA of a supported size and exponent, or a point on one of the curves.
pub(crate) fn parts_from_spki_der(der: &[u8]) -> CryptoResult<PublicParts> {
    if der.len() > MAX_DER_LENGTH {
        return Err(CryptoError::InvalidKey(format!(
            "a key in DER has at most {MAX_DER_LENGTH} bytes"
        )));
    }
    let malformed =
        || CryptoError::InvalidKey("this is not a public key in SPKI DER, exactly one".to_owned());
    let info = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| malformed())?;
    let key = info.subject_public_key.as_bytes().ok_or_else(malformed)?;
    match info.algorithm.oid {
        pkcs1::ALGORITHM_OID => {
            check_rsa_parameters(&info.algorithm).map_err(|error| invalid(&error))?;
            let key = RsaPublicKeyRef::from_der(key).map_err(|_| malformed())?;
            validate_public(&PublicParts::Rsa {
                n: key.modulus.as_bytes().to_vec(),
                e: key.public_exponent.as_bytes().to_vec(),
            })
        }
        sec1::ALGORITHM_OID => {
            let curve = named_curve(&info.algorithm).map_err(|error| invalid(&error))?;
            let (x, y) = point_from_sec1(curve, key)?;
            Ok(PublicParts::Ec { curve, x, y })
        }
        oid => Err(invalid(&foreign(oid))),
    }
}

/// [`spki_der_from_parts`] as PEM text, label `PUBLIC KEY`.
pub(crate) fn spki_pem_from_parts(parts: &PublicParts) -> CryptoResult<String> {
    pem::encode_public(&spki_der_from_parts(parts)?)
        .ok_or_else(|| CryptoError::Internal("a public key fits PEM".to_owned()))
}

/// [`parts_from_spki_der`] from PEM text with one block, label `PUBLIC KEY`.
pub(crate) fn parts_from_spki_pem(text: &str) -> CryptoResult<PublicParts> {
    let document = pem::decode(text).map_err(|error| invalid(&error))?;
    if document.label() != pem::SPKI {
        return Err(CryptoError::InvalidKey(
            "the PEM text holds no PUBLIC KEY".to_owned(),
        ));
    }
    parts_from_spki_der(document.der())
}

fn encode(
    oid: pkcs8::ObjectIdentifier,
    parameters: AnyRef<'_>,
    key: &[u8],
) -> CryptoResult<Vec<u8>> {
    let info = SubjectPublicKeyInfoRef {
        algorithm: AlgorithmIdentifierRef {
            oid,
            parameters: Some(parameters),
        },
        subject_public_key: BitStringRef::from_bytes(key).map_err(|error| unencodable(&error))?,
    };
    info.to_der().map_err(|error| unencodable(&error))
}

fn unencodable(error: &DerError) -> CryptoError {
    CryptoError::InvalidKey(format!("the public key cannot be encoded: {error}"))
}

fn invalid(error: &Error) -> CryptoError {
    CryptoError::InvalidKey(error.to_string())
}
