//! Against the `openssl` command line, version 3.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use super::*;
use crate::crypto::validation::{validate, validate_public};
use crate::env::OsEntropy;
use crate::model::material::{KeyMaterial, MaterialParts, PublicParts};
use crate::model::spec::KeySpec;

const PASSWORD: &[u8] = b"correct horse";
const PASSOUT: &str = "pass:correct horse";

fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the openssl command line is installed");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "openssl {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// A key of openssl's making, as PKCS#8 PEM.
fn generated(algorithm: &str, option: &str) -> Vec<u8> {
    openssl(
        &[
            "genpkey",
            "-quiet",
            "-algorithm",
            algorithm,
            "-pkeyopt",
            option,
        ],
        b"",
    )
}

static RSA: LazyLock<Vec<u8>> = LazyLock::new(|| generated("RSA", "rsa_keygen_bits:2048"));
static P256: LazyLock<Vec<u8>> = LazyLock::new(|| generated("EC", "ec_paramgen_curve:P-256"));

fn ec_keys() -> Vec<(Curve, Vec<u8>)> {
    [
        (Curve::P256, "ec_paramgen_curve:P-256"),
        (Curve::P384, "ec_paramgen_curve:P-384"),
        (Curve::P521, "ec_paramgen_curve:P-521"),
        (Curve::P256K, "ec_paramgen_curve:secp256k1"),
    ]
    .map(|(curve, option)| (curve, generated("EC", option)))
    .into()
}

fn accepted(key: ImportedKey) -> KeyMaterial {
    validate(key, &OsEntropy).unwrap()
}

fn assert_same(left: &KeyMaterial, right: &KeyMaterial) {
    match (&left.parts, &right.parts) {
        (MaterialParts::Rsa(left), MaterialParts::Rsa(right)) => {
            assert_eq!((&left.n, &left.e), (&right.n, &right.e));
            assert_eq!(left.d, right.d);
            assert_eq!((&left.p, &left.q), (&right.p, &right.q));
            assert_eq!(
                (&left.dp, &left.dq, &left.qi),
                (&right.dp, &right.dq, &right.qi)
            );
        }
        (MaterialParts::Ec(left), MaterialParts::Ec(right)) => {
            assert_eq!(left.curve, right.curve);
            assert_eq!(left.d, right.d);
            assert_eq!((&left.x, &left.y), (&right.x, &right.y));
        }
        _ => panic!("two families"),
    }
}

/// The public half as openssl writes it must be what we write, and read back the same.
fn assert_public_half(pem: &[u8], material: &KeyMaterial) {
    let parts = material.public_parts().unwrap();
    let theirs = openssl(&["pkey", "-pubout", "-outform", "DER"], pem);
    assert_eq!(spki_der_from_parts(&parts).unwrap(), theirs);
    assert_eq!(parts_from_spki_der(&theirs).unwrap(), parts);
    let theirs = text(openssl(&["pkey", "-pubout"], pem));
    assert_eq!(spki_pem_from_parts(&parts).unwrap(), theirs);
    assert_eq!(parts_from_spki_pem(&theirs).unwrap(), parts);
    assert_eq!(validate_public(&parts).unwrap(), parts);
}

#[test]
fn rsa_keys_of_openssl_enter_from_every_container() {
    let pem = &*RSA;
    let reference = accepted(ImportedKey::from_pem(std::str::from_utf8(pem).unwrap()).unwrap());
    assert_public_half(pem, &reference);
    let pkcs8 = openssl(&["pkcs8", "-topk8", "-nocrypt", "-outform", "DER"], pem);
    assert_same(
        &accepted(ImportedKey::from_pkcs8_der(&pkcs8).unwrap()),
        &reference,
    );
    let pkcs1 = openssl(&["rsa", "-traditional", "-outform", "DER"], pem);
    assert_same(
        &accepted(ImportedKey::from_pkcs1_der(&pkcs1).unwrap()),
        &reference,
    );
    let pkcs1 = text(openssl(&["rsa", "-traditional"], pem));
    assert!(pkcs1.starts_with("-----BEGIN RSA PRIVATE KEY-----"));
    assert_same(
        &accepted(ImportedKey::from_pem(&pkcs1).unwrap()),
        &reference,
    );
}

#[test]
fn larger_rsa_keys_of_openssl_enter() {
    for bits in ["rsa_keygen_bits:3072", "rsa_keygen_bits:4096"] {
        let pem = generated("RSA", bits);
        let key = ImportedKey::from_pem(std::str::from_utf8(&pem).unwrap()).unwrap();
        assert_public_half(&pem, &accepted(key));
    }
}

#[test]
fn ec_keys_of_openssl_enter_from_every_container() {
    for (curve, pem) in ec_keys() {
        let reference =
            accepted(ImportedKey::from_pem(std::str::from_utf8(&pem).unwrap()).unwrap());
        assert_eq!(reference.spec(), KeySpec::Ec(curve));
        assert_public_half(&pem, &reference);
        let pkcs8 = openssl(&["pkcs8", "-topk8", "-nocrypt", "-outform", "DER"], &pem);
        assert_same(
            &accepted(ImportedKey::from_pkcs8_der(&pkcs8).unwrap()),
            &reference,
        );
        let sec1 = openssl(&["ec", "-outform", "DER"], &pem);
        assert_same(
            &accepted(ImportedKey::from_sec1_der(&sec1).unwrap()),
            &reference,
        );
        let without_point = openssl(&["ec", "-no_public", "-outform", "DER"], &pem);
        assert_same(
            &accepted(ImportedKey::from_sec1_der(&without_point).unwrap()),
            &reference,
        );
        let compressed = openssl(&["ec", "-conv_form", "compressed", "-outform", "DER"], &pem);
        assert_same(
            &accepted(ImportedKey::from_sec1_der(&compressed).unwrap()),
            &reference,
        );
        let sec1 = text(openssl(&["ec"], &pem));
        assert!(sec1.starts_with("-----BEGIN EC PRIVATE KEY-----"));
        assert_same(&accepted(ImportedKey::from_pem(&sec1).unwrap()), &reference);
        let public = openssl(
            &[
                "ec",
                "-pubout",
                "-conv_form",
                "compressed",
                "-outform",
                "DER",
            ],
            &pem,
        );
        assert_eq!(
            parts_from_spki_der(&public).unwrap(),
            reference.public_parts().unwrap()
        );
    }
}

#[test]
fn the_parameters_block_of_openssl_ecparam_is_skipped() {
    let pem = text(openssl(&["ecparam", "-name", "prime256v1", "-genkey"], b""));
    assert!(pem.starts_with("-----BEGIN EC PARAMETERS-----"));
    accepted(ImportedKey::from_pem(&pem).unwrap());
}

#[test]
fn pem_with_other_line_ends_widths_and_preambles_enters() {
    let pem = text(P256.clone());
    let reference = accepted(ImportedKey::from_pem(&pem).unwrap());
    let lines: Vec<&str> = pem.lines().collect();
    let body = lines[1..lines.len() - 1].concat();
    let one_line = format!("{}\n{body}\n{}", lines[0], lines[lines.len() - 1]);
    for variant in [
        pem.replace('\n', "\r\n"),
        pem.trim_end().to_owned(),
        format!("{pem}\n\n"),
        format!("Bag Attributes\n    friendlyName: x\n{pem}"),
        one_line,
    ] {
        assert_same(
            &accepted(ImportedKey::from_pem(&variant).unwrap()),
            &reference,
        );
    }
}

#[test]
fn encrypted_keys_of_openssl_enter_with_their_password_only() {
    let variants: [&[&str]; 8] = [
        &[],
        &["-v2", "aes-128-cbc"],
        &["-v2", "aes-192-cbc"],
        &["-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA256"],
        &["-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA512"],
        &[
            "-v2",
            "aes-256-cbc",
            "-v2prf",
            "hmacWithSHA384",
            "-iter",
            "7",
        ],
        &["-v2", "aes-256-cbc", "-iter", "20000"],
        &["-scrypt"],
    ];
    for pem in [&*P256, &*RSA] {
        let reference = accepted(ImportedKey::from_pem(std::str::from_utf8(pem).unwrap()).unwrap());
        for variant in variants {
            let mut arguments = vec!["pkcs8", "-topk8", "-passout", PASSOUT];
            arguments.extend(variant);
            let encrypted = text(openssl(&arguments, pem));
            assert_same(
                &accepted(ImportedKey::from_encrypted_pem(&encrypted, PASSWORD).unwrap()),
                &reference,
            );
            arguments.extend(["-outform", "DER"]);
            let der = openssl(&arguments, pem);
            assert_same(
                &accepted(ImportedKey::from_pkcs8_encrypted_der(&der, PASSWORD).unwrap()),
                &reference,
            );
            let error = ImportedKey::from_pkcs8_encrypted_der(&der, b"correct hors").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::DecryptFailed);
            let error = ImportedKey::from_pem(&encrypted).unwrap_err();
            assert!(error.to_string().contains("from_encrypted_pem"), "{error}");
        }
    }
    let der = openssl(
        &[
            "pkcs8", "-topk8", "-iter", "1", "-outform", "DER", "-passout", PASSOUT,
        ],
        &P256,
    );
    // More than 256 passwords, so that one passes the padding of CBC by chance.
    for length in 0..600 {
        let error = ImportedKey::from_pkcs8_encrypted_der(&der, &vec![b'a'; length]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DecryptFailed);
    }
}

