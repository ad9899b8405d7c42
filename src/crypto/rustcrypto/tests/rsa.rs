use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{
    KeyPairComponents, OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey,
    OaepPublicEncryptingKey, Pkcs1PrivateDecryptingKey, Pkcs1PublicEncryptingKey,
    PrivateDecryptingKey,
};
use aws_lc_rs::signature::{self, RsaKeyPair, RsaPublicKeyComponents};
use aws_lc_rs::{digest, hmac};

use super::*;
use crate::crypto::{CryptoError, hash};
use crate::model::algorithm::EncryptionAlgorithm::{Rsa1_5, RsaOaep, RsaOaep256};
use crate::model::algorithm::SignatureAlgorithm::{
    self, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512, RsNull,
};
use crate::model::algorithm::WrapAlgorithm;

fn other(material: &KeyMaterial) -> RsaKeyPair {
    let rsa = rsa_parts(material);
    RsaKeyPair::from_components(&KeyPairComponents {
        public_key: RsaPublicKeyComponents {
            n: rsa.n.as_slice(),
            e: rsa.e.as_slice(),
        },
        d: rsa.d.expose(),
        p: rsa.p.expose(),
        q: rsa.q.expose(),
        dP: rsa.dp.expose(),
        dQ: rsa.dq.expose(),
        qInv: rsa.qi.expose(),
    })
    .unwrap()
}

fn decrypting(material: &KeyMaterial) -> PrivateDecryptingKey {
    let der = other(material).as_der().unwrap();
    PrivateDecryptingKey::from_pkcs8(der.as_ref()).unwrap()
}

pub(super) fn check_signatures_both_ways(material: &KeyMaterial) {
    let (key, public_key, other) = (load(material), public(material), other(material));
    let rsa = rsa_parts(material);
    let components = RsaPublicKeyComponents {
        n: rsa.n.as_slice(),
        e: rsa.e.as_slice(),
    };
    let cases: [(
        SignatureAlgorithm,
        &signature::RsaParameters,
        &'static dyn signature::RsaEncoding,
    ); 6] = [
        (
            Rs256,
            &signature::RSA_PKCS1_2048_8192_SHA256,
            &signature::RSA_PKCS1_SHA256,
        ),
        (
            Rs384,
            &signature::RSA_PKCS1_2048_8192_SHA384,
            &signature::RSA_PKCS1_SHA384,
        ),
        (
            Rs512,
            &signature::RSA_PKCS1_2048_8192_SHA512,
            &signature::RSA_PKCS1_SHA512,
        ),
        (
            Ps256,
            &signature::RSA_PSS_2048_8192_SHA256,
            &signature::RSA_PSS_SHA256,
        ),
        (
            Ps384,
            &signature::RSA_PSS_2048_8192_SHA384,
            &signature::RSA_PSS_SHA384,
        ),
        (
            Ps512,
            &signature::RSA_PSS_2048_8192_SHA512,
            &signature::RSA_PSS_SHA512,
        ),
    ];
    let message = b"signed on one side, verified on the other";
    for (algorithm, parameters, encoding) in cases {
        let digest = hash::digest(algorithm.digest().unwrap(), message);
        let ours = key.sign(algorithm, &digest).unwrap();
        components.verify(parameters, message, &ours).unwrap();
        public_key.verify(algorithm, &digest, &ours).unwrap();

        let mut theirs = vec![0; other.public_modulus_len()];
        other
            .sign(encoding, &SystemRandom::new(), message, &mut theirs)
            .unwrap();
        public_key.verify_data(algorithm, message, &theirs).unwrap();

        theirs[9] ^= 1;
        for wrong in [theirs.as_slice(), &theirs[1..], &[], &[0xff; 256]] {
            let error = public_key.verify(algorithm, &digest, wrong).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidSignature);
        }
        let error = public_key
            .verify(algorithm, &digest[1..], &ours)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadParameter);
        assert!(matches!(
            key.sign(algorithm, &digest[1..]),
            Err(CryptoError::InvalidInput(_))
        ));
    }
}

#[test]
fn signatures_verify_here_and_there_in_both_directions() {
    check_signatures_both_ways(&RSA_2048);
}

