//! An opened key of a token.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use super::attributes::mac_tag;
use super::connection::Connection;
use super::error::TokenResult;
use super::handles::ObjectClass;
use super::lease::Lease;
use super::objects::with_object;
use super::operations::{
    RsaOpening, Signing, check_key_to_wrap, check_wrapped_length, decrypt, encrypt, unwrap_key,
    wrap_key,
};
use super::profile::Profile;
use super::raw::ObjectHandle;
use super::routes::{Route, Value};
use super::token::Retry;
use super::unwrapped::UnwrappedKey;
use crate::backend::{
    BackendError, BackendErrorKind, BackendResult, Encrypted, KeyHandle, KeyReference,
};
use crate::crypto::public_key::PublicKey;
use crate::format::token_key::{Keeping, TokenKey};
use crate::model::algorithm::{
    CryptoOperation, EncryptionAlgorithm, SignatureAlgorithm, WrapAlgorithm,
};
use crate::model::key::KeyTag;
use crate::model::spec::{KeyFamily, KeySpec, RsaKeySize};
use crate::secret::SecretBytes;

pub(super) struct TokenKeyHandle {
    connection: Arc<Connection>,
    tag: KeyTag,
    spec: KeySpec,
    public: Option<PublicKey>,
    rejection_secret: Option<SecretBytes>,
    serial: String,
    /// Those of the private part; known from the first use on.
    routes: OnceLock<PrivateRoutes>,
    source: Source,
    verify_after_sign: bool,
    /// A signature was verified: the object is the one whose public key the records hold.
    proven: AtomicBool,
}

enum Source {
    /// Objects of the token.
    Resident,
    Wrapped(UnwrappedKey),
}

impl TokenKeyHandle {
    /// Without asking the token: what needs only the public key works without it.
    ///
    /// Errors: `InvalidInput` for a blob that no such backend made.
    pub(super) fn open(
        connection: &Arc<Connection>,
        key: &KeyReference<'_>,
        verify_after_sign: bool,
    ) -> BackendResult<Self> {
        let blob = TokenKey::decode(key.blob.expose()).ok_or_else(|| {
            BackendError::new(
                BackendErrorKind::InvalidInput,
                "the record of the key was not written by a PKCS#11 backend",
            )
        })?;
        let public = key
            .public
            .map(PublicKey::from_parts)
            .transpose()
            .map_err(|error| {
                BackendError::new(BackendErrorKind::InvalidInput, error.to_string())
            })?;
        if public.is_none() != (key.spec.family() == KeyFamily::Oct) {
            return Err(BackendError::new(
                BackendErrorKind::InvalidInput,
                "the record of the key lacks its public part",
            ));
        }
        Ok(Self {
            connection: Arc::clone(connection),
            tag: key.tag,
            spec: key.spec,
            source: match blob.keeping {
                Keeping::Resident => Source::Resident,
                Keeping::Wrapped(wrapped) => {
                    Source::Wrapped(UnwrappedKey::new(key.tag, key.spec, blob.usage, wrapped))
                }
            },
            public,
            rejection_secret: key
                .rejection_secret
                .map(|secret| SecretBytes::copied_from(secret.expose())),
            serial: blob.serial,
            routes: OnceLock::new(),
            verify_after_sign,
            proven: AtomicBool::new(false),
        })
    }

    fn route(&self, operation: CryptoOperation) -> BackendResult<Route> {
        let routes = match self.routes.get() {
            Some(routes) => routes,
            None => {
                let profile = self.connection.profile()?;
                // A connection stays with one token.
                self.connection.require_serial(&self.serial)?;
                let routes = private_routes(&profile, self.spec);
                self.routes.get_or_init(|| routes)
            }
        };
        if let Some(route) = routes[number_of(operation)] {
            return Ok(route);
        }
        let settled = private_routes(&*self.connection.settled_profile()?, self.spec);
        settled[number_of(operation)].ok_or_else(|| {
            BackendError::new(
                BackendErrorKind::Unsupported,
                format!(
                    "the backend does not offer {operation} to keys of {}: its token lacks a mechanism for it, as the \
                     backend's capabilities show",
                    self.spec
                ),
            )
        })
    }

