//! An operation that a purge overtakes: its device has lost the key in the middle of it, and the answer is that
//! the key is gone, not that the device is in trouble. A device that is in trouble still says so.

use std::fmt;
use std::sync::{Arc, Mutex};

use strongroom::backend::testing::MemoryDevice;
use strongroom::backend::{
    BackendErrorKind, BackendId, BackendResult, Capabilities, KeyBackend, KeyBlob, KeyHandle,
    KeyReference, KeyRequest, KeyTag, NewKey,
};
use strongroom::{
    CreateKeyOptions, Curve, EncryptOptions, EncryptionAlgorithm, ErrorKind, KeyMaterial, KeySpec,
    OctKeySize, PublicKey, SignatureAlgorithm, SoftDelete, Vault, VaultOptions,
};

use crate::support::{name, refused};

type Hook = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

/// A device with something that happens when a key is used or opened next; then it has lost the key.
struct Overtaken {
    inner: MemoryDevice,
    at_opening: Hook,
    at_use: Hook,
}

/// Whether something was to happen, and did.
fn happens(hook: &Hook) -> BackendResult<()> {
    let hook = hook.lock().unwrap().take();
    match hook {
        Some(hook) => {
            hook();
            Err(BackendErrorKind::NotFound.into())
        }
        None => Ok(()),
    }
}

impl fmt::Debug for Overtaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Overtaken")
    }
}

impl KeyBackend for Overtaken {
    fn id(&self) -> &BackendId {
        self.inner.id()
    }

    fn capabilities(&self) -> Arc<Capabilities> {
        self.inner.capabilities()
    }

    fn check(&self) -> BackendResult<()> {
        self.inner.check()
    }

    fn generate(&self, request: &KeyRequest<'_>) -> BackendResult<NewKey> {
        self.inner.generate(request)
    }

    fn import(&self, request: &KeyRequest<'_>, material: &KeyMaterial) -> BackendResult<NewKey> {
        self.inner.import(request, material)
    }

    fn open(&self, key: &KeyReference<'_>) -> BackendResult<Arc<dyn KeyHandle>> {
        happens(&self.at_opening)?;
        Ok(Arc::new(Handle {
            inner: self.inner.open(key)?,
            at_use: Arc::clone(&self.at_use),
        }))
    }

    fn destroy(&self, tag: KeyTag, blob: Option<&KeyBlob>) -> BackendResult<()> {
        self.inner.destroy(tag, blob)
    }

    fn is_hardware(&self) -> bool {
        true
    }
}

struct Handle {
    inner: Arc<dyn KeyHandle>,
    at_use: Hook,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}

impl KeyHandle for Handle {
    fn spec(&self) -> KeySpec {
        self.inner.spec()
    }

    fn public_key(&self) -> Option<&PublicKey> {
        self.inner.public_key()
    }

    fn sign(&self, algorithm: SignatureAlgorithm, digest: &[u8]) -> BackendResult<Vec<u8>> {
        happens(&self.at_use)?;
        self.inner.sign(algorithm, digest)
    }

    fn encrypt(
        &self,
        algorithm: EncryptionAlgorithm,
        plaintext: &[u8],
        iv: &[u8],
        aad: &[u8],
    ) -> BackendResult<strongroom::backend::Encrypted> {
        happens(&self.at_use)?;
        self.inner.encrypt(algorithm, plaintext, iv, aad)
    }
}

/// A vault with the key `k`, and the two hooks.
fn vault(soft_delete: SoftDelete, options: CreateKeyOptions) -> (Vault, Hook, Hook) {
    let (at_opening, at_use) = (Hook::default(), Hook::default());
    let backend = Overtaken {
        inner: MemoryDevice::new("device".parse().unwrap()),
        at_opening: Arc::clone(&at_opening),
        at_use: Arc::clone(&at_use),
    };
    let vault = VaultOptions::new()
        .backend(Arc::new(backend))
        .soft_delete(soft_delete)
        .create_in_memory()
        .unwrap();
    vault.create_key(&name("k"), options.hsm()).unwrap();
    (vault, at_opening, at_use)
}

fn set(hook: &Hook, work: impl FnOnce() + Send + 'static) {
    *hook.lock().unwrap() = Some(Box::new(work));
}

#[test]
fn a_use_that_a_purge_overtakes_finds_no_key() {
    let key = name("k");
    for opens in [false, true] {
        let ec = CreateKeyOptions::ec(Curve::P256);
        let (vault, at_opening, at_use) = vault(SoftDelete::default(), ec);
        let hook = if opens { at_opening } else { at_use };
        let (other, gone) = (vault.clone(), key.clone());
        set(&hook, move || {
            other.delete_key(&gone).unwrap();
            other.purge_deleted_key(&gone).unwrap();
        });
        let error = vault
            .sign(&key, SignatureAlgorithm::Es256, &[1; 32])
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::KeyNotFound, "{error}");
        assert_eq!(error.operation(), Some("sign"));
    }
}

#[test]
fn an_encryption_that_a_final_deletion_overtakes_finds_no_key_though_the_name_is_taken_again() {
    let key = name("k");
    let oct = || CreateKeyOptions::oct(OctKeySize::Bits256);
    let (vault, _at_opening, at_use) = vault(SoftDelete::OFF, oct());
    let (other, again) = (vault.clone(), key.clone());
    set(&at_use, move || {
        other.delete_key(&again).unwrap();
        other.create_key(&again, oct().hsm()).unwrap();
    });
    let encrypt = || {
        let gcm = EncryptionAlgorithm::A256Gcm;
        vault.encrypt(&key, gcm, b"text", EncryptOptions::new())
    };
    assert_eq!(refused(encrypt()), ErrorKind::KeyNotFound);
    encrypt().unwrap();
}

#[test]
fn a_device_that_lost_a_key_by_itself_is_in_trouble() {
    let key = name("k");
    for opens in [false, true] {
        let ec = CreateKeyOptions::ec(Curve::P256);
        let (vault, at_opening, at_use) = vault(SoftDelete::default(), ec);
        let hook = if opens { at_opening } else { at_use };
        set(&hook, || ());
        let sign = || vault.sign(&key, SignatureAlgorithm::Es256, &[1; 32]);
        assert_eq!(refused(sign()), ErrorKind::BackendUnavailable);
        sign().unwrap();
    }
}
