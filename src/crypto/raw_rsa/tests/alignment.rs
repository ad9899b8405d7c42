use super::*;

#[test]
fn a_shorter_answer_is_moved_to_the_end_whatever_stood_behind_it() {
    let mut random = Random(1);
    for size in RsaKeySize::ALL {
        let k = size.modulus_length();
        for length in 0..=k {
            let mut answer = AnswerBuffer::new(size);
            assert_eq!(answer.as_mut().len(), k);
            let written = random.nonzero(k);
            answer.as_mut().copy_from_slice(&written);
            let encoded = answer.finish(length).unwrap();
            let expected = [vec![0; k - length].as_slice(), &written[..length]].concat();
            assert_eq!(**encoded.bytes, *expected, "{length} of {k}");
        }
    }
}

#[test]
fn buffers_of_every_length_are_padded() {
    for total in 0..=70 {
        for length in 0..=total {
            let mut buffer: Vec<u8> = (1..).take(total).collect();
            left_pad_constant_time(&mut buffer, length).unwrap();
            let mut expected = vec![0; total - length];
            expected.extend((1_u8..).take(length));
            assert_eq!(buffer, expected);
        }
    }
}

#[test]
fn an_answer_longer_than_the_modulus_is_refused() {
    for size in RsaKeySize::ALL {
        for length in [
            size.modulus_length() + 1,
            2 * size.modulus_length(),
            usize::MAX,
        ] {
            let result = AnswerBuffer::new(size).finish(length);
            assert!(matches!(result, Err(CryptoError::DecryptFailed)));
        }
    }
}

#[test]
fn only_numbers_below_the_modulus_in_its_length_are_ciphertexts() {
    let refused = |n: &[u8], ciphertext: &[u8]| {
        matches!(
            check_ciphertext(n, ciphertext),
            Err(CryptoError::DecryptFailed)
        )
    };
    let mut random = Random(2);
    for key in &*KEYS {
        let (n, k) = (key.modulus(), key.size.modulus_length());
        // n is odd, so its neighbours differ in the last byte or just before it.
        let mut below = n.clone();
        below[k - 1] -= 1;
        let mut above = n.clone();
        *above.iter_mut().rfind(|byte| **byte != 0xff).unwrap() += 1;
        check_ciphertext(&n, &below).unwrap();
        check_ciphertext(&n, &vec![0; k]).unwrap();
        assert!(refused(&n, &n));
        assert!(refused(&n, &above));
        assert!(refused(&n, &vec![0xff; k]));
        assert!(refused(&n, &[]));
        assert!(refused(&n, &below[1..]));
        assert!(refused(&n, &[&[0], below.as_slice()].concat()));
        for _ in 0..200 {
            // The common start makes the comparison go deep.
            let common = random.below(k);
            let ciphertext = [&n[..common], &random.bytes(k - common)].concat();
            let is_below = key.number(&ciphertext) < *key.key.n().as_ref();
            assert_eq!(check_ciphertext(&n, &ciphertext).is_ok(), is_below);
        }
    }
}

#[test]
fn debugging_output_does_not_show_the_bytes() {
    let size = RsaKeySize::Bits2048;
    let answer = AnswerBuffer::new(size);
    assert_eq!(format!("{answer:?}"), "AnswerBuffer(2048)");
    let encoded = answer.finish(256).unwrap();
    assert_eq!(format!("{encoded:?}"), "EncodedMessage(2048)");
}
