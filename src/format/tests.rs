use super::anchor::{ANCHOR_FILE_LENGTH, ANCHOR_SLOT_LENGTH, Anchor};
use super::bucket::{BUCKET_LENGTH, Bucket};
use super::gcm_counter::{GCM_COUNTER_LENGTH, GcmCounter};
use super::ring::{KEK_RING_LENGTH, KekRing, MAX_EPOCHS, SDK_RING_LENGTH, SdkRing};
use super::state::{STATE_LENGTH, State};
use crate::error::{Error, ErrorKind};
use crate::secret::Key32;

fn key(byte: u8) -> Key32 {
    Key32::copied_from(&[byte; 32]).unwrap()
}

fn state() -> State {
    State {
        kek_term: 0x0101_0101,
        generation: 0x0202_0202_0202_0202,
        record_count: 0x0303_0303_0303_0303,
        bucket_count: 0x0404_0404,
        meta_count: 0x0505_0505,
        bucket_digest: [6; 32],
        meta_digest: [7; 32],
        max_time_seen: 0x0808_0808_0808_0808,
        key_count: 0x0909_0909_0909_0909,
        header_seq: 0x0a0a_0a0a_0a0a_0a0a,
        header_mac: [11; 32],
        shred_term: 0x0c0c_0c0c,
        audit_first: 0x0d0d_0d0d_0d0d_0d0d,
        audit_next: 0x0e0e_0e0e_0e0e_0e0e,
        audit_head: [15; 32],
        audit_cut_head: [16; 32],
    }
}

fn bucket() -> Bucket {
    Bucket {
        bucket: 0x0abc,
        members: 0x0303_0303,
        digest: [4; 32],
        m_count: 0x0202_0202,
        term: 0x0505_0505,
        m_prev: 0x0101_0101,
    }
}

/// Where a field's bytes stand, by its fill byte.
fn at(bytes: &[u8], offset: usize, length: usize, fill: u8) {
    assert_eq!(
        bytes[offset..offset + length],
        vec![fill; length],
        "offset {offset}"
    );
}

#[test]
fn state_fields_stand_where_the_format_says() {
    let bytes = state().encode();
    assert_eq!(bytes[..4], [0, 1, 0, 1]);
    let fields = [
        (4, 4, 1),
        (8, 8, 2),
        (16, 8, 3),
        (24, 4, 4),
        (28, 4, 5),
        (32, 32, 6),
        (64, 32, 7),
        (96, 8, 8),
        (104, 8, 9),
        (112, 8, 10),
        (120, 32, 11),
        (152, 4, 12),
        (156, 4, 0),
        (160, 8, 13),
        (168, 8, 14),
        (176, 32, 15),
        (208, 32, 16),
        (240, 16, 0),
    ];
    for (offset, length, fill) in fields {
        at(&bytes, offset, length, fill);
    }
    assert_eq!(State::decode(&bytes).unwrap(), state());
}

#[test]
fn bucket_and_counter_fields_stand_where_the_format_says() {
    let bytes = bucket().encode();
    assert_eq!(bytes[..4], [0, 1, 0x0a, 0xbc]);
    for (offset, length, fill) in [
        (4, 4, 3),
        (8, 32, 4),
        (40, 4, 2),
        (44, 4, 5),
        (48, 4, 1),
        (52, 12, 0),
    ] {
        at(&bytes, offset, length, fill);
    }
    assert_eq!(Bucket::decode(&bytes).unwrap(), bucket());

    let counter = GcmCounter {
        count: 0x0707_0707_0707_0707,
    };
    let bytes = counter.encode();
    assert_eq!(bytes[..8], [0, 1, 0, 0, 0, 0, 0, 0]);
    at(&bytes, 8, 8, 7);
    at(&bytes, 16, 48, 0);
    assert_eq!(GcmCounter::decode(&bytes).unwrap(), counter);
}

/// Flips every byte, cuts everywhere and appends; `decode` must answer a value or one of two kinds, and a value
/// only where it encodes to exactly the altered bytes.
fn decodes_strictly<T>(
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, Error>,
    encode: impl Fn(&T) -> Vec<u8>,
) {
    let check = |altered: &[u8]| match decode(altered) {
        Ok(value) => assert_eq!(encode(&value), altered),
        Err(error) => assert!(matches!(
            error.kind(),
            ErrorKind::Corrupt | ErrorKind::NewerFormat
        )),
    };
    for at in 0..bytes.len() {
        for mask in [0x01, 0x80, 0xff] {
            let mut altered = bytes.to_vec();
            altered[at] ^= mask;
            check(&altered);
        }
        assert_eq!(
            decode(&bytes[..at]).err().unwrap().kind(),
            ErrorKind::Corrupt
        );
    }
    let longer = [bytes, &[0]].concat();
    assert_eq!(decode(&longer).err().unwrap().kind(), ErrorKind::Corrupt);
}

