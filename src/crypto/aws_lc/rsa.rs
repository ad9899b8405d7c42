//! RSA signatures, encryption and key transport with the exponent 65537. aws-lc blinds every private operation, and
//! checks its result with the public key before it gives it out.

use std::fmt;
use std::sync::OnceLock;

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{
    KeyPair, KeyPairComponents, KeySize, OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256,
    OAEP_SHA384_MGF1SHA384, OaepAlgorithm, OaepPrivateDecryptingKey, OaepPublicEncryptingKey,
    Pkcs1PublicEncryptingKey, PrivateDecryptingKey, PublicEncryptingKey, PublicKeyComponents,
};
use aws_lc_rs::signature::{self as aws, ParsedPublicKey, RsaEncoding, RsaParameters};

use super::RustCryptoEngine;
use crate::crypto::limits::{MIN_RSA_EXPONENT, check_absent};
use crate::crypto::rustcrypto::rsa::{RsaPadding, Scheme};
use crate::crypto::{CryptoError, CryptoKey, CryptoPublicKey, CryptoResult, Engine, validation};
use crate::env::Entropy;
use crate::model::algorithm::{
    EncryptionAlgorithm, HashAlgorithm, SignatureAlgorithm, WrapAlgorithm,
};
use crate::model::encrypted::Encrypted;
use crate::model::material::{
    ImportedKey, ImportedParts, KeyMaterial, MaterialParts, PublicParts, RsaMaterial,
};
use crate::model::spec::{KeySpec, RsaKeySize};
use crate::secret::SecretBytes;

/// The only public exponent that is done here.
pub(super) const EXPONENT: u64 = MIN_RSA_EXPONENT;
const EXPONENT_BYTES: [u8; 3] = [1, 0, 1];

/// What aws-lc calls the parts of one scheme of signatures.
struct Algorithms {
    digest: &'static digest::Algorithm,
    encoding: &'static dyn RsaEncoding,
    verification: &'static RsaParameters,
    /// Its place among the parsed public keys.
    place: usize,
}

/// How many schemes there are.
const SCHEMES: usize = 6;

impl Algorithms {
    /// `None` for PKCS#1 v1.5 without a hash, which aws-lc-rs does not offer.
    fn of(scheme: Scheme) -> Option<Self> {
        let (digest, encoding, verification, place): (_, &'static dyn RsaEncoding, _, _) =
            match scheme {
                Scheme::Pkcs1V15(None) => return None,
                Scheme::Pkcs1V15(Some(HashAlgorithm::Sha256)) => (
                    &digest::SHA256,
                    &aws::RSA_PKCS1_SHA256,
                    &aws::RSA_PKCS1_2048_8192_SHA256,
                    0,
                ),
                Scheme::Pkcs1V15(Some(HashAlgorithm::Sha384)) => (
                    &digest::SHA384,
                    &aws::RSA_PKCS1_SHA384,
                    &aws::RSA_PKCS1_2048_8192_SHA384,
                    1,
                ),
                Scheme::Pkcs1V15(Some(HashAlgorithm::Sha512)) => (
                    &digest::SHA512,
                    &aws::RSA_PKCS1_SHA512,
                    &aws::RSA_PKCS1_2048_8192_SHA512,
                    2,
                ),
                Scheme::Pss(HashAlgorithm::Sha256) => (
                    &digest::SHA256,
                    &aws::RSA_PSS_SHA256,
                    &aws::RSA_PSS_2048_8192_SHA256,
                    3,
                ),
                Scheme::Pss(HashAlgorithm::Sha384) => (
                    &digest::SHA384,
                    &aws::RSA_PSS_SHA384,
                    &aws::RSA_PSS_2048_8192_SHA384,
                    4,
                ),
                Scheme::Pss(HashAlgorithm::Sha512) => (
                    &digest::SHA512,
                    &aws::RSA_PSS_SHA512,
                    &aws::RSA_PSS_2048_8192_SHA512,
                    5,
                ),
            };
        Some(Self {
            digest,
            encoding,
            verification,
            place,
        })
    }

    fn digest(&self, digest: &[u8]) -> CryptoResult<Digest> {
        Digest::import_less_safe(digest, self.digest)
            .map_err(|_| internal("the digest was not taken"))
    }
}

/// `None` for the padding whose decryption aws-lc would tell from a failure.
fn oaep(padding: RsaPadding) -> Option<&'static OaepAlgorithm> {
    match padding {
        RsaPadding::OaepSha1 => Some(&OAEP_SHA1_MGF1SHA1),
        RsaPadding::OaepSha256 => Some(&OAEP_SHA256_MGF1SHA256),
        RsaPadding::OaepSha384 => Some(&OAEP_SHA384_MGF1SHA384),
        RsaPadding::Pkcs1V15 => None,
    }
}

