//! The Azure SDK for Rust talks to a vault of its own process (feature `azure-transport`).
//!
//! The SDK's clients send requests through a transport that can be exchanged. [`AzureTransport`] hands them to a
//! [`RestService`] instead of a network: no server, no account, no TLS.
//!
//! # Examples
//!
//! ```
//! # use std::sync::Arc;
//! use azure_core::http::{ClientOptions, Transport};
//! use azure_security_keyvault_keys::models::{CreateKeyParameters, KeyType};
//! use azure_security_keyvault_keys::{KeyClient, KeyClientOptions};
//! use strongroom::VaultOptions;
//! use strongroom::azure_transport::{AzureTransport, FixedToken};
//! use strongroom::rest::{AnyToken, RestService};
//!
//! # futures::executor::block_on(async {
//! let vault = VaultOptions::new().create_in_memory()?;
//! let service = RestService::new(vault.clone(), AnyToken::new());
//! let options = KeyClientOptions {
//!     client_options: ClientOptions {
//!         transport: Some(Transport::new(Arc::new(AzureTransport::new(service)))),
//!         ..ClientOptions::default()
//!     },
//!     ..KeyClientOptions::default()
//! };
//! let credential = Arc::new(FixedToken::new("this process"));
//! let client = KeyClient::new(vault.url().as_str(), credential, Some(options))?;
//!
//! let parameters = CreateKeyParameters {
//!     kty: Some(KeyType::Ec),
//!     ..CreateKeyParameters::default()
//! };
//! let key = client.create_key("signer", parameters.try_into()?, None).await?.into_model()?;
//! assert!(key.key.and_then(|key| key.kid).is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, Secret, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;
use azure_core::http::headers::Headers;
use azure_core::http::{AsyncRawResponse, Body, HttpClient, Request, StatusCode};
use azure_core::time::OffsetDateTime;

use crate::rest::RestService;

/// A transport of the Azure SDK that ends in a vault of this process.
///
/// A request is carried out where its future is polled, and blocks there as the methods of [`Vault`](crate::Vault) do:
/// mostly for microseconds, for a write to disk where something changes, and up to seconds while an RSA key is made. A
/// program that cannot afford that gives the client a thread of its own.
#[derive(Clone, Debug)]
pub struct AzureTransport {
    service: RestService,
}

impl AzureTransport {
    /// A transport to this service. The vault's URL is the endpoint that the client is to be made with; the SDK insists
    /// on `https://`.
    #[must_use]
    pub fn new(service: RestService) -> Self {
        Self { service }
    }
}

#[async_trait]
impl HttpClient for AzureTransport {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let mut builder = http::Request::builder()
            .method(request.method().as_ref())
            .uri(request.url().as_str());
        for (name, value) in request.headers().iter() {
            builder = builder.header(name.as_str(), value.as_str());
        }
        let body = read(request.body()).await?;
        let request = builder
            .body(body)
            .map_err(|error| azure_core::Error::new(ErrorKind::DataConversion, error))?;
        let (head, body) = self.service.handle(request).into_parts();
        let mut headers = Headers::new();
        for (name, value) in &head.headers {
            if let Ok(value) = value.to_str() {
                headers.insert(name.as_str().to_owned(), value.to_owned());
            }
        }
        let status = StatusCode::from(head.status.as_u16());
        Ok(AsyncRawResponse::from_bytes(status, headers, body))
    }
}

/// The whole body, in a vector that never grows.
async fn read(body: &Body) -> azure_core::Result<Vec<u8>> {
    let refuse = |message: &'static str| azure_core::Error::with_message(ErrorKind::Io, message);
    let mut stream = match body {
        Body::Bytes(bytes) => return Ok(bytes.to_vec()),
        Body::SeekableStream(stream) => stream.clone(),
    };
    let length = stream
        .len()
        .and_then(|length| usize::try_from(length).ok())
        .filter(|length| *length <= RestService::MAX_BODY_LENGTH)
        .ok_or_else(|| refuse("the length of the request's body is not known, or is too large"))?;
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        let rest = &mut bytes[filled..];
        let count = poll_fn(|context| Pin::new(&mut *stream).poll_read(context, rest)).await;
        match count {
            Ok(0) => return Err(refuse("the request's body is shorter than it said")),
            Ok(count) => filled += count.min(rest.len()),
            Err(error) => return Err(azure_core::Error::new(ErrorKind::Io, error)),
        }
    }
    Ok(bytes)
}

/// A credential that gives the same token for every scope and for ever: for services in this process, whose
/// [`Authenticator`](crate::rest::Authenticator) knows what to make of it.
#[derive(Clone)]
pub struct FixedToken {
    token: Secret,
}

impl FixedToken {
    /// With this token, which goes into a header: visible ASCII without spaces at its ends.
    #[must_use]
    pub fn new(token: impl Into<String>) -> Self {
        Self {
            token: Secret::new(token.into()),
        }
    }
}

impl fmt::Debug for FixedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FixedToken")
    }
}

/// The end of the year 9999.
const NEVER: i64 = 253_402_300_799;

#[async_trait]
impl TokenCredential for FixedToken {
    async fn get_token(
        &self,
        _scopes: &[&str],
        _options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let expires_on = OffsetDateTime::from_unix_timestamp(NEVER)
            .map_err(|error| azure_core::Error::new(ErrorKind::Credential, error))?;
        Ok(AccessToken::new(self.token.clone(), expires_on))
    }
}
