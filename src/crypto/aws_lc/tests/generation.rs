//! New EC keys: the same from the same random bytes, and none without its own point.

use std::sync::{Mutex, PoisonError};

use aws_lc_rs::agreement;
use p256::elliptic_curve::{CurveArithmetic, Field, PrimeField, Scalar};

use super::*;
use crate::crypto::aws_lc::ec::EcKey;
use crate::crypto::rustcrypto::RustCryptoEngine;
use crate::model::material::{EcMaterial, MaterialParts};
use crate::model::spec::Curve;
use crate::secret::SecretBytes;

/// Gives these bytes, one after the other.
#[derive(Debug)]
struct Script(Mutex<Vec<u8>>);

impl Script {
    fn of(numbers: &[&[u8]]) -> Self {
        Self(Mutex::new(numbers.concat()))
    }

    fn left(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

impl Entropy for Script {
    fn fill(&self, bytes: &mut [u8]) -> crate::Result<()> {
        let mut script = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if script.len() < bytes.len() {
            return Err(crate::Error::new(
                ErrorKind::RandomUnavailable,
                "the script is at its end",
            ));
        }
        let left = script.split_off(bytes.len());
        bytes.copy_from_slice(&script);
        *script = left;
        Ok(())
    }
}

fn parts(key: KeyMaterial) -> EcMaterial {
    match key.parts {
        MaterialParts::Ec(ec) => ec,
        _ => panic!("not an EC key"),
    }
}

fn numbers(key: &EcMaterial) -> [&[u8]; 3] {
    [key.d.expose(), &key.x, &key.y]
}

/// The key that both engines make of these numbers, of which they take the last.
fn made(curve: Curve, script: &[&[u8]]) -> EcMaterial {
    let [first, second] = engines().map(|engine| {
        let script = Script::of(script);
        let key = engine.generate(KeySpec::Ec(curve), None, &script).unwrap();
        assert_eq!(script.left(), 0, "{curve}");
        parts(key)
    });
    assert_eq!(numbers(&first), numbers(&second), "{curve}");
    first
}

/// n - 1.
fn largest(curve: Curve) -> Vec<u8> {
    fn of<C: CurveArithmetic>() -> Vec<u8> {
        (-Scalar::<C>::ONE).to_repr().to_vec()
    }
    match curve {
        Curve::P256 => of::<p256::NistP256>(),
        Curve::P384 => of::<p384::NistP384>(),
        Curve::P521 => of::<p521::NistP521>(),
        Curve::P256K => of::<k256::Secp256k1>(),
    }
}

/// n, which is odd.
fn order(curve: Curve) -> Vec<u8> {
    let mut order = largest(curve);
    *order.last_mut().unwrap() += 1;
    order
}

fn small(curve: Curve, last: u8) -> Vec<u8> {
    let mut number = vec![0; curve.field_length()];
    *number.last_mut().unwrap() = last;
    number
}

fn agreement(curve: Curve) -> Option<&'static agreement::Algorithm> {
    match curve {
        Curve::P256 => Some(&agreement::ECDH_P256),
        Curve::P384 => Some(&agreement::ECDH_P384),
        Curve::P521 => Some(&agreement::ECDH_P521),
        Curve::P256K => None,
    }
}

#[test]
fn the_same_random_bytes_give_the_same_key_on_both_engines() {
    for curve in Curve::ALL {
        for round in 0..30_u8 {
            let mut number = vec![0; curve.field_length()];
            OsEntropy.fill(&mut number).unwrap();
            // Below the order on all curves, and now and then with zeros in front.
            number[0] &= 0x7f >> (round % 8);
            let key = made(curve, &[&number]);
            if curve == Curve::P521 {
                number[0] &= 1;
            }
            assert_eq!(key.d.expose(), number, "{curve}");
        }
    }
}

#[test]
fn numbers_that_are_no_scalars_are_drawn_again() {
    for curve in Curve::ALL {
        let (zero, order, ones) = (
            small(curve, 0),
            order(curve),
            vec![0xff; curve.field_length()],
        );
        let no_scalars = [&zero[..], &order, &ones];
        let [first, last] = [small(curve, 1), largest(curve)].map(|number| {
            let [a, b, c] = no_scalars;
            let key = made(curve, &[a, b, c, &number]);
            assert_eq!(key.d.expose(), number, "{curve}");
            key
        });
        // The generator and its mirror image.
        assert_eq!(first.x, last.x, "{curve}");
        assert_ne!(first.y, last.y, "{curve}");
    }
}

#[test]
fn the_scalars_of_aws_lc_are_those_that_are_drawn() {
    for curve in Curve::ALL {
        let Some(algorithm) = agreement(curve) else {
            continue;
        };
        let takes = |d: &[u8]| agreement::PrivateKey::from_private_key(algorithm, d).is_ok();
        let ones = vec![0xff; curve.field_length()];
        assert!(
            !takes(&small(curve, 0)) && !takes(&order(curve)) && !takes(&ones),
            "{curve}"
        );
        assert!(takes(&small(curve, 1)) && takes(&largest(curve)), "{curve}");
    }
}

/// Not by the other engine, which judges what this one refuses.
#[test]
fn aws_lc_takes_no_point_but_that_of_the_number() {
    let engine = RustCryptoEngine::new(Arc::new(OsEntropy));
    let random = |curve| parts(generate(&*aws_lc(), KeySpec::Ec(curve)));
    for curve in [Curve::P256, Curve::P384, Curve::P521] {
        let with = |d: &[u8], x: &[u8], y: &[u8]| {
            let key = EcMaterial {
                curve,
                d: SecretBytes::copied_from(d),
                x: x.to_vec(),
                y: y.to_vec(),
            };
            EcKey::load(&key, &engine).is_some()
        };
        let (one, other) = (random(curve), random(curve));
        let [d, x, y] = numbers(&one);
        assert!(with(d, x, y), "{curve}");

        let on_the_curve = with(d, &other.x, &other.y) || with(other.d.expose(), x, y);
        assert!(!on_the_curve, "{curve}");
        let generator = made(curve, &[&small(curve, 1)]);
        let mirrored = with(&largest(curve), &generator.x, &generator.y);
        assert!(!mirrored, "{curve}");

        for bit in 0..8 * y.len() {
            let mut changed = y.to_vec();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!with(d, x, &changed), "{curve}, bit {bit}");
        }
        let zero = vec![0; x.len()];
        let ones = vec![0xff; x.len()];
        let nowhere = [(y, x), (x, &ones), (&ones, y), (&zero, &zero)];
        for (x, y) in nowhere {
            assert!(!with(d, x, y), "{curve}");
        }
    }
    // The same number on another curve with coordinates of that length.
    let foreign = random(Curve::P256K);
    let key = EcMaterial {
        curve: Curve::P256,
        ..foreign
    };
    assert!(EcKey::load(&key, &engine).is_none());
}
