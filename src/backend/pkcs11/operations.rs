//! Operations on open sessions and found objects, one call after another as the route says.

use std::borrow::Cow;

use cryptoki_sys::{
    CKA_CLASS, CKA_EXTRACTABLE, CKA_KEY_TYPE, CKA_PRIVATE, CKA_SENSITIVE, CKA_TOKEN, CKA_VALUE,
    CKK_GENERIC_SECRET, CKO_SECRET_KEY,
};

use super::error::{ErrorClass, TokenError, TokenResult};
use super::lease::Lease;
use super::mechanism::{Mechanism, PssHash};
use super::raw::ObjectHandle;
use super::routes::Route;
use super::template::Template;
use crate::backend::{BackendError, BackendErrorKind, BackendResult, Encrypted};
use crate::crypto::key_wrap::{self, Block};
use crate::crypto::limits::check_digest;
use crate::crypto::low_s::es256k_low_s;
use crate::crypto::raw_rsa::{
    AnswerBuffer, EncodedMessage, OaepHash, check_ciphertext, oaep_decode,
    pkcs1v15_decode_implicit, pkcs1v15_digest_info, pkcs1v15_encode, pss_encode,
};
use crate::crypto::{CryptoError, CryptoResult};
use crate::env::{Entropy, OsEntropy};
use crate::model::algorithm::{
    AesMode, EncryptionAlgorithm, HashAlgorithm, SignatureAlgorithm, WrapAlgorithm,
};
use crate::model::material::PublicParts;
use crate::model::spec::{KeySpec, RsaKeySize};
use crate::secret::SecretBytes;

/// What a token takes for one signature, made before a session is asked for.
pub(super) struct Signing<'a> {
    mechanism: Mechanism<'static>,
    input: Cow<'a, [u8]>,
    length: usize,
    algorithm: SignatureAlgorithm,
}

impl<'a> Signing<'a> {
    /// Errors: `InvalidInput` for a digest of another length.
    pub(super) fn new(
        route: Route,
        spec: KeySpec,
        algorithm: SignatureAlgorithm,
        digest: &'a [u8],
    ) -> BackendResult<Self> {
        check_digest(algorithm, digest)?;
        let (mechanism, input, length) = match (route, spec) {
            (Route::Hmac, _) => {
                let (mechanism, length) = hmac(algorithm).ok_or(BackendErrorKind::Unsupported)?;
                (mechanism, Cow::Borrowed(digest), length)
            }
            (Route::Ecdsa, KeySpec::Ec(curve)) => (
                Mechanism::Ecdsa,
                Cow::Borrowed(digest),
                2 * curve.field_length(),
            ),
            (_, KeySpec::Rsa(size)) => {
                let (mechanism, input) = rsa_signing(route, size, algorithm, digest)?;
                (mechanism, Cow::Owned(input), size.modulus_length())
            }
            _ => return Err(BackendErrorKind::Unsupported.into()),
        };
        Ok(Self {
            mechanism,
            input,
            length,
            algorithm,
        })
    }

    pub(super) fn run(&self, lease: &Lease<'_>, key: ObjectHandle) -> TokenResult<Vec<u8>> {
        let signature = lease.sign(&self.mechanism, key, &self.input, self.length)?;
        if signature.len() != self.length {
            return Err(TokenError::with_detail(
                ErrorClass::Device,
                "C_Sign",
                "the token gave a signature of the wrong length",
            ));
        }
        if self.algorithm == SignatureAlgorithm::Es256K {
            // A token knows nothing of the low s of this algorithm.
            return match es256k_low_s(&signature) {
                Ok(low) => Ok(low.to_vec()),
                Err(_) => Err(TokenError::with_detail(
                    ErrorClass::Device,
                    "C_Sign",
                    "the token gave no signature of this curve",
                )),
            };
        }
        Ok(signature)
    }
}

fn hmac(algorithm: SignatureAlgorithm) -> Option<(Mechanism<'static>, usize)> {
    Some(match algorithm.hmac()? {
        HashAlgorithm::Sha256 => (Mechanism::Sha256Hmac, 32),
        HashAlgorithm::Sha384 => (Mechanism::Sha384Hmac, 48),
        HashAlgorithm::Sha512 => (Mechanism::Sha512Hmac, 64),
    })
}

