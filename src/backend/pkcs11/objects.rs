//! Objects of a token, by tag and class.

use cryptoki_sys::{CKA_CLASS, CKA_ID};

use super::error::{ErrorClass, TokenError, TokenResult};
use super::handles::ObjectClass;
use super::lease::Lease;
use super::raw::ObjectHandle;
use super::template::Template;
use super::token::{Retry, Token};
use crate::model::key::KeyTag;

/// Does `work` with the object of this tag (CKA_ID) and class.
///
/// The handle comes from the cache. When the token does not know it any more, the object is found again and
/// the work done once more.
///
/// # Errors
///
/// `NotFound` only when the token is well and holds no such object.
pub(super) fn with_object<T>(
    token: &Token,
    retry: Retry,
    tag: KeyTag,
    class: ObjectClass,
    mut work: impl FnMut(&Lease<'_>, ObjectHandle) -> TokenResult<T>,
) -> TokenResult<T> {
    let cache = token.handles();
    let mut attempt = || {
        token.run(retry, |lease| {
            let handle = match cache.get(lease.epoch(), tag, class) {
                Some(handle) => handle,
                None => {
                    let handle = find_one(lease, tag, class)?;
                    cache.insert(lease.epoch(), tag, class, handle);
                    handle
                }
            };
            work(lease, handle)
        })
    };
    match attempt() {
        Err(error) if error.class == ErrorClass::StaleHandle => {
            cache.remove(tag, class);
            attempt()
        }
        result => result,
    }
}

/// The one object of this tag and class.
///
/// # Errors
///
/// `NotFound` only when the token is well and holds no such object.
pub(super) fn find_one(
    lease: &Lease<'_>,
    tag: KeyTag,
    class: ObjectClass,
) -> TokenResult<ObjectHandle> {
    find_by_id(lease, tag.as_bytes(), class)
}

/// As [`find_one`], by a CKA_ID that somebody else may have chosen.
pub(super) fn find_by_id(
    lease: &Lease<'_>,
    id: &[u8],
    class: ObjectClass,
) -> TokenResult<ObjectHandle> {
    let template = Template::new()
        .ulong(CKA_CLASS, class.number())
        .bytes(CKA_ID, id);
    match lease.find_objects(&template, 2)?.as_slice() {
        [handle] => Ok(*handle),
        [] => {
            lease.health()?;
            Err(TokenError::new(ErrorClass::NotFound, "C_FindObjects"))
        }
        _ => Err(TokenError::with_detail(
            ErrorClass::Device,
            "C_FindObjects",
            "the token holds several objects of one class under the key's id; remove the one that does not belong \
             to it",
        )),
    }
}

/// The secret key with this id, found once in an epoch.
pub(super) fn find_secret(lease: &Lease<'_>, id: KeyTag) -> TokenResult<ObjectHandle> {
    let handles = lease.handles();
    if let Some(handle) = handles.get(lease.epoch(), id, ObjectClass::Secret) {
        return Ok(handle);
    }
    let handle = find_one(lease, id, ObjectClass::Secret)?;
    handles.insert(lease.epoch(), id, ObjectClass::Secret, handle);
    Ok(handle)
}
