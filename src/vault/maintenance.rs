//! What time makes due, and doing it.

use super::key_events::{KeyEvent, KeyEventKind};
use super::{Act, Inner, Operation, Shredding, Subject, Vault};
use crate::error::{ErrorKind, Result};
use crate::model::identifier::KeyIdentifier;
use crate::model::key::VersionRecord;
use crate::model::name::KeyName;
use crate::model::time::Timestamp;
use crate::model::version::KeyVersion;
use crate::policy::{self, KeySchedule, Lifecycle};

/// How many key objects one step of maintenance looks at.
const STEP: usize = 256;

/// What [`Vault::maintain`] may believe.
#[derive(Debug, Clone, Copy, Default)]
pub struct MaintenanceOptions {
    clock_confirmed: bool,
}

impl MaintenanceOptions {
    /// The clock is believed when no two of its readings that a commit saw are more than 32 days apart, and
    /// the last of them is at most 32 days old.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The caller vouches for the clock, however long nothing was committed, and even if an earlier commit
    /// saw a later time: from now on it is believed.
    #[must_use]
    pub fn confirm_clock(mut self) -> Self {
        self.clock_confirmed = true;
        self
    }
}

/// What [`Vault::maintain`] did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MaintenanceReport {
    purged: Vec<KeyName>,
    settled: usize,
    unsettled: usize,
    audit_entries_cut: u64,
    shred_pending: bool,
    rotated: Vec<KeyIdentifier>,
    not_rotated: Vec<(KeyName, ErrorKind)>,
    near_expiry: Vec<KeyIdentifier>,
}

impl MaintenanceReport {
    /// The deleted keys whose scheduled purge date had come, and which are gone now.
    #[must_use]
    pub fn purged(&self) -> &[KeyName] {
        &self.purged
    }

    /// How many creations and destructions in backends were settled that had been cut short before.
    #[must_use]
    pub fn settled(&self) -> usize {
        self.settled
    }

    /// How many entries were cut off the beginning of the audit log.
    #[must_use]
    pub fn audit_entries_cut(&self) -> u64 {
        self.audit_entries_cut
    }

    /// How many of them still wait, for a backend that is not attached or does not answer.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.unsettled
    }

    /// Whether something purged can still be opened in the vault's files, because a damaged key stopped the
    /// replacement of the key encryption key; [`Vault::check`] names it.
    #[must_use]
    pub fn shred_pending(&self) -> bool {
        self.shred_pending
    }

    /// The new versions that rotation policies asked for.
    #[must_use]
    pub fn rotated(&self) -> &[KeyIdentifier] {
        &self.rotated
    }

    /// The keys whose rotation is due and failed, with the reason. It is tried again at the next call.
    #[must_use]
    pub fn not_rotated(&self) -> &[(KeyName, ErrorKind)] {
        &self.not_rotated
    }

    /// The versions whose near expiry was announced.
    #[must_use]
    pub fn near_expiry(&self) -> &[KeyIdentifier] {
        &self.near_expiry
    }
}

/// Something that time will make due, see [`Vault::next_event`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduledEvent {
    time: Timestamp,
    name: KeyName,
    kind: ScheduledEventKind,
}

/// What is to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ScheduledEventKind {
    /// The purge of a deleted key.
    Purge,
    /// A rotation by the key's policy.
    Rotation,
    /// The announcement that the newest version expires.
    NearExpiry,
}

impl ScheduledEvent {
    /// When; it may have passed.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// The key.
    #[must_use]
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// What.
    #[must_use]
    pub fn kind(&self) -> ScheduledEventKind {
        self.kind
    }
}

impl Vault {
    /// Does what time has made due, once each:
    ///
    /// - purges deleted keys whose scheduled purge date has come, shreds what purges left to it, and finishes a
    ///   replacement of the key encryption key that was interrupted;
    /// - rotates keys whose [rotation policy](Vault::update_key_rotation_policy) asks for it, however many dates have
    ///   passed by one version each, and not while the newest version is disabled;
    /// - announces versions that will expire, each at most once: in the report, and to the
    ///   [subscriber](crate::VaultOptions::subscriber);
    /// - settles what was cut short in backends, and cuts the audit log where its retention ends.
    ///
    /// A vault has no thread for this: call it now and then, for example daily, or when
    /// [`Vault::next_event`] says. After a crash call it again; what was done is not done twice.
    ///
    /// # Errors
    ///
    /// [`ClockJump`](ErrorKind::ClockJump) when a purge, rotation or announcement is due and the clock was never
    /// believed since it moved on by more than 32 days at once: a wrong clock must not destroy keys, nor give them
    /// dates of another century; see [`MaintenanceOptions::confirm_clock`]. And the errors of storage. A key that cannot
    /// be rotated is in the report and stops nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # use strongroom::*;
    /// # let vault = VaultOptions::new().create_in_memory()?;
    /// let report = vault.maintain(MaintenanceOptions::new())?;
    /// for id in report.rotated() {
    ///     println!("{id} is new");
    /// }
    /// if let Some(event) = vault.next_event()? {
    ///     println!("come back at {}", event.time());
    /// }
    /// # Ok::<(), Error>(())
    /// ```
    pub fn maintain(&self, options: MaintenanceOptions) -> Result<MaintenanceReport> {
        self.act(Operation::Maintain, Subject::Vault, |act| {
            act.inner().maintain(act, options)
        })
    }

