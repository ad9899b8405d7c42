//! The public operations of a vault: their names, and what they need.

use super::grant::Need;
use crate::model::permission::Permission;

/// What is known of an operation beforehand.
#[derive(Debug)]
struct Facts {
    /// The method, as errors and counters name it.
    method: &'static str,
    /// The name in the audit log.
    audit_name: &'static str,
    need: Need,
    /// Whether it is recorded whatever the audit log is told about reads and uses of keys.
    always_recorded: bool,
}

macro_rules! operations {
    ($($variant:ident: $method:literal, $audit:literal, $need:expr, $always:expr;)*) => {
        /// A public operation of the vault.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(super) enum Operation {
            $($variant,)*
        }

        impl Operation {
            pub(super) const ALL: &'static [Self] = &[$(Self::$variant,)*];
        }

        /// In the order of the variants.
        static FACTS: &[Facts] = &[$(Facts {
            method: $method,
            audit_name: $audit,
            need: $need,
            always_recorded: $always,
        },)*];
    };
}

const FULL: Need = Need::FullHandle;
/// What changes something, gives key material away, or is about the vault's own protection.
const ALWAYS: bool = true;
const BY_CHOICE: bool = false;

macro_rules! need {
    ($permission:ident) => {
        Need::One(Permission::$permission)
    };
}

