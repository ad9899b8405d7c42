//! The backup of a whole vault as one stream: what comes back, what is left out, and that no part of a stream can be
//! cut off, left out, exchanged or put elsewhere.

use std::cell::RefCell;
use std::io::{self, Read, Write};

use strongroom::{
    BackupContents, BackupOptions, BackupOrigin, CreateKeyOptions, Curve, ErrorKind, KeyBackup,
    KeyOutcome, OctKeySize, Passphrase, PassphraseParameters, RecipientKey, RestoreOptions,
    RsaKeySize, SignatureAlgorithm, Unlock, Vault,
};

use crate::support::{Place, fixed_rsa, master_key, memory_vault, name, refused};

fn stream_of(vault: &Vault, options: &BackupOptions<'_>) -> Vec<u8> {
    let mut stream = Vec::new();
    vault.backup_to(&mut stream, options, |_| ()).unwrap();
    stream
}

fn small_vault(keys: usize) -> Vault {
    let (vault, _) = memory_vault();
    for number in 0..keys {
        vault
            .create_key(
                &name(&format!("k{number}")),
                CreateKeyOptions::oct(OctKeySize::Bits256),
            )
            .unwrap();
    }
    vault
}

/// The parts of a stream: magic, then each part with the four bytes of its length.
fn parts(stream: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = vec![stream[..8].to_vec()];
    let mut rest = &stream[8..];
    while !rest.is_empty() {
        let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
        parts.push(rest[..4 + length].to_vec());
        rest = &rest[4 + length..];
    }
    parts
}

fn sister(of: &Vault) -> (Place, Vault) {
    let place = Place::new();
    let vault = place
        .options()
        .create_in_domain(
            &place.path,
            Unlock::raw_key(&master_key()),
            &of.security_domain().unwrap(),
        )
        .unwrap();
    (place, vault)
}

#[test]
fn a_whole_vault_comes_back_in_another_one() {
    let (vault, _) = memory_vault();
    for number in 0..70 {
        let key = name(&format!("ec-{number}"));
        vault
            .create_key(&key, CreateKeyOptions::ec(Curve::P256))
            .unwrap();
        if number % 7 == 0 {
            vault.rotate_key(&key).unwrap();
        }
    }
    vault
        .import_key(
            &name("rsa"),
            strongroom::ImportKeyOptions::new(fixed_rsa(RsaKeySize::Bits2048)),
        )
        .unwrap();
    vault
        .create_key(&name("gone"), CreateKeyOptions::ec(Curve::P256))
        .unwrap();
    vault.delete_key(&name("gone")).unwrap();
    let seen = RefCell::new(Vec::new());
    let mut stream = Vec::new();
    let report = vault
        .backup_to(&mut stream, &BackupOptions::new(), |progress| {
            assert_eq!(progress.expected(), 72);
            assert_eq!(progress.outcome(), KeyOutcome::BackedUp);
            seen.borrow_mut()
                .push((progress.done(), progress.name().clone()));
        })
        .unwrap();
    assert_eq!((report.keys(), report.deleted_keys()), (71, 1));
    assert!(report.left_out().is_empty() && !report.changed_meanwhile());
    let seen = seen.into_inner();
    assert!(seen.iter().map(|(done, _)| *done).eq(1..=72));

    let (place, other) = sister(&vault);
    let report = other
        .restore_all_from(&stream[..], &RestoreOptions::new(), |progress| {
            assert_eq!(progress.outcome(), KeyOutcome::Restored);
        })
        .unwrap();
    assert_eq!((report.restored(), report.restored_deleted()), (72, 1));
    assert_eq!(report.present(), 0);
    assert!(report.conflicts().is_empty() && report.left_out() == 0);
    assert_eq!(report.origin(), BackupOrigin::Domain);
    assert_eq!(report.vault_id(), vault.status().unwrap().vault_id());
    assert_eq!(
        other.get_deleted_key(&name("gone")).unwrap(),
        vault.get_deleted_key(&name("gone")).unwrap()
    );
    for (_, key) in seen.iter().filter(|(_, key)| *key != name("gone")) {
        assert_eq!(
            other.get_key(key).unwrap().id(),
            vault.get_key(key).unwrap().id()
        );
        let ids = |vault: &Vault| -> Vec<_> {
            vault
                .list_key_properties_versions(key)
                .unwrap()
                .map(|version| version.version())
                .collect()
        };
        assert_eq!(ids(&other), ids(&vault));
    }
    assert!(other.check().unwrap().is_clean());
    other.close().unwrap();
    // A second time nothing is left to do; what changed since is a conflict or is merged.
    let other = place.open().unwrap();
    let again = other
        .restore_all_from(&stream[..], &RestoreOptions::new(), |_| ())
        .unwrap();
    assert_eq!((again.restored(), again.present()), (0, 72));
    vault.rotate_key(&name("rsa")).unwrap();
    let stream = stream_of(&vault, &BackupOptions::new());
    let conflicted = other
        .restore_all_from(&stream[..], &RestoreOptions::new(), |_| ())
        .unwrap();
    assert_eq!(
        conflicted.conflicts(),
        [(name("rsa"), ErrorKind::KeyExists)]
    );
    let merging = RestoreOptions::new().merge_missing_versions();
    let merged = other
        .restore_all_from(&stream[..], &merging, |_| ())
        .unwrap();
    assert_eq!((merged.restored(), merged.present()), (1, 71));
    let signed = vault
        .sign_data(&name("rsa"), SignatureAlgorithm::Ps256, b"text")
        .unwrap();
    other
        .verify_data(
            signed.key_id(),
            SignatureAlgorithm::Ps256,
            b"text",
            signed.signature(),
        )
        .unwrap();
}

