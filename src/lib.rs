#![doc = include_str!("../README.md")]

#[cfg(feature = "azure-transport")]
pub mod azure_transport;
pub mod backend;
mod crypto;
mod env;
mod error;
mod format;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod manual;
mod model;
mod policy;
#[cfg(feature = "rest")]
pub mod rest;
mod seal;
mod secret;
mod store;
#[cfg(any(test, feature = "testing"))]
#[doc(hidden)]
pub mod timing;
mod vault;

pub use crypto::engine::CryptoEngine;
pub use crypto::public_key::PublicKey;
pub use env::{Clock, Entropy, OsEntropy, SystemClock};
pub use error::{AzureError, Error, ErrorKind, Result};
pub use model::algorithm::{
    CryptoOperation, EncryptionAlgorithm, HashAlgorithm, SignatureAlgorithm, WrapAlgorithm,
};
pub use model::attributes::{RecoveryLevel, SoftDelete};
pub use model::audit::{AuditEntry, AuditOptions, AuditReads};
pub use model::batch::{EncryptItem, SignItem, WrapItem};
pub use model::duration::CalendarDuration;
pub use model::identifier::{KeyIdentifier, KeySelector, VaultUrl};
pub use model::jwk::JsonWebKey;
pub use model::key_transfer::KeyTransferBlob;
pub use model::material::{ImportedKey, KeyMaterial, PublicParts};
pub use model::name::KeyName;
pub use model::name_pattern::NamePattern;
pub use model::operation::{KeyOperation, KeyOperations};
pub use model::options::{
    Ciphertext, CreateKeyOptions, EncryptOptions, ImportKeyOptions, ImportTransferredKeyOptions,
    UpdateKeyOptions,
};
pub use model::paging::{ContinuationToken, Page, PageSize};
pub use model::permission::{Permission, Permissions};
pub use model::pin::VaultPin;
pub use model::principal::Principal;
pub use model::release_policy::{KeyEncryptionAlgorithm, ReleasePolicy};
pub use model::results::{
    DataKey, DeletedKey, DeletedKeyProperties, EncryptResult, KeyBundle, KeyProperties, SignResult,
    WrapResult,
};
pub use model::rotation_policy::{KeyRotationPolicy, RotationPolicy, RotationTrigger};
pub use model::settings::{AlgorithmRules, DeletionSettings, VaultSettings};
pub use model::spec::{Curve, KeyFamily, KeySpec, KeyType, OctKeyLength, OctKeySize, RsaKeySize};
pub use model::tags::Tags;
pub use model::time::Timestamp;
pub use model::version::KeyVersion;
pub use seal::backup::{BackupKey, BackupOrigin};
pub use seal::hpke::{Recipient, RecipientKey};
pub use seal::passphrase::PassphraseParameters;
pub use seal::slot::{NewSlot, SlotId, Unlock};
#[cfg(feature = "pkcs11")]
pub use secret::Pin;
pub use secret::{
    HardeningReport, MasterKey, MemoryDegradation, MemoryProtection, MemoryReport, Passphrase,
    SecretBytes, WipingAllocator, harden_process,
};
#[cfg(feature = "testing")]
#[doc(hidden)]
pub use store::lengthen_syncs;
pub use vault::{
    AttestationAuthority, AttestedKey, AuditCheckpoint, AuditEntries, AuditReport, BackendFinding,
    BackendFindingKind, BackupContents, BackupOptions, BackupSummary, BoundKey, CheckFinding,
    CheckReport, CompactionReport, DeletedKeyIterator, DomainEpoch, DomainFile, FileRollbackGuard,
    KekRotation, KeyAttestation, KeyBackup, KeyEvent, KeyEventKind, KeyEventSubscriber,
    KeyIterator, KeyOutcome, KeyVersionIterator, MaintenanceOptions, MaintenanceReport, Metrics,
    NameState, OpenFinding, OpenReport, OperationMetrics, Progress, Refusal, ReleaseOptions,
    ReleaseResult, RestoreOptions, RestorePlan, RestoreResult, SalvageReport, ScheduledEvent,
    ScheduledEventKind, SecurityDomain, Shredding, UnlockKind, UnlockSlot, Vault,
    VaultBackupReport, VaultOptions, VaultRestoreReport, VaultStatus, hazmat,
    verify_audit_checkpoint,
};
