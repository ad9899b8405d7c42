//! On a token of SoftHSM, each test in a process of its own: the configuration comes by the environment, and a
//! module has one state per process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use cryptoki_sys::*;

use crate::backend::pkcs11::error::{ErrorClass, TokenResult};
use crate::backend::pkcs11::handles::ObjectClass;
use crate::backend::pkcs11::lease::Lease;
use crate::backend::pkcs11::mechanism::Mechanism;
use crate::backend::pkcs11::module::Module;
use crate::backend::pkcs11::objects::with_object;
use crate::backend::pkcs11::pin::PinSource;
use crate::backend::pkcs11::template::Template;
use crate::backend::pkcs11::token::{Retry, Token, TokenOptions, TokenSelector};
use crate::model::key::KeyTag;
use crate::secret::{Pin, SecretBytes};

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const DIRECTORY: &str = "STRONGROOM_SOFTHSM_DIRECTORY";
const LABEL: &str = "strongroom test";
const PIN: &str = "24681357";
const HMAC_KEY: [u8; 32] = [0x0b; 32];

/// Runs `body` in a child process with a SoftHSM of its own that holds one token.
pub(super) fn on_softhsm_in(file: &str, test: &str, body: impl FnOnce(&Place)) {
    #[expect(clippy::disallowed_methods, reason = "how the child is told its task")]
    let directory = std::env::var_os(DIRECTORY);
    if let Some(directory) = directory {
        let place = Place {
            directory: directory.into(),
        };
        place.make_token(LABEL);
        return body(&place);
    }
    assert!(
        Path::new(MODULE).exists(),
        "{MODULE} is missing: install the package softhsm2"
    );
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("tokens")).unwrap();
    let configuration = directory.path().join("softhsm2.conf");
    fs::write(
        &configuration,
        format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            directory.path().join("tokens").display()
        ),
    )
    .unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            &format!("backend::pkcs11::tests::{file}::{test}"),
            "--nocapture",
            "--test-threads=1",
        ])
        .env(DIRECTORY, directory.path())
        .env("SOFTHSM2_CONF", configuration)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    eprintln!("{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success());
    assert!(text.contains("1 passed"), "the child ran no test");
}

fn on_softhsm(test: &str, body: impl FnOnce(&Place)) {
    on_softhsm_in("softhsm", test, body);
}

pub(super) struct Place {
    directory: PathBuf,
}

impl Place {
    /// By another context, which is ended afterwards: what is tested initialises the module itself.
    fn make_token(&self, label: &str) {
        let context = Pkcs11::new(MODULE).unwrap();
        context
            .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
            .unwrap();
        let slot = *context.get_slots_with_token().unwrap().last().unwrap();
        let officer = AuthPin::from("87654321".to_owned());
        context.init_token(slot, &officer, label).unwrap();
        let slot = context
            .get_slots_with_token()
            .unwrap()
            .into_iter()
            .find(|slot| context.get_token_info(*slot).unwrap().label() == label)
            .unwrap();
        let session = context.open_rw_session(slot).unwrap();
        session.login(UserType::So, Some(&officer)).unwrap();
        session.init_pin(&AuthPin::from(PIN.to_owned())).unwrap();
        drop(session);
        context.finalize().unwrap();
    }

    fn tokens(&self) -> PathBuf {
        self.directory.join("tokens")
    }

    fn away(&self) -> PathBuf {
        self.directory.join("away")
    }

    fn move_away(&self) {
        fs::rename(self.tokens(), self.away()).unwrap();
    }

    fn move_back(&self) {
        fs::rename(self.away(), self.tokens()).unwrap();
    }
}

fn options() -> TokenOptions {
    TokenOptions {
        module: MODULE.into(),
        init_args: None,
        selector: TokenSelector::Label(LABEL.to_owned()),
        pin: PinSource::value(Pin::new(PIN).unwrap()),
        max_sessions: None,
        checkout_timeout: Duration::from_secs(20),
    }
}

