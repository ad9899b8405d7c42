//! Replacing the key that seals key objects, and with it the shredding of purged keys.

use std::sync::Arc;

use super::header::{HeaderGuard, NewHeader};
use super::{Act, Inner, Operation, Subject, Vault};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::IndexKey;
use crate::format::ring::KekRing;
use crate::secret::Key32;
use crate::store::Change;

/// Up to so many keys a purge shreds before it returns.
const SHRED_AT_ONCE: u64 = 10_000;

/// So many key objects are sealed anew in one commit.
const RESEAL_STEP: usize = 500;

/// What [`Vault::rotate_kek`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KekRotation {
    term: u32,
    resealed: u64,
}

impl KekRotation {
    /// The number of the new key, counted from 1.
    #[must_use]
    pub fn term(self) -> u32 {
        self.term
    }

    /// How many key objects were sealed anew; those that others changed meanwhile are not among them.
    #[must_use]
    pub fn resealed(self) -> u64 {
        self.resealed
    }
}

/// Whether what a purge removed can still be opened by whoever has the vault's files and its master key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Shredding {
    /// The key that sealed the purged keys exists nowhere in the vault's files any more.
    Done,
    /// Old copies of the purged records in the files can still be opened until [`Vault::maintain`] or
    /// [`Vault::rotate_kek`] has replaced the key that sealed them. [`VaultStatus::shred_pending`] shows it.
    ///
    /// [`VaultStatus::shred_pending`]: crate::VaultStatus::shred_pending
    Pending,
}

impl Vault {
    /// Replaces the key encryption key: a new one is made, every key object is sealed anew, and the old one is
    /// overwritten in the header.
    ///
    /// Reads and changes go on meanwhile. The cost grows with the number of keys, not of versions; key material is
    /// not touched. A rotation that a crash interrupted is finished first. When this returns `Ok`, everything is
    /// durable and the old key is in none of the vault's files.
    ///
    /// Do this when the key may have leaked, for example with a memory image; [`Vault::purge_deleted_key`] does it
    /// by itself.
    ///
    /// # Errors
    ///
    /// [`Tampered`](ErrorKind::Tampered) when a key object is not as it was written: then the old key stays beside
    /// the new one. [`Forbidden`](ErrorKind::Forbidden) for a restricted handle;
    /// [`RandomUnavailable`](ErrorKind::RandomUnavailable) and the errors of storage.
    ///
    /// # Examples
    ///
    /// ```
    /// # use strongroom::*;
    /// # let vault = VaultOptions::new().create_in_memory()?;
    /// let before = vault.status()?.kek_term();
    /// vault.create_key(&KeyName::from_static("signer"), CreateKeyOptions::ec(Curve::P256))?;
    /// let rotation = vault.rotate_kek()?;
    /// assert_eq!((rotation.term(), rotation.resealed()), (before + 1, 1));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn rotate_kek(&self) -> Result<KekRotation> {
        self.act(Operation::RotateKek, Subject::Vault, |act| {
            let mut header = act.inner().header.lock();
            act.inner().rotate_kek(&mut header, Some(act))
        })
    }
}

impl Inner {
    fn rotate_kek(
        &self,
        header: &mut HeaderGuard<'_>,
        act: Option<&Act<'_>>,
    ) -> Result<KekRotation> {
        self.finish_kek_rotation(header)?;
        let old = self.header.rings().kek;
        let term = old
            .current_term
            .checked_add(1)
            .ok_or_else(|| Error::internal("the terms of the key encryption key are exhausted"))?;
        let ring = KekRing {
            current_term: term,
            current_key: Arc::new(Key32::random(&*self.entropy)?),
            previous: Some((old.current_term, Arc::clone(&old.current_key))),
        };
        self.replace_header(
            header,
            NewHeader {
                kek: Some(ring),
                ..NewHeader::default()
            },
            act,
        )?;
        let resealed = self.finish_kek_rotation(header)?;
        Ok(KekRotation { term, resealed })
    }

    /// Seals anew what the previous key still seals, and lets that key go; nothing to do without one.
    pub(super) fn finish_kek_rotation(&self, header: &mut HeaderGuard<'_>) -> Result<u64> {
        let ring = self.header.rings().kek;
        if ring.previous.is_none() {
            return Ok(0);
        }
        let resealed = self.reseal_key_objects(ring.current_term)?;
        if self.store.previous_term_keys()? != 0 {
            return Err(Error::internal(
                "key objects are left under the previous key after all were sealed anew",
            ));
        }
        let ring = KekRing {
            current_term: ring.current_term,
            current_key: Arc::clone(&ring.current_key),
            previous: None,
        };
        self.replace_header(
            header,
            NewHeader {
                kek: Some(ring),
                ..NewHeader::default()
            },
            None,
        )?;
        self.store.sync_anchor()?;
        Ok(resealed)
    }

    fn reseal_key_objects(&self, term: u32) -> Result<u64> {
        let mut resealed = 0;
        let mut after = None;
        loop {
            let objects = self
                .store
                .read(|view| view.key_objects(after, RESEAL_STEP))?;
            let Some((last, _)) = objects.last() else {
                return Ok(resealed);
            };
            after = Some(*last);
            let sealing = self.header.sealing();
            let mut changes = Vec::new();
            for (n, record) in objects.iter().filter(|(_, record)| record.term() < term) {
                let index = IndexKey::key_object(*n);
                let plaintext = self.open_under_kek(&index, record)?;
                changes.push(Change::Reseal {
                    index,
                    old_salt: record.salt(),
                    record: self.seal_under_kek(&sealing, &index, &plaintext)?,
                });
            }
            resealed += changes.len() as u64;
            self.store.commit(changes)?;
            drop(sealing);
        }
    }

    /// Whether a key that sealed something purged is still in the header.
    pub(super) fn shred_pending(&self) -> bool {
        let ring = self.header.rings().kek;
        let oldest = ring
            .previous
            .as_ref()
            .map_or(ring.current_term, |(term, _)| *term);
        oldest <= self.store.state().shred_term
    }

    /// Whether a replacement of the KEK is unfinished, or due because of a purge.
    pub(super) fn kek_work_pending(&self) -> bool {
        self.header.rings().kek.previous.is_some() || self.shred_pending()
    }

    /// After a purge: makes sure that what it removed cannot be opened any more, at once if that is quick.
    pub(super) fn shred_if_small(&self) -> Result<Shredding> {
        if self.store.state().key_count > SHRED_AT_ONCE {
            return Ok(Shredding::Pending);
        }
        self.shred()
    }

    /// Replaces the KEK if something purged was sealed under it. Purges that wait here share one replacement.
    pub(super) fn shred(&self) -> Result<Shredding> {
        let mut header = self.header.lock();
        let replaced = self.finish_kek_rotation(&mut header).and_then(|_| {
            if self.shred_pending() {
                self.rotate_kek(&mut header, None)?;
            }
            Ok(Shredding::Done)
        });
        match replaced {
            // A damaged key elsewhere does not undo the purge; the pending state stays visible.
            Err(error) if error.kind() == ErrorKind::Tampered => Ok(Shredding::Pending),
            other => other,
        }
    }
}
