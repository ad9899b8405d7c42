//! Every code that a module can answer, from every function that the backend calls: an error that fits, no panic, no
//! hang; and when the module is well again, the token holds exactly the keys of the records, and they work.
//!
//! `STRONGROOM_EXHAUSTIVE=1` tries all combinations instead of a sample.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cryptoki_sys::*;
use hsm_softhsm_tests::proxy::{Fault, Function};
use strongroom::backend::KeyBackend;
use strongroom::backend::pkcs11::{KeyKeeping, Pkcs11Backend};
use strongroom::{
    BackendFinding, Ciphertext, CreateKeyOptions, Curve, EncryptionAlgorithm, ErrorKind,
    ImportKeyOptions, ImportedKey, KeyName, MaintenanceOptions, OctKeySize, SecretBytes,
    SignatureAlgorithm, Unlock, Vault, VaultOptions, WrapAlgorithm,
};

use crate::support::variable;

use super::{Bench, eventually, labels, markers, master_key, name, sign, within, works};

const TEXT: &[u8] = b"text of the caller";

/// An answer of no standard.
const VENDOR: CK_RV = CKR_VENDOR_DEFINED | 0x1234;

const LOST: &[CK_RV] = &[
    CKR_CRYPTOKI_NOT_INITIALIZED,
    CKR_DEVICE_ERROR,
    CKR_DEVICE_REMOVED,
    CKR_TOKEN_NOT_PRESENT,
    CKR_SLOT_ID_INVALID,
    CKR_TOKEN_NOT_RECOGNIZED,
];
const SESSION: &[CK_RV] = &[
    CKR_SESSION_HANDLE_INVALID,
    CKR_SESSION_CLOSED,
    CKR_OPERATION_ACTIVE,
    CKR_OPERATION_NOT_INITIALIZED,
    CKR_USER_NOT_LOGGED_IN,
];
const HANDLE: &[CK_RV] = &[
    CKR_OBJECT_HANDLE_INVALID,
    CKR_KEY_HANDLE_INVALID,
    CKR_WRAPPING_KEY_HANDLE_INVALID,
    CKR_UNWRAPPING_KEY_HANDLE_INVALID,
];
const PIN: &[CK_RV] = &[
    CKR_PIN_INCORRECT,
    CKR_PIN_LEN_RANGE,
    CKR_PIN_LOCKED,
    CKR_PIN_EXPIRED,
    CKR_USER_PIN_NOT_INITIALIZED,
];
const UNSUPPORTED: &[CK_RV] = &[
    CKR_MECHANISM_INVALID,
    CKR_MECHANISM_PARAM_INVALID,
    CKR_ARGUMENTS_BAD,
    CKR_CURVE_NOT_SUPPORTED,
    CKR_DOMAIN_PARAMS_INVALID,
    CKR_FUNCTION_NOT_SUPPORTED,
];
const SIZE: &[CK_RV] = &[CKR_KEY_SIZE_RANGE, CKR_DATA_LEN_RANGE, CKR_DATA_INVALID];
const FULL: &[CK_RV] = &[CKR_SESSION_COUNT, CKR_HOST_MEMORY, CKR_DEVICE_MEMORY];
const KEPT: &[CK_RV] = &[CKR_KEY_UNEXTRACTABLE, CKR_KEY_NOT_WRAPPABLE];
const OTHER: &[CK_RV] = &[
    CKR_KEY_FUNCTION_NOT_PERMITTED,
    CKR_TOKEN_WRITE_PROTECTED,
    CKR_SESSION_READ_ONLY,
    CKR_GENERAL_ERROR,
    CKR_FUNCTION_FAILED,
    CKR_BUFFER_TOO_SMALL,
    CKR_ENCRYPTED_DATA_INVALID,
    CKR_TEMPLATE_INCONSISTENT,
    CKR_ATTRIBUTE_VALUE_INVALID,
    CKR_USER_ALREADY_LOGGED_IN,
    VENDOR,
];