#[test]
fn recipients_and_passphrases_open_a_stream_at_the_cost_of_one_hash() {
    let vault = small_vault(3);
    let key = RecipientKey::generate().unwrap();
    let secret = Passphrase::new("a quiet morning").unwrap();
    let options = BackupOptions::new()
        .recipient(&key.recipient())
        .passphrase(&secret)
        .passphrase_parameters(PassphraseParameters::new(19_456, 1, 1).unwrap());
    for options in [options.clone(), options.without_domain()] {
        let stream = stream_of(&vault, &options);
        let head = &parts(&stream)[1][4..];
        let summary = KeyBackup::inspect(head).unwrap();
        assert_eq!(summary.contents(), BackupContents::WholeVault);
        for by in [
            RestoreOptions::new().recipient_key(&key),
            RestoreOptions::new().passphrase(&secret),
        ] {
            let (stranger, _) = memory_vault();
            assert_eq!(
                refused(stranger.restore_all_from(&stream[..], &by, |_| ())),
                ErrorKind::UnauthenticatedBackup
            );
            let report = stranger
                .restore_all_from(&stream[..], &by.accept_unauthenticated(true), |_| ())
                .unwrap();
            assert_eq!(report.restored(), 3);
            assert_eq!(report.origin(), BackupOrigin::Unauthenticated);
        }
        let (stranger, _) = memory_vault();
        assert_eq!(
            refused(stranger.restore_all_from(&stream[..], &RestoreOptions::new(), |_| ())),
            ErrorKind::WrongDomain
        );
        // The head is no backup of a key, and a stream is none either.
        assert!(matches!(
            refused(vault.restore_key(head)),
            ErrorKind::InvalidBackup
        ));
        assert_eq!(
            refused(vault.restore_key(&stream)),
            ErrorKind::InvalidBackup
        );
    }
}

#[test]
fn a_stream_cannot_be_cut_rearranged_or_mixed_with_another() {
    let vault = small_vault(4);
    let recipient = RecipientKey::generate().unwrap();
    let options = BackupOptions::new().recipient(&recipient.recipient());
    for (options, restoring) in [
        (options.clone(), RestoreOptions::new()),
        (
            options.without_domain(),
            RestoreOptions::new()
                .recipient_key(&recipient)
                .accept_unauthenticated(true),
        ),
    ] {
        let one = parts(&stream_of(&vault, &options));
        let two = parts(&stream_of(&vault, &options));
        assert_eq!(one.len(), 8, "magic, head, settings, four keys, end");
        let mut spoiled: Vec<(&str, Vec<Vec<u8>>)> = Vec::new();
        for part in 0..8 {
            let mut without = one.clone();
            without.remove(part);
            spoiled.push(("a part is missing", without));
            spoiled.push(("cut off", one[..part].to_vec()));
            let mut twice = one.clone();
            twice.insert(part, one[part].clone());
            spoiled.push(("a part stands twice", twice));
            if part > 0 {
                let mut exchanged = one.clone();
                exchanged[part].clone_from(&two[part]);
                spoiled.push(("a part of another stream", exchanged));
                let mut swapped = one.clone();
                swapped.swap(part, part - 1);
                spoiled.push(("two parts are swapped", swapped));
            }
        }
        // The end right after the first key: fewer keys, all of them right.
        spoiled.push((
            "keys are left out",
            vec![
                one[0].clone(),
                one[1].clone(),
                one[2].clone(),
                one[3].clone(),
                one[7].clone(),
            ],
        ));
        for (what, stream) in spoiled {
            let (_place, target) = sister(&vault);
            let stream = stream.concat();
            let kind = refused(target.restore_all_from(&stream[..], &restoring, |_| ()));
            assert_eq!(kind, ErrorKind::InvalidBackup, "{what}");
            assert!(target.check().unwrap().is_clean());
        }
    }
}

