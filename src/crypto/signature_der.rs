//! ECDSA signatures as DER, which X.509 and TLS use, and as `r ‖ s`, which JWA and Azure use.

use crate::error::{Error, ErrorKind, Result};
use crate::model::algorithm::{CryptoOperation, SignatureAlgorithm};

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;

impl SignatureAlgorithm {
    /// An ECDSA signature `r ‖ s` as the DER of `SEQUENCE { r INTEGER, s INTEGER }`.
    ///
    /// # Errors
    ///
    /// * [`AlgorithmMismatch`](ErrorKind::AlgorithmMismatch): not ES256, ES384, ES512 or ES256K.
    /// * [`InvalidSignature`](ErrorKind::InvalidSignature): not of the algorithm's length, or `r` or
    ///   `s` is zero.
    ///
    /// # Examples
    ///
    /// ```
    /// use strongroom::SignatureAlgorithm::Es256;
    ///
    /// let raw = [0x80; 64];
    /// let der = Es256.signature_to_der(&raw)?;
    /// assert_eq!(der.len(), 72);
    /// assert_eq!(Es256.signature_from_der(&der)?, raw);
    /// # Ok::<(), strongroom::Error>(())
    /// ```
    pub fn signature_to_der(self, raw: &[u8]) -> Result<Vec<u8>> {
        let length = self.coordinate_length()?;
        if raw.len() != 2 * length {
            return Err(invalid(format!(
                "a signature of {self} has {} bytes, but {} were given",
                2 * length,
                raw.len()
            )));
        }
        let (r, s) = raw.split_at(length);
        let mut content = Vec::with_capacity(raw.len() + 6);
        for number in [r, s] {
            push_integer(&mut content, number)?;
        }
        let mut der = Vec::with_capacity(content.len() + 3);
        der.push(SEQUENCE);
        // P-521 needs 138 bytes at most, so one length byte is enough after 0x81.
        match u8::try_from(content.len()) {
            Ok(short @ 0..=0x7f) => der.push(short),
            Ok(long) => der.extend([0x81, long]),
            Err(_) => return Err(Error::internal("the signature is too long for its curve")),
        }
        der.extend(content);
        Ok(der)
    }

    /// An ECDSA signature in DER as `r ‖ s`, each number of the curve's field length.
    ///
    /// Only the one canonical encoding of each signature is accepted.
    ///
    /// # Errors
    ///
    /// * [`AlgorithmMismatch`](ErrorKind::AlgorithmMismatch): not ES256, ES384, ES512 or ES256K.
    /// * [`InvalidSignature`](ErrorKind::InvalidSignature): not the canonical DER of two positive
    ///   numbers of at most the field's length.
    pub fn signature_from_der(self, der: &[u8]) -> Result<Vec<u8>> {
        let length = self.coordinate_length()?;
        let malformed = || {
            invalid(format!(
                "this is not the DER encoding of a signature of {self}"
            ))
        };
        let content = match der {
            [SEQUENCE, 0x81, size @ 0x80..=0xff, content @ ..]
                if content.len() == usize::from(*size) =>
            {
                content
            }
            [SEQUENCE, size @ ..=0x7f, content @ ..] if content.len() == usize::from(*size) => {
                content
            }
            _ => return Err(malformed()),
        };
        let (r, rest) = take_integer(content).ok_or_else(malformed)?;
        let (s, rest) = take_integer(rest).ok_or_else(malformed)?;
        if !rest.is_empty() || r.len() > length || s.len() > length {
            return Err(malformed());
        }
        let mut raw = vec![0; 2 * length];
        raw[length - r.len()..length].copy_from_slice(r);
        raw[2 * length - s.len()..].copy_from_slice(s);
        Ok(raw)
    }

    fn coordinate_length(self) -> Result<usize> {
        self.curve()
            .map(|curve| curve.field_length())
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::AlgorithmMismatch,
                    format!(
                        "only ECDSA signatures have a DER form, and {self} needs {}",
                        CryptoOperation::Sign(self).needed_key()
                    ),
                )
            })
    }
}

fn push_integer(der: &mut Vec<u8>, number: &[u8]) -> Result<()> {
    let start = number
        .iter()
        .position(|byte| *byte != 0)
        .ok_or_else(|| invalid("r or s of the signature is zero"))?;
    let digits = &number[start..];
    let sign = usize::from(digits[0] >= 0x80);
    let length = u8::try_from(digits.len() + sign)
        .map_err(|_| Error::internal("a coordinate is too long for its curve"))?;
    der.extend([INTEGER, length]);
    der.extend(std::iter::repeat_n(0, sign));
    der.extend(digits);
    Ok(())
}

