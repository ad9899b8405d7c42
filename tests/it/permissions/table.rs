//! Every public method of a vault, with what it needs.

use strongroom::{
    AuditCheckpoint, AuditOptions, BackupOptions, Ciphertext, CreateKeyOptions, CryptoOperation,
    Curve, EncryptItem, EncryptOptions, EncryptionAlgorithm, Error, ImportKeyOptions,
    ImportTransferredKeyOptions, KeyName, KeyTransferBlob, KeyType, MaintenanceOptions, PageSize,
    Permission, Permissions, Principal, ReleaseOptions, RestoreOptions, RotationPolicy, SignItem,
    SignatureAlgorithm, SlotId, Timestamp, Unlock, UpdateKeyOptions, Vault, WrapAlgorithm,
    WrapItem, hazmat,
};

use crate::support::{fixed_oct, master_key, memory_vault};

pub(super) const ES256: SignatureAlgorithm = SignatureAlgorithm::Es256;
const GCM: EncryptionAlgorithm = EncryptionAlgorithm::A256Gcm;
pub(super) const KW: WrapAlgorithm = WrapAlgorithm::A256Kw;

/// The id of no slot.
fn slot() -> SlotId {
    "00112233445566778899aabbccddeeff".parse().unwrap()
}

/// What a call needs.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Needs {
    /// The permission, and a name that the handle is for.
    OnKey(Permission),
    /// The permission; there is no name.
    Plain(Permission),
    FullHandle,
}
pub(super) use Needs::{FullHandle, OnKey, Plain};

pub(crate) type Call = Box<dyn Fn(&Vault, &KeyName) -> strongroom::Result<()>>;

fn call<T>(run: impl Fn(&Vault, &KeyName) -> strongroom::Result<T> + 'static) -> Call {
    Box::new(move |vault, key| run(vault, key).map(drop))
}

