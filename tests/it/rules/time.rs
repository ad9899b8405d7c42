//! Time: it does not run backwards for the policy, and a wrong clock destroys nothing.

use strongroom::{
    CreateKeyOptions, Curve, ErrorKind, MaintenanceOptions, SignatureAlgorithm, SoftDelete,
};

use super::DIGEST;
use crate::make;
use crate::support::{Place, START_MS, memory_vault, name, refused, start_plus};

const DAY_MS: u64 = 86_400_000;

fn ec() -> CreateKeyOptions {
    make::ec(Curve::P256)
}

#[test]
fn the_clock_may_be_32_days_after_the_last_commit_and_not_a_moment_more() {
    for (late_ms, plausible) in [(32 * DAY_MS, true), (32 * DAY_MS + 1, false)] {
        let (vault, clock) = memory_vault();
        let key = name("k");
        vault.create_key(&key, ec()).unwrap();
        vault.delete_key(&key).unwrap();
        for days in [30, 60] {
            clock.set_ms(START_MS + days * DAY_MS);
            vault.create_key(&name("beat"), ec()).unwrap();
        }
        clock.set_ms(START_MS + 60 * DAY_MS + late_ms);
        let outcome = vault.maintain(MaintenanceOptions::new());
        if plausible {
            assert_eq!(outcome.unwrap().purged(), [key]);
        } else {
            assert_eq!(refused(outcome), ErrorKind::ClockJump);
            assert_eq!(vault.status().unwrap().key_count(), 2, "nothing was purged");
            let confirmed = MaintenanceOptions::new().confirm_clock();
            assert_eq!(vault.maintain(confirmed).unwrap().purged(), [key]);
        }
    }
}

#[test]
fn a_jump_is_refused_only_when_something_is_due() {
    let (vault, clock) = memory_vault();
    vault.create_key(&name("k"), ec()).unwrap();
    clock.advance_days(5_000);
    let report = vault.maintain(MaintenanceOptions::new()).unwrap();
    assert!(report.purged().is_empty());
    vault.delete_key(&name("k")).unwrap();
    let report = vault.maintain(MaintenanceOptions::new()).unwrap();
    assert!(report.purged().is_empty());
}

#[test]
fn a_wrong_clock_does_not_destroy_a_deleted_key_even_when_commits_saw_it() {
    let place = Place::new();
    let vault = place.create();
    let key = name("precious");
    let made = vault.create_key(&key, ec()).unwrap();
    vault.delete_key(&key).unwrap();
    let deleted_ms = START_MS;
    // The clock is ten years ahead, and the application works on.
    place.clock.set_ms(deleted_ms + 3_650 * DAY_MS);
    for _ in 0..3 {
        vault.create_key(&name("beat"), ec()).unwrap();
    }
    vault.close().unwrap();
    drop(vault);
    let vault = place.open().unwrap();
    vault.rotate_key(&name("beat")).unwrap();
    assert_eq!(
        refused(vault.maintain(MaintenanceOptions::new())),
        ErrorKind::ClockJump
    );
    // Nor does the name become free on its word.
    assert_eq!(refused(vault.create_key(&key, ec())), ErrorKind::ClockJump);
    // Somebody sets the clock right.
    place.clock.set_ms(deleted_ms + DAY_MS);
    assert!(
        vault
            .maintain(MaintenanceOptions::new())
            .unwrap()
            .purged()
            .is_empty()
    );
    assert_eq!(vault.recover_deleted_key(&key).unwrap(), made);
}

#[test]
fn setting_the_clock_back_brings_no_expired_key_back() {
    let place = Place::new();
    let vault = place.create();
    let key = name("k");
    vault
        .create_key(&key, ec().expires_on(start_plus(100)))
        .unwrap();
    let sign = |vault: &strongroom::Vault| vault.sign(&key, SignatureAlgorithm::Es256, &DIGEST);
    sign(&vault).unwrap();
    place.clock.advance_seconds(100);
    assert_eq!(refused(sign(&vault)), ErrorKind::KeyExpired);
    // A commit notes the time.
    let beat = vault.create_key(&name("beat"), ec()).unwrap();
    place.clock.set_ms(START_MS);
    assert_eq!(refused(sign(&vault)), ErrorKind::KeyExpired);
    vault.close().unwrap();
    drop(vault);
    let vault = place.open().unwrap();
    assert_eq!(
        refused(sign(&vault)),
        ErrorKind::KeyExpired,
        "the time is kept on the disk"
    );
    let later = vault.rotate_key(&name("beat")).unwrap();
    assert_eq!(
        later.properties().created_on(),
        beat.properties().created_on(),
        "dates do not run backwards either"
    );
}

#[test]
fn confirming_the_clock_sets_the_time_back_too() {
    let (vault, clock) = memory_vault();
    let key = name("k");
    vault
        .create_key(&key, ec().expires_on(start_plus(86_400)))
        .unwrap();
    let sign = || vault.sign(&key, SignatureAlgorithm::Es256, &DIGEST);
    // For a while the clock was 20 days ahead, which is plausible, and a commit saw it.
    clock.advance_days(20);
    vault.create_key(&name("beat"), ec()).unwrap();
    clock.set_ms(START_MS);
    assert_eq!(refused(sign()), ErrorKind::KeyExpired);
    vault
        .maintain(MaintenanceOptions::new().confirm_clock())
        .unwrap();
    sign().unwrap();
}

#[test]
fn what_is_due_is_due_by_the_clock_that_was_confirmed() {
    let clock = crate::support::FakeClock::new();
    let vault = make::vault_options()
        .clock(clock.clone())
        .soft_delete(SoftDelete::days(7).unwrap())
        .create_in_memory()
        .unwrap();
    let key = name("k");
    vault.create_key(&key, ec()).unwrap();
    vault.delete_key(&key).unwrap();
    clock.advance_days(20);
    vault.create_key(&name("beat"), ec()).unwrap();
    clock.set_ms(START_MS + 2 * DAY_MS);
    // By the time that a commit saw it is due; by the clock that the caller vouches for it is not.
    let report = vault
        .maintain(MaintenanceOptions::new().confirm_clock())
        .unwrap();
    assert!(report.purged().is_empty());
    vault.recover_deleted_key(&key).unwrap();
}

#[test]
fn clocks_at_the_ends_of_time_do_no_harm() {
    for now_ms in [0, 1, u64::MAX] {
        let (vault, clock) = memory_vault();
        vault.create_key(&name("a"), ec()).unwrap();
        vault.delete_key(&name("a")).unwrap();
        clock.set_ms(now_ms);
        vault.create_key(&name("b"), ec()).unwrap();
        vault.delete_key(&name("b")).unwrap();
        let _ = vault.maintain(MaintenanceOptions::new());
        clock.set_ms(START_MS);
        vault.recover_deleted_key(&name("a")).unwrap();
        assert!(vault.check().unwrap().is_clean());
    }
}
