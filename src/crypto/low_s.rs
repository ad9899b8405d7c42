//! ES256K signatures of devices, which know nothing of the low `s` of that algorithm.

use k256::ecdsa::Signature;

use super::{CryptoError, CryptoResult};

/// The signature `r ‖ s` with the lower of the two numbers that serve as `s`: n - s is as valid as s.
/// `InvalidSignature` unless there are 64 bytes and both numbers are between 1 and n - 1.
pub(crate) fn es256k_low_s(signature: &[u8]) -> CryptoResult<[u8; 64]> {
    let signature = Signature::from_slice(signature).map_err(|_| CryptoError::InvalidSignature)?;
    Ok(signature.normalize_s().to_bytes().into())
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256K1_SHA256_FIXED, UnparsedPublicKey};
    use k256::ecdsa::SigningKey;
    use k256::ecdsa::signature::Signer;

    use super::*;

    /// The order of secp256k1, SEC 2 section 2.4.1.
    const ORDER: [u8; 32] = *b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe\
           \xba\xae\xdc\xe6\xaf\x48\xa0\x3b\xbf\xd2\x5e\x8c\xd0\x36\x41\x41";

    /// The order less `s`, by hand.
    fn negated(s: &[u8]) -> [u8; 32] {
        let mut result = [0; 32];
        let mut borrow = false;
        for place in (0..32).rev() {
            let (difference, first) = ORDER[place].overflowing_sub(s[place]);
            let (difference, second) = difference.overflowing_sub(u8::from(borrow));
            (result[place], borrow) = (difference, first || second);
        }
        result
    }

    #[test]
    fn both_forms_of_a_signature_become_the_low_one_that_verifies() {
        let key = SigningKey::from_slice(&[0x42; 32]).unwrap();
        let point = key.verifying_key().to_sec1_point(false);
        let public = UnparsedPublicKey::new(&ECDSA_P256K1_SHA256_FIXED, point.as_bytes());
        for message in 0..40_u8 {
            let signature: Signature = key.sign(&[message]);
            let low: [u8; 64] = signature.to_bytes().into();
            // Below half of the order, which begins with 7f.
            assert!(low[32] < 0x80);
            let high = [&low[..32], &negated(&low[32..])].concat();
            assert!(high[32] >= 0x7f && high[32..] > low[32..]);
            public.verify(&[message], &high).unwrap();

            assert_eq!(es256k_low_s(&high).unwrap(), low);
            assert_eq!(es256k_low_s(&low).unwrap(), low);
            public.verify(&[message], &low).unwrap();
        }
    }

    #[test]
    fn the_border_between_low_and_high_is_half_of_the_order() {
        // (n - 1) / 2 and (n + 1) / 2 are each other's negatives.
        let half = *b"\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\
                      \x5d\x57\x6e\x73\x57\xa4\x50\x1d\xdf\xe9\x2f\x46\x68\x1b\x20\xa0";
        let above = negated(&half);
        assert_eq!(above[31], half[31] + 1);
        let r = [1; 32];
        let low = [r, half].concat();
        assert_eq!(es256k_low_s(&low).unwrap(), *low);
        assert_eq!(es256k_low_s(&[r, above].concat()).unwrap(), *low);
        let one = [[0; 31].as_slice(), &[1]].concat();
        let largest = [&r[..], &negated(&one)].concat();
        assert_eq!(es256k_low_s(&largest).unwrap()[32..], one);
    }

    #[test]
    fn what_is_no_signature_is_refused() {
        let mut beyond = ORDER;
        beyond[31] += 1;
        for wrong in [
            vec![],
            vec![1; 63],
            vec![1; 65],
            vec![0; 64],
            [[0; 32], [1; 32]].concat(),
            [[1; 32], [0; 32]].concat(),
            [[1; 32], ORDER].concat(),
            [ORDER, [1; 32]].concat(),
            [[1; 32], beyond].concat(),
        ] {
            let result = es256k_low_s(&wrong);
            assert!(matches!(result, Err(CryptoError::InvalidSignature)));
        }
    }
}
