//! How a domain key gets into another token: wrapped by RSA-OAEP under a transport key that was made there.

use cryptoki_sys::{CKA_EXTRACTABLE, CKA_ID, CKO_PRIVATE_KEY};

use super::Pkcs11Backend;
use super::connection::Connection;
use super::domain::{self, DomainKey};
use super::error::{ErrorClass, TokenError};
use super::fingerprint::TransportFingerprint;
use super::mechanism::Mechanism;
use super::routes::Route;
use super::template::Template;
use super::transport::{Offer, SIZE, destroy_transport_keys, labelled, offered, rejected};
use crate::backend::{BackendError, BackendErrorKind, BackendResult};
use crate::format::token_key_backup::CHECK_VALUE_LENGTH;
use crate::model::algorithm::{CryptoOperation, EncryptionAlgorithm};
use crate::model::spec::KeySpec;
use crate::secret::Pin;

/// A token that [`provision_domain`] brings the domain key into.
#[derive(Debug, Clone, Copy)]
pub struct DomainDestination<'a> {
    backend: &'a Pkcs11Backend,
    security_officer: &'a Pin,
    expected_fingerprint: TransportFingerprint,
}

impl<'a> DomainDestination<'a> {
    /// The token of `backend`, the PIN of its security officer, and the fingerprint that
    /// [`Pkcs11Backend::begin_provisioning`] gave there, as it was told by another way.
    #[must_use]
    pub fn new(
        backend: &'a Pkcs11Backend,
        security_officer: &'a Pin,
        expected_fingerprint: TransportFingerprint,
    ) -> Self {
        Self {
            backend,
            security_officer,
            expected_fingerprint,
        }
    }

    fn connection(&self) -> &'a Connection {
        &self.backend.connection
    }
}

