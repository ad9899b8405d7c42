//! Slots and backups for public keys, slots of providers, and which slot is tried.

use std::sync::Mutex;

use super::backup::{BackupKey, Domain, Opening, SealedFor};
use super::backup::{domain_fingerprint, inspect, open_backup, seal_backup};
use super::header::{OpenLimits, open_header, seal_header};
use super::hierarchy::Hierarchy;
use super::hpke::{RecipientKey, open_with};
use super::passphrase::{DEFAULT_MAX_KDF_WORK_KIB, PassphraseParameters};
use super::slot::{
    KeptSecret, NewSlot, PassphraseCost, Provided, ProvidedSlot, SlotId, SlotProvider, Unlock,
    is_below, open_slots, seal_slot,
};
use super::tests::{hex, key};
use super::{Suite, sealed_length};
use crate::env::{Entropy, OsEntropy};
use crate::error::{ErrorKind, Result};
use crate::format::backup::{MAX_BLOB_LENGTH, Modes};
use crate::format::header::{KekRing, SdkRing, StoredHeader};
use crate::format::slot::{MAX_WRAPPED_LENGTH, Slot, SlotKind};
use crate::secret::{Key32, MasterKey, Passphrase};

const VAULT: [u8; 16] = [0xaa; 16];
const SUITE: Suite = Suite::Aes256Gcm;
/// Salt, commitment, the root key and a tag.
const SEALED_ROOT: usize = 24 + 32 + 32 + 16;

fn recipient_key(byte: u8) -> RecipientKey {
    RecipientKey::from_bytes(&[byte; 32]).unwrap()
}

fn slot_id(byte: u8) -> SlotId {
    hex(&[byte; 16]).parse().unwrap()
}

fn slot<'a>(new: impl Into<NewSlot<'a>>, id: u8) -> Slot {
    let cost = PassphraseCost::Default;
    seal_slot(new, slot_id(id), cost, &VAULT, SUITE, &key(1), &OsEntropy).unwrap()
}

fn open(slots: &[Slot], unlock: Unlock<'_>) -> Result<usize> {
    let limit = DEFAULT_MAX_KDF_WORK_KIB;
    open_slots(slots, unlock, &VAULT, SUITE, limit).map(|(number, root)| {
        assert_eq!(root.expose(), key(1).expose());
        number
    })
}

fn kind(outcome: Result<usize>) -> Option<ErrorKind> {
    outcome.err().map(|error| error.kind())
}

#[test]
fn a_recipients_slot_is_opened_by_its_private_key_only() {
    let own = recipient_key(5);
    let public = own.recipient();
    let slots = [
        slot(NewSlot::recipient(&recipient_key(6).recipient()), 1),
        slot(NewSlot::recipient(&public), 2),
    ];
    assert_eq!(slots[1].kind, SlotKind::HpkeRecipient);
    assert_eq!(slots[1].kem_id, 0x20);
    assert_eq!(slots[1].provider_tag, public.tag());
    assert_eq!(open(&slots, Unlock::recipient(&own)).unwrap(), 1);
    let stranger = recipient_key(7);
    let error = open(&slots, Unlock::recipient(&stranger));
    assert_eq!(kind(error), Some(ErrorKind::WrongKey));
    let alterations: [fn(&mut Slot); 4] = [
        |slot| slot.kem_id ^= 1,
        |slot| slot.provider_tag[0] ^= 1,
        |slot| slot.slot_id[0] ^= 1,
        |slot| slot.wrapped[0] ^= 1,
    ];
    for alter in alterations {
        let mut altered = slots[1].clone();
        alter(&mut altered);
        let error = open(&[altered], Unlock::recipient(&own));
        assert_eq!(kind(error), Some(ErrorKind::WrongKey));
    }
}

