//! What a token answers: public keys, texts, and raw RSA blocks, which are unpadded here.

use super::fixture::Input;
use crate::backend::pkcs11::answers;
use crate::crypto::CryptoResult;
use crate::crypto::hash::digest;
use crate::crypto::low_s::es256k_low_s;
use crate::crypto::public_key::PublicKey;
use crate::crypto::raw_rsa::{
    AnswerBuffer, EncodedMessage, OaepHash, check_ciphertext, oaep_decode, pkcs1v15_decode_implicit,
};
use crate::model::algorithm::HashAlgorithm;
use crate::model::key::VaultLabel;
use crate::model::material::PublicParts;
use crate::model::spec::{Curve, RsaKeySize};

const SIZE: RsaKeySize = RsaKeySize::Bits2048;
const K: usize = SIZE.modulus_length();

/// A public key, texts, an answer to be unpadded, or a signature, by the first byte.
pub(super) fn run(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    match input.u8() % 4 {
        0 => public_key(input),
        1 => texts(input),
        2 => unpadded(input),
        _ => signature(input.rest),
    }
}

fn public_key(mut input: Input<'_>) -> bool {
    let choice = usize::from(input.u8());
    let curve = Curve::ALL.get(choice % 5).copied();
    let exponent = if curve.is_none() {
        let length = usize::from(input.u8());
        input.take(length)
    } else {
        &[]
    };
    let value = input.rest;
    let Some(parts) = answers::public_key(curve, value, exponent) else {
        return false;
    };
    let key = PublicKey::from_parts(&parts).expect("it was checked");
    match &parts {
        PublicParts::Ec { curve, x, y } => {
            assert_eq!(
                (x.len(), y.len()),
                (curve.field_length(), curve.field_length())
            );
            assert!(value.ends_with(&[&[4], &x[..], &y[..]].concat()));
        }
        PublicParts::Rsa { n, e } => {
            assert!(
                RsaKeySize::ALL
                    .iter()
                    .any(|size| size.modulus_length() == n.len())
            );
            assert!(value.ends_with(n) && exponent.ends_with(e));
            assert!(check_ciphertext(n, n).is_err());
        }
    }
    let der = key.to_spki_der().expect("it is of a known kind");
    assert_eq!(
        PublicKey::from_spki_der(&der)
            .expect("it was just encoded")
            .parts(),
        &parts
    );
    true
}

fn texts(mut input: Input<'_>) -> bool {
    let sessions = u64::from(input.u32()) << 32 | u64::from(input.u32());
    let (texts, max, instance) = answers::token_info(&input.array(), sessions);
    assert!(texts.iter().all(|text| text.len() <= 3 * 32));
    assert_eq!(max.is_none(), matches!(sessions, 0 | u64::MAX));
    assert_eq!(instance.is_none(), texts[3].is_empty());
    let vault = VaultLabel::from_bytes([0xab; 8]);
    let Ok(label) = std::str::from_utf8(input.rest) else {
        return false;
    };
    if let Some(tag) = answers::tag(&vault, label) {
        let digits = label.rsplit('/').next().unwrap_or_default();
        assert_eq!(digits, tag.to_string());
        assert_eq!(answers::tag(&vault, &vault.of_key(tag)), Some(tag));
    }
    if let Some(pin) = answers::pin(label.as_bytes()) {
        let again = answers::pin(pin.to_string().as_bytes());
        assert_eq!(again.map(|pin| pin.to_string()), Some(pin.to_string()));
    }
    answers::tag(&vault, label).is_some()
}

/// The block as a token may give it, with or without its leading zeros, against a decoder that takes its time.
fn unpadded(mut input: Input<'_>) -> bool {
    let kind = input.u8();
    let declared = usize::from(input.u16());
    let block = input.take(K);
    let mut answer = AnswerBuffer::new(SIZE);
    let place = answer.as_mut();
    assert_eq!(place.len(), K);
    place[..block.len()].copy_from_slice(block);
    match answer.finish(declared) {
        Ok(_) => assert!(declared <= K),
        Err(_) => assert!(declared > K),
    }

    let encoded = |bytes: &[u8]| -> CryptoResult<EncodedMessage> {
        let mut answer = AnswerBuffer::new(SIZE);
        answer.as_mut()[..bytes.len()].copy_from_slice(bytes);
        answer.finish(bytes.len())
    };
    let mut whole = vec![0; K - block.len()];
    whole.extend_from_slice(block);
    let zeros = whole.iter().take_while(|byte| **byte == 0).count();
    let ciphertext = [kind; K];
    if kind.is_multiple_of(2) {
        let open = |bytes: &[u8]| {
            let encoded = encoded(bytes).expect("it is short enough");
            pkcs1v15_decode_implicit(encoded, &ciphertext, &[9; 32])
        };
        let opened = open(&whole);
        assert_eq!(open(&whole[zeros..]), opened, "leading zeros do not count");
        assert!(opened.len() <= K - 11);
        match plain_pkcs1v15(&whole) {
            Some(message) => {
                assert_eq!(opened.expose(), message);
                true
            }
            None => {
                // The same for every wrong block of this ciphertext.
                assert_eq!(open(&[1; K]), opened);
                false
            }
        }
    } else {
        let open =
            |bytes: &[u8]| oaep_decode(OaepHash::Sha256, encoded(bytes).expect("it is short"));
        let opened = open(&whole);
        assert_eq!(open(&whole[zeros..]).is_ok(), opened.is_ok());
        let plain = plain_oaep(&whole);
        assert_eq!(opened.ok().as_ref().map(|it| it.expose()), plain.as_deref());
        plain.is_some()
    }
}

fn plain_pkcs1v15(block: &[u8]) -> Option<&[u8]> {
    let rest = block.strip_prefix(&[0, 2])?;
    let separator = rest.iter().position(|byte| *byte == 0)?;
    (separator >= 8).then(|| &rest[separator + 1..])
}

fn plain_oaep(block: &[u8]) -> Option<Vec<u8>> {
    let (seed, masked) = block.strip_prefix(&[0])?.split_at(32);
    let seed = xor(seed, &mgf1(masked, 32));
    let data = xor(masked, &mgf1(&seed, masked.len()));
    let rest = data.strip_prefix(&digest(HashAlgorithm::Sha256, b"")[..])?;
    let start = rest.iter().position(|byte| *byte != 0)?;
    rest[start..].strip_prefix(&[1]).map(<[u8]>::to_vec)
}

pub(super) fn mgf1(seed: &[u8], length: usize) -> Vec<u8> {
    (0_u32..)
        .flat_map(|counter| {
            digest(
                HashAlgorithm::Sha256,
                &[seed, &counter.to_be_bytes()].concat(),
            )
        })
        .take(length)
        .collect()
}

pub(super) fn xor(one: &[u8], other: &[u8]) -> Vec<u8> {
    one.iter().zip(other).map(|(a, b)| a ^ b).collect()
}

fn signature(bytes: &[u8]) -> bool {
    let low = es256k_low_s(bytes);
    if let Ok(low) = &low {
        assert_eq!(low[..32], bytes[..32]);
        let again = es256k_low_s(low).expect("it is a signature");
        assert_eq!(again, *low);
        assert!(low[32] < 0x80, "above half of the order");
    }
    low.is_ok()
}
