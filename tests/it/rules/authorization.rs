//! Who may do what when: every operation against every state of a version, with and without leeway, and
//! `key_ops` one by one. The expectations are written out as a table, not computed as the library does.

use std::sync::Arc;

use strongroom::{
    Clock, Curve, ErrorKind, KeyOperation, OctKeySize, RsaKeySize, SignatureAlgorithm,
    UpdateKeyOptions, Vault,
};

use super::{Made, OCT_256, RSA, SIX, Suite};
use crate::make;
use crate::support::{FakeClock, fixed_rsa, memory_vault, name, refused, start_plus};

/// Encrypt, decrypt, sign, verify, wrapKey, unwrapKey: `None` is allowed.
type Row = [Option<ErrorKind>; 6];

const ALLOWED: Row = [None; 6];
const DISABLED: Row = [Some(ErrorKind::KeyDisabled); 6];
const NOT_YET: Row = [
    Some(ErrorKind::KeyNotYetValid),
    None,
    Some(ErrorKind::KeyNotYetValid),
    None,
    Some(ErrorKind::KeyNotYetValid),
    None,
];
const EXPIRED: Row = [
    Some(ErrorKind::KeyExpired),
    None,
    Some(ErrorKind::KeyExpired),
    None,
    Some(ErrorKind::KeyExpired),
    None,
];

/// Not before 1,000 seconds after the start, and not from 2,000 seconds on.
fn windowed(enabled: bool) -> UpdateKeyOptions {
    UpdateKeyOptions::new()
        .not_before(start_plus(1_000))
        .expires_on(start_plus(2_000))
        .enabled(enabled)
}

fn vault_with(leeway: u64, cache: usize) -> (Vault, Arc<FakeClock>) {
    let clock = FakeClock::new();
    let vault = make::vault_options()
        .clock(Arc::clone(&clock) as Arc<dyn Clock>)
        .leeway_seconds(leeway)
        .key_cache(cache)
        .create_in_memory()
        .unwrap();
    (vault, clock)
}

fn add_key(vault: &Vault, suite: Suite) -> Made {
    let key = name("k");
    if suite.encryption == RSA.encryption {
        vault
            .import_key(&key, make::import(fixed_rsa(RsaKeySize::Bits2048)))
            .unwrap();
    } else {
        vault
            .create_key(&key, make::oct(OctKeySize::Bits256).operations(SIX))
            .unwrap();
    }
    Made::by(vault, &key, suite)
}

#[track_caller]
fn expect_row(vault: &Vault, made: &Made, row: Row, state: &str) {
    let key = name("k");
    let exact = vault.get_key(&key).unwrap().id().clone();
    for (operation, expected) in SIX.into_iter().zip(row) {
        for (selected, outcome) in [
            ("newest", made.attempt(vault, &key, operation)),
            ("exact", made.attempt(vault, &exact, operation)),
        ] {
            let kind = outcome.as_ref().err().map(strongroom::Error::kind);
            assert_eq!(kind, expected, "{operation}, {state}, {selected}");
            if let Err(error) = outcome {
                assert_eq!(error.azure().unwrap().status(), 403);
                assert!(error.to_string().contains(operation.as_str()), "{error}");
            }
        }
    }
}

#[test]
fn the_window_and_enabled_decide_as_documented() {
    for suite in [RSA, OCT_256] {
        for cache in [0, 1_024] {
            let (vault, clock) = vault_with(0, cache);
            let made = add_key(&vault, suite);
            expect_row(&vault, &made, ALLOWED, "without dates");
            vault
                .update_key_properties(&name("k"), windowed(true))
                .unwrap();
            expect_row(&vault, &made, NOT_YET, "1,000 s before nbf");
            clock.advance_seconds(999);
            expect_row(&vault, &made, NOT_YET, "1 s before nbf");
            clock.advance_seconds(1);
            expect_row(&vault, &made, ALLOWED, "at nbf");
            clock.advance_seconds(999);
            expect_row(&vault, &made, ALLOWED, "1 s before exp");
            clock.advance_seconds(1);
            expect_row(&vault, &made, EXPIRED, "at exp");
            clock.advance_days(10_000);
            expect_row(&vault, &made, EXPIRED, "long after exp");
        }
    }
}

#[test]
fn a_disabled_version_does_nothing_inside_and_outside_its_window() {
    for suite in [RSA, OCT_256] {
        let (vault, clock) = vault_with(0, 1_024);
        let made = add_key(&vault, suite);
        vault
            .update_key_properties(&name("k"), windowed(false))
            .unwrap();
        expect_row(&vault, &made, DISABLED, "before nbf");
        clock.advance_seconds(1_500);
        expect_row(&vault, &made, DISABLED, "in window");
        clock.advance_seconds(500);
        expect_row(&vault, &made, DISABLED, "after exp");
        vault
            .update_key_properties(&name("k"), UpdateKeyOptions::new().enabled(true))
            .unwrap();
        expect_row(&vault, &made, EXPIRED, "enabled again after exp");
    }
}

#[test]
fn leeway_stretches_the_window_on_both_sides_by_exactly_so_many_seconds() {
    let (vault, clock) = vault_with(300, 1_024);
    let made = add_key(&vault, OCT_256);
    vault
        .update_key_properties(&name("k"), windowed(true))
        .unwrap();
    clock.advance_seconds(699);
    expect_row(&vault, &made, NOT_YET, "301 s before nbf");
    clock.advance_seconds(1);
    expect_row(&vault, &made, ALLOWED, "300 s before nbf");
    clock.advance_seconds(1_599);
    expect_row(&vault, &made, ALLOWED, "299 s after exp");
    clock.advance_seconds(1);
    expect_row(&vault, &made, EXPIRED, "300 s after exp");
    vault
        .update_key_properties(&name("k"), UpdateKeyOptions::new().enabled(false))
        .unwrap();
    expect_row(&vault, &made, DISABLED, "leeway does not enable");
}

