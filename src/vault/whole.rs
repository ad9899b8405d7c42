//! Backup and restore of a whole vault, one key after the other in one stream.

use std::io::{Read, Write};

use super::backup::BackupOptions;
use super::restore::require_accepted;
use super::restore_options::{NameState, RestoreOptions};
use super::{Act, Inner, Operation, Subject, Vault};
use crate::error::{Error, ErrorKind, Result};
use crate::format::backup::{Modes, damaged, invalid, newer};
use crate::format::backup_payload;
use crate::format::vault_stream::{
    FrameKind, MAX_FRAME_LENGTH, MAX_HEAD_LENGTH, STREAM_MAGIC, StreamEnd, StreamHead,
};
use crate::model::name::KeyName;
use crate::policy::{self, Lifecycle};
use crate::seal::backup::{BackupOrigin, Domain};
use crate::seal::vault_stream::Stream;

/// How many key objects one step looks at.
const STEP: usize = 64;

/// What [`Vault::backup_to`] and [`Vault::restore_all_from`] tell after each key.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    name: &'a KeyName,
    outcome: KeyOutcome,
    done: u64,
    expected: u64,
}

impl Progress<'_> {
    /// The key.
    #[must_use]
    pub fn name(&self) -> &KeyName {
        self.name
    }

    /// What became of it.
    #[must_use]
    pub fn outcome(&self) -> KeyOutcome {
        self.outcome
    }

    /// How many keys were looked at, this one included.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done
    }

    /// About how many there are: deleted keys count here and are not backed up.
    #[must_use]
    pub fn expected(&self) -> u64 {
        self.expected
    }
}

/// What became of one key of a whole vault.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum KeyOutcome {
    /// It is in the backup.
    BackedUp,
    /// It is not in the backup, because [`Vault::backup_key`] refuses it.
    LeftOut(ErrorKind),
    /// It was restored, or got versions that it lacked.
    Restored,
    /// It was there with all its versions.
    Present,
    /// It was not restored, because [`Vault::restore_key`] refuses it.
    Conflict(ErrorKind),
}

/// What [`Vault::backup_to`] wrote.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VaultBackupReport {
    keys: u64,
    left_out: Vec<(KeyName, ErrorKind)>,
    deleted: u64,
    changed_meanwhile: bool,
}

impl VaultBackupReport {
    /// How many keys are in the backup.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.keys
    }

    /// The keys in use that are not in it, and why: keys that may not leave their token, or have too many versions.
    #[must_use]
    pub fn left_out(&self) -> &[(KeyName, ErrorKind)] {
        &self.left_out
    }

    /// How many deleted keys the vault has; they are not backed up.
    #[must_use]
    pub fn deleted_keys(&self) -> u64 {
        self.deleted
    }

    /// Whether the vault was changed while it was backed up. Each key is in the backup as it was at one moment, but not
    /// all of them at the same one; keys that were made meanwhile may be missing.
    #[must_use]
    pub fn changed_meanwhile(&self) -> bool {
        self.changed_meanwhile
    }
}

/// What [`Vault::restore_all_from`] restored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VaultRestoreReport {
    restored: u64,
    present: u64,
    conflicts: Vec<(KeyName, ErrorKind)>,
    left_out: u64,
    origin: BackupOrigin,
    vault_id: [u8; 16],
}

impl VaultRestoreReport {
    /// How many keys were restored, or got versions that they lacked.
    #[must_use]
    pub fn restored(&self) -> u64 {
        self.restored
    }

    /// How many keys were there already with all their versions.
    #[must_use]
    pub fn present(&self) -> u64 {
        self.present
    }

    /// The keys that were not restored, and why.
    #[must_use]
    pub fn conflicts(&self) -> &[(KeyName, ErrorKind)] {
        &self.conflicts
    }

    /// How many keys the vault had that its backup does not hold.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Whose word it is that the keys are those that were backed up.
    #[must_use]
    pub fn origin(&self) -> BackupOrigin {
        self.origin
    }

