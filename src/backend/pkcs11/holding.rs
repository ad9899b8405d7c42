//! The objects that a token holds for vaults: confirmed, listed, destroyed.

use std::collections::BTreeSet;

use cryptoki_sys::{CKA_CLASS, CKA_ID, CKA_LABEL};

use super::attributes::{
    data_objects, key_classes, mac_tag, marker, tag_in_label, tag_of_marker, with_id, with_marker,
};
use super::error::{ErrorClass, TokenResult};
use super::handles::ObjectClass;
use super::lease::Lease;
use super::raw::ObjectHandle;
use super::token::Token;
use crate::backend::{Abandoned, HeldKey};
use crate::model::key::{KeyTag, VaultLabel};

/// How many objects with one id are looked at: a key has at most a private and a public one.
const MOST_WITH_ONE_ID: usize = 16;
/// How many objects of a token are listed.
const MOST_LISTED: usize = 65_536;

/// Marks the key of this tag as new, before it is made.
pub(super) fn begin(token: &Token, tag: KeyTag) -> TokenResult<()> {
    // A second marker is no harm: all of them go together.
    token.mutate_or_again(
        |_| Ok(()),
        |lease| lease.create_object(&marker(tag)).map(drop),
    )
}

pub(super) fn confirm(token: &Token, tags: &[KeyTag]) -> TokenResult<()> {
    token.mutate(|lease| {
        for tag in tags {
            for object in markers_of(lease, *tag)? {
                lease.destroy_object(object)?;
            }
        }
        Ok(())
    })
}

pub(super) fn abandon(token: &Token, tag: KeyTag) -> TokenResult<Abandoned> {
    token.mutate(|lease| {
        let markers = markers_of(lease, tag)?;
        let objects = objects_of(lease, tag)?;
        if markers.is_empty() && !objects.is_empty() {
            return Ok(Abandoned::Confirmed);
        }
        // The marker last: as long as it is there, this can be done again.
        destroy_all(token, lease, tag, &objects)?;
        for marker in markers {
            lease.destroy_object(marker)?;
        }
        Ok(Abandoned::NothingLeft)
    })
}

pub(super) fn destroy(token: &Token, tag: KeyTag) -> TokenResult<()> {
    token.mutate(|lease| {
        let markers = markers_of(lease, tag)?;
        let objects = objects_of(lease, tag)?;
        destroy_all(token, lease, tag, &objects)?;
        for marker in markers {
            lease.destroy_object(marker)?;
        }
        Ok(())
    })
}

/// Destroys what a failed attempt to make the object with this id may have left. The key's marker and its other object
/// stay.
pub(super) fn clear(token: &Token, lease: &Lease<'_>, id: KeyTag) -> TokenResult<()> {
    for object in lease.find_objects(&with_id(&id), MOST_WITH_ONE_ID)? {
        lease.destroy_object(object)?;
    }
    forget(token, id);
    Ok(())
}

fn forget(token: &Token, id: KeyTag) {
    for class in [ObjectClass::Private, ObjectClass::Secret] {
        token.handles().remove(id, class);
    }
}

fn markers_of(lease: &Lease<'_>, tag: KeyTag) -> TokenResult<Vec<ObjectHandle>> {
    lease.find_objects(&with_marker(tag), MOST_WITH_ONE_ID)
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
        forget(token, id);
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
        let new = marked(lease)?;
        for class in key_classes() {
            for object in lease.find_objects(&class, MOST_LISTED)? {
                seen += 1;
                match described(lease, object, vault, &new) {
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
        held.sort_by_key(HeldKey::tag);
        held.dedup_by(|second, first| first.tag().is_some() && first.tag() == second.tag());
        Ok(held)
    })
}

fn described(
    lease: &Lease<'_>,
    object: ObjectHandle,
    vault: &VaultLabel,
    new: &BTreeSet<KeyTag>,
) -> TokenResult<Option<HeldKey>> {
    let label = label_of(lease, object)?;
    if let Some(tag) = tag_in_label(vault, &label) {
        return Ok(Some(HeldKey::new(
            Some(tag),
            new.contains(&tag),
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

/// The tags of keys that are not confirmed.
fn marked(lease: &Lease<'_>) -> TokenResult<BTreeSet<KeyTag>> {
    let mut tags = BTreeSet::new();
    for object in lease.find_objects(&data_objects(), MOST_LISTED)? {
        match label_of(lease, object) {
            Ok(label) => tags.extend(tag_of_marker(&label)),
            Err(error) if error.class == ErrorClass::StaleHandle => {}
            Err(error) => return Err(error),
        }
    }
    Ok(tags)
}

fn label_of(lease: &Lease<'_>, object: ObjectHandle) -> TokenResult<String> {
    let label = lease.get_attribute(object, CKA_LABEL)?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&label).into_owned())
}
