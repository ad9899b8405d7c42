//! The keyring of the system where there is one, and keyrings that do not do as they are told.

use std::any::Any;
use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keyring_core::api::{CredentialApi, CredentialStoreApi};
use keyring_core::{Credential, Entry, Error as KeyringError, mock};

use super::KeyringUnlock;
use crate::env::OsEntropy;
use crate::error::{Error, ErrorKind};
use crate::format::slot::SlotKind;
use crate::seal::slot::{Provided, ProvidedSlot, SlotProvider};
use crate::secret::Key32;

const CONTEXT: [u8; 32] = [7; 32];

fn in_store(store: Arc<dyn CredentialStoreApi + Send + Sync>, user: &str) -> KeyringUnlock {
    KeyringUnlock {
        store: Some(store),
        ..KeyringUnlock::new("strongroom tests", user)
    }
}

fn key(byte: u8) -> Key32 {
    Key32::copied_from(&[byte; 32]).unwrap()
}

fn open(keyring: &KeyringUnlock, tag: &[u8; 16]) -> crate::Result<Provided> {
    keyring.open(&ProvidedSlot {
        kind: SlotKind::OsKeyring,
        tag,
        kept: &[],
        context: &CONTEXT,
    })
}

#[test]
fn the_kernels_keyring_keeps_a_secret() {
    let user = format!("{:?} {}", std::thread::current().id(), std::process::id());
    let keyring = KeyringUnlock::new("strongroom tests", user);
    let kept = match keyring.keep(&key(5), &CONTEXT, &OsEntropy) {
        Ok(kept) => kept,
        Err(error) if error.kind() == ErrorKind::BackendUnavailable => {
            // Not `eprintln`, which the test harness keeps to itself.
            let mut out = std::io::stderr();
            writeln!(out, "SKIPPED the kernel's keyring: {error}").unwrap();
            return;
        }
        Err(error) => panic!("{error}"),
    };
    assert_eq!((kept.kind, kept.kept.len()), (SlotKind::OsKeyring, 0));
    let again = keyring.clone();
    match open(&again, &kept.tag).unwrap() {
        Provided::Secret(secret) => assert_eq!(secret.expose(), &[5; 32]),
        other => panic!("{other:?}"),
    }
    let error = keyring.keep(&key(6), &CONTEXT, &OsEntropy).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadParameter);
    keyring.delete_entry().unwrap();
}

#[test]
fn names_that_run_into_each_other_have_different_tags() {
    let tag = |service: &str, user: &str| KeyringUnlock::new(service, user).tag();
    assert_eq!(tag("ab", "c"), tag("ab", "c"));
    assert_ne!(tag("ab", "c"), tag("a", "bc"));
    assert_ne!(tag("ab", "c"), tag("c", "ab"));
}

/// Forgets, alters or garbles what it is given.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Forgets,
    Alters,
    Garbles,
}

#[derive(Debug)]
struct Faulty {
    fault: Fault,
    secret: Arc<Mutex<Option<Vec<u8>>>>,
}

impl Faulty {
    fn kept(&self) -> MutexGuard<'_, Option<Vec<u8>>> {
        self.secret.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CredentialStoreApi for Faulty {
    fn vendor(&self) -> String {
        "faulty".to_owned()
    }

    fn id(&self) -> String {
        "faulty".to_owned()
    }

    fn build(
        &self,
        _: &str,
        _: &str,
        _: Option<&HashMap<&str, &str>>,
    ) -> keyring_core::Result<Entry> {
        Ok(Entry::new_with_credential(Arc::new(Self {
            fault: self.fault,
            secret: Arc::clone(&self.secret),
        })))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl CredentialApi for Faulty {
    fn set_secret(&self, secret: &[u8]) -> keyring_core::Result<()> {
        let mut kept = secret.to_vec();
        match self.fault {
            Fault::Forgets => return Ok(()),
            Fault::Alters => kept[31] ^= 1,
            Fault::Garbles => {}
        }
        *self.kept() = Some(kept);
        Ok(())
    }

    fn get_secret(&self) -> keyring_core::Result<Vec<u8>> {
        let kept = self.kept().clone();
        let kept = kept.ok_or(KeyringError::NoEntry)?;
        match self.fault {
            Fault::Garbles => Err(KeyringError::BadDataFormat(kept, "\u{5}".into())),
            _ => Ok(kept),
        }
    }

    fn delete_credential(&self) -> keyring_core::Result<()> {
        self.kept().take();
        Ok(())
    }

    fn get_credential(&self) -> keyring_core::Result<Option<Arc<Credential>>> {
        Ok(None)
    }

    fn get_specifiers(&self) -> Option<(String, String)> {
        None
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[test]
fn a_keyring_that_does_not_keep_what_it_is_given_is_found_out_and_no_error_shows_it() {
    for (fault, kind) in [
        (Fault::Forgets, ErrorKind::BackendRejected),
        (Fault::Alters, ErrorKind::BackendRejected),
        (Fault::Garbles, ErrorKind::BackendRejected),
    ] {
        let store = Arc::new(Faulty {
            fault,
            secret: Arc::default(),
        });
        let keyring = in_store(store, "user");
        // 0x2a is 42 as a number in a list and `*` as text.
        let error: Error = keyring.keep(&key(42), &CONTEXT, &OsEntropy).unwrap_err();
        assert_eq!(error.kind(), kind, "{fault:?}: {error}");
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("42") && !shown.contains("**"), "{shown}");
    }
}

#[test]
fn a_keyring_without_access_is_unavailable() {
    let store = mock::Store::new().unwrap();
    let keyring = in_store(store, "user");
    let kept = keyring.keep(&key(1), &CONTEXT, &OsEntropy).unwrap();
    let entry = keyring.entry().unwrap();
    let cred: &mock::Cred = entry.as_any().downcast_ref().unwrap();
    for error in [
        KeyringError::NoStorageAccess("locked".into()),
        KeyringError::PlatformFailure("no bus".into()),
        KeyringError::BadStoreFormat("torn".into()),
    ] {
        cred.set_error(error);
        let error = open(&keyring, &kept.tag).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BackendUnavailable, "{error}");
    }
    assert!(matches!(open(&keyring, &kept.tag), Ok(Provided::Secret(_))));
}
