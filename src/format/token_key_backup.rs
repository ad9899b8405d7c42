//! The form in which a backup carries a key of a PKCS#11 token: wrapped by the token under a domain key.
//!
//! Layout, big-endian:
//!
//! | bytes | |
//! |---|---|
//! | 5 | magic `"SRP1B"` |
//! | 1 | 1 |
//! | 16 | check value of the domain key |
//! | 1 | values: bit 0 the key itself (private, or the cipher key of a symmetric one), bit 1 the MAC key |
//! | 1 | usage: `key_ops` as bits |
//! | 1 + s | length and serial number of the token that wrapped |
//! | 1 | public part: 0 none, 1 RSA, 2 P-256, 3 P-384, 4 P-521, 5 P-256K |
//! | 2 + n, 2 + e | unless it is 0: length and bytes of the modulus and of the exponent, or of x and of y |
//! | 2 + w | for each value, in the order of the bits: length and wrapped key (RFC 5649) |
//!
//! What is wrapped is the PKCS#8 of a private key, possibly followed by up to 7 zeros, and the bare value of a
//! symmetric one.

use super::fields::Reader;
use super::token_key::Values;
use crate::model::material::PublicParts;
use crate::model::operation::KeyOperations;
use crate::model::spec::Curve;

const MAGIC: &[u8; 5] = b"SRP1B";
const VERSION: u8 = 1;
/// The modulus of RSA 4096.
const MAX_PUBLIC_FIELD: usize = 512;
/// RFC 5649 gives whole blocks of 8 bytes, two at least. PKCS#8 of RSA 4096 has about 2,400.
const WRAPPED_LENGTHS: std::ops::RangeInclusive<usize> = 16..=4_096;

/// Length of a check value.
pub(crate) const CHECK_VALUE_LENGTH: usize = 16;

/// A key of a token in a backup.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TokenKeyBackup {
    /// Of the domain key that wraps the values.
    pub(crate) check_value: [u8; CHECK_VALUE_LENGTH],
    /// What the key was made for.
    pub(crate) usage: KeyOperations,
    /// The serial number of the token that wrapped it.
    pub(crate) serial: String,
    /// The public part of an asymmetric key.
    pub(crate) public: Option<PublicParts>,
    /// The wrapped key itself.
    pub(crate) main: Option<Vec<u8>>,
    /// The wrapped MAC key.
    pub(crate) mac: Option<Vec<u8>>,
}

impl TokenKeyBackup {
    /// Which values there are.
    pub(crate) fn values(&self) -> Values {
        Values {
            main: self.main.is_some(),
            mac: self.mac.is_some(),
        }
    }

    /// `None` for fields that are longer than the layout has room for.
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(MAGIC);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.check_value);
        bytes.extend_from_slice(&[self.values().to_bits(), self.usage.to_bits()]);
        bytes.push(u8::try_from(self.serial.len()).ok()?);
        bytes.extend_from_slice(self.serial.as_bytes());
        let fields = match &self.public {
            None => {
                bytes.push(0);
                None
            }
            Some(PublicParts::Rsa { n, e }) => {
                bytes.push(1);
                Some([n, e])
            }
            Some(PublicParts::Ec { curve, x, y }) => {
                bytes.push(curve_number(*curve));
                Some([x, y])
            }
        };
        let values = [&self.main, &self.mac].into_iter().flatten();
        for field in fields.into_iter().flatten().chain(values) {
            bytes.extend_from_slice(&u16::try_from(field.len()).ok()?.to_be_bytes());
            bytes.extend_from_slice(field);
        }
        Some(bytes)
    }

    /// `None` for bytes that no PKCS#11 backend of this version wrote.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        if reader.array::<5>()? != *MAGIC || reader.u8()? != VERSION {
            return None;
        }
        let check_value = reader.array()?;
        let values = Values::from_bits(reader.u8()?)?;
        let usage = KeyOperations::from_bits(reader.u8()?);
        let length = reader.u8()?;
        let serial = std::str::from_utf8(reader.slice(length.into())?).ok()?;
        let kind = reader.u8()?;
        let mut field = || {
            let length = usize::from(reader.u16()?);
            (length <= MAX_PUBLIC_FIELD).then_some(())?;
            Some(reader.slice(length)?.to_vec())
        };
        let public = match kind {
            0 => None,
            1 => Some(PublicParts::Rsa {
                n: field()?,
                e: field()?,
            }),
            number => Some(PublicParts::Ec {
                curve: curve_of(number)?,
                x: field()?,
                y: field()?,
            }),
        };
        // A private key has no second value.
        if public.is_some() && (!values.main || values.mac) {
            return None;
        }
        let mut value = |present: bool| {
            if !present {
                return Some(None);
            }
            let length = usize::from(reader.u16()?);
            let legal = WRAPPED_LENGTHS.contains(&length) && length.is_multiple_of(8);
            legal.then_some(())?;
            Some(Some(reader.slice(length)?.to_vec()))
        };
        let (main, mac) = (value(values.main)?, value(values.mac)?);
        reader.end()?;
        Some(Self {
            check_value,
            usage,
            serial: serial.to_owned(),
            public,
            main,
            mac,
        })
    }
}