/// A private key, with the other engine's for what this one is not to do.
pub(super) struct RsaKey {
    size: RsaKeySize,
    pair: KeyPair,
    engine: RustCryptoEngine,
    decrypting: OnceLock<OaepPrivateDecryptingKey>,
    rest: OnceLock<Box<dyn CryptoKey>>,
}

/// A key that passes what is asked of imported keys, tested by a signature and a decryption that the other engine
/// checks and made.
pub(super) fn generate(
    size: RsaKeySize,
    engine: &RustCryptoEngine,
    entropy: &dyn Entropy,
) -> CryptoResult<RsaMaterial> {
    let bits = match size {
        RsaKeySize::Bits2048 => KeySize::Rsa2048,
        RsaKeySize::Bits3072 => KeySize::Rsa3072,
        RsaKeySize::Bits4096 => KeySize::Rsa4096,
    };
    let pair = KeyPair::generate(bits).map_err(|_| internal("no RSA key could be generated"))?;
    let material =
        validation::validate(imported(&pair)?, entropy).map_err(|error| match error {
            CryptoError::Random(error) => CryptoError::Random(error),
            error => CryptoError::Internal(format!("the generated RSA key is not sound: {error}")),
        })?;
    drop(pair);
    let MaterialParts::Rsa(material) = material.parts else {
        return Err(internal("the generated key is not RSA"));
    };
    if material.size != size {
        return Err(internal("the generated RSA key has another size"));
    }
    pairwise_test(&material, engine, entropy)?;
    Ok(material)
}

fn pairwise_test(
    material: &RsaMaterial,
    engine: &RustCryptoEngine,
    entropy: &dyn Entropy,
) -> CryptoResult<()> {
    let failed = || internal("the generated RSA key fails its own test");
    let key = RsaKey::load(material, engine).ok_or_else(failed)?;
    let public = engine.load_public(&PublicParts::Rsa {
        n: material.n.clone(),
        e: material.e.clone(),
    })?;
    let digest = [0x5a; 32];
    let signature = key.sign(SignatureAlgorithm::Rs256, &digest)?;
    public
        .verify(SignatureAlgorithm::Rs256, &digest, &signature)
        .map_err(|_| failed())?;
    let ciphertext = public.encrypt(RsaPadding::OaepSha256, &digest, entropy)?;
    let plaintext = key.decrypt_padded(RsaPadding::OaepSha256, &ciphertext)?;
    if plaintext.expose() != digest {
        return Err(failed());
    }
    Ok(())
}

/// The numbers of a key, not validated. The container in between wipes itself.
fn imported(pair: &KeyPair) -> CryptoResult<ImportedKey> {
    let container = container(pair)?;
    ImportedKey::from_pkcs8_der(container.as_ref())
        .map_err(|error| internal(&format!("the key could not be read: {error}")))
}

fn container(pair: &KeyPair) -> CryptoResult<Pkcs8V1Der<'static>> {
    pair.as_der()
        .map_err(|_| internal("the key could not be read"))
}

impl RsaKey {
    /// `None` for what the other engine is to judge.
    pub(super) fn load(material: &RsaMaterial, engine: &RustCryptoEngine) -> Option<Self> {
        if material.e != EXPONENT_BYTES {
            return None;
        }
        let pair = KeyPair::from_components(&KeyPairComponents {
            public_key: PublicKeyComponents {
                n: &material.n[..],
                e: &material.e[..],
            },
            d: material.d.expose(),
            p: material.p.expose(),
            q: material.q.expose(),
            dP: material.dp.expose(),
            dQ: material.dq.expose(),
            qInv: material.qi.expose(),
        })
        .ok()?;
        Some(Self {
            size: material.size,
            pair,
            engine: engine.clone(),
            decrypting: OnceLock::new(),
            rest: OnceLock::new(),
        })
    }