// The audit names of the first part are Azure's but for `KeyRewrap`, `KeyExplain`,
// `KeyAttestationGet` and `RandomBytesGet`; `Vault...` is our own.
operations! {
    CreateKey: "create_key", "KeyCreate", need!(Create), ALWAYS;
    // An operation of this kind is one item of the batch.
    CreateMany: "create_many", "KeyCreate", need!(Create), ALWAYS;
    ImportMany: "import_many", "KeyImport", need!(Import), ALWAYS;
    ImportKey: "import_key", "KeyImport", need!(Import), ALWAYS;
    ImportTransferredKey: "import_transferred_key", "KeyImport", need!(Import), ALWAYS;
    RotateKey: "rotate_key", "KeyRotate", need!(Rotate), ALWAYS;
    // A part of `maintain`.
    RotateKeyIfDue: "rotate_key_if_due", "KeyRotateIfDue", FULL, ALWAYS;
    AnnounceNearExpiry:
        "announce_near_expiry", "KeyNearExpiryEventGridNotification", FULL, ALWAYS;
    GetKeyRotationPolicy: "get_key_rotation_policy", "KeyRotationPolicyGet",
        need!(GetRotationPolicy), BY_CHOICE;
    UpdateKeyRotationPolicy: "update_key_rotation_policy", "KeyRotationPolicySet",
        need!(SetRotationPolicy), ALWAYS;
    GetKey: "get_key", "KeyGet", need!(Get), BY_CHOICE;
    GetKeyAttestation: "get_key_attestation", "KeyAttestationGet", need!(Get), BY_CHOICE;
    Explain: "explain", "KeyExplain", need!(Get), BY_CHOICE;
    BindKey: "key", "KeyGet", need!(Get), BY_CHOICE;
    UpdateKeyProperties: "update_key_properties", "KeyUpdate", need!(Update), ALWAYS;
    DeleteKey: "delete_key", "KeyDelete", need!(Delete), ALWAYS;
    GetDeletedKey: "get_deleted_key", "KeyGetDeleted", need!(Get), BY_CHOICE;
    RecoverDeletedKey: "recover_deleted_key", "KeyRecover", need!(Recover), ALWAYS;
    PurgeDeletedKey: "purge_deleted_key", "KeyPurge", need!(Purge), ALWAYS;
    ListKeyProperties: "list_key_properties", "KeyList", need!(List), BY_CHOICE;
    ListKeyPropertiesVersions:
        "list_key_properties_versions", "KeyListVersions", need!(List), BY_CHOICE;
    ListDeletedKeyProperties:
        "list_deleted_key_properties", "KeyListDeleted", need!(List), BY_CHOICE;
    BackupKey: "backup_key", "KeyBackup", need!(Backup), ALWAYS;
    BackupKeyWith: "backup_key_with", "KeyBackup", need!(Backup), ALWAYS;
    RestoreKey: "restore_key", "KeyRestore", need!(Restore), ALWAYS;
    RestoreKeyWith: "restore_key_with", "KeyRestore", need!(Restore), ALWAYS;
    RestorePlan: "restore_plan", "KeyRestorePlan", need!(Restore), BY_CHOICE;
    SignMany: "sign_many", "KeySign", need!(Sign), BY_CHOICE;
    EncryptMany: "encrypt_many", "KeyEncrypt", need!(Encrypt), BY_CHOICE;
    WrapMany: "wrap_many", "KeyWrap", need!(WrapKey), BY_CHOICE;
    Encrypt: "encrypt", "KeyEncrypt", need!(Encrypt), BY_CHOICE;
    EncryptWithIv: "encrypt_with_iv", "KeyEncrypt", FULL, BY_CHOICE;
    Decrypt: "decrypt", "KeyDecrypt", need!(Decrypt), BY_CHOICE;
    Sign: "sign", "KeySign", need!(Sign), BY_CHOICE;
    SignData: "sign_data", "KeySign", need!(Sign), BY_CHOICE;
    SignReader: "sign_reader", "KeySign", need!(Sign), BY_CHOICE;
    SignDeterministic: "sign_deterministic", "KeySign", FULL, BY_CHOICE;
    Verify: "verify", "KeyVerify", need!(Verify), BY_CHOICE;
    VerifyData: "verify_data", "KeyVerify", need!(Verify), BY_CHOICE;
    WrapKey: "wrap_key", "KeyWrap", need!(WrapKey), BY_CHOICE;
    GenerateDataKey: "generate_data_key", "KeyWrap", need!(WrapKey), BY_CHOICE;
    UnwrapKey: "unwrap_key", "KeyUnwrap", need!(UnwrapKey), BY_CHOICE;
    RewrapKey: "rewrap_key", "KeyRewrap", need!(UnwrapKey), BY_CHOICE;
    Release: "release", "KeyRelease", need!(Release), ALWAYS;
    GetRandomBytes: "get_random_bytes", "RandomBytesGet", need!(Rng), BY_CHOICE;
    GetRandomBytesFrom: "get_random_bytes_from", "RandomBytesGet", need!(Rng), BY_CHOICE;

    Open: "open", "VaultOpen", FULL, ALWAYS;
    Close: "close", "VaultClose", FULL, ALWAYS;
    Lock: "lock", "VaultLock", FULL, ALWAYS;
    Status: "status", "VaultStatusGet", FULL, BY_CHOICE;
    OpenReport: "open_report", "VaultOpenReportGet", FULL, BY_CHOICE;
    Backends: "backends", "VaultBackendsGet", FULL, BY_CHOICE;
    ReconcileBackends: "reconcile_backends", "VaultReconcileBackends", FULL, ALWAYS;
    Check: "check", "VaultCheck", FULL, BY_CHOICE;
    Maintain: "maintain", "VaultMaintain", FULL, ALWAYS;
    Due: "due", "VaultDueGet", FULL, BY_CHOICE;
    NextEvent: "next_event", "VaultNextEventGet", FULL, BY_CHOICE;
    RotateKek: "rotate_kek", "VaultKekRotate", FULL, ALWAYS;
    Compact: "compact", "VaultCompact", FULL, ALWAYS;
    UnlockSlots: "unlock_slots", "VaultUnlockSlotsGet", FULL, BY_CHOICE;
    AddUnlockSlot: "add_unlock_slot", "VaultUnlockSlotAdd", FULL, ALWAYS;
    ReplaceUnlockSlot: "replace_unlock_slot", "VaultUnlockSlotReplace", FULL, ALWAYS;
    RemoveUnlockSlot: "remove_unlock_slot", "VaultUnlockSlotRemove", FULL, ALWAYS;
    Pin: "pin", "VaultPinGet", FULL, BY_CHOICE;
    SyncRollbackGuard: "sync_rollback_guard", "VaultRollbackGuardSync", FULL, BY_CHOICE;
    ResetTimeFloor: "reset_time_floor", "VaultTimeFloorReset", FULL, ALWAYS;
    SecurityDomain: "security_domain", "VaultSecurityDomainGet", FULL, ALWAYS;
    DomainEpochs: "domain_epochs", "VaultDomainEpochsGet", FULL, BY_CHOICE;
    RotateDomain: "rotate_domain", "VaultDomainRotate", FULL, ALWAYS;
    RaiseDomainFloor: "raise_domain_floor", "VaultDomainFloorRaise", FULL, ALWAYS;
    UpdateDomain: "update_domain", "VaultDomainUpdate", FULL, ALWAYS;
    ExportDomain: "export_domain", "VaultDomainExport", FULL, ALWAYS;
    BackupTo: "backup_to", "VaultBackup", FULL, ALWAYS;
    RestoreAllFrom: "restore_all_from", "VaultRestore", FULL, ALWAYS;
    RestoreAllPlan: "restore_all_plan", "VaultRestorePlan", FULL, BY_CHOICE;
    RestoreSettings: "restore_settings", "VaultSettingsRestore", FULL, ALWAYS;
    EnablePurgeProtection:
        "enable_purge_protection", "VaultPurgeProtectionEnable", FULL, ALWAYS;
    SetAlgorithmRules: "set_algorithm_rules", "VaultAlgorithmRulesSet", FULL, ALWAYS;
    SetAccessPolicy: "set_access_policy", "VaultAccessPolicySet", FULL, ALWAYS;
    RemoveAccessPolicy: "remove_access_policy", "VaultAccessPolicyRemove", FULL, ALWAYS;
    AccessPolicies: "access_policies", "VaultAccessPoliciesGet", FULL, BY_CHOICE;
    CutAudit: "cut_audit", "VaultAuditCut", FULL, ALWAYS;
    AuditOptions: "audit_options", "VaultAuditOptionsGet", FULL, BY_CHOICE;
    SetAuditOptions: "set_audit_options", "VaultAuditOptionsSet", FULL, ALWAYS;
    AuditEntries: "audit_entries", "VaultAuditEntriesGet", FULL, BY_CHOICE;
    ExportAudit: "export_audit", "VaultAuditExport", FULL, ALWAYS;
    VerifyAudit: "verify_audit", "VaultAuditVerify", FULL, BY_CHOICE;
    VerifyAuditSince: "verify_audit_since", "VaultAuditVerify", FULL, BY_CHOICE;
    FlushAudit: "flush_audit", "VaultAuditFlush", FULL, BY_CHOICE;
    AuditCheckpoint: "audit_checkpoint", "VaultAuditCheckpoint", FULL, ALWAYS;
    IdentityPublicKey: "identity_public_key", "VaultIdentityGet", FULL, BY_CHOICE;
    Metrics: "metrics", "VaultMetricsGet", FULL, BY_CHOICE;
    AsPrincipal: "as_principal", "VaultAsPrincipal", FULL, BY_CHOICE;
}

impl Operation {
    fn facts(self) -> &'static Facts {
        &FACTS[self.index()]
    }

    /// The place among all operations.
    pub(super) const fn index(self) -> usize {
        self as usize
    }

    pub(super) fn method(self) -> &'static str {
        self.facts().method
    }

    pub(super) fn audit_name(self) -> &'static str {
        self.facts().audit_name
    }

    pub(super) fn need(self) -> Need {
        self.facts().need
    }

    pub(super) fn always_recorded(self) -> bool {
        self.facts().always_recorded
    }
}