pub(super) fn token() -> Arc<Token> {
    Token::new(options())
}

fn hmac_key<'a>(on_token: bool, tag: &'a KeyTag) -> Template<'a> {
    Template::new()
        .ulong(CKA_CLASS, CKO_SECRET_KEY)
        .ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET)
        .bool(CKA_TOKEN, on_token)
        .bool(CKA_PRIVATE, true)
        .bool(CKA_SENSITIVE, true)
        .bool(CKA_EXTRACTABLE, false)
        .bool(CKA_SIGN, true)
        .bytes(CKA_ID, tag.as_bytes())
        .secret(CKA_VALUE, SecretBytes::copied_from(&HMAC_KEY))
}

fn make_hmac_key(token: &Token, tag: KeyTag) {
    token
        .mutate(|lease| lease.create_object(&hmac_key(true, &tag)))
        .unwrap();
}

fn mac(token: &Token, tag: KeyTag, data: &[u8]) -> TokenResult<Vec<u8>> {
    with_object(
        token,
        Retry::Safe,
        tag,
        ObjectClass::Secret,
        |lease, handle| lease.sign(&Mechanism::Sha256Hmac, handle, data, 32),
    )
}

fn expected_mac(data: &[u8]) -> Vec<u8> {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &HMAC_KEY);
    aws_lc_rs::hmac::sign(&key, data).as_ref().to_vec()
}

const TAG: KeyTag = KeyTag::from_bytes([7; 16]);

#[test]
fn a_token_is_found_by_serial_and_by_label() {
    on_softhsm("a_token_is_found_by_serial_and_by_label", |place| {
        place.make_token("another");
        let by_label = token();
        let serial = by_label.serial().unwrap();
        let by_serial = Token::new(TokenOptions {
            selector: TokenSelector::Serial(serial.clone()),
            ..options()
        });
        let info = by_serial
            .run(Retry::Safe, |lease| lease.token_info())
            .unwrap();
        assert_eq!(info.label, LABEL);
        assert_eq!(info.serial, serial);
        assert!(info.initialized && info.login_required && !info.user_pin_locked);
        let nobody = Token::new(TokenOptions {
            selector: TokenSelector::Serial("0000000000000000".to_owned()),
            ..options()
        });
        let error = nobody.check().unwrap_err();
        assert_eq!(error.class, ErrorClass::TokenLost);
        assert!(error.to_string().contains("0000000000000000"), "{error}");
    });
}

#[test]
fn a_label_that_two_tokens_have_selects_neither() {
    on_softhsm("a_label_that_two_tokens_have_selects_neither", |place| {
        place.make_token(LABEL);
        assert_eq!(token().check().unwrap_err().class, ErrorClass::BadParameter);
    });
}

#[test]
fn a_wrong_pin_is_tried_once() {
    on_softhsm("a_wrong_pin_is_tried_once", |_| {
        let wrong = Token::new(TokenOptions {
            pin: PinSource::value(Pin::new("1357").unwrap()),
            ..options()
        });
        let error = wrong.check().unwrap_err();
        assert_eq!(error.class, ErrorClass::Authentication);
        assert_eq!(error.code, Some(CKR_PIN_INCORRECT));
        // Beyond the pause after a failure the breaker answers, not the token.
        thread::sleep(Duration::from_millis(150));
        let error = wrong.check().unwrap_err();
        assert_eq!(error.class, ErrorClass::Authentication);
        assert_eq!((error.code, error.function), (None, "login"));

        // A callback that gives the same PIN is refused as well, and the right one is taken.
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let careful = Token::new(TokenOptions {
            pin: PinSource::callback(move || {
                let pins = ["1357", "1357", PIN];
                let number = counter.fetch_add(1, Ordering::SeqCst);
                Ok(Pin::new(pins[number.min(2)]).unwrap())
            }),
            ..options()
        });
        let codes: Vec<_> = (0..3)
            .map(|_| {
                thread::sleep(Duration::from_millis(450));
                careful.check().map_err(|error| error.code)
            })
            .collect();
        assert_eq!(codes, [Err(Some(CKR_PIN_INCORRECT)), Err(None), Ok(())]);
        // The login holds: nobody is asked again.
        careful.check().unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 3);
    });
}

