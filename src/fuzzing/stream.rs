//! Backups of whole vaults and domain files: raw, and sealed around what the fuzzer made.

use std::sync::Mutex;

use super::backup::{is_slow, options, recipient};
use super::fixture::{FixedEntropy, Input, SUITE, Target};
use crate::format::backup::Modes;
use crate::format::domain_file;
use crate::format::vault_stream::{FrameKind, STREAM_MAGIC, StreamEnd, StreamHead};
use crate::seal::backup::{
    BackupKey, Domain, SealedContainer, SealedFor, domain_fingerprint, seal_backup,
};
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
    head.is_ok() || end.is_ok()
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
    let head = if choices & 1 == 0 {
        let head = StreamHead {
            vault_id: [9; 16],
            expected_keys: u64::from(input.u8()),
        };
        head.encode().to_vec()
    } else {
        let length = usize::from(input.u8());
        input.take(length).to_vec()
    };
    let container = sealed(Modes::WHOLE_VAULT, &head);
    let mut stream = Stream::sealing(&container, SUITE, None).expect("no domain is asked for");
    let mut bytes = STREAM_MAGIC.to_vec();
    put_part(&mut bytes, &container.bytes);
    let mut keys = 0;
    let mut only_keys = true;
    for _ in 0..8 {
        if input.is_empty() {
            break;
        }
        let kind = if input.u8().is_multiple_of(16) {
            only_keys = false;
            FrameKind::End
        } else {
            FrameKind::Key
        };
        let length = usize::from(input.u16());
        let payload = input.take(length);
        if is_slow(payload) {
            return false;
        }
        let frame = stream.seal(kind, payload, &entropy).expect("it is short");
        put_part(&mut bytes, &frame);
        keys += 1;
    }
    let (count, chain) = (stream.count(), stream.chain());
    assert_eq!(count, keys);
    let end = StreamEnd {
        keys: count,
        left_out: 0,
        chain,
    };
    let frame = stream
        .seal(FrameKind::End, &end.encode(), &entropy)
        .expect("it is short");
    put_part(&mut bytes, &frame);
    if choices & 2 != 0 {
        bytes.extend_from_slice(input.rest);
        bytes.push(0);
    }

    let vault = Target::lock(&VAULT).vault();
    let report = vault.restore_all_from(&bytes[..], &options(&key), |_| ());
    if let Ok(report) = &report {
        assert!(only_keys, "a stream has one end");
        assert_eq!(choices & 2, 0, "nothing follows the end");
        let conflicts = report.conflicts().len() as u64;
        assert_eq!(report.restored() + report.present() + conflicts, keys);
        // What is there is passed over the second time, and what was not still is not.
        let again = vault
            .restore_all_from(&bytes[..], &options(&key), |_| ())
            .expect("it was read before");
        assert_eq!(again.restored(), 0);
    }
    let accepted = report.is_ok_and(|report| report.restored() > 0);
    Target::empty(&vault);
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

pub(super) fn sealed(contents: Modes, payload: &[u8]) -> SealedContainer {
    let sealed_for = SealedFor {
        recipients: &[recipient().recipient()],
        ..SealedFor::default()
    };
    let entropy = FixedEntropy::default();
    seal_backup(sealed_for, contents, 1, payload, SUITE, &entropy).expect("it is short")
}

fn put_part(bytes: &mut Vec<u8>, part: &[u8]) {
    let length = u32::try_from(part.len()).expect("inputs are short");
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(part);
}
