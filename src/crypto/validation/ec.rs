use p256::elliptic_curve::sec1::ToSec1Point;
use zeroize::Zeroizing;

use super::{CryptoResult, invalid, without_leading_zeros};
use crate::crypto::CryptoError;
use crate::model::material::EcMaterial;
use crate::model::spec::Curve;
use crate::secret::SecretBytes;

/// `x` and `y`, each of the curve's field length.
type Point = (Vec<u8>, Vec<u8>);

pub(super) fn validate(
    curve: Curve,
    d: &SecretBytes,
    point: Option<&Point>,
) -> CryptoResult<EcMaterial> {
    let d = SecretBytes::copied_from(&padded(
        d.expose(),
        curve,
        "d is longer than the order of the curve",
    )?);
    let derived = public_point(curve, d.expose())?;
    if let Some((x, y)) = point {
        let too_long = "a coordinate is longer than the field of the curve";
        let given_x = padded(x, curve, too_long)?;
        let given_y = padded(y, curve, too_long)?;
        if *given_x != derived.0 || *given_y != derived.1 {
            return Err(invalid("the public point is not the one that d gives"));
        }
    }
    Ok(EcMaterial {
        curve,
        d,
        x: derived.0,
        y: derived.1,
    })
}

/// Checks that a point lies on the curve.
pub(super) fn validate_point(curve: Curve, x: &[u8], y: &[u8]) -> CryptoResult<Point> {
    let too_long = "a coordinate is longer than the field of the curve";
    let x = padded(x, curve, too_long)?;
    let y = padded(y, curve, too_long)?;
    let mut sec1 = vec![UNCOMPRESSED];
    sec1.extend_from_slice(&x);
    sec1.extend_from_slice(&y);
    point_from_sec1(curve, &sec1)
}

const UNCOMPRESSED: u8 = 4;

/// The scalar range 1 <= d < n is checked by the curve's parser.
fn public_point(curve: Curve, d: &[u8]) -> CryptoResult<Point> {
    macro_rules! derive {
        ($curve:ident) => {
            $curve::SecretKey::from_slice(d)
                .ok()
                .and_then(|secret| coordinates(&secret.public_key().to_sec1_point(false)))
        };
    }
    let point = match curve {
        Curve::P256 => derive!(p256),
        Curve::P384 => derive!(p384),
        Curve::P521 => derive!(p521),
        Curve::P256K => derive!(k256),
    };
    point.ok_or_else(|| invalid("d is not between 1 and the order of the curve"))
}

/// A point in SEC1 form, compressed or not; refuses infinity and what is not on the curve.
pub(in crate::crypto) fn point_from_sec1(curve: Curve, sec1: &[u8]) -> CryptoResult<Point> {
    macro_rules! parse {
        ($curve:ident) => {
            $curve::PublicKey::from_sec1_bytes(sec1)
                .ok()
                .and_then(|public| coordinates(&public.to_sec1_point(false)))
        };
    }
    let point = match curve {
        Curve::P256 => parse!(p256),
        Curve::P384 => parse!(p384),
        Curve::P521 => parse!(p521),
        Curve::P256K => parse!(k256),
    };
    point.ok_or_else(|| CryptoError::InvalidKey(format!("the public point is not on {curve}")))
}

fn coordinates<Size>(point: &sec1::point::EncodedPoint<Size>) -> Option<Point>
where
    Size: sec1::point::ModulusSize,
{
    Some((point.x()?.to_vec(), point.y()?.to_vec()))
}

/// Big-endian in the curve's field length; more significant bytes than that are refused.
fn padded(bytes: &[u8], curve: Curve, too_long: &str) -> CryptoResult<Zeroizing<Vec<u8>>> {
    let significant = without_leading_zeros(bytes);
    let mut padded = Zeroizing::new(vec![0; curve.field_length()]);
    let Some(start) = padded.len().checked_sub(significant.len()) else {
        return Err(invalid(too_long));
    };
    padded[start..].copy_from_slice(significant);
    Ok(padded)
}
