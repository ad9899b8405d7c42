use super::*;
use crate::crypto::CryptoError;
use crate::model::algorithm::{EncryptionAlgorithm, SignatureAlgorithm, WrapAlgorithm};
use crate::model::spec::{Curve, OctKeySize};

fn is_random<T>(result: Result<T, CryptoError>) -> bool {
    match result {
        Err(CryptoError::Random(error)) => error.kind() == ErrorKind::RandomUnavailable,
        _ => false,
    }
}

#[test]
fn no_key_is_generated_without_random_bytes() {
    let specs = Curve::ALL
        .map(KeySpec::Ec)
        .into_iter()
        .chain(OctKeySize::ALL.map(|size| KeySpec::Oct(size.into())))
        .chain([KeySpec::Rsa(RsaKeySize::Bits2048)]);
    for spec in specs {
        assert!(
            is_random(engine().generate(spec, None, &FailsAfter::new(0))),
            "{spec}"
        );
    }
}

#[test]
fn no_rsa_key_is_generated_when_the_random_bytes_end_half_way() {
    // There are five draws at least: two primes, the blinding of a signature, the seed of a ciphertext
    // and the blinding of its decryption.
    for calls in 1..5 {
        let result = engine().generate(
            KeySpec::Rsa(RsaKeySize::Bits2048),
            None,
            &FailsAfter::new(calls),
        );
        assert!(is_random(result), "{calls}");
    }
}

#[test]
fn a_generator_of_unusable_numbers_is_an_error_and_not_a_loop() {
    for curve in Curve::ALL {
        let result = engine().generate(KeySpec::Ec(curve), None, &Constant(0));
        assert!(matches!(result, Err(CryptoError::Internal(_))));
    }
}

#[test]
fn nothing_is_signed_or_opened_without_random_bytes() {
    let rsa = load_with(&RSA_2048, FailsAfter::new(0));
    for algorithm in [
        SignatureAlgorithm::Rs256,
        SignatureAlgorithm::Ps256,
        SignatureAlgorithm::RsNull,
    ] {
        assert!(is_random(rsa.sign(algorithm, &[1; 32])), "{algorithm}");
    }
    let ciphertext = [1; 256];
    for algorithm in [
        EncryptionAlgorithm::RsaOaep,
        EncryptionAlgorithm::RsaOaep256,
        EncryptionAlgorithm::Rsa1_5,
    ] {
        assert!(is_random(rsa.decrypt(
            algorithm,
            &ciphertext,
            &[],
            &[],
            &[]
        )));
    }
    assert!(is_random(
        rsa.unwrap_key(WrapAlgorithm::Rsa1_5, &ciphertext)
    ));

    for (curve, algorithm, length) in [
        (Curve::P256, SignatureAlgorithm::Es256, 32),
        (Curve::P384, SignatureAlgorithm::Es384, 48),
        (Curve::P521, SignatureAlgorithm::Es512, 64),
        (Curve::P256K, SignatureAlgorithm::Es256K, 32),
    ] {
        let key = load_with(&generate(KeySpec::Ec(curve)), FailsAfter::new(0));
        assert!(is_random(key.sign(algorithm, &vec![1; length])));
        assert!(key.sign_deterministic(algorithm, &vec![1; length]).is_ok());
    }
}

#[test]
fn nothing_is_encrypted_or_wrapped_without_random_bytes() {
    let key = public(&RSA_2048);
    for algorithm in [
        EncryptionAlgorithm::RsaOaep,
        EncryptionAlgorithm::RsaOaep256,
        EncryptionAlgorithm::Rsa1_5,
    ] {
        let error = key
            .encrypt_with(algorithm, b"data", &FailsAfter::new(0))
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RandomUnavailable);
    }
    let error = key
        .wrap_key_with(WrapAlgorithm::Rsa1_5, b"data", &FailsAfter::new(0))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RandomUnavailable);
}
