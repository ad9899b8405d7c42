//! A proxy is the module it stands on, but for what a test planned: and that strikes exactly where it was planned.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cryptoki::context::Pkcs11;
use cryptoki::error::RvError;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::session::UserType;
use cryptoki_sys::{
    CKR_DEVICE_ERROR, CKR_FUNCTION_FAILED, CKR_GENERAL_ERROR, CKR_TOKEN_NOT_PRESENT,
};
use hsm_softhsm_tests::proxy::{Fault, Function, LeadingZeros};
use hsm_softhsm_tests::{Proxy, Token, child};

use crate::support::{
    aes_key, attach, code, find, ids, initialize, known_key, p256_key, pin, rsa_key, session, sign,
    slot, through_proxy,
};

#[test]
fn calls_go_through_and_are_counted() {
    let (proxy, token, pkcs11, session) = through_proxy();
    assert_eq!(token.module(), proxy.module());
    assert_ne!(proxy.module(), proxy.softhsm().module());
    assert_eq!(proxy.calls(Function::Initialize), 1);
    assert_eq!(proxy.calls(Function::OpenSession), 1);
    assert_eq!(proxy.calls(Function::Login), 1);
    // The token was made past the proxy.
    assert_eq!(proxy.calls(Function::InitToken), 0);

    let key = p256_key(&session, b"key").unwrap();
    assert_eq!(proxy.calls(Function::GenerateKeyPair), 1);
    assert_eq!(token.object_files(), 2);
    assert_eq!(sign(&session, key).unwrap().len(), 64);
    // One asks for the length.
    assert_eq!(proxy.calls(Function::SignInit), 1);
    assert_eq!(proxy.calls(Function::Sign), 2);
    assert_eq!(proxy.calls(Function::Verify), 0);

    let real = Token::new();
    let offered = pkcs11.get_mechanism_list(slot(&pkcs11, &token).unwrap());
    let really = real.pkcs11().get_mechanism_list(real.slot());
    assert_eq!(offered.unwrap(), really.unwrap());
}

/// The values below AES-256 of FIPS 197, appendix C.3.
#[test]
fn results_are_those_of_the_module() {
    let (_proxy, _token, _pkcs11, session) = through_proxy();
    let key = aes_key(&session, b"key", false).unwrap();
    let block: Vec<u8> = (0..16).map(|byte| byte * 0x11).collect();
    let expected = [
        0x8e, 0xa2, 0xb7, 0xca, 0x51, 0x67, 0x45, 0xbf, 0xea, 0xfc, 0x49, 0x90, 0x4b, 0x49, 0x60,
        0x89,
    ];
    assert_eq!(known_key().len(), 32);
    assert_eq!(
        session.encrypt(&Mechanism::AesEcb, key, &block).unwrap(),
        expected
    );
    assert_eq!(
        session.decrypt(&Mechanism::AesEcb, key, &expected).unwrap(),
        block
    );
}

#[test]
fn a_fault_before_the_call_strikes_once_and_nothing_happens_in_the_token() {
    let (proxy, token, _pkcs11, session) = through_proxy();
    let strikes = proxy.inject(Fault::answer(Function::GenerateKeyPair, CKR_DEVICE_ERROR));
    assert_eq!(strikes.count(), 0);
    assert_eq!(code(p256_key(&session, b"key")), RvError::DeviceError);
    assert_eq!((strikes.count(), token.object_files()), (1, 0));
    p256_key(&session, b"key").unwrap();
    assert_eq!((strikes.count(), token.object_files()), (1, 2));
    assert_eq!(proxy.calls(Function::GenerateKeyPair), 2);
}

