//! Every mechanism with its parameters, against an independent implementation.

use aws_lc_rs::{aead, signature};
use cryptoki_sys::*;

use super::softhsm::{on_softhsm_in, token};
use crate::backend::pkcs11::error::{ErrorClass, TokenResult};
use crate::backend::pkcs11::lease::Lease;
use crate::backend::pkcs11::mechanism::{Mechanism, PssHash};
use crate::backend::pkcs11::raw::ObjectHandle;
use crate::backend::pkcs11::template::Template;
use crate::backend::pkcs11::token::Retry;
use crate::secret::SecretBytes;

const AES_KEY: [u8; 32] = [3; 32];

fn on_softhsm(test: &str, work: impl FnMut(&Lease<'_>) -> TokenResult<()>) {
    on_softhsm_in("mechanisms", test, |_| {
        token().run(Retry::Never, work).unwrap();
    });
}

fn aes_key(lease: &Lease<'_>) -> TokenResult<ObjectHandle> {
    lease.create_object(
        &Template::new()
            .ulong(CKA_CLASS, CKO_SECRET_KEY)
            .ulong(CKA_KEY_TYPE, CKK_AES)
            .bool(CKA_TOKEN, false)
            .bool(CKA_PRIVATE, true)
            .bool(CKA_SENSITIVE, true)
            .bool(CKA_EXTRACTABLE, false)
            .bool(CKA_ENCRYPT, true)
            .bool(CKA_DECRYPT, true)
            .bool(CKA_WRAP, true)
            .bool(CKA_UNWRAP, true)
            .secret(CKA_VALUE, SecretBytes::copied_from(&AES_KEY)),
    )
}

fn gcm(iv: [u8; 12], aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let key = aead::UnboundKey::new(&aead::AES_256_GCM, &AES_KEY).unwrap();
    let mut output = plaintext.to_vec();
    aead::LessSafeKey::new(key)
        .seal_in_place_append_tag(
            aead::Nonce::assume_unique_for_key(iv),
            aead::Aad::from(aad),
            &mut output,
        )
        .unwrap();
    output
}

#[test]
fn gcm_is_gcm_and_every_tampering_is_one_answer() {
    on_softhsm("gcm_is_gcm_and_every_tampering_is_one_answer", |lease| {
        let key = aes_key(lease)?;
        let iv = [9; 12];
        for (aad, length) in [(&b""[..], 0), (b"", 5), (b"more", 0), (b"more", 1_000)] {
            let mechanism = Mechanism::AesGcm { iv: &iv, aad };
            let plaintext = vec![0x5a; length];
            let mut sealed = lease.encrypt(&mechanism, key, &plaintext, length + 16)?;
            assert_eq!(sealed, gcm(iv, aad, &plaintext), "{length} bytes");
            let opened = lease.decrypt(&mechanism, key, &sealed, length + 16)?;
            assert_eq!(opened.expose(), plaintext);
            for (mechanism, flip) in [
                (mechanism, true),
                (
                    Mechanism::AesGcm {
                        iv: &iv,
                        aad: b"other",
                    },
                    false,
                ),
                (Mechanism::AesGcm { iv: &[8; 12], aad }, false),
            ] {
                sealed[0] ^= u8::from(flip);
                let error = lease.decrypt(&mechanism, key, &sealed, length + 16);
                let error = error.unwrap_err();
                assert_eq!((error.class, error.code), (ErrorClass::DecryptFailed, None));
                sealed[0] ^= u8::from(flip);
            }
        }
        Ok(())
    });
}

#[test]
fn the_other_modes_of_aes_take_their_parameters() {
    on_softhsm("the_other_modes_of_aes_take_their_parameters", |lease| {
        let key = aes_key(lease)?;
        let (iv, zero) = ([1; 16], [0; 16]);
        let block = [0x5a; 16];
        let ecb = lease.encrypt(&Mechanism::AesEcb, key, &block, 16)?;
        // CBC of one block is ECB of block XOR IV.
        let masked: Vec<u8> = block.iter().zip(iv).map(|(byte, iv)| byte ^ iv).collect();
        let cbc = lease.encrypt(&Mechanism::AesCbc { iv: &iv }, key, &masked, 16)?;
        assert_eq!(cbc, ecb);
        assert_eq!(
            lease.encrypt(&Mechanism::AesCbc { iv: &zero }, key, &block, 16)?,
            ecb
        );
        let padded = lease.encrypt(&Mechanism::AesCbcPad { iv: &iv }, key, &block[..5], 16)?;
        let opened = lease.decrypt(&Mechanism::AesCbcPad { iv: &iv }, key, &padded, 16)?;
        assert_eq!(opened.expose(), &block[..5]);

        // RFC 3394, section 4.6, has another key, so the token is held against our own engine elsewhere; here
        // wrapping and unwrapping have to agree, and the length has to be the wrapped key's.
        let secret = |template: Template<'static>| {
            template
                .ulong(CKA_CLASS, CKO_SECRET_KEY)
                .ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET)
                .bool(CKA_TOKEN, false)
                .bool(CKA_SENSITIVE, false)
                .bool(CKA_EXTRACTABLE, true)
        };
        let inner = lease.create_object(&secret(
            Template::new().secret(CKA_VALUE, SecretBytes::copied_from(&[0x77; 32])),
        ))?;
        let wrapped = lease.wrap_key(&Mechanism::AesKeyWrap, key, inner, 100)?;
        assert_eq!(wrapped.len(), 40);
        let again = lease.unwrap_key(
            &Mechanism::AesKeyWrap,
            key,
            &wrapped,
            &secret(Template::new()),
        )?;
        assert_eq!(
            lease.get_attribute(again, CKA_VALUE)?.unwrap(),
            vec![0x77; 32]
        );
        assert_eq!(lease.get_attribute(key, CKA_VALUE)?, None);
        let mut bad = wrapped;
        bad[3] ^= 1;
        let error = lease
            .unwrap_key(&Mechanism::AesKeyWrap, key, &bad, &secret(Template::new()))
            .unwrap_err();
        assert_eq!((error.class, error.code), (ErrorClass::DecryptFailed, None));
        Ok(())
    });
}

