//! ECDSA on the four curves.

use std::fmt;
use std::sync::Arc;

use p256::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier, RandomizedPrehashSigner};
use p256::elliptic_curve::Group;
use p256::elliptic_curve::ff::PrimeField;
use zeroize::Zeroizing;

use super::random::with_random;
use super::rsa::RsaPadding;
use crate::crypto::limits::check_digest;
use crate::crypto::{CryptoError, CryptoKey, CryptoPublicKey, CryptoResult};
use crate::env::Entropy;
use crate::model::algorithm::{EncryptionAlgorithm, SignatureAlgorithm, WrapAlgorithm};
use crate::model::encrypted::Encrypted;
use crate::model::material::EcMaterial;
use crate::model::spec::{Curve, KeySpec};
use crate::secret::SecretBytes;

/// A working generator misses the range of scalars once in 2^32 tries on P-256 and less often elsewhere.
const GENERATION_TRIES: usize = 64;

/// A private key with its public point already computed.
pub(super) struct EcKey {
    curve: Curve,
    key: Box<SigningKey>,
    entropy: Arc<dyn Entropy>,
}

/// A public point that is on its curve and not infinity.
pub(in crate::crypto) struct EcPublicKey {
    curve: Curve,
    key: VerifyingKey,
}

/// A random scalar with its point, which is computed twice.
pub(super) fn generate(curve: Curve, entropy: &dyn Entropy) -> CryptoResult<EcMaterial> {
    let d = random_scalar(curve, entropy)?;
    match SigningKey::from_scalar(curve, d.expose()) {
        Some(key) if key.belongs_to(&key.verifying_key()) => {
            let (x, y) = key.point();
            Ok(EcMaterial { curve, d, x, y })
        }
        _ => Err(no_pair()),
    }
}

/// A uniform scalar by rejection. All engines draw here, so that the same random bytes give the same key on each.
pub(in crate::crypto) fn random_scalar(
    curve: Curve,
    entropy: &dyn Entropy,
) -> CryptoResult<SecretBytes> {
    for _ in 0..GENERATION_TRIES {
        let d = SecretBytes::filled_with(curve.field_length(), |bytes| {
            entropy.fill(bytes).map_err(CryptoError::Random)?;
            if curve == Curve::P521 {
                // 521 bits in 66 bytes: without this nearly every try would be out of range.
                bytes[0] &= 1;
            }
            Ok(())
        })?;
        if is_scalar(curve, d.expose()) {
            return Ok(d);
        }
    }
    Err(CryptoError::Internal(
        "the random generator gives no usable numbers".to_owned(),
    ))
}

/// Of a new key whose two computations differ.
pub(in crate::crypto) fn no_pair() -> CryptoError {
    CryptoError::Internal(
        "the point of the generated key does not belong to its private number".to_owned(),
    )
}

impl EcKey {
    pub(super) fn load(material: &EcMaterial, entropy: Arc<dyn Entropy>) -> CryptoResult<Self> {
        let curve = material.curve;
        let key = SigningKey::from_scalar(curve, material.d.expose()).ok_or_else(|| {
            CryptoError::InvalidKey(format!("the private number is not one of curve {curve}"))
        })?;
        let (x, y) = key.point();
        if x != material.x || y != material.y {
            return Err(CryptoError::InvalidKey(
                "the public point does not belong to the private number".to_owned(),
            ));
        }
        Ok(Self {
            curve,
            key,
            entropy,
        })
    }

    fn check(&self, algorithm: SignatureAlgorithm, digest: &[u8]) -> CryptoResult<()> {
        if algorithm.curve() != Some(self.curve) {
            return Err(CryptoError::Unsupported);
        }
        check_digest(algorithm, digest)
    }
}

impl fmt::Debug for EcKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EcKey")
            .field("curve", &self.curve)
            .finish_non_exhaustive()
    }
}

impl CryptoKey for EcKey {
    fn sign(&self, algorithm: SignatureAlgorithm, digest: &[u8]) -> CryptoResult<Vec<u8>> {
        self.check(algorithm, digest)?;
        self.key.sign_hedged(digest, self.entropy.as_ref())
    }

