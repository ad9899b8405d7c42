use std::cell::Cell;

use super::*;
use crate::model::attributes::Validity;
use crate::model::duration::CalendarDuration;
use crate::model::key::{BackendId, Deletion, KeyBlob, Origin, VersionBody, VersionRecord};
use crate::model::rotation_policy::{
    PolicyDates, RotationPolicy, RotationTrigger, StoredRotationPolicy,
};
use crate::model::spec::{Curve, OctKeySize, RsaKeySize};
use crate::model::tags::Tags;
use crate::model::version::KeyVersion;
use crate::secret::SecretBytes;

const TAG: KeyTag = KeyTag::from_bytes([1; 16]);
const RSA: KeySpec = KeySpec::Rsa(RsaKeySize::Bits2048);
const P256: KeySpec = KeySpec::Ec(Curve::P256);

fn aes() -> KeySpec {
    KeySpec::Oct(OctKeySize::Bits256.into())
}

/// A key that can do it.
fn fitting(operation: CryptoOperation) -> KeySpec {
    let rsa = [RSA];
    let curves = [Curve::P256, Curve::P384, Curve::P521, Curve::P256K].map(KeySpec::Ec);
    let sizes = [
        OctKeySize::Bits128,
        OctKeySize::Bits192,
        OctKeySize::Bits256,
    ]
    .map(|size| KeySpec::Oct(size.into()));
    let mut all = rsa.into_iter().chain(curves).chain(sizes);
    all.find(|spec| operation.fits(*spec)).unwrap()
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds)
}

fn all_operations() -> KeyOperations {
    KeyOperations::from(KeyOperation::ALL)
}

fn attributes(operations: KeyOperations) -> VersionAttributes {
    VersionAttributes {
        enabled: true,
        validity: Validity::default(),
        operations,
        tags: Tags::default(),
        release_policy: None,
        created: at(1_000),
        updated: at(1_000),
    }
}

fn valid_between(not_before: Option<u64>, expires_on: Option<u64>) -> VersionAttributes {
    VersionAttributes {
        validity: Validity::new(not_before.map(at), expires_on.map(at)).unwrap(),
        ..attributes(all_operations())
    }
}

fn question(attributes: &VersionAttributes, operation: CryptoOperation) -> Question<'_> {
    Question {
        tag: TAG,
        spec: fitting(operation),
        attributes,
        operation,
        rules: AlgorithmRules::none_refused(),
        now: &|| Now {
            time: at(1_000),
            leeway_seconds: 0,
        },
    }
}

fn kinds(question: Question<'_>) -> Vec<ErrorKind> {
    refusals(question).map(|error| error.kind()).collect()
}

fn operation(name: &str) -> CryptoOperation {
    CryptoOperation::all()
        .find(|operation| operation.to_string() == name)
        .unwrap()
}

fn release_policy(authority: &str) -> ReleasePolicy {
    let json = format!(
        r#"{{"version":"1.0.0","anyOf":[{{"authority":"{authority}","allOf":[{{"claim":"a","equals":1}}]}}]}}"#
    );
    ReleasePolicy::from_json(json.as_bytes()).unwrap()
}

#[test]
fn what_was_allowed_is_allowed_for_the_version_that_was_asked_about() {
    let attributes = attributes(all_operations());
    let sign = operation("sign with PS256");
    let allowed = || authorize(question(&attributes, sign)).unwrap();
    assert_eq!(allowed().operation_on(TAG), Some(sign));
    assert_eq!(allowed().operation_on(KeyTag::from_bytes([2; 16])), None);
}

#[test]
fn an_operation_is_refused_exactly_when_the_algorithm_does_not_fit_the_key() {
    let attributes = attributes(all_operations());
    for operation in CryptoOperation::all() {
        for spec in [RSA, P256, aes()] {
            let question = Question {
                spec,
                ..question(&attributes, operation)
            };
            let expected: &[_] = if operation.fits(spec) {
                &[]
            } else {
                &[ErrorKind::AlgorithmMismatch]
            };
            assert_eq!(kinds(question), expected, "{operation} with {spec}");
        }
    }
}

#[test]
fn what_the_settings_refuse_is_refused_and_nothing_else() {
    let attributes = attributes(all_operations());
    let rules = AlgorithmRules::none_refused().refuse("RSA1_5").unwrap();
    for operation in CryptoOperation::all() {
        let question = Question {
            rules,
            ..question(&attributes, operation)
        };
        let expected: &[_] = if operation.algorithm() == "RSA1_5" {
            &[ErrorKind::AlgorithmRefused]
        } else {
            &[]
        };
        assert_eq!(kinds(question), expected, "{operation}");
    }
}

