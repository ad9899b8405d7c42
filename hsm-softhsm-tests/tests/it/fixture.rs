//! The tokens that tests get: each is its own, in its own directory, and can be taken away, made read-only, lent to
//! another process and looked at from a second instance. What SoftHSM2 does then is what the backend has to live
//! with.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;

use cryptoki::context::Pkcs11;
use cryptoki::error::RvError;
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::session::{Session, UserType};
use hsm_softhsm_tests::{Configuration, SoftHsm, Token, child, library_path};

use crate::support::{
    aes_key, attach, code, find, ids, initialize, p256_key, pin, rsa_key, session, sign, slot,
};

#[test]
fn tokens_are_separate() {
    let (one, other) = (Token::new(), Token::new());
    assert_ne!(one.serial(), other.serial());
    assert_ne!(one.label(), other.label());
    assert_ne!(one.directory(), other.directory());
    assert_eq!((one.object_files(), other.object_files()), (0, 0));

    let (in_one, in_other) = (one.session(), other.session());
    aes_key(&in_one, b"in one", true).unwrap();
    aes_key(&in_other, b"in other", true).unwrap();
    aes_key(&in_other, b"also in other", true).unwrap();
    aes_key(&in_other, b"of the session", false).unwrap();
    assert_eq!((one.object_files(), other.object_files()), (1, 2));
    assert_eq!(ids(&in_one), [b"in one".to_vec()]);
    assert_eq!(find(&in_other, b"in one").unwrap(), []);
}

#[test]
fn the_pins_are_those_of_the_token() {
    let (token, other) = (Token::new(), Token::new());
    let session = token.pkcs11().open_rw_session(token.slot()).unwrap();
    for wrong in [token.so_pin(), other.user_pin()] {
        let answer = session.login(UserType::User, Some(&pin(wrong)));
        assert_eq!(code(answer), RvError::PinIncorrect);
    }
    for (user, right) in [
        (UserType::User, token.user_pin()),
        (UserType::So, token.so_pin()),
    ] {
        session.login(user, Some(&pin(right))).unwrap();
        session.logout().unwrap();
    }
}

#[test]
fn eight_threads_at_once_get_eight_tokens() {
    eight_at_once(&Token::new);
    let copy = SoftHsm::copy(&Configuration::new());
    eight_at_once(&|| copy.new_token());
}

/// More than are made at a time.
#[test]
fn there_is_no_end_of_tokens() {
    let tokens: Vec<Token> = (0..40).map(|_| Token::new()).collect();
    let serials: BTreeSet<_> = tokens.iter().map(Token::serial).collect();
    assert_eq!(serials.len(), 40);
    for token in &tokens {
        drop(token.session());
    }
}

/// SoftHSM2 2.6.1 does not bear slots being listed while a token is made; so the tokens are there before.
#[test]
fn slots_can_be_listed_while_others_get_tokens() {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let token = Token::new();
                    let pkcs11 = attach(&token);
                    assert!(slot(&pkcs11, &token).is_some());
                }
            });
        }
    });
}

fn eight_at_once(new_token: &(impl Fn() -> Token + Sync)) {
    let barrier = std::sync::Barrier::new(8);
    let make = || {
        barrier.wait();
        let token = new_token();
        p256_key(&token.session(), token.label().as_bytes()).unwrap();
        token
    };
    let tokens: Vec<Token> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let serials: BTreeSet<_> = tokens.iter().map(Token::serial).collect();
    assert_eq!(serials.len(), 8);
    for token in &tokens {
        let id = token.label().as_bytes().to_vec();
        assert_eq!(ids(&token.session()), [id.clone(), id]);
        assert_eq!(token.object_files(), 2);
    }
}

#[test]
fn dropping_a_token_removes_it_and_no_other() {
    let (token, other) = (Token::new(), Token::new());
    let directory = token.directory().to_owned();
    assert!(directory.join("token.object").is_file());
    drop(token);
    assert!(!directory.exists());
    assert!(other.directory().exists());
    // A slot without its token is no obstacle.
    let next = Token::new();
    aes_key(&next.session(), b"key", true).unwrap();
    assert_eq!(next.object_files(), 1);
    aes_key(&other.session(), b"key", true).unwrap();
}

#[test]
fn what_initializes_the_main_instance_finds_it_initialized() {
    assert_eq!(SoftHsm::main().module(), library_path());
    let token = Token::new();
    let pkcs11 = Pkcs11::new(token.module()).unwrap();
    assert_eq!(
        code(initialize(&pkcs11)),
        RvError::CryptokiAlreadyInitialized
    );
    drop(session(&pkcs11, &token));
}

