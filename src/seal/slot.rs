//! Slots: a secret from outside opens the vault root key.

use std::fmt;
use std::str::FromStr;

use super::hpke::{self, KEM_X25519, Recipient, RecipientKey};
use super::passphrase::{PassphraseParameters, cost_refused};
use super::{OpenError, Suite, open, seal, sealed_length};
use crate::env::Entropy;
use crate::error::{Error, ErrorKind, Result};
use crate::format::slot::{MAX_WRAPPED_LENGTH, Slot, SlotKind};
use crate::model::hex;
use crate::secret::{Key32, MasterKey, Passphrase};

/// How many passphrase slots one attempt to open tries: each costs a full hash.
const MAX_PASSPHRASE_ATTEMPTS: usize = 2;
const CONTEXT: &[u8] = b"strongroom/v1/slot\0";
/// Bytes of the root key, sealed under a slot secret: the end of every slot.
const SEALED_ROOT_LENGTH: usize = sealed_length(32);
/// Flag of a passphrase slot whose cost nobody chose: it follows the library's default.
const DEFAULT_COST: u8 = 1;

/// The random id of an unlock slot, 16 bytes, written as 32 hexadecimal characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotId {
    bytes: [u8; 16],
}

impl SlotId {
    pub(crate) fn random(entropy: &dyn Entropy) -> Result<Self> {
        let mut bytes = [0; 16];
        entropy.fill(&mut bytes)?;
        Ok(Self { bytes })
    }

    pub(crate) const fn of(slot: &Slot) -> Self {
        Self {
            bytes: slot.slot_id,
        }
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.bytes
    }
}

impl FromStr for SlotId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        hex::parse(text)
            .map(|bytes| Self { bytes })
            .ok_or_else(|| Error::bad_parameter("a slot id is 32 hexadecimal characters"))
    }
}

impl fmt::Display for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SlotId({self})")
    }
}

/// What unlocks a vault.
///
/// # Examples
///
/// ```
/// use strongroom::{MasterKey, Passphrase, Unlock};
///
/// let key = MasterKey::generate()?;
/// let by_key = Unlock::raw_key(&key);
/// let passphrase = Passphrase::new("correct horse battery staple")?;
/// let by_passphrase = Unlock::passphrase(&passphrase);
/// # let _ = (by_key, by_passphrase);
/// # Ok::<(), strongroom::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Unlock<'a> {
    source: Source<'a>,
    slot: Option<SlotId>,
}

#[derive(Clone, Copy)]
enum Source<'a> {
    RawKey(&'a MasterKey),
    Passphrase(&'a Passphrase),
    Recipient(&'a RecipientKey),
    Provider(&'a dyn SlotProvider),
}

impl<'a> Unlock<'a> {
    const fn with(source: Source<'a>) -> Self {
        Self { source, slot: None }
    }

    /// With the 32 bytes of a master key.
    #[must_use]
    pub const fn raw_key(key: &'a MasterKey) -> Self {
        Self::with(Source::RawKey(key))
    }

    /// With a passphrase. Every attempt costs the time and memory that the slot's
    /// [`PassphraseParameters`] ask for; at most two slots are tried unless [`Unlock::in_slot`] names one.
    #[must_use]
    pub const fn passphrase(passphrase: &'a Passphrase) -> Self {
        Self::with(Source::Passphrase(passphrase))
    }

    /// With the private key of a [`Recipient`].
    ///
    /// Anyone can seal a root key of his own to a public key and build a vault around it. So such a slot opens
    /// only together with [`VaultOptions::expect_root`](crate::VaultOptions::expect_root).
    #[must_use]
    pub const fn recipient(key: &'a RecipientKey) -> Self {
        Self::with(Source::Recipient(key))
    }

    /// With something outside this process that keeps or opens the slot's secret.
    #[cfg_attr(
        not(any(test, feature = "pkcs11", feature = "keyring")),
        expect(dead_code, reason = "only features bring providers")
    )]
    pub(crate) const fn provider(provider: &'a dyn SlotProvider) -> Self {
        Self::with(Source::Provider(provider))
    }

    /// Tries only the slot with this id.
    #[must_use]
    pub const fn in_slot(mut self, slot: SlotId) -> Self {
        self.slot = Some(slot);
        self
    }
}

impl fmt::Debug for Unlock<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.source {
            Source::RawKey(_) => "Unlock(raw key)",
            Source::Passphrase(_) => "Unlock(passphrase)",
            Source::Recipient(_) => "Unlock(recipient)",
            Source::Provider(_) => "Unlock(provider)",
        })
    }
}

