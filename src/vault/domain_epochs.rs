//! The security domain of an open vault: its epochs, and how it gets to other vaults.

use std::sync::{Arc, MutexGuard, PoisonError};

use subtle::ConstantTimeEq;

use super::backup::BackupOptions;
use super::domain::{DomainFile, SecurityDomain};
use super::header::{HeaderGuard, NewHeader};
use super::settings::domain_epochs_change;
use super::{Act, Inner, Operation, Subject, Vault};
use crate::error::{Error, ErrorKind, Result};
use crate::format::backup::Modes;
use crate::format::domain_file;
use crate::format::ring::{MAX_EPOCHS, SdkRing};
use crate::format::settings::DomainEpochs;
use crate::model::time::Timestamp;
use crate::secret::{Key32, Process};
use crate::store::CommitOptions;

/// One epoch of a security domain; [`Vault::domain_epochs`] lists them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DomainEpoch {
    number: u32,
    made_on: Option<Timestamp>,
}

impl DomainEpoch {
    /// Its number, counted from 1.
    #[must_use]
    pub fn number(self) -> u32 {
        self.number
    }

    /// When this vault made it; `None` for the epochs that it was created with or got from elsewhere.
    #[must_use]
    pub fn made_on(self) -> Option<Timestamp> {
        self.made_on
    }
}

impl Vault {
    /// The security domain of this vault, to create a sister vault in it.
    ///
    /// It is a secret of its own: locking the vault does not reach it. It is of no use in a forked child.
    ///
    /// # Errors
    ///
    /// [`Forbidden`](crate::ErrorKind::Forbidden) for a restricted handle;
    /// [`VaultLocked`](crate::ErrorKind::VaultLocked), [`VaultFailed`](crate::ErrorKind::VaultFailed) after a close, and
    /// [`ForkedProcess`](crate::ErrorKind::ForkedProcess).
    pub fn security_domain(&self) -> Result<SecurityDomain> {
        self.act(Operation::SecurityDomain, Subject::Vault, |act| {
            let rings = act.inner().header.rings();
            Ok(SecurityDomain {
                id: rings.domain_id,
                ring: rings.sdk,
                origin: Process::here(),
            })
        })
    }

    /// The epochs whose backups this vault can open, oldest first; the last one seals new backups.
    ///
    /// # Errors
    ///
    /// [`Forbidden`](ErrorKind::Forbidden) for a restricted handle.
    pub fn domain_epochs(&self) -> Result<Vec<DomainEpoch>> {
        self.act(Operation::DomainEpochs, Subject::Vault, |act| {
            let log = act.inner().lock_domain_log().clone();
            let made = |number| {
                log.made
                    .iter()
                    .find(|(epoch, _)| *epoch == number)
                    .map(|(_, time)| *time)
            };
            let ring = act.inner().header.rings().sdk;
            Ok(ring
                .epochs
                .iter()
                .map(|(number, _)| DomainEpoch {
                    number: *number,
                    made_on: made(*number),
                })
                .collect())
        })
    }