#[test]
fn ciphertexts_open_here_and_there_in_both_directions() {
    let (key, public_key) = (load(&RSA_2048), public(&RSA_2048));
    let private = decrypting(&RSA_2048);
    let oaep = OaepPrivateDecryptingKey::new(private.clone()).unwrap();
    let oaep_public = OaepPublicEncryptingKey::new(private.public_key()).unwrap();
    let pkcs1 = Pkcs1PrivateDecryptingKey::new(private.clone()).unwrap();
    let pkcs1_public = Pkcs1PublicEncryptingKey::new(private.public_key()).unwrap();
    let mut out = vec![0; 256];
    for (algorithm, parameters, wrap, limit) in [
        (
            RsaOaep,
            Some(&OAEP_SHA1_MGF1SHA1),
            WrapAlgorithm::RsaOaep,
            214,
        ),
        (
            RsaOaep256,
            Some(&OAEP_SHA256_MGF1SHA256),
            WrapAlgorithm::RsaOaep256,
            190,
        ),
        (Rsa1_5, None, WrapAlgorithm::Rsa1_5, 245),
    ] {
        for length in [0, 1, 32, limit] {
            let plaintext = vec![0xa5; length];
            let ours = public_key.encrypt(algorithm, &plaintext).unwrap();
            let opened = match parameters {
                Some(parameters) => oaep.decrypt(parameters, &ours, &mut out, None).unwrap(),
                None => pkcs1.decrypt(&ours, &mut out).unwrap(),
            };
            assert_eq!(opened, plaintext);

            let theirs = match parameters {
                Some(parameters) => oaep_public
                    .encrypt(parameters, &plaintext, &mut out, None)
                    .unwrap(),
                None => pkcs1_public.encrypt(&plaintext, &mut out).unwrap(),
            };
            let opened = key.decrypt(algorithm, theirs, &[], &[], &[]).unwrap();
            assert_eq!(opened.expose(), plaintext);
            assert_eq!(key.unwrap_key(wrap, theirs).unwrap(), opened);
            let wrapped = public_key.wrap_key(wrap, &plaintext).unwrap();
            assert_eq!(key.unwrap_key(wrap, &wrapped).unwrap().expose(), plaintext);
        }
        let error = public_key
            .encrypt(algorithm, &vec![1; limit + 1])
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadParameter);
        assert!(
            error
                .to_string()
                .contains(&format!("at most {limit} bytes")),
            "{error}"
        );
        assert_eq!(
            public_key
                .wrap_key(wrap, &vec![1; limit + 1])
                .unwrap_err()
                .kind(),
            ErrorKind::BadParameter
        );
    }
}

#[test]
fn oaep_fails_with_one_error_for_every_cause() {
    let (key, public_key) = (load(&RSA_2048), public(&RSA_2048));
    for algorithm in [RsaOaep, RsaOaep256] {
        let good = public_key.encrypt(algorithm, b"text").unwrap();
        let mut changed = good.clone();
        changed[255] ^= 1;
        let crossed = if algorithm == RsaOaep {
            RsaOaep256
        } else {
            RsaOaep
        };
        let crossed = public_key.encrypt(crossed, b"text").unwrap();
        for ciphertext in [
            changed,
            crossed,
            good[1..].to_vec(),
            [&[0], good.as_slice()].concat(),
            vec![0xff; 256],
            vec![0; 256],
            vec![],
        ] {
            let result = key.decrypt(algorithm, &ciphertext, &[], &[], &[]);
            assert!(matches!(result, Err(CryptoError::DecryptFailed)));
        }
    }
    for (iv, aad, tag) in [
        (&[1_u8][..], &[][..], &[][..]),
        (&[], &[1], &[]),
        (&[], &[], &[1]),
    ] {
        let result = key.decrypt(RsaOaep256, &[0; 256], iv, aad, tag);
        assert!(matches!(result, Err(CryptoError::InvalidInput(_))));
    }
}

/// The fake plaintext of draft-irtf-cfrg-rsa-guidance-10, section 7, computed anew.
fn fake_plaintext(d: &[u8], ciphertext: &[u8]) -> Vec<u8> {
    let mac = |key: &[u8], data: &[u8]| {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data);
        tag.as_ref().to_vec()
    };
    let key = mac(digest::digest(&digest::SHA256, d).as_ref(), ciphertext);
    let stream = |label: &[u8], length: u16| {
        let blocks = (0..length.div_ceil(32)).flat_map(|i| {
            mac(
                &key,
                &[&i.to_be_bytes(), label, &(length * 8).to_be_bytes()].concat(),
            )
        });
        blocks.take(usize::from(length)).collect::<Vec<u8>>()
    };
    // For 2048 bits: lengths up to 245 fit in 8 bits.
    let length = stream(b"length", 256)
        .chunks(2)
        .map(|pair| usize::from(pair[1]))
        .rfind(|candidate| *candidate <= 245)
        .unwrap_or(0);
    stream(b"message", 256)[256 - length..].to_vec()
}

