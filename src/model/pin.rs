//! What tells the newest state of a vault from an older copy of it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::hex::{self, Hex};
use crate::error::{Error, Result};

/// A vault at one moment: which vault it is, and how far it had got.
///
/// Kept where the vault's directory is not, it tells later whether the directory is that vault and not an older copy
/// of it. It holds no secret. As text: `strongroom-pin-1`, the vault's id, the fingerprint of its root, the
/// generation and a hash of the state, separated by `:`, in hexadecimal characters but for the generation.
///
/// # Examples
///
/// ```
/// use strongroom::{MasterKey, Unlock, VaultOptions, VaultPin};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("vault");
/// # let key = MasterKey::generate()?;
/// let vault = VaultOptions::new().create(&path, Unlock::raw_key(&key))?;
/// let kept_elsewhere = vault.pin().unwrap().to_string();
/// vault.close()?;
///
/// let pin: VaultPin = kept_elsewhere.parse()?;
/// VaultOptions::new().expect_at_least(pin).open(&path, Unlock::raw_key(&key))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct VaultPin {
    vault_id: [u8; 16],
    fingerprint: [u8; 32],
    generation: u64,
    state_hash: [u8; 32],
}

const PREFIX: &str = "strongroom-pin-1";

impl VaultPin {
    pub(crate) const fn new(
        vault_id: [u8; 16],
        fingerprint: [u8; 32],
        generation: u64,
        state_hash: [u8; 32],
    ) -> Self {
        Self {
            vault_id,
            fingerprint,
            generation,
            state_hash,
        }
    }

    /// The random id of the vault.
    #[must_use]
    pub const fn vault_id(&self) -> &[u8; 16] {
        &self.vault_id
    }

    /// The public fingerprint of the vault's root key.
    #[must_use]
    pub const fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// How many groups of changes the vault had seen.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// A hash of the vault's sealed state in that generation.
    #[must_use]
    pub const fn state_hash(&self) -> &[u8; 32] {
        &self.state_hash
    }
}

impl fmt::Display for VaultPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{PREFIX}:{}:{}:{}:{}",
            Hex(&self.vault_id),
            Hex(&self.fingerprint),
            self.generation,
            Hex(&self.state_hash)
        )
    }
}

impl FromStr for VaultPin {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse(text).ok_or_else(|| {
            Error::bad_parameter(
                "this is no pin: it is `strongroom-pin-1`, the vault's id, a fingerprint, a number and a hash, \
                 separated by `:`",
            )
        })
    }
}

fn parse(text: &str) -> Option<VaultPin> {
    let mut parts = text.trim_ascii().split(':');
    if parts.next()? != PREFIX {
        return None;
    }
    let pin = VaultPin {
        vault_id: hex::parse(parts.next()?)?,
        fingerprint: hex::parse(parts.next()?)?,
        generation: parts.next()?.parse().ok()?,
        state_hash: hex::parse(parts.next()?)?,
    };
    parts.next().is_none().then_some(pin)
}

impl Serialize for VaultPin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VaultPin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
