//! Restoring a whole vault from its stream, or telling what that would do.

use std::io::Read;

use super::restore::require_accepted;
use super::restore_options::{NameState, RestoreOptions, RestorePlan};
use super::stream_parts::{read_exact, read_part, require_end};
use super::whole::concerns_one_key;
use super::whole_report::{KeyOutcome, Progress, VaultRestoreReport};
use super::{Act, Inner, Operation, Subject, Vault};
use crate::error::{Error, ErrorKind, Result};
use crate::format::backup::{Modes, damaged, invalid, newer};
use crate::format::backup_payload::{self, BackupPayload};
use crate::format::vault_stream::{
    DeletionPrefix, Edition, FrameKind, MAX_FRAME_LENGTH, MAX_HEAD_LENGTH, STREAM_MAGIC, StreamEnd,
    StreamHead, decode_settings,
};
use crate::model::settings::VaultSettings;
use crate::seal::backup::Domain;
use crate::seal::vault_stream::Stream;

impl Vault {
    /// Restores the keys of a stream that [`Vault::backup_to`] wrote, one after the other; calls `progress` after each.
    ///
    /// Each key is restored as [`Vault::restore_key_with`] does, all its versions or none. What stands in the way of
    /// one key is in the report and does not stop the others. Calling it again goes on where it ended: keys that are
    /// there are passed over, except that the counts of their AES-GCM encryptions rise to those of the backup.
    ///
    /// A key that was deleted comes back deleted, with the dates of its deletion, unless its scheduled purge date has
    /// come; in a vault without soft delete it is a conflict. The settings of the other vault are restored with
    /// [`RestoreOptions::restore_settings`] only, after all keys and only from a stream that is whole.
    ///
    /// # Errors
    ///
    /// [`Forbidden`](ErrorKind::Forbidden) for a restricted handle; as [`Vault::restore_key_with`] for opening the stream; [`InvalidBackup`](ErrorKind::InvalidBackup) when the
    /// stream is damaged, altered, cut off or rearranged; [`BadParameter`](ErrorKind::BadParameter) with
    /// [`RestoreOptions::rename_to`], and when settings are wanted that the stream does not have or that name too many
    /// principals; [`NewerFormat`](ErrorKind::NewerFormat) when they are of a newer version; [`Io`](ErrorKind::Io) when `reader` fails; and the errors of storage. After an
    /// error the keys that were restored before stay: each was whole and in its place.
    pub fn restore_all_from(
        &self,
        mut reader: impl Read,
        options: &RestoreOptions<'_>,
        mut progress: impl FnMut(Progress<'_>),
    ) -> Result<VaultRestoreReport> {
        self.act(Operation::RestoreAllFrom, Subject::Vault, |act| {
            act.inner()
                .restore_all(act, &mut reader, options, Doing::Restore, &mut progress)
        })
    }

    /// What [`Vault::restore_all_from`] would do: the same report, with the settings that the stream holds. It reads the
    /// whole stream, changes nothing, and does not validate the keys.
    ///
    /// # Errors
    ///
    /// As [`Vault::restore_all_from`], except that what is in the way of one key is always in the report.
    ///
    /// # Examples
    ///
    /// ```
    /// # use strongroom::*;
    /// # let vault = VaultOptions::new().create_in_memory()?;
    /// # vault.create_key(&KeyName::from_static("signer"), CreateKeyOptions::ec(Curve::P256))?;
    /// let mut stream = Vec::new(); // a file
    /// vault.backup_to(&mut stream, &BackupOptions::new(), |_| ())?;
    /// let plan = vault.restore_all_plan(&stream[..], &RestoreOptions::new(), |_| ())?;
    /// assert_eq!((plan.restored(), plan.present()), (0, 1));
    /// assert!(plan.settings().is_some());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn restore_all_plan(
        &self,
        mut reader: impl Read,
        options: &RestoreOptions<'_>,
        mut progress: impl FnMut(Progress<'_>),
    ) -> Result<VaultRestoreReport> {
        self.act(Operation::RestoreAllPlan, Subject::Vault, |act| {
            act.inner()
                .restore_all(act, &mut reader, options, Doing::Plan, &mut progress)
        })
    }
}

/// Whether anything is changed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Doing {
    Restore,
    Plan,
}

