//! The audit log: entries that wait, the chain over all of them, and its verification.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::engine::{Bound, Scan, Storage};
use super::ledger::{Changed, Ledger, Pair};
use super::{AuditCut, AuditState, CommitOptions, Finding, Shared, StoreConfig, View};
use crate::error::{Error, ErrorKind, Result};
use crate::format::audit::{self, Event, EventFields, EventSubject, MAX_ENTRIES_PER_RECORD};
use crate::format::record::{Class, IndexKey, NAMESPACE_NAMELESS, SealedRecord};
use crate::model::audit::AuditEntry;

/// How many entries wait for the next commit.
const MAX_WAITING: usize = 1_024;

/// A verification names no more faults than this.
const MAX_FINDINGS: usize = 64;

/// Records in one step of a walk.
const STEP: usize = 256;

/// Entries that ride on the next commit.
#[derive(Debug, Default)]
pub(super) struct WaitingEvents {
    inner: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<Event>,
    /// Since the last entry that tells of it.
    lost: u32,
    lost_in_all: u64,
}

impl WaitingEvents {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Never blocks for longer than a push: without room the entry is counted and lost.
    pub(super) fn push(&self, event: Event) {
        let mut waiting = self.lock();
        if waiting.events.len() < MAX_WAITING {
            waiting.events.push_back(event);
        } else {
            waiting.lost = waiting.lost.saturating_add(1);
            waiting.lost_in_all += 1;
        }
    }

    pub(super) fn are_none(&self) -> bool {
        let waiting = self.lock();
        waiting.events.is_empty() && waiting.lost == 0
    }

    /// How many wait, and how many were lost since the vault was opened.
    pub(super) fn counts(&self) -> (usize, u64) {
        let waiting = self.lock();
        (waiting.events.len(), waiting.lost_in_all)
    }

    /// Takes out what waits; an entry at the end tells of those that were lost.
    fn take(&self, time_ms: u64) -> Result<Vec<Event>> {
        let mut waiting = self.lock();
        let mut events: Vec<Event> = std::mem::take(&mut waiting.events).into();
        if waiting.lost > 0 {
            events.push(Event::new(&EventFields {
                time_ms,
                count: std::mem::take(&mut waiting.lost),
                operation: "AuditEntriesLost",
                error: "",
                subject: EventSubject::Vault,
                version: None,
                actor: None,
            })?);
        }
        Ok(events)
    }

    /// Nothing was written: they wait on, before those that came meanwhile.
    fn put_back(&self, events: Vec<Event>) {
        let mut waiting = self.lock();
        for event in events.into_iter().rev() {
            waiting.events.push_front(event);
        }
    }
}

/// Gives the entries of a group their numbers and their place in the chain. The caller holds the commit lock, so
/// that groups follow each other. What comes back is the chain after the group, and what to put back if the group
/// fails before anything is written.
pub(super) fn extend(
    shared: &Shared,
    ledger: &Ledger,
    changed: &mut Changed,
    options: &mut CommitOptions,
) -> Result<(Option<AuditState>, Vec<Event>)> {
    let config = &shared.config;
    let waiting = shared
        .waiting_events
        .take(config.clock.unix_milliseconds())?;
    let own = std::mem::take(&mut options.events);
    if waiting.is_empty() && own.is_empty() && options.audit_cut.is_none() {
        return Ok((None, waiting));
    }
    let mut chain = AuditState::of(&ledger.state);
    if let Some(AuditCut { first, head }) = options.audit_cut.take()
        && (chain.first..=chain.next).contains(&first)
    {
        chain.first = first;
        chain.cut_head = head;
    }
    let taken = waiting.len();
    let events: Vec<Event> = waiting.into_iter().chain(own).collect();
    let records = link(config, &mut chain, &events);
    let mut waiting = events;
    waiting.truncate(taken);
    match records {
        Ok(records) => {
            for (index, record) in records {
                let old = shared.engine.get(&index).unwrap_or_default();
                let new = Some(record);
                changed.insert(*index.as_bytes(), Pair { index, old, new });
            }
            Ok((Some(chain), waiting))
        }
        Err(error) => {
            shared.waiting_events.put_back(waiting);
            Err(error)
        }
    }
}

/// After [`extend`], when nothing was written.
pub(super) fn undo(shared: &Shared, waiting: Vec<Event>) {
    shared.waiting_events.put_back(waiting);
}

