//! Locking, by hand and by itself, and what the system grants.

use std::io::Read;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};
use strongroom::backend::testing::refuse_protected_memory;
use strongroom::{
    CreateKeyOptions, Curve, EncryptOptions, EncryptionAlgorithm, ErrorKind, MasterKey,
    MemoryDegradation, MemoryProtection, MemoryReport, OctKeySize, SignatureAlgorithm, Unlock,
    Vault, VaultOptions, WrapAlgorithm, harden_process,
};

use super::{Process, job};
use crate::support::{Place, master_key, memory_vault, name, refused};

const KEY: &str = "key";

fn add_key(vault: &Vault) {
    vault
        .create_key(&name(KEY), CreateKeyOptions::ec(Curve::P256))
        .unwrap();
}

fn sign(vault: &Vault) -> strongroom::Result<()> {
    vault
        .sign_data(&name(KEY), SignatureAlgorithm::Es256, b"data")
        .map(drop)
}

/// A reader that gives nothing before it is told to.
struct Slow {
    started: mpsc::Sender<()>,
    go_on: mpsc::Receiver<()>,
}

impl Read for Slow {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        self.started.send(()).unwrap();
        self.go_on.recv().unwrap();
        Ok(0)
    }
}

#[test]
fn a_locked_vault_refuses_everything_through_every_handle() {
    let (vault, _) = memory_vault();
    add_key(&vault);
    let key = name(KEY);
    let (clone, bound) = (vault.clone(), vault.key(&key).unwrap());
    let mut listing = vault.list_key_properties();
    let mut entries = vault.audit_entries(0).unwrap();
    let backup = vault.backup_key(&key).unwrap();
    assert!(!vault.is_locked());
    vault.lock().unwrap();
    assert!(clone.is_locked());
    let locked = ErrorKind::VaultLocked;
    assert_eq!(refused(sign(&vault)), locked);
    assert_eq!(refused(sign(&clone)), locked);
    assert_eq!(
        refused(bound.sign(SignatureAlgorithm::Es256, &[1; 32])),
        locked
    );
    assert_eq!(refused(vault.get_key(&key)), locked);
    assert_eq!(refused(vault.key(&key)), locked);
    assert_eq!(refused(listing.next().unwrap()), locked);
    assert_eq!(
        refused(vault.create_key(&key, CreateKeyOptions::ec(Curve::P256))),
        locked
    );
    assert_eq!(refused(vault.rotate_key(&key)), locked);
    assert_eq!(refused(vault.delete_key(&key)), locked);
    assert_eq!(refused(vault.purge_deleted_key(&key)), locked);
    assert_eq!(refused(vault.recover_deleted_key(&key)), locked);
    assert_eq!(refused(vault.backup_key(&key)), locked);
    assert_eq!(refused(vault.restore_key(&backup)), locked);
    assert_eq!(refused(vault.check()), locked);
    assert_eq!(
        refused(vault.maintain(strongroom::MaintenanceOptions::new())),
        locked
    );
    assert_eq!(refused(vault.security_domain()), locked);
    assert_eq!(refused(vault.get_random_bytes(8)), locked);
    assert_eq!(refused(vault.reconcile_backends()), locked);
    assert_eq!(
        refused(vault.wrap_key(&key, WrapAlgorithm::A256Kw, &[1; 16])),
        locked
    );
    assert_eq!(refused(vault.status()), locked);
    assert_eq!(refused(vault.unlock_slots()), locked);
    assert_eq!(refused(vault.audit_checkpoint()), locked);
    assert_eq!(refused(entries.next().unwrap()), locked);
    assert!(entries.next().is_none());
    vault.lock().unwrap();
    vault.close().unwrap();
    assert_eq!(refused(sign(&vault)), locked);
}

#[test]
fn a_lock_writes_what_a_close_writes_and_lets_go_of_the_files() {
    let place = Place::new();
    let vault = place.create();
    let key = name(KEY);
    vault
        .create_key(&key, CreateKeyOptions::oct(OctKeySize::Bits256))
        .unwrap();
    vault
        .encrypt(
            &key,
            EncryptionAlgorithm::A256Gcm,
            b"text",
            EncryptOptions::new(),
        )
        .unwrap();
    vault.lock().unwrap();
    // The locked handle is still there.
    let again = place.open().unwrap();
    assert!(again.open_report().unwrap().is_clean());
    assert_eq!(again.list_key_properties().count(), 1);
    assert_eq!(refused(vault.get_key(&key)), ErrorKind::VaultLocked);
    drop(vault);
    again.get_key(&key).unwrap();
}

#[test]
fn a_closed_vault_cannot_be_locked_and_says_that_it_is_closed() {
    let (vault, _) = memory_vault();
    add_key(&vault);
    vault.close().unwrap();
    assert_eq!(refused(vault.lock()), ErrorKind::VaultFailed);
    assert_eq!(refused(sign(&vault)), ErrorKind::VaultFailed);
}

