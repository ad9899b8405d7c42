//! Modules: loaded once per process, initialised once, and never ended but to heal.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use cryptoki::context::Pkcs11;
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::RawAuthPin;
use cryptoki_sys::{
    CKR_CRYPTOKI_ALREADY_INITIALIZED, CKR_CRYPTOKI_NOT_INITIALIZED, CKR_USER_ALREADY_LOGGED_IN,
};

use super::error::{ErrorClass, TokenError, TokenResult};
use super::gate::{Exclusive, Gate, Permit};
use super::mechanism::Ulong;
use super::raw::Functions;
use crate::secret::{Pin, Process};

static REGISTRY: OnceLock<Registry> = OnceLock::new();

/// Every module of the process. PKCS#11 initialises a module per process, not per user of it, so all stores
/// have to share.
struct Registry {
    process: Process,
    modules: Mutex<HashMap<PathBuf, Arc<Module>>>,
}

/// A loaded module. It is never unloaded and, unless to heal, never finalised: others in the process may use it.
pub(super) struct Module {
    path: PathBuf,
    init_args: Option<String>,
    process: Process,
    context: Pkcs11,
    functions: Functions,
    gate: Gate,
    life: Mutex<Life>,
    /// Counts initialisations: sessions of an earlier one are dead, and their numbers may be given out anew.
    generation: AtomicU64,
    /// Counts whatever makes object handles void.
    epoch: AtomicU64,
    attached: Mutex<Vec<Attached>>,
    mutations: Mutex<HashMap<String, Arc<Mutex<()>>>>,
}

#[derive(Debug, Default)]
struct Life {
    initialized: bool,
    /// Whether the initialisation was ours; otherwise it is not ours to end.
    ours: bool,
}

/// A token in use by one store.
#[derive(Debug)]
struct Attached {
    owner: u64,
    slot: Ulong,
    serial: String,
}

impl Module {
    /// The module at `path`, loaded if it is not yet.
    pub(super) fn at(path: &Path, init_args: Option<&str>) -> TokenResult<Arc<Self>> {
        let process = Process::here();
        let registry = REGISTRY.get_or_init(|| Registry {
            process,
            modules: Mutex::default(),
        });
        // Before any lock: another thread may have held it when the process was forked.
        if registry.process != process {
            return Err(TokenError::new(ErrorClass::Forked, "load"));
        }
        let path = path.canonicalize().map_err(|error| {
            TokenError::with_detail(
                ErrorClass::TokenLost,
                "load",
                format!(
                    "the PKCS#11 module {} cannot be found: {error}; check the path",
                    path.display()
                ),
            )
        })?;
        let mut modules = lock(&registry.modules);
        if let Some(module) = modules.get(&path) {
            if module.init_args.as_deref() != init_args {
                return Err(TokenError::with_detail(
                    ErrorClass::BadParameter,
                    "load",
                    "the PKCS#11 module is in use in this process with other initialisation arguments; give all \
                     backends of one module the same",
                ));
            }
            return Ok(Arc::clone(module));
        }
        let context = Pkcs11::new(&path).map_err(|error| {
            TokenError::with_detail(
                ErrorClass::TokenLost,
                "load",
                format!(
                    "the PKCS#11 module {} cannot be loaded: {error}; check the path",
                    path.display()
                ),
            )
        })?;
        let module = Arc::new(Self {
            functions: Functions::load(&path)?,
            context,
            init_args: init_args.map(str::to_owned),
            process,
            gate: Gate::default(),
            life: Mutex::default(),
            generation: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
            attached: Mutex::default(),
            mutations: Mutex::default(),
            path: path.clone(),
        });
        modules.insert(path, Arc::clone(&module));
        Ok(module)
    }

    /// Refuses use by a fork of the process that loaded the module. It touches neither the module nor a lock.
    pub(super) fn check_process(&self) -> TokenResult<()> {
        if self.process.is_here() {
            Ok(())
        } else {
            Err(TokenError::new(ErrorClass::Forked, "fork"))
        }
    }

    pub(super) fn functions(&self) -> &Functions {
        &self.functions
    }

