//! Orchestration: the vault and its operations.

mod ability;
mod act;
mod acts;
#[cfg(feature = "testing")]
mod at_rest_keys;
mod attestation;
mod audit;
mod audit_checkpoint;
mod backend_finding;
mod backup;

mod batches;
mod bound;
mod cache;
mod check;
mod compact;
mod creating;
mod crypto_ops;
mod domain;
mod domain_epochs;
mod drafts;
mod explain;
mod founding;
mod gate;
mod gcm;
mod gcm_counter;
mod grant;
pub mod hazmat;
mod header;
mod identity;
mod intents;
mod kek_rotation;
mod key_attestation;
mod key_events;
mod key_transfer;
mod keys;
mod lifecycle;
mod listing;
mod locking;
mod maintenance;
mod making_many;
mod metrics;
#[cfg(feature = "rest")]
mod named;
mod open;
mod open_report;
mod operate;
mod options;
mod perform;
mod policies;
mod read_only;
mod reconcile;
mod recorder;
mod records;
mod release;
mod restore;
mod restore_counts;
mod restore_options;
mod restore_plan;
mod restore_write;
mod rollback;
mod root_rotation;
mod rotation_policy;
mod salvage;
#[cfg(test)]
mod schedules_tests;
mod scratch_copy;
mod settings;
#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests read files")]
mod shred_tests;
mod slots;
mod starting;
mod status;
mod stream_parts;
mod sync;
mod tombstones;
#[cfg(feature = "tracing")]
mod trace;
mod version_order;
mod versions;
mod whole;
mod whole_report;
mod whole_restore;
mod whole_settings;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use self::act::{Act, Subject};
use self::acts::Operation;
pub use self::attestation::AttestationAuthority;
pub use self::audit::{AuditEntries, AuditReport};
pub use self::audit_checkpoint::{AuditCheckpoint, verify_audit_checkpoint};
pub use self::backend_finding::{BackendFinding, BackendFindingKind};
pub use self::backup::{BackupContents, BackupOptions, BackupSummary, KeyBackup};
pub use self::bound::BoundKey;
use self::cache::KeyCache;
pub use self::check::{CheckFinding, CheckReport};
pub use self::compact::CompactionReport;
pub use self::domain::{DomainFile, SecurityDomain};
pub use self::domain_epochs::DomainEpoch;
pub use self::explain::Refusal;
use self::gate::Gate;
use self::gcm::GcmCounters;
use self::grant::Grant;
use self::header::HeaderKeeper;
use self::intents::UnderWay;
pub use self::kek_rotation::{KekRotation, Shredding};
pub use self::key_attestation::{AttestedKey, KeyAttestation};
pub use self::key_events::{KeyEvent, KeyEventKind, KeyEventSubscriber};
pub use self::listing::{DeletedKeyIterator, KeyIterator, KeyVersionIterator};
use self::locking::IdleLock;
pub use self::maintenance::{
    MaintenanceOptions, MaintenanceReport, ScheduledEvent, ScheduledEventKind,
};
use self::metrics::Counters;
pub use self::metrics::{Metrics, OperationMetrics};
pub use self::open_report::{OpenFinding, OpenReport};
pub use self::options::VaultOptions;
use self::policies::AccessPolicies;
use self::recorder::Recorder;
pub use self::release::{ReleaseOptions, ReleaseResult};
pub use self::restore_options::{NameState, RestoreOptions, RestorePlan, RestoreResult};
pub use self::rollback::FileRollbackGuard;
use self::rollback::Guarded;
pub use self::salvage::SalvageReport;
use self::scratch_copy::ScratchCopy;
pub use self::slots::{UnlockKind, UnlockSlot};
pub use self::status::VaultStatus;
use self::tombstones::TombstoneList;
use self::version_order::VersionOrder;
pub use self::whole_report::{KeyOutcome, Progress, VaultBackupReport, VaultRestoreReport};
use crate::backend::KeyBackend;
use crate::env::{Clock, Entropy};
use crate::error::{Error, ErrorKind, Result};
use crate::format::settings::DomainEpochs;
use crate::model::identifier::{KeyIdentifier, VaultUrl};
use crate::model::key::BackendId;
use crate::model::name::KeyName;
use crate::model::options::Placement;
use crate::model::settings::{DeletionSettings, RulesInForce};
use crate::model::time::Timestamp;
use crate::model::version::KeyVersion;
use crate::policy::Now;
use crate::seal::header::OpenLimits;
use crate::seal::hierarchy::Hierarchy;
use crate::seal::slot::PassphraseCost;
use crate::store::{Change, CommitOptions, Store};