#[test]
fn a_fault_after_the_call_hides_what_the_token_did() {
    let (proxy, token, _pkcs11, session) = through_proxy();
    let fault = Fault::answer(Function::GenerateKeyPair, CKR_GENERAL_ERROR).after_the_call();
    let strikes = proxy.inject(fault);
    assert_eq!(code(p256_key(&session, b"key")), RvError::GeneralError);
    assert_eq!((strikes.count(), token.object_files()), (1, 2));
    assert_eq!(find(&session, b"key").unwrap().len(), 2);
    p256_key(&session, b"other").unwrap();
    assert_eq!(strikes.count(), 1);
}

#[test]
fn a_fault_strikes_from_the_planned_call_on() {
    let (proxy, _token, _pkcs11, session) = through_proxy();
    aes_key(&session, b"before", true).unwrap();
    let fault = Fault::answer(Function::CreateObject, CKR_FUNCTION_FAILED);
    let strikes = proxy.inject(fault.from_call(3).times(2));
    let made: Vec<bool> = (0..6_u8)
        .map(|number| aes_key(&session, &[number], true).is_ok())
        .collect();
    assert_eq!(made, [true, true, false, false, true, true]);
    assert_eq!(strikes.count(), 2);
    assert_eq!(
        ids(&session),
        [vec![0], vec![1], vec![4], vec![5], b"before".to_vec()]
    );
}

#[test]
fn a_fault_for_ever_ends_with_healing() {
    let (proxy, _token, _pkcs11, session) = through_proxy();
    let key = p256_key(&session, b"key").unwrap();
    let strikes = proxy.inject(Fault::answer(Function::SignInit, CKR_DEVICE_ERROR).for_ever());
    for _ in 0..20 {
        assert_eq!(code(sign(&session, key)), RvError::DeviceError);
    }
    // Other functions are as they were.
    assert_eq!(find(&session, b"key").unwrap().len(), 2);
    proxy.heal();
    sign(&session, key).unwrap();
    assert_eq!(strikes.count(), 20);
}

/// A fault in one of the two calls of an operation leaves it active in the module, as a failing device would.
#[test]
fn the_question_for_the_length_is_a_call_of_its_own() {
    let (proxy, _token, _pkcs11, session) = through_proxy();
    let key = p256_key(&session, b"key").unwrap();
    let strikes = proxy.inject(Fault::answer(Function::Sign, CKR_DEVICE_ERROR).from_call(2));
    assert_eq!(code(sign(&session, key)), RvError::DeviceError);
    assert_eq!((strikes.count(), proxy.calls(Function::Sign)), (1, 2));
    assert_eq!(code(sign(&session, key)), RvError::OperationActive);
}

