//! The sub-keys of the vault root key and everything that is sealed or authenticated with them.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use zeroize::Zeroizing;

use super::mac::{MAC_LENGTH, MacKey, expand};
use super::{OpenError, Suite, open, seal, sealed_length};
use crate::env::Entropy;
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{Class, IndexKey, MAX_RECORD_PLAINTEXT, SealedRecord, record_header};
use crate::format::ring::{KekRing, SdkRing};
use crate::model::name::KeyName;
use crate::model::version::KeyVersion;
use crate::secret::Key32;
#[cfg(feature = "testing")]
use crate::secret::SecretBytes;

/// The keys that follow from the vault root key, until they are let go of.
pub(crate) struct Hierarchy {
    vault_id: [u8; 16],
    suite: Suite,
    fingerprint: [u8; 32],
    sub_keys: RwLock<Option<Arc<SubKeys>>>,
}

struct SubKeys {
    index: MacKey,
    set: MacKey,
    anchor: MacKey,
    header: MacKey,
    audit: MacKey,
    meta: Arc<Key32>,
    kek_ring: Key32,
    sdk_ring: Key32,
}

impl Hierarchy {
    pub(crate) fn derive(root: &Key32, vault_id: [u8; 16], suite: Suite) -> Self {
        let sub_key = |label: &str| {
            expand(
                root,
                &[b"strongroom/v1/", label.as_bytes(), &[0], &vault_id],
            )
        };
        let mac_key = |label| MacKey::new(sub_key(label));
        let sub_keys = SubKeys {
            index: mac_key("index"),
            set: mac_key("set"),
            anchor: mac_key("anchor"),
            header: mac_key("header"),
            audit: mac_key("audit"),
            meta: Arc::new(sub_key("meta")),
            kek_ring: sub_key("kekring"),
            sdk_ring: sub_key("sdkring"),
        };
        Self {
            vault_id,
            suite,
            fingerprint: *sub_key("fingerprint").expose(),
            sub_keys: RwLock::new(Some(Arc::new(sub_keys))),
        }
    }

    /// Copies of the keys by name.
    #[cfg(feature = "testing")]
    pub(crate) fn expose_all(&self) -> Result<Vec<(&'static str, SecretBytes)>> {
        let keys = self.present()?;
        let copied = |key: &Key32| SecretBytes::copied_from(key.expose());
        Ok(vec![
            ("index key", copied(keys.index.key())),
            ("set key", copied(keys.set.key())),
            ("anchor key", copied(keys.anchor.key())),
            ("header key", copied(keys.header.key())),
            ("audit key", copied(keys.audit.key())),
            ("meta key", copied(&keys.meta)),
            ("KEK ring key", copied(&keys.kek_ring)),
            ("SDK ring key", copied(&keys.sdk_ring)),
        ])
    }

