//! What people compare when a domain key moves.

use std::fmt;
use std::str::FromStr;

use super::error::TokenResult;
use super::known_answers::internal;
use crate::crypto::containers::spki_der_from_parts;
use crate::crypto::hash::digest;
use crate::error::{Error, Result};
use crate::model::algorithm::HashAlgorithm;
use crate::model::material::PublicParts;

/// SHA-256 of a transport key's `SubjectPublicKeyInfo` in DER, which people compare by another way than the one that
/// the key takes. Displayed as 64 hexadecimal digits in groups of four, and parsed from them, with or without groups.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TransportFingerprint {
    bytes: [u8; 32],
}

impl TransportFingerprint {
    /// From the 32 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self { bytes }
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    pub(super) fn of(parts: &PublicParts) -> TokenResult<Self> {
        let spki = spki_der_from_parts(parts).map_err(internal)?;
        let hash = digest(HashAlgorithm::Sha256, &spki);
        match hash.try_into() {
            Ok(bytes) => Ok(Self { bytes }),
            Err(_) => Err(internal("a hash has another length")),
        }
    }
}

impl fmt::Display for TransportFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, pair) in self.bytes.chunks(2).enumerate() {
            if place > 0 {
                f.write_str(" ")?;
            }
            pair.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        }
        Ok(())
    }
}

impl fmt::Debug for TransportFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransportFingerprint({self})")
    }
}

impl FromStr for TransportFingerprint {
    type Err = Error;

    /// # Errors
    ///
    /// [`BadParameter`](crate::ErrorKind::BadParameter) for anything but 64 hexadecimal digits, with blanks, colons
    /// or hyphens among them.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::bad_parameter("a fingerprint has 64 hexadecimal digits");
        let mut bytes = [0; 32];
        let mut digits = text
            .chars()
            .filter(|character| !matches!(character, ' ' | ':' | '-'))
            .map(|character| {
                character
                    .to_digit(16)
                    .and_then(|digit| u8::try_from(digit).ok())
            });
        for byte in &mut bytes {
            let high = digits.next().flatten().ok_or_else(wrong)?;
            let low = digits.next().flatten().ok_or_else(wrong)?;
            *byte = high << 4 | low;
        }
        match digits.next() {
            None => Ok(Self { bytes }),
            Some(_) => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_as_they_are_shown_and_as_people_type_them() {
        let mut bytes = [0xa5; 32];
        bytes[0] = 0x01;
        let fingerprint = TransportFingerprint::from_bytes(bytes);
        let shown = fingerprint.to_string();
        assert_eq!(&shown[..9], "01a5 a5a5");
        assert_eq!(shown.split(' ').count(), 16);
        for text in [
            shown.clone(),
            shown.to_uppercase(),
            shown.replace(' ', ""),
            shown.replace(' ', ":"),
        ] {
            assert_eq!(text.parse::<TransportFingerprint>().unwrap(), fingerprint);
        }
        for wrong in [
            "",
            "zz",
            &shown[..shown.len() - 1],
            &format!("{shown}0"),
            &format!("{shown}x"),
            &shown.replace('5', "g"),
            &shown.replace('5', "é"),
        ] {
            assert!(wrong.parse::<TransportFingerprint>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_fingerprint_is_the_sha_256_of_the_public_key_info() {
        let parts = PublicParts::Rsa {
            n: vec![0xc1; 384],
            e: vec![1, 0, 1],
        };
        let spki = spki_der_from_parts(&parts).unwrap();
        let expected = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &spki);
        let fingerprint = TransportFingerprint::of(&parts).unwrap();
        assert_eq!(&fingerprint.as_bytes()[..], expected.as_ref());
    }
}
