//! Domain keys: what the tokens of one domain share, so that a key that one has wrapped can be restored in
//! another. A domain key is another key than the one under which a token keeps [wrapped](super::KeyKeeping::Wrapped)
//! keys, which never leaves it.

use std::fmt;

use cryptoki::session::Session;
use cryptoki_sys::{
    CK_ATTRIBUTE_TYPE, CKA_ALLOWED_MECHANISMS, CKA_CLASS, CKA_DECRYPT, CKA_DERIVE, CKA_ENCRYPT,
    CKA_EXTRACTABLE, CKA_ID, CKA_KEY_TYPE, CKA_LABEL, CKA_PRIVATE, CKA_SENSITIVE, CKA_SIGN,
    CKA_TOKEN, CKA_TRUSTED, CKA_UNWRAP, CKA_VALUE, CKA_VALUE_LEN, CKA_VERIFY, CKA_WRAP,
    CKA_WRAP_WITH_TRUSTED, CKK_AES, CKM_AES_KEY_WRAP, CKM_AES_KEY_WRAP_KWP, CKM_AES_KEY_WRAP_PAD,
    CKO_SECRET_KEY,
};

use super::ceremony::Ceremony;
use super::connection::{Connection, Domain};
use super::error::{ErrorClass, TokenError, TokenResult};
use super::known_answers::internal;
use super::lease::Lease;
use super::mechanism::Mechanism;
use super::operations::data_object;
use super::raw::{Functions, ObjectHandle};
use super::template::Template;
use super::token::Retry;
use super::trials::Verdict;
use crate::backend::{BackendError, BackendErrorKind, BackendResult};
use crate::crypto::hash::digest;
use crate::env::OsEntropy;
use crate::format::token_key_backup::CHECK_VALUE_LENGTH;
use crate::model::algorithm::HashAlgorithm;
use crate::model::key::KeyTag;
use crate::secret::{Pin, SecretBytes};

/// A token has one working key with this label at most.
const LABEL: &str = "strongroom/domain";

/// More objects with the label are not looked at.
const MOST: usize = 64;

/// What every domain key wraps for its check value.
const CHECKED: &[u8; 32] = b"strongroom/domain check value v1";

/// An AES key wrap of [`CHECKED`] (RFC 3394).
const CHECKED_WRAPPED_LENGTH: usize = CHECKED.len() + 8;

/// A token's domain key, as far as it is public.
#[derive(Clone, PartialEq, Eq)]
pub struct DomainKey {
    check_value: [u8; CHECK_VALUE_LENGTH],
    trusted: bool,
    closed: bool,
}

impl DomainKey {
    /// Tells domain keys apart and nothing about them: the first 16 bytes of SHA-512 of 32 constant bytes wrapped by
    /// the key (AES key wrap, RFC 3394). Tokens with equal check values restore each other's keys.
    #[must_use]
    pub fn check_value(&self) -> &[u8; CHECK_VALUE_LENGTH] {
        &self.check_value
    }

    /// Whether the token's security officer trusts the key (CKA_TRUSTED). Only under such a key do tokens that know
    /// CKA_WRAP_WITH_TRUSTED let resident keys go.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// Whether the key can leave the token no more (CKA_EXTRACTABLE is false), as it is after
    /// [`provision_domain`](super::provision_domain).
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }
}

impl fmt::Debug for DomainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DomainKey(")?;
        self.check_value
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))?;
        let closed = if self.closed { ", closed" } else { "" };
        let trusted = if self.trusted { ", trusted" } else { "" };
        write!(f, "{trusted}{closed})")
    }
}

/// The domain key, with its check value made by the token in this epoch.
pub(super) fn find(connection: &Connection, lease: &Lease<'_>) -> TokenResult<Option<Domain>> {
    if let Some(domain) = connection.known_domain(lease.epoch()) {
        return Ok(Some(domain));
    }
    let Some(domain) = working(lease.functions(), lease.session())? else {
        // A token that is gone finds nothing either.
        lease.health()?;
        return Ok(None);
    };
    connection.remember_domain(Some((lease.epoch(), domain)));
    Ok(Some(domain))
}

/// The domain key for a backup or a restoration: one that the options do not exclude.
///
/// Errors: `NotPermitted` for another one.
pub(super) fn usable(connection: &Connection, lease: &Lease<'_>) -> TokenResult<Option<Domain>> {
    match find(connection, lease)? {
        Some(domain) if !connection.accepts(&domain) => Err(TokenError::with_detail(
            ErrorClass::NotPermitted,
            "C_WrapKey",
            "the token's domain key is not the one that the options of the backend name; find out who replaced it",
        )),
        found => Ok(found),
    }
}

