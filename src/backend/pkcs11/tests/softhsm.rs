//! On a token of SoftHSM, each test in a process of its own: the configuration comes by the environment, and a
//! module has one state per process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use cryptoki_sys::*;

use crate::backend::pkcs11::error::{ErrorClass, TokenResult};
use crate::backend::pkcs11::handles::ObjectClass;
use crate::backend::pkcs11::mechanism::Mechanism;
use crate::backend::pkcs11::objects::with_object;
use crate::backend::pkcs11::pin::PinSource;
use crate::backend::pkcs11::selection::TokenSelector;
use crate::backend::pkcs11::template::Template;
use crate::backend::pkcs11::token::{Retry, Token, TokenOptions};
use crate::model::key::KeyTag;
use crate::secret::{Pin, SecretBytes};

pub(super) const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const DIRECTORY: &str = "STRONGROOM_SOFTHSM_DIRECTORY";
pub(super) const LABEL: &str = "strongroom test";
pub(super) const PIN: &str = "24681357";
pub(super) const HMAC_KEY: [u8; 32] = [0x0b; 32];

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

pub(super) struct Place {
    directory: PathBuf,
}

impl Place {
    /// By another context, which is ended afterwards: what is tested initialises the module itself.
    pub(super) fn make_token(&self, label: &str) {
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

    pub(super) fn tokens(&self) -> PathBuf {
        self.directory.join("tokens")
    }

    pub(super) fn away(&self) -> PathBuf {
        self.directory.join("away")
    }

    pub(super) fn move_away(&self) {
        fs::rename(self.tokens(), self.away()).unwrap();
    }

    pub(super) fn move_back(&self) {
        fs::rename(self.away(), self.tokens()).unwrap();
    }
}

pub(super) fn options() -> TokenOptions {
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

pub(super) fn hmac_key<'a>(on_token: bool, tag: &'a KeyTag) -> Template<'a> {
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

pub(super) fn make_hmac_key(token: &Token, tag: KeyTag) {
    token
        .mutate(|lease| lease.create_object(&hmac_key(true, &tag)))
        .unwrap();
}

pub(super) fn mac(token: &Token, tag: KeyTag, data: &[u8]) -> TokenResult<Vec<u8>> {
    with_object(
        token,
        Retry::Safe,
        tag,
        ObjectClass::Secret,
        |lease, handle| lease.sign(&Mechanism::Sha256Hmac, handle, data, 32),
    )
}

pub(super) fn expected_mac(data: &[u8]) -> Vec<u8> {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &HMAC_KEY);
    aws_lc_rs::hmac::sign(&key, data).as_ref().to_vec()
}

pub(super) const TAG: KeyTag = KeyTag::from_bytes([7; 16]);

pub(super) fn heal(token: &Token) {
    let start = Instant::now();
    while let Err(error) = token.check() {
        assert_eq!(error.class, ErrorClass::TokenLost, "{error}");
        assert!(start.elapsed() < Duration::from_secs(20), "{error}");
        thread::sleep(Duration::from_millis(10));
    }
}
