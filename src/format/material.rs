//! The blob of a software key.
//!
//! u16 layout = 1 ‖ u8 family (1 RSA, 2 EC, 3 oct) ‖ u8 curve (EC; else 0) ‖ fields, each u16 length ‖
//! bytes: n e d p q dp dq qi, or d x y, or k.

use super::key_version::{curve_from_number, curve_number};
use super::layout;
use crate::error::Result;
use crate::model::material::{EcMaterial, KeyMaterial, MaterialParts, RsaMaterial};
use crate::model::spec::{OctKeyLength, RsaKeySize};
use crate::secret::SecretBytes;

const LAYOUT_1: u16 = 1;
const HEAD_LENGTH: usize = 4;

const FAMILY_RSA: u8 = 1;
const FAMILY_EC: u8 = 2;
const FAMILY_OCT: u8 = 3;

pub(crate) fn encode(material: &KeyMaterial) -> Result<SecretBytes> {
    match &material.parts {
        MaterialParts::Rsa(rsa) => {
            let RsaMaterial {
                size: _,
                n,
                e,
                d,
                p,
                q,
                dp,
                dq,
                qi,
            } = rsa;
            let secret = [d, p, q, dp, dq, qi].map(SecretBytes::expose);
            let fields = [
                n, e, secret[0], secret[1], secret[2], secret[3], secret[4], secret[5],
            ];
            write(FAMILY_RSA, 0, &fields)
        }
        MaterialParts::Ec(EcMaterial { curve, d, x, y }) => {
            write(FAMILY_EC, curve_number(*curve), &[d.expose(), x, y])
        }
        MaterialParts::Oct { length: _, key } => write(FAMILY_OCT, 0, &[key.expose()]),
    }
}

fn write(family: u8, curve: u8, fields: &[&[u8]]) -> Result<SecretBytes> {
    let length = HEAD_LENGTH + fields.iter().map(|field| 2 + field.len()).sum::<usize>();
    SecretBytes::filled_with(length, |bytes| {
        let (head, mut rest) = bytes.split_at_mut(HEAD_LENGTH);
        head[..2].copy_from_slice(&LAYOUT_1.to_be_bytes());
        head[2] = family;
        head[3] = curve;
        for field in fields {
            let field_length = u16::try_from(field.len())
                .map_err(|_| crate::error::Error::internal("a number of a key is too long"))?;
            let (target, after) = rest.split_at_mut(2 + field.len());
            target[..2].copy_from_slice(&field_length.to_be_bytes());
            target[2..].copy_from_slice(field);
            rest = after;
        }
        Ok(())
    })
}

/// Errors: `NewerFormat`, `Corrupt`. Lengths are checked; the numbers are those that were validated
/// before they were sealed.
pub(crate) fn decode(bytes: &[u8]) -> Result<KeyMaterial> {
    let (number, rest) = layout::split_number(bytes)?;
    if number != LAYOUT_1 {
        return Err(layout::newer(
            "key material has a layout of a newer version",
        ));
    }
    let (head, rest) = rest.split_first_chunk::<2>().ok_or_else(impossible)?;
    let mut fields = Fields { rest };
    let parts = match (head[0], head[1]) {
        (FAMILY_RSA, 0) => {
            let n = fields.next()?.to_vec();
            let bits = u32::try_from(n.len() * 8).map_err(|_| impossible())?;
            let size = RsaKeySize::try_from(bits).map_err(|_| impossible())?;
            let (full, half) = (size.modulus_length(), size.modulus_length() / 2);
            MaterialParts::Rsa(RsaMaterial {
                size,
                n,
                e: fields.next()?.to_vec(),
                d: fields.secret(full)?,
                p: fields.secret(half)?,
                q: fields.secret(half)?,
                dp: fields.secret(half)?,
                dq: fields.secret(half)?,
                qi: fields.secret(half)?,
            })
        }
        (FAMILY_EC, curve) => {
            let curve = curve_from_number(curve).ok_or_else(impossible)?;
            MaterialParts::Ec(EcMaterial {
                curve,
                d: fields.secret(curve.field_length())?,
                x: fields.next()?.to_vec(),
                y: fields.next()?.to_vec(),
            })
        }
        (FAMILY_OCT, 0) => {
            let key = SecretBytes::copied_from(fields.next()?);
            let length = OctKeyLength::try_from(key.len()).map_err(|_| impossible())?;
            MaterialParts::Oct { length, key }
        }
        _ => return Err(impossible()),
    };
    if fields.rest.is_empty() {
        Ok(KeyMaterial::new(parts))
    } else {
        Err(impossible())
    }
}

fn impossible() -> crate::error::Error {
    layout::corrupt("key material opens but does not decode")
}

struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn next(&mut self) -> Result<&'a [u8]> {
        let (length, rest) = self.rest.split_first_chunk::<2>().ok_or_else(impossible)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (field, rest) = rest.split_at_checked(length).ok_or_else(impossible)?;
        self.rest = rest;
        Ok(field)
    }

    fn secret(&mut self, length: usize) -> Result<SecretBytes> {
        let field = self.next()?;
        if field.len() == length {
            Ok(SecretBytes::copied_from(field))
        } else {
            Err(impossible())
        }
    }
}