/// What is to unlock a vault from now on: whatever unlocks it now, as an [`Unlock`], or a public key.
#[derive(Clone, Copy)]
pub struct NewSlot<'a> {
    source: NewSource<'a>,
}

#[derive(Clone, Copy)]
enum NewSource<'a> {
    RawKey(&'a MasterKey),
    Passphrase(&'a Passphrase),
    Recipient(Recipient),
    Provider(&'a dyn SlotProvider),
}

impl<'a> NewSlot<'a> {
    /// The holder of this recipient's private key, which need not be here; see [`Unlock::recipient`].
    #[must_use]
    pub const fn recipient(recipient: &'a Recipient) -> Self {
        Self {
            source: NewSource::Recipient(*recipient),
        }
    }
}

impl NewSlot<'_> {
    /// As [`SlotKind::can_be_lost`] of the slot that it will be.
    pub(crate) const fn can_be_lost(&self) -> bool {
        matches!(self.source, NewSource::Provider(_))
    }
}

impl<'a> From<Unlock<'a>> for NewSlot<'a> {
    fn from(unlock: Unlock<'a>) -> Self {
        let source = match unlock.source {
            Source::RawKey(key) => NewSource::RawKey(key),
            Source::Passphrase(passphrase) => NewSource::Passphrase(passphrase),
            Source::Recipient(key) => NewSource::Recipient(key.recipient()),
            Source::Provider(provider) => NewSource::Provider(provider),
        };
        Self { source }
    }
}

impl fmt::Debug for NewSlot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewSlot(..)")
    }
}

/// The cost of a passphrase slot that is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PassphraseCost {
    /// The library's default, also when a later one is higher.
    Default,
    Chosen(PassphraseParameters),
}

impl PassphraseCost {
    pub(crate) fn parameters(self) -> PassphraseParameters {
        match self {
            Self::Default => PassphraseParameters::default(),
            Self::Chosen(parameters) => parameters,
        }
    }
}

/// Something outside the vault that keeps a slot's secret, or opens it.
pub(crate) trait SlotProvider: fmt::Debug + Send + Sync {
    /// Keeps `secret`, or wraps it. `context` is vault id ‖ slot id, to be authenticated where that is possible.
    fn keep(&self, secret: &Key32, context: &[u8; 32], entropy: &dyn Entropy)
    -> Result<KeptSecret>;

    /// Whether slots of this kind are opened by providers of this sort.
    fn serves(&self, kind: SlotKind) -> bool;

    /// The secret of a slot of a kind that it serves.
    ///
    /// Errors: the provider cannot be used now, so that nobody knows.
    fn open(&self, slot: &ProvidedSlot<'_>) -> Result<Provided>;
}

/// A slot as its provider sees it.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(
    not(any(test, feature = "pkcs11", feature = "keyring")),
    expect(dead_code, reason = "only features bring providers")
)]
pub(crate) struct ProvidedSlot<'a> {
    pub(crate) kind: SlotKind,
    pub(crate) tag: &'a [u8; 16],
    /// What [`SlotProvider::keep`] gave.
    pub(crate) kept: &'a [u8],
    /// Vault id ‖ slot id.
    pub(crate) context: &'a [u8; 32],
}

/// What a provider makes of a slot.
#[derive(Debug)]
#[cfg_attr(
    not(any(test, feature = "pkcs11", feature = "keyring")),
    expect(dead_code, reason = "only features bring providers")
)]
pub(crate) enum Provided {
    Secret(Key32),
    /// The slot is its own and does not open: it was altered.
    Refused,
    /// The slot is not its own, in a sentence for a person.
    Foreign(String),
}