#[test]
fn altered_plaintexts_decode_strictly_or_fail() {
    decodes_strictly(&state().encode(), State::decode, |state| {
        state.encode().to_vec()
    });
    decodes_strictly(&bucket().encode(), Bucket::decode, |bucket| {
        bucket.encode().to_vec()
    });
    decodes_strictly(
        &GcmCounter { count: 7 }.encode(),
        GcmCounter::decode,
        |counter| counter.encode().to_vec(),
    );
    for previous in [None, Some((3, key(3).into()))] {
        let ring = KekRing {
            current_term: 4,
            current_key: key(4).into(),
            previous,
        };
        decodes_strictly(&ring.encode(), KekRing::decode, |ring| {
            ring.encode().to_vec()
        });
    }
    let ring = SdkRing {
        current_epoch: 5,
        epochs: vec![(2, key(2).into()), (5, key(5).into())],
    };
    decodes_strictly(&ring.encode().unwrap(), SdkRing::decode, |ring| {
        ring.encode().unwrap().to_vec()
    });
}

#[test]
fn unknown_layouts_are_newer_and_set_reserved_bytes_corrupt() {
    let kind_after = |bytes: &mut [u8], at: usize, decode: &dyn Fn(&[u8]) -> ErrorKind| {
        bytes[at] ^= 2;
        let kind = decode(bytes);
        bytes[at] ^= 2;
        kind
    };
    let state_kind = |bytes: &[u8]| State::decode(bytes).unwrap_err().kind();
    let mut bytes = state().encode();
    for at in [0, 1, 2, 3] {
        assert_eq!(
            kind_after(&mut bytes, at, &state_kind),
            ErrorKind::NewerFormat
        );
    }
    for at in [156, 159, 240, 255] {
        assert_eq!(kind_after(&mut bytes, at, &state_kind), ErrorKind::Corrupt);
    }
    let bucket_kind = |bytes: &[u8]| Bucket::decode(bytes).unwrap_err().kind();
    let mut bytes = bucket().encode();
    assert_eq!(
        kind_after(&mut bytes, 1, &bucket_kind),
        ErrorKind::NewerFormat
    );
    assert_eq!(kind_after(&mut bytes, 63, &bucket_kind), ErrorKind::Corrupt);
    let counter_kind = |bytes: &[u8]| GcmCounter::decode(bytes).unwrap_err().kind();
    let mut bytes = GcmCounter::default().encode();
    assert_eq!(
        kind_after(&mut bytes, 0, &counter_kind),
        ErrorKind::NewerFormat
    );
    for at in [2, 16, 63] {
        assert_eq!(
            kind_after(&mut bytes, at, &counter_kind),
            ErrorKind::Corrupt
        );
    }
    let ring = KekRing {
        current_term: 4,
        current_key: key(4).into(),
        previous: None,
    };
    let ring_kind = |bytes: &[u8]| KekRing::decode(bytes).unwrap_err().kind();
    let mut bytes = ring.encode();
    for at in [1, 3] {
        assert_eq!(
            kind_after(&mut bytes, at, &ring_kind),
            ErrorKind::NewerFormat
        );
    }
    for at in [44, 75, 76, 79] {
        assert_eq!(kind_after(&mut bytes, at, &ring_kind), ErrorKind::Corrupt);
    }
}