#[test]
fn a_disabled_version_does_nothing() {
    let attributes = VersionAttributes {
        enabled: false,
        ..attributes(all_operations())
    };
    for operation in CryptoOperation::all() {
        assert_eq!(
            kinds(question(&attributes, operation)),
            [ErrorKind::KeyDisabled]
        );
    }
}

#[test]
fn a_version_does_what_its_key_ops_list_and_nothing_else() {
    for listed in KeyOperation::ALL {
        let attributes = attributes(KeyOperations::from([listed]));
        for operation in CryptoOperation::all() {
            let expected: &[_] = if operation.operation() == listed {
                &[]
            } else {
                &[ErrorKind::OperationNotPermitted]
            };
            assert_eq!(kinds(question(&attributes, operation)), expected);
        }
    }
}

/// Seconds of the clock, the leeway, and whether a version from second 100 to second 200 may sign then.
#[test]
fn not_before_is_inclusive_expiry_exclusive_and_leeway_widens_both() {
    let bounded = valid_between(Some(100), Some(200));
    let cases = [
        (99, 0, Err(ErrorKind::KeyNotYetValid)),
        (100, 0, Ok(())),
        (199, 0, Ok(())),
        (200, 0, Err(ErrorKind::KeyExpired)),
        (201, 0, Err(ErrorKind::KeyExpired)),
        (94, 5, Err(ErrorKind::KeyNotYetValid)),
        (95, 5, Ok(())),
        (204, 5, Ok(())),
        (205, 5, Err(ErrorKind::KeyExpired)),
    ];
    for (seconds, leeway_seconds, expected) in cases {
        for name in [
            "sign with PS256",
            "encrypt with RSA-OAEP-256",
            "wrapKey with RSA-OAEP-256",
        ] {
            let now = &|| Now {
                time: at(seconds),
                leeway_seconds,
            };
            let answer = authorize(Question {
                now,
                ..question(&bounded, operation(name))
            });
            let answer = answer.map(drop).map_err(|error| error.kind());
            assert_eq!(answer, expected, "{name} at {seconds}");
        }
    }
    let only_start = valid_between(Some(100), None);
    let only_end = valid_between(None, Some(200));
    let sign = operation("sign with PS256");
    let when = |attributes, seconds| {
        kinds(Question {
            now: &|| Now {
                time: at(seconds),
                leeway_seconds: 0,
            },
            ..question(attributes, sign)
        })
    };
    assert_eq!(when(&only_start, 99), [ErrorKind::KeyNotYetValid]);
    assert_eq!(when(&only_start, u64::MAX), []);
    assert_eq!(when(&only_end, 0), []);
    assert_eq!(when(&only_end, 200), [ErrorKind::KeyExpired]);
}

#[test]
fn the_clock_is_asked_only_where_the_answer_depends_on_it() {
    let asked = Cell::new(0);
    let now = || {
        asked.set(asked.get() + 1);
        Now {
            time: at(150),
            leeway_seconds: 0,
        }
    };
    for (attributes, name, times) in [
        (attributes(all_operations()), "sign with PS256", 0),
        (valid_between(Some(100), Some(200)), "verify with PS256", 0),
        (valid_between(Some(100), Some(200)), "sign with PS256", 1),
        (valid_between(Some(100), None), "sign with PS256", 1),
        (valid_between(None, Some(200)), "sign with PS256", 1),
    ] {
        asked.set(0);
        let question = Question {
            now: &now,
            ..question(&attributes, operation(name))
        };
        authorize(question).unwrap();
        assert_eq!(asked.get(), times, "{name}: {:?}", attributes.validity);
    }
}

#[test]
fn old_data_stay_readable_at_any_time() {
    let bounded = valid_between(Some(100), Some(200));
    for seconds in [0, 99, 200, u64::MAX] {
        for name in [
            "decrypt with RSA-OAEP-256",
            "unwrapKey with RSA-OAEP-256",
            "verify with PS256",
        ] {
            let now = &|| Now {
                time: at(seconds),
                leeway_seconds: 0,
            };
            let question = Question {
                now,
                ..question(&bounded, operation(name))
            };
            assert_eq!(kinds(question), [], "{name} at {seconds}");
        }
    }
}

