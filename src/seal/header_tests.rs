use super::anchor::{open_anchor, seal_anchor};
use super::header::{OpenLimits, OpenedHeader, open_first, open_header, seal_header};
use super::hierarchy::Hierarchy;
use super::passphrase::{DEFAULT_MAX_KDF_WORK_KIB, PassphraseParameters};
use super::slot::{
    KeptSecret, PassphraseCost, Provided, ProvidedSlot, SlotId, SlotProvider, Unlock, is_below,
    open_slots, seal_slot,
};
use super::tests::{Counting, key, sha256_hex};
use super::{Suite, hash32};
use crate::env::{Entropy, OsEntropy};
use crate::error::{ErrorKind, Result};
use crate::format::anchor::Anchor;
use crate::format::header::{HEADER_COPY_LENGTH, KekRing, SdkRing, StoredHeader, choose};
use crate::format::slot::{Slot, SlotKind};
use crate::secret::{Key32, MasterKey, Passphrase};

const VAULT: [u8; 16] = [0xaa; 16];
const DOMAIN: [u8; 16] = [0xdd; 16];
const SUITE: Suite = Suite::Aes256Gcm;

fn master(byte: u8) -> MasterKey {
    let mut bytes = [byte; 32];
    bytes[0] ^= 1;
    MasterKey::from_bytes(&bytes).unwrap()
}

fn cheap() -> PassphraseParameters {
    PassphraseParameters::new(19_456, 1, 1).unwrap()
}

fn sdk_ring() -> SdkRing {
    SdkRing {
        current_epoch: 3,
        epochs: vec![(1, key(0x51).into()), (3, key(0x53).into())],
    }
}

fn slot(unlock: Unlock<'_>, entropy: &dyn Entropy) -> Slot {
    let id = SlotId::random(entropy).unwrap();
    seal_slot(
        unlock,
        id,
        PassphraseCost::Chosen(cheap()),
        &VAULT,
        SUITE,
        &key(1),
        entropy,
    )
    .unwrap()
}

fn header(seq: u64, slots: Vec<Slot>, entropy: &dyn Entropy) -> StoredHeader {
    let hierarchy = Hierarchy::derive(&key(1), VAULT, SUITE);
    let kek_ring = KekRing {
        current_term: 2,
        current_key: key(0x42).into(),
        previous: Some((1, key(0x41).into())),
    };
    seal_header(
        &hierarchy,
        DOMAIN,
        seq,
        slots,
        &kek_ring,
        &sdk_ring(),
        entropy,
    )
    .unwrap()
}

fn raw_header(seq: u64) -> StoredHeader {
    header(
        seq,
        vec![slot(Unlock::raw_key(&master(9)), &OsEntropy)],
        &OsEntropy,
    )
}

fn open_copy(copy: &[u8]) -> Result<OpenedHeader> {
    let stored = StoredHeader::decode(copy, hash32)?;
    open_header(stored, Unlock::raw_key(&master(9)), OpenLimits::default())
}

#[test]
fn a_header_gives_back_its_keys() {
    let stored = raw_header(7);
    let copy = stored.encode(hash32);
    assert_eq!(copy.len(), HEADER_COPY_LENGTH);
    let opened = open_copy(&copy).unwrap();
    assert_eq!(opened.stored, stored);
    assert_eq!(opened.root.expose(), &[1; 32]);
    assert_eq!(opened.slot, 0);
    assert_eq!(opened.kek_ring.key(1).unwrap().expose(), &[0x41; 32]);
    assert_eq!(opened.sdk_ring.key(3).unwrap().expose(), &[0x53; 32]);
    let wrong =
        open_header(stored, Unlock::raw_key(&master(8)), OpenLimits::default()).unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::WrongKey);
}

