//! Rotation policies: what is stored, what rotations by hand do with it, and that maintenance does what is due, once
//! each, whatever happens in between.

use std::sync::{Arc, Mutex};

use strongroom::{
    AuditOptions, CalendarDuration, Clock, CreateKeyOptions, Curve, ErrorKind, KeyEvent,
    KeyEventKind, KeyEventSubscriber, KeyName, MaintenanceOptions, RestoreOptions, RotationPolicy,
    RotationTrigger, ScheduledEventKind, Timestamp, Unlock, UpdateKeyOptions, Vault, VaultOptions,
};

use crate::support::{FakeClock, Place, master_key, memory_vault, name, refused, start_plus};

const DAY: u64 = 86_400;

#[derive(Debug, Default)]
struct Ear {
    heard: Mutex<Vec<KeyEvent>>,
}

impl Ear {
    fn take(&self) -> Vec<KeyEvent> {
        std::mem::take(&mut self.heard.lock().unwrap())
    }
}

impl KeyEventSubscriber for Ear {
    fn notify(&self, event: &KeyEvent) {
        self.heard.lock().unwrap().push(event.clone());
    }
}

fn listening() -> (Vault, Arc<FakeClock>, Arc<Ear>) {
    let (clock, ear) = (FakeClock::new(), Arc::new(Ear::default()));
    let vault = VaultOptions::new()
        .clock(Arc::clone(&clock) as Arc<dyn Clock>)
        .subscriber(Arc::clone(&ear) as Arc<dyn KeyEventSubscriber>)
        .create_in_memory()
        .unwrap();
    (vault, clock, ear)
}

fn ec() -> CreateKeyOptions {
    CreateKeyOptions::ec(Curve::P256)
}

fn every_90_days() -> RotationPolicy {
    RotationPolicy::new().rotate(RotationTrigger::TimeAfterCreate(CalendarDuration::days(90)))
}

fn days(days: u64) -> Timestamp {
    start_plus(days * DAY)
}

fn versions(vault: &Vault, key: &KeyName) -> usize {
    vault.list_key_properties_versions(key).unwrap().count()
}

fn maintain(vault: &Vault) -> strongroom::MaintenanceReport {
    vault
        .maintain(MaintenanceOptions::new().confirm_clock())
        .unwrap()
}

#[test]
fn a_policy_is_stored_with_its_key_and_comes_back_from_everywhere() {
    let place = Place::new();
    let vault = place.create();
    let key = name("Signer");
    assert_eq!(
        refused(vault.get_key_rotation_policy(&key)),
        ErrorKind::KeyNotFound
    );
    assert_eq!(
        refused(vault.update_key_rotation_policy(&key, every_90_days())),
        ErrorKind::KeyNotFound
    );
    vault.create_key(&key, ec()).unwrap();

    let first = vault.get_key_rotation_policy(&key).unwrap();
    assert_eq!(
        first.id(),
        "https://vault.invalid/keys/Signer/rotationpolicy"
    );
    assert_eq!(*first.policy(), RotationPolicy::new());
    assert_eq!(first.created_on(), None);

    let policy = RotationPolicy::new()
        .rotate(RotationTrigger::TimeBeforeExpiry("P1M".parse().unwrap()))
        .notify_before_expiry("P14D".parse().unwrap())
        .expiry_time("P1Y10DT6H".parse().unwrap());
    let set = vault
        .update_key_rotation_policy(&name("SIGNER"), policy)
        .unwrap();
    assert_eq!(*set.policy(), policy);
    assert_eq!(
        (set.created_on(), set.updated_on()),
        (Some(days(0)), Some(days(0)))
    );
    place.clock.advance_days(1);
    vault
        .update_key_rotation_policy(&key, every_90_days())
        .unwrap();
    let set = vault.update_key_rotation_policy(&key, policy).unwrap();
    assert_eq!(
        (set.created_on(), set.updated_on()),
        (Some(days(0)), Some(days(1)))
    );

    // Deleting, recovering, closing, a backup and another vault.
    vault.delete_key(&key).unwrap();
    assert_eq!(
        refused(vault.get_key_rotation_policy(&key)),
        ErrorKind::KeyNotFound
    );
    vault.recover_deleted_key(&key).unwrap();
    let backup = vault.backup_key(&key).unwrap();
    let mut stream = Vec::new();
    vault
        .backup_to(&mut stream, &strongroom::BackupOptions::new(), |_| ())
        .unwrap();
    vault.close().unwrap();
    let vault = place.open().unwrap();
    assert_eq!(vault.get_key_rotation_policy(&key).unwrap(), set);

    let domain = vault.security_domain().unwrap();
    for whole in [false, true] {
        let other = Place::new();
        let other = other
            .options()
            .create_in_domain(&other.path, Unlock::raw_key(&master_key()), &domain)
            .unwrap();
        if whole {
            other
                .restore_all_from(&stream[..], &RestoreOptions::new(), |_| ())
                .unwrap();
        } else {
            other.restore_key(&backup).unwrap();
        }
        assert_eq!(other.get_key_rotation_policy(&key).unwrap(), set);
    }
}

