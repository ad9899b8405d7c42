//! The blob of a key in a PKCS#11 token.
//!
//! Layout, big-endian: magic `"SRP11"`(5) ‖ 1 ‖ keeping(1) ‖ values(1) ‖ usage(1) ‖ length of the serial
//! number(1) ‖ serial number, and for keeping 2: id of the wrapping key(16) ‖ mechanism(1) ‖ for each value, in
//! the order cipher, MAC: length(2) ‖ wrapped key.
//!
//! Keeping is 1 for an object of the token and 2 for a wrapped key. Values are bit 0: the key itself (private,
//! or the cipher key of a symmetric one), bit 1: the MAC key of a symmetric one; bit 2 says that backups may carry
//! the key. Usage is `key_ops` as bits.

use super::fields::Reader;
use crate::model::operation::KeyOperations;

const MAGIC: &[u8; 5] = b"SRP11";
const VERSION: u8 = 1;
const RESIDENT: u8 = 1;
const WRAPPED: u8 = 2;
const BACKUP_ALLOWED: u8 = 4;

/// Where a key in a token is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TokenKey {
    /// The serial number of the token.
    pub(crate) serial: String,
    /// What the key was made for.
    pub(crate) usage: KeyOperations,
    /// Whether backups may carry the key.
    pub(crate) backup_allowed: bool,
    pub(crate) values: Values,
    pub(crate) keeping: Keeping,
}

/// Which values a key has. A generated symmetric key for encrypting and for MACs has two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Values {
    pub(crate) main: bool,
    pub(crate) mac: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// As an object of the token, under the key's tag.
    Resident,
    /// In this blob, wrapped by a key of the token.
    Wrapped(WrappedValues),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WrappedValues {
    /// CKA_ID of the wrapping key.
    pub(crate) kek: [u8; 16],
    /// 1: CKM_AES_KEY_WRAP_KWP, 2: CKM_AES_KEY_WRAP_PAD.
    pub(crate) mechanism: u8,
    pub(crate) main: Option<Vec<u8>>,
    pub(crate) mac: Option<Vec<u8>>,
}

impl TokenKey {
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(MAGIC);
        let keeping = match self.keeping {
            Keeping::Resident => RESIDENT,
            Keeping::Wrapped(_) => WRAPPED,
        };
        let values = self.values.to_bits()
            | if self.backup_allowed {
                BACKUP_ALLOWED
            } else {
                0
            };
        bytes.extend_from_slice(&[VERSION, keeping, values, self.usage.to_bits()]);
        bytes.push(u8::try_from(self.serial.len()).ok()?);
        bytes.extend_from_slice(self.serial.as_bytes());
        if let Keeping::Wrapped(wrapped) = &self.keeping {
            bytes.extend_from_slice(&wrapped.kek);
            bytes.push(wrapped.mechanism);
            for value in [&wrapped.main, &wrapped.mac].into_iter().flatten() {
                bytes.extend_from_slice(&u16::try_from(value.len()).ok()?.to_be_bytes());
                bytes.extend_from_slice(value);
            }
        }
        Some(bytes)
    }

    /// `None` for bytes that no PKCS#11 backend of this version wrote.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        if reader.array::<5>()? != *MAGIC || reader.u8()? != VERSION {
            return None;
        }
        let keeping = reader.u8()?;
        let bits = reader.u8()?;
        let backup_allowed = bits & BACKUP_ALLOWED != 0;
        let values = Values::from_bits(bits & !BACKUP_ALLOWED)?;
        let usage = KeyOperations::from_bits(reader.u8()?);
        let length = reader.u8()?;
        let serial = std::str::from_utf8(reader.slice(length.into())?).ok()?;
        let keeping = match keeping {
            RESIDENT => Keeping::Resident,
            WRAPPED => {
                let kek = reader.array()?;
                let mechanism = reader.u8()?;
                let mut value = |present: bool| {
                    if !present {
                        return Some(None);
                    }
                    let length = reader.u16()?;
                    Some(Some(reader.slice(length.into())?.to_vec()))
                };
                Keeping::Wrapped(WrappedValues {
                    kek,
                    mechanism,
                    main: value(values.main)?,
                    mac: value(values.mac)?,
                })
            }
            _ => return None,
        };
        reader.end()?;
        Some(Self {
            serial: serial.to_owned(),
            usage,
            backup_allowed,
            values,
            keeping,
        })
    }
}

impl Values {
    /// Bit 0: the key itself, bit 1: the MAC key.
    pub(super) fn to_bits(self) -> u8 {
        u8::from(self.main) | u8::from(self.mac) << 1
    }

    /// `None` for no value, and for bits without a meaning.
    pub(super) fn from_bits(bits: u8) -> Option<Self> {
        (1..=3).contains(&bits).then_some(Self {
            main: bits & 1 != 0,
            mac: bits & 2 != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::operation::KeyOperation;

    fn wrapped() -> TokenKey {
        TokenKey {
            serial: "0123abcd".to_owned(),
            usage: KeyOperations::from([KeyOperation::Sign]),
            backup_allowed: true,
            values: Values {
                main: true,
                mac: true,
            },
            keeping: Keeping::Wrapped(WrappedValues {
                kek: [7; 16],
                mechanism: 2,
                main: Some(vec![1; 40]),
                mac: Some(vec![2; 72]),
            }),
        }
    }

    #[test]
    fn the_bytes_of_a_resident_key_are_these() {
        let key = TokenKey {
            keeping: Keeping::Resident,
            backup_allowed: false,
            values: Values {
                main: true,
                mac: false,
            },
            ..wrapped()
        };
        let usage = key.usage.to_bits();
        let expected = [&b"SRP11\x01\x01\x01"[..], &[usage], b"\x080123abcd"].concat();
        assert_eq!(key.encode().unwrap(), expected);
        assert_eq!(TokenKey::decode(&expected), Some(key));
    }

    #[test]
    fn each_value_has_its_bit() {
        for (main, mac, bits) in [(true, false, 1), (false, true, 2), (true, true, 3)] {
            let values = Values { main, mac };
            assert_eq!(values.to_bits(), bits);
            assert_eq!(Values::from_bits(bits), Some(values));
        }
        for bits in (4..=u8::MAX).chain([0]) {
            assert_eq!(Values::from_bits(bits), None);
        }
    }

    #[test]
    fn blobs_survive_their_encoding_and_nothing_shorter_or_longer_decodes() {
        let bytes = wrapped().encode().unwrap();
        assert_eq!(TokenKey::decode(&bytes), Some(wrapped()));
        for length in 0..bytes.len() {
            assert_eq!(TokenKey::decode(&bytes[..length]), None);
        }
        assert_eq!(TokenKey::decode(&[&bytes[..], &[0]].concat()), None);
        for (place, value) in [(0, b'X'), (5, 2), (6, 3), (7, 0), (7, 4), (7, 8), (7, 11)] {
            let mut other = bytes.clone();
            other[place] = value;
            assert_eq!(TokenKey::decode(&other), None, "{place}");
        }
    }
}
