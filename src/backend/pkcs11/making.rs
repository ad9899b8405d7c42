//! Keys made by the token and taken in by it.

use super::attributes::{
    Custody, MAC_KEY_LENGTH, Permissions, aes_key, ec_public, imported, mac_key, mac_tag,
    private_key, public_parts, require_rsa, rsa_public,
};
use super::connection::Connection;
use super::error::TokenResult;
use super::handles::ObjectClass;
use super::holding;
use super::kek;
use super::lease::Lease;
use super::mechanism::Mechanism;
use super::objects::find_secret;
use super::profile::Profile;
use super::raw::ObjectHandle;
use super::routes::Route;
use super::wrapped::MAX_WRAPPED;
use crate::backend::{BackendError, BackendErrorKind, BackendResult, KeyRequest, NewKey};
use crate::crypto::limits::DEFAULT_RSA_EXPONENT;
use crate::format::token_key::{Keeping, TokenKey, Values, WrappedValues};
use crate::model::key::KeyBlob;
use crate::model::material::{KeyMaterial, PublicParts};
use crate::model::operation::{KeyOperation, KeyOperations};
use crate::model::spec::{KeyFamily, KeySpec};
use crate::secret::SecretBytes;

/// How a backend keeps the keys that it makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum KeyKeeping {
    /// As objects of the token that nobody can take out, for as long as the vault has the key.
    #[default]
    Resident,
    /// In the vault, wrapped by the token under a key that never leaves it, and unwrapped there for use. The
    /// token's capacity and speed are no limits, and making a key writes nothing to the token. The promise is
    /// weaker: who has the token's PIN *and* the vault's keys can take keys out.
    Wrapped,
}

/// Where the value of a new key comes from.
enum Origin<'a> {
    Generated { public_exponent: u64 },
    Imported(&'a KeyMaterial),
}

/// A new key before its blob is written: handles of one session's view.
struct Made {
    object: ObjectHandle,
    public: Option<PublicParts>,
}

pub(super) fn generate(
    connection: &Connection,
    keeping: KeyKeeping,
    request: &KeyRequest<'_>,
) -> BackendResult<NewKey> {
    let profile = connection.settled_profile()?;
    if !profile.capabilities.generates(request.spec) {
        return Err(BackendErrorKind::Unsupported.into());
    }
    let origin = Origin::Generated {
        public_exponent: request.public_exponent.unwrap_or(DEFAULT_RSA_EXPONENT),
    };
    make(connection, &profile, keeping, request, &origin)
}

/// `material` has been validated.
pub(super) fn import(
    connection: &Connection,
    keeping: KeyKeeping,
    request: &KeyRequest<'_>,
    material: &KeyMaterial,
) -> BackendResult<NewKey> {
    let profile = connection.settled_profile()?;
    if !profile.capabilities.imports(request.spec) {
        return Err(BackendErrorKind::Unsupported.into());
    }
    make(
        connection,
        &profile,
        keeping,
        request,
        &Origin::Imported(material),
    )
}

/// The values that a symmetric key needs for its operations; others have one.
pub(super) fn values_for(spec: KeySpec, operations: KeyOperations) -> Values {
    if spec.family() != KeyFamily::Oct {
        return Values {
            main: true,
            mac: false,
        };
    }
    let mac = operations.contains(KeyOperation::Sign) || operations.contains(KeyOperation::Verify);
    let cipher = [
        KeyOperation::Encrypt,
        KeyOperation::Decrypt,
        KeyOperation::WrapKey,
        KeyOperation::UnwrapKey,
    ]
    .into_iter()
    .any(|operation| operations.contains(operation));
    Values {
        main: cipher || !mac,
        mac,
    }
}

fn make(
    connection: &Connection,
    profile: &Profile,
    keeping: KeyKeeping,
    request: &KeyRequest<'_>,
    origin: &Origin<'_>,
) -> BackendResult<NewKey> {
    let values = values_for(request.spec, request.operations);
    let serial = connection.serial()?.to_owned();
    let maker = Maker {
        connection,
        profile,
        request,
        origin,
    };
    let (keeping, public) = match keeping {
        KeyKeeping::Resident => maker.resident(values)?,
        KeyKeeping::Wrapped => maker.wrapped(values)?,
    };
    let blob = TokenKey {
        serial,
        usage: request.operations,
        backup_allowed: request.backup_allowed,
        values,
        keeping,
    };
    let blob = blob.encode().ok_or_else(|| {
        BackendError::new(
            BackendErrorKind::Device,
            "the token's serial number or wrapped key is longer than a record can hold",
        )
    })?;
    Ok(NewKey::new(KeyBlob::new(SecretBytes::from(blob)), public))
}

struct Maker<'a> {
    connection: &'a Connection,
    profile: &'a Profile,
    request: &'a KeyRequest<'a>,
    origin: &'a Origin<'a>,
}

