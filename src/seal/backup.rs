//! Backups: a payload under a key of its own, which the security domain, recipients or a passphrase open.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::hpke::{self, Recipient, RecipientKey};
use super::mac::{MacKey, expand, hash64};
use super::passphrase::PassphraseParameters;
use super::{OpenError, Suite, hash32, open, seal, sealed_length};
use crate::env::Entropy;
use crate::error::{Error, ErrorKind, Result};
use crate::format::backup::{
    BACKUP_MAC_LENGTH, Container, DOMAIN_STANZA_LENGTH, MAX_BLOB_LENGTH, Modes,
    PASSPHRASE_STANZA_LENGTH, PassphraseStanza, RECIPIENT_STANZA_LENGTH, Stanza, damaged,
    encode_header, invalid, newer, passphrase_prefix,
};
use crate::format::ring::SdkRing;
use crate::secret::{Key32, Passphrase};

const STANZA_CONTEXT: &[u8] = b"strongroom/v1/stanza\0";
const PAYLOAD_CONTEXT: &[u8] = b"strongroom/v1/backup\0";

/// What a blob says of itself to whoever has no key: nothing of it is authenticated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct BackupHeaderFacts {
    pub(crate) created_unix_milliseconds: u64,
    /// `None` when no domain stanza is present.
    pub(crate) domain_id: Option<[u8; 16]>,
    pub(crate) domain_epoch: Option<u32>,
    pub(crate) recipients: usize,
    pub(crate) passphrase: Option<PassphraseParameters>,
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
    let recipients = container
        .stanzas
        .iter()
        .filter(|stanza| matches!(stanza, Stanza::Recipient(_)))
        .count();
    let passphrase = passphrase_stanza(&container)?
        .and_then(|ask| PassphraseParameters::new(ask.memory_kib, ask.iterations, ask.lanes).ok());
    Ok(BackupHeaderFacts {
        created_unix_milliseconds: container.created_unix_milliseconds,
        domain_id: container.domain_stanza().map(|_| container.domain_id),
        domain_epoch: container.domain_stanza().map(|(epoch, _)| epoch),
        recipients,
        passphrase,
        blob_id: container.blob_id,
        modes: container.modes,
        suite,
        size: blob.len(),
    })
}

/// The security domain that a vault belongs to, with the epochs that it still has.
#[derive(Clone, Copy)]
pub(crate) struct Domain<'a> {
    pub(crate) id: [u8; 16],
    pub(crate) ring: &'a SdkRing,
}

/// Who is to open what is sealed.
#[derive(Clone, Copy, Default)]
pub(crate) struct SealedFor<'a> {
    pub(crate) domain: Option<Domain<'a>>,
    pub(crate) recipients: &'a [Recipient],
    pub(crate) passphrase: Option<(&'a Passphrase, PassphraseParameters)>,
}

/// A container that was sealed.
pub(crate) struct SealedContainer {
    pub(crate) bytes: Vec<u8>,
    pub(crate) blob_id: [u8; 16],
    pub(crate) file_key: Key32,
}

