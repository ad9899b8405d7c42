//! A hardware backend that asks everyone to slow down.

use std::sync::Arc;

use strongroom::KeyMaterial;
use strongroom::backend::software::SoftwareBackend;
use strongroom::backend::{
    BackendErrorKind, BackendId, BackendResult, Capabilities, KeyBackend, KeyBlob, KeyHandle,
    KeyReference, KeyRequest, KeyTag, NewKey,
};

/// It can do what software can, and makes no key.
#[derive(Debug)]
pub(super) struct Busy {
    id: BackendId,
    software: SoftwareBackend,
}

impl Busy {
    pub(super) fn new() -> Self {
        Self {
            id: "busy".parse().unwrap(),
            software: SoftwareBackend::new(),
        }
    }
}

fn slow_down<T>() -> BackendResult<T> {
    Err(BackendErrorKind::Throttled { retry_after: None }.into())
}

impl KeyBackend for Busy {
    fn id(&self) -> &BackendId {
        &self.id
    }

    fn capabilities(&self) -> Arc<Capabilities> {
        self.software.capabilities()
    }

    fn check(&self) -> BackendResult<()> {
        Ok(())
    }

    fn generate(&self, _: &KeyRequest<'_>) -> BackendResult<NewKey> {
        slow_down()
    }

    fn import(&self, _: &KeyRequest<'_>, _: &KeyMaterial) -> BackendResult<NewKey> {
        slow_down()
    }

    fn open(&self, _: &KeyReference<'_>) -> BackendResult<Arc<dyn KeyHandle>> {
        slow_down()
    }

    fn destroy(&self, _: KeyTag, _: Option<&KeyBlob>) -> BackendResult<()> {
        Ok(())
    }

    fn is_hardware(&self) -> bool {
        true
    }
}
