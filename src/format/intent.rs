//! I: what the vault is about to do in a backend that holds keys of its own.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::layout;
use crate::error::Result;
use crate::model::key::{BackendId, BackendInstance, KeyBlob, KeyTag};
use crate::secret::SecretBytes;

const LAYOUT_1: u16 = 1;

const CREATION: u8 = 1;
const DESTRUCTION: u8 = 2;

/// A call to a backend that may be under way, or cut short.
#[derive(Debug)]
pub(crate) struct Intent {
    pub(crate) tag: KeyTag,
    pub(crate) backend: BackendId,
    pub(crate) action: Action,
}

#[derive(Debug)]
pub(crate) enum Action {
    /// A key is made or taken in under the tag, in the device that the backend names, if it names them; its records
    /// are not written yet.
    Creation(Option<BackendInstance>),
    /// The records of the key are gone, and the backend is to destroy what it holds.
    Destruction(KeyBlob),
}

#[derive(Serialize, Deserialize)]
struct Intent1<'a> {
    action: u8,
    tag: [u8; 16],
    backend: &'a str,
    /// The device of a creation, or the blob of a key that is to be destroyed, which tells it.
    #[serde(with = "serde_bytes")]
    detail: &'a [u8],
}

impl Intent {
    /// layout ‖ intent.
    pub(crate) fn encode(&self) -> Result<Zeroizing<Vec<u8>>> {
        let (action, detail) = match &self.action {
            Action::Creation(instance) => {
                let instance = instance.as_ref().map(BackendInstance::as_bytes);
                (CREATION, instance.unwrap_or_default())
            }
            Action::Destruction(blob) => (DESTRUCTION, blob.expose()),
        };
        let parts = Intent1 {
            action,
            tag: *self.tag.as_bytes(),
            backend: self.backend.as_str(),
            detail,
        };
        layout::encode_record(LAYOUT_1, &[], &parts)
    }

    /// Errors: `NewerFormat`, `Corrupt`.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let (number, rest) = layout::split_number(bytes)?;
        if number != LAYOUT_1 {
            return Err(layout::newer("an intent has a layout of a newer version"));
        }
        let impossible = || layout::corrupt("an intent holds an impossible value");
        let parts: Intent1<'_> = layout::decode(rest)?;
        let action = match (parts.action, parts.detail) {
            (CREATION, []) => Action::Creation(None),
            (CREATION, instance) => {
                let instance = BackendInstance::new(instance).ok_or_else(impossible)?;
                Action::Creation(Some(instance))
            }
            (DESTRUCTION, blob) => {
                Action::Destruction(KeyBlob::new(SecretBytes::copied_from(blob)))
            }
            _ => return Err(impossible()),
        };
        Ok(Self {
            tag: KeyTag::from_bytes(parts.tag),
            backend: parts.backend.parse().map_err(|_| impossible())?,
            action,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intents_survive_their_encoding_and_nothing_else_decodes() {
        let intent = |action| Intent {
            tag: KeyTag::from_bytes([7; 16]),
            backend: "pkcs11".parse().unwrap(),
            action,
        };
        let creation = intent(Action::Creation(None)).encode().unwrap();
        let expected = [
            &[0, 1, 1][..],
            &[7; 16],
            &[0, 0, 0, 0, 0, 0, 0, 6],
            b"pkcs11",
            &[0; 8],
        ]
        .concat();
        assert_eq!(*creation, expected);
        let read = Intent::decode(&creation).unwrap();
        assert_eq!(read.tag, KeyTag::from_bytes([7; 16]));
        assert_eq!(read.backend.as_str(), "pkcs11");
        assert!(matches!(read.action, Action::Creation(None)));

        let instance = BackendInstance::new(b"0123abcd").unwrap();
        let in_device = intent(Action::Creation(Some(instance.clone())))
            .encode()
            .unwrap();
        let before_length = expected.len() - 8;
        let expected = [
            &expected[..before_length],
            &[0, 0, 0, 0, 0, 0, 0, 8],
            b"0123abcd",
        ]
        .concat();
        assert_eq!(*in_device, expected);
        match Intent::decode(&in_device).unwrap().action {
            Action::Creation(read) => assert_eq!(read, Some(instance)),
            Action::Destruction(_) => panic!("a creation became a destruction"),
        }

        let blob = KeyBlob::new(SecretBytes::copied_from(b"resident"));
        let destruction = intent(Action::Destruction(blob)).encode().unwrap();
        match Intent::decode(&destruction).unwrap().action {
            Action::Destruction(blob) => assert_eq!(blob.expose(), b"resident"),
            Action::Creation(_) => panic!("a destruction became a creation"),
        }

        for length in 0..destruction.len() {
            assert!(Intent::decode(&destruction[..length]).is_err());
        }
        let mut other = creation.to_vec();
        other[2] = 3;
        assert!(Intent::decode(&other).is_err());
        // A device has 32 bytes at most.
        for (length, legal) in [(32, true), (33, false)] {
            let blob = KeyBlob::new(SecretBytes::from(vec![7; length]));
            let mut other = intent(Action::Destruction(blob)).encode().unwrap().to_vec();
            other[2] = CREATION;
            assert_eq!(Intent::decode(&other).is_ok(), legal, "{length}");
        }
    }
}
