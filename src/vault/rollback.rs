//! Whether a vault's directory is the newest one: pins, and guards that keep them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use super::{Act, Inner, Operation, Subject, Vault};
use crate::backend::{BackendError, BackendErrorKind, BackendResult, RollbackGuard};
use crate::error::{Error, ErrorKind, Result};
use crate::model::pin::VaultPin;
use crate::seal::hierarchy::Hierarchy;
use crate::store::{CommitOptions, StateFacts};

/// So often a guard is told of changes.
const GUARD_INTERVAL: Duration = Duration::from_secs(1);

impl Vault {
    /// This vault as it is now, for [`VaultOptions::expect_at_least`](crate::VaultOptions::expect_at_least).
    ///
    /// # Errors
    ///
    /// [`Forbidden`](ErrorKind::Forbidden) for a restricted handle.
    pub fn pin(&self) -> Result<VaultPin> {
        self.act(Operation::Pin, Subject::Vault, |act| Ok(act.inner().pin()))
    }

    /// Tells the rollback guard of the newest state now rather than within a second; nothing to do without a guard.
    ///
    /// # Errors
    ///
    /// [`Forbidden`](ErrorKind::Forbidden) for a restricted handle;
    /// [`GuardUnavailable`](ErrorKind::GuardUnavailable) when the guard does not take it.
    pub fn sync_rollback_guard(&self) -> Result<()> {
        self.act(Operation::SyncRollbackGuard, Subject::Vault, |act| {
            act.inner().tell_guard()
        })
    }

    /// Believes the clock as it is now, also when an earlier commit saw a later time.
    ///
    /// A vault's time never goes back by itself, so that nobody makes an expired key valid by setting the clock
    /// back; call this after the clock was wrong in the future and has been corrected.
    ///
    /// # Errors
    ///
    /// [`Forbidden`](ErrorKind::Forbidden) for a restricted handle, and the errors of storage.
    pub fn reset_time_floor(&self) -> Result<()> {
        self.act(Operation::ResetTimeFloor, Subject::Vault, |act| {
            act.inner().believe_clock(act)
        })
    }
}