/// What a slot holds of a secret that a provider keeps.
#[derive(Debug)]
pub(crate) struct KeptSecret {
    pub(crate) kind: SlotKind,
    pub(crate) tag: [u8; 16],
    /// Up to 1,816 bytes.
    pub(crate) kept: Vec<u8>,
}

/// A new slot for `new`. `cost` is that of a passphrase.
pub(crate) fn seal_slot<'a>(
    new: impl Into<NewSlot<'a>>,
    id: SlotId,
    cost: PassphraseCost,
    vault_id: &[u8; 16],
    suite: Suite,
    root: &Key32,
    entropy: &dyn Entropy,
) -> Result<Slot> {
    let mut slot = Slot {
        kind: SlotKind::RawKey,
        flags: 0,
        memory_kib: 0,
        iterations: 0,
        lanes: 0,
        salt: [0; 32],
        provider_tag: [0; 16],
        slot_id: id.bytes,
        kem_id: 0,
        wrapped: Vec::new(),
    };
    let mut kept = Vec::new();
    let made;
    let secret = match new.into().source {
        NewSource::RawKey(key) => key.key(),
        NewSource::Passphrase(passphrase) => {
            let parameters = cost.parameters();
            slot.kind = SlotKind::Passphrase;
            slot.flags = if cost == PassphraseCost::Default {
                DEFAULT_COST
            } else {
                0
            };
            slot.memory_kib = parameters.memory_kib();
            slot.iterations = parameters.iterations();
            slot.lanes = parameters.lanes();
            entropy.fill(&mut slot.salt)?;
            made = parameters.derive(passphrase, &slot.salt)?;
            &made
        }
        NewSource::Provider(provider) => {
            made = Key32::random(entropy)?;
            let secret = provider.keep(&made, &outer_context(vault_id, &slot.slot_id), entropy)?;
            slot.kind = secret.kind;
            slot.provider_tag = secret.tag;
            kept = secret.kept;
            &made
        }
        NewSource::Recipient(recipient) => {
            made = Key32::random(entropy)?;
            slot.kind = SlotKind::HpkeRecipient;
            slot.kem_id = KEM_X25519;
            slot.provider_tag = recipient.tag();
            let info = recipient_info(vault_id, &slot.slot_id);
            kept = hpke::seal_to(&recipient, &info, &made, entropy)?;
            &made
        }
    };
    let length = kept.len() + SEALED_ROOT_LENGTH;
    if length > MAX_WRAPPED_LENGTH {
        return Err(Error::internal("what a provider keeps does not fit a slot"));
    }
    let context = [CONTEXT, vault_id, &slot.prefix(length)];
    slot.wrapped = kept;
    slot.wrapped
        .extend_from_slice(&seal(suite, secret, &context, root.expose(), entropy)?);
    Ok(slot)
}

/// vault id ‖ slot id: what a provider binds its secret to.
fn outer_context(vault_id: &[u8; 16], slot_id: &[u8; 16]) -> [u8; 32] {
    let mut context = [0; 32];
    context[..16].copy_from_slice(vault_id);
    context[16..].copy_from_slice(slot_id);
    context
}

/// The `info` of HPKE.
fn recipient_info(vault_id: &[u8; 16], slot_id: &[u8; 16]) -> Vec<u8> {
    [CONTEXT, vault_id, slot_id].concat()
}

/// The slot of a passphrase whose cost is below what it should be now.
pub(crate) fn is_below(slot: &Slot, cost: PassphraseCost) -> bool {
    let follows = match cost {
        PassphraseCost::Default => slot.flags & DEFAULT_COST != 0,
        PassphraseCost::Chosen(_) => true,
    };
    let wanted = cost.parameters();
    let work = u64::from(slot.memory_kib) * u64::from(slot.iterations);
    slot.kind == SlotKind::Passphrase
        && follows
        && wanted.memory_kib() >= slot.memory_kib
        && wanted.work_kib() > work
}

