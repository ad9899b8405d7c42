//! The ways to unlock a vault, changed while it is in use.

use super::header::{HeaderGuard, NewHeader};
use super::{Act, Inner, Operation, Subject, Vault};
use crate::error::{Error, ErrorKind, Result};
use crate::format::header::MAX_SLOTS;
use crate::format::slot::{Slot, SlotKind};
use crate::seal::header::{OpenLimits, open_header};
use crate::seal::passphrase::PassphraseParameters;
use crate::seal::slot::{NewSlot, SlotId, Unlock, is_below, seal_slot};
use crate::secret::Key32;

/// One of the ways to unlock a vault; [`Vault::unlock_slots`] lists them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnlockSlot {
    id: SlotId,
    kind: UnlockKind,
    parameters: Option<PassphraseParameters>,
}

/// What opens a slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum UnlockKind {
    /// The 32 bytes of a master key.
    RawKey,
    /// A passphrase.
    Passphrase,
    /// An entry of the operating system's keyring.
    Keyring,
    /// A key in a PKCS#11 token.
    Token,
    /// The private key of a [`Recipient`](crate::Recipient).
    Recipient,
    /// Something that this version of the library does not know.
    Unknown,
}

impl UnlockSlot {
    /// Its id, for [`Unlock::in_slot`] and [`Vault::remove_unlock_slot`].
    #[must_use]
    pub fn id(&self) -> SlotId {
        self.id
    }

    /// What opens it.
    #[must_use]
    pub fn kind(&self) -> UnlockKind {
        self.kind
    }

    /// What a guess of its passphrase costs; `None` when no passphrase opens it.
    #[must_use]
    pub fn passphrase_parameters(&self) -> Option<PassphraseParameters> {
        self.parameters
    }

    fn of(slot: &Slot) -> Self {
        let kind = match slot.kind {
            SlotKind::RawKey => UnlockKind::RawKey,
            SlotKind::Passphrase => UnlockKind::Passphrase,
            SlotKind::OsKeyring => UnlockKind::Keyring,
            SlotKind::Pkcs11AesGcm | SlotKind::Pkcs11RsaOaep => UnlockKind::Token,
            SlotKind::HpkeRecipient => UnlockKind::Recipient,
            SlotKind::Other(_) => UnlockKind::Unknown,
        };
        Self {
            id: SlotId::of(slot),
            kind,
            parameters: PassphraseParameters::new(slot.memory_kib, slot.iterations, slot.lanes)
                .ok()
                .filter(|_| kind == UnlockKind::Passphrase),
        }
    }
}

impl Vault {
    /// The ways to unlock this vault, one to eight; none for a vault in memory.
    ///
    /// # Errors
    ///
    /// [`Forbidden`](ErrorKind::Forbidden) for a restricted handle.
    pub fn unlock_slots(&self) -> Result<Vec<UnlockSlot>> {
        self.act(Operation::UnlockSlots, Subject::Vault, |act| {
            let header = act.inner().header.lock();
            Ok(header.slots().iter().map(UnlockSlot::of).collect())
        })
    }

    /// Adds a way to unlock this vault. `current` must be one that unlocks it now, because an open vault does not
    /// keep its root key.
    ///
    /// Costs the hash of each passphrase among the two. **Durability:** as every change; reads and changes of keys
    /// go on meanwhile. [`VaultOptions::passphrase_parameters`](crate::VaultOptions::passphrase_parameters) of this
    /// handle say what a guess of a new passphrase costs.
    ///
    /// # Errors
    ///
    /// [`Forbidden`](ErrorKind::Forbidden) for a restricted handle; [`WrongKey`](ErrorKind::WrongKey) when `current` opens no slot;
    /// [`BadParameter`](ErrorKind::BadParameter) when all eight slots are in use, or the vault lives in memory;
    /// [`KdfCostRefused`](ErrorKind::KdfCostRefused), [`RandomUnavailable`](ErrorKind::RandomUnavailable), the
    /// errors of a backend that keeps the secret, and those of storage.
    ///
    /// # Examples
    ///
    /// ```
    /// use strongroom::{MasterKey, Passphrase, Unlock, VaultOptions};
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("vault");
    /// let key = MasterKey::generate()?;
    /// let vault = VaultOptions::new().create(&path, Unlock::raw_key(&key))?;
    /// let passphrase = Passphrase::new("correct horse battery staple")?;
    /// let id = vault.add_unlock_slot(Unlock::raw_key(&key), Unlock::passphrase(&passphrase))?;
    /// vault.close()?;
    ///
    /// let vault = VaultOptions::new().open(&path, Unlock::passphrase(&passphrase))?;
    /// assert_eq!(vault.unlock_slots()?.len(), 2);
    /// vault.remove_unlock_slot(id)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn add_unlock_slot<'a>(
        &self,
        current: Unlock<'_>,
        new: impl Into<NewSlot<'a>>,
    ) -> Result<SlotId> {
        self.act(Operation::AddUnlockSlot, Subject::Vault, |act| {
            act.inner().change_slots(act, current, new.into(), None)
        })
    }

    /// Puts a way to unlock this vault in the place of another one, in one step: a new passphrase, a new token. The
    /// slot gets a new id.
    ///
    /// Whoever has a copy of an old header **and** what opened the old slot still has the root key of that copy:
    /// then only a new root helps.
    ///
    /// # Errors
    ///
    /// As [`Vault::add_unlock_slot`]; [`BadParameter`](ErrorKind::BadParameter) when there is no slot of this id, or
    /// only devices that can be lost would be left.
    pub fn replace_unlock_slot<'a>(
        &self,
        current: Unlock<'_>,
        old: SlotId,
        new: impl Into<NewSlot<'a>>,
    ) -> Result<SlotId> {
        self.act(Operation::ReplaceUnlockSlot, Subject::Vault, |act| {
            act.inner()
                .change_slots(act, current, new.into(), Some(old))
        })
    }

    /// Removes a way to unlock this vault.
    ///
    /// Its bytes are overwritten in the header; see [`Vault::replace_unlock_slot`] for copies made before.
    ///
    /// # Errors
    ///
    /// [`Forbidden`](ErrorKind::Forbidden) for a restricted handle;
    /// [`BadParameter`](ErrorKind::BadParameter) when there is no slot of this id, for the last slot, and when only
    /// devices that can be lost would be left; and the errors of storage.
    pub fn remove_unlock_slot(&self, id: SlotId) -> Result<()> {
        self.act(Operation::RemoveUnlockSlot, Subject::Vault, |act| {
            act.inner().remove_slot(act, id)
        })
    }
}