    fn decrypt_padded(&self, padding: RsaPadding, ciphertext: &[u8]) -> CryptoResult<SecretBytes> {
        let Some(algorithm) = oaep(padding) else {
            return Err(internal("this padding is another engine's"));
        };
        let key = self.decrypting()?;
        let mut length = 0;
        let padded = SecretBytes::filled_with(self.size.modulus_length(), |out| {
            length = key.decrypt(algorithm, ciphertext, out, None)?.len();
            Ok(())
        })
        .map_err(|_: aws_lc_rs::error::Unspecified| CryptoError::DecryptFailed)?;
        Ok(SecretBytes::copied_from(&padded.expose()[..length]))
    }

    /// The key in the shape for decryption, made when it is first needed.
    fn decrypting(&self) -> CryptoResult<&OaepPrivateDecryptingKey> {
        if let Some(key) = self.decrypting.get() {
            return Ok(key);
        }
        let container = container(&self.pair)?;
        let refused = || internal("the key could not be read again");
        let key = PrivateDecryptingKey::from_pkcs8(container.as_ref()).map_err(|_| refused())?;
        let key = OaepPrivateDecryptingKey::new(key).map_err(|_| refused())?;
        Ok(self.decrypting.get_or_init(|| key))
    }

    /// The same key in the other engine, made when it is first needed.
    fn rest(&self) -> CryptoResult<&dyn CryptoKey> {
        if let Some(key) = self.rest.get() {
            return Ok(&**key);
        }
        let material = canonical(self.size, imported(&self.pair)?)?;
        let key = self
            .engine
            .load(&KeyMaterial::new(MaterialParts::Rsa(material)))?;
        Ok(&**self.rest.get_or_init(|| key))
    }
}

/// Numbers that were validated before, in canonical lengths again.
fn canonical(size: RsaKeySize, key: ImportedKey) -> CryptoResult<RsaMaterial> {
    let ImportedParts::Rsa {
        n,
        e,
        d,
        primes: Some((p, q)),
        crt: Some((dp, dq, qi)),
    } = key.parts
    else {
        return Err(internal("the key is not a complete RSA key"));
    };
    let full = size.modulus_length();
    let padded = |number: &SecretBytes, length: usize| {
        SecretBytes::filled_with(length, |out| {
            let start = length
                .checked_sub(number.len())
                .ok_or_else(|| internal("a number of the key is too long"))?;
            out[start..].copy_from_slice(number.expose());
            Ok(())
        })
    };
    Ok(RsaMaterial {
        size,
        n,
        e,
        d: padded(&d, full)?,
        p: padded(&p, full / 2)?,
        q: padded(&q, full / 2)?,
        dp: padded(&dp, full / 2)?,
        dq: padded(&dq, full / 2)?,
        qi: padded(&qi, full / 2)?,
    })
}

impl fmt::Debug for RsaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("aws_lc::RsaKey")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl CryptoKey for RsaKey {
    fn sign(&self, algorithm: SignatureAlgorithm, digest: &[u8]) -> CryptoResult<Vec<u8>> {
        let scheme = Scheme::of(algorithm).ok_or(CryptoError::Unsupported)?;
        let Some(algorithms) = Algorithms::of(scheme) else {
            return self.rest()?.sign(algorithm, digest);
        };
        scheme.check(algorithm, self.size, digest)?;
        let digest = algorithms.digest(digest)?;
        let mut signature = vec![0; self.size.modulus_length()];
        self.pair
            .sign_digest(algorithms.encoding, &digest, &mut signature)
            .map_err(|_| internal("the signature could not be computed"))?;
        Ok(signature)
    }

    fn sign_deterministic(&self, _: SignatureAlgorithm, _: &[u8]) -> CryptoResult<Vec<u8>> {
        Err(CryptoError::Unsupported)
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
        algorithm: EncryptionAlgorithm,
        ciphertext: &[u8],
        iv: &[u8],
        aad: &[u8],
        tag: &[u8],
    ) -> CryptoResult<SecretBytes> {
        let padding = RsaPadding::of_encryption(algorithm).ok_or(CryptoError::Unsupported)?;
        // Implicit rejection.
        if matches!(padding, RsaPadding::Pkcs1V15) {
            return self.rest()?.decrypt(algorithm, ciphertext, iv, aad, tag);
        }
        let name = algorithm.as_str();
        check_absent(name, "iv", iv)?;
        check_absent(name, "additional authenticated data", aad)?;
        check_absent(name, "tag", tag)?;
        self.decrypt_padded(padding, ciphertext)
    }

    fn wrap_key(&self, _: WrapAlgorithm, _: &[u8]) -> CryptoResult<Vec<u8>> {
        Err(CryptoError::Unsupported)
    }

