//! Slots: a secret from outside opens the vault root key.

use std::fmt;

use super::passphrase::{PassphraseParameters, cost_refused};
use super::{OpenError, Suite, open, seal, sealed_length};
use crate::env::Entropy;
use crate::error::{Error, ErrorKind, Result};
use crate::format::slot::{Slot, SlotKind};
use crate::secret::{Key32, MasterKey, Passphrase};

/// How many passphrase slots one attempt to open tries: each costs a full hash.
const MAX_PASSPHRASE_ATTEMPTS: usize = 2;
const CONTEXT: &[u8] = b"strongroom/v1/slot\0";

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
}

#[derive(Clone, Copy)]
enum Source<'a> {
    RawKey(&'a MasterKey),
    Passphrase(&'a Passphrase),
}

impl<'a> Unlock<'a> {
    /// With the 32 bytes of a master key.
    #[must_use]
    pub const fn raw_key(key: &'a MasterKey) -> Self {
        Self {
            source: Source::RawKey(key),
        }
    }

    /// With a passphrase. Every attempt costs the time and memory that the slot's
    /// [`PassphraseParameters`] ask for.
    #[must_use]
    pub const fn passphrase(passphrase: &'a Passphrase) -> Self {
        Self {
            source: Source::Passphrase(passphrase),
        }
    }
}

impl fmt::Debug for Unlock<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.source {
            Source::RawKey(_) => "Unlock(raw key)",
            Source::Passphrase(_) => "Unlock(passphrase)",
        })
    }
}

/// A new slot that `unlock` opens. `parameters` are those of a passphrase.
pub(crate) fn seal_slot(
    unlock: Unlock<'_>,
    parameters: PassphraseParameters,
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
        slot_id: [0; 16],
        kem_id: 0,
        wrapped: Vec::new(),
    };
    entropy.fill(&mut slot.slot_id)?;
    let hashed;
    let secret = match unlock.source {
        Source::RawKey(key) => key.key(),
        Source::Passphrase(passphrase) => {
            slot.kind = SlotKind::Passphrase;
            slot.memory_kib = parameters.memory_kib();
            slot.iterations = parameters.iterations();
            slot.lanes = parameters.lanes();
            entropy.fill(&mut slot.salt)?;
            hashed = parameters.derive(passphrase, &slot.salt)?;
            &hashed
        }
    };
    let root = root.expose();
    let context = [CONTEXT, vault_id, &slot.prefix(sealed_length(root.len()))];
    slot.wrapped = seal(suite, secret, &context, root, entropy)?;
    Ok(slot)
}

/// Tries the slots that `unlock` may open; gives the number of the one that did, and the root key.
///
/// Errors: `WrongKey` when none opens; `KdfCostRefused` when a passphrase slot was not tried because of
/// its cost and no other opens.
pub(crate) fn open_slots(
    slots: &[Slot],
    unlock: Unlock<'_>,
    vault_id: &[u8; 16],
    suite: Suite,
    max_kdf_work_kib: u64,
) -> Result<(usize, Key32)> {
    let mut attempts = 0;
    let mut untried = None;
    for (number, slot) in slots.iter().enumerate() {
        let hashed;
        let secret = match (unlock.source, slot.kind) {
            (Source::RawKey(key), SlotKind::RawKey) => key.key(),
            (Source::Passphrase(_), SlotKind::Passphrase)
                if attempts == MAX_PASSPHRASE_ATTEMPTS =>
            {
                untried = Some(cost_refused(
                    "the passphrase opens none of the first two passphrase slots, \
                     and no more are tried at once",
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
                        hashed = parameters.derive(passphrase, &slot.salt)?;
                        &hashed
                    }
                    Err(error) => {
                        untried = Some(error);
                        continue;
                    }
                }
            }
            _ => continue,
        };
        if let Some(root) = open_slot(slot, secret, vault_id, suite) {
            return Ok((number, root));
        }
    }
    Err(untried.unwrap_or_else(|| {
        Error::new(
            ErrorKind::WrongKey,
            "no slot of the vault opens with this key or passphrase, or the slot was altered",
        )
    }))
}

/// A wrong secret and an altered slot are one event.
fn open_slot(slot: &Slot, secret: &Key32, vault_id: &[u8; 16], suite: Suite) -> Option<Key32> {
    let context = [CONTEXT, vault_id, &slot.prefix(slot.wrapped.len())];
    let root: Result<_, OpenError> = open(suite, secret, &context, &slot.wrapped);
    Key32::copied_from(&root.ok()?)
}
