//! Signed checkpoints of the audit log.

use std::fmt;

use super::audit::AuditReport;
use super::{CheckFinding, Operation, Subject, Vault};
use crate::crypto::public_key::PublicKey;
use crate::error::{Error, ErrorKind, Result};
use crate::format::fields::Reader;
use crate::model::algorithm::SignatureAlgorithm;

impl Vault {
    /// A signed statement of where the audit log stands. Kept where whoever can open the vault cannot change it, it
    /// shows later whether the log was rewritten: [`Vault::verify_audit_since`].
    ///
    /// Waiting entries are made durable first.
    ///
    /// # Errors
    ///
    /// [`Forbidden`](ErrorKind::Forbidden) for a restricted handle;
    /// [`RandomUnavailable`](ErrorKind::RandomUnavailable); and the errors of storage.
    ///
    /// # Examples
    ///
    /// ```
    /// # use strongroom::*;
    /// let vault = VaultOptions::new().audit(AuditOptions::on()).create_in_memory()?;
    /// let checkpoint = vault.audit_checkpoint()?;
    /// let kept = checkpoint.to_bytes();
    ///
    /// let checkpoint = AuditCheckpoint::from_bytes(&kept)?;
    /// verify_audit_checkpoint(&checkpoint, &vault.identity_public_key()?)?;
    /// assert!(vault.verify_audit_since(&checkpoint)?.is_intact());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn audit_checkpoint(&self) -> Result<AuditCheckpoint> {
        self.act(Operation::AuditCheckpoint, Subject::Vault, |act| {
            let inner = act.inner();
            inner.flush_audit()?;
            let chain = inner.store.state().audit;
            let mut checkpoint = AuditCheckpoint {
                vault_id: *inner.hierarchy.vault_id(),
                seq: chain.next,
                head: chain.head,
                time_ms: inner.now_ms(),
                signature: [0; SIGNATURE_LENGTH],
            };
            let signature = inner.sign_as_vault(act, &checkpoint.signed_bytes())?;
            checkpoint.signature = signature
                .try_into()
                .map_err(|_| Error::internal("an ES256 signature of another length"))?;
            Ok(checkpoint)
        })
    }

    /// As [`Vault::verify_audit`], and whether the log still is the one of an earlier checkpoint of this vault, to which
    /// entries were only added. Whether the checkpoint is genuine, [`verify_audit_checkpoint`] tells.
    ///
    /// # Errors
    ///
    /// As there; [`BadParameter`](ErrorKind::BadParameter) for a checkpoint of another vault.
    pub fn verify_audit_since(&self, checkpoint: &AuditCheckpoint) -> Result<AuditReport> {
        self.act(Operation::VerifyAuditSince, Subject::Vault, |act| {
            let inner = act.inner();
            if checkpoint.vault_id != *inner.hierarchy.vault_id() {
                return Err(Error::bad_parameter(
                    "this is a checkpoint of another vault",
                ));
            }
            let verdict = inner.store.verify_audit(Some(checkpoint.seq))?;
            let outcome = match verdict.head_at {
                Some(head) if head == checkpoint.head => None,
                None if checkpoint.seq < verdict.chain.first => Some((
                    "the log was cut after the checkpoint, by retention or otherwise; it can no longer be compared",
                    true,
                )),
                _ => Some((
                    "the log is not the one of the checkpoint: entries before it were rewritten or taken away",
                    false,
                )),
            };
            let mut report = inner.audit_report(verdict);
            if let Some((message, harmless)) = outcome {
                report.findings.push(CheckFinding::new(
                    ErrorKind::Tampered,
                    format!("audit checkpoint at entry {}", checkpoint.seq),
                    message,
                    harmless,
                ));
            }
            Ok(report)
        })
    }
}

const CHECKPOINT_MAGIC: &[u8; 8] = b"SRMACP01";
const SIGNED_LENGTH: usize = 72;
const SIGNATURE_LENGTH: usize = 64;

/// A signed statement: at this time, the audit log of this vault had entries up to `seq` and this chain value.
///
/// As bytes it is `"SRMACP01"` ‖ vault id\[16\] ‖ seq u64 ‖ head\[32\] ‖ milliseconds since 1970 u64 ‖ signature\[64\], integers
/// big-endian; the signature is ES256 over all before it.
#[derive(Clone, PartialEq, Eq)]
pub struct AuditCheckpoint {
    vault_id: [u8; 16],
    seq: u64,
    head: [u8; 32],
    time_ms: u64,
    signature: [u8; SIGNATURE_LENGTH],
}

impl AuditCheckpoint {
    /// Length of the bytes.
    pub const LENGTH: usize = SIGNED_LENGTH + SIGNATURE_LENGTH;

    /// The random id of the vault.
    #[must_use]
    pub fn vault_id(&self) -> &[u8; 16] {
        &self.vault_id
    }

    /// The number of the next entry: all before it are covered.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The value of the chain there.
    #[must_use]
    pub fn head(&self) -> &[u8; 32] {
        &self.head
    }

    /// When it was signed, in milliseconds since 1970-01-01T00:00:00 UTC.
    #[must_use]
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// The bytes, to be kept elsewhere.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..SIGNED_LENGTH].copy_from_slice(&self.signed_bytes());
        bytes[SIGNED_LENGTH..].copy_from_slice(&self.signature);
        bytes
    }

    /// Reads what [`AuditCheckpoint::to_bytes`] gave. The signature is not looked at.
    ///
    /// # Errors
    ///
    /// [`BadParameter`](ErrorKind::BadParameter) for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let wrong = || Error::bad_parameter("these bytes are no audit checkpoint");
        if bytes.len() != Self::LENGTH {
            return Err(wrong());
        }
        let mut fields = Reader::new(bytes);
        let read = |fields: &mut Reader<'_>| {
            let magic: [u8; 8] = fields.array()?;
            let checkpoint = Self {
                vault_id: fields.array()?,
                seq: fields.u64()?,
                head: fields.array()?,
                time_ms: fields.u64()?,
                signature: fields.array()?,
            };
            (magic == *CHECKPOINT_MAGIC).then_some(checkpoint)
        };
        read(&mut fields).ok_or_else(wrong)
    }

    fn signed_bytes(&self) -> [u8; SIGNED_LENGTH] {
        let mut bytes = [0; SIGNED_LENGTH];
        bytes[..8].copy_from_slice(CHECKPOINT_MAGIC);
        bytes[8..24].copy_from_slice(&self.vault_id);
        bytes[24..32].copy_from_slice(&self.seq.to_be_bytes());
        bytes[32..64].copy_from_slice(&self.head);
        bytes[64..].copy_from_slice(&self.time_ms.to_be_bytes());
        bytes
    }
}

impl fmt::Debug for AuditCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditCheckpoint")
            .field("seq", &self.seq)
            .field("time_ms", &self.time_ms)
            .finish_non_exhaustive()
    }
}

/// Verifies the signature of a checkpoint with the [identity key](Vault::identity_public_key) of its vault, without
/// the vault.
///
/// # Errors
///
/// [`InvalidSignature`](ErrorKind::InvalidSignature): `?` fails closed.
/// [`AlgorithmMismatch`](ErrorKind::AlgorithmMismatch) for a key that is not P-256.
pub fn verify_audit_checkpoint(checkpoint: &AuditCheckpoint, key: &PublicKey) -> Result<()> {
    key.verify_data(
        SignatureAlgorithm::Es256,
        &checkpoint.signed_bytes(),
        &checkpoint.signature,
    )
    .map_err(|error| error.with_operation("verify_audit_checkpoint"))
}
