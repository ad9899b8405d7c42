//! Every limit from both sides: the last value that is accepted and the first that is not.

use strongroom::{
    AlgorithmRules, Ciphertext, Curve, EncryptOptions, EncryptionAlgorithm, ErrorKind,
    KeyOperation, OctKeySize, RsaKeySize, SignatureAlgorithm, Tags, Vault, WrapAlgorithm,
};

use crate::make::{self, Home};
use crate::support::{fixed_oct, fixed_rsa, memory_vault, memory_vault_in, name, refused};

const MIB_16: usize = 16 * 1024 * 1024;
const KIB_64: usize = 64 * 1024;

fn vault_with_oct(size: OctKeySize) -> Vault {
    let (vault, _clock) = memory_vault();
    vault
        .create_key(&name("k"), make::oct(size).operations(super::SIX))
        .unwrap();
    vault
}

#[test]
fn tags_are_15_of_256_characters_each() {
    let home = Home::new();
    let (vault, _clock) = memory_vault_in(&home);
    let mut tags = Tags::new();
    for number in 0..15 {
        // Characters count, not bytes.
        let tag = format!("{number:02}{}", "ä".repeat(254));
        tags.insert(tag, "✓".repeat(256)).unwrap();
    }
    assert_eq!(refused(tags.insert("16th", "")), ErrorKind::BadParameter);
    // Replacing is not adding.
    let first = format!("00{}", "ä".repeat(254));
    tags.insert(first.clone(), "new").unwrap();
    assert_eq!(tags.len(), 15);
    assert_eq!(
        refused(Tags::new().insert("x".repeat(257), "")),
        ErrorKind::BadParameter
    );
    assert_eq!(
        refused(Tags::new().insert("x", "y".repeat(257))),
        ErrorKind::BadParameter
    );
    assert_eq!(refused(Tags::new().insert("", "")), ErrorKind::BadParameter);
    let mut spaces = Tags::new();
    spaces.insert(" a ", " b ").unwrap();
    assert_eq!(spaces.get(" a "), Some(" b "), "nothing is trimmed");
    // The largest tags there are can be stored, found and backed up.
    let key = name("k");
    let made = vault
        .create_key(
            &key,
            make::ec(Curve::P256).backup_allowed().tags(tags.clone()),
        )
        .unwrap();
    assert_eq!(made.properties().tags(), &tags);
    let backup = home.backup(&vault, &key);
    vault.delete_key(&key).unwrap();
    vault.purge_deleted_key(&key).unwrap();
    if let Some(backup) = backup {
        assert_eq!(vault.restore_key(&backup).unwrap().key(), &made);
    }
    // What a builder was given too much of is refused when the key is made.
    let mut options = make::ec(Curve::P256);
    for number in 0..16 {
        options = options.tag(format!("{number}"), "");
    }
    assert_eq!(
        refused(vault.create_key(&name("l"), options)),
        ErrorKind::BadParameter
    );
    let options = make::import(fixed_oct(16)).tag("a", "b".repeat(257));
    assert_eq!(
        refused(vault.import_key(&name("l"), options)),
        ErrorKind::BadParameter
    );
}

#[test]
fn aes_encrypts_up_to_16_mib() {
    let vault = vault_with_oct(OctKeySize::Bits256);
    let key = name("k");
    let data = vec![0x11; MIB_16 + 1];
    for (algorithm, longest) in [
        (EncryptionAlgorithm::A256Gcm, MIB_16),
        (EncryptionAlgorithm::A256Cbc, MIB_16),
        (EncryptionAlgorithm::A256CbcPad, MIB_16),
    ] {
        let sealed = vault
            .encrypt(&key, algorithm, &data[..longest], EncryptOptions::new())
            .unwrap();
        let opened = vault
            .decrypt(&key, algorithm, Ciphertext::from(&sealed))
            .unwrap();
        assert!(opened.expose() == &data[..longest]);
        assert_eq!(
            refused(vault.encrypt(&key, algorithm, &data, EncryptOptions::new())),
            ErrorKind::TooLarge
        );
    }
    let endless = vec![0; MIB_16 + 17];
    let ciphertext = Ciphertext::new(&endless).iv(&[0; 12]).tag(&[0; 16]);
    assert_eq!(
        refused(vault.decrypt(&key, EncryptionAlgorithm::A256Gcm, ciphertext)),
        ErrorKind::TooLarge
    );
}