/// Seals `payload`; `contents` says what it is.
///
/// Errors: `BadParameter` without anybody to open it, or with more than 16 stanzas; `TooLarge` when the blob would
/// exceed 48 MiB; `KdfCostRefused` without memory for the passphrase; `RandomUnavailable`.
pub(crate) fn seal_backup(
    sealed_for: SealedFor<'_>,
    contents: Modes,
    created_unix_milliseconds: u64,
    payload: &[u8],
    suite: Suite,
    entropy: &dyn Entropy,
) -> Result<SealedContainer> {
    let mut blob_id = [0; 16];
    entropy.fill(&mut blob_id)?;
    let file_key = Key32::random(entropy)?;

    let mut domain_data = [0; DOMAIN_STANZA_LENGTH];
    let mut recipient_data = vec![[0; RECIPIENT_STANZA_LENGTH]; sealed_for.recipients.len()];
    let mut passphrase_data = [0; PASSPHRASE_STANZA_LENGTH];
    let mut stanzas = Vec::with_capacity(2 + recipient_data.len());
    let mut domain_id = [0; 16];
    let mut domain_key = None;
    if let Some(domain) = sealed_for.domain {
        let epoch = domain.ring.current_epoch;
        let key = domain
            .ring
            .key(epoch)
            .ok_or_else(|| Error::internal("the security domain lacks its current key"))?;
        domain_id = domain.id;
        domain_key = Some(key);
        let context = [STANZA_CONTEXT, &blob_id, &domain_id];
        let sealed = seal(
            suite,
            &stanza_key(key),
            &context,
            file_key.expose(),
            entropy,
        )?;
        fit(&mut domain_data, &sealed)?;
        stanzas.push(Stanza::Domain {
            epoch,
            data: &domain_data,
        });
    }
    let info = recipient_info(&blob_id);
    for (place, recipient) in recipient_data.iter_mut().zip(sealed_for.recipients) {
        fit(place, &hpke::seal_to(recipient, &info, &file_key, entropy)?)?;
    }
    stanzas.extend(recipient_data.iter().map(Stanza::Recipient));
    if let Some((passphrase, parameters)) = sealed_for.passphrase {
        let mut salt = [0; 32];
        entropy.fill(&mut salt)?;
        let prefix = passphrase_prefix(
            parameters.memory_kib(),
            parameters.iterations(),
            parameters.lanes(),
            &salt,
        );
        let key = parameters.derive(passphrase, &salt)?;
        let context = [STANZA_CONTEXT, &blob_id, &prefix];
        let sealed = seal(suite, &key, &context, file_key.expose(), entropy)?;
        fit(&mut passphrase_data, &[&prefix[..], &sealed].concat())?;
        stanzas.push(Stanza::Passphrase(&passphrase_data));
    }

    let mut bytes = encode_header(
        suite.byte(),
        contents,
        domain_id,
        blob_id,
        created_unix_milliseconds,
        &stanzas,
    )?;
    let length = bytes.len() + 2 * BACKUP_MAC_LENGTH + sealed_length(payload.len());
    if length > MAX_BLOB_LENGTH {
        return Err(Error::new(
            ErrorKind::TooLarge,
            "the key with all its versions does not fit a backup of 48 MiB",
        ));
    }
    bytes.reserve_exact(length - bytes.len());
    seal_behind(&mut bytes, suite, &file_key, domain_key, payload, entropy)?;
    Ok(SealedContainer {
        bytes,
        blob_id,
        file_key,
    })
}

/// Completes a header without its MAC: the MAC, the sealed payload, and the MAC of the domain with this key.
pub(crate) fn seal_behind(
    bytes: &mut Vec<u8>,
    suite: Suite,
    file_key: &Key32,
    domain_key: Option<&Key32>,
    payload: &[u8],
    entropy: &dyn Entropy,
) -> Result<()> {
    let mac = header_mac(file_key, bytes);
    bytes.extend_from_slice(&mac);
    let context = [PAYLOAD_CONTEXT, &hash32(bytes)];
    bytes.extend_from_slice(&seal(suite, file_key, &context, payload, entropy)?);
    if let Some(key) = domain_key {
        let mac = domain_mac(key, bytes);
        bytes.extend_from_slice(&mac);
    }
    Ok(())
}

fn fit(place: &mut [u8], sealed: &[u8]) -> Result<()> {
    if place.len() != sealed.len() {
        return Err(Error::internal(
            "a sealed file key does not have its length",
        ));
    }
    place.copy_from_slice(sealed);
    Ok(())
}

/// What opens a container that the security domain of a vault does not open, or is not to open.
///
/// # Examples
///
/// ```
/// use strongroom::{BackupKey, Passphrase, RecipientKey};
///
/// let key = RecipientKey::generate()?;
/// let by_key = BackupKey::recipient(&key);
/// let passphrase = Passphrase::new("correct horse battery staple")?;
/// let by_passphrase = BackupKey::passphrase(&passphrase);
/// # let _ = (by_key, by_passphrase);
/// # Ok::<(), strongroom::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct BackupKey<'a> {
    source: Source<'a>,
}

