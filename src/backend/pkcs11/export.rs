//! Keys in backups: wrapped by a token under its domain key, and unwrapped in a token that has the same one.

use cryptoki_sys::{CKR_KEY_NOT_WRAPPABLE, CKR_KEY_UNEXTRACTABLE};

use super::attributes::{Custody, Permissions, mac_tag, unwrapped};
use super::connection::{Connection, Domain};
use super::domain::{self, with_fresh_handles};
use super::error::{ErrorClass, TokenError, TokenResult};
use super::handles::ObjectClass;
use super::holding;
use super::kek;
use super::lease::Lease;
use super::making::{KeyKeeping, values_for};
use super::objects::find_one;
use super::profile::Profile;
use super::raw::ObjectHandle;
use super::routes::Route;
use super::token::Retry;
use super::wrapped::{KeyWrapping, MAX_WRAPPED};
use crate::backend::{
    BackendError, BackendErrorKind, BackendResult, KeyReference, KeyRequest, NewKey,
};
use crate::crypto::public_key::PublicKey;
use crate::format::token_key::{Keeping, TokenKey, WrappedValues};
use crate::format::token_key_backup::TokenKeyBackup;
use crate::model::key::{KeyBlob, KeyTag};
use crate::model::spec::{KeyFamily, KeySpec};
use crate::secret::SecretBytes;

const NO_DOMAIN_KEY: &str = "the token has no domain key, under which keys are backed up and restored; make one with \
                             create_domain_key, or bring one in with provision_domain";

/// For the moment in which a value is between two wrappings.
const IN_TRANSIT: Custody<'static> = Custody {
    named: None,
    extractable: true,
    trusted_only: false,
    limit_mechanisms: false,
};

/// The form of a key that a backup carries.
///
/// Errors: `NotExportable` for a key that was not made for backups, and when the token lacks a domain key.
pub(super) fn export(
    connection: &Connection,
    key: &KeyReference<'_>,
    blob: TokenKey,
) -> BackendResult<KeyBlob> {
    connection.require_serial(&blob.serial)?;
    let not_exportable = |sentence| BackendError::new(BackendErrorKind::NotExportable, sentence);
    if !blob.backup_allowed {
        return Err(not_exportable(
            "the key was made without backup_allowed and never leaves its token; make a new key with it",
        ));
    }
    let Some(wrapping) = connection.profile()?.key_wrapping else {
        return Err(not_exportable("the token wraps no keys by RFC 5649"));
    };
    let exporter = Exporter {
        connection,
        key,
        blob: &blob,
        wrapping,
    };
    let exported = with_fresh_handles(connection, || {
        connection
            .token()
            .run(Retry::Safe, |lease| exporter.run(lease))
    });
    let (domain, main, mac) = exported
        .map_err(explained)?
        .ok_or_else(|| not_exportable(NO_DOMAIN_KEY))?;
    let backup = TokenKeyBackup {
        check_value: domain.check_value,
        usage: blob.usage,
        serial: blob.serial.clone(),
        public: key.public.cloned(),
        main,
        mac,
    };
    match backup.encode() {
        // Read back, because a backup that cannot be restored is found out too late.
        Some(bytes) if TokenKeyBackup::decode(&bytes).is_some_and(|read| read == backup) => {
            Ok(KeyBlob::new(SecretBytes::from(bytes)))
        }
        _ => Err(BackendError::new(
            BackendErrorKind::Device,
            "the token wrapped the key in a form that a backup cannot carry",
        )),
    }
}

struct Exporter<'a> {
    connection: &'a Connection,
    key: &'a KeyReference<'a>,
    blob: &'a TokenKey,
    wrapping: KeyWrapping,
}

type Wrapped = Option<Vec<u8>>;

impl Exporter<'_> {
    fn run(&self, lease: &Lease<'_>) -> TokenResult<Option<(Domain, Wrapped, Wrapped)>> {
        let Some(domain) = domain::usable(self.connection, lease)? else {
            return Ok(None);
        };
        let value = |wanted: bool, mac: bool| match wanted {
            true => self.wrap(lease, domain.object, mac).map(Some),
            false => Ok(None),
        };
        let main = value(self.blob.values.main, false)?;
        let mac = value(self.blob.values.mac, true)?;
        Ok(Some((domain, main, mac)))
    }

    fn wrap(&self, lease: &Lease<'_>, domain: ObjectHandle, mac: bool) -> TokenResult<Vec<u8>> {
        let mechanism = self.wrapping.mechanism();
        let wrapped = match &self.blob.keeping {
            Keeping::Resident => {
                let id = id_of(self.key.tag, mac);
                // Found anew: a backup is rare, and a handle may be of an object that was replaced.
                let object = find_one(lease, id, class_of(self.key.spec))?;
                lease.wrap_key(&mechanism, domain, object, MAX_WRAPPED)
            }
            Keeping::Wrapped(values) => {
                let value = if mac { &values.mac } else { &values.main };
                let (Some(value), Some(own)) = (value, KeyWrapping::from_number(values.mechanism))
                else {
                    return Err(TokenError::new(ErrorClass::Unsupported, "C_UnwrapKey"));
                };
                let template =
                    unwrapped(self.key.public, mac, &IN_TRANSIT, &Permissions::default());
                let kek = kek::find(lease, KeyTag::from_bytes(values.kek))?;
                let object = lease.unwrap_key(&own.mechanism(), kek, value, &template)?;
                let wrapped = lease.wrap_key(&mechanism, domain, object, MAX_WRAPPED);
                lease.destroy_object(object)?;
                wrapped
            }
        };
        wrapped.inspect_err(|error| {
            if error.class == ErrorClass::StaleHandle {
                self.connection.remember_domain(None);
            }
        })
    }
}