#[test]
fn outdated_encryption_is_refused_with_a_way_out() {
    let variants: [&[&str]; 3] = [
        &["-v1", "PBE-SHA1-3DES"],
        &["-v2", "des3"],
        &["-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA1"],
    ];
    for variant in variants {
        let mut arguments = vec!["pkcs8", "-topk8", "-outform", "DER", "-passout", PASSOUT];
        arguments.extend(variant);
        let der = openssl(&arguments, &P256);
        let error = ImportedKey::from_pkcs8_encrypted_der(&der, PASSWORD).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidKeyMaterial, "{variant:?}");
    }
    let old = text(openssl(
        &["rsa", "-traditional", "-aes256", "-passout", PASSOUT],
        &RSA,
    ));
    let error = ImportedKey::from_pem(&old).unwrap_err();
    assert!(error.to_string().contains("Proc-Type"), "{error}");
}

/// The same container with another count of PBKDF2 iterations.
fn with_iterations(der: &[u8], iterations: u32) -> Vec<u8> {
    use pkcs8::pkcs5::{EncryptionScheme, pbes2::Kdf};
    let mut info: pkcs8::EncryptedPrivateKeyInfoRef<'_> =
        pkcs8::der::Decode::from_der(der).unwrap();
    match &mut info.encryption_algorithm {
        EncryptionScheme::Pbes2(parameters) => match &mut parameters.kdf {
            Kdf::Pbkdf2(pbkdf2) => pbkdf2.iteration_count = iterations,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
    pkcs8::der::Encode::to_der(&info).unwrap()
}

#[test]
fn excessive_key_derivation_is_refused_before_it_runs() {
    let encrypt = |more: &[&str]| {
        let mut arguments = vec!["pkcs8", "-topk8", "-outform", "DER", "-passout", PASSOUT];
        arguments.extend(more);
        openssl(&arguments, &P256)
    };
    let replaced = |der: &[u8], from: &[u8], to: &[u8]| {
        let at = der
            .windows(from.len())
            .position(|window| window == from)
            .unwrap();
        let mut der = der.to_vec();
        der[at..at + from.len()].copy_from_slice(to);
        der
    };
    let pbkdf2 = with_iterations(
        &encrypt(&["-iter", "77"]),
        encrypted::MAX_PBKDF2_ITERATIONS + 1,
    );
    let zero = replaced(&encrypt(&["-iter", "77"]), &[2, 1, 77], &[2, 1, 0]);
    let scrypt = encrypt(&[
        "-scrypt",
        "-scrypt_N",
        "1024",
        "-scrypt_r",
        "8",
        "-scrypt_p",
        "1",
    ]);
    let costs: [&[u8]; 6] = [
        &[2, 2, 0, 0],
        &[2, 2, 0, 1],
        &[2, 2, 4, 1],
        &[2, 2, 0x7f, 0xff],
        &[2, 2, 0, 0x80],
        &[2, 2, 0x40, 0],
    ];
    for (index, cost) in costs.iter().enumerate() {
        let der = replaced(&scrypt, &[2, 2, 4, 0], cost);
        let error = ImportedKey::from_pkcs8_encrypted_der(&der, PASSWORD).unwrap_err();
        let expected = match index {
            // Not the shortest encoding of 0 and 1; and two costs that are merely wrong.
            0 | 1 => ErrorKind::InvalidKeyMaterial,
            4 | 5 => ErrorKind::DecryptFailed,
            _ => ErrorKind::KdfCostRefused,
        };
        assert_eq!(error.kind(), expected, "{cost:?}");
    }
    let wide = replaced(
        &scrypt,
        &[2, 2, 4, 0, 2, 1, 8, 2, 1, 1],
        &[2, 2, 64, 0, 2, 1, 127, 2, 1, 2],
    );
    for der in [pbkdf2, zero, wide] {
        let error = ImportedKey::from_pkcs8_encrypted_der(&der, PASSWORD).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::KdfCostRefused);
    }
}

#[test]
fn keys_of_other_kinds_are_refused_clearly() {
    let pss = text(generated("RSA-PSS", "rsa_keygen_bits:2048"));
    let error = ImportedKey::from_pem(&pss).unwrap_err();
    assert!(error.to_string().contains("RSASSA-PSS"), "{error}");
    let public = openssl(&["pkey", "-pubout", "-outform", "DER"], pss.as_bytes());
    let error = parts_from_spki_der(&public).unwrap_err();
    assert!(error.to_string().contains("RSASSA-PSS"), "{error}");

    let ed25519 = text(openssl(&["genpkey", "-algorithm", "ed25519"], b""));
    let error = ImportedKey::from_pem(&ed25519).unwrap_err();
    assert!(error.to_string().contains("1.3.101.112"), "{error}");

    let brainpool = text(generated("EC", "ec_paramgen_curve:brainpoolP256r1"));
    let error = ImportedKey::from_pem(&brainpool).unwrap_err();
    assert!(error.to_string().contains("curve"), "{error}");

    let explicit = text(openssl(&["ec", "-param_enc", "explicit"], &P256));
    assert!(ImportedKey::from_pem(&explicit).is_err());

    let public = text(openssl(&["pkey", "-pubout"], &P256));
    let error = ImportedKey::from_pem(&public).unwrap_err();
    assert!(error.to_string().contains("no private key"), "{error}");
    let error = parts_from_spki_pem(std::str::from_utf8(&P256).unwrap()).unwrap_err();
    assert!(error.to_string().contains("no PUBLIC KEY"), "{error}");

    let three_primes = text(openssl(
        &[
            "genpkey",
            "-quiet",
            "-algorithm",
            "RSA",
            "-pkeyopt",
            "rsa_keygen_bits:2048",
            "-pkeyopt",
            "rsa_keygen_primes:3",
        ],
        b"",
    ));
    let error = ImportedKey::from_pem(&three_primes).unwrap_err();
    assert!(error.to_string().contains("two primes"), "{error}");
}

#[test]
fn two_keys_or_none_in_a_text_are_refused() {
    let pem = text(P256.clone());
    let public = text(openssl(&["pkey", "-pubout"], &P256));
    for wrong in [
        String::new(),
        "-----BEGIN PRIVATE KEY-----".to_owned(),
        format!("{pem}{pem}"),
        format!("{pem}{public}"),
        format!("{pem}x"),
        "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n".to_owned(),
    ] {
        let error = ImportedKey::from_pem(&wrong).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidKeyMaterial);
    }
}