    /// The id of the vault that was backed up.
    #[must_use]
    pub fn vault_id(&self) -> &[u8; 16] {
        &self.vault_id
    }
}

impl Vault {
    /// Writes all keys in use, with all their versions, as one sealed stream; calls `progress` after each.
    ///
    /// Reads and changes go on meanwhile; the report says whether there were any. One key is in memory at a time.
    /// Retention, purge protection, refused algorithms and deleted keys are not in the backup. The stream is not
    /// flushed to a disk: do that before you rely on it.
    ///
    /// # Errors
    ///
    /// [`Forbidden`](ErrorKind::Forbidden) for a restricted handle;
    /// [`BadParameter`](ErrorKind::BadParameter) and [`KdfCostRefused`](ErrorKind::KdfCostRefused) as for
    /// [`Vault::backup_key_with`]; [`Io`](ErrorKind::Io) when `writer` fails; and the errors of storage. A key that
    /// cannot be backed up is no error, but stands in the report.
    ///
    /// # Examples
    ///
    /// ```
    /// # use strongroom::*;
    /// # let vault = VaultOptions::new().create_in_memory()?;
    /// # vault.create_key(&KeyName::from_static("signer"), CreateKeyOptions::ec(Curve::P256))?;
    /// let safe = RecipientKey::generate()?;
    /// let mut stream = Vec::new(); // a file
    /// let report = vault.backup_to(
    ///     &mut stream,
    ///     &BackupOptions::new().recipient(&safe.recipient()),
    ///     |progress| println!("{} of {}", progress.done(), progress.expected()),
    /// )?;
    /// assert_eq!((report.keys(), report.left_out().len()), (1, 0));
    ///
    /// let other = VaultOptions::new().create_in_memory()?;
    /// let options = RestoreOptions::new().recipient_key(&safe).accept_unauthenticated(true);
    /// let report = other.restore_all_from(&stream[..], &options, |_| ())?;
    /// assert_eq!(report.restored(), 1);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn backup_to(
        &self,
        mut writer: impl Write,
        options: &BackupOptions<'_>,
        mut progress: impl FnMut(Progress<'_>),
    ) -> Result<VaultBackupReport> {
        self.act(Operation::BackupTo, Subject::Vault, |act| {
            act.inner().backup_to(&mut writer, options, &mut progress)
        })
    }

