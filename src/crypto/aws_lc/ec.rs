//! ECDSA on P-256, P-384 and P-521. aws-lc draws the nonces, and mixes key and digest into them; the private numbers of
//! new keys are the caller's.

use std::fmt;
use std::sync::OnceLock;

use aws_lc_rs::agreement::{self, PrivateKey};
use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::encoding::AsBigEndian;
use aws_lc_rs::signature::{
    self as aws, EcdsaKeyPair, EcdsaSigningAlgorithm, EcdsaVerificationAlgorithm, KeyPair,
    ParsedPublicKey,
};

use super::RustCryptoEngine;
use crate::crypto::limits::check_digest;
use crate::crypto::rustcrypto::ec::{no_pair, random_scalar};
use crate::crypto::rustcrypto::rsa::RsaPadding;
use crate::crypto::{CryptoError, CryptoKey, CryptoPublicKey, CryptoResult, Engine};
use crate::env::Entropy;
use crate::model::algorithm::{EncryptionAlgorithm, SignatureAlgorithm, WrapAlgorithm};
use crate::model::encrypted::Encrypted;
use crate::model::material::{EcMaterial, KeyMaterial, MaterialParts};
use crate::model::spec::{Curve, KeySpec};
use crate::secret::SecretBytes;

/// What aws-lc calls the parts of ECDSA on one curve, and the agreement whose keys it computes from their number alone.
struct Algorithms {
    agreement: &'static agreement::Algorithm,
    digest: &'static digest::Algorithm,
    signing: &'static EcdsaSigningAlgorithm,
    verification: &'static EcdsaVerificationAlgorithm,
    signature: SignatureAlgorithm,
}

static P256: Algorithms = Algorithms {
    agreement: &agreement::ECDH_P256,
    digest: &digest::SHA256,
    signing: &aws::ECDSA_P256_SHA256_FIXED_SIGNING,
    verification: &aws::ECDSA_P256_SHA256_FIXED,
    signature: SignatureAlgorithm::Es256,
};

static P384: Algorithms = Algorithms {
    agreement: &agreement::ECDH_P384,
    digest: &digest::SHA384,
    signing: &aws::ECDSA_P384_SHA384_FIXED_SIGNING,
    verification: &aws::ECDSA_P384_SHA384_FIXED,
    signature: SignatureAlgorithm::Es384,
};

static P521: Algorithms = Algorithms {
    agreement: &agreement::ECDH_P521,
    digest: &digest::SHA512,
    signing: &aws::ECDSA_P521_SHA512_FIXED_SIGNING,
    verification: &aws::ECDSA_P521_SHA512_FIXED,
    signature: SignatureAlgorithm::Es512,
};

impl Algorithms {
    fn of(curve: Curve) -> Option<&'static Self> {
        match curve {
            Curve::P256 => Some(&P256),
            Curve::P384 => Some(&P384),
            Curve::P521 => Some(&P521),
            // Seven times slower there than in the other engine.
            Curve::P256K => None,
        }
    }

    fn digest(&self, algorithm: SignatureAlgorithm, digest: &[u8]) -> CryptoResult<Digest> {
        if algorithm != self.signature {
            return Err(CryptoError::Unsupported);
        }
        check_digest(algorithm, digest)?;
        Digest::import_less_safe(digest, self.digest).map_err(|_| signing_failed())
    }
}

/// A private key, with the other engine's for what this one cannot do.
pub(super) struct EcKey {
    curve: Curve,
    algorithms: &'static Algorithms,
    pair: EcdsaKeyPair,
    engine: RustCryptoEngine,
    rest: OnceLock<Box<dyn CryptoKey>>,
}

/// A random scalar with its point; `None` on the other engine's curve. aws-lc computes a point twice whenever it takes a
/// number, and has it lie on the curve. The pair is parsed all the same: only that is about the bytes that come out.
///
/// Only the draw rejects numbers: a failure here is one of computing, and no reason to draw again.
pub(super) fn generate(curve: Curve, entropy: &dyn Entropy) -> CryptoResult<Option<EcMaterial>> {
    let Some(algorithms) = Algorithms::of(curve) else {
        return Ok(None);
    };
    let d = random_scalar(curve, entropy)?;
    let point = PrivateKey::from_private_key(algorithms.agreement, d.expose())
        .ok()
        .and_then(|key| key.compute_public_key().ok())
        .ok_or_else(|| {
            CryptoError::Internal("the point of the new key could not be computed".to_owned())
        })?;
    let (x, y) = coordinates(curve, point.as_ref())?;
    let material = EcMaterial { curve, d, x, y };
    match parse(algorithms, &material) {
        Some(_) => Ok(Some(material)),
        None => Err(no_pair()),
    }
}

