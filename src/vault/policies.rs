//! Restricted handles and access policies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::grant::{Grant, no_policy};
use super::settings::setting;
use super::{Inner, Operation, Subject, Vault};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::IndexKey;
use crate::format::settings::{self, ACCESS_POLICIES, MAX_ACCESS_POLICIES};
use crate::model::permission::Permissions;
use crate::model::principal::Principal;
use crate::seal::hierarchy::Hierarchy;
use crate::store::{Change, CommitOptions, View};

/// The access policies of a vault, and where each is stored.
#[derive(Debug, Default)]
pub(super) struct AccessPolicies {
    /// Held while a policy changes, until that is durable; whoever only asks does not wait for it.
    changes: Mutex<()>,
    policies: RwLock<Policies>,
}

type Policies = BTreeMap<Principal, (u64, Arc<Permissions>)>;

impl AccessPolicies {
    pub(super) fn load(hierarchy: &Hierarchy, view: &View<'_>) -> Result<Self> {
        let mut policies = BTreeMap::new();
        for (number, record) in view.settings_between(ACCESS_POLICIES, MAX_ACCESS_POLICIES)? {
            let index = IndexKey::settings(number);
            let plaintext = hierarchy.open_record(&*hierarchy.meta_key()?, &index, &record)?;
            let (principal, permissions) = settings::decode_access_policy(&plaintext)?;
            let twice = policies.insert(principal, (number, Arc::new(permissions)));
            if twice.is_some() {
                return Err(Error::new(
                    ErrorKind::Corrupt,
                    "two access policies are for the same principal",
                ));
            }
        }
        Ok(Self {
            changes: Mutex::default(),
            policies: RwLock::new(policies),
        })
    }

    pub(super) fn lock_changes(&self) -> MutexGuard<'_, ()> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, Policies> {
        self.policies.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Policies> {
        self.policies
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn all(&self) -> BTreeMap<Principal, Permissions> {
        self.read()
            .iter()
            .map(|(principal, (_, permissions))| (principal.clone(), (**permissions).clone()))
            .collect()
    }

    /// The records of these principals, or for each that has none a free one of its own.
    ///
    /// Errors: `BadParameter` when there are not enough.
    pub(super) fn places<'p>(
        &self,
        principals: impl IntoIterator<Item = &'p Principal>,
    ) -> Result<Vec<u64>> {
        let policies = self.read();
        let taken: BTreeSet<u64> = policies.values().map(|(number, _)| *number).collect();
        let mut free = (ACCESS_POLICIES..ACCESS_POLICIES + MAX_ACCESS_POLICIES)
            .filter(|number| !taken.contains(number));
        principals
            .into_iter()
            .map(|principal| match policies.get(principal) {
                Some((number, _)) => Ok(*number),
                None => free.next().ok_or_else(|| {
                    Error::bad_parameter(format!(
                        "a vault has access policies for at most {MAX_ACCESS_POLICIES} principals; remove one first"
                    ))
                }),
            })
            .collect()
    }

    /// The record of a principal, or the first free one.
    fn place(&self, principal: &Principal) -> Result<u64> {
        self.places([principal])?
            .first()
            .copied()
            .ok_or_else(|| Error::internal("a principal got no place"))
    }

    /// These policies are durable at their places: they count from now on.
    pub(super) fn adopt(&self, places: &[u64], adopted: &BTreeMap<Principal, Permissions>) {
        let mut policies = self.write();
        for (number, (principal, permissions)) in places.iter().zip(adopted) {
            policies.insert(principal.clone(), (*number, Arc::new(permissions.clone())));
        }
    }
}