/// A positive integer in its shortest form, without the sign byte, and what follows it. Lengths of
/// 128 and more do not occur.
fn take_integer(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let [INTEGER, length @ 1..=0x7f, rest @ ..] = der else {
        return None;
    };
    let (number, rest) = rest.split_at_checked(usize::from(*length))?;
    match number {
        [0, digits @ ..] if digits.first().is_some_and(|byte| *byte >= 0x80) => {
            Some((digits, rest))
        }
        [1..=0x7f, ..] => Some((number, rest)),
        _ => None,
    }
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidSignature, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [(SignatureAlgorithm, usize); 4] = [
        (SignatureAlgorithm::Es256, 32),
        (SignatureAlgorithm::Es384, 48),
        (SignatureAlgorithm::Es512, 66),
        (SignatureAlgorithm::Es256K, 32),
    ];

    fn refused(algorithm: SignatureAlgorithm, der: &[u8]) {
        let error = algorithm.signature_from_der(der).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidSignature, "{der:02x?}");
    }

    #[test]
    fn raw_and_der_are_inverse_for_numbers_of_every_length() {
        for (algorithm, length) in ALL {
            for digits in 1..=length {
                for first in [0x01, 0x7f, 0x80, 0xff] {
                    let mut raw = vec![0; 2 * length];
                    raw[length - digits] = first;
                    raw[2 * length - 1] |= 1;
                    let der = algorithm.signature_to_der(&raw).unwrap();
                    assert_eq!(algorithm.signature_from_der(&der).unwrap(), raw);
                    for cut in 0..der.len() {
                        refused(algorithm, &der[..cut]);
                    }
                    refused(algorithm, &[der.as_slice(), &[0]].concat());
                }
            }
        }
    }

    #[test]
    fn the_encoding_is_the_one_of_x690() {
        let mut raw = [0; 64];
        (raw[31], raw[63]) = (0x7f, 0x80);
        assert_eq!(
            SignatureAlgorithm::Es256.signature_to_der(&raw).unwrap(),
            [0x30, 7, 2, 1, 0x7f, 2, 2, 0, 0x80]
        );
        let long = SignatureAlgorithm::Es512
            .signature_to_der(&[1; 132])
            .unwrap();
        assert_eq!(long[..5], [0x30, 0x81, 136, 2, 66]);
    }

    #[test]
    fn other_encodings_of_the_same_numbers_are_refused() {
        let es256 = SignatureAlgorithm::Es256;
        assert!(
            es256
                .signature_from_der(&[0x30, 6, 2, 1, 1, 2, 1, 1])
                .is_ok()
        );
        let over_long = [&[0x30, 38, 2, 33, 1][..], &[0; 32], &[2, 1, 1]].concat();
        for der in [
            // Lengths not in their shortest form, or indefinite.
            &[0x30, 0x81, 6, 2, 1, 1, 2, 1, 1][..],
            &[0x30, 0x82, 0, 6, 2, 1, 1, 2, 1, 1],
            &[0x30, 0x80, 2, 1, 1, 2, 1, 1, 0, 0],
            &[0x30, 7, 2, 0x81, 1, 1, 2, 1, 1],
            // A superfluous zero, a negative number, zero, no number.
            &[0x30, 7, 2, 2, 0, 1, 2, 1, 1],
            &[0x30, 6, 2, 1, 0x80, 2, 1, 1],
            &[0x30, 6, 2, 1, 0, 2, 1, 1],
            &[0x30, 5, 2, 0, 2, 1, 1],
            &[0x30, 0],
            // Other types, and something more in the sequence.
            &[0x31, 6, 2, 1, 1, 2, 1, 1],
            &[0x30, 6, 4, 1, 1, 2, 1, 1],
            &[0x30, 9, 2, 1, 1, 2, 1, 1, 2, 1, 1],
            &[0x30, 3, 2, 1, 1],
            &[0x30, 6, 2, 4, 1, 2, 1, 1],
            &over_long,
            &[],
        ] {
            refused(es256, der);
        }
    }

    #[test]
    fn raw_signatures_of_other_lengths_or_zero_have_no_der() {
        for (algorithm, length) in ALL {
            for raw in [
                vec![],
                vec![1; 2 * length - 1],
                vec![1; 2 * length + 1],
                vec![0; 2 * length],
                [vec![1; length], vec![0; length]].concat(),
            ] {
                let error = algorithm.signature_to_der(&raw).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidSignature);
            }
        }
    }

    #[test]
    fn other_signatures_have_no_der() {
        for algorithm in SignatureAlgorithm::ALL {
            if algorithm.curve().is_some() {
                continue;
            }
            let errors = [
                algorithm.signature_to_der(&[1; 64]).unwrap_err(),
                algorithm
                    .signature_from_der(&[0x30, 6, 2, 1, 1, 2, 1, 1])
                    .unwrap_err(),
            ];
            for error in errors {
                assert_eq!(error.kind(), ErrorKind::AlgorithmMismatch);
            }
        }
    }
}