impl Inner {
    fn restore_all(
        &self,
        act: &Act<'_>,
        reader: &mut dyn Read,
        options: &RestoreOptions<'_>,
        doing: Doing,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<VaultRestoreReport> {
        if options.rename_to.is_some() {
            return Err(Error::bad_parameter(
                "a whole vault is restored under the keys' own names",
            ));
        }
        require_magic(reader)?;
        let bytes = read_part(reader, MAX_HEAD_LENGTH)?;
        let rings = self.header.rings();
        let opened = self.open_container(&rings, &bytes, Modes::WHOLE_VAULT, options)?;
        require_accepted(opened.origin, options)?;
        let head = StreamHead::decode(&opened.payload)?;
        if options.settings && head.edition == Edition::One {
            return Err(Error::bad_parameter(
                "this backup of a vault is of an older version and holds no settings",
            ));
        }
        let domain = Domain {
            id: rings.domain_id,
            ring: &rings.sdk,
        };
        let mut stream = Stream::opening(&opened, domain, &bytes)?;
        let mut report = VaultRestoreReport {
            restored: 0,
            deleted: 0,
            present: 0,
            conflicts: Vec::new(),
            expired: Vec::new(),
            previously_purged: Vec::new(),
            left_out: 0,
            origin: opened.origin,
            vault_id: head.vault_id,
            settings: None,
        };
        let mut done = 0;
        loop {
            let (count, chain) = (stream.count(), stream.chain());
            let frame = read_part(reader, MAX_FRAME_LENGTH)?;
            let (kind, bytes) = stream.open(&frame)?;
            drop(frame);
            head.edition.require(kind, count)?;
            let payload = match kind {
                FrameKind::Key => backup_payload::decode(&bytes)?,
                FrameKind::DeletedKey => {
                    let (prefix, rest) = DeletionPrefix::split(&bytes)?;
                    BackupPayload {
                        deletion: Some(prefix.deletion),
                        ..backup_payload::decode(rest)?
                    }
                }
                FrameKind::Settings => {
                    report.settings = readable_settings(&bytes, options)?;
                    continue;
                }
                FrameKind::End => {
                    let end = StreamEnd::decode(&bytes)?;
                    if end.keys != count || end.chain != chain {
                        return Err(damaged());
                    }
                    report.left_out = end.left_out;
                    break;
                }
            };
            drop(bytes);
            let (name, deleted) = (payload.name.clone(), payload.deletion.is_some());
            let was_purged = self.was_purged(&payload.object_id);
            let outcome = self
                .restore_one(act, payload, &report, options, doing)
                .map_err(|error| error.with_key(&name))?;
            match outcome {
                KeyOutcome::Restored => {
                    report.restored += 1;
                    report.deleted += u64::from(deleted);
                    if was_purged {
                        report.previously_purged.push(name.clone());
                    }
                }
                KeyOutcome::Present => report.present += 1,
                KeyOutcome::Expired => report.expired.push(name.clone()),
                KeyOutcome::Conflict(kind) => report.conflicts.push((name.clone(), kind)),
                KeyOutcome::BackedUp | KeyOutcome::LeftOut(_) => {}
            }
            done += 1;
            progress(Progress {
                name: &name,
                outcome,
                deleted,
                done,
                expected: head.expected_keys,
            });
        }
        require_end(reader)?;
        if let (true, Doing::Restore, Some(settings)) = (options.settings, doing, &report.settings)
        {
            let part = act.beside(Operation::RestoreSettings, Subject::Vault);
            self.adopt_settings(&part, settings)?;
        }
        Ok(report)
    }

    /// One key of the stream whose report this is.
    fn restore_one(
        &self,
        act: &Act<'_>,
        payload: BackupPayload,
        report: &VaultRestoreReport,
        options: &RestoreOptions<'_>,
        doing: Doing,
    ) -> Result<KeyOutcome> {
        let name = payload.name.clone();
        if let Some(deletion) = payload.deletion {
            if deletion.scheduled_purge <= self.now() {
                return Ok(KeyOutcome::Expired);
            }
            if !self.keeps_deleted_keys(report, options) {
                return Ok(KeyOutcome::Conflict(ErrorKind::Unsupported));
            }
        }
        let plan = self.plan(&payload, report.origin, options)?;
        let part = act.beside(Operation::RestoreKey, Subject::from(&name));
        if is_there(&plan, payload.deletion.is_some()) {
            if doing == Doing::Restore {
                self.raise_gcm_counts(&part, &payload)?;
            }
            return Ok(KeyOutcome::Present);
        }
        if doing == Doing::Plan {
            return Ok(match plan.expected_error() {
                None => KeyOutcome::Restored,
                Some(kind) => KeyOutcome::Conflict(kind),
            });
        }
        match self.restore_opened(&part, payload, report.origin, options) {
            Ok(_) => Ok(KeyOutcome::Restored),
            Err(error) if concerns_one_key(error.kind()) => Ok(KeyOutcome::Conflict(error.kind())),
            Err(error) => Err(error),
        }
    }

    /// Whether this vault has soft delete, or will have it with the settings that come after the keys.
    fn keeps_deleted_keys(
        &self,
        report: &VaultRestoreReport,
        options: &RestoreOptions<'_>,
    ) -> bool {
        let coming = report.settings.as_ref().filter(|_| options.settings);
        let on = |settings: &VaultSettings| !settings.deletion.soft_delete.is_off();
        !self.deletion_settings().soft_delete.is_off() || coming.is_some_and(on)
    }
}

fn require_magic(reader: &mut dyn Read) -> Result<()> {
    let mut magic = [0; STREAM_MAGIC.len()];
    read_exact(reader, &mut magic)?;
    if magic == STREAM_MAGIC {
        return Ok(());
    }
    Err(if magic[..6] == STREAM_MAGIC[..6] {
        newer()
    } else {
        invalid("these bytes are not the backup of a vault")
    })
}

/// Errors: `InvalidBackup`; `NewerFormat` when they are wanted.
fn readable_settings(bytes: &[u8], options: &RestoreOptions<'_>) -> Result<Option<VaultSettings>> {
    match decode_settings(bytes) {
        Ok(settings) => Ok(Some(settings)),
        Err(error) if error.kind() == ErrorKind::NewerFormat && !options.settings => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the key of the backup is in the vault with all its versions, in use or deleted as there.
fn is_there(plan: &RestorePlan, deleted: bool) -> bool {
    let same = if deleted {
        NameState::Deleted
    } else {
        NameState::SameKey
    };
    plan.name_state() == same && plan.missing_versions().is_empty() && !plan.diverged()
}
