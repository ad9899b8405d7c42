//! The plaintext of a GCM counter record.

use super::fields::{Reader, Writer};
use crate::error::{Error, ErrorKind, Result};

/// Bytes of the plaintext.
pub(crate) const GCM_COUNTER_LENGTH: usize = 64;

const GCM_COUNTER_LAYOUT: u16 = 1;

/// How many GCM encryptions one version has done or reserved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct GcmCounter {
    pub(crate) count: u64,
}

impl GcmCounter {
    pub(crate) fn encode(&self) -> [u8; GCM_COUNTER_LENGTH] {
        let mut bytes = [0; GCM_COUNTER_LENGTH];
        Writer::new(&mut bytes)
            .u16(GCM_COUNTER_LAYOUT)
            .zeros(6)
            .u64(self.count);
        bytes
    }

    /// Errors: `NewerFormat` for an unknown layout, `Corrupt` for a wrong length or set reserved bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let corrupt = || Error::new(ErrorKind::Corrupt, "a GCM counter record is damaged");
        if bytes.len() != GCM_COUNTER_LENGTH {
            return Err(corrupt());
        }
        let mut fields = Reader::new(bytes);
        if fields.u16() != Some(GCM_COUNTER_LAYOUT) {
            return Err(Error::new(
                ErrorKind::NewerFormat,
                "a GCM counter record has a layout that this build does not know; \
                 open the vault with the version that wrote it",
            ));
        }
        Self::read(&mut fields).ok_or_else(corrupt)
    }

    fn read(fields: &mut Reader<'_>) -> Option<Self> {
        fields.zeros(6)?;
        let counter = Self {
            count: fields.u64()?,
        };
        fields.zeros(48)?;
        fields.end()?;
        Some(counter)
    }
}