    /// Keeps the module from being restarted.
    pub(super) fn enter(&self, timeout: Duration) -> TokenResult<Permit<'_>> {
        self.gate.enter(timeout)
    }

    /// Waits until nobody is in the module, and keeps everybody out.
    pub(super) fn exclude(&self, timeout: Duration) -> TokenResult<Exclusive<'_>> {
        self.gate.exclude(timeout)
    }

    /// Closes sessions, unless the module is stuck: then they are left to it.
    pub(super) fn close(
        &self,
        sessions: impl IntoIterator<Item = ModuleSession>,
        timeout: Duration,
    ) {
        match self.enter(timeout) {
            Ok(_permit) => sessions.into_iter().for_each(drop),
            Err(_) => sessions.into_iter().for_each(ModuleSession::abandon),
        }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Makes every object handle void.
    pub(super) fn new_epoch(&self) -> u64 {
        self.epoch.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Makes sure that the module is initialised.
    pub(super) fn initialize(&self, timeout: Duration) -> TokenResult<()> {
        if self.generation() != 0 && lock(&self.life).initialized {
            return Ok(());
        }
        let _exclusive = self.gate.exclude(timeout)?;
        let mut life = lock(&self.life);
        if life.initialized {
            return Ok(());
        }
        self.start(&mut life)
    }

    /// Ends and initialises the module anew, because a token was lost in `generation`.
    ///
    /// It does nothing when that has happened since, when the module is not ours to end, or when `spare` says
    /// that somebody else is well served by it.
    pub(super) fn reinitialize(
        &self,
        generation: u64,
        timeout: Duration,
        spare: impl FnOnce() -> bool,
    ) -> TokenResult<()> {
        let _exclusive = self.gate.exclude(timeout)?;
        let mut life = lock(&self.life);
        if life.initialized && self.generation() != generation {
            return Ok(());
        }
        if life.initialized && life.ours {
            if spare() {
                return Ok(());
            }
            match self.functions.finalize() {
                // Whatever it answered otherwise, `C_Initialize` tells whether the module is still up.
                Err(error) if error.code != Some(CKR_CRYPTOKI_NOT_INITIALIZED) => {}
                _ => *life = Life::default(),
            }
        }
        self.start(&mut life)
    }

    fn start(&self, life: &mut Life) -> TokenResult<()> {
        let was_up = life.initialized;
        match self
            .functions
            .init_with_reserved_string(self.init_args.as_deref())
        {
            Ok(()) => {
                *life = Life {
                    initialized: true,
                    ours: true,
                };
            }
            Err(CKR_CRYPTOKI_ALREADY_INITIALIZED) if was_up => return Ok(()),
            Err(CKR_CRYPTOKI_ALREADY_INITIALIZED) => {
                *life = Life {
                    initialized: true,
                    ours: false,
                };
            }
            Err(code) => {
                *life = Life::default();
                let mut error = TokenError::with_detail(
                    ErrorClass::TokenLost,
                    "C_Initialize",
                    format!(
                        "the PKCS#11 module {} could not be initialised; check its configuration",
                        self.path.display()
                    ),
                );
                error.code = Some(code);
                return Err(error);
            }
        }
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.new_epoch();
        Ok(())
    }

    /// Opens a session for reading and writing. The caller holds a permit.
    pub(super) fn open_session(self: &Arc<Self>, slot: Ulong) -> TokenResult<ModuleSession> {
        let slot = Slot::try_from(slot)
            .map_err(|error| TokenError::from_cryptoki(error, "C_OpenSession"))?;
        let session = self
            .context
            .open_rw_session_no_drop(slot)
            .map_err(|error| TokenError::from_cryptoki(error, "C_OpenSession"))?;
        Ok(ModuleSession {
            session: Some(session),
            generation: self.generation(),
            module: Arc::clone(self),
        })
    }

    /// A token is in use by `owner`.
    pub(super) fn attach(&self, owner: u64, slot: Ulong, serial: &str) {
        let mut attached = lock(&self.attached);
        attached.retain(|entry| entry.owner != owner);
        attached.push(Attached {
            owner,
            slot,
            serial: serial.to_owned(),
        });
    }

    pub(super) fn detach(&self, owner: u64) {
        lock(&self.attached).retain(|entry| entry.owner != owner);
    }

    /// Whether another token than that of `serial` is in use and answers.
    pub(super) fn serves_others(&self, serial: Option<&str>) -> bool {
        lock(&self.attached)
            .iter()
            .filter(|entry| Some(entry.serial.as_str()) != serial)
            .any(|entry| {
                self.functions
                    .token_info(entry.slot)
                    .is_ok_and(|info| info.serial == entry.serial)
            })
    }

    /// The lock that creating and destroying token objects takes, one for each token of the process.
    pub(super) fn mutation_lock(&self, serial: &str) -> Arc<Mutex<()>> {
        let mut mutations = lock(&self.mutations);
        match mutations.get(serial) {
            Some(mutation) => Arc::clone(mutation),
            None => Arc::clone(mutations.entry(serial.to_owned()).or_default()),
        }
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module")
            .field("path", &self.path)
            .field("functions", &self.functions)
            .field("generation", &self.generation())
            .field("epoch", &self.epoch())
            .finish_non_exhaustive()
    }
}

/// A session that is closed on drop only where it still means something: in the process that opened it, and
/// until the module ends. Whoever drops it holds a permit of the module.
#[derive(Debug)]
pub(super) struct ModuleSession {
    /// There until it is dropped.
    session: Option<Session>,
    generation: u64,
    module: Arc<Module>,
}

impl ModuleSession {
    pub(super) fn raw(&self) -> &Session {
        self.session.as_ref().expect("taken by drop only")
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Leaves the session open.
    fn abandon(mut self) {
        self.session = None;
    }

    /// Logs the user or the security officer in, which counts for all sessions with the token.
    pub(super) fn login(&self, who: UserType, pin: &Pin) -> TokenResult<()> {
        let pin = RawAuthPin::new(Box::new(pin.expose().to_vec()));
        match self.raw().login_with_raw(who, &pin) {
            Ok(()) => Ok(()),
            Err(error) => match TokenError::from_cryptoki(error, "C_Login") {
                error if error.code == Some(CKR_USER_ALREADY_LOGGED_IN) => Ok(()),
                error => Err(error),
            },
        }
    }

    /// Logs out, which counts for all sessions with the token and makes the handles of private objects void.
    pub(super) fn logout(&self) -> TokenResult<()> {
        self.raw()
            .logout()
            .map_err(|error| TokenError::from_cryptoki(error, "C_Logout"))
    }
}

impl Drop for ModuleSession {
    fn drop(&mut self) {
        let alive = self.module.check_process().is_ok()
            && self.module.generation() == self.generation
            && lock(&self.module.life).initialized;
        if let Some(session) = self.session.take()
            && alive
        {
            // A session that the token has ended meanwhile is closed enough.
            let _ = session.close();
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