fn link(
    config: &StoreConfig,
    chain: &mut AuditState,
    events: &[Event],
) -> Result<Vec<(IndexKey, SealedRecord)>> {
    let hierarchy = &config.hierarchy;
    let mut records = Vec::with_capacity(events.len().div_ceil(MAX_ENTRIES_PER_RECORD));
    for events in events.chunks(MAX_ENTRIES_PER_RECORD) {
        let first = chain.next;
        for event in events {
            chain.head = hierarchy.audit_link(&chain.head, chain.next, event.as_bytes());
            chain.next = chain
                .next
                .checked_add(1)
                .ok_or_else(|| Error::internal("the numbers of audit entries are exhausted"))?;
        }
        let index = IndexKey::audit(first);
        let plaintext = audit::encode_record(first, events)?;
        let record = hierarchy.seal_record(
            &*hierarchy.meta_key()?,
            &index,
            0,
            &plaintext,
            config.entropy.as_ref(),
        )?;
        records.push((index, record));
    }
    Ok(records)
}

/// What a verification of the log found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AuditVerdict {
    /// Entries that are there and open.
    pub(crate) entries: u64,
    pub(crate) chain: AuditState,
    pub(crate) findings: Vec<Finding>,
    /// The chain's value before the entry that was asked for.
    pub(crate) head_at: Option<[u8; 32]>,
}

impl AuditVerdict {
    fn add(&mut self, place: String, kind: ErrorKind, message: &str) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(Finding {
                kind,
                place,
                message: message.to_owned(),
                harmless: false,
            });
        }
    }
}

/// Verifies every record and the chain over them. The caller holds the commit lock.
///
/// Errors: failures of the engine; what is wrong with the log is a finding.
pub(super) fn verify(shared: &Shared, ledger: &Ledger, at: Option<u64>) -> Result<AuditVerdict> {
    let chain = AuditState::of(&ledger.state);
    verify_chain(shared.engine.as_ref(), &shared.config, &chain, at)
}

fn verify_chain(
    engine: &dyn Storage,
    config: &StoreConfig,
    chain: &AuditState,
    at: Option<u64>,
) -> Result<AuditVerdict> {
    let mut verdict = AuditVerdict {
        chain: chain.clone(),
        ..AuditVerdict::default()
    };
    // `None` for a value that is unknown because of a fault before.
    let mut head = Some(chain.cut_head);
    let mut expected = chain.first;
    walk(engine, config, &mut verdict, |verdict, first, events| {
        let place = || format!("audit entries from {first}");
        if first > expected {
            verdict.add(
                format!("audit entries {expected} to {}", first - 1),
                ErrorKind::Tampered,
                "they are missing",
            );
            head = None;
        } else if first < expected {
            verdict.add(
                place(),
                ErrorKind::Tampered,
                "they do not belong to the log any more: put back, or doubled",
            );
            return;
        }
        for (seq, event) in (first..).zip(events) {
            if at == Some(seq) {
                verdict.head_at = head;
            }
            head = head.map(|head| config.hierarchy.audit_link(&head, seq, event));
            if let Err(error) = Event::decode(event, seq) {
                verdict.add(place(), error.kind(), "an entry does not decode");
            }
        }
        expected = first + events.len() as u64;
    })?;
    if at == Some(expected) {
        verdict.head_at = head;
    }
    if expected != chain.next {
        verdict.add(
            format!("audit entries from {expected}"),
            ErrorKind::Tampered,
            "the log does not end where it was last written: entries are missing at its end, or some were added",
        );
    } else if head.is_some_and(|head| head != chain.head) {
        verdict.add(
            "audit log".to_owned(),
            ErrorKind::Tampered,
            "an entry is not the one that was written: a record was exchanged for another one",
        );
    }
    Ok(verdict)
}

/// What the sealing of the records shows without the chain: whether each record at the place of an entry opens.
#[cfg(test)]
pub(super) fn opens_everywhere(shared: &Shared) -> Result<bool> {
    let mut verdict = AuditVerdict::default();
    walk(
        shared.engine.as_ref(),
        &shared.config,
        &mut verdict,
        |_, _, _| {},
    )?;
    Ok(verdict.findings.is_empty())
}