/// Runs `attempt`, and once more when it met a handle that means nothing any more: the domain key may have been
/// made anew.
pub(super) fn with_fresh_handles<T>(
    connection: &Connection,
    mut attempt: impl FnMut() -> TokenResult<T>,
) -> TokenResult<T> {
    match attempt() {
        Err(error) if error.class == ErrorClass::StaleHandle => {
            connection.remember_domain(None);
            attempt()
        }
        result => result,
    }
}

/// What is known of the token's domain key, if it has one.
pub(super) fn describe(connection: &Connection) -> TokenResult<Option<DomainKey>> {
    with_fresh_handles(connection, || {
        connection.token().run(Retry::Safe, |lease| {
            let Some(domain) = find(connection, lease)? else {
                return Ok(None);
            };
            let is = |attribute| {
                let value = lease.get_attribute(domain.object, attribute)?;
                Ok(value.is_some_and(|value| value == [1]))
            };
            Ok(Some(DomainKey {
                check_value: domain.check_value,
                trusted: is(CKA_TRUSTED)?,
                closed: !is(CKA_EXTRACTABLE)?,
            }))
        })
    })
}

/// Makes a domain key, which may leave the token for others until it is closed.
pub(super) fn create(connection: &Connection, officer: &Pin) -> BackendResult<DomainKey> {
    if describe(connection)?.is_some() {
        return Err(exists());
    }
    let limit = connection.profile()?.limits_mechanisms;
    let made = connection.token().hold_ceremony(officer, |ceremony| {
        ceremony.as_user()?;
        if the_one(ceremony.functions(), ceremony.session())?.is_some() {
            return Ok(false);
        }
        let (object, trusted) = ceremony.make_trusted(|trusted| {
            ceremony.functions().generate_key(
                ceremony.session(),
                &Mechanism::AesKeyGen,
                &template(true, trusted, limit).ulong(CKA_VALUE_LEN, 32),
            )
        })?;
        keep(ceremony, object, trusted, true)?;
        Ok(true)
    })?;
    if !made {
        return Err(exists());
    }
    describe(connection)?.ok_or_else(|| {
        BackendError::new(
            BackendErrorKind::Device,
            "the token does not find the domain key that it made",
        )
    })
}

fn exists() -> BackendError {
    BackendError::new(
        BackendErrorKind::Rejected,
        "the token has a domain key already, and a token has one at most; use that one, or destroy the object \
         labelled strongroom/domain if no backup needs it any more",
    )
}

/// An object of a session, which is not private, so that it outlives logins; [`keep`] makes a private one of it.
pub(super) fn template(extractable: bool, trusted: bool, limit: bool) -> Template<'static> {
    let mut template = Template::new()
        .ulong(CKA_CLASS, CKO_SECRET_KEY)
        .ulong(CKA_KEY_TYPE, CKK_AES)
        .bool(CKA_TOKEN, false)
        .bool(CKA_PRIVATE, false)
        .bool(CKA_SENSITIVE, true)
        .bool(CKA_EXTRACTABLE, extractable)
        .bool(CKA_WRAP, true)
        .bool(CKA_UNWRAP, true)
        .bool(CKA_ENCRYPT, false)
        .bool(CKA_DECRYPT, false)
        .bool(CKA_SIGN, false)
        .bool(CKA_VERIFY, false)
        .bool(CKA_DERIVE, false);
    if limit {
        template = template.ulongs(
            CKA_ALLOWED_MECHANISMS,
            vec![CKM_AES_KEY_WRAP, CKM_AES_KEY_WRAP_PAD, CKM_AES_KEY_WRAP_KWP],
        );
    }
    if trusted {
        template = template.bool(CKA_TRUSTED, true);
    }
    if trusted && extractable {
        // Only a transport key that the officer trusts takes it out.
        template = template.bool(CKA_WRAP_WITH_TRUSTED, true);
    }
    template
}

