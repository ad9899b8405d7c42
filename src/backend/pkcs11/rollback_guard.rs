//! The newest state of a vault, remembered in a token.

use std::fmt;
use std::sync::Arc;

use cryptoki_sys::{
    CKA_APPLICATION, CKA_CLASS, CKA_LABEL, CKA_PRIVATE, CKA_TOKEN, CKA_VALUE, CKO_DATA,
};

use super::connection::Connection;
use super::error::{ErrorClass, TokenError, TokenResult};
use super::lease::Lease;
use super::raw::ObjectHandle;
use super::template::Template;
use super::token::Retry;
use super::{Pkcs11Backend, Pkcs11Options};
use crate::backend::{BackendResult, RollbackGuard};
use crate::model::pin::VaultPin;

/// More objects than one are the trace of processes that ended between making and destroying.
const MOST: usize = 64;
/// More than a pin has; a longer value is none.
const MAX_LENGTH: usize = 1_024;

/// A rollback guard in a token: a private data object with the pin's text, for each vault one.
///
/// It protects a vault from whoever can put back the vault's directory and has no PIN of the token; whoever has the
/// PIN can destroy the object. The application of the object is `strongroom`, its label
/// `strongroom/rollback/` and the vault's id in hexadecimal characters.
///
/// While a vault changes, an object is made and one destroyed each second. Tokens that keep their objects in flash
/// memory wear by that: for a vault that changes all day, a guard elsewhere is better.
///
/// A later state is never replaced by an earlier one. To go on with an older copy of the vault on purpose, call
/// [`Pkcs11RollbackGuard::forget`] before it is opened.
///
/// # Examples
///
/// ```no_run
/// use std::sync::Arc;
/// use strongroom::backend::pkcs11::{Pkcs11Backend, Pkcs11RollbackGuard};
/// use strongroom::{MasterKey, Unlock, VaultOptions};
/// # fn backend() -> Pkcs11Backend { unimplemented!() }
///
/// let backend = Arc::new(backend());
/// let guard = Pkcs11RollbackGuard::of(&backend);
/// # let master = MasterKey::generate()?;
/// let vault = VaultOptions::new()
///     .backend(backend)
///     .rollback_guard(Arc::new(guard))
///     .open("/var/lib/app/vault", Unlock::raw_key(&master))?;
/// # Ok::<(), strongroom::Error>(())
/// ```
#[derive(Clone)]
pub struct Pkcs11RollbackGuard {
    connection: Arc<Connection>,
}

impl Pkcs11RollbackGuard {
    /// In the token of these options, which is not touched yet. What they say about keys of a backend is of no
    /// consequence here.
    #[must_use]
    pub fn new(options: Pkcs11Options) -> Self {
        Self {
            connection: options.into_connection(),
        }
    }

    /// In the token of a backend, through the same sessions.
    #[must_use]
    pub fn of(backend: &Pkcs11Backend) -> Self {
        Self {
            connection: Arc::clone(&backend.connection),
        }
    }

    /// Destroys what is remembered of the vault with this id. The next state that the vault tells is the first one.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Authentication`, and what the token says besides.
    pub fn forget(&self, vault_id: &[u8; 16]) -> BackendResult<()> {
        let label = label(vault_id);
        Ok(self.connection.token().mutate(|lease| {
            let objects = found(lease, &label)?;
            destroy(lease, &objects)
        })?)
    }
}

impl RollbackGuard for Pkcs11RollbackGuard {
    fn recall(&self, vault_id: &[u8; 16]) -> BackendResult<Option<VaultPin>> {
        let label = label(vault_id);
        let token = self.connection.token();
        Ok(token.run(Retry::Safe, |lease| {
            newest(lease, &found(lease, &label)?, vault_id)
        })?)
    }

    /// Never by changing an object: SoftHSM2 writes those anew in place, and a process that ends meanwhile loses them.
    fn remember(&self, pin: &VaultPin) -> BackendResult<()> {
        let label = label(pin.vault_id());
        let text = pin.to_string();
        Ok(self.connection.token().mutate(|lease| {
            let older = found(lease, &label)?;
            let known = match newest(lease, &older, pin.vault_id()) {
                // What is no pin goes with the rest.
                Err(error) if error.class == ErrorClass::NotPermitted => None,
                known => known?,
            };
            if let Some(known) = known {
                if known.generation() > pin.generation() {
                    return Err(TokenError::with_detail(
                        ErrorClass::NotPermitted,
                        "C_CreateObject",
                        format!(
                            "the token remembers generation {} of the vault, which is later than generation {}; another \
                             copy of the vault is in use",
                            known.generation(),
                            pin.generation()
                        ),
                    ));
                }
                if known == *pin && older.len() == 1 {
                    return Ok(());
                }
            }
            let new = lease.create_object(
                &labelled(&label)
                    .bool(CKA_TOKEN, true)
                    .bool(CKA_PRIVATE, true)
                    .bytes(CKA_APPLICATION, b"strongroom")
                    .bytes(CKA_VALUE, text.as_bytes()),
            )?;
            if lease.get_attribute(new, CKA_VALUE)?.as_deref() != Some(text.as_bytes()) {
                return Err(TokenError::with_detail(
                    ErrorClass::Device,
                    "C_CreateObject",
                    "the token does not keep a data object as it was made",
                ));
            }
            destroy(lease, &older)
        })?)
    }
}

impl fmt::Debug for Pkcs11RollbackGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pkcs11RollbackGuard")
            .field("connection", &self.connection)
            .finish()
    }
}

fn label(vault_id: &[u8; 16]) -> String {
    format!(
        "strongroom/rollback/{:032x}",
        u128::from_be_bytes(*vault_id)
    )
}

fn labelled(label: &str) -> Template<'_> {
    Template::new()
        .ulong(CKA_CLASS, CKO_DATA)
        .bytes(CKA_LABEL, label.as_bytes())
}

fn found(lease: &Lease<'_>, label: &str) -> TokenResult<Vec<ObjectHandle>> {
    let objects = lease.find_objects(&labelled(label).bool(CKA_TOKEN, true), MOST)?;
    if objects.is_empty() {
        // A token that is gone finds nothing either.
        lease.health()?;
    }
    Ok(objects)
}

fn destroy(lease: &Lease<'_>, objects: &[ObjectHandle]) -> TokenResult<()> {
    objects
        .iter()
        .try_for_each(|object| lease.destroy_object(*object))
}

/// The pin of the highest generation. An object without a value is what a process left that ended while it made it.
///
/// Errors: `NotPermitted` when there are values and none of them is a pin of this vault.
fn newest(
    lease: &Lease<'_>,
    objects: &[ObjectHandle],
    vault_id: &[u8; 16],
) -> TokenResult<Option<VaultPin>> {
    let mut newest: Option<VaultPin> = None;
    let mut other = false;
    for object in objects {
        let value = lease.get_attribute(*object, CKA_VALUE)?.unwrap_or_default();
        if value.is_empty() {
            continue;
        }
        match parse(&value).filter(|pin| pin.vault_id() == vault_id) {
            Some(pin) if newest.is_none_or(|known| known.generation() < pin.generation()) => {
                newest = Some(pin);
            }
            Some(_) => {}
            None => other = true,
        }
    }
    if newest.is_none() && other {
        return Err(TokenError::with_detail(
            ErrorClass::NotPermitted,
            "C_GetAttributeValue",
            "the token's object of the rollback guard holds no pin of this vault",
        ));
    }
    Ok(newest)
}

pub(super) fn parse(value: &[u8]) -> Option<VaultPin> {
    if value.len() > MAX_LENGTH {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}