#[test]
fn the_pool_is_bounded_and_waiting_ends() {
    on_softhsm("the_pool_is_bounded_and_waiting_ends", |_| {
        let token = Token::new(TokenOptions {
            max_sessions: Some(1),
            checkout_timeout: Duration::from_millis(100),
            ..options()
        });
        let handle = |lease: &Lease<'_>| Ok(lease.session().handle());
        let error = token
            .run(Retry::Safe, |_| token.run(Retry::Safe, handle))
            .unwrap_err();
        assert_eq!(error.class, ErrorClass::Throttled);
        // The same session again and again.
        let first = token.run(Retry::Safe, handle).unwrap();
        for _ in 0..20 {
            assert_eq!(token.run(Retry::Safe, handle).unwrap(), first);
        }
        // Threads take turns, also when work panics.
        let _ = thread::scope(|scope| {
            scope
                .spawn(|| token.run(Retry::Safe, |_| -> TokenResult<()> { panic!("on purpose") }))
                .join()
        });
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        token.run(Retry::Safe, handle).unwrap();
                    }
                });
            }
        });
    });
}

#[test]
fn a_mac_of_the_token_is_the_mac_and_small_buffers_grow() {
    on_softhsm(
        "a_mac_of_the_token_is_the_mac_and_small_buffers_grow",
        |_| {
            let token = token();
            let data = b"what is to be authenticated";
            for capacity in [32, 64, 0, 31] {
                let mac = token
                    .run(Retry::Never, |lease| {
                        let key = lease.create_object(&hmac_key(false, &TAG))?;
                        let mac = lease.sign(&Mechanism::Sha256Hmac, key, data, capacity)?;
                        lease.destroy_object(key)?;
                        Ok(mac)
                    })
                    .unwrap();
                assert_eq!(mac, expected_mac(data), "capacity {capacity}");
            }
        },
    );
}

#[test]
fn a_stale_handle_is_found_again_and_a_missing_key_is_not_found() {
    on_softhsm(
        "a_stale_handle_is_found_again_and_a_missing_key_is_not_found",
        |_| {
            let token = token();
            make_hmac_key(&token, TAG);
            assert_eq!(mac(&token, TAG, b"1").unwrap(), expected_mac(b"1"));
            // Somebody replaces the object.
            let replace = |again: bool| {
                token
                    .mutate(|lease| {
                        let template = Template::new().bytes(CKA_ID, TAG.as_bytes());
                        for object in lease.find_objects(&template, 10)? {
                            lease.destroy_object(object)?;
                        }
                        if again {
                            lease.create_object(&hmac_key(true, &TAG))?;
                        }
                        Ok(())
                    })
                    .unwrap();
            };
            replace(true);
            assert_eq!(mac(&token, TAG, b"2").unwrap(), expected_mac(b"2"));
            replace(false);
            assert_eq!(
                mac(&token, TAG, b"3").unwrap_err().class,
                ErrorClass::NotFound
            );
            // Two objects with one id are one too many.
            make_hmac_key(&token, TAG);
            make_hmac_key(&token, TAG);
            assert_eq!(
                mac(&token, TAG, b"4").unwrap_err().class,
                ErrorClass::Device
            );
        },
    );
}