#[test]
fn faults_strike_once_also_among_threads() {
    let (proxy, token, pkcs11, session) = through_proxy();
    p256_key(&session, b"key").unwrap();
    let strikes = proxy.inject(
        Fault::answer(Function::FindObjectsInit, CKR_DEVICE_ERROR)
            .from_call(50)
            .times(3),
    );
    let failed: usize = std::thread::scope(|scope| {
        let work = || {
            let slot = slot(&pkcs11, &token).unwrap();
            let session = pkcs11.open_ro_session(slot).unwrap();
            (0..50).filter(|_| find(&session, b"key").is_err()).count()
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!((failed, strikes.count()), (3, 3));
    assert_eq!(proxy.calls(Function::FindObjectsInit), 200);
}

#[test]
fn work_runs_within_a_call() {
    let (proxy, token, _pkcs11, session) = through_proxy();
    let key = p256_key(&session, b"key").unwrap();
    let wait = Duration::from_millis(120);
    let strikes = proxy.inject(Fault::run(Function::Sign, move || std::thread::sleep(wait)));
    let start = Instant::now();
    sign(&session, key).unwrap();
    assert!(start.elapsed() >= wait);

    // After the key was made, but before the caller knows.
    let directory = token.directory().to_owned();
    let there = Arc::new(AtomicBool::new(false));
    let seen = there.clone();
    let look = move || {
        let files = std::fs::read_dir(&directory).unwrap();
        let objects = files
            .filter(|file| file.as_ref().unwrap().path().extension() == Some("object".as_ref()))
            .count();
        // The token itself, and two pairs.
        seen.store(objects == 5, Ordering::SeqCst);
    };
    proxy.inject(Fault::run(Function::GenerateKeyPair, look).after_the_call());
    p256_key(&session, b"another").unwrap();
    assert!(there.load(Ordering::SeqCst));
    assert_eq!(strikes.count(), 1);
}

#[test]
fn a_process_can_end_within_a_call() {
    let name = "proxy::a_process_can_end_within_a_call";
    if child::job().is_some() {
        let token = Token::lent().unwrap();
        let proxy = Proxy::over(token.softhsm().second_instance());
        let pkcs11 = Pkcs11::new(proxy.module()).unwrap();
        let session = session(&pkcs11, &token);
        let end = Fault::run(Function::GenerateKeyPair, || std::process::abort());
        proxy.inject(end.from_call(2).after_the_call());
        p256_key(&session, b"known").unwrap();
        drop(p256_key(&session, b"unknown"));
        unreachable!("the process has ended");
    }
    let token = Token::alone();
    let mut command = child::command(name, "end");
    token.lend(&mut command);
    let output = command.output().unwrap();
    let signal = std::os::unix::process::ExitStatusExt::signal(&output.status);
    assert_eq!(signal, Some(6), "{output:?}");
    let session = token.session();
    for id in [b"known".as_slice(), b"unknown"] {
        assert_eq!(find(&session, id).unwrap().len(), 2);
    }
}

#[test]
fn the_pin_locks_after_the_attempts_and_the_module_is_not_asked_again() {
    let proxy = Proxy::new();
    let token = proxy.new_token();
    let pkcs11 = attach(&token);
    let slot = slot(&pkcs11, &token).unwrap();
    let session = pkcs11.open_rw_session(slot).unwrap();
    let log_in = |with: &str| session.login(UserType::User, Some(&pin(with)));
    let flags = || {
        let info = pkcs11.get_token_info(slot).unwrap();
        (
            info.user_pin_count_low(),
            info.user_pin_final_try(),
            info.user_pin_locked(),
        )
    };
    proxy.lock_pin_after(3);
    assert_eq!(flags(), (false, false, false));
    assert_eq!(code(log_in("wrong")), RvError::PinIncorrect);
    assert_eq!(flags(), (true, false, false));
    assert_eq!(code(log_in("wrong")), RvError::PinIncorrect);
    assert_eq!(flags(), (true, true, false));
    // A success in between forgives.
    log_in(token.user_pin()).unwrap();
    assert_eq!((flags(), proxy.failed_logins()), ((false, false, false), 0));
    session.logout().unwrap();

    for _ in 0..3 {
        assert_eq!(code(log_in("wrong")), RvError::PinIncorrect);
    }
    assert_eq!(flags(), (true, false, true));
    for with in ["wrong", token.user_pin()] {
        assert_eq!(code(log_in(with)), RvError::PinLocked);
    }
    assert_eq!(
        (proxy.failed_logins(), proxy.calls(Function::Login)),
        (3, 8)
    );
    // The officer's PIN is another one.
    session
        .login(UserType::So, Some(&pin(token.so_pin())))
        .unwrap();
    session.logout().unwrap();
    proxy.heal();
    log_in(token.user_pin()).unwrap();
}

#[test]
fn a_dead_module_answers_nothing_else_until_it_is_healed() {
    let (proxy, token, pkcs11, session) = through_proxy();
    let key = p256_key(&session, b"key").unwrap();
    let slot = slot(&pkcs11, &token).unwrap();
    proxy.die(CKR_TOKEN_NOT_PRESENT);
    assert_eq!(code(sign(&session, key)), RvError::TokenNotPresent);
    assert_eq!(
        code(pkcs11.get_slots_with_token()),
        RvError::TokenNotPresent
    );
    assert_eq!(code(pkcs11.get_token_info(slot)), RvError::TokenNotPresent);
    assert_eq!(code(pkcs11.open_rw_session(slot)), RvError::TokenNotPresent);
    assert_eq!(code(initialize(&pkcs11)), RvError::TokenNotPresent);
    assert_eq!(code(pkcs11.clone().finalize()), RvError::TokenNotPresent);
    proxy.heal();
    sign(&session, key).unwrap();
}

#[test]
fn a_module_can_be_dead_until_it_starts_again() {
    let (proxy, token, pkcs11, session) = through_proxy();
    p256_key(&session, b"key").unwrap();
    proxy.die_until_reinitialized(CKR_DEVICE_ERROR);
    assert_eq!(code(find(&session, b"key")), RvError::DeviceError);
    assert_eq!(code(pkcs11.get_slots_with_token()), RvError::DeviceError);
    // Only starting again heals.
    assert_eq!(
        code(initialize(&pkcs11)),
        RvError::CryptokiAlreadyInitialized
    );
    assert_eq!(code(find(&session, b"key")), RvError::DeviceError);
    pkcs11.clone().finalize().unwrap();
    assert_eq!(code(find(&session, b"key")), RvError::DeviceError);
    // The proxy gives the module its configuration: without it, the main instance's tokens would be here.
    initialize(&pkcs11).unwrap();
    drop(session);
    let session = crate::support::session(&pkcs11, &token);
    assert_eq!(find(&session, b"key").unwrap().len(), 2);
}

#[test]
fn lost_sessions_are_invalid_and_new_ones_need_a_login() {
    let (proxy, token, pkcs11, session) = through_proxy();
    let key = p256_key(&session, b"key").unwrap();
    let others = proxy.new_token();
    let other = crate::support::session(&pkcs11, &others);
    proxy.lose_sessions();
    assert_eq!(code(sign(&session, key)), RvError::SessionHandleInvalid);
    assert_eq!(code(find(&other, b"key")), RvError::SessionHandleInvalid);
    let slot = slot(&pkcs11, &token).unwrap();
    let session = pkcs11.open_rw_session(slot).unwrap();
    // The public key.
    assert_eq!(find(&session, b"key").unwrap().len(), 1);
    session
        .login(UserType::User, Some(&pin(token.user_pin())))
        .unwrap();
    assert_eq!(find(&session, b"key").unwrap().len(), 2);
}

#[test]
fn a_removed_mechanism_is_gone_from_the_list_and_refused() {
    let (proxy, token, pkcs11, session) = through_proxy();
    let slot = slot(&pkcs11, &token).unwrap();
    let key = p256_key(&session, b"key").unwrap();
    let aes = aes_key(&session, b"aes", false).unwrap();
    let all = pkcs11.get_mechanism_list(slot).unwrap();
    proxy.remove_mechanism(MechanismType::ECDSA);
    proxy.remove_mechanism(cryptoki_sys::CKM_EC_KEY_PAIR_GEN);
    let left = pkcs11.get_mechanism_list(slot).unwrap();
    let gone: Vec<_> = all
        .iter()
        .filter(|mechanism| !left.contains(mechanism))
        .collect();
    assert_eq!(left.len(), all.len() - 2);
    assert_eq!(gone.len(), 2);
    assert!(
        gone.contains(&&MechanismType::ECDSA) && gone.contains(&&MechanismType::ECC_KEY_PAIR_GEN)
    );

    assert_eq!(code(sign(&session, key)), RvError::MechanismInvalid);
    assert_eq!(
        code(p256_key(&session, b"other")),
        RvError::MechanismInvalid
    );
    let info = pkcs11.get_mechanism_info(slot, MechanismType::ECDSA);
    assert_eq!(code(info), RvError::MechanismInvalid);
    session.encrypt(&Mechanism::AesEcb, aes, &[0; 16]).unwrap();
    proxy.heal();
    sign(&session, key).unwrap();
}

#[test]
fn raw_decryption_answers_what_the_test_wants() {
    let (proxy, _token, _pkcs11, session) = through_proxy();
    let (public, private) = rsa_key(&session);
    let mut block = vec![0; 256];
    block[1] = 2;
    block[200..].fill(0xab);
    let raw = Mechanism::RsaX509;
    let ciphertext = session.encrypt(&raw, public, &block).unwrap();
    let decrypt = || session.decrypt(&raw, private, &ciphertext);
    assert_eq!(decrypt().unwrap(), block);

    proxy.cut_leading_zeros();
    assert_eq!(decrypt().unwrap(), block[1..]);

    let chosen: Vec<u8> = (0..=255).collect();
    proxy.answer_raw_decryption(&chosen, LeadingZeros::Kept);
    assert_eq!(decrypt().unwrap(), chosen);
    assert_eq!(decrypt().unwrap(), chosen);
    proxy.answer_raw_decryption(&chosen, LeadingZeros::Cut);
    assert_eq!(decrypt().unwrap(), chosen[1..]);
    // A ciphertext that is none is no matter.
    assert_eq!(
        session.decrypt(&raw, private, &[0xff; 256]).unwrap(),
        chosen[1..]
    );
    // And afterwards the session is free.
    proxy.rewrite_raw_decryption(|ciphertext, real| match real {
        Ok(_) if ciphertext.len() == 256 => Err(CKR_FUNCTION_FAILED),
        _ => Ok(Vec::new()),
    });
    assert_eq!(code(decrypt()), RvError::FunctionFailed);

    // Other mechanisms are as they were.
    let padded = session
        .encrypt(&Mechanism::RsaPkcs, public, b"text")
        .unwrap();
    let text = session.decrypt(&Mechanism::RsaPkcs, private, &padded);
    assert_eq!(text.unwrap(), b"text");
    proxy.heal();
    assert_eq!(decrypt().unwrap(), block);
}

#[test]
fn proxies_are_independent() {
    let (one, _one_token, _, in_one) = through_proxy();
    let (other, _other_token, _, in_other) = through_proxy();
    one.die(CKR_DEVICE_ERROR);
    assert_eq!(code(find(&in_one, b"key")), RvError::DeviceError);
    p256_key(&in_other, b"key").unwrap();
    assert_eq!(one.calls(Function::GenerateKeyPair), 0);
    assert_eq!(other.calls(Function::GenerateKeyPair), 1);
    assert_eq!(one.calls(Function::FindObjectsInit), 1);
    assert_eq!(other.calls(Function::FindObjectsInit), 0);
    one.heal();
}

#[test]
fn what_is_under_test_can_initialize_the_module_through_a_proxy() {
    let proxy = Proxy::new();
    let token = proxy.new_token();
    proxy.softhsm().finalize();
    let pkcs11 = Pkcs11::new(token.module()).unwrap();
    initialize(&pkcs11).unwrap();
    p256_key(&session(&pkcs11, &token), b"key").unwrap();
    assert_eq!(token.object_files(), 2);
    pkcs11.finalize().unwrap();
    assert_eq!(proxy.calls(Function::Initialize), 1);
    assert_eq!(proxy.calls(Function::Finalize), 1);
}

#[test]
fn a_proxy_stands_on_any_module() {
    let token = Token::new();
    let proxy = Proxy::over_module(token.module());
    let pkcs11 = Pkcs11::new(proxy.module()).unwrap();
    assert_eq!(
        code(initialize(&pkcs11)),
        RvError::CryptokiAlreadyInitialized
    );
    p256_key(&session(&pkcs11, &token), b"key").unwrap();
    assert_eq!(token.object_files(), 2);
    assert!(proxy.calls(Function::GetTokenInfo) > 0);
}

#[test]
fn every_function_has_its_number() {
    assert_eq!(Function::ALL.len(), 68);
    for (number, function) in Function::ALL.iter().enumerate() {
        assert_eq!(*function as usize, number);
    }
}
