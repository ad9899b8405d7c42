//! Making, reading, changing, deleting and keeping keys.

use std::collections::HashMap;

use azure_core::http::StatusCode;
use azure_core::time::OffsetDateTime;
use azure_security_keyvault_keys::ResourceExt as _;
use azure_security_keyvault_keys::models::{
    CreateKeyParameters, DeletionRecoveryLevel, ImportKeyParameters, JsonWebKey, KeyAttributes,
    KeyClientGetKeyOptions, KeyClientListKeyPropertiesOptions,
    KeyClientListKeyPropertiesVersionsOptions, KeyClientUpdateKeyPropertiesOptions, KeyOperation,
    KeyType, RestoreKeyParameters, UpdateKeyPropertiesParameters,
};
use futures::TryStreamExt;
use futures::executor::block_on;
use strongroom::rest::{AuthenticationFailure, bearer_token};
use strongroom::{KeyName, Permission, Permissions, Principal, Vault};

use super::{client_as, create, create_ec, jwk, new, refused, version};
use crate::support::hex;

#[test]
fn a_key_is_created_and_read() {
    block_on(async {
        let (vault, client) = new();
        let parameters = CreateKeyParameters {
            kty: Some(KeyType::Rsa),
            key_size: Some(2048),
            key_ops: Some(vec![KeyOperation::Sign, KeyOperation::Verify]),
            key_attributes: Some(KeyAttributes {
                enabled: Some(false),
                expires: Some(OffsetDateTime::from_unix_timestamp(4_000_000_000).unwrap()),
                ..KeyAttributes::default()
            }),
            tags: Some(HashMap::from([("team".to_owned(), "billing".to_owned())])),
            ..CreateKeyParameters::default()
        };
        let created = create(&client, "payroll", parameters).await;
        assert_eq!(jwk(&created).kty, Some(KeyType::Rsa));
        assert_eq!(jwk(&created).e, Some(vec![1, 0, 1]));
        assert_eq!(jwk(&created).n.as_ref().unwrap().len(), 256);
        assert_eq!(
            jwk(&created).key_ops.as_deref().unwrap(),
            ["sign", "verify"]
        );
        assert_eq!(created.tags.as_ref().unwrap()["team"], "billing");

        let options = KeyClientGetKeyOptions {
            key_version: Some(version(&created)),
            ..KeyClientGetKeyOptions::default()
        };
        for options in [None, Some(options)] {
            let read = client
                .get_key("payroll", options)
                .await
                .unwrap()
                .into_model()
                .unwrap();
            assert_eq!(jwk(&read).kid, jwk(&created).kid);
            assert_eq!(jwk(&read).n, jwk(&created).n);
            let attributes = read.attributes.unwrap();
            assert_eq!(attributes.enabled, Some(false));
            assert_eq!(attributes.expires.unwrap().unix_timestamp(), 4_000_000_000);
            assert_eq!(
                attributes.recovery_level,
                Some(DeletionRecoveryLevel::RecoverablePurgeable)
            );
            assert_eq!(attributes.recoverable_days, Some(90));
            assert!(attributes.created.is_some() && attributes.updated.is_some());
        }
        // It is the vault's key.
        let bundle = vault
            .get_key(&"payroll".parse::<KeyName>().unwrap())
            .unwrap();
        assert_eq!(Some(&bundle.id().to_string()), jwk(&created).kid.as_ref());
        assert_eq!(bundle.key().n(), jwk(&created).n.as_deref());
    });
}

#[test]
fn a_key_is_imported() {
    block_on(async {
        let (_vault, client) = new();
        // The key of RFC 6979 A.2.5.
        let d = "C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721";
        let x = "60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6";
        let y = "7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299";
        let parameters = ImportKeyParameters {
            key: Some(JsonWebKey {
                kty: Some(KeyType::Ec),
                crv: Some(azure_security_keyvault_keys::models::CurveName::P256),
                d: Some(hex(d)),
                x: Some(hex(x)),
                y: Some(hex(y)),
                key_ops: Some(vec!["sign".to_owned()]),
                ..JsonWebKey::default()
            }),
            tags: Some(HashMap::from([("from".to_owned(), "elsewhere".to_owned())])),
            ..ImportKeyParameters::default()
        };
        let imported = client
            .import_key("imported", parameters.try_into().unwrap(), None)
            .await
            .unwrap()
            .into_model()
            .unwrap();
        assert_eq!(jwk(&imported).x, Some(hex(x)));
        assert_eq!(jwk(&imported).d, None);
        assert_eq!(jwk(&imported).key_ops.as_deref().unwrap(), ["sign"]);
    });
}