#[test]
fn policies_outside_azures_limits_are_refused_and_change_nothing() {
    let (vault, _) = memory_vault();
    let key = name("k");
    vault.create_key(&key, ec()).unwrap();
    vault
        .update_key_rotation_policy(&key, every_90_days())
        .unwrap();
    let short = CalendarDuration::days;
    for policy in [
        RotationPolicy::new().rotate(RotationTrigger::TimeAfterCreate(short(6))),
        RotationPolicy::new().rotate(RotationTrigger::TimeBeforeExpiry(short(30))),
        RotationPolicy::new().expiry_time(short(27)),
        RotationPolicy::new().notify_before_expiry(short(6)),
        every_90_days().expiry_time(short(96)),
    ] {
        let error = vault.update_key_rotation_policy(&key, policy).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadParameter);
        assert_eq!(error.azure().unwrap().code(), "BadParameter");
    }
    assert_eq!(
        *vault.get_key_rotation_policy(&key).unwrap().policy(),
        every_90_days()
    );
}

#[test]
fn a_rotation_by_hand_gives_the_new_version_its_life_and_leaves_the_old_one() {
    let (vault, _) = memory_vault();
    let key = name("k");
    let old = vault.create_key(&key, ec()).unwrap();
    vault
        .update_key_rotation_policy(
            &key,
            RotationPolicy::new().expiry_time("P28D".parse().unwrap()),
        )
        .unwrap();
    let new = vault.rotate_key(&key).unwrap();
    assert_eq!(new.properties().expires_on(), Some(days(28)));
    assert_eq!(
        vault.get_key(old.id()).unwrap().properties().expires_on(),
        None
    );
    // A version that is made otherwise has no life by the policy.
    assert_eq!(
        vault
            .create_key(&key, ec())
            .unwrap()
            .properties()
            .expires_on(),
        None
    );
}

#[test]
fn maintenance_rotates_what_is_due_once() {
    let (vault, clock, ear) = listening();
    let (due, other) = (name("due"), name("other"));
    let options = ec().tag("team", "billing");
    vault.create_key(&due, options).unwrap();
    vault.create_key(&other, ec()).unwrap();
    vault
        .update_key_rotation_policy(&due, every_90_days())
        .unwrap();
    let next = vault.next_event().unwrap().unwrap();
    assert_eq!(
        (next.time(), next.name(), next.kind()),
        (days(90), &due, ScheduledEventKind::Rotation)
    );

    clock.advance_seconds(90 * DAY - 1);
    assert!(!vault.due(days(89)).unwrap());
    assert!(vault.due(days(90)).unwrap());
    assert!(maintain(&vault).rotated().is_empty());
    clock.advance_seconds(1);
    let report = maintain(&vault);
    let [id] = report.rotated() else {
        panic!("{report:?}");
    };
    let newest = vault.get_key(&due).unwrap();
    assert_eq!(newest.id(), id);
    assert_eq!(newest.properties().tags().get("team"), Some("billing"));
    let heard = ear.take();
    assert_eq!(heard.len(), 1);
    assert_eq!(
        (heard[0].kind(), heard[0].key_id()),
        (KeyEventKind::Rotated, id)
    );
    assert!(maintain(&vault).rotated().is_empty());
    assert_eq!((versions(&vault, &due), versions(&vault, &other)), (2, 1));

    // However many dates pass, each call makes one version.
    clock.advance_days(1_000);
    assert_eq!(maintain(&vault).rotated().len(), 1);
    assert_eq!(maintain(&vault).rotated().len(), 0);
    assert_eq!(versions(&vault, &due), 3);
}

