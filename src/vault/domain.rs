//! Security domains: whose backups open where.

use std::fmt;
use std::sync::Arc;

use subtle::ConstantTimeEq;

use super::gate::forked;
use crate::env::Entropy;
use crate::error::{Error, ErrorKind, Result};
use crate::format::backup::Modes;
use crate::format::domain_file;
use crate::format::ring::SdkRing;
use crate::seal::backup::{BackupKey, Domain, Opening, domain_fingerprint, open_backup};
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
/// [`VaultOptions::create_in_domain`](crate::VaultOptions::create_in_domain) and [`Vault::update_domain`](crate::Vault::update_domain).
#[derive(Clone)]
pub struct SecurityDomain {
    pub(super) id: [u8; 16],
    pub(super) ring: Arc<SdkRing>,
    /// A forked child finds zeros in place of the keys.
    pub(super) origin: Process,
}

impl SecurityDomain {
    /// The public id of the domain, which stands in each backup.
    #[must_use]
    pub fn id(&self) -> &[u8; 16] {
        &self.id
    }

    /// The current epoch, counted from 1: new backups are sealed to it.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.ring.current_epoch
    }

    /// What names the domain and its current key, and may be published. Compare it over a second channel before a
    /// [`DomainFile`] is believed.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        // A ring without its current key decodes nowhere and is made nowhere.
        domain_fingerprint(self.domain()).unwrap_or_default()
    }

    /// Opens a domain file. It is sealed to a public key or a passphrase, and so proves no origin: the domain must be
    /// the one with this [fingerprint](SecurityDomain::fingerprint), got from the vault that exported it.
    ///
    /// `max_kdf_work_kib` bounds the hash of a passphrase, in KiB times passes.
    ///
    /// # Errors
    ///
    /// [`InvalidBackup`](ErrorKind::InvalidBackup) when it is no domain file, damaged or altered;
    /// [`WrongKey`](ErrorKind::WrongKey) when it is not sealed to the given key;
    /// [`KdfCostRefused`](ErrorKind::KdfCostRefused); [`WrongDomain`](ErrorKind::WrongDomain) for another fingerprint;
    /// [`NewerFormat`](ErrorKind::NewerFormat).
    pub fn open(
        file: impl AsRef<[u8]>,
        key: BackupKey<'_>,
        expected_fingerprint: &[u8; 32],
        max_kdf_work_kib: u64,
    ) -> Result<Self> {
        let open = || {
            let opening = Opening {
                domain: None,
                by: Some(key),
                max_kdf_work_kib,
            };
            let opened = open_backup(opening, Modes::DOMAIN_FILE, file.as_ref())?;
            let (id, ring) = domain_file::decode(&opened.payload)?;
            let domain = Self {
                id,
                ring: Arc::new(ring),
                origin: Process::here(),
            };
            if bool::from(domain.fingerprint().ct_eq(expected_fingerprint)) {
                Ok(domain)
            } else {
                Err(Error::new(
                    ErrorKind::WrongDomain,
                    "the file holds another security domain than the expected one, or another epoch of it",
                ))
            }
        };
        open().map_err(|error: Error| error.with_operation("open_domain"))
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

    fn domain(&self) -> Domain<'_> {
        Domain {
            id: self.id,
            ring: &self.ring,
        }
    }
}

impl fmt::Debug for SecurityDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecurityDomain(..)")
    }
}

/// A security domain, sealed to recipients or under a passphrase: bytes to be carried to another machine.
#[derive(Clone, PartialEq, Eq)]
pub struct DomainFile {
    pub(super) bytes: Vec<u8>,
}

impl DomainFile {
    /// The file.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The file, by value.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl AsRef<[u8]> for DomainFile {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for DomainFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DomainFile({} bytes)", self.bytes.len())
    }
}