#[test]
fn sec1_without_a_curve_and_contradictions_are_refused() {
    let sec1 = sec1::EcPrivateKey {
        private_key: &[7; 32],
        parameters: None,
        public_key: None,
    };
    let der = pkcs8::der::Encode::to_der(&sec1).unwrap();
    let error = ImportedKey::from_sec1_der(&der).unwrap_err();
    assert!(
        error.to_string().contains("does not name its curve"),
        "{error}"
    );

    let inner = sec1::EcPrivateKey {
        parameters: Some(sec1::EcParameters::NamedCurve(curve_oid(Curve::P384))),
        ..sec1
    };
    let inner = pkcs8::der::Encode::to_der(&inner).unwrap();
    let oid = curve_oid(Curve::P256);
    let info = pkcs8::PrivateKeyInfoRef::new(
        pkcs8::AlgorithmIdentifierRef {
            oid: sec1::ALGORITHM_OID,
            parameters: Some((&oid).into()),
        },
        pkcs8::der::asn1::OctetStringRef::new(&inner).unwrap(),
    );
    let der = pkcs8::der::Encode::to_der(&info).unwrap();
    let error = ImportedKey::from_pkcs8_der(&der).unwrap_err();
    assert!(
        error.to_string().contains("two different curves"),
        "{error}"
    );
}

