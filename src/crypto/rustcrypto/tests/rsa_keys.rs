use super::rsa::check_signatures_both_ways;
use super::*;
use crate::crypto::CryptoError;
use crate::model::algorithm::{SignatureAlgorithm, WrapAlgorithm};
use crate::model::material::PublicParts;

#[test]
fn every_size_and_exponent_generates_a_key_that_others_accept() {
    for (size, exponent) in [
        (RsaKeySize::Bits2048, 65_539),
        (RsaKeySize::Bits2048, (1 << 33) - 1),
        (RsaKeySize::Bits3072, 65_537),
        (RsaKeySize::Bits4096, 65_537),
    ] {
        let material = engine()
            .generate(KeySpec::Rsa(size), Some(exponent), &OsEntropy)
            .unwrap();
        let rsa = rsa_parts(&material);
        let k = rsa.n.len();
        assert_eq!(k * 8, size.bits() as usize);
        assert_eq!((rsa.d.len(), rsa.p.len(), rsa.q.len()), (k, k / 2, k / 2));
        assert_eq!(
            (rsa.dp.len(), rsa.dq.len(), rsa.qi.len()),
            (k / 2, k / 2, k / 2)
        );
        assert!(rsa.p.expose() > rsa.q.expose());
        let e = rsa
            .e
            .iter()
            .fold(0_u64, |e, byte| e << 8 | u64::from(*byte));
        assert_eq!(e, exponent);
        check_signatures_both_ways(&material);
    }
}

#[test]
fn other_exponents_are_refused() {
    for e in [
        0,
        1,
        3,
        65_535,
        65_536,
        65_538,
        1 << 33,
        (1 << 33) + 1,
        u64::MAX,
    ] {
        let result = engine().generate(KeySpec::Rsa(RsaKeySize::Bits2048), Some(e), &OsEntropy);
        assert!(matches!(result, Err(CryptoError::InvalidInput(_))), "{e}");
    }
    let oct = KeySpec::Oct(OctKeyLength::try_from(16).unwrap());
    let result = engine().generate(oct, Some(65_537), &OsEntropy);
    assert!(matches!(result, Err(CryptoError::InvalidInput(_))));
}

#[test]
fn public_numbers_out_of_range_are_refused() {
    let rsa = rsa_parts(&RSA_2048);
    let refused = |n: &[u8], e: &[u8]| {
        let parts = PublicParts::Rsa {
            n: n.to_vec(),
            e: e.to_vec(),
        };
        PublicKey::from_parts(&parts).map(drop).unwrap_err().kind()
    };
    let mut even = rsa.n.clone();
    even[255] &= 0xfe;
    let mut short = rsa.n.clone();
    short[0] &= 0x7f;
    let padded = [&[0], rsa.n.as_slice()].concat();
    let e1024 = [0xff; 128];
    let e8192 = [0xff; 1024];
    for n in [&even[..], &short, &padded, &rsa.n[1..], &e1024, &e8192, &[]] {
        assert_eq!(refused(n, &[1, 0, 1]), ErrorKind::InvalidKeyMaterial);
    }
    for e in [
        &[][..],
        &[3],
        &[0xff, 0xff],
        &[1, 0, 0],
        &[0, 1, 0, 1],
        &[2, 0, 0, 0, 1],
        &[1; 9],
        &[0xff; 256],
    ] {
        assert_eq!(refused(&rsa.n, e), ErrorKind::InvalidKeyMaterial);
    }
}

#[test]
fn inconsistent_material_is_refused() {
    let good = rsa_parts(&RSA_2048);
    let mut n = good.n.clone();
    n[100] ^= 1;
    let mut d = good.d.expose().to_vec();
    d[100] ^= 1;
    let with = |n: &[u8], d: &[u8]| {
        let copied = SecretBytes::copied_from;
        engine().load(&KeyMaterial::new(MaterialParts::Rsa(RsaMaterial {
            size: good.size,
            n: n.to_vec(),
            e: good.e.clone(),
            d: copied(d),
            p: copied(good.p.expose()),
            q: copied(good.q.expose()),
            dp: copied(good.dp.expose()),
            dq: copied(good.dq.expose()),
            qi: copied(good.qi.expose()),
        })))
    };
    assert!(with(&good.n, good.d.expose()).is_ok());
    for result in [
        with(&n, good.d.expose()),
        with(&good.n, &d),
        with(&good.n, &[]),
        with(&[], good.d.expose()),
        with(&good.n, &[0xff; 300]),
    ] {
        assert!(matches!(result, Err(CryptoError::InvalidKey(_))));
    }
}

#[test]
fn algorithms_of_other_keys_do_not_fit() {
    let (key, public_key) = (load(&RSA_2048), public(&RSA_2048));
    assert!(matches!(
        key.sign(SignatureAlgorithm::Es256, &[0; 32]),
        Err(CryptoError::Unsupported)
    ));
    assert!(matches!(
        key.unwrap_key(WrapAlgorithm::A128Kw, &[0; 24]),
        Err(CryptoError::Unsupported)
    ));
    let error = public_key
        .verify(SignatureAlgorithm::Es256, &[0; 32], &[0; 64])
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlgorithmMismatch);
    assert_eq!(
        error.to_string(),
        "ES256 needs a key on curve P-256, but this key is RSA 2048"
    );
    let error = public_key
        .wrap_key(WrapAlgorithm::A128Kw, &[0; 16])
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlgorithmMismatch);
}
