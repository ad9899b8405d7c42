//! The audit log: reading, verifying, exporting and cutting it.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::Arc;

use super::settings::setting;
use super::{Act, CheckFinding, Inner, Operation, Subject, Vault};
use crate::error::{Error, ErrorKind, Result};
use crate::format::settings::{self, AUDIT_OPTIONS};
use crate::model::audit::{AuditEntry, AuditOptions};
use crate::store::{AuditVerdict, Change, CommitOptions, CutPlan};

/// Records that one commit cuts off.
const CUT_STEP: usize = 512;

impl Vault {
    /// What the audit log records, and for how long it is kept.
    ///
    /// # Errors
    ///
    /// [`Forbidden`](ErrorKind::Forbidden) for a restricted handle.
    pub fn audit_options(&self) -> Result<AuditOptions> {
        self.act(Operation::AuditOptions, Subject::Vault, |act| {
            Ok(act.inner().recorder.lock_options().clone())
        })
    }

    /// Changes what the audit log records, as [`VaultOptions::audit`](crate::VaultOptions::audit) does.
    ///
    /// # Errors
    ///
    /// [`Forbidden`](ErrorKind::Forbidden) for a restricted handle, and the errors of storage.
    pub fn set_audit_options(&self, options: AuditOptions) -> Result<()> {
        self.act(Operation::SetAuditOptions, Subject::Vault, |act| {
            act.inner().set_audit_options(act, options)
        })
    }

    /// The entries of the audit log from the number `from_seq` on, oldest first. Those that still wait for a commit
    /// are not among them: see [`Vault::flush_audit`].
    ///
    /// An item can be an error; the iteration ends after it. Reading an entry proves that this vault wrote it;
    /// whether all entries are there, [`Vault::verify_audit`] tells.
    ///
    /// # Errors
    ///
    /// [`Forbidden`](ErrorKind::Forbidden) for a restricted handle.
    ///
    /// # Examples
    ///
    /// ```
    /// # use strongroom::*;
    /// let vault = VaultOptions::new().audit(AuditOptions::on()).create_in_memory()?;
    /// vault.create_key(&KeyName::from_static("signer"), CreateKeyOptions::ec(Curve::P256))?;
    /// let operations = vault
    ///     .audit_entries(0)?
    ///     .map(|entry| Ok(entry?.operation().to_owned()))
    ///     .collect::<Result<Vec<_>>>()?;
    /// assert!(operations.contains(&"KeyCreate".to_owned()));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn audit_entries(&self, from_seq: u64) -> Result<AuditEntries> {
        self.act(Operation::AuditEntries, Subject::Vault, |_| {
            Ok(AuditEntries::new(self, from_seq))
        })
    }

    /// Writes the whole audit log as JSON, one object a line, oldest entry first; gives the number of entries.
    ///
    /// # Errors
    ///
    /// [`Forbidden`](ErrorKind::Forbidden) for a restricted handle; [`Io`](ErrorKind::Io) from the writer; and the
    /// errors of storage.
    pub fn export_audit(&self, mut writer: impl Write) -> Result<u64> {
        self.act(Operation::ExportAudit, Subject::Vault, |_| {
            let io = |error: std::io::Error| {
                Error::new(
                    ErrorKind::Io,
                    "the audit log cannot be written where it was to go",
                )
                .with_source(error)
            };
            let mut count = 0;
            let mut entries = AuditEntries::new(self, 0);
            while let Some(entry) = entries.advance()? {
                let mut line = serde_json::to_vec(&entry).map_err(|error| io(error.into()))?;
                line.push(b'\n');
                writer.write_all(&line).map_err(io)?;
                count += 1;
            }
            writer.flush().map_err(io)?;
            Ok(count)
        })
    }

    /// Verifies every entry of the audit log and the chain over them; [`Vault::check`] does it too. Changes wait
    /// meanwhile.
    ///
    /// Entries that were edited, removed, reordered, exchanged or put back without the key are found. Whoever can
    /// open the vault can rewrite the log; against him, keep [checkpoints](Vault::audit_checkpoint) elsewhere.
    ///
    /// # Errors
    ///
    /// [`Forbidden`](ErrorKind::Forbidden) for a restricted handle, and what ends the verification; what is wrong
    /// with the log stands in the report.
    pub fn verify_audit(&self) -> Result<AuditReport> {
        self.act(Operation::VerifyAudit, Subject::Vault, |act| {
            let verdict = act.inner().store.verify_audit(None)?;
            Ok(act.inner().audit_report(verdict))
        })
    }

    /// Makes the entries durable that wait for a commit: those of reads, uses of keys, and failures. Without
    /// this they go with the next change, or when the vault is closed; up to 1,024 wait, and further ones are
    /// counted and lost.
    ///
    /// # Errors
    ///
    /// [`Forbidden`](ErrorKind::Forbidden) for a restricted handle, and the errors of storage.
    pub fn flush_audit(&self) -> Result<()> {
        self.act(Operation::FlushAudit, Subject::Vault, |act| {
            act.inner().flush_audit()
        })
    }

    /// When a vault was opened: takes up the options that were given, and records that.
    pub(super) fn begin_recording(&self, options: Option<AuditOptions>) -> Result<()> {
        let changed = options.filter(|options| *options != *self.inner.recorder.lock_options());
        if let Some(options) = changed {
            self.set_audit_options(options)?;
        }
        self.act(Operation::Open, Subject::Vault, |_| Ok(()))
    }
}