#[test]
fn every_flipped_byte_of_a_header_copy_is_corrupt() {
    let copy = raw_header(7).encode(hash32);
    for at in (0..copy.len()).filter(|at| !(2_112..16_448).contains(at) || at % 16 == 0) {
        let mut altered = copy.clone();
        altered[at] ^= 0x41;
        let kind = open_copy(&altered).unwrap_err().kind();
        let expected = if at < 20_416 {
            ErrorKind::Corrupt
        } else {
            ErrorKind::Tampered
        };
        assert_eq!(kind, expected, "byte {at}");
    }
    for length in (0..copy.len()).step_by(101) {
        let kind = open_copy(&copy[..length]).unwrap_err().kind();
        assert_eq!(kind, ErrorKind::Corrupt);
    }
}

#[test]
fn every_flipped_byte_with_a_mended_checksum_is_refused() {
    let copy = raw_header(7).encode(hash32);
    for at in (0..20_384).filter(|at| !(2_112..16_448).contains(at) || at % 16 == 0) {
        let mut altered = copy.clone();
        altered[at] ^= 0x41;
        let sum = hash32(&altered[..20_384]);
        altered[20_384..20_416].copy_from_slice(&sum);
        let kind = open_copy(&altered).unwrap_err().kind();
        let expected: &[ErrorKind] = match at {
            0..8 | 12..16 | 59..64 => &[ErrorKind::Corrupt],
            8..12 | 58 => &[ErrorKind::NewerFormat],
            16..32 | 64..65 | 68..146 | 192..296 => &[ErrorKind::WrongKey, ErrorKind::Corrupt],
            32..58 => &[ErrorKind::Tampered, ErrorKind::Corrupt],
            65..68 | 146..192 => &[ErrorKind::WrongKey, ErrorKind::Corrupt],
            16_448..16_600 | 16_608..18_128 => &[ErrorKind::Tampered],
            _ => &[ErrorKind::Corrupt],
        };
        assert!(expected.contains(&kind), "byte {at}: {kind:?}");
    }
}

#[test]
fn the_copy_with_the_higher_number_is_tried_first_and_the_other_serves() {
    let (old, new) = (raw_header(7), raw_header(8));
    let (old_copy, new_copy) = (old.encode(hash32), new.encode(hash32));
    let seqs = |a: &[u8], b: &[u8]| -> Vec<u64> {
        let chosen = choose(a, b, hash32).unwrap();
        chosen.iter().map(|stored| stored.header.seq).collect()
    };
    assert_eq!(seqs(&old_copy, &new_copy), [8, 7]);
    assert_eq!(seqs(&new_copy, &old_copy), [8, 7]);
    assert_eq!(seqs(&new_copy, &new_copy), [8]);
    let mut damaged = new_copy.clone();
    damaged[300] ^= 1;
    assert_eq!(seqs(&damaged, &old_copy), [7]);
    assert_eq!(seqs(&old_copy, &[]), [7]);
    let error = choose(&damaged, &damaged, hash32).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);

    // A copy that is whole, newer and forged does not keep the good one from opening.
    let mut forged = new.clone();
    forged.mac[0] ^= 1;
    let own = master(9);
    let opened = open_first(
        vec![forged.clone(), old],
        Unlock::raw_key(&own),
        OpenLimits::default(),
    );
    assert_eq!(opened.unwrap().stored.header.seq, 7);
    let opened = open_first(vec![forged], Unlock::raw_key(&own), OpenLimits::default());
    assert_eq!(opened.unwrap_err().kind(), ErrorKind::Tampered);
}

#[test]
fn a_whole_copy_of_a_newer_format_stops_everything() {
    let copy = raw_header(7).encode(hash32);
    let mut newer = copy.clone();
    newer[11] = 2;
    let sum = hash32(&newer[..20_384]);
    newer[20_384..20_416].copy_from_slice(&sum);
    for (a, b) in [(&copy, &newer), (&newer, &copy)] {
        assert_eq!(
            choose(a, b, hash32).unwrap_err().kind(),
            ErrorKind::NewerFormat
        );
    }
}