fn explained(error: TokenError) -> TokenError {
    match error.code {
        Some(CKR_KEY_UNEXTRACTABLE) => error.explained(
            "the key is an object that its token never lets go, although its record says that backups may carry it",
        ),
        Some(CKR_KEY_NOT_WRAPPABLE) => error.explained(
            "the token lets the key go only under a domain key that its security officer trusts, and its domain key \
             is not trusted",
        ),
        _ => error,
    }
}

/// Takes in what [`export`] gave. Gives the request that the key fulfils too: it can do all that it could do before.
///
/// Errors: `InvalidInput` for a bad blob; `Rejected` for one of another domain and `Unavailable` without a domain
/// key, both before anything is made.
pub(super) fn restore<'a>(
    connection: &Connection,
    keeping: KeyKeeping,
    request: &KeyRequest<'a>,
    blob: &KeyBlob,
) -> BackendResult<(KeyRequest<'a>, NewKey)> {
    let backup = TokenKeyBackup::decode(blob.expose())
        .ok_or_else(|| invalid("the key in the backup was not written by a PKCS#11 backend"))?;
    check(request, &backup)?;
    let profile = connection.settled_profile()?;
    if !profile.capabilities.generates(request.spec) && !profile.capabilities.imports(request.spec)
    {
        return Err(BackendErrorKind::Unsupported.into());
    }
    let wrapping = profile.key_wrapping.ok_or_else(|| {
        BackendError::new(
            BackendErrorKind::Unsupported,
            "the token unwraps no keys by RFC 5649",
        )
    })?;
    let there = with_fresh_handles(connection, || {
        connection
            .token()
            .run(Retry::Safe, |lease| domain::usable(connection, lease))
    })?
    .ok_or_else(|| BackendError::new(BackendErrorKind::Unavailable, NO_DOMAIN_KEY))?;
    if there.check_value != backup.check_value {
        return Err(BackendError::new(
            BackendErrorKind::Rejected,
            format!(
                "the key was backed up in token {} under another domain key than this token has; restore it in a token \
                 of that domain",
                backup.serial
            ),
        ));
    }
    let request = KeyRequest {
        operations: backup.usage,
        ..*request
    };
    let restorer = Restorer {
        connection,
        profile: &profile,
        wrapping,
        request: &request,
        backup: &backup,
    };
    let keeping = match keeping {
        KeyKeeping::Resident => restorer.resident(),
        KeyKeeping::Wrapped => restorer.wrapped(),
    }
    .map_err(|error| match error.class {
        ErrorClass::DecryptFailed => {
            invalid("the wrapped key in the backup does not open: it is damaged")
        }
        _ => error.into(),
    })?;
    let key = TokenKey {
        serial: connection.serial()?.to_owned(),
        usage: backup.usage,
        backup_allowed: request.backup_allowed,
        values: backup.values(),
        keeping,
    };
    let blob = key.encode().ok_or_else(|| {
        BackendError::new(
            BackendErrorKind::Device,
            "the token's serial number or wrapped key is longer than a record can hold",
        )
    })?;
    let key = NewKey::new(KeyBlob::new(SecretBytes::from(blob)), backup.public);
    Ok((request, key))
}

