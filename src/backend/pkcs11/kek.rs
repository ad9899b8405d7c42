//! The token's own wrapping key: an AES-256 key that never leaves it.

use std::collections::BTreeSet;

use cryptoki_sys::{
    CKA_CLASS, CKA_EXTRACTABLE, CKA_ID, CKA_LABEL, CKA_NEVER_EXTRACTABLE, CKA_SENSITIVE,
    CKO_SECRET_KEY,
};

use super::attributes::{Custody, Permissions, aes_key};
use super::connection::Connection;
use super::error::{ErrorClass, TokenError, TokenResult};
use super::handles::ObjectClass;
use super::known_answers::internal;
use super::lease::Lease;
use super::mechanism::Mechanism;
use super::objects::find_one;
use super::raw::ObjectHandle;
use super::routes::Usage;
use super::template::Template;
use super::token::Token;
use super::trials::Trials;
use super::wrapped::{KeyWrapping, wraps_private_keys};
use crate::env::OsEntropy;
use crate::model::key::KeyTag;

/// The label of the wrapping key. It belongs to the token: all vaults that use the token share it.
const LABEL: &str = "strongroom/kek";

/// More than one is the trace of processes that made one at the same time, or ended while they did.
const MOST: usize = 64;

/// A wrapping key that may be the one for new keys.
struct Candidate {
    id: KeyTag,
    epoch: u64,
    /// Just made, and nobody else's.
    fresh: bool,
}

/// The wrapping key for new keys: among those that work the one with the lowest id, made when there is none.
///
/// One that does not work is left alone: whatever was wrapped by it once, nobody else can unwrap.
pub(super) fn current(connection: &Connection, wrapping: KeyWrapping) -> TokenResult<KeyTag> {
    let token = connection.token();
    let mut unusable = BTreeSet::new();
    loop {
        let Candidate { id, epoch, fresh } = token.mutate(|lease| choose(lease, &unusable))?;
        if connection.known_kek(epoch) == Some(id) {
            return Ok(id);
        }
        if works(token, wrapping, id)? {
            connection.remember_kek(epoch, id);
            return Ok(id);
        }
        if fresh {
            return Err(TokenError::with_detail(
                ErrorClass::Device,
                "C_GenerateKey",
                "the token made a wrapping key that it cannot wrap with; see its own log, or keep keys as its objects \
                 instead",
            ));
        }
        unusable.insert(id);
    }
}

fn choose(lease: &Lease<'_>, unusable: &BTreeSet<KeyTag>) -> TokenResult<Candidate> {
    let epoch = lease.epoch();
    let first = |ids: Vec<KeyTag>| ids.into_iter().find(|id| !unusable.contains(id));
    let (ids, objects) = existing(lease)?;
    if let Some(id) = first(ids) {
        return Ok(Candidate {
            id,
            epoch,
            fresh: false,
        });
    }
    // An empty answer of a token that is gone is no reason to make a key.
    lease.health()?;
    if objects >= MOST {
        return Err(TokenError::with_detail(
            ErrorClass::Device,
            "C_FindObjects",
            "none of the many objects labelled strongroom/kek in the token works, so no more are made; see the token's \
             own log",
        ));
    }
    let made = KeyTag::random(&OsEntropy).map_err(internal)?;
    let custody = Custody {
        named: Some((&made, LABEL)),
        ..Custody::PROBE
    };
    let permissions = Permissions::some(&[Usage::Wrap, Usage::Unwrap]);
    lease.generate_key(
        &Mechanism::AesKeyGen,
        &aes_key(Some(32), &custody, &permissions),
    )?;
    // Another process may have made one too: both choose the same now.
    let id = first(existing(lease)?.0).unwrap_or(made);
    Ok(Candidate {
        id,
        epoch,
        fresh: id == made,
    })
}

/// The ids in their order, and how many objects there are: a generation that was cut short can leave one without an
/// id.
fn existing(lease: &Lease<'_>) -> TokenResult<(Vec<KeyTag>, usize)> {
    let template = Template::new()
        .ulong(CKA_CLASS, CKO_SECRET_KEY)
        .bytes(CKA_LABEL, LABEL.as_bytes());
    let objects = lease.find_objects(&template, MOST)?;
    let mut ids = Vec::new();
    for object in &objects {
        let id = lease.get_attribute(*object, CKA_ID)?;
        ids.extend(id.and_then(|id| id.try_into().ok()).map(KeyTag::from_bytes));
    }
    ids.sort_unstable();
    Ok((ids, objects.len()))
}

/// Whether the token keeps the key to itself, and wraps and unwraps with it. What was left of a generation that was cut
/// short has an id, but no value; what somebody else has put there could be known to him.
fn works(token: &Token, wrapping: KeyWrapping, id: KeyTag) -> TokenResult<bool> {
    Trials::new(token).holds(|lease| {
        let kek = find_one(lease, id, ObjectClass::Secret)?;
        let is = |attribute, wanted: u8| {
            let value = lease.get_attribute(kek, attribute)?;
            TokenResult::Ok(value.map(|value| value == [wanted]))
        };
        let kept = is(CKA_SENSITIVE, 1)? == Some(true)
            && is(CKA_EXTRACTABLE, 0)? == Some(true)
            && is(CKA_NEVER_EXTRACTABLE, 1)? != Some(false);
        if !kept {
            return Ok(false);
        }
        wraps_private_keys(lease, wrapping, kek)?;
        Ok(true)
    })
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
