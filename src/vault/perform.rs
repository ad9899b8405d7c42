//! The one function that calls key handles.

use super::cache::OpenVersion;
use crate::backend::KeyHandle;
use crate::crypto::limits::{
    MAX_AAD_BYTES, MAX_ENCRYPT_BYTES, MAX_HMAC_BYTES, MAX_WRAP_BYTES, check_digest,
};
use crate::crypto::public_key::PublicKey;
use crate::error::{Error, ErrorKind, Result};
use crate::model::algorithm::{
    CryptoOperation, EncryptionAlgorithm, SignatureAlgorithm, WrapAlgorithm,
};
use crate::model::encrypted::Encrypted;
use crate::model::options::Ciphertext;
use crate::policy::Authorized;
use crate::secret::SecretBytes;

/// What an operation works on.
#[derive(Debug)]
pub(super) enum Input<'a> {
    Sign {
        digest: &'a [u8],
        deterministic: bool,
    },
    Verify {
        digest: &'a [u8],
        signature: &'a [u8],
    },
    Encrypt {
        plaintext: &'a [u8],
        iv: &'a [u8],
        aad: &'a [u8],
    },
    Decrypt(Ciphertext<'a>),
    WrapKey(&'a [u8]),
    UnwrapKey(&'a [u8]),
}

/// What it gives.
#[derive(Debug)]
pub(super) enum Output {
    Done,
    Bytes(Vec<u8>),
    Encrypted(Encrypted),
    Secret(SecretBytes),
}

impl Output {
    pub(super) fn into_bytes(self) -> Result<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(mismatch()),
        }
    }

    pub(super) fn into_secret(self) -> Result<SecretBytes> {
        match self {
            Self::Secret(secret) => Ok(secret),
            _ => Err(mismatch()),
        }
    }
}

fn mismatch() -> Error {
    Error::new(
        ErrorKind::Internal,
        "an operation met the input of another one",
    )
}

/// Does what was authorized. Public-key operations are done from the public key, in software, so
/// that a backend that is away does not stop them.
// With its callers in one piece, up to where the input is made: what it is needs no asking, and the output no copying.
#[inline(always)]
pub(super) fn perform(
    authorized: Authorized,
    version: &OpenVersion,
    input: Input<'_>,
) -> Result<Output> {
    let (operation, handle) = version.redeem(authorized)?;
    match (operation, input) {
        (
            CryptoOperation::Sign(algorithm),
            Input::Sign {
                digest,
                deterministic,
            },
        ) => {
            check_signed(algorithm, digest)?;
            let signature = if deterministic {
                handle.sign_deterministic(algorithm, digest)?
            } else {
                handle.sign(algorithm, digest)?
            };
            Ok(Output::Bytes(signature))
        }
        (CryptoOperation::Verify(algorithm), Input::Verify { digest, signature }) => {
            check_signed(algorithm, digest)?;
            if algorithm.hmac().is_some() {
                handle.verify(algorithm, digest, signature)?;
            } else {
                public_key(handle)?.verify(algorithm, digest, signature)?;
            }
            Ok(Output::Done)
        }
        (CryptoOperation::Encrypt(algorithm), Input::Encrypt { plaintext, iv, aad }) => {
            encrypt(algorithm, handle, plaintext, iv, aad).map(Output::Encrypted)
        }
        (CryptoOperation::Decrypt(algorithm), Input::Decrypt(ciphertext)) => {
            check_ciphertext(algorithm, &ciphertext)?;
            let Ciphertext {
                bytes,
                iv,
                aad,
                tag,
            } = ciphertext;
            Ok(Output::Secret(
                handle.decrypt(algorithm, bytes, iv, aad, tag)?,
            ))
        }
        (CryptoOperation::WrapKey(algorithm), Input::WrapKey(key)) => {
            at_most(key, MAX_WRAP_BYTES, "a key to be wrapped")?;
            let wrapped = if is_rsa(algorithm) {
                public_key(handle)?.wrap_key(algorithm, key)?
            } else {
                handle.wrap_key(algorithm, key)?
            };
            Ok(Output::Bytes(wrapped))
        }
        (CryptoOperation::UnwrapKey(algorithm), Input::UnwrapKey(wrapped)) => {
            at_most(wrapped, MAX_WRAP_BYTES + 16, "a wrapped key")?;
            Ok(Output::Secret(handle.unwrap_key(algorithm, wrapped)?))
        }
        _ => Err(mismatch()),
    }
}