#[test]
fn an_ec_key_of_the_token_signs() {
    on_softhsm("an_ec_key_of_the_token_signs", |lease| {
        // The object identifier of P-256 in DER.
        let curve = [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
        let (public, private) = lease.generate_key_pair(
            &Mechanism::EcKeyPairGen,
            &Template::new()
                .bytes(CKA_EC_PARAMS, &curve)
                .bool(CKA_TOKEN, false)
                .bool(CKA_VERIFY, true),
            &Template::new()
                .bool(CKA_TOKEN, false)
                .bool(CKA_PRIVATE, true)
                .bool(CKA_SENSITIVE, true)
                .bool(CKA_SIGN, true),
        )?;
        let point = lease.get_attribute(public, CKA_EC_POINT)?.unwrap();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"message");
        let made = lease.sign(&Mechanism::Ecdsa, private, digest.as_ref(), 64)?;
        // A DER OCTET STRING around the point.
        signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, &point[2..])
            .verify(b"message", &made)
            .unwrap();
        Ok(())
    });
}

#[test]
fn an_rsa_key_of_the_token_signs_and_decrypts() {
    on_softhsm("an_rsa_key_of_the_token_signs_and_decrypts", |lease| {
        let (public, private) = lease.generate_key_pair(
            &Mechanism::RsaPkcsKeyPairGen,
            &Template::new()
                .ulong(CKA_MODULUS_BITS, 2_048)
                .bytes(CKA_PUBLIC_EXPONENT, &[1, 0, 1])
                .bool(CKA_TOKEN, false)
                .bool(CKA_ENCRYPT, true),
            &Template::new()
                .bool(CKA_TOKEN, false)
                .bool(CKA_PRIVATE, true)
                .bool(CKA_SIGN, true)
                .bool(CKA_DECRYPT, true),
        )?;
        let modulus = lease.get_attribute(public, CKA_MODULUS)?.unwrap();
        let key = signature::RsaPublicKeyComponents {
            n: modulus.as_slice(),
            e: &[1, 0, 1][..],
        };
        for (hash, digest, scheme) in [
            (
                PssHash::Sha256,
                &aws_lc_rs::digest::SHA256,
                &signature::RSA_PSS_2048_8192_SHA256,
            ),
            (
                PssHash::Sha384,
                &aws_lc_rs::digest::SHA384,
                &signature::RSA_PSS_2048_8192_SHA384,
            ),
            (
                PssHash::Sha512,
                &aws_lc_rs::digest::SHA512,
                &signature::RSA_PSS_2048_8192_SHA512,
            ),
        ] {
            let digest = aws_lc_rs::digest::digest(digest, b"message");
            let made = lease.sign(&Mechanism::RsaPss { hash }, private, digest.as_ref(), 256)?;
            key.verify(scheme, b"message", &made).unwrap();
        }
        let sealed = lease.encrypt(&Mechanism::RsaOaepSha1, public, b"secret", 256)?;
        let opened = lease.decrypt(&Mechanism::RsaOaepSha1, private, &sealed, 256)?;
        assert_eq!(opened.expose(), b"secret");
        let raw = lease.decrypt(&Mechanism::RsaX509, private, &sealed, 256)?;
        assert_eq!(raw.len(), 256);
        // Known to refuse it, and when it is initialised.
        let error = lease.decrypt(&Mechanism::RsaOaepSha256, private, &sealed, 256);
        assert_eq!(error.unwrap_err().class, ErrorClass::Unsupported);
        assert!(
            lease
                .mechanism_list()?
                .contains(&Mechanism::RsaOaepSha1.number())
        );
        let (min, max) = lease.mechanism_key_sizes(&Mechanism::RsaPkcsKeyPairGen)?;
        assert!(min <= 2_048 && max >= 4_096);
        Ok(())
    });
}