    fn unwrap_key(&self, algorithm: WrapAlgorithm, wrapped: &[u8]) -> CryptoResult<SecretBytes> {
        let padding = RsaPadding::of_wrap(algorithm).ok_or(CryptoError::Unsupported)?;
        if matches!(padding, RsaPadding::Pkcs1V15) {
            return self.rest()?.unwrap_key(algorithm, wrapped);
        }
        self.decrypt_padded(padding, wrapped)
    }
}

/// A public key, with the other engine's for what this one cannot do.
pub(super) struct RsaPublicKey {
    size: RsaKeySize,
    numbers: PublicKeyComponents<Vec<u8>>,
    oaep: OaepPublicEncryptingKey,
    pkcs1: Pkcs1PublicEncryptingKey,
    /// Made when they are first needed: aws-lc-rs has one per scheme.
    verifying: [OnceLock<ParsedPublicKey>; SCHEMES],
    rest: Box<dyn CryptoPublicKey>,
}

impl RsaPublicKey {
    /// Of a key that `checked` is in the other engine; that one where aws-lc does not do it.
    pub(super) fn wrap(
        n: &[u8],
        e: &[u8],
        checked: Box<dyn CryptoPublicKey>,
    ) -> Box<dyn CryptoPublicKey> {
        let KeySpec::Rsa(size) = checked.spec() else {
            return checked;
        };
        let numbers = PublicKeyComponents {
            n: n.to_vec(),
            e: e.to_vec(),
        };
        match Self::encrypting(&numbers) {
            Some((oaep, pkcs1)) if e == EXPONENT_BYTES => Box::new(Self {
                size,
                numbers,
                oaep,
                pkcs1,
                verifying: [const { OnceLock::new() }; SCHEMES],
                rest: checked,
            }),
            _ => checked,
        }
    }

    fn encrypting(
        numbers: &PublicKeyComponents<Vec<u8>>,
    ) -> Option<(OaepPublicEncryptingKey, Pkcs1PublicEncryptingKey)> {
        let key: PublicEncryptingKey = numbers.clone().try_into().ok()?;
        let oaep = OaepPublicEncryptingKey::new(key.clone()).ok()?;
        Some((oaep, Pkcs1PublicEncryptingKey::new(key).ok()?))
    }

    fn verifying(&self, algorithms: &Algorithms) -> CryptoResult<&ParsedPublicKey> {
        let place = &self.verifying[algorithms.place];
        if let Some(key) = place.get() {
            return Ok(key);
        }
        let key = self
            .numbers
            .to_parsed_public_key(algorithms.verification)
            .map_err(|_| internal("the public key could not be read"))?;
        Ok(place.get_or_init(|| key))
    }
}

impl fmt::Debug for RsaPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("aws_lc::RsaPublicKey")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl CryptoPublicKey for RsaPublicKey {
    fn spec(&self) -> KeySpec {
        KeySpec::Rsa(self.size)
    }

    fn verify(
        &self,
        algorithm: SignatureAlgorithm,
        digest: &[u8],
        signature: &[u8],
    ) -> CryptoResult<()> {
        let scheme = Scheme::of(algorithm).ok_or(CryptoError::Unsupported)?;
        let Some(algorithms) = Algorithms::of(scheme) else {
            return self.rest.verify(algorithm, digest, signature);
        };
        scheme.check(algorithm, self.size, digest)?;
        let digest = algorithms.digest(digest)?;
        self.verifying(&algorithms)?
            .verify_digest_sig(&digest, signature)
            .map_err(|_| CryptoError::InvalidSignature)
    }

    fn encrypt(
        &self,
        padding: RsaPadding,
        plaintext: &[u8],
        _: &dyn Entropy,
    ) -> CryptoResult<Vec<u8>> {
        padding.check(self.size, plaintext)?;
        let mut ciphertext = vec![0; self.size.modulus_length()];
        let written = match oaep(padding) {
            Some(algorithm) => self
                .oaep
                .encrypt(algorithm, plaintext, &mut ciphertext, None),
            None => self.pkcs1.encrypt(plaintext, &mut ciphertext),
        };
        match written {
            Ok(written) if written.len() == self.size.modulus_length() => Ok(ciphertext),
            _ => Err(internal("the plaintext could not be encrypted")),
        }
    }
}

fn internal(text: &str) -> CryptoError {
    CryptoError::Internal(text.to_owned())
}