#[test]
fn rsa1_5_rejects_implicitly_and_deterministically() {
    let key = load(&RSA_2048);
    let again = load(&RSA_2048);
    let strict = Pkcs1PrivateDecryptingKey::new(decrypting(&RSA_2048)).unwrap();
    let mut lengths = std::collections::BTreeSet::new();
    for round in 0..24_u8 {
        let mut ciphertext = vec![round; 256];
        ciphertext[0] = 0;
        assert!(strict.decrypt(&ciphertext, &mut [0; 256]).is_err());
        let opened = key.decrypt(Rsa1_5, &ciphertext, &[], &[], &[]).unwrap();
        assert_eq!(
            opened,
            again
                .unwrap_key(WrapAlgorithm::Rsa1_5, &ciphertext)
                .unwrap()
        );
        assert_eq!(
            opened.expose(),
            fake_plaintext(rsa_parts(&RSA_2048).d.expose(), &ciphertext)
        );
        lengths.insert(opened.len());
    }
    assert!(lengths.len() > 8, "{lengths:?}");
    // Not a padding matter, and known to everyone: length and range.
    for ciphertext in [vec![], vec![1; 255], vec![1; 257], vec![0xff; 256]] {
        let result = key.decrypt(Rsa1_5, &ciphertext, &[], &[], &[]);
        assert!(matches!(result, Err(CryptoError::DecryptFailed)));
    }
}

#[test]
fn rsnull_pads_the_value_itself() {
    let (key, public_key) = (load(&RSA_2048), public(&RSA_2048));
    // With a DigestInfo as the value it is RS256.
    let digest = hash::digest(Rs256.digest().unwrap(), b"message");
    let info = [
        &hex("3031300d060960864801650304020105000420"),
        digest.as_slice(),
    ]
    .concat();
    let signature = key.sign(RsNull, &info).unwrap();
    assert_eq!(signature, key.sign(Rs256, &digest).unwrap());
    public_key.verify(RsNull, &info, &signature).unwrap();
    public_key.verify_data(RsNull, &info, &signature).unwrap();
    for length in [0, 1, 245] {
        let value = vec![0x33; length];
        let signature = key.sign(RsNull, &value).unwrap();
        public_key.verify(RsNull, &value, &signature).unwrap();
        let error = public_key
            .verify(RsNull, b"another", &signature)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidSignature);
    }
    assert!(matches!(
        key.sign(RsNull, &[1; 246]),
        Err(CryptoError::InvalidInput(_))
    ));
    let error = public_key
        .verify(RsNull, &[1; 246], &signature)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadParameter);
}

#[test]
fn pss_verifies_a_salt_of_the_digests_length_only() {
    use ::rsa::traits::SignatureScheme;
    use ::rsa::{BoxedUint, Pss, RsaPrivateKey};
    use sha2::Sha256;

    let rsa = rsa_parts(&RSA_2048);
    let number = |bytes: &[u8]| BoxedUint::from_be_slice_vartime(bytes);
    let key = RsaPrivateKey::from_components(
        number(&rsa.n),
        number(&rsa.e),
        number(rsa.d.expose()),
        vec![number(rsa.p.expose()), number(rsa.q.expose())],
    )
    .unwrap();
    let public_key = public(&RSA_2048);
    let mut random = p256::elliptic_curve::rand_core::UnwrapErr(rand_source());
    for (salt, valid) in [
        (0, false),
        (20, false),
        (31, false),
        (32, true),
        (33, false),
        (222, false),
    ] {
        let signature = Pss::<Sha256>::new_with_salt(salt)
            .sign(Some(&mut random), &key, &[7; 32])
            .unwrap();
        assert_eq!(
            public_key.verify(Ps256, &[7; 32], &signature).is_ok(),
            valid,
            "{salt}"
        );
    }
}

/// The kernel's generator as the crates take it.
fn rand_source() -> impl rand_core::TryCryptoRng<Error = impl std::error::Error> {
    struct Source;
    impl rand_core::TryRng for Source {
        type Error = crate::error::Error;
        fn try_next_u32(&mut self) -> Result<u32, crate::error::Error> {
            let mut bytes = [0; 4];
            OsEntropy
                .fill(&mut bytes)
                .map(|()| u32::from_le_bytes(bytes))
        }
        fn try_next_u64(&mut self) -> Result<u64, crate::error::Error> {
            let mut bytes = [0; 8];
            OsEntropy
                .fill(&mut bytes)
                .map(|()| u64::from_le_bytes(bytes))
        }
        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), crate::error::Error> {
            OsEntropy.fill(bytes)
        }
    }
    impl rand_core::TryCryptoRng for Source {}
    Source
}