#[test]
fn oversized_containers_are_refused_unread() {
    let der = vec![0x30; MAX_DER_LENGTH + 1];
    for read in [
        ImportedKey::from_pkcs8_der,
        ImportedKey::from_pkcs1_der,
        ImportedKey::from_sec1_der,
        |der: &[u8]| ImportedKey::from_pkcs8_encrypted_der(der, b""),
    ] {
        assert_eq!(read(&der).unwrap_err().kind(), ErrorKind::TooLarge);
        assert_eq!(
            read(&der[1..]).unwrap_err().kind(),
            ErrorKind::InvalidKeyMaterial
        );
    }
    let long = "\n".repeat(MAX_PEM_LENGTH + 1);
    assert_eq!(
        ImportedKey::from_pem(&long).unwrap_err().kind(),
        ErrorKind::TooLarge
    );
    assert!(parts_from_spki_der(&der).is_err());
}

type Reader = fn(&[u8]) -> bool;

fn private_readers() -> [Reader; 4] {
    [
        |bytes| ImportedKey::from_pkcs8_der(bytes).is_ok(),
        |bytes| ImportedKey::from_pkcs1_der(bytes).is_ok(),
        |bytes| ImportedKey::from_sec1_der(bytes).is_ok(),
        |bytes| ImportedKey::from_pkcs8_encrypted_der(bytes, PASSWORD).is_ok(),
    ]
}