#[test]
fn what_is_sealed_to_a_recipient_is_bound_to_its_place() {
    let own = recipient_key(5);
    let made = slot(NewSlot::recipient(&own.recipient()), 2);
    assert_eq!(made.wrapped.len(), 80 + SEALED_ROOT);
    let info = [&b"strongroom/v1/slot\0"[..], &VAULT, &[2; 16]].concat();
    assert!(open_with(&own, &info, &made.wrapped[..80]).is_some());

    let recipients = [own.recipient()];
    let sealed_for = SealedFor {
        recipients: &recipients,
        ..SealedFor::default()
    };
    let backup = seal_backup(sealed_for, Modes::KEY, 5, b"payload", SUITE, &OsEntropy).unwrap();
    // The header of 64 bytes and that of the stanza.
    let stanza = &backup.bytes[72..152];
    let info = [&b"strongroom/v1/backup\0"[..], &backup.blob_id].concat();
    let file_key = open_with(&own, &info, stanza).unwrap();
    assert_eq!(file_key.expose(), backup.file_key.expose());
    let opening = Opening {
        domain: None,
        by: Some(BackupKey::recipient(&own)),
        max_kdf_work_kib: 0,
    };
    let opened = open_backup(opening, Modes::KEY, &backup.bytes).unwrap();
    assert_eq!(*opened.payload, b"payload");
}

fn stored_header(slots: Vec<Slot>) -> StoredHeader {
    let hierarchy = Hierarchy::derive(&key(1), VAULT, SUITE);
    let kek_ring = KekRing {
        current_term: 1,
        current_key: key(0x42).into(),
        previous: None,
    };
    let sdk_ring = SdkRing {
        current_epoch: 1,
        epochs: vec![(1, key(0x51).into())],
    };
    let domain = [0xdd; 16];
    seal_header(
        &hierarchy, domain, 1, slots, &kek_ring, &sdk_ring, &OsEntropy,
    )
    .unwrap()
}

#[test]
fn slots_that_anybody_can_make_need_the_expected_root_and_every_slot_obeys_it() {
    let (recipient, master) = (recipient_key(5), MasterKey::generate().unwrap());
    let stored = stored_header(vec![
        slot(NewSlot::recipient(&recipient.recipient()), 1),
        slot(Unlock::raw_key(&master), 2),
    ]);
    let root = Hierarchy::derive(&key(1), VAULT, SUITE).fingerprint();
    let open = |unlock, expected_root| {
        let limits = OpenLimits {
            expected_root,
            ..OpenLimits::default()
        };
        open_header(stored.clone(), unlock, limits)
            .map(|opened| opened.slot)
            .map_err(|error| error.kind())
    };
    for (unlock, slot, without) in [
        (
            Unlock::recipient(&recipient),
            0,
            Err(ErrorKind::BadParameter),
        ),
        (Unlock::raw_key(&master), 1, Ok(1)),
    ] {
        assert_eq!(open(unlock, None), without);
        assert_eq!(open(unlock, Some(root)), Ok(slot));
        assert_eq!(open(unlock, Some([7; 32])), Err(ErrorKind::WrongRoot));
    }
}

#[test]
fn a_named_slot_is_the_only_one_that_is_tried() {
    let master = MasterKey::generate().unwrap();
    let unlock = || Unlock::raw_key(&master);
    let mut broken = slot(unlock(), 3);
    broken.wrapped[0] ^= 1;
    let slots = [slot(unlock(), 1), slot(unlock(), 2), broken];
    assert_eq!(open(&slots, unlock()).unwrap(), 0);
    assert_eq!(open(&slots, unlock().in_slot(slot_id(1))).unwrap(), 0);
    assert_eq!(open(&slots, unlock().in_slot(slot_id(2))).unwrap(), 1);
    for other in [3, 4] {
        let error = open(&slots, unlock().in_slot(slot_id(other)));
        assert_eq!(kind(error), Some(ErrorKind::WrongKey));
    }
}

/// Keeps a secret of any length, and remembers what it was asked.
#[derive(Debug)]
struct Keeper {
    length: usize,
    asked: Mutex<Vec<[u8; 32]>>,
}

impl Keeper {
    fn of(length: usize) -> Self {
        Self {
            length,
            asked: Mutex::default(),
        }
    }

    fn note(&self, context: &[u8; 32]) {
        self.asked.lock().unwrap().push(*context);
    }

    fn asked(&self) -> Vec<[u8; 32]> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

impl SlotProvider for Keeper {
    fn keep(&self, secret: &Key32, context: &[u8; 32], _: &dyn Entropy) -> Result<KeptSecret> {
        self.note(context);
        let mut kept = secret.expose().to_vec();
        kept.resize(self.length, 0);
        Ok(KeptSecret {
            kind: SlotKind::OsKeyring,
            tag: [9; 16],
            kept,
        })
    }

