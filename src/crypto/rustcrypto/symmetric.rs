//! AES and HMAC.

use std::fmt;

use aes::cipher::consts::{U12, U16};
use aes::cipher::{
    Array, BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, InOutBuf,
    InnerIvInit, KeyInit,
};
use aes::{Aes128, Aes192, Aes256};
use aes_gcm::{AeadInOut, AesGcm};
use aes_kw::{AesKw, AesKwp, InnerInit};
use hmac::{Hmac, Mac};
use sha2::{Sha256, Sha384, Sha512};
use subtle::{Choice, ConstantTimeEq, ConstantTimeGreater, ConstantTimeLess};

use crate::crypto::limits::{
    MAX_AAD_BYTES, MAX_ENCRYPT_BYTES, MAX_HMAC_BYTES, MAX_WRAP_BYTES, check_absent, check_length,
    check_limit, were_given,
};
use crate::crypto::{CryptoError, CryptoKey, CryptoResult};
use crate::env::Entropy;
use crate::model::algorithm::{
    AesMode, CryptoOperation, EncryptionAlgorithm, HashAlgorithm, SignatureAlgorithm, WrapAlgorithm,
};
use crate::model::encrypted::Encrypted;
use crate::model::spec::{KeySpec, OctKeyLength, OctKeySize};
use crate::secret::{SecretBytes, zeros};

const BLOCK: usize = 16;
const TAG: usize = 16;
/// The unit of AES key wrap.
const SEMIBLOCK: usize = 8;
/// Shortest input of RFC 3394.
const MIN_WRAP_BYTES: usize = 16;
/// What wrapping adds at most: the integrity value, and padding to a whole semiblock.
const WRAP_OVERHEAD: usize = 2 * SEMIBLOCK;

type Block = Array<u8, U16>;

/// A symmetric key: its bytes for HMAC and, when it has an AES length, its key schedule.
pub(super) struct SymmetricKey {
    length: OctKeyLength,
    key: SecretBytes,
    aes: Option<Box<dyn Aes>>,
}

pub(super) fn generate(length: OctKeyLength, entropy: &dyn Entropy) -> CryptoResult<SecretBytes> {
    SecretBytes::random(length.bytes(), entropy).map_err(CryptoError::Random)
}

/// RFC 5649 under a key that lives only as long as this.
pub(in crate::crypto) fn wrap_under_aes_256(
    kek: &SecretBytes,
    key: &[u8],
) -> CryptoResult<Vec<u8>> {
    SymmetricKey::load(OctKeySize::Bits256.into(), kek)?.wrap_key(WrapAlgorithm::A256KwPad, key)
}

/// Errors: `DecryptFailed`.
pub(in crate::crypto) fn unwrap_under_aes_256(
    kek: &SecretBytes,
    wrapped: &[u8],
) -> CryptoResult<SecretBytes> {
    SymmetricKey::load(OctKeySize::Bits256.into(), kek)?
        .unwrap_key(WrapAlgorithm::A256KwPad, wrapped)
}

impl SymmetricKey {
    pub(super) fn load(length: OctKeyLength, key: &SecretBytes) -> CryptoResult<Self> {
        if key.len() != length.bytes() {
            return Err(CryptoError::InvalidKey(format!(
                "a symmetric key of {} bytes was expected, but {}",
                length.bytes(),
                were_given(key.len())
            )));
        }
        let aes: Option<Box<dyn Aes>> = match length.aes() {
            None => None,
            Some(OctKeySize::Bits128) => Some(AesCipher::<Aes128>::load(key)?),
            Some(OctKeySize::Bits192) => Some(AesCipher::<Aes192>::load(key)?),
            Some(OctKeySize::Bits256) => Some(AesCipher::<Aes256>::load(key)?),
        };
        Ok(Self {
            length,
            key: SecretBytes::copied_from(key.expose()),
            aes,
        })
    }

    /// The cipher, if the key can do the operation.
    fn aes(&self, operation: CryptoOperation) -> CryptoResult<&dyn Aes> {
        self.aes
            .as_deref()
            .filter(|_| operation.fits(KeySpec::Oct(self.length)))
            // Made only when it is given: it would have to be dropped.
            .ok_or_else(|| CryptoError::Unsupported)
    }

    fn mac(&self, algorithm: SignatureAlgorithm, data: &[u8]) -> CryptoResult<Vec<u8>> {
        let hash = algorithm.hmac().ok_or(CryptoError::Unsupported)?;
        check_limit(algorithm.as_str(), "data", data, MAX_HMAC_BYTES)?;
        let key = self.key.expose();
        match hash {
            HashAlgorithm::Sha256 => mac_with::<Hmac<Sha256>>(key, data),
            HashAlgorithm::Sha384 => mac_with::<Hmac<Sha384>>(key, data),
            HashAlgorithm::Sha512 => mac_with::<Hmac<Sha512>>(key, data),
        }
    }
}

