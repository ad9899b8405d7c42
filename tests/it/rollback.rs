//! An older copy of a whole directory, which nothing inside it can tell: pins and guards do.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use strongroom::backend::{BackendError, BackendErrorKind, BackendResult, RollbackGuard};
use strongroom::{
    CreateKeyOptions, Curve, ErrorKind, FileRollbackGuard, SignatureAlgorithm, Unlock, Vault,
    VaultOptions, VaultPin,
};

use crate::image::{read_image, write_image};
use crate::support::{Place, START_MS, master_key, name, refused};

fn create_key(vault: &Vault, key: &str) {
    vault
        .create_key(&name(key), CreateKeyOptions::ec(Curve::P256))
        .unwrap();
}

fn open_with(place: &Place, options: VaultOptions) -> strongroom::Result<Vault> {
    options.open(&place.path, Unlock::raw_key(&master_key()))
}

/// A guard in memory that counts and can fail.
#[derive(Debug, Default)]
struct MemoryGuard {
    pin: Mutex<Option<VaultPin>>,
    told: AtomicU64,
    broken: AtomicBool,
}

impl MemoryGuard {
    fn check(&self) -> BackendResult<()> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(BackendError::new(
                BackendErrorKind::Unavailable,
                "unplugged",
            ));
        }
        Ok(())
    }

    fn generation(&self) -> u64 {
        self.pin.lock().unwrap().map_or(0, |pin| pin.generation())
    }
}

impl RollbackGuard for MemoryGuard {
    fn recall(&self, _: &[u8; 16]) -> BackendResult<Option<VaultPin>> {
        self.check()?;
        Ok(*self.pin.lock().unwrap())
    }

    fn remember(&self, pin: &VaultPin) -> BackendResult<()> {
        self.check()?;
        self.told.fetch_add(1, Ordering::SeqCst);
        *self.pin.lock().unwrap() = Some(*pin);
        Ok(())
    }
}

/// T3. Without pin and guard the older directory opens: that is what they are for.
#[test]
fn t3_a_whole_older_directory_is_refused_by_pin_and_guard_and_by_nothing_else() {
    let place = Place::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let file = Arc::new(FileRollbackGuard::new(elsewhere.path().join("pin")));
    let guarded = || place.options().rollback_guard(file.clone());
    let vault = guarded()
        .create(&place.path, Unlock::raw_key(&master_key()))
        .unwrap();
    create_key(&vault, "old");
    vault.close().unwrap();
    let older = read_image(&place.path);

    let vault = open_with(&place, guarded()).unwrap();
    create_key(&vault, "new");
    let pin = vault.pin().unwrap();
    vault.close().unwrap();
    write_image(&place.path, &older);

    assert_eq!(refused(open_with(&place, guarded())), ErrorKind::RolledBack);
    assert_eq!(
        refused(open_with(&place, place.options().expect_at_least(pin))),
        ErrorKind::RolledBack
    );
    // The control.
    let vault = open_with(&place, place.options()).unwrap();
    assert_eq!(refused(vault.get_key(&name("new"))), ErrorKind::KeyNotFound);
    // The same number of changes again is another state, not the known one.
    create_key(&vault, "other");
    while vault.pin().unwrap().generation() < pin.generation() {
        vault.rotate_key(&name("other")).unwrap();
    }
    assert_eq!(vault.pin().unwrap().generation(), pin.generation());
    vault.close().unwrap();
    for options in [guarded(), place.options().expect_at_least(pin)] {
        assert_eq!(refused(open_with(&place, options)), ErrorKind::RolledBack);
    }
}

#[test]
fn a_pin_accepts_its_own_vault_from_then_on() {
    let place = Place::new();
    let vault = place.create();
    create_key(&vault, "k");
    let pin = vault.pin().unwrap();
    assert_eq!(pin.vault_id(), vault.status().unwrap().vault_id());
    assert_eq!(pin.fingerprint(), vault.status().unwrap().fingerprint());
    vault.close().unwrap();
    let text = pin.to_string();
    assert_eq!(text.parse::<VaultPin>().unwrap(), pin);
    let json = serde_json::to_string(&pin).unwrap();
    assert_eq!(serde_json::from_str::<VaultPin>(&json).unwrap(), pin);
    for _ in 0..3 {
        let vault = open_with(&place, place.options().expect_at_least(pin)).unwrap();
        vault.rotate_key(&name("k")).unwrap();
        vault.close().unwrap();
    }

    let other = Place::new();
    drop(other.create());
    let opened = open_with(&other, other.options().expect_at_least(pin));
    assert_eq!(refused(opened), ErrorKind::WrongRoot);
}

#[test]
fn texts_that_are_no_pins_are_refused() {
    let vault = VaultOptions::new().create_in_memory().unwrap();
    let text = vault.pin().unwrap().to_string();
    for damaged in [
        "",
        "strongroom-pin-1",
        &text[1..],
        &text[..text.len() - 1],
        &format!("{text}:"),
        &format!("{text}00"),
        &text.replace("pin-1", "pin-2"),
        &text.replacen(':', "::", 1),
        &text.replace(':', " "),
    ] {
        assert_eq!(
            refused(damaged.parse::<VaultPin>()),
            ErrorKind::BadParameter,
            "{damaged}"
        );
    }
}