/// Called while the token is connected and measured.
const COLD: &[Function] = &[
    Function::GetSlotList,
    Function::GetTokenInfo,
    Function::OpenSession,
    Function::Login,
    Function::GetMechanismList,
    Function::GetMechanismInfo,
    Function::GetSessionInfo,
];
/// Called later, too.
const WARM: &[Function] = &[
    Function::GetTokenInfo,
    Function::GetSessionInfo,
    Function::OpenSession,
    Function::CloseSession,
    Function::FindObjectsInit,
    Function::FindObjects,
    Function::FindObjectsFinal,
    Function::GetAttributeValue,
    Function::SetAttributeValue,
    Function::GenerateKey,
    Function::GenerateKeyPair,
    Function::CreateObject,
    Function::DestroyObject,
    Function::SignInit,
    Function::Sign,
    Function::EncryptInit,
    Function::Encrypt,
    Function::DecryptInit,
    Function::Decrypt,
    Function::WrapKey,
    Function::UnwrapKey,
    Function::GenerateRandom,
];

#[derive(Clone, Copy, Debug)]
struct Case {
    function: Function,
    code: CK_RV,
    after: bool,
    for_ever: bool,
    /// Whether the backend is new.
    cold: bool,
}

impl Case {
    fn all(cold: bool) -> Vec<Self> {
        let codes = [
            LOST,
            SESSION,
            HANDLE,
            PIN,
            UNSUPPORTED,
            SIZE,
            FULL,
            KEPT,
            OTHER,
        ]
        .concat();
        let mut cases = Vec::new();
        for function in if cold { COLD } else { WARM } {
            for code in &codes {
                for (after, for_ever) in
                    [(false, false), (true, false), (false, true), (true, true)]
                {
                    cases.push(Self {
                        function: *function,
                        code: *code,
                        after,
                        for_ever,
                        cold,
                    });
                }
            }
        }
        cases
    }

    fn fault(&self) -> Fault {
        let mut fault = Fault::answer(self.function, self.code);
        if self.after {
            fault = fault.after_the_call();
        }
        if self.for_ever {
            fault = fault.for_ever();
        }
        fault
    }

    /// Whether an error of this kind may come of it.
    fn fits(&self, operation: &str, kind: ErrorKind) -> bool {
        let code = |codes: &[CK_RV]| codes.contains(&self.code);
        let opens = ["decrypt", "unwrap_key"].contains(&operation);
        match kind {
            // Who cannot tell whether the token is well takes it for lost.
            ErrorKind::BackendUnavailable => {
                code(LOST)
                    || code(SESSION)
                    || code(HANDLE)
                    || COLD.contains(&self.function)
                    || self.function == Function::FindObjects
            }
            ErrorKind::BackendAuthentication => code(PIN),
            ErrorKind::Throttled => code(FULL),
            // What a token does not show to work while it is measured, it does not have.
            ErrorKind::Unsupported => code(UNSUPPORTED) || self.cold,
            ErrorKind::BadParameter => code(SIZE),
            ErrorKind::NotExportable => code(KEPT),
            ErrorKind::DecryptFailed => opens,
            ErrorKind::BackendRejected => true,
            _ => false,
        }
    }
}

struct Rig {
    bench: Bench,
    backends: Option<[Arc<Pkcs11Backend>; 2]>,
}

impl Rig {
    fn open(&mut self) -> Vault {
        let [resident, wrapped] = self.backends.get_or_insert_with(|| {
            let options = || {
                self.bench
                    .options()
                    .session_patience(Duration::from_secs(5))
            };
            let wrapped = options()
                .id("wrapped".parse().unwrap())
                .keeping(KeyKeeping::Wrapped);
            [
                Arc::new(Pkcs11Backend::new(options())),
                Arc::new(Pkcs11Backend::new(wrapped)),
            ]
        });
        let master = master_key();
        VaultOptions::new()
            .backend(Arc::clone(resident) as Arc<dyn KeyBackend>)
            .backend(Arc::clone(wrapped) as Arc<dyn KeyBackend>)
            .open_or_create(self.bench.path(), Unlock::raw_key(&master))
            .unwrap()
    }
}

/// What became of the operations of a case.
#[derive(Default)]
struct Outcome {
    errors: Vec<(&'static str, strongroom::Error)>,
    /// Keys that were made, and whether their purge was acknowledged.
    made: BTreeMap<KeyName, bool>,
}

impl Outcome {
    fn note<T>(&mut self, operation: &'static str, result: strongroom::Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.errors.push((operation, error));
                None
            }
        }
    }
}