#[test]
fn slots_open_with_their_own_secret_in_their_own_vault() {
    let passphrase = Passphrase::new("caf\u{e9} und Zwiebel").unwrap();
    let decomposed = Passphrase::new("cafe\u{301} und Zwiebel").unwrap();
    let padded = Passphrase::new("caf\u{e9} und Zwiebel ").unwrap();
    let (own, other) = (master(9), master(8));
    let slots = [
        slot(Unlock::raw_key(&own), &OsEntropy),
        slot(Unlock::passphrase(&passphrase), &OsEntropy),
    ];
    let open = |unlock, vault| {
        open_slots(&slots, unlock, vault, SUITE, DEFAULT_MAX_KDF_WORK_KIB)
            .map(|(number, root)| (number, root.expose()[0]))
            .map_err(|error| error.kind())
    };
    assert_eq!(open(Unlock::raw_key(&own), &VAULT), Ok((0, 1)));
    assert_eq!(open(Unlock::passphrase(&decomposed), &VAULT), Ok((1, 1)));
    assert_eq!(
        open(Unlock::passphrase(&padded), &VAULT),
        Err(ErrorKind::WrongKey)
    );
    assert_eq!(
        open(Unlock::raw_key(&other), &VAULT),
        Err(ErrorKind::WrongKey)
    );
    assert_eq!(
        open(Unlock::raw_key(&own), &[1; 16]),
        Err(ErrorKind::WrongKey)
    );
}

#[test]
fn costly_passphrase_slots_are_refused_before_any_work() {
    let passphrase = Passphrase::new("passphrase").unwrap();
    let good = slot(Unlock::passphrase(&passphrase), &OsEntropy);
    let costs = [
        (u32::MAX, 1, 1),
        (1_048_577, 1, 1),
        (19_455, 1, 1),
        (0, 0, 0),
        (19_456, 0, 1),
        (19_456, 17, 1),
        (19_456, u32::MAX, 1),
        (19_456, 1, 0),
        (19_456, 1, 9),
        (1_048_576, 5, 1),
        (1_048_576, 2, 1), // within bounds, above what this caller allows
    ];
    for (memory_kib, iterations, lanes) in costs {
        let costly = Slot {
            memory_kib,
            iterations,
            lanes,
            ..good.clone()
        };
        let open = |slots: &[Slot]| {
            open_slots(
                slots,
                Unlock::passphrase(&passphrase),
                &VAULT,
                SUITE,
                1_048_576,
            )
        };
        let error = open(std::slice::from_ref(&costly)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::KdfCostRefused);
        assert_eq!(open(&[costly, good.clone()]).unwrap().0, 1);
    }
    for (memory_kib, iterations, lanes) in &costs[..10] {
        let error = PassphraseParameters::new(*memory_kib, *iterations, *lanes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadParameter);
    }
    let default = PassphraseParameters::default();
    assert_eq!(
        (default.memory_kib(), default.iterations(), default.lanes()),
        (65_536, 3, 4)
    );
}

#[test]
fn at_most_two_passphrase_slots_are_tried() {
    let right = Passphrase::new("right").unwrap();
    let wrong = Passphrase::new("wrong").unwrap();
    let (other, own) = (
        slot(Unlock::passphrase(&wrong), &OsEntropy),
        slot(Unlock::passphrase(&right), &OsEntropy),
    );
    let raw = slot(Unlock::raw_key(&master(9)), &OsEntropy);
    let open = |slots: &[Slot]| {
        open_slots(slots, Unlock::passphrase(&right), &VAULT, SUITE, u64::MAX)
            .map(|(number, _)| number)
            .map_err(|error| error.kind())
    };
    assert_eq!(open(&[other.clone(), raw, own.clone()]), Ok(2));
    assert_eq!(
        open(&[other.clone(), other.clone()]),
        Err(ErrorKind::WrongKey)
    );
    assert_eq!(
        open(&[other.clone(), other, own]),
        Err(ErrorKind::KdfCostRefused)
    );
}

