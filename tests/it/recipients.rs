//! Backups for recipients and passphrases: who opens them, whom they are believed, and where they go. A blob that no
//! vault of the domain vouches for restores only when that is accepted; a forged one never passes for the domain's.

use strongroom::{
    BackupContents, BackupKey, BackupOptions, BackupOrigin, CreateKeyOptions, Curve, ErrorKind,
    KeyBackup, NamePattern, NameState, OctKeySize, Passphrase, PassphraseParameters, Permission,
    Permissions, Recipient, RecipientKey, RestoreOptions, SignatureAlgorithm, Vault, VaultOptions,
};

use crate::support::{memory_vault, name, refused};

const ES256: SignatureAlgorithm = SignatureAlgorithm::Es256;

fn cheap() -> PassphraseParameters {
    PassphraseParameters::new(19_456, 1, 1).unwrap()
}

fn passphrase() -> Passphrase {
    Passphrase::new("a quiet morning").unwrap()
}

fn vault_with_key(key: &str) -> Vault {
    let (vault, _) = memory_vault();
    vault
        .create_key(&name(key), CreateKeyOptions::ec(Curve::P256))
        .unwrap();
    vault
}

#[test]
fn everyone_who_is_named_opens_the_backup_and_nobody_else() {
    let vault = vault_with_key("k");
    vault.rotate_key(&name("k")).unwrap();
    let keys: Vec<RecipientKey> = (0..3).map(|_| RecipientKey::generate().unwrap()).collect();
    let secret = passphrase();
    let mut options = BackupOptions::new()
        .passphrase(&secret)
        .passphrase_parameters(cheap());
    for key in &keys {
        options = options.recipient(&key.recipient());
    }
    let both = vault.backup_key_with(&name("k"), &options).unwrap();
    let alone = vault
        .backup_key_with(&name("k"), &options.clone().without_domain())
        .unwrap();
    let summary = KeyBackup::inspect(both.as_bytes()).unwrap();
    assert_eq!(summary.contents(), BackupContents::Key);
    assert_eq!(summary.recipient_count(), 3);
    assert!(summary.has_passphrase());
    assert_eq!(summary.passphrase_parameters(), Some(cheap()));
    assert_eq!(summary.domain_epoch(), Some(1));
    assert_eq!(
        summary.domain_id(),
        Some(vault.security_domain().unwrap().id())
    );
    let summary = KeyBackup::inspect(alone.as_bytes()).unwrap();
    assert_eq!((summary.domain_epoch(), summary.domain_id()), (None, None));

    let signed = vault.sign_data(&name("k"), ES256, b"text").unwrap();
    let by: Vec<RestoreOptions<'_>> = keys
        .iter()
        .map(|key| RestoreOptions::new().recipient_key(key))
        .chain([RestoreOptions::new().passphrase(&secret)])
        .collect();
    for blob in [&both, &alone] {
        for options in &by {
            let (stranger, _) = memory_vault();
            assert_eq!(
                refused(stranger.restore_key_with(blob, options)),
                ErrorKind::UnauthenticatedBackup
            );
            assert_eq!(stranger.status().unwrap().key_count(), 0);
            let accepting = options.clone().accept_unauthenticated(true);
            let restored = stranger.restore_key_with(blob, &accepting).unwrap();
            assert_eq!(restored.origin(), BackupOrigin::Unauthenticated);
            assert_eq!(
                (restored.version_count(), restored.restored_versions()),
                (2, 2)
            );
            stranger
                .verify_data(signed.key_id(), ES256, b"text", signed.signature())
                .unwrap();
        }
        let (stranger, _) = memory_vault();
        let other_key = RecipientKey::generate().unwrap();
        let other_secret = Passphrase::new("a quiet evening").unwrap();
        for (options, kind) in [
            (
                RestoreOptions::new().recipient_key(&other_key),
                ErrorKind::WrongKey,
            ),
            (
                RestoreOptions::new().passphrase(&other_secret),
                ErrorKind::WrongKey,
            ),
            (RestoreOptions::new(), ErrorKind::WrongDomain),
            (
                RestoreOptions::new()
                    .passphrase(&secret)
                    .max_kdf_work_kib(19_455),
                ErrorKind::KdfCostRefused,
            ),
        ] {
            let options = options.accept_unauthenticated(true);
            assert_eq!(refused(stranger.restore_key_with(blob, &options)), kind);
        }
    }
    assert_eq!(refused(vault.restore_key(&alone)), ErrorKind::WrongDomain);

    // At home the domain vouches for the blob, whoever opens it.
    vault.delete_key(&name("k")).unwrap();
    vault.purge_deleted_key(&name("k")).unwrap();
    let plan = vault.restore_plan(&alone, &by[0]).unwrap();
    assert_eq!(plan.origin(), BackupOrigin::Unauthenticated);
    assert_eq!(
        plan.expected_error(),
        Some(ErrorKind::UnauthenticatedBackup)
    );
    let restored = vault.restore_key_with(&both, &by[0]).unwrap();
    assert_eq!(restored.origin(), BackupOrigin::Domain);
    assert!(restored.previously_purged());
}

