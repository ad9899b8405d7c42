//! The objects that a token holds for vaults: confirmed, listed, destroyed.

use cryptoki_sys::{CKA_CLASS, CKA_ID, CKA_LABEL};

use super::attributes::{confirmed_label, key_classes, mac_tag, tag_in_label, with_id};
use super::error::{ErrorClass, TokenResult};
use super::handles::ObjectClass;
use super::lease::Lease;
use super::raw::ObjectHandle;
use super::template::Template;
use super::token::Token;
use crate::backend::{Abandoned, HeldKey};
use crate::model::key::{KeyTag, VaultLabel};

/// How many objects with one id are looked at: a key has at most a private and a public one.
const MOST_WITH_ONE_ID: usize = 16;
/// How many objects of a token are listed.
const MOST_LISTED: usize = 65_536;

pub(super) fn confirm(token: &Token, tags: &[KeyTag]) -> TokenResult<()> {
    token.mutate(|lease| {
        for tag in tags {
            for object in objects_of(lease, *tag)? {
                let label = label_of(lease, object)?;
                if let Some(confirmed) = confirmed_label(&label) {
                    let change = Template::new().bytes(CKA_LABEL, confirmed.as_bytes());
                    lease.set_attributes(object, &change)?;
                }
            }
        }
        Ok(())
    })
}

pub(super) fn abandon(token: &Token, tag: KeyTag) -> TokenResult<Abandoned> {
    token.mutate(|lease| {
        let objects = objects_of(lease, tag)?;
        for object in &objects {
            let label = label_of(lease, *object)?;
            // An object whose making was cut short may have no label yet.
            if !label.is_empty() && confirmed_label(&label).is_none() {
                return Ok(Abandoned::Confirmed);
            }
        }
        destroy_all(token, lease, tag, &objects)?;
        Ok(Abandoned::NothingLeft)
    })
}

pub(super) fn destroy(token: &Token, tag: KeyTag) -> TokenResult<()> {
    token.mutate(|lease| {
        let objects = objects_of(lease, tag)?;
        destroy_all(token, lease, tag, &objects)
    })
}

fn destroy_all(
    token: &Token,
    lease: &Lease<'_>,
    tag: KeyTag,
    objects: &[ObjectHandle],
) -> TokenResult<()> {
    for object in objects {
        lease.destroy_object(*object)?;
    }
    for id in [tag, mac_tag(tag)] {
        for class in [ObjectClass::Private, ObjectClass::Secret] {
            token.handles().remove(id, class);
        }
    }
    Ok(())
}

/// All objects of a key, whatever their class.
fn objects_of(lease: &Lease<'_>, tag: KeyTag) -> TokenResult<Vec<ObjectHandle>> {
    let mut found = Vec::new();
    for id in [tag, mac_tag(tag)] {
        found.extend(lease.find_objects(&with_id(&id), MOST_WITH_ONE_ID)?);
    }
    if found.is_empty() {
        // A token that is gone finds nothing either.
        lease.health()?;
    }
    Ok(found)
}

pub(super) fn inventory(token: &Token, vault: &VaultLabel) -> TokenResult<Vec<HeldKey>> {
    // Alone with the token: what is being made has no name yet, and what is being destroyed no attributes.
    token.mutate(|lease| {
        let mut held: Vec<HeldKey> = Vec::new();
        let mut seen = 0;
        for class in key_classes() {
            for object in lease.find_objects(&class, MOST_LISTED)? {
                seen += 1;
                match described(lease, object, vault) {
                    Ok(key) => held.extend(key),
                    // Destroyed by another process since it was found.
                    Err(error) if error.class == ErrorClass::StaleHandle => {}
                    Err(error) => return Err(error),
                }
            }
        }
        if seen == 0 {
            lease.health()?;
        }
        // A symmetric key may have two objects.
        held.sort_by_key(|key| (key.tag(), !key.is_provisional()));
        held.dedup_by(|second, first| first.tag().is_some() && first.tag() == second.tag());
        Ok(held)
    })
}

fn described(
    lease: &Lease<'_>,
    object: ObjectHandle,
    vault: &VaultLabel,
) -> TokenResult<Option<HeldKey>> {
    let label = label_of(lease, object)?;
    if let Some((tag, provisional)) = tag_in_label(vault, &label) {
        return Ok(Some(HeldKey::new(
            Some(tag),
            provisional,
            format!("label {label}"),
        )));
    }
    let id = lease.get_attribute(object, CKA_ID)?.unwrap_or_default();
    if label.is_empty() && id.is_empty() {
        let class = lease.get_attribute(object, CKA_CLASS)?.unwrap_or_default();
        return Ok(Some(HeldKey::new(
            None,
            true,
            format!("an object of class {}", class.first().unwrap_or(&0)),
        )));
    }
    // Of another vault, or another application.
    Ok(None)
}

fn label_of(lease: &Lease<'_>, object: ObjectHandle) -> TokenResult<String> {
    let label = lease.get_attribute(object, CKA_LABEL)?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&label).into_owned())
}