/// The guard of one vault, and what it was told last.
#[derive(Debug)]
pub(super) struct Guarded {
    guard: Arc<dyn RollbackGuard>,
    told: Mutex<Told>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Told {
    generation: u64,
    ended: bool,
}

impl Guarded {
    pub(super) fn new(guard: Arc<dyn RollbackGuard>) -> Self {
        Self {
            guard,
            told: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Errors: `GuardUnavailable`; and as [`require_at_least`].
    pub(super) fn require_newest(&self, hierarchy: &Hierarchy, state: &StateFacts) -> Result<()> {
        let pin = self
            .guard
            .recall(hierarchy.vault_id())
            .map_err(unavailable)?;
        match pin {
            Some(pin) => require_at_least(&pin, hierarchy, state),
            None => Ok(()),
        }
    }

    /// Before a vault is created: a guard that serves another vault is not taken for it.
    ///
    /// Errors: `GuardUnavailable`.
    pub(super) fn require_unknown(&self, vault_id: &[u8; 16]) -> Result<()> {
        self.guard.recall(vault_id).map(drop).map_err(unavailable)
    }

    fn tell(&self, pin: &VaultPin) -> Result<()> {
        // Locked until it is done, so that an older state never overtakes a newer one.
        let mut told = self.lock();
        if told.generation < pin.generation() {
            self.guard.remember(pin).map_err(unavailable)?;
            told.generation = pin.generation();
        }
        Ok(())
    }

    fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Waits for the next time to look; whether there is one.
    fn wait(&self) -> bool {
        let told = self.lock();
        if told.ended {
            return false;
        }
        let (told, _) = self
            .changed
            .wait_timeout(told, GUARD_INTERVAL)
            .unwrap_or_else(PoisonError::into_inner);
        !told.ended
    }
}

fn unavailable(error: BackendError) -> Error {
    Error::new(
        ErrorKind::GuardUnavailable,
        "the rollback guard cannot be reached or answers nonsense; nobody can tell whether the vault's directory is \
         the newest one",
    )
    .with_source(error)
}

/// Whether this is the vault of the pin, at least as far as then.
///
/// Errors: `WrongRoot` for another vault or root, `RolledBack` for an older state or another one of the same
/// generation.
pub(super) fn require_at_least(
    pin: &VaultPin,
    hierarchy: &Hierarchy,
    state: &StateFacts,
) -> Result<()> {
    if pin.vault_id() != hierarchy.vault_id() || *pin.fingerprint() != hierarchy.fingerprint() {
        return Err(Error::new(
            ErrorKind::WrongRoot,
            "the pin is that of another vault, or of this one under another root",
        ));
    }
    let (have, expected) = (state.generation, pin.generation());
    if have < expected {
        return Err(Error::new(
            ErrorKind::RolledBack,
            format!(
                "the vault's directory is an older copy: it has generation {have}, and generation {expected} is \
                 known to exist; restore the newest copy"
            ),
        ));
    }
    if have == expected && state.state_hash != *pin.state_hash() {
        return Err(Error::new(
            ErrorKind::RolledBack,
            format!(
                "the vault's directory is another copy than the one that generation {have} is known of"
            ),
        ));
    }
    Ok(())
}

impl Inner {
    fn pin(&self) -> VaultPin {
        let state = self.store.state();
        VaultPin::new(
            *self.hierarchy.vault_id(),
            self.hierarchy.fingerprint(),
            state.generation,
            state.state_hash,
        )
    }

    /// Errors: `GuardUnavailable`.
    fn tell_guard(&self) -> Result<()> {
        self.guard
            .as_ref()
            .map_or(Ok(()), |guarded| guarded.tell(&self.pin()))
    }

    /// The last word to the guard; nothing is told to it afterwards.
    pub(super) fn end_guard(&self) -> Result<()> {
        let Some(guarded) = &self.guard else {
            return Ok(());
        };
        guarded.end();
        match self.store.ensure_usable() {
            Ok(()) => self.tell_guard(),
            // Nobody knows what is on the disk.
            Err(_) => Ok(()),
        }
    }

    /// Tells the guard of changes, once a second, until the vault is closed.
    pub(super) fn start_guard(self: &Arc<Self>) -> Result<()> {
        let Some(guarded) = &self.guard else {
            return Ok(());
        };
        self.tell_guard()?;
        let guarded = Arc::clone(guarded);
        let vault: Weak<Self> = Arc::downgrade(self);
        thread::Builder::new()
            .name("strongroom-guard".to_owned())
            .spawn(move || {
                while guarded.wait() {
                    let Some(vault) = vault.upgrade() else { return };
                    if vault.store.ensure_usable().is_err() {
                        return;
                    }
                    // It is tried again; closing and `sync_rollback_guard` tell of it.
                    let _ = vault.tell_guard();
                }
            })
            .map(drop)
            .map_err(|error| {
                Error::new(
                    ErrorKind::Io,
                    "the system started no thread for the rollback guard",
                )
                .with_source(error)
            })
    }

    pub(super) fn believe_clock(&self, act: &Act<'_>) -> Result<()> {
        let options = CommitOptions {
            reset_time_floor: true,
            ..CommitOptions::default()
        };
        act.commit(Vec::new(), options)?;
        self.time_floor_ms.store(
            self.store.max_time_seen_ms(),
            std::sync::atomic::Ordering::Relaxed,
        );
        Ok(())
    }
}

/// A rollback guard in a file: one pin as text, replaced as a whole.
///
/// It protects a vault from whoever can put back the vault's directory and cannot put back this file, so it belongs
/// on another disk or file system, with an owner of its own. One file serves one vault.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use strongroom::{FileRollbackGuard, MasterKey, Unlock, VaultOptions};
///
/// # let directory = tempfile::tempdir()?;
/// # let (path, elsewhere) = (directory.path().join("vault"), directory.path().join("pin"));
/// # let key = MasterKey::generate()?;
/// let guard = Arc::new(FileRollbackGuard::new(elsewhere));
/// let vault = VaultOptions::new().rollback_guard(guard).create(&path, Unlock::raw_key(&key))?;
/// vault.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct FileRollbackGuard {
    path: PathBuf,
}

impl FileRollbackGuard {
    /// More than a pin has; a longer file is none.
    const MAX_LENGTH: u64 = 1_024;

    /// The file need not exist; its directory must.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    fn failed(&self, error: std::io::Error) -> BackendError {
        BackendError::new(
            BackendErrorKind::Unavailable,
            format!(
                "the file {} of the rollback guard failed",
                self.path.display()
            ),
        )
        .with_source(error)
    }

    fn no_pin(&self) -> BackendError {
        BackendError::new(
            BackendErrorKind::Rejected,
            format!(
                "the file {} of the rollback guard holds no pin of this vault",
                self.path.display()
            ),
        )
    }
}

impl RollbackGuard for FileRollbackGuard {
    fn recall(&self, vault_id: &[u8; 16]) -> BackendResult<Option<VaultPin>> {
        let length = match fs::metadata(&self.path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed(error)),
        };
        if length > Self::MAX_LENGTH {
            return Err(self.no_pin());
        }
        let text = fs::read_to_string(&self.path).map_err(|error| self.failed(error))?;
        let pin: VaultPin = text.parse().map_err(|_| self.no_pin())?;
        if pin.vault_id() != vault_id {
            return Err(self.no_pin());
        }
        Ok(Some(pin))
    }

    fn remember(&self, pin: &VaultPin) -> BackendResult<()> {
        let mut new = self.path.clone().into_os_string();
        new.push(".new");
        let directory = match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let write = || {
            let mut file = fs::File::create(&new)?;
            file.write_all(format!("{pin}\n").as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &self.path)?;
            fs::File::open(directory)?.sync_all()
        };
        write().map_err(|error| self.failed(error))
    }
}
