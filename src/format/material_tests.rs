use super::material::{decode, encode};
use crate::error::ErrorKind;
use crate::model::material::{EcMaterial, KeyMaterial, MaterialParts, RsaMaterial};
use crate::model::spec::{Curve, OctKeyLength, RsaKeySize};
use crate::secret::SecretBytes;

fn secret(byte: u8, length: usize) -> SecretBytes {
    SecretBytes::from(vec![byte; length])
}

fn rsa() -> KeyMaterial {
    KeyMaterial::new(MaterialParts::Rsa(RsaMaterial {
        size: RsaKeySize::Bits2048,
        n: vec![1; 256],
        e: vec![1, 0, 1],
        d: secret(2, 256),
        p: secret(3, 128),
        q: secret(4, 128),
        dp: secret(5, 128),
        dq: secret(6, 128),
        qi: secret(7, 128),
    }))
}

fn ec() -> KeyMaterial {
    KeyMaterial::new(MaterialParts::Ec(EcMaterial {
        curve: Curve::P521,
        d: secret(1, 66),
        x: vec![2; 66],
        y: vec![3; 66],
    }))
}

fn oct() -> KeyMaterial {
    KeyMaterial::new(MaterialParts::Oct {
        length: OctKeyLength::try_from(32).unwrap(),
        key: secret(9, 32),
    })
}

/// layout ‖ family ‖ curve, and fields with their lengths.
fn bytes_of(family: u8, curve: u8, fields: &[(u8, usize)]) -> Vec<u8> {
    let mut bytes = vec![0, 1, family, curve];
    for (byte, length) in fields {
        bytes.extend_from_slice(&u16::try_from(*length).unwrap().to_be_bytes());
        bytes.extend(vec![*byte; *length]);
    }
    bytes
}

fn rsa_bytes() -> Vec<u8> {
    let mut bytes = bytes_of(1, 0, &[(1, 256)]);
    bytes.extend([0, 3, 1, 0, 1]);
    let secrets = [(2, 256), (3, 128), (4, 128), (5, 128), (6, 128), (7, 128)];
    bytes.extend_from_slice(&bytes_of(0, 0, &secrets)[4..]);
    bytes
}

#[test]
fn the_material_of_each_family_is_encoded_as_the_format_says_and_reads_back() {
    let cases = [
        (rsa(), rsa_bytes()),
        (ec(), bytes_of(2, 3, &[(1, 66), (2, 66), (3, 66)])),
        (oct(), bytes_of(3, 0, &[(9, 32)])),
    ];
    for (material, bytes) in cases {
        assert_eq!(encode(&material).unwrap().expose(), bytes);
        let read = decode(&bytes).unwrap();
        assert_eq!(read.spec(), material.spec());
        assert_eq!(encode(&read).unwrap().expose(), bytes);
    }
}

#[test]
fn fields_have_the_lengths_of_their_key() {
    let kind = |bytes: &[u8]| decode(bytes).map(drop).map_err(|error| error.kind());
    let corrupt = Err(ErrorKind::Corrupt);
    for bytes in [
        rsa_bytes(),
        bytes_of(2, 3, &[(1, 66), (2, 66), (3, 66)]),
        bytes_of(3, 0, &[(9, 32)]),
    ] {
        assert_eq!(kind(&bytes), Ok(()));
        for length in 0..bytes.len() {
            assert_eq!(kind(&bytes[..length]), corrupt, "{length}");
        }
        assert_eq!(kind(&[&bytes[..], &[0]].concat()), corrupt);
        for number in [[0, 0], [0, 2], [1, 1]] {
            let other = [&number[..], &bytes[2..]].concat();
            assert_eq!(kind(&other), Err(ErrorKind::NewerFormat));
        }
    }
    // Secret numbers have their full length: a shorter one is not padded, a longer one not cut.
    let secrets = [256, 128, 128, 128, 128, 128];
    for changed in 0..secrets.len() {
        for by in [-1, 1] {
            let mut lengths = secrets;
            lengths[changed] = usize::checked_add_signed(lengths[changed], by).unwrap();
            let mut bytes = bytes_of(1, 0, &[(1, 256), (1, 3)]);
            bytes.extend_from_slice(&bytes_of(0, 0, &lengths.map(|length| (2, length)))[4..]);
            assert_eq!(kind(&bytes), corrupt, "{lengths:?}");
        }
    }
    for bytes in [
        bytes_of(2, 3, &[(1, 65), (2, 66), (3, 66)]),
        bytes_of(2, 3, &[(1, 67), (2, 66), (3, 66)]),
        bytes_of(2, 0, &[(1, 66), (2, 66), (3, 66)]),
        bytes_of(2, 5, &[(1, 66), (2, 66), (3, 66)]),
        bytes_of(1, 1, &[(1, 256)]),
        bytes_of(3, 1, &[(9, 32)]),
        bytes_of(3, 0, &[(9, 0)]),
        bytes_of(4, 0, &[(9, 32)]),
        bytes_of(0, 0, &[(9, 32)]),
    ] {
        assert_eq!(kind(&bytes), corrupt);
    }
}