/// Every container by the reader that takes it.
fn specimens() -> Vec<(Vec<u8>, Reader)> {
    let [pkcs8, pkcs1, sec1, encrypted] = private_readers();
    let spki: Reader = |bytes| parts_from_spki_der(bytes).is_ok();
    let mut specimens = vec![(
        openssl(&["rsa", "-traditional", "-outform", "DER"], &RSA),
        pkcs1,
    )];
    for pem in [&*RSA, &*P256] {
        specimens.push((
            openssl(&["pkcs8", "-topk8", "-nocrypt", "-outform", "DER"], pem),
            pkcs8,
        ));
        specimens.push((openssl(&["pkey", "-pubout", "-outform", "DER"], pem), spki));
    }
    for (_, pem) in ec_keys() {
        specimens.push((openssl(&["ec", "-outform", "DER"], &pem), sec1));
    }
    for method in [
        &["-iter", "1"][..],
        &[
            "-scrypt",
            "-scrypt_N",
            "2",
            "-scrypt_r",
            "1",
            "-scrypt_p",
            "1",
        ],
    ] {
        let mut arguments = vec!["pkcs8", "-topk8", "-outform", "DER", "-passout", PASSOUT];
        arguments.extend(method);
        specimens.push((openssl(&arguments, &P256), encrypted));
    }
    specimens
}

