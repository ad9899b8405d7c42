//! Backups of whole vaults and domain files: raw, and sealed around what the fuzzer made.

use std::sync::Mutex;

use super::fixture::{self, FixedEntropy, Input, SUITE, Target, settings};
use super::sealing::{is_slow, options, recipient, sealed};
use crate::format::backup::Modes;
use crate::format::domain_file;
use crate::format::vault_stream::{
    DeletionPrefix, Edition, FrameKind, STREAM_MAGIC, StreamEnd, StreamHead, decode_settings,
    encode_settings,
};
use crate::seal::backup::{BackupKey, Domain, domain_fingerprint};
use crate::seal::vault_stream::Stream;
use crate::vault::SecurityDomain;

static VAULT: Mutex<Target> = Target::new();

/// The fixed layouts, a raw stream, a script of frames, or a domain's payload, by the first byte.
pub(super) fn run(data: &[u8]) -> bool {
    let Some((selector, bytes)) = data.split_first() else {
        return false;
    };
    match selector % 4 {
        0 => layouts(bytes),
        1 => raw(bytes),
        2 => script(Input::new(bytes)),
        _ => domain(bytes),
    }
}

fn layouts(bytes: &[u8]) -> bool {
    let head = StreamHead::decode(bytes);
    if let Ok(head) = &head {
        assert_eq!(head.encode()[..], *bytes);
    }
    let end = StreamEnd::decode(bytes);
    if let Ok(end) = &end {
        assert_eq!(end.encode()[..], *bytes);
    }
    let prefix = DeletionPrefix::split(bytes);
    if let Ok((prefix, rest)) = &prefix {
        assert_eq!([&prefix.encode()[..], rest].concat(), bytes);
    }
    let settings = decode_settings(bytes);
    if let Ok(settings) = &settings {
        // Policies and their patterns may come in another order, or twice.
        let once = encode_settings(settings).expect("it fitted before");
        let again = decode_settings(&once).expect("it was just encoded");
        assert_eq!(*encode_settings(&again).expect("it fitted before"), *once);
    }
    head.is_ok() || end.is_ok() || prefix.is_ok() || settings.is_ok()
}

/// Nobody can seal a stream by changing one: it may be read up to some frame, never to an end of its own.
fn raw(bytes: &[u8]) -> bool {
    let key = recipient();
    let vault = Target::lock(&VAULT).vault();
    let mut seen = 0;
    let result = vault.restore_all_from(bytes, &options(&key), |progress| seen = progress.done());
    if let Ok(report) = &result {
        assert!(bytes.starts_with(&STREAM_MAGIC));
        let conflicts = report.conflicts().len() as u64;
        assert_eq!(report.restored() + report.present() + conflicts, seen);
    }
    Target::empty(&vault);
    result.is_ok()
}