#[test]
fn a_token_that_is_gone_is_lost_and_comes_back() {
    on_softhsm("a_token_that_is_gone_is_lost_and_comes_back", |place| {
        let token = token();
        make_hmac_key(&token, TAG);
        mac(&token, TAG, b"1").unwrap();
        place.move_away();
        for _ in 0..3 {
            let error = mac(&token, TAG, b"2").unwrap_err();
            assert_eq!(error.class, ErrorClass::TokenLost, "{error}");
        }
        // Inside the pause the answer is immediate.
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(300) {
            let _ = mac(&token, TAG, b"2").unwrap_err();
        }
        let start = Instant::now();
        mac(&token, TAG, b"2").unwrap_err();
        assert!(start.elapsed() < Duration::from_millis(50));
        place.move_back();
        heal(&token);
        assert_eq!(mac(&token, TAG, b"3").unwrap(), expected_mac(b"3"));
    });
}

#[test]
fn a_token_that_was_gone_between_two_calls_is_not_noticed() {
    on_softhsm(
        "a_token_that_was_gone_between_two_calls_is_not_noticed",
        |place| {
            let token = token();
            make_hmac_key(&token, TAG);
            mac(&token, TAG, b"1").unwrap();
            place.move_away();
            place.move_back();
            assert_eq!(mac(&token, TAG, b"2").unwrap(), expected_mac(b"2"));
        },
    );
}

#[test]
fn a_token_that_was_taken_out_of_its_slot_is_found_when_it_is_back() {
    on_softhsm(
        "a_token_that_was_taken_out_of_its_slot_is_found_when_it_is_back",
        |place| {
            let token = token();
            make_hmac_key(&token, TAG);
            let directory = fs::read_dir(place.tokens()).unwrap().next().unwrap();
            let directory = directory.unwrap().path();
            fs::rename(&directory, place.away()).unwrap();
            for _ in 0..2 {
                thread::sleep(Duration::from_millis(250));
                let error = mac(&token, TAG, b"1").unwrap_err();
                assert_eq!(error.class, ErrorClass::TokenLost, "{error}");
            }
            fs::rename(place.away(), &directory).unwrap();
            heal(&token);
            assert_eq!(mac(&token, TAG, b"2").unwrap(), expected_mac(b"2"));
        },
    );
}

#[test]
fn a_pin_callback_that_panics_leaves_the_token_usable() {
    on_softhsm("a_pin_callback_that_panics_leaves_the_token_usable", |_| {
        let asked = AtomicUsize::new(0);
        let token = Token::new(TokenOptions {
            pin: PinSource::callback(move || {
                assert!(asked.fetch_add(1, Ordering::SeqCst) > 0, "on purpose");
                Ok(Pin::new(PIN).unwrap())
            }),
            ..options()
        });
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| token.check()));
        assert!(caught.is_err());
        token.check().unwrap();
    });
}