/// Whether the parts of the backup fit each other and the request.
fn check(request: &KeyRequest<'_>, backup: &TokenKeyBackup) -> BackendResult<()> {
    let spec = match &backup.public {
        Some(parts) => {
            let public = PublicKey::from_parts(parts)
                .map_err(|error| invalid(format!("the public key in the backup: {error}")))?;
            Some(public.spec())
        }
        None => None,
    };
    let fits = match request.spec {
        KeySpec::Oct(length) => {
            let longest = |bytes: usize| bytes.next_multiple_of(8) + 8;
            let right = |value: &Wrapped, bytes| {
                value
                    .as_ref()
                    .is_none_or(|value| value.len() == longest(bytes))
            };
            spec.is_none()
                && right(&backup.main, length.bytes())
                && right(&backup.mac, super::attributes::MAC_KEY_LENGTH)
        }
        _ => spec == Some(request.spec),
    };
    if !fits {
        return Err(invalid(
            "the key in the backup is of another kind than its record says",
        ));
    }
    let used = request
        .operations
        .iter()
        .all(|operation| backup.usage.contains(operation));
    if !used || backup.values() != values_for(request.spec, backup.usage) {
        return Err(invalid(
            "the key in the backup is for other operations than its record says",
        ));
    }
    Ok(())
}

struct Restorer<'a> {
    connection: &'a Connection,
    profile: &'a Profile,
    wrapping: KeyWrapping,
    request: &'a KeyRequest<'a>,
    backup: &'a TokenKeyBackup,
}

impl Restorer<'_> {
    fn values(&self) -> impl Iterator<Item = (bool, &[u8])> {
        let main = self.backup.main.as_deref().map(|value| (false, value));
        let mac = self.backup.mac.as_deref().map(|value| (true, value));
        main.into_iter().chain(mac)
    }

    /// The domain key that was compared, or an error: it may have been replaced since.
    fn domain(&self, lease: &Lease<'_>) -> TokenResult<ObjectHandle> {
        match domain::usable(self.connection, lease)? {
            Some(domain) if domain.check_value == self.backup.check_value => Ok(domain.object),
            _ => Err(TokenError::with_detail(
                ErrorClass::NotPermitted,
                "C_UnwrapKey",
                "the token's domain key was replaced meanwhile; try again",
            )),
        }
    }

    fn resident(&self) -> TokenResult<Keeping> {
        let token = self.connection.token();
        let tag = self.request.tag;
        let label = self.request.label.of_key(tag);
        holding::begin(token, tag)?;
        let routes = self.profile.routes.of(self.request.spec);
        for (mac, value) in self.values() {
            let id = id_of(tag, mac);
            let custody = Custody {
                named: Some((&id, &label)),
                extractable: self.request.backup_allowed,
                trusted_only: self.request.backup_allowed && self.profile.wraps_with_trusted,
                limit_mechanisms: self.profile.limits_mechanisms,
            };
            let permissions = Permissions::new(&routes, self.request.operations, |route: Route| {
                route.is_mac() == mac
            });
            let template = unwrapped(self.backup.public.as_ref(), mac, &custody, &permissions);
            // A call with a handle that means nothing has made nothing.
            with_fresh_handles(self.connection, || {
                token.mutate(|lease| {
                    let domain = self.domain(lease)?;
                    let object =
                        lease.unwrap_key(&self.wrapping.mechanism(), domain, value, &template)?;
                    let class = class_of(self.request.spec);
                    token.handles().insert(lease.epoch(), id, class, object);
                    Ok(())
                })
            })?;
        }
        Ok(Keeping::Resident)
    }

    fn wrapped(&self) -> TokenResult<Keeping> {
        let token = self.connection.token();
        let kek_id = kek::current(self.connection, self.wrapping)?;
        let mechanism = self.wrapping.mechanism();
        let mut wrapped = [None, None];
        for (mac, value) in self.values() {
            let public = self.backup.public.as_ref();
            let template = unwrapped(public, mac, &IN_TRANSIT, &Permissions::default());
            let rewrapped = with_fresh_handles(self.connection, || {
                token.run(Retry::Safe, |lease| {
                    let kek = kek::find(lease, kek_id)?;
                    let domain = self.domain(lease)?;
                    let object = lease.unwrap_key(&mechanism, domain, value, &template)?;
                    let rewrapped = lease.wrap_key(&mechanism, kek, object, MAX_WRAPPED);
                    lease.destroy_object(object)?;
                    rewrapped
                })
            })?;
            wrapped[usize::from(mac)] = Some(rewrapped);
        }
        let [main, mac] = wrapped;
        Ok(Keeping::Wrapped(WrappedValues {
            kek: *kek_id.as_bytes(),
            mechanism: self.wrapping.number(),
            main,
            mac,
        }))
    }
}

fn id_of(tag: KeyTag, mac: bool) -> KeyTag {
    if mac { mac_tag(tag) } else { tag }
}

fn class_of(spec: KeySpec) -> ObjectClass {
    match spec.family() {
        KeyFamily::Rsa | KeyFamily::Ec => ObjectClass::Private,
        KeyFamily::Oct => ObjectClass::Secret,
    }
}

fn invalid(sentence: impl Into<std::borrow::Cow<'static, str>>) -> BackendError {
    BackendError::new(BackendErrorKind::InvalidInput, sentence)
}
