//! Plain PKCS#11, as several tests need it, and what the tests of software keys share.

#[path = "../../../tests/it/support.rs"]
mod shared;

use std::fs;
use std::path::{Path, PathBuf};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, Result, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use hsm_softhsm_tests::{Proxy, Token};

pub(crate) use self::shared::*;

/// The curve P-256 as CKA_EC_PARAMS.
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// The bytes 0, 1 ... 31, of a key that is given.
pub(crate) fn known_key() -> Vec<u8> {
    (0..32).collect()
}

/// A module as what is under test would take it: initialized, by whomever.
pub(crate) fn attach(token: &Token) -> Pkcs11 {
    let pkcs11 = Pkcs11::new(token.module()).unwrap();
    match initialize(&pkcs11) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => pkcs11,
        Err(error) => panic!("{error}"),
    }
}

pub(crate) fn initialize(pkcs11: &Pkcs11) -> Result<()> {
    pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
}

pub(crate) fn pin(pin: &str) -> AuthPin {
    AuthPin::new(pin.into())
}

/// The slot of a token, looked up through this module.
pub(crate) fn slot(pkcs11: &Pkcs11, token: &Token) -> Option<Slot> {
    let slots = pkcs11.get_slots_with_token().unwrap();
    slots.into_iter().find(|slot| {
        pkcs11
            .get_token_info(*slot)
            .is_ok_and(|info| info.serial_number() == token.serial())
    })
}

/// A session through this module, logged in.
pub(crate) fn session(pkcs11: &Pkcs11, token: &Token) -> Session {
    let slot = slot(pkcs11, token).unwrap();
    let session = pkcs11.open_rw_session(slot).unwrap();
    session
        .login(UserType::User, Some(&pin(token.user_pin())))
        .unwrap();
    session
}

/// A proxy, a token, and a session through it.
pub(crate) fn through_proxy() -> (Proxy, Token, Pkcs11, Session) {
    let proxy = Proxy::new();
    let token = proxy.new_token();
    let pkcs11 = attach(&token);
    let session = session(&pkcs11, &token);
    (proxy, token, pkcs11, session)
}

/// A key in the token, or for the session.
pub(crate) fn aes_key(session: &Session, id: &[u8], token: bool) -> Result<ObjectHandle> {
    session.create_object(&[
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(token),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
        Attribute::Id(id.to_vec()),
        Attribute::Value(known_key()),
    ])
}

/// A P-256 key in the token: the private one.
pub(crate) fn p256_key(session: &Session, id: &[u8]) -> Result<ObjectHandle> {
    let (_, private) = session.generate_key_pair(
        &Mechanism::EccKeyPairGen,
        &[
            Attribute::Token(true),
            Attribute::Verify(true),
            Attribute::EcParams(P256.to_vec()),
            Attribute::Id(id.to_vec()),
        ],
        &[
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Sign(true),
            Attribute::Id(id.to_vec()),
        ],
    )?;
    Ok(private)
}

/// An RSA-2048 key for the session: public and private.
pub(crate) fn rsa_key(session: &Session) -> (ObjectHandle, ObjectHandle) {
    session
        .generate_key_pair(
            &Mechanism::RsaPkcsKeyPairGen,
            &[
                Attribute::Token(false),
                Attribute::Encrypt(true),
                Attribute::ModulusBits(cryptoki_sys::CK_ULONG::from(2048_u32).into()),
            ],
            &[
                Attribute::Token(false),
                Attribute::Private(true),
                Attribute::Decrypt(true),
            ],
        )
        .unwrap()
}

pub(crate) fn sign(session: &Session, key: ObjectHandle) -> Result<Vec<u8>> {
    session.sign(&Mechanism::Ecdsa, key, &[7; 32])
}

pub(crate) fn find(session: &Session, id: &[u8]) -> Result<Vec<ObjectHandle>> {
    session.find_objects(&[Attribute::Id(id.to_vec())])
}

/// What CKA_ID the objects of the token have, sorted.
pub(crate) fn ids(session: &Session) -> Vec<Vec<u8>> {
    let mut ids: Vec<Vec<u8>> = session
        .find_objects(&[])
        .unwrap()
        .into_iter()
        .flat_map(|object| {
            session
                .get_attributes(object, &[AttributeType::Id])
                .unwrap()
        })
        .map(|attribute| match attribute {
            Attribute::Id(id) => id,
            other => panic!("{:?} was not asked for", other.attribute_type()),
        })
        .collect();
    ids.sort();
    ids
}

/// The code that PKCS#11 answered.
#[track_caller]
pub(crate) fn code<T>(result: Result<T>) -> RvError {
    match result {
        Ok(_) => panic!("the call succeeded"),
        Err(Error::Pkcs11(code, _)) => code,
        Err(other) => panic!("{other}"),
    }
}

/// A variable of the environment: tests may read it, the library may not.
#[allow(
    clippy::disallowed_methods,
    reason = "how a test run is told what to do"
)]
pub(crate) fn variable(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name)
}

/// The attributes of an object as SoftHSM2 keeps it in a file: a number, then type, kind and value of each.
pub(crate) fn without_attribute(file: &[u8], unwanted: u64) -> Vec<u8> {
    let number = |at: usize| u64::from_be_bytes(file[at..at + 8].try_into().unwrap());
    let mut left = file[..8].to_vec();
    let mut at = 8;
    while at < file.len() {
        let value = at + 16;
        let length = match number(at + 8) {
            1 => 1,
            2 => 8,
            3..=5 => 8 + usize::try_from(number(value)).unwrap(),
            kind => panic!("an attribute of kind {kind}"),
        };
        if number(at) != unwanted {
            left.extend_from_slice(&file[at..value + length]);
        }
        at = value + length;
    }
    assert!(left.len() < file.len(), "it had no such attribute");
    left
}

/// The files of the token's objects, sorted.
pub(crate) fn object_files(directory: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(directory).unwrap();
    let mut files: Vec<_> = files
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "object")
        })
        .filter(|path| path.file_stem().is_some_and(|stem| stem != "token"))
        .collect();
    files.sort();
    files
}