#[test]
fn empty_data_encrypts_where_the_algorithm_can() {
    let vault = vault_with_oct(OctKeySize::Bits128);
    let key = name("k");
    for algorithm in [
        EncryptionAlgorithm::A128Gcm,
        EncryptionAlgorithm::A128Cbc,
        EncryptionAlgorithm::A128CbcPad,
    ] {
        let sealed = vault
            .encrypt(&key, algorithm, b"", EncryptOptions::new())
            .unwrap();
        let opened = vault
            .decrypt(&key, algorithm, Ciphertext::from(&sealed))
            .unwrap();
        assert!(opened.is_empty());
    }
}

#[test]
fn cbc_takes_whole_blocks_and_padded_cbc_any_length() {
    let vault = vault_with_oct(OctKeySize::Bits192);
    let key = name("k");
    for length in 0..=48 {
        let data = vec![3; length];
        let whole = vault.encrypt(
            &key,
            EncryptionAlgorithm::A192Cbc,
            &data,
            EncryptOptions::new(),
        );
        if length % 16 == 0 {
            assert_eq!(whole.unwrap().ciphertext().len(), length);
        } else {
            assert_eq!(refused(whole), ErrorKind::BadParameter, "{length}");
        }
        let padded = vault
            .encrypt(
                &key,
                EncryptionAlgorithm::A192CbcPad,
                &data,
                EncryptOptions::new(),
            )
            .unwrap();
        assert_eq!(padded.ciphertext().len(), (length / 16 + 1) * 16);
        let opened = vault
            .decrypt(
                &key,
                EncryptionAlgorithm::A192CbcPad,
                Ciphertext::from(&padded),
            )
            .unwrap();
        assert_eq!(opened.expose(), data);
    }
}

#[test]
fn additional_data_have_up_to_64_kib_and_belong_to_gcm() {
    let vault = vault_with_oct(OctKeySize::Bits256);
    let key = name("k");
    let gcm = EncryptionAlgorithm::A256Gcm;
    let aad = vec![5; KIB_64 + 1];
    let longest = EncryptOptions::new().aad(&aad[..KIB_64]);
    let sealed = vault.encrypt(&key, gcm, b"x", longest).unwrap();
    let with = |aad| vault.decrypt(&key, gcm, Ciphertext::from(&sealed).aad(aad));
    with(&aad[..KIB_64]).unwrap();
    assert_eq!(refused(with(&aad[1..KIB_64])), ErrorKind::DecryptFailed);
    assert_eq!(refused(with(&aad)), ErrorKind::TooLarge);
    assert_eq!(
        refused(vault.encrypt(&key, gcm, b"x", EncryptOptions::new().aad(&aad))),
        ErrorKind::TooLarge
    );
    assert_eq!(
        refused(vault.encrypt(
            &key,
            EncryptionAlgorithm::A256CbcPad,
            b"x",
            EncryptOptions::new().aad(b"y")
        )),
        ErrorKind::BadParameter
    );
}