fn heal(token: &Token) {
    let start = Instant::now();
    while let Err(error) = token.check() {
        assert_eq!(error.class, ErrorClass::TokenLost, "{error}");
        assert!(start.elapsed() < Duration::from_secs(20), "{error}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn many_threads_survive_the_loss_of_the_token() {
    on_softhsm("many_threads_survive_the_loss_of_the_token", |place| {
        let token = token();
        // Of the same token, as a second store of the process has it.
        let second = self::token();
        make_hmac_key(&token, TAG);
        let good = AtomicU32::new(0);
        let start = Barrier::new(7);
        thread::scope(|scope| {
            for number in 0..6 {
                let (token, good, start) = (
                    if number % 2 == 0 { &token } else { &second },
                    &good,
                    &start,
                );
                scope.spawn(move || {
                    start.wait();
                    for _ in 0..2_000 {
                        match mac(token, TAG, b"x") {
                            Ok(mac) => {
                                assert_eq!(mac, expected_mac(b"x"));
                                good.fetch_add(1, Ordering::SeqCst);
                            }
                            Err(error) => {
                                assert_eq!(error.class, ErrorClass::TokenLost, "{error}");
                                thread::sleep(Duration::from_millis(1));
                            }
                        }
                    }
                });
            }
            start.wait();
            for _ in 0..3 {
                thread::sleep(Duration::from_millis(60));
                place.move_away();
                thread::sleep(Duration::from_millis(60));
                place.move_back();
            }
        });
        heal(&token);
        heal(&second);
        assert_eq!(mac(&token, TAG, b"y").unwrap(), expected_mac(b"y"));
        assert_eq!(mac(&second, TAG, b"y").unwrap(), expected_mac(b"y"));
        assert!(good.load(Ordering::SeqCst) > 100);
    });
}

#[test]
fn a_logout_by_others_is_healed_by_a_login() {
    on_softhsm("a_logout_by_others_is_healed_by_a_login", |_| {
        let token = token();
        make_hmac_key(&token, TAG);
        mac(&token, TAG, b"1").unwrap();
        let logout = || {
            token
                .run(Retry::Never, |lease| {
                    lease.session().logout().unwrap();
                    Ok(())
                })
                .unwrap();
        };
        logout();
        assert_eq!(mac(&token, TAG, b"2").unwrap(), expected_mac(b"2"));
        // What must not be done twice is not begun without a login.
        logout();
        make_hmac_key(&token, KeyTag::from_bytes([8; 16]));
        // All sessions closed by somebody else.
        let slot = token.run(Retry::Safe, |lease| Ok(lease.slot())).unwrap();
        foreign::close_all_sessions(slot);
        assert_eq!(mac(&token, TAG, b"3").unwrap(), expected_mac(b"3"));
    });
}

#[test]
fn a_module_that_others_initialised_is_adopted_and_taken_over_when_they_end_it() {
    on_softhsm(
        "a_module_that_others_initialised_is_adopted_and_taken_over_when_they_end_it",
        |place| {
            let others = Pkcs11::new(MODULE).unwrap();
            let arguments = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
            others.initialize(arguments).unwrap();
            let token = token();
            make_hmac_key(&token, TAG);
            let session = others
                .open_rw_session(others.get_slots_with_token().unwrap()[0])
                .unwrap();
            // Not ours to end, so a lost token stays lost and the others' session lives.
            place.move_away();
            assert_eq!(
                mac(&token, TAG, b"1").unwrap_err().class,
                ErrorClass::TokenLost
            );
            session.get_session_info().unwrap();
            place.move_back();
            drop(session);
            others.finalize().unwrap();
            heal(&token);
            assert_eq!(mac(&token, TAG, b"2").unwrap(), expected_mac(b"2"));
        },
    );
}

#[test]
fn tokens_of_one_module_share_it_and_one_is_not_ended_for_the_other() {
    on_softhsm(
        "tokens_of_one_module_share_it_and_one_is_not_ended_for_the_other",
        |place| {
            place.make_token("another");
            let first = token();
            let another = Token::new(TokenOptions {
                selector: TokenSelector::Label("another".to_owned()),
                ..options()
            });
            make_hmac_key(&first, TAG);
            another.check().unwrap();
            let module = Module::at(MODULE.as_ref(), None).unwrap();
            let generation = module.generation();
            assert!(module.serves_others(Some(&first.serial().unwrap())));
            assert!(
                !Arc::ptr_eq(
                    &module.mutation_lock(&first.serial().unwrap()),
                    &module.mutation_lock(&another.serial().unwrap())
                ),
                "tokens do not wait for each other"
            );
            module
                .reinitialize(generation, Duration::from_secs(5), || true)
                .unwrap();
            assert_eq!(module.generation(), generation);
            mac(&first, TAG, b"1").unwrap();
            module
                .reinitialize(generation, Duration::from_secs(5), || false)
                .unwrap();
            assert_eq!(module.generation(), generation + 1);
            // A second one that lost the token in the same generation changes nothing any more.
            module
                .reinitialize(generation, Duration::from_secs(5), || false)
                .unwrap();
            assert_eq!(module.generation(), generation + 1);
            assert_eq!(mac(&first, TAG, b"2").unwrap(), expected_mac(b"2"));
            another.check().unwrap();
            drop(another);
            assert!(!module.serves_others(Some(&first.serial().unwrap())));
            // Other arguments for a module that is in use are refused.
            let other = Module::at(MODULE.as_ref(), Some("configdir='x'"));
            assert_eq!(other.unwrap_err().class, ErrorClass::BadParameter);
        },
    );
}

#[expect(unsafe_code, reason = "there is no safe way to do these")]
mod foreign {
    use crate::backend::pkcs11::mechanism::Ulong;

    /// As somebody else in the process may do it.
    pub(super) fn close_all_sessions(slot: Ulong) {
        // SAFETY: the module is loaded already; only a number is passed.
        unsafe {
            let module = cryptoki_sys::Pkcs11::new(super::MODULE).unwrap();
            assert_eq!(module.C_CloseAllSessions(slot), 0);
        }
    }

    unsafe extern "C" {
        fn fork() -> i32;
        fn waitpid(process: i32, status: *mut i32, options: i32) -> i32;
        fn _exit(status: i32) -> !;
    }

    /// Whether `child` is true in a fork of this process.
    pub(super) fn in_fork(child: impl FnOnce() -> bool) -> bool {
        // SAFETY: the child calls nothing that another thread could have locked, and ends.
        let process = unsafe { fork() };
        if process == 0 {
            let good = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
            // SAFETY: ends the child without running what belongs to the parent.
            unsafe { _exit(i32::from(!good.unwrap_or(false))) }
        }
        let mut status = 0;
        // SAFETY: waits for the child of above.
        unsafe { waitpid(process, &raw mut status, 0) };
        status == 0
    }
}

#[test]
fn a_fork_is_refused_and_harms_nobody() {
    on_softhsm("a_fork_is_refused_and_harms_nobody", |_| {
        let token = token();
        make_hmac_key(&token, TAG);
        mac(&token, TAG, b"1").unwrap();
        let copy = Arc::try_unwrap(self::token()).ok();
        copy.as_ref().unwrap().check().unwrap();
        let mut copy = copy;
        assert!(foreign::in_fork(|| {
            let forked = |class| class == ErrorClass::Forked;
            let refused = forked(mac(&token, TAG, b"2").unwrap_err().class)
                && forked(token.check().unwrap_err().class)
                && forked(token.mutate(|_| Ok(())).unwrap_err().class)
                && forked(self::token().check().unwrap_err().class);
            // Dropping a token closes no session of the parent's.
            drop(copy.take());
            refused
        }));
        assert_eq!(mac(&token, TAG, b"3").unwrap(), expected_mac(b"3"));
        copy.unwrap().check().unwrap();
    });
}

/// Interleaved, and with room for a busy machine: without optimisation, too. The figures are printed.
#[test]
fn a_cached_handle_costs_no_more_than_the_bare_calls() {
    on_softhsm("a_cached_handle_costs_no_more_than_the_bare_calls", |_| {
        let token = token();
        make_hmac_key(&token, TAG);
        mac(&token, TAG, b"1").unwrap();
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..200 {
            let start = Instant::now();
            for _ in 0..10 {
                mac(&token, TAG, b"1").unwrap();
            }
            ours.push(start.elapsed() / 10);
            bare.push(
                token
                    .run(Retry::Safe, |lease| {
                        let id = cryptoki::object::Attribute::Id(TAG.as_bytes().to_vec());
                        let key = lease.session().find_objects(&[id]).unwrap()[0];
                        let start = Instant::now();
                        for _ in 0..10 {
                            lease
                                .session()
                                .sign(&cryptoki::mechanism::Mechanism::Sha256Hmac, key, b"1")
                                .unwrap();
                        }
                        Ok(start.elapsed() / 10)
                    })
                    .unwrap(),
            );
        }
        ours.sort();
        bare.sort();
        let (ours, bare) = (ours[100], bare[100]);
        println!("median of a MAC: {ours:?} here, {bare:?} with the bare calls");
        assert!(ours < bare * 3 / 2, "{ours:?} against {bare:?}");
    });
}