/// What a stream of these frames says: head, then frames of any kind with any payload, each well sealed.
fn script(mut input: Input<'_>) -> bool {
    let key = recipient();
    let entropy = FixedEntropy::default();
    let choices = input.u8();
    let chosen = |bit: u8| choices & bit != 0;
    let edition = if chosen(4) {
        Edition::Two
    } else {
        Edition::One
    };
    let head = if chosen(1) {
        let length = usize::from(input.u8());
        input.take(length).to_vec()
    } else {
        let head = StreamHead {
            edition,
            vault_id: [9; 16],
            expected_keys: u64::from(input.u8()),
        };
        head.encode().to_vec()
    };
    let container = sealed(Modes::WHOLE_VAULT, &head);
    let mut stream = Stream::sealing(&container, SUITE, None).expect("no domain is asked for");
    let mut bytes = STREAM_MAGIC.to_vec();
    put_part(&mut bytes, &container.bytes);
    let mut put = |stream: &mut Stream, kind, payload: &[u8]| {
        let frame = stream.seal(kind, payload, &entropy).expect("it is short");
        put_part(&mut bytes, &frame);
    };
    if edition == Edition::Two {
        let length = if chosen(16) {
            usize::from(input.u16())
        } else {
            0
        };
        let own = input.take(length);
        let usual = encode_settings(&settings()).expect("they are short");
        let payload = if chosen(16) { own } else { &usual };
        put(&mut stream, FrameKind::Settings, payload);
    }
    let mut keys = 0;
    let mut legal = true;
    for _ in 0..8 {
        if input.is_empty() {
            break;
        }
        let kind = match input.u8() % 16 {
            0 => FrameKind::End,
            15 => FrameKind::Settings,
            12..=14 => FrameKind::DeletedKey,
            _ => FrameKind::Key,
        };
        legal &= match kind {
            FrameKind::Key => true,
            FrameKind::DeletedKey => edition == Edition::Two,
            FrameKind::End | FrameKind::Settings => false,
        };
        let length = usize::from(input.u16());
        let payload = input.take(length);
        let of_key = payload.get(DeletionPrefix::LENGTH..).unwrap_or_default();
        if is_slow(payload) || is_slow(of_key) {
            return false;
        }
        put(&mut stream, kind, payload);
        keys += 1;
    }
    let end = StreamEnd {
        keys: stream.count(),
        left_out: 0,
        chain: stream.chain(),
    };
    put(&mut stream, FrameKind::End, &end.encode());
    if chosen(2) {
        bytes.extend_from_slice(input.rest);
        bytes.push(0);
    }

    // Settings stay in force, so that they come into a vault of their own.
    let mut shared = Target::lock(&VAULT);
    let vault = if chosen(8) {
        fixture::vault().0
    } else {
        shared.vault()
    };
    let options = if chosen(8) {
        options(&key).restore_settings()
    } else {
        options(&key)
    };
    let plan = vault.restore_all_plan(&bytes[..], &options, |_| ());
    assert_eq!(
        vault.list_key_properties().count(),
        0,
        "a plan changes nothing"
    );
    let report = vault.restore_all_from(&bytes[..], &options, |_| ());
    if let Ok(report) = &report {
        assert!(plan.is_ok(), "what cannot be read cannot be restored");
        // Another head may say another edition.
        assert!(legal || chosen(1), "a frame where none of its kind may be");
        assert!(!chosen(2), "nothing follows the end");
        let conflicts = report.conflicts().len() as u64;
        let expired = report.expired().len() as u64;
        assert_eq!(
            report.restored() + report.present() + conflicts + expired,
            keys
        );
        assert!(report.restored_deleted() <= report.restored());
        // What is there is passed over the second time, and what was not still is not.
        let again = vault
            .restore_all_from(&bytes[..], &options, |_| ())
            .expect("it was read before");
        assert_eq!(again.restored(), 0);
    }
    let accepted = report.is_ok_and(|report| report.restored() > 0);
    if !chosen(8) {
        Target::empty(&vault);
    }
    accepted
}

fn domain(bytes: &[u8]) -> bool {
    let key = recipient();
    let file = sealed(Modes::DOMAIN_FILE, bytes).bytes;
    let open = |fingerprint: &[u8; 32]| {
        SecurityDomain::open(&file, BackupKey::recipient(&key), fingerprint, 0)
    };
    assert!(open(&[0; 32]).is_err());
    let Ok((id, ring)) = domain_file::decode(bytes) else {
        return false;
    };
    assert_eq!(
        *domain_file::encode(&id, &ring).expect("it fitted before"),
        bytes
    );
    let domain = Domain { id, ring: &ring };
    let fingerprint = domain_fingerprint(domain).expect("the current key is there");
    let opened = open(&fingerprint).expect("it is the expected one");
    assert_eq!((*opened.id(), opened.epoch()), (id, ring.current_epoch));
    true
}

fn put_part(bytes: &mut Vec<u8>, part: &[u8]) {
    let length = u32::try_from(part.len()).expect("inputs are short");
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(part);
}
