//! Creating, opening and destroying vaults.

use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use std::time::Duration;

use super::cache::KeyCache;
use super::domain::{NewDomain, SecurityDomain};
use super::founding::FreshKeys;
use super::gate::Gate;
use super::gcm::GcmCounters;
use super::grant::Grant;
use super::header::{HeaderKeeper, Rings, header_facts};
use super::intents::UnderWay;
use super::locking::IdleLock;
use super::metrics::Counters;
use super::policies::AccessPolicies;
use super::recorder::Recorder;
use super::rollback::{Guarded, require_at_least};
use super::scratch_copy::ScratchCopy;

use super::tombstones::{TombstoneList, open_setting};
use super::{Inner, KeyLocks, OpenReport, Vault};
use crate::backend::software::SoftwareBackend;
use crate::backend::{KeyBackend, RollbackGuard};
use crate::env::{Clock, Entropy, OsEntropy, SystemClock};
use crate::error::{Error, Result};
use crate::format::header::{StoredHeader, choose};
use crate::format::settings::{
    self, ALGORITHM_RULES, AUDIT_OPTIONS, DELETION_SETTINGS, DOMAIN_EPOCHS,
};
use crate::model::attributes::SoftDelete;
use crate::model::audit::AuditOptions;
use crate::model::identifier::VaultUrl;
use crate::model::pin::VaultPin;
use crate::model::settings::DeletionSettings;
use crate::seal::backup::BackupKey;
use crate::seal::header::{OpenLimits, OpenedHeader, open_first};
use crate::seal::hierarchy::Hierarchy;
use crate::seal::passphrase::PassphraseParameters;
use crate::seal::slot::{PassphraseCost, Unlock};
use crate::seal::{Suite, hash32};
use crate::secret::{MemoryProtection, wipe_stack};
use crate::store::{HeaderFacts, OpenMode, Store, StoreConfig, VaultDir, header_file};

/// What the storage engine's cache aims at by default, in bytes.
const DEFAULT_STORAGE_CACHE: u64 = 256 * 1024 * 1024;

/// How many open key versions are kept by default.
const DEFAULT_KEY_CACHE: usize = 1_024;

/// How many open key versions are kept in protected memory; the largest takes 2.4 KiB.
const MAX_PROTECTED_KEYS: usize = 256;

/// The longest leeway, in seconds: Azure's "few minutes".
const MAX_LEEWAY_SECONDS: u64 = 600;

/// How a vault is created and opened.
///
/// # Examples
///
/// ```
/// use strongroom::{MasterKey, SoftDelete, Unlock, VaultOptions};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("vault");
/// let master = MasterKey::generate()?;
/// let options = || VaultOptions::new().soft_delete(SoftDelete::DEFAULT);
/// options().create(&path, Unlock::raw_key(&master))?.close()?;
/// let vault = options().open(&path, Unlock::raw_key(&master))?;
/// # drop(vault);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct VaultOptions {
    pub(super) url: VaultUrl,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) backends: Vec<Arc<dyn KeyBackend>>,
    pub(super) deletion: DeletionSettings,
    pub(super) suite: Suite,
    pub(super) passphrase_cost: PassphraseCost,
    pub(super) limits: OpenLimits,
    pub(super) allow_sole_device_slot: bool,
    pub(super) least: Option<VaultPin>,
    pub(super) guard: Option<Arc<Guarded>>,
    pub(super) guard_knows_another_root: bool,
    pub(super) leeway_seconds: u64,
    pub(super) key_cache: usize,
    pub(super) storage_cache: u64,
    pub(super) rebuild_anchor: bool,
    pub(super) memory: MemoryProtection,
    pub(super) lock_after_idle: Option<Duration>,
    pub(super) audit: Option<AuditOptions>,
    /// Of a vault that is opened to be read only.
    pub(super) scratch: Option<ScratchCopy>,
}

/// What an existing vault is opened for.
pub(super) enum Opening {
    Normal,
    /// In this copy of its files.
    ReadOnly(ScratchCopy),
}