impl Inner {
    fn set_audit_options(&self, act: &Act<'_>, options: AuditOptions) -> Result<()> {
        let mut current = self.recorder.lock_options();
        let plaintext = settings::encode_audit_options(&options)?;
        let change = setting(&self.hierarchy, AUDIT_OPTIONS, &plaintext, &*self.entropy)?;
        act.commit(vec![change], CommitOptions::default())?;
        self.note_time();
        self.recorder.obey(&options);
        *current = options;
        Ok(())
    }

    pub(super) fn flush_audit(&self) -> Result<()> {
        let flush = CommitOptions {
            flush_events: true,
            ..CommitOptions::default()
        };
        self.store.commit_with(Vec::new(), flush)
    }

    /// Cuts off what retention no longer keeps; how many entries that were.
    pub(super) fn cut_audit(&self, act: &Act<'_>) -> Result<u64> {
        let _guard = self.recorder.lock_cutting();
        let options = self.recorder.lock_options().clone();
        let keep_from = self
            .store
            .state()
            .audit
            .next
            .saturating_sub(options.retained_entries.into());
        // A wrong clock must not destroy the log either.
        let oldest_ms = options
            .retained_days
            .filter(|_| self.require_plausible_clock().is_ok())
            .map(|days| self.now_ms().saturating_sub(u64::from(days) * 86_400_000));
        let is_over = |entry: &AuditEntry| {
            entry.seq < keep_from || oldest_ms.is_some_and(|oldest| entry.time_ms < oldest)
        };
        let mut cut_off = 0;
        while let Some(plan) = self.store.plan_audit_cut(CUT_STEP, is_over)? {
            let CutPlan {
                records,
                entries,
                cut,
            } = plan;
            let options = CommitOptions {
                audit_cut: Some(cut),
                ..CommitOptions::default()
            };
            let changes = records.into_iter().map(Change::Remove).collect();
            act.beside(Operation::CutAudit, Subject::Vault).commit_of(
                changes,
                options,
                u32::try_from(entries).unwrap_or(u32::MAX),
            )?;
            cut_off += entries;
        }
        Ok(cut_off)
    }

    pub(super) fn audit_report(&self, verdict: AuditVerdict) -> AuditReport {
        let (waiting, lost) = self.store.event_counts();
        let AuditVerdict {
            entries,
            chain,
            findings,
            head_at: _,
        } = verdict;
        AuditReport {
            entries,
            first_seq: chain.first,
            next_seq: chain.next,
            waiting: waiting as u64,
            lost,
            findings: findings.into_iter().map(CheckFinding::from).collect(),
        }
    }
}

/// What [`Vault::verify_audit`] found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditReport {
    entries: u64,
    first_seq: u64,
    next_seq: u64,
    waiting: u64,
    lost: u64,
    pub(super) findings: Vec<CheckFinding>,
}

impl AuditReport {
    /// Whether every entry that the log should hold is there and is the one that was written.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.findings.iter().all(CheckFinding::is_harmless)
    }

    /// What is wrong, at most some dozens of faults.
    #[must_use]
    pub fn findings(&self) -> &[CheckFinding] {
        &self.findings
    }

    /// How many entries are stored and open.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// The number of the first entry that retention has left.
    #[must_use]
    pub fn first_seq(&self) -> u64 {
        self.first_seq
    }

    /// The number of the next entry to be written.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// How many entries wait for a commit; a crash loses them.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.waiting
    }

    /// How many entries found no room among those that wait, since the vault was opened.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

/// What [`Vault::audit_entries`] gives.
#[derive(Debug)]
pub struct AuditEntries {
    vault: Vault,
    next: u64,
    ready: VecDeque<AuditEntry>,
    finished: bool,
}

impl AuditEntries {
    fn new(vault: &Vault, from: u64) -> Self {
        Self {
            vault: vault.clone(),
            next: from,
            ready: VecDeque::new(),
            finished: false,
        }
    }
}

impl AuditEntries {
    /// The next entry, for an operation that is under way.
    fn advance(&mut self) -> Result<Option<AuditEntry>> {
        if self.ready.is_empty() && !self.finished {
            let read = self.vault.inner.store.audit_entries(self.next);
            self.finished = read.as_ref().map_or(true, Vec::is_empty);
            self.ready = read?.into();
        }
        let entry = self.ready.pop_front();
        if let Some(entry) = &entry {
            self.next = entry.seq.saturating_add(1);
        }
        Ok(entry)
    }
}

impl Iterator for AuditEntries {
    type Item = Result<AuditEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        let inner = Arc::clone(&self.vault.inner);
        let mut read = || {
            // What was read before is given out without the vault.
            let _operation = match self.ready.is_empty() && !self.finished {
                true => Some(
                    inner
                        .gate
                        .enter(None)
                        .inspect_err(|_| self.finished = true)?,
                ),
                false => None,
            };
            self.advance()
        };
        read()
            .map_err(|error: Error| error.with_operation("audit_entries"))
            .transpose()
    }
}