#[test]
fn every_reason_is_told_in_the_documented_order() {
    let attributes = VersionAttributes {
        enabled: false,
        operations: KeyOperations::from([KeyOperation::Import]),
        ..valid_between(None, Some(200))
    };
    let rules = AlgorithmRules::none_refused().refuse("PS256").unwrap();
    let question = Question {
        spec: aes(),
        rules,
        ..question(&attributes, operation("sign with PS256"))
    };
    assert_eq!(
        kinds(question),
        [
            ErrorKind::AlgorithmMismatch,
            ErrorKind::AlgorithmRefused,
            ErrorKind::KeyDisabled,
            ErrorKind::KeyExpired,
            ErrorKind::OperationNotPermitted,
        ]
    );
    let error = authorize(question).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlgorithmMismatch);
}

#[test]
fn imports_are_unwrapped_by_enabled_rsa_keys_that_do_nothing_else() {
    let import = KeyOperations::from([KeyOperation::Import]);
    let permissive = AlgorithmRules::none_refused();
    let authorized = authorize_import(TAG, RSA, &attributes(import), permissive).unwrap();
    assert_eq!(
        authorized.operation_on(TAG),
        Some(CryptoOperation::UnwrapKey(WrapAlgorithm::RsaOaep))
    );
    // The dates do not matter.
    let expired = VersionAttributes {
        operations: import,
        ..valid_between(Some(1), Some(2))
    };
    assert!(authorize_import(TAG, RSA, &expired, permissive).is_ok());

    let refused = |spec, attributes: &VersionAttributes, rules| {
        authorize_import(TAG, spec, attributes, rules)
            .unwrap_err()
            .kind()
    };
    for spec in [P256, aes()] {
        assert_eq!(
            refused(spec, &attributes(import), permissive),
            ErrorKind::AlgorithmMismatch
        );
    }
    assert_eq!(
        refused(
            RSA,
            &attributes(import),
            permissive.refuse("RSA-OAEP").unwrap()
        ),
        ErrorKind::AlgorithmRefused
    );
    let disabled = VersionAttributes {
        enabled: false,
        ..attributes(import)
    };
    assert_eq!(refused(RSA, &disabled, permissive), ErrorKind::KeyDisabled);
    for operations in [
        import.with(KeyOperation::UnwrapKey),
        KeyOperations::from([KeyOperation::UnwrapKey]),
        KeyOperations::NONE,
        all_operations(),
    ] {
        assert_eq!(
            refused(RSA, &attributes(operations), permissive),
            ErrorKind::OperationNotPermitted
        );
    }
}

#[test]
fn a_backend_hears_that_a_key_for_imports_unwraps_and_otherwise_what_the_key_does() {
    let import = KeyOperations::from([KeyOperation::Import]);
    assert!(is_for_imports(import));
    assert_eq!(
        backend_operations(import),
        KeyOperations::from([KeyOperation::UnwrapKey])
    );
    for operations in [
        KeyOperations::NONE,
        all_operations(),
        import.with(KeyOperation::Sign),
        KeyOperations::from([KeyOperation::Sign]),
    ] {
        assert!(!is_for_imports(operations));
        assert_eq!(backend_operations(operations), operations);
    }
}

#[test]
fn key_ops_are_the_given_ones_if_the_key_can_do_them_and_else_the_defaults() {
    use KeyOperation::{Encrypt, Export, Import, Sign, Verify};
    for spec in [RSA, P256, aes()] {
        assert_eq!(
            settle_operations(spec, None).unwrap(),
            spec.default_operations()
        );
        let possible = spec.possible_operations();
        assert_eq!(settle_operations(spec, Some(possible)).unwrap(), possible);
    }
    let some = KeyOperations::from([Sign, Verify, Export]);
    assert_eq!(settle_operations(P256, Some(some)).unwrap(), some);
    let error = settle_operations(P256, Some(KeyOperations::NONE)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadParameter);

    let error = settle_operations(P256, Some(KeyOperations::from([Sign, Import, Encrypt])));
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadParameter);
    assert_eq!(
        error.to_string(),
        format!(
            "unsupported key operation(s) for {P256}: encrypt, import; supported are sign, verify, export"
        )
    );
}

#[test]
fn exportable_versions_have_a_release_policy_and_no_others() {
    let (given, inherited) = (release_policy("https://a"), release_policy("https://b"));
    let settle = |exportable, given, inherited| {
        settle_release_policy(exportable, given, inherited).map_err(|error| error.kind())
    };
    let (given, inherited) = (Some(&given), Some(&inherited));
    let refused = Err(ErrorKind::BadParameter);
    assert_eq!(settle(true, given, inherited), Ok(given));
    assert_eq!(settle(true, given, None), Ok(given));
    assert_eq!(settle(true, None, inherited), Ok(inherited));
    assert_eq!(settle(true, None, None), refused);
    assert_eq!(settle(false, given, inherited), refused);
    assert_eq!(settle(false, given, None), refused);
    assert_eq!(settle(false, None, inherited), Ok(None));
    assert_eq!(settle(false, None, None), Ok(None));
}