fn rsa_signing(
    route: Route,
    size: RsaKeySize,
    algorithm: SignatureAlgorithm,
    digest: &[u8],
) -> BackendResult<(Mechanism<'static>, Vec<u8>)> {
    let hash = algorithm.digest();
    Ok(match route {
        Route::Pkcs1 => (
            Mechanism::RsaPkcs,
            pkcs1v15_digest_info(algorithm, size, digest)?,
        ),
        Route::RawPkcs1 => (
            Mechanism::RsaX509,
            pkcs1v15_encode(algorithm, size, digest)?,
        ),
        Route::Pss => {
            let hash = match hash.ok_or(BackendErrorKind::Unsupported)? {
                HashAlgorithm::Sha256 => PssHash::Sha256,
                HashAlgorithm::Sha384 => PssHash::Sha384,
                HashAlgorithm::Sha512 => PssHash::Sha512,
            };
            (Mechanism::RsaPss { hash }, digest.to_vec())
        }
        Route::RawPss => {
            let mut salt = vec![0; hash.ok_or(BackendErrorKind::Unsupported)?.digest_length()];
            OsEntropy.fill(&mut salt).map_err(CryptoError::Random)?;
            (
                Mechanism::RsaX509,
                pss_encode(algorithm, size, digest, &salt)?,
            )
        }
        _ => return Err(BackendErrorKind::Unsupported.into()),
    })
}

/// What a token takes to open one RSA ciphertext.
pub(super) struct RsaOpening<'a> {
    route: Route,
    size: RsaKeySize,
    hash: OaepHash,
    ciphertext: &'a [u8],
    rejection_secret: Option<&'a [u8; 32]>,
}

impl<'a> RsaOpening<'a> {
    /// `algorithm` is a JWA name: encryption and key transport have the same.
    ///
    /// Errors: `DecryptFailed` for what is no ciphertext of this key.
    pub(super) fn new(
        route: Route,
        public: &PublicParts,
        size: RsaKeySize,
        algorithm: &str,
        ciphertext: &'a [u8],
        rejection_secret: Option<&'a SecretBytes>,
    ) -> BackendResult<Self> {
        let PublicParts::Rsa { n, .. } = public else {
            return Err(BackendErrorKind::Unsupported.into());
        };
        check_ciphertext(n, ciphertext)?;
        let hash = if algorithm == EncryptionAlgorithm::RsaOaep256.as_str() {
            OaepHash::Sha256
        } else {
            OaepHash::Sha1
        };
        Ok(Self {
            route,
            size,
            hash,
            ciphertext,
            rejection_secret: rejection_secret.and_then(|secret| secret.expose().try_into().ok()),
        })
    }

    /// Errors: `DecryptFailed`, whatever the cause, but for what has to do with session and token.
    pub(super) fn run(&self, lease: &Lease<'_>, key: ObjectHandle) -> TokenResult<SecretBytes> {
        let k = self.size.modulus_length();
        match self.route {
            Route::Oaep => {
                let mechanism = match self.hash {
                    OaepHash::Sha1 => Mechanism::RsaOaepSha1,
                    OaepHash::Sha256 => Mechanism::RsaOaepSha256,
                };
                lease.decrypt(&mechanism, key, self.ciphertext, k)
            }
            Route::RawOaep => opened(oaep_decode(self.hash, self.raw(lease, key)?)),
            Route::RawRsa1_5 => {
                let Some(secret) = self.rejection_secret else {
                    return Err(TokenError::with_detail(
                        ErrorClass::Unsupported,
                        "C_Decrypt",
                        "the key has no secret for implicit rejection",
                    ));
                };
                let encoded = self.raw(lease, key)?;
                Ok(pkcs1v15_decode_implicit(encoded, self.ciphertext, secret))
            }
            _ => Err(TokenError::new(ErrorClass::Unsupported, "C_Decrypt")),
        }
    }

    fn raw(&self, lease: &Lease<'_>, key: ObjectHandle) -> TokenResult<EncodedMessage> {
        let mut answer = AnswerBuffer::new(self.size);
        let length =
            lease.decrypt_into(&Mechanism::RsaX509, key, self.ciphertext, answer.as_mut())?;
        opened(answer.finish(length))
    }
}

fn opened<T>(result: CryptoResult<T>) -> TokenResult<T> {
    result.map_err(|_| TokenError::new(ErrorClass::DecryptFailed, "C_Decrypt"))
}