    fn sign_deterministic(
        &self,
        algorithm: SignatureAlgorithm,
        digest: &[u8],
    ) -> CryptoResult<Vec<u8>> {
        self.check(algorithm, digest)?;
        self.key.sign_deterministic(digest)
    }

    fn verify(&self, _: SignatureAlgorithm, _: &[u8], _: &[u8]) -> CryptoResult<()> {
        Err(CryptoError::Unsupported)
    }

    fn encrypt(
        &self,
        _: EncryptionAlgorithm,
        _: &[u8],
        _: &[u8],
        _: &[u8],
    ) -> CryptoResult<Encrypted> {
        Err(CryptoError::Unsupported)
    }

    fn decrypt(
        &self,
        _: EncryptionAlgorithm,
        _: &[u8],
        _: &[u8],
        _: &[u8],
        _: &[u8],
    ) -> CryptoResult<SecretBytes> {
        Err(CryptoError::Unsupported)
    }

    fn wrap_key(&self, _: WrapAlgorithm, _: &[u8]) -> CryptoResult<Vec<u8>> {
        Err(CryptoError::Unsupported)
    }

    fn unwrap_key(&self, _: WrapAlgorithm, _: &[u8]) -> CryptoResult<SecretBytes> {
        Err(CryptoError::Unsupported)
    }
}

impl EcPublicKey {
    /// Coordinates of exactly the field's length, below the prime, and of a point on the curve.
    pub(in crate::crypto) fn from_coordinates(
        curve: Curve,
        x: &[u8],
        y: &[u8],
    ) -> CryptoResult<Self> {
        let length = curve.field_length();
        if x.len() != length || y.len() != length {
            return Err(CryptoError::InvalidKey(format!(
                "a coordinate on {curve} has {length} bytes, but x has {} and y has {}",
                x.len(),
                y.len()
            )));
        }
        let mut point = Vec::with_capacity(1 + 2 * length);
        point.push(4);
        point.extend_from_slice(x);
        point.extend_from_slice(y);
        VerifyingKey::from_uncompressed(curve, &point)
            // A coordinate that was reduced on its way in would come out changed.
            .filter(|key| key.uncompressed() == point)
            .map(|key| Self { curve, key })
            .ok_or_else(|| CryptoError::InvalidKey(format!("the point is not on curve {curve}")))
    }

    /// `signature` is `r ‖ s`; any `s` is accepted, high or low.
    pub(in crate::crypto) fn verify(
        &self,
        algorithm: SignatureAlgorithm,
        digest: &[u8],
        signature: &[u8],
    ) -> CryptoResult<()> {
        if algorithm.curve() != Some(self.curve) {
            return Err(CryptoError::Unsupported);
        }
        check_digest(algorithm, digest)?;
        self.key
            .verify(digest, signature)
            .ok_or(CryptoError::InvalidSignature)
    }
}

impl fmt::Debug for EcPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EcPublicKey")
            .field("curve", &self.curve)
            .finish_non_exhaustive()
    }
}

impl CryptoPublicKey for EcPublicKey {
    fn spec(&self) -> KeySpec {
        KeySpec::Ec(self.curve)
    }

    fn verify(
        &self,
        algorithm: SignatureAlgorithm,
        digest: &[u8],
        signature: &[u8],
    ) -> CryptoResult<()> {
        self.verify(algorithm, digest, signature)
    }

    fn encrypt(&self, _: RsaPadding, _: &[u8], _: &dyn Entropy) -> CryptoResult<Vec<u8>> {
        Err(CryptoError::Unsupported)
    }
}

