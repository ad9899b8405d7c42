//! How the token says that it keeps a key.

use cryptoki_sys::{
    CKA_ALWAYS_SENSITIVE, CKA_EXTRACTABLE, CKA_LOCAL, CKA_NEVER_EXTRACTABLE, CKA_SENSITIVE,
};

use super::handles::ObjectClass;
use super::objects::with_object;
use super::own_keys::is;
use super::token::{Retry, Token};
use crate::backend::{BackendResult, KeyCustody, KeyReference};
use crate::format::token_key::{Keeping, TokenKey};
use crate::model::spec::KeyFamily;

/// What the token shows of its object. A wrapped key is unwrapped anew for each session: the token could only speak of that
/// copy, so nothing is said but that the key can leave it, wrapped.
pub(super) fn custody(
    token: &Token,
    key: &KeyReference<'_>,
    blob: &TokenKey,
) -> BackendResult<KeyCustody> {
    if matches!(blob.keeping, Keeping::Wrapped(_)) {
        return Ok(KeyCustody {
            extractable: Some(true),
            never_extractable: Some(false),
            ..KeyCustody::UNKNOWN
        });
    }
    let class = match key.spec.family() {
        KeyFamily::Oct => ObjectClass::Secret,
        KeyFamily::Rsa | KeyFamily::Ec => ObjectClass::Private,
    };
    Ok(with_object(
        token,
        Retry::Safe,
        key.tag,
        class,
        |lease, object| {
            let yes = |attribute| is(lease, object, attribute, true);
            Ok(KeyCustody {
                local: yes(CKA_LOCAL)?,
                sensitive: yes(CKA_SENSITIVE)?,
                always_sensitive: yes(CKA_ALWAYS_SENSITIVE)?,
                extractable: yes(CKA_EXTRACTABLE)?,
                never_extractable: yes(CKA_NEVER_EXTRACTABLE)?,
            })
        },
    )?)
}
