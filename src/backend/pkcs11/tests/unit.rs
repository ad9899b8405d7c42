//! What needs no module.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use cryptoki_sys::*;

use crate::backend::pkcs11::attributes::require_rsa;
use crate::backend::pkcs11::buffers::{LARGEST_ANSWER, bounded, into_buffer};
use crate::backend::pkcs11::error::{ErrorClass, TokenError};
use crate::backend::pkcs11::gate::Gate;
use crate::backend::pkcs11::handles::{HandleCache, ObjectClass};
use crate::backend::pkcs11::mechanism::Mechanism;
use crate::backend::pkcs11::module::Module;
use crate::backend::pkcs11::pin::{Breaker, PinSource};
use crate::backend::pkcs11::pool::pause_after;
use crate::backend::pkcs11::raw::ObjectHandle;
use crate::backend::pkcs11::return_codes::name_of;
use crate::backend::pkcs11::template::Template;
use crate::backend::pkcs11::trials::Verdict;
use crate::backend::{BackendError, BackendErrorKind};
use crate::model::key::KeyTag;
use crate::model::material::PublicParts;
use crate::model::spec::RsaKeySize;
use crate::secret::{Pin, SecretBytes};

fn class(code: CK_RV, function: &'static str) -> ErrorClass {
    TokenError::from_code(code, function).class
}

#[test]
fn each_code_has_the_class_that_says_what_to_do() {
    for (codes, expected) in [
        (
            &[CKR_PIN_INCORRECT, CKR_PIN_LEN_RANGE, CKR_PIN_INVALID][..],
            ErrorClass::Authentication,
        ),
        (
            &[
                CKR_PIN_LOCKED,
                CKR_PIN_EXPIRED,
                CKR_USER_PIN_NOT_INITIALIZED,
            ],
            ErrorClass::TokenLocked,
        ),
        (
            &[
                CKR_SESSION_HANDLE_INVALID,
                CKR_SESSION_CLOSED,
                CKR_OPERATION_ACTIVE,
                CKR_USER_NOT_LOGGED_IN,
            ],
            ErrorClass::SessionLost,
        ),
        (
            &[
                CKR_CRYPTOKI_NOT_INITIALIZED,
                CKR_DEVICE_ERROR,
                CKR_DEVICE_REMOVED,
                CKR_TOKEN_NOT_PRESENT,
                CKR_SLOT_ID_INVALID,
                CKR_TOKEN_NOT_RECOGNIZED,
            ],
            ErrorClass::TokenLost,
        ),
        (
            &[CKR_OBJECT_HANDLE_INVALID, CKR_KEY_HANDLE_INVALID],
            ErrorClass::StaleHandle,
        ),
        (
            &[
                CKR_MECHANISM_INVALID,
                CKR_MECHANISM_PARAM_INVALID,
                CKR_CURVE_NOT_SUPPORTED,
                CKR_DOMAIN_PARAMS_INVALID,
            ],
            ErrorClass::Unsupported,
        ),
        (&[CKR_KEY_FUNCTION_NOT_PERMITTED], ErrorClass::NotPermitted),
        (
            &[CKR_KEY_UNEXTRACTABLE, CKR_KEY_NOT_WRAPPABLE],
            ErrorClass::NotExportable,
        ),
        (
            &[CKR_KEY_SIZE_RANGE, CKR_DATA_LEN_RANGE],
            ErrorClass::BadParameter,
        ),
        (
            &[CKR_SESSION_COUNT, CKR_HOST_MEMORY, CKR_DEVICE_MEMORY],
            ErrorClass::Throttled,
        ),
        (
            &[CKR_TOKEN_WRITE_PROTECTED, CKR_SESSION_READ_ONLY],
            ErrorClass::ReadOnly,
        ),
        (
            &[CKR_SIGNATURE_INVALID, CKR_SIGNATURE_LEN_RANGE],
            ErrorClass::InvalidSignature,
        ),
        (
            &[CKR_GENERAL_ERROR, CKR_FUNCTION_FAILED, 0x8000_0001],
            ErrorClass::Device,
        ),
    ] {
        for code in codes {
            assert_eq!(class(*code, "C_Sign"), expected, "{:?}", name_of(*code));
        }
    }
    assert_eq!(
        class(CKR_ARGUMENTS_BAD, "C_DecryptInit"),
        ErrorClass::Unsupported
    );
    assert_eq!(class(CKR_ARGUMENTS_BAD, "C_Sign"), ErrorClass::Device);
}