fn wrapped_signer() -> CreateKeyOptions {
    CreateKeyOptions::ec(Curve::P256).backend(&"wrapped".parse().unwrap())
}

fn aes() -> CreateKeyOptions {
    CreateKeyOptions::oct(OctKeySize::Bits256).hsm()
}

/// The operations that a fault meets.
fn work(vault: &Vault) -> Outcome {
    let mut outcome = Outcome::default();
    let key = |outcome: &mut Outcome, text: &str, operation, options: CreateKeyOptions| {
        let key = name(text);
        if outcome
            .note(operation, vault.create_key(&key, options))
            .is_some()
        {
            outcome.made.insert(key, false);
        }
    };
    key(&mut outcome, "ec", "create_key", super::signer());
    key(&mut outcome, "wrapped", "create_key", wrapped_signer());
    key(&mut outcome, "aes", "create_key", aes());
    let material = ImportedKey::oct(SecretBytes::from((1..=32).collect::<Vec<u8>>()));
    let taken = vault.import_key(&name("taken"), ImportKeyOptions::new(material).hsm());
    if outcome.note("import_key", taken).is_some() {
        outcome.made.insert(name("taken"), false);
    }
    for signer in ["kept", "kept-wrapped"] {
        let es256 = SignatureAlgorithm::Es256;
        let signed = vault.sign_data(&name(signer), es256, TEXT);
        if let Some(signed) = outcome.note("sign", signed) {
            vault
                .verify_data(&name(signer), es256, TEXT, signed.signature())
                .unwrap();
        }
    }
    let (aes, gcm) = (name("kept-aes"), EncryptionAlgorithm::A256Gcm);
    let sealed = vault.encrypt(&aes, gcm, TEXT, Default::default());
    if let Some(sealed) = outcome.note("encrypt", sealed) {
        let opened = vault.decrypt(&aes, gcm, Ciphertext::from(&sealed));
        if let Some(opened) = outcome.note("decrypt", opened) {
            assert_eq!(opened.expose(), TEXT);
        }
    }
    let wrapped = vault.wrap_key(&aes, WrapAlgorithm::A256Kw, &[7; 32]);
    if let Some(wrapped) = outcome.note("wrap_key", wrapped) {
        let back = vault.unwrap_key(&aes, WrapAlgorithm::A256Kw, wrapped.wrapped_key());
        if let Some(back) = outcome.note("unwrap_key", back) {
            assert_eq!(back.expose(), [7; 32]);
        }
    }
    let pkcs11 = "pkcs11".parse().unwrap();
    outcome.note("random", vault.get_random_bytes_from(&pkcs11, 8));
    for gone in ["ec", "taken"] {
        if outcome.made.contains_key(&name(gone)) {
            let deleted = vault.delete_key(&name(gone));
            if outcome.note("delete_key", deleted).is_some() {
                let purged = vault.purge_deleted_key(&name(gone)).is_ok();
                outcome.made.insert(name(gone), purged);
            }
        }
    }
    outcome
}

#[test]
fn whatever_a_module_answers_to_a_new_backend_nothing_is_lost_and_nothing_is_left() {
    // A new backend measures its token first, which takes time.
    nothing_is_lost_and_nothing_is_left(true, 97);
}

#[test]
fn whatever_a_module_answers_later_nothing_is_lost_and_nothing_is_left() {
    nothing_is_lost_and_nothing_is_left(false, 23);
}