#[test]
fn sixteen_can_open_a_backup_and_nobody_is_too_few() {
    let vault = vault_with_key("k");
    let recipients: Vec<Recipient> = (0..16)
        .map(|_| RecipientKey::generate().unwrap().recipient())
        .collect();
    let for_first = |count: usize| {
        recipients[..count]
            .iter()
            .fold(BackupOptions::new(), BackupOptions::recipient)
    };
    let backup = |options: &BackupOptions<'_>| vault.backup_key_with(&name("k"), options);
    let nobody = BackupOptions::new().without_domain();
    assert_eq!(refused(backup(&nobody)), ErrorKind::BadParameter);
    assert_eq!(refused(backup(&for_first(16))), ErrorKind::BadParameter);
    backup(&for_first(15)).unwrap();
    let alone = backup(&for_first(16).without_domain()).unwrap();
    let summary = KeyBackup::inspect(alone.as_bytes()).unwrap();
    assert_eq!(summary.recipient_count(), 16);
    let once = backup(&for_first(1).recipient(&recipients[0])).unwrap();
    let summary = KeyBackup::inspect(once.as_bytes()).unwrap();
    assert_eq!(summary.recipient_count(), 1);
}

#[test]
fn t12_a_recipient_cannot_pass_off_a_key_as_the_domains() {
    // Everything that a recipient can make without the domain's keys: a blob of his own, and the domain's blob with
    // its domain stanza and MAC cut out.
    let home = vault_with_key("k");
    let recipient = RecipientKey::generate().unwrap();
    let options = BackupOptions::new().recipient(&recipient.recipient());
    let genuine = home.backup_key_with(&name("k"), &options).unwrap();
    let attacker = vault_with_key("k");
    let chosen = attacker.backup_key_with(&name("k"), &options).unwrap();
    home.delete_key(&name("k")).unwrap();
    home.purge_deleted_key(&name("k")).unwrap();

    let by_recipient = RestoreOptions::new().recipient_key(&recipient);
    assert_eq!(refused(home.restore_key(&chosen)), ErrorKind::WrongDomain);
    assert_eq!(
        refused(home.restore_key_with(&chosen, &by_recipient)),
        ErrorKind::UnauthenticatedBackup
    );
    // The attacker's blob with the domain's id and the domain's MAC.
    let mut dressed = chosen.as_bytes().to_vec();
    dressed[16..32].copy_from_slice(home.security_domain().unwrap().id());
    let end = dressed.len() - 64;
    dressed[end..].copy_from_slice(&genuine.as_bytes()[genuine.as_bytes().len() - 64..]);
    for options in [RestoreOptions::new(), by_recipient.clone()] {
        let options = options.accept_unauthenticated(true);
        assert_eq!(
            refused(home.restore_key_with(&dressed, &options)),
            ErrorKind::InvalidBackup
        );
    }
    // Header 64, domain stanza 112, recipient stanza 88, MAC 64.
    let mut stripped = genuine.as_bytes().to_vec();
    stripped.truncate(stripped.len() - 64);
    stripped.drain(64..176);
    stripped[11] = 2;
    stripped[12..16].copy_from_slice(&(64_u32 + 88 + 64).to_be_bytes());
    stripped[16..32].fill(0);
    stripped[57] = 1;
    let accepting = by_recipient.accept_unauthenticated(true);
    assert_eq!(
        refused(home.restore_key_with(&stripped, &accepting)),
        ErrorKind::InvalidBackup,
        "the header's MAC covers the modes and stanzas"
    );
    assert_eq!(home.status().unwrap().key_count(), 0);
    // The control: who asks for no origin gets the attacker's key under the name of his own.
    let restored = home.restore_key_with(&chosen, &accepting).unwrap();
    assert_eq!(restored.origin(), BackupOrigin::Unauthenticated);
    let signed = attacker
        .sign(&name("k"), SignatureAlgorithm::Es256, &[7; 32])
        .unwrap();
    home.verify(
        &name("k"),
        SignatureAlgorithm::Es256,
        &[7; 32],
        signed.signature(),
    )
    .unwrap();
}