    fn with_value<T>(
        &self,
        value: Value,
        work: impl FnMut(&Lease<'_>, ObjectHandle) -> TokenResult<T>,
    ) -> BackendResult<T> {
        let token = self.connection.token();
        let result = match &self.source {
            Source::Resident => {
                let class = match self.spec.family() {
                    KeyFamily::Rsa | KeyFamily::Ec => ObjectClass::Private,
                    KeyFamily::Oct => ObjectClass::Secret,
                };
                let id = match value {
                    Value::Main => self.tag,
                    Value::Mac => mac_tag(self.tag),
                };
                with_object(token, Retry::Safe, id, class, work)
            }
            Source::Wrapped(key) => self.connection.unwrapped().with(
                token,
                || self.connection.profile(),
                key,
                self.public.as_ref().map(PublicKey::parts),
                value,
                work,
            ),
        };
        Ok(result?)
    }

    fn rsa_size(&self) -> BackendResult<RsaKeySize> {
        match self.spec {
            KeySpec::Rsa(size) => Ok(size),
            _ => Err(BackendErrorKind::Unsupported.into()),
        }
    }

    fn open_rsa(
        &self,
        route: Route,
        algorithm: &str,
        ciphertext: &[u8],
    ) -> BackendResult<SecretBytes> {
        let public = self
            .public
            .as_ref()
            .ok_or(BackendErrorKind::Unsupported)?
            .parts();
        let opening = RsaOpening::new(
            route,
            public,
            self.rsa_size()?,
            algorithm,
            ciphertext,
            self.rejection_secret.as_ref(),
        )?;
        self.with_value(Value::Main, |lease, key| opening.run(lease, key))
    }
}

impl fmt::Debug for TokenKeyHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKeyHandle")
            .field("tag", &self.tag)
            .field("spec", &self.spec)
            .finish_non_exhaustive()
    }
}

impl KeyHandle for TokenKeyHandle {
    fn spec(&self) -> KeySpec {
        self.spec
    }

    fn public_key(&self) -> Option<&PublicKey> {
        self.public.as_ref()
    }

    fn sign(&self, algorithm: SignatureAlgorithm, digest: &[u8]) -> BackendResult<Vec<u8>> {
        let route = self.route(CryptoOperation::Sign(algorithm))?;
        let signing = Signing::new(route, self.spec, algorithm, digest)?;
        let value = if route.is_mac() {
            Value::Mac
        } else {
            Value::Main
        };
        let signature = self.with_value(value, |lease, key| signing.run(lease, key))?;
        if let Some(public) = &self.public
            && (self.verify_after_sign || !self.proven.load(Ordering::Relaxed))
        {
            public
                .verify(algorithm, digest, &signature)
                .map_err(|_| wrong_signature())?;
            self.proven.store(true, Ordering::Relaxed);
        }
        Ok(signature)
    }

    fn verify(&self, algorithm: SignatureAlgorithm, data: &[u8], mac: &[u8]) -> BackendResult<()> {
        if self.public.is_some() {
            return Err(BackendErrorKind::Unsupported.into());
        }
        let expected = SecretBytes::from(self.sign(algorithm, data)?);
        // Compared in constant time.
        if expected == SecretBytes::copied_from(mac) {
            Ok(())
        } else {
            Err(BackendErrorKind::InvalidSignature.into())
        }
    }

    fn encrypt(
        &self,
        algorithm: EncryptionAlgorithm,
        plaintext: &[u8],
        iv: &[u8],
        aad: &[u8],
    ) -> BackendResult<Encrypted> {
        let route = self.route(CryptoOperation::Encrypt(algorithm))?;
        let mode = algorithm.aes_mode().ok_or(BackendErrorKind::Unsupported)?;
        if route == Route::Cbc && !plaintext.len().is_multiple_of(16) {
            return Err(BackendError::new(
                BackendErrorKind::InvalidInput,
                format!("{algorithm} needs a whole number of 16-byte blocks"),
            ));
        }
        self.with_value(Value::Main, |lease, key| {
            encrypt(lease, key, mode, plaintext, iv, aad)
        })
    }