impl Inner {
    fn change_slots(
        &self,
        act: &Act<'_>,
        current: Unlock<'_>,
        new: NewSlot<'_>,
        old: Option<SlotId>,
    ) -> Result<SlotId> {
        let mut header = self.header.lock();
        let mut slots = header.slots().to_vec();
        let place = match old {
            Some(old) => find(&slots, old)?,
            None if slots.len() == MAX_SLOTS => {
                return Err(Error::bad_parameter(
                    "all eight slots are in use; remove or replace one",
                ));
            }
            None => slots.len(),
        };
        let root = self.reopen_root(&header, current)?;
        let id = SlotId::random(&*self.entropy)?;
        let slot = seal_slot(
            new,
            id,
            self.passphrase_cost,
            self.hierarchy.vault_id(),
            self.hierarchy.suite(),
            &root,
            &*self.entropy,
        )?;
        drop(root);
        if place < slots.len() {
            slots[place] = slot;
        } else {
            slots.push(slot);
        }
        self.put_slots(act, &mut header, slots)?;
        Ok(id)
    }

    fn remove_slot(&self, act: &Act<'_>, id: SlotId) -> Result<()> {
        let mut header = self.header.lock();
        let mut slots = header.slots().to_vec();
        slots.remove(find(&slots, id)?);
        self.put_slots(act, &mut header, slots)
    }

    fn put_slots(
        &self,
        act: &Act<'_>,
        header: &mut HeaderGuard<'_>,
        slots: Vec<Slot>,
    ) -> Result<()> {
        if slots.is_empty() {
            return Err(Error::bad_parameter(
                "this is the last way to unlock the vault; add another one first",
            ));
        }
        require_lasting(&slots, self.allow_sole_device_slot)?;
        self.replace_header(
            header,
            NewHeader {
                slots: Some(slots),
                ..NewHeader::default()
            },
            Some(act),
        )
    }

    /// The root key, from one of the slots as they stand.
    fn reopen_root(&self, header: &HeaderGuard<'_>, unlock: Unlock<'_>) -> Result<Key32> {
        let stored = header.stored().ok_or_else(|| {
            Error::bad_parameter("a vault in memory has nothing that could be unlocked")
        })?;
        let limits = OpenLimits {
            expected_root: Some(self.hierarchy.fingerprint()),
            ..self.limits
        };
        open_header(stored.clone(), unlock, limits).map(|opened| opened.root)
    }

    /// Seals the passphrase slot anew that opened the vault, if a guess costs less than it should.
    pub(super) fn raise_cost(&self, unlock: Unlock<'_>, number: usize, root: &Key32) -> Result<()> {
        let mut header = self.header.lock();
        let mut slots = header.slots().to_vec();
        let Some(slot) = slots.get_mut(number) else {
            return Ok(());
        };
        if !is_below(slot, self.passphrase_cost) {
            return Ok(());
        }
        *slot = seal_slot(
            unlock,
            SlotId::of(slot),
            self.passphrase_cost,
            self.hierarchy.vault_id(),
            self.hierarchy.suite(),
            root,
            &*self.entropy,
        )?;
        self.replace_header(
            &mut header,
            NewHeader {
                slots: Some(slots),
                ..NewHeader::default()
            },
            None,
        )
    }
}

fn find(slots: &[Slot], id: SlotId) -> Result<usize> {
    slots
        .iter()
        .position(|slot| SlotId::of(slot) == id)
        .ok_or_else(|| Error::bad_parameter("the vault has no slot of this id"))
}

/// Errors: `BadParameter` when all slots are of devices that can be lost, unless that was allowed.
pub(super) fn require_lasting<'a>(
    slots: impl IntoIterator<Item = &'a Slot>,
    allowed: bool,
) -> Result<()> {
    if allowed || slots.into_iter().any(|slot| !slot.kind.can_be_lost()) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::BadParameter,
        "with tokens and keyrings alone, the vault is lost when they are; keep a passphrase, a key or a recipient \
         besides, or say VaultOptions::allow_sole_device_slot",
    ))
}