#[test]
fn a_copy_has_its_own_tokens_and_state() {
    let copy = SoftHsm::copy(&Configuration::new());
    let (in_copy, in_main) = (copy.new_token(), Token::new());
    let main = in_main.softhsm();
    assert_ne!(copy.module(), main.module());
    assert!(slot(&copy.pkcs11(), &in_main).is_none());
    assert!(slot(&main.pkcs11(), &in_copy).is_none());

    let session = in_main.session();
    copy.finalize();
    assert_eq!(
        code(copy.pkcs11().get_slots_with_token()),
        RvError::CryptokiNotInitialized
    );
    aes_key(&session, b"key", true).unwrap();
    copy.initialize().unwrap();
    assert!(slot(&copy.pkcs11(), &in_copy).is_some());
    assert!(slot(&copy.pkcs11(), &in_main).is_none());
}

#[test]
fn what_is_under_test_can_initialize_a_copy() {
    let softhsm = SoftHsm::copy(&Configuration::new());
    let token = softhsm.new_token();
    softhsm.finalize();
    let pkcs11 = Pkcs11::new(token.module()).unwrap();
    softhsm.with_configuration(|| initialize(&pkcs11)).unwrap();
    aes_key(&session(&pkcs11, &token), b"key", true).unwrap();
    assert_eq!(token.object_files(), 1);
}

#[test]
fn a_second_instance_sees_the_keys_of_the_first() {
    let token = Token::alone();
    let first = token.session();
    p256_key(&first, b"key").unwrap();
    let second = token.softhsm().second_instance();
    let session = session(&second.pkcs11(), &token);
    let [public, private] = find(&session, b"key").unwrap()[..] else {
        panic!("not two objects");
    };
    let signed = sign(&session, private).or_else(|_| sign(&session, public));
    assert_eq!(signed.unwrap().len(), 64);
    aes_key(&session, b"from the second", true).unwrap();
    assert_eq!(find(&first, b"from the second").unwrap().len(), 1);
}

#[test]
fn a_disabled_mechanism_is_gone() {
    let oaep = Mechanism::RsaPkcsOaep(PkcsOaepParams::new(
        MechanismType::SHA1,
        PkcsMgfType::MGF1_SHA1,
        PkcsOaepSource::empty(),
    ));
    let offers = |token: Token| {
        let list = token.pkcs11().get_mechanism_list(token.slot()).unwrap();
        let session = token.session();
        let (public, private) = rsa_key(&session);
        // Encrypting with the public key works in either case.
        let ciphertext = session.encrypt(&oaep, public, b"text").unwrap();
        (
            list.contains(&MechanismType::RSA_PKCS_OAEP),
            list.contains(&MechanismType::AES_GCM),
            list.contains(&MechanismType::RSA_PKCS_PSS),
            session.decrypt(&oaep, private, &ciphertext),
        )
    };
    let (lists_oaep, lists_gcm, lists_pss, decrypted) = offers(Token::new());
    assert!(lists_oaep && lists_gcm && lists_pss);
    assert_eq!(decrypted.unwrap(), b"text");

    let configuration = Configuration::new().without(&["CKM_RSA_PKCS_OAEP", "CKM_AES_GCM"]);
    let (lists_oaep, lists_gcm, lists_pss, decrypted) =
        offers(SoftHsm::copy(&configuration).new_token());
    assert!(!lists_oaep && !lists_gcm && lists_pss);
    assert_eq!(code(decrypted), RvError::MechanismInvalid);
}

#[test]
fn a_child_process_has_the_configuration_of_its_own() {
    if child::job().is_some() {
        let token = Token::new();
        let list = token.pkcs11().get_mechanism_list(token.slot()).unwrap();
        assert!(!list.contains(&MechanismType::RSA_PKCS_PSS));
        assert!(list.contains(&MechanismType::RSA_PKCS_OAEP));
        println!("looked at it");
        return;
    }
    let name = "fixture::a_child_process_has_the_configuration_of_its_own";
    let mut command = child::command(name, "look");
    Configuration::new()
        .without(&["CKM_RSA_PKCS_PSS"])
        .set_in(&mut command);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("looked at it"));
}

#[test]
fn a_lent_token_outlives_a_killed_child() {
    if child::job().is_some() {
        let token = Token::lent().unwrap();
        p256_key(&token.session(), b"made by the child").unwrap();
        std::process::abort();
    }
    let token = Token::alone();
    let before = token.session();
    let name = "fixture::a_lent_token_outlives_a_killed_child";
    let mut command = child::command(name, "make a key");
    token.lend(&mut command);
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(6), "it was to abort: {errors}");
    assert_eq!(token.object_files(), 2, "{errors}");
    assert_eq!(find(&before, b"made by the child").unwrap().len(), 2);
}

#[test]
fn the_directories_of_a_killed_process_are_removed_by_the_next() {
    if child::job().is_some() {
        let copy = SoftHsm::copy(&Configuration::new());
        println!("LEFT {}", copy.tokens().display());
        println!("LEFT {}", copy.module().display());
        // The harness keeps what is printed to itself otherwise.
        std::io::Write::flush(&mut std::io::stdout()).unwrap();
        std::process::abort();
    }
    let name = "fixture::the_directories_of_a_killed_process_are_removed_by_the_next";
    let output = child::command(name, "leave them").output().unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let left: Vec<_> = output
        .lines()
        .filter_map(|line| line.split_once("LEFT "))
        .map(|(_, path)| std::path::Path::new(path))
        .collect();
    assert_eq!(left.len(), 2, "{output}");
    drop(SoftHsm::copy(&Configuration::new()));
    for path in left {
        assert!(!path.exists(), "{} is still there", path.display());
    }
}