    /// Whether [`Vault::maintain`] would have something to do at `now`. It changes nothing.
    ///
    /// # Errors
    ///
    /// The errors of storage.
    pub fn due(&self, now: Timestamp) -> Result<bool> {
        self.act(Operation::Due, Subject::Vault, |act| act.inner().due(now))
    }

    /// The earliest purge, rotation or announcement that keys and policies ask for as they are now; `None` if there is
    /// none. It looks at every key.
    ///
    /// # Errors
    ///
    /// [`Forbidden`](ErrorKind::Forbidden) for a restricted handle, and the errors of storage.
    pub fn next_event(&self) -> Result<Option<ScheduledEvent>> {
        self.act(Operation::NextEvent, Subject::Vault, |act| {
            act.inner().next_event()
        })
    }
}

/// Which keys are looked at. Those in use cost the reading of a version.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Deleted,
    All,
}

/// A key of the vault and what awaits it.
struct Scheduled {
    name: KeyName,
    newest: KeyVersion,
    schedule: KeySchedule,
}

impl Inner {
    fn due(&self, now: Timestamp) -> Result<bool> {
        if self.kek_work_pending() {
            return Ok(true);
        }
        let mut due = false;
        self.each_step(Of::All, |step| {
            due = step.iter().any(|key| key.schedule.is_due(now));
            Ok(!due)
        })?;
        Ok(due)
    }

    fn next_event(&self) -> Result<Option<ScheduledEvent>> {
        let mut next: Option<ScheduledEvent> = None;
        self.each_step(Of::All, |step| {
            for Scheduled { name, schedule, .. } in step {
                let KeySchedule {
                    purge,
                    rotation,
                    announcement,
                } = schedule;
                for (time, kind) in [
                    (purge, ScheduledEventKind::Purge),
                    (rotation, ScheduledEventKind::Rotation),
                    (announcement, ScheduledEventKind::NearExpiry),
                ] {
                    if let Some(time) = time
                        && next.as_ref().is_none_or(|next| time < next.time)
                    {
                        next = Some(ScheduledEvent {
                            time,
                            name: name.clone(),
                            kind,
                        });
                    }
                }
            }
            Ok(true)
        })?;
        Ok(next)
    }

    fn maintain(&self, act: &Act<'_>, options: MaintenanceOptions) -> Result<MaintenanceReport> {
        if options.clock_confirmed {
            // First of all: what is due is due by the clock that was confirmed, not by an earlier, later one.
            self.believe_clock(act)?;
        }
        let now = self.now();
        let mut report = MaintenanceReport::default();
        self.each_step(Of::Deleted, |step| {
            let gone: Vec<_> = step
                .into_iter()
                .filter(|key| key.schedule.purge.is_some_and(|time| time <= now))
                .collect();
            if !gone.is_empty() {
                self.require_plausible_clock()?;
            }
            for Scheduled { name, .. } in gone {
                if self.purge_gone(act, &name, now)? {
                    report.purged.push(name);
                }
            }
            Ok(true)
        })?;
        (report.settled, report.unsettled) = self.settle_everywhere()?;
        report.shred_pending = self.shred()? == Shredding::Pending;
        self.each_step(Of::All, |step| {
            let due: Vec<_> = step
                .into_iter()
                .filter(|key| key.schedule.is_due(now))
                .collect();
            if !due.is_empty() {
                self.require_plausible_clock()?;
            }
            for key in due {
                self.keep_schedule(act, &key, now, &mut report)?;
            }
            Ok(true)
        })?;
        report.audit_entries_cut = self.cut_audit(act)?;
        self.flush_audit()?;
        Ok(report)
    }