#[test]
fn a_guard_hears_of_changes_within_a_second_and_of_the_last_one_at_the_end() {
    let place = Place::new();
    let guard = Arc::new(MemoryGuard::default());
    let options = || place.options().rollback_guard(guard.clone());
    let vault = options()
        .create(&place.path, Unlock::raw_key(&master_key()))
        .unwrap();
    assert_eq!(guard.generation(), vault.pin().unwrap().generation());
    create_key(&vault, "k");
    let changed = vault.pin().unwrap().generation();
    let begun = Instant::now();
    while guard.generation() < changed {
        assert!(begun.elapsed() < Duration::from_secs(60), "it never heard");
        thread::sleep(Duration::from_millis(20));
    }
    for _ in 0..20 {
        vault.rotate_key(&name("k")).unwrap();
    }
    vault.sync_rollback_guard().unwrap();
    assert_eq!(guard.generation(), vault.pin().unwrap().generation());
    let told = guard.told.load(Ordering::SeqCst);
    assert!(told < 20, "told of every change: {told}");
    vault.rotate_key(&name("k")).unwrap();
    let last = vault.pin().unwrap().generation();
    vault.close().unwrap();
    assert_eq!(guard.generation(), last);
    let told = guard.told.load(Ordering::SeqCst);
    drop(vault);
    assert_eq!(guard.told.load(Ordering::SeqCst), told);
    open_with(&place, options()).unwrap();
}

#[test]
fn a_guard_that_fails_stops_an_open_but_no_change() {
    let place = Place::new();
    let guard = Arc::new(MemoryGuard::default());
    let options = || place.options().rollback_guard(guard.clone());
    let vault = options()
        .create(&place.path, Unlock::raw_key(&master_key()))
        .unwrap();
    guard.broken.store(true, Ordering::SeqCst);
    create_key(&vault, "k");
    vault
        .sign_data(&name("k"), SignatureAlgorithm::Es256, b"text")
        .unwrap();
    assert_eq!(
        refused(vault.sync_rollback_guard()),
        ErrorKind::GuardUnavailable
    );
    assert_eq!(refused(vault.close()), ErrorKind::GuardUnavailable);
    assert_eq!(
        refused(open_with(&place, options())),
        ErrorKind::GuardUnavailable
    );
    guard.broken.store(false, Ordering::SeqCst);
    let vault = open_with(&place, options()).unwrap();
    vault.get_key(&name("k")).unwrap();
    assert_eq!(guard.generation(), vault.pin().unwrap().generation());
}

#[test]
fn a_file_that_is_no_pin_of_this_vault_stops_an_open() {
    let place = Place::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let path = elsewhere.path().join("pin");
    let options = || {
        place
            .options()
            .rollback_guard(Arc::new(FileRollbackGuard::new(&path)))
    };
    let foreign = VaultOptions::new()
        .create_in_memory()
        .unwrap()
        .pin()
        .unwrap();
    fs::write(&path, foreign.to_string()).unwrap();
    let created = options().create(&place.path, Unlock::raw_key(&master_key()));
    assert_eq!(refused(created), ErrorKind::GuardUnavailable);
    assert!(!place.path.exists());

    fs::remove_file(&path).unwrap();
    let vault = options()
        .create(&place.path, Unlock::raw_key(&master_key()))
        .unwrap();
    create_key(&vault, "k");
    vault.close().unwrap();
    let good = fs::read(&path).unwrap();
    for damaged in [&b""[..], b"\xff\xfe", &good[..40], &[b'x'; 5_000]] {
        fs::write(&path, damaged).unwrap();
        assert_eq!(
            refused(open_with(&place, options())),
            ErrorKind::GuardUnavailable
        );
    }
    fs::write(&path, &good).unwrap();
    open_with(&place, options()).unwrap();
}

#[test]
fn a_clock_that_was_wrong_is_believed_again_when_somebody_says_so() {
    let place = Place::new();
    let vault = place.create();
    place.clock.advance_days(20);
    create_key(&vault, "late");
    let late = vault.get_key(&name("late")).unwrap();
    place.clock.set_ms(START_MS);
    create_key(&vault, "later");
    let later = vault.get_key(&name("later")).unwrap();
    let made = |bundle: &strongroom::KeyBundle| bundle.properties().created_on();
    assert_eq!(made(&later), made(&late));
    vault.reset_time_floor().unwrap();
    create_key(&vault, "early");
    let early = vault.get_key(&name("early")).unwrap();
    assert!(made(&early) < made(&late));
    vault.close().unwrap();
    let vault = place.open().unwrap();
    create_key(&vault, "still-early");
    let still_early = vault.get_key(&name("still-early")).unwrap();
    assert_eq!(made(&still_early), made(&early));
}