#[test]
fn every_altered_byte_and_every_truncation_of_a_stream_is_refused() {
    let vault = small_vault(2);
    let stream = stream_of(&vault, &BackupOptions::new());
    let (_place, target) = sister(&vault);
    let restore = |stream: &[u8]| target.restore_all_from(stream, &RestoreOptions::new(), |_| ());
    for at in 0..stream.len() {
        let mut altered = stream.clone();
        altered[at] ^= 1 << (at % 8);
        let kind = refused(restore(&altered));
        let legal = match kind {
            ErrorKind::InvalidBackup => true,
            ErrorKind::NewerFormat => at < 24,
            ErrorKind::WrongDomain => (28..44).contains(&at) || (80..84).contains(&at),
            _ => false,
        };
        assert!(legal, "byte {at}: {kind:?}");
        assert_eq!(
            refused(restore(&stream[..at])),
            ErrorKind::InvalidBackup,
            "{at} bytes"
        );
    }
    let longer = [&stream[..], &[0]].concat();
    assert_eq!(refused(restore(&longer)), ErrorKind::InvalidBackup);
    restore(&stream).unwrap();
    assert!(target.check().unwrap().is_clean());
}

#[test]
fn lengths_that_a_stream_announces_size_nothing() {
    let vault = small_vault(1);
    let stream = stream_of(&vault, &BackupOptions::new());
    let head = parts(&stream)[1].len();
    for (at, length) in [(8, u32::MAX), (8 + head, u32::MAX), (8 + head, 48 << 20)] {
        let mut altered = stream.clone();
        altered[at..at + 4].copy_from_slice(&length.to_be_bytes());
        let (_place, target) = sister(&vault);
        let kind = refused(target.restore_all_from(&altered[..], &RestoreOptions::new(), |_| ()));
        assert_eq!(kind, ErrorKind::InvalidBackup);
    }
}

#[test]
fn keys_that_cannot_be_backed_up_are_named_and_the_others_are_there() {
    let vault = small_vault(2);
    let key = name("k0");
    for _ in 0..501 {
        vault.rotate_key(&key).unwrap();
    }
    let mut stream = Vec::new();
    let report = vault
        .backup_to(&mut stream, &BackupOptions::new(), |_| ())
        .unwrap();
    assert_eq!(report.keys(), 1);
    assert_eq!(report.left_out(), [(key, ErrorKind::TooLarge)]);
    let (_place, other) = sister(&vault);
    let report = other
        .restore_all_from(&stream[..], &RestoreOptions::new(), |_| ())
        .unwrap();
    assert_eq!((report.restored(), report.left_out()), (1, 1));
}

#[test]
fn changes_go_on_while_a_vault_is_backed_up_and_are_reported() {
    let vault = small_vault(5);
    let mut stream = Vec::new();
    let mut changed = false;
    let report = vault
        .backup_to(&mut stream, &BackupOptions::new(), |_| {
            if !changed {
                changed = true;
                vault.rotate_key(&name("k3")).unwrap();
            }
        })
        .unwrap();
    assert!(report.changed_meanwhile());
    assert_eq!(report.keys(), 5);
    let (_place, other) = sister(&vault);
    other
        .restore_all_from(&stream[..], &RestoreOptions::new(), |_| ())
        .unwrap();
    assert!(other.check().unwrap().is_clean());
}

/// A disk that is full, or a line that breaks, after so many bytes.
struct Breaking(usize);

impl Write for Breaking {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let fits = bytes.len().min(self.0);
        if fits == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0 -= fits;
        Ok(fits)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Breaking {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ConnectionReset.into())
    }
}

#[test]
fn failures_of_the_stream_are_told_as_such_and_leave_the_vault_usable() {
    let vault = small_vault(2);
    let length = stream_of(&vault, &BackupOptions::new()).len();
    for bytes in [0, 5, 300, length - 1] {
        let failed = vault.backup_to(Breaking(bytes), &BackupOptions::new(), |_| ());
        assert_eq!(refused(failed), ErrorKind::Io);
    }
    let failed = vault.restore_all_from(Breaking(0), &RestoreOptions::new(), |_| ());
    assert_eq!(refused(failed), ErrorKind::Io);
    let renaming = RestoreOptions::new().rename_to(name("other"));
    let failed = vault.restore_all_from(&b""[..], &renaming, |_| ());
    assert_eq!(refused(failed), ErrorKind::BadParameter);
    assert_eq!(stream_of(&vault, &BackupOptions::new()).len(), length);
}
