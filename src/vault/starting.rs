//! From a store to a vault that can be used.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use super::cache::KeyCache;
use super::gate::Gate;
use super::gcm::GcmCounters;
use super::grant::Grant;
use super::header::HeaderKeeper;
use super::intents::UnderWay;
use super::locking::IdleLock;
use super::metrics::Counters;
use super::policies::AccessPolicies;
use super::recorder::Recorder;
use super::tombstones::{TombstoneList, open_setting};
use super::version_order::VersionOrder;
use super::{Inner, KeyLocks, OpenReport, Vault, VaultOptions};
use crate::backend::KeyBackend;
use crate::backend::software::SoftwareBackend;
use crate::error::Result;
use crate::format::settings::{
    self, ALGORITHM_RULES, AUDIT_OPTIONS, DELETION_SETTINGS, DOMAIN_EPOCHS,
};
use crate::model::audit::AuditOptions;
use crate::model::settings::RulesInForce;
use crate::seal::hierarchy::Hierarchy;
use crate::store::Store;

/// How many open key versions are kept in protected memory; the largest takes 2.4 KiB.
const MAX_PROTECTED_KEYS: usize = 256;

impl VaultOptions {
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
        let time_floor_ms = AtomicU64::new(store.max_time_seen_ms());
        let full = memory.is_full();
        let software =
            SoftwareBackend::with_entropy(Arc::clone(&self.entropy)).with_engine(self.engine);
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
            rules: RulesInForce::new(rules),
            rules_change: Mutex::new(()),
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
            version_order: VersionOrder::default(),
            locks: KeyLocks::new(),
            gcm: GcmCounters::default(),
            under_way: UnderWay::default(),
            time_floor_ms,
            // An older copy is refused above; of what happens in a scratch copy the guard must not hear.
            guard: self.guard.filter(|_| self.scratch.is_none()),
            subscriber: self.subscriber,
            attestation_authority: self.attestation_authority,
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
