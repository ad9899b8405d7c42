//! Backups: a payload under a key of its own, which the security domain's key opens.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::mac::{MacKey, expand, hash64};
use super::{OpenError, Suite, hash32, open, seal, sealed_length};
use crate::env::Entropy;
use crate::error::{Error, ErrorKind, Result};
use crate::format::backup::{
    BACKUP_MAC_LENGTH, Container, DOMAIN_HEADER_LENGTH, MAX_BLOB_LENGTH, Modes, damaged,
    domain_header, invalid, newer,
};
use crate::format::ring::SdkRing;
use crate::secret::Key32;

const STANZA_CONTEXT: &[u8] = b"strongroom/v1/stanza\0";
const PAYLOAD_CONTEXT: &[u8] = b"strongroom/v1/backup\0";

/// What a blob says of itself to whoever has no key: nothing of it is authenticated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct BackupHeaderFacts {
    pub(crate) created_unix_milliseconds: u64,
    /// `None` when no domain stanza is present.
    pub(crate) domain_id: Option<[u8; 16]>,
    pub(crate) blob_id: [u8; 16],
    pub(crate) modes: Modes,
    pub(crate) suite: Suite,
    /// Bytes of the whole blob.
    pub(crate) size: usize,
}

/// Reads a blob's header without keys.
///
/// Errors: `InvalidBackup`, `TooLarge`, `NewerFormat`.
pub(crate) fn inspect(blob: &[u8]) -> Result<BackupHeaderFacts> {
    let (container, suite) = parse(blob)?;
    Ok(BackupHeaderFacts {
        created_unix_milliseconds: container.created_unix_milliseconds,
        domain_id: container.domain_stanza().map(|_| container.domain_id),
        blob_id: container.blob_id,
        modes: container.modes,
        suite,
        size: blob.len(),
    })
}

/// Seals `payload` to the current epoch of the security domain.
///
/// Errors: `TooLarge` when the blob would exceed 48 MiB; `RandomUnavailable`.
pub(crate) fn seal_backup(
    ring: &SdkRing,
    domain_id: [u8; 16],
    created_unix_milliseconds: u64,
    payload: &[u8],
    suite: Suite,
    entropy: &dyn Entropy,
) -> Result<Vec<u8>> {
    let length = DOMAIN_HEADER_LENGTH + sealed_length(payload.len()) + BACKUP_MAC_LENGTH;
    if length > MAX_BLOB_LENGTH {
        return Err(Error::new(
            ErrorKind::TooLarge,
            "the key with all its versions does not fit a backup of 48 MiB",
        ));
    }
    let epoch = ring.current_epoch;
    let domain_key = ring
        .key(epoch)
        .ok_or_else(|| Error::internal("the security domain lacks its current key"))?;
    let mut blob_id = [0; 16];
    entropy.fill(&mut blob_id)?;
    let file_key = Key32::random(entropy)?;
    let stanza = seal(
        suite,
        &stanza_key(domain_key),
        &[STANZA_CONTEXT, &blob_id, &domain_id],
        file_key.expose(),
        entropy,
    )?;
    let stanza = stanza
        .try_into()
        .map_err(|_| Error::internal("a sealed file key does not have its length"))?;

    let mut header = domain_header(
        suite.byte(),
        domain_id,
        blob_id,
        created_unix_milliseconds,
        epoch,
        &stanza,
    );
    header.extend_from_slice(&header_mac(&file_key, &header));
    let context = [PAYLOAD_CONTEXT, &hash32(&header)];
    let sealed_payload = seal(suite, &file_key, &context, payload, entropy)?;

    let mut blob = Vec::with_capacity(length);
    blob.extend_from_slice(&header);
    blob.extend_from_slice(&sealed_payload);
    let mac = domain_mac(domain_key, &blob);
    blob.extend_from_slice(&mac);
    Ok(blob)
}

/// Opens a blob of this security domain. Both MACs are checked before the payload is decrypted.
///
/// Errors: `InvalidBackup` when it is no backup, damaged or altered; `TooLarge`; `WrongDomain` when it belongs to
/// another domain, to an epoch that was erased, or to no domain; `NewerFormat`.
pub(crate) fn open_backup(
    ring: &SdkRing,
    domain_id: [u8; 16],
    blob: &[u8],
) -> Result<Zeroizing<Vec<u8>>> {
    let (container, suite) = parse(blob)?;
    if container.modes.contains(Modes::DOMAIN_FILE) {
        return Err(invalid("this file holds a security domain, not a backup"));
    }
    let (epoch, stanza) = container.domain_stanza().ok_or_else(wrong_domain)?;
    let domain_key = ring
        .key(epoch)
        .filter(|_| container.domain_id == domain_id)
        .ok_or_else(wrong_domain)?;
    let mac = domain_mac(domain_key, container.domain_mac_input);
    let stored = container.domain_mac.ok_or_else(damaged)?;
    if !bool::from(mac.ct_eq(&stored)) {
        return Err(damaged());
    }

    let altered = |_: OpenError| damaged();
    let context = [STANZA_CONTEXT, &container.blob_id, &container.domain_id];
    let file_key = open(suite, &stanza_key(domain_key), &context, stanza).map_err(altered)?;
    let file_key = Key32::copied_from(&file_key).ok_or_else(damaged)?;
    let mac = header_mac(&file_key, container.header_mac_input);
    if !bool::from(mac.ct_eq(&container.header_mac)) {
        return Err(damaged());
    }
    let context = [PAYLOAD_CONTEXT, &hash32(container.header)];
    open(suite, &file_key, &context, container.sealed_payload).map_err(altered)
}

fn parse(blob: &[u8]) -> Result<(Container<'_>, Suite)> {
    let container = Container::parse(blob)?;
    let suite = Suite::from_byte(container.suite).ok_or_else(newer)?;
    Ok((container, suite))
}

fn stanza_key(domain_key: &Key32) -> Key32 {
    expand(domain_key, &[b"strongroom/v1/backup"])
}

fn header_mac(file_key: &Key32, header: &[u8]) -> [u8; BACKUP_MAC_LENGTH] {
    MacKey::new(expand(file_key, &[b"strongroom/v1/backup-header"])).mac(&[header])
}

fn domain_mac(domain_key: &Key32, preceding: &[u8]) -> [u8; BACKUP_MAC_LENGTH] {
    let key = MacKey::new(expand(domain_key, &[b"strongroom/v1/backup-mac"]));
    key.mac(&[&hash64(preceding)])
}

fn wrong_domain() -> Error {
    Error::new(
        ErrorKind::WrongDomain,
        "the backup belongs to another security domain; restore it into a vault of its own domain",
    )
}