#[test]
fn a_release_policy_is_replaced_unless_there_is_none_or_it_is_immutable() {
    let (one, other) = (release_policy("https://a"), release_policy("https://b"));
    let settle =
        |current, new| settle_new_release_policy(current, new).map_err(|error| error.kind());
    let refused = Err(ErrorKind::BadParameter);
    assert_eq!(settle(None, &one), refused);
    assert_eq!(settle(Some(&one), &other), Ok(()));
    assert_eq!(settle(Some(&one), &one), Ok(()));
    let fixed = release_policy("https://a").immutable();
    assert_eq!(settle(Some(&fixed), &other), refused);
    assert_eq!(settle(Some(&fixed), &fixed), Ok(()));
}

#[test]
fn a_version_is_released_if_it_is_exportable_enabled_and_lists_export() {
    let export = KeyOperations::from([KeyOperation::Export]);
    let releasable = |exportable: bool, enabled, operations| VersionAttributes {
        enabled,
        release_policy: exportable.then(|| release_policy("https://a")),
        operations,
        ..valid_between(Some(1), Some(2))
    };
    let kinds = |attributes| -> Vec<ErrorKind> {
        release_refusals(&attributes)
            .map(|error| error.kind())
            .collect()
    };
    assert_eq!(kinds(releasable(true, true, export)), []);
    assert_eq!(kinds(releasable(true, true, all_operations())), []);
    assert_eq!(
        kinds(releasable(false, true, export)),
        [ErrorKind::NotExportable]
    );
    assert_eq!(
        kinds(releasable(true, false, export)),
        [ErrorKind::KeyDisabled]
    );
    assert_eq!(
        kinds(releasable(true, true, KeyOperations::NONE)),
        [ErrorKind::OperationNotPermitted]
    );
    assert_eq!(
        kinds(releasable(false, false, KeyOperations::NONE)),
        [
            ErrorKind::NotExportable,
            ErrorKind::KeyDisabled,
            ErrorKind::OperationNotPermitted
        ]
    );
}

#[test]
fn refusals_name_the_operation() {
    let attributes = VersionAttributes {
        enabled: false,
        ..attributes(KeyOperations::from([KeyOperation::Import]))
    };
    let texts: Vec<String> = refusals(question(&attributes, operation("wrapKey with RSA1_5")))
        .map(|error| error.to_string())
        .collect();
    assert_eq!(texts.len(), 2);
    assert!(texts.iter().all(|text| text.contains("operation wrapKey")));
}

#[test]
fn another_type_follows_only_where_it_was_asked_for() {
    assert!(settle_family(RSA, KeyFamily::Rsa, false).is_ok());
    assert!(settle_family(RSA, KeyFamily::Rsa, true).is_ok());
    assert!(settle_family(RSA, KeyFamily::Ec, true).is_ok());
    let error = settle_family(RSA, KeyFamily::Ec, false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadParameter);
}

fn key_object(deletion: Option<Deletion>, policy: Option<RotationPolicy>) -> KeyObject {
    KeyObject {
        name: "key".parse().unwrap(),
        object_id: [3; 16],
        created: at(1_000),
        updated: at(1_000),
        newest: KeyVersion::from_bytes([4; 16]),
        version_count: 1,
        deletion,
        rotation_policy: policy.map(|policy| StoredRotationPolicy {
            policy,
            dates: PolicyDates {
                created: at(1_000),
                updated: at(1_000),
            },
        }),
        announced: None,
    }
}

fn version_record(attributes: VersionAttributes) -> VersionRecord {
    VersionRecord {
        version: KeyVersion::from_bytes([4; 16]),
        ordinal: 1,
        attributes,
        body: VersionBody {
            tag: TAG,
            spec: RSA,
            hsm: false,
            backend: BackendId::from_static("software"),
            origin: Origin::Generated,
            backup_allowed: true,
            public: None,
            blob: KeyBlob::new(SecretBytes::from(Vec::new())),
            rejection_secret: None,
        },
    }
}

const DELETION: Deletion = Deletion {
    deleted: Timestamp::from_unix_seconds(100),
    scheduled_purge: Timestamp::from_unix_seconds(200),
};