#[derive(Clone, Copy)]
enum Source<'a> {
    Recipient(&'a RecipientKey),
    Passphrase(&'a Passphrase),
}

impl<'a> BackupKey<'a> {
    /// The private key of one of the recipients.
    #[must_use]
    pub const fn recipient(key: &'a RecipientKey) -> Self {
        Self {
            source: Source::Recipient(key),
        }
    }

    /// The passphrase. It costs the time and memory that the blob asks for, within the caller's limit.
    #[must_use]
    pub const fn passphrase(passphrase: &'a Passphrase) -> Self {
        Self {
            source: Source::Passphrase(passphrase),
        }
    }
}

impl fmt::Debug for BackupKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.source {
            Source::Recipient(_) => "BackupKey(recipient)",
            Source::Passphrase(_) => "BackupKey(passphrase)",
        })
    }
}

/// Whose word it is that a backup holds what it holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum BackupOrigin {
    /// A vault of this security domain made it.
    Domain,
    /// Nobody's: who knows a public key or the passphrase can seal any key that he chose.
    Unauthenticated,
}

/// A container that was opened.
pub(crate) struct OpenedContainer {
    pub(crate) payload: Zeroizing<Vec<u8>>,
    pub(crate) origin: BackupOrigin,
    pub(crate) blob_id: [u8; 16],
    pub(crate) suite: Suite,
    pub(crate) file_key: Key32,
    /// With [`BackupOrigin::Domain`].
    pub(crate) epoch: Option<u32>,
    /// Whether a domain vouches for it, be it a known one or not.
    pub(crate) has_domain: bool,
}

/// How a container is opened.
#[derive(Clone, Copy)]
pub(crate) struct Opening<'a> {
    /// The domain whose MAC counts.
    pub(crate) domain: Option<Domain<'a>>,
    /// `None`: the domain itself.
    pub(crate) by: Option<BackupKey<'a>>,
    pub(crate) max_kdf_work_kib: u64,
}

/// Opens a container that must hold `contents`. Where its domain is the given one, the domain's MAC is checked before
/// anything else, whoever opens it; the header's MAC is checked before the payload is decrypted.
///
/// Errors: `InvalidBackup` when it is no such container, damaged or altered; `TooLarge`; `NewerFormat`; `WrongDomain`
/// when the domain is to open it and is another, or lacks the epoch; `WrongKey` when the given key opens none of the
/// stanzas; `KdfCostRefused`.
pub(crate) fn open_backup(
    opening: Opening<'_>,
    contents: Modes,
    blob: &[u8],
) -> Result<OpenedContainer> {
    let (container, suite) = parse(blob)?;
    if container.modes.contents() != contents {
        return Err(invalid(if container.modes.contains(Modes::DOMAIN_FILE) {
            "this file holds a security domain, not a backup"
        } else if container.modes.contains(Modes::WHOLE_VAULT) {
            "this is the beginning of the backup of a whole vault"
        } else {
            "this is the backup of a key"
        }));
    }
    let known = opening.domain.and_then(|domain| {
        let (epoch, data) = container.domain_stanza()?;
        let key = domain.ring.key(epoch)?;
        (container.domain_id == domain.id).then_some((epoch, key, data))
    });
    if let Some((_, key, _)) = known {
        require_domain_mac(key, &container)?;
    }
    let file_key = match opening.by {
        None => {
            let (_, key, data) = known.ok_or_else(wrong_domain)?;
            let context = [STANZA_CONTEXT, &container.blob_id, &container.domain_id];
            let file_key = open(suite, &stanza_key(key), &context, data);
            Key32::copied_from(&file_key.map_err(altered)?).ok_or_else(damaged)?
        }
        Some(by) => open_stanza(&container, by, suite, opening.max_kdf_work_kib)?,
    };
    let mac = header_mac(&file_key, container.header_mac_input);
    if !bool::from(mac.ct_eq(&container.header_mac)) {
        return Err(damaged());
    }
    let context = [PAYLOAD_CONTEXT, &hash32(container.header)];
    let payload = open(suite, &file_key, &context, container.sealed_payload).map_err(altered)?;
    Ok(OpenedContainer {
        payload,
        origin: match known {
            Some(_) => BackupOrigin::Domain,
            None => BackupOrigin::Unauthenticated,
        },
        blob_id: container.blob_id,
        suite,
        file_key,
        epoch: known.map(|(epoch, ..)| epoch),
        has_domain: container.domain_mac.is_some(),
    })
}