    fn decrypt(
        &self,
        algorithm: EncryptionAlgorithm,
        ciphertext: &[u8],
        iv: &[u8],
        aad: &[u8],
        tag: &[u8],
    ) -> BackendResult<SecretBytes> {
        let route = self.route(CryptoOperation::Decrypt(algorithm))?;
        let Some(mode) = algorithm.aes_mode() else {
            return self.open_rsa(route, algorithm.as_str(), ciphertext);
        };
        let whole = ciphertext.len().is_multiple_of(16);
        let fits = match route {
            Route::Cbc => whole,
            Route::CbcPad => whole && !ciphertext.is_empty(),
            _ => true,
        };
        if !fits {
            return Err(BackendErrorKind::DecryptFailed.into());
        }
        self.with_value(Value::Main, |lease, key| {
            decrypt(lease, key, mode, ciphertext, iv, aad, tag)
        })
    }

    fn wrap_key(&self, algorithm: WrapAlgorithm, key: &[u8]) -> BackendResult<Vec<u8>> {
        let route = self.route(CryptoOperation::WrapKey(algorithm))?;
        check_key_to_wrap(algorithm, route, key)?;
        self.with_value(Value::Main, |lease, kek| wrap_key(lease, kek, route, key))
    }

    fn unwrap_key(&self, algorithm: WrapAlgorithm, wrapped: &[u8]) -> BackendResult<SecretBytes> {
        let route = self.route(CryptoOperation::UnwrapKey(algorithm))?;
        if self.public.is_some() {
            return self.open_rsa(route, algorithm.as_str(), wrapped);
        }
        check_wrapped_length(algorithm, route, wrapped.len().saturating_sub(8))?;
        self.with_value(Value::Main, |lease, kek| {
            unwrap_key(lease, kek, route, wrapped)
        })
    }
}

/// The route of each operation, by the operation's number.
type PrivateRoutes = [Option<Route>; OPERATIONS];

const ENCRYPTIONS: usize = EncryptionAlgorithm::ALL.len();
const SIGNATURES: usize = SignatureAlgorithm::ALL.len();
const WRAPS: usize = WrapAlgorithm::ALL.len();
const OPERATIONS: usize = 2 * (ENCRYPTIONS + SIGNATURES + WRAPS);

/// Each operation has its own, below [`OPERATIONS`].
fn number_of(operation: CryptoOperation) -> usize {
    const SIGN: usize = 2 * ENCRYPTIONS;
    const WRAP: usize = SIGN + 2 * SIGNATURES;
    match operation {
        CryptoOperation::Encrypt(algorithm) => algorithm as usize,
        CryptoOperation::Decrypt(algorithm) => ENCRYPTIONS + algorithm as usize,
        CryptoOperation::Sign(algorithm) => SIGN + algorithm as usize,
        CryptoOperation::Verify(algorithm) => SIGN + SIGNATURES + algorithm as usize,
        CryptoOperation::WrapKey(algorithm) => WRAP + algorithm as usize,
        CryptoOperation::UnwrapKey(algorithm) => WRAP + WRAPS + algorithm as usize,
    }
}

fn private_routes(profile: &Profile, spec: KeySpec) -> PrivateRoutes {
    let mut routes = [None; OPERATIONS];
    for (operation, route) in profile.routes.of(spec) {
        if route != Route::Public {
            routes[number_of(operation)] = Some(route);
        }
    }
    routes
}

pub(super) fn wrong_signature() -> BackendError {
    BackendError::new(
        BackendErrorKind::Device,
        "the token gave a signature that does not verify with the key's public part",
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_operation_has_a_number_of_its_own() {
        let numbers: BTreeSet<usize> = CryptoOperation::all().map(number_of).collect();
        assert_eq!(numbers.len(), CryptoOperation::all().count());
        assert!(numbers.iter().all(|number| *number < OPERATIONS));
    }
}