#[test]
fn whatever_a_ciphertext_can_be_blamed_for_is_one_answer_without_a_cause() {
    let mut texts = Vec::new();
    for function in ["C_Decrypt", "C_UnwrapKey"] {
        for code in 1..0x300 {
            if matches!(
                class(code, function),
                ErrorClass::SessionLost
                    | ErrorClass::TokenLost
                    | ErrorClass::StaleHandle
                    | ErrorClass::Throttled
            ) {
                continue;
            }
            let error = TokenError::from_code(code, function);
            assert_eq!(error.class, ErrorClass::DecryptFailed, "{code:#x}");
            assert_eq!(error.code, None);
            let error = BackendError::from(error);
            assert_eq!(error.kind(), BackendErrorKind::DecryptFailed);
            assert!(std::error::Error::source(&error).is_none());
            texts.push(error.to_string());
        }
    }
    assert!(texts.len() > 1_000);
    texts.dedup();
    assert_eq!(texts.len(), 1);
}

#[test]
fn an_error_names_the_code_and_the_function() {
    let error = BackendError::from(TokenError::from_code(CKR_PIN_LOCKED, "C_Login"));
    assert_eq!(error.kind(), BackendErrorKind::Authentication);
    assert!(
        error
            .to_string()
            .ends_with("(C_Login answered CKR_PIN_LOCKED)"),
        "{error}"
    );
    let error = BackendError::from(TokenError::from_code(0x8000_0001, "C_Sign"));
    assert!(error.to_string().contains("code 0x80000001"), "{error}");
}

fn refusal(code: CK_RV) -> TokenError {
    TokenError::from_code(code, "C_Login")
}

#[test]
fn a_pin_that_was_answered_with_a_lock_is_not_tried_again_and_another_one_is() {
    let breaker = Breaker::default();
    let pin = Pin::new("1234").unwrap();
    breaker.admit(&pin, false).unwrap();
    // Neither of these says that it was the wrong one.
    for code in [
        CKR_USER_PIN_NOT_INITIALIZED,
        CKR_PIN_EXPIRED,
        CKR_DEVICE_ERROR,
    ] {
        breaker.learn(&pin, &refusal(code)).unwrap();
        breaker.admit(&pin, false).unwrap();
    }
    breaker.learn(&pin, &refusal(CKR_PIN_LOCKED)).unwrap();
    let error = breaker.admit(&pin, false).unwrap_err();
    assert_eq!(error.class, ErrorClass::TokenLocked);
    assert!(
        error.to_string().contains("make the backend anew"),
        "{error}"
    );
    breaker.admit(&Pin::new("5678").unwrap(), false).unwrap();
}

#[test]
fn a_failure_that_may_pass_is_told_from_a_refusal() {
    let verdict = |code, function| Verdict::on(&TokenError::from_code(code, function));
    for code in [
        CKR_MECHANISM_INVALID,
        CKR_MECHANISM_PARAM_INVALID,
        CKR_FUNCTION_NOT_SUPPORTED,
        CKR_KEY_TYPE_INCONSISTENT,
        CKR_KEY_SIZE_RANGE,
        CKR_KEY_FUNCTION_NOT_PERMITTED,
        CKR_CURVE_NOT_SUPPORTED,
        CKR_TEMPLATE_INCONSISTENT,
        CKR_ATTRIBUTE_TYPE_INVALID,
        CKR_ATTRIBUTE_VALUE_INVALID,
        CKR_SIGNATURE_INVALID,
        CKR_WRAPPING_KEY_TYPE_INCONSISTENT,
    ] {
        assert_eq!(verdict(code, "C_GenerateKey"), Verdict::Refused, "{code}");
    }
    for code in [
        CKR_GENERAL_ERROR,
        CKR_FUNCTION_FAILED,
        CKR_FUNCTION_CANCELED,
        CKR_SESSION_CLOSED,
        CKR_OBJECT_HANDLE_INVALID,
        0x8000_0001,
    ] {
        assert_eq!(verdict(code, "C_Sign"), Verdict::Doubtful, "{code}");
        assert_ne!(verdict(code, "C_Decrypt"), Verdict::Refused, "{code}");
    }
    for code in [CKR_HOST_MEMORY, CKR_DEVICE_MEMORY, CKR_SESSION_COUNT] {
        assert_eq!(verdict(code, "C_Sign"), Verdict::Busy, "{code}");
    }
    for code in [CKR_DEVICE_ERROR, CKR_PIN_LOCKED, CKR_DEVICE_REMOVED] {
        assert_eq!(verdict(code, "C_Sign"), Verdict::Trouble, "{code}");
    }
    let own = TokenError::with_detail(ErrorClass::Device, "C_Sign", "of the wrong length");
    assert_eq!(Verdict::on(&own), Verdict::Refused);
}

