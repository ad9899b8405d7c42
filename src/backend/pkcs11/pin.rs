//! PINs, and the breaker that keeps a refused one from being tried until the token locks.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use cryptoki_sys::CKR_PIN_LOCKED;
use subtle::ConstantTimeEq;

use super::error::{ErrorClass, TokenError, TokenResult};
use crate::backend::BackendResult;
use crate::crypto::hash::Hasher;
use crate::env::{Entropy, OsEntropy};
use crate::model::algorithm::HashAlgorithm;
use crate::secret::{Pin, SecretBytes};

/// How many different refused PINs are remembered; after that no PIN is tried any more.
const MOST_REFUSED: usize = 8;

/// Where a token's PIN comes from. It is asked for at logins only.
#[derive(Clone)]
pub struct PinSource {
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    Value(Arc<Pin>),
    Callback(Arc<dyn Fn() -> BackendResult<Pin> + Send + Sync>),
}

impl PinSource {
    /// This PIN, which is kept, for logins after the token was lost, and wiped with the backend.
    #[must_use]
    pub fn value(pin: Pin) -> Self {
        Self {
            kind: Kind::Value(Arc::new(pin)),
        }
    }

    /// Asks `callback` at each login; nothing is kept.
    #[must_use]
    pub fn callback(callback: impl Fn() -> BackendResult<Pin> + Send + Sync + 'static) -> Self {
        Self {
            kind: Kind::Callback(Arc::new(callback)),
        }
    }

    /// Gives the PIN to `use_pin`.
    pub(super) fn with<T>(&self, use_pin: impl FnOnce(&Pin) -> TokenResult<T>) -> TokenResult<T> {
        match &self.kind {
            Kind::Value(pin) => use_pin(pin),
            Kind::Callback(ask) => {
                let pin = ask().map_err(|error| {
                    TokenError::with_detail(
                        ErrorClass::Authentication,
                        "PIN callback",
                        format!("the PIN could not be had: {error}"),
                    )
                })?;
                use_pin(&pin)
            }
        }
    }
}

impl fmt::Debug for PinSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Value(_) => "PinSource::value(..)",
            Kind::Callback(_) => "PinSource::callback(..)",
        })
    }
}

/// Remembers the PINs that the token refused, as salted hashes, and whether a login was tried at all.
#[derive(Default)]
pub(super) struct Breaker {
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    tried: bool,
    salt: Option<SecretBytes>,
    refused: Vec<Refused>,
}

struct Refused {
    hash: SecretBytes,
    /// The token said that the PIN is locked. Not all tokens show that in their flags.
    locked: bool,
}

impl Breaker {
    /// Whether `pin` may be tried. It counts as tried from here on.
    ///
    /// With `final_try` set, the token locks at the next wrong PIN: only the first login of all is then worth
    /// it, because a person has just decided on that one.
    pub(super) fn admit(&self, pin: &Pin, final_try: bool) -> TokenResult<()> {
        let mut memory = self.lock();
        let hash = memory.hash(pin)?;
        let known = memory
            .refused
            .iter()
            .find(|refused| refused.hash.expose().ct_eq(hash.expose()).into());
        if known.is_some_and(|known| known.locked) {
            return Err(TokenError::with_detail(
                ErrorClass::TokenLocked,
                "login",
                "the token answered that its PIN is locked, and no login is tried again with this one; when the security \
                 officer has set the PIN, make the backend anew",
            ));
        }
        if known.is_some() || memory.refused.len() >= MOST_REFUSED {
            return Err(refuse(
                "the token refused this PIN before, and it is not tried again; give the right PIN to a new backend",
            ));
        }
        if final_try && memory.tried {
            return Err(refuse(
                "the token has one try left before it locks, so no further login is tried; log in with another \
                 tool to reset the count, then make the backend anew",
            ));
        }
        memory.tried = true;
        Ok(())
    }

    /// The token answered this to a login with `pin`.
    pub(super) fn learn(&self, pin: &Pin, answer: &TokenError) -> TokenResult<()> {
        let locked = answer.code == Some(CKR_PIN_LOCKED);
        if answer.class != ErrorClass::Authentication && !locked {
            return Ok(());
        }
        let mut memory = self.lock();
        let hash = memory.hash(pin)?;
        memory.refused.push(Refused { hash, locked });
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn hash(&mut self, pin: &Pin) -> TokenResult<SecretBytes> {
        let salt = match self.salt.take() {
            Some(salt) => salt,
            None => SecretBytes::filled_with(32, |bytes| OsEntropy.fill(bytes)).map_err(|_| {
                TokenError::with_detail(
                    ErrorClass::Device,
                    "login",
                    "the operating system gave no random bytes; try again once its generator is ready",
                )
            })?,
        };
        let mut hasher = Hasher::new(HashAlgorithm::Sha256);
        hasher.update(salt.expose());
        hasher.update(pin.expose());
        self.salt = Some(salt);
        Ok(SecretBytes::from(hasher.finish()))
    }
}

fn refuse(sentence: &'static str) -> TokenError {
    TokenError::with_detail(ErrorClass::Authentication, "login", sentence)
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker").finish_non_exhaustive()
    }
}