#[test]
fn a_copy_says_how_many_slots_it_has_from_one_to_eight() {
    let own = slot(Unlock::raw_key(&master(9)), &OsEntropy);
    let copy = header(1, vec![own; 8], &OsEntropy).encode(hash32);
    for count in [0_u16, 1, 7, 9, 256, u16::MAX] {
        let mut altered = copy.clone();
        altered[56..58].copy_from_slice(&count.to_be_bytes());
        // Without slots there is nothing in their places either.
        if count == 0 {
            altered[64..16_448].fill(0);
        }
        let sum = hash32(&altered[..20_384]);
        altered[20_384..20_416].copy_from_slice(&sum);
        let error = StoredHeader::decode(&altered, hash32).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{count}");
    }
    assert!(StoredHeader::decode(&copy, hash32).is_ok());
}

#[test]
fn slots_of_unknown_kinds_are_kept_and_skipped() {
    let mut unknown = slot(Unlock::raw_key(&master(9)), &OsEntropy);
    unknown.kind = SlotKind::Other(77);
    unknown.wrapped = vec![7; 1_920];
    let own = slot(Unlock::raw_key(&master(9)), &OsEntropy);
    let stored = header(1, vec![unknown, own], &OsEntropy);
    let opened = open_copy(&stored.encode(hash32)).unwrap();
    assert_eq!(opened.slot, 1);
    assert_eq!(opened.stored.encode(hash32), stored.encode(hash32));
}

#[test]
fn a_header_has_one_to_eight_slots() {
    let own = slot(Unlock::raw_key(&master(9)), &OsEntropy);
    let stored = header(1, vec![own.clone(); 8], &OsEntropy);
    assert_eq!(open_copy(&stored.encode(hash32)).unwrap().stored, stored);
    let hierarchy = Hierarchy::derive(&key(1), VAULT, SUITE);
    let kek_ring = KekRing {
        current_term: 1,
        current_key: key(1).into(),
        previous: None,
    };
    for count in [0, 9] {
        let slots = vec![own.clone(); count];
        let sealed = seal_header(
            &hierarchy,
            DOMAIN,
            1,
            slots,
            &kek_ring,
            &sdk_ring(),
            &OsEntropy,
        );
        assert_eq!(sealed.unwrap_err().kind(), ErrorKind::BadParameter);
    }
}

#[test]
fn passphrases_are_bounded() {
    assert!(Passphrase::new("").is_err());
    assert!(Passphrase::new(&"x".repeat(4_096)).is_ok());
    assert!(Passphrase::new(&"x".repeat(4_097)).is_err());
}

// The digests were also computed by a separate program from the format document alone.
#[test]
fn file_bytes_are_those_of_the_first_release() {
    let passphrase = Passphrase::new("golden").unwrap();
    let entropy = Counting::default();
    let slots = vec![
        slot(Unlock::raw_key(&master(9)), &entropy),
        slot(Unlock::passphrase(&passphrase), &entropy),
    ];
    let copy = header(7, slots, &entropy).encode(hash32);
    let hierarchy = Hierarchy::derive(&key(1), VAULT, SUITE);
    let anchor = Anchor {
        generation: 5,
        state_hash: [6; 32],
        vault_id: VAULT,
    };
    let anchor = seal_anchor(&hierarchy, &anchor);
    assert_eq!(
        [sha256_hex(&copy), sha256_hex(&anchor)],
        [
            "1399a0fc8ea600a0852523a9859c2703f1827ca5e5456684335752dc0b68872a",
            "9bc5b431f8d8e45dc5a0b6de97a983dcca0f2a64738bd10efaf8899e7725f64f"
        ]
    );
}

#[test]
fn every_flipped_byte_of_an_anchor_slot_is_refused() {
    let hierarchy = Hierarchy::derive(&key(1), VAULT, SUITE);
    let anchor = Anchor {
        generation: 5,
        state_hash: [6; 32],
        vault_id: VAULT,
    };
    let slot = seal_anchor(&hierarchy, &anchor);
    assert_eq!(open_anchor(&hierarchy, &slot).unwrap(), anchor);
    for at in 0..slot.len() {
        let mut altered = slot;
        altered[at] ^= 0x41;
        let kind = open_anchor(&hierarchy, &altered).unwrap_err().kind();
        let expected = match at {
            8..96 => ErrorKind::Tampered,
            _ => ErrorKind::Corrupt,
        };
        assert_eq!(kind, expected, "byte {at}");
        assert!(open_anchor(&hierarchy, &slot[..at]).is_err());
    }
    let others = [
        Hierarchy::derive(&key(1), [1; 16], SUITE),
        Hierarchy::derive(&key(2), VAULT, SUITE),
    ];
    for other in others {
        let kind = open_anchor(&other, &slot).unwrap_err().kind();
        assert_eq!(kind, ErrorKind::Tampered);
    }
}