/// The four curves are four crates of one shape.
macro_rules! curves {
    ($($curve:ident: $krate:ident,)+) => {
        enum SigningKey {
            $( $curve($krate::ecdsa::SigningKey), )+
        }

        enum VerifyingKey {
            $( $curve($krate::ecdsa::VerifyingKey), )+
        }

        /// Whether 1 <= d < n, without its point.
        fn is_scalar(curve: Curve, d: &[u8]) -> bool {
            match curve {
                $( Curve::$curve => $krate::SecretKey::from_slice(d).is_ok(), )+
            }
        }

        impl SigningKey {
            /// `None` unless there are exactly the field's bytes and 1 <= d < n.
            fn from_scalar(curve: Curve, d: &[u8]) -> Option<Box<Self>> {
                if d.len() != curve.field_length() {
                    return None;
                }
                match curve {
                    $( Curve::$curve => $krate::ecdsa::SigningKey::from_slice(d)
                        .ok()
                        .map(|key| Box::new(Self::$curve(key))), )+
                }
            }

            fn verifying_key(&self) -> VerifyingKey {
                match self {
                    $( Self::$curve(key) => VerifyingKey::$curve(*key.verifying_key()), )+
                }
            }

            /// Whether twice the point of half the number is this point. Half the number has other digits, so that
            /// neither a fault nor a wrong entry of the tables spoils both in the same way; a signature and its
            /// verification would take several times as long.
            fn belongs_to(&self, point: &VerifyingKey) -> bool {
                match (self, point) {
                    $( (Self::$curve(key), VerifyingKey::$curve(point)) => {
                        let half = Zeroizing::new(
                            **key.as_nonzero_scalar() * <$krate::Scalar as PrimeField>::TWO_INV,
                        );
                        let own = $krate::ProjectivePoint::mul_by_generator(&half).double();
                        own == $krate::ProjectivePoint::from(*point.as_affine())
                    } )+
                    _ => false,
                }
            }

            fn point(&self) -> (Vec<u8>, Vec<u8>) {
                let point = self.verifying_key().uncompressed();
                let (x, y) = point[1..].split_at(point.len() / 2);
                (x.to_vec(), y.to_vec())
            }

            fn sign_hedged(&self, digest: &[u8], entropy: &dyn Entropy) -> CryptoResult<Vec<u8>> {
                with_random(
                    entropy,
                    |random| match self {
                        $( Self::$curve(key) => key
                            .sign_prehash_with_rng(random, digest)
                            .map(|signature: $krate::ecdsa::Signature| signature.to_bytes().to_vec()), )+
                    },
                    |_| signing_failed(),
                )
            }

            fn sign_deterministic(&self, digest: &[u8]) -> CryptoResult<Vec<u8>> {
                match self {
                    $( Self::$curve(key) => key
                        .sign_prehash(digest)
                        .map(|signature: $krate::ecdsa::Signature| signature.to_bytes().to_vec()), )+
                }
                .map_err(|_| signing_failed())
            }
        }

        impl VerifyingKey {
            fn from_uncompressed(curve: Curve, point: &[u8]) -> Option<Self> {
                match curve {
                    $( Curve::$curve => $krate::ecdsa::VerifyingKey::from_sec1_bytes(point)
                        .ok()
                        .map(Self::$curve), )+
                }
            }

            fn uncompressed(&self) -> Vec<u8> {
                match self {
                    $( Self::$curve(key) => key.to_sec1_point(false).as_bytes().to_vec(), )+
                }
            }

            fn verify(&self, digest: &[u8], signature: &[u8]) -> Option<()> {
                match self {
                    $( Self::$curve(key) => {
                        let signature = $krate::ecdsa::Signature::from_slice(signature).ok()?;
                        // The crate of secp256k1 refuses a high `s`, which other signers give.
                        let signature = match self {
                            Self::P256K(_) => signature.normalize_s(),
                            _ => signature,
                        };
                        key.verify_prehash(digest, &signature).ok()
                    } )+
                }
            }
        }
    };
}

curves! {
    P256: p256,
    P384: p384,
    P521: p521,
    P256K: k256,
}

fn signing_failed() -> CryptoError {
    CryptoError::Internal("the signature could not be computed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::OsEntropy;

    fn random_key(curve: Curve) -> Box<SigningKey> {
        let d = random_scalar(curve, &OsEntropy).expect("a number");
        SigningKey::from_scalar(curve, d.expose()).expect("a key")
    }

    #[test]
    fn a_pair_is_told_from_what_is_none() {
        let curves = [Curve::P256, Curve::P384, Curve::P521, Curve::P256K];
        for curve in curves {
            let [one, other] = [(); 2].map(|()| random_key(curve));
            assert!(one.belongs_to(&one.verifying_key()), "{curve}");
            assert!(!one.belongs_to(&other.verifying_key()), "{curve}");
            for foreign in curves.into_iter().filter(|foreign| *foreign != curve) {
                let foreign = random_key(foreign);
                assert!(!one.belongs_to(&foreign.verifying_key()), "{curve}");
            }
        }
    }
}
