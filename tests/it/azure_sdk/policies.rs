//! Rotation policies, release, attestation, and keys that come wrapped.

use std::sync::Arc;

use azure_core::http::StatusCode;
use azure_security_keyvault_keys::KeyClient;
use azure_security_keyvault_keys::models::{
    CreateKeyParameters, CurveName, ImportKeyParameters, JsonWebKey, Key, KeyAttributes,
    KeyClientGetKeyAttestationOptions, KeyClientReleaseOptions, KeyEncryptionAlgorithm,
    KeyReleasePolicy, KeyRotationPolicy, KeyRotationPolicyAction, KeyRotationPolicyAttributes,
    KeyType, LifetimeAction, LifetimeActionTrigger, LifetimeActionType, ReleaseParameters,
    UpdateKeyPropertiesParameters,
};
use futures::executor::block_on;
use serde::Serialize;
use serde_json::Value;
use strongroom::rest::AnyToken;
use strongroom::{
    ImportKeyOptions, ImportedKey, KeyOperation, RsaKeySize, SignatureAlgorithm, Vault,
};

use super::{client_as, create, create_ec, jwk, new, refused, version};
use crate::attested::{Service, claims, policy, unwrapped, vault_trusting, verified};
use crate::key_transfer::blob_json;
use crate::support::{fixed_rsa, memory_vault, name};

fn action(kind: KeyRotationPolicyAction, trigger: LifetimeActionTrigger) -> LifetimeAction {
    LifetimeAction {
        action: Some(LifetimeActionType {
            type_prop: Some(kind),
        }),
        trigger: Some(trigger),
    }
}

fn after_create(time: &str) -> LifetimeActionTrigger {
    LifetimeActionTrigger {
        time_after_create: Some(time.to_owned()),
        ..LifetimeActionTrigger::default()
    }
}

fn before_expiry(time: &str) -> LifetimeActionTrigger {
    LifetimeActionTrigger {
        time_before_expiry: Some(time.to_owned()),
        ..LifetimeActionTrigger::default()
    }
}

fn rotation(life: &str, actions: Vec<LifetimeAction>) -> KeyRotationPolicy {
    KeyRotationPolicy {
        attributes: Some(KeyRotationPolicyAttributes {
            expiry_time: Some(life.to_owned()),
            ..KeyRotationPolicyAttributes::default()
        }),
        lifetime_actions: Some(actions),
        ..KeyRotationPolicy::default()
    }
}

/// As the SDK writes it.
fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

#[test]
fn a_rotation_policy_is_set_read_and_obeyed() {
    block_on(async {
        let (vault, client) = new();
        create_ec(&client, "signer").await;
        let read = async || {
            let read = client
                .get_key_rotation_policy("signer", None)
                .await
                .unwrap();
            read.into_model().unwrap()
        };
        // As long as nobody sets one: a notice, and no dates.
        let first = read().await;
        let notify = action(KeyRotationPolicyAction::Notify, before_expiry("P30D"));
        assert_eq!(json(&first.lifetime_actions), json(&[&notify]));
        assert_eq!(
            first.id.as_deref(),
            Some("https://vault.invalid/keys/signer/rotationpolicy")
        );

        let rotate = action(KeyRotationPolicyAction::Rotate, after_create("P90D"));
        let wanted = rotation("P1Y", vec![rotate.clone()]);
        let set = client
            .update_key_rotation_policy("signer", wanted.try_into().unwrap(), None)
            .await
            .unwrap()
            .into_model()
            .unwrap();
        assert_eq!(json(&set.lifetime_actions), json(&[&rotate, &notify]));
        let attributes = set.attributes.as_ref().unwrap();
        assert_eq!(attributes.expiry_time.as_deref(), Some("P1Y"));
        assert!(attributes.created.is_some() && attributes.updated.is_some());
        assert_eq!(json(&read().await), json(&set));
        assert_eq!(
            vault
                .get_key_rotation_policy(&name("signer"))
                .unwrap()
                .policy()
                .life(),
            Some("P1Y".parse().unwrap())
        );

        let rotated = client.rotate_key("signer", None).await.unwrap();
        let attributes = rotated.into_model().unwrap().attributes.unwrap();
        let life = attributes.expires.unwrap() - attributes.created.unwrap();
        assert!((365..=366).contains(&life.whole_days()), "{life}");

        // What comes back from the service can be sent to it.
        let again = client
            .update_key_rotation_policy("signer", set.clone().try_into().unwrap(), None)
            .await
            .unwrap()
            .into_model()
            .unwrap();
        assert_eq!(json(&again.lifetime_actions), json(&set.lifetime_actions));

        let bad = (StatusCode::BadRequest, "BadParameter".to_owned());
        for policy in [
            rotation("P27D", vec![]),
            rotation(
                "P90D",
                vec![action(
                    KeyRotationPolicyAction::Rotate,
                    after_create("P84D"),
                )],
            ),
            rotation(
                "P90D",
                vec![action(
                    KeyRotationPolicyAction::Notify,
                    before_expiry("P1D"),
                )],
            ),
        ] {
            let set = client.update_key_rotation_policy("signer", policy.try_into().unwrap(), None);
            assert_eq!(refused(set.await), bad);
        }
        assert_eq!(
            refused(client.get_key_rotation_policy("nothing", None).await),
            (StatusCode::NotFound, "KeyNotFound".to_owned())
        );
    });
}