/// A key store in a directory.
///
/// A handle is cheap to clone, and all clones are one open vault; it is closed when the last clone
/// is dropped, or at once by [`Vault::close`]. Calls block, for about as long as the primitive
/// takes, or for a write to disk where a method says so: in an async program, use the runtime's
/// `spawn_blocking`.
///
/// **Durability.** When a method that changes something returns `Ok`, the change survives a power
/// cut. When it returns an error of the storage, the handle refuses everything else with
/// [`VaultFailed`](ErrorKind::VaultFailed) until the vault is opened again, because nobody knows what
/// is on the disk.
///
/// # Examples
///
/// ```
/// use strongroom::{CreateKeyOptions, Curve, KeyName, MasterKey, SignatureAlgorithm, Unlock, VaultOptions};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("vault");
/// let master = MasterKey::generate()?;
/// let vault = VaultOptions::new().create(&path, Unlock::raw_key(&master))?;
///
/// const SIGNER: KeyName = KeyName::from_static("invoice-signer");
/// vault.create_key(&SIGNER, CreateKeyOptions::ec(Curve::P256).tag("team", "billing"))?;
/// let signed = vault.sign_data(&SIGNER, SignatureAlgorithm::Es256, b"invoice 7")?;
///
/// vault.rotate_key(&SIGNER)?;
/// vault.verify_data(signed.key_id(), SignatureAlgorithm::Es256, b"invoice 7", signed.signature())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Vault {
    inner: Arc<Inner>,
    grant: Grant,
}

pub(crate) struct Inner {
    store: Store,
    hierarchy: Arc<Hierarchy>,
    header: HeaderKeeper,
    passphrase_cost: PassphraseCost,
    limits: OpenLimits,
    allow_sole_device_slot: bool,
    url: VaultUrl,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// The software backend first.
    backends: Vec<Arc<dyn KeyBackend>>,
    leeway_seconds: u64,
    deletion: RwLock<DeletionSettings>,
    rules: RulesInForce,
    /// Held while they are changed.
    rules_change: Mutex<()>,
    tombstones: Mutex<TombstoneList>,
    domain_log: Mutex<DomainEpochs>,
    access: AccessPolicies,
    recorder: Recorder,
    /// Held while the identity key is made.
    identity_making: Mutex<()>,
    counters: Counters,
    cache: KeyCache,
    version_order: VersionOrder,
    locks: KeyLocks,
    gcm: GcmCounters,
    under_way: UnderWay,
    guard: Option<Arc<Guarded>>,
    subscriber: Option<Arc<dyn KeyEventSubscriber>>,
    attestation_authority: Option<Arc<dyn AttestationAuthority>>,
    /// The latest time that any commit has seen, in milliseconds since 1970.
    time_floor_ms: AtomicU64,
    open_report: OpenReport,
    /// Goes last, when nothing uses its files any more.
    scratch: Mutex<Option<ScratchCopy>>,
    gate: Arc<Gate>,
    idle_lock: OnceLock<IdleLock>,
}

impl Vault {
    /// Closes the vault for every clone of this handle, and reports what a drop would keep quiet.
    ///
    /// Counts of GCM encryptions are written back exactly, the anchor is synced, and the lock is
    /// released. Later calls fail with [`VaultFailed`](ErrorKind::VaultFailed). The vault's secrets are wiped when
    /// the operations in flight have ended; [`Vault::lock`] waits for them.
    ///
    /// # Errors
    ///
    /// [`Forbidden`](ErrorKind::Forbidden) for a restricted handle. The [`ErrorKind`] of a last write that failed;
    /// the vault is closed all the same. And [`ForkedProcess`](ErrorKind::ForkedProcess): nothing is done then, here
    /// as at a drop.
    pub fn close(&self) -> Result<()> {
        self.inner
            .act_on_gate(&self.grant, Operation::Close, |act| {
                act.record_now();
                act.inner().close()
            })
    }

    /// The base URL in identifiers.
    #[must_use]
    pub fn url(&self) -> &VaultUrl {
        &self.inner.url
    }

