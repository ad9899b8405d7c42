//! A backend that lets a test act between the making of a key and its record.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use strongroom::KeyMaterial;
use strongroom::backend::{
    Abandoned, BackendId, BackendInstance, BackendResult, Capabilities, HeldKey, KeyBackend,
    KeyBlob, KeyHandle, KeyReference, KeyRequest, KeyTag, NewKey, VaultLabel,
};

/// Calls a hook after each generation.
pub(crate) struct Hooked<B> {
    inner: B,
    after_generation: Mutex<Box<dyn FnMut() + Send>>,
}

impl<B> std::fmt::Debug for Hooked<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hooked")
    }
}

impl<B> Hooked<B> {
    pub(crate) fn new(inner: B, after_generation: impl FnMut() + Send + 'static) -> Self {
        Self {
            inner,
            after_generation: Mutex::new(Box::new(after_generation)),
        }
    }
}

impl<B: KeyBackend> KeyBackend for Hooked<B> {
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
        let made = self.inner.generate(request)?;
        (self.after_generation.lock().unwrap())();
        Ok(made)
    }

    fn import(&self, request: &KeyRequest<'_>, material: &KeyMaterial) -> BackendResult<NewKey> {
        self.inner.import(request, material)
    }

    fn open(&self, key: &KeyReference<'_>) -> BackendResult<Arc<dyn KeyHandle>> {
        self.inner.open(key)
    }

    fn destroy(&self, tag: KeyTag, blob: Option<&KeyBlob>) -> BackendResult<()> {
        self.inner.destroy(tag, blob)
    }

    fn is_hardware(&self) -> bool {
        self.inner.is_hardware()
    }

    fn holds_keys(&self, blob: Option<&KeyBlob>) -> bool {
        self.inner.holds_keys(blob)
    }

    fn instance(&self) -> BackendResult<Option<BackendInstance>> {
        self.inner.instance()
    }

    fn instance_of(&self, blob: &KeyBlob) -> Option<BackendInstance> {
        self.inner.instance_of(blob)
    }

    fn confirm(&self, tags: &[KeyTag]) -> BackendResult<()> {
        self.inner.confirm(tags)
    }

    fn abandon(&self, tag: KeyTag) -> BackendResult<Abandoned> {
        self.inner.abandon(tag)
    }

    fn inventory(&self, label: &VaultLabel) -> BackendResult<Vec<HeldKey>> {
        self.inner.inventory(label)
    }
}

/// Copies the directory of a vault.
pub(crate) fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(to, private).unwrap();
}

/// The files as they were at one moment, while a vault is at work on them: its storage engine writes beside its callers,
/// and a copy made meanwhile could have newer bytes behind older ones, across syncs, as no crash leaves them.
pub(crate) fn copy_of_one_moment(from: &Path, to: &Path) {
    for _ in 0..200 {
        copy_directory(from, to);
        // What is the same before and after was there at the moment between.
        if contents(from) == contents(to) {
            return;
        }
        fs::remove_dir_all(to).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("the files of {} never rest", from.display());
}

/// By name; `None` for what is no file, or went meanwhile.
fn contents(directory: &Path) -> BTreeMap<OsString, Option<Vec<u8>>> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| {
        let entry = entry.unwrap();
        (entry.file_name(), fs::read(entry.path()).ok())
    });
    entries.collect()
}
