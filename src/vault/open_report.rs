//! What opening a vault had to mend.

use super::{BackendFinding, Operation, Subject, Vault};
use crate::error::Result;
use crate::store::{self, Leftover};

/// What opening a vault met and mended; [`Vault::open_report`] gives it.
///
/// After a clean close and with intact files there is nothing in it. What cannot be mended is an error of
/// [`VaultOptions::open`](crate::VaultOptions::open) and never stands here.
///
/// # Examples
///
/// ```
/// use strongroom::{MasterKey, Unlock, VaultOptions};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("vault");
/// let master = MasterKey::generate()?;
/// VaultOptions::new().create(&path, Unlock::raw_key(&master))?.close()?;
/// let vault = VaultOptions::new().open(&path, Unlock::raw_key(&master))?;
/// for finding in vault.open_report()?.findings() {
///     eprintln!("opening the vault: {finding:?}");
/// }
/// assert!(vault.open_report()?.is_clean());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OpenReport {
    findings: Vec<OpenFinding>,
    pub(super) backend_findings: Vec<BackendFinding>,
}

/// Something that opening a vault met and mended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum OpenFinding {
    /// The handle before was not closed: a crash, a kill, or a failed write. By itself it costs nothing.
    UncleanClose,
    /// A change that had been written in full, but not yet acknowledged, was completed.
    ChangeCompleted,
    /// A header that had been written before a crash was accepted.
    HeaderAccepted,
    /// A copy of the header was damaged or old and was rewritten from the good one.
    ///
    /// A crash can leave this only while the header was being replaced; otherwise look after the disk, or ask
    /// who changed the file.
    HeaderHealed,
    /// The anchor was older than the records, or its newest entry was damaged, and it was written again.
    ///
    /// After a crash that is usual. After a clean close it says that the file `vault.anchor` was damaged or
    /// put back; the records themselves are verified all the same.
    AnchorAdvanced,
    /// The anchor was missing or held nothing valid, and was made anew, as
    /// [`VaultOptions::rebuild_anchor`](crate::VaultOptions::rebuild_anchor) asked.
    AnchorRebuilt,
    /// [`VaultOptions::compact`](crate::VaultOptions::compact) had been interrupted when the compacted records were
    /// complete, and was brought to its end.
    CompactionCompleted,
    /// [`VaultOptions::compact`](crate::VaultOptions::compact) had been interrupted before, and what it had made was
    /// removed; the vault is as it was.
    CompactionDiscarded,
}

impl OpenReport {
    /// Whether there was nothing to mend, and nothing to tell of the backends.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty() && self.backend_findings.is_empty()
    }

    /// What was mended, in the order in which it was met.
    #[must_use]
    pub fn findings(&self) -> &[OpenFinding] {
        &self.findings
    }

    /// What was found about the backends, after unfinished calls to them were settled;
    /// [`Vault::reconcile_backends`] looks again.
    #[must_use]
    pub fn backend_findings(&self) -> &[BackendFinding] {
        &self.backend_findings
    }

    /// Whether this is among the findings.
    #[must_use]
    pub fn contains(&self, finding: OpenFinding) -> bool {
        self.findings.contains(&finding)
    }

    pub(super) fn new(store: store::OpenReport, header_healed: bool) -> Self {
        let store::OpenReport {
            unclean,
            redone,
            anchor_advanced,
            anchor_rebuilt,
            header_accepted,
            compaction,
        } = store;
        let findings = [
            (unclean, OpenFinding::UncleanClose),
            (
                compaction == Some(Leftover::Completed),
                OpenFinding::CompactionCompleted,
            ),
            (
                compaction == Some(Leftover::Discarded),
                OpenFinding::CompactionDiscarded,
            ),
            (redone, OpenFinding::ChangeCompleted),
            (header_accepted, OpenFinding::HeaderAccepted),
            (anchor_advanced, OpenFinding::AnchorAdvanced),
            (anchor_rebuilt, OpenFinding::AnchorRebuilt),
            (header_healed, OpenFinding::HeaderHealed),
        ];
        Self {
            findings: findings
                .into_iter()
                .filter_map(|(met, finding)| met.then_some(finding))
                .collect(),
            backend_findings: Vec::new(),
        }
    }
}

impl Vault {
    /// What opening this vault had to mend; empty for one that was created by this handle or lives in memory.
    ///
    /// [`Vault::check`] looks at how the files are now, and so no longer sees what opening has mended, but for a
    /// healed header, which it repeats as a harmless finding.
    ///
    /// # Errors
    ///
    /// [`Forbidden`](crate::ErrorKind::Forbidden) for a restricted handle.
    pub fn open_report(&self) -> Result<&OpenReport> {
        self.act(Operation::OpenReport, Subject::Vault, |act| {
            Ok(&act.inner().open_report)
        })
    }
}
