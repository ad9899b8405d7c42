//! Slots and recipients: what an attacker writes into them opens nothing and costs nothing.

use super::fixture::{FixedEntropy, Input, SUITE, VAULT_ID, edited, key, root};
use super::header::BASE;
use crate::error::ErrorKind;
use crate::format::header::StoredHeader;
use crate::format::slot::{SLOT_LENGTH, Slot};
use crate::seal::hash32;
use crate::seal::hpke::{Recipient, SEALED_KEY_LENGTH, open_with, seal_to};
use crate::seal::passphrase::PassphraseParameters;
use crate::seal::slot::{SlotId, Unlock, open_slots};

/// The bytes of a slot, edits of good ones, HPKE, or parameters of Argon2, by the first byte.
pub(super) fn run(data: &[u8]) -> bool {
    let Some((selector, bytes)) = data.split_first() else {
        return false;
    };
    match selector % 4 {
        0 => layout(bytes),
        1 => altered(bytes),
        2 => recipients(Input::new(bytes)),
        _ => cost(Input::new(bytes)),
    }
}

fn layout(bytes: &[u8]) -> bool {
    let mut place = bytes.to_vec();
    place.resize(SLOT_LENGTH, 0);
    let slot = Slot::read(&place);
    if let Some(slot) = &slot {
        let mut again = vec![0; SLOT_LENGTH];
        slot.write(&mut again);
        assert_eq!(again, place);
    }
    slot.is_some()
}

/// Good slots with edits: either the true root or none, for each of the three ways.
fn altered(edits: &[u8]) -> bool {
    let stored = StoredHeader::decode(&BASE.copy, hash32).expect("it is good");
    let mut bytes = Vec::new();
    for slot in &stored.header.slots {
        let mut place = vec![0; SLOT_LENGTH];
        slot.write(&mut place);
        bytes.extend_from_slice(&place);
    }
    let mut bytes = edited(&bytes, edits);
    bytes.resize(3 * SLOT_LENGTH, 0);
    let slots: Vec<Slot> = bytes
        .chunks_exact(SLOT_LENGTH)
        .filter_map(Slot::read)
        .collect();
    let ways = [
        Unlock::raw_key(&BASE.master),
        Unlock::recipient(&BASE.recipient),
        Unlock::passphrase(&BASE.passphrase),
    ];
    let mut opened = false;
    for unlock in ways {
        let named = slots.first().map(|slot| unlock.in_slot(SlotId::of(slot)));
        for unlock in [Some(unlock), named].into_iter().flatten() {
            match open_slots(&slots, unlock, &VAULT_ID, SUITE, 0) {
                Ok((number, found)) => {
                    assert!(number < slots.len());
                    assert_eq!(found.expose(), root().expose());
                    opened = true;
                }
                Err(error) => assert!(matches!(
                    error.kind(),
                    ErrorKind::WrongKey | ErrorKind::KdfCostRefused
                )),
            }
        }
    }
    opened
}

fn recipients(mut input: Input<'_>) -> bool {
    let info = input.array::<8>();
    let secret = key(0x5a);
    let entropy = FixedEntropy::default();
    let mine = BASE.recipient.recipient();
    let sealed = seal_to(&mine, &info, &secret, &entropy).expect("it is a good key");
    assert_eq!(sealed.len(), SEALED_KEY_LENGTH);
    let altered = edited(&sealed, input.take(64));
    match open_with(&BASE.recipient, &info, &altered) {
        Some(opened) => {
            assert_eq!(opened.expose(), secret.expose());
            // The highest bit of an X25519 public key does not count.
            let mut masked = altered;
            masked[31] = masked[31] & 0x7f | sealed[31] & 0x80;
            assert_eq!(masked, sealed);
        }
        None => assert_ne!(altered, sealed),
    }
    assert!(open_with(&BASE.recipient, b"another", &sealed).is_none());

    // A public key of the fuzzer's.
    match Recipient::from_bytes(input.rest) {
        Ok(recipient) => {
            assert_eq!(recipient.as_bytes()[..], *input.rest);
            let text = recipient.to_string();
            assert_eq!(text.parse::<Recipient>().ok(), Some(recipient));
            let sealed = seal_to(&recipient, &info, &secret, &entropy).expect("it was checked");
            assert!(open_with(&BASE.recipient, &info, &sealed).is_none() || recipient == mine);
            true
        }
        Err(_) => false,
    }
}

/// What a slot asks for is within the bounds and the limit, or refused.
fn cost(mut input: Input<'_>) -> bool {
    let (memory, iterations, lanes) = (input.u32(), input.u32(), input.u32());
    let limit = u64::from(input.u32());
    let accepted = PassphraseParameters::from_untrusted(memory, iterations, lanes, limit);
    match accepted {
        Ok(parameters) => {
            assert!(u64::from(memory) * u64::from(iterations) <= limit);
            assert!(lanes <= 8 && memory <= 1_048_576);
            assert_eq!(
                PassphraseParameters::new(memory, iterations, lanes).ok(),
                Some(parameters)
            );
            true
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::KdfCostRefused);
            false
        }
    }
}