#[test]
fn versions_are_listed_page_by_page_and_updated_singly() {
    block_on(async {
        let (_vault, client) = new();
        let mut versions = vec![version(&create_ec(&client, "signer").await)];
        for _ in 0..4 {
            let rotated = client
                .rotate_key("signer", None)
                .await
                .unwrap()
                .into_model()
                .unwrap();
            versions.push(version(&rotated));
        }
        let options = KeyClientListKeyPropertiesVersionsOptions {
            maxresults: Some(2),
            ..KeyClientListKeyPropertiesVersionsOptions::default()
        };
        let listed: Vec<String> = client
            .list_key_properties_versions("signer", Some(options))
            .unwrap()
            .map_ok(|item| item.resource_id().unwrap().version.unwrap())
            .try_collect()
            .await
            .unwrap();
        versions.reverse();
        assert_eq!(listed, versions);

        let parameters = UpdateKeyPropertiesParameters {
            key_attributes: Some(KeyAttributes {
                enabled: Some(false),
                ..KeyAttributes::default()
            }),
            key_ops: Some(vec![KeyOperation::Verify]),
            tags: Some(HashMap::from([("state".to_owned(), "old".to_owned())])),
            ..UpdateKeyPropertiesParameters::default()
        };
        let options = KeyClientUpdateKeyPropertiesOptions {
            key_version: Some(versions[4].clone()),
            ..KeyClientUpdateKeyPropertiesOptions::default()
        };
        let updated = client
            .update_key_properties("signer", parameters.try_into().unwrap(), Some(options))
            .await
            .unwrap()
            .into_model()
            .unwrap();
        assert_eq!(version(&updated), versions[4]);
        assert_eq!(updated.attributes.as_ref().unwrap().enabled, Some(false));
        assert_eq!(jwk(&updated).key_ops.as_deref().unwrap(), ["verify"]);
        assert_eq!(updated.tags.as_ref().unwrap()["state"], "old");
        let newest = client
            .get_key("signer", None)
            .await
            .unwrap()
            .into_model()
            .unwrap();
        assert_eq!(newest.attributes.unwrap().enabled, Some(true));
    });
}

#[test]
fn keys_are_listed_page_by_page() {
    block_on(async {
        let (_vault, client) = new();
        for number in 0..7 {
            create_ec(&client, &format!("key-{number}")).await;
        }
        let options = KeyClientListKeyPropertiesOptions {
            maxresults: Some(3),
            ..KeyClientListKeyPropertiesOptions::default()
        };
        let mut names: Vec<String> = client
            .list_key_properties(Some(options))
            .unwrap()
            .map_ok(|item| {
                let id = item.resource_id().unwrap();
                assert_eq!(id.version, None);
                id.name
            })
            .try_collect()
            .await
            .unwrap();
        names.sort();
        let expected: Vec<String> = (0..7).map(|number| format!("key-{number}")).collect();
        assert_eq!(names, expected);
    });
}

