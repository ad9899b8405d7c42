//! Generation of RSA keys.

use crypto_bigint::NonZero;
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use rsa::{BoxedUint, RsaPrivateKey};
use zeroize::Zeroizing;

use super::public::{RsaPadding, RsaPublicKey, modulus_length};
use super::{decrypt_with, parse, sign_with};
use crate::crypto::limits::{MAX_RSA_EXPONENT, MIN_RSA_EXPONENT, is_rsa_exponent};
use crate::crypto::rustcrypto::random::with_infallible_random;
use crate::crypto::{CryptoError, CryptoResult};
use crate::env::Entropy;
use crate::model::algorithm::SignatureAlgorithm;
use crate::model::material::RsaMaterial;
use crate::model::spec::RsaKeySize;
use crate::secret::SecretBytes;

/// A key whose material passes what is asked of imported keys, tested by a signature and a decryption.
pub(in crate::crypto::rustcrypto) fn generate(
    size: RsaKeySize,
    public_exponent: Option<u64>,
    entropy: &dyn Entropy,
) -> CryptoResult<RsaMaterial> {
    let e = public_exponent.unwrap_or(MIN_RSA_EXPONENT);
    if !is_rsa_exponent(e) {
        return Err(CryptoError::InvalidInput(format!(
            "a public exponent is odd and between {MIN_RSA_EXPONENT} and {MAX_RSA_EXPONENT}, but {e} was given"
        )));
    }
    let key = with_infallible_random(
        entropy,
        |random| RsaPrivateKey::new_with_exp(random, size.bits() as usize, BoxedUint::from(e)),
        |error| CryptoError::Internal(format!("no RSA key could be generated: {error}")),
    )?;
    let material = material_of(size, &key)?;
    drop(key);
    pairwise_test(size, &material, entropy)?;
    Ok(material)
}

/// The eight numbers, `p` the larger prime.
pub(in crate::crypto::rustcrypto) fn material_of(
    size: RsaKeySize,
    key: &RsaPrivateKey,
) -> CryptoResult<RsaMaterial> {
    let broken = || CryptoError::Internal("the generated RSA key is not sound".to_owned());
    let [first, second] = key.primes() else {
        return Err(broken());
    };
    let (p, q) = if first > second {
        (first, second)
    } else {
        (second, first)
    };
    let half_bits = size.bits() / 2;
    // Both fail with a chance of about 2^-100 only, or when the random generator is broken.
    let difference = Zeroizing::new(p.wrapping_sub(q.as_ref()));
    if difference.bits() <= half_bits - 100 || key.d().bits() <= half_bits {
        return Err(broken());
    }
    let exponent_of = |prime: &BoxedUint| {
        let order = NonZero::new(prime.wrapping_sub(BoxedUint::one()))
            .into_option()
            .map(Zeroizing::new)
            .ok_or_else(broken)?;
        Ok::<_, CryptoError>(Zeroizing::new(key.d().rem(&*order)))
    };
    let dp = exponent_of(p.as_ref())?;
    let dq = exponent_of(q.as_ref())?;
    let qi = Zeroizing::new(q.invert_odd_mod(p).into_option().ok_or_else(broken)?);

    let k = modulus_length(size);
    let half = k / 2;
    let n = fixed_length(key.n().as_ref(), k).ok_or_else(broken)?;
    if n.expose().first().is_none_or(|byte| byte & 0x80 == 0) {
        return Err(broken());
    }
    let secret = |number: &BoxedUint, length| fixed_length(number, length).ok_or_else(broken);
    Ok(RsaMaterial {
        size,
        n: n.expose().to_vec(),
        e: key.e_bytes().into_vec(),
        d: secret(key.d(), k)?,
        p: secret(p.as_ref(), half)?,
        q: secret(q.as_ref(), half)?,
        dp: secret(&dp, half)?,
        dq: secret(&dq, half)?,
        qi: secret(&qi, half)?,
    })
}

/// Big-endian in exactly `length` bytes, or `None` when the number is longer.
fn fixed_length(number: &BoxedUint, length: usize) -> Option<SecretBytes> {
    let bytes = Zeroizing::new(number.to_be_bytes().into_vec());
    let excess = bytes.len().saturating_sub(length);
    if bytes[..excess].iter().any(|byte| *byte != 0) {
        return None;
    }
    let tail = &bytes[excess..];
    SecretBytes::filled_with(length, |out| {
        out[length - tail.len()..].copy_from_slice(tail);
        Ok::<(), ()>(())
    })
    .ok()
}

/// Both uses of the pair, on a key parsed anew from the material: what is stored is what was tested.
fn pairwise_test(
    size: RsaKeySize,
    material: &RsaMaterial,
    entropy: &dyn Entropy,
) -> CryptoResult<()> {
    let failed = || CryptoError::Internal("the generated RSA key fails its own test".to_owned());
    let key = parse(material)?;
    let public = RsaPublicKey::from_parts(&material.n, &material.e)?;
    if public.size() != size {
        return Err(failed());
    }
    let digest = [0x5a; 32];
    let signature = sign_with(&key, size, SignatureAlgorithm::Rs256, &digest, entropy)?;
    public
        .verify(SignatureAlgorithm::Rs256, &digest, &signature)
        .map_err(|_| failed())?;
    let ciphertext = public.encrypt(RsaPadding::OaepSha256, &digest, entropy)?;
    let plaintext = decrypt_with(&key, RsaPadding::OaepSha256, &ciphertext, entropy)?;
    if plaintext.expose() != digest {
        return Err(failed());
    }
    Ok(())
}