#[test]
fn a_lock_waits_for_operations_in_flight_and_lets_no_new_ones_in() {
    let (vault, _) = memory_vault();
    add_key(&vault);
    let (started, has_started) = mpsc::channel();
    let (tell, go_on) = mpsc::channel();
    thread::scope(|scope| {
        let signing = scope.spawn(|| {
            vault.sign_reader(
                &name(KEY),
                SignatureAlgorithm::Es256,
                Slow { started, go_on },
            )
        });
        has_started.recv().unwrap();
        let locking = scope.spawn(|| vault.lock());
        while !vault.is_locked() {
            thread::yield_now();
        }
        assert_eq!(refused(sign(&vault)), ErrorKind::VaultLocked);
        thread::sleep(Duration::from_millis(100));
        assert!(!locking.is_finished());
        tell.send(()).unwrap();
        signing.join().unwrap().unwrap();
        locking.join().unwrap().unwrap();
    });
}

#[test]
fn a_vault_that_nobody_uses_locks_itself_and_one_in_use_does_not() {
    let place = Place::new();
    let idle = Duration::from_millis(400);
    let vault = place
        .options()
        .lock_after_idle(idle)
        .create(&place.path, Unlock::raw_key(&master_key()))
        .unwrap();
    add_key(&vault);
    // In use for three times as long, now and then.
    let begun = Instant::now();
    let mut last = begun;
    while begun.elapsed() < 3 * idle {
        let now = Instant::now();
        if let Err(error) = sign(&vault) {
            assert!(now - last >= idle, "{error} after {:?}", now - last);
            return;
        }
        last = now;
        thread::sleep(idle / 10);
    }
    // In one operation that takes three times as long.
    let (started, _has_started) = mpsc::channel();
    let (tell, go_on) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(3 * idle);
            tell.send(()).unwrap();
        });
        vault
            .sign_reader(
                &name(KEY),
                SignatureAlgorithm::Es256,
                Slow { started, go_on },
            )
            .unwrap();
    });
    sign(&vault).unwrap();
    let unused = Instant::now();
    while !vault.is_locked() {
        assert!(unused.elapsed() < Duration::from_secs(20));
        thread::sleep(Duration::from_millis(5));
    }
    assert!(unused.elapsed() >= idle - Duration::from_millis(20));
    assert_eq!(refused(sign(&vault)), ErrorKind::VaultLocked);
    // The files are let go of a moment later.
    let again = loop {
        match place.open() {
            Ok(vault) => break vault,
            Err(error) => assert_eq!(error.kind(), ErrorKind::VaultInUse),
        }
        thread::sleep(Duration::from_millis(5));
    };
    sign(&again).unwrap();
}

#[test]
fn the_thread_that_locks_ends_with_the_vault() {
    let (place, hour) = (Place::new(), Duration::from_secs(3_600));
    drop(place.create());
    for _ in 0..20 {
        let vault = place
            .options()
            .lock_after_idle(hour)
            .open(&place.path, Unlock::raw_key(&master_key()))
            .unwrap();
        drop(vault);
    }
}

#[test]
fn required_protection_is_granted_or_the_vault_does_not_open() {
    const TEST: &str = "memory::locking::required_protection_is_granted_or_the_vault_does_not_open";
    let options = |protection| VaultOptions::new().memory_protection(protection);
    if job().is_some() {
        refuse_protected_memory().unwrap();
        let refused = refused(options(MemoryProtection::RequireFull).create_in_memory());
        assert_eq!(refused, ErrorKind::MemoryProtection);
        let vault = options(MemoryProtection::Full).create_in_memory().unwrap();
        let report = vault.memory_report();
        let unavailable =
            |reason: &MemoryDegradation| matches!(reason, MemoryDegradation::Unavailable { .. });
        assert!(report.reasons().iter().any(unavailable), "{report:?}");
        add_key(&vault);
        sign(&vault).unwrap();
        return;
    }
    let vault = options(MemoryProtection::RequireFull)
        .create_in_memory()
        .unwrap();
    add_key(&vault);
    sign(&vault).unwrap();
    Process::start(TEST, "refuse").end();
}

#[test]
fn secrets_that_do_not_fit_are_counted_until_they_are_gone() {
    const TEST: &str = "memory::locking::secrets_that_do_not_fit_are_counted_until_they_are_gone";
    if job().is_some() {
        let vault = VaultOptions::new().create_in_memory().unwrap();
        assert_eq!(vault.memory_report(), MemoryReport::Full);
        let many: Vec<MasterKey> = (0..3_000).map(|_| MasterKey::generate().unwrap()).collect();
        let report = vault.memory_report();
        let [MemoryDegradation::OnHeap { secrets }] = report.reasons() else {
            panic!("{report:?}");
        };
        assert!((900..1_000).contains(secrets), "{secrets}");
        let full = VaultOptions::new().memory_protection(MemoryProtection::RequireFull);
        assert_eq!(
            refused(full.create_in_memory()),
            ErrorKind::MemoryProtection
        );
        drop(many);
        assert_eq!(vault.memory_report(), MemoryReport::Full);
        return;
    }
    Process::start(TEST, "fill").end();
}

#[test]
fn a_hardened_process_leaves_no_core() {
    const TEST: &str = "memory::locking::a_hardened_process_leaves_no_core";
    if job().is_some() {
        let report = harden_process();
        assert!(report.is_complete(), "{report:?}");
        assert!(matches!(
            dumpable_behavior().unwrap(),
            DumpableBehavior::NotDumpable
        ));
        assert_eq!(getrlimit(Resource::Core).maximum, Some(0));
        return;
    }
    Process::start(TEST, "harden").end();
}
