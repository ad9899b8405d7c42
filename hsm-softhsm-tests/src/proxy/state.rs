//! What a proxy counts and does, in safe code.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cryptoki_sys::*;

use super::fault::{Action, Fault, Moment, Strikes};
use super::function::Function;
use super::host::{Call, RsaParameters};

/// Makes the result of a raw RSA decryption from the ciphertext and what the module answered.
pub(super) type Rewriter =
    Arc<dyn Fn(&[u8], Result<&[u8], CK_RV>) -> Result<Vec<u8>, CK_RV> + Send + Sync>;

/// How a module is dead.
#[derive(Clone, Copy, Debug)]
pub(super) enum Death {
    /// No call gets through.
    UntilRevived(CK_RV),
    /// Only C_Finalize and C_Initialize do, and the latter ends it.
    UntilReinitialized(CK_RV),
}

/// The state of one proxy. It lives as long as the process, as the library that asks it does.
#[derive(Debug)]
pub(super) struct State {
    /// The configuration that the real module is to be initialized with.
    pub(super) configuration: Option<PathBuf>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
pub(super) struct Inner {
    calls: BTreeMap<Function, u64>,
    faults: Vec<Injected>,
    pub(super) death: Option<Death>,
    /// Wrong PINs until the token locks.
    pub(super) pin_attempts: Option<u64>,
    /// Wrong PINs in a row.
    pub(super) failed_logins: u64,
    pub(super) removed: BTreeSet<CK_MECHANISM_TYPE>,
    pub(super) rewriter: Option<Rewriter>,
    pub(super) overrule: RsaParameters,
    /// The sessions whose decryption is a raw one.
    raw_decryptions: BTreeSet<CK_SESSION_HANDLE>,
}

struct Injected {
    fault: Fault,
    /// How many calls the function had before.
    base: u64,
    strikes: Strikes,
}

impl State {
    pub(super) fn new(configuration: Option<PathBuf>) -> Self {
        Self {
            configuration,
            inner: Mutex::default(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call and decides on it: CKR_OK lets it through.
    pub(super) fn before(&self, function: Function, call: &mut Call) -> CK_RV {
        let (verdict, actions) = {
            let mut inner = self.lock();
            call.number = inner.count(function);
            let verdict = inner.verdict(function, call.detail);
            let actions = inner.strike(function, call.number, Moment::Before);
            (verdict, actions)
        };
        perform(actions).or(verdict).unwrap_or(CKR_OK)
    }

    /// Takes note of an answer, and perhaps gives another.
    pub(super) fn after(&self, function: Function, call: &Call, answer: CK_RV) -> CK_RV {
        let actions = {
            let mut inner = self.lock();
            inner.note(function, call, answer);
            inner.strike(function, call.number, Moment::After)
        };
        perform(actions).unwrap_or(answer)
    }

    pub(super) fn offers(&self, mechanism: CK_MECHANISM_TYPE) -> bool {
        !self.lock().removed.contains(&mechanism)
    }

    pub(super) fn flags(&self, flags: CK_FLAGS) -> CK_FLAGS {
        self.lock().flags(flags)
    }

    /// What rewrites the decryption that is under way in a session.
    pub(super) fn rewriter(&self, session: CK_SESSION_HANDLE) -> Option<Rewriter> {
        let inner = self.lock();
        if !inner.raw_decryptions.contains(&session) {
            return None;
        }
        inner.rewriter.clone()
    }

    pub(super) fn inject(&self, fault: Fault) -> Strikes {
        let mut inner = self.lock();
        let strikes = Strikes::default();
        let base = inner.calls(fault.function);
        inner.faults.push(Injected {
            fault,
            base,
            strikes: strikes.clone(),
        });
        strikes
    }
}

/// Outside of the lock, for it may steer the proxy. The answer, if one is among the actions.
fn perform(actions: Vec<Action>) -> Option<CK_RV> {
    let mut answer = None;
    for action in actions {
        match action {
            Action::Answer(code) => answer = answer.or(Some(code)),
            Action::Run(work) => work(),
        }
    }
    answer
}

impl Inner {
    pub(super) fn calls(&self, function: Function) -> u64 {
        self.calls.get(&function).copied().unwrap_or(0)
    }

    fn count(&mut self, function: Function) -> u64 {
        let calls = self.calls.entry(function).or_default();
        *calls += 1;
        *calls
    }

    /// Everything wrong with the module goes away; what it counted stays.
    pub(super) fn heal(&mut self) {
        self.faults.clear();
        self.death = None;
        self.pin_attempts = None;
        self.failed_logins = 0;
        self.removed.clear();
        self.rewriter = None;
        self.overrule = RsaParameters::default();
    }

    /// The refusal of a call by what holds for all of them.
    fn verdict(&self, function: Function, detail: CK_ULONG) -> Option<CK_RV> {
        match self.death {
            Some(Death::UntilRevived(code)) => return Some(code),
            Some(Death::UntilReinitialized(code))
                if !matches!(function, Function::Finalize | Function::Initialize) =>
            {
                return Some(code);
            }
            Some(Death::UntilReinitialized(_)) | None => {}
        }
        if function == Function::Login {
            return (detail == CKU_USER && self.is_locked()).then_some(CKR_PIN_LOCKED);
        }
        self.removed
            .contains(&detail)
            .then_some(CKR_MECHANISM_INVALID)
    }

    fn strike(&mut self, function: Function, number: u64, moment: Moment) -> Vec<Action> {
        let mut actions = Vec::new();
        for injected in &self.faults {
            let fault = &injected.fault;
            // A fault after the call may meet one that began before the injection.
            let since = number.saturating_sub(injected.base);
            if fault.function == function && fault.moment == moment && fault.strikes_at(since) {
                injected.strikes.add();
                actions.push(fault.action.clone());
            }
        }
        actions
    }

    fn note(&mut self, function: Function, call: &Call, answer: CK_RV) {
        match (function, answer) {
            (Function::Initialize, CKR_OK) => {
                if let Some(Death::UntilReinitialized(_)) = self.death {
                    self.death = None;
                }
                self.raw_decryptions.clear();
            }
            (Function::Login, CKR_OK) if call.detail == CKU_USER => self.failed_logins = 0,
            (Function::Login, CKR_PIN_INCORRECT) if call.detail == CKU_USER => {
                self.failed_logins += 1;
            }
            (Function::DecryptInit, CKR_OK) => {
                if call.detail == CKM_RSA_X_509 {
                    self.raw_decryptions.insert(call.session);
                } else {
                    self.raw_decryptions.remove(&call.session);
                }
            }
            (Function::CloseSession, CKR_OK) => {
                self.raw_decryptions.remove(&call.session);
            }
            _ => {}
        }
    }

    fn is_locked(&self) -> bool {
        self.pin_attempts
            .is_some_and(|attempts| self.failed_logins >= attempts)
    }

    /// As a token that counts shows it.
    fn flags(&self, flags: CK_FLAGS) -> CK_FLAGS {
        let Some(attempts) = self.pin_attempts else {
            return flags;
        };
        let mut flags =
            flags & !(CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_LOCKED);
        if self.failed_logins > 0 {
            flags |= CKF_USER_PIN_COUNT_LOW;
        }
        if self.failed_logins.checked_add(1) == Some(attempts) {
            flags |= CKF_USER_PIN_FINAL_TRY;
        }
        if self.is_locked() {
            flags |= CKF_USER_PIN_LOCKED;
        }
        flags
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("calls", &self.calls)
            .field("death", &self.death)
            .finish_non_exhaustive()
    }
}