/// Makes the token's domain key of the session's object, as the user. What the token gets wrong is destroyed.
pub(super) fn keep(
    ceremony: &Ceremony<'_>,
    object: ObjectHandle,
    trusted: bool,
    extractable: bool,
) -> TokenResult<()> {
    let (functions, session) = (ceremony.functions(), ceremony.session());
    let check = check_value(functions, session, object)?;
    let id = KeyTag::random(&OsEntropy).map_err(internal)?;
    let kept = functions.copy_object(
        session,
        object,
        &Template::new()
            .bool(CKA_TOKEN, true)
            .bool(CKA_PRIVATE, true)
            .bytes(CKA_ID, id.as_bytes())
            .bytes(CKA_LABEL, LABEL.as_bytes()),
    )?;
    let right = || {
        let is = |attribute: CK_ATTRIBUTE_TYPE, wanted: bool| {
            let value = functions.get_attribute(session, kept, attribute)?;
            TokenResult::Ok(value.is_some_and(|value| value == [u8::from(wanted)]))
        };
        Ok(is(CKA_PRIVATE, true)?
            && is(CKA_SENSITIVE, true)?
            && is(CKA_EXTRACTABLE, extractable)?
            && (!trusted || is(CKA_TRUSTED, true)?)
            && check_value(functions, session, kept)? == check)
    };
    let right = right();
    if !matches!(right, Ok(true)) {
        functions.destroy_object(session, kept)?;
    }
    functions.destroy_object(session, object)?;
    if right? {
        return Ok(());
    }
    Err(TokenError::with_detail(
        ErrorClass::Unsupported,
        "C_CopyObject",
        "the token does not keep a domain key as it has to be: sensitive, private and trusted",
    ))
}

/// The token's one domain key.
///
/// Errors: as [`working`].
pub(super) fn the_one(
    functions: &Functions,
    session: &Session,
) -> TokenResult<Option<ObjectHandle>> {
    Ok(working(functions, session)?.map(|domain| domain.object))
}

/// The token's one domain key, with its check value made now. What cannot be one is passed over: it has the label, but
/// everybody may read it, or it has no value, because the process that made it ended meanwhile.
///
/// Errors: `NotPermitted` when there are several; those of the token, when it cannot be told whether one of them works.
fn working(functions: &Functions, session: &Session) -> TokenResult<Option<Domain>> {
    let template = Template::new()
        .ulong(CKA_CLASS, CKO_SECRET_KEY)
        .bytes(CKA_LABEL, LABEL.as_bytes());
    let mut found = None;
    for object in functions.find_objects(session, &template, MOST)? {
        let is_set = |attribute: CK_ATTRIBUTE_TYPE| {
            let value = functions.get_attribute(session, object, attribute)?;
            TokenResult::Ok(value.is_some_and(|value| value == [1]))
        };
        if !is_set(CKA_SENSITIVE)? || !is_set(CKA_PRIVATE)? {
            continue;
        }
        let Some(check_value) = tested(functions, session, object)? else {
            continue;
        };
        let domain = Domain {
            object,
            check_value,
        };
        if found.replace(domain).is_some() {
            return Err(TokenError::with_detail(
                ErrorClass::NotPermitted,
                "C_FindObjects",
                "the token has several domain keys, and nobody can tell which one is right; destroy the objects labelled \
                 strongroom/domain that do not belong to the domain",
            ));
        }
    }
    Ok(found)
}

/// The check value of an object that may be a domain key; `None` when it cannot wrap.
///
/// Errors: it may be the moment, and not the object.
fn tested(
    functions: &Functions,
    session: &Session,
    object: ObjectHandle,
) -> TokenResult<Option<[u8; CHECK_VALUE_LENGTH]>> {
    for second in [false, true] {
        let error = match check_value(functions, session, object) {
            Ok(check_value) => return Ok(Some(check_value)),
            Err(error) => error,
        };
        match Verdict::on(&error) {
            Verdict::Refused => break,
            Verdict::Doubtful if second => break,
            Verdict::Doubtful => {}
            Verdict::Busy | Verdict::Trouble => return Err(error),
        }
        // SoftHSM2 says CKR_GENERAL_ERROR of a key without a value. If a key that has one works now, it is the object.
        let control = functions.generate_key(
            session,
            &Mechanism::AesKeyGen,
            &template(false, false, false).ulong(CKA_VALUE_LEN, 32),
        )?;
        let works = check_value(functions, session, control);
        functions.destroy_object(session, control)?;
        works?;
    }
    Ok(None)
}

/// The check value of a domain key, made by the token.
pub(super) fn check_value(
    functions: &Functions,
    session: &Session,
    domain: ObjectHandle,
) -> TokenResult<[u8; CHECK_VALUE_LENGTH]> {
    let known = SecretBytes::copied_from(CHECKED);
    let object = functions.create_object(session, &data_object().secret(CKA_VALUE, known))?;
    let wrapped = functions.wrap_key(
        session,
        &Mechanism::AesKeyWrap,
        domain,
        object,
        CHECKED_WRAPPED_LENGTH,
    );
    functions.destroy_object(session, object)?;
    let hash = digest(HashAlgorithm::Sha512, &wrapped?);
    match hash.first_chunk() {
        Some(check_value) => Ok(*check_value),
        None => Err(internal("a hash is too short")),
    }
}