    fn serves(&self, kind: SlotKind) -> bool {
        kind == SlotKind::OsKeyring
    }

    fn open(&self, slot: &ProvidedSlot<'_>) -> Result<Provided> {
        assert_eq!(slot.kind, SlotKind::OsKeyring);
        assert_eq!(slot.kept.len(), self.length);
        self.note(slot.context);
        Ok(Key32::copied_from(&slot.kept[..32]).map_or(Provided::Refused, Provided::Secret))
    }
}

#[test]
fn a_provider_is_told_the_place_of_its_own_slots_only() {
    let keeper = Keeper::of(40);
    let provider = || Unlock::provider(&keeper);
    let place: [u8; 32] = [VAULT, [2; 16]].concat().try_into().unwrap();
    let own = slot(provider(), 2);
    assert_eq!(keeper.asked(), [place]);
    let master = MasterKey::generate().unwrap();
    let slots = [slot(Unlock::raw_key(&master), 1), own];
    assert_eq!(open(&slots, provider()).unwrap(), 1);
    assert_eq!(keeper.asked(), [place]);
    let error = open(&slots[..1], provider());
    assert_eq!(kind(error), Some(ErrorKind::WrongKey));
    assert!(keeper.asked().is_empty());
}

#[test]
fn what_a_provider_keeps_fills_a_slot_at_most() {
    let longest = MAX_WRAPPED_LENGTH - SEALED_ROOT;
    assert_eq!(longest, 1_816);
    for (length, fits) in [(longest - 1, true), (longest, true), (longest + 1, false)] {
        let keeper = Keeper::of(length);
        let unlock = Unlock::provider(&keeper);
        let cost = PassphraseCost::Default;
        let id = slot_id(1);
        let made = seal_slot(unlock, id, cost, &VAULT, SUITE, &key(1), &OsEntropy);
        match made {
            Ok(made) => {
                assert!(fits, "{length}");
                assert_eq!(open(&[made], unlock).unwrap(), 0);
            }
            Err(error) => assert_eq!((fits, error.kind()), (false, ErrorKind::Internal)),
        }
    }
}

#[test]
fn a_passphrase_slot_is_below_a_cost_with_more_work_and_no_less_memory() {
    const MEMORY: u32 = 32_768;
    let slot_of = |kind, flags, memory_kib, iterations| Slot {
        kind,
        flags,
        memory_kib,
        iterations,
        lanes: 1,
        salt: [0; 32],
        provider_tag: [0; 16],
        slot_id: [0; 16],
        kem_id: 0,
        wrapped: Vec::new(),
    };
    let passphrase = |iterations| slot_of(SlotKind::Passphrase, 0, MEMORY, iterations);
    let chosen = |memory_kib, iterations| {
        PassphraseCost::Chosen(PassphraseParameters::new(memory_kib, iterations, 1).unwrap())
    };
    for (cost, below) in [
        (chosen(MEMORY, 3), false),
        (chosen(MEMORY, 4), false),
        (chosen(MEMORY, 5), true),
        (chosen(2 * MEMORY, 2), false),
        (chosen(2 * MEMORY, 3), true),
        (chosen(MEMORY + 1, 4), true),
        // More work in less memory is no more.
        (chosen(MEMORY - 1, 16), false),
    ] {
        assert_eq!(is_below(&passphrase(4), cost), below, "{cost:?}");
    }
    assert!(!is_below(
        &slot_of(SlotKind::RawKey, 0, 0, 0),
        chosen(MEMORY, 5)
    ));
    // Who chose no cost follows the default, and nobody else.
    for (flags, follows) in [(1, true), (0, false), (2, false), (3, true)] {
        let slot = slot_of(SlotKind::Passphrase, flags, 19_456, 1);
        assert_eq!(is_below(&slot, PassphraseCost::Default), follows, "{flags}");
        assert!(is_below(&slot, chosen(MEMORY, 5)));
    }
}

#[test]
fn what_is_printed_of_keys_and_slots_names_them_and_holds_no_secret() {
    let master = MasterKey::from_bytes(&[b'k'; 32]).or_else(|_| MasterKey::generate());
    let master = master.unwrap();
    let passphrase = Passphrase::new("secret words").unwrap();
    let recipient = recipient_key(5);
    let keeper = Keeper::of(40);
    let unlocks = [
        (Unlock::raw_key(&master), "Unlock(raw key)"),
        (Unlock::passphrase(&passphrase), "Unlock(passphrase)"),
        (Unlock::recipient(&recipient), "Unlock(recipient)"),
        (Unlock::provider(&keeper), "Unlock(provider)"),
    ];
    for (unlock, text) in unlocks {
        assert_eq!(format!("{unlock:?}"), text);
        assert_eq!(format!("{:?}", NewSlot::from(unlock)), "NewSlot(..)");
    }
    for (by, text) in [
        (BackupKey::recipient(&recipient), "BackupKey(recipient)"),
        (BackupKey::passphrase(&passphrase), "BackupKey(passphrase)"),
    ] {
        assert_eq!(format!("{by:?}"), text);
    }
    let id = slot_id(0xab);
    assert_eq!(id.to_string(), "ab".repeat(16));
    assert_eq!(format!("{id:?}"), format!("SlotId({})", "ab".repeat(16)));
    let stored = stored_header(vec![slot(Unlock::raw_key(&master), 1)]);
    let limits = OpenLimits::default();
    let opened = open_header(stored, Unlock::raw_key(&master), limits).unwrap();
    assert_eq!(
        format!("{opened:?}"),
        "OpenedHeader { seq: 1, slot: 0, .. }"
    );
}

#[test]
fn a_domain_is_named_by_what_another_library_derives_from_its_current_key() {
    use aws_lc_rs::hkdf;
    struct Length;
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            32
        }
    }
    let id = [0xdd; 16];
    let mut expected = [0; 32];
    hkdf::Prk::new_less_safe(hkdf::HKDF_SHA512, key(0x53).expose())
        .expand(&[b"strongroom/v1/domain-fingerprint", b"\0", &id], Length)
        .unwrap()
        .fill(&mut expected)
        .unwrap();
    let ring = SdkRing {
        current_epoch: 3,
        epochs: vec![(1, key(0x51).into()), (3, key(0x53).into())],
    };
    let named = domain_fingerprint(Domain { id, ring: &ring }).unwrap();
    assert_eq!(named, expected);
}

