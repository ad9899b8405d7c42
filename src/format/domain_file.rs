//! What a domain file holds, after its seal: a security domain's id and keys.

use zeroize::Zeroizing;

use super::layout;
use super::ring::{SDK_RING_LENGTH, SdkRing};
use crate::error::{Error, ErrorKind, Result};

const LAYOUT_1: u16 = 1;
const LENGTH: usize = 18 + SDK_RING_LENGTH;

/// layout ‖ id of the domain ‖ ring.
pub(crate) fn encode(id: &[u8; 16], ring: &SdkRing) -> Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; LENGTH]);
    bytes[..2].copy_from_slice(&LAYOUT_1.to_be_bytes());
    bytes[2..18].copy_from_slice(id);
    bytes[18..].copy_from_slice(&ring.encode()?);
    Ok(bytes)
}

/// Errors: `NewerFormat`, `InvalidBackup`.
pub(crate) fn decode(bytes: &[u8]) -> Result<([u8; 16], SdkRing)> {
    let invalid = || {
        Error::new(
            ErrorKind::InvalidBackup,
            "the domain file opens but does not decode",
        )
    };
    let (number, rest) = layout::split_number(bytes).map_err(|_| invalid())?;
    if number != LAYOUT_1 {
        return Err(layout::newer("the domain file was made by a newer version"));
    }
    let (id, ring) = rest.split_first_chunk::<16>().ok_or_else(invalid)?;
    match SdkRing::decode(ring) {
        Ok(ring) => Ok((*id, ring)),
        Err(error) if error.kind() == ErrorKind::NewerFormat => Err(error),
        Err(_) => Err(invalid()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Key32;

    #[test]
    fn a_domain_comes_back_and_nothing_else_does() {
        let ring = SdkRing {
            current_epoch: 7,
            epochs: [3, 7]
                .into_iter()
                .map(|epoch| {
                    let byte = u8::try_from(epoch).unwrap();
                    (epoch, Key32::copied_from(&[byte; 32]).unwrap().into())
                })
                .collect(),
        };
        let bytes = encode(&[9; 16], &ring).unwrap();
        assert_eq!(bytes.len(), 1_466);
        let (id, again) = decode(&bytes).unwrap();
        assert_eq!((id, again.current_epoch), ([9; 16], 7));
        assert_eq!(again.key(3).unwrap().expose(), &[3; 32]);
        let kind = |bytes: &[u8]| decode(bytes).unwrap_err().kind();
        for length in 0..bytes.len() {
            assert_eq!(kind(&bytes[..length]), ErrorKind::InvalidBackup);
        }
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert_eq!(kind(&longer), ErrorKind::InvalidBackup);
        longer[1] = 2;
        assert_eq!(kind(&longer), ErrorKind::NewerFormat);
        // The ring has a layout of its own.
        let mut newer_ring = bytes.to_vec();
        newer_ring[19] = 2;
        assert_eq!(kind(&newer_ring), ErrorKind::NewerFormat);
    }
}
