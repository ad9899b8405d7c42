//! A token together with what was found out about it.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use super::error::TokenResult;
use super::module::lock;
use super::probe::Fallbacks;
use super::profile::Profile;
use super::raw::ObjectHandle;
use super::token::Token;
use super::unwrapped::UnwrappedKeys;
use crate::backend::{BackendError, BackendErrorKind, BackendResult};
use crate::format::token_key_backup::CHECK_VALUE_LENGTH;
use crate::model::key::KeyTag;

/// Between measurements that leave doubts; the pause doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// The domain key in one epoch of the connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Domain {
    pub(super) object: ObjectHandle,
    pub(super) check_value: [u8; CHECK_VALUE_LENGTH],
}

/// What all keys of a backend share.
pub(super) struct Connection {
    token: Arc<Token>,
    fallbacks: Fallbacks,
    measured: Mutex<Measured>,
    serial: OnceLock<String>,
    unwrapped: UnwrappedKeys,
    /// The domain key, and the epoch in which it was found and its check value made.
    domain: Mutex<Option<(u64, Domain)>>,
    expected_domain: Option<[u8; CHECK_VALUE_LENGTH]>,
    /// The wrapping key that works, and the epoch in which it has shown that.
    kek: Mutex<Option<(u64, KeyTag)>>,
}

/// What was found out about the token.
#[derive(Default)]
struct Measured {
    profile: Option<Arc<Profile>>,
    /// How often it was measured again in vain.
    attempts: u32,
    /// Not before then is it measured again.
    next: Option<Instant>,
}

impl Measured {
    /// Whether it is time to measure again; then it is the caller who does it.
    fn claim_turn(&mut self) -> bool {
        let now = Instant::now();
        if self.next.is_some_and(|next| now < next) {
            return false;
        }
        self.pause(now);
        true
    }

    /// Keeps the better one of two profiles.
    fn take_in(&mut self, profile: Profile) -> Arc<Profile> {
        let better = match &self.profile {
            Some(known) if known.doubts <= profile.doubts => return Arc::clone(known),
            _ => Arc::new(profile),
        };
        self.attempts = 0;
        self.pause(Instant::now());
        self.profile = Some(Arc::clone(&better));
        better
    }

    fn pause(&mut self, now: Instant) {
        let pause = FIRST_PAUSE
            .saturating_mul(2u32.saturating_pow(self.attempts))
            .min(LONGEST_PAUSE);
        self.attempts = self.attempts.saturating_add(1);
        self.next = now.checked_add(pause);
    }
}

impl Connection {
    pub(super) fn new(
        token: Arc<Token>,
        fallbacks: Fallbacks,
        unwrapped: usize,
        expected_domain: Option<[u8; CHECK_VALUE_LENGTH]>,
    ) -> Self {
        Self {
            token,
            fallbacks,
            measured: Mutex::default(),
            serial: OnceLock::new(),
            unwrapped: UnwrappedKeys::new(unwrapped),
            domain: Mutex::default(),
            expected_domain,
            kek: Mutex::default(),
        }
    }

    pub(super) fn token(&self) -> &Token {
        &self.token
    }

    pub(super) fn unwrapped(&self) -> &UnwrappedKeys {
        &self.unwrapped
    }

    pub(super) fn known_domain(&self, epoch: u64) -> Option<Domain> {
        let known = lock(&self.domain);
        known
            .filter(|(of, _)| *of == epoch)
            .map(|(_, domain)| domain)
    }

    /// Whether keys may be backed up and restored under this domain key.
    pub(super) fn accepts(&self, domain: &Domain) -> bool {
        self.expected_domain
            .is_none_or(|expected| expected == domain.check_value)
    }

    pub(super) fn remember_domain(&self, known: Option<(u64, Domain)>) {
        *lock(&self.domain) = known;
    }

    /// Measured when it is asked for first; then it stays, but for [`Connection::settled_profile`].
    pub(super) fn profile(&self) -> TokenResult<Arc<Profile>> {
        let known = lock(&self.measured).profile.clone();
        match known {
            Some(profile) => Ok(profile),
            None => self.measure(),
        }
    }

    /// The profile, measured anew if something failed in it that may work now; after each measurement that leaves
    /// doubts there is a pause. For those who are about to refuse something, or to make a key whose attributes are
    /// for ever.
    pub(super) fn settled_profile(&self) -> TokenResult<Arc<Profile>> {
        let profile = self.profile()?;
        if profile.doubts == 0 || !lock(&self.measured).claim_turn() {
            return Ok(profile);
        }
        self.measure()
    }

    fn measure(&self) -> TokenResult<Arc<Profile>> {
        let measured = Profile::measure(&self.token, self.fallbacks)?;
        Ok(lock(&self.measured).take_in(measured))
    }

    /// The wrapping key for new keys, if it has shown in this epoch that it works.
    pub(super) fn known_kek(&self, epoch: u64) -> Option<KeyTag> {
        let known = *lock(&self.kek);
        known.filter(|(of, _)| *of == epoch).map(|(_, kek)| kek)
    }

    pub(super) fn remember_kek(&self, epoch: u64, kek: KeyTag) {
        *lock(&self.kek) = Some((epoch, kek));
    }

    /// The serial number of the token that the backend is connected to.
    pub(super) fn serial(&self) -> TokenResult<&str> {
        if let Some(serial) = self.serial.get() {
            return Ok(serial);
        }
        let serial = self.token.serial()?;
        Ok(self.serial.get_or_init(|| serial))
    }

    /// Whether this is the token that a key lives in.
    pub(super) fn require_serial(&self, serial: &str) -> BackendResult<()> {
        let own = self.serial()?;
        if own == serial {
            return Ok(());
        }
        Err(BackendError::new(
            BackendErrorKind::Unavailable,
            format!(
                "the key lives in the token with serial number {serial}, but the backend is connected to {own}; \
                 open the vault with the right token"
            ),
        ))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}
