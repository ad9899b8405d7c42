use super::backup::{BackupKey, domain_mac, open_backup, seal_backup};
use super::backup::{Domain, OpenedContainer, Opening, SealedContainer, SealedFor};
use super::hpke::RecipientKey;
use super::tests::key;
use super::vault_stream::Stream;
use super::{Suite, hash32, sealed_length};
use crate::env::OsEntropy;
use crate::error::ErrorKind;
use crate::format::backup::Modes;
use crate::format::ring::SdkRing;
use crate::format::vault_stream::{FrameKind, MAX_FRAME_LENGTH};

const SUITE: Suite = Suite::Aes256Gcm;
const MAC_LENGTH: usize = 64;

fn ring(byte: u8) -> SdkRing {
    SdkRing {
        current_epoch: 3,
        epochs: vec![(3, key(byte).into())],
    }
}

fn domain(ring: &SdkRing) -> Domain<'_> {
    Domain {
        id: [0xdd; 16],
        ring,
    }
}

fn recipient() -> RecipientKey {
    RecipientKey::from_bytes(&[5; 32]).unwrap()
}

/// The head of a stream, sealed to a recipient and perhaps a domain.
fn head(domain: Option<Domain<'_>>) -> SealedContainer {
    let recipients = [recipient().recipient()];
    let sealed_for = SealedFor {
        domain,
        recipients: &recipients,
        passphrase: None,
    };
    seal_backup(
        sealed_for,
        Modes::WHOLE_VAULT,
        5,
        b"head",
        SUITE,
        &OsEntropy,
    )
    .unwrap()
}

/// The head again, opened by the recipient in the vault of this domain.
fn opened(head: &SealedContainer, domain: Domain<'_>) -> OpenedContainer {
    let key = recipient();
    let opening = Opening {
        domain: Some(domain),
        by: Some(BackupKey::recipient(&key)),
        max_kdf_work_kib: 0,
    };
    open_backup(opening, Modes::WHOLE_VAULT, &head.bytes).unwrap()
}

const KINDS: [(FrameKind, &[u8]); 4] = [
    (FrameKind::Settings, b"settings"),
    (FrameKind::Key, b"key"),
    (FrameKind::DeletedKey, b""),
    (FrameKind::End, b"end"),
];

fn frames(stream: &mut Stream) -> Vec<Vec<u8>> {
    KINDS
        .iter()
        .map(|(kind, payload)| stream.seal(*kind, payload, &OsEntropy).unwrap())
        .collect()
}

#[test]
fn frames_open_in_their_order_with_and_without_a_domain() {
    let ring = ring(0x53);
    for signed in [true, false] {
        let by = signed.then(|| domain(&ring));
        let head = head(by);
        let mut sealing = Stream::sealing(&head, SUITE, by).unwrap();
        assert_eq!((sealing.count(), sealing.chain()), (0, hash32(&head.bytes)));
        let frames = frames(&mut sealing);

        let mut opening =
            Stream::opening(&opened(&head, domain(&ring)), domain(&ring), &head.bytes).unwrap();
        let mut chain = hash32(&head.bytes);
        for (number, (frame, (kind, payload))) in (1..).zip(frames.iter().zip(KINDS)) {
            let mac = if signed { MAC_LENGTH } else { 0 };
            assert_eq!(frame.len(), 1 + sealed_length(payload.len()) + mac);
            assert_eq!(frame[0], kind.byte());
            let (read, text) = opening.open(frame).unwrap();
            assert_eq!((read, &text[..]), (kind, payload));
            chain = hash32(&[chain, hash32(frame)].concat());
            assert_eq!((opening.count(), opening.chain()), (number, chain));
        }
        assert_eq!((sealing.count(), sealing.chain()), (4, chain));
    }
}

