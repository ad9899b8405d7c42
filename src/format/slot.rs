//! Slots of the header: how one slot secret opens the vault root key.

use super::fields::{Reader, Writer};

/// Bytes of a slot.
pub(crate) const SLOT_LENGTH: usize = 2_048;
/// Bytes in front of the wrapped secret; they are part of its sealing context.
pub(crate) const SLOT_PREFIX_LENGTH: usize = 128;
/// The longest wrapped secret.
pub(crate) const MAX_WRAPPED_LENGTH: usize = SLOT_LENGTH - SLOT_PREFIX_LENGTH;

const RESERVED_AT: usize = 82;

/// Where the slot secret comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SlotKind {
    RawKey,
    Passphrase,
    OsKeyring,
    Pkcs11AesGcm,
    Pkcs11RsaOaep,
    HpkeRecipient,
    /// A kind that a later build added without breaking readers of the other slots: kept, never opened.
    Other(u8),
}

impl SlotKind {
    const fn byte(self) -> u8 {
        match self {
            Self::RawKey => 1,
            Self::Passphrase => 2,
            Self::OsKeyring => 3,
            Self::Pkcs11AesGcm => 4,
            Self::Pkcs11RsaOaep => 5,
            Self::HpkeRecipient => 6,
            Self::Other(byte) => byte,
        }
    }

    /// `None` for 0, an empty slot.
    const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => return None,
            1 => Self::RawKey,
            2 => Self::Passphrase,
            3 => Self::OsKeyring,
            4 => Self::Pkcs11AesGcm,
            5 => Self::Pkcs11RsaOaep,
            6 => Self::HpkeRecipient,
            other => Self::Other(other),
        })
    }

    /// Anyone who knows a public key can make such a slot: the vault behind it must be recognised by its root.
    pub(crate) const fn needs_expected_root(self) -> bool {
        matches!(self, Self::Pkcs11RsaOaep | Self::HpkeRecipient)
    }

    /// What opens it can be lost with a device, or at the next start of the system.
    pub(crate) const fn can_be_lost(self) -> bool {
        matches!(
            self,
            Self::OsKeyring | Self::Pkcs11AesGcm | Self::Pkcs11RsaOaep | Self::Other(_)
        )
    }
}

/// A slot in use. What does not belong to its kind is zero.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Slot {
    pub(crate) kind: SlotKind,
    pub(crate) flags: u8,
    pub(crate) memory_kib: u32,
    pub(crate) iterations: u32,
    pub(crate) lanes: u32,
    pub(crate) salt: [u8; 32],
    pub(crate) provider_tag: [u8; 16],
    pub(crate) slot_id: [u8; 16],
    pub(crate) kem_id: u16,
    /// At most [`MAX_WRAPPED_LENGTH`] bytes.
    pub(crate) wrapped: Vec<u8>,
}

impl Slot {
    /// The bytes before a wrapped secret of `wrapped_length` bytes.
    pub(crate) fn prefix(&self, wrapped_length: usize) -> [u8; SLOT_PREFIX_LENGTH] {
        let mut bytes = [0; SLOT_PREFIX_LENGTH];
        Writer::new(&mut bytes)
            .bytes(&[self.kind.byte(), self.flags])
            .u16(u16::try_from(wrapped_length).unwrap_or(u16::MAX))
            .u32(self.memory_kib)
            .u32(self.iterations)
            .u32(self.lanes)
            .bytes(&self.salt)
            .bytes(&self.provider_tag)
            .bytes(&self.slot_id)
            .u16(self.kem_id);
        bytes
    }

    /// Writes the slot to its zeroed place of [`SLOT_LENGTH`] bytes.
    pub(crate) fn write(&self, place: &mut [u8]) {
        debug_assert!(self.wrapped.len() <= MAX_WRAPPED_LENGTH);
        let wrapped = &self.wrapped[..self.wrapped.len().min(MAX_WRAPPED_LENGTH)];
        Writer::new(place)
            .bytes(&self.prefix(wrapped.len()))
            .bytes(wrapped);
    }

    /// `None` for an empty slot, lengths out of bounds or set reserved bytes.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = Reader::new(bytes);
        let kind = SlotKind::from_byte(fields.u8()?)?;
        let flags = fields.u8()?;
        let wrapped_length = usize::from(fields.u16()?);
        let mut slot = Self {
            kind,
            flags,
            memory_kib: fields.u32()?,
            iterations: fields.u32()?,
            lanes: fields.u32()?,
            salt: fields.array()?,
            provider_tag: fields.array()?,
            slot_id: fields.array()?,
            kem_id: fields.u16()?,
            wrapped: Vec::new(),
        };
        fields.zeros(SLOT_PREFIX_LENGTH - RESERVED_AT)?;
        slot.wrapped = fields.slice(wrapped_length)?.to_vec();
        fields.zeros(MAX_WRAPPED_LENGTH.checked_sub(wrapped_length)?)?;
        fields.end()?;
        Some(slot)
    }
}