    /// Begins a new epoch of the security domain: a new key seals the backups that are made from now on. Backups of
    /// earlier epochs still open, until [`Vault::raise_domain_floor`]. Gives the number of the new epoch.
    ///
    /// Sister vaults learn of it by [`Vault::update_domain`]. Begin new epochs in one vault of the domain only: two
    /// that are made apart do not open each other's backups.
    ///
    /// # Errors
    ///
    /// [`Forbidden`](ErrorKind::Forbidden) for a restricted handle;
    /// [`TooLarge`](ErrorKind::TooLarge) when the domain has 40 epochs: raise its floor first;
    /// [`RandomUnavailable`](ErrorKind::RandomUnavailable); and the errors of storage.
    ///
    /// # Examples
    ///
    /// ```
    /// # use strongroom::*;
    /// # let vault = VaultOptions::new().create_in_memory()?;
    /// # let name = KeyName::from_static("signer");
    /// # vault.create_key(&name, CreateKeyOptions::ec(Curve::P256))?;
    /// let leaked = vault.backup_key(&name)?;
    /// let epoch = vault.rotate_domain()?;
    /// vault.raise_domain_floor(epoch)?;
    /// let gone = vault.restore_key(&leaked).unwrap_err();
    /// assert_eq!(gone.kind(), ErrorKind::WrongDomain);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn rotate_domain(&self) -> Result<u32> {
        self.act(Operation::RotateDomain, Subject::Vault, |act| {
            act.inner().rotate_domain(act)
        })
    }

    /// Gives up all epochs before `epoch`: their keys are overwritten in the header, and backups of those epochs open
    /// nowhere any more in this vault, which says [`WrongDomain`](ErrorKind::WrongDomain) of them.
    ///
    /// That shreds the backups, as far as this vault goes: sister vaults and exported domain files have keys of their
    /// own, and recipients and passphrases open a backup without the domain.
    ///
    /// # Errors
    ///
    /// [`Forbidden`](ErrorKind::Forbidden) for a restricted handle;
    /// [`BadParameter`](ErrorKind::BadParameter) above the current epoch and below the present floor; and the errors
    /// of storage.
    pub fn raise_domain_floor(&self, epoch: u32) -> Result<()> {
        self.act(Operation::RaiseDomainFloor, Subject::Vault, |act| {
            act.inner().raise_domain_floor(act, epoch)
        })
    }

    /// Takes over the epochs that another vault of this domain has made since. Epochs below this vault's floor stay
    /// given up.
    ///
    /// # Errors
    ///
    /// [`Forbidden`](ErrorKind::Forbidden) for a restricted handle;
    /// [`WrongDomain`](ErrorKind::WrongDomain) for another domain, and for an epoch that was made in both vaults;
    /// [`TooLarge`](ErrorKind::TooLarge) for more than 40 epochs together; and the errors of storage.
    pub fn update_domain(&self, domain: &SecurityDomain) -> Result<()> {
        self.act(Operation::UpdateDomain, Subject::Vault, |act| {
            act.inner().update_domain(act, domain)
        })
    }

    /// Writes the security domain for recipients or under a passphrase, so that a vault elsewhere can be
    /// [created in it](crate::VaultOptions::init_in_domain). [`BackupOptions::without_domain`] is implied.
    ///
    /// Whoever opens the file can open every backup of the domain, and make backups that its vaults believe.
    ///
    /// # Errors
    ///
    /// [`Forbidden`](ErrorKind::Forbidden) for a restricted handle;
    /// [`BadParameter`](ErrorKind::BadParameter) when nobody could open the file, or there are more than 16 who could;
    /// [`KdfCostRefused`](ErrorKind::KdfCostRefused) and [`RandomUnavailable`](ErrorKind::RandomUnavailable).
    pub fn export_domain(&self, options: &BackupOptions<'_>) -> Result<DomainFile> {
        self.act(Operation::ExportDomain, Subject::Vault, |act| {
            let inner = act.inner();
            let rings = inner.header.rings();
            let payload = domain_file::encode(&rings.domain_id, &rings.sdk)?;
            inner
                .seal_in(&rings, options, Modes::DOMAIN_FILE, &payload)
                .map(|sealed| DomainFile {
                    bytes: sealed.bytes,
                })
        })
    }
}

impl Inner {
    fn lock_domain_log(&self) -> MutexGuard<'_, DomainEpochs> {
        self.domain_log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn rotate_domain(&self, act: &Act<'_>) -> Result<u32> {
        let mut header = self.header.lock();
        let ring = self.header.rings().sdk;
        let epoch = ring
            .current_epoch
            .checked_add(1)
            .ok_or_else(|| Error::internal("the epochs of the security domain are exhausted"))?;
        let mut epochs = ring.epochs.clone();
        epochs.push((epoch, Arc::new(Key32::random(&*self.entropy)?)));
        self.put_domain_ring(&mut header, epochs, Some(act))?;
        let mut log = self.lock_domain_log().clone();
        log.made.push((epoch, self.now()));
        self.put_domain_log(act, log)?;
        Ok(epoch)
    }