/// Of an uncompressed point.
fn coordinates(curve: Curve, point: &[u8]) -> CryptoResult<(Vec<u8>, Vec<u8>)> {
    match point.split_first() {
        Some((4, numbers)) if numbers.len() == 2 * curve.field_length() => {
            let (x, y) = numbers.split_at(curve.field_length());
            Ok((x.to_vec(), y.to_vec()))
        }
        _ => Err(CryptoError::Internal(
            "the point of the key has another form than asked for".to_owned(),
        )),
    }
}

fn uncompressed(x: &[u8], y: &[u8]) -> Vec<u8> {
    [&[4], x, y].concat()
}

/// `None` unless 1 <= d < n and the point is the one that `d` gives.
fn parse(algorithms: &Algorithms, material: &EcMaterial) -> Option<EcdsaKeyPair> {
    let point = uncompressed(&material.x, &material.y);
    EcdsaKeyPair::from_private_key_and_public_key(algorithms.signing, material.d.expose(), &point)
        .ok()
}

impl EcKey {
    /// `None` for what the other engine is to judge.
    pub(super) fn load(material: &EcMaterial, engine: &RustCryptoEngine) -> Option<Self> {
        let algorithms = Algorithms::of(material.curve)?;
        if material.d.len() != material.curve.field_length() {
            return None;
        }
        Some(Self {
            curve: material.curve,
            algorithms,
            pair: parse(algorithms, material)?,
            engine: engine.clone(),
            rest: OnceLock::new(),
        })
    }

    /// The same key in the other engine, made when it is first needed.
    fn rest(&self) -> CryptoResult<&dyn CryptoKey> {
        if let Some(key) = self.rest.get() {
            return Ok(&**key);
        }
        let number = self
            .pair
            .private_key()
            .as_be_bytes()
            .map_err(|_| CryptoError::Internal("the key could not be read".to_owned()))?;
        let d = SecretBytes::copied_from(number.as_ref());
        let (x, y) = coordinates(self.curve, self.pair.public_key().as_ref())?;
        let material = KeyMaterial::new(MaterialParts::Ec(EcMaterial {
            curve: self.curve,
            d,
            x,
            y,
        }));
        let key = self.engine.load(&material)?;
        Ok(&**self.rest.get_or_init(|| key))
    }
}

impl fmt::Debug for EcKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("aws_lc::EcKey")
            .field("curve", &self.curve)
            .finish_non_exhaustive()
    }
}

impl CryptoKey for EcKey {
    fn sign(&self, algorithm: SignatureAlgorithm, digest: &[u8]) -> CryptoResult<Vec<u8>> {
        let digest = self.algorithms.digest(algorithm, digest)?;
        let signature = self.pair.sign_digest(&digest);
        Ok(signature.map_err(|_| signing_failed())?.as_ref().to_vec())
    }

    fn sign_deterministic(
        &self,
        algorithm: SignatureAlgorithm,
        digest: &[u8],
    ) -> CryptoResult<Vec<u8>> {
        self.rest()?.sign_deterministic(algorithm, digest)
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

/// A public point.
pub(super) struct EcPublicKey {
    curve: Curve,
    algorithms: &'static Algorithms,
    key: ParsedPublicKey,
}

impl EcPublicKey {
    /// Of a key that `checked` is in the other engine; that one where aws-lc does not do it.
    pub(super) fn wrap(
        curve: Curve,
        x: &[u8],
        y: &[u8],
        checked: Box<dyn CryptoPublicKey>,
    ) -> Box<dyn CryptoPublicKey> {
        let own = Algorithms::of(curve).and_then(|algorithms| {
            let key = ParsedPublicKey::new(algorithms.verification, uncompressed(x, y)).ok()?;
            Some(Self {
                curve,
                algorithms,
                key,
            })
        });
        match own {
            Some(own) => Box::new(own),
            None => checked,
        }
    }
}

impl fmt::Debug for EcPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("aws_lc::EcPublicKey")
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
        let digest = self.algorithms.digest(algorithm, digest)?;
        self.key
            .verify_digest_sig(&digest, signature)
            .map_err(|_| CryptoError::InvalidSignature)
    }

    fn encrypt(&self, _: RsaPadding, _: &[u8], _: &dyn Entropy) -> CryptoResult<Vec<u8>> {
        Err(CryptoError::Unsupported)
    }
}

fn signing_failed() -> CryptoError {
    CryptoError::Internal("the signature could not be computed".to_owned())
}