/// Every byte and every length, for a blob that is opened by the given options.
fn spoil(blob: &[u8], options: &RestoreOptions<'_>, legal: impl Fn(usize, ErrorKind) -> bool) {
    let (vault, _) = memory_vault();
    let options = options.clone().accept_unauthenticated(true);
    for at in 0..blob.len() {
        let mut damaged = blob.to_vec();
        damaged[at] ^= 1 << (at % 8);
        let kind = refused(vault.restore_key_with(&damaged, &options));
        assert!(legal(at, kind), "byte {at}: {kind:?}");
    }
    for length in 0..blob.len() {
        assert_eq!(
            refused(
                KeyBackup::inspect(&blob[..length])
                    .and_then(|_| vault.restore_key_with(&blob[..length], &options).map(drop))
            ),
            ErrorKind::InvalidBackup,
            "{length} bytes"
        );
    }
    let longer = [blob, &[0]].concat();
    assert_eq!(
        refused(vault.restore_key_with(&longer, &options)),
        ErrorKind::InvalidBackup
    );
    assert_eq!(vault.status().unwrap().record_count(), 0);
    vault.restore_key_with(blob, &options).unwrap();
}

#[test]
fn every_altered_byte_and_every_truncation_is_refused_for_recipients() {
    let vault = vault_with_key("k");
    let key = RecipientKey::generate().unwrap();
    let options = BackupOptions::new().recipient(&key.recipient());
    let alone = vault
        .backup_key_with(&name("k"), &options.clone().without_domain())
        .unwrap();
    let by_key = RestoreOptions::new().recipient_key(&key);
    // The blob id at 32, and the stanza's data from 72 on: another key, or altered.
    spoil(alone.as_bytes(), &by_key, |at, kind| match kind {
        ErrorKind::InvalidBackup => true,
        ErrorKind::NewerFormat => (8..12).contains(&at) || (64..66).contains(&at),
        ErrorKind::WrongKey => (32..48).contains(&at) || (72..152).contains(&at),
        _ => false,
    });
}

#[test]
fn every_altered_byte_and_every_truncation_is_refused_for_passphrases() {
    let vault = vault_with_key("k");
    let secret = passphrase();
    let options = BackupOptions::new()
        .passphrase(&secret)
        .passphrase_parameters(cheap())
        .without_domain();
    let blob = vault.backup_key_with(&name("k"), &options).unwrap();
    let by_passphrase = RestoreOptions::new()
        .passphrase(&secret)
        .max_kdf_work_kib(40_000);
    let legal = |at: usize, kind| match kind {
        ErrorKind::InvalidBackup => true,
        ErrorKind::NewerFormat => (8..12).contains(&at) || (64..66).contains(&at),
        ErrorKind::KdfCostRefused => (72..84).contains(&at),
        ErrorKind::WrongKey => (32..48).contains(&at) || (72..224).contains(&at),
        _ => false,
    };
    // Most bytes cost a hash of the passphrase, of the least that is allowed.
    spoil(blob.as_bytes(), &by_passphrase, legal);
}