impl Maker<'_> {
    fn permissions(&self, mac: bool) -> Permissions {
        let routes = self.profile.routes.of(self.request.spec);
        Permissions::new(&routes, self.request.operations, |route: Route| {
            route.is_mac() == mac
        })
    }

    fn resident(&self, values: Values) -> TokenResult<(Keeping, Option<PublicParts>)> {
        let token = self.connection.token();
        let tag = self.request.tag;
        let label = self.request.label.of_key(tag);
        let class = match self.request.spec.family() {
            KeyFamily::Rsa | KeyFamily::Ec => ObjectClass::Private,
            KeyFamily::Oct => ObjectClass::Secret,
        };
        holding::begin(token, tag)?;
        let mut public = None;
        for (wanted, mac, id) in [(values.main, false, tag), (values.mac, true, mac_tag(tag))] {
            if !wanted {
                continue;
            }
            let custody = Custody {
                named: Some((&id, &label)),
                extractable: self.request.backup_allowed,
                trusted_only: self.request.backup_allowed && self.profile.wraps_with_trusted,
                limit_mechanisms: self.profile.limits_mechanisms,
            };
            let made = token.mutate_or_again(
                |lease| holding::clear(token, lease, id),
                |lease| {
                    let made = self.make(lease, mac, &custody)?;
                    token
                        .handles()
                        .insert(lease.epoch(), id, class, made.object);
                    Ok(made)
                },
            )?;
            public = made.public.or(public);
        }
        Ok((Keeping::Resident, public))
    }

    fn wrapped(&self, values: Values) -> BackendResult<(Keeping, Option<PublicParts>)> {
        let wrapping = self.profile.key_wrapping.ok_or_else(|| {
            BackendError::new(
                BackendErrorKind::Unsupported,
                "the token wraps no keys by RFC 5649; keep keys as its objects instead",
            )
        })?;
        let token = self.connection.token();
        let kek_id = kek::current(self.connection, wrapping)?;
        let custody = Custody {
            named: None,
            extractable: true,
            trusted_only: false,
            limit_mechanisms: false,
        };
        let mut public = None;
        let mut wrapped = [None, None];
        for (wanted, mac) in [(values.main, false), (values.mac, true)] {
            if !wanted {
                continue;
            }
            let (value, made_public) = token.run(super::token::Retry::Safe, |lease| {
                let kek = find_secret(lease, kek_id)?;
                let made = self.make(lease, mac, &custody)?;
                let value = lease.wrap_key(&wrapping.mechanism(), kek, made.object, MAX_WRAPPED)?;
                lease.destroy_object(made.object)?;
                Ok((value, made.public))
            })?;
            wrapped[usize::from(mac)] = Some(value);
            public = made_public.or(public);
        }
        let [main, mac] = wrapped;
        let wrapped = WrappedValues {
            kek: *kek_id.as_bytes(),
            mechanism: wrapping.number(),
            main,
            mac,
        };
        Ok((Keeping::Wrapped(wrapped), public))
    }

    fn make(&self, lease: &Lease<'_>, mac: bool, custody: &Custody<'_>) -> TokenResult<Made> {
        let permissions = self.permissions(mac);
        let public_exponent = match self.origin {
            Origin::Imported(material) => {
                let object =
                    lease.create_object(&imported(material, mac, custody, &permissions))?;
                return Ok(Made {
                    object,
                    public: material.public_parts(),
                });
            }
            Origin::Generated { public_exponent } => *public_exponent,
        };
        match self.request.spec {
            KeySpec::Rsa(size) => self.make_pair(
                lease,
                &Mechanism::RsaPkcsKeyPairGen,
                &rsa_public(size, public_exponent),
                &private_key(None, custody, &permissions),
                None,
            ),
            KeySpec::Ec(curve) => self.make_pair(
                lease,
                &Mechanism::EcKeyPairGen,
                &ec_public(curve),
                &private_key(None, custody, &permissions),
                Some(curve),
            ),
            KeySpec::Oct(_) if mac => {
                let template = mac_key(Some(MAC_KEY_LENGTH), custody, &permissions);
                secret(lease.generate_key(&Mechanism::GenericSecretKeyGen, &template))
            }
            KeySpec::Oct(length) => {
                let template = aes_key(Some(length.bytes()), custody, &permissions);
                secret(lease.generate_key(&Mechanism::AesKeyGen, &template))
            }
        }
    }

    fn make_pair(
        &self,
        lease: &Lease<'_>,
        mechanism: &Mechanism<'_>,
        public: &super::template::Template<'_>,
        private: &super::template::Template<'_>,
        curve: Option<crate::model::spec::Curve>,
    ) -> TokenResult<Made> {
        let (public, object) = lease.generate_key_pair(mechanism, public, private)?;
        let parts = public_parts(lease, public, curve).and_then(|parts| {
            if let (KeySpec::Rsa(size), Origin::Generated { public_exponent }) =
                (self.request.spec, self.origin)
            {
                require_rsa(&parts, size, *public_exponent)?;
            }
            Ok(parts)
        });
        let parts = match parts {
            Ok(parts) => parts,
            Err(error) => {
                // The caller abandons the key too, but not everybody who reads the error does.
                let _ = lease.destroy_object(object);
                return Err(error);
            }
        };
        // The records keep the public key; the object was the session's only.
        lease.destroy_object(public)?;
        Ok(Made {
            object,
            public: Some(parts),
        })
    }
}

fn secret(object: TokenResult<ObjectHandle>) -> TokenResult<Made> {
    Ok(Made {
        object: object?,
        public: None,
    })
}