impl Vault {
    /// A handle that may do only what `permissions` and this handle both allow: to hand on to a part of the
    /// application that needs no more.
    ///
    /// Whatever it lacks is refused with [`Forbidden`](ErrorKind::Forbidden), before anything tells whether a key
    /// exists; listings leave out keys that its patterns do not cover. What is about the vault as a whole
    /// (settings, maintenance, status, closing, access policies, audit, [`hazmat`](crate::hazmat)) needs the handle
    /// that opening the vault gave. There is no way back from a restricted handle to a wider one.
    ///
    /// # Examples
    ///
    /// ```
    /// # use strongroom::*;
    /// # let vault = VaultOptions::new().create_in_memory()?;
    /// # let name = KeyName::from_static("billing-signer");
    /// vault.create_key(&name, CreateKeyOptions::ec(Curve::P256))?;
    /// let signer = vault.restricted(Permissions::from([Permission::Sign]).for_names(["billing-*".parse()?])?);
    /// signer.sign_data(&name, SignatureAlgorithm::Es256, b"invoice")?;
    /// assert_eq!(signer.delete_key(&name).unwrap_err().kind(), ErrorKind::Forbidden);
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn restricted(&self, permissions: Permissions) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            grant: self.grant.narrowed(permissions),
        }
    }

    /// A handle with the rights of a principal, who is the actor of what it does in the audit log.
    ///
    /// Each call asks the access policy that is in force at that moment: a change or a removal works at once.
    ///
    /// # Errors
    ///
    /// [`Forbidden`](ErrorKind::Forbidden) when no access policy is for the principal, and for a restricted handle.
    ///
    /// # Examples
    ///
    /// ```
    /// # use strongroom::*;
    /// # let vault = VaultOptions::new().create_in_memory()?;
    /// # let name = KeyName::from_static("signer");
    /// # vault.create_key(&name, CreateKeyOptions::ec(Curve::P256))?;
    /// let billing: Principal = "billing-service".parse()?;
    /// vault.set_access_policy(&billing, Permissions::from([Permission::Get, Permission::Sign]))?;
    /// let handle = vault.as_principal(&billing)?;
    /// handle.get_key(&name)?;
    ///
    /// vault.remove_access_policy(&billing)?;
    /// assert_eq!(handle.get_key(&name).unwrap_err().kind(), ErrorKind::Forbidden);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn as_principal(&self, principal: &Principal) -> Result<Self> {
        let subject = Subject::Principal(principal);
        self.act(Operation::AsPrincipal, subject, |act| {
            act.inner()
                .policy_of(principal)
                .ok_or_else(|| no_policy(principal))?;
            Ok(Self {
                inner: Arc::clone(&self.inner),
                grant: Grant::of(principal.clone()),
            })
        })
    }

    /// Says what a principal may do, in place of what was said before. It is stored in the vault.
    ///
    /// # Errors
    ///
    /// [`BadParameter`](ErrorKind::BadParameter) for a 1,025th principal; [`Forbidden`](ErrorKind::Forbidden) for a
    /// restricted handle; and the errors of storage.
    pub fn set_access_policy(&self, principal: &Principal, permissions: Permissions) -> Result<()> {
        let subject = Subject::Principal(principal);
        self.act(Operation::SetAccessPolicy, subject, |act| {
            let inner = act.inner();
            let _guard = inner.access.lock_changes();
            let number = inner.access.place(principal)?;
            let plaintext = settings::encode_access_policy(principal, &permissions)?;
            let change = setting(&inner.hierarchy, number, &plaintext, &*inner.entropy)?;
            act.commit(vec![change], CommitOptions::default())?;
            inner.note_time();
            inner
                .access
                .write()
                .insert(principal.clone(), (number, Arc::new(permissions)));
            Ok(())
        })
    }

    /// Takes everything from a principal; handles that act as him are refused from now on. Whether there was an
    /// access policy.
    ///
    /// # Errors
    ///
    /// [`Forbidden`](ErrorKind::Forbidden) for a restricted handle, and the errors of storage.
    pub fn remove_access_policy(&self, principal: &Principal) -> Result<bool> {
        let subject = Subject::Principal(principal);
        self.act(Operation::RemoveAccessPolicy, subject, |act| {
            let inner = act.inner();
            let _guard = inner.access.lock_changes();
            let found = inner
                .access
                .read()
                .get(principal)
                .map(|(number, _)| *number);
            let Some(number) = found else {
                return Ok(false);
            };
            let change = Change::Remove(IndexKey::settings(number));
            act.commit(vec![change], CommitOptions::default())?;
            inner.note_time();
            inner.access.write().remove(principal);
            Ok(true)
        })
    }

    /// All access policies, by principal.
    ///
    /// # Errors
    ///
    /// [`Forbidden`](ErrorKind::Forbidden) for a restricted handle.
    pub fn access_policies(&self) -> Result<BTreeMap<Principal, Permissions>> {
        self.act(Operation::AccessPolicies, Subject::Vault, |act| {
            Ok(act.inner().access.all())
        })
    }
}

impl Inner {
    /// What the principal may do at this moment.
    pub(super) fn policy_of(&self, principal: &Principal) -> Option<Arc<Permissions>> {
        self.access
            .read()
            .get(principal)
            .map(|(_, permissions)| Arc::clone(permissions))
    }
}
