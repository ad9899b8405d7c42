//! Backups of keys: the blob, its header under right MACs, and payloads that are sealed and restored.

use std::sync::{LazyLock, Mutex};

use super::fixture::{DOMAIN_ID, FixedEntropy, SUITE, Target, edited, sdk_ring};
use super::sealing::{is_slow, options, recipient, sealed};
use crate::error::ErrorKind;
use crate::format::backup::{
    BACKUP_MAC_LENGTH, Container, MAX_STANZAS, Modes, Stanza, encode_header,
};
use crate::format::backup_payload;
use crate::format::ring::SdkRing;
use crate::model::name::KeyName;
use crate::seal::backup::{
    BackupKey, BackupOrigin, Domain, Opening, SealedContainer, SealedFor, inspect, open_backup,
    seal_backup, seal_behind,
};
use crate::secret::Passphrase;
use crate::vault::{KeyBackup, Vault};

const PAYLOAD: &[u8] = b"what is sealed";

/// A blob of a known domain, for a known recipient.
struct Base {
    ring: SdkRing,
    container: SealedContainer,
    passphrase: Passphrase,
}

static BASE: LazyLock<Base> = LazyLock::new(|| {
    let ring = sdk_ring();
    let container = seal_backup(
        SealedFor {
            domain: Some(Domain {
                id: DOMAIN_ID,
                ring: &ring,
            }),
            recipients: &[recipient().recipient()],
            passphrase: None,
        },
        Modes::KEY,
        1,
        PAYLOAD,
        SUITE,
        &FixedEntropy::default(),
    )
    .expect("it fits");
    Base {
        ring,
        container,
        passphrase: Passphrase::new("an open secret").expect("it is short"),
    }
});

static VAULT: Mutex<Target> = Target::new();

/// The payload, the blob, the header, or a payload on its way into a vault, by the first byte.
pub(super) fn run(data: &[u8]) -> bool {
    let Some((selector, bytes)) = data.split_first() else {
        return false;
    };
    match selector % 4 {
        0 => payload(bytes),
        1 => blob(bytes),
        2 => header(bytes),
        _ => restored(bytes),
    }
}

pub(super) fn payload(bytes: &[u8]) -> bool {
    let Ok(payload) = backup_payload::decode(bytes) else {
        return false;
    };
    // Tags may come unsorted or twice.
    let once = backup_payload::encode(&payload).expect("it fitted before");
    let payload = backup_payload::decode(&once).expect("it was just encoded");
    let twice = backup_payload::encode(&payload).expect("it fitted before");
    assert_eq!(*once, *twice);
    true
}

fn blob(bytes: &[u8]) -> bool {
    let Ok(container) = Container::parse(bytes) else {
        assert!(KeyBackup::inspect(bytes).is_err());
        return false;
    };
    assert!((1..=MAX_STANZAS).contains(&container.stanzas.len()));
    let macs = container.domain_mac.map_or(0, |mac| mac.len());
    assert_eq!(
        container.header.len() + container.sealed_payload.len() + macs,
        bytes.len()
    );
    let all_known = !container
        .stanzas
        .iter()
        .any(|stanza| matches!(stanza, Stanza::Other(_)));
    if all_known {
        let again = encode_header(
            container.suite,
            container.modes.contents(),
            container.domain_id,
            container.blob_id,
            container.created_unix_milliseconds,
            &container.stanzas,
        );
        assert_eq!(
            again.expect("there are stanzas"),
            container.header_mac_input
        );
    }
    if let Ok(summary) = KeyBackup::inspect(bytes) {
        assert_eq!(summary.length(), bytes.len());
        assert!(summary.recipient_count() <= MAX_STANZAS);
    }
    true
}

/// An altered header under right MACs, around the payload.
fn header(edits: &[u8]) -> bool {
    let SealedContainer {
        bytes, file_key, ..
    } = &BASE.container;
    let container = Container::parse(bytes).expect("it is good");
    let header = container.header_mac_input;
    assert_eq!(container.header_mac.len(), BACKUP_MAC_LENGTH);
    let mut altered = edited(header, edits);
    let unchanged = altered == header;
    let domain_key = BASE.ring.key(2);
    let entropy = FixedEntropy::default();
    seal_behind(&mut altered, SUITE, file_key, domain_key, PAYLOAD, &entropy).expect("it is short");

    let by_recipient = recipient();
    let ways = [
        None,
        Some(BackupKey::recipient(&by_recipient)),
        Some(BackupKey::passphrase(&BASE.passphrase)),
    ];
    let mut accepted = false;
    for by in ways {
        let opening = Opening {
            domain: Some(Domain {
                id: DOMAIN_ID,
                ring: &BASE.ring,
            }),
            by,
            max_kdf_work_kib: 0,
        };
        match open_backup(opening, Modes::KEY, &altered) {
            Ok(opened) => {
                assert_eq!(*opened.payload, PAYLOAD);
                let facts = inspect(&altered).expect("it opens");
                assert_eq!(facts.size, altered.len());
                // An epoch that the domain does not have, or no longer, vouches for nothing.
                let known = facts.domain_epoch.and_then(|epoch| BASE.ring.key(epoch));
                let of_domain = facts.domain_id == Some(DOMAIN_ID) && known.is_some();
                assert_eq!(opened.origin == BackupOrigin::Domain, of_domain);
                accepted = true;
            }
            Err(error) => assert!(
                matches!(
                    error.kind(),
                    ErrorKind::InvalidBackup
                        | ErrorKind::NewerFormat
                        | ErrorKind::WrongDomain
                        | ErrorKind::WrongKey
                        | ErrorKind::KdfCostRefused
                ),
                "{error}"
            ),
        }
    }
    assert!(accepted || !unchanged);
    accepted
}

/// What anybody can do who knows a public key: a payload of his own, well sealed.
fn restored(bytes: &[u8]) -> bool {
    if is_slow(bytes) {
        return false;
    }
    let key = recipient();
    let sealed = sealed(Modes::KEY, bytes);
    let vault = Target::lock(&VAULT).vault();
    let options = options(&key);
    let plan = vault.restore_plan(&sealed.bytes, &options);
    let result = vault.restore_key_with(&sealed.bytes, &options);
    assert_eq!(plan.is_ok(), backup_payload::decode(bytes).is_ok());
    if plan.is_err() {
        assert!(result.is_err());
    }
    if let Ok(result) = &result {
        let name = result.key().properties().name().clone();
        assert_eq!(plan.expect("it was restored").name(), &name);
        let versions = all_versions(&vault, &name);
        assert_eq!(versions, result.version_count());
        let again = vault.backup_key(&name).expect("software keys can be");
        assert!(vault.restore_key(&again).is_err(), "it is there");
    }
    Target::empty(&vault);
    result.is_ok()
}

fn all_versions(vault: &Vault, name: &KeyName) -> usize {
    let versions = vault.list_key_properties_versions(name);
    versions
        .expect("the key is there")
        .map(|version| {
            vault.get_key(version.id()).expect("it can be read");
        })
        .count()
}
