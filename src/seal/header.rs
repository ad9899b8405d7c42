//! The header as a whole: sealing its rings, its MAC, and opening it.

use std::fmt;

use subtle::ConstantTimeEq;

use super::hierarchy::Hierarchy;
use super::passphrase::DEFAULT_MAX_KDF_WORK_KIB;
use super::slot::{Unlock, open_slots};
use super::{Suite, hash32};
use crate::env::Entropy;
use crate::error::{Error, ErrorKind, Result};
use crate::format::header::{Header, KekRing, MAX_SLOTS, SdkRing, StoredHeader};
use crate::format::slot::Slot;
use crate::secret::Key32;

/// Seals the rings and authenticates the whole. [`StoredHeader::encode`] with [`hash32`] gives the copy.
///
/// Errors: `BadParameter` without slots or with more than eight; `RandomUnavailable`.
pub(crate) fn seal_header(
    hierarchy: &Hierarchy,
    domain_id: [u8; 16],
    seq: u64,
    slots: Vec<Slot>,
    kek_ring: &KekRing,
    sdk_ring: &SdkRing,
    entropy: &dyn Entropy,
) -> Result<StoredHeader> {
    if slots.is_empty() || slots.len() > MAX_SLOTS {
        return Err(Error::bad_parameter(
            "a vault has one to eight ways to unlock it",
        ));
    }
    let misfit =
        |_: Vec<u8>| Error::internal("a sealed key ring does not have the length of its place");
    let header = Header {
        vault_id: *hierarchy.vault_id(),
        domain_id,
        seq,
        suite: hierarchy.suite().byte(),
        slots,
        kek_ring: hierarchy
            .seal_kek_ring(kek_ring, seq, entropy)?
            .try_into()
            .map_err(misfit)?,
        sdk_ring: hierarchy
            .seal_sdk_ring(sdk_ring, seq, entropy)?
            .try_into()
            .map_err(misfit)?,
    };
    let mac = hierarchy.header_mac(&header.mac_input(hash32));
    Ok(StoredHeader { header, mac })
}

/// A header whose MAC is right, and the keys in it.
pub(crate) struct OpenedHeader {
    pub(crate) stored: StoredHeader,
    pub(crate) root: Key32,
    pub(crate) hierarchy: Hierarchy,
    pub(crate) kek_ring: KekRing,
    pub(crate) sdk_ring: SdkRing,
    /// The number of the slot that opened.
    pub(crate) slot: usize,
}

impl fmt::Debug for OpenedHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenedHeader")
            .field("seq", &self.stored.header.seq)
            .field("slot", &self.slot)
            .finish_non_exhaustive()
    }
}

/// What an attempt to open may cost, and which vault it must be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenLimits {
    pub(crate) max_kdf_work_kib: u64,
    /// The fingerprint of the root key.
    pub(crate) expected_root: Option<[u8; 32]>,
}

impl Default for OpenLimits {
    fn default() -> Self {
        Self {
            max_kdf_work_kib: DEFAULT_MAX_KDF_WORK_KIB,
            expected_root: None,
        }
    }
}

/// Opens one header.
///
/// Errors: `NewerFormat` for an unknown suite; `WrongKey` and `KdfCostRefused` as in [`open_slots`]; `Tampered`
/// when a slot opens and the MAC is wrong; `WrongRoot` for another root than the expected one; `BadParameter` when
/// none is expected and the slot is one that anybody can make; the errors of the rings.
pub(crate) fn open_header(
    stored: StoredHeader,
    unlock: Unlock<'_>,
    limits: OpenLimits,
) -> Result<OpenedHeader> {
    let header = &stored.header;
    let suite = Suite::from_byte(header.suite).ok_or_else(|| {
        Error::new(
            ErrorKind::NewerFormat,
            "the vault is sealed with a suite that this build does not have; \
             open it with the version that wrote it",
        )
    })?;
    let (slot, root) = open_slots(
        &header.slots,
        unlock,
        &header.vault_id,
        suite,
        limits.max_kdf_work_kib,
    )?;
    let hierarchy = Hierarchy::derive(&root, header.vault_id, suite);
    match limits.expected_root {
        Some(expected) if expected != hierarchy.fingerprint() => {
            return Err(Error::new(
                ErrorKind::WrongRoot,
                "the vault opens, but its root is not the expected one: this is another vault, or its root was \
                 replaced",
            ));
        }
        None if header
            .slots
            .get(slot)
            .is_some_and(|slot| slot.kind.needs_expected_root()) =>
        {
            return Err(Error::bad_parameter(
                "anyone can make a slot for a public key: name the root that you expect with \
                 VaultOptions::expect_root",
            ));
        }
        _ => {}
    }
    let mac = hierarchy.header_mac(&header.mac_input(hash32));
    if !bool::from(mac.ct_eq(&stored.mac)) {
        return Err(Error::new(
            ErrorKind::Tampered,
            "the vault's header is not the one that was written: its MAC is wrong",
        ));
    }
    let kek_ring = hierarchy.open_kek_ring(&header.kek_ring, header.seq)?;
    let sdk_ring = hierarchy.open_sdk_ring(&header.sdk_ring, header.seq)?;
    Ok(OpenedHeader {
        stored,
        root,
        hierarchy,
        kek_ring,
        sdk_ring,
        slot,
    })
}

/// Opens the first of the candidates that opens; the error is that of the first. At most two, so that hostile
/// copies cost at most twice the work.
pub(crate) fn open_first(
    candidates: Vec<StoredHeader>,
    unlock: Unlock<'_>,
    limits: OpenLimits,
) -> Result<OpenedHeader> {
    let mut first_error = None;
    for candidate in candidates {
        match open_header(candidate, unlock, limits) {
            Ok(opened) => return Ok(opened),
            Err(error) => {
                first_error.get_or_insert(error);
            }
        }
    }
    Err(first_error.unwrap_or_else(|| Error::internal("there is no header to open")))
}
