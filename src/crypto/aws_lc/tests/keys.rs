//! Which keys are this engine's, and that they are the same bytes in both.

use super::*;
use crate::crypto::CryptoError;
use crate::crypto::validation;
use crate::model::algorithm::{SignatureAlgorithm, WrapAlgorithm};
use crate::model::material::MaterialParts;
use crate::model::spec::{Curve, OctKeySize, RsaKeySize};
use crate::secret::SecretBytes;

#[test]
fn keys_pass_validation_and_are_canonical_whoever_made_them() {
    for engine in engines() {
        let specs = [KeySpec::Rsa(RsaKeySize::Bits2048)]
            .into_iter()
            .chain(Curve::ALL.into_iter().map(KeySpec::Ec));
        for spec in specs {
            let made = generate(&*engine, spec);
            let blob = material::encode(&made).unwrap();
            let again = validation::validate(made.into(), &OsEntropy).unwrap();
            assert_eq!(material::encode(&again).unwrap(), blob, "{spec}");
        }
    }
}

#[test]
fn a_key_without_leading_zeros_in_its_numbers_is_no_other_key() {
    // One in 256 keys has a scalar or a coordinate that begins with a zero byte.
    for _ in 0..600 {
        let key = generate(&*aws_lc(), KeySpec::Ec(Curve::P256));
        let MaterialParts::Ec(ec) = &key.parts else {
            panic!("not an EC key");
        };
        let short = [ec.d.expose(), &ec.x, &ec.y]
            .iter()
            .any(|number| number[0] == 0);
        assert_eq!([ec.d.len(), ec.x.len(), ec.y.len()], [32; 3]);
        if short {
            let [own, other] = engines().map(|engine| engine.load(&key).unwrap());
            assert!(is_own(&*own));
            let fixed = |key: &dyn CryptoKey| {
                key.sign_deterministic(SignatureAlgorithm::Es256, &[7; 32])
                    .unwrap()
            };
            assert_eq!(fixed(&*own), fixed(&*other));
            return;
        }
    }
    panic!("no such key among 600, of which about seven were due");
}

#[test]
fn other_keys_and_exponents_are_left_to_the_other_engine() {
    let engine = aws_lc();
    for spec in [
        KeySpec::Ec(Curve::P256K),
        KeySpec::Oct(OctKeySize::Bits192.into()),
    ] {
        let key = engine.load(&generate(&*engine, spec)).unwrap();
        assert!(!is_own(&*key), "{key:?}");
    }
    for (exponent, own) in [(65_537, true), (65_539, false), ((1 << 33) - 1, false)] {
        let spec = KeySpec::Rsa(RsaKeySize::Bits2048);
        let key = engine.generate(spec, Some(exponent), &OsEntropy).unwrap();
        assert_eq!(is_own(&*engine.load(&key).unwrap()), own, "{exponent}");
        let digest = [3; 32];
        let signature = engine
            .load(&key)
            .unwrap()
            .sign(SignatureAlgorithm::Rs256, &digest)
            .unwrap();
        for engine in engines() {
            let public = public(&*engine, &key);
            public
                .verify(SignatureAlgorithm::Rs256, &digest, &signature)
                .unwrap();
        }
    }
    let key = generate(&*engine, KeySpec::Oct(OctKeySize::Bits192.into()));
    let key = engine.load(&key).unwrap();
    let wrapped = key.wrap_key(WrapAlgorithm::A192Kw, &[1; 32]).unwrap();
    let opened = key.unwrap_key(WrapAlgorithm::A192Kw, &wrapped).unwrap();
    assert_eq!(opened.expose(), [1; 32]);
}

#[test]
fn exponents_out_of_range_are_refused_alike() {
    for engine in engines() {
        for exponent in [0, 1, 3, 65_536, 65_538, 1 << 33, (1 << 33) + 1] {
            let spec = KeySpec::Rsa(RsaKeySize::Bits2048);
            let refused = engine.generate(spec, Some(exponent), &OsEntropy);
            assert!(matches!(refused, Err(CryptoError::InvalidInput(_))));
        }
        let refused = engine.generate(KeySpec::Ec(Curve::P256), Some(65_537), &OsEntropy);
        assert!(matches!(refused, Err(CryptoError::InvalidInput(_))));
    }
}

#[test]
fn inconsistent_material_is_refused_alike() {
    let [engine, _] = engines();
    let ec = || match generate(&*engine, KeySpec::Ec(Curve::P384)).parts {
        MaterialParts::Ec(ec) => ec,
        _ => panic!("not an EC key"),
    };
    let rsa = generate(&*engine, KeySpec::Rsa(RsaKeySize::Bits2048));
    let rsa = || {
        let blob = material::encode(&rsa).unwrap();
        match material::decode(blob.expose()).unwrap().parts {
            MaterialParts::Rsa(rsa) => rsa,
            _ => panic!("not an RSA key"),
        }
    };
    let changed = |number: &SecretBytes| {
        let mut bytes = number.expose().to_vec();
        *bytes.last_mut().unwrap() ^= 2;
        SecretBytes::from(bytes)
    };
    let mut wrong = Vec::new();
    for d in [vec![0; 48], vec![0xff; 48], vec![1; 47], vec![1; 48]] {
        let mut key = ec();
        key.d = SecretBytes::from(d);
        wrong.push(MaterialParts::Ec(key));
    }
    let mut key = ec();
    (key.x, key.y) = (key.y, key.x);
    wrong.push(MaterialParts::Ec(key));
    let mut key = rsa();
    key.d = changed(&key.d);
    wrong.push(MaterialParts::Rsa(key));
    let mut key = rsa();
    key.p = changed(&key.p);
    wrong.push(MaterialParts::Rsa(key));
    let mut key = rsa();
    key.n[100] ^= 1;
    wrong.push(MaterialParts::Rsa(key));
    for parts in wrong {
        let key = KeyMaterial::new(parts);
        for engine in engines() {
            let refused = engine.load(&key);
            assert!(matches!(refused, Err(CryptoError::InvalidKey(_))));
        }
    }
}

#[test]
fn no_key_is_generated_without_random_bytes() {
    #[derive(Debug)]
    struct Never;
    impl Entropy for Never {
        fn fill(&self, _: &mut [u8]) -> crate::Result<()> {
            Err(crate::Error::new(
                ErrorKind::RandomUnavailable,
                "the test's generator failed",
            ))
        }
    }
    let specs = [KeySpec::Rsa(RsaKeySize::Bits2048)]
        .into_iter()
        .chain(Curve::ALL.into_iter().map(KeySpec::Ec));
    for spec in specs {
        let refused = aws_lc().generate(spec, None, &Never);
        assert!(matches!(refused, Err(CryptoError::Random(_))), "{spec}");
    }
}

#[test]
fn a_generator_of_unusable_numbers_is_an_error_and_not_a_loop() {
    #[derive(Debug)]
    struct Constant(u8);
    impl Entropy for Constant {
        fn fill(&self, bytes: &mut [u8]) -> crate::Result<()> {
            bytes.fill(self.0);
            Ok(())
        }
    }
    for curve in [Curve::P256, Curve::P384, Curve::P521] {
        for byte in [0, 0xff] {
            let refused = aws_lc().generate(KeySpec::Ec(curve), None, &Constant(byte));
            assert!(matches!(refused, Err(CryptoError::Internal(_))), "{curve}");
        }
    }
}
