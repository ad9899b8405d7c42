//! The cryptographic operations.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use azure_core::http::StatusCode;
use azure_security_keyvault_keys::KeyClient;
use azure_security_keyvault_keys::models::{
    CreateKeyParameters, EncryptionAlgorithm, GetRandomBytesParameters, Key, KeyAttributes,
    KeyClientEncryptOptions, KeyClientSignOptions, KeyClientWrapKeyOptions, KeyOperation,
    KeyOperationParameters, KeyType, SignParameters, SignatureAlgorithm,
    UpdateKeyPropertiesParameters, VerifyParameters,
};
use futures::executor::block_on;

use super::{create, create_ec, jwk, new, refused, version};

async fn create_oct(client: &KeyClient, name: &str, operations: &[KeyOperation]) -> Key {
    let parameters = CreateKeyParameters {
        kty: Some(KeyType::Oct),
        key_size: Some(256),
        key_ops: Some(operations.to_vec()),
        ..CreateKeyParameters::default()
    };
    create(client, name, parameters).await
}

async fn create_rsa(client: &KeyClient, name: &str) -> Key {
    let parameters = CreateKeyParameters {
        kty: Some(KeyType::Rsa),
        ..CreateKeyParameters::default()
    };
    create(client, name, parameters).await
}

fn parameters(algorithm: EncryptionAlgorithm, value: &[u8]) -> KeyOperationParameters {
    KeyOperationParameters {
        algorithm: Some(algorithm),
        value: Some(value.to_vec()),
        ..KeyOperationParameters::default()
    }
}

#[test]
fn a_signature_is_made_and_verified() {
    block_on(async {
        let (_vault, client) = new();
        let key = create_ec(&client, "signer").await;
        let hash = digest(&SHA256, b"invoice 7");
        let sign = SignParameters {
            algorithm: Some(SignatureAlgorithm::Es256),
            value: Some(hash.as_ref().to_vec()),
        };
        let signed = client
            .sign("signer", sign.try_into().unwrap(), None)
            .await
            .unwrap()
            .into_model()
            .unwrap();
        assert_eq!(signed.kid, jwk(&key).kid);
        let signature = signed.result.unwrap();

        let mut point = vec![4];
        point.extend(jwk(&key).x.as_ref().unwrap());
        point.extend(jwk(&key).y.as_ref().unwrap());
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point)
            .verify(b"invoice 7", &signature)
            .unwrap();

        for (signature, valid) in [(signature, true), (vec![1; 64], false)] {
            let verify = VerifyParameters {
                algorithm: Some(SignatureAlgorithm::Es256),
                digest: Some(hash.as_ref().to_vec()),
                signature: Some(signature),
            };
            let verified = client
                .verify("signer", &version(&key), verify.try_into().unwrap(), None)
                .await
                .unwrap()
                .into_model()
                .unwrap();
            assert_eq!(verified.value, Some(valid));
        }
    });
}

#[test]
fn every_kind_of_key_signs() {
    block_on(async {
        let (_vault, client) = new();
        let rsa = create_rsa(&client, "rsa").await;
        let mac = create_oct(&client, "mac", &[KeyOperation::Sign, KeyOperation::Verify]).await;
        let value = vec![7; 32];
        for (name, key, algorithm, length) in [
            ("rsa", &rsa, SignatureAlgorithm::Rs256, 256),
            ("rsa", &rsa, SignatureAlgorithm::Ps256, 256),
            ("mac", &mac, SignatureAlgorithm::Hs256, 32),
        ] {
            let sign = SignParameters {
                algorithm: Some(algorithm.clone()),
                value: Some(value.clone()),
            };
            let options = KeyClientSignOptions {
                key_version: Some(version(key)),
                ..KeyClientSignOptions::default()
            };
            let signed = client
                .sign(name, sign.try_into().unwrap(), Some(options))
                .await
                .unwrap()
                .into_model()
                .unwrap();
            let signature = signed.result.unwrap();
            assert_eq!(signature.len(), length);
            let verify = VerifyParameters {
                algorithm: Some(algorithm),
                digest: Some(value.clone()),
                signature: Some(signature),
            };
            let verified = client
                .verify(name, &version(key), verify.try_into().unwrap(), None)
                .await
                .unwrap()
                .into_model()
                .unwrap();
            assert_eq!(verified.value, Some(true));
        }
    });
}