#[test]
fn iv_and_tag_have_their_length() {
    let vault = vault_with_oct(OctKeySize::Bits256);
    let key = name("k");
    for (algorithm, iv, tag) in [
        (EncryptionAlgorithm::A256Gcm, 12, 16),
        (EncryptionAlgorithm::A256Cbc, 16, 0),
        (EncryptionAlgorithm::A256CbcPad, 16, 0),
    ] {
        let sealed = vault
            .encrypt(&key, algorithm, &[1; 16], EncryptOptions::new())
            .unwrap();
        assert_eq!(sealed.iv().unwrap().len(), iv);
        assert_eq!(sealed.tag().map_or(0, <[u8]>::len), tag);
        let zeros = [0; 64];
        for iv_length in 0..=32 {
            for tag_length in [0, 8, 12, 15, 16, 17] {
                let ciphertext = Ciphertext::new(sealed.ciphertext())
                    .iv(&zeros[..iv_length])
                    .tag(&zeros[..tag_length]);
                let outcome = vault.decrypt(&key, algorithm, ciphertext);
                if iv_length != iv || tag_length != tag {
                    assert_eq!(
                        refused(outcome),
                        ErrorKind::BadParameter,
                        "{algorithm}, iv {iv_length}, tag {tag_length}"
                    );
                }
            }
        }
    }
    // The caller may choose the IV of CBC, and never that of GCM.
    let chosen = EncryptOptions::new().iv(&[9; 16]);
    let sealed = vault
        .encrypt(&key, EncryptionAlgorithm::A256Cbc, &[1; 16], chosen)
        .unwrap();
    assert_eq!(sealed.iv(), Some(&[9; 16][..]));
    for length in [0, 12, 16] {
        let iv = vec![9; length];
        assert_eq!(
            refused(vault.encrypt(
                &key,
                EncryptionAlgorithm::A256Gcm,
                b"x",
                EncryptOptions::new().iv(&iv)
            )),
            ErrorKind::BadParameter
        );
    }
    for length in [0, 12, 15, 17] {
        let iv = vec![9; length];
        assert_eq!(
            refused(vault.encrypt(
                &key,
                EncryptionAlgorithm::A256Cbc,
                &[1; 16],
                EncryptOptions::new().iv(&iv)
            )),
            ErrorKind::BadParameter
        );
    }
}

#[test]
fn rsa_encrypts_what_its_padding_leaves() {
    let (vault, _clock) = memory_vault();
    for size in RsaKeySize::ALL {
        let key = name(&format!("rsa-{}", size.bits()));
        vault
            .import_key(&key, make::import(fixed_rsa(size)))
            .unwrap();
        let k = size.modulus_length();
        for (name, overhead) in [("RSA-OAEP", 42), ("RSA-OAEP-256", 66), ("RSA1_5", 11)] {
            let encryption: EncryptionAlgorithm = name.parse().unwrap();
            let wrap: WrapAlgorithm = name.parse().unwrap();
            let data = vec![0xa5; k - overhead + 1];
            for length in [1, k - overhead] {
                let sealed = vault
                    .encrypt(&key, encryption, &data[..length], EncryptOptions::new())
                    .unwrap();
                assert_eq!(sealed.ciphertext().len(), k);
                let opened = vault
                    .decrypt(&key, encryption, Ciphertext::from(&sealed))
                    .unwrap();
                assert_eq!(opened.expose(), &data[..length]);
                let wrapped = vault.wrap_key(&key, wrap, &data[..length]).unwrap();
                let unwrapped = vault.unwrap_key(&key, wrap, wrapped.wrapped_key()).unwrap();
                assert_eq!(unwrapped.expose(), &data[..length]);
            }
            let long = vault.encrypt(&key, encryption, &data, EncryptOptions::new());
            assert!(matches!(
                refused(long),
                ErrorKind::BadParameter | ErrorKind::TooLarge
            ));
            let long = vault.wrap_key(&key, wrap, &data);
            assert!(matches!(
                refused(long),
                ErrorKind::BadParameter | ErrorKind::TooLarge
            ));
            // A ciphertext of another length is no ciphertext of this key.
            for length in [0, 1, k - 1, k + 1] {
                let outcome = vault.decrypt(&key, encryption, Ciphertext::new(&vec![1; length]));
                assert!(
                    matches!(
                        refused(outcome),
                        ErrorKind::DecryptFailed | ErrorKind::BadParameter
                    ),
                    "{name}, {length}"
                );
            }
        }
    }
}