    /// Rotates and announces what is due of one key.
    fn keep_schedule(
        &self,
        act: &Act<'_>,
        key: &Scheduled,
        now: Timestamp,
        report: &mut MaintenanceReport,
    ) -> Result<()> {
        let Scheduled {
            name,
            newest,
            schedule,
        } = key;
        if schedule.rotation.is_some_and(|time| time <= now) {
            let rotation = act.beside(Operation::RotateKeyIfDue, Subject::from(name));
            match self.rotate_if_due(&rotation, name) {
                Ok(None) => {}
                Ok(Some(bundle)) => {
                    report.rotated.push(bundle.id().clone());
                    self.tell(&KeyEvent::new(
                        KeyEventKind::Rotated,
                        bundle.id().clone(),
                        bundle.properties().expires_on(),
                    ));
                    // The successor is what everybody uses now.
                    return Ok(());
                }
                Err(error) if stops_one_rotation(error.kind()) => {
                    report.not_rotated.push((name.clone(), error.kind()));
                }
                Err(error) => return Err(error.with_key(name)),
            }
        }
        if schedule.announcement.is_some_and(|time| time <= now)
            && let Some(expires_on) = self.note_announcement(act, name, *newest, now)?
        {
            let id = self.identifier(name, *newest);
            report.near_expiry.push(id.clone());
            self.tell(&KeyEvent::new(
                KeyEventKind::NearExpiry,
                id,
                Some(expires_on),
            ));
        }
        Ok(())
    }

    /// Writes down that the near expiry of a version is announced, before it is: a crash in between loses the
    /// announcement and does not repeat it. `None` when it is not due any more.
    fn note_announcement(
        &self,
        act: &Act<'_>,
        name: &KeyName,
        version: KeyVersion,
        now: Timestamp,
    ) -> Result<Option<Timestamp>> {
        let _guard = self.locks.lock(name);
        let found = self.store.read(|view| {
            let Some(key) = self.load_key(view, name)?.filter(|key| {
                policy::lifecycle(&key.object, now) == Lifecycle::Active
                    && key.object.newest == version
            }) else {
                return Ok(None);
            };
            let newest = self.load_newest(view, &key)?;
            Ok(Some((key, newest)))
        })?;
        let Some((mut key, newest)) = found else {
            return Ok(None);
        };
        let VersionRecord { attributes, .. } = &newest;
        let due = policy::schedule(&key.object, &newest)
            .announcement
            .is_some_and(|time| time <= now);
        let Some(expires_on) = attributes.validity.expires_on().filter(|_| due) else {
            return Ok(None);
        };
        key.object.announced = Some(version);
        let announcement = act.beside(Operation::AnnounceNearExpiry, Subject::from(name));
        announcement.note_version(version);
        let sealing = self.header.sealing();
        self.commit(&announcement, name, vec![self.put_key(&sealing, &key)?])?;
        drop(sealing);
        Ok(Some(expires_on))
    }

    /// Goes through all keys in steps, until `visit` says that it has seen enough.
    fn each_step(
        &self,
        of: Of,
        mut visit: impl FnMut(Vec<Scheduled>) -> Result<bool>,
    ) -> Result<()> {
        let mut after = None;
        loop {
            let (step, last) = self.scheduled(of, after)?;
            if !visit(step)? {
                return Ok(());
            }
            match last {
                Some(last) => after = Some(last),
                None => return Ok(()),
            }
        }
    }

    /// The keys of one step, and where the next one begins.
    fn scheduled(
        &self,
        of: Of,
        after: Option<[u8; 16]>,
    ) -> Result<(Vec<Scheduled>, Option<[u8; 16]>)> {
        self.store.read(|view| {
            let objects = view.key_objects(after, STEP)?;
            let last = objects.last().map(|(n, _)| *n);
            let mut step = Vec::with_capacity(objects.len());
            for (n, record) in &objects {
                let key = self.open_key(*n, record)?;
                let schedule = match KeySchedule::of_deleted(&key.object) {
                    Some(schedule) => schedule,
                    None if of == Of::Deleted => continue,
                    None => policy::schedule(&key.object, &self.load_newest(view, &key)?),
                };
                step.push(Scheduled {
                    newest: key.object.newest,
                    name: key.object.name,
                    schedule,
                });
            }
            Ok((step, last))
        })
    }

    /// Purges one key if it is still gone.
    fn purge_gone(&self, act: &Act<'_>, name: &KeyName, now: Timestamp) -> Result<bool> {
        let _guard = self.locks.lock(name);
        let found = self.store.read(|view| {
            let Some(key) = self
                .load_key(view, name)?
                .filter(|key| policy::lifecycle(&key.object, now) == Lifecycle::Gone)
            else {
                return Ok(None);
            };
            self.remove_key(view, &key).map(Some)
        })?;
        let Some(removal) = found else {
            return Ok(false);
        };
        let purge = act.beside(Operation::PurgeDeletedKey, Subject::from(name));
        self.commit_purge(&purge, name, removal, now)?;
        Ok(true)
    }
}

/// Whether other keys can go on after this error of one.
fn stops_one_rotation(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::BadParameter
            | ErrorKind::KeyNotFound
            | ErrorKind::TooLarge
            | ErrorKind::Unsupported
            | ErrorKind::RandomUnavailable
            | ErrorKind::BackendUnavailable
            | ErrorKind::BackendAuthentication
            | ErrorKind::BackendRejected
            | ErrorKind::Throttled
    )
}