/// Tries the slots that `unlock` may open; gives the number of the one that did, and the root key.
///
/// Errors: `WrongKey` when none opens; `KdfCostRefused` when a passphrase slot was not tried because of
/// its cost and no other opens; those of a provider.
pub(crate) fn open_slots(
    slots: &[Slot],
    unlock: Unlock<'_>,
    vault_id: &[u8; 16],
    suite: Suite,
    max_kdf_work_kib: u64,
) -> Result<(usize, Key32)> {
    let mut attempts = 0;
    let mut untried = None;
    let mut foreign = None;
    let mut refused = false;
    for (number, slot) in slots.iter().enumerate() {
        let named = unlock.slot == Some(SlotId::of(slot));
        if unlock.slot.is_some() && !named {
            continue;
        }
        let opened;
        let secret = match (unlock.source, slot.kind) {
            (Source::RawKey(key), SlotKind::RawKey) => key.key(),
            (Source::Passphrase(_), SlotKind::Passphrase)
                if attempts == MAX_PASSPHRASE_ATTEMPTS =>
            {
                untried = Some(cost_refused(
                    "the passphrase opens none of the first two passphrase slots, \
                     and no more are tried at once; name the slot with Unlock::in_slot",
                ));
                break;
            }
            (Source::Passphrase(passphrase), SlotKind::Passphrase) => {
                let parameters = PassphraseParameters::from_untrusted(
                    slot.memory_kib,
                    slot.iterations,
                    slot.lanes,
                    max_kdf_work_kib,
                );
                match parameters {
                    Ok(parameters) => {
                        attempts += 1;
                        opened = parameters.derive(passphrase, &slot.salt)?;
                        &opened
                    }
                    Err(error) => {
                        untried = Some(error);
                        continue;
                    }
                }
            }
            (Source::Recipient(key), SlotKind::HpkeRecipient)
                if slot.kem_id == KEM_X25519 && slot.provider_tag == key.recipient().tag() =>
            {
                let info = recipient_info(vault_id, &slot.slot_id);
                let Some(secret) =
                    kept(slot).and_then(|sealed| hpke::open_with(key, &info, sealed))
                else {
                    continue;
                };
                opened = secret;
                &opened
            }
            (Source::Provider(provider), kind) if provider.serves(kind) => {
                let Some(sealed) = kept(slot) else { continue };
                let provided = provider.open(&ProvidedSlot {
                    kind,
                    tag: &slot.provider_tag,
                    kept: sealed,
                    context: &outer_context(vault_id, &slot.slot_id),
                })?;
                match provided {
                    Provided::Secret(secret) => opened = secret,
                    Provided::Refused => {
                        refused = true;
                        continue;
                    }
                    Provided::Foreign(sentence) => {
                        foreign = Some(sentence);
                        continue;
                    }
                }
                &opened
            }
            _ => continue,
        };
        if let Some(root) = open_slot(slot, secret, vault_id, suite) {
            return Ok((number, root));
        }
        refused = true;
    }
    if let Some(sentence) = foreign
        && !refused
    {
        return Err(Error::new(ErrorKind::WrongKey, sentence));
    }
    Err(untried.unwrap_or_else(|| {
        Error::new(
            ErrorKind::WrongKey,
            "no slot of the vault opens with this key, passphrase or device, or the slot was altered",
        )
    }))
}

/// What stands before the sealed root key in a slot's wrapped secret.
fn kept(slot: &Slot) -> Option<&[u8]> {
    let length = slot.wrapped.len().checked_sub(SEALED_ROOT_LENGTH)?;
    slot.wrapped.get(..length)
}

/// A wrong secret and an altered slot are one event.
fn open_slot(slot: &Slot, secret: &Key32, vault_id: &[u8; 16], suite: Suite) -> Option<Key32> {
    let context = [CONTEXT, vault_id, &slot.prefix(slot.wrapped.len())];
    let sealed = slot.wrapped.get(kept(slot)?.len()..)?;
    let root: Result<_, OpenError> = open(suite, secret, &context, sealed);
    Key32::copied_from(&root.ok()?)
}