impl fmt::Debug for SymmetricKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SymmetricKey")
            .field("bits", &self.length.bits())
            .finish_non_exhaustive()
    }
}

fn mac_with<M: Mac + KeyInit>(key: &[u8], data: &[u8]) -> CryptoResult<Vec<u8>> {
    let mut mac = <M as KeyInit>::new_from_slice(key)
        .map_err(|_| CryptoError::Internal("HMAC refused the key's length".to_owned()))?;
    mac.update(data);
    Ok(mac.finalize().into_bytes().to_vec())
}

impl CryptoKey for SymmetricKey {
    fn sign(&self, algorithm: SignatureAlgorithm, data: &[u8]) -> CryptoResult<Vec<u8>> {
        self.mac(algorithm, data)
    }

    fn sign_deterministic(&self, _: SignatureAlgorithm, _: &[u8]) -> CryptoResult<Vec<u8>> {
        Err(CryptoError::Unsupported)
    }

    fn verify(&self, algorithm: SignatureAlgorithm, data: &[u8], mac: &[u8]) -> CryptoResult<()> {
        let expected = self.mac(algorithm, data)?;
        // Other lengths are unequal: a truncated MAC is none.
        if bool::from(expected.ct_eq(mac)) {
            Ok(())
        } else {
            Err(CryptoError::InvalidSignature)
        }
    }

    fn encrypt(
        &self,
        algorithm: EncryptionAlgorithm,
        plaintext: &[u8],
        iv: &[u8],
        aad: &[u8],
    ) -> CryptoResult<Encrypted> {
        let aes = self.aes(CryptoOperation::Encrypt(algorithm))?;
        let mode = check_parameters(algorithm, iv, aad)?;
        let name = algorithm.as_str();
        check_limit(name, "a plaintext", plaintext, MAX_ENCRYPT_BYTES)?;
        match mode {
            AesMode::Gcm => aes.gcm_encrypt(iv, aad, plaintext),
            AesMode::Cbc if !plaintext.len().is_multiple_of(BLOCK) => {
                Err(CryptoError::InvalidInput(format!(
                    "{name} needs a plaintext of whole blocks of {BLOCK} bytes, but {}",
                    were_given(plaintext.len())
                )))
            }
            AesMode::Cbc => {
                let mut buffer = plaintext.to_vec();
                aes.cbc_encrypt(iv, &mut buffer)?;
                Ok(Encrypted::new(buffer, None))
            }
            AesMode::CbcPad => {
                let mut buffer = pkcs7_padded(plaintext);
                aes.cbc_encrypt(iv, &mut buffer)?;
                Ok(Encrypted::new(buffer, None))
            }
        }
    }

    fn decrypt(
        &self,
        algorithm: EncryptionAlgorithm,
        ciphertext: &[u8],
        iv: &[u8],
        aad: &[u8],
        tag: &[u8],
    ) -> CryptoResult<SecretBytes> {
        let aes = self.aes(CryptoOperation::Decrypt(algorithm))?;
        let mode = check_parameters(algorithm, iv, aad)?;
        let name = algorithm.as_str();
        if algorithm.is_authenticated() {
            check_length(name, "a tag", tag, TAG)?;
        } else {
            check_absent(name, "tag", tag)?;
        }
        check_limit(name, "a ciphertext", ciphertext, MAX_ENCRYPT_BYTES + BLOCK)?;
        match mode {
            AesMode::Gcm => aes.gcm_decrypt(iv, aad, ciphertext, tag),
            AesMode::Cbc | AesMode::CbcPad if !ciphertext.len().is_multiple_of(BLOCK) => {
                Err(CryptoError::DecryptFailed)
            }
            AesMode::Cbc => aes.cbc_decrypt(iv, ciphertext),
            AesMode::CbcPad => pkcs7_unpadded(&aes.cbc_decrypt(iv, ciphertext)?),
        }
    }

    fn wrap_key(&self, algorithm: WrapAlgorithm, key: &[u8]) -> CryptoResult<Vec<u8>> {
        let aes = self.aes(CryptoOperation::WrapKey(algorithm))?;
        let name = algorithm.as_str();
        check_limit(name, "a key", key, MAX_WRAP_BYTES)?;
        if algorithm.is_padded_key_wrap() {
            if key.is_empty() {
                return Err(CryptoError::InvalidInput(format!(
                    "{name} needs a key of 1 byte or more, but 0 were given"
                )));
            }
            aes.kwp_wrap(key)
        } else {
            if key.len() < MIN_WRAP_BYTES || !key.len().is_multiple_of(SEMIBLOCK) {
                return Err(CryptoError::InvalidInput(format!(
                    "{name} needs a key of {MIN_WRAP_BYTES} bytes or more in multiples of {SEMIBLOCK}, but {}; use the padded variant for other lengths",
                    were_given(key.len())
                )));
            }
            aes.kw_wrap(key)
        }
    }

