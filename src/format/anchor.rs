//! A slot of the anchor file.

use super::fields::{Reader, Writer};
use crate::error::{Error, ErrorKind, Result};

/// Bytes of a slot: one page, so that a torn write hits one slot only.
pub(crate) const ANCHOR_SLOT_LENGTH: usize = 4_096;
/// Bytes of the file: two slots.
pub(crate) const ANCHOR_FILE_LENGTH: usize = 2 * ANCHOR_SLOT_LENGTH;
/// Bytes under the slot's MAC.
pub(crate) const ANCHOR_MAC_INPUT_LENGTH: usize = 64;

const ANCHOR_MAGIC: [u8; 8] = *b"SRMANC01";
const ANCHOR_MAC_LENGTH: usize = 32;

/// The generation that is known to be durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Anchor {
    pub(crate) generation: u64,
    /// SHA-512 of the sealed STATE record, its first 32 bytes.
    pub(crate) state_hash: [u8; 32],
    pub(crate) vault_id: [u8; 16],
}

impl Anchor {
    /// What the MAC is made over.
    pub(crate) fn mac_input(&self) -> [u8; ANCHOR_MAC_INPUT_LENGTH] {
        let mut bytes = [0; ANCHOR_MAC_INPUT_LENGTH];
        Writer::new(&mut bytes)
            .bytes(&ANCHOR_MAGIC)
            .u64(self.generation)
            .bytes(&self.state_hash)
            .bytes(&self.vault_id);
        bytes
    }

    /// The whole slot, with the MAC of [`Anchor::mac_input`].
    pub(crate) fn encode(&self, mac: &[u8; ANCHOR_MAC_LENGTH]) -> [u8; ANCHOR_SLOT_LENGTH] {
        let mut bytes = [0; ANCHOR_SLOT_LENGTH];
        Writer::new(&mut bytes).bytes(&self.mac_input()).bytes(mac);
        bytes
    }

    /// Reads a slot; the caller compares the MAC. Errors: `Corrupt` for anything that `encode` does not make,
    /// a slot that was never written included.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, [u8; ANCHOR_MAC_LENGTH])> {
        Self::read(bytes)
            .ok_or_else(|| Error::new(ErrorKind::Corrupt, "a slot of the anchor file is damaged"))
    }

    fn read(bytes: &[u8]) -> Option<(Self, [u8; ANCHOR_MAC_LENGTH])> {
        let mut fields = Reader::new(bytes);
        if fields.array()? != ANCHOR_MAGIC {
            return None;
        }
        let anchor = Self {
            generation: fields.u64()?,
            state_hash: fields.array()?,
            vault_id: fields.array()?,
        };
        let mac = fields.array()?;
        fields.zeros(ANCHOR_SLOT_LENGTH - ANCHOR_MAC_INPUT_LENGTH - ANCHOR_MAC_LENGTH)?;
        fields.end()?;
        Some((anchor, mac))
    }
}
