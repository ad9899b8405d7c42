//! The key that a destination makes for one ceremony: RSA, whose private half never leaves its token.

use cryptoki_sys::{
    CK_ATTRIBUTE_TYPE, CKA_CLASS, CKA_ENCRYPT, CKA_ID, CKA_KEY_TYPE, CKA_LABEL, CKA_MODULUS,
    CKA_MODULUS_BITS, CKA_PRIVATE, CKA_PUBLIC_EXPONENT, CKA_TOKEN, CKA_TRUSTED, CKA_VERIFY,
    CKA_WRAP, CKK_RSA, CKO_PRIVATE_KEY, CKO_PUBLIC_KEY,
};

use super::attributes::{Custody, Permissions, private_key, public_parts, require_rsa};
use super::connection::Connection;
use super::domain;
use super::error::TokenResult;
use super::fingerprint::TransportFingerprint;
use super::known_answers::internal;
use super::lease::Lease;
use super::mechanism::{Mechanism, Ulong};
use super::raw::ObjectHandle;
use super::routes::Usage;
use super::template::Template;
use super::token::Retry;
use crate::backend::{BackendError, BackendErrorKind, BackendResult};
use crate::crypto::limits::DEFAULT_RSA_EXPONENT;
use crate::crypto::public_key::PublicKey;
use crate::env::OsEntropy;
use crate::model::key::KeyTag;
use crate::model::material::PublicParts;
use crate::model::spec::RsaKeySize;

/// The label of both halves of a transport key.
const LABEL: &str = "strongroom/transport";

pub(super) const SIZE: RsaKeySize = RsaKeySize::Bits3072;

const PUBLIC_EXPONENT: [u8; 3] = [1, 0, 1];

/// More are the trace of ceremonies that were cut short.
const MOST: usize = 64;

/// What [`Pkcs11Backend::begin_provisioning`](super::Pkcs11Backend::begin_provisioning) gives: the public half of a key
/// that was made in the token, and whose private half never leaves it.
#[derive(Debug, Clone)]
pub struct TransportKey {
    public: PublicKey,
    fingerprint: TransportFingerprint,
}

impl TransportKey {
    /// The public key: RSA of 3072 bits.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// What the people at both tokens compare.
    #[must_use]
    pub fn fingerprint(&self) -> TransportFingerprint {
        self.fingerprint
    }
}

/// Makes a new transport key in place of any earlier one.
pub(super) fn begin(connection: &Connection) -> BackendResult<TransportKey> {
    if domain::describe(connection)?.is_some() {
        return Err(rejected(
            "the token has a domain key already; a provisioning that was cut short is completed by calling \
             provision_domain again",
        ));
    }
    let id = KeyTag::random(&OsEntropy).map_err(internal)?;
    let parts = connection.token().mutate(|lease| {
        // One that somebody else made beforehand would be no secret of the token's.
        destroy_transport_keys(lease)?;
        let public = Template::new()
            .bool(CKA_TOKEN, true)
            .bool(CKA_PRIVATE, false)
            .bool(CKA_WRAP, true)
            .bool(CKA_ENCRYPT, false)
            .bool(CKA_VERIFY, false)
            .ulong(CKA_MODULUS_BITS, Ulong::from(SIZE.bits()))
            .bytes(CKA_PUBLIC_EXPONENT, &PUBLIC_EXPONENT)
            .bytes(CKA_ID, id.as_bytes())
            .bytes(CKA_LABEL, LABEL.as_bytes());
        let custody = Custody {
            named: Some((&id, LABEL)),
            ..Custody::PROBE
        };
        let private = private_key(None, &custody, &Permissions::some(&[Usage::Unwrap]));
        let (public, _) =
            lease.generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &public, &private)?;
        let parts = public_parts(lease, public, None)?;
        if let Err(error) = require_rsa(&parts, SIZE, DEFAULT_RSA_EXPONENT) {
            destroy_transport_keys(lease)?;
            return Err(error);
        }
        Ok(parts)
    })?;
    Ok(TransportKey {
        public: PublicKey::from_parts(&parts).map_err(internal)?,
        fingerprint: TransportFingerprint::of(&parts)?,
    })
}

/// A transport key that a destination offers.
pub(super) struct Offer {
    pub(super) id: Vec<u8>,
    n: Vec<u8>,
    e: Vec<u8>,
}

/// The transport key with the expected fingerprint.
pub(super) fn offered(
    connection: &Connection,
    expected: TransportFingerprint,
) -> BackendResult<Offer> {
    let token = connection.token();
    let offer = token.run(Retry::Safe, |lease| {
        for object in lease.find_objects(&labelled(CKO_PUBLIC_KEY), MOST)? {
            // What an interrupted call left has no public part.
            let Ok(parts) = public_parts(lease, object, None) else {
                continue;
            };
            if TransportFingerprint::of(&parts)? == expected
                && let PublicParts::Rsa { n, e } = parts
                && let Some(id) = lease.get_attribute(object, CKA_ID)?
            {
                return Ok(Some(Offer { id, n, e }));
            }
        }
        lease.health()?;
        Ok(None)
    })?;
    offer.ok_or_else(|| {
        rejected(
            "the destination has no transport key with the expected fingerprint; nothing was changed. Make a new one \
             there with begin_provisioning, and compare its fingerprint by another way",
        )
    })
}

impl Offer {
    /// The public key as an object of a session.
    pub(super) fn template(&self, trusted: bool) -> Template<'_> {
        let template = Template::new()
            .ulong(CKA_CLASS, CKO_PUBLIC_KEY)
            .ulong(CKA_KEY_TYPE, CKK_RSA)
            .bool(CKA_TOKEN, false)
            .bool(CKA_PRIVATE, false)
            .bool(CKA_WRAP, true)
            .bool(CKA_ENCRYPT, false)
            .bool(CKA_VERIFY, false)
            .bytes(CKA_MODULUS, &self.n)
            .bytes(CKA_PUBLIC_EXPONENT, &self.e);
        if trusted {
            template.bool(CKA_TRUSTED, true)
        } else {
            template
        }
    }
}

pub(super) fn destroy_transport_keys(lease: &Lease<'_>) -> TokenResult<()> {
    let mut found: Vec<ObjectHandle> = Vec::new();
    for class in [CKO_PRIVATE_KEY, CKO_PUBLIC_KEY] {
        found.extend(lease.find_objects(&labelled(class), MOST)?);
    }
    if found.is_empty() {
        // A token that is gone finds nothing either.
        return lease.health();
    }
    found
        .into_iter()
        .try_for_each(|object| lease.destroy_object(object))
}

pub(super) fn labelled(class: CK_ATTRIBUTE_TYPE) -> Template<'static> {
    Template::new()
        .ulong(CKA_CLASS, class)
        .bytes(CKA_LABEL, LABEL.as_bytes())
}

pub(super) fn rejected(sentence: &'static str) -> BackendError {
    BackendError::new(BackendErrorKind::Rejected, sentence)
}