fn curve_number(curve: Curve) -> u8 {
    match curve {
        Curve::P256 => 2,
        Curve::P384 => 3,
        Curve::P521 => 4,
        Curve::P256K => 5,
    }
}

fn curve_of(number: u8) -> Option<Curve> {
    Curve::ALL
        .into_iter()
        .find(|curve| curve_number(*curve) == number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::operation::KeyOperation;

    fn symmetric() -> TokenKeyBackup {
        TokenKeyBackup {
            check_value: [0xcc; 16],
            usage: KeyOperations::from([KeyOperation::Sign, KeyOperation::Encrypt]),
            serial: "0123abcd".to_owned(),
            public: None,
            main: Some(vec![1; 40]),
            mac: Some(vec![2; 72]),
        }
    }

    fn elliptic(curve: Curve) -> TokenKeyBackup {
        TokenKeyBackup {
            public: Some(PublicParts::Ec {
                curve,
                x: vec![3; curve.field_length()],
                y: vec![4; curve.field_length()],
            }),
            mac: None,
            ..symmetric()
        }
    }

    #[test]
    fn the_bytes_of_a_backup_are_these() {
        let key = TokenKeyBackup {
            public: Some(PublicParts::Rsa {
                n: vec![0xab; 2],
                e: vec![1, 0, 1],
            }),
            main: Some(vec![9; 16]),
            ..elliptic(Curve::P256)
        };
        let usage = key.usage.to_bits();
        let expected = [
            &b"SRP1B\x01"[..],
            &[0xcc; 16],
            &[1, usage],
            b"\x080123abcd",
            b"\x01\x00\x02\xab\xab\x00\x03\x01\x00\x01",
            b"\x00\x10",
            &[9; 16],
        ]
        .concat();
        assert_eq!(key.encode().unwrap(), expected);
        assert_eq!(TokenKeyBackup::decode(&expected), Some(key));
    }

    #[test]
    fn backups_survive_their_encoding_and_nothing_shorter_or_longer_decodes() {
        let mut keys = vec![symmetric()];
        keys.extend(Curve::ALL.map(elliptic));
        for key in keys {
            let bytes = key.encode().unwrap();
            for length in 0..bytes.len() {
                assert_eq!(TokenKeyBackup::decode(&bytes[..length]), None);
            }
            assert_eq!(TokenKeyBackup::decode(&[&bytes[..], &[0]].concat()), None);
            assert_eq!(TokenKeyBackup::decode(&bytes), Some(key));
        }
    }

    #[test]
    fn wrapped_values_have_16_to_4096_bytes_in_eights() {
        for (length, legal) in [
            (0, false),
            (8, false),
            (15, false),
            (16, true),
            (17, false),
            (24, true),
            (4_096, true),
            (4_097, false),
            (4_104, false),
        ] {
            let key = TokenKeyBackup {
                main: Some(vec![1; length]),
                ..symmetric()
            };
            let bytes = key.encode().unwrap();
            assert_eq!(TokenKeyBackup::decode(&bytes).is_some(), legal, "{length}");
        }
    }

    #[test]
    fn what_no_backend_writes_does_not_decode() {
        let bytes = symmetric().encode().unwrap();
        let kind = 5 + 1 + 16 + 2 + 9;
        for (place, value) in [
            (0, b'X'),
            (5, 2),
            // values
            (22, 0),
            (22, 4),
            (22, 7),
            // a longer serial number, then one that is no text
            (24, 200),
            (25, 0xff),
            // kinds of the public part
            (kind, 1),
            (kind, 6),
            // wrapped lengths
            (kind + 1, 0x10),
            (kind + 2, 8),
            (kind + 2, 41),
        ] {
            let mut other = bytes.clone();
            other[place] = value;
            assert_eq!(TokenKeyBackup::decode(&other), None, "{place} {value}");
        }
        let both = TokenKeyBackup {
            mac: Some(vec![2; 72]),
            ..elliptic(Curve::P384)
        };
        assert_eq!(TokenKeyBackup::decode(&both.encode().unwrap()), None);
    }
}
