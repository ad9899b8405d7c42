//! How a vault is created and opened: the options, and what they are when nobody says anything.

use std::sync::Arc;
use std::time::Duration;

use super::attestation::AttestationAuthority;
use super::key_events::KeyEventSubscriber;
use super::rollback::Guarded;
use super::scratch_copy::ScratchCopy;
use crate::backend::software::SoftwareBackend;
use crate::backend::{KeyBackend, RollbackGuard};
use crate::crypto::engine::CryptoEngine;
use crate::env::{Clock, Entropy, OsEntropy, SystemClock};
use crate::error::{Error, Result};
use crate::model::attributes::SoftDelete;
use crate::model::audit::AuditOptions;
use crate::model::identifier::VaultUrl;
use crate::model::pin::VaultPin;
use crate::model::settings::DeletionSettings;
use crate::seal::Suite;
use crate::seal::header::OpenLimits;
use crate::seal::passphrase::PassphraseParameters;
use crate::seal::slot::PassphraseCost;
use crate::secret::MemoryProtection;

/// What the storage engine's cache aims at by default, in bytes.
const DEFAULT_STORAGE_CACHE: u64 = 256 * 1024 * 1024;

/// How many open key versions are kept by default.
const DEFAULT_KEY_CACHE: usize = 1_024;

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
    pub(super) engine: CryptoEngine,
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
    pub(super) subscriber: Option<Arc<dyn KeyEventSubscriber>>,
    pub(super) attestation_authority: Option<Arc<dyn AttestationAuthority>>,
    /// Of a vault that is opened to be read only.
    pub(super) scratch: Option<ScratchCopy>,
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
            engine: CryptoEngine::default(),
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
            subscriber: None,
            attestation_authority: None,
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

    /// Another source of random bytes, for keys, ids, salts and IVs alike; [`CryptoEngine`] says where an engine has
    /// its own.
    #[must_use]
    pub fn entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.entropy = entropy;
        self
    }

    /// What computes with keys in software: [`CryptoEngine::RustCrypto`] by default. It is not stored; the vault opens
    /// with any engine.
    #[must_use]
    pub fn crypto_engine(mut self, engine: CryptoEngine) -> Self {
        self.engine = engine;
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
    /// [`Vault::add_unlock_slot`](crate::Vault::add_unlock_slot).
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

    /// When opening: the vault must be the one of the pin, and at least as new; see [`Vault::pin`](crate::Vault::pin).
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
    /// that fails when opening gives [`GuardUnavailable`](crate::ErrorKind::GuardUnavailable); while the vault is open
    /// it is tried again, and [`Vault::close`](crate::Vault::close) tells of a last failure. A guard that knows nothing
    /// of the vault believes it: pin the vault as well if that matters.
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
    /// target, not a limit; reading is fast while the records fit. Where they do not, most reads go to the file, and one
    /// in a hundred takes ten times as long. A million EC keys take 1.4 GB.
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

    /// Locks the vault, as [`Vault::lock`](crate::Vault::lock) does, when no operation has begun or been in flight for
    /// this time; at the latest a quarter of it, and 10 milliseconds, later. By default it stays open. It takes a
    /// thread, which ends with the vault.
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

    /// Who hears of versions that expire soon and of rotations by policy, both of which
    /// [`Vault::maintain`](crate::Vault::maintain) finds out.
    #[must_use]
    pub fn subscriber(mut self, subscriber: Arc<dyn KeyEventSubscriber>) -> Self {
        self.subscriber = Some(subscriber);
        self
    }

    /// Whose attestation tokens [`Vault::release`](crate::Vault::release) believes.
    #[must_use]
    pub fn attestation_authority(mut self, authority: Arc<dyn AttestationAuthority>) -> Self {
        self.attestation_authority = Some(authority);
        self
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
}