    fn raise_domain_floor(&self, act: &Act<'_>, floor: u32) -> Result<()> {
        let mut header = self.header.lock();
        let ring = self.header.rings().sdk;
        let lowest = ring.epochs.first().map_or(1, |(epoch, _)| *epoch);
        let mut log = self.lock_domain_log().clone();
        if floor > ring.current_epoch || floor < log.floor.max(lowest) {
            return Err(Error::bad_parameter(
                "the floor of a security domain rises, to its current epoch at most",
            ));
        }
        // First what makes the loss lasting, then the loss: opening finishes what a crash leaves between the two.
        log.floor = floor;
        log.made.retain(|(epoch, _)| *epoch >= floor);
        self.put_domain_log(act, log)?;
        self.erase_below_floor(&mut header, Some(act))
    }

    /// Overwrites the keys of epochs that were given up, if any are left.
    pub(super) fn erase_below_floor(
        &self,
        header: &mut HeaderGuard<'_>,
        act: Option<&Act<'_>>,
    ) -> Result<()> {
        let floor = self.lock_domain_log().floor;
        let ring = self.header.rings().sdk;
        if ring.current_epoch < floor {
            return Err(Error::new(
                ErrorKind::Tampered,
                "the header holds only keys that the security domain gave up",
            ));
        }
        if ring.epochs.iter().all(|(epoch, _)| *epoch >= floor) {
            return Ok(());
        }
        let mut epochs = ring.epochs.clone();
        epochs.retain(|(epoch, _)| *epoch >= floor);
        self.put_domain_ring(header, epochs, act)?;
        self.store.sync_anchor()
    }

    fn update_domain(&self, act: &Act<'_>, domain: &SecurityDomain) -> Result<()> {
        let mut header = self.header.lock();
        let rings = self.header.rings();
        let other = |what| Err(Error::new(ErrorKind::WrongDomain, what));
        if domain.id != rings.domain_id {
            return other("this is another security domain");
        }
        let floor = self.lock_domain_log().floor;
        let mut epochs = rings.sdk.epochs.clone();
        for (epoch, key) in &domain.ring.epochs {
            match rings.sdk.key(*epoch) {
                Some(own) if bool::from(own.expose().ct_eq(key.expose())) => {}
                Some(_) => {
                    return other("the same epoch of the domain was begun in two vaults");
                }
                None if *epoch >= floor => epochs.push((*epoch, Arc::clone(key))),
                None => {}
            }
        }
        if epochs.len() == rings.sdk.epochs.len() {
            return Ok(());
        }
        epochs.sort_by_key(|(epoch, _)| *epoch);
        self.put_domain_ring(&mut header, epochs, Some(act))
    }

    /// `epochs` ascend; the last one becomes the current one.
    fn put_domain_ring(
        &self,
        header: &mut HeaderGuard<'_>,
        epochs: Vec<(u32, Arc<Key32>)>,
        act: Option<&Act<'_>>,
    ) -> Result<()> {
        if epochs.len() > MAX_EPOCHS {
            return Err(Error::new(
                ErrorKind::TooLarge,
                "a security domain keeps at most 40 epochs; raise its floor first",
            ));
        }
        let current_epoch = epochs
            .last()
            .map(|(epoch, _)| *epoch)
            .ok_or_else(|| Error::internal("a security domain without keys"))?;
        self.replace_header(
            header,
            NewHeader {
                sdk: Some(SdkRing {
                    current_epoch,
                    epochs,
                }),
                ..NewHeader::default()
            },
            act,
        )
    }

    fn put_domain_log(&self, act: &Act<'_>, log: DomainEpochs) -> Result<()> {
        let change = domain_epochs_change(&self.hierarchy, &log, &*self.entropy)?;
        act.commit(vec![change], CommitOptions::default())?;
        self.note_time();
        *self.lock_domain_log() = log;
        Ok(())
    }
}