#[test]
fn digests_have_the_length_of_their_hash() {
    let (vault, _clock) = memory_vault();
    for curve in Curve::ALL {
        vault
            .create_key(&name(&format!("ec-{curve}")), make::ec(curve))
            .unwrap();
    }
    vault
        .import_key(&name("rsa"), make::import(fixed_rsa(RsaKeySize::Bits2048)))
        .unwrap();
    let bytes = [0x77; 80];
    for (algorithm, key, length) in [
        ("ES256", "ec-P-256", 32),
        ("ES256K", "ec-P-256K", 32),
        ("ES384", "ec-P-384", 48),
        ("ES512", "ec-P-521", 64),
        ("RS256", "rsa", 32),
        ("RS384", "rsa", 48),
        ("RS512", "rsa", 64),
        ("PS256", "rsa", 32),
        ("PS384", "rsa", 48),
        ("PS512", "rsa", 64),
    ] {
        let algorithm: SignatureAlgorithm = algorithm.parse().unwrap();
        let key = name(key);
        for given in [0, 1, 20, 31, 32, 33, 47, 48, 49, 63, 64, 65, 80] {
            let signed = vault.sign(&key, algorithm, &bytes[..given]);
            let verified = vault.verify(&key, algorithm, &bytes[..given], &[0; 64]);
            if given == length {
                signed.unwrap();
                assert_eq!(refused(verified), ErrorKind::InvalidSignature);
            } else {
                assert_eq!(refused(signed), ErrorKind::BadParameter, "{algorithm}");
                assert_eq!(refused(verified), ErrorKind::BadParameter, "{algorithm}");
            }
        }
    }
}

#[test]
fn hmac_takes_up_to_64_kib_and_only_whole_macs() {
    let (vault, _clock) = memory_vault();
    let key = name("mac");
    vault.import_key(&key, make::import(fixed_oct(64))).unwrap();
    let data = vec![1; KIB_64 + 1];
    for (algorithm, length) in [("HS256", 32), ("HS384", 48), ("HS512", 64)] {
        let algorithm: SignatureAlgorithm = algorithm.parse().unwrap();
        for input in [&data[..0], &data[..1], &data[..KIB_64]] {
            let mac = vault.sign(&key, algorithm, input).unwrap();
            assert_eq!(mac.signature().len(), length);
            assert_eq!(
                vault.sign_data(&key, algorithm, input).unwrap().signature(),
                mac.signature(),
                "no hashing beforehand"
            );
            let verify = |mac: &[u8]| vault.verify(&key, algorithm, input, mac);
            verify(mac.signature()).unwrap();
            for cut in [0, 1, 16, length - 1] {
                assert_eq!(
                    refused(verify(&mac.signature()[..cut])),
                    ErrorKind::InvalidSignature,
                    "{cut}"
                );
            }
            let mut longer = mac.signature().to_vec();
            longer.push(0);
            assert_eq!(refused(verify(&longer)), ErrorKind::InvalidSignature);
        }
        assert_eq!(
            refused(vault.sign(&key, algorithm, &data)),
            ErrorKind::TooLarge
        );
        assert_eq!(
            refused(vault.sign_data(&key, algorithm, &data)),
            ErrorKind::TooLarge
        );
        assert_eq!(
            refused(vault.sign_reader(&key, algorithm, std::io::repeat(1))),
            ErrorKind::TooLarge,
            "an endless reader ends"
        );
        assert_eq!(
            refused(vault.verify(&key, algorithm, &data, &[0; 64])),
            ErrorKind::TooLarge
        );
    }
}

#[test]
fn rsnull_takes_up_to_11_bytes_less_than_the_modulus() {
    let (vault, _clock) = memory_vault();
    vault
        .set_algorithm_rules(AlgorithmRules::default().permit("RSNULL").unwrap())
        .unwrap();
    let key = name("rsa");
    vault
        .import_key(&key, make::import(fixed_rsa(RsaKeySize::Bits2048)))
        .unwrap();
    let null = SignatureAlgorithm::RsNull;
    let value = [6; 246];
    for length in [0, 1, 245] {
        let signed = vault.sign(&key, null, &value[..length]).unwrap();
        vault
            .verify(&key, null, &value[..length], signed.signature())
            .unwrap();
    }
    assert!(matches!(
        refused(vault.sign(&key, null, &value)),
        ErrorKind::BadParameter | ErrorKind::TooLarge
    ));
    assert_eq!(
        refused(vault.sign_data(&key, null, b"x")),
        ErrorKind::BadParameter
    );
}

