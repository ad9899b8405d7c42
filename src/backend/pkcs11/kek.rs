//! The token's own wrapping key: an AES-256 key that never leaves it.

use cryptoki_sys::{CKA_CLASS, CKA_ID, CKA_LABEL, CKO_SECRET_KEY};

use super::attributes::{Custody, Permissions, aes_key};
use super::error::TokenResult;
use super::handles::ObjectClass;
use super::lease::Lease;
use super::mechanism::Mechanism;
use super::objects::find_one;
use super::raw::ObjectHandle;
use super::routes::Usage;
use super::template::Template;
use super::token::Token;
use crate::env::{Entropy, OsEntropy};
use crate::model::key::KeyTag;

/// The label of the wrapping key. It belongs to the token: all vaults that use the token share it.
const LABEL: &str = "strongroom/kek";

/// More than one is the trace of two processes that made one at the same time.
const MOST: usize = 16;

/// The wrapping key for new keys: the one with the lowest id, made when there is none.
pub(super) fn current(token: &Token) -> TokenResult<KeyTag> {
    token.mutate(|lease| {
        if let Some(id) = existing(lease)? {
            return Ok(id);
        }
        // An empty answer of a token that is gone is no reason to make a key.
        lease.health()?;
        let mut id = [0; 16];
        OsEntropy
            .fill(&mut id)
            .map_err(super::known_answers::internal)?;
        let id = KeyTag::from_bytes(id);
        let custody = Custody {
            named: Some((&id, LABEL)),
            ..Custody::PROBE
        };
        let permissions = Permissions::some(&[Usage::Wrap, Usage::Unwrap]);
        lease.generate_key(
            &Mechanism::AesKeyGen,
            &aes_key(Some(32), &custody, &permissions),
        )?;
        // Another process may have made one too: both choose the same now.
        Ok(existing(lease)?.unwrap_or(id))
    })
}

fn existing(lease: &Lease<'_>) -> TokenResult<Option<KeyTag>> {
    let template = Template::new()
        .ulong(CKA_CLASS, CKO_SECRET_KEY)
        .bytes(CKA_LABEL, LABEL.as_bytes());
    let mut ids = Vec::new();
    for object in lease.find_objects(&template, MOST)? {
        let id = lease.get_attribute(object, CKA_ID)?;
        // A generation that was cut short can leave one without an id.
        ids.extend(id.and_then(|id| <[u8; 16]>::try_from(id).ok()));
    }
    ids.sort_unstable();
    Ok(ids.first().copied().map(KeyTag::from_bytes))
}

/// The wrapping key of a blob.
pub(super) fn find(lease: &Lease<'_>, id: KeyTag) -> TokenResult<ObjectHandle> {
    let handles = lease.handles();
    if let Some(handle) = handles.get(lease.epoch(), id, ObjectClass::Secret) {
        return Ok(handle);
    }
    let handle = find_one(lease, id, ObjectClass::Secret)?;
    handles.insert(lease.epoch(), id, ObjectClass::Secret, handle);
    Ok(handle)
}