#[test]
fn a_rotation_before_expiry_needs_an_expiry_and_renews_it() {
    let (vault, clock) = memory_vault();
    let key = name("k");
    vault.create_key(&key, ec()).unwrap();
    let policy = RotationPolicy::new()
        .rotate(RotationTrigger::TimeBeforeExpiry(CalendarDuration::days(
            10,
        )))
        .expiry_time(CalendarDuration::days(60));
    vault.update_key_rotation_policy(&key, policy).unwrap();
    clock.advance_days(400);
    assert!(maintain(&vault).rotated().is_empty(), "it has no expiry");
    assert_eq!(vault.next_event().unwrap(), None);

    let first = vault.rotate_key(&key).unwrap();
    assert_eq!(first.properties().expires_on(), Some(days(460)));
    clock.advance_days(50);
    assert_eq!(maintain(&vault).rotated().len(), 1);
    let next = vault.get_key(&key).unwrap();
    assert_eq!(next.properties().expires_on(), Some(days(510)));
}

#[test]
fn a_disabled_or_deleted_key_is_not_rotated_by_its_policy() {
    let (vault, clock) = memory_vault();
    let (disabled, deleted) = (name("disabled"), name("deleted"));
    for key in [&disabled, &deleted] {
        vault.create_key(key, ec()).unwrap();
        vault
            .update_key_rotation_policy(key, every_90_days())
            .unwrap();
    }
    vault
        .update_key_properties(&disabled, UpdateKeyOptions::new().enabled(false))
        .unwrap();
    clock.advance_days(89);
    vault.delete_key(&deleted).unwrap();
    clock.advance_days(2);
    let report = maintain(&vault);
    assert!(report.rotated().is_empty() && report.not_rotated().is_empty());
    vault
        .update_key_properties(&disabled, UpdateKeyOptions::new().enabled(true))
        .unwrap();
    vault.recover_deleted_key(&deleted).unwrap();
    assert_eq!(maintain(&vault).rotated().len(), 2);
}

#[test]
fn a_key_that_cannot_be_rotated_is_reported_and_stops_nothing() {
    let (vault, clock) = memory_vault();
    // An HMAC key of this length can only be imported.
    let options = strongroom::ImportKeyOptions::new(crate::support::fixed_oct(40));
    vault.import_key(&name("imported"), options).unwrap();
    vault.create_key(&name("made"), ec()).unwrap();
    for key in ["imported", "made"] {
        vault
            .update_key_rotation_policy(&name(key), every_90_days())
            .unwrap();
    }
    clock.advance_days(90);
    let report = maintain(&vault);
    assert_eq!(
        report.not_rotated(),
        [(name("imported"), ErrorKind::BadParameter)]
    );
    assert_eq!(report.rotated().len(), 1);
}

#[test]
fn the_near_expiry_of_a_version_is_announced_once() {
    let (vault, clock, ear) = listening();
    let key = name("k");
    let made = vault.create_key(&key, ec().expires_on(days(100))).unwrap();
    let next = vault.next_event().unwrap().unwrap();
    assert_eq!(
        (next.time(), next.kind()),
        (days(70), ScheduledEventKind::NearExpiry)
    );
    clock.advance_days(69);
    assert!(maintain(&vault).near_expiry().is_empty());
    clock.advance_days(1);
    assert!(vault.due(days(70)).unwrap());
    assert_eq!(maintain(&vault).near_expiry(), [made.id().clone()]);
    let heard = ear.take();
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0].kind().as_str(), "Microsoft.KeyVault.KeyNearExpiry");
    assert_eq!(
        (heard[0].key_id(), heard[0].expires_on()),
        (made.id(), Some(days(100)))
    );
    assert!(!vault.due(days(200)).unwrap());
    assert_eq!(vault.next_event().unwrap(), None);

    // Once for the version, whatever is changed; again for its successor.
    vault
        .update_key_properties(&key, UpdateKeyOptions::new().expires_on(days(95)))
        .unwrap();
    vault
        .update_key_rotation_policy(
            &key,
            RotationPolicy::new().expiry_time("P60D".parse().unwrap()),
        )
        .unwrap();
    assert!(maintain(&vault).near_expiry().is_empty());
    vault.rotate_key(&key).unwrap();
    clock.advance_days(31);
    assert_eq!(maintain(&vault).near_expiry().len(), 1);
    assert_eq!(ear.take().len(), 1);
}

