//! Looking everything over.

use super::{BackendFindingKind, Inner, OpenFinding, Operation, Subject, Vault};
use crate::error::{ErrorKind, Result};
use crate::store::Finding;

/// How many key objects one step opens.
const CHECK_STEP: usize = 64;

/// What [`Vault::check`] found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CheckReport {
    findings: Vec<CheckFinding>,
    keys: u64,
    versions: u64,
    previous_kek_keys: u64,
}

impl CheckReport {
    /// Whether nothing was found at all.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// Whether nothing is lost: there are no findings but harmless ones.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings.iter().all(CheckFinding::is_harmless)
    }

    /// What was found, in the order in which it was met.
    #[must_use]
    pub fn findings(&self) -> &[CheckFinding] {
        &self.findings
    }

    /// How many keys opened, deleted ones included.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.keys
    }

    /// How many key versions opened.
    #[must_use]
    pub fn versions(&self) -> u64 {
        self.versions
    }

    /// How many keys are still sealed under the key encryption key before the current one: none, unless a
    /// replacement of it is under way or was interrupted.
    #[must_use]
    pub fn previous_kek_keys(&self) -> u64 {
        self.previous_kek_keys
    }
}

/// Something that is not as it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckFinding {
    kind: ErrorKind,
    place: String,
    message: String,
    harmless: bool,
}

impl CheckFinding {
    /// The kind of error that the use of this place meets.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Where: a file, a bucket, a record or a key.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// What is wrong, for a person.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether nothing is lost: it was repaired, or has no effect.
    #[must_use]
    pub fn is_harmless(&self) -> bool {
        self.harmless
    }
}

impl CheckFinding {
    pub(super) fn new(
        kind: ErrorKind,
        place: String,
        message: impl Into<String>,
        harmless: bool,
    ) -> Self {
        Self {
            kind,
            place,
            message: message.into(),
            harmless,
        }
    }
}

impl From<Finding> for CheckFinding {
    fn from(finding: Finding) -> Self {
        Self::new(
            finding.kind,
            finding.place,
            finding.message,
            finding.harmless,
        )
    }
}

impl Vault {
    /// Verifies everything that is stored: files, header copies, anchor, digests, every record, the audit log, and
    /// that every key version opens. Changes wait meanwhile for as long as it takes to read the files once.
    ///
    /// # Errors
    ///
    /// Only what ends the check, as [`VaultFailed`](ErrorKind::VaultFailed); what is wrong with the contents
    /// stands in the report.
    pub fn check(&self) -> Result<CheckReport> {
        self.act(Operation::Check, Subject::Vault, |act| act.inner().check())
    }
}

impl Inner {
    fn check(&self) -> Result<CheckReport> {
        let store = self.store.check()?;
        let mut report = CheckReport::default();
        report
            .findings
            .extend(store.findings.into_iter().map(CheckFinding::from));
        if self.open_report.contains(OpenFinding::HeaderHealed) {
            report.findings.push(CheckFinding {
                kind: ErrorKind::Corrupt,
                place: "vault.hdr".to_owned(),
                message: "one of its copies was damaged or old; opening the vault rewrote it from the other"
                    .to_owned(),
                harmless: true,
            });
        }
        let mut after = None;
        loop {
            let step = self.store.read(|view| {
                let objects = view.key_objects(after, CHECK_STEP)?;
                let last = objects.last().map(|(n, _)| *n);
                let mut findings = Vec::new();
                let (mut keys, mut versions, mut previous) = (0, 0, 0);
                let term = self.header.rings().kek.current_term;
                for (n, record) in &objects {
                    previous += u64::from(record.term() < term);
                    let opened = self.open_key(*n, record).and_then(|key| {
                        let records = self
                            .load_versions(view, &key)
                            .map_err(|error| error.with_key(&key.object.name))?;
                        for record in &records {
                            self.load_gcm_count(view, &key, record.version)
                                .map_err(|error| error.with_key(&key.object.name))?;
                        }
                        Ok(records.len())
                    });
                    match opened {
                        Ok(count) => {
                            keys += 1;
                            versions += count as u64;
                        }
                        Err(error) if error.kind() == ErrorKind::VaultFailed => return Err(error),
                        Err(error) => findings.push(CheckFinding {
                            kind: error.kind(),
                            place: error.key().map_or_else(
                                || "a key object".to_owned(),
                                |key| format!("key {key}"),
                            ),
                            message: error.to_string(),
                            harmless: false,
                        }),
                    }
                }
                Ok((last, findings, keys, versions, previous))
            });
            let (last, findings, keys, versions, previous) = match step {
                Ok(step) => step,
                // A bad bucket ends the walk through the keys; the store's own findings name it.
                Err(error)
                    if error.kind() != ErrorKind::VaultFailed && !report.findings.is_empty() =>
                {
                    return Ok(report);
                }
                Err(error) => return Err(error),
            };
            report.findings.extend(findings);
            report.keys += keys;
            report.versions += versions;
            report.previous_kek_keys += previous;
            match last {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        for finding in self.reconcile(false)? {
            let missing = matches!(
                finding.kind(),
                BackendFindingKind::MissingKey | BackendFindingKind::WrongDevice
            );
            report.findings.push(CheckFinding {
                kind: ErrorKind::BackendUnavailable,
                place: format!("backend {}", finding.backend()),
                message: finding.message().to_owned(),
                harmless: !missing,
            });
        }
        Ok(report)
    }
}