#[test]
fn every_truncation_and_extension_of_every_container_is_refused() {
    for (der, read) in specimens() {
        assert!(read(&der));
        for length in 0..der.len() {
            assert!(!read(&der[..length]), "{length} of {}", der.len());
        }
        for more in [&[0][..], &[0xff], &[5, 0], &der] {
            assert!(!read(&[&der[..], more].concat()));
        }
    }
}

#[test]
fn no_altered_byte_makes_any_reader_panic() {
    for (der, read) in specimens() {
        let mut readers = private_readers().to_vec();
        readers.push(read);
        readers.push(|bytes| parts_from_spki_der(bytes).is_ok());
        let mut altered = der.clone();
        for at in 0..der.len() {
            for mask in [0x01, 0x02, 0x20, 0x80, 0xff] {
                altered[at] = der[at] ^ mask;
                for read in &readers {
                    let _ = read(&altered);
                }
            }
            altered[at] = der[at];
        }
    }
}

#[test]
fn an_altered_key_that_still_parses_is_refused_or_another_consistent_key() {
    let der = openssl(&["ec", "-outform", "DER"], &P256);
    let original = accepted(ImportedKey::from_sec1_der(&der).unwrap());
    let mut altered = der.clone();
    for at in 0..der.len() {
        for mask in [0x01, 0x80, 0xff] {
            altered[at] = der[at] ^ mask;
            if let Ok(key) = ImportedKey::from_sec1_der(&altered) {
                // With the point in the container, no change of d or of the point passes.
                if let Ok(material) = validate(key, &OsEntropy) {
                    assert_same(&material, &original);
                }
            }
        }
        altered[at] = der[at];
    }
    let der = openssl(&["rsa", "-traditional", "-outform", "DER"], &RSA);
    let original = accepted(ImportedKey::from_pkcs1_der(&der).unwrap());
    for at in (0..der.len()).step_by(11) {
        let mut altered = der.clone();
        altered[at] ^= 4;
        if let Ok(material) =
            ImportedKey::from_pkcs1_der(&altered).and_then(|key| Ok(validate(key, &OsEntropy)?))
        {
            assert_same(&material, &original);
        }
    }
}

#[test]
fn no_altered_byte_of_pem_makes_the_reader_panic() {
    let pem = P256.clone();
    for at in 0..pem.len() {
        for byte in [0, b'\n', b'\r', b'-', b' ', b'=', b'A', b':'] {
            let mut altered = pem.clone();
            altered[at] = byte;
            let altered = String::from_utf8(altered).unwrap();
            let _ = ImportedKey::from_pem(&altered);
            let _ = ImportedKey::from_encrypted_pem(&altered, PASSWORD);
            let _ = parts_from_spki_pem(&altered);
        }
        let _ = ImportedKey::from_pem(std::str::from_utf8(&pem[..at]).unwrap());
    }
}

#[test]
fn public_parts_that_cannot_be_encoded_are_refused() {
    let short = PublicParts::Ec {
        curve: Curve::P256,
        x: vec![1; 31],
        y: vec![1; 32],
    };
    assert!(spki_der_from_parts(&short).is_err());
}
