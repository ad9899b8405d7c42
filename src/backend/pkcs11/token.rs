//! A token: found, logged into, used through a pool of sessions, and found again when it was lost.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cryptoki::session::UserType;
use cryptoki_sys::CKS_RW_USER_FUNCTIONS;

use super::attachment::Attachment;
use super::ceremony::Ceremony;
use super::error::{ErrorClass, TokenError, TokenResult};
use super::handles::HandleCache;
use super::lease::Lease;
use super::module::{Module, ModuleSession, lock};
use super::pin::{Breaker, PinSource};
use super::pool::{Pool, Turn};
use super::seats::{Loan, Seated};
use super::selection::TokenSelector;
use super::token_info::TokenInfo;
use crate::secret::Pin;

static OWNERS: AtomicU64 = AtomicU64::new(0);

pub(super) struct TokenOptions {
    /// The module's file.
    pub(super) module: PathBuf,
    /// The configuration that some modules (NSS, kryoptic) want when they are initialised.
    pub(super) init_args: Option<String>,
    pub(super) selector: TokenSelector,
    pub(super) pin: PinSource,
    /// `None`: two for each processor. Never more than the token has.
    pub(super) max_sessions: Option<usize>,
    /// How long a caller waits for a session.
    pub(super) checkout_timeout: Duration,
}

/// Without the text of the configuration, which is a module's own and may hold a password.
impl fmt::Debug for TokenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenOptions")
            .field("module", &self.module)
            .field("init_args", &self.init_args.as_ref().map(|_| ".."))
            .field("selector", &self.selector)
            .field("pin", &self.pin)
            .field("max_sessions", &self.max_sessions)
            .field("checkout_timeout", &self.checkout_timeout)
            .finish()
    }
}

/// Whether work that failed because the session or the token was lost may be done once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retry {
    /// Twice is as good as once.
    Safe,
    /// It may have been done, although the answer was lost.
    Never,
}

/// A token in use.
pub(super) struct Token {
    options: TokenOptions,
    owner: u64,
    module: OnceLock<Arc<Module>>,
    pool: Pool,
    breaker: Breaker,
    officer_breaker: Breaker,
    /// The serial number that the selector led to first; another token with the same label is not taken later.
    serial: OnceLock<String>,
    handles: HandleCache,
}

/// A failed attempt, and whether the work had begun.
struct Failure {
    error: TokenError,
    begun: bool,
}

impl Token {
    /// Without touching the module or the token.
    pub(super) fn new(options: TokenOptions) -> Arc<Self> {
        Arc::new(Self {
            pool: Pool::new(options.max_sessions, options.checkout_timeout),
            options,
            owner: OWNERS.fetch_add(1, Ordering::Relaxed),
            module: OnceLock::new(),
            breaker: Breaker::default(),
            officer_breaker: Breaker::default(),
            serial: OnceLock::new(),
            handles: HandleCache::default(),
        })
    }