#[test]
fn a_key_is_restored_under_another_name_beside_itself() {
    let vault = vault_with_key("k");
    vault.rotate_key(&name("k")).unwrap();
    let backup = vault.backup_key(&name("k")).unwrap();
    let renamed = RestoreOptions::new().rename_to(name("copy"));
    let plan = vault.restore_plan(&backup, &renamed).unwrap();
    assert_eq!(
        (plan.name(), plan.name_state()),
        (&name("copy"), NameState::Free)
    );
    assert_eq!(
        (plan.missing_versions().len(), plan.expected_error()),
        (2, None)
    );
    let restored = vault.restore_key_with(&backup, &renamed).unwrap();
    assert_eq!(restored.key().id().name(), &name("copy"));
    let original = vault.get_key(&name("k")).unwrap();
    assert_eq!(restored.key().id().version(), original.id().version());
    let signed = vault.sign_data(&name("copy"), ES256, b"text").unwrap();
    vault
        .verify_data(&name("k"), ES256, b"text", signed.signature())
        .unwrap();
    assert_eq!(
        refused(vault.restore_key_with(&backup, &renamed)),
        ErrorKind::KeyExists
    );
    assert!(vault.check().unwrap().is_clean());
}

#[test]
fn missing_versions_are_merged_and_nothing_is_overwritten() {
    let (first, _) = memory_vault();
    let second = VaultOptions::new();
    let directory = tempfile::tempdir().unwrap();
    let master = crate::support::master_key();
    let second = second
        .create_in_domain(
            directory.path().join("second"),
            strongroom::Unlock::raw_key(&master),
            &first.security_domain().unwrap(),
        )
        .unwrap();
    let key = name("k");
    let one = first
        .create_key(&key, CreateKeyOptions::oct(OctKeySize::Bits256))
        .unwrap();
    let early = first.backup_key(&key).unwrap();
    let two = first.rotate_key(&key).unwrap();
    let three = first.rotate_key(&key).unwrap();
    let late = first.backup_key(&key).unwrap();

    second.restore_key(&early).unwrap();
    // What is changed here stays as it is here.
    second
        .update_key_properties(one.id(), strongroom::UpdateKeyOptions::new().enabled(false))
        .unwrap();
    let merging = RestoreOptions::new().merge_missing_versions();
    let plan = second.restore_plan(&late, &merging).unwrap();
    assert_eq!(plan.name_state(), NameState::SameKey);
    assert_eq!(plan.present_versions(), [one.id().version()]);
    let missing = [two.id().version(), three.id().version()];
    assert_eq!(plan.missing_versions(), missing);
    assert!(!plan.diverged() && plan.expected_error().is_none());
    assert_eq!(
        second.status().unwrap().record_count(),
        2,
        "a plan changes nothing"
    );
    assert_eq!(refused(second.restore_key(&late)), ErrorKind::KeyExists);

    let merged = second.restore_key_with(&late, &merging).unwrap();
    assert_eq!((merged.version_count(), merged.restored_versions()), (3, 2));
    assert_eq!(merged.key().id(), three.id());
    assert_eq!(second.get_key(&key).unwrap().id(), three.id());
    let kept = second.get_key(one.id()).unwrap();
    assert!(!kept.properties().enabled());
    let again = second.restore_key_with(&early, &merging).unwrap();
    assert_eq!((again.version_count(), again.restored_versions()), (3, 0));
    assert_eq!(again.key().id(), three.id());
    // From here on the two go apart.
    first.rotate_key(&key).unwrap();
    second.rotate_key(&key).unwrap();
    let apart = first.backup_key(&key).unwrap();
    let plan = second.restore_plan(&apart, &merging).unwrap();
    assert!(plan.diverged());
    assert_eq!(plan.expected_error(), Some(ErrorKind::KeyExists));
    assert_eq!(
        refused(second.restore_key_with(&apart, &merging)),
        ErrorKind::KeyExists
    );
    // Another key of the name is never merged into.
    let other = vault_with_key("k");
    let domain = RecipientKey::generate().unwrap();
    let foreign = other
        .backup_key_with(&key, &BackupOptions::new().recipient(&domain.recipient()))
        .unwrap();
    let merging = merging.recipient_key(&domain).accept_unauthenticated(true);
    let plan = second.restore_plan(&foreign, &merging).unwrap();
    assert_eq!(plan.name_state(), NameState::OtherKey);
    assert_eq!(
        refused(second.restore_key_with(&foreign, &merging)),
        ErrorKind::KeyExists
    );
    assert!(second.check().unwrap().is_clean());
}

