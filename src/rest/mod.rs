//! Azure's REST interface as a function: a request goes in, a response comes out (feature `rest`).
//!
//! [`RestService`] speaks the keys part of Azure Key Vault's data plane over a [`Vault`]: paths, methods, JSON, paging,
//! error codes and the bearer challenge. It opens no socket, starts no thread, and keeps nothing between two requests.
//! What carries requests to it is another matter: the in-process transport of the feature `azure-transport`, the service
//! of `tower`, or a server such as `examples/serve.rs`.

mod answer;
mod authenticate;
mod call;
mod crypto;
mod keys;
mod lifecycle;
mod problem;
mod response;
mod route;
mod target;
#[cfg(feature = "tower")]
mod tower;
mod wire;

use std::fmt;
use std::sync::Arc;

use http::header::HeaderName;
use http::request::Parts;
use zeroize::Zeroizing;

use self::answer::Answer;
use self::authenticate::Challenge;
pub use self::authenticate::{AnyToken, AuthenticationFailure, Authenticator, bearer_token};
use self::call::Call;
use self::problem::Problem;
use self::response::Response;
use self::target::Target;
use crate::error::Result;
use crate::vault::Vault;

/// The REST interface of one vault.
///
/// It is cheap to clone. [`handle`](Self::handle) blocks as the methods of [`Vault`] do.
///
/// The API versions 7.4, 7.5, 7.6 and 2025-07-01 are spoken, with one and the same behaviour, but that key attestation
/// begins with 7.6. The manual's [`azure_differences`](crate::manual::azure_differences) lists every operation and rule.
///
/// # Examples
///
/// ```
/// use strongroom::VaultOptions;
/// use strongroom::rest::{AnyToken, RestService};
///
/// let vault = VaultOptions::new().create_in_memory()?;
/// let service = RestService::new(vault, AnyToken::new());
///
/// let request = http::Request::post("https://vault.invalid/keys/signer/create?api-version=7.6")
///     .header("authorization", "Bearer whatever")
///     .body(br#"{"kty":"EC"}"#.to_vec())?;
/// let response = service.handle(request);
/// assert_eq!(response.status(), 200);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct RestService {
    vault: Vault,
    authenticator: Arc<dyn Authenticator>,
    challenge: Challenge,
}

impl RestService {
    /// The longest body that any operation takes, in bytes: a backup. Who reads bodies from a network can stop there.
    pub const MAX_BODY_LENGTH: usize = route::LONGEST_BODY;

    /// The interface of this vault. The authenticator says which handle of it answers which request.
    ///
    /// Identifiers and links in answers begin with [`Vault::url`]: open the vault with the URL under which clients reach
    /// it.
    #[must_use]
    pub fn new(vault: Vault, authenticator: impl Authenticator + 'static) -> Self {
        let challenge = Challenge::of_vault(vault.url());
        Self {
            vault,
            authenticator: Arc::new(authenticator),
            challenge,
        }
    }

    /// What clients without a valid token are told: where to get one, and for which resource.
    ///
    /// Without this call they are told a place that does not exist, and as the resource the vault's own URL less the
    /// first label of its host, because the SDKs demand such a relation between the two unless they are told not to
    /// verify the challenge's resource.
    ///
    /// # Errors
    ///
    /// [`BadParameter`](crate::ErrorKind::BadParameter) for what is not a URL or has characters that would break the
    /// header.
    pub fn challenge(mut self, authorization: &str, resource: &str) -> Result<Self> {
        self.challenge = Challenge::new(authorization, resource)?;
        Ok(self)
    }

    /// Carries out one request.
    ///
    /// Every outcome is a response: what is refused has a status from 400 and Azure's error envelope. The body of the
    /// request is wiped; the body of the response is the caller's, and holds plaintext where the operation gives it.
    /// Nothing in the request makes this panic or take memory beyond a small multiple of the request's own size.
    #[must_use]
    pub fn handle(&self, request: http::Request<Vec<u8>>) -> http::Response<Vec<u8>> {
        let (head, body) = request.into_parts();
        let body = Zeroizing::new(body);
        let mut response = self
            .answer(&head, &body)
            .unwrap_or_else(Problem::into_response);
        echo_request_id(&head, &mut response);
        response::finish(response)
    }

    fn answer(&self, head: &Parts, body: &[u8]) -> Answer {
        // Nobody learns anything without a token.
        let vault = self
            .authenticator
            .authenticate(&self.vault, head)
            .map_err(|failure| self.challenge.refuse(failure))?;
        let target = Target::parse(&head.uri)?;
        let api_version = target.check_api_version()?;
        let method = route::method(head)?;
        let (route, place) = route::find(&method, target.segments())?;
        if body.len() > route.limit {
            return Err(Problem::body_too_large(route.limit));
        }
        (route.run)(&Call::new(vault, &target, api_version, place, body)?)
    }
}

/// Clients find their requests again by this id.
fn echo_request_id(head: &Parts, response: &mut Response) {
    const ID: HeaderName = HeaderName::from_static("x-ms-client-request-id");
    const LONGEST: usize = 128;
    if let Some(id) = head.headers.get(&ID).filter(|id| id.len() <= LONGEST) {
        response.headers_mut().insert(ID, id.clone());
    }
}

impl fmt::Debug for RestService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestService")
            .field("vault", &self.vault)
            .finish_non_exhaustive()
    }
}
