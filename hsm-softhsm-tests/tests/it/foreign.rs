//! The token that the environment names takes the place of the test's own.

use hsm_softhsm_tests::{TokenUnderTest, child, library_path};

#[test]
fn the_environment_decides_on_the_token_under_test() {
    match child::job().as_deref() {
        None => {}
        Some("foreign") => {
            let token = TokenUnderTest::get();
            assert!(matches!(token, TokenUnderTest::Foreign(_)));
            assert_eq!(token.module(), "/some/module.so");
            assert_eq!((token.label(), token.user_pin()), ("some token", "1234"));
            assert_eq!(token.serial(), None);
            assert_eq!(token.initialization_string(), Some("configdir='sql:x'"));
            assert!(token.own_or_skip("moving it away").is_none());
            assert_eq!(hsm_softhsm_tests::skipped(), 1);
            // What is the fixture's own does not follow the environment.
            assert!(hsm_softhsm_tests::Token::new().module().is_file());
            println!("done");
            return;
        }
        Some(_) => {
            assert_eq!(library_path().to_str(), Some("/dev/null/libsofthsm2.so"));
            return;
        }
    }
    let name = "foreign::the_environment_decides_on_the_token_under_test";
    let foreign = child::command(name, "foreign")
        .env("STRONGROOM_TEST_PKCS11_MODULE", "/some/module.so")
        .env("STRONGROOM_TEST_PKCS11_TOKEN", "some token")
        .env("STRONGROOM_TEST_PKCS11_PIN", "1234")
        .env("STRONGROOM_TEST_PKCS11_INIT_ARGS", "configdir='sql:x'")
        .output()
        .unwrap();
    let (output, errors) = (
        String::from_utf8_lossy(&foreign.stdout),
        String::from_utf8_lossy(&foreign.stderr),
    );
    assert!(foreign.status.success(), "{output}{errors}");
    assert!(output.contains("done"), "{output}");
    assert!(errors.contains("SKIPPED "), "{errors}");
    assert!(errors.contains(": moving it away: "), "{errors}");

    let missing = child::command(name, "missing")
        .env("STRONGROOM_TEST_PKCS11_MODULE", "/dev/null/libsofthsm2.so")
        .env_remove("STRONGROOM_TEST_PKCS11_TOKEN")
        .output()
        .unwrap();
    assert!(!missing.status.success());
    let errors = String::from_utf8_lossy(&missing.stderr);
    assert!(errors.contains("which is no file"), "{errors}");
}