impl Default for VaultOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl VaultOptions {
    /// The defaults: soft delete for 90 days, AES-256-GCM at rest, the system's clock and random generator,
    /// software keys only.
    #[must_use]
    pub fn new() -> Self {
        Self {
            url: VaultUrl::default(),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(OsEntropy),
            backends: Vec::new(),
            deletion: DeletionSettings::default(),
            suite: Suite::Aes256Gcm,
            passphrase_cost: PassphraseCost::Default,
            limits: OpenLimits::default(),
            allow_sole_device_slot: false,
            least: None,
            guard: None,
            guard_knows_another_root: false,
            leeway_seconds: 0,
            key_cache: DEFAULT_KEY_CACHE,
            storage_cache: DEFAULT_STORAGE_CACHE,
            rebuild_anchor: false,
            scratch: None,
            memory: MemoryProtection::default(),
            lock_after_idle: None,
            audit: None,
        }
    }

    /// The base URL in identifiers; by default `https://vault.invalid`. It is not stored.
    #[must_use]
    pub fn url(mut self, url: VaultUrl) -> Self {
        self.url = url;
        self
    }

    /// Another clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Another source of random bytes, for keys, ids, salts and IVs alike.
    #[must_use]
    pub fn entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.entropy = entropy;
        self
    }

    /// Adds a backend besides the software one. Its id must be its own.
    #[must_use]
    pub fn backend(mut self, backend: Arc<dyn KeyBackend>) -> Self {
        self.backends.push(backend);
        self
    }

    /// When creating: how long deleted keys are recoverable. It cannot be changed later.
    #[must_use]
    pub fn soft_delete(mut self, soft_delete: SoftDelete) -> Self {
        self.deletion.soft_delete = soft_delete;
        self
    }

    /// When creating: nobody can purge a deleted key before its scheduled date. It cannot be switched off
    /// later.
    #[must_use]
    pub fn purge_protection(mut self) -> Self {
        self.deletion.purge_protection = true;
        self
    }

    /// When creating: seals records with ChaCha20-Poly1305 in place of AES-256-GCM, for processors
    /// without AES instructions. Everything else about the construction is the same.
    #[must_use]
    pub fn chacha20_poly1305(mut self) -> Self {
        self.suite = Suite::ChaCha20Poly1305;
        self
    }

    /// What a guess of a passphrase costs, in slots that are made: when creating, and by
    /// [`Vault::add_unlock_slot`].
    ///
    /// When a vault is opened with a passphrase whose slot costs less, the slot is sealed anew with these
    /// parameters. Without this option the library's default holds, and a later, higher default raises the slots
    /// that were made with an earlier one.
    #[must_use]
    pub fn passphrase_parameters(mut self, parameters: PassphraseParameters) -> Self {
        self.passphrase_cost = PassphraseCost::Chosen(parameters);
        self
    }

    /// When opening with a passphrase: the most KiB times passes that a slot may ask for, 1 GiB (1,048,576) by
    /// default; dearer slots give [`KdfCostRefused`](crate::ErrorKind::KdfCostRefused).
    #[must_use]
    pub fn max_kdf_work_kib(mut self, kib: u64) -> Self {
        self.limits.max_kdf_work_kib = kib;
        self
    }

    /// When opening: the vault must have the root key with this fingerprint, which
    /// [`VaultStatus::fingerprint`](crate::VaultStatus::fingerprint) showed before; another gives
    /// [`WrongRoot`](crate::ErrorKind::WrongRoot).
    ///
    /// It stops a directory that was exchanged for another one under the same key, and is required for slots that
    /// a public key opens, which anybody can make.
    #[must_use]
    pub fn expect_root(mut self, fingerprint: [u8; 32]) -> Self {
        self.limits.expected_root = Some(fingerprint);
        self
    }

    /// When opening: the vault must be the one of the pin, and at least as new; see [`Vault::pin`].
    ///
    /// Another vault or root gives [`WrongRoot`](crate::ErrorKind::WrongRoot), an older copy
    /// [`RolledBack`](crate::ErrorKind::RolledBack).
    #[must_use]
    pub fn expect_at_least(mut self, pin: VaultPin) -> Self {
        self.least = Some(pin);
        self
    }

    /// Remembers outside the directory how far the vault has got, and refuses an older copy of the directory with
    /// [`RolledBack`](crate::ErrorKind::RolledBack) when opening.
    ///
    /// The guard is told within a second of a change, so a copy of the last second before a crash passes. A guard
    /// that fails when opening gives [`GuardUnavailable`](crate::ErrorKind::GuardUnavailable); while the vault is open it is
    /// tried again, and [`Vault::close`] tells of a last failure. A guard that knows nothing of the vault believes
    /// it: pin the vault as well if that matters.
    #[must_use]
    pub fn rollback_guard(mut self, guard: Arc<dyn RollbackGuard>) -> Self {
        self.guard = Some(Arc::new(Guarded::new(guard)));
        self
    }

    /// Allows a vault whose only slots are those of tokens and keyrings: it is lost with them.
    #[must_use]
    pub fn allow_sole_device_slot(mut self) -> Self {
        self.allow_sole_device_slot = true;
        self
    }

    /// Seconds by which not-before and expiry are stretched, for clocks that differ: 0 by default, at most
    /// 600.
    #[must_use]
    pub fn leeway_seconds(mut self, seconds: u64) -> Self {
        self.leeway_seconds = seconds.min(MAX_LEEWAY_SECONDS);
        self
    }

    /// How many open key versions are kept in memory between operations: 1,024 by default, 0 for none.
    #[must_use]
    pub fn key_cache(mut self, versions: usize) -> Self {
        self.key_cache = versions;
        self
    }

    /// Bytes of sealed records that the storage engine aims to keep in memory: 256 MiB by default. It is a
    /// target, not a limit; reading is fast while the records fit.
    #[must_use]
    pub fn storage_cache(mut self, bytes: u64) -> Self {
        self.storage_cache = bytes;
        self
    }

    /// How secrets are kept in memory: [`MemoryProtection::Standard`] by default. Full protection makes each
    /// operation parse its key anew, and keeps at most 256 key versions open.
    #[must_use]
    pub fn memory_protection(mut self, protection: MemoryProtection) -> Self {
        self.memory = protection;
        self
    }

    /// Locks the vault, as [`Vault::lock`] does, when no operation has begun or been in flight for this time; at
    /// the latest a quarter of it, and 10 milliseconds, later. By default it stays open. It takes a thread, which ends
    /// with the vault.
    #[must_use]
    pub fn lock_after_idle(mut self, idle: Duration) -> Self {
        self.lock_after_idle = Some(idle);
        self
    }

    /// When opening: makes the file `vault.anchor` anew if it is missing or holds nothing valid.
    ///
    /// The anchor is what tells the newest state from an older copy of it. Use this once, when you know that
    /// the directory is the newest one; an anchor that is there and disagrees is never replaced.
    #[must_use]
    pub fn rebuild_anchor(mut self) -> Self {
        self.rebuild_anchor = true;
        self
    }

    /// What is recorded in the audit log from now on. It is stored in the vault and holds until it is changed; a
    /// vault that was never told anything records nothing.
    #[must_use]
    pub fn audit(mut self, options: AuditOptions) -> Self {
        self.audit = Some(options);
        self
    }

    /// Creates a vault in a new directory, and opens it.
    ///
    /// Everything is built beside `path`, synced, and renamed: there is no half-made vault. The parent
    /// directory must exist. The new directory has mode 0700, its files 0600.
    ///
    /// # Errors
    ///
    /// [`VaultExists`](crate::ErrorKind::VaultExists) when there is anything at `path`;
    /// [`VaultNotFound`](crate::ErrorKind::VaultNotFound) when its parent is missing;
    /// [`UnsafePermissions`](crate::ErrorKind::UnsafePermissions) when others can write to a parent;
    /// [`BadParameter`](crate::ErrorKind::BadParameter) for options that contradict each other;
    /// [`StorageFull`](crate::ErrorKind::StorageFull), [`ReadOnly`](crate::ErrorKind::ReadOnly), [`Io`](crate::ErrorKind::Io) and
    /// [`RandomUnavailable`](crate::ErrorKind::RandomUnavailable); [`MemoryProtection`](crate::ErrorKind::MemoryProtection)
    /// under [`MemoryProtection::RequireFull`].
    pub fn create(self, path: impl AsRef<Path>, unlock: Unlock<'_>) -> Result<Vault> {
        let create = || {
            let domain = NewDomain::random(&*self.entropy)?;
            self.create_at(path.as_ref(), unlock, &domain)
        };
        let created = create().map_err(|error: Error| error.with_operation("create"));
        wipe_stack();
        created
    }

    /// Creates a vault that shares a security domain: backups of one vault restore in the other.
    ///
    /// # Errors
    ///
    /// As [`VaultOptions::create`].
    pub fn create_in_domain(
        self,
        path: impl AsRef<Path>,
        unlock: Unlock<'_>,
        domain: &SecurityDomain,
    ) -> Result<Vault> {
        let created = domain
            .shared()
            .and_then(|domain| self.create_at(path.as_ref(), unlock, &domain))
            .map_err(|error| error.with_operation("create_in_domain"));
        wipe_stack();
        created
    }

    /// Creates a vault in the security domain that another vault has exported with
    /// [`Vault::export_domain`].
    ///
    /// The file proves no origin. So the domain must be the one with `expected_fingerprint`, which
    /// [`SecurityDomain::fingerprint`] of that vault shows: get it on another way than the file.
    ///
    /// # Errors
    ///
    /// As [`VaultOptions::create`], and as [`SecurityDomain::open`].
    ///
    /// # Examples
    ///
    /// ```
    /// use strongroom::{BackupKey, BackupOptions, MasterKey, RecipientKey, Unlock, VaultOptions};
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("second");
    /// # let first = VaultOptions::new().create_in_memory()?;
    /// // On the second machine:
    /// let key = RecipientKey::generate()?;
    /// // On the first one:
    /// let file = first.export_domain(&BackupOptions::new().recipient(&key.recipient()))?;
    /// let fingerprint = first.security_domain()?.fingerprint(); // read out over the telephone
    /// // On the second one again:
    /// let master = MasterKey::generate()?;
    /// let second = VaultOptions::new().init_in_domain(
    ///     &path,
    ///     Unlock::raw_key(&master),
    ///     &file,
    ///     BackupKey::recipient(&key),
    ///     &fingerprint,
    /// )?;
    /// # drop(second);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn init_in_domain(
        self,
        path: impl AsRef<Path>,
        unlock: Unlock<'_>,
        file: impl AsRef<[u8]>,
        key: BackupKey<'_>,
        expected_fingerprint: &[u8; 32],
    ) -> Result<Vault> {
        let work = self.limits.max_kdf_work_kib;
        SecurityDomain::open(file, key, expected_fingerprint, work)
            .and_then(|domain| domain.shared())
            .and_then(|domain| self.create_at(path.as_ref(), unlock, &domain))
            .map_err(|error| error.with_operation("init_in_domain"))
    }

    /// Creates a vault that lives in memory and ends with its last handle: for tests and scratch keys.
    /// Everything but the files is as in a stored vault.
    ///
    /// # Errors
    ///
    /// [`BadParameter`](crate::ErrorKind::BadParameter) for options that contradict each other;
    /// [`RandomUnavailable`](crate::ErrorKind::RandomUnavailable).
    pub fn create_in_memory(self) -> Result<Vault> {
        let create = || {
            self.check()?;
            let domain = NewDomain::random(&*self.entropy)?;
            let fresh = FreshKeys::new(&*self.entropy, self.suite)?;
            wipe_stack();
            let facts = HeaderFacts {
                seq: 1,
                mac: [0; 32],
                kek_term: fresh.kek.current_term,
            };
            let config = self.store_config(&fresh.hierarchy, facts.clone());
            let store = Store::in_memory(config, self.initial_records(&fresh.hierarchy)?)?;
            let rings = Rings {
                kek: fresh.kek,
                sdk: domain.ring,
                domain_id: domain.id,
            };
            let header = HeaderKeeper::new(None, facts, rings);
            self.start(store, fresh.hierarchy, header, OpenReport::default())
        };
        let created = create().map_err(|error: Error| error.with_operation("create_in_memory"));
        wipe_stack();
        created
    }

    /// Opens an existing vault.
    ///
    /// What a crash left unfinished is finished or undone first; a damaged header copy is rewritten from
    /// the good one. [`Vault::open_report`] tells of it.
    ///
    /// # Errors
    ///
    /// [`VaultNotFound`](crate::ErrorKind::VaultNotFound), [`VaultInUse`](crate::ErrorKind::VaultInUse),
    /// [`WrongKey`](crate::ErrorKind::WrongKey), [`KdfCostRefused`](crate::ErrorKind::KdfCostRefused),
    /// [`Corrupt`](crate::ErrorKind::Corrupt), [`Tampered`](crate::ErrorKind::Tampered),
    /// [`RolledBack`](crate::ErrorKind::RolledBack), [`HeaderReplayed`](crate::ErrorKind::HeaderReplayed),
    /// [`AnchorMissing`](crate::ErrorKind::AnchorMissing), [`NewerFormat`](crate::ErrorKind::NewerFormat),
    /// [`UnsafePermissions`](crate::ErrorKind::UnsafePermissions), [`StorageFull`](crate::ErrorKind::StorageFull),
    /// [`ReadOnly`](crate::ErrorKind::ReadOnly), [`Io`](crate::ErrorKind::Io) and
    /// [`MemoryProtection`](crate::ErrorKind::MemoryProtection) under [`MemoryProtection::RequireFull`].
    pub fn open(self, path: impl AsRef<Path>, unlock: Unlock<'_>) -> Result<Vault> {
        let open = || {
            self.check()?;
            self.open_dir(VaultDir::open(path.as_ref())?, unlock, Opening::Normal)
        };
        let opened = open().map_err(|error: Error| error.with_operation("open"));
        wipe_stack();
        opened
    }

    /// Opens the vault at `path`, or creates one when there is nothing at `path`.
    ///
    /// # Errors
    ///
    /// As [`VaultOptions::open`] and [`VaultOptions::create`].
    pub fn open_or_create(self, path: impl AsRef<Path>, unlock: Unlock<'_>) -> Result<Vault> {
        let path = path.as_ref();
        match path.symlink_metadata() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => self.create(path, unlock),
            _ => self.open(path, unlock),
        }
    }

    /// Opens what lies in a directory that is locked.
    pub(super) fn open_dir(
        mut self,
        dir: VaultDir,
        unlock: Unlock<'_>,
        opening: Opening,
    ) -> Result<Vault> {
        let [copy_a, copy_b] = header_file::read(&dir)?;
        let candidates = choose(&copy_a, &copy_b, hash32)?;
        let OpenedHeader {
            stored,
            root,
            hierarchy,
            kek_ring,
            sdk_ring,
            slot,
        } = open_first(candidates, unlock, self.limits)?;
        // What is built next is moved as a whole, and would take along what lies in its gaps.
        wipe_stack();
        let rings = Rings {
            kek: Arc::new(kek_ring),
            sdk: Arc::new(sdk_ring),
            domain_id: stored.header.domain_id,
        };
        let read_only = matches!(opening, Opening::ReadOnly(_));
        if let Opening::ReadOnly(copy) = opening {
            self.scratch = Some(copy);
        }
        let vault = self.open_store(dir, stored, Arc::new(hierarchy), rings)?;
        if !read_only {
            // So that a lock for want of use does not come between.
            let operation = vault.inner.gate.enter()?;
            vault.inner.raise_cost(unlock, slot, &root)?;
            drop(operation);
        }
        Ok(vault)
    }

    pub(super) fn random_source(&self) -> &dyn Entropy {
        &*self.entropy
    }

    pub(super) fn limits(&self) -> OpenLimits {
        self.limits
    }

    pub(super) fn storage_cache_bytes(&self) -> u64 {
        self.storage_cache
    }

    pub(super) fn set_deletion(&mut self, deletion: DeletionSettings) {
        self.deletion = deletion;
    }

    pub(super) fn check(&self) -> Result<()> {
        self.memory.demand()?;
        if self.deletion.purge_protection && self.deletion.soft_delete.is_off() {
            return Err(Error::bad_parameter("purge protection needs soft delete"));
        }
        let mut ids: Vec<&str> = self
            .backends
            .iter()
            .map(|backend| backend.id().as_str())
            .chain([SoftwareBackend::ID])
            .collect();
        ids.sort_unstable();
        if ids.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Error::bad_parameter(
                "two backends have the same id; the id of the built-in one is `software`",
            ));
        }
        Ok(())
    }

    pub(super) fn store_config(
        &self,
        hierarchy: &Arc<Hierarchy>,
        header: HeaderFacts,
    ) -> StoreConfig {
        StoreConfig {
            hierarchy: Arc::clone(hierarchy),
            entropy: Arc::clone(&self.entropy),
            clock: Arc::clone(&self.clock),
            header,
            generation_before: 0,
            cache_capacity: self.storage_cache,
        }
    }

    pub(super) fn open_store(
        self,
        dir: VaultDir,
        stored: StoredHeader,
        hierarchy: Arc<Hierarchy>,
        rings: Rings,
    ) -> Result<Vault> {
        let facts = header_facts(&stored, rings.kek.current_term);
        let config = self.store_config(&hierarchy, facts.clone());
        let mode = OpenMode {
            rebuild_anchor: self.rebuild_anchor,
            ..OpenMode::default()
        };
        let (store, report) = Store::open_with(dir, config, mode)?;
        let state = store.state();
        if let Some(pin) = &self.least {
            require_at_least(pin, &hierarchy, &state)?;
        }
        if let Some(guard) = &self.guard
            && !self.guard_knows_another_root
        {
            guard.require_newest(&hierarchy, &state)?;
        }
        // Only now is it certain that this header is the newest.
        let healed = store.heal_header(&stored.encode(hash32))?;
        let report = OpenReport::new(report, healed);
        let header = HeaderKeeper::new(Some(stored), facts, rings);
        self.start(store, hierarchy, header, report)
    }

    pub(super) fn start(
        self,
        store: Store,
        hierarchy: Arc<Hierarchy>,
        header: HeaderKeeper,
        open_report: OpenReport,
    ) -> Result<Vault> {
        let (deletion, rules, tombstones, domain_log, access, audit) = store.read(|view| {
            let setting = |number| open_setting(&hierarchy, view, number);
            let deletion = setting(DELETION_SETTINGS)?.ok_or_else(Inner::missing_setting)?;
            let rules = setting(ALGORITHM_RULES)?.ok_or_else(Inner::missing_setting)?;
            let tombstones = TombstoneList::load(|number| {
                setting(number)?
                    .map(|plaintext| settings::decode_tombstones(&plaintext))
                    .transpose()
            })?;
            let domain_log = setting(DOMAIN_EPOCHS)?
                .map(|plaintext| settings::decode_domain_epochs(&plaintext))
                .transpose()?
                .unwrap_or_default();
            Ok((
                settings::decode_deletion(&deletion)?,
                settings::decode_algorithms(&rules)?,
                tombstones,
                domain_log,
                AccessPolicies::load(&hierarchy, view)?,
                setting(AUDIT_OPTIONS)?
                    .map(|plaintext| settings::decode_audit_options(&plaintext))
                    .transpose()?
                    .unwrap_or_else(AuditOptions::off),
            ))
        })?;
        let memory = self.memory;
        let idle = self.lock_after_idle;
        let time_floor_ms = AtomicU64::new(store.state().max_time_seen_ms);
        let full = memory.is_full();
        let software = SoftwareBackend::with_entropy(Arc::clone(&self.entropy));
        let software = if full { software.protected() } else { software };
        let mut backends: Vec<Arc<dyn KeyBackend>> = vec![Arc::new(software)];
        backends.extend(self.backends);
        let read_only = self.scratch.is_some();
        let mut inner = Inner {
            store,
            hierarchy,
            header,
            url: self.url,
            passphrase_cost: self.passphrase_cost,
            limits: self.limits,
            allow_sole_device_slot: self.allow_sole_device_slot,
            clock: self.clock,
            entropy: self.entropy,
            backends,
            leeway_seconds: self.leeway_seconds,
            deletion: RwLock::new(deletion),
            rules: RwLock::new(Arc::new(rules)),
            tombstones: Mutex::new(tombstones),
            domain_log: Mutex::new(domain_log),
            access,
            // Nothing can be recorded where nothing is written.
            recorder: Recorder::new(if read_only {
                AuditOptions::off()
            } else {
                audit
            }),
            identity_making: Mutex::default(),
            counters: Counters::default(),
            cache: KeyCache::new(if full {
                self.key_cache.min(MAX_PROTECTED_KEYS)
            } else {
                self.key_cache
            }),
            locks: KeyLocks::new(),
            gcm: GcmCounters::default(),
            under_way: UnderWay::default(),
            time_floor_ms,
            // An older copy is refused above; of what happens in a scratch copy the guard must not hear.
            guard: self.guard.filter(|_| self.scratch.is_none()),
            scratch: Mutex::new(self.scratch),
            open_report,
            gate: Arc::new(Gate::new(full)),
            idle_lock: OnceLock::new(),
        };
        let mut header = inner.header.lock();
        inner.erase_below_floor(&mut header, None)?;
        drop(header);
        if inner.lock_scratch().is_some() {
            inner.store.freeze();
        }
        inner.open_report.backend_findings = inner.reconcile(true)?;
        // Also what reconciling has put there.
        memory.demand()?;
        let inner = Arc::new(inner);
        inner.start_guard()?;
        let vault = Vault {
            inner,
            grant: Grant::default(),
        };
        vault.begin_recording(self.audit.filter(|_| !read_only))?;
        if let Some(idle) = idle {
            IdleLock::start(&vault.inner, idle)?;
        }
        Ok(vault)
    }
}
