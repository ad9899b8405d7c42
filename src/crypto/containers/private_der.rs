use pkcs1::RsaPrivateKeyRef;
use pkcs8::der::asn1::{AnyRef, OctetStringRef, UintRef};
use pkcs8::der::{Encode, Error as DerError};
use pkcs8::{AlgorithmIdentifierRef, PrivateKeyInfoRef};
use sec1::EcPrivateKey;

use super::curve_oid;
use crate::crypto::{CryptoError, CryptoResult};
use crate::model::material::{EcMaterial, KeyMaterial, MaterialParts, RsaMaterial};
use crate::secret::SecretBytes;

const UNCOMPRESSED: u8 = 4;

/// A private key as PKCS#8 `PrivateKeyInfo` in DER, without public key but the one that SEC1 has inside.
///
/// Errors: `Unsupported` for symmetric keys.
pub(crate) fn pkcs8_der_from_material(material: &KeyMaterial) -> CryptoResult<SecretBytes> {
    match &material.parts {
        MaterialParts::Rsa(rsa) => from_rsa(rsa),
        MaterialParts::Ec(ec) => from_ec(ec),
        MaterialParts::Oct { .. } => Err(CryptoError::Unsupported),
    }
}

fn from_rsa(rsa: &RsaMaterial) -> CryptoResult<SecretBytes> {
    let number = |bytes| UintRef::new(bytes).map_err(unencodable);
    let key = RsaPrivateKeyRef {
        modulus: number(&rsa.n)?,
        public_exponent: number(&rsa.e)?,
        private_exponent: number(rsa.d.expose())?,
        prime1: number(rsa.p.expose())?,
        prime2: number(rsa.q.expose())?,
        exponent1: number(rsa.dp.expose())?,
        exponent2: number(rsa.dq.expose())?,
        coefficient: number(rsa.qi.expose())?,
        other_prime_infos: None,
    };
    wrapped(pkcs1::ALGORITHM_OID, AnyRef::NULL, &encoded(&key)?)
}

fn from_ec(ec: &EcMaterial) -> CryptoResult<SecretBytes> {
    let point = [&[UNCOMPRESSED], &*ec.x, &*ec.y].concat();
    let key = EcPrivateKey {
        private_key: ec.d.expose(),
        parameters: None,
        public_key: Some(&point),
    };
    let oid = curve_oid(ec.curve);
    wrapped(sec1::ALGORITHM_OID, AnyRef::from(&oid), &encoded(&key)?)
}

fn wrapped(
    oid: pkcs8::ObjectIdentifier,
    parameters: AnyRef<'_>,
    key: &SecretBytes,
) -> CryptoResult<SecretBytes> {
    let algorithm = AlgorithmIdentifierRef {
        oid,
        parameters: Some(parameters),
    };
    let key = OctetStringRef::new(key.expose()).map_err(unencodable)?;
    encoded(&PrivateKeyInfoRef::new(algorithm, key))
}

/// In one allocation that is wiped.
fn encoded(value: &impl Encode) -> CryptoResult<SecretBytes> {
    let length = value.encoded_len().map_err(unencodable)?;
    let length = usize::try_from(length)
        .map_err(|_| CryptoError::Internal("a private key is longer than the memory".to_owned()))?;
    SecretBytes::filled_with(length, |bytes| {
        value.encode_to_slice(bytes).map(drop).map_err(unencodable)
    })
}

fn unencodable(error: DerError) -> CryptoError {
    CryptoError::Internal(format!("a private key cannot be encoded: {error}"))
}
