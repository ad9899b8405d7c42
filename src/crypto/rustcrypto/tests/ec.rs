use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, EcdsaKeyPair, UnparsedPublicKey};

use super::*;
use crate::crypto::{CryptoError, hash};
use crate::model::algorithm::SignatureAlgorithm::{self, Es256, Es256K, Es384, Es512};
use crate::model::material::{EcMaterial, PublicParts};
use crate::model::spec::Curve;

const ALL: [(Curve, SignatureAlgorithm); 4] = [
    (Curve::P256, Es256),
    (Curve::P384, Es384),
    (Curve::P521, Es512),
    (Curve::P256K, Es256K),
];

/// Half the order of P-256K, rounded down.
const HALF_ORDER_P256K: &str = "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0";
const ORDER_P256K: &str = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";

fn ec_parts(material: &KeyMaterial) -> &EcMaterial {
    match &material.parts {
        MaterialParts::Ec(ec) => ec,
        _ => panic!("not an EC key"),
    }
}

fn uncompressed(ec: &EcMaterial) -> Vec<u8> {
    [&[4], ec.x.as_slice(), ec.y.as_slice()].concat()
}

/// The deterministic signature of a message by the key with this scalar and point.
fn sign_known(
    (curve, algorithm): (Curve, SignatureAlgorithm),
    d: &str,
    x: &str,
    y: &str,
    message: &[u8],
) -> Vec<u8> {
    let key = load(&KeyMaterial::new(MaterialParts::Ec(EcMaterial {
        curve,
        d: SecretBytes::from(hex(d)),
        x: hex(x),
        y: hex(y),
    })));
    let digest = hash::digest(algorithm.digest().unwrap(), message);
    key.sign_deterministic(algorithm, &digest).unwrap()
}

#[test]
fn deterministic_signatures_are_those_of_rfc_6979() {
    let p256 = |message: &[u8]| {
        sign_known(
            ALL[0],
            "C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721",
            "60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6",
            "7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299",
            message,
        )
    };
    assert_eq!(
        p256(b"sample"),
        hex(
            "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716
             F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8"
        )
    );
    assert_eq!(
        p256(b"test"),
        hex(
            "F1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367
             019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083"
        )
    );
    assert_eq!(
        sign_known(
            ALL[1],
            "6B9D3DAD2E1B8C1C05B19875B6659F4DE23C3B667BF297BA9AA47740787137D8
             96D5724E4C70A825F872C9EA60D2EDF5",
            "EC3A4E415B4E19A4568618029F427FA5DA9A8BC4AE92E02E06AAE5286B300C64
             DEF8F0EA9055866064A254515480BC13",
            "8015D9B72D7D57244EA8EF9AC0C621896708A59367F9DFB9F54CA84B3F1C9DB1
             288B231C3AE0D4FE7344FD2533264720",
            b"sample",
        ),
        hex(
            "94EDBB92A5ECB8AAD4736E56C691916B3F88140666CE9FA73D64C4EA95AD133C
             81A648152E44ACF96E36DD1E80FABE46
             99EF4AEB15F178CEA1FE40DB2603138F130E740A19624526203B6351D0A3A94F
             A329C145786E679E7B82C71A38628AC8"
        )
    );
    assert_eq!(
        sign_known(
            ALL[2],
            "00FAD06DAA62BA3B25D2FB40133DA757205DE67F5BB0018FEE8C86E1B68C7E75CA
             A896EB32F1F47C70855836A6D16FCC1466F6D8FBEC67DB89EC0C08B0E996B83538",
            "01894550D0785932E00EAA23B694F213F8C3121F86DC97A04E5A7167DB4E5BCD37
             1123D46E45DB6B5D5370A7F20FB633155D38FFA16D2BD761DCAC474B9A2F5023A4",
            "00493101C962CD4D2FDDF782285E64584139C2F91B47F87FF82354D6630F746A28
             A0DB25741B5B34A828008B22ACC23F924FAAFBD4D33F81EA66956DFEAA2BFDFCF5",
            b"sample",
        ),
        hex(
            "00C328FAFCBD79DD77850370C46325D987CB525569FB63C5D3BC53950E6D4C5F17
             4E25A1EE9017B5D450606ADD152B534931D7D4E8455CC91F9B15BF05EC36E377FA
             00617CCE7CF5064806C467F678D3B4080D6F1CC50AF26CA209417308281B68AF28
             2623EAA63E5B5C0723D8B8C37FF0777B1A20F8CCB1DCCC43997F1EE0E44DA4A67A"
        )
    );
    // RFC 6979 has no P-256K; this vector is the one that Bitcoin implementations share.
    assert_eq!(
        sign_known(
            ALL[3],
            &format!("{:0>64}", "1"),
            "79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798",
            "483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8",
            b"Satoshi Nakamoto",
        ),
        hex(
            "934B1EA10A4B3C1757E2B0C017D0B6143CE3C9A7E6A4A49860D7A6AB210EE3D8
             2442CE9D2B916064108014783E923EC36B49743E2FFA1C4496F01A512AAFD9E5"
        )
    );
}