/// Tries every `stride`th case, which has no divisor in common with the counts of codes and kinds, or all.
fn nothing_is_lost_and_nothing_is_left(cold: bool, stride: usize) {
    let start = Instant::now();
    let exhaustive = variable("STRONGROOM_EXHAUSTIVE").is_some();
    let all = Case::all(cold);
    let stride = if exhaustive { 1 } else { stride };
    let cases: Vec<_> = all.iter().step_by(stride).collect();
    let mut rig = Rig {
        bench: Bench::new(),
        backends: None,
    };
    let vault = rig.open();
    vault.create_key(&name("kept"), super::signer()).unwrap();
    vault
        .create_key(&name("kept-wrapped"), wrapped_signer())
        .unwrap();
    vault.create_key(&name("kept-aes"), aes()).unwrap();
    vault.close().unwrap();
    let (mut struck, mut failures, mut wrong) = (0, 0, Vec::new());
    for (number, case) in cases.iter().enumerate() {
        if exhaustive && number % 100 == 0 {
            eprintln!("case {number}: {case:?}");
        }
        let outcome = within(Duration::from_secs(120), || {
            run(&mut rig, case, &mut struck)
        });
        failures += outcome.errors.len();
        for (operation, error) in &outcome.errors {
            let text = format!("{error} {error:?}");
            let tells = [rig.bench.token.user_pin(), "text of the caller"]
                .iter()
                .any(|secret| text.contains(secret));
            if tells || !case.fits(operation, error.kind()) {
                wrong.push(format!("{case:?}: {:?}: {error}", error.kind()));
            }
        }
    }
    println!(
        "{} of {} cases in {:.0} s: {struck} met their call, {failures} operations failed",
        cases.len(),
        all.len(),
        start.elapsed().as_secs_f32()
    );
    assert!(
        wrong.is_empty(),
        "{} unfit errors:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(struck * 10 > cases.len() * 7, "{struck}");
}

fn run(rig: &mut Rig, case: &Case, struck: &mut usize) -> Outcome {
    if case.cold {
        // The login ends with the last session.
        rig.backends = None;
    }
    let strikes;
    let vault;
    if case.cold {
        strikes = rig.bench.proxy.inject(case.fault());
        vault = rig.open();
    } else {
        vault = rig.open();
        strikes = rig.bench.proxy.inject(case.fault());
    }
    let mut outcome = work(&vault);
    *struck += usize::from(strikes.count() > 0);
    rig.bench.proxy.heal();
    if case.cold {
        vault.close().unwrap();
        drop(vault);
        rig.backends = None;
        let vault = rig.open();
        look(rig, case, &vault, &mut outcome);
    } else {
        eventually(|| sign(&vault, &name("kept")));
        eventually(|| sign(&vault, &name("kept-wrapped")));
        let findings = vault.reconcile_backends().unwrap();
        assert_eq!(texts(&findings), [""; 0], "{case:?}");
        vault.close().unwrap();
        let vault = rig.open();
        look(rig, case, &vault, &mut outcome);
    }
    outcome
}

fn texts(findings: &[BackendFinding]) -> Vec<String> {
    findings
        .iter()
        .map(|finding| format!("{finding:?}"))
        .collect()
}

/// The module is well again, and the vault was opened after that.
fn look(rig: &Rig, case: &Case, vault: &Vault, outcome: &mut Outcome) {
    let findings = vault.open_report().unwrap().backend_findings();
    assert_eq!(texts(findings), [""; 0], "{case:?}");
    let report = vault.maintain(MaintenanceOptions::new()).unwrap();
    assert_eq!((report.settled(), report.unsettled()), (0, 0), "{case:?}");
    works(vault, &name("kept"));
    works(vault, &name("kept-wrapped"));
    for deleted in vault.list_deleted_key_properties() {
        let deleted = deleted.unwrap().properties().name().clone();
        vault.recover_deleted_key(&deleted).unwrap();
    }
    let mut resident = 0;
    for key in vault.list_key_properties() {
        let key = key.unwrap().name().clone();
        resident += usize::from(!key.as_str().contains("wrapped"));
        if let Some(true) = outcome.made.remove(&key) {
            panic!("{case:?}: {key} was purged");
        }
        if ["kept-aes", "aes", "taken"].contains(&key.as_str()) {
            let gcm = EncryptionAlgorithm::A256Gcm;
            let sealed = vault.encrypt(&key, gcm, TEXT, Default::default()).unwrap();
            let opened = vault.decrypt(&key, gcm, (&sealed).into()).unwrap();
            assert_eq!(opened.expose(), TEXT);
        } else {
            works(vault, &key);
        }
    }
    // What was made is there, unless it was purged.
    assert!(outcome.made.values().all(|purged| *purged), "{case:?}");
    let mut labels = labels(&rig.bench.token);
    labels.retain(|label| label != "strongroom/kek");
    assert_eq!(labels.len(), resident, "{case:?}: {labels:?}");
    assert_eq!(markers(&rig.bench.token), 0, "{case:?}");
    for key in ["ec", "aes", "taken", "wrapped"] {
        if vault.delete_key(&name(key)).is_ok() {
            vault.purge_deleted_key(&name(key)).unwrap();
        }
    }
    vault.close().unwrap();
}