fn release_policy(immutable: Option<bool>) -> KeyReleasePolicy {
    KeyReleasePolicy {
        encoded_policy: Some(policy().json().to_vec()),
        immutable,
        ..KeyReleasePolicy::default()
    }
}

/// A client of a vault that trusts an attestation service, and what that is told of an environment.
fn trusting() -> (Vault, KeyClient, String) {
    let service = Arc::new(Service::new());
    let (vault, _clock) = vault_trusting(&service);
    let client = client_as(&vault, "a token", AnyToken::new());
    let token = service.token(SignatureAlgorithm::Rs256, &claims());
    (vault, client, token)
}

async fn create_exportable(client: &KeyClient, name: &str) -> Key {
    let parameters = CreateKeyParameters {
        kty: Some(KeyType::Ec),
        curve: Some(CurveName::P256),
        key_attributes: Some(KeyAttributes {
            exportable: Some(true),
            ..KeyAttributes::default()
        }),
        release_policy: Some(release_policy(None)),
        ..CreateKeyParameters::default()
    };
    create(client, name, parameters).await
}

#[test]
fn a_key_is_released_to_an_attested_environment() {
    block_on(async {
        let (vault, client, token) = trusting();
        let created = create_exportable(&client, "secret").await;
        assert_eq!(created.attributes.as_ref().unwrap().exportable, Some(true));
        let shown = created.release_policy.as_ref().unwrap();
        assert_eq!(shown.encoded_policy.as_deref(), Some(policy().json()));
        assert_eq!(shown.immutable, Some(false));
        assert_eq!(
            shown.content_type.as_deref(),
            Some("application/json; charset=utf-8")
        );

        let newest: Option<String> = None;
        for (algorithm, ours, key_version) in [
            (
                None,
                strongroom::KeyEncryptionAlgorithm::CkmRsaAesKeyWrap,
                newest,
            ),
            (
                Some(KeyEncryptionAlgorithm::RsaAesKeyWrap256),
                strongroom::KeyEncryptionAlgorithm::RsaAesKeyWrap256,
                Some(version(&created)),
            ),
            (
                Some(KeyEncryptionAlgorithm::RsaAesKeyWrap384),
                strongroom::KeyEncryptionAlgorithm::RsaAesKeyWrap384,
                None,
            ),
        ] {
            let parameters = ReleaseParameters {
                target_attestation_token: Some(token.clone()),
                nonce: Some("n-1".to_owned()),
                algorithm,
            };
            let options = KeyClientReleaseOptions {
                key_version,
                ..KeyClientReleaseOptions::default()
            };
            let released = client
                .release("secret", parameters.try_into().unwrap(), Some(options))
                .await
                .unwrap()
                .into_model()
                .unwrap();
            let payload = verified(&vault, &released.value.unwrap());
            assert_eq!(payload["request"]["nonce"], "n-1");
            // What the environment unwraps is the private half of the key.
            let der = unwrapped(&payload, ours);
            let (copies, _) = memory_vault();
            let copy = ImportKeyOptions::new(ImportedKey::from_pkcs8_der(&der).unwrap());
            copies.import_key(&name("copy"), copy).unwrap();
            let signed = copies
                .sign_data(&name("copy"), SignatureAlgorithm::Es256, b"text")
                .unwrap();
            vault
                .verify_data(
                    &name("secret"),
                    SignatureAlgorithm::Es256,
                    b"text",
                    signed.signature(),
                )
                .unwrap();
        }
    });
}