/// A token that was pulled out looks like an empty one.
#[test]
fn a_token_moved_away_answers_as_if_it_were_empty_until_the_module_starts_again() {
    let softhsm = SoftHsm::copy(&Configuration::new());
    let token = softhsm.new_token();
    let pkcs11 = attach(&token);
    let slot_before = token.slot();
    let session = session(&pkcs11, &token);
    let key = p256_key(&session, b"key").unwrap();
    sign(&session, key).unwrap();

    token.move_away();
    assert_eq!(code(sign(&session, key)), RvError::ObjectHandleInvalid);
    assert_eq!(
        code(pkcs11.get_token_info(slot_before)),
        RvError::GeneralError
    );
    assert_eq!(find(&session, b"key").unwrap(), []);
    drop(pkcs11.open_rw_session(slot_before).unwrap());
    let login = session.login(UserType::User, Some(&pin(token.user_pin())));
    assert_eq!(code(login), RvError::UserAlreadyLoggedIn);

    token.move_back();
    assert_eq!(code(sign(&session, key)), RvError::ObjectHandleInvalid);
    assert_eq!(find(&session, b"key").unwrap(), []);

    softhsm.finalize();
    softhsm.initialize().unwrap();
    drop::<Session>(session);
    let session = token.session();
    let handles = find(&session, b"key").unwrap();
    assert_eq!(handles.len(), 2);
    assert!(handles.into_iter().any(|key| sign(&session, key).is_ok()));
}

#[test]
fn a_module_does_not_start_without_its_directory_of_tokens() {
    let softhsm = SoftHsm::copy(&Configuration::new());
    let token = softhsm.new_token();
    softhsm.finalize();
    softhsm.move_away();
    assert_eq!(code(softhsm.initialize()), RvError::GeneralError);
    softhsm.move_back();
    softhsm.initialize().unwrap();
    aes_key(&token.session(), b"key", true).unwrap();
}

#[test]
fn a_removed_token_is_missing_at_the_next_start() {
    let softhsm = SoftHsm::copy(&Configuration::new());
    let (token, other) = (softhsm.new_token(), softhsm.new_token());
    token.remove();
    softhsm.finalize();
    softhsm.initialize().unwrap();
    assert!(slot(&softhsm.pkcs11(), &token).is_none());
    assert!(slot(&softhsm.pkcs11(), &other).is_some());
}

#[test]
fn a_read_only_token_signs_and_takes_no_keys() {
    let token = Token::new();
    let session = token.session();
    let key = p256_key(&session, b"key").unwrap();
    if token.make_read_only() {
        sign(&session, key).unwrap();
        aes_key(&session, b"of the session", false).unwrap();
        assert_eq!(code(p256_key(&session, b"another")), RvError::GeneralError);
        assert_eq!(token.object_files(), 2);
    } else {
        hsm_softhsm_tests::skip("modes of files do not stop this user (root)");
    }
    token.make_writable();
    p256_key(&session, b"another").unwrap();
    assert_eq!(token.object_files(), 4);
}

/// Where other tests make tokens, no other instance may start.
#[test]
fn the_main_instance_is_not_finalized_lent_or_doubled() {
    let token = Token::new();
    let refused = |work: &dyn Fn()| {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        let message = result.unwrap_err();
        message
            .downcast_ref::<&str>()
            .unwrap()
            .contains("everyone's")
    };
    assert!(refused(&|| token.softhsm().finalize()));
    assert!(refused(&|| drop(token.softhsm().second_instance())));
    assert!(refused(&|| token.softhsm().move_away()));
    assert!(refused(&|| drop(token.softhsm().new_token())));
    assert!(refused(&|| token.lend(&mut child::command("any", "any"))));
    drop(token.session());
}

#[test]
fn what_is_skipped_is_counted() {
    // Other tests skip too.
    let before = hsm_softhsm_tests::skipped();
    hsm_softhsm_tests::skip("only to see that it is counted");
    assert!(hsm_softhsm_tests::skipped() > before);
}

/// `run.sh` looks for the module where the fixture does.
#[test]
fn run_sh_knows_where_the_module_is() {
    let script = include_str!("../../run.sh");
    let source = include_str!("../../src/softhsm.rs");
    let mut places = 0;
    for line in source.lines().map(str::trim) {
        let path = line
            .strip_prefix('"')
            .and_then(|line| line.strip_suffix("\","));
        if let Some(path) = path.filter(|path| path.ends_with("libsofthsm2.so")) {
            assert!(script.contains(path), "run.sh does not look for {path}");
            places += 1;
        }
    }
    assert!(places > 5);
}
