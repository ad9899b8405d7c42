//! Locking a vault: by hand, and when nobody uses it.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::gate::Gate;
use super::grant::Grant;
use super::{Inner, Operation, Vault};
use crate::error::{Error, ErrorKind, Result};
use crate::secret::{MemoryReport, wipe_stack};

/// How long [`Vault::lock`] waits for operations in flight.
const PATIENCE: Duration = Duration::from_secs(10);

/// The time without use is measured in so many steps.
const STEPS: u32 = 8;

/// The shortest step.
const SHORTEST_STEP: Duration = Duration::from_millis(5);

impl Vault {
    /// Locks the vault: refuses new work, waits up to ten seconds for operations in flight, writes what
    /// [`Vault::close`] writes, and wipes every secret of this vault in memory, whoever still holds a clone of
    /// this handle, a [`BoundKey`](crate::BoundKey) or an iterator. The files are let go of.
    ///
    /// Later calls give [`VaultLocked`](ErrorKind::VaultLocked), and so does this one never: a vault that is locked
    /// stays so, and locking it again is no error. To go on, open the vault anew.
    ///
    /// What was given out is out of reach: the [`MasterKey`](crate::MasterKey), a
    /// [`SecurityDomain`](crate::SecurityDomain), decrypted data. Tokens keep their sessions until their backend is
    /// dropped.
    ///
    /// # Errors
    ///
    /// [`Throttled`](ErrorKind::Throttled) when operations were still in flight after ten seconds: nothing is wiped
    /// yet, new work is refused, and this can be called again. [`VaultFailed`](ErrorKind::VaultFailed) for a vault
    /// that was closed, which has nothing in memory any more; [`Forbidden`](ErrorKind::Forbidden) for a restricted
    /// handle; [`ForkedProcess`](ErrorKind::ForkedProcess). And the [`ErrorKind`] of a last write that failed: the
    /// vault is locked all the same.
    ///
    /// # Examples
    ///
    /// ```
    /// # use strongroom::*;
    /// # let vault = VaultOptions::new().create_in_memory()?;
    /// # let name = KeyName::from_static("signer");
    /// # vault.create_key(&name, CreateKeyOptions::ec(Curve::P256))?;
    /// let signer = vault.key(&name)?;
    /// vault.lock()?;
    /// let error = signer.sign_data(SignatureAlgorithm::Es256, b"text").unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::VaultLocked);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn lock(&self) -> Result<()> {
        self.inner.lock(&self.grant, PATIENCE)
    }

    /// Whether the vault was locked or closed.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        !self.inner.gate.is_open()
    }

    /// What the system grants of the protection of memory, now.
    #[must_use]
    pub fn memory_report(&self) -> MemoryReport {
        MemoryReport::now()
    }
}

impl Inner {
    pub(super) fn lock(&self, grant: &Grant, patience: Duration) -> Result<()> {
        self.act_on_gate(grant, Operation::Lock, |act| {
            self.gate.lock()?;
            if !self.gate.wait_until_empty(patience) {
                return Err(Error::new(
                    ErrorKind::Throttled,
                    "operations are still in flight, so nothing is wiped yet; new ones are refused; \
                     call lock again when they have ended",
                ));
            }
            act.record_now();
            self.shut()
        })
    }

    /// Writes what has to be written and lets go of everything secret.
    pub(super) fn shut(&self) -> Result<()> {
        let counts = self.settle_gcm_counts();
        self.cache.clear();
        self.version_order.clear();
        let guarded = self.end_guard();
        let closed = self.store.close();
        drop(self.lock_scratch().take());
        self.hierarchy.let_go();
        self.header.let_go();
        wipe_stack();
        counts.and(closed).and(guarded)
    }
}

/// A thread that locks a vault which nobody uses. It ends with the vault.
pub(super) struct IdleLock {
    ended: Arc<(Mutex<bool>, Condvar)>,
}

impl IdleLock {
    /// Errors: `Io` when the system starts no thread.
    pub(super) fn start(inner: &Arc<Inner>, idle: Duration) -> Result<()> {
        let ended = Arc::<(Mutex<bool>, Condvar)>::default();
        let lock = Self {
            ended: Arc::clone(&ended),
        };
        if inner.idle_lock.set(lock).is_err() {
            return Err(Error::internal("a vault has one thread that locks it"));
        }
        let weak = Arc::downgrade(inner);
        let gate = Arc::clone(&inner.gate);
        std::thread::Builder::new()
            .name("strongroom-idle".to_owned())
            .spawn(move || watch(&weak, &gate, &ended, idle))
            .map(drop)
            .map_err(|error| {
                Error::new(ErrorKind::Io, "the system started no thread for the vault")
                    .with_source(error)
            })
    }
}

/// Looks [`STEPS`] times in `idle` whether an operation began or was in flight, and locks when none was for that
/// long. The vault itself is taken hold of only then, so that its last handle closes it elsewhere.
fn watch(inner: &Weak<Inner>, gate: &Gate, ended: &(Mutex<bool>, Condvar), idle: Duration) {
    let step = (idle / STEPS).max(SHORTEST_STEP);
    let mut seen = None;
    let mut unused = Duration::ZERO;
    while gate.is_open() {
        let begun = std::time::Instant::now();
        let over = ended.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (over, _) = ended
            .1
            .wait_timeout_while(over, step, |over| !*over)
            .unwrap_or_else(PoisonError::into_inner);
        if *over {
            return;
        }
        drop(over);
        let now = gate.entries_at_rest();
        if now.is_some() && now == seen {
            unused += begun.elapsed();
        } else {
            unused = Duration::ZERO;
        }
        seen = now;
        if unused >= idle {
            if let Some(inner) = inner.upgrade() {
                // It has nobody to tell; the next call meets the locked vault.
                let _ = inner.lock(&Grant::default(), PATIENCE);
            }
            return;
        }
    }
}

impl Drop for IdleLock {
    fn drop(&mut self) {
        *self.ended.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.ended.1.notify_all();
    }
}

impl fmt::Debug for IdleLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdleLock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::name::KeyName;
    use crate::model::options::CreateKeyOptions;
    use crate::model::spec::Curve;
    use crate::vault::VaultOptions;

    const KEY: KeyName = KeyName::from_static("key");

    #[test]
    fn a_lock_that_waits_in_vain_wipes_nothing_and_can_be_repeated() {
        let vault = VaultOptions::new().create_in_memory().unwrap();
        vault
            .create_key(&KEY, CreateKeyOptions::ec(Curve::P256))
            .unwrap();
        let operation = vault.inner.gate.enter(None).unwrap();
        let error = vault
            .inner
            .lock(&Grant::default(), Duration::from_millis(20))
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Throttled);
        assert!(error.is_retryable());
        assert!(vault.is_locked());
        // The operation in flight still finds everything.
        vault
            .inner
            .store
            .read(|view| vault.inner.load_active(view, &KEY))
            .unwrap();
        drop(operation);
        vault.lock().unwrap();
        assert!(vault.inner.hierarchy.meta_key().is_err());
        assert!(vault.inner.header.rings().sdk.epochs.is_empty());
        assert_eq!(
            vault.inner.header.rings().kek.current_key.expose(),
            &[0; 32]
        );
    }

    #[test]
    fn a_close_lets_go_of_the_keys_too() {
        let vault = VaultOptions::new().create_in_memory().unwrap();
        vault.close().unwrap();
        assert!(vault.inner.hierarchy.meta_key().is_err());
        assert_eq!(
            vault.inner.header.rings().kek.current_key.expose(),
            &[0; 32]
        );
    }
}
