//! What STATE says, as far as others than the store want to know.

use crate::format::state::State;

/// What STATE says about the header that belongs to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HeaderFacts {
    pub(crate) seq: u64,
    /// The first half of the header's MAC.
    pub(crate) mac: [u8; 32],
    /// The current term of the KEK ring.
    pub(crate) kek_term: u32,
}

/// What STATE says in the open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StateFacts {
    pub(crate) generation: u64,
    /// Hash of the sealed STATE record: with the generation, what a pin holds.
    pub(crate) state_hash: [u8; 32],
    pub(crate) key_count: u64,
    pub(crate) record_count: u64,
    pub(crate) max_time_seen_ms: u64,
    pub(crate) kek_term: u32,
    pub(crate) shred_term: u32,
    pub(crate) header_seq: u64,
    pub(crate) audit: AuditState,
}

/// The audit chain as STATE keeps it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AuditState {
    pub(crate) first: u64,
    pub(crate) next: u64,
    pub(crate) head: [u8; 32],
    pub(crate) cut_head: [u8; 32],
}

impl AuditState {
    pub(super) fn of(state: &State) -> Self {
        Self {
            first: state.audit_first,
            next: state.audit_next,
            head: state.audit_head,
            cut_head: state.audit_cut_head,
        }
    }
}