#[test]
fn a_backup_is_sealed_to_one_to_sixteen() {
    let recipients = [recipient_key(5).recipient(); 17];
    let seal = |count: usize| {
        let sealed_for = SealedFor {
            recipients: &recipients[..count],
            ..SealedFor::default()
        };
        seal_backup(sealed_for, Modes::KEY, 5, b"payload", SUITE, &OsEntropy)
    };
    for count in [0, 17] {
        let error = seal(count).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadParameter, "{count}");
    }
    for count in [1, 15, 16] {
        let sealed = seal(count).unwrap();
        assert_eq!(inspect(&sealed.bytes).unwrap().recipients, count);
    }
}

#[test]
fn a_backup_has_at_most_48_mebibytes() {
    let ring = SdkRing {
        current_epoch: 3,
        epochs: vec![(3, key(0x53).into())],
    };
    let seal = |payload: &[u8]| {
        let sealed_for = SealedFor {
            domain: Some(Domain {
                id: [0xdd; 16],
                ring: &ring,
            }),
            ..SealedFor::default()
        };
        seal_backup(sealed_for, Modes::KEY, 5, payload, SUITE, &OsEntropy)
            .map(|sealed| sealed.bytes)
    };
    // The header with its stanza, and the MACs of header and domain.
    let around = 64 + 8 + 104 + 2 * 64;
    let short = seal(b"payload").unwrap();
    assert_eq!(short.len(), around + sealed_length(7));
    assert_eq!(short.capacity(), short.len());

    let mut payload = vec![0; MAX_BLOB_LENGTH];
    while around + sealed_length(payload.len()) > MAX_BLOB_LENGTH {
        payload.pop();
    }
    let longest = seal(&payload).unwrap();
    assert_eq!(longest.len(), MAX_BLOB_LENGTH);
    assert_eq!(inspect(&longest).unwrap().size, MAX_BLOB_LENGTH);
    payload.push(0);
    assert_eq!(seal(&payload).unwrap_err().kind(), ErrorKind::TooLarge);
}