#[test]
fn bucket_counts_that_contradict_each_other_are_corrupt() {
    let broken = [
        Bucket {
            bucket: 4_096,
            ..bucket()
        },
        Bucket {
            members: 0x0202_0201,
            ..bucket()
        },
        Bucket {
            m_prev: 0x0202_0203,
            ..bucket()
        },
    ];
    for bucket in broken {
        let error = Bucket::decode(&bucket.encode()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn rings_hold_what_the_format_gives_room_for() {
    let ring = |count: u32| SdkRing {
        current_epoch: 1,
        epochs: (1..=count).map(|epoch| (epoch, key(1).into())).collect(),
    };
    let full = ring(40).encode().unwrap();
    assert_eq!(
        (full.len(), SDK_RING_LENGTH, MAX_EPOCHS),
        (1_448, 1_448, 40)
    );
    assert_eq!(SdkRing::decode(&full).unwrap().epochs.len(), 40);
    assert_eq!(ring(41).encode().unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!((KEK_RING_LENGTH, STATE_LENGTH), (80, 256));
    assert_eq!((BUCKET_LENGTH, GCM_COUNTER_LENGTH), (64, 64));
}

#[test]
fn rings_give_keys_by_term_and_epoch_only() {
    let ring = KekRing {
        current_term: 4,
        current_key: key(4).into(),
        previous: Some((3, key(3).into())),
    };
    let found = |term| ring.key(term).map(|key| key.expose()[0]);
    assert_eq!([2, 3, 4, 5].map(found), [None, Some(3), Some(4), None]);
    assert_eq!(found(0), None);
}

#[test]
fn terms_count_up_from_one_and_the_previous_is_below_the_current() {
    for (current_term, previous, possible) in [
        (0, None, false),
        (1, None, true),
        (0, Some(1), false),
        (1, Some(1), false),
        (1, Some(2), false),
        (2, Some(1), true),
        (u32::MAX, Some(1), true),
    ] {
        let ring = KekRing {
            current_term,
            current_key: key(4).into(),
            previous: previous.map(|term| (term, key(3).into())),
        };
        let kind = KekRing::decode(&ring.encode()).map_err(|error| error.kind());
        let terms = kind.map(|ring| (ring.current_term, ring.previous.map(|(term, _)| term)));
        let expected = possible
            .then_some((current_term, previous))
            .ok_or(ErrorKind::Corrupt);
        assert_eq!(terms, expected);
    }
}

#[test]
fn logs_show_counters_and_no_digests() {
    assert_eq!(
        format!("{:?}", bucket()),
        "Bucket { bucket: 2748, members: 50529027, .. }"
    );
    let shown = format!("{:?}", state());
    assert_eq!(
        shown,
        format!(
            "State {{ generation: {}, record_count: {}, header_seq: {}, .. }}",
            state().generation,
            state().record_count,
            state().header_seq
        )
    );
}

/// The byte of each kind, whether it needs an expected root, and whether what opens it can be lost.
#[test]
fn kinds_of_slots_have_their_bytes_and_their_dangers() {
    use super::slot::{SLOT_LENGTH, Slot, SlotKind};
    let kinds = [
        (SlotKind::RawKey, 1, false, false),
        (SlotKind::Passphrase, 2, false, false),
        (SlotKind::OsKeyring, 3, false, true),
        (SlotKind::Pkcs11AesGcm, 4, false, true),
        (SlotKind::Pkcs11RsaOaep, 5, true, true),
        (SlotKind::HpkeRecipient, 6, true, false),
        (SlotKind::Other(7), 7, false, true),
        (SlotKind::Other(255), 255, false, true),
    ];
    let mut empty = [0; SLOT_LENGTH];
    assert_eq!(Slot::read(&empty), None);
    for (kind, byte, needs_root, can_be_lost) in kinds {
        empty[0] = byte;
        let slot = Slot::read(&empty).unwrap();
        assert_eq!((slot.kind, slot.prefix(0)[0]), (kind, byte));
        assert_eq!(kind.needs_expected_root(), needs_root);
        assert_eq!(kind.can_be_lost(), can_be_lost);
    }
}

#[test]
fn sizes_are_those_of_the_format() {
    use super::backup::{MAX_BACKUP_HEADER_LENGTH, MAX_BLOB_LENGTH};
    use super::backup_payload::{MAX_BACKUP_PAYLOAD, MAX_BACKUP_VERSIONS};
    use super::header::{HEADER_COPY_LENGTH, HEADER_MAC_LENGTH, MAX_SLOTS};
    use super::slot::{MAX_WRAPPED_LENGTH, SLOT_LENGTH, SLOT_PREFIX_LENGTH};
    use super::vault_stream::{MAX_FRAME_LENGTH, MAX_HEAD_LENGTH};
    assert_eq!((HEADER_COPY_LENGTH, HEADER_MAC_LENGTH), (20_480, 64));
    assert_eq!((SLOT_LENGTH, MAX_SLOTS), (2_048, 8));
    assert_eq!((SLOT_PREFIX_LENGTH, MAX_WRAPPED_LENGTH), (128, 1_920));
    assert_eq!(
        (MAX_BLOB_LENGTH, MAX_FRAME_LENGTH),
        (50_331_648, 50_331_648)
    );
    assert_eq!((MAX_BACKUP_PAYLOAD, MAX_BACKUP_VERSIONS), (49_283_072, 501));
    assert_eq!(
        (MAX_BACKUP_HEADER_LENGTH, MAX_HEAD_LENGTH),
        (65_536, 131_072)
    );
}

#[test]
fn anchor_fields_stand_where_the_format_says() {
    let anchor = Anchor {
        generation: 0x0101_0101_0101_0101,
        state_hash: [2; 32],
        vault_id: [3; 16],
    };
    let bytes = anchor.encode(&[4; 32]);
    assert_eq!((bytes.len(), ANCHOR_FILE_LENGTH), (4_096, 8_192));
    assert_eq!(bytes[..8], *b"SRMANC01");
    for (offset, length, fill) in [
        (8, 8, 1),
        (16, 32, 2),
        (48, 16, 3),
        (64, 32, 4),
        (96, 4_000, 0),
    ] {
        at(&bytes, offset, length, fill);
    }
    assert_eq!(bytes[..64], anchor.mac_input());
    decodes_strictly(&bytes, Anchor::decode, |(anchor, mac)| {
        anchor.encode(mac).to_vec()
    });
    for (place, allowed) in [
        (7, false),
        (8, true),
        (95, true),
        (96, false),
        (4_095, false),
    ] {
        let mut altered = bytes;
        altered[place] ^= 1;
        assert_eq!(Anchor::decode(&altered).is_ok(), allowed, "byte {place}");
    }
    let never_written = [0; ANCHOR_SLOT_LENGTH];
    assert_eq!(
        Anchor::decode(&never_written).unwrap_err().kind(),
        ErrorKind::Corrupt
    );
}