/// AES in the mode of the algorithm.
pub(super) fn encrypt(
    lease: &Lease<'_>,
    key: ObjectHandle,
    mode: AesMode,
    plaintext: &[u8],
    iv: &[u8],
    aad: &[u8],
) -> TokenResult<Encrypted> {
    let capacity = plaintext.len() + 16;
    let mechanism = aes(mode, iv, aad)?;
    let mut output = lease.encrypt(&mechanism, key, plaintext, capacity)?;
    if mode != AesMode::Gcm {
        return Ok(Encrypted::new(output, None));
    }
    let tag = output
        .split_at_checked(plaintext.len())
        .and_then(|(_, tag)| tag.try_into().ok());
    match tag {
        Some(tag) => {
            output.truncate(plaintext.len());
            Ok(Encrypted::new(output, Some(tag)))
        }
        None => Err(TokenError::with_detail(
            ErrorClass::Device,
            "C_Encrypt",
            "the token gave a ciphertext of the wrong length",
        )),
    }
}

pub(super) fn decrypt(
    lease: &Lease<'_>,
    key: ObjectHandle,
    mode: AesMode,
    ciphertext: &[u8],
    iv: &[u8],
    aad: &[u8],
    tag: &[u8],
) -> TokenResult<SecretBytes> {
    let mechanism = aes(mode, iv, aad)?;
    let capacity = ciphertext.len() + 16;
    if tag.is_empty() {
        return lease.decrypt(&mechanism, key, ciphertext, capacity);
    }
    let input = [ciphertext, tag].concat();
    lease.decrypt(&mechanism, key, &input, capacity)
}

fn aes<'a>(mode: AesMode, iv: &'a [u8], aad: &'a [u8]) -> TokenResult<Mechanism<'a>> {
    let wrong = || TokenError::new(ErrorClass::BadParameter, "C_EncryptInit");
    Ok(match mode {
        AesMode::Gcm => Mechanism::AesGcm {
            iv: iv.try_into().map_err(|_| wrong())?,
            aad,
        },
        AesMode::Cbc => Mechanism::AesCbc {
            iv: iv.try_into().map_err(|_| wrong())?,
        },
        AesMode::CbcPad => Mechanism::AesCbcPad {
            iv: iv.try_into().map_err(|_| wrong())?,
        },
    })
}

/// What cannot be wrapped is refused here: a token may pad it in silence.
pub(super) fn check_key_to_wrap(
    algorithm: WrapAlgorithm,
    route: Route,
    key: &[u8],
) -> BackendResult<()> {
    check_wrapped_length(algorithm, route, key.len())?;
    if algorithm.is_padded_key_wrap() {
        if key.is_empty() {
            return Err(BackendError::new(
                BackendErrorKind::InvalidInput,
                "there is nothing to wrap",
            ));
        }
        return Ok(());
    }
    Ok(key_wrap::check_wrap_length(key.len())?)
}

/// Errors: `Unsupported` for a key that is longer than the route is fit for.
pub(super) fn check_wrapped_length(
    algorithm: WrapAlgorithm,
    route: Route,
    length: usize,
) -> BackendResult<()> {
    match route.most_wrapped() {
        Some(most) if length > most => Err(BackendError::new(
            BackendErrorKind::Unsupported,
            format!(
                "the token has no mechanism for {algorithm}, and the library wraps and unwraps {most} bytes at most over                  single blocks of it; use a key in software for longer ones, or encrypt with AES-GCM"
            ),
        )),
        _ => Ok(()),
    }
}

/// Errors that a block of the token, or the algorithm over blocks, can give.
enum WrapFailure {
    Token(TokenError),
    Crypto(CryptoError),
}

impl From<CryptoError> for WrapFailure {
    fn from(error: CryptoError) -> Self {
        Self::Crypto(error)
    }
}

impl WrapFailure {
    fn into_token(self, function: &'static str) -> TokenError {
        match self {
            Self::Token(error) => error,
            Self::Crypto(CryptoError::DecryptFailed) => {
                TokenError::new(ErrorClass::DecryptFailed, function)
            }
            Self::Crypto(error) => {
                TokenError::with_detail(ErrorClass::BadParameter, function, error.to_string())
            }
        }
    }
}

pub(super) fn wrap_key(
    lease: &Lease<'_>,
    kek: ObjectHandle,
    route: Route,
    key: &[u8],
) -> TokenResult<Vec<u8>> {
    let capacity = key.len() + 16;
    let block = |block: &mut Block| {
        let output = lease
            .encrypt(&Mechanism::AesEcb, kek, block, block.len())
            .map_err(WrapFailure::Token)?;
        replace(block, &output, "C_Encrypt")
    };
    match route {
        Route::KeyWrap => lease.encrypt(&Mechanism::AesKeyWrap, kek, key, capacity),
        Route::KeyWrapPadded => lease.encrypt(&Mechanism::AesKeyWrapKwp, kek, key, capacity),
        Route::KeyWrapObject => wrap_object(lease, &Mechanism::AesKeyWrap, kek, key),
        Route::KeyWrapPaddedObject => wrap_object(lease, &Mechanism::AesKeyWrapKwp, kek, key),
        Route::KeyWrapPadObject => wrap_object(lease, &Mechanism::AesKeyWrapPad, kek, key),
        Route::KeyWrapBlocks => {
            key_wrap::wrap(key, block).map_err(|error| error.into_token("C_Encrypt"))
        }
        Route::KeyWrapPaddedBlocks => {
            key_wrap::wrap_padded(key, block).map_err(|error| error.into_token("C_Encrypt"))
        }
        _ => Err(TokenError::new(ErrorClass::Unsupported, "C_Encrypt")),
    }
}

