//! What the doors share: inputs cut into fields, edits of a valid form, keys that are known, a vault.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::backend::testing::FakeClock;
use crate::env::{Clock, Entropy};
use crate::error::Result;
use crate::format::ring::{KekRing, SdkRing};
use crate::model::audit::AuditOptions;
use crate::model::permission::{Permission, Permissions};
use crate::model::settings::{AlgorithmRules, DeletionSettings, VaultSettings};
use crate::model::time::Timestamp;
use crate::seal::Suite;
use crate::seal::hierarchy::Hierarchy;
use crate::secret::Key32;
use crate::vault::{Vault, VaultOptions};

pub(super) const VAULT_ID: [u8; 16] = [7; 16];
pub(super) const DOMAIN_ID: [u8; 16] = [8; 16];
pub(super) const SUITE: Suite = Suite::Aes256Gcm;

/// An input that is used up from its beginning; at its end there are zeros.
pub(super) struct Input<'b> {
    pub(super) rest: &'b [u8],
}

impl<'b> Input<'b> {
    pub(super) fn new(rest: &'b [u8]) -> Self {
        Self { rest }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn u8(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    pub(super) fn u16(&mut self) -> u16 {
        u16::from(self.u8()) << 8 | u16::from(self.u8())
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from(self.u16()) << 16 | u32::from(self.u16())
    }

    /// Up to `length` bytes.
    pub(super) fn take(&mut self, length: usize) -> &'b [u8] {
        let (taken, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// Exactly `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let taken = self.take(N);
        array[..taken.len()].copy_from_slice(taken);
        array
    }
}

/// The base with up to 16 edits: bytes written over, a bit turned, cut off, inserted, filled.
pub(super) fn edited(base: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut bytes = base.to_vec();
    let mut input = Input::new(edits);
    for _ in 0..16 {
        if input.is_empty() {
            break;
        }
        let kind = input.u8();
        let at = usize::from(input.u16()) % (bytes.len() + 1);
        match kind % 8 {
            0 => bytes.truncate(at),
            1 => {
                let length = usize::from(input.u8());
                let new = input.take(length);
                bytes.splice(at..at, new.iter().copied());
            }
            2 | 3 => {
                let bit = input.u8() % 8;
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
            4 => {
                let (value, length) = (input.u8(), usize::from(input.u8()));
                bytes[at..]
                    .iter_mut()
                    .take(length)
                    .for_each(|byte| *byte = value);
            }
            _ => {
                let length = usize::from(input.u8() % 33);
                let places = bytes[at..].iter_mut();
                places
                    .zip(input.take(length))
                    .for_each(|(place, new)| *place = *new);
            }
        }
    }
    bytes
}

/// Numbers that look random and are the same in every run.
#[derive(Debug, Default)]
pub(super) struct FixedEntropy {
    state: Mutex<u64>,
}

impl Entropy for FixedEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for chunk in bytes.chunks_mut(8) {
            // SplitMix64.
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = *state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(mixed ^ (mixed >> 31)).to_be_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

pub(super) fn key(byte: u8) -> Key32 {
    Key32::copied_from(&[byte; 32]).expect("these are 32 bytes")
}

pub(super) fn root() -> Key32 {
    key(1)
}

pub(super) fn hierarchy() -> Hierarchy {
    Hierarchy::derive(&root(), VAULT_ID, SUITE)
}

pub(super) fn kek_ring() -> KekRing {
    KekRing {
        current_term: 2,
        current_key: Arc::new(key(2)),
        previous: Some((1, Arc::new(key(3)))),
    }
}

pub(super) fn sdk_ring() -> SdkRing {
    SdkRing {
        current_epoch: 2,
        epochs: vec![(1, Arc::new(key(4))), (2, Arc::new(key(5)))],
    }
}

/// Those of a new vault, with the access of one principal.
pub(super) fn settings() -> VaultSettings {
    let somebody = "somebody".parse().expect("it is legal");
    let permissions = Permissions::none().with(Permission::Get);
    VaultSettings {
        deletion: DeletionSettings::default(),
        algorithms: AlgorithmRules::default(),
        audit: AuditOptions::off(),
        access_policies: BTreeMap::from([(somebody, permissions)]),
    }
}

/// 2026-05-28.
pub(super) const NOW: Timestamp = Timestamp::from_unix_seconds(1_780_000_000);

/// A vault in memory, at a moment that only the door moves.
pub(super) fn vault() -> (Vault, Arc<FakeClock>) {
    let clock = Arc::new(FakeClock::at(NOW));
    let vault = VaultOptions::new()
        .clock(Arc::clone(&clock) as Arc<dyn Clock>)
        .create_in_memory()
        .expect("memory is there");
    (vault, clock)
}

/// A vault that many inputs are restored into; a new one now and then, because it remembers what was purged.
pub(super) struct Target {
    vault: Option<Vault>,
    left: u32,
}

impl Target {
    pub(super) const fn new() -> Mutex<Self> {
        Mutex::new(Self {
            vault: None,
            left: 0,
        })
    }

    pub(super) fn lock(target: &Mutex<Self>) -> MutexGuard<'_, Self> {
        target.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn vault(&mut self) -> Vault {
        match &self.vault {
            Some(vault) if self.left > 0 => {
                self.left -= 1;
                vault.clone()
            }
            _ => {
                let (vault, _) = vault();
                self.left = 500;
                self.vault.insert(vault).clone()
            }
        }
    }

    /// Takes the keys out that an input brought.
    pub(super) fn empty(vault: &Vault) {
        for properties in vault.list_key_properties() {
            let properties = properties.expect("what was restored can be listed");
            let name = properties.name();
            vault.get_key(name).expect("what is listed can be read");
            vault.delete_key(name).expect("nothing holds it");
            vault.purge_deleted_key(name).expect("nothing protects it");
        }
        for properties in vault.list_deleted_key_properties() {
            let properties = properties.expect("what was restored can be listed");
            let name = properties.properties().name();
            vault.purge_deleted_key(name).expect("nothing protects it");
        }
        assert_eq!(vault.list_deleted_key_properties().count(), 0);
    }
}