#[test]
fn a_generated_rsa_key_is_compared_with_the_one_that_was_asked_for() {
    let key = |bits: usize, e: &[u8]| {
        let mut n = vec![0xff; bits.div_ceil(8)];
        n[0] >>= 8 * n.len() - bits;
        PublicParts::Rsa { n, e: e.to_vec() }
    };
    let size = RsaKeySize::Bits3072;
    for (exponent, e) in [
        (65_537, &[1, 0, 1][..]),
        (3, &[3]),
        (0x1_0000_0001, &[1, 0, 0, 0, 1]),
    ] {
        require_rsa(&key(3_072, e), size, exponent).unwrap();
    }
    for (bits, e, words) in [
        (2_048, &[1, 0, 1][..], "of 2048 bits instead of 3072"),
        (3_071, &[1, 0, 1], "of 3071 bits instead of 3072"),
        (3_072, &[3], "another public exponent than 65537"),
        (3_072, &[1, 0, 1, 0], "another public exponent than 65537"),
        (3_072, &[], "another public exponent than 65537"),
        (0, &[1, 0, 1], "of 0 bits"),
    ] {
        let parts = if bits == 0 {
            PublicParts::Rsa {
                n: Vec::new(),
                e: e.to_vec(),
            }
        } else {
            key(bits, e)
        };
        let error = require_rsa(&parts, size, 65_537).unwrap_err();
        assert_eq!(error.class, ErrorClass::Device);
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn a_refused_pin_is_never_admitted_again() {
    let breaker = Breaker::default();
    let wrong = Pin::new("wrong").unwrap();
    let right = Pin::new("right").unwrap();
    breaker.admit(&wrong, false).unwrap();
    breaker.learn(&wrong, &refusal(CKR_PIN_INCORRECT)).unwrap();
    assert_eq!(
        breaker.admit(&wrong, false).unwrap_err().class,
        ErrorClass::Authentication
    );
    breaker.admit(&right, false).unwrap();
    assert_eq!(
        breaker
            .admit(&Pin::new("wrong").unwrap(), false)
            .unwrap_err()
            .class,
        ErrorClass::Authentication
    );
}

#[test]
fn a_row_of_different_wrong_pins_ends_too() {
    let breaker = Breaker::default();
    let tried = (0..100)
        .map(|number| Pin::new(&format!("pin {number}")).unwrap())
        .take_while(|pin| {
            let admitted = breaker.admit(pin, false).is_ok();
            if admitted {
                breaker.learn(pin, &refusal(CKR_PIN_INCORRECT)).unwrap();
            }
            admitted
        })
        .count();
    assert_eq!(tried, 8);
}

#[test]
fn the_final_try_is_for_the_first_login_only() {
    let pin = Pin::new("1234").unwrap();
    let breaker = Breaker::default();
    breaker.admit(&pin, true).unwrap();
    assert!(breaker.admit(&pin, true).is_err());
    breaker.admit(&pin, false).unwrap();
}

#[test]
fn no_pin_and_no_value_of_a_template_is_printed() {
    let source = PinSource::value(Pin::new("24681357").unwrap());
    let breaker = Breaker::default();
    let refused = refusal(CKR_PIN_INCORRECT);
    breaker
        .learn(&Pin::new("24681357").unwrap(), &refused)
        .unwrap();
    let template = Template::new()
        .secret(CKA_VALUE, SecretBytes::copied_from(b"24681357"))
        .bytes(CKA_ID, b"24681357");
    let printed = format!("{source:?} {breaker:?} {template:?}");
    assert!(!printed.contains("2468"), "{printed}");
    assert!(!printed.contains("50, 52"), "{printed}");
    assert!(printed.contains("0x11"), "{printed}");
}

#[test]
fn a_template_gives_c_what_was_put_in() {
    let template = Template::new()
        .bool(CKA_TOKEN, true)
        .ulong(CKA_CLASS, CKO_SECRET_KEY)
        .ulongs(CKA_ALLOWED_MECHANISMS, vec![CKM_SHA256_HMAC, CKM_AES_GCM])
        .bytes(CKA_ID, &[7; 16])
        .owned(CKA_LABEL, b"label".to_vec())
        .secret(CKA_VALUE, SecretBytes::copied_from(&[1, 2, 3]))
        .bytes(CKA_MODULUS, &[]);
    let sizes: Vec<_> = template
        .structures()
        .iter()
        .map(|attribute| (attribute.type_, attribute.ulValueLen))
        .collect();
    let word = size_of::<CK_ULONG>() as CK_ULONG;
    assert_eq!(
        sizes,
        [
            (CKA_TOKEN, 1),
            (CKA_CLASS, word),
            (CKA_ALLOWED_MECHANISMS, 2 * word),
            (CKA_ID, 16),
            (CKA_LABEL, 5),
            (CKA_VALUE, 3),
            (CKA_MODULUS, 0),
        ]
    );
}

#[test]
fn key_wrapping_mechanisms_have_their_numbers() {
    assert_eq!(Mechanism::AesKeyWrapPad.number(), 0x210A);
    assert_eq!(Mechanism::AesKeyWrapKwp.number(), 0x210B);
}

#[test]
fn a_module_that_names_no_larger_size_is_not_asked_again() {
    let mut calls = 0;
    let error = into_buffer("C_Sign", &mut vec![0; 4], |_, _, _| {
        calls += 1;
        Ok(CKR_BUFFER_TOO_SMALL)
    })
    .unwrap_err();
    assert_eq!((error.code, calls), (Some(CKR_BUFFER_TOO_SMALL), 1));
    assert!(bounded(LARGEST_ANSWER as CK_ULONG, LARGEST_ANSWER, "C_Sign").is_ok());
    assert!(bounded(LARGEST_ANSWER as CK_ULONG + 1, LARGEST_ANSWER, "C_Sign").is_err());
}

#[test]
fn a_handle_is_good_in_its_epoch_only_and_the_cache_is_bounded() {
    let cache = HandleCache::with_capacity(32);
    let tag = |number: u8| KeyTag::from_bytes([number; 16]);
    for number in 0..200 {
        cache.insert(
            1,
            tag(number),
            ObjectClass::Private,
            ObjectHandle(number.into()),
        );
    }
    let held = (0..200)
        .filter(|number| cache.get(1, tag(*number), ObjectClass::Private).is_some())
        .count();
    assert_eq!(held, 32);
    assert_eq!(
        cache.get(1, tag(199), ObjectClass::Private),
        Some(ObjectHandle(199))
    );
    assert_eq!(cache.get(2, tag(199), ObjectClass::Private), None);
    assert_eq!(cache.get(1, tag(199), ObjectClass::Secret), None);
    cache.remove(tag(199), ObjectClass::Private);
    assert_eq!(cache.get(1, tag(199), ObjectClass::Private), None);
}

#[test]
fn what_is_used_stays_in_the_cache() {
    let cache = HandleCache::with_capacity(64);
    // All in one shard.
    let tag = |number: u8| {
        let mut bytes = [0; 16];
        bytes[1] = number;
        KeyTag::from_bytes(bytes)
    };
    for number in 0..100 {
        cache.insert(1, tag(number), ObjectClass::Secret, ObjectHandle(1));
        assert!(cache.get(1, tag(0), ObjectClass::Secret).is_some());
    }
}

#[test]
fn the_gate_lets_many_in_or_one_alone_and_gives_up() {
    let gate = Gate::default();
    let short = Duration::from_millis(20);
    let first = gate.enter(short).unwrap();
    let second = gate.enter(short).unwrap();
    assert_eq!(
        gate.exclude(short).unwrap_err().class,
        ErrorClass::Throttled
    );
    // The attempt left the gate open.
    drop(gate.enter(short).unwrap());
    drop((first, second));
    let alone = gate.exclude(short).unwrap();
    assert!(gate.enter(short).is_err());
    assert!(gate.exclude(short).is_err());
    drop(alone);
    drop(gate.enter(short).unwrap());
}

#[test]
fn who_waits_at_the_gate_is_let_in() {
    let gate = Gate::default();
    let long = Duration::from_secs(60);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let alone = gate.exclude(long).unwrap();
        scope.spawn(|| {
            let _permit = gate.enter(long).unwrap();
            assert!(done.load(Ordering::SeqCst));
        });
        thread::sleep(Duration::from_millis(20));
        done.store(true, Ordering::SeqCst);
        drop(alone);
    });
}

#[test]
fn pauses_double_up_to_a_limit_and_differ() {
    for (failures, longest) in [
        (0, 100),
        (1, 200),
        (3, 800),
        (20, 30_000),
        (u32::MAX, 30_000),
    ] {
        let longest = Duration::from_millis(longest);
        for _ in 0..50 {
            let pause = pause_after(failures);
            assert!(
                pause >= longest / 2 && pause <= longest,
                "{failures}: {pause:?}"
            );
        }
    }
    assert!((0..50).any(|_| pause_after(9) != pause_after(9)));
}

#[test]
fn a_missing_module_is_an_unreachable_token_with_its_path() {
    let error = Module::at("/nowhere/module.so".as_ref(), None).unwrap_err();
    assert_eq!(error.class, ErrorClass::TokenLost);
    assert!(error.to_string().contains("/nowhere/module.so"), "{error}");
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Module::at(file.path(), None).unwrap_err();
    assert_eq!(error.class, ErrorClass::TokenLost);
    assert!(error.to_string().contains("cannot be loaded"), "{error}");
}