/// Brings the domain key of `source` into other tokens, and closes the domain: afterwards the key can leave none of
/// them (CKA_EXTRACTABLE is false), so all tokens of a domain have to be in one ceremony. Without destinations it
/// only closes. Gives the source's domain key.
///
/// In each destination [`Pkcs11Backend::begin_provisioning`] comes first: it makes a transport key and gives its
/// fingerprint, which people compare. The source then wraps the domain key with RSA-OAEP under that public key
/// (SHA-256 where both tokens have it natively, else SHA-1), the destination unwraps and tests it, the source's key
/// is closed, and the transport key destroyed. The security officers trust the transport key in the source, and the
/// domain key in the destination, where the token lets them.
///
/// **If it is cut short,** each destination has the domain key or does not, the transport keys are still there and
/// the source may not be closed yet; calling it again with the same arguments completes it. An object without
/// label may remain in a destination whose module ended in the middle of a call; the vaults' check reports it.
///
/// **Blocking, and alone:** the security officer's login counts for the whole process, so meanwhile nobody else in
/// the process uses the tokens' modules. The PINs are tried once.
///
/// # Errors
///
/// * `Rejected`: the fingerprint is not that of a transport key of the destination; the destination has
///   another domain key; the source has none, or one that is closed while a destination lacks it. Nothing has
///   changed in any token.
/// * `InvalidInput`: a token is named twice. Nothing has changed.
/// * `Authentication`: the token refuses the security officer's PIN, or the user's.
/// * `Unsupported`, `Unavailable`, `Device`: what the tokens say.
///
/// # Examples
///
/// ```no_run
/// use strongroom::Pin;
/// use strongroom::backend::pkcs11::{DomainDestination, Pkcs11Backend, provision_domain};
/// # fn backends() -> (Pkcs11Backend, Pkcs11Backend) { unimplemented!() }
///
/// let (primary, standby) = backends();
/// let officer = Pin::new("officer of the primary")?;
/// primary.create_domain_key(&officer)?;
///
/// // At the standby token; its operator reads the fingerprint out.
/// let transport = standby.begin_provisioning()?;
/// println!("{}", transport.fingerprint());
///
/// // Where both tokens are, with what was heard.
/// let heard = "3a7d 0c51 88e2 …".parse()?;
/// let other_officer = Pin::new("officer of the standby")?;
/// let destination = DomainDestination::new(&standby, &other_officer, heard);
/// let domain = provision_domain(&primary, &officer, &[destination])?;
/// assert_eq!(standby.domain_key()?.as_ref(), Some(&domain));
/// # Ok::<(), strongroom::Error>(())
/// ```
pub fn provision_domain(
    source: &Pkcs11Backend,
    security_officer: &Pin,
    destinations: &[DomainDestination<'_>],
) -> BackendResult<DomainKey> {
    let source = &*source.connection;
    require_distinct(source, destinations)?;
    let Some(own) = domain::describe(source)? else {
        return Err(rejected(
            "the source token has no domain key; make one with create_domain_key",
        ));
    };
    // Everything that can be refused is refused before anything changes.
    let mut due = Vec::new();
    for destination in destinations {
        match domain::describe(destination.connection())? {
            Some(there) if there.check_value() == own.check_value() => {}
            Some(_) => {
                return Err(rejected(
                    "the destination has a domain key of its own, and a token has one at most; destroy the object \
                     labelled strongroom/domain there if no backup needs it any more",
                ));
            }
            None => due.push((
                destination,
                offered(destination.connection(), destination.expected_fingerprint)?,
            )),
        }
    }
    if !due.is_empty() {
        if own.is_closed() {
            return Err(rejected(
                "the source's domain key was closed by an earlier ceremony and cannot leave its token any more",
            ));
        }
        let wrapped = send(source, security_officer, &due)?;
        for ((destination, offer), wrapped) in due.iter().zip(&wrapped) {
            receive(destination, offer, wrapped, own.check_value())?;
        }
    }
    if !own.is_closed() {
        close(source)?;
    }
    for destination in destinations {
        let connection = destination.connection();
        if domain::describe(connection)?.is_some_and(|there| !there.is_closed()) {
            close(connection)?;
        }
        connection.token().mutate(destroy_transport_keys)?;
    }
    domain::describe(source)?.ok_or_else(|| {
        BackendError::new(
            BackendErrorKind::Device,
            "the source token does not find its domain key any more",
        )
    })
}

/// The domain key, wrapped for each of the destinations.
fn send(
    source: &Connection,
    officer: &Pin,
    due: &[(&DomainDestination<'_>, Offer)],
) -> BackendResult<Vec<Wrapped>> {
    let mechanisms = due
        .iter()
        .map(|(destination, _)| {
            let native = has_oaep_sha256(source)? && has_oaep_sha256(destination.connection())?;
            Ok(if native {
                Mechanism::RsaOaepSha256
            } else {
                Mechanism::RsaOaepSha1
            })
        })
        .collect::<BackendResult<Vec<_>>>()?;
    let wrapped = source.token().hold_ceremony(officer, |ceremony| {
        let (functions, session) = (ceremony.functions(), ceremony.session());
        due.iter()
            .zip(mechanisms)
            .map(|((_, offer), mechanism)| {
                let (transport, _) = ceremony.make_trusted(|trusted| {
                    functions.create_object(session, &offer.template(trusted))
                })?;
                let domain = domain::the_one(functions, session)?
                    .ok_or_else(|| TokenError::new(ErrorClass::NotFound, "C_FindObjects"))?;
                let capacity = SIZE.modulus_length();
                let bytes = functions.wrap_key(session, &mechanism, transport, domain, capacity)?;
                functions.destroy_object(session, transport)?;
                Ok(Wrapped { mechanism, bytes })
            })
            .collect()
    })?;
    Ok(wrapped)
}

struct Wrapped {
    mechanism: Mechanism<'static>,
    bytes: Vec<u8>,
}

/// Makes the wrapped key the destination's domain key.
///
/// The private half of the transport key is the user's, trust is the officer's to give, and neither sees what is the
/// other's. So the user wraps the key again, under a bridge that lives as long as the session and that both see.
fn receive(
    destination: &DomainDestination<'_>,
    offer: &Offer,
    wrapped: &Wrapped,
    expected: &[u8; CHECK_VALUE_LENGTH],
) -> BackendResult<()> {
    let connection = destination.connection();
    let limit = connection.profile()?.limits_mechanisms;
    let officer = destination.security_officer;
    connection.token().hold_ceremony(officer, |ceremony| {
        let (functions, session) = (ceremony.functions(), ceremony.session());
        ceremony.as_user()?;
        if domain::the_one(functions, session)?.is_some() {
            return Err(TokenError::with_detail(
                ErrorClass::NotPermitted,
                "C_FindObjects",
                "the destination got a domain key meanwhile; call again",
            ));
        }
        let private = labelled(CKO_PRIVATE_KEY).bytes(CKA_ID, &offer.id);
        let [private] = functions.find_objects(session, &private, 2)?[..] else {
            return Err(TokenError::new(ErrorClass::NotFound, "C_FindObjects"));
        };
        let arrived = functions
            .unwrap_key(
                session,
                &wrapped.mechanism,
                private,
                &wrapped.bytes,
                &domain::template(true, false, limit),
            )
            .map_err(|error| match error.class {
                ErrorClass::DecryptFailed => TokenError::with_detail(
                    ErrorClass::Device,
                    "C_UnwrapKey",
                    "the destination could not unwrap the domain key with its transport key",
                ),
                _ => error,
            })?;
        if domain::check_value(functions, session, arrived)? != *expected {
            return Err(TokenError::with_detail(
                ErrorClass::Device,
                "C_UnwrapKey",
                "what arrived in the destination is not the source's domain key",
            ));
        }
        let bridge = functions.generate_key(
            session,
            &Mechanism::AesKeyGen,
            &domain::template(false, false, limit).ulong(cryptoki_sys::CKA_VALUE_LEN, 32),
        )?;
        let mechanism = Mechanism::AesKeyWrap;
        let bridged = functions.wrap_key(session, &mechanism, bridge, arrived, 40)?;
        functions.destroy_object(session, arrived)?;
        let (object, trusted) = ceremony.make_trusted(|trusted| {
            let template = domain::template(false, trusted, limit);
            functions.unwrap_key(session, &mechanism, bridge, &bridged, &template)
        })?;
        functions.destroy_object(session, bridge)?;
        domain::keep(ceremony, object, trusted, false)
    })?;
    Ok(())
}

/// From here on the key leaves the token no more.
fn close(connection: &Connection) -> BackendResult<()> {
    connection.token().mutate(|lease| {
        let (functions, session) = (lease.functions(), lease.session());
        let Some(domain) = domain::the_one(functions, session)? else {
            lease.health()?;
            return Err(TokenError::new(ErrorClass::NotFound, "C_FindObjects"));
        };
        lease.set_attributes(domain, &Template::new().bool(CKA_EXTRACTABLE, false))?;
        match lease.get_attribute(domain, CKA_EXTRACTABLE)?.as_deref() {
            Some([0]) => Ok(()),
            _ => Err(TokenError::with_detail(
                ErrorClass::Device,
                "C_SetAttributeValue",
                "the token did not close the domain key: it can still leave",
            )),
        }
    })?;
    Ok(())
}

fn has_oaep_sha256(connection: &Connection) -> BackendResult<bool> {
    let wanted = CryptoOperation::Decrypt(EncryptionAlgorithm::RsaOaep256);
    let native = (wanted, Route::Oaep);
    Ok(connection
        .profile()?
        .routes
        .of(KeySpec::Rsa(SIZE))
        .contains(&native))
}

fn require_distinct(
    source: &Connection,
    destinations: &[DomainDestination<'_>],
) -> BackendResult<()> {
    let mut serials = vec![source.serial()?];
    for destination in destinations {
        let serial = destination.connection().serial()?;
        if serials.contains(&serial) {
            return Err(BackendError::new(
                BackendErrorKind::InvalidInput,
                format!("the token with serial number {serial} is named twice in the ceremony"),
            ));
        }
        serials.push(serial);
    }
    Ok(())
}