#[test]
fn signatures_verify_here_and_there_in_both_directions() {
    let verifiers = [
        &signature::ECDSA_P256_SHA256_FIXED,
        &signature::ECDSA_P384_SHA384_FIXED,
        &signature::ECDSA_P521_SHA512_FIXED,
        &signature::ECDSA_P256K1_SHA256_FIXED,
    ];
    let signers = [
        &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
        &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
        &signature::ECDSA_P521_SHA512_FIXED_SIGNING,
        &signature::ECDSA_P256K1_SHA256_FIXED_SIGNING,
    ];
    for (((curve, algorithm), verifier), signer) in ALL.into_iter().zip(verifiers).zip(signers) {
        for round in 0..8_u8 {
            let material = generate(KeySpec::Ec(curve));
            let ec = ec_parts(&material);
            let (key, public) = (load(&material), public(&material));
            let message = [round; 100];
            let digest = hash::digest(algorithm.digest().unwrap(), &message);
            let ours = key.sign(algorithm, &digest).unwrap();
            assert_eq!(ours.len(), 2 * curve.field_length());
            UnparsedPublicKey::new(verifier, uncompressed(ec))
                .verify(&message, &ours)
                .unwrap();
            public.verify(algorithm, &digest, &ours).unwrap();

            let other = EcdsaKeyPair::from_private_key_and_public_key(
                signer,
                ec.d.expose(),
                &uncompressed(ec),
            )
            .unwrap();
            let theirs = other.sign(&SystemRandom::new(), &message).unwrap();
            public
                .verify_data(algorithm, &message, theirs.as_ref())
                .unwrap();

            let mut changed = theirs.as_ref().to_vec();
            changed[curve.field_length() - 1] ^= 1;
            let error = public.verify(algorithm, &digest, &changed).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidSignature);
        }
    }
}

#[test]
fn signatures_are_hedged_with_the_entropy_and_with_nothing_else() {
    for (curve, algorithm) in ALL {
        let material = generate(KeySpec::Ec(curve));
        let digest = vec![7; algorithm.digest().unwrap().digest_length()];
        let sign = |entropy| {
            load_with(&material, entropy)
                .sign(algorithm, &digest)
                .unwrap()
        };
        assert_eq!(sign(Constant(1)), sign(Constant(1)));
        assert_ne!(sign(Constant(1)), sign(Constant(2)));
        let deterministic = load(&material)
            .sign_deterministic(algorithm, &digest)
            .unwrap();
        assert_ne!(sign(Constant(0)), deterministic);
        let key = load(&material);
        assert_ne!(
            key.sign(algorithm, &digest).unwrap(),
            key.sign(algorithm, &digest).unwrap()
        );
    }
}

#[test]
fn only_es256k_signs_with_low_s_and_it_verifies_high_s() {
    let (half, order) = (hex(HALF_ORDER_P256K), hex(ORDER_P256K));
    let material = generate(KeySpec::Ec(Curve::P256K));
    let (key, public_key) = (load(&material), public(&material));
    for round in 0..32_u8 {
        let digest = [round; 32];
        let mut signature = key.sign(Es256K, &digest).unwrap();
        assert!(signature[32..] <= half[..]);
        // n - s is the other valid s.
        let mut borrow = 0_i16;
        for place in (0..32).rev() {
            let difference = i16::from(order[place]) - i16::from(signature[32 + place]) - borrow;
            borrow = i16::from(difference < 0);
            signature[32 + place] = u8::try_from(difference.rem_euclid(256)).unwrap();
        }
        assert!(signature[32..] > half[..]);
        public_key.verify(Es256K, &digest, &signature).unwrap();
    }

    let key = load(&generate(KeySpec::Ec(Curve::P256)));
    let high = (0..64_u8)
        .filter(|round| key.sign(Es256, &[*round; 32]).unwrap()[32] >= 0x80)
        .count();
    assert!(high > 0, "a low s in all of 64 signatures of ES256");
}

