//! The plaintexts of the two key rings in the header file.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind, Result};
use crate::secret::Key32;

/// Bytes of a KEK ring before sealing.
pub(crate) const KEK_RING_LENGTH: usize = 80;
/// Bytes of a security-domain ring before sealing.
pub(crate) const SDK_RING_LENGTH: usize = 8 + MAX_EPOCHS * EPOCH_LENGTH;
/// The most epochs that a security domain keeps.
pub(crate) const MAX_EPOCHS: usize = 40;

const RING_LAYOUT: u16 = 1;
const EPOCH_LENGTH: usize = 36;

/// The keys that seal key objects. Terms count up from 1.
#[derive(Debug)]
pub(crate) struct KekRing {
    pub(crate) current_term: u32,
    pub(crate) current_key: Arc<Key32>,
    /// The term before, only while key objects are still sealed under it.
    pub(crate) previous: Option<(u32, Arc<Key32>)>,
}

impl KekRing {
    /// A ring that holds no key of any record, for a vault that has let its own go.
    pub(crate) fn blank() -> Self {
        Self {
            current_term: 0,
            current_key: Arc::new(Key32::blank()),
            previous: None,
        }
    }

    /// The key of `term`, if the ring has it.
    pub(crate) fn key(&self, term: u32) -> Option<&Key32> {
        if term == self.current_term {
            return Some(&self.current_key);
        }
        self.previous
            .as_ref()
            .filter(|(previous, _)| *previous == term)
            .map(|(_, key)| &**key)
    }

    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut ring = Zeroizing::new(vec![0; KEK_RING_LENGTH]);
        ring[..2].copy_from_slice(&RING_LAYOUT.to_be_bytes());
        ring[4..8].copy_from_slice(&self.current_term.to_be_bytes());
        ring[8..40].copy_from_slice(self.current_key.expose());
        if let Some((term, key)) = &self.previous {
            ring[40..44].copy_from_slice(&term.to_be_bytes());
            ring[44..76].copy_from_slice(key.expose());
        }
        ring
    }

    /// Errors: `NewerFormat` for an unknown layout or flag, `Corrupt` for anything that `encode` does not make.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let ring: &[u8; KEK_RING_LENGTH] = bytes.try_into().map_err(|_| corrupt())?;
        if ring[..2] != RING_LAYOUT.to_be_bytes() || ring[2..4] != [0; 2] {
            return Err(newer());
        }
        let current_term = u32_at(ring, 4);
        let previous_term = u32_at(ring, 40);
        // Term 0 stands for "none", here and in records.
        if current_term == 0 || previous_term >= current_term || ring[76..] != [0; 4] {
            return Err(corrupt());
        }
        let previous = if previous_term > 0 {
            Some((previous_term, key_at(ring, 44)?))
        } else if ring[44..76] == [0; 32] {
            None
        } else {
            return Err(corrupt());
        };
        Ok(Self {
            current_term,
            current_key: key_at(ring, 8)?,
            previous,
        })
    }
}

/// The keys of the security domain, which seal backups. Epochs count up from 1.
#[derive(Debug)]
pub(crate) struct SdkRing {
    pub(crate) current_epoch: u32,
    /// Ascending, at least one and at most [`MAX_EPOCHS`].
    pub(crate) epochs: Vec<(u32, Arc<Key32>)>,
}

impl SdkRing {
    /// The key of `epoch`, if the ring has it.
    pub(crate) fn key(&self, epoch: u32) -> Option<&Key32> {
        self.epochs
            .iter()
            .find(|(number, _)| *number == epoch)
            .map(|(_, key)| &**key)
    }

    /// Errors: `TooLarge` for more than [`MAX_EPOCHS`] epochs.
    pub(crate) fn encode(&self) -> Result<Zeroizing<Vec<u8>>> {
        let count = u16::try_from(self.epochs.len())
            .ok()
            .filter(|_| self.epochs.len() <= MAX_EPOCHS)
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::TooLarge,
                    "a security domain keeps at most 40 epochs; raise its floor first",
                )
            })?;
        let mut ring = Zeroizing::new(vec![0; SDK_RING_LENGTH]);
        ring[..2].copy_from_slice(&RING_LAYOUT.to_be_bytes());
        ring[2..4].copy_from_slice(&count.to_be_bytes());
        ring[4..8].copy_from_slice(&self.current_epoch.to_be_bytes());
        let places = ring[8..].chunks_exact_mut(EPOCH_LENGTH);
        for (place, (epoch, key)) in places.zip(&self.epochs) {
            place[..4].copy_from_slice(&epoch.to_be_bytes());
            place[4..].copy_from_slice(key.expose());
        }
        Ok(ring)
    }

    /// Errors: `NewerFormat` for an unknown layout, `Corrupt` for anything that `encode` does not make.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let ring: &[u8; SDK_RING_LENGTH] = bytes.try_into().map_err(|_| corrupt())?;
        if ring[..2] != RING_LAYOUT.to_be_bytes() {
            return Err(newer());
        }
        let count = usize::from(u16::from_be_bytes([ring[2], ring[3]]));
        if count == 0 || count > MAX_EPOCHS {
            return Err(corrupt());
        }
        let (used, unused) = ring[8..].split_at(count * EPOCH_LENGTH);
        if unused.iter().any(|byte| *byte != 0) {
            return Err(corrupt());
        }
        let mut epochs = Vec::with_capacity(count);
        let mut last = 0;
        for place in used.chunks_exact(EPOCH_LENGTH) {
            let epoch = u32_at(place, 0);
            if epoch <= last {
                return Err(corrupt());
            }
            last = epoch;
            epochs.push((epoch, key_at(place, 4)?));
        }
        let ring = Self {
            current_epoch: u32_at(ring, 4),
            epochs,
        };
        ring.key(ring.current_epoch).ok_or_else(corrupt)?;
        Ok(ring)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[at..at + 4]);
    u32::from_be_bytes(value)
}

fn key_at(bytes: &[u8], at: usize) -> Result<Arc<Key32>> {
    Key32::copied_from(&bytes[at..at + 32])
        .map(Arc::new)
        .ok_or_else(corrupt)
}

fn corrupt() -> Error {
    Error::new(
        ErrorKind::Corrupt,
        "a key ring in the header has contents that no version of this library writes",
    )
}

fn newer() -> Error {
    Error::new(
        ErrorKind::NewerFormat,
        "a key ring in the header has a layout that this build does not know; \
         open the vault with the version that wrote it",
    )
}
