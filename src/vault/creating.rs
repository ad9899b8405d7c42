//! Creating vaults.

use std::path::Path;

use super::domain::{NewDomain, SecurityDomain};
use super::founding::FreshKeys;
use super::header::{HeaderKeeper, Rings};
use super::{OpenReport, Vault, VaultOptions};
use crate::error::{Error, Result};
use crate::seal::backup::BackupKey;
use crate::seal::slot::Unlock;
use crate::secret::wipe_stack;
use crate::store::{HeaderFacts, Store};

impl VaultOptions {
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
    /// [`StorageFull`](crate::ErrorKind::StorageFull), [`ReadOnly`](crate::ErrorKind::ReadOnly),
    /// [`Io`](crate::ErrorKind::Io) and [`RandomUnavailable`](crate::ErrorKind::RandomUnavailable);
    /// [`MemoryProtection`](crate::ErrorKind::MemoryProtection) under
    /// [`MemoryProtection::RequireFull`](crate::MemoryProtection::RequireFull).
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
}