#[test]
fn what_was_done_before_a_crash_is_not_done_again() {
    let place = Place::new();
    let vault = place.create();
    let (rotated, announced) = (name("rotated"), name("announced"));
    vault.create_key(&rotated, ec()).unwrap();
    vault
        .update_key_rotation_policy(&rotated, every_90_days())
        .unwrap();
    vault
        .create_key(&announced, ec().expires_on(days(100)))
        .unwrap();
    place.clock.advance_days(90);
    let report = maintain(&vault);
    assert_eq!((report.rotated().len(), report.near_expiry().len()), (1, 1));
    // Nothing is written back that a close would write.
    let copy = tempfile::tempdir().unwrap();
    let image = crate::image::read_image(&place.path);
    let path = copy.path().join("vault");
    crate::image::write_image(&path, &image);
    let reopened = place
        .options()
        .open(&path, Unlock::raw_key(&master_key()))
        .unwrap();
    let report = maintain(&reopened);
    assert_eq!((report.rotated().len(), report.near_expiry().len()), (0, 0));
    assert_eq!(versions(&reopened, &rotated), 2);
}

#[test]
fn one_of_many_maintainers_rotates() {
    let (vault, clock) = memory_vault();
    let key = name("k");
    vault.create_key(&key, ec()).unwrap();
    vault
        .update_key_rotation_policy(&key, every_90_days())
        .unwrap();
    clock.advance_days(90);
    let rotated: usize = std::thread::scope(|scope| {
        let maintainers: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| maintain(&vault).rotated().len()))
            .collect();
        maintainers
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!((rotated, versions(&vault, &key)), (1, 2));
}

#[test]
fn a_clock_that_jumped_rotates_nothing() {
    let (vault, clock) = memory_vault();
    let key = name("k");
    vault.create_key(&key, ec()).unwrap();
    vault
        .update_key_rotation_policy(&key, every_90_days())
        .unwrap();
    clock.advance_days(36_500);
    assert_eq!(
        refused(vault.maintain(MaintenanceOptions::new())),
        ErrorKind::ClockJump
    );
    assert_eq!(versions(&vault, &key), 1);
    assert_eq!(maintain(&vault).rotated().len(), 1);
}

#[test]
fn the_audit_log_tells_rotations_by_policy_and_announcements_apart() {
    let clock = FakeClock::new();
    let vault = VaultOptions::new()
        .clock(Arc::clone(&clock) as Arc<dyn Clock>)
        .audit(AuditOptions::on())
        .create_in_memory()
        .unwrap();
    let (rotated, announced) = (name("rotated"), name("announced"));
    vault.create_key(&rotated, ec()).unwrap();
    vault
        .update_key_rotation_policy(&rotated, every_90_days())
        .unwrap();
    vault
        .create_key(&announced, ec().expires_on(days(100)))
        .unwrap();
    clock.advance_days(90);
    maintain(&vault);
    vault.flush_audit().unwrap();
    let entries: Vec<_> = vault
        .audit_entries(0)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.operation().to_owned(), entry.key().cloned()))
        .collect();
    for expected in [
        ("KeyRotationPolicySet", &rotated),
        ("KeyRotateIfDue", &rotated),
        ("KeyNearExpiryEventGridNotification", &announced),
    ] {
        let expected = (expected.0.to_owned(), Some(expected.1.clone()));
        assert_eq!(
            entries.iter().filter(|entry| **entry == expected).count(),
            1,
            "{expected:?} in {entries:?}"
        );
    }
}