#[test]
fn leeway_is_at_most_ten_minutes() {
    let (vault, clock) = vault_with(100_000, 1_024);
    let made = add_key(&vault, OCT_256);
    vault
        .update_key_properties(&name("k"), windowed(true))
        .unwrap();
    clock.advance_seconds(399);
    expect_row(&vault, &made, NOT_YET, "601 s before nbf");
    clock.advance_seconds(1);
    expect_row(&vault, &made, ALLOWED, "600 s before nbf");
    clock.advance_seconds(2_199);
    expect_row(&vault, &made, ALLOWED, "599 s after exp");
    clock.advance_seconds(1);
    expect_row(&vault, &made, EXPIRED, "600 s after exp");
}

#[test]
fn a_window_at_the_ends_of_time_does_not_overflow() {
    let (vault, _clock) = vault_with(600, 1_024);
    let made = add_key(&vault, OCT_256);
    let end = strongroom::Timestamp::from_unix_seconds(u64::MAX);
    let begin = strongroom::Timestamp::from_unix_seconds(0);
    let set = |nbf, exp| {
        vault
            .update_key_properties(
                &name("k"),
                UpdateKeyOptions::new().not_before(nbf).expires_on(exp),
            )
            .unwrap()
    };
    set(begin, end);
    expect_row(&vault, &made, ALLOWED, "0 to the end");
    set(end, end);
    expect_row(&vault, &made, NOT_YET, "at the end");
    set(begin, begin);
    expect_row(&vault, &made, EXPIRED, "at the beginning");
}

#[test]
fn each_operation_is_allowed_only_when_key_ops_list_it() {
    for suite in [RSA, OCT_256] {
        let (vault, _clock) = vault_with(0, 1_024);
        let made = add_key(&vault, suite);
        for listed in SIX {
            let update = UpdateKeyOptions::new().operations([listed]);
            vault.update_key_properties(&name("k"), update).unwrap();
            let row = SIX
                .map(|operation| (operation != listed).then_some(ErrorKind::OperationNotPermitted));
            expect_row(&vault, &made, row, "one operation listed");
        }
    }
}

#[test]
fn key_ops_belong_to_a_version() {
    let (vault, _clock) = memory_vault();
    let key = name("k");
    let old = vault.create_key(&key, make::ec(Curve::P256)).unwrap();
    let new = vault.rotate_key(&key).unwrap();
    let verify_only = UpdateKeyOptions::new().operations([KeyOperation::Verify]);
    vault.update_key_properties(old.id(), verify_only).unwrap();
    let sign = |id| vault.sign(id, SignatureAlgorithm::Es256, &super::DIGEST);
    assert_eq!(
        refused(sign(old.id())),
        ErrorKind::OperationNotPermitted,
        "the old version"
    );
    sign(new.id()).unwrap();
}

#[test]
fn dates_and_enabled_belong_to_a_version() {
    let (vault, _clock) = memory_vault();
    let key = name("k");
    let first = vault.create_key(&key, make::ec(Curve::P256)).unwrap();
    let second = vault
        .create_key(&key, make::ec(Curve::P256).expires_on(start_plus(0)))
        .unwrap();
    let third = vault
        .create_key(&key, make::ec(Curve::P256).enabled(false))
        .unwrap();
    let sign = |id| vault.sign(id, SignatureAlgorithm::Es256, &super::DIGEST);
    sign(first.id()).unwrap();
    assert_eq!(refused(sign(second.id())), ErrorKind::KeyExpired);
    assert_eq!(refused(sign(third.id())), ErrorKind::KeyDisabled);
}

#[test]
fn an_operation_that_a_key_cannot_do_is_a_mismatch_whatever_its_state() {
    let (vault, _clock) = memory_vault();
    let key = name("k");
    vault
        .create_key(&key, make::ec(Curve::P256).enabled(false))
        .unwrap();
    assert_eq!(
        refused(vault.sign(&key, SignatureAlgorithm::Es384, &[0; 48])),
        ErrorKind::AlgorithmMismatch
    );
}

#[test]
fn a_handle_on_a_key_asks_the_policy_at_each_call() {
    let (vault, clock) = memory_vault();
    let key = name("k");
    vault
        .create_key(&key, make::ec(Curve::P256).expires_on(start_plus(100)))
        .unwrap();
    let bound = vault.key(&key).unwrap();
    let sign = || bound.sign(SignatureAlgorithm::Es256, &super::DIGEST);
    let signed = sign().unwrap();
    let set = |enabled| {
        vault
            .update_key_properties(&key, UpdateKeyOptions::new().enabled(enabled))
            .unwrap()
    };
    set(false);
    assert_eq!(refused(sign()), ErrorKind::KeyDisabled);
    set(true);
    sign().unwrap();
    let newer = vault.rotate_key(&key).unwrap();
    assert_ne!(bound.id(), newer.id(), "it stays bound to its version");
    assert_eq!(sign().unwrap().key_id(), bound.id());
    clock.advance_seconds(100);
    assert_eq!(refused(sign()), ErrorKind::KeyExpired);
    bound
        .verify(
            SignatureAlgorithm::Es256,
            &super::DIGEST,
            signed.signature(),
        )
        .unwrap();
    vault.delete_key(&key).unwrap();
    assert_eq!(refused(sign()), ErrorKind::KeyNotFound);
}
