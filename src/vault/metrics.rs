//! Counters of what a handle and its clones did.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use super::acts::Operation;
use super::{Subject, Vault};
use crate::error::Result;

#[derive(Debug, Default)]
struct Counter {
    beside_gate: AtomicU64,
    failures: AtomicU64,
}

/// Failures of each operation, and the calls that the gate does not count because they do not enter.
#[derive(Debug)]
pub(super) struct Counters {
    counters: Box<[Counter]>,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            counters: Operation::ALL.iter().map(|_| Counter::default()).collect(),
        }
    }
}

impl Counters {
    pub(super) fn count_failure(&self, operation: Operation) {
        if let Some(counter) = self.counters.get(operation.index()) {
            counter.failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn count_beside_gate(&self, operation: Operation) {
        if let Some(counter) = self.counters.get(operation.index()) {
            counter.beside_gate.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What was counted since a vault was opened, over all its handles.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Metrics {
    operations: BTreeMap<&'static str, OperationMetrics>,
    commits: u64,
    audit_entries_waiting: u64,
    audit_entries_lost: u64,
}

impl Metrics {
    /// The operations that were called, by the name of their method.
    #[must_use]
    pub fn operations(&self) -> &BTreeMap<&'static str, OperationMetrics> {
        &self.operations
    }

    /// How many groups of changes were made durable. Changes that come at the same time share a group.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.commits
    }

    /// How many entries of the audit log wait for the next commit.
    #[must_use]
    pub fn audit_entries_waiting(&self) -> u64 {
        self.audit_entries_waiting
    }

    /// How many entries of the audit log found no room among those that wait. The log tells of them too.
    #[must_use]
    pub fn audit_entries_lost(&self) -> u64 {
        self.audit_entries_lost
    }
}

/// The counters of one operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct OperationMetrics {
    calls: u64,
    failures: u64,
}

impl OperationMetrics {
    /// How often it was called, and has returned.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// How often it gave an error.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures
    }
}

impl Vault {
    /// Counters since the vault was opened, over all its handles. Counting is always on.
    ///
    /// # Errors
    ///
    /// [`Forbidden`](crate::ErrorKind::Forbidden) for a restricted handle.
    ///
    /// # Examples
    ///
    /// ```
    /// # use strongroom::*;
    /// # let vault = VaultOptions::new().create_in_memory()?;
    /// vault.get_random_bytes(16)?;
    /// assert_eq!(vault.metrics()?.operations()["get_random_bytes"].calls(), 1);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn metrics(&self) -> Result<Metrics> {
        self.act(Operation::Metrics, Subject::Vault, |act| {
            let inner = act.inner();
            let (waiting, lost) = inner.store.event_counts();
            let operations = Operation::ALL
                .iter()
                .zip(&inner.counters.counters)
                .filter_map(|(operation, counter)| {
                    let counted = OperationMetrics {
                        calls: inner.gate.calls(*operation)
                            + counter.beside_gate.load(Ordering::Relaxed),
                        failures: counter.failures.load(Ordering::Relaxed),
                    };
                    (counted.calls > 0).then_some((operation.method(), counted))
                });
            Ok(Metrics {
                operations: operations.collect(),
                commits: inner.store.commit_count(),
                audit_entries_waiting: waiting as u64,
                audit_entries_lost: lost,
            })
        })
    }
}
