//! A device that holds its keys itself, in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::backend::software::SoftwareBackend;
use crate::backend::{
    Abandoned, BackendError, BackendErrorKind, BackendId, BackendInstance, BackendResult,
    Capabilities, HeldKey, KeyBackend, KeyBlob, KeyHandle, KeyReference, KeyRequest, KeyTag,
    NewKey, VaultLabel,
};
use crate::model::material::KeyMaterial;
use crate::secret::SecretBytes;

/// How the blobs of the device's keys begin; its instance follows. The keys themselves stay in the device.
const BLOB: &[u8] = b"held by the memory device";

/// A hardware backend without hardware: it behaves as a token does that holds its keys, can be away, and keeps
/// its keys as long as one clone lives. All clones are one device.
#[derive(Clone)]
pub struct MemoryDevice {
    id: BackendId,
    instance: Option<BackendInstance>,
    software: Arc<SoftwareBackend>,
    held: Arc<Mutex<BTreeMap<KeyTag, Held>>>,
    away: Arc<AtomicBool>,
}

struct Held {
    label: VaultLabel,
    confirmed: bool,
    blob: KeyBlob,
}

impl MemoryDevice {
    /// An empty device, which does not tell which one it is.
    #[must_use]
    pub fn new(id: BackendId) -> Self {
        Self {
            id,
            instance: None,
            software: Arc::new(SoftwareBackend::new()),
            held: Arc::default(),
            away: Arc::default(),
        }
    }

    /// The same device, which tells that it is this one.
    #[must_use]
    pub fn with_instance(mut self, instance: BackendInstance) -> Self {
        self.instance = Some(instance);
        self
    }

    /// From now on the device does not answer, or answers again.
    pub fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    /// The tags of the keys that it holds, with whether each is confirmed.
    #[must_use]
    pub fn held(&self) -> Vec<(KeyTag, bool)> {
        self.lock()
            .iter()
            .map(|(tag, held)| (*tag, held.confirmed))
            .collect()
    }

    /// Takes a key away behind everybody's back.
    pub fn lose(&self, tag: KeyTag) {
        self.lock().remove(&tag);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<KeyTag, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold(&self, request: &KeyRequest<'_>, key: NewKey) -> NewKey {
        let (blob, public) = key.into_parts();
        self.lock().insert(
            request.tag,
            Held {
                label: *request.label,
                confirmed: false,
                blob,
            },
        );
        let instance = self.instance.as_ref().map(BackendInstance::as_bytes);
        let blob = [BLOB, instance.unwrap_or_default()].concat();
        NewKey::new(KeyBlob::new(SecretBytes::from(blob)), public)
    }
}

impl fmt::Debug for MemoryDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryDevice")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl KeyBackend for MemoryDevice {
    fn id(&self) -> &BackendId {
        &self.id
    }

    fn capabilities(&self) -> Arc<Capabilities> {
        self.software.capabilities()
    }

    fn check(&self) -> BackendResult<()> {
        if self.away.load(Ordering::SeqCst) {
            return Err(BackendError::new(
                BackendErrorKind::Unavailable,
                "the device is away",
            ));
        }
        Ok(())
    }

    fn generate(&self, request: &KeyRequest<'_>) -> BackendResult<NewKey> {
        self.check()?;
        Ok(self.hold(request, self.software.generate(request)?))
    }

    fn import(&self, request: &KeyRequest<'_>, material: &KeyMaterial) -> BackendResult<NewKey> {
        self.check()?;
        Ok(self.hold(request, self.software.import(request, material)?))
    }

    fn open(&self, key: &KeyReference<'_>) -> BackendResult<Arc<dyn KeyHandle>> {
        self.check()?;
        if !key.blob.expose().starts_with(BLOB) {
            return Err(BackendErrorKind::InvalidInput.into());
        }
        let held = self.lock();
        let held = held.get(&key.tag).ok_or(BackendErrorKind::NotFound)?;
        self.software
            .open(&KeyReference::new(key.tag, key.spec, &held.blob))
    }

    fn destroy(&self, tag: KeyTag, _blob: Option<&KeyBlob>) -> BackendResult<()> {
        self.check()?;
        self.lock().remove(&tag);
        Ok(())
    }

    fn is_hardware(&self) -> bool {
        true
    }

    fn holds_keys(&self, _blob: Option<&KeyBlob>) -> bool {
        true
    }

    fn instance(&self) -> BackendResult<Option<BackendInstance>> {
        self.check()?;
        Ok(self.instance.clone())
    }

    fn instance_of(&self, blob: &KeyBlob) -> Option<BackendInstance> {
        BackendInstance::new(blob.expose().strip_prefix(BLOB)?)
    }

    fn confirm(&self, tags: &[KeyTag]) -> BackendResult<()> {
        self.check()?;
        let mut held = self.lock();
        for tag in tags {
            if let Some(held) = held.get_mut(tag) {
                held.confirmed = true;
            }
        }
        Ok(())
    }

    fn abandon(&self, tag: KeyTag) -> BackendResult<Abandoned> {
        self.check()?;
        let mut held = self.lock();
        match held.get(&tag) {
            Some(key) if key.confirmed => Ok(Abandoned::Confirmed),
            _ => {
                held.remove(&tag);
                Ok(Abandoned::NothingLeft)
            }
        }
    }

    fn inventory(&self, label: &VaultLabel) -> BackendResult<Vec<HeldKey>> {
        self.check()?;
        Ok(self
            .lock()
            .iter()
            .filter(|(_, held)| held.label == *label)
            .map(|(tag, held)| HeldKey::new(Some(*tag), !held.confirmed, "a key in memory"))
            .collect())
    }

    fn export(&self, key: &KeyReference<'_>) -> BackendResult<KeyBlob> {
        self.check()?;
        let held = self.lock();
        let held = held.get(&key.tag).ok_or(BackendErrorKind::NotFound)?;
        Ok(KeyBlob::new(SecretBytes::copied_from(held.blob.expose())))
    }

    fn restore(&self, request: &KeyRequest<'_>, blob: &KeyBlob) -> BackendResult<NewKey> {
        self.check()?;
        Ok(self.hold(request, self.software.restore(request, blob)?))
    }
}
