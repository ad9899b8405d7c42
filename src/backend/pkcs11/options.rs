//! How a token is reached and used.

use std::path::PathBuf;
use std::time::Duration;

use super::making::KeyKeeping;
use super::pin::PinSource;
use super::probe::Fallbacks;
use super::token::TokenOptions;
use crate::backend::BackendId;
use crate::backend::pkcs11::selection::TokenSelector;
use crate::format::token_key_backup::CHECK_VALUE_LENGTH;

/// How many wrapped keys stay unwrapped in the token by default.
const DEFAULT_UNWRAPPED_KEYS: usize = 64;

/// How long a call waits for a session by default.
const DEFAULT_PATIENCE: Duration = Duration::from_secs(30);

/// The id of a backend that is not given another one.
const DEFAULT_ID: &str = "pkcs11";

/// How a [`Pkcs11Backend`](super::Pkcs11Backend) reaches and uses its token.
#[derive(Debug)]
pub struct Pkcs11Options {
    pub(super) id: BackendId,
    pub(super) token: TokenOptions,
    pub(super) keeping: KeyKeeping,
    pub(super) fallbacks: Fallbacks,
    pub(super) verify_after_sign: bool,
    pub(super) unwrapped_keys: usize,
    pub(super) domain: Option<[u8; CHECK_VALUE_LENGTH]>,
}

impl Pkcs11Options {
    /// The token that `selector` names, of the module in the shared library at `module`.
    #[must_use]
    pub fn new(module: impl Into<PathBuf>, selector: TokenSelector, pin: PinSource) -> Self {
        Self {
            id: BackendId::from_static(DEFAULT_ID),
            token: TokenOptions {
                module: module.into(),
                init_args: None,
                selector,
                pin,
                max_sessions: None,
                checkout_timeout: DEFAULT_PATIENCE,
            },
            keeping: KeyKeeping::default(),
            fallbacks: Fallbacks::Allowed,
            verify_after_sign: false,
            unwrapped_keys: DEFAULT_UNWRAPPED_KEYS,
            domain: None,
        }
    }

    /// The name under which records refer to the backend: `pkcs11` without this call. A vault with two tokens
    /// needs two names, and each has to stay with its token.
    #[must_use]
    pub fn id(mut self, id: BackendId) -> Self {
        self.id = id;
        self
    }

    /// How new keys are kept; keys that exist stay as they were made.
    #[must_use]
    pub fn keeping(mut self, keeping: KeyKeeping) -> Self {
        self.keeping = keeping;
        self
    }

    /// The configuration that some modules want as reserved argument of C_Initialize, for example NSS.
    #[must_use]
    pub fn initialization_string(mut self, text: impl Into<String>) -> Self {
        self.token.init_args = Some(text.into());
        self
    }

    /// Nothing is done with the library's help: what the token does not do alone is unsupported.
    #[must_use]
    pub fn forbid_fallbacks(mut self) -> Self {
        self.fallbacks = Fallbacks::Forbidden;
        self
    }

    /// Every signature is verified before it is given out, against faults in the device. Without this, the first
    /// one of each key that is opened is, which shows that the object in the token is the one of the records.
    #[must_use]
    pub fn verify_after_sign(mut self) -> Self {
        self.verify_after_sign = true;
        self
    }

    /// The most sessions at a time; by default two for each processor, and never more than the token has.
    #[must_use]
    pub fn max_sessions(mut self, sessions: usize) -> Self {
        self.token.max_sessions = Some(sessions);
        self
    }

    /// How long a call waits for a free session before it fails; 30 seconds by default.
    #[must_use]
    pub fn session_patience(mut self, patience: Duration) -> Self {
        self.token.checkout_timeout = patience;
        self
    }

    /// The check value of the one domain key ([`DomainKey::check_value`](super::DomainKey::check_value)) under which
    /// keys are backed up and restored: with another one in the token both are refused. Without this call it is
    /// whichever domain key the token has.
    ///
    /// It keeps somebody with the user's PIN from putting a domain key of their own in place of the right one, and
    /// waiting for a backup of wrapped keys. Of resident ones the token itself sees to it, where the security
    /// officer's trust counts.
    #[must_use]
    pub fn domain(mut self, check_value: [u8; CHECK_VALUE_LENGTH]) -> Self {
        self.domain = Some(check_value);
        self
    }

    /// How many wrapped keys stay unwrapped in the token; 64 by default.
    #[must_use]
    pub fn unwrapped_keys(mut self, keys: usize) -> Self {
        self.unwrapped_keys = keys;
        self
    }
}
