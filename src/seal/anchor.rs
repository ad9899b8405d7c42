//! Anchor slots with their MAC.

use subtle::ConstantTimeEq;

use super::hierarchy::Hierarchy;
use crate::error::{Error, ErrorKind, Result};
use crate::format::anchor::{ANCHOR_SLOT_LENGTH, Anchor};

/// The whole slot.
pub(crate) fn seal_anchor(hierarchy: &Hierarchy, anchor: &Anchor) -> [u8; ANCHOR_SLOT_LENGTH] {
    anchor.encode(&hierarchy.anchor_mac(&anchor.mac_input()))
}

/// A slot of this vault.
///
/// Errors: `Corrupt` when the bytes are no slot; `Tampered` when it is another vault's or its MAC is wrong.
pub(crate) fn open_anchor(hierarchy: &Hierarchy, slot: &[u8]) -> Result<Anchor> {
    let (anchor, stored) = Anchor::decode(slot)?;
    let mac = hierarchy.anchor_mac(&anchor.mac_input());
    if anchor.vault_id == *hierarchy.vault_id() && bool::from(mac.ct_eq(&stored)) {
        Ok(anchor)
    } else {
        Err(Error::new(
            ErrorKind::Tampered,
            "a slot of the anchor file is not one that this vault wrote",
        ))
    }
}
