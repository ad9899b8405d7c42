//! What a caller asks of a commit.

use super::HeaderFacts;
use crate::format::audit::Event;
use crate::format::record::{IndexKey, SealedRecord};

/// A change of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Put(IndexKey, SealedRecord),
    /// No change when there is none.
    Remove(IndexKey),
    /// Replaces a record only while it still has this salt; else no change.
    Reseal {
        index: IndexKey,
        old_salt: [u8; 24],
        record: SealedRecord,
    },
}

impl Change {
    pub(super) fn index(&self) -> &IndexKey {
        match self {
            Self::Put(index, _) | Self::Remove(index) | Self::Reseal { index, .. } => index,
        }
    }

    pub(super) fn record(&self) -> Option<&SealedRecord> {
        match self {
            Self::Put(_, record) | Self::Reseal { record, .. } => Some(record),
            Self::Remove(_) => None,
        }
    }
}

/// What a group changes in STATE besides the records.
#[derive(Debug, Clone, Default)]
pub(crate) struct CommitOptions {
    /// The header that was written before.
    pub(crate) header: Option<HeaderFacts>,
    /// Every KEK term up to the current one must go: part of a purge.
    pub(crate) raise_shred_term: bool,
    /// Takes the clock's reading even if it is earlier than an older one.
    pub(crate) reset_time_floor: bool,
    /// Entries for the audit log, in their order. Their numbers are given when the group is written.
    pub(crate) events: Vec<Event>,
    /// Where the audit log begins from now on.
    pub(crate) audit_cut: Option<AuditCut>,
    /// Commits even if nothing but waiting entries of the audit log is there to be written.
    pub(crate) flush_events: bool,
    /// Commits even if nothing changes: what was before is an older state then.
    pub(crate) new_generation: bool,
}

impl CommitOptions {
    pub(super) fn is_empty(&self) -> bool {
        let Self {
            header,
            raise_shred_term,
            reset_time_floor,
            events,
            audit_cut,
            flush_events,
            new_generation,
        } = self;
        header.is_none()
            && !raise_shred_term
            && !reset_time_floor
            && events.is_empty()
            && audit_cut.is_none()
            && !flush_events
            && !new_generation
    }

    /// Adds what a later request of the same group wants.
    pub(super) fn merge(&mut self, later: Self) {
        self.header = later.header.or(self.header.take());
        self.raise_shred_term |= later.raise_shred_term;
        self.reset_time_floor |= later.reset_time_floor;
        self.events.extend(later.events);
        self.audit_cut = later.audit_cut.or(self.audit_cut.take());
        self.flush_events |= later.flush_events;
        self.new_generation |= later.new_generation;
    }
}

/// The beginning of the audit log after a cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AuditCut {
    /// The number of the first entry that stays.
    pub(crate) first: u64,
    /// The value of the chain before it.
    pub(crate) head: [u8; 32],
}