#[test]
fn a_deleted_key_is_gone_from_its_scheduled_purge_on() {
    let deleted = key_object(Some(DELETION), None);
    assert_eq!(
        lifecycle(&key_object(None, None), at(u64::MAX)),
        Lifecycle::Active
    );
    for (seconds, expected) in [
        (0, Lifecycle::Deleted),
        (199, Lifecycle::Deleted),
        (200, Lifecycle::Gone),
        (201, Lifecycle::Gone),
    ] {
        assert_eq!(lifecycle(&deleted, at(seconds)), expected, "at {seconds}");
    }
}

#[test]
fn a_deleted_key_awaits_its_purge_and_a_key_in_use_awaits_none() {
    assert_eq!(KeySchedule::of_deleted(&key_object(None, None)), None);
    let purge = KeySchedule {
        purge: Some(at(200)),
        rotation: None,
        announcement: None,
    };
    let deleted = key_object(Some(DELETION), Some(RotationPolicy::new()));
    assert_eq!(KeySchedule::of_deleted(&deleted), Some(purge));
}

#[test]
fn a_schedule_follows_the_policy_and_the_dates_of_the_newest_version() {
    const DAY: u64 = 86_400;
    let expiring = || valid_between(None, Some(400 * DAY));
    let with = |trigger| key_object(None, Some(RotationPolicy::new().rotate(trigger)));
    let of = |object: &KeyObject, attributes| {
        let schedule = schedule(object, &version_record(attributes));
        assert_eq!(schedule.purge, None);
        (schedule.rotation, schedule.announcement)
    };
    let notice = Some(at(370 * DAY));
    let after = with(RotationTrigger::TimeAfterCreate(CalendarDuration::days(90)));
    assert_eq!(of(&after, expiring()), (Some(at(1_000 + 90 * DAY)), notice));
    assert_eq!(
        of(&after, valid_between(None, None)),
        (Some(at(1_000 + 90 * DAY)), None)
    );
    let before = with(RotationTrigger::TimeBeforeExpiry(CalendarDuration::days(9)));
    assert_eq!(of(&before, expiring()), (Some(at(391 * DAY)), notice));
    assert_eq!(of(&before, valid_between(None, None)), (None, None));
    let none = key_object(None, None);
    assert_eq!(of(&none, expiring()), (None, notice));

    // A disabled version is announced, but has no successor.
    let disabled = VersionAttributes {
        enabled: false,
        ..expiring()
    };
    assert_eq!(of(&after, disabled), (None, notice));

    // Announced once.
    let announced = |version| KeyObject {
        announced: Some(KeyVersion::from_bytes([version; 16])),
        ..with(RotationTrigger::TimeBeforeExpiry(CalendarDuration::days(9)))
    };
    assert_eq!(of(&announced(4), expiring()), (Some(at(391 * DAY)), None));
    assert_eq!(of(&announced(5), expiring()), (Some(at(391 * DAY)), notice));
}

#[test]
fn anything_that_is_scheduled_is_due_from_its_second_on() {
    let moment = Some(at(200));
    let never = KeySchedule::default();
    assert!(!never.is_due(at(u64::MAX)));
    for schedule in [
        KeySchedule {
            purge: moment,
            ..never
        },
        KeySchedule {
            rotation: moment,
            ..never
        },
        KeySchedule {
            announcement: moment,
            ..never
        },
    ] {
        let due = [199, 200, 201].map(|seconds| schedule.is_due(at(seconds)));
        assert_eq!(due, [false, true, true], "{schedule:?}");
    }
}

#[test]
fn a_clock_is_believed_for_32_days_and_the_floor_of_time_never_sinks() {
    const STEP: u64 = 2_764_800_000;
    let seen = 1_000_000;
    for (now, plausible, floor) in [
        (0, true, seen),
        (seen - 1, true, seen),
        (seen, true, seen),
        (seen + 1, true, seen + 1),
        (seen + STEP, true, seen + STEP),
        (seen + STEP + 1, false, seen),
        (u64::MAX, false, seen),
    ] {
        assert_eq!(clock_is_plausible(seen, now), plausible, "{now}");
        assert_eq!(time_floor_after(seen, now), floor, "{now}");
    }
    // A new vault believes any clock.
    assert_eq!(time_floor_after(0, STEP + 1), STEP + 1);
    assert_eq!(time_floor_after(0, u64::MAX), u64::MAX);
    assert_eq!(time_floor_after(1, STEP + 2), 1);
}