/// The outcome of the only item of a batch.
fn only<T>(batch: strongroom::Result<Vec<strongroom::Result<T>>>) -> strongroom::Result<T> {
    let mut outcomes = batch?;
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

/// Every public method with what it needs.
pub(crate) fn calls() -> Vec<(&'static str, Needs, Call)> {
    let ec = || CreateKeyOptions::ec(Curve::P256);
    let who = || "somebody".parse::<Principal>().unwrap();
    vec![
        (
            "create_key",
            OnKey(Permission::Create),
            call(move |v, k| v.create_key(k, ec())),
        ),
        (
            "import_key",
            OnKey(Permission::Import),
            call(|v, k| v.import_key(k, ImportKeyOptions::new(fixed_oct(32)))),
        ),
        (
            "create_many",
            OnKey(Permission::Create),
            call(move |v, k| only(v.create_many(vec![(k.clone(), ec())]))),
        ),
        (
            "import_many",
            OnKey(Permission::Import),
            call(|v, k| {
                let options = ImportKeyOptions::new(fixed_oct(32));
                only(v.import_many(vec![(k.clone(), options)]))
            }),
        ),
        (
            "sign_many",
            OnKey(Permission::Sign),
            call(|v, k| only(v.sign_many(&[SignItem::new(k, ES256, &[7; 32])]))),
        ),
        (
            "encrypt_many",
            OnKey(Permission::Encrypt),
            call(|v, k| {
                let item = EncryptItem::new(k, GCM, b"text", EncryptOptions::new());
                only(v.encrypt_many(&[item]))
            }),
        ),
        (
            "wrap_many",
            OnKey(Permission::WrapKey),
            call(|v, k| only(v.wrap_many(&[WrapItem::new(k, KW, &[7; 32])]))),
        ),
        (
            "import_transferred_key",
            OnKey(Permission::Import),
            call(|v, k| {
                // Wrapped under a key of the same name.
                let json = format!(
                    r#"{{"schema_version":"1.0.0","header":{{"kid":"https://v/keys/{k}/00112233445566778899aabbccddeeff","alg":"dir","enc":"CKM_RSA_AES_KEY_WRAP"}},"ciphertext":"AA"}}"#
                );
                let blob = KeyTransferBlob::from_json(json.as_bytes())?;
                v.import_transferred_key(k, ImportTransferredKeyOptions::new(KeyType::Oct, blob))
            }),
        ),
        (
            "rotate_key",
            OnKey(Permission::Rotate),
            call(|v, k| v.rotate_key(k)),
        ),
        (
            "get_key_rotation_policy",
            OnKey(Permission::GetRotationPolicy),
            call(|v, k| v.get_key_rotation_policy(k)),
        ),
        (
            "update_key_rotation_policy",
            OnKey(Permission::SetRotationPolicy),
            call(|v, k| v.update_key_rotation_policy(k, RotationPolicy::new())),
        ),
        (
            "release",
            OnKey(Permission::Release),
            call(|v, k| v.release(k, "no token", ReleaseOptions::new())),
        ),
        (
            "get_key_attestation",
            OnKey(Permission::Get),
            call(|v, k| v.get_key_attestation(k)),
        ),
        (
            "explain",
            OnKey(Permission::Get),
            call(|v, k| v.explain(k, CryptoOperation::Sign(ES256))),
        ),
        ("next_event", FullHandle, call(|v, _| v.next_event())),
        ("get_key", OnKey(Permission::Get), call(|v, k| v.get_key(k))),
        ("key", OnKey(Permission::Get), call(|v, k| v.key(k))),
        (
            "update_key_properties",
            OnKey(Permission::Update),
            call(|v, k| v.update_key_properties(k, UpdateKeyOptions::new())),
        ),
        (
            "delete_key",
            OnKey(Permission::Delete),
            call(|v, k| v.delete_key(k)),
        ),
        (
            "get_deleted_key",
            OnKey(Permission::Get),
            call(|v, k| v.get_deleted_key(k)),
        ),
        (
            "recover_deleted_key",
            OnKey(Permission::Recover),
            call(|v, k| v.recover_deleted_key(k)),
        ),
        (
            "purge_deleted_key",
            OnKey(Permission::Purge),
            call(|v, k| v.purge_deleted_key(k)),
        ),
        (
            "list_key_properties",
            Plain(Permission::List),
            call(|v, _| v.list_key_properties().collect::<Result<Vec<_>, Error>>()),
        ),
        (
            "list_key_properties_page",
            Plain(Permission::List),
            call(|v, _| v.list_key_properties_page(None, PageSize::MAX)),
        ),
        (
            "list_deleted_key_properties",
            Plain(Permission::List),
            call(|v, _| {
                v.list_deleted_key_properties()
                    .collect::<Result<Vec<_>, Error>>()
            }),
        ),
        (
            "list_deleted_key_properties_page",
            Plain(Permission::List),
            call(|v, _| v.list_deleted_key_properties_page(None, PageSize::MAX)),
        ),
        (
            "list_key_properties_versions",
            OnKey(Permission::List),
            call(|v, k| v.list_key_properties_versions(k)),
        ),
        (
            "list_key_properties_versions_page",
            OnKey(Permission::List),
            call(|v, k| v.list_key_properties_versions_page(k, None, PageSize::MAX)),
        ),
        (
            "backup_key",
            OnKey(Permission::Backup),
            call(|v, k| v.backup_key(k)),
        ),
        (
            "restore_key",
            Plain(Permission::Restore),
            call(|v, _| v.restore_key(b"no backup")),
        ),
        (
            "backup_key_with",
            OnKey(Permission::Backup),
            call(|v, k| v.backup_key_with(k, &BackupOptions::new())),
        ),
        (
            "restore_key_with",
            Plain(Permission::Restore),
            call(|v, _| v.restore_key_with(b"no backup", &RestoreOptions::new())),
        ),
        (
            "restore_plan",
            Plain(Permission::Restore),
            call(|v, _| v.restore_plan(b"no backup", &RestoreOptions::new())),
        ),
        (
            "encrypt",
            OnKey(Permission::Encrypt),
            call(|v, k| v.encrypt(k, GCM, b"text", EncryptOptions::new())),
        ),
        (
            "decrypt",
            OnKey(Permission::Decrypt),
            call(|v, k| v.decrypt(k, GCM, Ciphertext::new(b"text"))),
        ),
        (
            "sign",
            OnKey(Permission::Sign),
            call(|v, k| v.sign(k, ES256, &[7; 32])),
        ),
        (
            "sign_data",
            OnKey(Permission::Sign),
            call(|v, k| v.sign_data(k, ES256, b"text")),
        ),
        (
            "sign_reader",
            OnKey(Permission::Sign),
            call(|v, k| v.sign_reader(k, ES256, &b"text"[..])),
        ),
        (
            "verify",
            OnKey(Permission::Verify),
            call(|v, k| v.verify(k, ES256, &[7; 32], &[7; 64])),
        ),
        (
            "verify_data",
            OnKey(Permission::Verify),
            call(|v, k| v.verify_data(k, ES256, b"text", &[7; 64])),
        ),
        (
            "wrap_key",
            OnKey(Permission::WrapKey),
            call(|v, k| v.wrap_key(k, KW, &[7; 32])),
        ),
        (
            "unwrap_key",
            OnKey(Permission::UnwrapKey),
            call(|v, k| v.unwrap_key(k, KW, &[7; 40])),
        ),
        (
            "generate_data_key",
            OnKey(Permission::WrapKey),
            call(|v, k| v.generate_data_key(k, KW, 32)),
        ),
        (
            "get_random_bytes",
            Plain(Permission::Rng),
            call(|v, _| v.get_random_bytes(8)),
        ),
        (
            "get_random_bytes_from",
            Plain(Permission::Rng),
            call(|v, _| v.get_random_bytes_from(&"software".parse().unwrap(), 8)),
        ),
        (
            "encrypt_with_iv",
            FullHandle,
            call(|v, k| hazmat::encrypt_with_iv(v, k, GCM, b"", &[1; 12], EncryptOptions::new())),
        ),
        (
            "sign_deterministic",
            FullHandle,
            call(|v, k| hazmat::sign_deterministic(v, k, ES256, &[7; 32])),
        ),
        ("status", FullHandle, call(|v, _| v.status())),
        (
            "open_report",
            FullHandle,
            call(|v, _| v.open_report().cloned()),
        ),
        (
            "backends",
            FullHandle,
            call(|v, _| v.backends().map(Iterator::count)),
        ),
        (
            "reconcile_backends",
            FullHandle,
            call(|v, _| v.reconcile_backends()),
        ),
        ("check", FullHandle, call(|v, _| v.check())),
        (
            "maintain",
            FullHandle,
            call(|v, _| v.maintain(MaintenanceOptions::new())),
        ),
        (
            "due",
            FullHandle,
            call(|v, _| v.due(Timestamp::from_unix_seconds(0))),
        ),
        (
            "security_domain",
            FullHandle,
            call(|v, _| v.security_domain()),
        ),
        ("domain_epochs", FullHandle, call(|v, _| v.domain_epochs())),
        ("rotate_domain", FullHandle, call(|v, _| v.rotate_domain())),
        (
            "raise_domain_floor",
            FullHandle,
            call(|v, _| v.raise_domain_floor(1)),
        ),
        (
            "update_domain",
            FullHandle,
            call(|v, _| v.update_domain(&memory_vault().0.security_domain()?)),
        ),
        (
            "export_domain",
            FullHandle,
            call(|v, _| v.export_domain(&BackupOptions::new())),
        ),
        (
            "backup_to",
            FullHandle,
            call(|v, _| v.backup_to(std::io::sink(), &BackupOptions::new(), |_| ())),
        ),
        (
            "restore_all_from",
            FullHandle,
            call(|v, _| v.restore_all_from(std::io::empty(), &RestoreOptions::new(), |_| ())),
        ),
        (
            "restore_all_plan",
            FullHandle,
            call(|v, _| v.restore_all_plan(std::io::empty(), &RestoreOptions::new(), |_| ())),
        ),
        ("pin", FullHandle, call(|v, _| v.pin())),
        (
            "sync_rollback_guard",
            FullHandle,
            call(|v, _| v.sync_rollback_guard()),
        ),
        (
            "reset_time_floor",
            FullHandle,
            call(|v, _| v.reset_time_floor()),
        ),
        ("rotate_kek", FullHandle, call(|v, _| v.rotate_kek())),
        ("unlock_slots", FullHandle, call(|v, _| v.unlock_slots())),
        (
            "add_unlock_slot",
            FullHandle,
            call(|v, _| {
                v.add_unlock_slot(
                    Unlock::raw_key(&master_key()),
                    Unlock::raw_key(&master_key()),
                )
            }),
        ),
        (
            "replace_unlock_slot",
            FullHandle,
            call(|v, _| {
                let key = master_key();
                v.replace_unlock_slot(Unlock::raw_key(&key), slot(), Unlock::raw_key(&key))
            }),
        ),
        (
            "remove_unlock_slot",
            FullHandle,
            call(|v, _| v.remove_unlock_slot(slot())),
        ),
        (
            "enable_purge_protection",
            FullHandle,
            call(|v, _| v.enable_purge_protection()),
        ),
        (
            "set_algorithm_rules",
            FullHandle,
            call(|v, _| v.set_algorithm_rules(v.algorithm_rules())),
        ),
        (
            "set_access_policy",
            FullHandle,
            call(move |v, _| v.set_access_policy(&who(), Permissions::all())),
        ),
        (
            "access_policies",
            FullHandle,
            call(|v, _| v.access_policies()),
        ),
        (
            "as_principal",
            FullHandle,
            call(move |v, _| v.as_principal(&who())),
        ),
        (
            "remove_access_policy",
            FullHandle,
            call(move |v, _| v.remove_access_policy(&who())),
        ),
        ("audit_options", FullHandle, call(|v, _| v.audit_options())),
        (
            "set_audit_options",
            FullHandle,
            call(|v, _| v.set_audit_options(AuditOptions::on())),
        ),
        ("audit_entries", FullHandle, call(|v, _| v.audit_entries(0))),
        (
            "export_audit",
            FullHandle,
            call(|v, _| v.export_audit(std::io::sink())),
        ),
        ("verify_audit", FullHandle, call(|v, _| v.verify_audit())),
        (
            "verify_audit_since",
            FullHandle,
            call(|v, _| {
                let mut checkpoint = [0; AuditCheckpoint::LENGTH];
                checkpoint[..8].copy_from_slice(b"SRMACP01");
                v.verify_audit_since(&AuditCheckpoint::from_bytes(&checkpoint)?)
            }),
        ),
        ("flush_audit", FullHandle, call(|v, _| v.flush_audit())),
        (
            "audit_checkpoint",
            FullHandle,
            call(|v, _| v.audit_checkpoint()),
        ),
        (
            "identity_public_key",
            FullHandle,
            call(|v, _| v.identity_public_key()),
        ),
        ("metrics", FullHandle, call(|v, _| v.metrics())),
        // The last ones: nothing works after them.
        ("lock", FullHandle, call(|v, _| v.lock())),
        ("close", FullHandle, call(|v, _| v.close())),
    ]
}
