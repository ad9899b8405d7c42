//! Backup of a whole vault, one key after the other in one stream.

use std::io::Write;

use zeroize::Zeroizing;

use super::backup::BackupOptions;
use super::stream_parts::{unwritten, write, write_part};
use super::whole_report::{KeyOutcome, Progress, VaultBackupReport};
use super::{Inner, Operation, Subject, Vault};
use crate::error::{ErrorKind, Result};
use crate::format::backup::Modes;
use crate::format::backup_payload::BackupPayload;
use crate::format::vault_stream::{
    DeletionPrefix, Edition, FrameKind, STREAM_MAGIC, StreamEnd, StreamHead, encode_settings,
};
use crate::model::key::Deletion;
use crate::model::name::KeyName;
use crate::policy::{self, Lifecycle};
use crate::seal::backup::Domain;
use crate::seal::vault_stream::Stream;
use crate::secret::SecretBytes;

/// How many key objects one step looks at.
const STEP: usize = 64;

impl Vault {
    /// Writes all keys with all their versions as one sealed stream; calls `progress` after each. Deleted keys that can
    /// be recovered are in it with the dates of their deletion, and so are the [settings](crate::VaultSettings) of the
    /// vault.
    ///
    /// Reads and changes go on meanwhile; the report says whether there were any. One key is in memory at a time.
    /// [`Vault::lock`] waits for a backup as for every operation. The stream is not flushed to a disk: do that before
    /// you rely on it. One that was not finished does not restore as a whole.
    ///
    /// Not in the backup are the ways to unlock the vault, its security domain ([`Vault::export_domain`]), its audit
    /// log and its identity key, and what it remembers of purged keys.
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
            edition: Edition::Two,
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

        let settings = encode_settings(&self.vault_settings())?;
        let frame = stream.seal(FrameKind::Settings, &settings, &*self.entropy)?;
        write_part(writer, &frame)?;

        let mut report = VaultBackupReport::default();
        let mut done = 0;
        let mut after = None;
        loop {
            let (names, last) = self.names_of_step(after)?;
            for (name, was_deleted) in &names {
                let (outcome, deleted) = match self.whole_payload(name) {
                    // Gone between the listing and now.
                    Ok(None) => continue,
                    Ok(Some((payload, deletion))) => {
                        let kind = match deletion {
                            None => FrameKind::Key,
                            Some(_) => FrameKind::DeletedKey,
                        };
                        let frame = stream.seal(kind, payload.expose(), &*self.entropy)?;
                        write_part(writer, &frame)?;
                        let count = match deletion {
                            None => &mut report.keys,
                            Some(_) => &mut report.deleted,
                        };
                        *count += 1;
                        (KeyOutcome::BackedUp, deletion.is_some())
                    }
                    Err(error) if concerns_one_key(error.kind()) => {
                        report.left_out.push((name.clone(), error.kind()));
                        (KeyOutcome::LeftOut(error.kind()), *was_deleted)
                    }
                    Err(error) => return Err(error.with_key(name)),
                };
                done += 1;
                progress(Progress {
                    name,
                    outcome,
                    deleted,
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

    /// The keys of one step and whether each is deleted, and where the next step begins.
    #[expect(clippy::type_complexity, reason = "one caller")]
    fn names_of_step(
        &self,
        after: Option<[u8; 16]>,
    ) -> Result<(Vec<(KeyName, bool)>, Option<[u8; 16]>)> {
        let now = self.now();
        self.store.read(|view| {
            let objects = view.key_objects(after, STEP)?;
            let last = objects.last().map(|(n, _)| *n);
            let mut names = Vec::with_capacity(objects.len());
            for (n, record) in &objects {
                let key = self.open_key(*n, record)?;
                match policy::lifecycle(&key.object, now) {
                    Lifecycle::Active => names.push((key.object.name, false)),
                    Lifecycle::Deleted => names.push((key.object.name, true)),
                    Lifecycle::Gone => {}
                }
            }
            Ok((names, last))
        })
    }

    /// A key as it goes into the stream, in use or deleted as it is at this moment; `None` when it is gone.
    fn whole_payload(&self, name: &KeyName) -> Result<Option<(SecretBytes, Option<Deletion>)>> {
        let now = self.now();
        let found = self.store.read(|view| {
            self.load_key(view, name)?
                .filter(|key| policy::lifecycle(&key.object, now) != Lifecycle::Gone)
                .map(|key| self.load_payload(view, key))
                .transpose()
        })?;
        let Some(payload) = found else {
            return Ok(None);
        };
        let BackupPayload { deletion, .. } = payload;
        let bytes = self.export_payload(payload)?;
        let bytes = match deletion {
            None => bytes,
            Some(deletion) => {
                let prefix = DeletionPrefix { deletion }.encode();
                SecretBytes::from(Zeroizing::new([&prefix[..], bytes.expose()].concat()))
            }
        };
        Ok(Some((bytes, deletion)))
    }
}

/// Whether other keys can go on after this error of one.
pub(super) fn concerns_one_key(kind: ErrorKind) -> bool {
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
