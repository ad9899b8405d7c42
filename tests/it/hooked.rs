//! A backend that lets a test act between the making of a key and its record.

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
