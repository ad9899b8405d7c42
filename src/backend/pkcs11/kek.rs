//! The token's own wrapping key: an AES-256 key that never leaves it.

use super::attributes::{Custody, Permissions, aes_key};
use super::connection::Connection;
use super::error::TokenResult;
use super::handles::ObjectClass;
use super::known_answers::internal;
use super::lease::Lease;
use super::mechanism::Mechanism;
use super::objects::find_one;
use super::own_keys::{OwnKeys, is_kept};
use super::routes::Usage;
use super::token::Token;
use super::trials::Trials;
use super::wrapped::{KeyWrapping, wraps_private_keys};
use crate::model::key::KeyTag;

/// It belongs to the token: all vaults that use the token share it.
const KEKS: OwnKeys<'_> = OwnKeys {
    class: ObjectClass::Secret,
    label: "strongroom/kek",
};

/// The wrapping key for new keys: among those that work the one with the lowest id, made when there is none.
pub(super) fn current(connection: &Connection, wrapping: KeyWrapping) -> TokenResult<KeyTag> {
    let token = connection.token();
    let chosen = KEKS.current(token, Some(&make), |candidate| {
        let Some(id) = tag(&candidate.id) else {
            return Ok(false);
        };
        Ok(connection.known_kek(candidate.epoch) == Some(id) || works(token, wrapping, id)?)
    })?;
    let id = tag(&chosen.id).ok_or_else(|| internal("an id of another length was chosen"))?;
    connection.remember_kek(chosen.epoch, id);
    Ok(id)
}

fn tag(id: &[u8]) -> Option<KeyTag> {
    id.try_into().ok().map(KeyTag::from_bytes)
}

fn make(lease: &Lease<'_>, id: &KeyTag) -> TokenResult<()> {
    let custody = Custody {
        named: Some((id, KEKS.label)),
        ..Custody::PROBE
    };
    let permissions = Permissions::some(&[Usage::Wrap, Usage::Unwrap]);
    lease
        .generate_key(
            &Mechanism::AesKeyGen,
            &aes_key(Some(32), &custody, &permissions),
        )
        .map(drop)
}

/// Whether the token keeps the key to itself, and wraps and unwraps with it. What was left of a generation that was cut
/// short has an id, but no value.
fn works(token: &Token, wrapping: KeyWrapping, id: KeyTag) -> TokenResult<bool> {
    Trials::new(token).holds(|lease| {
        let kek = find_one(lease, id, ObjectClass::Secret)?;
        if !is_kept(lease, kek)? {
            return Ok(false);
        }
        wraps_private_keys(lease, wrapping, kek)?;
        Ok(true)
    })
}
