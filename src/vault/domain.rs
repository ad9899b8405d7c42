//! Security domains: whose backups open where.

use std::fmt;
use std::sync::Arc;

use super::gate::forked;
use super::{Operation, Subject, Vault};
use crate::env::Entropy;
use crate::error::Result;
use crate::format::ring::SdkRing;
use crate::secret::{Key32, Process};

/// The security domain of a vault that is being created.
pub(super) struct NewDomain {
    pub(super) id: [u8; 16],
    pub(super) ring: Arc<SdkRing>,
}

impl NewDomain {
    pub(super) fn random(entropy: &dyn Entropy) -> Result<Self> {
        let mut id = [0; 16];
        entropy.fill(&mut id)?;
        Ok(Self {
            id,
            ring: Arc::new(SdkRing {
                current_epoch: 1,
                epochs: vec![(1, Arc::new(Key32::random(entropy)?))],
            }),
        })
    }
}

/// The keys that seal backups, shared by the vaults of one domain.
///
/// It holds secrets, and stays in memory: it is given to
/// [`VaultOptions::create_in_domain`](crate::VaultOptions::create_in_domain).
#[derive(Clone)]
pub struct SecurityDomain {
    pub(super) id: [u8; 16],
    pub(super) ring: Arc<SdkRing>,
    /// A forked child finds zeros in place of the keys.
    origin: Process,
}

impl SecurityDomain {
    /// The public id of the domain, which stands in each backup.
    #[must_use]
    pub fn id(&self) -> &[u8; 16] {
        &self.id
    }

    /// Errors: `ForkedProcess`.
    pub(super) fn shared(&self) -> Result<NewDomain> {
        if !self.origin.is_here() {
            return Err(forked());
        }
        Ok(NewDomain {
            id: self.id,
            ring: Arc::clone(&self.ring),
        })
    }
}

impl fmt::Debug for SecurityDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecurityDomain(..)")
    }
}

impl Vault {
    /// The security domain of this vault, to create a sister vault in it.
    ///
    /// It is a secret of its own: locking the vault does not reach it. It is of no use in a forked child.
    ///
    /// # Errors
    ///
    /// [`Forbidden`](crate::ErrorKind::Forbidden) for a restricted handle;
    /// [`VaultLocked`](crate::ErrorKind::VaultLocked), [`VaultFailed`](crate::ErrorKind::VaultFailed) after a close, and
    /// [`ForkedProcess`](crate::ErrorKind::ForkedProcess).
    pub fn security_domain(&self) -> Result<SecurityDomain> {
        self.act(Operation::SecurityDomain, Subject::Vault, |act| {
            let rings = act.inner().header.rings();
            Ok(SecurityDomain {
                id: rings.domain_id,
                ring: rings.sdk,
                origin: Process::here(),
            })
        })
    }
}