#[test]
fn aes_key_wrap_takes_8_byte_steps_from_16_and_padded_from_1() {
    for size in OctKeySize::ALL {
        let vault = vault_with_oct(size);
        let key = name("k");
        let bits = size.bits();
        let bytes = vec![0x42; KIB_64 + 8];
        for (plain, padded) in [
            (format!("A{bits}KW"), format!("A{bits}KWPAD")),
            (
                "CKM_AES_KEY_WRAP".to_owned(),
                "CKM_AES_KEY_WRAP_PAD".to_owned(),
            ),
        ] {
            let (plain, padded): (WrapAlgorithm, WrapAlgorithm) =
                (plain.parse().unwrap(), padded.parse().unwrap());
            // A token may make each block by a call of its own.
            let longest = make::at_most(KIB_64, 2_048);
            for length in (0..=80).chain([longest - 8, longest]) {
                for (algorithm, legal) in [
                    (plain, length >= 16 && length % 8 == 0),
                    (padded, length >= 1),
                ] {
                    let wrapped = vault.wrap_key(&key, algorithm, &bytes[..length]);
                    if !legal {
                        assert_eq!(
                            refused(wrapped),
                            ErrorKind::BadParameter,
                            "{algorithm}, {length}"
                        );
                        continue;
                    }
                    let wrapped = wrapped.unwrap();
                    assert_eq!(
                        wrapped.wrapped_key().len(),
                        length.next_multiple_of(8) + 8,
                        "{algorithm}"
                    );
                    let unwrapped = vault
                        .unwrap_key(&key, algorithm, wrapped.wrapped_key())
                        .unwrap();
                    assert_eq!(unwrapped.expose(), &bytes[..length]);
                }
            }
            for algorithm in [plain, padded] {
                assert_eq!(
                    refused(vault.wrap_key(&key, algorithm, &bytes)),
                    ErrorKind::TooLarge
                );
                let endless = vec![0; KIB_64 + 24];
                assert_eq!(
                    refused(vault.unwrap_key(&key, algorithm, &endless)),
                    ErrorKind::TooLarge
                );
            }
        }
    }
}

#[test]
fn data_keys_have_1_to_64_bytes_and_random_bytes_come_1_to_128_at_a_time() {
    let vault = vault_with_oct(OctKeySize::Bits256);
    let key = name("k");
    let pad = WrapAlgorithm::A256KwPad;
    for length in [1, 16, 33, 64] {
        let made = vault.generate_data_key(&key, pad, length).unwrap();
        assert_eq!(made.key().len(), length);
        let unwrapped = vault
            .unwrap_key(&key, pad, made.wrapped().wrapped_key())
            .unwrap();
        assert_eq!(&unwrapped, made.key());
    }
    for length in [0, 65, usize::MAX] {
        assert_eq!(
            refused(vault.generate_data_key(&key, pad, length)),
            ErrorKind::BadParameter
        );
    }
    for count in 1..=128 {
        assert_eq!(vault.get_random_bytes(count).unwrap().len(), count);
    }
    for count in [0, 129, usize::MAX] {
        assert_eq!(
            refused(vault.get_random_bytes(count)),
            ErrorKind::BadParameter
        );
    }
    assert_ne!(
        vault.get_random_bytes(32).unwrap(),
        vault.get_random_bytes(32).unwrap()
    );
}

#[test]
fn a_key_has_more_versions_than_a_backup_may() {
    let (vault, _clock) = memory_vault();
    let key = name("k");
    let options = || make::oct(OctKeySize::Bits128).operations([KeyOperation::WrapKey]);
    let count = make::at_most(1_100, 510);
    for _ in 0..count {
        vault.create_key(&key, options()).unwrap();
    }
    assert_eq!(
        vault.list_key_properties_versions(&key).unwrap().count(),
        count
    );
    vault.delete_key(&key).unwrap();
    vault.purge_deleted_key(&key).unwrap();
    assert_eq!(vault.status().unwrap().record_count(), 0);
    assert!(vault.check().unwrap().is_clean());
}