/// Opens every record of the log, in the order of the numbers: what the sealing alone shows.
fn walk(
    engine: &dyn Storage,
    config: &StoreConfig,
    verdict: &mut AuditVerdict,
    mut visit: impl FnMut(&mut AuditVerdict, u64, &[&[u8]]),
) -> Result<()> {
    let mut scan = Scan::prefix(&[NAMESPACE_NAMELESS, Class::Audit.byte()], STEP);
    loop {
        let page = engine.scan(&scan)?;
        for (index, record) in page.records {
            let place = || format!("audit entries from {}", index.number());
            let opened = record.and_then(|record| open(config, &index, &record));
            match opened
                .as_ref()
                .map(|plaintext| audit::decode_record(plaintext))
            {
                Ok(Ok((first, events))) if first == index.number() => {
                    verdict.entries += events.len() as u64;
                    visit(verdict, first, &events);
                }
                Ok(Ok(_)) => verdict.add(place(), ErrorKind::Tampered, "they belong elsewhere"),
                Ok(Err(error)) => verdict.add(place(), error.kind(), &error.to_string()),
                Err(error) => match error.kind() {
                    ErrorKind::VaultFailed | ErrorKind::Io | ErrorKind::Internal => {
                        return Err(Error::new(error.kind(), error.to_string()));
                    }
                    kind => verdict.add(place(), kind, &error.to_string()),
                },
            }
        }
        match page.next {
            Some(from) => scan.from = from,
            None => return Ok(()),
        }
    }
}

fn open(
    config: &StoreConfig,
    index: &IndexKey,
    record: &SealedRecord,
) -> Result<zeroize::Zeroizing<Vec<u8>>> {
    let hierarchy = &config.hierarchy;
    hierarchy.open_record(&*hierarchy.meta_key()?, index, record)
}

/// Entries from the number `from` on, some hundreds of them; none at the end of the log.
///
/// Errors: `Tampered` and `Corrupt` for a record that does not open.
pub(super) fn entries(config: &StoreConfig, view: &View<'_>, from: u64) -> Result<Vec<AuditEntry>> {
    // The record that holds the entry may begin before it.
    let mut at = from.saturating_sub(MAX_ENTRIES_PER_RECORD as u64 - 1);
    loop {
        let (records, next) = view.audit_records(at, STEP)?;
        let mut found = Vec::new();
        for (index, record) in &records {
            let plaintext = open(config, index, record)?;
            let (first, events) = audit::decode_record(&plaintext)?;
            for (seq, event) in (first..).zip(events) {
                if seq >= from {
                    found.push(Event::decode(event, seq)?);
                }
            }
        }
        match next {
            Some(next) if found.is_empty() => at = next,
            _ => return Ok(found),
        }
    }
}

/// What retention cuts off: whole records from the beginning.
#[derive(Debug)]
pub(crate) struct CutPlan {
    pub(crate) records: Vec<IndexKey>,
    pub(crate) entries: u64,
    pub(crate) cut: AuditCut,
}

/// Plans to cut up to `limit` records whose last entry is one that `is_over` names, from the beginning of the log.
///
/// Errors: `Tampered` when the log is not what it should be there; nothing is cut off then.
pub(super) fn plan_cut(
    config: &StoreConfig,
    view: &View<'_>,
    chain: &AuditState,
    limit: usize,
    is_over: impl Fn(&AuditEntry) -> bool,
) -> Result<Option<CutPlan>> {
    let mut plan = CutPlan {
        records: Vec::new(),
        entries: 0,
        cut: AuditCut {
            first: chain.first,
            head: chain.cut_head,
        },
    };
    let (records, _) = view.audit_records(chain.first, limit)?;
    for (index, record) in &records {
        let plaintext = open(config, index, record)?;
        let (first, events) = audit::decode_record(&plaintext)?;
        if first != plan.cut.first || first != index.number() {
            return Err(Error::new(
                ErrorKind::Tampered,
                "audit entries are missing where the log was to be cut; verify_audit tells more",
            ));
        }
        let end = first + events.len() as u64;
        let last = events
            .last()
            .ok_or_else(|| Error::internal("an empty audit record"))?;
        if !is_over(&Event::decode(last, end - 1)?) {
            break;
        }
        for (seq, event) in (first..).zip(&events) {
            plan.cut.head = config.hierarchy.audit_link(&plan.cut.head, seq, event);
        }
        plan.cut.first = end;
        plan.entries += events.len() as u64;
        plan.records.push(*index);
    }
    Ok((!plan.records.is_empty()).then_some(plan))
}

/// The first place of a walk that begins with the entry `first`.
pub(super) fn scan_from(first: u64, limit: usize) -> Scan {
    let from: Bound = super::engine::lowest(&IndexKey::audit(first).as_bytes()[..17]);
    Scan {
        from,
        ..Scan::prefix(&[NAMESPACE_NAMELESS, Class::Audit.byte()], limit)
    }
}