    fn unwrap_key(&self, algorithm: WrapAlgorithm, wrapped: &[u8]) -> CryptoResult<SecretBytes> {
        let aes = self.aes(CryptoOperation::UnwrapKey(algorithm))?;
        let padded = algorithm.is_padded_key_wrap();
        check_limit(
            algorithm.as_str(),
            "a wrapped key",
            wrapped,
            MAX_WRAP_BYTES + WRAP_OVERHEAD,
        )?;
        let shortest = if padded {
            BLOCK
        } else {
            MIN_WRAP_BYTES + SEMIBLOCK
        };
        if wrapped.len() < shortest || !wrapped.len().is_multiple_of(SEMIBLOCK) {
            return Err(CryptoError::DecryptFailed);
        }
        if padded {
            aes.kwp_unwrap(wrapped)
        } else {
            aes.kw_unwrap(wrapped)
        }
    }
}

/// Checks IV and additional authenticated data, and tells the mode.
#[inline(always)]
fn check_parameters(
    algorithm: EncryptionAlgorithm,
    iv: &[u8],
    aad: &[u8],
) -> CryptoResult<AesMode> {
    let (Some(mode), Some(iv_length)) = (algorithm.aes_mode(), algorithm.iv_length()) else {
        return Err(CryptoError::Unsupported);
    };
    let name = algorithm.as_str();
    check_length(name, "an iv", iv, iv_length)?;
    if algorithm.is_authenticated() {
        check_limit(name, "additional authenticated data", aad, MAX_AAD_BYTES)?;
    } else {
        check_absent(name, "additional authenticated data", aad)?;
    }
    Ok(mode)
}

fn pkcs7_padded(plaintext: &[u8]) -> Vec<u8> {
    let added = BLOCK - plaintext.len() % BLOCK;
    let padding = u8::try_from(added).unwrap_or(0);
    let mut buffer = Vec::with_capacity(plaintext.len() + added);
    buffer.extend_from_slice(plaintext);
    buffer.resize(plaintext.len() + added, padding);
    buffer
}

/// Looks at the whole last block whatever it holds; only the outcome and the length show.
fn pkcs7_unpadded(padded: &SecretBytes) -> CryptoResult<SecretBytes> {
    let bytes = padded.expose();
    let (Some(last), Some(count)) = (bytes.last_chunk::<BLOCK>(), bytes.last()) else {
        return Err(CryptoError::DecryptFailed);
    };
    let mut valid = count.ct_gt(&0) & !count.ct_gt(&16);
    for (distance, byte) in (0_u8..).zip(last.iter().rev()) {
        let outside: Choice = !distance.ct_lt(count);
        valid &= outside | byte.ct_eq(count);
    }
    if !bool::from(valid) {
        return Err(CryptoError::DecryptFailed);
    }
    let length = bytes.len() - usize::from(*count);
    Ok(SecretBytes::copied_from(&bytes[..length]))
}

/// What AES of any key size does, with lengths already checked.
trait Aes: Send + Sync {
    fn gcm_encrypt(&self, iv: &[u8], aad: &[u8], plaintext: &[u8]) -> CryptoResult<Encrypted>;
    fn gcm_decrypt(
        &self,
        iv: &[u8],
        aad: &[u8],
        ciphertext: &[u8],
        tag: &[u8],
    ) -> CryptoResult<SecretBytes>;
    fn cbc_encrypt(&self, iv: &[u8], blocks: &mut [u8]) -> CryptoResult<()>;
    fn cbc_decrypt(&self, iv: &[u8], blocks: &[u8]) -> CryptoResult<SecretBytes>;
    fn kw_wrap(&self, key: &[u8]) -> CryptoResult<Vec<u8>>;
    fn kw_unwrap(&self, wrapped: &[u8]) -> CryptoResult<SecretBytes>;
    fn kwp_wrap(&self, key: &[u8]) -> CryptoResult<Vec<u8>>;
    fn kwp_unwrap(&self, wrapped: &[u8]) -> CryptoResult<SecretBytes>;
}

/// The key schedule alone and within GCM, which does not lend its own. Both wipe themselves.
struct AesCipher<C> {
    cipher: C,
    gcm: AesGcm<C, U12>,
}

impl<C> AesCipher<C>
where
    C: BlockCipherEncrypt<BlockSize = U16> + KeyInit,
{
    fn load(key: &SecretBytes) -> CryptoResult<Box<Self>> {
        let schedule = || {
            C::new_from_slice(key.expose())
                .map_err(|_| CryptoError::Internal("AES refused the key's length".to_owned()))
        };
        Ok(Box::new(Self {
            cipher: schedule()?,
            gcm: AesGcm::from(schedule()?),
        }))
    }
}

