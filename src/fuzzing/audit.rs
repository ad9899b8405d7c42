//! Records of the audit log, and its checkpoints.

use std::sync::LazyLock;

use super::fixture;
use crate::crypto::public_key::PublicKey;
use crate::format::audit::{
    Event, EventFields, EventSubject, MAX_ENTRIES_PER_RECORD, decode_record, encode_record,
};
use crate::model::audit::{AuditEntry, AuditOptions};
use crate::vault::{AuditCheckpoint, VaultOptions, verify_audit_checkpoint};

static SIGNED: LazyLock<(AuditCheckpoint, PublicKey)> = LazyLock::new(|| {
    let vault = VaultOptions::new()
        .audit(AuditOptions::on())
        .create_in_memory()
        .expect("memory is there");
    let checkpoint = vault.audit_checkpoint().expect("the vault is open");
    let key = vault.identity_public_key().expect("the vault is open");
    (checkpoint, key)
});

/// A record, one entry, or a checkpoint, by the first byte.
pub(super) fn run(data: &[u8]) -> bool {
    let Some((selector, bytes)) = data.split_first() else {
        return false;
    };
    match selector % 4 {
        0 => record(bytes),
        1 => event(bytes, u64::from(*selector)).is_some(),
        2 => checkpoint(bytes),
        _ => signed(bytes),
    }
}

fn record(bytes: &[u8]) -> bool {
    let Ok((first, entries)) = decode_record(bytes) else {
        return false;
    };
    assert!((1..=MAX_ENTRIES_PER_RECORD).contains(&entries.len()));
    let events: Vec<Event> = (first..)
        .zip(&entries)
        .filter_map(|(seq, bytes)| event(bytes, seq))
        .collect();
    // A record does not look into its entries.
    if events.len() == entries.len() {
        let again = encode_record(first, &events).expect("there are as many as before");
        assert_eq!(again, bytes);
    }
    true
}

fn event(bytes: &[u8], seq: u64) -> Option<Event> {
    let entry = Event::decode(bytes, seq).ok()?;
    assert_eq!(entry.seq(), seq);
    let again = encoded(&entry);
    assert_eq!(again.as_bytes(), bytes);
    let json = serde_json::to_value(&entry).expect("an entry is JSON");
    assert_eq!(json["seq"], seq);
    Some(again)
}

fn encoded(entry: &AuditEntry) -> Event {
    let subject = match (entry.key(), entry.principal()) {
        (Some(key), _) => EventSubject::Key(key),
        (None, Some(principal)) => EventSubject::Principal(principal),
        (None, None) => EventSubject::Vault,
    };
    let fields = EventFields {
        time_ms: entry.time_ms(),
        count: entry.count(),
        operation: entry.operation(),
        error: entry.error_kind().unwrap_or_default(),
        subject,
        version: entry.version(),
        actor: entry.actor(),
    };
    Event::new(&fields).expect("it was decoded")
}

fn checkpoint(bytes: &[u8]) -> bool {
    let checkpoint = AuditCheckpoint::from_bytes(bytes);
    if let Ok(checkpoint) = &checkpoint {
        assert_eq!(checkpoint.to_bytes()[..], *bytes);
        assert!(verify_audit_checkpoint(checkpoint, &SIGNED.1).is_err());
    }
    checkpoint.is_ok()
}

/// Edits of a good checkpoint: none of them verifies.
fn signed(edits: &[u8]) -> bool {
    let (good, key) = &*SIGNED;
    verify_audit_checkpoint(good, key).expect("it was just signed");
    let altered = fixture::edited(&good.to_bytes(), edits);
    match AuditCheckpoint::from_bytes(&altered) {
        Ok(checkpoint) => {
            let genuine = checkpoint == *good;
            assert_eq!(verify_audit_checkpoint(&checkpoint, key).is_ok(), genuine);
            genuine
        }
        Err(_) => false,
    }
}