    /// Does `work` with a session that is logged in. It connects when needed.
    pub(super) fn run<T>(
        &self,
        retry: Retry,
        mut work: impl FnMut(&Lease<'_>) -> TokenResult<T>,
    ) -> TokenResult<T> {
        match self.attempt(false, &mut work) {
            Ok(value) => Ok(value),
            Err(failure) if failure.may_repeat(retry) => self
                .attempt(false, &mut work)
                .map_err(|failure| failure.error),
            Err(failure) => Err(failure.error),
        }
    }

    /// Does `work`, which makes or destroys token objects: one at a time in this process, and never twice.
    pub(super) fn mutate<T>(
        &self,
        mut work: impl FnMut(&Lease<'_>) -> TokenResult<T>,
    ) -> TokenResult<T> {
        let mutation = self.module()?.mutation_lock(&self.serial()?);
        let _one_at_a_time = lock(&mutation);
        // A session that has died meanwhile is found out before the work begins.
        match self.attempt(true, &mut work) {
            Ok(value) => Ok(value),
            Err(failure) if failure.may_repeat(Retry::Never) => self
                .attempt(true, &mut work)
                .map_err(|failure| failure.error),
            Err(failure) => Err(failure.error),
        }
    }

    /// As [`Token::mutate`]; when the module fails without saying why, once more in another session, after `undo`.
    pub(super) fn mutate_or_again<T>(
        &self,
        undo: impl FnMut(&Lease<'_>) -> TokenResult<()>,
        mut work: impl FnMut(&Lease<'_>) -> TokenResult<T>,
    ) -> TokenResult<T> {
        match self.mutate(&mut work) {
            Err(error) if error.gives_no_reason() => match self.mutate(undo) {
                Ok(()) => self.mutate(work),
                Err(_) => Err(error),
            },
            outcome => outcome,
        }
    }

    /// Does `work` in a session in which the user and the security officer take turns to be logged in.
    ///
    /// Both logins count for the whole process, so nobody else is in the module meanwhile. Afterwards all object
    /// handles are void, and everybody connects anew.
    pub(super) fn hold_ceremony<T>(
        &self,
        officer: &Pin,
        work: impl FnOnce(&Ceremony<'_>) -> TokenResult<T>,
    ) -> TokenResult<T> {
        let (slot, serial, generation) = self.run(Retry::Safe, |lease| {
            lease.health()?;
            let generation = lease.attachment().generation;
            Ok((lease.slot(), lease.info().serial.clone(), generation))
        })?;
        let module = self.module()?;
        // Asked for first: a person may take a while to give the PIN.
        self.options.pin.with(|user| {
            let _alone = module.exclude(self.pool.timeout())?;
            let there = module.generation() == generation
                && module.functions().token_info(slot)?.serial == serial;
            if !there {
                return Err(TokenError::new(ErrorClass::SessionLost, "C_OpenSession"));
            }
            drop(self.pool.take_sessions());
            let session = module.open_session(slot)?;
            let user = (user, &self.breaker);
            let officer = (officer, &self.officer_breaker);
            let ceremony = Ceremony::new(module, session, slot, user, officer);
            work(&ceremony)
        })
    }

    /// Whether the token can be used now; it reconnects when it can.
    pub(super) fn check(&self) -> TokenResult<()> {
        self.run(Retry::Safe, |lease| lease.health())
    }

    /// The serial number; it connects when that is not known yet.
    pub(super) fn serial(&self) -> TokenResult<String> {
        match self.serial.get() {
            Some(serial) => Ok(serial.clone()),
            None => self.run(Retry::Safe, |lease| Ok(lease.info().serial.clone())),
        }
    }

    pub(super) fn handles(&self) -> &HandleCache {
        &self.handles
    }

    fn attempt<T>(
        &self,
        probe: bool,
        work: &mut impl FnMut(&Lease<'_>) -> TokenResult<T>,
    ) -> Result<T, Failure> {
        let mut lease = self.checkout().map_err(Failure::before)?;
        if probe && let Err(error) = lease.health() {
            return Err(Failure::before(self.settle(&lease, error)));
        }
        match work(&lease) {
            Ok(value) => {
                lease.keep();
                Ok(value)
            }
            // The session is fit for further use after this one only; some modules leave operations active.
            Err(error) if error.class == ErrorClass::InvalidSignature => {
                lease.keep();
                Err(Failure::after(error))
            }
            Err(error) => Err(Failure::after(self.settle(&lease, error))),
        }
    }

    /// Finds out what an error says about the session and the token, and draws the consequences.
    fn settle(&self, lease: &Lease<'_>, error: TokenError) -> TokenError {
        let error = match error.class {
            // What a lost token answers first may look like this.
            ErrorClass::Device | ErrorClass::DecryptFailed => match lease.health() {
                Ok(()) => error,
                Err(lost) => lost,
            },
            _ => error,
        };
        match error.class {
            ErrorClass::TokenLost => {
                let answers = lease.attachment().answers(lease.module());
                self.pool.token_lost(lease.attachment(), answers);
            }
            ErrorClass::SessionLost => {
                let functions = lease.functions();
                self.pool.session_lost(lease.attachment(), |anchor| {
                    let state = functions.session_state(anchor.raw());
                    state.is_ok_and(|state| {
                        state == CKS_RW_USER_FUNCTIONS || !lease.info().login_required
                    })
                });
            }
            _ => {}
        }
        error
    }

    fn checkout(&self) -> TokenResult<Lease<'_>> {
        let module = self.module()?;
        let mut since = None;
        loop {
            let permit = module.enter(self.pool.timeout())?;
            let generation = module.generation();
            let lend = |permit, loan| Lease::new(module, permit, &self.pool, &self.handles, loan);
            if let Some(own) = self.pool.own_session(generation) {
                return Ok(lend(permit, own));
            }
            match self.pool.turn(generation)? {
                Turn::Use(seated) => return Ok(lend(permit, Loan::Loose(seated))),
                Turn::Open(attachment) => match module.open_session(attachment.slot) {
                    Ok(session) => {
                        let seated = Seated {
                            session,
                            attachment,
                        };
                        return Ok(lend(permit, Loan::Loose(seated)));
                    }
                    Err(mut error) => {
                        let wait = self.pool.not_opened(&attachment, &error);
                        if matches!(error.class, ErrorClass::TokenLost | ErrorClass::Device) {
                            let answers = attachment.answers(module);
                            if !answers {
                                error.class = ErrorClass::TokenLost;
                            }
                            if error.class == ErrorClass::TokenLost {
                                self.pool.token_lost(&attachment, answers);
                            }
                        }
                        if !wait {
                            return Err(error);
                        }
                    }
                },
                Turn::Connect { lost } => {
                    drop(permit);
                    self.pool
                        .connect(|| self.connect(module, lost), || module.generation())?;
                    continue;
                }
                Turn::Wait => {}
            }
            drop(permit);
            self.pool.wait(&mut since)?;
        }
    }

    /// Connects anew. The pool lets one caller do it at a time.
    fn connect(
        &self,
        module: &Arc<Module>,
        lost: Option<u64>,
    ) -> TokenResult<(Attachment, ModuleSession)> {
        let timeout = self.pool.timeout();
        module.detach(self.owner);
        module.close(self.pool.take_sessions(), timeout);
        match lost {
            None => module.initialize(timeout)?,
            Some(generation) => module.reinitialize(generation, timeout, || {
                module.serves_others(self.serial.get().map(String::as_str))
            })?,
        }
        let permit = module.enter(timeout)?;
        let (slot, info) = self
            .options
            .selector
            .find(module.functions(), self.serial.get())?;
        let anchor = module.open_session(slot)?;
        let logged_in = !info.login_required
            || module.functions().session_state(anchor.raw())? == CKS_RW_USER_FUNCTIONS;
        // A person may take a while to give the PIN.
        drop(permit);
        if !logged_in && let Err(error) = self.login(module, &anchor, &info) {
            module.close([anchor], timeout);
            return Err(error);
        }
        module.new_epoch();
        module.attach(self.owner, slot, &info.serial);
        // Only now: what a wrong selector led to must not be remembered.
        let _ = self.serial.set(info.serial.clone());
        let attachment = Attachment {
            slot,
            info,
            generation: anchor.generation(),
            number: self.pool.next_number(),
        };
        Ok((attachment, anchor))
    }

    fn login(&self, module: &Module, anchor: &ModuleSession, info: &TokenInfo) -> TokenResult<()> {
        if info.user_pin_locked {
            return Err(TokenError::new(ErrorClass::TokenLocked, "login"));
        }
        self.options.pin.with(|pin| {
            let _permit = module.enter(self.pool.timeout())?;
            if module.generation() != anchor.generation() {
                return Err(TokenError::new(ErrorClass::SessionLost, "login"));
            }
            self.breaker.admit(pin, info.user_pin_final_try)?;
            let result = anchor.login(UserType::User, pin);
            if let Err(error) = &result {
                self.breaker.learn(pin, error)?;
            }
            result
        })
    }

    /// The module, refused in a fork before anything of it is touched.
    fn module(&self) -> TokenResult<&Arc<Module>> {
        if let Some(module) = self.module.get() {
            module.check_process()?;
            return Ok(module);
        }
        let module = Module::at(&self.options.module, self.options.init_args.as_deref())?;
        Ok(self.module.get_or_init(|| module))
    }
}

impl Failure {
    fn before(error: TokenError) -> Self {
        Self {
            error,
            begun: false,
        }
    }

    fn after(error: TokenError) -> Self {
        Self { error, begun: true }
    }

    fn may_repeat(&self, retry: Retry) -> bool {
        let lost = matches!(
            self.error.class,
            ErrorClass::SessionLost | ErrorClass::TokenLost
        );
        lost && (retry == Retry::Safe || !self.begun)
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        let Some(module) = self.module.get() else {
            return;
        };
        // In a fork neither the module nor its locks are touched.
        if module.check_process().is_err() {
            return;
        }
        module.detach(self.owner);
        module.close(self.pool.take_sessions(), self.pool.timeout());
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("options", &self.options)
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}