    /// Restores the keys of a stream that [`Vault::backup_to`] wrote, one after the other; calls `progress` after each.
    ///
    /// Each key is restored as [`Vault::restore_key_with`] does, all its versions or none. What stands in the way of
    /// one key is in the report and does not stop the others. Calling it again goes on where it ended: keys that are
    /// there are passed over.
    ///
    /// # Errors
    ///
    /// [`Forbidden`](ErrorKind::Forbidden) for a restricted handle; as [`Vault::restore_key_with`] for opening the stream; [`InvalidBackup`](ErrorKind::InvalidBackup) when the
    /// stream is damaged, altered, cut off or rearranged; [`BadParameter`](ErrorKind::BadParameter) with
    /// [`RestoreOptions::rename_to`]; [`Io`](ErrorKind::Io) when `reader` fails; and the errors of storage. After an
    /// error the keys that were restored before stay: each was whole and in its place.
    pub fn restore_all_from(
        &self,
        mut reader: impl Read,
        options: &RestoreOptions<'_>,
        mut progress: impl FnMut(Progress<'_>),
    ) -> Result<VaultRestoreReport> {
        self.act(Operation::RestoreAllFrom, Subject::Vault, |act| {
            act.inner()
                .restore_all_from(act, &mut reader, options, &mut progress)
        })
    }
}

impl Inner {
    fn backup_to(
        &self,
        writer: &mut dyn Write,
        options: &BackupOptions<'_>,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<VaultBackupReport> {
        let before = self.store.state();
        let head = StreamHead {
            vault_id: *self.hierarchy.vault_id(),
            expected_keys: before.key_count,
        };
        let rings = self.header.rings();
        let head = self.seal_in(&rings, options, Modes::WHOLE_VAULT, &head.encode())?;
        let domain = options.wants_domain().then_some(Domain {
            id: rings.domain_id,
            ring: &rings.sdk,
        });
        let mut stream = Stream::sealing(&head, self.hierarchy.suite(), domain)?;
        write(writer, &STREAM_MAGIC)?;
        write_part(writer, &head.bytes)?;

        let mut report = VaultBackupReport::default();
        let mut done = 0;
        let mut after = None;
        loop {
            let (names, deleted, last) = self.names_in_use(after)?;
            report.deleted += deleted;
            for name in &names {
                let outcome = match self.backup_payload(name) {
                    Ok(payload) => {
                        let frame =
                            stream.seal(FrameKind::Key, payload.expose(), &*self.entropy)?;
                        write_part(writer, &frame)?;
                        report.keys += 1;
                        KeyOutcome::BackedUp
                    }
                    // Deleted between the listing and now.
                    Err(error) if error.kind() == ErrorKind::KeyNotFound => continue,
                    Err(error) if concerns_one_key(error.kind()) => {
                        report.left_out.push((name.clone(), error.kind()));
                        KeyOutcome::LeftOut(error.kind())
                    }
                    Err(error) => return Err(error.with_key(name)),
                };
                done += 1;
                progress(Progress {
                    name,
                    outcome,
                    done,
                    expected: before.key_count,
                });
            }
            match last {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        let end = StreamEnd {
            keys: stream.count(),
            left_out: report.left_out.len() as u64,
            chain: stream.chain(),
        };
        let frame = stream.seal(FrameKind::End, &end.encode(), &*self.entropy)?;
        write_part(writer, &frame)?;
        writer.flush().map_err(unwritten)?;
        report.changed_meanwhile = self.store.state().generation != before.generation;
        Ok(report)
    }

    /// The keys in use of one step, how many others there are that are deleted, and where the next step begins.
    fn names_in_use(
        &self,
        after: Option<[u8; 16]>,
    ) -> Result<(Vec<KeyName>, u64, Option<[u8; 16]>)> {
        let now = self.now();
        self.store.read(|view| {
            let objects = view.key_objects(after, STEP)?;
            let last = objects.last().map(|(n, _)| *n);
            let mut names = Vec::with_capacity(objects.len());
            let mut deleted = 0;
            for (n, record) in &objects {
                let key = self.open_key(*n, record)?;
                match policy::lifecycle(&key.object, now) {
                    Lifecycle::Active => names.push(key.object.name),
                    Lifecycle::Deleted => deleted += 1,
                    Lifecycle::Gone => {}
                }
            }
            Ok((names, deleted, last))
        })
    }

    fn restore_all_from(
        &self,
        act: &Act<'_>,
        reader: &mut dyn Read,
        options: &RestoreOptions<'_>,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<VaultRestoreReport> {
        if options.rename_to.is_some() {
            return Err(Error::bad_parameter(
                "a whole vault is restored under the keys' own names",
            ));
        }
        let mut magic = [0; STREAM_MAGIC.len()];
        read_exact(reader, &mut magic)?;
        if magic != STREAM_MAGIC {
            return Err(if magic[..6] == STREAM_MAGIC[..6] {
                newer()
            } else {
                invalid("these bytes are not the backup of a vault")
            });
        }
        let bytes = read_part(reader, MAX_HEAD_LENGTH)?;
        let rings = self.header.rings();
        let opened = self.open_container(&rings, &bytes, Modes::WHOLE_VAULT, options)?;
        require_accepted(opened.origin, options)?;
        let head = StreamHead::decode(&opened.payload)?;
        let domain = Domain {
            id: rings.domain_id,
            ring: &rings.sdk,
        };
        let mut stream = Stream::opening(&opened, domain, &bytes)?;
        let mut report = VaultRestoreReport {
            restored: 0,
            present: 0,
            conflicts: Vec::new(),
            left_out: 0,
            origin: opened.origin,
            vault_id: head.vault_id,
        };
        let mut done = 0;
        loop {
            let (count, chain) = (stream.count(), stream.chain());
            let frame = read_part(reader, MAX_FRAME_LENGTH)?;
            let (kind, payload) = stream.open(&frame)?;
            drop(frame);
            if kind == FrameKind::End {
                let end = StreamEnd::decode(&payload)?;
                if end.keys != count || end.chain != chain {
                    return Err(damaged());
                }
                report.left_out = end.left_out;
                break;
            }
            let payload = backup_payload::decode(&payload)?;
            let name = payload.name.clone();
            let plan = self.plan(&payload, opened.origin, options)?;
            let outcome = if plan.name_state() == NameState::SameKey
                && plan.missing_versions().is_empty()
                && !plan.diverged()
            {
                report.present += 1;
                KeyOutcome::Present
            } else {
                let part = act.beside(Operation::RestoreKey, Subject::from(&name));
                match self.restore_opened(&part, payload, opened.origin, options) {
                    Ok(_) => {
                        report.restored += 1;
                        KeyOutcome::Restored
                    }
                    Err(error) if concerns_one_key(error.kind()) => {
                        report.conflicts.push((name.clone(), error.kind()));
                        KeyOutcome::Conflict(error.kind())
                    }
                    Err(error) => return Err(error.with_key(&name)),
                }
            };
            done += 1;
            progress(Progress {
                name: &name,
                outcome,
                done,
                expected: head.expected_keys,
            });
        }
        match reader.read(&mut [0]) {
            Ok(0) => Ok(report),
            Ok(_) => Err(invalid("something follows the end of the backup")),
            Err(error) => Err(unread(error)),
        }
    }
}

/// Whether other keys can go on after this error of one.
fn concerns_one_key(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::KeyExists
            | ErrorKind::KeyDeleted
            | ErrorKind::KeyNotFound
            | ErrorKind::NotExportable
            | ErrorKind::TooLarge
            | ErrorKind::InvalidBackup
            | ErrorKind::Unsupported
            | ErrorKind::WrongDomain
            | ErrorKind::BackendUnavailable
            | ErrorKind::BackendAuthentication
            | ErrorKind::BackendRejected
            | ErrorKind::Throttled
    )
}

fn write(writer: &mut dyn Write, bytes: &[u8]) -> Result<()> {
    writer.write_all(bytes).map_err(unwritten)
}

/// length u32 ‖ bytes.
fn write_part(writer: &mut dyn Write, bytes: &[u8]) -> Result<()> {
    let length = u32::try_from(bytes.len())
        .map_err(|_| Error::internal("a part of a stream is longer than its format allows"))?;
    write(writer, &length.to_be_bytes())?;
    write(writer, bytes)
}

fn read_exact(reader: &mut dyn Read, bytes: &mut [u8]) -> Result<()> {
    reader.read_exact(bytes).map_err(|error| {
        if error.kind() == std::io::ErrorKind::UnexpectedEof {
            cut_off()
        } else {
            unread(error)
        }
    })
}

/// Memory grows with what arrives, not with what a length announces.
fn read_part(reader: &mut dyn Read, limit: usize) -> Result<Vec<u8>> {
    let mut length = [0; 4];
    read_exact(reader, &mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| damaged())?;
    if length > limit {
        return Err(damaged());
    }
    let mut bytes = Vec::new();
    let mut part = reader.take(length as u64);
    part.read_to_end(&mut bytes).map_err(unread)?;
    if bytes.len() == length {
        Ok(bytes)
    } else {
        Err(cut_off())
    }
}

fn cut_off() -> Error {
    invalid("the backup of the vault ends before its end; what was restored of it stays")
}

fn unread(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, "the backup could not be read").with_source(error)
}

fn unwritten(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, "the backup could not be written").with_source(error)
}
