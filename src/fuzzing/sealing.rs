//! Containers for a known recipient, and how they are restored.

use super::fixture::{FixedEntropy, SUITE};
use crate::format::backup::Modes;
use crate::format::backup_payload;
use crate::seal::backup::{SealedContainer, SealedFor, seal_backup};
use crate::seal::hpke::RecipientKey;
use crate::vault::RestoreOptions;

pub(super) fn recipient() -> RecipientKey {
    RecipientKey::from_bytes(&[0x42; 32]).expect("these are 32 bytes")
}

pub(super) fn sealed(contents: Modes, payload: &[u8]) -> SealedContainer {
    let sealed_for = SealedFor {
        recipients: &[recipient().recipient()],
        ..SealedFor::default()
    };
    let entropy = FixedEntropy::default();
    seal_backup(sealed_for, contents, 1, payload, SUITE, &entropy).expect("it is short")
}

pub(super) fn options(key: &RecipientKey) -> RestoreOptions<'_> {
    RestoreOptions::new()
        .recipient_key(key)
        .accept_unauthenticated(true)
}

/// The tests of RSA primes take too long for a useful number of runs, and so do hundreds of versions.
pub(super) fn is_slow(payload: &[u8]) -> bool {
    backup_payload::decode(payload).is_ok_and(|payload| {
        payload.versions.len() > 16
            || payload
                .versions
                .iter()
                .any(|(version, _)| version.body.blob.expose().len() > 512)
    })
}