#[test]
fn a_plan_names_deleted_and_purged_keys() {
    let vault = vault_with_key("k");
    let backup = vault.backup_key(&name("k")).unwrap();
    let plan = || vault.restore_plan(&backup, &RestoreOptions::new()).unwrap();
    vault.delete_key(&name("k")).unwrap();
    assert_eq!(plan().name_state(), NameState::Deleted);
    assert_eq!(plan().expected_error(), Some(ErrorKind::KeyDeleted));
    assert!(!plan().previously_purged());
    vault.purge_deleted_key(&name("k")).unwrap();
    assert_eq!(plan().name_state(), NameState::Free);
    assert!(plan().previously_purged() && plan().missing_backends().is_empty());
    assert_eq!(plan().expected_error(), None);
    assert_eq!(vault.status().unwrap().key_count(), 0);
}

#[test]
fn restoring_what_nobody_vouches_for_needs_the_permission_to_import() {
    let vault = vault_with_key("k");
    let key = RecipientKey::generate().unwrap();
    let options = BackupOptions::new().recipient(&key.recipient());
    let blob = vault.backup_key_with(&name("k"), &options).unwrap();
    let (target, _) = memory_vault();
    let options = RestoreOptions::new()
        .recipient_key(&key)
        .accept_unauthenticated(true);
    let restorer = target.restricted(Permissions::from([Permission::Restore]));
    assert_eq!(
        refused(restorer.restore_key_with(&blob, &options)),
        ErrorKind::Forbidden
    );
    let both = Permissions::from([Permission::Restore, Permission::Import]);
    let importer = target.restricted(both);
    importer.restore_key_with(&blob, &options).unwrap();
    // The domain's own word needs no more than the permission to restore, and a name that the handle is for.
    vault.delete_key(&name("k")).unwrap();
    vault.purge_deleted_key(&name("k")).unwrap();
    let restorer = vault.restricted(Permissions::from([Permission::Restore]));
    restorer.restore_key(&blob).unwrap();
    let pattern: NamePattern = "k".parse().unwrap();
    let for_name = Permissions::from([Permission::Restore])
        .for_names([pattern])
        .unwrap();
    let renamed = RestoreOptions::new().rename_to(name("other"));
    assert_eq!(
        refused(vault.restricted(for_name).restore_key_with(&blob, &renamed)),
        ErrorKind::Forbidden
    );
}

#[test]
fn keys_of_recipients_are_not_printed() {
    let key = RecipientKey::from_bytes(&[0x5a; 32]).unwrap();
    let secret = passphrase();
    let shown = format!(
        "{:?} {:?} {:?}",
        BackupKey::recipient(&key),
        BackupOptions::new().passphrase(&secret),
        RestoreOptions::new().recipient_key(&key)
    );
    assert!(!shown.contains("5a5a") && !shown.contains("90, 90") && !shown.contains("quiet"));
}
