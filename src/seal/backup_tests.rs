use super::backup::{inspect, open_backup, seal_backup};
use super::tests::{Counting, key, sha256_hex};
use super::{Suite, hash32};
use crate::env::{Entropy, OsEntropy};
use crate::error::ErrorKind;
use crate::format::backup::Modes;
use crate::format::ring::SdkRing;
use crate::secret::Key32;

const DOMAIN: [u8; 16] = [0xdd; 16];
const SUITE: Suite = Suite::Aes256Gcm;

fn sdk_ring() -> SdkRing {
    SdkRing {
        current_epoch: 3,
        epochs: vec![(1, key(0x51).into()), (3, key(0x53).into())],
    }
}

fn backup(payload: &[u8], entropy: &dyn Entropy) -> Vec<u8> {
    seal_backup(
        &sdk_ring(),
        DOMAIN,
        1_700_000_000_123,
        payload,
        SUITE,
        entropy,
    )
    .unwrap()
}

#[test]
fn backups_open_in_their_domain_only() {
    for length in [0, 1, 16_383, 16_384, 100_000] {
        let payload = vec![7; length];
        let blob = backup(&payload, &OsEntropy);
        assert_eq!(*open_backup(&sdk_ring(), DOMAIN, &blob).unwrap(), payload);
        let facts = inspect(&blob).unwrap();
        assert_eq!(facts.created_unix_milliseconds, 1_700_000_000_123);
        assert_eq!((facts.domain_id, facts.suite), (Some(DOMAIN), SUITE));
        assert_eq!((facts.modes, facts.size), (Modes::DOMAIN, blob.len()));
    }
    let blob = backup(b"payload", &OsEntropy);
    let erased = SdkRing {
        current_epoch: 4,
        epochs: vec![(4, key(0x53).into())],
    };
    let kind = |ring: &SdkRing, domain| open_backup(ring, domain, &blob).unwrap_err().kind();
    assert_eq!(kind(&sdk_ring(), [0xde; 16]), ErrorKind::WrongDomain);
    assert_eq!(kind(&erased, DOMAIN), ErrorKind::WrongDomain);
    let other = SdkRing {
        current_epoch: 3,
        epochs: vec![(3, key(0x54).into())],
    };
    assert_eq!(kind(&other, DOMAIN), ErrorKind::InvalidBackup);
}

#[test]
fn every_altered_byte_of_a_backup_is_refused_with_a_typed_error() {
    let blob = backup(b"payload", &OsEntropy);
    let ring = sdk_ring();
    for at in 0..blob.len() {
        for mask in 1..=u8::MAX {
            let mut altered = blob.clone();
            altered[at] ^= mask;
            let kind = open_backup(&ring, DOMAIN, &altered).unwrap_err().kind();
            let expected: &[ErrorKind] = match at {
                8 | 9 => &[ErrorKind::NewerFormat],
                10 | 11 => &[ErrorKind::NewerFormat, ErrorKind::InvalidBackup],
                16..32 | 68..72 => &[ErrorKind::WrongDomain, ErrorKind::InvalidBackup],
                _ => &[ErrorKind::InvalidBackup, ErrorKind::NewerFormat],
            };
            assert!(expected.contains(&kind), "byte {at} mask {mask}: {kind:?}");
        }
        let kind = open_backup(&ring, DOMAIN, &blob[..at]).unwrap_err().kind();
        assert_eq!(kind, ErrorKind::InvalidBackup, "cut at {at}");
        let _ = inspect(&blob[..at]); // may succeed: it authenticates nothing
    }
    let longer = [&blob[..], &[0]].concat();
    assert!(open_backup(&ring, DOMAIN, &longer).is_err());
}

#[test]
fn who_knows_the_file_key_cannot_change_the_payload() {
    // A blob whose payload was sealed anew under the right file key and header still fails at the domain's MAC.
    let blob = backup(b"payload", &Counting::default());
    let file_key: Vec<u8> = (17..49).collect();
    let file_key = Key32::copied_from(&file_key).unwrap();
    let header_hash = hash32(&blob[..240]);
    let context: [&[u8]; 2] = [b"strongroom/v1/backup\0", &header_hash];
    let own = super::open(SUITE, &file_key, &context, &blob[240..blob.len() - 64]).unwrap();
    assert_eq!(*own, b"payload");
    let forged = super::seal(SUITE, &file_key, &context, b"PAYLOAD", &OsEntropy).unwrap();
    let forged = [&blob[..240], &forged, &blob[blob.len() - 64..]].concat();
    let error = open_backup(&sdk_ring(), DOMAIN, &forged).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidBackup);
}

#[test]
fn oversized_backups_are_refused_unread() {
    let error = inspect(&vec![0; 48 * 1_024 * 1_024 + 1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    let payload = vec![0; 48 * 1_024 * 1_024 - 300];
    let sealed = seal_backup(&sdk_ring(), DOMAIN, 0, &payload, SUITE, &OsEntropy);
    assert_eq!(sealed.unwrap_err().kind(), ErrorKind::TooLarge);
}

#[test]
fn stanzas_must_fit_their_modes_and_unknown_ones_are_skipped() {
    let blob = backup(b"payload", &OsEntropy);
    let with_stanza = |mode: u8, stanza_type: u16, data: &[u8]| {
        let mut stanza = stanza_type.to_be_bytes().to_vec();
        stanza.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        stanza.extend([0; 4]);
        stanza.extend(data);
        let mut altered = [&blob[..176], &stanza, &blob[176..]].concat();
        let length = u32::try_from(240 + stanza.len()).unwrap();
        altered[12..16].copy_from_slice(&length.to_be_bytes());
        altered[11] = mode;
        altered[57] = 2;
        inspect(&altered)
            .map(|facts| facts.blob_id)
            .map_err(|error| error.kind())
    };
    let id: [u8; 16] = blob[32..48].try_into().unwrap();
    let invalid = Err(ErrorKind::InvalidBackup);
    assert_eq!(with_stanza(3, 2, &[0; 80]), Ok(id));
    assert_eq!(with_stanza(5, 3, &[0; 152]), Ok(id));
    assert_eq!(with_stanza(1, 9, &[0; 7]), Ok(id));
    assert_eq!(with_stanza(3, 4, &[0; 1_168]), Ok(id));
    assert_eq!(with_stanza(1, 2, &[0; 80]), invalid);
    assert_eq!(with_stanza(3, 3, &[0; 152]), invalid);
    assert_eq!(with_stanza(3, 2, &[0; 79]), invalid);
    assert_eq!(with_stanza(1, 1, &[0; 104]), invalid);
    assert_eq!(with_stanza(1, 0, &[]), invalid);
    assert_eq!(with_stanza(9, 9, &[]), invalid);
    assert_eq!(with_stanza(17, 9, &[]), Err(ErrorKind::NewerFormat));
}

// The digest was also computed by a separate program from the format document alone.
#[test]
fn backup_bytes_are_those_of_the_first_release() {
    let blob = backup(b"golden", &Counting::default());
    assert_eq!(
        sha256_hex(&blob),
        "2f60fdf94542768a68d5ea234ce95dc427160f75866c0d14d2003e5011ac1f7d"
    );
}