impl<C> Aes for AesCipher<C>
where
    C: BlockCipherEncrypt<BlockSize = U16> + BlockCipherDecrypt<BlockSize = U16> + Send + Sync,
{
    fn gcm_encrypt(&self, iv: &[u8], aad: &[u8], plaintext: &[u8]) -> CryptoResult<Encrypted> {
        let iv = sized(iv)?;
        let mut ciphertext = zeros(plaintext.len());
        let buffer = InOutBuf::new(plaintext, &mut ciphertext).map_err(|_| wrong_length())?;
        let tag = self
            .gcm
            .encrypt_inout_detached(iv, aad, buffer)
            .map_err(|_| wrong_length())?;
        Ok(Encrypted::new(ciphertext, Some(tag.into())))
    }

    fn gcm_decrypt(
        &self,
        iv: &[u8],
        aad: &[u8],
        ciphertext: &[u8],
        tag: &[u8],
    ) -> CryptoResult<SecretBytes> {
        let (iv, tag) = (sized(iv)?, sized(tag)?);
        SecretBytes::filled_with(ciphertext.len(), |plaintext| {
            let buffer = InOutBuf::new(ciphertext, plaintext).map_err(|_| wrong_length())?;
            self.gcm
                .decrypt_inout_detached(iv, aad, buffer, tag)
                .map_err(|_| CryptoError::DecryptFailed)
        })
    }

    fn cbc_encrypt(&self, iv: &[u8], blocks: &mut [u8]) -> CryptoResult<()> {
        let iv: &Block = sized(iv)?;
        let (blocks, rest) = Block::slice_as_chunks_mut(blocks);
        if !rest.is_empty() {
            return Err(wrong_length());
        }
        cbc::Encryptor::<&C>::inner_iv_init(&self.cipher, iv).encrypt_blocks(blocks);
        Ok(())
    }

    fn cbc_decrypt(&self, iv: &[u8], ciphertext: &[u8]) -> CryptoResult<SecretBytes> {
        let iv: &Block = sized(iv)?;
        SecretBytes::filled_with(ciphertext.len(), |plaintext| {
            let (blocks, rest) = Block::slice_as_chunks(ciphertext);
            let (out, _) = Block::slice_as_chunks_mut(plaintext);
            if !rest.is_empty() {
                return Err(wrong_length());
            }
            cbc::Decryptor::<&C>::inner_iv_init(&self.cipher, iv)
                .decrypt_blocks_b2b(blocks, out)
                .map_err(|_| wrong_length())
        })
    }

    fn kw_wrap(&self, key: &[u8]) -> CryptoResult<Vec<u8>> {
        let mut wrapped = zeros(key.len() + SEMIBLOCK);
        AesKw::<&C>::inner_init(&self.cipher)
            .wrap_key(key, &mut wrapped)
            .map_err(|_| wrong_length())?;
        Ok(wrapped)
    }

    fn kw_unwrap(&self, wrapped: &[u8]) -> CryptoResult<SecretBytes> {
        SecretBytes::filled_with(wrapped.len() - SEMIBLOCK, |key| {
            AesKw::<&C>::inner_init(&self.cipher)
                .unwrap_key(wrapped, key)
                .map(drop)
                .map_err(|_| CryptoError::DecryptFailed)
        })
    }

    fn kwp_wrap(&self, key: &[u8]) -> CryptoResult<Vec<u8>> {
        // The crate leaves the padding as it finds it: zero.
        let mut wrapped = zeros(key.len().next_multiple_of(SEMIBLOCK) + SEMIBLOCK);
        AesKwp::<&C>::inner_init(&self.cipher)
            .wrap_key(key, &mut wrapped)
            .map_err(|_| wrong_length())?;
        Ok(wrapped)
    }

    fn kwp_unwrap(&self, wrapped: &[u8]) -> CryptoResult<SecretBytes> {
        let mut length = 0;
        let padded = SecretBytes::filled_with(wrapped.len() - SEMIBLOCK, |key| {
            AesKwp::<&C>::inner_init(&self.cipher)
                .unwrap_key(wrapped, key)
                .map(|key| length = key.len())
                .map_err(|_| CryptoError::DecryptFailed)
        })?;
        Ok(SecretBytes::copied_from(&padded.expose()[..length]))
    }
}

/// The bytes as an array; their length was checked with a message before.
fn sized<'a, A>(bytes: &'a [u8]) -> CryptoResult<&'a A>
where
    &'a A: TryFrom<&'a [u8]>,
{
    <&A>::try_from(bytes).map_err(|_| wrong_length())
}

fn wrong_length() -> CryptoError {
    CryptoError::Internal("a length passed its check but not the cipher's".to_owned())
}