/// Errors: `DecryptFailed`, whatever the cause, but for what has to do with session and token.
pub(super) fn unwrap_key(
    lease: &Lease<'_>,
    kek: ObjectHandle,
    route: Route,
    wrapped: &[u8],
) -> TokenResult<SecretBytes> {
    let capacity = wrapped.len();
    let block = |block: &mut Block| {
        let output = lease
            .decrypt(&Mechanism::AesEcb, kek, block, block.len())
            .map_err(WrapFailure::Token)?;
        replace(block, output.expose(), "C_Decrypt")
    };
    match route {
        Route::KeyWrap => lease.decrypt(&Mechanism::AesKeyWrap, kek, wrapped, capacity),
        Route::KeyWrapPadded => lease.decrypt(&Mechanism::AesKeyWrapKwp, kek, wrapped, capacity),
        Route::KeyWrapObject => unwrap_object(lease, &Mechanism::AesKeyWrap, kek, wrapped, 24),
        Route::KeyWrapPaddedObject => {
            unwrap_object(lease, &Mechanism::AesKeyWrapKwp, kek, wrapped, 16)
        }
        Route::KeyWrapPadObject => {
            unwrap_object(lease, &Mechanism::AesKeyWrapPad, kek, wrapped, 16)
        }
        Route::KeyWrapBlocks => {
            key_wrap::unwrap(wrapped, block).map_err(|error| error.into_token("C_Decrypt"))
        }
        Route::KeyWrapPaddedBlocks => {
            key_wrap::unwrap_padded(wrapped, block).map_err(|error| error.into_token("C_Decrypt"))
        }
        _ => Err(TokenError::new(ErrorClass::Unsupported, "C_Decrypt")),
    }
}

fn wrap_object(
    lease: &Lease<'_>,
    mechanism: &Mechanism<'_>,
    kek: ObjectHandle,
    key: &[u8],
) -> TokenResult<Vec<u8>> {
    let template = data_object().secret(CKA_VALUE, SecretBytes::copied_from(key));
    let object = lease.create_object(&template)?;
    let wrapped = lease.wrap_key(mechanism, kek, object, key.len() + 16);
    lease.destroy_object(object)?;
    wrapped
}

/// `shortest` is what the algorithm gives at least.
fn unwrap_object(
    lease: &Lease<'_>,
    mechanism: &Mechanism<'_>,
    kek: ObjectHandle,
    wrapped: &[u8],
    shortest: usize,
) -> TokenResult<SecretBytes> {
    if wrapped.len() < shortest || !wrapped.len().is_multiple_of(8) {
        return Err(TokenError::new(ErrorClass::DecryptFailed, "C_UnwrapKey"));
    }
    let object = lease.unwrap_key(mechanism, kek, wrapped, &data_object())?;
    let value = lease.get_attribute(object, CKA_VALUE);
    lease.destroy_object(object)?;
    value?
        .map(SecretBytes::from)
        .ok_or_else(|| TokenError::new(ErrorClass::Device, "C_GetAttributeValue"))
}

fn replace(block: &mut Block, output: &[u8], function: &'static str) -> Result<(), WrapFailure> {
    match output.try_into() {
        Ok(output) => {
            *block = output;
            Ok(())
        }
        Err(_) => Err(WrapFailure::Token(TokenError::with_detail(
            ErrorClass::Device,
            function,
            "the token gave a block of the wrong length",
        ))),
    }
}

/// The caller's bytes as an object of the session. They are the caller's, who has them outside too.
pub(super) fn data_object() -> Template<'static> {
    Template::new()
        .ulong(CKA_CLASS, CKO_SECRET_KEY)
        .ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET)
        .bool(CKA_TOKEN, false)
        .bool(CKA_PRIVATE, true)
        .bool(CKA_SENSITIVE, false)
        .bool(CKA_EXTRACTABLE, true)
}