/// Whether the public key is all that the operation needs.
pub(super) fn is_public(operation: CryptoOperation) -> bool {
    match operation {
        CryptoOperation::Verify(algorithm) => algorithm.hmac().is_none(),
        CryptoOperation::Encrypt(algorithm) => algorithm.aes_mode().is_none(),
        CryptoOperation::WrapKey(algorithm) => is_rsa(algorithm),
        CryptoOperation::Sign(_) | CryptoOperation::Decrypt(_) | CryptoOperation::UnwrapKey(_) => {
            false
        }
    }
}

#[inline(always)]
fn encrypt(
    algorithm: EncryptionAlgorithm,
    handle: &dyn KeyHandle,
    plaintext: &[u8],
    iv: &[u8],
    aad: &[u8],
) -> Result<Encrypted> {
    if algorithm.aes_mode().is_none() {
        let ciphertext = public_key(handle)?.encrypt(algorithm, plaintext)?;
        return Ok(Encrypted::new(ciphertext, None));
    }
    Ok(handle.encrypt(algorithm, plaintext, iv, aad)?)
}

const fn is_rsa(algorithm: WrapAlgorithm) -> bool {
    matches!(
        algorithm,
        WrapAlgorithm::RsaOaep | WrapAlgorithm::RsaOaep256 | WrapAlgorithm::Rsa1_5
    )
}

fn public_key(handle: &dyn KeyHandle) -> Result<&PublicKey> {
    handle
        .public_key()
        .ok_or_else(|| Error::internal("a backend opened an asymmetric key without its public key"))
}

fn check_signed(algorithm: SignatureAlgorithm, digest: &[u8]) -> Result<()> {
    if algorithm.hmac().is_some() {
        at_most(digest, MAX_HMAC_BYTES, "the value to authenticate")?;
    }
    Ok(check_digest(algorithm, digest)?)
}

/// What belongs to a ciphertext, by length; what does not belong to it is refused, not ignored.
fn check_ciphertext(algorithm: EncryptionAlgorithm, ciphertext: &Ciphertext<'_>) -> Result<()> {
    let iv_length = algorithm.iv_length().unwrap_or(0);
    if ciphertext.iv.len() != iv_length {
        return Err(Error::bad_parameter(format!(
            "{algorithm} needs an iv of {iv_length} bytes, but {} were given",
            ciphertext.iv.len()
        )));
    }
    let tag_length = if algorithm.is_authenticated() { 16 } else { 0 };
    if ciphertext.tag.len() != tag_length {
        return Err(Error::bad_parameter(format!(
            "{algorithm} needs a tag of {tag_length} bytes, but {} were given",
            ciphertext.tag.len()
        )));
    }
    check_data(algorithm, ciphertext.bytes, ciphertext.aad)
}

/// The bounds that hold for plaintext and ciphertext alike.
#[inline]
pub(super) fn check_data(algorithm: EncryptionAlgorithm, data: &[u8], aad: &[u8]) -> Result<()> {
    if !algorithm.is_authenticated() && !aad.is_empty() {
        return Err(Error::bad_parameter(format!(
            "{algorithm} takes no additional authenticated data"
        )));
    }
    at_most(aad, MAX_AAD_BYTES, "the additional authenticated data")?;
    // A ciphertext with PKCS#7 padding is one block longer than its plaintext.
    at_most(data, MAX_ENCRYPT_BYTES + 16, "the data")
}

#[inline]
pub(super) fn at_most(bytes: &[u8], limit: usize, what: &str) -> Result<()> {
    if bytes.len() <= limit {
        Ok(())
    } else {
        Err(too_large(bytes.len(), limit, what))
    }
}

#[cold]
fn too_large(length: usize, limit: usize, what: &str) -> Error {
    Error::new(
        ErrorKind::TooLarge,
        format!("{what} may have {limit} bytes, but {length} were given"),
    )
}
