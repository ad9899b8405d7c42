//! The official Azure SDK for Rust against a vault of this process: every operation on keys, as an application writes it,
//! and what it sees of errors. Signatures and ciphertexts are checked with the vault's own interface or another
//! implementation, so that nothing is right only because both ends are ours.

mod keys;
mod policies;
mod using;

use std::sync::Arc;

use azure_core::http::{ClientOptions, StatusCode, Transport};
use azure_security_keyvault_keys::models::{
    CreateKeyParameters, CurveName, JsonWebKey, Key, KeyType,
};
use azure_security_keyvault_keys::{KeyClient, KeyClientOptions, ResourceExt as _};
use strongroom::azure_transport::{AzureTransport, FixedToken};
use strongroom::rest::{AnyToken, Authenticator, RestService};
use strongroom::{Vault, VaultOptions};

/// A client of this vault, with whatever rights the authenticator gives to this token.
fn client_as(vault: &Vault, token: &str, authenticator: impl Authenticator + 'static) -> KeyClient {
    let service = RestService::new(vault.clone(), authenticator);
    let options = KeyClientOptions {
        client_options: ClientOptions {
            transport: Some(Transport::new(Arc::new(AzureTransport::new(service)))),
            ..ClientOptions::default()
        },
        // The challenge's resource is verified, as by default.
        ..KeyClientOptions::default()
    };
    let credential = Arc::new(FixedToken::new(token));
    KeyClient::new(vault.url().as_str(), credential, Some(options)).unwrap()
}

fn new() -> (Vault, KeyClient) {
    let vault = VaultOptions::new().create_in_memory().unwrap();
    let client = client_as(&vault, "a token", AnyToken::new());
    (vault, client)
}

async fn create_ec(client: &KeyClient, name: &str) -> Key {
    let parameters = CreateKeyParameters {
        kty: Some(KeyType::Ec),
        curve: Some(CurveName::P256),
        ..CreateKeyParameters::default()
    };
    create(client, name, parameters).await
}

async fn create(client: &KeyClient, name: &str, parameters: CreateKeyParameters) -> Key {
    client
        .create_key(name, parameters.try_into().unwrap(), None)
        .await
        .unwrap()
        .into_model()
        .unwrap()
}

fn version(key: &Key) -> String {
    key.resource_id().unwrap().version.unwrap()
}

fn jwk(key: &Key) -> &JsonWebKey {
    key.key.as_ref().unwrap()
}

/// Status and `error.code` of a refusal.
#[track_caller]
fn refused<T>(result: azure_core::Result<T>) -> (StatusCode, String) {
    let Err(error) = result else {
        panic!("the call succeeded and must not");
    };
    match error.kind() {
        azure_core::error::ErrorKind::HttpResponse {
            status, error_code, ..
        } => (*status, error_code.clone().unwrap()),
        _ => panic!("no refusal by the service: {error:?}"),
    }
}
