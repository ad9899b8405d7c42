//! What a handle may do.

use std::sync::Arc;

use super::Inner;
use crate::error::{Error, ErrorKind, Result};
use crate::model::name::KeyName;
use crate::model::permission::{Permission, Permissions};
use crate::model::principal::Principal;

/// The limits of a handle. All of them must allow what it is asked for; a handle is only ever narrowed.
#[derive(Clone, Default)]
pub(super) struct Grant {
    /// `None` is the full handle.
    limits: Option<Arc<Limits>>,
}

#[derive(Clone, Default)]
struct Limits {
    /// Whose current access policy counts.
    principal: Option<Principal>,
    /// What the handle was narrowed to, in the order in which that happened.
    narrowed: Vec<Permissions>,
}

/// What an operation needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Need {
    One(Permission),
    /// The handle that opening or creating the vault gave.
    FullHandle,
}

impl Limits {
    /// As [`Grant::require`].
    fn require(&self, inner: &Inner, need: Need, name: Option<&KeyName>) -> Result<()> {
        let Need::One(permission) = need else {
            return Err(Error::new(
                ErrorKind::Forbidden,
                "this is about the vault as a whole, and the handle was restricted; use the one that opening \
                 the vault gave",
            ));
        };
        let policy;
        let of_principal = match &self.principal {
            None => None,
            Some(principal) => {
                policy = inner
                    .policy_of(principal)
                    .ok_or_else(|| no_policy(principal))?;
                Some(&*policy)
            }
        };
        for permissions in self.narrowed.iter().chain(of_principal) {
            if !permissions.contains(permission) {
                return Err(Error::new(
                    ErrorKind::Forbidden,
                    format!("this handle does not have the permission {permission}"),
                ));
            }
            if name.is_some_and(|name| !permissions.cover(name)) {
                return Err(Error::new(
                    ErrorKind::Forbidden,
                    format!(
                        "this handle does not have the permission {permission} for keys of this name"
                    ),
                ));
            }
        }
        Ok(())
    }
}

impl Grant {
    pub(super) fn of(principal: Principal) -> Self {
        Self {
            limits: Some(Arc::new(Limits {
                principal: Some(principal),
                narrowed: Vec::new(),
            })),
        }
    }

    pub(super) fn narrowed(&self, permissions: Permissions) -> Self {
        let mut limits = self.limits.as_deref().cloned().unwrap_or_default();
        if !limits.narrowed.contains(&permissions) {
            limits.narrowed.push(permissions);
        }
        Self {
            limits: Some(Arc::new(limits)),
        }
    }

    pub(super) fn principal(&self) -> Option<&Principal> {
        self.limits.as_deref()?.principal.as_ref()
    }

    /// Errors: `Forbidden`, before anything tells whether the key exists.
    #[inline]
    pub(super) fn require(&self, inner: &Inner, need: Need, name: Option<&KeyName>) -> Result<()> {
        match &self.limits {
            None => Ok(()),
            Some(limits) => limits.require(inner, need, name),
        }
    }

    /// Whether listings show keys of this name. The permission itself was asked for before.
    pub(super) fn shows(&self, inner: &Inner, name: &KeyName) -> bool {
        let Some(limits) = &self.limits else {
            return true;
        };
        let policy = match &limits.principal {
            None => None,
            Some(principal) => match inner.policy_of(principal) {
                Some(policy) => Some(policy),
                // It was removed while the listing was under way.
                None => return false,
            },
        };
        limits
            .narrowed
            .iter()
            .chain(policy.as_deref())
            .all(|permissions| permissions.cover(name))
    }
}

pub(super) fn no_policy(principal: &Principal) -> Error {
    Error::new(
        ErrorKind::Forbidden,
        format!("no access policy of this vault is for the principal {principal}"),
    )
}