#[test]
fn data_are_encrypted_and_decrypted() {
    block_on(async {
        let (_vault, client) = new();
        let rsa = create_rsa(&client, "rsa").await;
        let oct = create_oct(
            &client,
            "oct",
            &[KeyOperation::Encrypt, KeyOperation::Decrypt],
        )
        .await;
        for (name, key, algorithm, aad) in [
            ("rsa", &rsa, EncryptionAlgorithm::RsaOaep256, None),
            ("rsa", &rsa, EncryptionAlgorithm::RsaOaep, None),
            (
                "oct",
                &oct,
                EncryptionAlgorithm::A256Gcm,
                Some(b"row 7".to_vec()),
            ),
            ("oct", &oct, EncryptionAlgorithm::A256Cbcpad, None),
        ] {
            let mut encrypt = parameters(algorithm.clone(), b"plaintext");
            encrypt.additional_authenticated_data.clone_from(&aad);
            for key_version in [None, Some(version(key))] {
                let options = KeyClientEncryptOptions {
                    key_version,
                    ..KeyClientEncryptOptions::default()
                };
                let sealed = client
                    .encrypt(name, encrypt.clone().try_into().unwrap(), Some(options))
                    .await
                    .unwrap()
                    .into_model()
                    .unwrap();
                assert_eq!(sealed.kid, jwk(key).kid);
                assert_eq!(sealed.additional_authenticated_data, aad);
                let decrypt = KeyOperationParameters {
                    algorithm: Some(algorithm.clone()),
                    value: sealed.result,
                    iv: sealed.iv,
                    authentication_tag: sealed.authentication_tag,
                    additional_authenticated_data: sealed.additional_authenticated_data,
                };
                let opened = client
                    .decrypt(
                        name,
                        &version(key),
                        decrypt.clone().try_into().unwrap(),
                        None,
                    )
                    .await
                    .unwrap()
                    .into_model()
                    .unwrap();
                assert_eq!(opened.result.as_deref(), Some(&b"plaintext"[..]));
                assert_eq!(opened.kid, jwk(key).kid);
                if aad.is_some() {
                    let mut altered = decrypt;
                    altered.additional_authenticated_data = Some(b"row 8".to_vec());
                    let opened = client
                        .decrypt(name, &version(key), altered.try_into().unwrap(), None)
                        .await;
                    assert_eq!(
                        refused(opened),
                        (StatusCode::BadRequest, "BadParameter".to_owned())
                    );
                }
            }
        }
    });
}

#[test]
fn keys_are_wrapped_and_unwrapped_by_the_version_that_wrapped() {
    block_on(async {
        let (_vault, client) = new();
        let rsa = create_rsa(&client, "rsa").await;
        let oct = create_oct(
            &client,
            "oct",
            &[KeyOperation::WrapKey, KeyOperation::UnwrapKey],
        )
        .await;
        for (name, key, algorithm) in [
            ("rsa", &rsa, EncryptionAlgorithm::RsaOaep256),
            ("oct", &oct, EncryptionAlgorithm::A256Kw),
            ("oct", &oct, EncryptionAlgorithm::CkmAesKeyWrap),
            ("oct", &oct, EncryptionAlgorithm::CkmAesKeyWrapPad),
        ] {
            let options = KeyClientWrapKeyOptions {
                key_version: Some(version(key)),
                ..KeyClientWrapKeyOptions::default()
            };
            let wrap = parameters(algorithm.clone(), &[9; 32]);
            let wrapped = client
                .wrap_key(name, wrap.try_into().unwrap(), Some(options))
                .await
                .unwrap()
                .into_model()
                .unwrap();
            // A newer version does not open it.
            let newest = client
                .rotate_key(name, None)
                .await
                .unwrap()
                .into_model()
                .unwrap();
            let unwrap = parameters(algorithm, wrapped.result.as_ref().unwrap());
            let unwrapped = client
                .unwrap_key(
                    name,
                    &version(key),
                    unwrap.clone().try_into().unwrap(),
                    None,
                )
                .await
                .unwrap()
                .into_model()
                .unwrap();
            assert_eq!(unwrapped.result, Some(vec![9; 32]));
            let other = client
                .unwrap_key(name, &version(&newest), unwrap.try_into().unwrap(), None)
                .await;
            assert_eq!(
                refused(other),
                (StatusCode::BadRequest, "BadParameter".to_owned())
            );
        }
    });
}

#[test]
fn random_bytes_are_given() {
    block_on(async {
        let (_vault, client) = new();
        let ask = |count| {
            let parameters = GetRandomBytesParameters { count: Some(count) };
            client.get_random_bytes(parameters.try_into().unwrap(), None)
        };
        let mut seen = std::collections::HashSet::new();
        for _ in 0..20 {
            let bytes = ask(32).await.unwrap().into_model().unwrap().value.unwrap();
            assert_eq!(bytes.len(), 32);
            assert!(seen.insert(bytes));
        }
        for count in [0, -1, 129] {
            assert_eq!(
                refused(ask(count).await),
                (StatusCode::BadRequest, "BadParameter".to_owned())
            );
        }
    });
}

#[test]
fn a_disabled_key_does_nothing_and_says_why() {
    block_on(async {
        let (_vault, client) = new();
        create_ec(&client, "signer").await;
        let disable = UpdateKeyPropertiesParameters {
            key_attributes: Some(KeyAttributes {
                enabled: Some(false),
                ..KeyAttributes::default()
            }),
            ..UpdateKeyPropertiesParameters::default()
        };
        client
            .update_key_properties("signer", disable.try_into().unwrap(), None)
            .await
            .unwrap();
        let sign = SignParameters {
            algorithm: Some(SignatureAlgorithm::Es256),
            value: Some(vec![0; 32]),
        };
        let error = client
            .sign("signer", sign.try_into().unwrap(), None)
            .await
            .unwrap_err();
        assert!(format!("{error:?}").contains("disabled"), "{error:?}");
        assert_eq!(
            refused::<()>(Err(error)),
            (StatusCode::Forbidden, "Forbidden".to_owned())
        );
    });
}