#[test]
fn a_key_is_deleted_recovered_and_purged() {
    block_on(async {
        let (_vault, client) = new();
        let created = create_ec(&client, "signer").await;
        let deleted = client
            .delete_key("signer", None)
            .await
            .unwrap()
            .into_model()
            .unwrap();
        assert_eq!(deleted.key.unwrap().kid, jwk(&created).kid);
        assert_eq!(
            deleted.recovery_id.as_deref(),
            Some("https://vault.invalid/deletedkeys/signer")
        );
        let (from, to) = (
            deleted.deleted_date.unwrap().unix_timestamp(),
            deleted.scheduled_purge_date.unwrap().unix_timestamp(),
        );
        assert_eq!(to - from, 90 * 86_400);
        assert_eq!(
            refused(client.get_key("signer", None).await),
            (StatusCode::NotFound, "KeyNotFound".to_owned())
        );
        let read = client
            .get_deleted_key("signer", None)
            .await
            .unwrap()
            .into_model()
            .unwrap();
        assert_eq!(read.key.unwrap().kid, jwk(&created).kid);
        let listed: Vec<_> = client
            .list_deleted_key_properties(None)
            .unwrap()
            .try_collect()
            .await
            .unwrap();
        assert_eq!(listed.len(), 1);
        assert!(listed[0].deleted_date.is_some());
        assert_eq!(
            listed[0].kid.as_deref(),
            Some("https://vault.invalid/keys/signer")
        );

        let recovered = client
            .recover_deleted_key("signer", None)
            .await
            .unwrap()
            .into_model()
            .unwrap();
        assert_eq!(jwk(&recovered).kid, jwk(&created).kid);
        client.delete_key("signer", None).await.unwrap();
        let purged = client.purge_deleted_key("signer", None).await.unwrap();
        assert_eq!(purged.status(), StatusCode::NoContent);
        assert_eq!(
            refused(client.get_deleted_key("signer", None).await),
            (StatusCode::NotFound, "KeyNotFound".to_owned())
        );
    });
}

#[test]
fn a_key_is_backed_up_and_restored() {
    block_on(async {
        let (_vault, client) = new();
        let created = create_ec(&client, "signer").await;
        let backup = client
            .backup_key("signer", None)
            .await
            .unwrap()
            .into_model()
            .unwrap();
        let blob = backup.value.unwrap();
        let parameters = || RestoreKeyParameters {
            key_backup: Some(blob.clone()),
        };
        let restore = |parameters: RestoreKeyParameters| {
            client.restore_key(parameters.try_into().unwrap(), None)
        };
        let conflict = (StatusCode::Conflict, "Conflict".to_owned());
        assert_eq!(refused(restore(parameters()).await), conflict);
        client.delete_key("signer", None).await.unwrap();
        assert_eq!(refused(restore(parameters()).await), conflict);
        client.purge_deleted_key("signer", None).await.unwrap();
        let restored = restore(parameters()).await.unwrap().into_model().unwrap();
        assert_eq!(jwk(&restored).kid, jwk(&created).kid);
        assert_eq!(jwk(&restored).x, jwk(&created).x);

        let mut damaged = blob.clone();
        *damaged.last_mut().unwrap() ^= 1;
        let parameters = RestoreKeyParameters {
            key_backup: Some(damaged),
        };
        assert_eq!(
            refused(restore(parameters).await),
            (StatusCode::BadRequest, "BadParameter".to_owned())
        );
    });
}

/// The token names a principal.
fn by_name(vault: &Vault, request: &http::request::Parts) -> Result<Vault, AuthenticationFailure> {
    let token = bearer_token(request).ok_or(AuthenticationFailure::NoToken)?;
    let principal: Principal = token.parse()?;
    Ok(vault.as_principal(&principal)?)
}

#[test]
fn a_principal_may_do_what_the_access_policy_says() {
    block_on(async {
        let (vault, owner) = new();
        create_ec(&owner, "signer").await;
        let reader: Principal = "reader".parse().unwrap();
        vault
            .set_access_policy(&reader, Permissions::from([Permission::Get]))
            .unwrap();
        let forbidden = (StatusCode::Forbidden, "Forbidden".to_owned());
        let client = client_as(&vault, "reader", by_name);
        client.get_key("signer", None).await.unwrap();
        assert_eq!(refused(client.delete_key("signer", None).await), forbidden);
        let stranger = client_as(&vault, "stranger", by_name);
        assert_eq!(refused(stranger.get_key("signer", None).await), forbidden);
        vault.remove_access_policy(&reader).unwrap();
        assert_eq!(refused(client.get_key("signer", None).await), forbidden);
    });
}

#[test]
fn a_client_without_a_valid_token_is_turned_away() {
    block_on(async {
        let (vault, _) = new();
        let nobody = |_: &Vault, _: &http::request::Parts| Err(AuthenticationFailure::InvalidToken);
        let client = client_as(&vault, "wrong", nobody);
        assert_eq!(
            refused(client.get_key("signer", None).await),
            (StatusCode::Unauthorized, "Unauthorized".to_owned())
        );
    });
}