/// The domain's MAC is over the place of the frame and what is sealed in it.
#[test]
fn a_frame_ends_with_the_mac_of_its_domain() {
    let ring = ring(0x53);
    let head = head(Some(domain(&ring)));
    let mut sealing = Stream::sealing(&head, SUITE, Some(domain(&ring))).unwrap();
    for (number, frame) in (0_u64..).zip(frames(&mut sealing)) {
        let (contents, mac) = frame.split_at(frame.len() - MAC_LENGTH);
        let covered = [
            &b"strongroom/v1/vault-frame\0"[..],
            &head.blob_id,
            &number.to_be_bytes(),
            contents,
        ]
        .concat();
        assert_eq!(mac, domain_mac(&key(0x53), &covered));
    }
}

#[test]
fn frames_from_elsewhere_are_refused() {
    let ring = ring(0x53);
    for signed in [true, false] {
        let by = signed.then(|| domain(&ring));
        let (head, other_head) = (head(by), head(by));
        let sealed = frames(&mut Stream::sealing(&head, SUITE, by).unwrap());
        let foreign = frames(&mut Stream::sealing(&other_head, SUITE, by).unwrap());
        let stream =
            || Stream::opening(&opened(&head, domain(&ring)), domain(&ring), &head.bytes).unwrap();
        let refused = |stream: &mut Stream, frame: &[u8]| {
            let kind = stream.open(frame).map(drop).map_err(|error| error.kind());
            assert_eq!(kind, Err(ErrorKind::InvalidBackup));
        };
        // Before its turn, twice, and from another stream.
        refused(&mut stream(), &sealed[1]);
        let mut first_read = stream();
        first_read.open(&sealed[0]).unwrap();
        refused(&mut first_read, &sealed[0]);
        refused(&mut first_read, &foreign[1]);
        // What was refused does not move the stream.
        first_read.open(&sealed[1]).unwrap();
        for at in 0..sealed[0].len() {
            for mask in [1, 0x80] {
                let mut altered = sealed[0].clone();
                altered[at] ^= mask;
                refused(&mut stream(), &altered);
            }
            refused(&mut stream(), &sealed[0][..at]);
        }
        refused(&mut stream(), &[&sealed[0][..], &[0]].concat());
    }
}

/// Who has the file key can seal frames; whose domain it is notices, a stranger cannot.
#[test]
fn only_the_domain_itself_recognises_its_frames() {
    let (own, forger) = (ring(0x53), ring(0x54));
    let head = head(Some(domain(&own)));
    let good = Stream::sealing(&head, SUITE, Some(domain(&own)))
        .unwrap()
        .seal(FrameKind::Settings, b"text", &OsEntropy)
        .unwrap();
    let forged = Stream::sealing(&head, SUITE, Some(domain(&forger)))
        .unwrap()
        .seal(FrameKind::Settings, b"forged", &OsEntropy)
        .unwrap();
    let opened_by_own = opened(&head, domain(&own));
    let mut stream = Stream::opening(&opened_by_own, domain(&own), &head.bytes).unwrap();
    let error = stream.open(&forged).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidBackup);
    stream.open(&good).unwrap();

    let elsewhere = Domain {
        id: [0xee; 16],
        ring: &forger,
    };
    let opened_elsewhere = opened(&head, elsewhere);
    assert_eq!(opened_elsewhere.epoch, None);
    let mut stream = Stream::opening(&opened_elsewhere, elsewhere, &head.bytes).unwrap();
    stream.open(&good).unwrap();
}

#[test]
fn a_frame_has_at_most_48_mebibytes() {
    let head = head(None);
    let mut stream = Stream::sealing(&head, SUITE, None).unwrap();
    let mut payload = vec![0; MAX_FRAME_LENGTH - 1];
    // Kind, salt, commitment, and a tag for each chunk of 16 KiB.
    while 1 + sealed_length(payload.len()) > MAX_FRAME_LENGTH {
        payload.pop();
    }
    let frame = stream.seal(FrameKind::Key, &payload, &OsEntropy).unwrap();
    assert_eq!((frame.len(), stream.count()), (MAX_FRAME_LENGTH, 1));
    payload.push(0);
    let error = stream.seal(FrameKind::Key, &payload, &OsEntropy);
    assert_eq!(error.unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(stream.count(), 1);
}