#[test]
fn a_digest_of_another_length_is_refused_in_words() {
    for (curve, algorithm) in ALL {
        let material = generate(KeySpec::Ec(curve));
        let (key, public_key) = (load(&material), public(&material));
        let length = algorithm.digest().unwrap().digest_length();
        for given in [0, 1, length - 1, length + 1] {
            let digest = vec![1; given];
            for result in [
                key.sign(algorithm, &digest),
                key.sign_deterministic(algorithm, &digest),
            ] {
                assert!(matches!(result, Err(CryptoError::InvalidInput(_))));
            }
            let error = public_key
                .verify(algorithm, &digest, &vec![1; 2 * curve.field_length()])
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BadParameter);
        }
    }
    let key = load(&generate(KeySpec::Ec(Curve::P256K)));
    assert_eq!(
        key.sign(Es256K, &[1]).unwrap_err().to_string(),
        "ES256K needs a digest of 32 bytes, but 1 was given"
    );
}

#[test]
fn signatures_of_another_length_and_zeros_are_invalid() {
    for (curve, algorithm) in ALL {
        let public_key = public(&generate(KeySpec::Ec(curve)));
        let digest = vec![1; algorithm.digest().unwrap().digest_length()];
        let length = 2 * curve.field_length();
        for signature in [
            vec![],
            vec![1; length - 1],
            vec![1; length + 1],
            vec![0; length],
            vec![0xff; length],
        ] {
            let error = public_key
                .verify(algorithm, &digest, &signature)
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidSignature);
        }
    }
}

#[test]
fn points_off_the_curve_are_refused() {
    for curve in Curve::ALL {
        let material = generate(KeySpec::Ec(curve));
        let ec = ec_parts(&material);
        let length = curve.field_length();
        let mut changed = ec.y.clone();
        changed[length - 1] ^= 1;
        let long = [&[0], ec.x.as_slice()].concat();
        for (x, y) in [
            (ec.x.clone(), changed),
            (vec![0; length], vec![0; length]),
            (vec![0xff; length], ec.y.clone()),
            (long, ec.y.clone()),
            (ec.x[1..].to_vec(), ec.y.clone()),
            (vec![], vec![]),
        ] {
            let error = PublicKey::from_parts(&PublicParts::Ec { curve, x, y }).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidKeyMaterial);
        }
    }
}

#[test]
fn coordinates_not_below_the_prime_are_refused() {
    // x = 1 is on P-256K; x = p + 1 is the same number in the field.
    let y = hex("4218F20AE6C646B363DB68605822FB14264CA8D2587FDD6FBC750D587E76A7EE");
    let x = |text: &str| PublicParts::Ec {
        curve: Curve::P256K,
        x: hex(text),
        y: y.clone(),
    };
    let small = format!("{:0>64}", "1");
    assert!(PublicKey::from_parts(&x(&small)).is_ok());
    let large = "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc30";
    assert!(PublicKey::from_parts(&x(large)).is_err());
    // On P-256, x = 0 is on the curve, and x = p the same.
    let y = hex("66485C780E2F83D72433BD5D84A06BB6541C2AF31DAE871728BF856A174F93F4");
    let x = |text: &str| PublicParts::Ec {
        curve: Curve::P256,
        x: hex(text),
        y: y.clone(),
    };
    let zero = "0".repeat(64);
    assert!(PublicKey::from_parts(&x(&zero)).is_ok());
    let prime = "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff";
    assert!(PublicKey::from_parts(&x(prime)).is_err());
}

#[test]
fn inconsistent_material_is_refused() {
    for curve in Curve::ALL {
        let (first, second) = (generate(KeySpec::Ec(curve)), generate(KeySpec::Ec(curve)));
        let (first, second) = (ec_parts(&first), ec_parts(&second));
        let with = |d: Vec<u8>, from: &EcMaterial| {
            engine().load(&KeyMaterial::new(MaterialParts::Ec(EcMaterial {
                curve,
                d: SecretBytes::from(d),
                x: from.x.clone(),
                y: from.y.clone(),
            })))
        };
        let d = first.d.expose().to_vec();
        assert!(with(d.clone(), first).is_ok());
        for (d, from) in [
            (d.clone(), second),
            (vec![0; curve.field_length()], first),
            (vec![0xff; curve.field_length()], first),
            (d[1..].to_vec(), first),
        ] {
            assert!(matches!(with(d, from), Err(CryptoError::InvalidKey(_))));
        }
    }
}