#[test]
fn what_does_not_meet_its_policy_is_not_released() {
    block_on(async {
        let (_vault, client, token) = trusting();
        create_exportable(&client, "secret").await;
        create_ec(&client, "kept").await;
        let release = async |key: &str, token: &str, nonce: Option<&str>| {
            let parameters = ReleaseParameters {
                target_attestation_token: Some(token.to_owned()),
                nonce: nonce.map(str::to_owned),
                ..ReleaseParameters::default()
            };
            client
                .release(key, parameters.try_into().unwrap(), None)
                .await
        };
        let bad = (StatusCode::BadRequest, "BadParameter".to_owned());
        let forbidden = (StatusCode::Forbidden, "Forbidden".to_owned());
        assert_eq!(refused(release("kept", &token, None).await), bad);
        assert_eq!(refused(release("secret", "e30.e30.", None).await), bad);
        assert_eq!(
            refused(release("secret", &token, Some("n-2")).await),
            forbidden
        );
        let stranger = Service::new().token(SignatureAlgorithm::Es256, &claims());
        assert_eq!(refused(release("secret", &stranger, None).await), forbidden);

        // A policy that nobody meets takes the place of the first, and then none does any more.
        let update = async |policy: KeyReleasePolicy| {
            let parameters = UpdateKeyPropertiesParameters {
                release_policy: Some(policy),
                ..UpdateKeyPropertiesParameters::default()
            };
            client
                .update_key_properties("secret", parameters.try_into().unwrap(), None)
                .await
        };
        let nobody = String::from_utf8(policy().json().to_vec())
            .unwrap()
            .replace("azure-compliant-cvm", "nobody");
        let nobody = KeyReleasePolicy {
            encoded_policy: Some(nobody.into_bytes()),
            immutable: Some(true),
            ..KeyReleasePolicy::default()
        };
        let updated = update(nobody).await.unwrap().into_model().unwrap();
        assert_eq!(updated.release_policy.unwrap().immutable, Some(true));
        assert_eq!(refused(release("secret", &token, None).await), forbidden);
        assert_eq!(refused(update(release_policy(None)).await), bad);
    });
}

#[test]
fn a_key_is_attested() {
    block_on(async {
        let (vault, client) = new();
        let created = create_ec(&client, "signer").await;
        let newest: Option<String> = None;
        for key_version in [newest, Some(version(&created))] {
            let options = KeyClientGetKeyAttestationOptions {
                key_version,
                ..KeyClientGetKeyAttestationOptions::default()
            };
            let attested = client
                .get_key_attestation("signer", Some(options))
                .await
                .unwrap()
                .into_model()
                .unwrap();
            assert_eq!(jwk(&attested).kid, jwk(&created).kid);
            let attestation = attested.attributes.unwrap().attestation.unwrap();
            assert_eq!(attestation.version.as_deref(), Some("1.0"));
            let identity = vault.identity_public_key().unwrap().to_spki_pem().unwrap();
            assert_eq!(
                attestation.certificate_pem_file.as_deref(),
                Some(identity.as_bytes())
            );
            let statement =
                |jws: Option<Vec<u8>>| verified(&vault, &String::from_utf8(jws.unwrap()).unwrap());
            let private = statement(attestation.private_key_attestation);
            assert_eq!(private["kid"].as_str(), jwk(&created).kid.as_deref());
            assert_eq!(private["origin"], "generated");
            let public = statement(attestation.public_key_attestation);
            assert_eq!(public["jwk"]["crv"], "P-256");
        }
    });
}

#[test]
fn a_key_comes_in_wrapped() {
    block_on(async {
        let (vault, client) = new();
        let kek = ImportKeyOptions::new(fixed_rsa(RsaKeySize::Bits2048))
            .operations([KeyOperation::Import]);
        let kek = vault.import_key(&name("kek"), kek).unwrap();
        let import = async |blob: Vec<u8>| {
            let parameters = ImportKeyParameters {
                key: Some(JsonWebKey {
                    kty: Some(KeyType::Oct),
                    t: Some(blob),
                    ..JsonWebKey::default()
                }),
                ..ImportKeyParameters::default()
            };
            client
                .import_key("arrived", parameters.try_into().unwrap(), None)
                .await
        };
        let blob = blob_json(&vault, kek.id(), &[9; 32]);
        let imported = import(blob).await.unwrap().into_model().unwrap();
        assert_eq!(jwk(&imported).kty, Some(KeyType::Oct));
        assert_eq!(jwk(&imported).k, None);
        assert_eq!(
            refused(import(b"{}".to_vec()).await),
            (StatusCode::BadRequest, "BadParameter".to_owned())
        );
    });
}