#[test]
fn a_passphrase_slot_follows_the_default_only_if_nobody_chose_its_cost() {
    let passphrase = Passphrase::new("a quiet morning").unwrap();
    let mut slot = slot(Unlock::passphrase(&passphrase), &OsEntropy);
    assert!(!is_below(&slot, PassphraseCost::Default));
    slot.flags = 1;
    assert!(is_below(&slot, PassphraseCost::Default));
    assert!(!is_below(&slot, PassphraseCost::Chosen(cheap())));
    let id = SlotId::of(&slot);
    let default = seal_slot(
        Unlock::passphrase(&passphrase),
        id,
        PassphraseCost::Default,
        &VAULT,
        SUITE,
        &key(1),
        &OsEntropy,
    )
    .unwrap();
    assert_eq!(default.flags, 1);
    assert!(!is_below(&default, PassphraseCost::Default));
    let less_memory = PassphraseParameters::new(19_456, 16, 1).unwrap();
    assert!(!is_below(&default, PassphraseCost::Chosen(less_memory)));
}

/// A device that keeps secrets xored with its own byte: no cryptography, only the seam.
#[derive(Debug)]
struct Device {
    tag: [u8; 16],
    byte: u8,
}

impl SlotProvider for Device {
    fn keep(&self, secret: &Key32, context: &[u8; 32], _: &dyn Entropy) -> Result<KeptSecret> {
        let mut kept: Vec<u8> = secret
            .expose()
            .iter()
            .map(|byte| byte ^ self.byte)
            .collect();
        kept.extend_from_slice(context);
        Ok(KeptSecret {
            kind: SlotKind::Pkcs11AesGcm,
            tag: self.tag,
            kept,
        })
    }

    fn serves(&self, kind: SlotKind) -> bool {
        kind == SlotKind::Pkcs11AesGcm
    }

    fn open(&self, slot: &ProvidedSlot<'_>) -> Result<Provided> {
        if *slot.tag != self.tag {
            return Ok(Provided::Foreign("another device".to_owned()));
        }
        let (secret, kept_context) = slot.kept.split_at(32);
        if kept_context != slot.context {
            return Ok(Provided::Refused);
        }
        let secret: Vec<u8> = secret.iter().map(|byte| byte ^ self.byte).collect();
        Ok(Key32::copied_from(&secret).map_or(Provided::Refused, Provided::Secret))
    }
}

#[test]
fn a_device_opens_its_own_slots_in_their_own_places_only() {
    let device = |tag, byte| Device {
        tag: [tag; 16],
        byte,
    };
    let own = device(1, 7);
    let made = slot(Unlock::provider(&own), &OsEntropy);
    let open = |slot: &Slot, device: &Device| {
        open_slots(
            std::slice::from_ref(slot),
            Unlock::provider(device),
            &VAULT,
            SUITE,
            DEFAULT_MAX_KDF_WORK_KIB,
        )
        .map(|(_, root)| *root.expose())
        .map_err(|error| (error.kind(), error.to_string().contains("altered")))
    };
    assert_eq!(open(&made, &own), Ok(*key(1).expose()));
    assert_eq!(
        open(&made, &device(2, 7)),
        Err((ErrorKind::WrongKey, false))
    );
    assert_eq!(open(&made, &device(1, 8)), Err((ErrorKind::WrongKey, true)));
    let mut moved = made.clone();
    moved.slot_id[0] ^= 1;
    assert_eq!(open(&moved, &own), Err((ErrorKind::WrongKey, true)));
    let mut short = made.clone();
    short.wrapped.truncate(100);
    assert_eq!(open(&short, &own), Err((ErrorKind::WrongKey, true)));
}