    /// The backends: software first, then those that were given.
    ///
    /// # Errors
    ///
    /// [`Forbidden`](ErrorKind::Forbidden) for a restricted handle.
    pub fn backends(&self) -> Result<impl Iterator<Item = &dyn KeyBackend>> {
        self.act(Operation::Backends, Subject::Vault, |act| {
            Ok(act.inner().backends.iter().map(|backend| &**backend))
        })
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault")
            .field("url", &self.inner.url.as_str())
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn close(&self) -> Result<()> {
        if !self.gate.is_here() {
            return Err(gate::forked());
        }
        self.gate.close();
        self.shut()
    }

    fn lock_scratch(&self) -> MutexGuard<'_, Option<ScratchCopy>> {
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The later of the clock and the latest time that a commit has seen.
    fn now_ms(&self) -> u64 {
        self.clock
            .unix_milliseconds()
            .max(self.time_floor_ms.load(Ordering::Relaxed))
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_unix_milliseconds(self.now_ms())
    }

    fn decision_time(&self, now_ms: u64) -> Now {
        Now {
            time: Timestamp::from_unix_milliseconds(now_ms),
            leeway_seconds: self.leeway_seconds,
        }
    }

    /// Makes changes of one key durable, and then visible.
    fn commit(&self, act: &Act<'_>, name: &KeyName, changes: Vec<Change>) -> Result<()> {
        // Also after an error: what is on the disk is unknown then.
        let change = self.cache.change(name);
        let committed = act.commit(changes, CommitOptions::default());
        drop(change);
        self.note_time();
        committed
    }

    /// As [`Inner::commit`] for several keys, each all or nothing.
    fn commit_each(&self, wanted: Vec<(&Act<'_>, &KeyName, Vec<Change>)>) -> Vec<Result<()>> {
        let changing: Vec<_> = wanted
            .iter()
            .map(|(_, name, _)| self.cache.change(name))
            .collect();
        let wanted = wanted
            .into_iter()
            .map(|(act, _, changes)| (act, changes))
            .collect();
        let committed = Act::commit_each(self, wanted);
        drop(changing);
        self.note_time();
        committed
    }

    fn note_time(&self) {
        self.time_floor_ms
            .fetch_max(self.store.max_time_seen_ms(), Ordering::Relaxed);
    }

    fn identifier(&self, name: &KeyName, version: KeyVersion) -> KeyIdentifier {
        KeyIdentifier::new(self.url.clone(), name.clone(), version)
    }

    fn deletion_settings(&self) -> DeletionSettings {
        *self.deletion.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_rules(&self) -> MutexGuard<'_, ()> {
        self.rules_change
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self, placement: &Placement) -> Result<&Arc<dyn KeyBackend>> {
        match placement {
            Placement::Software => self
                .backends
                .first()
                .ok_or_else(|| Error::internal("a vault without its software backend")),
            Placement::FirstHardware => self
                .backends
                .iter()
                .find(|backend| backend.is_hardware())
                .ok_or_else(|| {
                    // To try again would not help.
                    Error::new(
                        ErrorKind::Unsupported,
                        "an -HSM key needs a hardware backend: add one with VaultOptions::backend",
                    )
                }),
            Placement::Named(id) => self.backend(id),
        }
    }

    fn backend(&self, id: &BackendId) -> Result<&Arc<dyn KeyBackend>> {
        self.backends
            .iter()
            .find(|backend| backend.id() == id)
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::BackendUnavailable,
                    format!("the backend {id} is not attached: add it with VaultOptions::backend"),
                )
            })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // A drop has nobody to tell; `Vault::close` does. In a forked child it does nothing at all.
        let _ = self.close();
    }
}

/// Serialises the changes of one key; changes of other keys go on, and share commits.
struct KeyLocks {
    stripes: Vec<Mutex<()>>,
    hasher: std::hash::RandomState,
}

impl KeyLocks {
    const STRIPES: usize = 1024;

    fn new() -> Self {
        Self {
            stripes: (0..Self::STRIPES).map(|_| Mutex::default()).collect(),
            hasher: std::hash::RandomState::new(),
        }
    }

    /// Whoever holds one may not ask for another: several are taken by [`KeyLocks::lock_all`].
    fn lock(&self, name: &KeyName) -> MutexGuard<'_, ()> {
        self.lock_stripe(self.stripe(name))
    }

    /// In one order, so that nobody waits for somebody who waits for him.
    fn lock_all<'n>(
        &self,
        names: impl IntoIterator<Item = &'n KeyName>,
    ) -> Vec<MutexGuard<'_, ()>> {
        let stripes: BTreeSet<usize> = names.into_iter().map(|name| self.stripe(name)).collect();
        stripes
            .into_iter()
            .map(|stripe| self.lock_stripe(stripe))
            .collect()
    }

    fn stripe(&self, name: &KeyName) -> usize {
        use std::hash::BuildHasher;
        let hash = self.hasher.hash_one(name);
        usize::try_from(hash % Self::STRIPES as u64).unwrap_or(0)
    }

    fn lock_stripe(&self, stripe: usize) -> MutexGuard<'_, ()> {
        self.stripes[stripe]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