/// Whoever may open a blob could seal another payload under its file key; only the domain can make this MAC.
fn require_domain_mac(key: &Key32, container: &Container<'_>) -> Result<()> {
    let mac = domain_mac(key, container.domain_mac_input);
    let stored = container.domain_mac.ok_or_else(damaged)?;
    if bool::from(mac.ct_eq(&stored)) {
        Ok(())
    } else {
        Err(damaged())
    }
}

/// The file key, from the first stanza of its kind that opens.
fn open_stanza(
    container: &Container<'_>,
    by: BackupKey<'_>,
    suite: Suite,
    max_kdf_work_kib: u64,
) -> Result<Key32> {
    let opened = match by.source {
        Source::Recipient(key) => {
            let info = recipient_info(&container.blob_id);
            container.stanzas.iter().find_map(|stanza| match stanza {
                Stanza::Recipient(data) => hpke::open_with(key, &info, &data[..]),
                _ => None,
            })
        }
        Source::Passphrase(passphrase) => match passphrase_stanza(container)? {
            None => None,
            Some(ask) => {
                let parameters = PassphraseParameters::from_untrusted(
                    ask.memory_kib,
                    ask.iterations,
                    ask.lanes,
                    max_kdf_work_kib,
                )?;
                let key = parameters.derive(passphrase, &ask.salt)?;
                let context = [STANZA_CONTEXT, &container.blob_id, ask.prefix];
                open(suite, &key, &context, ask.sealed_key)
                    .ok()
                    .and_then(|key| Key32::copied_from(&key))
            }
        },
    };
    opened.ok_or_else(|| {
        Error::new(
            ErrorKind::WrongKey,
            "the backup is not sealed to this recipient or passphrase, or was altered where it was",
        )
    })
}

fn passphrase_stanza<'b>(container: &Container<'b>) -> Result<Option<PassphraseStanza<'b>>> {
    let data = container.stanzas.iter().find_map(|stanza| match stanza {
        Stanza::Passphrase(data) => Some(*data),
        _ => None,
    });
    data.map(|data| PassphraseStanza::read(data).ok_or_else(damaged))
        .transpose()
}

/// Names the current key of a domain in public: whoever compares it knows that he got that domain and no other.
pub(crate) fn domain_fingerprint(domain: Domain<'_>) -> Result<[u8; 32]> {
    let key = domain
        .ring
        .key(domain.ring.current_epoch)
        .ok_or_else(|| Error::internal("the security domain lacks its current key"))?;
    let info = [
        &b"strongroom/v1/domain-fingerprint"[..],
        &[0],
        &domain.id[..],
    ];
    Ok(*expand(key, &info).expose())
}

fn parse(blob: &[u8]) -> Result<(Container<'_>, Suite)> {
    let container = Container::parse(blob)?;
    let suite = Suite::from_byte(container.suite).ok_or_else(newer)?;
    Ok((container, suite))
}

/// The `info` of HPKE.
fn recipient_info(blob_id: &[u8; 16]) -> Vec<u8> {
    [PAYLOAD_CONTEXT, blob_id].concat()
}

fn stanza_key(domain_key: &Key32) -> Key32 {
    expand(domain_key, &[b"strongroom/v1/backup"])
}

fn header_mac(file_key: &Key32, header: &[u8]) -> [u8; BACKUP_MAC_LENGTH] {
    MacKey::new(expand(file_key, &[b"strongroom/v1/backup-header"])).mac(&[header])
}

/// The key of MACs that only the domain can make.
pub(super) fn domain_mac_key(domain_key: &Key32) -> MacKey {
    MacKey::new(expand(domain_key, &[b"strongroom/v1/backup-mac"]))
}

pub(super) fn domain_mac(domain_key: &Key32, preceding: &[u8]) -> [u8; BACKUP_MAC_LENGTH] {
    domain_mac_key(domain_key).mac(&[&hash64(preceding)])
}

fn altered(_: OpenError) -> Error {
    damaged()
}

fn wrong_domain() -> Error {
    Error::new(
        ErrorKind::WrongDomain,
        "the backup belongs to another security domain; restore it into a vault of its own domain",
    )
}
