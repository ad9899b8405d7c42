//! A backend that fails when it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::backend::{
    Abandoned, BackendError, BackendErrorKind, BackendId, BackendInstance, BackendResult,
    Capabilities, HeldKey, KeyBackend, KeyBlob, KeyHandle, KeyReference, KeyRequest, KeyTag,
    NewKey, VaultLabel,
};
use crate::model::material::KeyMaterial;
use crate::model::operation::KeyOperations;

/// Where a planned failure strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The call fails and nothing was done.
    Before,
    /// The call was carried out, and its answer is lost.
    After,
}

/// Passes every call on to another backend, but for one that fails.
///
/// The calls that make, take in, open, confirm, list, export and destroy keys are counted from 1; operations of opened keys
/// are not. Planning a failure starts the count anew.
#[derive(Debug)]
pub struct FaultyBackend<B> {
    inner: B,
    id: BackendId,
    calls: AtomicU64,
    /// 0 stands for none; odd counts fail before, even ones after: `2 n - 1` and `2 n`.
    plan: AtomicU64,
}

impl<B: KeyBackend> FaultyBackend<B> {
    /// Under its own id, so that it can stand beside the backend that it wraps.
    #[must_use]
    pub fn new(inner: B, id: BackendId) -> Self {
        Self {
            inner,
            id,
            calls: AtomicU64::new(0),
            plan: AtomicU64::new(0),
        }
    }

    /// The `call`-th call from now on fails, once.
    pub fn fail_call(&self, call: u64, fault: Fault) {
        let plan = match fault {
            Fault::Before => call.saturating_mul(2).saturating_sub(1),
            Fault::After => call.saturating_mul(2),
        };
        self.calls.store(0, Ordering::SeqCst);
        self.plan.store(plan, Ordering::SeqCst);
    }

    /// How many calls there were since the last plan.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    fn pass<T>(&self, call: impl FnOnce() -> BackendResult<T>) -> BackendResult<T> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let plan = self.plan.load(Ordering::SeqCst);
        if plan == number * 2 - 1 {
            return Err(planned());
        }
        let answer = call();
        if plan == number * 2 {
            return answer.and(Err(planned()));
        }
        answer
    }
}

fn planned() -> BackendError {
    BackendError::new(BackendErrorKind::Unavailable, "a planned failure")
}

impl<B: KeyBackend> KeyBackend for FaultyBackend<B> {
    fn id(&self) -> &BackendId {
        &self.id
    }

    fn capabilities(&self) -> Arc<Capabilities> {
        self.inner.capabilities()
    }

    fn check(&self) -> BackendResult<()> {
        self.inner.check()
    }

    fn generate(&self, request: &KeyRequest<'_>) -> BackendResult<NewKey> {
        self.pass(|| self.inner.generate(request))
    }

    fn import(&self, request: &KeyRequest<'_>, material: &KeyMaterial) -> BackendResult<NewKey> {
        self.pass(|| self.inner.import(request, material))
    }

    fn open(&self, key: &KeyReference<'_>) -> BackendResult<Arc<dyn KeyHandle>> {
        self.pass(|| self.inner.open(key))
    }

    fn destroy(&self, tag: KeyTag, blob: Option<&KeyBlob>) -> BackendResult<()> {
        self.pass(|| self.inner.destroy(tag, blob))
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
        self.pass(|| self.inner.confirm(tags))
    }

    fn abandon(&self, tag: KeyTag) -> BackendResult<Abandoned> {
        self.pass(|| self.inner.abandon(tag))
    }

    fn inventory(&self, label: &VaultLabel) -> BackendResult<Vec<HeldKey>> {
        self.pass(|| self.inner.inventory(label))
    }

    fn permit(&self, key: &KeyReference<'_>, operations: KeyOperations) -> BackendResult<()> {
        self.inner.permit(key, operations)
    }

    fn export(&self, key: &KeyReference<'_>) -> BackendResult<KeyBlob> {
        self.pass(|| self.inner.export(key))
    }

    fn restore(&self, request: &KeyRequest<'_>, blob: &KeyBlob) -> BackendResult<NewKey> {
        self.pass(|| self.inner.restore(request, blob))
    }

    fn random(&self, bytes: &mut [u8]) -> BackendResult<()> {
        self.inner.random(bytes)
    }
}