    /// Wipes the keys, or leaves that to the last call that uses them. From then on nothing is sealed or opened,
    /// and MACs are zeros.
    pub(crate) fn let_go(&self) {
        *self
            .sub_keys
            .write()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn sub_keys(&self) -> Option<Arc<SubKeys>> {
        self.sub_keys
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn present(&self) -> Result<Arc<SubKeys>> {
        self.sub_keys().ok_or_else(|| {
            Error::new(
                ErrorKind::VaultFailed,
                "this vault was locked or closed meanwhile; open it again",
            )
        })
    }

    fn truncated<const N: usize>(
        &self,
        key: impl FnOnce(&SubKeys) -> &MacKey,
        pieces: &[&[u8]],
    ) -> [u8; N] {
        self.sub_keys()
            .map_or([0; N], |sub_keys| key(&sub_keys).truncated(pieces))
    }

    pub(crate) fn vault_id(&self) -> &[u8; 16] {
        &self.vault_id
    }

    pub(crate) fn suite(&self) -> Suite {
        self.suite
    }

    /// Names the root key in public.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// The key that seals the vault's own records.
    ///
    /// Errors: `VaultFailed` when the keys were let go of.
    pub(crate) fn meta_key(&self) -> Result<Arc<Key32>> {
        Ok(Arc::clone(&self.present()?.meta))
    }

    /// `n` of the index keys of a key's records.
    pub(crate) fn name_prf(&self, name: &KeyName) -> [u8; 16] {
        let name = name.lowered();
        self.truncated(
            |keys| &keys.index,
            &[&[0x01, name_length(&name)], name.as_bytes()],
        )
    }

    /// `v` of the index keys of a version's records. The version enters as its 32 lowercase
    /// hexadecimal characters, like the name as text, so that the input can be reproduced from an
    /// identifier alone.
    pub(crate) fn version_prf(&self, name: &KeyName, version: KeyVersion) -> [u8; 16] {
        let name = name.lowered();
        let version = version.to_string();
        self.truncated(
            |keys| &keys.index,
            &[
                &[0x02, name_length(&name)],
                name.as_bytes(),
                version.as_bytes(),
            ],
        )
    }

    /// What a purged key object leaves behind.
    pub(crate) fn tombstone_prf(&self, object_id: &[u8; 16]) -> [u8; 16] {
        self.truncated(|keys| &keys.index, &[&[0x03], object_id])
    }

    /// A record's share in the digest of the set it belongs to.
    pub(crate) fn member_digest(&self, index: &IndexKey, record: &SealedRecord) -> [u8; 32] {
        self.truncated(
            |keys| &keys.set,
            &[index.as_bytes(), record.salt_and_commitment()],
        )
    }

    pub(crate) fn anchor_mac(&self, bytes: &[u8]) -> [u8; 32] {
        self.truncated(|keys| &keys.anchor, &[bytes])
    }

    pub(crate) fn header_mac(&self, bytes: &[u8]) -> [u8; MAC_LENGTH] {
        self.truncated(|keys| &keys.header, &[bytes])
    }

    /// The audit chain after one more entry.
    pub(crate) fn audit_link(&self, head: &[u8; 32], seq: u64, entry: &[u8]) -> [u8; 32] {
        self.truncated(|keys| &keys.audit, &[head, &seq.to_be_bytes(), entry])
    }

    /// Pads the classes whose length would tell something, seals and frames.
    ///
    /// Errors: `TooLarge` for more than 64 KiB of (padded) plaintext, `RandomUnavailable`.
    pub(crate) fn seal_record(
        &self,
        key: &Key32,
        index: &IndexKey,
        term: u32,
        plaintext: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<SealedRecord> {
        self.present()?;
        let padded;
        let plaintext = if is_padded(index.class()) {
            padded = pad(plaintext)?;
            &padded
        } else if plaintext.len() <= MAX_RECORD_PLAINTEXT {
            plaintext
        } else {
            return Err(too_large());
        };
        let body_length = u32::try_from(sealed_length(plaintext.len())).map_err(|_| too_large())?;
        let header = record_header(self.suite.byte(), index.class(), term, body_length);
        let context = self.record_context(&header, index);
        let body = seal(self.suite, key, &[&context], plaintext, entropy)?;
        SealedRecord::from_parts(header, &body)
    }

    /// Opens a record that is stored at `index`.
    ///
    /// Errors: `NewerFormat` for an unknown suite; `Tampered` when the record is not one that was
    /// written to this place with this key; `Corrupt` when its contents are damaged.
    pub(crate) fn open_record(
        &self,
        key: &Key32,
        index: &IndexKey,
        record: &SealedRecord,
    ) -> Result<Zeroizing<Vec<u8>>> {
        self.present()?;
        let suite = Suite::from_byte(record.suite()).ok_or_else(|| {
            Error::new(
                ErrorKind::NewerFormat,
                "a stored record is sealed with a suite that this build does not have; \
                 open the vault with the version that wrote it",
            )
        })?;
        if suite != self.suite || record.class() != Some(index.class()) {
            return Err(open_error("stored record", OpenError::WrongKeyOrContext));
        }
        let context = self.record_context(record.header(), index);
        let mut plaintext = open(suite, key, &[&context], record.body())
            .map_err(|error| open_error("stored record", error))?;
        if is_padded(index.class()) {
            let length = unpadded_length(&plaintext).ok_or_else(|| {
                Error::new(
                    ErrorKind::Corrupt,
                    "a stored record is not padded as it must be",
                )
            })?;
            plaintext.truncate(length);
        }
        Ok(plaintext)
    }

    fn record_context(&self, header: &[u8], index: &IndexKey) -> [u8; 83] {
        let mut context = [0; 83];
        context[..18].copy_from_slice(b"strongroom/v1/rec\0");
        context[18..34].copy_from_slice(&self.vault_id);
        context[34..50].copy_from_slice(header);
        context[50..].copy_from_slice(&index.context_bytes());
        context
    }

    /// Seals the KEK ring for the header with this sequence number.
    pub(crate) fn seal_kek_ring(
        &self,
        ring: &KekRing,
        seq: u64,
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>> {
        let context = self.ring_context(KEK_RING, seq);
        seal(
            self.suite,
            &self.present()?.kek_ring,
            &[&context],
            &ring.encode(),
            entropy,
        )
    }

    /// Errors: `Tampered` for the ring of another header, `Corrupt`, `NewerFormat`.
    pub(crate) fn open_kek_ring(&self, sealed: &[u8], seq: u64) -> Result<KekRing> {
        let context = self.ring_context(KEK_RING, seq);
        let ring = open(self.suite, &self.present()?.kek_ring, &[&context], sealed)
            .map_err(|error| open_error("KEK ring in the header", error))?;
        KekRing::decode(&ring)
    }

    /// Seals the security-domain ring for the header with this sequence number.
    pub(crate) fn seal_sdk_ring(
        &self,
        ring: &SdkRing,
        seq: u64,
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>> {
        let context = self.ring_context(SDK_RING, seq);
        seal(
            self.suite,
            &self.present()?.sdk_ring,
            &[&context],
            &ring.encode()?,
            entropy,
        )
    }

    /// Errors: `Tampered` for the ring of another header, `Corrupt`, `NewerFormat`.
    pub(crate) fn open_sdk_ring(&self, sealed: &[u8], seq: u64) -> Result<SdkRing> {
        let context = self.ring_context(SDK_RING, seq);
        let ring = open(self.suite, &self.present()?.sdk_ring, &[&context], sealed)
            .map_err(|error| open_error("security-domain ring in the header", error))?;
        SdkRing::decode(&ring)
    }

    fn ring_context(&self, label: &[u8; 22], seq: u64) -> [u8; 46] {
        let mut context = [0; 46];
        context[..22].copy_from_slice(label);
        context[22..38].copy_from_slice(&self.vault_id);
        context[38..].copy_from_slice(&seq.to_be_bytes());
        context
    }
}

impl fmt::Debug for Hierarchy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hierarchy(..)")
    }
}

const KEK_RING: &[u8; 22] = b"strongroom/v1/kekring\0";
const SDK_RING: &[u8; 22] = b"strongroom/v1/sdkring\0";

fn name_length(name: &str) -> u8 {
    u8::try_from(name.len()).expect("a key name has at most 127 characters")
}

fn open_error(what: &'static str, error: OpenError) -> Error {
    match error {
        OpenError::WrongKeyOrContext => Error::new(
            ErrorKind::Tampered,
            format!("a {what} is not the one that was written here"),
        ),
        OpenError::Malformed | OpenError::Damaged => {
            Error::new(ErrorKind::Corrupt, format!("a {what} is damaged"))
        }
    }
}

/// Sizes of padded plaintexts. Those of one chunk stay below the chunk's length with their tag.
const PADDED_LENGTHS: [usize; 9] = [
    256,
    512,
    1_024,
    2_048,
    4_096,
    8_192,
    16_320,
    32_640,
    MAX_RECORD_PLAINTEXT,
];

/// Whether the class has contents whose length would tell something.
const fn is_padded(class: Class) -> bool {
    match class {
        Class::KeyObject | Class::KeyVersion | Class::Audit | Class::Intent | Class::Settings => {
            true
        }
        Class::State | Class::Bucket | Class::GcmCounter | Class::Redo => false,
    }
}

fn padded_length(length: usize) -> Option<usize> {
    PADDED_LENGTHS.into_iter().find(|padded| *padded > length)
}

/// Appends 0x80 and zeros up to the next size.
fn pad(plaintext: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    let length = padded_length(plaintext.len()).ok_or_else(too_large)?;
    let mut padded = Zeroizing::new(vec![0; length]);
    padded[..plaintext.len()].copy_from_slice(plaintext);
    padded[plaintext.len()] = 0x80;
    Ok(padded)
}

/// `None` unless [`pad`] makes exactly these bytes.
fn unpadded_length(padded: &[u8]) -> Option<usize> {
    let length = padded.iter().rposition(|byte| *byte != 0)?;
    (padded[length] == 0x80 && padded_length(length) == Some(padded.len())).then_some(length)
}

fn too_large() -> Error {
    Error::new(
        ErrorKind::TooLarge,
        "the metadata or material does not fit a record of 64 KiB",
    )
}
